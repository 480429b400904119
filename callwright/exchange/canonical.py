"""canonical: our own record (callwright/records.py). Strict: an unknown key is a fault, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from callwright.exchange.drafts import Draft, Form, Given, Row
from callwright.records import Example, read_example


def fits(row: Row) -> bool:
    turns = row.get("messages")
    if not isinstance(turns, list):
        return False
    ours = any(isinstance(turn, dict) and ("calls" in turn or "tool" in turn) for turn in turns)
    return ours or {"category", "split", "language"} <= row.keys()


def read(row: Row, given: Given) -> Draft:
    example = read_example(row)
    return Draft(list(example.messages), example.tools, example=example, known=frozenset(row))


def write(example: Example) -> Iterator[dict[str, Any]]:
    yield example.to_json()


FORM = Form("canonical", fits, read, write)
