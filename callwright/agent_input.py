"""What a request to the served agent holds: tools as functions, and the items of a conversation as messages.

    read_tools([{"type": "function", "name": "find_contact", "parameters": {…}}])      ->  (Tool("find_contact", …),)
    read_messages({"input": [{"role": "user", "content": "找王小明"},
                             {"type": "function_call", "call_id": "c1", "name": "find_contact", "arguments": "{…}"},
                             {"type": "function_call_output", "call_id": "c1", "output": "{…}"}]})
        ->  "", [User("找王小明"), Calls((Call("find_contact", …),)), Result("find_contact", …)]

The form is that of OpenAI's Responses API (platform.openai.com/docs/api-reference/responses). What is wrong is a
`BadRequest` with its place.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from callwright.answers import strict_json
from callwright.records import (
    Call,
    Calls,
    Category,
    Example,
    Language,
    Message,
    Reply,
    Result,
    Split,
    System,
    Tool,
    User,
)
from callwright.rules import roles
from callwright.schemas import tool_fault

MOST_TOOLS = 128
MOST_ITEMS = 1_000


class BadRequest(ValueError):
    """The sentence says what is wrong, and where."""


# Tools


def read_tools(value: Any) -> tuple[Tool, ...]:
    if value is None:
        return ()
    tools = tuple(_tool(tool, f"tools[{i}]") for i, tool in enumerate(listed(value, "tools", MOST_TOOLS)))
    names = [tool.name for tool in tools]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise BadRequest(f"tools has {twice!r} twice; a name is one tool's")
    return tools


def _tool(value: Any, place: str) -> Tool:
    kind = an_object(value, place).get("type", "function")
    if kind != "function":
        raise BadRequest(f"{place}.type is {shown(kind)}; only functions are known here")
    if isinstance(value.get("function"), dict):
        raise BadRequest(f"{place} has its definition under 'function', as Chat Completions has it; put it beside type")
    parameters = value.get("parameters")
    tool = Tool(
        a_text(value.get("name"), f"{place}.name"),
        a_text(value.get("description") or "", f"{place}.description"),
        an_object({"type": "object", "properties": {}} if parameters is None else parameters, f"{place}.parameters"),
    )
    if not tool.name.strip():
        raise BadRequest(f"{place}.name is empty")
    if fault := tool_fault(tool):
        raise BadRequest(f"{place} ({tool.name}): {fault}")
    return tool


# The conversation


def read_messages(value: Mapping[str, Any]) -> tuple[str, list[Message]]:
    """What the system says at the beginning, and the turns after it."""
    if "input" not in value:
        raise BadRequest("the request has no input; give a text, or the items of a conversation")
    given = value["input"]
    items = [{"role": "user", "content": given}] if isinstance(given, str) else listed(given, "input", MOST_ITEMS)
    instructions = a_text(value.get("instructions") or "", "instructions")
    opening = [instructions] if instructions.strip() else []
    turns: list[Message] = []
    for turn in _turns(items):
        if not isinstance(turn, System):
            turns.append(turn)
        elif turns:
            raise BadRequest(f"input has a system's message ({shown(turn.content)}) in its middle; give it first")
        else:
            opening.append(turn.content)
    return "\n".join(opening), _joined(turns)


def _turns(items: Sequence[Any]) -> Iterator[Message]:
    """Messages and calls with their results; the calls between two other items are one turn."""
    calls: dict[str, Call] = {}  # by id, those of the open turn
    results: dict[str, str] = {}
    for i, item in enumerate(items):
        place = f"input[{i}]"
        kind = an_object(item, place).get("type", "message")
        if calls and (len(results) == len(calls) or kind not in ("function_call", "function_call_output", "reasoning")):
            yield from _called(calls, results)
            calls, results = {}, {}
        match kind:
            case "message":
                yield _message(item, place)
            case "function_call":
                if results:
                    raise BadRequest(f"{place} is a call, and not all calls before it have a function_call_output")
                call_id = a_text(item.get("call_id"), f"{place}.call_id")
                if call_id in calls:
                    raise BadRequest(f"{place}.call_id is {shown(call_id)}, which another call of the turn has")
                calls[call_id] = _call(item, place)
            case "function_call_output":
                call_id = a_text(item.get("call_id"), f"{place}.call_id")
                if call_id not in calls or call_id in results:
                    why = "has its result already" if call_id in results else "no call right before it has"
                    raise BadRequest(f"{place}.call_id is {shown(call_id)}, which {why}")
                results[call_id] = _content(item.get("output"), f"{place}.output") or '""'
            case "reasoning":
                pass
            case _:
                raise BadRequest(
                    f"{place}.type is {shown(kind)}; known are message, function_call, function_call_output"
                )
    yield from _called(calls, results)


def _called(calls: Mapping[str, Call], results: Mapping[str, str]) -> Iterator[Message]:
    if not calls:
        return
    if missing := next((call_id for call_id in calls if call_id not in results), None):
        raise BadRequest(f"input has no function_call_output for the call {shown(missing)}; run it and give its result")
    yield Calls(tuple(calls.values()))
    yield from (Result(call.tool, results[call_id]) for call_id, call in calls.items())


def _message(item: Mapping[str, Any], place: str) -> Message:
    content = _content(item.get("content"), f"{place}.content")
    match item.get("role"):
        case "user":
            return User(content)
        case "assistant":
            return Reply(content)
        case "system" | "developer":
            return System(content)
        case role:
            raise BadRequest(f"{place}.role is {shown(role)}; expected user, assistant, system or developer")


def _call(item: Mapping[str, Any], place: str) -> Call:
    arguments = a_text(item.get("arguments"), f"{place}.arguments")
    try:
        params = strict_json(arguments or "{}")
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"{place}.arguments is no JSON ({error})") from None
    return Call(a_text(item.get("name"), f"{place}.name"), an_object(params, f"{place}.arguments"))


def _content(value: Any, place: str) -> str:
    """A text, or the texts of several parts."""
    if isinstance(value, str):
        return value
    parts = []
    for i, part in enumerate(listed(value, place, MOST_ITEMS)):
        kind = an_object(part, f"{place}[{i}]").get("type")
        if kind not in ("input_text", "output_text", "refusal"):
            raise BadRequest(f"{place}[{i}].type is {shown(kind)}; only text is known here")
        parts.append(a_text(part.get("refusal" if kind == "refusal" else "text"), f"{place}[{i}].text"))
    return "\n".join(parts)


def _joined(turns: Iterable[Message]) -> list[Message]:
    """With the messages that one side said in a row as one."""
    joined: list[Message] = []
    for kind, group in groupby(turns, type):
        same = list(group)
        if kind is User:
            joined.append(User("\n".join(turn.content for turn in same if isinstance(turn, User))))
        elif kind is Reply:
            joined.append(Reply("\n".join(turn.content for turn in same if isinstance(turn, Reply))))
        else:
            joined += same
    return joined


def check_order(messages: tuple[Message, ...]) -> None:
    if not isinstance(messages[-1], User | Result):
        raise BadRequest("input ends with the assistant's turn; there is nothing to answer")
    row = Example("request", Language.EN, Category.SINGLE, Split.TEST, (), (*messages, Reply("OK.")))
    if failure := next(roles(row), None):
        raise BadRequest(f"the conversation in input, with the system's turn as messages[0]: {failure.message}")


def listed(value: Any, place: str, most: int) -> list[Any]:
    if not isinstance(value, list):
        raise BadRequest(f"{place} is {shown(value)}; expected a list")
    if len(value) > most:
        raise BadRequest(f"{place} has {len(value):,} entries, and {most:,} are read at most")
    return value


def an_object(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadRequest(f"{place} is {shown(value)}; expected an object")
    return value


def a_text(value: Any, place: str) -> str:
    if not isinstance(value, str):
        raise BadRequest(f"{place} is {shown(value)}; expected text")
    return value


def shown(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):
        return "nothing that can be shown"
    return text if len(text) <= 60 else text[:57] + "..."
