"""Checkpoints that are whole or not there: written aside, sealed, then renamed; on resuming the newest sealed one.

    with writing(work, 120, keep=2) as folder: …          # checkpoints/<key>/checkpoint-120
    newest(work)  ->  Path(".../checkpoint-120"), or None

The seal lists every file with its SHA-256: what was cut off or changed since is not gone on from. transformers' own
checkpoints are written where they will lie, and it takes the one with the highest number, whole or not.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from callwright.outs import ASIDE, to_json

SEAL = "seal.json"
_NAME = "checkpoint-"


@contextlib.contextmanager
def writing(work: Path, step: int, keep: int) -> Iterator[Path]:
    """An empty folder for a checkpoint; when the block ends it is one, and of the older ones only the newest stay."""
    written = aside(work, step)
    shutil.rmtree(written, ignore_errors=True)
    written.mkdir(parents=True)
    yield written
    seal(written)
    place = work / f"{_NAME}{step}"
    shutil.rmtree(place, ignore_errors=True)  # one that was not whole
    written.rename(place)
    _flush(work)
    for old in [path for path in _by_step(work) if step_of(path) <= step][keep:]:  # later ones are broken
        shutil.rmtree(old, ignore_errors=True)


def thin(works: Path, keep: int) -> None:
    """Of the work folders, leave those that were written to last."""
    found = sorted((path for path in works.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for old in found[: max(0, len(found) - keep)]:
        shutil.rmtree(old, ignore_errors=True)


def seal(folder: Path) -> None:
    """Flush every file of the folder to the disk and list them in its seal."""
    found = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        _flush(file)
        found[file.relative_to(folder).as_posix()] = _sha256(file)
    (folder / SEAL).write_text(to_json(found, indent=2) + "\n", encoding="utf-8")
    _flush(folder / SEAL)
    _flush(folder)


def newest(work: Path) -> Path | None:
    """The newest checkpoint whose files are those of its seal; one that is not so is told and left alone."""
    clear(work)
    for folder in _by_step(work):
        why = broken(folder)
        if why is None:
            return folder
        print(f"train: {folder} is not gone on from: {why}", file=sys.stderr, flush=True)
    return None


def broken(folder: Path) -> str | None:
    """Why this folder is no whole checkpoint, in words."""
    try:
        listed: dict[str, str] = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        for name, digest in listed.items():
            if _sha256(folder / name) != digest:
                return f"{name} is no longer what was written"
    except FileNotFoundError as error:
        return f"{Path(str(error.filename)).name} is missing"
    except (OSError, ValueError, AttributeError) as error:
        return f"it cannot be read ({error})"
    return None


def step_of(checkpoint: Path | None) -> int:
    return int(checkpoint.name.removeprefix(_NAME)) if checkpoint else 0


def clear(work: Path) -> None:
    """Remove what was being written when a process ended."""
    for left in work.glob(f"{ASIDE}{_NAME}*"):
        shutil.rmtree(left, ignore_errors=True)


def aside(work: Path, step: int) -> Path:
    return work / f"{ASIDE}{_NAME}{step}"


def _by_step(work: Path) -> list[Path]:
    """Newest first."""
    found = [path for path in work.glob(f"{_NAME}*") if path.name.removeprefix(_NAME).isdecimal()]
    return sorted(found, key=step_of, reverse=True)


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
