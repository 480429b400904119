"""callwright tools import: a pack skeleton that `pack check` can read, written whole or not at all."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from callwright.faults import Fault
from callwright.packs import lacking, read_pack
from callwright.records import Tool
from callwright.tool_sources.documents import read_document
from callwright.tool_sources.found import Choice, LeftOut, Note, collect
from callwright.tool_sources.pack_file import write_pack
from callwright.tool_sources.skeleton import make_pack
from callwright.tool_sources.slots import slot_of
from callwright.tool_sources.source import Kind
from commands.tools import import_tools, run

TEXT = {"type": "string"}


def tool(name: str, required: list[str] | None = None, **properties: Any) -> dict[str, Any]:
    """A tool as a list holds it; every parameter is required unless `required` says which."""
    needed = list(properties) if required is None else required
    parameters = {"type": "object", "properties": properties, "required": needed, "additionalProperties": False}
    return {"name": name, "description": f"About {name}", "parameters": parameters}


ROOM = tool(
    "book_room",
    ["room", "start_time"],
    room=TEXT,
    start_time=TEXT,
    seats={"type": "integer", "minimum": 2, "maximum": 20},
    priority={"type": "string", "enum": ["low", "very_high"]},
    names={"type": "array", "items": TEXT, "maxItems": 4},
    hybrid={"type": "boolean"},
)
WEATHER = {**tool("get_weather", city=TEXT, day={"type": "string", "format": "date"}), "description": "查詢天氣"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def source(folder: Path, *tools: Any, name: str = "rooms.json") -> str:
    (folder / name).write_text(json.dumps(list(tools), ensure_ascii=False), "utf-8")
    return name


def read(path: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(Path(path).read_text("utf-8"))
    return found


# What is made


def test_a_skeleton_is_a_pack_that_lacks_what_people_say(folder: Path) -> None:
    assert import_tools(source(folder, ROOM, WEATHER)) == 0
    pack, lacks = lacking(folder / "packs/rooms.yaml")
    assert [tool.name for tool in pack.tools] == ["book_room", "get_weather"]
    told = "\n".join(lacks)
    assert "tool 'book_room' lacks phrasings in zh-TW (0 of 6 for train, 0 of 2 for test)" in told
    assert "requests without 'room' in en" in told
    assert "slot 'city' lacks values in zh-TW" in told
    assert "slot 'priority' lacks values in zh-TW" in told
    assert "'seats'" not in told  # its schema said all
    assert "joiners in en has too few texts" in told


def test_parameters_stand_in_the_pack_as_they_stood_in_the_source(folder: Path) -> None:
    import_tools(source(folder, ROOM))
    assert read("packs/rooms.yaml")["tools"][0]["parameters"] == ROOM["parameters"]


def test_a_description_stands_in_the_language_it_is_written_in(folder: Path) -> None:
    import_tools(source(folder, ROOM, WEATHER))
    descriptions = [tool["description"] for tool in read("packs/rooms.yaml")["tools"]]
    assert descriptions == [{"zh-TW": "", "en": "About book_room"}, {"zh-TW": "查詢天氣", "en": ""}]


@pytest.mark.parametrize(
    ("schema", "slot"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 9}, {"number": {"min": 1, "max": 9, "step": 1}}),
        (
            {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 10},
            {"number": {"min": 1, "max": 9, "step": 1}},
        ),
        (
            {"type": "integer", "minimum": 1, "maximum": 20, "multipleOf": 5},
            {"number": {"min": 5, "max": 20, "step": 5}},
        ),
        ({"type": "number", "minimum": 0, "maximum": 1}, {"number": {"min": 0, "max": 1, "step": 0.1}}),
        (
            {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 5}, {"type": "null"}]},
            {"number": {"min": 0, "max": 5, "step": 1}},
        ),
        ({"type": "integer", "minimum": 1}, {"any": []}),
        ({"type": "integer", "minimum": 0, "maximum": 2**63 - 1}, {"any": []}),
        ({"type": "integer"}, {"any": []}),
        ({"enum": ["TWD", "USD"]}, {"any": ["TWD", "USD"]}),
        (
            {"type": ["string", "null"], "enum": ["in_progress", "done", None]},
            {"zh-TW": [], "en": [{"say": "in progress", "value": "in_progress"}, "done"]},
        ),
        ({"enum": ["急件", "一般"]}, {"zh-TW": ["急件", "一般"], "en": []}),
        ({"const": 7}, {"any": [7]}),
        ({"type": "boolean"}, {"zh-TW": [], "en": []}),
        ({"type": "string", "format": "date"}, {"moment": "date"}),
        ({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}, {"moment": "date-time"}),
        ({"type": "string", "format": "uuid"}, {"free": True, "any": {"train": [], "test": []}}),
        (TEXT, {"free": True, "zh-TW": {"train": [], "test": []}, "en": {"train": [], "test": []}}),
        ({"type": "object", "properties": {"a": TEXT}}, {"zh-TW": [], "en": []}),
        (True, {"free": True, "zh-TW": {"train": [], "test": []}, "en": {"train": [], "test": []}}),
    ],
)
def test_a_slot_holds_what_the_schema_says_and_nothing_that_it_does_not(schema: Any, slot: dict[str, Any]) -> None:
    assert slot_of("value", schema).slot == slot


def test_a_name_makes_a_moment_as_everywhere() -> None:
    assert slot_of("start_time", TEXT).slot == {"moment": "date-time"}
    assert slot_of("due_date", TEXT).slot == {"moment": "date"}


def test_a_moment_inside_of_any_of_is_marked_in_the_pack(folder: Path) -> None:
    schema = {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}
    assert import_tools(source(folder, tool("wake", when=schema))) == 0
    assert read("packs/rooms.yaml")["tools"][0]["moments"] == ["when"]


def test_parameters_of_one_name_share_a_slot_as_long_as_their_schemas_agree(folder: Path) -> None:
    few = {"type": "integer", "minimum": 1, "maximum": 5}
    many = {"type": "integer", "minimum": 1, "maximum": 500}
    import_tools(source(folder, tool("a", n=few), tool("b", n=few), tool("c", n=many)))
    pack = read("packs/rooms.yaml")
    assert pack["slots"] == {
        "n": {"number": {"min": 1, "max": 5, "step": 1}},
        "c_n": {"number": {"min": 1, "max": 500, "step": 1}},
    }
    assert [tool.get("slots") for tool in pack["tools"]] == [None, None, {"n": "c_n"}]


def test_a_list_has_a_slot_for_what_is_in_it(folder: Path) -> None:
    import_tools(source(folder, ROOM))
    slots = read("packs/rooms.yaml")["slots"]
    assert slots["names"] == {"list": "names_item", "min": 1, "max": 3}
    assert slots["names_item"]["free"] is True


def test_a_filled_skeleton_is_a_whole_pack(folder: Path) -> None:
    """What is lacking is all that is lacking: with it the pack can be used."""
    import_tools(source(folder, tool("find", city=TEXT)))
    pack = read("packs/rooms.yaml")
    pack["slots"]["city"].update(
        {"zh-TW": {"train": ["台北"], "test": ["花蓮"]}, "en": {"train": ["Rome"], "test": ["Oslo"]}}
    )
    found = pack["tools"][0]
    found["description"]["zh-TW"] = "找城市"
    for key in ("phrasings", "clauses"):
        found[key] = {lang: {"train": [f"{key} {{city}}"], "test": [f"{key}, {{city}}"]} for lang in ("zh-TW", "en")}
    asks = {"train": ["find"], "test": ["find it"], "questions": ["which city?"], "words": ["city"]}
    found["missing"]["city"] = {"zh-TW": asks, "en": asks}
    for key, texts in (
        ("joiners", (["{a}, {b}"], ["{a}; {b}"])),
        ("declines", (["no"], ["sorry"])),
        ("unsupported", (["sing"], ["dance"])),
        ("chat", ([["hi", "hello"]], [["bye", "see you"]])),
    ):
        pack[key] = {lang: {"train": texts[0], "test": texts[1]} for lang in ("zh-TW", "en")}
    Path("packs/rooms.yaml").write_text(yaml.safe_dump(pack, allow_unicode=True), "utf-8")
    assert read_pack(Path("packs/rooms.yaml")).tool("find").phrasings


# What is left out, and what is told


def test_what_is_left_out_is_told_and_the_rest_goes_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = {
        "name": "broken",
        "description": "",
        "parameters": {"type": "object", "properties": {"x": {"type": "strnig"}}},
    }
    remote = tool("remote", x={"$ref": "https://example.com/x.json"})
    odd = tool("odd", None, **{"a-b": TEXT})
    number = tool("number", created_at={"type": "string", "pattern": "^[0-9]+$"})
    code = import_tools(source(folder, bad, ROOM, ROOM, remote, odd, number, "text"))
    told = capsys.readouterr().out.splitlines()
    assert code == 1
    assert [tool["name"] for tool in read("packs/rooms.yaml")["tools"]] == ["book_room"]
    left = [line.removeprefix("left out: ") for line in told if line.startswith("left out: ")]
    assert left[0].startswith("broken has no usable schema: parameters is not a JSON Schema: ")
    assert "strnig" in left[0]
    assert left[1] == "book_room comes after another tool named 'book_room'; rename one of them"
    assert left[2].startswith(
        "remote has a reference that cannot be followed: 'https://example.com/x.json' lies outside"
    )
    assert left[3].startswith("odd requires 'a-b', a name that no phrasing can hold")
    assert left[4] == 'tools[6] is "text"; an object is expected'
    assert left[5].startswith("number cannot stand in a pack: it takes 'created_at' from slot 'created_at'")
    assert told[-2] == "rooms.json: 7 tools; 1 taken, 6 left out, 0 not chosen"
    assert told[-1].startswith("packs/rooms.yaml: 1 tools, 7 slots; callwright pack check packs/rooms.yaml")


def test_a_name_that_packs_cannot_have_is_changed_and_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert import_tools(source(folder, tool("get-weather", city=TEXT))) == 0
    assert "note: get_weather is called 'get-weather' at its source" in capsys.readouterr().out
    text = Path("packs/rooms.yaml").read_text("utf-8")
    assert "- name: get_weather  # is called 'get-weather' at its source" in text


def test_what_is_to_be_said_of_many_tools_is_said_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import_tools(source(folder, *(tool(f"t{i}", [], **{"a-b": TEXT}) for i in range(9))))
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert notes == [
        "note: t0, t1, t2 and 6 more: each has the optional parameter 'a-b', a name that no phrasing can hold"
    ]


def test_names_are_chosen_by_patterns_and_a_limit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tools = [tool(f"{verb}_{i}", x=TEXT) for i in range(5) for verb in ("read", "write")]
    choice = Choice(include=("read_*", "write_1"), exclude=("*_0",), limit=3)
    assert import_tools(source(folder, *tools), choice=choice) == 0
    assert [tool["name"] for tool in read("packs/rooms.yaml")["tools"]] == ["read_1", "write_1", "read_2"]
    assert "rooms.json: 10 tools; 3 taken, 0 left out, 7 not chosen" in capsys.readouterr().out


def test_a_broken_tool_that_nobody_chose_is_no_fault() -> None:
    found = collect(
        [LeftOut("old", "is deprecated"), Note("old", "x"), Tool("new", "", {"type": "object"})], Choice(("n*",))
    )
    assert (len(found.tools), found.left_out, found.notes, found.not_chosen) == (1, (), (), 1)


def test_a_long_description_is_told_and_kept_on_one_line() -> None:
    found = collect([Tool("talk", "word\n" * 100, {"type": "object", "properties": {"x.y": TEXT}})], Choice())
    assert found.tools[0].description.startswith("word word")
    assert [note.what for note in found.notes] == [
        "has a description of 499 characters, and every row pays for it; shorten it in the pack",
        "has the optional parameter 'x.y', a name that no phrasing can hold",
    ]


# Misuse


def fault(*args: Any, **options: Any) -> str:
    with pytest.raises(Fault) as raised:
        import_tools(*args, **options)
    return str(raised.value)


def test_nothing_is_written_over_unless_forced(folder: Path) -> None:
    name = source(folder, ROOM)
    assert import_tools(name) == 0
    before = Path("packs/rooms.yaml").read_bytes()
    assert fault(name).startswith("packs/rooms.yaml is there already; --force writes over it")
    assert Path("packs/rooms.yaml").read_bytes() == before
    assert import_tools(source(folder, WEATHER), force=True) == 0
    assert read("packs/rooms.yaml")["tools"][0]["name"] == "get_weather"


def test_a_place_that_cannot_be_written_leaves_nothing(folder: Path) -> None:
    (folder / "packs").write_text("a file where the folder should be")
    assert "packs/rooms.yaml could not be written" in fault(source(folder, ROOM))
    assert [path.name for path in folder.iterdir() if path.name.startswith(".writing")] == []


def test_every_misuse_is_a_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "sub").mkdir()
    (folder / "empty.json").write_text("")
    good = source(folder, ROOM)
    assert fault(None).startswith("give one source: a file, -, the http(s) address")
    assert fault("a.json", command="x").startswith("give one source")
    assert fault("sub") == "sub is a directory; give one file of it"
    assert fault("nowhere.json").startswith("nowhere.json is not there; give a file, -, or")
    assert fault("\0").startswith("\0 cannot be read: embedded null byte")
    assert fault("empty.json") == "empty.json: it is empty; give a file that holds tools"
    assert fault(source(folder, name="none.json")) == "none.json: it holds no tools; nothing was made"
    assert fault(good, name="a b").startswith("'a b' is no name for a pack")
    assert fault(good, name="x", out=Path("packs/y.yaml")).startswith("packs/y.yaml would hold the pack 'x'")
    assert fault(good, out=Path("packs/y.yml")).startswith("packs/y.yml would hold the pack 'y'")
    assert fault(good, choice=Choice(("z*",))).startswith("rooms.json: none of its 1 tools was chosen; see --include")
    assert fault(None, command="") == "--command is empty; give the program of an MCP server and its arguments"
    assert fault(None, command="a 'b").startswith('--command "a \'b": no closing quotation; close what is open')
    assert fault(None, command="a", kind=Kind.OPENAPI).startswith(
        "a: only an MCP server is asked; save an openapi source"
    )
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps([ROOM]).encode())))
    assert fault("-") == "the source has no name of its own; give one with --name"
    broken = source(folder, {"name": "x", "parameters": []}, name="broken.json")
    assert fault(broken).splitlines() == [
        "x has the parameters []; a JSON Schema object is expected",
        "broken.json: no tool of it can be used, and nothing was made",
    ]
    assert fault(source(folder, tool("t", x_at={"type": "string", "pattern": "^[0-9]$"}))).endswith(
        "no tool is left to make a pack of"
    )
    assert not (folder / "packs").exists()


def test_standard_input_is_a_source(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps([ROOM]).encode())))
    assert import_tools("-", name="rooms") == 0
    assert read("packs/rooms.yaml")["pack"] == "rooms"


# Documents


@pytest.mark.parametrize(
    ("data", "name", "told"),
    [
        (b'{"a": 1,\n "b": {\n  "c": 1, "c": 2}}', "a.json", "a.json:2: the object that begins here has 'c' twice"),
        (b"[1, NaN]", "a.json", "a.json: not JSON: NaN is no number that JSON knows"),
        (b'{"a":\n  x}', "a.json", "a.json:2: not JSON: Expecting value (column 3); mend it there"),
        (b'{"a":\n"\xff"}', "a.json", "a.json:2: not UTF-8 (invalid start byte); save it as UTF-8"),
        (b'["\\ud800"]', "a.json", "a.json: it holds half of a surrogate pair"),
        (b"[" * 10_000 + b"]" * 10_000, "a.json", "a.json: it nests too deep; make it flatter"),
        (b"- " * 5_000, "a.yaml", "a.yaml: it nests too deep; make it flatter"),
        (b" \n", "a.json", "a.json: it is empty"),
        (b"a: 1\nb:\n  c: 1\n  c: 2\n", "a.yaml", "a.yaml:4: 'c' stands twice; keep one of them"),
        (b"a: [\n}", "a.yaml", "a.yaml:2: not YAML: did not find expected node content; mend it there"),
        (b"a: !!python/object/apply:os.system [x]", "a.yaml", "a.yaml:1: not YAML: could not determine a constructor"),
        (b"a: &a [*a]", "a.yaml", "a.yaml: an alias stands inside of what it names; take it out"),
        (b"a: .inf", "a.yaml", "a.yaml: inf is no value that JSON knows; write it as text"),
        (b"? [a]\n: 1", "a.yaml", "a.yaml: the key ('a',) is no text; write it in quotes"),
        (b"a: \x07", "a.yaml", "a.yaml: not YAML: unacceptable character #x0007"),
        (b"x" * ((64 << 20) + 1), "a.json", "a.json: it has 64 MB, and no more than 64 are read; cut it down"),
    ],
)
def test_a_document_that_cannot_be_read_is_told_with_its_line(data: bytes, name: str, told: str) -> None:
    with pytest.raises(Fault) as raised:
        read_document(data, name)
    assert str(raised.value).startswith(told)


def test_aliases_that_make_a_small_file_huge_are_refused() -> None:
    lines = ["a0: &a0 [1, 1]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    with pytest.raises(Fault, match=r"its aliases make [0-9]+ values of it"):
        read_document("\n".join(lines).encode(), "a.yaml")


def test_yaml_is_read_as_json_could_write_it() -> None:
    text = "when: 2026-11-25\nno: no\ntime: 12:30\n200: ok\nok: true\n"
    expected = {"when": "2026-11-25", "no": "no", "time": "12:30", "200": "ok", "ok": True}
    assert read_document(text.encode(), "a.yaml") == expected


def test_a_byte_order_mark_and_windows_line_ends_are_no_fault() -> None:
    assert read_document(b'\xef\xbb\xbf{"a":\r\n 1}\r\n', "a.json") == {"a": 1}


# The file


HOSTILE = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
WORDS = st.sampled_from(
    ["yes", "NO", "12:30", "0x1f", "1_000", "2026-11-25", "~", "=", "<<", "- a", "a: b", "#x", "null", ".5", "?0", "&a"]
)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([1e-09, 1e300, -0.0])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | HOSTILE | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(HOSTILE | WORDS, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(HOSTILE | WORDS, st.lists(HOSTILE | WORDS, min_size=1, max_size=3, unique=True), VALUES, HOSTILE)
def test_whatever_a_source_says_the_file_says_the_same(
    tmp_path_factory: pytest.TempPathFactory, said: str, names: list[str], value: Any, note: str
) -> None:
    """Quoting is right, and no text of a source becomes YAML, in values or in remarks."""
    schema = {"type": "string", "description": said, "default": value}
    parameters = {"type": "object", "properties": dict.fromkeys(names, schema)}
    made = make_pack("rooms", (Tool("book", " ".join(said.split()), parameters),))
    path = tmp_path_factory.mktemp("packs") / "rooms.yaml"
    write_pack(path, made, [Note("book", note)], said)
    assert json.dumps(read(path)) == json.dumps(made.pack)


def test_the_command_lines_words_mean_the_same(folder: Path) -> None:
    name = source(folder, ROOM, WEATHER)
    assert run(name, None, "openai", "w", Path("w.yaml"), ["get_*"], [], 1, False, 5) == 0
    assert [tool["name"] for tool in read("w.yaml")["tools"]] == ["get_weather"]
    with pytest.raises(Fault, match=r"--kind is 'json'; it is one of openai, python, openapi, mcp"):
        run(name, None, "json", None, None, [], [], None, False, 5)
