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
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Self

from callwright.moments import read, resolve
from callwright.pack_shape import Contains, Pack, PackTool
from callwright.records import Call
from callwright.speech import plain

_AFFINITY = {"text": "TEXT", "integer": "INTEGER", "real": "REAL", "moment": "TEXT", "list": "TEXT"}


class Refused(ValueError):
    """The backend does not run this call; the sentence says why."""


class World:
    """The tables of one pack. `now` stands for today; `first_id` is the id of the next row of any table."""

    def __init__(self, pack: Pack, now: datetime, first_id: int = 1) -> None:
        self.pack, self.now, self.next_id = pack, now, first_id
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        self.db.create_function("plain", 1, _compared, deterministic=True)
        for table, columns in pack.tables.items():
            declared = ", ".join(f'"{name}" {_AFFINITY[kind]}' for name, kind in columns.items())
            self.db.execute(f'CREATE TABLE "{table}" (id INTEGER PRIMARY KEY, {declared})')

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.db.close()

    def put(self, table: str, row: Mapping[str, Any]) -> int:
        """Add a row; return its id."""
        row_id, self.next_id = self.next_id, self.next_id + 1
        names = ", ".join(f'"{name}"' for name in ("id", *row))
        marks = ", ".join("?" for _ in range(len(row) + 1))
        self.db.execute(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', (row_id, *map(_cell, row.values())))
        return row_id

    def run(self, call: Call) -> str:
        """Run a call in one transaction; its result as JSON. `Refused` where tool, schema or SQLite do not allow it."""
        from jsonschema import Draft202012Validator

        tool = next((tool for tool in self.pack.tools if tool.name == call.tool), None)
        if tool is None:
            raise Refused(f"there is no tool {call.tool!r}")
        fault = next(iter(Draft202012Validator(tool.parameters).iter_errors(dict(call.params))), None)
        if fault is not None:
            raise Refused(f"{call.tool}: {fault.message}")
        values = {name: self._resolved(tool, name, value) for name, value in call.params.items()}
        try:
            with self._transaction():
                return json.dumps(self._act(tool, values), ensure_ascii=False)
        except (sqlite3.Error, OverflowError, UnicodeEncodeError) as error:
            raise Refused(f"{tool.name}: {error}") from error

    def _resolved(self, tool: PackTool, param: str, value: Any) -> Any:
        if not tool.is_moment(param) or not isinstance(value, str):
            return value
        moment = read(value)
        if moment is None:
            raise Refused(f"{tool.name}: {param} is {value!r}, which names no moment")
        return resolve(moment, self.now)

    def _act(self, tool: PackTool, values: Mapping[str, Any]) -> dict[str, Any]:
        action = tool.action
        if action.insert:
            columns = self.pack.tables[action.insert]
            return {"id": self.put(action.insert, {name: v for name, v in values.items() if name in columns})}
        where, bound = self._where(tool, values)
        table = action.table
        if action.count:
            return {"count": self.db.execute(f'SELECT count(*) FROM "{table}"{where}', bound).fetchone()[0]}
        found = [row[0] for row in self.db.execute(f'SELECT id FROM "{table}"{where} ORDER BY id', bound)]
        if not found:
            return {"error": "not_found"}
        if action.delete:
            self.db.executemany(f'DELETE FROM "{table}" WHERE id = ?', [(row_id,) for row_id in found])
            return {"deleted": len(found)}
        changes = {column: values[param] for column, param in action.set.items() if param in values}
        for column, value in changes.items():
            self.db.execute(f'UPDATE "{table}" SET "{column}" = ? WHERE id = ?', (_cell(value), found[0]))
        names = ", ".join(f'"{name}"' for name in action.columns)
        row = self.db.execute(f'SELECT {names} FROM "{table}" WHERE id = ?', (found[0],)).fetchone()
        kinds = self.pack.tables[table]
        told = zip(action.columns, row, strict=True)
        return {name: json.loads(cell) if kinds[name] == "list" and cell else cell for name, cell in told}

    def _where(self, tool: PackTool, values: Mapping[str, Any]) -> tuple[str, list[Any]]:
        terms, bound = [], []
        for column, test in tool.action.where.items():
            param = test.contains if isinstance(test, Contains) else test
            if param in values:
                inside = isinstance(test, Contains)
                terms.append(f'instr(plain("{column}"), plain(?)) > 0' if inside else f'plain("{column}") = plain(?)')
                bound.append(_cell(values[param]))
        return (" WHERE " + " AND ".join(terms) if terms else ""), bound

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self.db.execute("BEGIN")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")


def _compared(value: Any) -> str | None:
    """A value as it is compared: text after NFKC and case folding, 14.0 as 14; nothing is equal to nothing."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return None if value is None else plain(str(value))


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
