"""The rows that a pack's world starts with when a person tries the tools: so that a query finds something.

    starting_rows([office], ["query_database"], now)                  ->  [("records", {"name": "預算表", …}), …]
    read_rows(Path("world.yaml"), [office], now)                      <-  records: [{name: 預算, amount: 300 萬}]

The first say what each tool's `given` says, for the first values of its slots in both languages, the same every time.
The second are a person's own: a table's name, and its rows, checked against the pack.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from random import Random
from typing import Any

from callwright.faults import Fault
from callwright.filling import drawn
from callwright.moments import read, resolve
from callwright.pack_backend import tables_of
from callwright.pack_shape import Given, Pack, PackTool
from callwright.records import Language
from callwright.yaml_files import read_yaml

EACH = 4
"""Rows for each tool and language."""
MOST = 10_000
"""Rows of a file."""

TableRow = tuple[str, dict[str, Any]]


def starting_rows(packs: Sequence[Pack], tools: Collection[str], now: datetime) -> list[TableRow]:
    """For the tools of these names. What two of them say of one thing (a person's phone, and mail) is one row."""
    shown = {(pack, own): name for name, (pack, own) in tables_of(packs).items()}
    merged: dict[tuple[Any, ...], TableRow] = {}
    for pack in packs:
        for tool in pack.tools:
            if tool.name not in tools:
                continue
            for given, place, named, row in _rows(pack, tool, now):
                table = shown[pack.pack, given.table]
                key = (table, place, *sorted((column, repr(row[column])) for column in named))
                _, kept = merged.setdefault(key, (table, {}))
                kept.update({column: value for column, value in row.items() if column not in kept})
    return list(merged.values())


def _rows(pack: Pack, tool: PackTool, now: datetime) -> Iterator[tuple[Given, int, list[str], dict[str, Any]]]:
    """With each row its `given`, which of its several it is, and the columns that a call names."""
    for language in Language:
        rng = Random(f"{pack.pack} {tool.name} {language}")
        for number in range(EACH):
            params = {name: _value(pack, tool.slot_of(name), language, number, rng) for name in tool.properties}
            for given in tool.given:
                named = [column for column, cell in given.row.items() if cell.param is not None]
                kinds = pack.tables[given.table]
                for place in range(rng.randint(given.rows.min, given.rows.max) if given.rows else 1):
                    row = {}
                    for column, cell in given.row.items():
                        if cell.param is not None:
                            value = params[cell.param]
                        else:
                            value = _value(pack, cell.slot, language, None, rng) if cell.slot else cell.value
                        row[column] = _resolved(value, now) if kinds[column] == "moment" else value
                    yield given, place, named, row


def _value(pack: Pack, slot_name: str, language: Language, number: int | None, rng: Random) -> Any:
    """The value of this number of a slot of words; of any other, and without a number, one that is drawn."""
    slot = pack.slots[slot_name]
    if number is not None and not (slot.number or slot.moment or slot.list or slot.object):
        words = slot.words(language).of(test=False)
        return words[number % len(words)].value
    return drawn(pack, slot_name, language, test=False, spoken=0.0, rng=rng)[1]


def _resolved(value: Any, now: datetime) -> Any:
    moment = read(value) if isinstance(value, str) else None
    return resolve(moment, now) if moment else value


def read_rows(path: Path, packs: Sequence[Pack], now: datetime) -> list[TableRow]:
    """The rows of a file, YAML or JSON: `{table: [{column: value}]}`. `Fault` tells all that the packs do not have."""
    value = read_yaml(path)
    known = tables_of(packs)
    if not isinstance(value, Mapping):
        raise Fault(f"{path} is not a mapping of tables; write, for example, {_example(known)}")
    rows: list[TableRow] = []
    faults: list[str] = []
    for table, listed in value.items():
        if table not in known:
            faults.append(f"{path}: there is no table {table!r}; there are {', '.join(known)}")
            continue
        if not isinstance(listed, list):
            faults.append(f"{path}: {table} is no list of rows; write, for example, {_example(known)}")
            continue
        columns = next(pack for pack in packs if pack.pack == known[table][0]).tables[known[table][1]]
        for i, row in enumerate(listed):
            read_row, odd = _read_row(row, columns, now)
            faults += [f"{path}: {table}[{i}]{sentence}" for sentence in odd]
            rows.append((table, read_row))
    if len(rows) > MOST:
        faults = [f"{path} has {len(rows):,} rows; {MOST:,} are read at most, so leave some out"]
    if faults:
        raise Fault(
            faults[:_TOLD] + ([f"{path}: and {len(faults) - _TOLD} faults more"] if len(faults) > _TOLD else [])
        )
    return rows


_TOLD = 20


def _example(known: Mapping[str, Any]) -> str:
    return f"{next(iter(known), 'table')}: [{{column: value}}]"


_KINDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "text": ((str,), "text; put it in quotes"),
    "integer": ((int,), "a whole number"),
    "real": ((int, float), "a number"),
    "boolean": ((bool,), "true or false"),
    "moment": ((str, date), "a moment, such as tomorrow 15:00 or 2026-03-05"),
    "list": ((list,), "a list"),
    "object": ((dict,), "a mapping"),
}


def _read_row(row: Any, columns: Mapping[str, str], now: datetime) -> tuple[dict[str, Any], list[str]]:
    """The row as the world takes it, and what is wrong with it."""
    if not isinstance(row, Mapping):
        return {}, [f" is {row!r}; a row is a mapping of columns to values"]
    read_row, odd = dict[str, Any](), list[str]()
    for column, value in row.items():
        if column not in columns:
            odd.append(f" has no column {column!r}; it has {', '.join(columns)}, and ids are given by the world")
            continue
        kind, (types, wanted) = columns[column], _KINDS[columns[column]]
        fits = isinstance(value, types) and (kind == "boolean" or not isinstance(value, bool))
        read_row[column] = value
        if kind == "moment" and fits:
            moment = read(value if isinstance(value, str) else value.isoformat())
            fits = moment is not None
            read_row[column] = resolve(moment, now) if moment else None
        if value is not None and not fits:
            odd.append(f".{column} is {value!r}; expected {wanted}")
    return read_row, odd
