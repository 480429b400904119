"""Nothing is paid for twice, nothing is lost: the cache, the file of rows, kills and signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from callwright.faults import Fault
from callwright.records import Example, read_line
from callwright.teacher.address import Address
from callwright.teacher.rowfile import RowFile
from tests.fake_teacher import (
    KEY,
    FakeTeacher,
    Runner,
    good,
    library,
    said,
)

# Going on


def test_a_second_run_pays_for_nothing(runner: Runner) -> None:
    runner.teacher.script.append(said("no"))
    runner.run(6)
    sent = len(runner.teacher.requests)
    first = runner.out.read_text(encoding="utf-8").splitlines()
    runner.out.unlink()
    report = runner.run(6)
    assert len(runner.teacher.requests) == sent
    assert sorted(runner.out.read_text(encoding="utf-8").splitlines()) == sorted(first)
    assert runner.client.tally.sent == runner.budget.tokens_in == 0
    assert runner.client.tally.from_cache == sent
    assert report.accepted.total() == 6


def test_another_model_or_key_or_address_is_another_question(runner: Runner) -> None:
    from callwright.teacher.questions import Question

    question = Question(({"role": "user", "content": "x"},), {}, 10)
    here, there = (Address(url, "m", SecretStr(KEY)) for url in ("http://a/v1", "http://b/v1"))
    other = Address("http://a/v1", "n", SecretStr(KEY))
    assert len({question.key(each) for each in (here, there, other)}) == 3
    assert question.key(here) == question.key(Address("http://a/v1", "m", SecretStr("another key")))


def test_more_rows_are_added_to_what_is_there(runner: Runner) -> None:
    runner.run(5)
    before = [row.id for row in runner.rows]
    report = runner.run(12)
    assert report.before == 5
    assert report.accepted.total() == 7
    assert [row.id for row in runner.rows][:5] == before
    assert len({row.id for row in runner.rows}) == 12


def test_a_cut_last_line_is_taken_away_and_written_again(runner: Runner) -> None:
    runner.run(5)
    whole = runner.out.read_bytes()
    runner.out.write_bytes(whole[:-40])
    with RowFile(runner.out) as file:
        assert file.mended > 0
        assert len(file.ids) == 4
    report = runner.run(5)
    assert (report.before, report.accepted.total()) == (4, 1)
    assert sorted(runner.out.read_bytes().splitlines()) == sorted(whole.splitlines())


def test_a_broken_line_is_told_and_left_alone(runner: Runner) -> None:
    runner.run(2)
    runner.out.write_text('{"id": 1}\n' + runner.out.read_text(encoding="utf-8"), encoding="utf-8")
    before = runner.out.read_bytes()
    with pytest.raises(Fault, match=r"rows\.jsonl:1: row has no category.*; mend or delete the line, or give another"):
        runner.run(3)
    assert runner.out.read_bytes() == before


def test_a_second_process_on_the_same_file_meets_a_sentence(runner: Runner) -> None:
    with RowFile(runner.out), pytest.raises(Fault, match=r"rows\.jsonl is being written by another process; wait for"):
        runner.run(1)


def test_a_folder_that_cannot_be_written_is_told(runner: Runner, tmp_path: Path) -> None:
    runner.out = tmp_path
    with pytest.raises(Fault, match="cannot be written: Is a directory; name another with --out"):
        runner.run(1)


def test_a_cache_that_is_none_is_told(runner: Runner) -> None:
    (runner.folder / "answers.db").write_text("this is no database " * 50, encoding="utf-8")
    with pytest.raises(Fault, match=r"answers\.db cannot be used to keep answers \(file is not a database\); move it"):
        runner.run(1)


# Kills and signals

ROOT = Path(__file__).parent.parent
PROGRAM = """
import sys
from pathlib import Path
from commands.teach import Asking, teach
from callwright.faults import Fault
asking = Asking(model="fake/teacher", address=sys.argv[1], cache=Path("answers.db"), concurrency=4)
try:
    sys.exit(teach(asking, int(sys.argv[2]), packs="library", out=Path("rows.jsonl")))
except Fault as fault:
    sys.exit(f"FAULT {fault}")
"""


class Gate:
    """A teacher that answers so many requests, and then waits until it is opened."""

    def __init__(self, teacher: FakeTeacher, after: int) -> None:
        self.reached, self.opened, self.after = threading.Event(), threading.Event(), after
        teacher.answer = self.answer

    def answer(self, request: dict[str, Any], number: int) -> Any:
        if number > self.after and not self.opened.is_set():
            self.reached.set()
            self.opened.wait(60)
        return good(request, number)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "packs").mkdir()
    library(tmp_path / "packs")
    return tmp_path


def start(project: Path, teacher: FakeTeacher, rows: int) -> subprocess.Popen[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI", "CALLWRIGHT"))}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, teacher.address, str(rows)],
        cwd=project,
        env=env | {"PYTHONPATH": str(ROOT), "OPENAI_API_KEY": KEY, "OPENAI_LOG": "debug"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stopped_by(number: signal.Signals, project: Path, teacher: FakeTeacher) -> tuple[int, str]:
    """Start a run of 40 rows, and send it a signal after some 25 answers."""
    gate = Gate(teacher, 25)
    process = start(project, teacher, 40)
    try:
        assert gate.reached.wait(60)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        gate.opened.set()
        process.kill()
        process.wait()
    assert KEY not in out + err
    return process.returncode, out + err


def lines(project: Path) -> list[Example]:
    text = (project / "rows.jsonl").read_text(encoding="utf-8")
    assert text.endswith("\n")
    return [read_line(line) for line in text.splitlines()]


def test_after_a_kill_the_next_run_goes_on(project: Path, teacher: FakeTeacher) -> None:
    code, _ = stopped_by(signal.SIGKILL, project, teacher)
    assert code == -signal.SIGKILL
    before = lines(project)
    assert 5 < len(before) < 40
    with (project / "rows.jsonl").open("ab") as file:  # as a kill in the middle of a line leaves it
        file.write(b'{"id": "teacher-')
    process = start(project, teacher, 40)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "the last line was cut off (16 bytes) and is taken away" in err
    after = lines(project)
    assert [row.id for row in after[: len(before)]] == [row.id for row in before]
    assert len({row.id for row in after}) == len(after) == 40
    asked = Counter(json.dumps(request["messages"]) for request in teacher.requests)
    assert sum(asked.values()) - len(asked) <= 4, "but for what was under way, nothing is asked for twice"
    assert KEY not in out + err
    assert not [path for path in project.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_keeps_what_was_good(project: Path, teacher: FakeTeacher, number: signal.Signals) -> None:
    code, told = stopped_by(number, project, teacher)
    assert code == 75
    assert "teach: interrupted; rows.jsonl keeps what was good, and the next run goes on from here" in told
    assert "Traceback" not in told
    kept = lines(project)
    report = json.loads((project / "rows.report.json").read_text(encoding="utf-8"))
    assert report["stopped"] == "interrupted"
    assert report["accepted"] == len(kept) > 5
    assert report["left"] == 40 - len(kept)


def test_two_processes_do_not_write_one_file(project: Path, teacher: FakeTeacher) -> None:
    gate = Gate(teacher, 5)
    first = start(project, teacher, 40)
    try:
        assert gate.reached.wait(60)
        second = start(project, teacher, 40)
        _, err = second.communicate(timeout=60)
        assert second.returncode == 1
        assert "FAULT rows.jsonl is being written by another process; wait for it, end it, or give another --out" in err
    finally:
        gate.opened.set()
        first.communicate(timeout=60)
    assert first.returncode == 0
    assert len(lines(project)) == 40
