"""Outs appear whole or not at all: written beside their place, flushed to the disk, then renamed into it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from callwright.faults import Fault

ASIDE = ".writing-"  # prefix of what is being written; git and DVC ignore it
REFUSALS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO),
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST),
)

_TORCH_WRITER = re.compile(r"PytorchStreamWriter failed|inline_container\.cc:\d+\] \. unexpected pos")
"""What torch.save says where the disk took less than it was given."""


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder to write into; it takes the place of `path` when the block ends without an exception."""
    aside = path.parent / f"{ASIDE}{path.name}"
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(aside, ignore_errors=True)  # left by a process that was killed
        aside.mkdir()
    try:
        with _told(path):
            yield aside
            for file in sorted(aside.rglob("*")):
                if file.is_file():
                    _flush(file)
            _take_the_place(aside, path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a path to write to; it takes the place of `path` when the block ends without an exception."""
    if path.exists() and (not path.is_file() or Path("/dev") in path.absolute().parents):
        raise Fault(f"{path} is {'a folder' if path.is_dir() else 'no ordinary file'}; name a file to write to")
    aside = path.parent / f"{ASIDE}{path.name}"
    try:
        with _told(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield aside
            _flush(aside)
            aside.replace(path)
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write one JSON object a line, UTF-8, keys in the order given; return how many."""
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(to_json(row) + "\n")
            count += 1
    return count


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON-lines file that this project wrote; `Fault` names file and line of a broken one."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise Fault(f"{path}:{number}: not JSON ({error}); make the file again with dvc repro") from error
                if not isinstance(row, dict):
                    start = line.decode().strip()[:60]
                    raise Fault(f"{path}:{number}: a line is one JSON object, not {start}")
                yield row
    except FileNotFoundError:
        raise Fault(f"{path} is missing; dvc repro makes it") from None


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON as this project writes it: UTF-8 as it is, no NaN."""
    return (
        _LINE.encode(value) if indent is None else json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    )


_LINE = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


def refusal(error: BaseException) -> int | None:
    """The errno with which the disk refused, if that is what the error is about.

    safetensors and tokenizers raise it as a plain exception with the number in its text; torch.save, whose writer loses
    the number, as a RuntimeError: for want of a better guess, the disk is full.
    """
    if isinstance(error, OSError):
        return error.errno if error.errno in REFUSALS else None
    if isinstance(error, RuntimeError) and _TORCH_WRITER.search(str(error)):
        return errno.ENOSPC
    return next((code for code in REFUSALS if f"(os error {code})" in str(error)), None)


def _take_the_place(aside: Path, path: Path) -> None:
    """Put the folder `aside` where `path` is; what was there is there again if that fails."""
    if not (path.exists() or path.is_symlink()):
        aside.rename(path)
        return
    before = path.parent / f"{ASIDE}{path.name}-before"
    _remove(before)
    path.rename(before)
    try:
        aside.rename(path)
    except BaseException:
        before.rename(path)
        raise
    _remove(before)


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def _flush(file: Path) -> None:
    with file.open("rb") as handle:
        os.fsync(handle.fileno())


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn the disk's refusals into a sentence."""
    try:
        yield
    except (Fault, UnicodeError):
        raise
    except Exception as error:
        number = refusal(error)
        if number is None:
            raise
        file = getattr(error, "filename", None)
        place = f"{path} could not be written" if _within(file, path) else f"{file} could not be used"
        raise Fault(
            f"{place}: {os.strerror(number)}; nothing half-written was left of {path}. "
            "Make room or give yourself access there, then run it again"
        ) from error


def _within(file: str | int | None, path: Path) -> bool:
    """Whether what was refused belongs to the out, a file of it or a folder above it. Writing alone names none."""
    if not isinstance(file, str):
        return True
    path, place = path.absolute(), Path(file).absolute()
    aside = path.parent / f"{ASIDE}{path.name}"
    return place.is_relative_to(path) or place.is_relative_to(aside) or path.is_relative_to(place)
