"""Generate, validate and format leave the same bytes whatever the number of processes, in all categories."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.data import knobs
from callwright.packs import Pack, read_packs
from callwright.params import Params, check_params
from callwright.records import Category, Split, read_line
from callwright.rules import Rules
from stages.format import formatted
from stages.generate import CHUNK, generate
from stages.validate import Accepted, validate
from tests.rows import ROOT

ROWS = 900
"""Training rows: some chunks, and more than one block of a file."""


@pytest.fixture(scope="module")
def params() -> Params:
    return check_params(knobs(ROWS))


@pytest.fixture(scope="module")
def packs(params: Params) -> list[Pack]:
    return read_packs(params.generate.packs, ROOT / "packs")


def through(folder: Path, params: Params, packs: list[Pack], processes: int) -> dict[str, bytes]:
    """All that the three stages leave, by name."""
    folder.mkdir()
    made: dict[str, list[str]] = {}
    for split, line in generate(packs, params.generate, processes):
        made.setdefault(f"generated/{split}", []).append(line + "\n")
    for split in Split:
        (folder / f"{split}.jsonl").write_text("".join(made[f"generated/{split}"]), encoding="utf-8")
    files = sorted(folder.glob("*.jsonl"))
    for row in validate(files, Rules(packs), params.validate_.near_duplicate, processes):
        if isinstance(row, Accepted):
            made.setdefault(f"validated/{row.split}", []).append(row.line + "\n")
        else:
            made.setdefault("rejected", []).append(f"{row.code} {row.message.replace(str(folder), '')} {row.row}\n")
    for split in Split:
        path = folder / f"{split}.jsonl"
        path.write_text("".join(made[f"validated/{split}"]), encoding="utf-8")
        for part in formatted(path, params.format, None, processes):
            for name, lines in part.lines.items():
                made.setdefault(f"{name}/{split}", []).append(lines)
    return {name: "".join(lines).encode() for name, lines in made.items()}


def test_the_same_bytes_come_from_one_two_and_three_processes(
    tmp_path: Path, params: Params, packs: list[Pack]
) -> None:
    alone = through(tmp_path / "1", params, packs, processes=1)
    trained = [read_line(line) for line in alone["generated/train"].decode().splitlines()]
    assert len(trained) == ROWS > 3 * CHUNK
    assert set(Counter(row.category for row in trained)) == set(Category)
    assert len(alone["generated/train"]) > 1 << 20  # more than a block
    assert len(alone["messages/train"].splitlines()) > 0.9 * ROWS
    for processes in (2, 3):
        several = through(tmp_path / str(processes), params, packs, processes)
        assert several.keys() == alone.keys()
        assert [name for name in alone if several[name] != alone[name]] == []
