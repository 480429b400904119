"""Rows of any format, as records.

    for row in read_rows(Path("rows.jsonl")):        the format is detected
        row                                          Row(number=0, place="rows.jsonl:1", example=Example(…), …)
                                                     or Unread(number=1, place="rows.jsonl:2", message="not JSON: …", …)

A row that cannot be read is a value, and the run goes on; a file that cannot be read is a `Fault`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from callwright.exchange import alpaca, canonical, glaive, hermes, messages, openai, pro, sharegpt, xlam
from callwright.exchange.categories import category_of, language_of
from callwright.exchange.drafts import LONGEST_SMALL, Draft, Form, Given, short, written
from callwright.exchange.files import Item, read_items
from callwright.exchange.systems import NEUTRAL
from callwright.faults import Fault
from callwright.records import BadRecord, Example, Language, Split, System, Tool

_ALL = (canonical, messages, alpaca, pro, openai, sharegpt, hermes, xlam, glaive)
FORMS: Mapping[str, Form] = {module.FORM.name: module.FORM for module in _ALL}
FORMATS: tuple[str, ...] = tuple(FORMS)

_LOOKED_AT = 200
"""Rows that detection looks at. Some formats differ only where something is called."""
_MOST_TURNS = 1000
"""Rows that may be one record."""


@dataclass(frozen=True, slots=True)
class Row:
    number: int
    """From 0, blank lines left out."""
    place: str
    """FILE:LINE, of its first line."""
    raw: str
    """As it stands in the file; several lines where they are one record."""
    id: str
    """Its own id, or its number."""
    example: Example
    warnings: tuple[str, ...]
    """What was left out; the same sentence for the same thing."""
    named_tools: bool
    """Whether the row, or the caller, says which tools there are. If not, the record has none."""
    named_language: bool
    """Whether the row or the caller says the language; else it was detected."""


@dataclass(frozen=True, slots=True)
class Unread:
    number: int
    place: str
    raw: str
    id: str
    message: str


def form_named(name: str) -> Form:
    if name not in FORMS:
        raise Fault(f"{name!r} is no format; the formats are {', '.join(FORMATS)}")
    return FORMS[name]


def detect(path: Path) -> str:
    """The name of the format: the first row that fits one alone decides, else the plainest that fits."""
    return _detected(path) or FORMATS[0]


def _detected(path: Path) -> str | None:
    """None where no row is JSON, so that it does not matter."""
    left: set[str] = set()
    first: Item | None = None
    objects = (item for item in read_items(path) if isinstance(item.value, dict))
    for item in islice(objects, _LOOKED_AT):
        first = first or item
        fitting = {name for name, form in FORMS.items() if form.fits(item.value)}
        left = (left & fitting) or left or fitting
        if len(left) == 1:
            break
    if first and not left:
        keys = ", ".join(map(repr, first.value)) or "no keys at all"
        raise Fault(f"{first.place}: no format fits a row with {keys}; name one of {', '.join(FORMATS)} with --format")
    return next((name for name in FORMATS if name in left), None)


def read_rows(
    path: Path,
    form: str | None = None,
    tools: Sequence[Tool] = (),
    language: Language | None = None,
    split: Split = Split.TRAIN,
) -> Iterator[Row | Unread]:
    """Every row of the file in order. `tools` and `language` stand in for what a row does not say.

    Rows `id#0`, `id#1`, … that stand after one another come out as the one record they were written from.
    """
    chosen = form_named(form if form is not None else detect(path))
    yield from records(chosen, read_items(path), Given(tuple(tools), language), split)


def records(form: Form, items: Iterable[Item], given: Given, split: Split = Split.TRAIN) -> Iterator[Row | Unread]:
    for group in _groups(items) if form.join else ([item] for item in items):
        if one := _joined(form, group, given, split):
            yield one
            continue
        for item in group:
            yield _record(form, item, given, split)


def _groups(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Rows whose ids count on from `#0`, together."""
    group: list[Item] = []
    for item in items:
        base, mark, number = _row_id(item).rpartition("#")
        goes_on = mark and group and _row_id(group[0]) == f"{base}#0" and number == str(len(group))
        if group and not (goes_on and len(group) < _MOST_TURNS):
            yield group
            group = []
        group.append(item)
    if group:
        yield group


def _joined(form: Form, group: Sequence[Item], given: Given, split: Split) -> Row | None:
    if len(group) < 2 or form.join is None:
        return None
    rows = [item.value for item in group]
    try:
        draft = form.join(rows, given)
    except BadRecord:
        return None
    if draft is None:
        return None
    raw = "\n".join(item.raw for item in group)
    whole = replace(group[0], raw=raw, value={**rows[0], "id": _row_id(group[0]).removesuffix("#0")})
    return _finished(whole, draft, given, split)


def _record(form: Form, item: Item, given: Given, split: Split) -> Row | Unread:
    fault = item.fault
    if fault is None:
        try:
            if not isinstance(item.value, dict):
                raise BadRecord(f"a row is {short(item.value)}; expected an object")
            return _finished(item, form.read(item.value, given), given, split)
        except BadRecord as error:
            fault = str(error)
    return Unread(item.number, item.place, item.raw, _row_id(item), fault)


def _row_id(item: Item) -> str:
    own = item.value.get("id") if isinstance(item.value, dict) else None
    if isinstance(own, str) and own:
        return own
    return written(own) if isinstance(own, bool | int | float) else str(item.number)


def _finished(item: Item, draft: Draft, given: Given, split: Split) -> Row:
    row_id = _row_id(item)
    if draft.example:
        return Row(item.number, item.place, item.raw, row_id, draft.example, (), named_tools=True, named_language=True)
    language = given.language or language_of(draft.messages)
    turns = draft.messages
    if draft.no_place_for_system and not any(isinstance(turn, System) for turn in turns):
        turns = [System(NEUTRAL[language]), *turns]
    named = draft.tools is not None or bool(given.tools)
    tools = given.tools if draft.tools is None else draft.tools
    source = dict(_kept(item.value, draft))
    category = category_of(turns, tools if named else None)
    return Row(
        number=item.number,
        place=item.place,
        raw=item.raw,
        id=row_id,
        example=Example(row_id, language, category, split, tools, tuple(turns), source),
        warnings=tuple(draft.warnings),
        named_tools=named,
        named_language=given.language is not None,
    )


def _kept(row: Mapping[str, Any], draft: Draft) -> Iterator[tuple[str, Any]]:
    """Extra keys that are small; the others are left out with a warning."""
    for key, value in row.items():
        if key in draft.known or (key == "id" and isinstance(value, str | bool | int | float)):
            continue
        if (
            value is None
            or isinstance(value, bool | int | float)
            or (isinstance(value, str) and len(value) <= LONGEST_SMALL)
        ):
            yield key, value
        else:
            draft.warnings.append(f"the key {key!r} is left out; only small values are kept")
