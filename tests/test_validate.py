"""stages.validate: every row comes out once, accepted or rejected with its reason."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from callwright.records import Call, Calls, Example, Language, Reply, Split, User
from callwright.rules import Rules
from stages import validate
from tests.rows import ROOT, as_line, calling, conversation, document_row, generated, office

GOOD = document_row()
BAD = conversation(User("幫我查預算"), Calls((Call("query_database", {"query": "預算"}),)), row_id="bad-1")
LONG = "Please book room A301 for the quarterly budget review with the whole finance team"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with params.yaml and packs, and no rows yet."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "packs").symlink_to(ROOT / "packs")
    (tmp_path / "presets").symlink_to(ROOT / "presets")
    (tmp_path / "data/generated").mkdir(parents=True)
    return tmp_path


def write(name: str, rows: Sequence[Example | str]) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, str) else as_line(row) for row in rows]
    Path(name).write_text("".join(line + "\n" for line in lines), encoding="utf-8", errors="surrogateescape")


def run(name: str = "data/generated/train.jsonl", rows: Sequence[Example | str] = ()) -> dict[str, Any]:
    """Write rows, run the stage, return report.json."""
    write(name, rows)
    validate.main()
    report: dict[str, Any] = json.loads(Path("data/validated/report.json").read_text(encoding="utf-8"))
    return report


def read(name: str) -> list[dict[str, Any]]:
    text = Path(f"data/validated/{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def codes() -> list[str]:
    return [reject["code"] for reject in read("rejected")]


def book(text: str, row_id: str, split: Split = Split.TRAIN) -> Example:
    return replace(calling(text, room="A301"), id=row_id, split=split)


@pytest.mark.usefixtures("project")
class TestTheStage:
    def test_accepts_all_that_generate_writes(self) -> None:
        rows = generated()
        report = run(rows=rows)
        assert (report["rows"], report["accepted"], report["rejected"]) == (len(rows), len(rows), 0)
        assert [read(split) for split in Split] == [
            [row.to_json() for row in rows if row.split is split] for split in Split
        ]

    def test_keeps_a_reject_with_its_code_its_sentence_and_the_row_as_it_came(self) -> None:
        line = as_line(BAD).replace('": ', '":  ')
        run(rows=[GOOD, line])
        assert read("train") == [GOOD.to_json()]
        sentence = "bad-1: messages[2].calls[0]: query_database has no parameter 'query'; it has query_str"
        assert read("rejected") == [{"code": "unknown_param", "message": sentence, "row": line}]

    def test_accepted_and_rejected_together_are_all_rows(self) -> None:
        rows: list[Example | str] = [GOOD, BAD, "{", "[]", "", "  ", GOOD, replace(GOOD, split=Split.TEST)]
        report = run(rows=rows)
        assert report["rows"] == 6  # an empty line is no row
        assert report["accepted"] + report["rejected"] == report["rows"]
        assert sum(len(read(split)) for split in Split) == report["accepted"]
        assert len(read("rejected")) == report["rejected"] == sum(report["codes"].values())

    def test_reports_what_was_accepted(self) -> None:
        report = run(rows=[GOOD, replace(book(LONG, "b"), split=Split.DEV), BAD, "{"])
        assert report["codes"] == {"bad_json": 1, "unknown_param": 1}
        assert report["splits"]["train"] == {
            "rows": 1,
            "by_category": {"parallel": 1},
            "by_language": {"zh-TW": 1},
            "tools_called": {"add_calendar_event": 1, "query_database": 1},
        }
        assert report["splits"]["dev"]["by_language"] == {"en": 1}
        assert report["splits"]["test"] == {"rows": 0, "by_category": {}, "by_language": {}, "tools_called": {}}

    def test_tells_how_many_and_an_example_of_each_code(self, capsys: pytest.CaptureFixture[str]) -> None:
        run(rows=[GOOD, BAD, "{"])
        told = capsys.readouterr().out.splitlines()
        assert told[0] == "validate: 1 rows accepted, 2 rejected (in data/validated/rejected.jsonl)"
        assert told[2].startswith("  1 bad_json, such as data/generated/train.jsonl:3: not JSON: ")

    @pytest.mark.parametrize("there", [False, True])
    def test_needs_no_rows_from_outside(self, there: bool) -> None:
        if there:
            Path("data/sources").mkdir()
            Path("data/sources/.gitkeep").touch()
        assert run(rows=[GOOD])["accepted"] == 1

    def test_judges_rows_from_outside_as_its_own(self) -> None:
        write("data/sources/ours.jsonl", [replace(GOOD, id="ours-1"), replace(BAD, id="ours-2")])
        write("data/sources/notes.txt", ["no rows"])
        assert run(rows=[book(LONG, "own-1")])["rows"] == 3
        assert {row["id"] for row in read("train")} == {"own-1", "ours-1"}
        assert codes() == ["unknown_param"]

    def test_leaves_the_same_bytes_again(self) -> None:
        rows: list[Example | str] = [*generated()[:20], BAD, "{", GOOD, GOOD]
        run(rows=rows)
        first = {path.name: path.read_bytes() for path in Path("data/validated").iterdir()}
        validate.main()
        assert {path.name: path.read_bytes() for path in Path("data/validated").iterdir()} == first
        outs = {"train.jsonl", "dev.jsonl", "test.jsonl", "rejected.jsonl", "report.json", "contamination.json"}
        assert set(first) == outs

    def test_holds_rows_against_test_sets_and_reports_what_they_hold(self) -> None:
        write("exam/test.jsonl", [book(LONG, "exam-1"), book("Something else entirely, please", "exam-2")])
        text = (
            Path("params.yaml").read_text(encoding="utf-8").replace("test_sets: [] ", "test_sets: [exam/test.jsonl] ")
        )
        Path("params.yaml").write_text(text, encoding="utf-8")
        report = run(rows=[GOOD, book(LONG + "!", "lesson")])
        assert report["codes"] == {"contaminated": 1}
        [found] = json.loads(Path("data/validated/contamination.json").read_text(encoding="utf-8"))
        assert (found["path"], found["requests"], found["rows"]) == ("exam/test.jsonl", 2, 1)
        assert found["examples"] == [
            {"row": "lesson", "stands_in": "exam-1", "how": "nearly the same request (0.98)"},
        ]


BROKEN = as_line(GOOD)


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not JSON: "),
        ("null", "row is null; expected an object"),
        ("{}", "row has no category, id, language, messages, split, tools"),
        (BROKEN.replace('"budget"', "NaN"), "not JSON: NaN is not JSON"),
        (BROKEN.replace('"budget"', "1e999"), "not JSON: Out of range float"),
        (BROKEN.replace('"budget"', r'"\ud83d"'), "not JSON: 'utf-8' codec can't encode character"),
        (BROKEN.replace("budget", "\udcff"), "not JSON: 'utf-8' codec can't encode character"),
        (BROKEN.replace('"tools"', '"id": "another", "tools"'), "not JSON: a key stands twice"),
        (BROKEN.replace('"tools"', '"tool"'), "row has no tools"),
        (BROKEN.replace('"row-1"', '"row#1"'), "id is 'row#1'; '#' is kept for the turns of a row"),
        (BROKEN.replace('{"query_str": "budget"}', '"{}"'), 'messages[2].calls[0].params is "{}"; expected an object'),
        ("[" * 100_000, "not JSON: "),
    ],
    ids=range(12),
)
def test_a_line_that_is_no_record_is_rejected_with_its_place(line: str, reason: str) -> None:
    run(rows=[GOOD, line])
    [reject] = read("rejected")
    assert reject["code"] == "bad_json", reject
    assert reject["message"].startswith(f"data/generated/train.jsonl:2: {reason}")
    assert reject["row"].encode(errors="surrogatepass") == line.encode(errors="surrogatepass")
    assert read("train") == [GOOD.to_json()]


def judged(*rows: Example) -> list[tuple[str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        path.write_text("".join(as_line(row) + "\n" for row in rows), encoding="utf-8")
        out = list(validate.validate([path], Rules(office()), 0.8, processes=1))
    return [(one.code, one.message) for one in out if isinstance(one, validate.Rejected)]


def test_a_request_that_stands_twice_is_accepted_once() -> None:
    assert judged(book(LONG, "a"), book(LONG, "b")) == [("duplicate", "b: the same request stands in a")]


def test_nearly_the_same_request_is_told_with_its_similarity() -> None:
    assert judged(book(LONG, "a"), book(LONG + "!", "b")) == [
        ("near_duplicate", "b: nearly the same request (0.98) stands in a")
    ]


@pytest.mark.parametrize(("text", "how"), [(LONG, "the same request"), (LONG + "!", "nearly the same request (0.98)")])
@pytest.mark.parametrize("split", [Split.TRAIN, Split.DEV])
def test_a_row_that_stands_in_the_test_is_contaminated_and_the_test_keeps_its_own(
    text: str, how: str, split: Split
) -> None:
    rows = [book(text, "lesson", split), book(LONG, "exam", Split.TEST)]
    assert judged(*rows) == judged(*reversed(rows)) == [("contaminated", f"lesson: {how} stands in exam")]


def test_a_training_row_that_stands_in_dev_is_a_duplicate() -> None:
    assert judged(book(LONG, "lesson"), book(LONG, "dev", Split.DEV)) == [
        ("duplicate", "lesson: the same request stands in dev")
    ]


def test_a_rejected_row_makes_no_other_a_duplicate() -> None:
    broken = replace(book(LONG, "a"), messages=(*book(LONG, "a").messages[:2], Reply("   ")))
    assert [found for found, _ in judged(broken, book(LONG, "b"))] == ["incomplete_roles"]


def test_two_rows_of_one_id_cannot_both_be_accepted() -> None:
    other = conversation(User("What can you do?"), Reply("I can book rooms."), language=Language.EN, row_id="a")
    assert judged(book(LONG, "a"), other) == [
        ("duplicate", "a: another row has this id, with another request; give it one of its own")
    ]


def test_importing_the_stage_imports_no_heavy_package() -> None:
    """It takes 0.3 s of CPU time; any of these would take more, and a timed assert would fail on a busy machine."""
    heavy = {"torch", "transformers", "datasets", "mlflow", "prefect", "dvc", "matplotlib", "numpy", "pandas", "scipy"}
    code = f"import stages.validate, sys; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
