r"""alpaca: the user's document, section 三, one row for each assistant turn.

    {"id": "office-1", "system": "你是一位專業助理。可以使用工具。", "instruction": "幫我查預算",
     "output": "{\"tool\": \"query_database\", \"params\": {\"query_str\": \"預算\"}}"}

Read as well, as LLaMA-Factory's Alpaca has them: `input`, which continues the instruction, and `history`, pairs of
request and answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from callwright.exchange.drafts import Draft, Form, Given, Row, list_of, text_of
from callwright.exchange.systems import opening_of
from callwright.exchange.tools import read_tool_list
from callwright.exchange.turns_as_text import answer_of, joined, read_turns
from callwright.formats import to_alpaca
from callwright.records import BadRecord, Example, Message, User

_KNOWN = frozenset({"system", "instruction", "input", "history", "output", "tools"})


def fits(row: Row) -> bool:
    return "instruction" in row and isinstance(row.get("output"), str)


def read(row: Row, given: Given) -> Draft:
    draft = _frame(row, given)
    answer = answer_of(text_of(row.get("output"), "output"), "output")
    draft.messages += [*_before(row), answer]
    return draft


def join(rows: Sequence[Row], given: Given) -> Draft | None:
    if any(row.keys() & {"input", "history"} or row.get("system") != rows[0].get("system") for row in rows):
        return None
    texts = [text_of(row.get("instruction"), "instruction") for row in rows]
    turns = joined(
        [(text, answer_of(text_of(row["output"], "output"), "output")) for text, row in zip(texts, rows, strict=True)]
    )
    if turns is None:
        return None
    draft = _frame(rows[0], given)
    draft.messages += turns
    return draft


def _frame(row: Row, given: Given) -> Draft:
    """System text and tools."""
    draft = Draft([], known=_KNOWN)
    if row.get("tools"):
        draft.tools = read_tool_list(row["tools"], "tools")
    if row.get("system") is not None:
        text = text_of(row["system"], "system")
        system, listed = opening_of(text, given.tools if draft.tools is None else draft.tools)
        draft.tools = listed if draft.tools is None else draft.tools
        if system.content:  # written as "" too where a record has none
            draft.messages.append(system)
    return draft


def _before(row: Row) -> list[Message]:
    turns: list[Message] = []
    for i, pair in enumerate(list_of(row.get("history") or [], "history")):
        place = f"history[{i}]"
        if not isinstance(pair, list) or len(pair) != 2:
            raise BadRecord(f"{place} is no pair of request and answer")
        turns += [User(text_of(pair[0], place)), answer_of(text_of(pair[1], place), place)]
    text = text_of(row.get("instruction"), "instruction")
    if more := row.get("input"):
        return [*turns, User(f"{text}\n{text_of(more, 'input')}" if text else text_of(more, "input"))]
    return [*turns, *read_turns(text)]


def write(example: Example) -> Iterator[dict[str, Any]]:
    yield from to_alpaca(example)


FORM = Form("alpaca", fits, read, write, join)
