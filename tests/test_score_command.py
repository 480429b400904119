"""callwright score: gold of any format, answers of any form, a report; and a sentence for every misuse."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from callwright.answers import write_calls
from callwright.exchange import writer
from callwright.families import FAMILIES
from callwright.faults import Fault
from callwright.metrics import wilson
from callwright.records import Call, Calls, Category, Example, Reply, Result, User
from callwright.score import gold
from commands.score import score
from tests.rows import CALENDAR, QUERY, REQUEST, conversation, document_row, generated, loop
from tests.test_score import HOSTILE

A = Call("query_database", {"query_str": "預算"})
ASK = conversation(
    User("排個會"), Reply("請問幾點?", asks=("幾點",)), category=Category.MISSING, row_id="ask", tools=(QUERY, CALENDAR)
)
ONE = conversation(User("查預算"), Calls((A,)), row_id="one", tools=(QUERY, CALENDAR))
LOOP = loop("預算為 300 萬。")


class Files:
    """Gold and predictions in a folder, and what scoring them leaves."""

    def __init__(self, folder: Path) -> None:
        self.gold, self.predictions, self.report = folder / "gold.jsonl", folder / "answers.jsonl", folder / "r.json"

    def rows(self, rows: Sequence[Any]) -> Files:
        self.gold.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return self

    def examples(self, *rows: Example) -> Files:
        return self.rows([row.to_json() for row in rows])

    def answers(self, *answers: tuple[Any, Any]) -> Files:
        lines = [json.dumps({"id": row_id, "text": text}) for row_id, text in answers]  # escapes what UTF-8 cannot hold
        self.predictions.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return self

    def scored(self, **more: Any) -> dict[str, Any]:
        assert score(self.gold, self.predictions, report=self.report, **more) == 0
        made: dict[str, Any] = json.loads(self.report.read_text(encoding="utf-8"))
        return made

    def fault(self, **more: Any) -> list[str]:
        """The sentences, without the folder; nothing is written."""
        with pytest.raises(Fault) as caught:
            score(self.gold, self.predictions, report=self.report, **more)
        assert not self.report.exists()
        return [sentence.replace(f"{self.gold.parent}/", "") for sentence in caught.value.sentences]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def right(row: Example) -> str:
    turn = gold(row)
    return write_calls(turn.calls) if isinstance(turn, Calls) else turn.content


def test_the_report_has_the_keys_that_are_asked_for(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    files.examples(ONE, ASK, LOOP).answers(("row-1", "預算為 300 萬。"), ("ask", "好的。"), ("one", "{"))
    assert files.scored() == {
        "n": 3,
        "correct": 1,
        "accuracy": 0.333333,
        "ci95": wilson(1, 3),
        "outcomes": {"call": 0, "ask": 0, "answer": 2, "malformed": 1},
        "reasons": {"not_asked": 1, "unparsed": 1},
        "rows": [
            {"id": "one", "correct": False, "outcome": "malformed", "reason": "unparsed"},
            {"id": "ask", "correct": False, "outcome": "answer", "reason": "not_asked"},
            {"id": "row-1", "correct": True, "outcome": "answer", "reason": None},
        ],
    }
    shown = capsys.readouterr()
    assert "33.3%, 95% interval 6.1% to 79.2%" in shown.out
    assert "now is 2026-03-02T09:00" in shown.out
    assert shown.err == ""


def test_every_generated_row_scores_its_own_answer_right(files: Files) -> None:
    rows = generated()
    made = files.examples(*rows).answers(*((row.id, right(row)) for row in rows)).scored()
    assert (made["n"], made["correct"]) == (len(rows), len(rows))


@pytest.mark.parametrize("form", ["canonical", "messages", "alpaca", "pro", "openai", "hermes", "sharegpt"])
def test_gold_is_read_in_any_format(files: Files, form: str, tmp_path: Path) -> None:
    rows = [document_row(), ASK, ONE]
    tools = tmp_path / "tools.json"
    tools.write_text(json.dumps([QUERY.to_json(), CALENDAR.to_json()]), encoding="utf-8")
    written = writer(form)
    files.rows([line for row in rows for line in written.rows(row)])
    files.answers(*((number, right(row)) for number, row in enumerate(rows)))
    assert files.scored(tools=tools)["correct"] == 3
    files.answers((0, right(ONE)), (1, right(ONE)), (2, right(document_row())))
    assert files.scored(tools=tools)["reasons"] == {"wrong_count": 2, "needless_call": 1}


@pytest.mark.parametrize("form", ["alpaca", "pro"])
def test_rows_of_one_conversation_are_rows_of_their_own(files: Files, form: str) -> None:
    files.rows(list(writer(form).rows(LOOP)))
    made = files.answers(("row-1#0", right(ONE)), ("row-1#1", "預算為 300 萬。")).scored()
    assert [(row["id"], row["correct"]) for row in made["rows"]] == [("row-1#0", True), ("row-1#1", True)]


def test_of_several_turns_of_the_assistant_the_last_is_judged(files: Files) -> None:
    files.examples(LOOP)
    assert files.answers(("row-1", write_calls((A,)))).scored()["reasons"] == {"needless_call": 1}


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_answers_are_read_in_a_familys_own_form(files: Files, name: str) -> None:
    rows = [ONE, ASK]
    files.examples(*rows)
    if FAMILIES[name].native:
        files.answers(*((row.id, FAMILIES[name].said(gold(row))) for row in rows))
        assert files.scored(form=name)["correct"] == 2
        assert files.scored()["correct"] < 2
    assert "--format 'llama' is no form of an answer; it is one of document, llama3" in files_fault(files, "llama")


def files_fault(files: Files, form: str) -> str:
    with pytest.raises(Fault) as caught:
        score(files.gold, files.predictions, form)
    return str(caught.value)


def test_the_clock_is_the_one_that_is_given_and_is_printed(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    row = conversation(
        User("排審核會"), Calls((Call("add_calendar_event", {"title": "x", "start_time": "this friday"}),))
    )
    files.examples(row).answers(("row-1", right(row).replace("this friday", "in 4 days")))
    assert files.scored()["correct"] == 1
    assert files.scored(now=datetime(2026, 3, 4, 8, 30))["correct"] == 0  # noqa: DTZ001 - on a wall
    assert "now is 2026-03-04T08:30" in capsys.readouterr().out


PRO = {"instruction": "查預算", "tools": [QUERY.to_json()], "output": [A.to_json()]}


def test_a_row_is_named_by_its_id_or_by_its_number(files: Files) -> None:
    files.rows([PRO, PRO])
    for names in ((0, 1), ("0", "1"), (1, "0")):
        made = files.answers(*((name, write_calls((A,))) for name in names)).scored()
        assert [row["id"] for row in made["rows"]] == [0, 1]
        assert made["correct"] == 2
    files.rows([PRO | {"id": "a"}, PRO | {"id": "b"}]).answers((1, "x"), ("a", write_calls((A,))))
    assert [row["correct"] for row in files.scored()["rows"]] == [True, False]
    files.rows([PRO | {"id": 7}, PRO | {"id": "8"}]).answers(("7", "x"), (8, write_calls((A,))))
    assert [(row["id"], row["correct"]) for row in files.scored()["rows"]] == [(7, False), ("8", True)]


def test_a_number_is_no_name_where_ids_are_numbers(files: Files) -> None:
    files.rows([PRO | {"id": 5}]).answers((0, "x"))
    lost, unknown = files.fault()
    assert lost.startswith("answers.jsonl has no answer to 1 of the 1 rows of gold.jsonl: 5. ")
    assert unknown == "answers.jsonl:1: gold.jsonl has no row 0; take the answer out, or name the gold it is of"


def test_rows_that_name_no_tools_are_compared_by_value_with_a_warning(
    files: Files, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    files.rows([{"instruction": "查預算", "output": write_calls((A,))}])
    odd = write_calls((Call("query_database", {"query": "預算"}),))
    assert files.answers((0, odd)).scored()["reasons"] == {"wrong_params": 1}
    assert "name no tools, so their calls are held to no schema and compared by value; give --tools" in (
        capsys.readouterr().err
    )
    tools = tmp_path / "tools.json"
    tools.write_text(json.dumps([QUERY.to_json()]), encoding="utf-8")
    assert files.scored(tools=tools)["reasons"] == {"unknown_param": 1}
    assert capsys.readouterr().err == ""


def test_gold_that_breaks_its_own_tools_is_scored_with_a_warning(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = Call("query_database", {"query_str": 5})
    files.rows([PRO | {"output": [wrong.to_json()]}]).answers((0, write_calls((wrong,))))
    assert files.scored()["correct"] == 0
    said = capsys.readouterr().err
    assert "warning: in 1 rows the gold breaks its own tools, such as " in said
    assert "gold.jsonl:1 (wrong_type: query_database.query_str: 5 is not of type" in said


# Misuse: a sentence and exit 2, which commands/main.py makes of a Fault


def test_a_lost_answer_is_not_a_wrong_answer(files: Files) -> None:
    files.rows([PRO | {"id": f"r{i}"} for i in range(9)]).answers(("r8", "x"), ("r0", "x"))
    (sentence,) = files.fault()
    assert sentence == (
        "answers.jsonl has no answer to 7 of the 9 rows of gold.jsonl: 'r1', 'r2', 'r3', 'r4', 'r5', …. A lost answer "
        'is not a wrong one, so nothing is scored; ask the model again, or give "" as the text where it said nothing'
    )


def test_an_answer_given_twice_or_to_no_row_is_told(files: Files) -> None:
    files.rows([PRO | {"id": "a"}]).answers(("a", "x"), ("b", "y"), ("a", "x"))
    assert files.fault() == [
        "answers.jsonl:2: gold.jsonl has no row 'b'; take the answer out, or name the gold it is of",
        "answers.jsonl:3: row 'a' is answered in answers.jsonl:1 too; keep one answer a row",
    ]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("oops", "not JSON (Expecting value"),
        ('{"id": "a", "text": "x"', "not JSON (Expecting ',' delimiter"),
        ("[" * 100_000, "not JSON (maximum recursion depth exceeded"),
        ('{"id": "a", "text": "x", "text": "y"}', "not JSON (a key stands twice)"),
        ('["a", "x"]', "not a JSON object"),
        ('{"text": "x"}', "it has no id, which is a text or a whole number"),
        ('{"id": true, "text": "x"}', "it has no id, which is a text or a whole number"),
        ('{"id": 1.5, "text": "x"}', "it has no id, which is a text or a whole number"),
        ('{"id": "a"}', "the answer to 'a' has no text"),
        ('{"id": "a", "text": null}', "the answer to 'a' has no text"),
        ('{"id": "a", "text": [{"tool": "x"}]}', "the answer to 'a' has no text"),
    ],
    ids=lambda value: value[:24],
)
def test_a_line_that_is_no_answer_is_told(files: Files, line: str, what: str) -> None:
    files.rows([PRO | {"id": "a"}])
    files.predictions.write_text(f"\n{line}\n", encoding="utf-8")
    (sentence,) = files.fault()
    assert sentence.startswith(f"answers.jsonl:2: {what}")
    assert sentence.endswith('; a line of predictions is {"id": …, "text": "the raw answer"}')


def test_of_many_faults_the_first_are_told(files: Files) -> None:
    files.rows([PRO | {"id": "a"}])
    files.predictions.write_text("oops\n" * 20, encoding="utf-8")
    told = files.fault()
    assert len(told) == 6
    assert told[-1] == "and 15 more like these"


def test_predictions_that_are_no_file_of_text_are_told(files: Files) -> None:
    files.rows([PRO | {"id": "a"}])
    assert files.fault()[0].startswith("answers.jsonl is missing; name a file of answers, each a line {")
    files.predictions.write_bytes(b"")
    assert files.fault()[0].startswith("answers.jsonl is empty; it holds an answer a line, {")
    files.predictions.write_bytes(b'{"id": "a", "text": "\xff"}\n')
    assert files.fault()[0].startswith("answers.jsonl:1: not UTF-8 (0xff at byte 21 of the line); a line of")
    files.predictions.unlink()
    files.predictions.mkdir()
    assert files.fault()[0].startswith("answers.jsonl cannot be read: Is a directory; name a file of answers")


def test_a_byte_order_mark_and_blank_lines_are_nothing(files: Files) -> None:
    files.rows([PRO | {"id": "a"}])
    files.predictions.write_bytes(b'\xef\xbb\xbf\r\n\r\n{"id": "a", "text": "x"}\r\n\n')
    assert files.scored()["n"] == 1


@pytest.mark.parametrize(
    ("row", "what"),
    [
        (
            conversation(User("查"), Calls((A,)), Result("query_database", "{}")).to_json(),
            "gold.jsonl:1: its last turn is not the assistant's, so there is no right answer; end the row with",
        ),
        (
            PRO | {"output": [{"tool": "get_weather", "params": {}}]},
            "gold.jsonl:1: its right answer calls 'get_weather', which is none of the tools it offers (query_",
        ),
        (
            PRO | {"tools": []},
            "gold.jsonl:1: its right answer calls 'query_database', which is none of the tools it offers (none); ",
        ),
        (
            PRO | {"output": [{"tool": "x"}]},
            "gold.jsonl:1: output[0] has no params; callwright validate says what is wrong",
        ),
    ],
    ids=["last turn", "another tool", "no tools", "no call"],
)
def test_gold_that_nobody_could_answer_is_told(files: Files, row: Any, what: str) -> None:
    (sentence,) = files.rows([row]).answers((0, "x")).fault()
    assert sentence.startswith(what)


def test_gold_that_cannot_be_read_is_told(files: Files) -> None:
    files.answers((0, "x"))
    assert files.fault() == ["gold.jsonl is missing; name a file of rows"]
    files.gold.write_text("", encoding="utf-8")
    assert files.fault()[0].startswith("gold.jsonl is empty; a file of rows is JSON lines")
    files.rows([{"foo": 1}])
    assert files.fault()[0].startswith("gold.jsonl:1: no format fits a row with 'foo'")
    files.gold.write_text("oops\n", encoding="utf-8")
    assert files.fault()[0].startswith("gold.jsonl:1: not JSON")


def test_two_rows_of_one_id_are_told(files: Files) -> None:
    files.rows([PRO | {"id": "a"}, PRO | {"id": "a"}]).answers(("a", "x"))
    assert files.fault() == [
        "gold.jsonl:2: the id 'a' stands in gold.jsonl:1 too; give each row one of its own",
    ]


def test_a_report_that_cannot_be_written_leaves_nothing(files: Files) -> None:
    files.rows([PRO | {"id": "a"}]).answers(("a", "x"))
    files.report = files.predictions / "r.json"
    (sentence,) = files.fault()
    assert sentence.startswith("answers.jsonl/r.json could not be written: ")
    assert sentence.endswith("Make room or give yourself access there, then run it again")


# A thousand rows


def test_no_answer_crashes_a_scoring_of_a_thousand_rows(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    many = write_calls(tuple(Call("query_database", {"query_str": str(i)}) for i in range(10_000)))
    texts = [text for text, _ in HOSTILE] + ["\ud83d?", "好", "\x1b[31m[bold]", "a\nb\tc", '"tool": ' * 1000]
    rows = [conversation(User(REQUEST), Calls((A,)), row_id=f"r{i}") for i in range(1000)]
    files.examples(*rows).answers(*((row.id, texts[i % len(texts)] if i else many) for i, row in enumerate(rows)))
    made = files.scored()
    assert (made["n"], made["correct"]) == (1000, 0)
    assert set(made["reasons"]) == {"unparsed", "no_call", "wrong_count"}
    capsys.readouterr().out.encode()


def test_a_thousand_rows_are_scored_in_under_two_seconds(files: Files) -> None:
    rows = generated()
    thousand = [row.to_json() | {"id": f"r{i}"} for i, row in enumerate(rows * (1000 // len(rows) + 1))][:1000]
    texts = [right(rows[i % len(rows)]) for i in range(1000)]
    files.rows(thousand).answers(*((row["id"], text) for row, text in zip(thousand, texts, strict=True)))
    began = time.process_time()
    assert files.scored()["correct"] == 1000
    assert time.process_time() - began < 2
