"""Rows from a teacher: planned, asked for, judged. The teacher is an HTTP server on loopback."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from callwright.faults import Fault
from callwright.packs import read_pack
from callwright.records import Category, Language
from callwright.rules import Rules
from callwright.teacher.plans import Plans, Toolset
from callwright.teacher.toolsets import of_file, of_packs
from tests.fake_teacher import (
    BOTH,
    FakeTeacher,
    Runner,
    Script,
    envelope,
    good,
    library,
    raw,
    said,
    well_written,
)
from tests.rows import CALENDAR, QUERY, ROOM
from tests.small_pack import write_pack


@pytest.fixture(name="library")
def _library(tmp_path: Path) -> Toolset:
    return library(tmp_path)


@pytest.fixture
def own_tools(tmp_path: Path) -> Toolset:
    path = tmp_path / "mine.json"
    functions = [{"type": "function", "function": tool.to_json()} for tool in (QUERY, CALENDAR, ROOM)]
    path.write_text(json.dumps({"tools": functions}), encoding="utf-8")
    return of_file(path)


# Rows


@pytest.mark.parametrize("tools", ["library", "own_tools"])
def test_every_category_is_written_in_both_languages(
    teacher: FakeTeacher, tmp_path: Path, tools: str, request: pytest.FixtureRequest
) -> None:
    toolset: Toolset = request.getfixturevalue(tools)
    runner = Runner(teacher, tmp_path, toolset)
    report = runner.run(80)
    assert report.rejected == {}
    assert report.refusals == []
    assert Counter((row.category, row.language) for row in runner.rows).keys() == {
        (category, language) for category in Category for language in Language
    }
    rules = Rules([toolset.pack] if toolset.pack else [])
    assert [failure for row in runner.rows if (failure := rules.first_failure(row))] == []


def test_results_of_a_packs_tools_come_from_its_backend(runner: Runner) -> None:
    runner.run(80)
    loops = [row for row in runner.rows if row.category is Category.FULL_LOOP]
    shelves = [row for row in loops if row.calls[0].tool == "find_book"]
    assert {json.loads(row.messages[3].to_json()["content"])["shelf"] for row in shelves} <= {"A1", "B2", "C3"}
    assert shelves
    for row in loops:
        result = row.messages[3].to_json()
        assert result["facts"]
        assert all(fact in result["content"] for fact in result["facts"])
    chains = [row for row in runner.rows if row.category is Category.CHAINED]
    assert chains
    for row in chains:
        first, second = row.calls
        assert (first.tool, second.tool) == ("find_book", "count_books")
        assert second.params["shelf"] == json.loads(row.messages[3].to_json()["content"])["shelf"]


def test_rows_say_where_they_come_from(runner: Runner) -> None:
    runner.run(4)
    assert {row.source["generator"] for row in runner.rows} == {"teacher"}
    assert {row.source["pack"] for row in runner.rows} == {"library"}
    assert {row.source["model"] for row in runner.rows} == {"fake/teacher"}
    assert all(row.id.startswith("teacher-") for row in runner.rows)


def test_a_plan_does_not_depend_on_how_many_there_are(library: Toolset, own_tools: Toolset) -> None:
    plans = Plans([library, own_tools], 7, BOTH, "m")
    again = Plans([library, own_tools], 7, BOTH, "m")
    assert [plans.plan(i) for i in range(20)] == [again.plan(i) for i in (*range(20),)]
    assert plans.plan(0).id != Plans([library], 7, BOTH, "m").plan(0).id
    assert plans.plan(0).id != Plans([library, own_tools], 8, BOTH, "m").plan(0).id


def test_a_pack_without_chains_is_asked_for_none(tmp_path: Path) -> None:
    write_pack(tmp_path)
    plans = Plans(of_packs(["library"], tmp_path), 7, BOTH, "m")
    assert Category.CHAINED not in {plans.plan(i).category for i in range(300)}


def test_what_the_exam_holds_out_is_never_offered(tmp_path: Path) -> None:
    write_pack(tmp_path)
    toolsets = of_packs(["library"], tmp_path, held_out_tools={"find_book"})
    plans = Plans(toolsets, 7, BOTH, "m")
    assert all(tool.name != "find_book" for i in range(200) for tool in plans.plan(i).offered)
    with pytest.raises(Fault, match=r"--packs names 'library', but generate\.held_out_packs in params\.yaml keeps it"):
        of_packs(["library"], tmp_path, held_out_packs={"library"})


# Answers that make no row


def spoiled(change: Callable[[dict[str, Any]], Any]) -> Script:
    """A good answer with something changed."""

    def script(request: dict[str, Any], number: int) -> Any:
        return envelope(json.dumps(change(well_written(request, number)), ensure_ascii=False))

    return script


def in_simplified(answer: dict[str, Any]) -> dict[str, Any]:
    return {**answer, "user": "请帮我办这件事", **({"reply": "好的，没问题"} if "reply" in answer else {})}


def wrong_parameter(answer: dict[str, Any]) -> dict[str, Any]:
    first, *others = answer["calls"]
    return {**answer, "calls": [{**first, "params": {**first["params"], "titel": "x"}}, *others]}


BAD = {
    "half a JSON": (said('{"user": "Please'), "bad_json"),
    "text": (said("Sure! Here is your row."), "bad_json"),
    "a list": (said("[1, 2]"), "bad_json"),
    "a key twice": (said('{"user": "a", "user": "b"}'), "bad_json"),
    "NaN": (said('{"user": NaN}'), "bad_json"),
    "deep": (said("[" * 10_000), "bad_json"),
    "another model's refusal": (said("I'm sorry, but I can't help with that."), "bad_json"),
    "a refusal by the book": (said(None, refusal="I can't."), "refused"),
    "filtered": (said("", "content_filter"), "refused"),
    "nothing": (said(""), "no_answer"),
    "no content": (said(None), "no_answer"),
    "no choices": (raw(b'{"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 0}}'), "no_answer"),
    "cut off": (said('{"user": "Pl', "length"), "cut_off"),
    "long": (said(json.dumps({"user": "a" * 50_000})), "too_long"),
    "10 MB": (raw(b" " * 10_000_000), "too_long"),
    "packed": (raw(b"\x1f\x8b", content_encoding="gzip"), "too_long"),
    "wrong language": (spoiled(in_simplified), "wrong_language"),
    "wrong parameter": (spoiled(wrong_parameter), "unknown_param"),
    "no calls": (spoiled(lambda answer: {**answer, "calls": []}), "not_as_planned"),
    "calls as text": (spoiled(lambda answer: {**answer, "calls": ["book_room(room='A')"]}), "bad_json"),
    "numbers for text": (spoiled(lambda answer: {**answer, "user": 7}), "bad_json"),
    "ungrounded": (spoiled(lambda answer: {**answer, "user": "麻煩你。"}), "ungrounded_value"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_answer_is_a_reject_with_its_code_and_the_run_goes_on(
    teacher: FakeTeacher, tmp_path: Path, own_tools: Toolset, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    script, code = BAD[fault]
    single = next(i for i in range(99) if Plans([own_tools], 7, ZH, "fake/teacher").plan(i).category == "single")
    runner = Runner(teacher, tmp_path, own_tools)
    runner.run(single, languages=ZH)
    teacher.script += [script, script]
    report = runner.run(single + 2, languages=ZH, concurrency=1)
    assert report.rejected == {code: 1}
    assert [refusal.code for refusal in report.refusals] == [code, code]
    assert report.accepted.total() == 1
    with capsys.disabled():
        print(f"\n  {fault}: {report.refusals[0].message[:150]}", end="")


ZH = {Language.ZH_TW: 1.0}


def test_a_call_that_the_backend_would_refuse_has_the_code_of_its_rule(runner: Runner) -> None:
    runner.teacher.answer = spoiled(lambda answer: wrong_parameter(answer) if "calls" in answer else answer)
    report = runner.run(60)
    assert set(report.rejected) == {"unknown_param"}
    assert not [row for row in runner.rows if row.calls]


def test_a_second_try_is_told_what_was_wrong(runner: Runner) -> None:
    runner.teacher.script.append(said("no"))
    report = runner.run(1)
    assert report.accepted.total() == 1
    assert report.rejected == {}
    assert [refusal.code for refusal in report.refusals] == ["bad_json"]
    assert "the answer is not JSON" in runner.teacher.requests[1]["messages"][-1]["content"]


def test_the_same_request_twice_is_a_duplicate(teacher: FakeTeacher, tmp_path: Path, own_tools: Toolset) -> None:
    teacher.answer = lambda request, _: good(request, 1)
    runner = Runner(teacher, tmp_path, own_tools)
    report = runner.run(60)
    assert report.rejected["duplicate"] > 5
    assert len({row.request for row in runner.rows}) == len(runner.rows) == report.accepted.total()


def test_fences_and_thoughts_around_an_answer_are_taken_off(runner: Runner) -> None:
    def wrapped(request: dict[str, Any], number: int) -> Any:
        text = json.dumps(well_written(request, number), ensure_ascii=False)
        return envelope(f"<think>A {{}} row.</think>\n```json\n{text}\n```")

    runner.teacher.answer = wrapped
    assert runner.run(5).accepted.total() == 5


def test_a_reply_that_tells_nothing_of_the_result_is_no_row(runner: Runner) -> None:
    def silent(request: dict[str, Any], number: int) -> Any:
        answer = well_written(request, number)
        return envelope(json.dumps({**answer, "reply": "OK 好"} if "reply" in answer else answer, ensure_ascii=False))

    runner.teacher.answer = silent
    report = runner.run(60)
    assert report.rejected["unfaithful_reply"] > 3
    assert not [row for row in runner.rows if row.category is Category.FULL_LOOP]


# Tools of one's own


def test_a_tool_whose_parameters_are_no_schema_is_told(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text('[{"name": "a", "parameters": {"type": "array"}}]', encoding="utf-8")
    with pytest.raises(Fault, match=r"mine\.json: tool 'a': parameters has type 'array'; expected object"):
        of_file(path)
    path.write_text("[", encoding="utf-8")
    with pytest.raises(Fault, match=r"mine\.json is not JSON"):
        of_file(path)


def test_a_tool_with_references_is_asked_about_without_them(teacher: FakeTeacher, tmp_path: Path) -> None:
    parameters = {
        "type": "object",
        "properties": {"name": {"$ref": "#/$defs/name"}},
        "required": ["name"],
        "$defs": {"name": {"type": "string"}},
    }
    path = tmp_path / "refs.json"
    path.write_text(
        json.dumps([{"name": "greet", "description": "Greets", "parameters": parameters}]), encoding="utf-8"
    )
    runner = Runner(teacher, tmp_path, of_file(path))
    runner.run(6, go_on=True)
    shapes = [json.dumps(request["response_format"]) for request in teacher.requests]
    assert not [shape for shape in shapes if "$ref" in shape]


def test_the_pack_is_read_as_the_pipeline_reads_it(tmp_path: Path) -> None:
    path = write_pack(tmp_path)
    assert of_packs(["library"], tmp_path)[0].pack == read_pack(path)
