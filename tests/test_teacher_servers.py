"""Servers with faults, what they do not take, caps and limits, and the key."""

from __future__ import annotations

import json
import threading
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from callwright.faults import Fault
from callwright.teacher.address import read_address
from callwright.teacher.budget import Caps
from callwright.teacher.client import TRIES
from callwright.teacher.plans import slug
from tests.fake_teacher import (
    KEY,
    FakeTeacher,
    Runner,
    Script,
    envelope,
    failing,
    good,
    library,
    raw,
    said,
    well_written,
)

# Servers with faults


AGAIN = {
    "429": failing(429, "slow down"),
    "408": failing(408),
    "409": failing(409),
    "500": failing(500),
    "503": failing(503),
    "HTML": raw(b"<html><h1>Welcome</h1></html>", content_type="text/html"),
    "half a body": raw(b'{"choices": [{"mess', content_type="application/json"),
    "a stream that is cut": raw(b'{"choices": [', content_length="5000"),
    "no choices key": raw(b'{"error": {"message": "upstream is away"}}'),
    "not text": raw(b"\xff\xfe\x00"),
}


@pytest.mark.parametrize("fault", AGAIN)
def test_what_may_work_the_next_time_is_asked_again(runner: Runner, fault: str) -> None:
    runner.teacher.script += [AGAIN[fault]] * 2
    report = runner.run(1)
    assert report.accepted.total() == 1
    assert report.refusals == []
    assert len(runner.waits) == runner.client.tally.retried == 2
    assert all(0.5 <= wait <= 60 for wait in runner.waits)


@pytest.mark.parametrize("fault", AGAIN)
def test_what_never_works_stops_the_run_or_is_left_out(
    runner: Runner, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    runner.run(2)
    runner.teacher.answer = AGAIN[fault]
    with pytest.raises(Fault, match=r"rows are kept in .*rows\.jsonl; run this again to go on") as stopped:
        runner.run(3)
    with capsys.disabled():
        print(f"\n  {fault}: {str(stopped.value)[:170]}", end="")
    assert runner.report.stopped == str(stopped.value)
    before = len(runner.teacher.requests)
    report = runner.run(4, go_on=True)
    assert [code.startswith("lost_") for code in report.rejected] == [True]
    assert report.rejected.total() == 2
    assert len(runner.teacher.requests) == before + 2 * TRIES
    assert len(runner.rows) == 2


def test_retry_after_is_honoured(runner: Runner) -> None:
    runner.teacher.script += [failing(429, retry_after="7"), failing(503, retry_after="2.5")]
    runner.run(1)
    assert runner.waits == [7.0, 2.5]
    runner.waits.clear()
    runner.teacher.script += [failing(429, retry_after="Wed, 21 Oct 2015 07:28:00 GMT")]
    runner.run(2)
    assert runner.waits == [0.0]
    runner.teacher.script += [failing(429, retry_after="86400")]
    with pytest.raises(Fault, match="answers 429 and asks to wait 86400 s; run this again then"):
        runner.run(3)


FATAL = {
    401: "refuses the key in OPENAI_API_KEY or CALLWRIGHT_TEACHER_KEY: it answers 401",
    402: "wants to be paid first: it answers 402",
    403: "does not let the key in .* use 'fake/teacher': it answers 403",
    404: r"has no model 'fake/teacher', or nothing at /chat/completions \(see --model",
    405: "refuses the request: it answers 405",
}


@pytest.mark.parametrize("status", FATAL)
def test_what_cannot_get_better_stops_at_once(runner: Runner, status: int) -> None:
    runner.teacher.answer = failing(status, f"your key {KEY} is no good")
    with pytest.raises(Fault, match=FATAL[status]) as stopped:
        runner.run(6, concurrency=1, go_on=True)
    assert KEY not in str(stopped.value)
    assert "your key [key] is no good" in str(stopped.value)
    assert len(runner.teacher.requests) == 1


def test_an_address_that_wants_a_key_says_so(runner: Runner) -> None:
    runner.teacher.answer = failing(401)
    with pytest.raises(Fault, match="wants a key; set OPENAI_API_KEY: it answers 401"):
        runner.run(1, key="")


def test_nobody_at_the_address(tmp_path: Path) -> None:
    with FakeTeacher() as gone:
        runner = Runner(gone, tmp_path, library(tmp_path))
    with pytest.raises(Fault, match=r"cannot be reached \(.*\) \(6 times\); 0 new rows are kept"):
        runner.run(2, concurrency=1)
    assert runner.budget.tokens_in == 0, "what was never sent costs nothing"


def test_an_answer_that_does_not_come_in_time_is_asked_for_again_and_counted(
    runner: Runner, teacher: FakeTeacher
) -> None:
    gate = threading.Event()

    def hanging(request: dict[str, Any], number: int) -> Any:
        gate.wait(20)
        return good(request, number)

    teacher.script.append(hanging)
    try:
        report = runner.run(1, timeout=0.2)
    finally:
        gate.set()
    assert report.accepted.total() == 1
    assert runner.client.tally.estimated == 1
    assert runner.budget.tokens_out > 2048, "nobody can say what the lost answer cost"


def test_a_redirect_is_not_followed(runner: Runner) -> None:
    with FakeTeacher() as elsewhere:
        runner.teacher.answer = lambda _, __: (302, {"location": f"{elsewhere.address}/chat/completions"}, b"")
        with pytest.raises(Fault, match=r"redirects to http://127.*, where nothing is sent; mend --address"):
            runner.run(1)
        assert runner.run(1, go_on=True).rejected == {"lost_redirect": 1}
        assert elsewhere.requests == []


def test_proxies_of_the_environment_see_nothing(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeTeacher() as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.address)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert runner.run(2).accepted.total() == 2
        assert proxy.paths == []


# What a server does not take


def without(*names: str) -> Script:
    """A server that answers 400 to a request with one of the parameters."""

    def script(request: dict[str, Any], number: int) -> Any:
        for name in names:
            if name in request:
                return failing(400, f"{name} is not supported")(request, number)
        return good(request, number) if "response_format" in request else envelope('{"user": "Hello", "reply": "Hi."}')

    return script


@pytest.mark.parametrize(
    ("refused", "taken"),
    [
        ((), {"response_format", "max_tokens", "temperature"}),
        (("max_tokens",), {"response_format", "max_completion_tokens"}),
        (("response_format",), {"max_tokens", "temperature"}),
        (("response_format", "temperature"), {"max_completion_tokens"}),
    ],
)
def test_a_plainer_form_is_found_and_kept(runner: Runner, refused: tuple[str, ...], taken: set[str]) -> None:
    runner.teacher.answer = without(*refused)
    runner.run(4, concurrency=1)
    forms = [set(request) - {"model", "messages"} for request in runner.teacher.requests]
    assert forms[-1] == taken
    assert forms.count(taken) == len(forms) - len(runner.client.tally.notes), "each other form was tried once"


def test_a_server_that_takes_no_form_is_not_asked_for_ever(runner: Runner) -> None:
    runner.teacher.answer = failing(400, "no")
    with pytest.raises(Fault, match=r"answers 400 \(no\), in every form of the request"):
        runner.run(8, concurrency=1)
    assert len(runner.teacher.requests) == 4


def test_one_request_that_is_refused_later_costs_one_row(runner: Runner) -> None:
    runner.run(2)
    runner.teacher.script += [good, failing(400, "too long")]
    report = runner.run(5, concurrency=1, go_on=True)
    assert report.rejected == {"lost_refused_request": 1}
    assert report.accepted.total() == 2


# Caps and limits


@pytest.mark.parametrize("concurrency", [1, 8])
def test_the_cap_on_tokens_is_never_passed(runner: Runner, concurrency: int) -> None:
    used: list[int] = []

    def greedy(request: dict[str, Any], number: int) -> Any:
        tokens_in = sum(len(message["content"]) for message in request["messages"])
        used.append(tokens_in + request["max_tokens"])
        text = json.dumps(well_written(request, number), ensure_ascii=False)
        return envelope(text, usage=(tokens_in, request["max_tokens"]))

    runner.teacher.answer = greedy
    report = runner.run(60, caps=Caps(tokens=60_000), concurrency=concurrency)
    assert sum(used) == runner.budget.tokens_in + runner.budget.tokens_out <= 60_000
    assert len(used) > 3
    assert report.stopped is not None
    assert report.stopped.startswith("--max-tokens is 60000, ")
    assert report.left > 0
    assert len(runner.rows) == report.accepted.total() > 0


def test_the_cap_on_money_is_never_passed(runner: Runner) -> None:
    caps = Caps(None, Decimal("0.05"), Decimal(2), Decimal(10))
    report = runner.run(200, caps=caps)
    assert 0 < runner.budget.cost <= Decimal("0.05")
    assert report.stopped is not None
    assert report.stopped.startswith("--max-cost is 0.05 USD")


def test_without_word_of_its_cost_an_answer_costs_the_most_it_can(runner: Runner) -> None:
    def silent(request: dict[str, Any], number: int) -> Any:
        return envelope(json.dumps(well_written(request, number), ensure_ascii=False), usage=None)

    runner.teacher.answer = silent
    runner.run(1)
    assert runner.client.tally.estimated == runner.client.tally.sent
    assert runner.budget.tokens_out == 2048 * runner.client.tally.sent


def test_as_many_requests_at_a_time_as_allowed_and_no_more(runner: Runner) -> None:
    together = threading.Barrier(3, timeout=20)

    def meeting(request: dict[str, Any], number: int) -> Any:
        together.wait()
        return good(request, number)

    runner.teacher.script += [meeting] * 3
    runner.run(30, concurrency=3)
    assert runner.teacher.busiest == 3


def test_requests_are_spaced_out(runner: Runner) -> None:
    runner.run(4, rpm=600)
    assert len(runner.teacher.times) >= 4
    assert min(after - before for before, after in pairwise(runner.teacher.times)) > 0.08


# The key


def test_the_key_is_nowhere(runner: Runner, capfd: pytest.CaptureFixture[str]) -> None:
    """Also where the server says it back: in an error, plain or escaped, and in an answer."""
    escaped = "".join(f"\\u{ord(sign):04x}" for sign in KEY)
    runner.teacher.script += [
        failing(429, f"Bearer {KEY}"),
        raw(f'{{"error": "{escaped}"}}'.encode()),
        raw(f"<html>{KEY}".encode()),
        said(json.dumps({"user": KEY, "reply": KEY})),
        said(f"Your key is {KEY}"),
    ]
    report = runner.run(6, concurrency=1)
    report.write(runner.folder / "rows.report.json", runner.client.tally, runner.budget)
    assert report.rejected == {"key_echoed": 1}
    assert runner.teacher.headers[0]["authorization"] == f"Bearer {KEY}", "it does reach the server"
    runner.teacher.answer = failing(500, f"{KEY} and {KEY}")
    with pytest.raises(Fault) as stopped:
        runner.run(8)
    told = [
        str(stopped.value),
        repr(stopped.value),
        repr(runner.client.where),
        repr(vars(runner.client)),
        *capfd.readouterr(),
    ]
    told += [str(context) for context in (stopped.value.__cause__, stopped.value.__context__)]
    assert not [text for text in told if KEY in text]
    files = [path for path in runner.folder.rglob("*") if path.is_file()]
    assert len(files) > 3
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        (None, "there is no address to ask; give --address or set OPENAI_BASE_URL"),
        ("localhost:8000", "should begin with http:// or https:// and name a host"),
        ("ftp://host/v1", "should begin with http:// or https://"),
        ("http://", "should begin with http:// or https://"),
        ("http://me:secret@host/v1", "holds a name or password for host; take it out"),
        ("https://host/v1?api-key=secret", r"for host holds more than host and path; take off what follows \? or #"),
        ("http://[::1", "--address is no address"),
        ("http://host:99999/v1", "--address is no address"),
    ],
)
def test_an_address_that_is_none_is_told_without_what_is_secret(address: str | None, sentence: str) -> None:
    with pytest.raises(Fault, match=sentence) as told:
        read_address(address, "m", {})
    assert "secret" not in str(told.value)


def test_the_key_comes_from_the_environment() -> None:
    where = {
        "OPENAI_BASE_URL": "http://host/v1/",
        "OPENAI_API_KEY": "first-key",
        "CALLWRIGHT_TEACHER_KEY": "second-key",
    }
    found = read_address(None, "m", where)
    assert found.url == "http://host/v1"
    assert found.key.get_secret_value() == "second-key"
    assert "key" not in repr(found.key)
    with pytest.raises(Fault, match="holds characters that no HTTP header can hold"):
        read_address(None, "m", {**where, "CALLWRIGHT_TEACHER_KEY": "鍵"})
    with pytest.raises(Fault, match="--model is empty"):
        read_address(None, " ", where)


def test_names_of_models_become_names_of_files() -> None:
    assert slug("Qwen/Qwen3-8B") == "qwen3-8b"
    assert slug("../../etc/passwd") == "passwd"
    assert slug("…") == "model"
