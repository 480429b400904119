"""Rows of a file: JSON lines, an array, one object; what is broken is told with its line, and the rest is read."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callwright.exchange import Row, Unread, files, read_rows
from callwright.exchange.drafts import DEEPEST
from callwright.exchange.files import Item, read_items
from callwright.faults import Fault
from tests.rows import as_line, document_row
from tests.test_exchange_round_trips import values

LINE = as_line(document_row())


def write(folder: Path, content: bytes | str, name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def items(folder: Path, content: bytes | str) -> list[Item]:
    return list(read_items(write(folder, content)))


def test_blank_lines_crlf_and_a_byte_order_mark_do_not_count(tmp_path: Path) -> None:
    found = items(tmp_path, b"\xef\xbb\xbf\r\n" + b'{"a": "\xe9\xa0\x90"}\r\n\r\n  \n{"a": 2}')
    assert [(item.number, item.place.rpartition(":")[2], item.value) for item in found] == [
        (0, "2", {"a": "預"}),
        (1, "5", {"a": 2}),
    ]
    assert found[0].raw == '{"a": "預"}'


@pytest.mark.parametrize("chunk", [1, 5, 2**18])
def test_an_array_gives_its_rows_with_the_line_each_begins_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(files, "_CHUNK", chunk)
    found = items(tmp_path, '\n[\n{"a": "]},{["},\n\n  {"b":\n [1, {"c": "\\\\"}]}, {"ü": "「\\n」\\""}\n]\n')
    assert [(item.place.rpartition(":")[2], item.value) for item in found] == [
        ("3", {"a": "]},{["}),
        ("5", {"b": [1, {"c": "\\"}]}),
        ("6", {"ü": '「\n」"'}),
    ]
    assert found[1].raw == '{"b":\n [1, {"c": "\\\\"}]}'


@settings(deadline=None, max_examples=60)
@given(
    rows=st.lists(values(st.text(max_size=8)), min_size=1, max_size=5),
    chunk=st.integers(1, 9),
    indent=st.none() | st.just(1),
)
def test_an_array_reads_as_json_does_wherever_its_chunks_are_cut(
    rows: list[Any], chunk: int, indent: int | None
) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_CHUNK", chunk)
        found = items(Path(folder), json.dumps([{}, *rows], indent=indent, ensure_ascii=False))
    assert json.dumps([item.value for item in found]) == json.dumps([{}, *rows])


def test_one_object_over_several_lines_is_a_row(tmp_path: Path) -> None:
    [item] = items(tmp_path, '\n{\n"instruction": "x",\n"output": []\n}\n')
    assert (item.value, item.place.rpartition(":")[2]) == ({"instruction": "x", "output": []}, "2")


BROKEN: dict[str, tuple[str | bytes, str]] = {
    "not UTF-8": (b'{"a": "\xff"}', "not UTF-8: byte 7 of the row is 0xff"),
    "half a row": ('{"a": ', "not JSON: Expecting value"),
    "NaN": ('{"a": NaN}', "NaN is not JSON"),
    "infinity": ('{"a": -Infinity}', "-Infinity is not JSON"),
    "beyond a float": ('{"a": 1e999}', "not JSON: Out of range float"),
    "a key twice": ('{"a": 1, "a": 2}', "a key stands twice"),
    "half a sign": ('{"a": "\\ud800"}', "half of a surrogate pair"),
    "deep": (f'{{"a": {"[" * 10_000}{"]" * 10_000}}}', f"nests more than {DEEPEST} deep"),
    "deep and open": ('{"a": ' + '{"b":' * 10_000, f"nests more than {DEEPEST} deep"),
    "a huge number": (f'{{"a": {"9" * 5000}}}', "Exceeds the limit"),
}


ENDLESS = {"half a row", "deep and open"}
"""Nothing tells where such a row ends in an array."""


@pytest.mark.parametrize(
    ("name", "as_array"),
    [(name, as_array) for name in BROKEN for as_array in (False, True) if not (as_array and name in ENDLESS)],
)
def test_a_broken_row_is_told_and_the_rows_around_it_are_read(tmp_path: Path, name: str, as_array: bool) -> None:
    content, reason = BROKEN[name]
    raw = content if isinstance(content, bytes) else content.encode()
    joined = (
        b"\n,".join([LINE.encode(), raw, LINE.encode()])
        if as_array
        else b"\n".join([LINE.encode(), raw, LINE.encode()])
    )
    path = write(tmp_path, b"[" + joined + b"]" if as_array else joined)
    first, bad, last = read_rows(path)
    assert isinstance(first, Row)
    assert isinstance(last, Row)
    assert isinstance(bad, Unread)
    assert reason in bad.message, bad.message
    assert (bad.number, bad.place, bad.id) == (1, f"{path}:2", "1")
    assert bad.raw
    print(f"{bad.place}: {bad.message}")


def test_an_array_that_is_cut_gives_what_is_whole_and_says_so(tmp_path: Path) -> None:
    for cut in (f"[{LINE},\n{LINE}", f"[{LINE},\n{LINE},"):
        *whole, bad = read_rows(write(tmp_path, cut))
        assert [isinstance(row, Row) for row in whole] == [True, True]
        assert isinstance(bad, Unread)
        assert "ends before its array does" in bad.message
    *whole, half, bad = read_rows(write(tmp_path, f"[{LINE},\n{LINE[:50]}"))
    assert len(whole) == 1
    assert isinstance(half, Unread)


def test_a_broken_first_line_does_not_make_json_lines_an_array(tmp_path: Path) -> None:
    for first in ("[oops", "[1, 2]", "[[1]]"):
        bad, row = read_rows(write(tmp_path, f"{first}\n{LINE}\n"))
        assert isinstance(bad, Unread)
        assert isinstance(row, Row)


def test_what_follows_an_array_is_told(tmp_path: Path) -> None:
    row, bad = read_rows(write(tmp_path, f"[{LINE}] and more"))
    assert isinstance(row, Row)
    assert isinstance(bad, Unread)
    assert bad.raw == "and more"


@pytest.mark.parametrize("as_array", [False, True])
def test_a_row_of_200_mb_is_told_and_never_held(tmp_path: Path, as_array: bool) -> None:
    path = tmp_path / "rows.jsonl"
    with path.open("wb") as file:
        file.write((b"[" if as_array else b"") + LINE.encode() + (b",\n" if as_array else b"\n") + b'{"a": "')
        for _ in range(200):
            file.write(b"x\\\\\\n" * 2**18)
        file.write(b'"}' + (b",\n" if as_array else b"\n") + LINE.encode() + (b"]" if as_array else b"\n"))
    tracemalloc.start()
    first, bad, last = list(read_rows(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(first, Row)
    assert isinstance(last, Row)
    assert isinstance(bad, Unread)
    assert bad.message == "longer than 16 MiB, the limit for one row"
    assert len(bad.raw) <= 1000
    assert peak < 80 * 2**20


@pytest.mark.parametrize("value", [1, "text", None, [], True])
def test_a_row_that_is_no_object_is_told(tmp_path: Path, value: object) -> None:
    _, bad = read_rows(write(tmp_path, f"{LINE}\n{json.dumps(value)}\n"))
    assert isinstance(bad, Unread)
    assert bad.message == f"a row is {json.dumps(value)}; expected an object"


@pytest.mark.parametrize(
    ("content", "reason"), [("", "is empty"), (" \n\n", "is empty"), ("[]", "is empty"), ("[\n ]\n", "is empty")]
)
def test_a_file_without_a_row_is_a_fault(tmp_path: Path, content: str, reason: str) -> None:
    with pytest.raises(Fault, match=reason) as told:
        list(read_rows(write(tmp_path, content)))
    print(told.value)


def test_a_file_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    utf16 = write(tmp_path, LINE.encode("utf-16"), "utf16.jsonl")
    unlike = write(tmp_path, '{"foo": 1}\n{"bar": 2}\n', "unlike.jsonl")
    for path, reason in [
        (tmp_path / "none.jsonl", "is missing; name a file of rows"),
        (tmp_path, "is a folder"),
        (tmp_path / "a\0b", "cannot be read"),
        (utf16, "is UTF-16; save it as UTF-8"),
        (unlike, "unlike.jsonl:1: no format fits a row with 'foo'; name one of canonical, messages"),
    ]:
        with pytest.raises(Fault, match=reason) as told:
            list(read_rows(path))
        print(told.value)
    with pytest.raises(Fault, match="'jsonl' is no format"):
        list(read_rows(unlike, "jsonl"))


def test_a_file_of_broken_rows_alone_needs_no_format(tmp_path: Path) -> None:
    [bad] = read_rows(write(tmp_path, "{half a row"))
    assert isinstance(bad, Unread)


def test_a_long_file_is_read_row_by_row(tmp_path: Path) -> None:
    path = write(tmp_path, f"{LINE}\n" * 5_000)
    tracemalloc.start()
    count = sum(isinstance(row, Row) for row in read_rows(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 5_000
    assert peak < 10 * 2**20
