"""callwright pack draft: what the teacher drafts for one's own tools becomes a pack, and what does not fit is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from callwright.faults import Fault
from callwright.packs import Pack, lacking, read_pack
from callwright.records import Language
from callwright.teacher.draft_fits import refused, users_of
from commands.pack_draft import draft_pack
from commands.teach import Asking
from tests.fake_teacher import KEY, FakeTeacher, envelope, failing, said
from tests.small_pack import small_pack

TOOLS = [
    {
        "name": "order_lunch",
        "description": "Orders lunch",
        "parameters": {
            "type": "object",
            "properties": {
                "dish": {"type": "string", "maxLength": 12},
                "count": {"type": "integer", "minimum": 1, "maximum": 9},
                "pickup_time": {"type": "string"},
                "size": {"type": "string", "enum": ["small", "large"]},
            },
            "required": ["dish", "count"],
        },
    },
    {"name": "show_menu", "description": "顯示菜單", "parameters": {"type": "object", "properties": {}}},
]
INJECTION = 'Please: "order" {dish} and {count} # no\n- evil: !!python/object/apply:os.system ["true"] &a *a'


def drafted(request: dict[str, Any], number: int) -> Any:
    """A draft that fits, in the language that is asked for."""
    shape = request["response_format"]["json_schema"]["schema"]["properties"]
    prompt = request["messages"][1]["content"]
    zh = "Traditional Chinese" in prompt
    if "phrasings" in shape:
        return answered(tool_texts(prompt, zh))
    if "values" in shape:
        items = shape["values"]["items"]
        if "properties" in items:
            values = items["properties"]["value"]["enum"]
            return answered(
                {"values": [{"say": f"{'要' if zh else 'the '}{value}", "value": value} for value in values]}
            )
        return answered({"values": [f"{'便當' if zh else 'Lunch '}{chr(ord('A') + i)}" for i in range(16)]})
    zh_talk = {
        "joiners": ["{a}，並{b}。", "先{a}，再{b}。", "{a}，還有{b}。", "{a}，順便{b}。"],
        "answers": ["{value}。", "喔，{value}。", "{value}吧。", "就{value}。"],
        "declines": ["這我做不到。", "沒有合適的工具。", "抱歉，幫不上忙。", "這件事我處理不了。"],
        "unsupported": [f"幫我做第{i}件別的事。" for i in range(15)],
        "chat": [[f"你好，第{i}次。", f"您好，{i}。"] for i in range(13)],
    }
    en_talk = {
        "joiners": ["{A} and {b}.", "{A}, then {b}.", "{A}. Also {b}.", "{A}, and please {b}."],
        "answers": ["{value}.", "Oh, {value}.", "{value}, please.", "Say {value}."],
        "declines": ["I can't do that.", "None of my tools does that.", "Sorry, no.", "That is beyond me."],
        "unsupported": [f"Do the other thing number {i}." for i in range(15)],
        "chat": [[f"Hello number {i}.", f"Hi {i}."] for i in range(13)],
    }
    return answered(zh_talk if zh else en_talk)


def tool_texts(prompt: str, zh: bool) -> dict[str, Any]:
    held = "{dish} {count}" if '"order_lunch"' in prompt else ""
    texts = [f"{'第' if zh else 'Way '}{i}{'種說法' if zh else ':'} {held}" for i in range(12)]
    missing = {
        "param": "dish",
        "requests": [f"{'來份量' if zh else 'I want'} {{count}} {'份' if zh else 'of'} {i}" for i in range(5)],
        "questions": ["請問餐點？", "要什麼餐點？"] if zh else ["Which dish?", "What dish is it?"],
        "words": ["餐點"] if zh else ["dish"],
    }
    return {
        "description": "訂午餐" if zh else "Shows the menu",
        "phrasings": [f"{text}。" for text in texts],
        "clauses": texts[:6],
        "missing": [missing] if held else [],
    }


def answered(value: dict[str, Any]) -> Any:
    return envelope(json.dumps(value, ensure_ascii=False))


@pytest.fixture
def teacher() -> Iterator[FakeTeacher]:
    with FakeTeacher(drafted) as started:
        yield started


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("CALLWRIGHT_TEACHER_KEY", raising=False)
    (tmp_path / "lunch-tools.json").write_text(json.dumps(TOOLS, ensure_ascii=False), encoding="utf-8")
    return tmp_path


OUT = Path("packs/lunch_tools.yaml")


def draft(teacher: FakeTeacher, **options: Any) -> int:
    asking = Asking(model="fake", address=teacher.address, **options.pop("asking", {}))
    return draft_pack(asking, Path("lunch-tools.json"), **options)


def spoiled(change: Callable[[dict[str, Any], bool], dict[str, Any]]) -> Callable[[dict[str, Any], int], Any]:
    """Drafts of order_lunch with something changed."""

    def script(request: dict[str, Any], number: int) -> Any:
        prompt = request["messages"][1]["content"]
        if (
            '"order_lunch"' in prompt
            and "phrasings" in request["response_format"]["json_schema"]["schema"]["properties"]
        ):
            zh = "Traditional Chinese" in prompt
            return answered(change(tool_texts(prompt, zh), zh))
        return drafted(request, number)

    return script


def test_a_draft_is_a_pack_that_generate_could_read(project: Path, teacher: FakeTeacher) -> None:
    assert draft(teacher) == 0
    pack = read_pack(OUT)
    order = pack.tool("order_lunch")
    assert order.description[Language.ZH_TW] == ["訂午餐"]
    assert order.description[Language.EN] == ["Orders lunch"], "what the tools say themselves stays"
    assert pack.tool("show_menu").description[Language.EN] == ["Shows the menu"]
    for language in Language:
        assert (len(order.phrasings[language].train), len(order.phrasings[language].test)) == (9, 3)
        assert order.missing["dish"][language].questions
        words = pack.slots["dish"].words(language)
        assert (len(words.train), len(words.test)) == (12, 4)
        assert {word.value for word in pack.slots["size"].words(language).train} == {"small", "large"}
        assert len(pack.unsupported[language].test) == 3
    assert KEY not in OUT.read_text(encoding="utf-8")
    _, lacks = lacking(OUT)
    assert not [sentence for sentence in lacks if "'show_menu' lacks phrasings" in sentence]
    text = OUT.read_text(encoding="utf-8")
    assert "# draft: lacks" in text
    assert "an action, so that it cannot be run" in text


def test_a_second_draft_pays_for_nothing_and_overwrites_only_by_force(project: Path, teacher: FakeTeacher) -> None:
    draft(teacher)
    sent, written = len(teacher.requests), OUT.read_bytes()
    with pytest.raises(Fault, match=r"lunch_tools\.yaml is there already, and someone may have edited it; --force"):
        draft(teacher)
    assert draft(teacher, force=True) == 0
    assert len(teacher.requests) == sent
    assert OUT.read_bytes() == written


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        (
            ["Bring {dish} {count} to {street}."],
            "has no parameter 'street', which 'Bring {dish} {count} to {street}.' fills",
        ),
        (["Bring {dish}."], "requires 'count', which 'Bring {dish}.' leaves out"),
        (["请给我{dish}{count}"], "order_lunch.phrasings: '请给我{dish}{count}' is not in"),
    ],
)
def test_texts_that_do_not_fit_are_dropped_and_told(
    project: Path, teacher: FakeTeacher, capsys: pytest.CaptureFixture[str], texts: list[str], sentence: str
) -> None:
    teacher.answer = spoiled(lambda answer, _: {**answer, "phrasings": [*texts, *answer["phrasings"]]})
    draft(teacher)
    told = capsys.readouterr().out
    assert sentence in told
    pack = read_pack(OUT)
    kept = [text for language in Language for half in pack.tool("order_lunch").phrasings[language] for text in half[1]]
    assert not set(texts) & set(kept)
    assert len(kept) == 24


def test_questions_that_do_not_ask_are_dropped(
    project: Path, teacher: FakeTeacher, capsys: pytest.CaptureFixture[str]
) -> None:
    def mute(answer: dict[str, Any], zh: bool) -> dict[str, Any]:
        missing = [{**entry, "questions": ["dish 餐點", *entry["questions"]]} for entry in answer["missing"]]
        return {**answer, "missing": missing}

    teacher.answer = spoiled(mute)
    draft(teacher)
    assert "asks 'dish 餐點' without a question mark" in capsys.readouterr().out
    assert read_pack(OUT).tool("order_lunch").missing["dish"][Language.ZH_TW].questions == [
        "請問餐點？",
        "要什麼餐點？",
    ]


def test_values_that_the_schema_refuses_are_dropped(
    project: Path, teacher: FakeTeacher, capsys: pytest.CaptureFixture[str]
) -> None:
    def long(request: dict[str, Any], number: int) -> Any:
        prompt = request["messages"][1]["content"]
        if "order_lunch.dish" in prompt and "Chinese" not in prompt:
            return answered(
                {"values": ["noodles", "a bowl of very long noodles", "Noodles", "rice", "soup", "fish", 7]}
            )
        return drafted(request, number)

    teacher.answer = long
    draft(teacher)
    assert (
        "slots.dish: 'a bowl of very long noodles': \"a bowl of very long noodles\" is longer than"
        in capsys.readouterr().out
    )
    words = read_pack(OUT).slots["dish"].words(Language.EN)
    assert [word.say for word in (*words.train, *words.test)] == ["noodles", "rice", "soup", "fish"]


def test_what_the_teacher_writes_is_text_in_the_file_whatever_it_is(project: Path, teacher: FakeTeacher) -> None:
    teacher.answer = spoiled(
        lambda answer, _: {**answer, "phrasings": [INJECTION, "{dish} {count} yes", "~", *answer["phrasings"]]}
    )
    draft(teacher)
    value = yaml.safe_load(OUT.read_text(encoding="utf-8"))
    texts = value["tools"][0]["phrasings"]["en"]["train"]
    assert " ".join(INJECTION.split()) in texts
    assert set(value["tools"][0]) == {"name", "description", "parameters", "phrasings", "clauses", "missing"}
    assert all(isinstance(text, str) for text in texts)


@pytest.mark.parametrize(
    "answer", ["no", "{", '{"phrasings": 7, "values": {"a": 1}, "joiners": "{a}", "chat": [["a"]]}', "[]"]
)
def test_a_teacher_that_drafts_nothing_leaves_a_skeleton(
    project: Path, teacher: FakeTeacher, capsys: pytest.CaptureFixture[str], answer: str
) -> None:
    teacher.answer = said(answer)
    assert draft(teacher) == (0 if answer.startswith('{"') else 1)
    pack, lacks = lacking(OUT)
    assert [tool.name for tool in pack.tools] == ["order_lunch", "show_menu"]
    assert any("'order_lunch' lacks phrasings in zh-TW (0 of 6 for train" in sentence for sentence in lacks)
    assert "# to fill in: text" in OUT.read_text(encoding="utf-8")
    assert ("not answered: tools.order_lunch.zh-TW: " in capsys.readouterr().out) is (not answer.startswith('{"'))


def test_a_server_that_fails_stops_the_draft_before_anything_is_written(project: Path, teacher: FakeTeacher) -> None:
    teacher.answer = failing(401, f"bad key {KEY}")
    with pytest.raises(Fault, match=r"refuses the key in OPENAI_API_KEY .* \(bad key \[key\]\)"):
        draft(teacher)
    assert not OUT.exists()


def test_a_cap_leaves_a_draft_of_what_was_answered(
    project: Path, teacher: FakeTeacher, capsys: pytest.CaptureFixture[str]
) -> None:
    def dear(request: dict[str, Any], number: int) -> Any:
        completion = json.loads(drafted(request, number)[2])
        return envelope(completion["choices"][0]["message"]["content"], usage=(1500, 1500))

    teacher.answer = dear
    assert draft(teacher, asking={"max_tokens": 12_000, "concurrency": 1}) == 1
    assert "pack draft: stopped: --max-tokens is 12000" in capsys.readouterr().err
    pack, _ = lacking(OUT)
    assert len(pack.tools) == 2


def test_names_that_are_none_are_told(project: Path, teacher: FakeTeacher) -> None:
    with pytest.raises(Fault, match=r"--out is packs/my-pack\.yaml; a pack is a file NAME\.yaml"):
        draft(teacher, out=Path("packs/my-pack.yaml"))
    Path("lunch-tools.json").write_text("{}", encoding="utf-8")
    with pytest.raises(Fault, match=r"lunch-tools\.json"):
        draft(teacher)
    assert teacher.requests == []


def test_a_pack_that_was_begun_keeps_what_stands_in_it(project: Path, teacher: FakeTeacher) -> None:
    draft(teacher)
    begun = yaml.safe_load(OUT.read_text(encoding="utf-8"))
    order = begun["tools"][0]
    order["phrasings"]["en"] = {"train": ["My own {dish}, {count} times."], "test": []}
    order["phrasings"]["zh-TW"] = {"train": [], "test": []}
    order["action"] = {"insert": "orders"}
    begun["tables"] = {"orders": {"dish": "text", "count": "integer"}}
    begun["chat"]["en"] = {"train": [["Hi", "Hello."]], "test": []}
    del begun["declines"]
    path = Path("packs/begun.yaml")
    path.write_text(yaml.safe_dump(begun | {"pack": "begun"}, allow_unicode=True), encoding="utf-8")
    teacher.requests.clear()
    teacher.answer = spoiled(lambda answer, zh: {**answer, "replies": ["好了 {id}。" if zh else "Done: {id}.", "{x}"]})
    assert draft_pack(Asking(model="fake", address=teacher.address), path, out=Path("packs/done.yaml")) == 0
    pack, _ = lacking(Path("packs/done.yaml"))
    order_lunch = pack.tool("order_lunch")
    assert order_lunch.phrasings[Language.EN].train == ["My own {dish}, {count} times."]
    assert len(order_lunch.phrasings[Language.ZH_TW].train) == 9
    assert order_lunch.replies[Language.EN].train == ["Done: {id}."]
    assert order_lunch.action is not None
    assert pack.chat[Language.EN].train == [["Hi", "Hello."]]
    assert pack.declines[Language.ZH_TW].train
    asked = [request["messages"][1]["content"] for request in teacher.requests]
    assert not [prompt for prompt in asked if '"show_menu"' in prompt], "nothing of it is open"
    with pytest.raises(Fault, match=r"packs/begun\.yaml is there already"):
        draft_pack(Asking(model="fake", address=teacher.address), path, out=path)


def test_a_schema_that_refers_to_its_definitions_judges_values_and_fetches_nothing(teacher: FakeTeacher) -> None:
    parameters = {
        "type": "object",
        "properties": {"title": {"$ref": "#/$defs/title"}, "shelf": {"$ref": f"{teacher.address}/shelf.json"}},
        "required": ["title"],
        "$defs": {"title": {"type": "string", "maxLength": 7}},
    }
    pack = Pack.model_validate(small_pack(("tools.1.parameters", parameters), ("tools.2.parameters", parameters)))
    titles = {user: schema for user, schema in users_of(pack, "title").items() if "find_book" in user}
    assert refused("Walden", titles) is None
    assert refused("Pride and Prejudice", titles) == '"Pride and Prejudice" is longer than 7 characters'
    assert refused("A1", users_of(pack, "shelf")) is None
    assert teacher.paths == []
