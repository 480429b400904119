"""The world that tools act on: each action, the clock that is passed in, and texts that are only values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from callwright.backend import Refused, World
from callwright.packs import Pack
from callwright.records import Call
from tests.small_pack import STRING, small_pack

NOW = datetime(2026, 3, 4, 9, 30, tzinfo=timezone(timedelta(hours=8)))


def open_world(*changes: tuple[str, Any]) -> World:
    return World(Pack.model_validate(small_pack(*changes)), NOW, first_id=1042)


@pytest.fixture
def world() -> Iterator[World]:
    with open_world() as world:
        world.put("books", {"title": "Emma", "shelf": "A1", "copies": 3, "price": 14.0, "authors": ["Austen"]})
        world.put("books", {"title": "臺灣通史", "shelf": "A1", "copies": 1})
        yield world


def run(world: World, tool: str, **params: Any) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(world.run(Call(tool, params)))
    return result


def rows(world: World, columns: str = "title, shelf") -> list[tuple[Any, ...]]:
    return world.db.execute(f"SELECT {columns} FROM books ORDER BY id").fetchall()  # noqa: S608


def test_insert_adds_a_row_and_gives_its_id(world: World) -> None:
    assert run(world, "add_book", title="Ulysses", due_date="tomorrow", authors=["Joyce"]) == {"id": 1044}
    assert rows(world, "id, title, due_date, copies, authors")[-1] == (1044, "Ulysses", "2026-03-05", None, '["Joyce"]')


def test_select_gives_the_columns_of_the_first_row_that_fits(world: World) -> None:
    world.put("books", {"title": "emma", "shelf": "C3"})
    assert run(world, "find_book", title="EMMA") == {"shelf": "A1"}


def test_text_is_compared_after_width_case_and_variants(world: World) -> None:
    assert run(world, "find_book", title="台灣通史") == {"shelf": "A1"}
    assert run(world, "find_book", title="Ｅｍｍａ") == {"shelf": "A1"}
    assert run(world, "find_book", title="Emm") == {"error": "not_found"}


def test_count_counts_the_rows_that_fit_and_may_find_none(world: World) -> None:
    assert run(world, "count_books", shelf="a1") == {"count": 2}
    assert run(world, "count_books", shelf="Z9") == {"count": 0}


def test_update_changes_the_first_row_that_fits_and_gives_it_as_it_is_now(world: World) -> None:
    world.put("books", {"title": "Emma", "shelf": "B2"})
    assert run(world, "move_book", title="Emma", shelf="C3") == {"title": "Emma", "shelf": "C3"}
    assert rows(world) == [("Emma", "C3"), ("臺灣通史", "A1"), ("Emma", "B2")]
    assert run(world, "move_book", title="Walden", shelf="C3") == {"error": "not_found"}


def test_delete_removes_all_rows_that_fit_and_contains_looks_inside(world: World) -> None:
    world.put("books", {"title": "Emmanuel"})
    assert run(world, "drop_book", title="emma") == {"deleted": 2}
    assert rows(world) == [("臺灣通史", "A1")]
    assert run(world, "drop_book", title="emma") == {"error": "not_found"}


@pytest.mark.parametrize(
    "text", ["'; DROP TABLE books; --", "x' OR '1'='1", 'A1" OR 1=1', "%", "_", "?", "{title}", "\\", "\0"]
)
def test_a_text_that_looks_like_sql_is_only_a_value(world: World, text: str) -> None:
    assert run(world, "find_book", title=text) == {"error": "not_found"}
    assert run(world, "drop_book", title=text) == {"error": "not_found"}
    assert run(world, "add_book", title=text, due_date="today")["id"]
    assert run(world, "move_book", title=text, shelf=text) == {"title": text, "shelf": text}
    assert len(rows(world)) == 3


def test_moments_are_resolved_against_the_clock_that_is_passed_in(world: World) -> None:
    for moment, iso in (
        ("in 2 hours", "2026-03-04T11:30+08:00"),
        ("next monday", "2026-03-09"),
        ("2027-01-01", "2027-01-01"),
    ):
        run(world, "add_book", title="x", due_date=moment)
        assert rows(world, "due_date")[-1] == (iso,)


def test_a_parameter_that_the_pack_marks_is_a_moment_too() -> None:
    properties = {"title": STRING, "due_date": STRING, "when": STRING}
    changes = [
        ("tools.0.parameters.properties", properties),
        ("tools.0.moments", ["when"]),
        ("tables.books.when", "moment"),
    ]
    with open_world(*changes) as world:
        run(world, "add_book", title="x", due_date="today", when="tomorrow 15:00")
        assert rows(world, '"when"') == [("2026-03-05T15:00+08:00",)]


def test_a_parameter_that_the_call_leaves_out_does_not_filter() -> None:
    with open_world(("tools.2.parameters.required", [])) as world:
        world.put("books", {"shelf": "A1"})
        world.put("books", {"shelf": "B2"})
        assert run(world, "count_books") == {"count": 2}


def test_a_list_comes_back_as_a_list_and_nothing_as_nothing() -> None:
    with open_world(("tools.1.action.columns", ["authors", "shelf"])) as world:
        world.put("books", {"title": "Emma", "authors": ["Austen", "奧斯汀"]})
        world.put("books", {"title": "Walden"})
        assert run(world, "find_book", title="Emma") == {"authors": ["Austen", "奧斯汀"], "shelf": None}
        assert run(world, "find_book", title="Walden") == {"authors": None, "shelf": None}


def test_numbers_are_compared_by_value_and_an_empty_cell_is_equal_to_nothing() -> None:
    number = {"type": "object", "properties": {"price": {"type": "number"}}, "required": ["price"]}
    with open_world(("tools.2.parameters", number), ("tools.2.action.where", {"price": "price"})) as world:
        for price in (14, 14.5, None):
            world.put("books", {"price": price})
        assert run(world, "count_books", price=14) == run(world, "count_books", price=14.0) == {"count": 1}
        assert run(world, "count_books", price=14.5) == {"count": 1}
    with open_world() as world:
        world.put("books", {"title": "x"})
        assert run(world, "count_books", shelf="none") == {"count": 0}


@pytest.mark.parametrize(
    ("tool", "params", "sentence"),
    [
        ("burn_book", {}, "there is no tool 'burn_book'"),
        ("find_book", {}, "find_book requires 'title'"),
        ("find_book", {"title": 3}, 'find_book.title: 3 is not of type "string"'),
        ("find_book", {"title": "x", "name": "y"}, "find_book has no parameter 'name'; it has title"),
        ("add_book", {"title": "x", "due_date": "soon"}, "add_book: due_date is 'soon', which names no moment"),
        (
            "add_book",
            {"title": "x", "due_date": "today", "copies": 10},
            "add_book.copies: 10 is greater than the maximum of 9",
        ),
        (
            "add_book",
            {"title": "x", "due_date": "today", "copies": True},
            'add_book.copies: true is not of type "integer"',
        ),
        ("add_book", {"title": "\ud800", "due_date": "today"}, "add_book: "),
    ],
)
def test_what_tool_or_schema_do_not_allow_is_refused_and_changes_nothing(
    world: World, tool: str, params: dict[str, Any], sentence: str
) -> None:
    before = rows(world)
    with pytest.raises(Refused) as refused:
        world.run(Call(tool, params))
    assert str(refused.value).startswith(sentence)
    assert rows(world) == before


def test_a_number_that_sqlite_cannot_hold_is_refused_and_the_world_goes_on() -> None:
    with open_world(("tools.0.parameters.properties.copies", {"type": "integer"})) as world:
        with pytest.raises(Refused, match="add_book: "):
            run(world, "add_book", title="x", due_date="today", copies=10**30)
        assert rows(world) == []
        assert run(world, "add_book", title="x", due_date="today", copies=3)["id"]


def test_a_whole_number_written_with_a_point_is_a_whole_number(world: World) -> None:
    run(world, "add_book", title="x", due_date="today", copies=4.0)
    assert rows(world, "copies")[-1] == (4,)


def test_the_state_is_every_row_of_every_table_as_json_has_it(world: World) -> None:
    run(world, "add_book", title="Ulysses", due_date="tomorrow", authors=["Joyce"])
    assert [row["id"] for row in world.state()["books"]] == [1042, 1043, 1044]
    assert world.state()["books"][2] == {
        "id": 1044,
        "title": "Ulysses",
        "shelf": None,
        "due_date": "2026-03-05",
        "copies": None,
        "price": None,
        "authors": ["Joyce"],
    }
    with open_world() as other:
        assert other.state() == {"books": []}


def test_a_row_that_has_an_id_keeps_it_and_no_other_is_given_it(world: World) -> None:
    assert world.put("books", {"title": "Walden"}, 7) == 7
    assert world.put("books", {"title": "Moby-Dick"}, 2000) == 2000
    assert run(world, "add_book", title="Ulysses", due_date="tomorrow") == {"id": 2001}
    assert [row["id"] for row in world.state()["books"]] == [7, 1042, 1043, 2000, 2001]


def test_the_rows_that_a_call_is_about_are_known_before_it_runs(world: World) -> None:
    before = world.state()
    assert world.fitting(Call("drop_book", {"title": "emma"})) == [1042]
    assert world.fitting(Call("count_books", {"shelf": "A1"})) == [1042, 1043]
    for none in (
        Call("find_book", {"title": "Walden"}),
        Call("add_book", {"title": "Emma", "due_date": "today"}),
        Call("burn_book", {"title": "Emma"}),
        Call("find_book", {"title": "\ud800"}),
    ):
        assert world.fitting(none) == []
    assert world.state() == before


def test_a_cell_that_is_no_json_is_told_as_it_is(world: World) -> None:
    world.put("books", {"title": "Walden", "authors": "not a list"})
    assert world.state()["books"][-1]["authors"] == "not a list"


def test_two_worlds_share_nothing(world: World) -> None:
    with open_world() as other:
        assert run(other, "count_books", shelf="A1") == {"count": 0}
    assert run(world, "count_books", shelf="A1") == {"count": 2}


def test_a_call_that_fails_half_way_leaves_nothing_of_itself() -> None:
    both_set = {"shelf": "shelf", "copies": "copies"}
    schema = {"title": STRING, "shelf": STRING, "copies": {"type": "integer"}}
    changes = (
        ("tools.3.action.set", both_set),
        ("tools.3.parameters.properties", schema),
    )
    with open_world(*changes) as world:
        world.put("books", {"title": "Emma", "shelf": "A1", "copies": 3})
        with pytest.raises(Refused, match="move_book: "):
            world.run(Call("move_book", {"title": "Emma", "shelf": "C3", "copies": 10**30}))
        assert rows(world, "title, shelf, copies") == [("Emma", "A1", 3)]
        assert run(world, "move_book", title="Emma", shelf="C3", copies=4) == {"title": "Emma", "shelf": "C3"}
