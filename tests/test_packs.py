"""A pack that is read is whole; each fault of one that is not is a sentence with file, line and name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from callwright.faults import Fault
from callwright.packs import Pack, read_pack, read_packs
from callwright.records import Language
from tests.small_pack import both, halves, write_pack

ROOT = Path(__file__).parent.parent
PACKS = sorted((ROOT / "packs").glob("*.yaml"))

Change = tuple[str, Any]


def sentences(path: Path) -> tuple[str, ...]:
    with pytest.raises(Fault) as fault:
        read_pack(path)
    return fault.value.sentences


def line(path: Path, place: str) -> int:
    """Where the file holds a dotted place, as another YAML reader counts."""
    node, number = YAML().load(path), 0
    for part in place.split("."):
        number, _ = node.lc.item(int(part)) if part.isdigit() else node.lc.key(part)
        node = node[int(part) if part.isdigit() else part]
    return int(number) + 1


def test_a_whole_pack_is_read(tmp_path: Path) -> None:
    pack = read_pack(write_pack(tmp_path))
    assert pack.tool("find_book").phrasings[Language.EN].test == ["find_book: wants {title}"]
    assert pack.tool("add_book").is_moment("due_date")
    assert not pack.tool("add_book").is_moment("title")


FAULTS: list[tuple[list[Change], str, str]] = [
    # changes, the place whose line is told, what stands after file and line
    (
        [("tools.1.phrasings.en.train.0", "find it by {isbn} {title}")],
        "tools.1.phrasings.en.train.0",
        "tool 'find_book' has no parameter 'isbn', which 'find it by {isbn} {title}' fills; it has title",
    ),
    (
        [("tools.0.clauses.zh-TW.test.0", "只有{title}")],
        "tools.0.clauses.zh-TW.test.0",
        "tool 'add_book' requires 'due_date', which '只有{title}' leaves out; add {due_date}",
    ),
    (
        [("tools.1.replies.en.train.0", "It is {colour}.")],
        "tools.1.replies.en.train.0",
        "tool 'find_book' has no field 'colour' in its result, which 'It is {colour}.' tells; it has shelf",
    ),
    ([("tools.2.name", "find_book")], "tools.2.name", "tool 'find_book' stands twice; rename one"),
    (
        [("tools.1.parameters.properties.title", {"type": "strng"})],
        "tools.1.parameters",
        "tool 'find_book' cannot be offered: parameters is not a JSON Schema: properties.title.type: \"strng\" is",
    ),
    (
        [("tools.1.parameters.type", "array")],
        "tools.1.parameters",
        "tool 'find_book' cannot be offered: parameters has type 'array'; expected object",
    ),
    (
        [("tools.1.parameters.required.0", "name")],
        "tools.1.parameters",
        "tool 'find_book' requires 'name', which is not among its properties; add it there",
    ),
    (
        [("slots.due_date", None), ("tools.0.slots", {"due_date": "day"})],
        "tools.0.parameters",
        "tool 'add_book' takes 'due_date' from slot 'day', which is not there; add it under slots",
    ),
    (
        [("tools.1.slots", {"isbn": "title"})],
        "tools.1.slots",
        "tool 'find_book' has no parameter 'isbn'; it has title",
    ),
    (
        [("tools.0.slots", {"due_date": "title"})],
        "tools.0.slots",
        "tool 'add_book' takes 'due_date' from slot 'title', and only one of the two is a moment; list it under",
    ),
    (
        [("slots.copies.number.max", 10)],
        "tools.0",
        "tool 'add_book' takes 'copies' from slot 'copies', and its schema refuses what is there: 10 is greater than",
    ),
    (
        [("tools.0.slots", {"title": "authors"})],
        "tools.0.slots",
        "tool 'add_book' takes 'title' from slot 'authors', and its schema refuses what is there: a list is not",
    ),
    (
        [("tools.2.parameters.properties.shelf", {"enum": ["A1", "B2"]})],
        "tools.2",
        "tool 'count_books' takes 'shelf' from slot 'shelf', and its schema refuses what is there: \"C3\" is not one",
    ),
    (
        [
            ("tools.1.phrasings.en.test.0", "Find_book: with {TITLE}"),
            ("tools.1.phrasings.en.train.0", "find_book: with {title}"),
        ],
        "tools.1.phrasings.en.test.0",
        "tool 'find_book' has 'Find_book: with {TITLE}' in train and in test; keep it in one",
    ),
    (
        [
            ("tools.0.missing.copies", {}),
            (
                "tools.0.missing.copies",
                both(
                    *[
                        {
                            **halves(["{title}{due_date}"], ["{due_date}{title}!"]),
                            "questions": ["how many?"],
                            "words": ["many"],
                        }
                    ]
                    * 2
                ),
            ),
        ],
        "tools.0.missing.copies",
        "tool 'add_book' does not require 'copies'; only a required parameter can be missing",
    ),
    (
        [("tools.0.missing.due_date.en.train.0", "log {title} on {due_date}")],
        "tools.0.missing.due_date.en.train.0",
        "tool 'add_book' has 'log {title} on {due_date}' for requests without 'due_date', which it holds; leave it out",
    ),
    (
        [("tools.0.missing.due_date.en.train.0", "log it")],
        "tools.0.missing.due_date.en.train.0",
        "tool 'add_book' has 'log it', which leaves out 'title' as well as 'due_date'; add {title}",
    ),
    (
        [("tools.0.missing.due_date.en.train.0", "log {title} in {room}")],
        "tools.0.missing.due_date.en.train.0",
        "tool 'add_book' has no parameter 'room', which 'log {title} in {room}' fills; it has title, due_date",
    ),
    (
        [("tools.0.missing.due_date.en.questions.0", "Which day?")],
        "tools.0.missing.due_date.en.questions.0",
        "tool 'add_book' asks 'Which day?', which holds none of words (due); add one",
    ),
    (
        [("tools.0.missing.due_date.en.questions.0", "Tell me when it is due.")],
        "tools.0.missing.due_date.en.questions.0",
        "tool 'add_book' asks 'Tell me when it is due.' without a question mark; add it",
    ),
    (
        [("tools.0.missing.due_date.en.questions.0", "{copies} due when?")],
        "tools.0.missing.due_date.en.questions.0",
        "tool 'add_book' asks '{copies} due when?', which holds 'copies', and not every such request does; take it out",
    ),
    (
        [("tools.2.action.count", "shelves")],
        "tools.2.action",
        "tool 'count_books' acts on table 'shelves', which is not there; add it under tables",
    ),
    (
        [("tools.2.action.where", {"shelf": "row"})],
        "tools.2.action",
        "tool 'count_books' has no parameter 'row'; it has shelf",
    ),
    (
        [("tools.2.action.where", {"place": "shelf"})],
        "tools.2.action",
        "tool 'count_books' acts on column 'place', which table 'books' has not; it has title, shelf, due_date",
    ),
    (
        [("tools.1.given", None)],
        "tools.1.action",
        "tool 'find_book' finds nothing in an empty world; add given: {table: books, row: {title: {param: title}}}",
    ),
    (
        [("tools.1.given.row.colour", {"value": "red"})],
        "tools.1.given",
        "tool 'find_book' is given column 'colour', which table 'books' has not; it has title, shelf",
    ),
    (
        [("tools.1.given.row.price", {"param": "price"})],
        "tools.1.given",
        "tool 'find_book' has no parameter 'price'; it has title",
    ),
    (
        [("tools.1.given.row.price", {"slot": "price"})],
        "tools.1.given",
        "tool 'find_book' is given a value of slot 'price', which is not there; add it under slots",
    ),
    (
        [("tables.books.Id", "text")],
        "tables.books.Id",
        "table 'books' has a column 'Id'; every table has an id of its own",
    ),
    (
        [("slots.author.en.test.0", "ulysses")],
        "slots.author.en",
        "slot 'author' has 'ulysses' in test, slot 'title' in train; keep it in one",
    ),
    (
        [("slots.authors.list", "writer")],
        "slots.authors.list",
        "slot 'authors' lists 'writer', which is no slot; add it under slots",
    ),
    (
        [("slots.crowd", {"list": "authors"})],
        "slots.crowd.list",
        "slot 'crowd' lists 'authors', which is a list itself; name another",
    ),
    (
        [("joiners.en.train.0", "{A} and also.")],
        "joiners.en.train.0",
        "joiner '{A} and also.' should hold {a} and {b} (or {A}, {B}), for more requests {c} and {d}, and nothing else",
    ),
    (
        [("declines.en.test.0", "Why?")],
        "declines.en.test.0",
        "decline 'Why?' asks something; say that no tool fits, without a question mark",
    ),
    (
        [("chat.zh-TW.train.0", ["你好", "有什麼事？"])],
        "chat.zh-TW.train.0",
        "answer '有什麼事？' to '你好' asks something; just answer",
    ),
    (
        [("unsupported.en.test.0", "call a CAB.")],
        "unsupported.en.test.0",
        "pack has 'call a CAB.' in train and in test; keep it in one",
    ),
    ([("pack", "office")], "pack", "pack is 'office'; name it 'library', as the file"),
    # shapes
    ([("joiners.en", None)], "joiners", "joiners in en has too few texts (0 of 1 for train, 0 of 1 for test)"),
    ([("colour", "red")], "colour", "colour is not known here; remove it or mend its spelling"),
    (
        [("tools.2.action.insert", "books")],
        "tools.2.action",
        "tools.2.action is wrong: an action is one of insert, select, list, count, update, delete",
    ),
    (
        [("slots.shelf", {"free": True})],
        "slots.shelf",
        "slots.shelf is wrong: a slot is one of: words (any, or zh-TW and en), number, moment, list",
    ),
    (
        [("slots.authors.min", 3)],
        "slots.authors",
        "slots.authors is wrong: min is 3 and max is 2; min is at most max",
    ),
    (
        [("slots.copies.number.min", 10)],
        "slots.copies.number",
        "slots.copies.number is wrong: min is 10 and max is 9; min is at most max",
    ),
    (
        [("slots.due_date.days", ["today", "next moon"])],
        "slots.due_date.days.1",
        "'next moon' is no day as the grammar of moments writes it (today, in 3 days, next monday, …)",
    ),
    (
        [("slots.due_date.days", ["in 1 day"])],
        "slots.due_date.days.0",
        "'in 1 day' is no day as the grammar of moments writes it (today, in 3 days, next monday, …)",
    ),
    (
        [("slots.due_date", {"moment": "time", "times": ["3pm"]})],
        "slots.due_date.times.0",
        "'3pm' is no time of day; write it in quotes as HH:MM, 24 hours",
    ),
    (
        [("slots.due_date.times", ["15:00"])],
        "slots.due_date",
        "days belong to a moment that is a date-time or a date, times to a date-time or a time",
    ),
    (
        [("slots.shelf.spoken", 0.5)],
        "slots.shelf",
        "spoken belongs to a moment that is a date-time or a time",
    ),
    (
        [("slots.shelf.any", [True])],
        "slots.shelf.any",
        "is wrong: a truth value is not said as it is written; write {say: …, value: true}",
    ),
    (
        [("tools.1.given.row.shelf", {"slot": "shelf", "value": "A1"})],
        "tools.1.given.row.shelf",
        "is wrong: a value is one of {param: …}, {slot: …}, {value: …}",
    ),
    (
        [("tables.books.title", "string")],
        "tables.books.title",
        "tables.books.title is 'string'; input should be 'text', 'integer', 'real', 'boolean', 'moment', 'list' or",
    ),
    (
        [("tools.1.name", "find book")],
        "tools.1.name",
        "tools.1.name is 'find book'; string should match pattern",
    ),
]


@pytest.mark.parametrize(("changes", "at", "sentence"), FAULTS, ids=[sentence[:60] for _, _, sentence in FAULTS])
def test_a_fault_is_told_with_file_line_and_name(tmp_path: Path, changes: list[Change], at: str, sentence: str) -> None:
    path = write_pack(tmp_path, *changes)
    told = [found for found in sentences(path) if sentence in found]
    assert told, sentences(path)
    assert told[0].startswith(f"{path}:{line(path, at)}: "), told


def test_a_phrasing_that_fills_a_strange_parameter_is_told_with_its_own_line(tmp_path: Path) -> None:
    path = write_pack(tmp_path, ("tools.3.phrasings.zh-TW.train.1", "{title}搬到{shelf}的{floor}"))
    number = line(path, "tools.3.phrasings.zh-TW.train.1")
    (told,) = sentences(path)
    assert told == (
        f"{path}:{number}: tool 'move_book' has no parameter 'floor', which '{{title}}搬到{{shelf}}的{{floor}}' fills; "
        "it has title, shelf"
    )


def test_all_faults_are_told_at_once_in_the_order_of_their_lines(tmp_path: Path) -> None:
    path = write_pack(tmp_path, ("pack", "shop"), ("slots.authors.list", "writer"), ("tools.4.action.delete", "shop"))
    told = sentences(path)
    assert len(told) == 3
    assert [int(sentence.split(":")[1]) for sentence in told] == sorted(int(s.split(":")[1]) for s in told)


def test_a_key_that_stands_twice_is_not_dropped_in_silence(tmp_path: Path) -> None:
    path = write_pack(tmp_path)
    text = path.read_text(encoding="utf-8")
    path.write_text(
        text + "declines:\n  zh-TW: {train: [不行。], test: [不好。]}\n  en: {train: [No.], test: [Nope.]}\n", "utf-8"
    )
    number = len(text.splitlines()) + 1
    assert sentences(path) == (
        f"{path}:{number}: 'declines' stands twice, and only one of the two counts; put them together",
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"tools: ]", ":1: not YAML: "),
        (b"pack: \xff", ": not YAML: "),
        (b"pack: 2026-13-45", ": not YAML: month must be in 1..12"),
        (b"", ":1: the file is None; it should be a section of named values; docs/packs.md has the shape"),
    ],
)
def test_a_file_that_is_no_yaml_is_a_sentence(tmp_path: Path, text: bytes, sentence: str) -> None:
    path = tmp_path / "library.yaml"
    path.write_bytes(text)
    (told,) = sentences(path)
    assert told.startswith(f"{path}")
    assert sentence in told


def test_a_file_that_nests_without_end_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "library.yaml"
    path.write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(Fault, match=r"library\.yaml:1: this nests more than 100 deep; no pack does"):
        read_pack(path)


def test_a_missing_pack_and_the_faults_of_another_are_told_together(tmp_path: Path) -> None:
    path = write_pack(tmp_path, ("pack", "shop"))
    with pytest.raises(Fault) as fault:
        read_packs(["library", "zoo"], tmp_path)
    assert fault.value.sentences == (
        f"{path}:1: pack is 'shop'; name it 'library', as the file",
        f"{tmp_path / 'zoo.yaml'} is missing; generate.packs in params.yaml names the packs, packs/ holds them",
    )


# The packs that we ship


@pytest.fixture(scope="module", params=PACKS, ids=lambda path: path.stem)
def shipped(request: pytest.FixtureRequest) -> Pack:
    path: Path = request.param
    return read_pack(path)


def test_every_shipped_pack_says_enough_of_each_tool_in_each_language(shipped: Pack) -> None:
    for tool in shipped.tools:
        for language in Language:
            assert len(tool.phrasings[language].train) >= 6, tool.name
            assert len(tool.phrasings[language].test) >= 2, tool.name
            assert len(tool.clauses[language].train) >= 3, tool.name
            assert len(tool.replies[language].train) >= 3, tool.name
            for missing in tool.missing.values():
                assert len(missing[language].train) >= 3, tool.name
                assert len(missing[language].questions) >= 2, tool.name


def test_every_optional_parameter_of_a_shipped_pack_is_said_by_some_requests_and_not_by_others(shipped: Pack) -> None:
    for tool in shipped.tools:
        for param in set(tool.properties) - set(tool.required):
            for language in Language:
                said = [f"{{{param}}}" in text for text in tool.phrasings[language].train]
                assert any(said), (tool.name, param, language)
                assert not all(said), (tool.name, param, language)


def test_the_office_pack_has_the_tools_of_the_document_and_all_kinds_of_parameters() -> None:
    pack = read_pack(ROOT / "packs/office.yaml")
    assert pack.tool("query_database").required == ["query_str"]
    assert {"title", "start_time"} <= set(pack.tool("add_calendar_event").required)
    kinds = {schema.get("type") for tool in pack.tools for schema in tool.properties.values()}
    assert {"string", "integer", "array"} <= kinds
    assert any("enum" in schema for tool in pack.tools for schema in tool.properties.values())
    assert any(set(tool.properties) - set(tool.required) for tool in pack.tools)
