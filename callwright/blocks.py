"""A JSON-lines file in blocks of whole lines, for several processes to read at once.

    for block in blocks(path):
        for place, line in lines_of(block): ...        ("data/sources/a.jsonl:17", b'{"id": …}\\n')

Blank lines are passed over, and so is a byte order mark. Of a line beyond `LONGEST` only its beginning is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from callwright.faults import Fault

SIZE = 1 << 20
LONGEST = 16 << 20
"""Bytes of a line that are read; no row is that long."""


class Block(NamedTuple):
    path: Path
    offset: int
    size: int
    first: int
    """The number of its first line, from 1."""


def blocks(path: Path, size: int = SIZE) -> Iterator[Block]:
    """Blocks of about `size` bytes that end where a line does; `Fault` where the file is missing."""
    if not path.is_file():
        raise Fault(f"{path} is missing; dvc repro makes it")
    with path.open("rb") as file:
        offset, first = 0, 1
        while data := file.read(size):
            lines = data.count(b"\n")
            if not data.endswith(b"\n"):
                rest = file.readline(LONGEST)
                length = len(data) + len(rest)
                while rest and not rest.endswith(b"\n"):
                    rest = file.readline(LONGEST)
                    length += len(rest)
                lines += 1
            else:
                length = len(data)
            yield Block(path, offset, length, first)
            offset, first = offset + length, first + lines


def lines_of(block: Block) -> Iterator[tuple[str, bytes]]:
    with block.path.open("rb") as file:
        file.seek(block.offset)
        left, number = block.size, block.first
        while left > 0 and (line := file.readline(min(left, LONGEST))):
            left -= len(line)
            start = line
            while not line.endswith(b"\n") and left > 0:  # the rest of a line that is too long
                line = file.readline(min(left, LONGEST))
                left -= len(line)
            start = start.removeprefix(b"\xef\xbb\xbf") if number == 1 else start
            if start.strip():
                yield f"{block.path}:{number}", start
            number += 1
