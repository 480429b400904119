"""Ask a model all entries of some categories, and write its answers so that an interrupted run goes on.

    answer_all(data, ("simple_python", "irrelevance"), model, Run(Path("bfcl"), "callwright", about), tell=print)

A category's result file appears when all of it is answered. Until then the answers stand beside it in a file that
grows; what stands there is not asked again. `about` says which model it is: a folder takes the answers of one only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from callwright.answers import Called
from callwright.bfcl.reading import Data, Entry, read_entries
from callwright.bfcl.results import result_line, result_lines, result_path
from callwright.bfcl.tools import dotless, dotted
from callwright.faults import Fault
from callwright.loop import Asked, Model, Spoken
from callwright.outs import ASIDE, to_json, whole_file, write_lines
from callwright.records import Calls

ABOUT = "callwright.json"
AT_ONCE = 64
"""Entries that are asked together, and lost together where a run is interrupted."""


@dataclass(frozen=True, slots=True)
class Run:
    out: Path
    name: str
    """The folder in `out`: the official evaluator takes it for the model's name."""
    about: Mapping[str, Any]
    """What makes the answers what they are: the model and its knobs."""
    limit: int | None = None
    """So many entries of each category, the first ones."""

    @property
    def folder(self) -> Path:
        return self.out / self.name


class WithoutDots:
    """A model that takes no dots in a function's name, asked without them."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def answer(self, asked: Sequence[Asked]) -> list[Spoken]:
        spoken = self._model.answer([replace(one, tools=dotless(one.tools)) for one in asked])
        return [_with_dots(each, one) for each, one in zip(spoken, asked, strict=True)]


def _with_dots(spoken: Spoken, asked: Asked) -> Spoken:
    if not isinstance(spoken.answer, Called):
        return spoken
    calls = tuple(dotted(call, asked.tools) for call in spoken.answer.calls)
    return replace(spoken, answer=Called(calls))


def answer_all(
    data: Data, categories: Sequence[str], model: Model, run: Run, tell: Callable[[str], None] = lambda _: None
) -> None:
    """Answer what is not answered yet. `Fault` where the folder holds the answers of another model."""
    entries = {category: read_entries(data, category) for category in categories}
    with _begun(run):
        for category, some in entries.items():
            _answer_category(result_path(run.out, run.name, data, category), some, run.limit, model, tell)


@contextmanager
def _begun(run: Run) -> Iterator[None]:
    """The folder is this run's, and no other's at the same time."""
    import fcntl

    run.folder.mkdir(parents=True, exist_ok=True)
    with (run.folder / f"{ASIDE}lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Fault(f"{run.folder} is being written by another run; wait for it, or give another --name") from None
        _same_model(run)
        yield


def _same_model(run: Run) -> None:
    place = run.folder / ABOUT
    if not place.exists():
        with whole_file(place) as file:
            file.write_text(to_json(run.about, indent=2) + "\n", encoding="utf-8")
        return
    try:
        held = json.loads(place.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Fault(f"{place} is not JSON ({error}); give another --name, or take {run.folder} away") from None
    was = held if isinstance(held, dict) else {}
    for key in {*was, *run.about}:
        if was.get(key) != run.about.get(key):
            other = f"{key} was {was.get(key)!r} and is {run.about.get(key)!r}"
            raise Fault(f"{run.folder} holds other answers: {other}; give another --name, or take the folder away")


def _answer_category(
    path: Path, entries: Sequence[Entry], limit: int | None, model: Model, tell: Callable[[str], None]
) -> None:
    growing = path.parent / f"{ASIDE}{path.name}l"
    have = _kept(path, growing, entries)
    asked = entries[:limit]
    left = sorted((entry for entry in asked if entry.id not in have), key=_length)
    path.parent.mkdir(parents=True, exist_ok=True)
    with growing.open("a", encoding="utf-8", newline="\n") as file:
        for start in range(0, len(left), AT_ONCE):
            for line in _answers(left[start : start + AT_ONCE], model):
                have[line["id"]] = line
                file.write(to_json(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
            tell(f"{entries[0].category}: {sum(entry.id in have for entry in asked):,} of {len(asked):,} answered")
    if left or not path.exists():
        with whole_file(path) as aside:
            write_lines(aside, (have[entry.id] for entry in entries if entry.id in have))
    growing.unlink()


def _answers(entries: Sequence[Entry], model: Model) -> Iterator[dict[str, Any]]:
    spoken = model.answer([entry.asked for entry in entries])
    if len(spoken) != len(entries):
        raise RuntimeError(
            f"{len(entries)} were asked and {len(spoken)} answers came; a lost answer is not a wrong one"
        )
    for entry, one in zip(entries, spoken, strict=True):
        yield result_line(entry.id, entry.category, one)


def _length(entry: Entry) -> tuple[int, int]:
    """Entries with the same tools stand together: what their prompts begin with alike is computed once."""
    tools = sum(len(tool.description) + len(to_json(tool.parameters)) for tool in entry.tools)
    return tools, sum(len(message.content) for message in entry.messages if not isinstance(message, Calls))


def _kept(path: Path, growing: Path, entries: Sequence[Entry]) -> dict[str, dict[str, Any]]:
    """The lines that are there, by id; a last line that a kill has cut off is taken out of the file that grows."""
    have = {line["id"]: line for line in result_lines(path)} if path.exists() else {}
    if growing.exists():
        whole = [line for line in growing.read_bytes().split(b"\n")[:-1] if line.strip()]
        with whole_file(growing) as aside:
            aside.write_bytes(b"".join(line + b"\n" for line in whole))
        have |= {line["id"]: line for line in result_lines(growing)}
    if strange := sorted(have.keys() - {entry.id for entry in entries}):
        known = "which this data does not ask; it was run on another release of bfcl-eval"
        raise Fault(f"{path.parent} holds an answer to {strange[0]}, {known}; give another --name")
    return have
