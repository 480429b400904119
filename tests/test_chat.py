"""callwright chat: what a person sees, with a model that says what it is told to; the champion of a real registry."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from callwright.answers import write_calls
from callwright.faults import Fault
from callwright.pack_backend import Change, PackBackend, State, changes
from callwright.pack_start import read_rows, starting_rows
from callwright.packs import read_pack, read_packs
from callwright.records import Call, Language
from commands import chat as chatting
from commands.chat import chat
from commands.chat_view import View, shown
from commands.named_model import choose
from stages import _champion
from stages._completion import folder_hash
from stages._tracking import Unreachable, open_store
from tests.fake_teacher import FakeTeacher, said
from tests.rows import REQUEST, ROOT
from tests.small_pack import write_pack
from tests.test_loop import Scripted

NOW = datetime(2026, 3, 4, 9, 30)  # noqa: DTZ001 - a clock on a wall
BOTH = write_calls(
    (
        Call("query_database", {"query_str": "預算表"}),
        Call("add_calendar_event", {"title": "審核會", "start_time": "tomorrow 15:00"}),
    )
)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the project's packs and knobs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name in ("packs", "presets", "params.yaml"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def speaks(monkeypatch: pytest.MonkeyPatch, *texts: str) -> Scripted:
    """Have `chat` talk to a model that says these texts."""
    model = Scripted(*texts)

    @contextlib.contextmanager
    def ready(name: str, params: Any) -> Iterator[Any]:
        yield model, f"a test's ({name})"

    monkeypatch.setattr(chatting, "_model", ready)
    return model


# Requests on the command line


def test_the_documents_request_shows_calls_results_state_and_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = speaks(monkeypatch, BOTH, "預算為 300 萬，審核會已排入行事曆。")
    assert chat([REQUEST], now=NOW) == 0
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if line.strip()] == [
        "model   a test's (champion)",
        "tools   query_database, add_calendar_event, book_room, send_email, find_contact, set_reminder",
        "now     Wednesday 2026-03-04 09:30",
        f"you     {REQUEST}",
        'call    query_database {"query_str": "預算表"}',
        '        → {"amount": "300 萬"}',
        'call    add_calendar_event {"title": "審核會", "start_time": "tomorrow 15:00"}',
        '        → {"id": 17}',
        "answer  預算為 300 萬，審核會已排入行事曆。",
        "events" + " " * 51,
        "┏━━━┳━━━━┳━━━━━━━━┳━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━┓",
        "┃   ┃ id ┃ title  ┃ start_time       ┃ duration_minutes ┃",
        "┡━━━╇━━━━╇━━━━━━━━╇━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━┩",
        "│ + │ 17 │ 審核會 │ 2026-03-05T15:00 │                  │",
        "└───┴────┴────────┴──────────────────┴──────────────────┘",
    ]
    [first] = model.heard[0]
    assert first.language is Language.ZH_TW
    assert first.messages[0].to_json() == {"role": "system", "content": "你是一位專業助理。"}
    assert first.tools[0].description == "查詢資料庫"


def test_requests_are_one_conversation_and_english_is_known_as_such(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call = Call("query_database", {"query_str": "marketing budget"})
    model = speaks(monkeypatch, "Which record?", write_calls((call,)), "It is $9,900.")
    assert chat(["Look it up.", "The marketing budget."], now=NOW) == 0
    assert [message.to_json().get("content") for message in model.heard[1][0].messages] == [
        "You are a professional assistant.",
        "Look it up.",
        "Which record?",
        "The marketing budget.",
    ]
    assert "→ {" in capsys.readouterr().out


def test_a_request_without_an_answer_is_told_and_the_exit_code_is_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    many = write_calls((Call("query_database", {"query_str": "x"}),) * 9)
    speaks(monkeypatch, '{"tool": "query_', many, "好。")
    assert chat(["一", "二", "三"], now=NOW) == 1
    out = capsys.readouterr().out
    assert 'unread  {"tool": "query_' in out
    assert "ended   malformed: the answer is neither calls nor text: line 1: not one JSON call a line" in out
    assert 'not run query_database {"query_str": "x"}; query_database' in out
    assert "ended   call_limit: the answer has 9 calls, and 8 a turn are run at most; none of them was run" in out
    assert "answer  好。" in out


def test_a_result_that_is_an_error_is_shown_as_the_model_sees_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    speaks(monkeypatch, write_calls((Call("query_database", {"query": "x"}),)), "抱歉。")
    assert chat(["查"], now=NOW) == 0
    assert """→ {"error": "query_database has no parameter 'query'; it has query_str"}""" in capsys.readouterr().out


def test_control_sequences_of_a_model_do_not_reach_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = "\x1b[2J\x1b]0;x\x07\u202e\u2066\x9b31m[red]\r"
    call = Call("add_calendar_event", {"title": bad, "start_time": "today"})
    speaks(monkeypatch, write_calls((call,)), f"ok{bad}\nnext", f"{{{bad}")
    assert chat([f"do{bad}", "two"], now=NOW, show_state=True) == 1
    out = capsys.readouterr().out
    assert not [sign for sign in out if not sign.isprintable() and sign != "\n"]
    assert "[red]" in out, "nor is it read as markup"
    assert shown("a\tb\nc" + "x" * 3000).endswith("x… (3,005 characters)")


def test_show_state_tells_all_tables(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    speaks(monkeypatch, "好。")
    chat(["嗨"], now=NOW, show_state=True, tools="query_database")
    out = capsys.readouterr().out
    assert any(line.split() == ["│", "2", "│", "預算表", "│", "300", "萬", "│"] for line in out.splitlines())
    assert "empty   events, bookings, emails, tasks, contacts," in out


def test_a_change_shows_what_was_and_what_is(capsys: pytest.CaptureFixture[str]) -> None:
    before: State = {"t": [{"id": 1, "a": "x"}, {"id": 2, "a": "y"}], "u": [{"id": 3}]}
    after: State = {"t": [{"id": 1, "a": "z"}, {"id": 4, "a": None}], "u": [{"id": 3}]}
    found = changes(before, after)
    assert found == [
        Change("t", {"id": 1, "a": "x"}, {"id": 1, "a": "z"}),
        Change("t", {"id": 2, "a": "y"}, None),
        Change("t", None, {"id": 4, "a": None}),
    ]
    View().changes(found)
    marks = [line.split("│")[1].strip() for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert marks == ["~ was", "~ is", "-", "+"]


# Asked in turn


def typed(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(line + "\n" for line in lines)))


def test_without_requests_it_asks_for_them_until_quit_or_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = speaks(monkeypatch, BOTH, "排好了。", "好。", BOTH, "又排了。")
    typed(monkeypatch, "/tools", REQUEST, "", "謝謝", "/nothing", "/reset", "/state", REQUEST, "/quit", "never said")
    assert chat([], now=NOW) == 0
    out = capsys.readouterr().out
    assert "query_database(query_str): Query the database" in out
    assert "/nothing is no command: /state shows the tables, /tools what is offered" in out
    state = out.partition("the tables are as at the beginning")[2].partition("you ")[0]
    assert "預算表" in state
    assert "審核會" not in state
    assert out.count("│ + │ 17 │ 審核會 │") == 2
    assert [len(asked[0].messages) for asked in model.heard] == [2, 5, 7, 2, 5]
    typed(monkeypatch)
    assert chat([], now=NOW) == 0


def test_a_failing_server_or_an_impatient_person_ends_the_request_and_not_the_chat(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = speaks(monkeypatch, "好。")
    answer, failures = model.answer, [Fault("the server is away; wait"), KeyboardInterrupt()]

    def failing(asked: Any) -> Any:
        if failures:
            raise failures.pop(0)
        return answer(asked)

    monkeypatch.setattr(model, "answer", failing)
    typed(monkeypatch, "一", "二", "三")
    assert chat([], now=NOW) == 0
    out = capsys.readouterr().out
    assert "the server is away; wait" in out
    assert "stopped; what its calls did before stays done" in out
    assert "answer  好。" in out
    assert [message.to_json().get("content") for message in model.heard[0][0].messages[1:]] == ["三"]


# What is offered


def test_tools_that_training_held_out_are_not_offered_unless_named(monkeypatch: pytest.MonkeyPatch) -> None:
    model = speaks(monkeypatch, *["好。"] * 4)

    def offered(**options: Any) -> list[str]:
        assert chat(["x"], now=NOW, **options) == 0
        return [tool.name for tool in model.heard[-1][0].tools]

    assert offered(tools="print_document, query_database") == ["print_document", "query_database"]
    assert "create_task" not in offered()
    assert offered(pack="office,travel", tools="search_flights,book_room") == ["search_flights", "book_room"]
    Path("params.yaml").unlink()
    assert offered() == [tool.name for tool in read_pack(Path("packs/office.yaml")).tools[:6]]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"pack": "nowhere"}, "packs/nowhere.yaml is missing; "),
        ({"pack": " , "}, "--pack names no pack; give one of packs/, such as office"),
        ({"tools": "fly"}, "--tools: there is no tool 'fly' in office; there are query_database, "),
        ({"tools": ","}, "--tools names no tool; give some of query_database, "),
        ({"model": "gpt"}, "--model is 'gpt'; give champion, adapter, base, or an address such as http://"),
        ({"model": "adapter"}, "models/adapter is missing; dvc repro makes it, or give --model base"),
        (
            {"model": "champion"},
            "there is no model to talk to: no version of callwright is champion, and models/adapter is missing; ",
        ),
        ({"model": "base"}, "models/base/callwright.json cannot be read"),
        ({"model": "http://localhost:x/v1"}, "the address in --model is no address"),
    ],
)
def test_what_cannot_be_talked_to_is_one_sentence(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Fault) as fault:
        chat(["hi"], now=NOW, **options)
    assert str(fault.value).startswith(sentence)


def test_an_empty_request_is_a_sentence() -> None:
    with pytest.raises(Fault, match="request 2 is empty; say what you want, or give no request and be asked"):
        chat(["hi", " "], now=NOW)


def test_two_packs_with_a_tool_of_one_name_are_a_sentence(tmp_path: Path) -> None:
    pack = read_pack(write_pack(tmp_path))
    with pytest.raises(Fault) as fault:
        PackBackend([pack, pack.model_copy(update={"pack": "other"})], NOW)
    both = "packs/library.yaml and packs/other.yaml both have a tool 'add_book'"
    assert str(fault.value) == f"{both}; leave one of the two packs out, or rename the tool in it"


# The world at the beginning


def test_every_query_of_every_pack_finds_something_at_the_beginning_and_always_the_same() -> None:
    for path in sorted(Path("packs").glob("*.yaml")):
        [pack] = read_packs([path.stem])
        names = [tool.name for tool in pack.tools]
        rows = starting_rows([pack], names, NOW)
        assert rows == starting_rows([pack], names, NOW)
        with PackBackend([pack], NOW) as backend:
            for table, row in rows:
                backend.put(table, row)
            for tool in pack.tools:
                words = {name: pack.slots[tool.slot_of(name)] for name in tool.required}
                if (
                    tool.action is None
                    or not (tool.action.select and tool.given)
                    or any(slot.number or slot.moment or slot.list or slot.object for slot in words.values())
                ):
                    continue
                for language in Language:
                    first = {name: slot.words(language).of(test=False)[0].value for name, slot in words.items()}
                    assert "error" not in json.loads(backend.run(Call(tool.name, first))), (tool.name, first)


def test_a_file_of_rows_takes_the_place_of_those(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = """
    records: [{name: 預算, amount: 300 萬}]
    events: [{title: 週會, start_time: tomorrow 15:00, duration_minutes: 30}, {title: 年會, start_time: 2026-12-01}]
    invitations: [{event: 年會, people: [王小明, Amy]}]
    """
    (tmp_path / "world.yaml").write_text(text, encoding="utf-8")
    speaks(monkeypatch, write_calls((Call("query_database", {"query_str": "預算"}),)), "2026 預算為 300 萬")
    assert chat(["幫我查預算"], now=NOW, world=tmp_path / "world.yaml", show_state=True) == 0
    out = capsys.readouterr().out
    assert '→ {"amount": "300 萬"}' in out
    assert "│ 2  │ 週會  │ 2026-03-05T15:00 │ 30               │" in out
    assert "│ 3  │ 年會  │ 2026-12-01       │                  │" in out
    assert '["王小明", "Amy"]' in out
    (tmp_path / "world.json").write_text('{"records": [{"name": "預算", "amount": null}]}', encoding="utf-8")
    assert read_rows(tmp_path / "world.json", read_packs(["office"]), NOW) == [
        ("records", {"name": "預算", "amount": None})
    ]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("[]", ["w.yaml is not a mapping of tables; write, for example, records: [{column: value}]"]),
        ("money: []", ["w.yaml: there is no table 'money'; there are records, events, "]),
        ("records: {}", ["w.yaml: records is no list of rows; write, for example, "]),
        (
            "records: [x, {colour: red}]\nevents:\n- {title: 3, start_time: soon, duration_minutes: true}",
            [
                "w.yaml: records[0] is 'x'; a row is a mapping of columns to values",
                "w.yaml: records[1] has no column 'colour'; it has name, amount, and ids are given by the world",
                "w.yaml: events[0].title is 3; expected text; put it in quotes",
                "w.yaml: events[0].start_time is 'soon'; expected a moment, such as tomorrow 15:00 or 2026-03-05",
                "w.yaml: events[0].duration_minutes is True; expected a whole number",
            ],
        ),
        (
            "records: [" + "{colour: red}, " * 30 + "]",
            ["w.yaml: records[0] has no", *["w.yaml: "] * 19, "w.yaml: and 10 faults"],
        ),
        ("records: [" + "{}, " * 10_001 + "]", ["w.yaml has 10,001 rows; 10,000 are read at most, so leave some out"]),
        ("a: [", ["w.yaml:1: not YAML: "]),
    ],
)
def test_a_file_that_the_pack_does_not_fit_is_told_place_by_place(
    tmp_path: Path, text: str, sentences: list[str]
) -> None:
    (tmp_path / "w.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(Fault) as fault:
        read_rows(Path("w.yaml"), read_packs(["office"]), NOW)
    assert len(fault.value.sentences) == len(sentences)
    for told, wanted in zip(fault.value.sentences, sentences, strict=True):
        assert told.startswith(wanted)


def test_tables_of_one_name_in_two_packs_are_told_apart(tmp_path: Path) -> None:
    pack = read_pack(write_pack(tmp_path))
    other = pack.model_copy(update={"pack": "other", "tools": [], "tables": {"books": {"title": "text"}, "x": {}}})
    with PackBackend([pack, other], NOW) as backend:
        backend.put("other.books", {"title": "Emma"})
        assert {name: len(rows) for name, rows in backend.state().items()} == {
            "library.books": 0,
            "other.books": 1,
            "x": 0,
        }


# Who answers


def register(folder: Path, name: str = "callwright", wanted: str | None = None) -> None:
    """A champion with its adapter below other files, as a version may hold it."""
    adapter = folder / "source/artifacts/adapter"
    adapter.mkdir(parents=True)
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        (adapter / file).write_text(file, encoding="utf-8")
    store = open_store()
    run = store.find_or_create("a training", key="k")
    store.put(folder / "source", f"{run.info.artifact_uri}/model")
    store.client.create_registered_model(name)
    tags = {"callwright.adapter_hash": wanted or folder_hash(adapter)}
    made = store.client.create_model_version(name, f"{run.info.artifact_uri}/model", run.info.run_id, tags=tags)
    store.client.set_registered_model_alias(name, "champion", made.version)


def test_the_champion_comes_out_of_the_registry_checked_by_its_hash(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "champion").mkdir()
    assert _champion.fetch("callwright", project / "champion") is None
    register(project)
    found = _champion.fetch("callwright", project / "champion")
    assert found is not None
    assert (found.version, found.adapter) == ("1", project / "champion/artifacts/adapter")
    assert (found.adapter / "adapter_model.safetensors").read_text(encoding="utf-8") == "adapter_model.safetensors"
    register(project / "two", "other", wanted="0" * 64)
    (project / "changed").mkdir()
    with pytest.raises(Fault, match="version 1 of other holds no adapter with the hash that was registered"):
        _champion.fetch("other", project / "changed")


def test_without_a_champion_the_adapter_here_is_asked_and_it_is_said_why(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "models/adapter").mkdir(parents=True)
    found = choose("champion", "callwright", project, adapter_will_do=True)
    assert found.adapter == Path("models/adapter")
    assert found.about == "models/adapter (no version of callwright is champion)"

    def away(*_: object) -> None:
        raise Unreachable("MLflow at http://x does not answer")

    monkeypatch.setattr(_champion, "fetch", away)
    about = choose("champion", "callwright", project, adapter_will_do=True).about
    assert about == "models/adapter (MLflow at http://x does not answer)"
    with pytest.raises(Unreachable):
        choose("champion", "callwright", project)


def test_a_server_at_an_address_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeTeacher(said("2026 預算為 300 萬")) as server:
        assert chat(["幫我查預算"], now=NOW, model=f"{server.address}#fake") == 0
    out = capsys.readouterr().out
    assert f"model   fake at {server.address}" in out
    assert "answer  2026 預算為 300 萬" in out
    assert [tool["function"]["name"] for tool in server.requests[0]["tools"]][:2] == [
        "query_database",
        "add_calendar_event",
    ]


def test_the_command_is_there_without_torch() -> None:
    code = "import sys, commands.chat; print([m for m in ('torch', 'mlflow', 'openai') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
