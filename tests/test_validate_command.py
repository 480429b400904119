"""callwright validate: the document's rows, files of all kinds, exit codes and the report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from callwright.contamination import Contamination, read_test_set
from callwright.faults import Fault
from commands.main import app
from tests.rows import as_line, document_row, generated

REQUEST = "幫我查一下預算表,並在明天下午三點排個審核會。"
CALLS = (
    '{"tool": "query_database", "params": {"query_str": "budget"}}\n'
    '{"tool": "add_calendar_event", "params": {"title": "預算審核", "start_time": "tomorrow 15:00"}}'
)
SYSTEM = (
    "你是一位專業助理。你可以使用以下工具:\n1. query_database(query_str): 查詢數據庫\n"
    "2. add_calendar_event(title, start_time): 新增行事曆\n"
    '如果需要使用工具,請輸出 JSON:\n{"tool": "...", "params": {...}}'
)
TOOLS = [
    {
        "name": "query_database",
        "description": "查詢資料庫",
        "parameters": {"type": "object", "properties": {"query_str": {"type": "string"}}},
    },
    {
        "name": "add_calendar_event",
        "description": "新增行事曆",
        "parameters": {"type": "object", "properties": {"title": {"type": "string"}, "start_time": {"type": "string"}}},
    },
]


def messages(calls: str = CALLS, request: str = REQUEST, **more: Any) -> dict[str, Any]:
    turns = [("system", SYSTEM), ("user", request), ("assistant", calls)]
    return {**more, "messages": [{"role": role, "content": content} for role, content in turns]}


ALPACA = {"system": "你是一位專業助理。可以使用工具。", "instruction": REQUEST, "output": CALLS}
PRO = {"instruction": REQUEST, "tools": TOOLS, "output": [json.loads(line) for line in CALLS.split("\n")]}
FAULTY = {
    "instruction": REQUEST,
    "output": '{"tool": "query_database", "params": {"query": "budget_2026"}}\n'
    '{"tool": "add_calendar_event", "params": {"title": "預算審核", "start_time": "2026-03-04T15:00"}}',
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, dict[str, Any], str, str]]:
    """Run the command on rows; its exit code, its report, what it printed and what it complained of."""
    monkeypatch.chdir(tmp_path)
    Path("tools.json").write_text(json.dumps(TOOLS), encoding="utf-8")

    def validate(rows: list[Any] | bytes, *options: str) -> tuple[int, dict[str, Any], str, str]:
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows) if isinstance(rows, list) else ""
        Path("rows.jsonl").write_bytes(rows if isinstance(rows, bytes) else lines.encode())
        done = CliRunner().invoke(app, ["validate", "rows.jsonl", "--report", "report.json", *options])
        report = json.loads(Path("report.json").read_text(encoding="utf-8")) if Path("report.json").exists() else {}
        return done.exit_code, report, done.stdout, done.stderr

    return validate


@pytest.mark.parametrize(
    ("row", "options"),
    [
        (messages(), ()),
        (messages(), ("--tools", "tools.json")),
        (ALPACA, ()),
        (ALPACA, ("--tools", "tools.json")),
        (PRO, ()),
    ],
)
def test_the_documents_good_rows_are_accepted(run: Any, row: dict[str, Any], options: tuple[str, ...]) -> None:
    code, report, _, _ = run([row], *options)
    assert (code, report["rows"], report["accepted"], report["rejects"]) == (0, 1, 1, [])
    warned = {warning["code"] for warning in report["warnings"]}
    assert "other_script" in warned  # "budget" for 預算表
    assert ("no_tools_named" in warned) is (row is not PRO and not options)


def test_the_documents_faulty_row_is_rejected_for_the_first_of_its_faults(run: Any) -> None:
    code, report, _, _ = run([FAULTY], "--tools", "tools.json")
    assert (code, report["codes"]) == (1, {"incomplete_roles": 1})
    assert run([{**FAULTY, "system": "你是一位專業助理。"}], "--tools", "tools.json")[1]["codes"] == {
        "unknown_param": 1
    }
    mended = {**FAULTY, "system": "你是一位專業助理。", "output": FAULTY["output"].replace('"query"', '"query_str"')}
    assert run([mended], "--tools", "tools.json")[1]["codes"] == {"hardcoded_date": 1}


def test_copies_that_differ_in_one_name_or_in_the_date_are_told_apart(run: Any) -> None:
    rows = [
        messages(id="good"),
        messages(CALLS.replace("query_str", "query"), id="name"),
        messages(CALLS.replace("tomorrow 15:00", "2026-03-04T15:00"), id="date"),
    ]
    code, report, out, _ = run(rows, "--tools", "tools.json")
    assert code == 1
    assert [(reject["row"], reject["code"]) for reject in report["rejects"]] == [
        ("name", "unknown_param"),
        ("date", "hardcoded_date"),
    ]
    assert report["rejects"][0]["message"] == (
        "rows.jsonl:2 (name): messages[2].calls[0]: query_database has no parameter 'query'; it has query_str"
    )
    assert "rows.jsonl: 3 rows, 1 accepted, 2 rejected" in out


def test_a_row_without_an_id_is_named_by_its_number_from_0(run: Any) -> None:
    _, report, _, _ = run([messages(), messages(), messages(CALLS.replace("預算審核", "火星旅行"))])
    assert [(reject["row"], reject["code"]) for reject in report["rejects"]] == [
        (1, "duplicate"),
        (2, "ungrounded_value"),
    ]
    assert set(report) == {"rows", "accepted", "rejected", "codes", "rejects", "warnings", "warning_codes"}


@pytest.mark.parametrize(
    ("request_", "day", "today", "code"),
    [
        ("幫我在3月4日下午三點排個審核會。", "2026-03-04T15:00", (), 1),
        ("幫我在2月29日下午三點排個審核會。", "2028-02-29T15:00", ("--today", "2026-01-01"), 0),
        ("幫我在3月4日下午三點排個審核會。", "2026-03-04T15:00", ("--today", "2026-03-01"), 0),
        ("幫我在3月4日下午三點排個審核會。", "2026-03-04T15:00", ("--today", "2026-03-05"), 1),
        ("幫我在3月4日下午三點排個審核會。", "2027-03-04T15:00", ("--today", "2026-03-05"), 0),
        ("幫我在三月四日下午三點排個審核會。", "2026-03-04T15:00", ("--today", "2026-03-01"), 0),
        ("幫我在2026年3月4日下午三點排個審核會。", "2026-03-04T15:00", ("--today", "2031-01-01"), 0),
        ("幫我在明天下午三點排個審核會。", "2026-03-04T15:00", ("--today", "2026-03-03"), 1),
    ],
)
def test_a_date_is_allowed_where_the_conversation_holds_it(
    run: Any, request_: str, day: str, today: tuple[str, ...], code: int
) -> None:
    call = json.dumps(
        {"tool": "add_calendar_event", "params": {"title": "審核會", "start_time": day}}, ensure_ascii=False
    )
    found = run([messages(call, request_)], "--tools", "tools.json", *today)
    assert (found[0], list(found[1]["codes"])) == (code, ["hardcoded_date"] if code else [])


GOOD = json.dumps(messages(), ensure_ascii=False).encode()
OTHER = GOOD.replace("預算表".encode(), "薪資預算".encode())


@pytest.mark.parametrize(
    ("content", "accepted", "sentence"),
    [
        (GOOD + b"\n" + GOOD.replace(b"budget", b"bud\xffget"), 1, "rows.jsonl:2: not UTF-8"),
        (b"\xef\xbb\xbf" + GOOD + b"\r\n" + OTHER + b"\r\n", 2, ""),
        (
            GOOD + b"\n" + b'{"messages": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
            1,
            "rows.jsonl:2: not JSON that can be read",
        ),
        (
            GOOD.replace(b'"messages"', b'"messages": 1, "messages"', 1) + b"\n" + OTHER,
            1,
            "rows.jsonl:1: not JSON: a key",
        ),
        (GOOD + b'\n{"id": NaN, "messages": []}', 1, "rows.jsonl:2: not JSON: NaN is not JSON"),
        (b"[" + GOOD + b",\n" + OTHER + b"]", 2, ""),
        (GOOD + b"\nnot JSON\n" + OTHER, 2, "rows.jsonl:2: not JSON"),
    ],
)
def test_what_is_good_is_kept_and_the_rest_has_a_sentence(
    run: Any, content: bytes, accepted: int, sentence: str
) -> None:
    code, report, out, _ = run(content)
    assert report["accepted"] == accepted
    assert code == (1 if sentence else 0)
    assert sentence in out
    if sentence:
        assert report["codes"] == {"bad_json": 1}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["missing.jsonl"], "missing.jsonl is missing"),
        (["."], ". is a folder; name one file of rows in it"),
        (["empty.jsonl"], "empty.jsonl is empty"),
        (["rows.jsonl", "--format", "csv"], "'csv' is no format; the formats are "),
        (["rows.jsonl", "--tools", "none.json"], "none.json is missing"),
        (["rows.jsonl", "--today", "tomorrow"], "Invalid value for '--today'"),
        (["rows.jsonl", "--against", "empty.jsonl"], "empty.jsonl is empty"),
        (["rows.jsonl", "--report", "rows.jsonl/x.json"], "rows.jsonl"),
        ([], "Missing argument"),
    ],
)
def test_misuse_is_2_and_a_sentence(run: Any, arguments: list[str], sentence: str) -> None:
    run([messages()])
    Path("empty.jsonl").touch()
    done = CliRunner().invoke(app, ["validate", *arguments])
    assert done.exit_code == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_word_that_may_be_a_choice_is_judged_only_where_the_tools_are_named(run: Any, tmp_path: Path) -> None:
    call = '{"tool": "query_database", "params": {"query_str": "spouse"}}'
    rows = [
        messages(call, "Look up my wife in the database."),
        messages(call.replace("spouse", "Carol"), "Look up Amy."),
    ]
    assert run(rows)[1]["codes"] == {"ungrounded_value": 1}
    assert run(rows, "--tools", "tools.json")[1]["codes"] == {"ungrounded_value": 2}


def test_rows_of_the_pipeline_are_accepted_as_they_are(run: Any) -> None:
    rows = [row.to_json() for row in generated() if row.split == "train"]
    code, report, _, _ = run(rows)
    assert (code, report["accepted"]) == (0, len(rows))


# Test sets


def bfcl(folder: Path, *questions: str) -> Path:
    folder.mkdir()
    lines = [
        json.dumps({"id": f"simple_python_{i}", "question": [[{"role": "user", "content": text}]], "function": []})
        for i, text in enumerate(questions)
    ]
    (folder / "BFCL_v4_simple_python.json").write_text("\n".join(lines), encoding="utf-8")
    (folder / "README.md").touch()
    return folder


def test_rows_that_hold_a_test_sets_request_are_contaminated_and_counted(run: Any, tmp_path: Path) -> None:
    folder = bfcl(tmp_path / "data", "Find the area of a triangle.", REQUEST + "!")
    code, report, out, _ = run(
        [messages(), messages(request="查「預算」,明天下午三點排審核會。")], "--against", str(folder)
    )
    assert (code, report["codes"]) == (1, {"contaminated": 1})
    assert report["rejects"][0]["message"].startswith("0: nearly the same request (0.9")
    assert report["contamination"] == [
        {
            "path": str(folder),
            "requests": 2,
            "rows": 1,
            "examples": [
                {"row": "0", "stands_in": "simple_python_1", "how": report["contamination"][0]["examples"][0]["how"]}
            ],
        }
    ]
    assert "of its 2 requests some stand in 1 rows" in out


def test_a_test_question_in_one_turn_of_a_conversation_is_found(run: Any, tmp_path: Path) -> None:
    folder = bfcl(tmp_path / "data", "Find the area of a triangle with a base of ten.")
    turns = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "Good morning, how are you today?"},
        {"role": "assistant", "content": "Fine, thanks."},
        {"role": "user", "content": "Find the area of a triangle with a base of ten."},
        {"role": "assistant", "content": "I need its height."},
    ]
    assert run([{"messages": turns}], "--against", str(folder))[1]["codes"] == {"contaminated": 1}
    assert run([{"messages": turns[:3]}], "--against", str(folder))[1]["codes"] == {}


def test_a_file_of_rows_is_a_test_set_too(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    path.write_text(as_line(document_row()) + "\n", encoding="utf-8")
    tests = Contamination([read_test_set(path, 0.8)])
    assert tests.sets[0].count == 1
    with pytest.raises(Fault, match="holds no request that could be read"):
        read_test_set(tmp_path, 0.8)
    (tmp_path / "BFCL_v4_other.json").write_text('{\n  "settings": 1\n}\n', encoding="utf-8")
    question = '{"id": "a", "question": [[{"role": "user", "content": "Hello"}]]}\n'
    (tmp_path / "BFCL_v4_x.json").write_text(question + '{"id": 1}\n', encoding="utf-8")
    with pytest.raises(Fault, match=r"BFCL_v4_x\.json:2: no question of BFCL"):
        read_test_set(tmp_path, 0.8)
    (tmp_path / "BFCL_v4_x.json").write_text(question, encoding="utf-8")
    assert read_test_set(tmp_path, 0.8).count == 1
