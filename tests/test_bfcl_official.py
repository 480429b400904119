"""Our verdicts, files and scores for BFCL against its own checker and evaluator, from the package bfcl-eval.

Found where it is installed, or in the folder that the variable BFCL_EVAL names; else these are passed over.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.bfcl_differences import compare, table
from benchmarks.bfcl_official import MODEL, Official, load
from callwright.answers import read_answer, write_calls
from callwright.bfcl.answering import Run, answer_all
from callwright.bfcl.categories import DEFAULT, KNOWN, wants_no_call
from callwright.bfcl.reading import Data, find_data, read_entries
from callwright.bfcl.results import read_results, result_path
from callwright.bfcl.scoring import judge, report
from callwright.loop import Asked, Spoken
from callwright.records import Call
from callwright.schemas import tool_fault


def _root() -> Path | None:
    """The folder that holds the package, found without importing it."""
    if named := os.environ.get("BFCL_EVAL"):
        return Path(named)
    spec = importlib.util.find_spec("bfcl_eval")
    return Path(spec.origin).parents[1] if spec and spec.origin else None


ROOT = _root()
pytestmark = pytest.mark.skipif(ROOT is None, reason="bfcl-eval is not installed, and BFCL_EVAL names no folder of it")


@pytest.fixture(scope="module")
def data() -> Data:
    assert ROOT
    return find_data(ROOT / "bfcl_eval" / "data")


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Official:
    assert ROOT
    return load(ROOT, tmp_path_factory.mktemp("bfcl"))


def test_every_entry_is_read_and_every_tool_is_a_json_schema(data: Data) -> None:
    entries = {category: read_entries(data, category) for category in KNOWN}
    counts = (400, 200, 200, 200, 240, 258, 1053, 16, 24, 884, 16)
    assert tuple(len(entries[category]) for category in KNOWN) == counts
    for entry in (entry for some in entries.values() for entry in some):
        for tool in (*entry.tools, *entry.judged_by.values()):
            assert tool_fault(tool) is None, f"{entry.id}: {tool.name}"


def test_years_that_nobody_says_are_few_and_nearly_all_in_live_multiple(data: Data) -> None:
    found = {category: sum(entry.year_unsaid for entry in read_entries(data, category)) for category in KNOWN}
    assert {category: count for category, count in found.items() if count} == {"live_simple": 1, "live_multiple": 43}


def test_ours_and_the_official_checker_agree_on_its_right_answers_and_differ_elsewhere_in_listed_ways(
    data: Data, official: Official
) -> None:
    made = compare(data, official, every=12, seed=7)
    assert (made.gold, made.gold_differs) == (2351, [])
    assert made.gold_right == 2346  # its own checker refuses the other five too
    assert made.unlisted == {}, "\n".join(table(made, official.version))
    assert sum(made.judged.values()) > 5_000
    assert len(made.differ) > 10  # a comparison that finds nothing would be no comparison


class Mixed:
    """Right calls for some, text for others, broken calls for the rest: by the length of the request."""

    def __init__(self, right: dict[str, str]) -> None:
        self.right = right

    def answer(self, asked: Sequence[Asked]) -> list[Spoken]:
        return [self._said(str(one.messages)) for one in asked]

    def _said(self, key: str) -> Spoken:
        call = self.right[key]
        raw = (call, call, "I cannot do that.", call[:-3], '{"tool": "none", "params": {"a": 1}}')[len(key) % 5]
        return Spoken(raw, read_answer(raw))


def test_the_official_evaluator_reads_our_files_and_scores_them_as_we_do(
    data: Data, official: Official, tmp_path: Path
) -> None:
    entries = {category: read_entries(data, category) for category in DEFAULT}
    right = {}
    for entry in (entry for some in entries.values() for entry in some):
        calls = tuple(
            Call(
                wanted.tool,
                {name: values[0] for name, values in wanted.params.items() if values and name not in wanted.optional},
            )
            for wanted in entry.wanted
        )
        right[str(entry.messages)] = write_calls(calls or (Call(entry.tools[0].name if entry.tools else "f", {}),))
    answer_all(data, DEFAULT, Mixed(right), Run(tmp_path / "result", MODEL, {"model": "mixed"}))
    theirs = official.evaluate(tmp_path / "result", tmp_path / "score", DEFAULT)
    for category in DEFAULT:
        found = read_results(result_path(tmp_path / "result", MODEL, data, category))
        rows = [judge(entry, found[entry.id].answer) for entry in entries[category]]
        ours = report({category: rows})["categories"][category]
        broken = ours["outcomes"]["malformed"] if wants_no_call(category) else 0  # for it, text
        assert theirs[category] == pytest.approx((ours["correct"] + broken) / ours["n"]), category
        assert 0.2 < theirs[category] < 0.8


def test_it_scores_text_that_it_would_evaluate_without_evaluating_it(
    data: Data, official: Official, tmp_path: Path
) -> None:
    touched = tmp_path / "touched"

    class Hostile:
        def answer(self, asked: Sequence[Asked]) -> list[Spoken]:
            raw = f"[f(a=1+__import__('pathlib').Path({str(touched)!r}).write_text('x'))]"
            return [Spoken(raw, read_answer(raw)) for _ in asked]

    with pytest.raises(TypeError):  # the decoder's own way: what the text says is done
        official.decoded(f"[f(a=''+__import__('pathlib').Path({str(touched)!r}).write_text('x'))]")
    assert touched.exists()
    touched.unlink()
    answer_all(data, ("live_parallel",), Hostile(), Run(tmp_path / "result", MODEL, {}))
    assert official.evaluate(tmp_path / "result", tmp_path / "score", ("live_parallel",)) == {"live_parallel": 0.0}
    assert not touched.exists()
