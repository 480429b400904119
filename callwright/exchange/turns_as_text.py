"""Turns that stand in one text, one a line with their role, as alpaca and pro have them (`formats.instruction`).

    user: 幫我查預算
    assistant: {"tool": "query_database", "params": {"query_str": "預算"}}
    tool: {"amount": "300 萬"}

A text can hold a line that looks like a turn. So rows `id#0`, `id#1`, … of one record are read together: each has to
begin with all that the one before it holds, and what comes after that can be only one thing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from callwright.answers import Called, Said, read_answer
from callwright.exchange.drafts import Names
from callwright.formats import instruction
from callwright.records import BadRecord, Calls, Message, Reply, Result, User

_TURN = re.compile(r"^(user|assistant|tool): ", re.MULTILINE)


def answer_of(text: str, place: str) -> Calls | Reply:
    """An assistant's turn in the document's form: JSON calls, one a line, or text as it is."""
    match read_answer(text):
        case Called(calls):
            return Calls(calls)
        case Said():
            return Reply(text)
        case unparsed:
            if not text.strip():
                return Reply(text)
            raise BadRecord(f"{place} is neither calls nor text: {unparsed.reason}")


def read_turns(text: str) -> list[Message]:
    """The turns that `instruction` holds; one user turn where they are not plainly there."""
    return _history(text) or [User(text)]


def _history(text: str) -> list[Message] | None:
    starts = [found.start() for found in _TURN.finditer(text)]
    if len(starts) < 2 or starts[0] != 0:
        return None
    turns: list[Message] = []
    names = Names()
    for begin, end in zip(starts, [*(start - 1 for start in starts[1:]), len(text)], strict=True):
        role, _, content = text[begin:end].partition(": ")
        before = turns[-1] if turns else None
        if names.waiting and role != "tool":
            return None
        if role == "user" and (before is None or isinstance(before, Reply)):
            turns.append(User(content))
        elif role == "assistant" and isinstance(before, User | Result):
            try:
                turns.append(answer_of(content, role))
            except BadRecord:
                return None
            if isinstance(turns[-1], Calls):
                names.called(turns[-1])
        elif role == "tool" and names.waiting:
            turns.append(Result(names.next(), content))
        else:
            return None
    return turns if isinstance(turns[-1], User | Result) and not names.waiting else None


def joined(rows: Sequence[tuple[str, Calls | Reply]]) -> list[Message] | None:
    """The conversation of rows given as (instruction, answer); None where one does not continue the one before it."""
    turns: list[Message] = [User(rows[0][0]), rows[0][1]]
    for text, answer in rows[1:]:
        so_far = instruction(turns)
        more = _since(text[len(so_far) :], turns[-1]) if text.startswith(so_far) else None
        if more is None:
            return None
        turns += [*more, answer]
    return turns


def _since(text: str, before: Message) -> list[Message] | None:
    """What came after an assistant's turn: a request, or a result for each of its calls."""
    if text.startswith("\nuser: "):
        return [User(text.removeprefix("\nuser: "))]
    if not isinstance(before, Calls) or not text.startswith("\ntool: "):
        return None
    text = text.removeprefix("\ntool: ")
    contents = [text] if len(before.calls) == 1 else text.split("\ntool: ")
    if len(contents) != len(before.calls):
        return None
    return [Result(call.tool, content) for call, content in zip(before.calls, contents, strict=True)]
