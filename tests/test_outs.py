"""Outs appear whole or not at all, and a disk that refuses is a sentence."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callwright.faults import Fault
from callwright.outs import read_lines, to_json, whole_file, whole_folder, write_lines


class Stopped(BaseException):
    """As Ctrl-C is: no Exception."""


def fill(folder: Path, text: str = "new") -> None:
    (folder / "sub").mkdir()
    (folder / "a.txt").write_text(text, encoding="utf-8")
    (folder / "sub/b.txt").write_text(text, encoding="utf-8")


def tree(folder: Path) -> dict[str, str]:
    """All that lies there, hidden or not."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in files}


OLD = {"out/old.txt": "old"}
NEW = {"out/a.txt": "new", "out/sub/b.txt": "new"}


def write_folder(out: Path, write: Callable[[Path], None], error: BaseException | None = None) -> None:
    with whole_folder(out) as folder:
        write(folder)
        if error:
            raise error


def write_file(out: Path, text: str, error: BaseException | None = None) -> None:
    with whole_file(out) as aside:
        aside.write_text(text, encoding="utf-8")
        if error:
            raise error


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """An out of an earlier run."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/old.txt").write_text("old", encoding="utf-8")
    return tmp_path / "out"


def test_a_folder_appears_whole_with_the_folders_above_it(tmp_path: Path) -> None:
    out = tmp_path / "deep/er/out"
    with whole_folder(out) as folder:
        fill(folder)
        assert not out.exists()
    assert tree(out) == {"a.txt": "new", "sub/b.txt": "new"}
    assert list(out.parent.iterdir()) == [out]


def test_a_folder_takes_the_place_of_the_old_one_with_nothing_of_it_left(old: Path) -> None:
    with whole_folder(old) as folder:
        assert list(folder.iterdir()) == []
        fill(folder)
        assert tree(old) == {"old.txt": "old"}
    assert tree(old.parent) == NEW


def test_a_folder_takes_the_place_of_a_link_and_leaves_what_it_led_to(old: Path, tmp_path: Path) -> None:
    kept = old.rename(tmp_path / "kept")
    old.symlink_to(kept)
    with whole_folder(old) as folder:
        fill(folder)
    assert not old.is_symlink()
    assert tree(tmp_path) == {**NEW, "kept/old.txt": "old"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, Stopped])
def test_what_stops_halfway_leaves_the_old_out_and_nothing_of_the_new(old: Path, error: type[BaseException]) -> None:
    with pytest.raises(error):
        write_folder(old, fill, error())
    assert tree(old.parent) == OLD
    assert list(old.parent.iterdir()) == [old]


def test_what_a_killed_process_left_aside_is_not_taken_for_a_part(old: Path) -> None:
    for name in (".writing-out", ".writing-out-before"):
        (old.parent / name).mkdir()
        (old.parent / name / "half.txt").write_text("ha", encoding="utf-8")
    with whole_folder(old) as folder:
        fill(folder)
    assert tree(old.parent) == NEW


def test_a_rename_that_fails_puts_the_old_out_back(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if Path(target) == old and (self / "a.txt").exists():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(Fault, match="Input/output error"), whole_folder(old) as folder:
        fill(folder)
    assert tree(old.parent) == OLD


def on_a_full_disk(folder: Path) -> None:
    """/dev/full takes no byte, as a full disk."""
    (folder / "rows.jsonl").symlink_to("/dev/full")
    write_lines(folder / "rows.jsonl", [{"id": "1"}])


def raising(error: Exception) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        fill(folder)
        raise error

    return write


REFUSALS = [
    (on_a_full_disk, "No space left on device"),
    (raising(OSError(errno.EDQUOT, "quota")), "Disk quota exceeded"),
    (raising(PermissionError(errno.EACCES, "no")), "Permission denied"),
    # safetensors and tokenizers raise what their Rust met, and no OSError
    (raising(Exception("Error while serializing: I/O error: No space left on device (os error 28)")), "No space left"),
    (raising(RuntimeError("Read-only file system (os error 30)")), "Read-only file system"),
]


@pytest.mark.parametrize(("write", "why"), REFUSALS, ids=[why for _, why in REFUSALS])
def test_a_disk_that_refuses_is_a_sentence_and_leaves_nothing_half_written(
    old: Path, write: Callable[[Path], None], why: str
) -> None:
    with pytest.raises(Fault) as fault, whole_folder(old) as folder:
        write(folder)
    assert str(fault.value).startswith(f"{old} could not be written: {why}")
    assert "nothing half-written was left" in str(fault.value)
    assert "Make room or give yourself access there, then run it again" in str(fault.value)
    assert tree(old.parent) == OLD
    assert list(old.parent.iterdir()) == [old]


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *words: Any, **more: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(Fault, match="out could not be written: Permission denied"), whole_folder(tmp_path / "data/out"):
        pytest.fail("nothing to write into")
    with pytest.raises(Fault, match="out could not be written: Permission denied"), whole_file(tmp_path / "data/out"):
        pytest.fail("nothing to write to")


def test_a_file_where_a_folder_should_be_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file", encoding="utf-8")
    for out in (tmp_path / "data/out", tmp_path / "data/deep/out"):
        with pytest.raises(Fault, match="out could not be written"), whole_folder(out):
            pytest.fail("nothing to write into")


def test_the_error_of_another_file_names_that_file(old: Path, tmp_path: Path) -> None:
    secret = str(tmp_path / "secret.txt")
    with pytest.raises(Fault) as fault, whole_folder(old):
        raise PermissionError(errno.EACCES, "no", secret)
    assert str(fault.value).startswith(f"{secret} could not be used: Permission denied")


def test_an_error_that_is_not_the_disks_stays_what_it_is(old: Path) -> None:
    with pytest.raises(ConnectionResetError), whole_folder(old):
        raise ConnectionResetError
    with pytest.raises(Fault, match="a sentence of its own"), whole_folder(old):
        raise Fault("a sentence of its own")


def test_a_file_takes_the_place_of_the_old_one_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep/file.json"
    write_file(path, "1")
    with pytest.raises(Stopped):
        write_file(path, "2 and a ha", Stopped())
    assert tree(tmp_path) == {"deep/file.json": "1"}
    write_file(path, "3")
    assert tree(tmp_path) == {"deep/file.json": "3"}


def test_a_file_on_a_full_disk_is_a_sentence_and_keeps_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "file.jsonl"
    path.write_text("old", encoding="utf-8")
    (tmp_path / ".writing-file.jsonl").symlink_to("/dev/full")
    with pytest.raises(Fault, match="No space left on device"):
        write_file(path, "new")
    assert tree(tmp_path) == {"file.jsonl": "old"}
    assert list(tmp_path.iterdir()) == [path]


values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@given(st.lists(st.dictionaries(st.text(), values | st.lists(values)), max_size=4))
def test_lines_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    path = tmp_path_factory.mktemp("lines") / "rows.jsonl"
    assert write_lines(path, rows) == len(rows)
    assert list(read_lines(path)) == rows
    assert path.read_bytes().count(b"\n") == len(rows)


def test_json_is_written_as_text_and_has_no_nan() -> None:
    assert to_json({"b": "預算", "a": 1}) == '{"b": "預算", "a": 1}'
    assert json.loads(to_json({"a": [1]}, indent=2)) == {"a": [1]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json({"loss": float("nan")})


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'{"a": 1}\n{"b": \n', ":2: not JSON (Expecting value"),
        (b'{"a": 1}\n[1]\n', ":2: a line is one JSON object, not [1]"),
        (b'{"a": "\xff"}\n', ":1: not JSON ('utf-8' codec can't decode"),
    ],
)
def test_a_broken_line_is_told_with_file_and_number(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(Fault) as fault:
        list(read_lines(path))
    assert str(fault.value).startswith(f"{path}{sentence}")


def test_lines_that_are_not_there_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(Fault, match=r"rows\.jsonl is missing; dvc repro makes it"):
        list(read_lines(tmp_path / "rows.jsonl"))
