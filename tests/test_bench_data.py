"""The data benchmark compares the same work, watches every process, and says what it could not do."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from benchmarks import data, samplers, schemas
from benchmarks.turns import NotMeasured
from callwright.faults import Fault
from callwright.packs import Pack, read_packs
from callwright.params import Generate, check_params
from callwright.records import Call, Language
from callwright.schemas import schema_fault
from tests.rows import CALENDAR, QUERY, ROOM, ROOT


@pytest.fixture(scope="module")
def params() -> Generate:
    return check_params(data.knobs(400)).generate


@pytest.fixture(scope="module")
def packs(params: Generate) -> list[Pack]:
    return read_packs(params.packs, ROOT / "packs")


def test_what_the_samplers_fill_in_are_calls_that_fit_their_schemas(packs: list[Pack]) -> None:
    tools = {tool.name: tool for pack in packs for tool in pack.tools}
    found = samplers.tools_for_samplers(packs)
    assert len({name.partition("/")[0] for name in found}) > 0.9 * len(tools)
    for name, one in found.items():
        for values in zip(*one["values"], strict=True):
            call = json.loads(one["call"].format(*values))
            assert name == f"{call['tool']}/{'zh-TW' if 'zh-TW' in name else 'en'}"
            offered = tools[call["tool"]].offered(Language.EN)
            properties = set(call["params"])
            assert properties <= set(offered.properties)
            if set(offered.required) <= properties:  # the user may be asked for the rest
                assert schema_fault(Call(call["tool"], call["params"]), offered) is None
        assert all("{" not in text.format(*[""] * 9) for text in one["texts"])


def test_the_knobs_are_all_packs_all_categories_and_all_variations(params: Generate) -> None:
    assert set(params.packs) == {path.stem for path in (ROOT / "packs").glob("*.yaml")}
    assert all(params.categories.model_dump().values())
    assert set(params.variation.model_dump().values()) == {0.25}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_each_processs_peak_also_where_it_is_given_back() -> None:
    code = (
        "import time, multiprocessing as m\n"
        "def held(size):\n    x = bytearray(size << 20)\n    del x\n    time.sleep(0.4)\n"
        "p = m.get_context('fork').Process(target=held, args=(90,)); p.start(); held(30); p.join()"
    )
    run = data.watched(["-c", code], ROOT)
    assert 30 << 20 < run.parent < 80 << 20
    assert 90 << 20 < run.worker < 180 << 20
    assert run.seconds > 0.4
    assert 0 < run.cpu < run.seconds * (os.cpu_count() or 1) + 1
    assert data.peak_of(2**22 + 1) == 0


def test_a_stage_that_fails_ends_the_benchmark_with_a_sentence() -> None:
    with pytest.raises(Fault, match=r"-c exit\(2\): it ended with 2; what it said stands above"):
        data.watched(["-c", "exit(2)"], ROOT)


def test_too_little_room_is_said_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "BENCH", tmp_path)
    with pytest.raises(Fault, match=r"rows take some \d+ GB and \d+ GB are free; make room"):
        list(data.larger(10**13, 1.0))
    assert list(tmp_path.iterdir()) == []


def test_without_their_package_the_line_says_why_and_ours_is_measured(
    tmp_path: Path, packs: list[Pack], params: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samplers, "OURS", 400)
    monkeypatch.setattr(samplers, "ROUNDS", 1)
    monkeypatch.setattr(samplers, "PACKAGE", str(tmp_path / "no-such-package.whl"))
    [line] = samplers.measure(packs, params, tmp_path)
    assert "rows/s; Data Designer not measured: " in line
    assert "no-such-package.whl could not be installed (ERROR: " in line
    assert not (tmp_path / "data-designer" / "installed.txt").exists()


def test_a_peer_that_dies_is_told_with_its_last_words(tmp_path: Path) -> None:
    with (
        pytest.raises(NotMeasured, match=r"it ended with 1: FileNotFoundError: .*tools\.json"),
        samplers.peer(Path(sys.executable), tmp_path),
    ):
        pass


PAIRS = [
    (Call("query_database", {"query_str": "預算"}), QUERY),
    (Call("add_calendar_event", {"title": "Budget", "start_time": "tomorrow 15:00"}), CALENDAR),
    (Call("book_room", {"room": "A301", "start_time": "today 09:30", "people": 4}), ROOM),
] * 12


def test_sides_are_held_to_the_same_verdicts() -> None:
    closed = [
        (call, type(tool)(tool.name, tool.description, {**tool.parameters, "additionalProperties": False}))
        for call, tool in PAIRS
    ]
    theirs, plain = schemas.kept_validators(closed), schemas.new_validators()
    assert schemas.judged_alike(closed, theirs, plain) == 0
    broken = schemas.with_broken(closed)
    kept = schemas.kept_validators(broken)
    assert schemas.judged_alike(broken, kept, plain) == len(closed) // 4
    with pytest.raises(Fault, match=r"the sides do not judge Call.* alike; one of them is wrong"):
        schemas.judged_alike(broken, lambda pairs: [True] * len(pairs), plain)
    rates = schemas.in_turns({"ours": schemas.ours, "kept": kept}, broken, rounds=1)
    assert all(rate > 0 for rate in rates.values())
