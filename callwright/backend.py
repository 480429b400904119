"""The world a pack's tools act on: its tables in SQLite, in memory, one world a conversation.

    world = World(pack, now)
    world.put("contacts", {"name": "王小明", "extension": "4021"})
    world.run(Call("find_contact", {"name": "王小明"}))   ->  '{"extension": "4021"}'

What a tool does is declared in the pack (docs/packs.md, Actions) and interpreted here. Values are bound, never put into
SQL; table and column names are identifiers that the pack declares. The clock is passed in.
"""

# ruff: noqa: S608 - what stands in SQL are identifiers that the pack declares and its reading checks; values are bound

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Self

from callwright.moments import is_moment, read, resolve
from callwright.pack_shape import Action, Contains, Pack, PackTool
from callwright.records import Call, Language
from callwright.schemas import schema_fault
from callwright.speech import plain

_AFFINITY = {
    "text": "TEXT",
    "integer": "INTEGER",
    "real": "REAL",
    "boolean": "INTEGER",
    "moment": "TEXT",
    "list": "TEXT",
    "object": "TEXT",
}
LISTED = 5
"""So many rows a `list` gives back at most."""

_NOT_HELD = (sqlite3.Error, OverflowError, UnicodeEncodeError)
"""What SQLite says of a value that it cannot hold."""


class Refused(ValueError):
    """The backend does not run this call; the sentence says why."""


class World:
    """The tables of one pack. `now` stands for today; `first_id` is the id of the next row of any table.

    Making the tables takes longer than a conversation, so a pack's database is used again: all that happens in a world
    is one transaction, which ends with it, and each call is a transaction inside.
    """

    def __init__(self, pack: Pack, now: datetime, first_id: int = 1) -> None:
        self.pack, self.now, self.next_id = pack, now, first_id
        self._idle = _IDLE.setdefault((os.getpid(), threading.get_ident(), pack.tables_key), [])
        self.db = self._idle.pop() if self._idle else _open(pack)
        self.db.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.db.execute("ROLLBACK")
        self._idle.append(self.db)

    def put(self, table: str, row: Mapping[str, Any], row_id: int | None = None) -> int:
        """Add a row; return its id. `row_id` is for a row that has one already; no later row is given it again."""
        row_id = self.next_id if row_id is None else row_id
        self.next_id = max(self.next_id, row_id + 1)
        names = ", ".join(f'"{name}"' for name in ("id", *row))
        marks = ", ".join("?" for _ in range(len(row) + 1))
        self.db.execute(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', (row_id, *map(_cell, row.values())))
        return row_id

    def state(self) -> dict[str, list[dict[str, Any]]]:
        """The rows of each table by their ids, as JSON could hold them; a row has its `id`."""
        return {table: [self._row(table, row_id) for row_id in self._ids(table)] for table in self.pack.tables}

    def fitting(self, call: Call) -> list[int]:
        """The ids of the rows that a call is about, without running it; none where it would add one, or is refused."""
        tool = self.pack.named.get(call.tool)
        if tool is None or tool.action is None or tool.action.insert:
            return []
        try:
            values = {name: self._resolved(tool, name, value) for name, value in call.params.items()}
            return self._ids(tool.action.table, *self._where(tool.action, values))
        except (Refused, *_NOT_HELD):
            return []

    def run(self, call: Call) -> str:
        """Run a call in one transaction; its result as JSON. `Refused` where tool, schema or SQLite do not allow it."""
        tool = self.pack.named.get(call.tool)
        if tool is None:
            raise Refused(f"there is no tool {call.tool!r}")
        if fault := schema_fault(call, tool.offered(Language.EN)):
            raise Refused(fault[1])
        action = tool.action
        if action is None:
            raise Refused(f"{call.tool} has no action in packs/{self.pack.pack}.yaml; add one")
        try:
            values = {name: self._resolved(tool, name, value) for name, value in call.params.items()}
            with self._transaction(action.reads):
                return json.dumps(self._act(action, values), ensure_ascii=False)
        except _NOT_HELD as error:
            raise Refused(f"{tool.name}: {error}") from error

    def _resolved(self, tool: PackTool, param: str, value: Any) -> Any:
        """The value with its moments in ISO 8601, also those inside lists and objects."""

        def told(name: str, schema: Any, inner: Any) -> Any:
            if isinstance(inner, list):
                items = schema.get("items") if isinstance(schema, Mapping) else None
                return [told("", items, item) for item in inner]
            if isinstance(inner, Mapping):
                parts = schema.get("properties", {}) if isinstance(schema, Mapping) else {}
                return {key: told(key, parts.get(key), item) for key, item in inner.items()}
            marked = name == param and param in tool.moments
            if not isinstance(inner, str) or not is_moment(name, schema, marked):
                return inner
            moment = read(inner)
            if moment is None:
                raise Refused(f"{tool.name}: {name or param} is {inner!r}, which names no moment")
            return resolve(moment, self.now)

        return told(param, tool.properties.get(param), value)

    def _act(self, action: Action, values: Mapping[str, Any]) -> dict[str, Any]:
        if action.insert:
            columns = self.pack.tables[action.insert]
            return {"id": self.put(action.insert, {name: v for name, v in values.items() if name in columns})}
        where, bound = self._where(action, values)
        table = action.table
        if action.count:
            return {"count": self.db.execute(f'SELECT count(*) FROM "{table}"{where}', bound).fetchone()[0]}
        found = self._ids(table, where, bound)
        if action.list:
            rows = [self._row(table, row_id, action.columns) for row_id in found[:LISTED]]
            alone = len(action.columns) == 1
            return {"count": len(found), "items": [row[action.columns[0]] if alone else row for row in rows]}
        if not found:
            return {"error": "not_found"}
        if action.delete:
            self.db.executemany(f'DELETE FROM "{table}" WHERE id = ?', [(row_id,) for row_id in found])
            return {"deleted": len(found)}
        changes = {column: values[param] for column, param in action.set.items() if param in values}
        for column, value in changes.items():
            self.db.execute(f'UPDATE "{table}" SET "{column}" = ? WHERE id = ?', (_cell(value), found[0]))
        return self._row(table, found[0], action.columns)

    def _ids(self, table: str, where: str = "", bound: Sequence[Any] = ()) -> list[int]:
        return [row[0] for row in self.db.execute(f'SELECT id FROM "{table}"{where} ORDER BY id', bound)]

    def _row(self, table: str, row_id: int, columns: Sequence[str] | None = None) -> dict[str, Any]:
        """Some columns of one row, or all with its id."""
        kinds = self.pack.tables[table]
        columns = ["id", *kinds] if columns is None else columns
        names = ", ".join(f'"{name}"' for name in columns)
        row = self.db.execute(f'SELECT {names} FROM "{table}" WHERE id = ?', (row_id,)).fetchone()
        return {name: _read_cell(kinds.get(name, "integer"), cell) for name, cell in zip(columns, row, strict=True)}

    def _where(self, action: Action, values: Mapping[str, Any]) -> tuple[str, list[Any]]:
        terms, bound = [], []
        for column, test in action.where.items():
            param = test.contains if isinstance(test, Contains) else test
            if param in values:
                inside = isinstance(test, Contains)
                terms.append(f'instr(plain("{column}"), plain(?)) > 0' if inside else f'plain("{column}") = plain(?)')
                bound.append(_cell(values[param]))
        return (" WHERE " + " AND ".join(terms) if terms else ""), bound

    @contextlib.contextmanager
    def _transaction(self, reads: bool) -> Iterator[None]:
        """A call's changes stay whole or not at all; SQLite refuses those of a call that only reads."""
        self.db.execute("SAVEPOINT call")
        if reads:
            self.db.execute("PRAGMA query_only = ON")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK TO call")
            raise
        finally:
            if reads:
                self.db.execute("PRAGMA query_only = OFF")
            self.db.execute("RELEASE call")


_IDLE: dict[tuple[int, int, str], list[sqlite3.Connection]] = {}
"""Databases that no world uses, by process, thread and tables."""


def _open(pack: Pack) -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.create_function("plain", 1, _compared, deterministic=True)
    for table, columns in pack.tables.items():
        declared = ", ".join(
            ["id INTEGER PRIMARY KEY", *(f'"{name}" {_AFFINITY[kind]}' for name, kind in columns.items())]
        )
        db.execute(f'CREATE TABLE "{table}" ({declared})')
    return db


def _read_cell(kind: str, cell: Any) -> Any:
    if cell is None:
        return None
    if kind in ("list", "object"):
        try:
            return json.loads(cell)
        except (TypeError, ValueError):  # a schema of a pack may let a text in
            return cell
    return bool(cell) if kind == "boolean" else cell


def _compared(value: Any) -> str | None:
    """A value as it is compared: text after NFKC and case folding, 14.0 as 14; nothing is equal to nothing."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return None if value is None else plain(str(value))


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
