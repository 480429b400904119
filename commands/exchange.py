"""callwright import, callwright export: rows in from the formats of others, and out again

    callwright import xlam.json                   ->  data/sources/xlam.jsonl, which the next validate reads
    callwright export openai --out openai.jsonl   <-  data/validated/train.jsonl

Both say what could not be kept, by name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

from callwright.exchange import Row, Unread, Writer, detect, read_rows, read_tools, writer
from callwright.faults import Fault
from callwright.outs import to_json, whole_file, write_lines
from callwright.records import Example, Language, Split

SOURCES = Path("data/sources")
TRAIN = Path("data/validated/train.jsonl")
UNREAD = ".unread"
_SHOWN = 3


@dataclass(slots=True)
class _Tally:
    """What is told at the end."""

    read: int = 0
    unread: int = 0
    first: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    without_tools: int = 0

    def note(self, row: Row | Unread) -> None:
        if isinstance(row, Unread):
            self.unread += 1
            if len(self.first) < _SHOWN:
                self.first.append(f"{row.place}: {row.message}")
            return
        self.read += 1
        self.left_out.update(set(row.warnings))
        self.without_tools += not row.named_tools

    def tell(self, path: Path) -> None:
        for sentence, count in self.left_out.most_common():
            print(f"  {count} rows: {sentence}")
        if self.unread:
            print(f"{self.unread} rows of {path} could not be read, such as")
            for sentence in self.first:
                print(f"  {sentence}")


def import_rows(
    file: Path,
    form: str | None = None,
    tools: Path | None = None,
    language: Language | None = None,
    split: Split = Split.TRAIN,
    out: Path | None = None,
    *,
    force: bool = False,
) -> int:
    """Write the rows of a file as records; return 0 where all could be read, else 1.

    Rows that cannot be read go beside `out`, into a file with the suffix `.unread`, which no stage reads. `Fault` where
    no row can be.
    """
    out = out or SOURCES / f"{_name(file)}.jsonl"
    unread = out.with_suffix(UNREAD)
    _refuse(file, out, force=force)
    given = read_tools(tools, language) if tools else ()
    chosen = form or detect(file)
    tally = _Tally()
    with whole_file(unread) as failed, whole_file(out) as aside, failed.open("w", encoding="utf-8") as unread_file:
        rows = _tallied(read_rows(file, chosen, given, language, split), tally, unread_file)
        write_lines(aside, (_imported(row, _name(out), chosen).to_json() for row in rows))
        if not tally.read:
            raise Fault(f"{file}: none of its {tally.unread} rows could be read as {chosen}; {tally.first[0]}")
    how = "given" if form else "detected"
    print(f"{tally.read} rows of {file} read as {chosen} ({how}), now in {out}")
    tally.tell(file)
    if tally.unread:
        print(f"They are in {unread}, each with its reason")
    else:
        unread.unlink()
    if tally.without_tools:
        print(f"{tally.without_tools} rows name no tools, so that none of their calls can be right; give --tools")
    return 1 if tally.unread else 0


def export_rows(form: str, out: Path, source: Path = TRAIN, *, force: bool = False) -> int:
    """Write records in another format; return 0 where every record could be written, else 1."""
    made = writer(form)
    _refuse(source, out, force=force)
    tally = _Tally()
    with whole_file(out) as aside:
        count = write_lines(aside, _exported(_tallied(read_rows(source, "canonical"), tally), made))
        if not tally.read:
            raise Fault(f"{source}: none of its {tally.unread} rows is a record; {tally.first[0]}")
    print(f"{tally.read - made.unwritten} records of {source} written as {form}: {count} rows, in {out}")
    for name, lost in made.lost.most_common():
        print(f"  lost of {lost} records: {name}")
    tally.tell(source)
    return 1 if tally.unread or made.unwritten else 0


def _tallied(rows: Iterable[Row | Unread], tally: _Tally, unread: TextIO | None = None) -> Iterator[Row]:
    """The rows that could be read; the others are noted."""
    for row in rows:
        tally.note(row)
        if isinstance(row, Row):
            yield row
        elif unread:
            told = {"row": row.number, "place": row.place, "message": row.message, "raw": row.raw}
            unread.write(f"{to_json(told)}\n")


def _imported(row: Row, name: str, form: str) -> Example:
    """With an id that no other row of the file has, the same at every import; its own one stays in `source`."""
    came = {"imported_as": form} | ({"imported_id": row.id} if row.id != str(row.number) else {})
    return replace(row.example, id=f"{name}-{row.number:06d}", source={**row.example.source, **came})


def _exported(rows: Iterable[Row], made: Writer) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield from made.rows(row.example)


def _refuse(file: Path, out: Path, *, force: bool) -> None:
    if out.exists() and file.exists() and out.samefile(file):
        raise Fault(f"{out} is the file that is read; write to another with --out")
    if out.exists() and not force:
        raise Fault(f"{out} is there already; --force replaces it, --out names another")


def _name(path: Path) -> str:
    """A name for ids: `#` would part it, and spaces are awkward on a command line."""
    return re.sub(r"[^\w.-]+", "-", path.stem).strip("-.") or "rows"
