r"""hermes: NousResearch's function calling in ShareGPT conversations (https://github.com/NousResearch/Hermes-Function-Calling).

    {"id": "office-1", "conversations": [
      {"from": "system", "value": "你是一位專業助理。\n\n# Tools\n\n…<tools>\n{\"type\": \"function\", …}\n</tools>…"},
      {"from": "human", "value": "幫我查預算"},
      {"from": "gpt", "value": "<tool_call>\n{\"name\": \"query_database\", \"arguments\": {…}}\n</tool_call>"},
      {"from": "tool", "value": "<tool_response>\n{\"name\": \"query_database\", \"content\": {…}}\n</tool_response>"},
      {"from": "gpt", "value": "2026 預算為 300 萬"}]}

The system text is written as Qwen 2.5's template has it, which keeps the row's own opening. Published rows hold values
as Python prints them; they are read. Where a tag would stand inside JSON, its `<` is written as \u003c.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from callwright.exchange.drafts import Draft, Form, Given, Names, Row, list_of, object_of, parsed, text_of, written
from callwright.exchange.literals import read_literal
from callwright.exchange.openai import BESIDE_CALLS
from callwright.exchange.sharegpt import is_hermes
from callwright.exchange.tools import read_function_call, read_tool, read_tool_list
from callwright.records import BadRecord, Calls, Example, Message, Reply, Result, System, Tool, User

AROUND_TOOLS = "the text around <tools> in the system turn is left out"
_BEFORE = (
    "\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>"
)
_AFTER = (
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
    '<tool_call></tool_call> XML tags:\n<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n'
    "</tool_call>"
)
_TAG = re.compile(r"<(/?tool(?:s|_call|_response)>)")
_SENTENCES = re.compile(r".*[.!?。！？\n]", re.DOTALL)


def fits(row: Row) -> bool:
    if not isinstance(row.get("conversations"), list):
        return False
    roles = [turn.get("from") for turn in row["conversations"] if isinstance(turn, dict)]
    return is_hermes(row) or not ("tools" in row or "function_call" in roles or "observation" in roles)


def read(row: Row, given: Given) -> Draft:
    draft = Draft([], known=frozenset({"conversations", "tools", "system"}))
    if row.get("tools"):
        tools = row["tools"]
        draft.tools = read_tool_list(read_literal(tools, "tools") if isinstance(tools, str) else tools, "tools")
    turns = list_of(row.get("conversations"), "conversations")
    if isinstance(row.get("system"), str):
        turns = [{"from": "system", "value": row["system"]}, *turns]
    names = Names()
    for i, value in enumerate(turns):
        place = f"conversations[{i}]"
        turn = object_of(value, place)
        draft.messages += _messages(turn.get("from"), text_of(turn.get("value"), f"{place}.value"), place, names, draft)
    return draft


def _messages(role: Any, value: str, place: str, names: Names, draft: Draft) -> list[Message]:
    if role == "system":
        return _system(value, place, draft)
    if role in ("human", "user"):
        return [User(value)]
    if role == "tool":
        return list(_results(value, place, names))
    if role not in ("gpt", "assistant"):
        raise BadRecord(f"{place}.from is {role!r}; expected system, human, gpt or tool")
    if "<tool_call>" not in value:
        return [Reply(value)]
    found, left = _tagged(value, "tool_call")
    calls = Calls(tuple(read_function_call(read_literal(text.strip(), place), place) for text in found))
    if "<tool_call>" in left:
        raise BadRecord(f"{place}.value has a <tool_call> that is not closed")
    if left.strip():
        draft.warnings.append(BESIDE_CALLS)
    names.called(calls)
    return [calls]


def _system(text: str, place: str, draft: Draft) -> list[Message]:
    """The opening; the tools go to the draft."""
    found = next((found for found in _tagged(text, "tools")[0] if found.strip()), None)
    if found is None:
        return [System(text)]
    tools = _listed(found, place)
    draft.tools = tools
    block = _block(tools)
    if text.endswith(block):
        return [System(text.removesuffix(block))]
    if text == block.lstrip():
        return []
    before, heading, _ = text[: text.index("<tools>")].partition("\n\n# Tools\n")
    sentences = _SENTENCES.match(before)
    opening = (before if heading else sentences.group() if sentences else "").strip()
    draft.warnings.append(AROUND_TOOLS)
    draft.no_place_for_system = not opening
    return [System(opening)] if opening else []


def _tagged(text: str, tag: str) -> tuple[list[str], str]:
    """What stands between the tags, and outside them. A search, not a pattern whose time could grow with the square."""
    inside, outside, at = [], [], 0
    while (begin := text.find(f"<{tag}>", at)) >= 0 and (end := text.find(f"</{tag}>", begin)) >= 0:
        outside.append(text[at:begin])
        inside.append(text[begin + len(tag) + 2 : end])
        at = end + len(tag) + 3
    return inside, "".join([*outside, text[at:]])


def _listed(text: str, place: str) -> tuple[Tool, ...]:
    """A list of tools, or one a line."""
    lines = [line for line in text.split("\n") if line.strip()]
    try:
        listed = [parsed(line) for line in lines]
    except BadRecord:
        listed = [read_literal(text, f"{place}: what stands in <tools>")]
    if len(listed) == 1 and isinstance(listed[0], list):
        listed = listed[0]
    return tuple(read_tool(tool, f"{place}.tools[{i}]") for i, tool in enumerate(listed))


def _results(value: str, place: str, names: Names) -> Iterator[Result]:
    for found in _tagged(value, "tool_response")[0] or [value]:
        text = found.removeprefix("\n").removesuffix("\n")
        try:
            told = read_literal(text, place)
        except BadRecord:
            told = None
        if isinstance(told, dict) and {"name", "content"} <= told.keys():
            content = told["content"]
            yield Result(names.of(told["name"]), content if isinstance(content, str) else written(content))
        else:
            yield Result(names.next(), text)


def write(example: Example) -> Iterator[dict[str, Any]]:
    opening = next((turn.content for turn in example.messages if isinstance(turn, System)), None)
    block = _block(example.tools)
    text = block.lstrip() if opening is None else opening + block
    system = [] if opening is None and not block else [{"from": "system", "value": text}]
    yield {"id": example.id, "conversations": [*system, *_turns(example)]}


def _block(tools: tuple[Tool, ...]) -> str:
    lines = [_escaped({"type": "function", "function": tool.to_json()}) for tool in tools]
    return "".join([_BEFORE, *(f"\n{line}" for line in lines), _AFTER]) if tools else ""


def _escaped(value: Any) -> str:
    return _TAG.sub(r"\\u003c\1", written(value))


def _turns(example: Example) -> Iterator[dict[str, Any]]:
    turns = [turn for turn in example.messages if not isinstance(turn, System)]
    for kind, group in groupby(turns, type):
        if kind is Result:
            told = [{"name": turn.tool, "content": _plain(turn.content)} for turn in group if isinstance(turn, Result)]
            blocks = [f"<tool_response>\n{_escaped(one)}\n</tool_response>" for one in told]
            yield {"from": "tool", "value": "\n".join(blocks)}
            continue
        for turn in group:
            match turn:
                case User(content):
                    yield {"from": "human", "value": content}
                case Reply(content):
                    yield {"from": "gpt", "value": content}
                case Calls(calls):
                    made = [_escaped({"name": call.tool, "arguments": dict(call.params)}) for call in calls]
                    yield {"from": "gpt", "value": "\n".join(f"<tool_call>\n{one}\n</tool_call>" for one in made)}


def _plain(content: str) -> Any:
    """A result that is a JSON object or list is written as one, if it comes back as the same text."""
    try:
        value = parsed(content)
    except BadRecord:
        return content
    return value if isinstance(value, dict | list) and written(value) == content else content


FORM = Form("hermes", fits, read, write)
