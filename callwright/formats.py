"""The three row formats of the user's document, from the canonical record.

    messages  {"messages": [{"role": "system", …}, {"role": "user", …}, {"role": "assistant", …}]}
    alpaca    {"system": …, "instruction": …, "output": …}
    pro       {"instruction": …, "tools": [JSON Schema], "output": [{"tool", "params"}]}

Each row carries an `id` as its only other key; `pro` has `reply` where the right answer is text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from callwright.answers import write_calls
from callwright.records import Calls, Example, Language, Message, Reply, Result, System, Tool, User

_BEFORE = {Language.ZH_TW: "你可以使用以下工具:", Language.EN: " You can use these tools:"}
_AFTER = {Language.ZH_TW: "如果需要使用工具,請輸出 JSON:", Language.EN: "If a tool is needed, output JSON:"}
_FORM = '{"tool": "...", "params": {...}}'


def system_text(opening: str, tools: tuple[Tool, ...], language: Language) -> str:
    """The instruction, the tools as signatures with descriptions, the form of a call; without tools the instruction."""
    if not tools:
        return opening
    listed = [f"{i}. {signature(tool)}: {tool.description}" for i, tool in enumerate(tools, start=1)]
    return "\n".join([opening + _BEFORE[language], *listed, _AFTER[language], _FORM])


def listed_tools(text: str) -> tuple[str, tuple[str, ...]]:
    """The way back from `system_text`: the instruction and the names of the tools; `(text, ())` where it lists none.

    Types and descriptions stand there for people to read; schemas they are not.
    """
    for language, before in _BEFORE.items():
        opening, found, listed = text.partition(f"{before}\n1. ")
        listed, closed, more = listed.rpartition(f"\n{_AFTER[language]}\n{_FORM}")
        if not (found and closed) or more.strip():
            continue
        names: list[str] = []
        for line in f"1. {listed}".split("\n"):
            lead, _, rest = line.partition(". ")
            if lead == str(len(names) + 1) and "(" in rest:
                names.append(rest.partition("(")[0])
        return opening, tuple(names)
    return text, ()


def signature(tool: Tool) -> str:
    """`book_room(room, start_time, people: integer, priority?: low|high)`; a plain name is a required string."""
    return f"{tool.name}({', '.join(_parameter(tool, name, schema) for name, schema in tool.properties.items())})"


def _parameter(tool: Tool, name: str, schema: Any) -> str:
    shown = name if name in tool.required else f"{name}?"
    if not isinstance(schema, Mapping):  # JSON Schema's `true`: anything
        return shown
    if "enum" in schema:
        shown += ": " + "|".join(str(value) for value in schema["enum"])
    elif schema.get("type", "string") != "string":
        kind = schema["type"]
        shown += ": " + ("|".join(kind) if isinstance(kind, list) else str(kind))
    return shown + (f" ({schema['description']})" if schema.get("description") else "")


def to_messages(example: Example) -> dict[str, Any]:
    """One row for the whole conversation. A result is a turn of role `tool` with the tool's `name`."""
    return {"id": example.id, "messages": [_turn(example, message) for message in example.messages]}


def to_alpaca(example: Example) -> Iterator[dict[str, Any]]:
    """One row for each assistant turn; where turns went before, `instruction` holds them, one a line with its role."""
    opening = next((m.content for m in example.messages if isinstance(m, System)), "")
    system = system_text(opening, example.tools, example.language)
    for row_id, before, answer in _answers(example):
        yield {"id": row_id, "system": system, "instruction": instruction(before), "output": said(answer)}


def to_pro(example: Example) -> Iterator[dict[str, Any]]:
    """One row for each assistant turn; `output` is its calls, or `[]` with the text in `reply`."""
    tools = [tool.to_json() for tool in example.tools]
    for row_id, before, answer in _answers(example):
        calls = [call.to_json() for call in answer.calls] if isinstance(answer, Calls) else []
        text = {"reply": answer.content} if isinstance(answer, Reply) else {}
        yield {"id": row_id, "instruction": instruction(before), "tools": tools, "output": calls, **text}


def said(answer: Calls | Reply) -> str:
    """An assistant turn as the model writes it."""
    return write_calls(answer.calls) if isinstance(answer, Calls) else answer.content


def instruction(turns: list[Message]) -> str:
    """The user's text alone, or all turns, one a line with its role."""
    if len(turns) == 1 and isinstance(turns[0], User):
        return turns[0].content
    return "\n".join(f"{_ROLES[type(turn)]}: {_content(turn)}" for turn in turns)


_ROLES: Mapping[type, str] = {System: "system", User: "user", Calls: "assistant", Reply: "assistant", Result: "tool"}


def _answers(example: Example) -> Iterator[tuple[str, list[Message], Calls | Reply]]:
    """Each assistant turn with the turns before it, the system's left out."""
    turns: list[Message] = [message for message in example.messages if not isinstance(message, System)]
    answers = [(i, turn) for i, turn in enumerate(turns) if isinstance(turn, Calls | Reply)]
    for number, (i, answer) in enumerate(answers):
        yield example.id if len(answers) == 1 else f"{example.id}#{number}", turns[:i], answer


def _turn(example: Example, message: Message) -> dict[str, Any]:
    if isinstance(message, System):
        return {"role": "system", "content": system_text(message.content, example.tools, example.language)}
    named = {"name": message.tool} if isinstance(message, Result) else {}
    return {"role": _ROLES[type(message)], **named, "content": _content(message)}


def _content(message: Message) -> str:
    return said(message) if isinstance(message, Calls | Reply) else message.content
