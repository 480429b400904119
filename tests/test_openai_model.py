"""An OpenAI-compatible address as the loop's model, against a server on loopback that says what it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import SecretStr

from callwright.answers import Called, Said, Unparsed, write_calls
from callwright.faults import Fault
from callwright.loop import Asked, Conversation, Ending, Spoken, converse
from callwright.openai_model import OpenAIModel, read_where
from callwright.pack_backend import PackBackend
from callwright.records import Call, Calls, Language, Reply, Result, System, User
from callwright.teacher.address import Address
from tests.fake_teacher import KEY, FakeTeacher, Script, failing, raw, said
from tests.rows import CALENDAR, QUERY, office

NOW = datetime(2026, 3, 4, 9, 30)  # noqa: DTZ001 - a clock on a wall


@pytest.fixture
def server() -> Iterator[FakeTeacher]:
    with FakeTeacher(said("好的。")) as server:
        yield server


def model_of(server: FakeTeacher, **more: Any) -> OpenAIModel:
    waits: list[float] = []

    async def pause(seconds: float) -> None:
        waits.append(seconds)

    return OpenAIModel(Address(server.address, "fake/model", SecretStr(KEY)), pause=pause, **more)


def asked(*more: Any, request: str = "幫我查預算") -> Asked:
    return Asked(Language.ZH_TW, (QUERY, CALENDAR), (System("你是一位專業助理。"), User(request), *more))


def calls(*made: tuple[str, Any], content: str | None = None) -> Script:
    functions = [{"name": name, "arguments": arguments} for name, arguments in made]
    listed = [{"id": f"c{i}", "type": "function", "function": each} for i, each in enumerate(functions)]
    return said(content, "tool_calls", tool_calls=listed)


def one(server: FakeTeacher, **more: Any) -> Spoken:
    [spoken] = model_of(server, **more).answer([asked()])
    return spoken


# What is sent


def test_tools_go_as_functions_and_results_by_the_id_of_their_call(server: FakeTeacher) -> None:
    turns = (
        Calls((Call("query_database", {"query_str": "預算"}), Call("query_database", {"query_str": "營收"}))),
        Result("query_database", '{"amount": "300 萬"}'),
        Result("query_database", '{"error": "not_found"}'),
        Reply("預算為 300 萬。"),
        User("謝謝"),
    )
    model_of(server).answer([asked(*turns)])
    [sent] = server.requests
    assert sent["model"] == "fake/model"
    assert (sent["temperature"], sent["max_tokens"]) == (0.0, 1024)
    assert sent["tools"][0] == {"type": "function", "function": QUERY.to_json()}
    assert "parallel_tool_calls" not in sent
    system, user, called, first, second, reply, last = sent["messages"]
    assert system == {"role": "system", "content": "你是一位專業助理。"}
    assert (user["role"], reply, last["content"]) == (
        "user",
        {"role": "assistant", "content": "預算為 300 萬。"},
        "謝謝",
    )
    assert [json.loads(call["function"]["arguments"]) for call in called["tool_calls"]] == [
        {"query_str": "預算"},
        {"query_str": "營收"},
    ]
    assert [call["id"] for call in called["tool_calls"]] == [first["tool_call_id"], second["tool_call_id"]]
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"


def test_a_temperature_and_a_seed_go_along(server: FakeTeacher) -> None:
    model_of(server).answer([asked(), asked()], temperature=0.7, seed=5)
    assert {(sent["temperature"], sent["seed"]) for sent in server.requests} == {(0.7, 5), (0.7, 6)}


def test_many_are_asked_at_a_time_and_answered_in_their_order() -> None:
    with FakeTeacher(lambda request, _: said(request["messages"][-1]["content"])(request, 0)) as echo:
        many = [asked(request=f"第{i}個") for i in range(20)]
        answers = model_of(echo, at_once=4).answer(many)
        assert [spoken.answer for spoken in answers] == [Said(f"第{i}個") for i in range(20)]
        assert echo.busiest <= 4
    assert model_of(echo).answer([]) == []


# What is read


@pytest.mark.parametrize(
    ("script", "answer"),
    [
        (said("請問要排在什麼時間?"), Said("請問要排在什麼時間?")),
        (
            calls(("query_database", '{"query_str": "預算"}'), ("add_calendar_event", "{}"), content="查一下"),
            Called((Call("query_database", {"query_str": "預算"}), Call("add_calendar_event", {}))),
        ),
        (
            said(write_calls((Call("query_database", {"query_str": "預算"}),))),
            Called((Call("query_database", {"query_str": "預算"}),)),
        ),
        (said("`tomorrow` is a Thursday."), Said("`tomorrow` is a Thursday.")),
        (said(None, refusal="I cannot help with that."), Said("I cannot help with that.")),
    ],
)
def test_calls_and_texts_are_read(server: FakeTeacher, script: Script, answer: Any) -> None:
    server.script.append(script)
    assert one(server).answer == answer


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (calls(("query_database", '{"query_str": ')), "tool_calls[0].function.arguments is not JSON: Expecting value"),
        (calls(("query_database", "")), "tool_calls[0].function.arguments is not JSON: Expecting value"),
        (calls(("query_database", "[1]")), "tool_calls[0].function.arguments is [1]; expected an object"),
        (
            calls(("query_database", '{"a": 1, "a": 2}')),
            "tool_calls[0].function.arguments is not JSON: a key stands twice",
        ),
        (calls(("query_database", '{"a": NaN}')), "tool_calls[0].function.arguments is not JSON: NaN is not JSON"),
        (
            calls(("query_database", '{"a": ' + "[" * 1000 + "]" * 1000 + "}")),
            "tool_calls[0].function.arguments is not JSON that can be read: it nests more than 200 deep",
        ),
        (said(None, tool_calls=[{"id": "1", "type": "custom"}]), "tool_calls[0].function is null; expected an object"),
        (said(None, tool_calls={"id": "1"}), "tool_calls is no list"),
        (said('{"tool": "query_database", '), "line 1: not one JSON call a line"),
        (said(""), "the answer is empty"),
        (said(None), "the answer is empty"),
        (raw(b'{"choices": []}'), "the answer holds no message"),
        (raw(b'{"choices": [{"message": {"content": [1]}}]}'), "content is no text"),
    ],
)
def test_what_is_neither_is_unparsed_with_its_reason_and_never_mended(
    server: FakeTeacher, script: Script, reason: str
) -> None:
    server.script.append(script)
    spoken = one(server)
    assert isinstance(spoken.answer, Unparsed)
    assert spoken.answer.reason.startswith(reason)
    assert spoken.asked


def test_the_raw_answer_is_kept_without_the_key(server: FakeTeacher) -> None:
    server.script.append(calls(("query_database", json.dumps({"query_str": KEY}))))
    spoken = one(server)
    assert KEY not in spoken.raw
    assert spoken.answer == Called((Call("query_database", {"query_str": "[key]"}),))


# Servers that do not answer


def test_a_server_that_is_busy_is_asked_again(server: FakeTeacher) -> None:
    server.script += [failing(503), raw(b"<html>"), said("好。")]
    assert one(server).answer == Said("好。")
    assert len(server.requests) == 3


def test_a_newer_model_is_asked_without_a_temperature(server: FakeTeacher) -> None:
    server.script.append(failing(400, "max_tokens is not supported"))
    model = model_of(server)
    for _ in range(2):
        assert model.answer([asked()])[0].answer == Said("好的。")
    assert [("temperature" in sent, "max_completion_tokens" in sent) for sent in server.requests] == [
        (True, False),
        (False, True),
        (False, True),
    ]


def test_a_conversation_that_is_not_taken_is_not_asked_and_the_others_are(server: FakeTeacher) -> None:
    model = model_of(server)
    model.answer([asked()])
    server.script += [failing(400, "this model's maximum context length is 8192"), failing(413, "too large")]
    refused = [model.answer([asked()])[0] for _ in range(2)]
    assert [spoken.asked for spoken in refused] == [False, False]
    assert isinstance(refused[0].answer, Unparsed)
    assert refused[0].answer.reason == f"{server.address} answers 400 (this model's maximum context length is 8192)"
    assert model.answer([asked()])[0].answer == Said("好的。")


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (
            [failing(401, "bad key")],
            "refuses the key in OPENAI_API_KEY or CALLWRIGHT_TEACHER_KEY: it answers 401 (bad key)",
        ),
        (
            [failing(404)],
            "nothing at /chat/completions (see --model, and the address in --model, mostly …/v1): it answers 404",
        ),
        ([failing(500)] * 3, "answers 500 (out of order) (3 times); run this again when it answers"),
        (
            [failing(400, "tools?"), failing(400, "tools?")],
            "answers 400 (tools?); see whether it serves 'fake/model' with tools",
        ),
        ([failing(302, location="http://elsewhere/")], "redirects to http://elsewhere/, where nothing is sent"),
        (
            [raw(b"<html>")] * 3,
            "answers with a page of HTML; see the address in --model, which mostly ends in /v1 (3 times)",
        ),
    ],
)
def test_a_server_that_fails_is_one_sentence(server: FakeTeacher, script: list[Script], sentence: str) -> None:
    server.script += script
    with pytest.raises(Fault) as fault:
        one(server)
    assert sentence in str(fault.value)
    assert server.address in str(fault.value)
    assert KEY not in str(fault.value)


def test_a_slow_server_is_given_up_and_not_asked_again(server: FakeTeacher) -> None:
    over = threading.Event()

    def slow(request: Any, number: int) -> Any:
        over.wait(20)
        return said("too late")(request, number)

    server.script.append(slow)
    try:
        with pytest.raises(Fault, match=r"gave no answer within 0\.2 s; run this again when it answers"):
            one(server, timeout=0.2)
    finally:
        over.set()
    assert len(server.requests) == 1


def test_nobody_at_the_address_is_one_sentence() -> None:
    with FakeTeacher() as gone:
        model = model_of(gone)
    with pytest.raises(Fault, match=r"cannot be reached \(.*\) \(3 times\); run this again when it answers"):
        model.answer([asked()])


def test_a_body_without_end_is_not_read_to_it(server: FakeTeacher) -> None:
    server.script.append(raw(b"x" * 3_000_000))
    spoken = one(server)
    assert spoken.answer == Unparsed("", "the server's answer is longer than any that was asked for")


def test_one_failure_among_many_ends_them_all_with_its_sentence(server: FakeTeacher) -> None:
    server.script += [failing(401)]
    with pytest.raises(Fault, match="401"):
        model_of(server, at_once=2).answer([asked() for _ in range(30)])
    assert len(server.requests) < 30


# Where it is


def listing(*names: str) -> bytes:
    return json.dumps({"object": "list", "data": [{"id": name, "object": "model"} for name in names]}).encode()


def test_a_name_behind_the_address_is_the_model(server: FakeTeacher) -> None:
    where = read_where(f"{server.address}#org/name", {"OPENAI_API_KEY": KEY})
    assert (where.url, where.model, where.key.get_secret_value()) == (server.address, "org/name", KEY)
    assert server.paths == []


@contextmanager
def lister(body: bytes) -> Iterator[str]:
    """A server that answers every GET with this; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        finally:
            server.shutdown()
            thread.join()


def test_without_a_name_the_only_model_of_the_address_is_asked() -> None:
    with lister(listing("callwright")) as address:
        assert read_where(address, {}).model == "callwright"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (listing("a", "b\x1b[2J"), "has 2 models (a, b [2J); say which you mean: --model '"),
        (listing(), "names no model; say which you mean"),
        (b"<html>", "names no model; say which you mean"),
        (b"[" * 100_000, "names no model; say which you mean"),
    ],
)
def test_an_address_with_other_than_one_model_is_a_sentence(body: bytes, sentence: str) -> None:
    with lister(body) as address, pytest.raises(Fault) as fault:
        read_where(address, {})
    assert sentence in str(fault.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("http://user:secret@host/v1", "the address in --model holds a name or password for host"),
        ("http://host:port/v1#x", "the address in --model is no address"),
        ("http://host/v1?x=1#x", "the address in --model for host holds more than host and path"),
    ],
)
def test_an_address_that_is_none_is_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(Fault) as fault:
        read_where(text, {})
    assert str(fault.value).startswith(sentence)
    assert "secret" not in str(fault.value)


def test_an_address_where_nobody_lists_models_is_a_sentence() -> None:
    with FakeTeacher() as gone:
        pass
    with pytest.raises(Fault, match=r"asked for its models, cannot be reached .*; name the model yourself, --model"):
        read_where(gone.address, {})


# In the loop


def test_the_loop_runs_with_it(server: FakeTeacher) -> None:
    server.script += [calls(("query_database", '{"query_str": "預算"}')), said("預算為 300 萬。")]
    with PackBackend(office(), NOW) as backend:
        backend.put("records", {"name": "預算", "amount": "300 萬"})
        conversation = Conversation(asked(), backend)
        converse(model_of(server), [conversation])
    assert conversation.ending is Ending.ANSWERED
    assert server.requests[1]["messages"][-1]["content"] == '{"amount": "300 萬"}'
