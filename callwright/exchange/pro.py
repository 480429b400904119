"""pro: the user's document, section 四, one row for each assistant turn; it has no place for a system text.

{"id": "office-1", "instruction": "幫我查預算", "tools": [{"name", "description", "parameters"}],
 "output": [{"tool": "query_database", "params": {"query_str": "預算"}}]}
{"id": "office-2", "instruction": "謝謝", "tools": […], "output": [], "reply": "不客氣。"}
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from callwright.exchange.drafts import Draft, Form, Given, Row, list_of, text_of
from callwright.exchange.tools import read_tool_list
from callwright.exchange.turns_as_text import joined, read_turns
from callwright.formats import to_pro
from callwright.records import Calls, Example, Reply, read_call

_KNOWN = frozenset({"instruction", "tools", "output", "reply"})


def fits(row: Row) -> bool:
    return "instruction" in row and (isinstance(row.get("output"), list) or "reply" in row)


def read(row: Row, given: Given) -> Draft:
    draft = _frame(row)
    draft.messages += [*read_turns(text_of(row.get("instruction"), "instruction")), _answer(row)]
    return draft


def join(rows: Sequence[Row], given: Given) -> Draft | None:
    if any(row.get("tools") != rows[0].get("tools") for row in rows):
        return None
    turns = joined([(text_of(row.get("instruction"), "instruction"), _answer(row)) for row in rows])
    if turns is None:
        return None
    draft = _frame(rows[0])
    draft.messages += turns
    return draft


def _frame(row: Row) -> Draft:
    tools = None if row.get("tools") is None else read_tool_list(row["tools"], "tools")
    return Draft([], tools, no_place_for_system=True, known=_KNOWN)


def _answer(row: Row) -> Calls | Reply:
    calls = list_of(row.get("output", []), "output")
    if not calls and row.get("reply") is not None:
        return Reply(text_of(row["reply"], "reply"))
    return Calls(tuple(read_call(call, f"output[{i}]") for i, call in enumerate(calls)))


def write(example: Example) -> Iterator[dict[str, Any]]:
    yield from to_pro(example)


FORM = Form("pro", fits, read, write, join)
