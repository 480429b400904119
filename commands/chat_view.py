"""How `callwright chat` looks: labelled lines, calls with their results, tables of what changed in the world.

Whatever a model, a tool or a user wrote is shown without what moves a terminal's cursor or colours it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from callwright.answers import Called, Said, Unparsed
from callwright.loop import Step
from callwright.pack_backend import Change, State
from callwright.teacher.questions import printable

LONGEST = 2_000
"""Characters of one text that are shown."""
ROWS = 30
"""Rows of one table that are shown."""


class View:
    def __init__(self) -> None:
        console = Console(highlight=False)
        self.console = console if console.is_terminal else Console(highlight=False, width=120)

    def line(self, label: str, text: str, style: str = "") -> None:
        """A label of one width, and a text that is wrapped beside it."""
        grid = Table.grid(padding=(0, 1))
        grid.add_column(no_wrap=True, width=7)
        grid.add_column(overflow="fold")
        grid.add_row(Text(label, style="bold"), Text(shown(text), style=style))
        self.console.print(grid)

    def step(self, step: Step) -> None:
        """What the model said, and what its calls gave back."""
        for one in step.ran:
            self.line("call", f"{one.call.tool} {_json(dict(one.call.params))}", "cyan")
            self.line("", f"→ {one.result}", "" if one.ok else "red")
        match step.spoken.answer:
            case Said(text):
                self.line("answer", text, "green")
            case Called(calls) if not step.ran:
                self.line("not run", "; ".join(f"{call.tool} {_json(dict(call.params))}" for call in calls[:3]), "red")
            case Unparsed() if step.spoken.asked:
                self.line("unread", step.spoken.raw or "(nothing)", "red")

    def changes(self, found: Sequence[Change]) -> None:
        """A table for each table of the world in which something changed: + a new row, - one that is gone, ~ both."""
        for table in dict.fromkeys(change.table for change in found):
            rows: list[tuple[str, Mapping[str, Any]]] = []
            for change in found:
                if change.table == table:
                    both = change.before is not None and change.after is not None
                    rows += [("~ was" if both else "-", change.before)] if change.before is not None else []
                    rows += [("~ is" if both else "+", change.after)] if change.after is not None else []
            self._table(table, rows)

    def state(self, state: State) -> None:
        """All tables that have rows; the names of the others."""
        for table, rows in state.items():
            if rows:
                self._table(table, [("", row) for row in rows])
        if empty := [table for table, rows in state.items() if not rows]:
            self.line("empty", ", ".join(empty), "dim")

    def _table(self, name: str, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        table = Table(title=shown(name), title_justify="left", title_style="bold")
        marked = any(mark for mark, _ in rows)
        columns = list(dict.fromkeys(column for _, row in rows for column in row))
        for column in (*([""] if marked else []), *columns):
            table.add_column(Text(shown(column)), overflow="fold")
        for mark, row in rows[:ROWS]:
            cells = [Text(_cell(row.get(column))) for column in columns]
            table.add_row(*([Text(mark)] if marked else []), *cells)
        self.console.print(table)
        if len(rows) > ROWS:
            self.line("", f"and {len(rows) - ROWS:,} rows more", "dim")


def shown(text: str) -> str:
    """A stranger's text for a terminal: lines stay lines, and not more of it than a person reads."""
    cut = text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text):,} characters)"
    return "\n".join(printable(line) for line in cut.split("\n"))


def _cell(value: Any) -> str:
    return "" if value is None else shown(value if isinstance(value, str) else _json(value))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
