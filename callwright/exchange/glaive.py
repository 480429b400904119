r"""glaive: Glaive function calling v2 (https://huggingface.co/datasets/glaiveai/glaive-function-calling-v2); in only.

    {"system": "SYSTEM: You are a helpful assistant with access to the following functions. Use them if required -\n…",
     "chat": "USER: What is my BMI? …\n\n\nASSISTANT: <functioncall> {\"name\": \"calculate_bmi\",
              \"arguments\": '{\"weight\": 70, \"height\": 1.75}'} <|endoftext|>\n\n\nFUNCTION RESPONSE: {\"bmi\": 22.9}
              \n\n\nASSISTANT: Your BMI is 22.9. <|endoftext|>"}

The arguments are JSON between single quotes that are not escaped inside, so they are read up to the last one.
"""

from __future__ import annotations

import json
import re
from typing import Any

from callwright.exchange.drafts import Draft, Form, Given, Names, Row, object_of, parsed, text_of
from callwright.exchange.openai import BESIDE_CALLS
from callwright.exchange.tools import read_function_call, read_tool
from callwright.records import BadRecord, Call, Calls, Message, Reply, Result, System, Tool, User

_ROLES = "(USER|ASSISTANT|FUNCTION RESPONSE):[ \\t]*"
_ROLE = re.compile(f"^{_ROLES}", re.MULTILINE)
_ROLE_IN_LINE = re.compile(rf"(?:^|(?<=\s)){_ROLES}")
"""For copies of the set that have lost their line ends."""
_CALL = "<functioncall>"
_END = "<|endoftext|>"
_QUOTED = re.compile(r"""\{\s*"name":\s*"([^"]+)",\s*"arguments":\s*'(.*)'\s*\}""", re.DOTALL)
_OFFER = re.compile(r",? with access to the following functions?\. Use them if required ?-?\s*$")


def fits(row: Row) -> bool:
    return isinstance(row.get("chat"), str)


def read(row: Row, given: Given) -> Draft:
    draft = Draft([], known=frozenset({"system", "chat"}))
    if row.get("system") is not None:
        system, draft.tools = _system(text_of(row["system"], "system"))
        draft.messages.append(system)
    chat = text_of(row.get("chat"), "chat")
    starts = list(_ROLE.finditer(chat))
    if len(starts) < 2:
        starts = list(_ROLE_IN_LINE.finditer(chat))
    if not starts or chat[: starts[0].start()].strip():
        raise BadRecord("chat does not begin with USER: or ASSISTANT:")
    names = Names()
    ends = [*(found.start() for found in starts[1:]), len(chat)]
    for i, (found, end) in enumerate(zip(starts, ends, strict=True)):
        content = chat[found.end() : end].replace(_END, "").strip()
        draft.messages.append(_turn(found[1], content, f"chat, turn {i}", names, draft))
    return draft


def _system(text: str) -> tuple[System, tuple[Tool, ...]]:
    """The opening and the tools, which stand one after another as JSON objects."""
    text = text.strip().removeprefix("SYSTEM:").strip()
    begin = text.find("{")
    if begin < 0:
        return System(text), ()
    opening, decoder = text[:begin].strip(), json.JSONDecoder()
    tools: list[Tool] = []
    rest = text[begin:]
    while rest:
        try:
            _, end = decoder.raw_decode(rest)
        except (ValueError, RecursionError) as error:
            raise BadRecord(f"system: what stands there after {len(tools)} functions is no JSON: {error}") from None
        tools.append(read_tool(parsed(rest[:end], "system"), f"system, function {len(tools)}"))
        rest = rest[end:].lstrip(", \n\t\r")
    said = _OFFER.sub("", opening)
    return System(f"{said}." if said != opening else opening), tuple(tools)


def _turn(role: str, content: str, place: str, names: Names, draft: Draft) -> Message:
    if role == "USER":
        return User(content)
    if role == "FUNCTION RESPONSE":
        return Result(names.next(), content)
    before, call, after = content.partition(_CALL)
    if not call:
        return Reply(content)
    if before.strip():
        draft.warnings.append(BESIDE_CALLS)
    turn = Calls(tuple(_call(text.strip(), place) for text in after.split(_CALL)))
    names.called(turn)
    return turn


def _call(text: str, place: str) -> Call:
    text = text.removesuffix("</functioncall>").strip()
    quoted = _QUOTED.fullmatch(text)
    if quoted is None:
        return read_function_call(parsed(text, place), place)
    return Call(quoted[1], object_of(_arguments(quoted[2], place), f"{place}.arguments"))


def _arguments(text: str, place: str) -> Any:
    r"""JSON; some rows escape the single quote (`I\'m`), which JSON does not know."""
    try:
        return parsed(text, f"{place}.arguments")
    except BadRecord:
        if "\\'" not in text:
            raise
        return parsed(text.replace("\\'", "'"), f"{place}.arguments")


FORM = Form("glaive", fits, read)
