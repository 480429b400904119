r"""sharegpt: ShareGPT as LLaMA-Factory reads it (data/README.md, src/llamafactory/data/{converter,formatter}.py there).

    {"id": "office-1", "conversations": [
      {"from": "human", "value": "幫我查預算"},
      {"from": "function_call", "value": "{\"name\": \"query_database\", \"arguments\": {\"query_str\": \"預算\"}}"},
      {"from": "observation", "value": "…"}, {"from": "gpt", "value": "2026 預算為 300 萬"}],
     "system": "你是一位專業助理。", "tools": "[{\"name\": …, \"description\": …, \"parameters\": {…}}]"}

Several calls are a list in one turn. Turns must alternate there, so the results of several calls are one observation,
parted as LLaMA-Factory parts them. An observation does not name its tool: results belong to the calls before them, in
order.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from callwright.exchange.drafts import Draft, Form, Given, Names, Row, list_of, object_of, text_of, written
from callwright.exchange.literals import read_literal
from callwright.exchange.tools import read_function_call, read_tool_list
from callwright.records import BadRecord, Calls, Example, Message, Reply, Result, System, User

PART = "\n</tool_response>\n<tool_response>\n"
_TAGS = ("<tool_call>", "<tools>", "<tool_response>")


def is_hermes(row: Row) -> bool:
    """Whether something but the user's turns holds Hermes' tags."""
    turns = [turn for turn in row["conversations"] if isinstance(turn, dict)]
    said = [str(turn.get("value")) for turn in turns if turn.get("from") in ("system", "gpt", "tool")]
    return any(tag in text for text in said for tag in _TAGS)


def fits(row: Row) -> bool:
    return isinstance(row.get("conversations"), list) and not is_hermes(row)


def read(row: Row, given: Given) -> Draft:
    draft = Draft([], known=frozenset({"conversations", "system", "tools"}))
    if row.get("tools"):
        tools = row["tools"]
        draft.tools = read_tool_list(read_literal(tools, "tools") if isinstance(tools, str) else tools, "tools")
    elif "tools" in row:
        draft.tools = () if row["tools"] == [] else None
    if row.get("system") is not None:
        draft.messages.append(System(text_of(row["system"], "system")))
    names = Names()
    for i, turn in enumerate(list_of(row.get("conversations"), "conversations")):
        draft.messages += _messages(object_of(turn, f"conversations[{i}]"), f"conversations[{i}]", names)
    return draft


def _messages(turn: dict[str, Any], place: str, names: Names) -> list[Message]:
    role = turn.get("from")
    value = text_of(turn.get("value"), f"{place}.value")
    if role == "system":
        return [System(value)]
    if role in ("human", "user"):
        return [User(value)]
    if role in ("gpt", "assistant"):
        return [Reply(value)]
    if role in ("observation", "tool"):
        parts = value.split(PART) if names.waiting > 1 else [value]
        contents = parts if len(parts) == names.waiting else [value]
        return [Result(names.next(), content) for content in contents]
    if role != "function_call":
        raise BadRecord(f"{place}.from is {role!r}; expected human, gpt, function_call or observation")
    called = read_literal(value, f"{place}.value")
    listed = called if isinstance(called, list) else [called]
    calls = Calls(tuple(read_function_call(call, f"{place}.value") for call in listed))
    names.called(calls)
    return [calls]


def write(example: Example) -> Iterator[dict[str, Any]]:
    opening = next((turn.content for turn in example.messages if isinstance(turn, System)), None)
    system = {} if opening is None else {"system": opening}
    tools = written([tool.to_json() for tool in example.tools])
    yield {"id": example.id, "conversations": list(_turns(example)), **system, "tools": tools}


def _turns(example: Example) -> Iterator[dict[str, Any]]:
    turns = [turn for turn in example.messages if not isinstance(turn, System)]
    for kind, group in groupby(turns, type):
        if kind is Result:
            contents = [turn.content for turn in group if isinstance(turn, Result)]
            yield {"from": "observation", "value": PART.join(contents)}
            continue
        for turn in group:
            match turn:
                case User(content):
                    yield {"from": "human", "value": content}
                case Reply(content):
                    yield {"from": "gpt", "value": content}
                case Calls(calls):
                    made = [{"name": call.tool, "arguments": dict(call.params)} for call in calls]
                    yield {"from": "function_call", "value": written(made[0] if len(made) == 1 else made)}


FORM = Form("sharegpt", fits, read, write)
