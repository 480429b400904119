"""A file in blocks is the file in lines, wherever the blocks end."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callwright import blocks as module
from callwright.blocks import blocks, lines_of
from callwright.faults import Fault


def lines(path: Path, size: int) -> list[tuple[str, bytes]]:
    return [line for block in blocks(path, size) for line in lines_of(block)]


@given(
    st.lists(st.sampled_from([b"", b"  ", b"a", b'{"id": 1}', b"x" * 50, "臺北".encode(), b"\r"]), max_size=30),
    st.integers(1, 60),
    st.booleans(),
)
def test_blocks_hold_every_line_once_with_its_number(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], size: int, ends: bool
) -> None:
    path = tmp_path_factory.mktemp("blocks") / "a.jsonl"
    path.write_bytes(b"\n".join(parts) + (b"\n" if ends else b""))
    expected = [(f"{path}:{i}", part) for i, part in enumerate(parts, start=1) if part.strip()]
    assert [(place, line.rstrip(b"\n")) for place, line in lines(path, size)] == expected


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf{}\n{}\n")
    assert [line for _, line in lines(path, 100)] == [b"{}\n", b"{}\n"]


def test_of_a_line_that_is_too_long_only_the_beginning_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST", 10)
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"a\n" + b"x" * 95 + b"\nb\n")
    assert lines(path, 4) == [(f"{path}:1", b"a\n"), (f"{path}:2", b"x" * 10), (f"{path}:3", b"b\n")]


def test_a_file_that_is_missing_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="is missing; dvc repro makes it"):
        list(blocks(tmp_path / "a.jsonl"))
