"""callwright teach from its options to its exit code, what it prints, and the report beside the rows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callwright.faults import Fault
from callwright.records import read_line
from callwright.teacher.budget import Budget, CapReached, Caps, Held
from commands.teach import Asking, teach
from tests.fake_teacher import KEY, FakeTeacher, failing, library, said
from tests.rows import QUERY, ROOT


@pytest.fixture
def teacher() -> Iterator[FakeTeacher]:
    with FakeTeacher() as started:
        yield started


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for name in ("OPENAI_BASE_URL", "CALLWRIGHT_TEACHER_KEY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "packs").mkdir()
    library(tmp_path / "packs")
    return tmp_path


def run(teacher: FakeTeacher, rows: int = 8, **options: Any) -> int:
    asking = Asking(model="Fake/Teacher-1", address=teacher.address, **options.pop("asking", {}))
    return teach(asking, rows, **({"packs": "library"} | options))


OUT = Path("data/sources/teacher-teacher-1.jsonl")


def test_rows_and_report_lie_where_validate_reads(
    project: Path, teacher: FakeTeacher, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher.script += [said("no"), said("no")]
    asking = {"price_in": 2.0, "price_out": 8.0, "concurrency": 1}
    assert run(teacher, asking=asking) == 0
    rows = [read_line(line) for line in OUT.read_text(encoding="utf-8").splitlines()]
    report = json.loads(OUT.with_suffix(".report.json").read_text(encoding="utf-8"))
    assert (report["planned"], report["accepted"], report["rejected"]) == (8, 7, 1)
    assert len(rows) == 7
    assert report["codes"] == {"bad_json": 1}
    assert report["answers_rejected"] == {"bad_json": 2}
    assert report["rejects"][0]["code"] == "bad_json"
    sent = report["requests"]["sent"]
    assert report["requests"] == {"sent": sent, "answered": sent, "retried": 0, "from_cache": 0}
    assert report["tokens"] == {"in": 100 * sent, "out": 10 * sent, "estimated_requests": 0}
    assert report["cost_usd"] == pytest.approx(sent * (200 + 80) / 1e6)
    assert report["stopped"] is None
    told = capsys.readouterr().out
    for words in ("rows planned", "accepted", "rejected: bad_json", "requests sent", "tokens in", "cost, USD"):
        assert words in told
    assert "bad_json, such as the answer is not JSON" in told
    assert KEY not in told


@pytest.mark.parametrize(
    ("options", "languages"),
    [
        ({"language": "zh-TW"}, {"zh-TW"}),
        ({"language": "en"}, {"en"}),
        ({"zh_share": 1.0}, {"zh-TW"}),
        ({"language": "both", "zh_share": 0.5}, {"zh-TW", "en"}),
    ],
)
def test_languages_are_as_asked(
    project: Path, teacher: FakeTeacher, options: dict[str, Any], languages: set[str]
) -> None:
    assert run(teacher, 12, **options) == 0
    rows = [read_line(line) for line in OUT.read_text(encoding="utf-8").splitlines()]
    assert {str(row.language) for row in rows} == languages


def test_own_tools_and_packs_may_be_taught_together(project: Path, teacher: FakeTeacher) -> None:
    Path("mine.json").write_text(json.dumps([QUERY.to_json()]), encoding="utf-8")
    assert run(teacher, 12, tools=Path("mine.json")) == 0
    rows = [read_line(line) for line in OUT.read_text(encoding="utf-8").splitlines()]
    assert {row.source.get("pack") for row in rows} == {"library", None}
    assert run(teacher, 4, tools=Path("mine.json"), packs=None, out=Path("own.jsonl")) == 0


def test_without_packs_or_tools_the_project_says_which(project: Path, teacher: FakeTeacher) -> None:
    with pytest.raises(Fault, match=r"there are no tools to write rows about: params\.yaml is not here; give --packs"):
        run(teacher, packs=None)
    params = (ROOT / "params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(params, encoding="utf-8")
    Path("packs/office.yaml").symlink_to(ROOT / "packs/office.yaml")
    Path("presets").symlink_to(ROOT / "presets")
    assert run(teacher, 12, packs="office", language="en") in (0, 1)
    held = {"order_supplies", "post_announcement", "track_package", "print_document"}
    offered = [line for request in teacher.requests for line in request["messages"][1]["content"].splitlines()]
    names = {json.loads(line)["name"] for line in offered if line.startswith('{"name"')}
    assert names
    assert not names & held, "what params.yaml holds out for the exam is in no training row"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"language": "fr"}, "--language is 'fr'; give zh-TW, en or both"),
        ({"zh_share": 1.5}, r"--zh-share is 1\.5; give a share from 0 to 1"),
        ({"out": Path("rows.json")}, r"--out is rows\.json; name it \.jsonl"),
        ({"asking": {"max_cost": 1.0}}, "--max-cost needs --price-in and --price-out"),
        (
            {"asking": {"max_cost": -1.0, "price_in": 1.0, "price_out": 1.0}},
            r"--max-cost is -1\.0; give a sum of money",
        ),
        ({"asking": {"price_in": float("nan")}}, "--price-in is nan; give a sum of money"),
        ({"packs": "nothing"}, r"packs/nothing\.yaml is missing"),
        ({"packs": " , "}, "params.yaml is not here|all are held out"),
    ],
)
def test_misuse_is_told_before_anything_is_asked(
    project: Path, teacher: FakeTeacher, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(Fault, match=sentence):
        run(teacher, **options)
    assert teacher.requests == []
    assert not OUT.exists()


def test_a_cap_ends_a_run_with_one(project: Path, teacher: FakeTeacher, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(teacher, 5, asking={"max_tokens": 100}) == 1
    assert (
        "teach: stopped: --max-tokens is 100, 0 are spent, and the next request might pass it"
        in capsys.readouterr().err
    )
    assert teacher.requests == []


def test_no_row_at_all_is_a_one(project: Path, teacher: FakeTeacher) -> None:
    teacher.answer = said("no")
    assert run(teacher, 3) == 1


def test_a_fault_leaves_a_report_too(project: Path, teacher: FakeTeacher, capsys: pytest.CaptureFixture[str]) -> None:
    run(teacher, 3)
    teacher.answer = failing(404, "no such model")
    with pytest.raises(Fault, match="has no model 'Fake/Teacher-1'"):
        run(teacher, 6)
    report = json.loads(OUT.with_suffix(".report.json").read_text(encoding="utf-8"))
    assert report["before"] == 3
    assert "answers 404 (no such model)" in report["stopped"]
    assert len(OUT.read_text(encoding="utf-8").splitlines()) == 3


# The cap itself


SHARES = st.sampled_from([0.0, 0.5, 1.0])
REQUESTS = st.lists(st.tuples(st.integers(1, 300), st.integers(1, 300), SHARES, SHARES), max_size=25)


@given(cap=st.integers(0, 2_000), requests=REQUESTS, together=st.integers(1, 6))
def test_whatever_is_asked_and_answered_no_cap_is_passed(
    cap: int, requests: list[tuple[int, int, float, float]], together: int
) -> None:
    async def run() -> None:
        budget = Budget(Caps(tokens=cap))
        waiting = iter(requests)

        async def work() -> None:
            for most_in, most_out, share_in, share_out in waiting:
                held = await budget.reserve(most_in, most_out)
                await asyncio.sleep(0)
                budget.settle(held, int(most_in * share_in), int(most_out * share_out))
                assert budget.tokens_in + budget.tokens_out <= cap

        done = await asyncio.gather(*(work() for _ in range(together)), return_exceptions=True)
        assert all(result is None or isinstance(result, CapReached) for result in done)
        if not any(done):
            assert next(waiting, None) is None, "without a cap in the way all was asked"

    asyncio.run(run())


def test_a_request_waits_for_what_others_have_set_aside() -> None:
    async def run() -> list[int]:
        budget, order = Budget(Caps(tokens=100)), list[int]()
        first = await budget.reserve(50, 40)

        async def second() -> Held:
            order.append(1)
            held = await budget.reserve(50, 40)
            order.append(3)
            return held

        task = asyncio.create_task(second())
        await asyncio.sleep(0)
        order.append(2)
        budget.settle(first, 5, 5)
        await task
        return order

    assert asyncio.run(run()) == [1, 2, 3]


def test_money_is_counted_as_decimals() -> None:
    caps = Caps(None, Decimal(1), Decimal("0.15"), Decimal("0.60"))
    assert caps.price(1_000_000, 500_000) == Decimal("0.45")
