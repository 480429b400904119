"""A registered version as an MLflow model from code: saved, loaded, asked; once over HTTP with a real tiny model."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callwright.agent_input import MOST_TOOLS, BadRequest, read_messages
from callwright.agent_request import MOST_CHARACTERS, MOST_TOKENS, OPENING, TOKENS, Request, read_request
from callwright.answers import Unparsed, read_answer
from callwright.faults import Fault
from callwright.loop import Asked, Model, Spoken
from callwright.outs import to_json
from callwright.records import Call, Calls, Language, Message, Reply, Result, System, User
from stages import _agent, _agent_served, _model
from stages._completion import folder_hash
from tests.rows import CALENDAR, QUERY, REQUEST, ROOT, office

ABOUT = {"preset": "tiny", "source": "made by a test", "revision": "0", "family": "template", "stops": ["<|im_end|>"]}
TOOLS = [{"type": "function", **tool.to_json()} for tool in (QUERY, CALENDAR)]
QUERIES = '{"tool": "query_database", "params": {"query_str": "預算"}}'
BOTH = f'{QUERIES}\n{{"tool": "add_calendar_event", "params": {{"title": "審核會", "start_time": "tomorrow 15:00"}}}}'
NOW = "2026-03-03T09:00+08:00"


class Scripted:
    """Says what it is told to, one text a turn, and keeps what it was asked."""

    def __init__(self) -> None:
        self.says: list[str | Spoken] = []
        self.asked: list[Asked] = []
        self.wanted: list[Request] = []

    def __call__(self, request: Request) -> Model:
        self.wanted.append(request)
        return self

    def answer(self, asked: Sequence[Asked]) -> list[Spoken]:
        self.asked += asked
        texts = [self.says.pop(0) for _ in asked]
        return [text if isinstance(text, Spoken) else Spoken(text, read_answer(text)) for text in texts]


def make_adapter(folder: Path, base: Mapping[str, Any] = ABOUT) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text("{}", encoding="utf-8")
    (folder / "adapter_model.safetensors").write_bytes(bytes(range(256)))
    about = {"base": dict(base), "quantization": "none", "train_as": "messages"}
    (folder / "callwright.json").write_text(json.dumps(about), encoding="utf-8")
    return folder


def make_base(folder: Path, about: Mapping[str, Any] = ABOUT) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}", encoding="utf-8")
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "callwright.json").write_text(json.dumps(dict(about)), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("version")
    folder = place / "model"
    adapter, base = make_adapter(place / "adapter"), make_base(place / "base")
    facts = {"callwright.accuracy": "0.75"}
    _agent.save(folder, adapter, base, card="# 卡片\n", name="callwright", facts=facts, packs=ROOT / "packs")
    return folder


@pytest.fixture
def model() -> Scripted:
    return Scripted()


@pytest.fixture
def loaded(version: Path, model: Scripted, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The version as MLflow loads it, with a scripted model in place of the one on this machine."""
    import mlflow.pyfunc

    monkeypatch.setattr(sys, "path", list(sys.path))  # MLflow puts the version's code first, for good
    monkeypatch.setattr(_agent_served, "open_model", lambda adapter, kept: model)
    return mlflow.pyfunc.load_model(str(version))


def calls(response: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(x["name"], json.loads(x["arguments"])) for x in response["output"] if x["type"] == "function_call"]


def said(response: Mapping[str, Any]) -> str:
    return "".join(part["text"] for x in response["output"] if x["type"] == "message" for part in x["content"])


def ran(call_id: str, output: str) -> dict[str, str]:
    return {"type": "function_call_output", "call_id": call_id, "output": output}


class TestSave:
    def test_the_adapter_lies_in_the_version_byte_by_byte(self, version: Path) -> None:
        adapter = version.parent / "adapter"
        assert folder_hash(version / _agent.ADAPTER) == folder_hash(adapter)
        assert [file.parent for file in version.rglob("adapter_config.json")] == [version / "artifacts/adapter"]

    def test_the_code_as_it_was_goes_along(self, version: Path) -> None:
        for package in ("callwright", "stages"):
            for file in (ROOT / package).rglob("*.py"):
                assert (version / "code" / file.relative_to(ROOT)).read_bytes() == file.read_bytes()
        assert not list(version.rglob("*.pyc"))
        assert (version / "agent.py").read_bytes() == (ROOT / "stages/_agent_code.py").read_bytes()

    def test_mlflow_reads_what_it_is(self, version: Path) -> None:
        from mlflow.models import Model

        read = Model.load(str(version))
        assert read.metadata is not None
        assert read.metadata["task"] == "agent/v1/responses"
        assert read.metadata["callwright.accuracy"] == "0.75"
        assert read.metadata["base"]["revision"] == "0"
        assert read.flavors["python_function"]["model_code_path"] == "agent.py"
        assert (version / "MODEL_CARD.md").read_text(encoding="utf-8") == "# 卡片\n"

    def test_no_weights_of_the_base_and_no_path_of_this_machine_are_in_it(self, version: Path) -> None:
        assert not list(version.rglob("model.safetensors"))
        for file in version.rglob("*"):
            if file.is_file() and "code" not in file.relative_to(version).parts:
                assert str(version.parent).encode() not in file.read_bytes(), file
                assert str(ROOT).encode() not in file.read_bytes(), file

    def test_requirements_are_pinned_and_installed_here(self, version: Path) -> None:
        import importlib.metadata

        lines = (version / "requirements.txt").read_text(encoding="utf-8").split()
        names = {line.partition("==")[0] for line in lines}
        assert {"mlflow", "torch", "transformers", "peft"} <= names
        for line in lines:
            name, _, pinned = line.partition("==")
            assert importlib.metadata.version(name).partition("+")[0] == pinned
            assert "+" not in line

    def test_a_base_on_the_hub_is_named_and_not_copied(self, tmp_path: Path) -> None:
        base = make_base(tmp_path / "base")
        (base / "model.safetensors").unlink()
        (base / "reference.json").write_text('{"hub": "org/model", "revision": "abc"}', encoding="utf-8")
        _agent.save(tmp_path / "v", make_adapter(tmp_path / "a"), base, card="", name="c", facts={})
        kept = tmp_path / "v/artifacts/base"
        assert _model.location(kept) == {
            "pretrained_model_name_or_path": "org/model",
            "revision": "abc",
        }
        assert _agent_served.find_base(tmp_path / "v/artifacts/adapter", kept) == kept

    def test_a_save_that_fails_leaves_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        adapter, base = make_adapter(tmp_path / "a"), make_base(tmp_path / "b")

        def fails(*given: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(_agent, "_write_mlmodel", fails)
        with pytest.raises(ZeroDivisionError):
            _agent.save(tmp_path / "v/model", adapter, base, card="", name="c", facts={})
        assert list((tmp_path / "v").iterdir()) == []

    def test_what_does_not_belong_together_is_a_sentence(self, tmp_path: Path) -> None:
        base = make_base(tmp_path / "b")
        other = make_adapter(tmp_path / "a", {**ABOUT, "revision": "1"})
        with pytest.raises(Fault, match=r"was trained on made by a test at 1, and .* is made by a test at 0"):
            _agent.save(tmp_path / "v", other, base, card="", name="c", facts={})
        with pytest.raises(Fault, match=r"nowhere holds no callwright\.json"):
            _agent.save(tmp_path / "v", other, tmp_path / "nowhere", card="", name="c", facts={})
        fitting = make_adapter(tmp_path / "a2")
        (fitting / "adapter_config.json").unlink()
        with pytest.raises(Fault, match=r"holds no adapter_config\.json"):
            _agent.save(tmp_path / "v", fitting, base, card="", name="c", facts={})
        assert not (tmp_path / "v").exists()

    def test_saving_needs_neither_torch_nor_the_model(self, version: Path, tmp_path: Path) -> None:
        code = (
            "import sys; from pathlib import Path; from stages import _agent; place = Path(sys.argv[1]); "
            "_agent.save(Path(sys.argv[2]), place / 'adapter', place / 'base', card='', name='c', facts={}); "
            "print(sorted({'torch', 'transformers', 'peft'} & sys.modules.keys()))"
        )
        words = [sys.executable, "-c", code, str(version.parent), str(tmp_path / "v")]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"


class TestClientsTools:
    """The model calls the client's own functions; the client runs them and asks again."""

    def test_calls_come_back_for_the_client_to_run(self, loaded: Any, model: Scripted) -> None:
        model.says = [BOTH]
        answer = loaded.predict({"input": REQUEST, "tools": TOOLS})
        assert calls(answer) == [
            ("query_database", {"query_str": "預算"}),
            ("add_calendar_event", {"title": "審核會", "start_time": "tomorrow 15:00"}),
        ]
        assert [item["status"] for item in answer["output"]] == ["completed"] * 2
        assert (answer["status"], answer["custom_outputs"]) == ("completed", {"outcome": "call"})
        assert model.asked == [
            Asked(Language.ZH_TW, (QUERY, CALENDAR), (System(OPENING[Language.ZH_TW]), User(REQUEST)))
        ]

    def test_the_loop_goes_on_with_the_results(self, loaded: Any, model: Scripted) -> None:
        model.says = [BOTH, "預算為 300 萬，已排好審核會。"]
        first = loaded.predict({"input": REQUEST, "tools": TOOLS})
        one, two = (item["call_id"] for item in first["output"])
        told = [ran(two, '{"id": 7}'), ran(one, '{"amount": "300 萬"}')]
        items = [{"role": "user", "content": REQUEST}, *first["output"], *told]
        answer = loaded.predict({"input": items, "tools": TOOLS})
        assert said(answer) == "預算為 300 萬，已排好審核會。"
        assert answer["custom_outputs"] == {"outcome": "answer"}
        assert model.asked[1].messages[2:] == (
            Calls(read_answer(BOTH).calls),  # type: ignore[union-attr]
            Result("query_database", '{"amount": "300 萬"}'),
            Result("add_calendar_event", '{"id": 7}'),
        )

    def test_a_question_back_is_told_from_an_answer(self, loaded: Any, model: Scripted) -> None:
        model.says = ["What time should the meeting start?"]
        answer = loaded.predict({"input": "Schedule a review", "tools": TOOLS, "instructions": "Be brief."})
        assert answer["custom_outputs"] == {"outcome": "ask"}
        assert model.asked[0].language is Language.EN
        assert model.asked[0].messages[0] == System("Be brief.")

    def test_a_call_that_breaks_its_schema_is_marked(self, loaded: Any, model: Scripted) -> None:
        wrong = '{"tool": "query_database", "params": {"query": "預算"}}\n{"tool": "delete_all", "params": {}}'
        model.says = [f"{QUERIES}\n{wrong}"]
        answer = loaded.predict({"input": REQUEST, "tools": TOOLS})
        assert [item["status"] for item in answer["output"]] == ["completed", "incomplete", "incomplete"]
        faults = answer["custom_outputs"]["faults"]
        assert [fault["call_id"] for fault in faults] == [item["call_id"] for item in answer["output"][1:]]
        assert "no parameter 'query'" in faults[0]["reason"]
        assert "no tool 'delete_all'" in faults[1]["reason"]

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ('{"tool": "query_database", "params": {"query_str": ', "line 1"),
            ("", "the answer is empty"),
            ("\n".join([QUERIES] * 10_000), "characters"),
            ("\n".join([QUERIES] * 20), "20 calls"),
            ('{"tool": "query_database", "params": ' + '{"a": ' * 1000 + "1" + "}" * 1001, "line 1"),
        ],
        ids=["cut off", "empty", "10,000 calls", "20 calls", "deep"],
    )
    def test_an_answer_that_is_neither_is_told_as_what_it_is(
        self, loaded: Any, model: Scripted, text: str, reason: str
    ) -> None:
        model.says = [text]
        answer = loaded.predict({"input": REQUEST, "tools": TOOLS})
        custom = answer["custom_outputs"]
        assert (answer["status"], custom["outcome"]) == ("incomplete", "malformed")
        assert reason in custom["reason"]
        assert [item["type"] for item in answer["output"]] == ["message"]
        if text:
            assert said(answer) == text
        else:
            assert answer["output"][0]["content"] == [{"type": "refusal", "refusal": custom["reason"]}]

    def test_what_the_model_cannot_be_asked_is_a_bad_request(self, loaded: Any, model: Scripted) -> None:
        model.says = [Spoken("", Unparsed("", "the conversation has 9,000 tokens"), asked=False)]
        assert "cannot be asked this: the conversation has 9,000 tokens" in refused(loaded, {"input": REQUEST})

    def test_no_tools_are_offered_where_no_call_is_wanted(self, loaded: Any, model: Scripted) -> None:
        model.says = ["好的。"]
        loaded.predict({"input": REQUEST, "tools": TOOLS, "tool_choice": "none"})
        assert model.asked[0].tools == ()

    def test_one_call_a_turn_where_that_is_wanted(self, loaded: Any, model: Scripted) -> None:
        model.says = [BOTH]
        answer = loaded.predict({"input": REQUEST, "tools": TOOLS, "parallel_tool_calls": False})
        assert answer["custom_outputs"]["outcome"] == "malformed"

    def test_temperature_and_length_are_the_requests_within_limits(self, loaded: Any, model: Scripted) -> None:
        model.says = ["好。"] * 3
        for asked in ({}, {"temperature": 0.7, "max_output_tokens": 40}, {"max_output_tokens": 10**9}):
            loaded.predict({"input": "嗨", **asked})
        wanted = [(request.temperature, request.max_tokens) for request in model.wanted]
        assert wanted == [(0.0, TOKENS), (0.7, 40), (0.0, MOST_TOKENS)]


class TestPack:
    """The loop runs in the server, over a pack's tables."""

    WORLD: Mapping[str, Any] = {"records": [{"name": "預算表", "amount": "300 萬"}]}

    def ask(self, loaded: Any, text: str = REQUEST, **own: Any) -> dict[str, Any]:
        own = {"pack": "office", "world": self.WORLD, "now": NOW} | own
        answer: dict[str, Any] = loaded.predict({"input": text, "custom_inputs": own})
        return answer

    def test_the_documents_request_comes_to_its_answer(self, loaded: Any, model: Scripted) -> None:
        model.says = [BOTH.replace('"預算"', '"預算表"'), "預算為 300 萬，審核會已排好。"]
        answer = self.ask(loaded)
        kinds = [item["type"] for item in answer["output"]]
        assert kinds == ["function_call"] * 2 + ["function_call_output"] * 2 + ["message"]
        called, results = answer["output"][:2], answer["output"][2:4]
        assert [item["call_id"] for item in called] == [item["call_id"] for item in results]
        assert "300 萬" in results[0]["output"]
        assert said(answer) == "預算為 300 萬，審核會已排好。"
        custom = answer["custom_outputs"]
        assert custom["outcome"] == "answer"
        assert [(one["table"], one["before"]) for one in custom["changes"]] == [("events", None)]
        assert custom["changes"][0]["after"]["start_time"].startswith("2026-03-04T15:00")

    def test_what_it_answers_can_be_given_back(self, loaded: Any, model: Scripted) -> None:
        model.says = [QUERIES, "300 萬。", "不客氣。"]
        first = self.ask(loaded, "查預算")
        model.says[0] = "不客氣。"
        items = [{"role": "user", "content": "查預算"}, *first["output"], {"role": "user", "content": "謝謝"}]
        own = {"pack": "office", "world": self.WORLD}
        assert said(loaded.predict({"input": items, "custom_inputs": own})) == "不客氣。"
        assert [type(turn) for turn in model.asked[-1].messages] == [System, User, Calls, Result, Reply, User]

    def test_without_a_world_there_is_something_to_find(self, loaded: Any, model: Scripted) -> None:
        model.says = ['{"tool": "query_database", "params": {"query_str": "預算表"}}', "找到了。"]
        answer = loaded.predict({"input": "查一下預算表", "custom_inputs": {"pack": "office", "now": NOW}})
        assert "error" not in json.loads(answer["output"][1]["output"])
        assert answer["custom_outputs"]["changes"] == []

    def test_each_request_has_a_world_of_its_own(self, loaded: Any, model: Scripted) -> None:
        adds = '{"tool": "add_calendar_event", "params": {"title": "會", "start_time": "tomorrow 15:00"}}'
        model.says = [adds, "好了。", adds, "好了。"]
        first, second = (self.ask(loaded)["custom_outputs"]["changes"] for _ in range(2))
        assert first == second != []

    def test_the_packs_own_definitions_are_offered(self, loaded: Any, model: Scripted) -> None:
        model.says = ["好。"] * 2
        own = {"pack": "office"}
        named = [{"type": "function", "name": "book_room", "parameters": {"type": "object"}}]
        loaded.predict({"input": "嗨", "tools": named, "custom_inputs": own})
        loaded.predict({"input": "嗨", "custom_inputs": own})
        pack = office()[0]
        assert model.asked[0].tools == (pack.named["book_room"].offered(Language.ZH_TW),)
        assert len(model.asked[1].tools) == 6
        assert model.asked[0].messages[0] == System(pack.system[Language.ZH_TW][0])

    def test_a_model_that_only_calls_is_stopped(self, loaded: Any, model: Scripted) -> None:
        model.says = [QUERIES] * 100
        answer = self.ask(loaded)
        custom = answer["custom_outputs"]
        assert (answer["status"], custom["outcome"], custom["ending"]) == ("incomplete", "call", "turn_limit")
        assert len(calls(answer)) == 8

    def test_a_conversation_that_grows_too_long_keeps_what_was_done(self, loaded: Any, model: Scripted) -> None:
        model.says = [QUERIES, Spoken("", Unparsed("", "too long"), asked=False)]
        answer = self.ask(loaded)
        assert [item["type"] for item in answer["output"]] == ["function_call", "function_call_output", "message"]
        assert answer["output"][-1]["content"] == [{"type": "refusal", "refusal": "too long"}]
        assert answer["custom_outputs"]["ending"] == "refused"

    def test_nothing_that_it_says_becomes_sql_or_a_file(self, loaded: Any, model: Scripted) -> None:
        evil = "x'; DROP TABLE records; --"
        model.says = [to_json({"tool": "query_database", "params": {"query_str": evil}}), QUERIES, "好。"]
        answer = self.ask(loaded, "../../etc/passwd")
        assert answer["custom_outputs"] == {"outcome": "answer", "changes": []}

    @pytest.mark.parametrize(
        ("own", "words"),
        [
            ({"pack": "nowhere"}, r"there is no pack 'nowhere'; there are .*office"),
            ({"pack": "../office"}, r"there is no pack '../office'"),
            ({"pack": 3}, r"custom_inputs.pack is 3; expected a list"),
            ({"pack": "office", "world": {"rooms": []}}, r"custom_inputs.world: there is no table 'rooms'"),
            (
                {"pack": "office", "world": {"records": [{"nome": 1}]}},
                r"custom_inputs.world: records\[0\] has no column",
            ),
            ({"pack": "office", "world": []}, r"custom_inputs.world is \[\]; expected an object"),
            ({"pack": "office", "now": "soon"}, r'custom_inputs.now is "soon"; write it as 2026'),
            ({"pack": "office", "sed": 1}, r"custom_inputs has the unknown key 'sed'"),
            ({"pack": "office", "seed": -1}, r"custom_inputs.seed is -1; expected a whole number from 0"),
            ({"pack": "office", "language": "fr"}, r'custom_inputs.language is "fr"; give one of zh-TW, en'),
            ({"world": {}}, r"custom_inputs.world is for calls that run here; say in which pack"),
        ],
        ids=str,
    )
    def test_what_cannot_be_run_here_is_a_sentence(self, loaded: Any, own: dict[str, Any], words: str) -> None:
        with pytest.raises(Exception, match=words):
            loaded.predict({"input": REQUEST, "custom_inputs": own})

    def test_a_tool_that_the_pack_lacks_is_a_sentence(self, loaded: Any) -> None:
        named = [{"type": "function", "name": "fly", "parameters": {"type": "object"}}]
        sentence = refused(loaded, {"input": REQUEST, "tools": named, "custom_inputs": {"pack": "office"}})
        assert "tools has 'fly', which no tool of custom_inputs.pack is called" in sentence


def refused(loaded: Any, request: Any) -> str:
    """The sentence with which it is refused, as MLflow's server sends it with 400."""
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException) as caught:
        loaded.predict(request)
    assert caught.value.get_http_status_code() == 400  # type: ignore[no-untyped-call]
    caught.value.message = "what the server makes of it"
    sentence: str = json.loads(caught.value.serialize_as_json())["message"]  # type: ignore[no-untyped-call]
    assert "\n" not in sentence
    assert len(sentence) < 500
    print(sentence)
    return sentence


FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object"}}
CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
SAYS = {"role": "user", "content": "hi"}


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({}, "the request has no input"),
        ({"input": 3}, "input is 3; expected a list"),
        ({"input": []}, "ends with|nothing"),
        ({"input": ""}, "is empty"),
        ({"input": [SAYS], "stream": True}, "stream is true"),
        ({"input": [{"role": "robot", "content": "x"}]}, 'input[0].role is "robot"'),
        ({"input": [{"role": "user"}]}, "input[0].content is null"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
            'input[0].content[0].type is "input_image"',
        ),
        ({"input": [{"type": "web_search_call"}]}, 'input[0].type is "web_search_call"'),
        ({"input": ["hi"]}, 'input[0] is "hi"; expected an object'),
        ({"input": [SAYS, {"role": "assistant", "content": "hello"}]}, "nothing to answer"),
        ({"input": [SAYS, {"role": "system", "content": "x"}]}, "system's message"),
        ({"input": [{"role": "assistant", "content": "x"}, SAYS]}, "out of order"),
        ({"input": [SAYS, CALL]}, 'no function_call_output for the call "c"'),
        ({"input": [SAYS, CALL, SAYS]}, 'no function_call_output for the call "c"'),
        ({"input": [SAYS, CALL, CALL]}, 'call_id is "c", which another call'),
        ({"input": [SAYS, ran("d", "x")]}, 'call_id is "d", which no call right before it has'),
        ({"input": [SAYS, CALL, {**CALL, "call_id": "d"}, ran("c", "x"), ran("c", "y")]}, "has its result already"),
        (
            {"input": [SAYS, CALL, {**CALL, "call_id": "d"}, ran("c", "x"), {**CALL, "call_id": "e"}]},
            "is a call, and not",
        ),
        ({"input": [SAYS, {**CALL, "arguments": "{"}, ran("c", "x")]}, "input[1].arguments is no JSON"),
        ({"input": [SAYS, {**CALL, "arguments": "[]"}, ran("c", "x")]}, "input[1].arguments is []; expected an object"),
        ({"input": "x", "tools": "f"}, 'tools is "f"; expected a list'),
        ({"input": "x", "tools": [FUNCTION] * 2}, "tools has 'f' twice"),
        ({"input": "x", "tools": [{"type": "file_search"}]}, 'tools[0].type is "file_search"'),
        ({"input": "x", "tools": [{"type": "function", "function": {"name": "f"}}]}, "as Chat Completions has it"),
        ({"input": "x", "tools": [{**FUNCTION, "name": " "}]}, "tools[0].name is empty"),
        ({"input": "x", "tools": [{**FUNCTION, "name": None}]}, "tools[0].name is null"),
        ({"input": "x", "tools": [{**FUNCTION, "parameters": {"type": "array"}}]}, "tools[0] (f): parameters has type"),
        ({"input": "x", "tools": [{**FUNCTION, "parameters": {"type": "objekt"}}]}, "is not a JSON Schema"),
        ({"input": "x", "tools": [{**FUNCTION, "name": f"f{i}"} for i in range(10_000)]}, "tools has 10,000 entries"),
        ({"input": "預" * 1_000_000}, "the request has 3,000,"),
        ({"input": [SAYS] * 2_000}, "input has 2,000 entries"),
        ({"input": "\ud800"}, "half of a surrogate pair"),
        ({"input": "x", "temperature": float("nan")}, "is not JSON"),
        ({"input": "x", "temperature": 3}, "temperature is 3; expected a number from 0 to 2"),
        ({"input": "x", "temperature": True}, "temperature is true"),
        ({"input": "x", "max_output_tokens": 0}, "max_output_tokens is 0; expected a whole number from 1"),
        ({"input": "x", "top_p": 0.5}, "top_p is 0.5"),
        ({"input": "x", "tool_choice": "required"}, "a call cannot be forced"),
        ({"input": "x", "text": {"format": {"type": "json_schema"}}}, "no form of the text is enforced"),
        ({"input": "x", "background": True}, "background is true"),
        ({"input": "x", "previous_response_id": "r"}, "nothing is kept between requests"),
        ({"input": "x", "conversation": "c"}, "nothing is kept between requests"),
        ({"input": "x", "prompt": {"id": "p"}}, "no prompts are kept here"),
        ({"input": "x", "instructions": 3}, "instructions is 3; expected text"),
        ({"input": "x", "custom_inputs": []}, "custom_inputs is []; expected an object"),
        ({"input": "x", "tool_choice": "none", "custom_inputs": {"pack": "office"}}, "leave one of the two out"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_request_is_a_sentence_with_its_place(loaded: Any, request_: dict[str, Any], words: str) -> None:
    sentence = refused(loaded, request_)
    assert any(part in sentence for part in words.split("|"))


def test_what_is_no_object_or_nests_too_deep_is_a_sentence() -> None:
    deep: Any = {}
    for _ in range(5_000):
        deep = {"a": deep}
    with pytest.raises(BadRequest, match="nests more than 100 deep"):
        read_request({"input": "x", "tools": [{**FUNCTION, "parameters": deep}]})
    with pytest.raises(BadRequest, match="the request is"):
        read_request([1])


def test_the_limits_are_far_from_what_is_used() -> None:
    tools = [{**FUNCTION, "name": f"f{i}"} for i in range(MOST_TOOLS)]
    assert len(read_request({"input": "x" * (MOST_CHARACTERS - 20_000), "tools": tools}).tools) == MOST_TOOLS


class TestForm:
    """The answers held against MLflow's types and OpenAI's."""

    @pytest.fixture(params=["call", "text", "malformed", "pack"])
    def answer(self, request: pytest.FixtureRequest, loaded: Any, model: Scripted) -> dict[str, Any]:
        model.says = {"call": [BOTH], "text": ["好？"], "malformed": ["{"], "pack": [BOTH, "好。"]}[request.param]  # type: ignore[assignment]
        own = {"custom_inputs": {"pack": "office"}} if request.param == "pack" else {"tools": TOOLS}
        made: dict[str, Any] = loaded.predict({"input": REQUEST, **own})
        return json.loads(json.dumps(made))  # type: ignore[no-any-return]

    def test_it_is_mlflows(self, answer: dict[str, Any]) -> None:
        from mlflow.types.responses import ResponsesAgentResponse

        read = ResponsesAgentResponse.model_validate(answer, strict=True).model_dump(exclude_none=True)
        assert read["output"] == answer["output"]
        assert read["custom_outputs"] == answer["custom_outputs"]

    def test_it_is_openais(self, answer: dict[str, Any]) -> None:
        from openai.types.responses import Response

        read = Response.model_validate(answer)
        kinds = {
            "message": "ResponseOutputMessage",
            "function_call": "ResponseFunctionToolCall",
            "function_call_output": "ResponseFunctionToolCallOutputItem",
        }
        assert [type(item).__name__ for item in read.output] == [kinds[item["type"]] for item in answer["output"]]


@pytest.fixture
def traced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """MLflow writes what its own classes are asked into its database: here one of the test's."""
    import mlflow

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    yield
    mlflow.flush_trace_async_logging()


class TestAgent:
    def test_it_is_a_responses_agent(self, loaded: Any, model: Scripted, traced: None) -> None:
        from mlflow.pyfunc.model import ResponsesAgent
        from mlflow.types.responses import ResponsesAgentRequest, ResponsesAgentResponse

        agent = loaded.unwrap_python_model()
        assert isinstance(agent, ResponsesAgent)
        model.says = [QUERIES]
        request: Any = {"input": [{"role": "user", "content": REQUEST}], "tools": TOOLS}
        answer = agent.predict(ResponsesAgentRequest(**request))
        assert isinstance(answer, ResponsesAgentResponse)
        assert calls(answer.model_dump()) == [("query_database", {"query_str": "預算"})]

    def test_a_stream_has_the_items_and_then_the_whole(self, loaded: Any, model: Scripted) -> None:
        from mlflow.types.responses import ResponsesAgentStreamEvent

        model.says = [BOTH, "好了。"]
        request = {"input": REQUEST, "custom_inputs": {"pack": "office"}, "stream": True}
        told = list(loaded.predict_stream(request))
        assert [event["type"] for event in told] == ["response.output_item.done"] * 5 + ["response.completed"]
        assert [event["item"] for event in told[:-1]] == told[-1]["response"]["output"]
        for event in told:
            ResponsesAgentStreamEvent(**event)


# Requests, there and back

texts = st.text(st.characters(codec="utf-8", exclude_characters="\r"), min_size=1, max_size=20).filter(str.strip)
some_calls = st.builds(Call, texts, st.dictionaries(texts, st.integers() | texts | st.booleans(), max_size=2))
turns_of_calls = st.lists(some_calls, min_size=1, max_size=3).flatmap(
    lambda made: st.tuples(*[st.builds(Result, st.just(call.tool), texts) for call in made]).map(
        lambda results: [Calls(tuple(made)), *results]
    )
)


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    turns: list[Message] = []
    for _ in range(draw(st.integers(0, 2))):
        turns.append(User(draw(texts)))
        for _ in range(draw(st.integers(0, 2))):
            turns += draw(turns_of_calls)
        turns.append(Reply(draw(texts)))
    return [*turns, User(draw(texts))]


def as_items(turns: Sequence[Message]) -> Iterator[dict[str, Any]]:
    """A conversation as a client of the Responses API keeps it."""
    number, waiting = 0, list[str]()
    for turn in turns:
        match turn:
            case User(content):
                yield {"role": "user", "content": [{"type": "input_text", "text": content}]}
            case Reply(content):
                part = {"type": "output_text", "text": content, "annotations": []}
                yield {"type": "message", "id": "m", "role": "assistant", "content": [part]}
            case Calls(made):
                for call in made:
                    number += 1
                    waiting.append(f"call_{number}")
                    arguments = json.dumps(dict(call.params))
                    yield {**CALL, "call_id": waiting[-1], "name": call.tool, "arguments": arguments}
            case Result(_, content):
                yield ran(waiting.pop(0), content)
            case System(content):
                yield {"role": "developer", "content": content}


@settings(deadline=None, max_examples=60)
@given(conversations(), st.none() | texts)
def test_a_conversation_goes_there_and_back(turns: list[Message], opening: str | None) -> None:
    items = [*as_items([System(opening)] if opening else []), *as_items(turns)]
    assert read_messages({"input": items}) == (opening or "", turns)


@settings(deadline=None, max_examples=150)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from([SAYS, CALL, FUNCTION]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["input", "tools", "type", "role", "content", "name", "parameters", "custom_inputs"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_whatever_comes_is_a_request_or_a_bad_one(value: Any) -> None:
    with contextlib.suppress(BadRequest):
        assert isinstance(read_request(value), Request)


class TestBase:
    """Where the base is looked for."""

    @pytest.fixture(autouse=True)
    def here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("CALLWRIGHT_BASE", raising=False)

    def test_the_one_that_is_named_comes_first(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        named, adapter = make_base(tmp_path / "elsewhere"), make_adapter(tmp_path / "a")
        make_base(tmp_path / "models/base")
        assert _agent_served.find_base(adapter, None) == Path("models/base")
        monkeypatch.setenv("CALLWRIGHT_BASE", str(named))
        assert _agent_served.find_base(adapter, None) == named

    def test_another_base_is_a_sentence(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        adapter = make_adapter(tmp_path / "a")
        other = make_base(tmp_path / "other", {**ABOUT, "revision": "9"})
        monkeypatch.setenv("CALLWRIGHT_BASE", str(other))
        with pytest.raises(Fault) as caught:
            _agent_served.find_base(adapter, None)
        print(caught.value)
        for part in ("CALLWRIGHT_BASE names", "at 9", "this version stands on tiny (made by a test at 0)"):
            assert part in str(caught.value)

    @pytest.mark.parametrize("about", [None, "{", "{}"])
    def test_a_folder_that_holds_no_base_is_a_sentence(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, about: str | None
    ) -> None:
        folder = tmp_path / "empty"
        folder.mkdir()
        if about is not None:
            make_base(folder)
            (folder / "callwright.json").write_text(about, encoding="utf-8")
        monkeypatch.setenv("CALLWRIGHT_BASE", str(folder))
        with pytest.raises(Fault, match=r"holds no model|cannot be read"):
            _agent_served.find_base(make_adapter(tmp_path / "a"), None)

    def test_without_any_the_sentence_says_what_is_wanted(self, tmp_path: Path) -> None:
        adapter = make_adapter(tmp_path / "a")
        with pytest.raises(Fault, match=r"set CALLWRIGHT_BASE to the folder of tiny \(made by a test at 0\)"):
            _agent_served.find_base(adapter, None)
        make_base(tmp_path / "models/base", {**ABOUT, "revision": "9"})
        with pytest.raises(Fault, match=r"at 9; .*set CALLWRIGHT_BASE"):
            _agent_served.find_base(adapter, None)
        assert _agent_served.find_base(adapter, Path("kept")) == Path("kept")


def test_mlflows_own_agent_server_takes_it_too(loaded: Any, model: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server of docs/serving.md, which has /responses as the openai client asks for it."""
    from mlflow.genai.agent_server import server
    from starlette.testclient import TestClient

    monkeypatch.setattr(server, "_invoke_function", None)
    server.invoke()(lambda request: loaded.predict(request.model_dump(exclude_none=True)))
    model.says = [QUERIES]
    with TestClient(server.AgentServer("ResponsesAgent").app) as client:
        body = {"model": "callwright", "input": [{"role": "user", "content": REQUEST}], "tools": TOOLS}
        answer = client.post("/responses", json=body)
    assert answer.status_code == 200, answer.text
    assert calls(answer.json()) == [("query_database", {"query_str": "預算"})]


# Over HTTP


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a tiny base, and a version of an adapter on it in a registry of its own."""
    import torch
    from mlflow import MlflowClient
    from peft import LoraConfig, get_peft_model

    from tests import tiny

    folder = tmp_path_factory.mktemp("project")
    base = tiny.make_base(folder / "models/base")
    torch.manual_seed(3)
    lora = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    tuned: Any = get_peft_model(_model.load(base, torch.float32), lora)
    tuned.save_pretrained(folder / "adapter")
    about = json.loads((base / "callwright.json").read_text(encoding="utf-8"))
    said_of_it = {"base": about, "quantization": "none", "train_as": "messages"}
    (folder / "adapter/callwright.json").write_text(json.dumps(said_of_it), encoding="utf-8")
    made = folder / "version"
    _agent.save(made, folder / "adapter", base, card="", name="callwright", facts={}, packs=ROOT / "packs")
    # code that differs from this project's: the version has to serve its own
    file = made / "code/callwright/agent_input.py"
    changed = file.read_text(encoding="utf-8").replace(
        "expected user, assistant", "this version expects user, assistant"
    )
    file.write_text(changed, encoding="utf-8")
    uri = f"sqlite:///{folder}/mlflow.db"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    client.create_registered_model("callwright")
    client.create_model_version("callwright", source=made.as_uri())
    client.set_registered_model_alias("callwright", "champion", "1")
    shutil.rmtree(folder / "adapter")
    return folder


@contextlib.contextmanager
def served(project: Path) -> Iterator[str]:
    """`mlflow models serve` as docs/serving.md has it, in a process group that ends with the block."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/callwright@champion"]
    words += ["--env-manager", "local", "--port", str(port), "--timeout", "120"]
    env = {"HOME": str(project), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    env |= {"MLFLOW_TRACKING_URI": f"sqlite:///{project}/mlflow.db", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (project / "serve.log").open("wb") as log:
        started = subprocess.Popen(words, cwd=project, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 200
        while True:
            assert started.poll() is None, (project / "serve.log").read_text(encoding="utf-8")[-2000:]
            assert time.monotonic() < deadline, (project / "serve.log").read_text(encoding="utf-8")[-2000:]
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=2):
                break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(started.pid, signal.SIGKILL)
        started.wait(10)


def post(url: str, body: bytes) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - our own address
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.mark.slow
def test_the_champion_is_served_over_http(project: Path) -> None:
    """What a random model says is no matter; that it is asked, and how, is."""
    with served(project) as url:

        def ask(**request: Any) -> dict[str, Any]:
            status, answer = post(url, json.dumps(request).encode())
            assert status == 200, answer
            return answer

        for text in (REQUEST, "Look up the budget"):
            answer = ask(input=text, tools=TOOLS, max_output_tokens=8)
            assert answer["object"] == "response"
            assert answer["custom_outputs"]["outcome"] in {"call", "ask", "answer", "malformed"}
            assert answer == ask(input=text, tools=TOOLS, max_output_tokens=8) | {
                key: answer[key] for key in ("id", "created_at", "output")
            }
        drawn = [
            ask(input="hi", temperature=1.5, max_output_tokens=20, custom_inputs={"seed": seed}) for seed in (1, 1, 2)
        ]
        words = [said(one) for one in drawn]
        assert words[0] == words[1] != words[2]
        assert len(said(ask(input="hi", max_output_tokens=2))) < len(said(ask(input="hi", max_output_tokens=60)))
        assert (
            ask(input=REQUEST, custom_inputs={"pack": "office"}, max_output_tokens=4)["custom_outputs"]["changes"] == []
        )
        status, answer = post(url, json.dumps({"input": [{"role": "robot", "content": "x"}]}).encode())
        assert (status, answer["message"].partition(";")[0]) == (400, 'input[0].role is "robot"')
        assert "this version expects" in answer["message"]
        for body in (b"{", b"[]", b"{}", json.dumps({"input": "x" * 3_000_000}).encode()):
            assert post(url, body)[0] == 400
        status, answer = post(url, json.dumps({"input": "word " * 20_000}).encode())
        assert status == 400
        assert "the model cannot be asked this" in answer["message"]
