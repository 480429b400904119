"""callwright import and callwright export: files in, files out, what was lost, and a person's mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from callwright.exchange import Row, read_rows, read_tools
from callwright.faults import Fault
from callwright.outs import write_lines
from callwright.records import Language, Split, Tool
from commands.exchange import SOURCES, TRAIN, export_rows, import_rows
from tests.rows import CALENDAR, QUERY, REQUEST, ROOT, document_row, generated, loop, office
from tests.test_formats import DOCUMENT_OUTPUT, DOCUMENT_SYSTEM

OPENAI = {"type": "function", "function": QUERY.to_json()}
MCP = {"name": "ping", "description": None, "inputSchema": {"type": "object"}, "annotations": {}}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name: str, *rows: Any) -> Path:
    path = Path(name)
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8"
    )
    return path


def left_behind(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


CALL = {"name": "query_database", "arguments": {"query_str": "預算"}}
XLAM = [
    {"id": 7, "query": "Query the database for 預算", "tools": [QUERY.to_json()], "answers": [CALL]},
    {"id": 9, "query": "List it", "tools": [QUERY.to_json()], "answers": json.dumps([CALL]), "vector": [1]},
]


def test_imported_rows_are_records_in_data_sources_with_ids_of_their_own(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert import_rows(write("my rows#1.json", json.dumps(XLAM))) == 0
    out = SOURCES / "my-rows-1.jsonl"
    rows = [row.example for row in read_rows(out, "canonical") if isinstance(row, Row)]
    assert [row.id for row in rows] == ["my-rows-1-000000", "my-rows-1-000001"]
    assert [row.language for row in rows] == [Language.ZH_TW, Language.EN]
    assert rows[0].source == {"imported_as": "xlam", "imported_id": "7"}
    told = capsys.readouterr().out
    assert f"2 rows of my rows#1.json read as xlam (detected), now in {out}" in told
    assert "1 rows: the key 'vector' is left out" in told
    assert left_behind(folder) == [str(out), "my rows#1.json"]


def test_rows_that_cannot_be_read_are_kept_beside_and_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write("x.jsonl", XLAM[0], "{half", XLAM[1], 3, '{"query": 1, "answers": []}', "[")
    assert import_rows(file, "xlam", split=Split.DEV) == 1
    told = capsys.readouterr().out
    assert "2 rows of x.jsonl read as xlam (given)" in told
    assert "4 rows of x.jsonl could not be read, such as" in told
    assert "x.jsonl:2: not JSON" in told
    assert "x.jsonl:5: query is 1; expected text" in told
    assert "x.jsonl:6" not in told, "three are enough"
    unread = SOURCES / "x.unread"
    assert str(unread) in told
    assert [json.loads(line)["row"] for line in unread.read_text(encoding="utf-8").splitlines()] == [1, 3, 4, 5]
    assert json.loads(unread.read_text(encoding="utf-8").splitlines()[0])["raw"] == "{half"
    rows = [row.example for row in read_rows(SOURCES / "x.jsonl") if isinstance(row, Row)]
    assert [(row.id, row.split) for row in rows] == [("x-000000", Split.DEV), ("x-000002", Split.DEV)]
    assert list(SOURCES.glob("*.jsonl")) == [SOURCES / "x.jsonl"], "validate reads these, and none of the others"


def test_a_second_import_is_the_same_and_asks_to_be_forced(folder: Path) -> None:
    file = write("x.jsonl", *XLAM, "{half")
    import_rows(file)
    before = (SOURCES / "x.jsonl").read_bytes()
    with pytest.raises(Fault, match="is there already; --force replaces it, --out names another") as told:
        import_rows(file)
    print(told.value)
    assert import_rows(file, force=True) == 1
    assert (SOURCES / "x.jsonl").read_bytes() == before
    write("x.jsonl", *XLAM)
    assert import_rows(file, force=True) == 0
    assert not (SOURCES / "x.unread").exists(), "it would tell of rows that are read now"


def test_rows_without_tools_get_those_of_the_file_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write("d.jsonl", {"instruction": REQUEST, "output": DOCUMENT_OUTPUT, "system": DOCUMENT_SYSTEM})
    assert import_rows(file) == 0
    assert "1 rows name no tools, so that none of their calls can be right; give --tools" in capsys.readouterr().out
    write("tools.json", [OPENAI, CALENDAR.to_json()])
    assert import_rows(file, tools=Path("tools.json"), out=Path("with.jsonl")) == 0
    assert "name no tools" not in capsys.readouterr().out
    [row] = read_rows(Path("with.jsonl"))
    assert isinstance(row, Row)
    assert row.example.tools == (QUERY, CALENDAR)


def test_an_import_that_fails_leaves_nothing(folder: Path) -> None:
    file = write("x.jsonl", "{half", "NaN")
    for form, reason in [
        (None, "none of its 2 rows could be read as canonical; x.jsonl:1: not JSON"),
        ("glaive", "none of its 2 rows could be read as glaive"),
        ("csv", "'csv' is no format"),
    ]:
        with pytest.raises(Fault, match=reason) as told:
            import_rows(file, form)
        print(told.value)
    mistakes: list[tuple[Callable[[], int], str]] = [
        (lambda: import_rows(Path("none.jsonl")), "none.jsonl is missing"),
        (lambda: import_rows(folder), "is a folder"),
        (lambda: import_rows(file, out=file), "is the file that is read"),
        (lambda: import_rows(file, tools=Path("none.yaml")), "none.yaml is missing"),
        (lambda: export_rows("openai", Path("o.jsonl")), f"{TRAIN} is missing"),
        (lambda: export_rows("glaive", Path("o.jsonl")), "glaive is only read"),
        (lambda: export_rows("openai", Path("o.jsonl"), file), "none of its 2 rows is a record"),
    ]
    for mistake, reason in mistakes:
        with pytest.raises(Fault, match=reason) as told:
            mistake()
        print(told.value)
    assert left_behind(folder) == ["x.jsonl"]


def test_export_tells_what_a_format_cannot_hold_by_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    TRAIN.parent.mkdir(parents=True)
    write_lines(TRAIN, [loop("預算為 300 萬。").to_json(), document_row(source={"pack": "office"}).to_json()])
    assert export_rows("xlam", Path("out/x.jsonl")) == 0
    told = capsys.readouterr().out
    assert f"2 records of {TRAIN} written as xlam: 2 rows, in out/x.jsonl" in told
    for lost in ("1 records: tool results", "1 records: replies", "1 records: facts of a result", "1 records: source"):
        assert f"  lost of {lost}" in told
    with pytest.raises(Fault, match="is there already"):
        export_rows("xlam", Path("out/x.jsonl"))
    assert export_rows("alpaca", Path("out/x.jsonl"), force=True) == 0
    assert "written as alpaca: 3 rows" in capsys.readouterr().out


def test_a_record_that_a_format_cannot_hold_at_all_is_exit_1(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = loop("{}")
    write_lines(Path("in.jsonl"), [bad.to_json(), document_row().to_json()])
    Path("in.jsonl").write_text(Path("in.jsonl").read_text(encoding="utf-8") + "{half\n", encoding="utf-8")
    assert export_rows("messages", Path("m.jsonl"), Path("in.jsonl")) == 1
    told = capsys.readouterr().out
    assert "1 records of in.jsonl written as messages: 1 rows" in told
    assert "  lost of 1 records: the whole row" in told
    assert "1 rows of in.jsonl could not be read, such as\n  in.jsonl:3: not JSON" in told


@pytest.mark.parametrize("form", ["messages", "alpaca", "pro", "openai", "sharegpt", "hermes"])
def test_out_and_in_again_gives_the_same_conversations(folder: Path, form: str) -> None:
    rows = generated()[:40]
    tool_file = write(
        "tools.json", json.dumps([tool.to_json() for tool in {t.name: t for r in rows for t in r.tools}.values()])
    )
    write_lines(Path("in.jsonl"), (row.to_json() for row in rows))
    assert export_rows(form, Path("out.jsonl"), Path("in.jsonl")) == 0
    assert import_rows(Path("out.jsonl"), tools=tool_file, out=Path("back.jsonl")) == 0
    back = [row.example for row in read_rows(Path("back.jsonl")) if isinstance(row, Row)]
    assert [said(row) for row in back] == [said(row) for row in rows]


def said(row: Any) -> Any:
    turns = [{**turn.to_json(), "facts": None, "asks": None} for turn in row.messages[1:]]
    return row.language, row.category, [tool.name for tool in row.tools if tool.name], turns


# Files of tools


def test_tools_are_read_in_every_spelling_from_json_and_yaml(folder: Path) -> None:
    ping = Tool("ping", "", {"type": "object"})
    for name, content in {
        "list.json": [OPENAI, CALENDAR.to_json(), MCP],
        "object.json": {"tools": [OPENAI, CALENDAR.to_json(), MCP]},
        "mcp.yaml": {"tools": [QUERY.to_json(), CALENDAR.to_json(), MCP]},
    }.items():
        assert read_tools(write(name, content)) == (QUERY, CALENDAR, ping)
    assert read_tools(write("one.json", OPENAI)) == (QUERY,)
    Path("t.yml").write_text(
        "\ufeff- name: query_database\n  description: 查詢數據庫\n  parameters:\n    type: object\n"
        "    properties: {query_str: {type: string}}\n    required: [query_str]\n",
        encoding="utf-8",
    )
    assert read_tools(Path("t.yml")) == (QUERY,)


def test_a_pack_is_a_file_of_tools_in_the_language_asked_for() -> None:
    path, [pack] = ROOT / "packs/office.yaml", office()
    assert read_tools(path) == tuple(tool.offered(Language.ZH_TW) for tool in pack.tools), "the first that stands there"
    assert read_tools(path, Language.EN) == tuple(tool.offered(Language.EN) for tool in pack.tools)


BOMB = "- &a [1, 2, 3, 4, 5, 6, 7, 8, 9]\n" + "".join(
    f"- &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in pairwise("abcdefghij")
)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.json", "", "a.json is not JSON"),
        ("a.json", "[]", "a.json is empty; a file of tools holds a list of"),
        ("a.json", '"x"', "is not a list of tools"),
        ("a.json", '[{"name": "a", "name": "b"}]', "a key stands twice"),
        ("a.json", '[{"description": "a"}, 3]', "a.json: tools[0] has no name"),
        ("a.json", '[{"description": "a"}, 3]', "a.json: tools[1] is 3; expected an object"),
        ("a.json", '[{"name": "a", "parameters": []}]', "tools[0].parameters is []; expected an object"),
        ("a.json", '[{"name": "a", "description": {"en": 3}}]', "tools[0].description is 3; expected text"),
        ("a.json", '[{"name": "a"}, {"name": "a"}]', "tool 'a' stands there 2 times; a call could mean either"),
        ("a.yaml", "- name: [a", "a.yaml:2: not YAML"),
        ("a.yaml", "- &x {name: a, parameters: *x}", "a.yaml:1: this holds itself, by an alias"),
        ("a.yaml", BOMB, "values with its aliases (*name) written out"),
        ("a.yaml", "- name: a\n  name: b", "a.yaml:1: 'name' stands twice in one mapping"),
        ("a.yaml", "- name: a\n  parameters: {default: 2026-03-04}", "not YAML that JSON could hold"),
        ("a.yaml", "- name: a\n  parameters: {default: .nan}", "not YAML that JSON could hold"),
        ("a.yaml", "- !!python/object/apply:os.system [ls]", "not YAML that JSON could hold"),
        ("a.yaml", "[" * 100_000, "a.yaml:1: this nests more than 200 deep"),
        ("a.json", "[" * 100_000, "nests more than 200 deep"),
        ("a.yaml", "", "a.yaml is empty"),
    ],
)
def test_a_file_that_holds_no_tools_says_what_it_should_hold(
    folder: Path, name: str, content: str, reason: str
) -> None:
    Path(name).write_text(content, encoding="utf-8")
    with pytest.raises(Fault) as told:
        read_tools(Path(name))
    print(told.value)
    assert reason in str(told.value)


def test_a_file_of_tools_that_cannot_be_read_is_a_sentence(folder: Path) -> None:
    Path("latin.json").write_bytes(b'[{"name": "\xff"}]')
    with Path("big.json").open("wb") as file:
        file.truncate(17 * 2**20)
    for path, reason in [
        ("latin.json", "is not UTF-8"),
        ("big.json", "larger than 16 MiB"),
        (".", "is a folder"),
        ("none.json", "is missing"),
    ]:
        with pytest.raises(Fault, match=reason) as told:
            read_tools(Path(path))
        print(told.value)
