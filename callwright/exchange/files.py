"""Rows of a file, one after another: JSON lines, or one JSON array, or one object.

    for item in read_items(Path("rows.jsonl")):
        item.place      rows.jsonl:3
        item.value      the row's JSON value; or item.fault says why there is none

A row that cannot be read does not stop the ones after it, and no more of the file than a row is held. A streaming
JSON parser (ijson) would not do: it stops at the first fault, and yields neither a row's text nor its line.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from callwright.exchange.drafts import parsed
from callwright.faults import Fault
from callwright.records import BadRecord

LONGEST = 16 * 2**20
"""Bytes of a row."""
_CHUNK = 2**18
_KEPT = 1000
"""Bytes of a row that is too long, for a person to know it by."""

_BOM = b"\xef\xbb\xbf"
_OTHER_BOMS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class Item:
    number: int
    """From 0; blank lines do not count."""
    place: str
    raw: str
    value: Any = None
    fault: str | None = None


def read_items(path: Path) -> Iterator[Item]:
    """Every row; `Fault` where there is no file to read or no row in it."""
    number = -1
    with _opened(path) as file:
        for number, (line, raw, fault) in enumerate(_rows(file)):
            yield _item(number, f"{path}:{line}", raw, fault)
    if number < 0:
        raise Fault(f"{path} is empty; a file of rows is JSON lines or one JSON array, with a row at least")


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise Fault(f"{path} is missing; name a file of rows") from None
    except IsADirectoryError:
        raise Fault(f"{path} is a folder; name one file of rows in it") from None
    except (OSError, ValueError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise Fault(f"{path} cannot be read: {reason}; name a file of rows") from error


def _item(number: int, place: str, raw: bytes, fault: str | None) -> Item:
    shown = raw.decode(errors="backslashreplace")
    if fault:
        return Item(number, place, shown, fault=fault)
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        what = f"not UTF-8: byte {error.start} of the row is 0x{raw[error.start]:02x}"
        return Item(number, place, shown, fault=what)
    try:
        return Item(number, place, text, parsed(text))
    except BadRecord as error:
        return Item(number, place, text, fault=str(error))


Raw = tuple[int, bytes, str | None]
"""The line a row starts in, its bytes, and what is wrong with it, if that is known before it is parsed."""

_TOO_LONG = f"longer than {LONGEST // 2**20} MiB, the limit for one row"
_NOT_CLOSED = "the file ends before its array does; it may have been cut"


def _rows(file: BinaryIO) -> Iterator[Raw]:
    head = file.read(3)
    if head.startswith(_OTHER_BOMS):
        raise Fault(f"{file.name} is UTF-16; save it as UTF-8")
    start = 3 if head == _BOM else 0
    file.seek(start)
    if _is_array(file):
        file.seek(start)
        yield from _of_array(file)
        return
    file.seek(start)
    if alone := _one_object(file):
        yield alone
        return
    file.seek(start)
    yield from _of_lines(file)


def _is_array(file: BinaryIO) -> bool:
    """Whether it begins as an array of objects; a line such as `[oops` is a broken row of JSON lines."""
    signs = b""
    while len(signs) < 2 and (chunk := file.read(_CHUNK)):
        signs += b"".join(chunk.split())[:2]
    return signs[:2] in (b"[{", b"[]")


def _one_object(file: BinaryIO) -> Raw | None:
    """The whole file, if it is one object over several lines, as a person writes one by hand."""
    start = file.tell()
    first = next((line for line in iter(lambda: file.readline(LONGEST + 1), b"") if line.strip()), b"").strip()
    if not first.startswith(b"{") or _is_json(first):
        return None
    file.seek(start)
    text = file.read(LONGEST + 1)
    if len(text) > LONGEST or not _is_json(text.strip()):
        return None
    return text[: text.index(b"{")].count(b"\n") + 1, text.strip(), None


def _is_json(raw: bytes) -> bool:
    try:
        parsed(raw.decode())
    except (BadRecord, UnicodeDecodeError):
        return False
    return True


def _of_lines(file: BinaryIO) -> Iterator[Raw]:
    line = 0
    while raw := file.readline(LONGEST + 1):
        line += 1
        if len(raw) > LONGEST and not raw.endswith(b"\n"):
            kept = raw[:_KEPT]
            while raw and not raw.endswith(b"\n"):
                raw = file.readline(_CHUNK)  # the rest of the line is read past
            yield line, kept, _TOO_LONG
        elif stripped := raw.strip():
            yield line, stripped, None


_OUTSIDE = re.compile(rb'["\[\]{},]')
_INSIDE = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)


class _Element:
    """The bytes of the array's element that is being read."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0
        self.line = 0

    def add(self, part: bytes, line: int) -> None:
        if not self.size and not (stripped := part.lstrip()):
            return
        if not self.size:
            self.line = line + part[: len(part) - len(stripped)].count(b"\n")
            part = stripped
        self.size += len(part)
        if self.size <= LONGEST:
            self.parts.append(part)
        else:
            self.parts = [b"".join(self.parts)[:_KEPT]]

    def done(self) -> Iterator[Raw]:
        if self.size:
            yield self.line, b"".join(self.parts).rstrip(), _TOO_LONG if self.size > LONGEST else None
        self.parts, self.size = [], 0


def _of_array(file: BinaryIO) -> Iterator[Raw]:
    """Elements are told apart by counting brackets, strings left out; each is parsed by itself later."""
    element, line = _Element(), 1
    depth, inside, ended = -1, False, False  # -1: before the array's own bracket
    rest = b""
    while chunk := file.read(_CHUNK):
        data = rest + chunk
        at = begin = 0
        while at < len(data):
            if inside:
                at += len(text.group()) if (text := _INSIDE.match(data, at)) else 0
                if data[at : at + 1] != b'"':
                    break  # the chunk ends inside the string
                inside, at = False, at + 1
                continue
            found = _OUTSIDE.search(data, at)
            if found is None or ended:
                at = len(data)
                break
            sign, at = found.group(), found.end()
            inside = sign == b'"'
            if sign in b"[{":
                depth += 1
                if depth == 0:
                    line += data.count(b"\n", begin, at)
                    begin = at
            elif sign in b"]}" and depth > 0:
                depth -= 1
            elif depth == 0 and sign in b",]":
                element.add(data[begin : at - 1], line)
                line += data.count(b"\n", begin, at)
                yield from element.done()
                begin, ended = at, sign == b"]"
        element.add(data[begin:at], line)
        line += data.count(b"\n", begin, at)
        rest = data[at:]
    element.add(rest, line)
    yield from element.done()
    if not ended:
        yield line, b"", _NOT_CLOSED
