"""A row's world is made again from the row alone, and its own calls give the same there again."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from callwright.moments import NOW
from callwright.packs import Pack
from callwright.records import Call, Calls, Category, Example, Language, Reply, Result, User
from callwright.steps import NoWorld, with_defaults
from callwright.worlds import Rebuilt, rebuild
from tests.plays import all_packs, varied
from tests.rows import conversation, office
from tests.small_pack import small_pack

OFFICE = {"pack": "office"}


def rebuilt(row: Example) -> Rebuilt:
    return rebuild(row, {pack.pack: pack for pack in all_packs()}[str(row.source["pack"])], NOW)


def looked_up(content: str, *facts: str, **source: Any) -> Example:
    """The document's full loop, in the office."""
    return conversation(
        User("幫我查預算"),
        Calls((Call("query_database", {"query_str": "預算"}),)),
        Result("query_database", content, facts),
        Reply("好的。"),
        category=Category.FULL_LOOP,
        source=OFFICE | source,
    )


def library(*turns: Any, changes: tuple[tuple[str, Any], ...] = (), language: Language = Language.EN) -> Rebuilt:
    pack = Pack.model_validate(small_pack(*changes))
    return rebuild(conversation(*turns, language=language, source={"pack": "library"}), pack, NOW)


def called(tool: str, result: str | None = None, /, **params: Any) -> list[Any]:
    """A turn of one call, with its result where there is one."""
    return [Calls((Call(tool, params),)), *([Result(tool, result)] if result else [])]


def test_every_row_of_every_pack_gives_its_own_results_again() -> None:
    rows = varied()
    worlds = [rebuilt(row) for row in rows]
    assert Counter(row.category for row in rows).keys() == set(Category)
    assert {row.source["pack"] for row in rows} == {pack.pack for pack in all_packs()}
    assert [row.id for row, world in zip(rows, worlds, strict=True) if not world.as_recorded] == []
    recorded = [step for world in worlds for step in world.steps if step.recorded is not None]
    assert len(recorded) > 400


def test_the_same_row_begins_in_the_same_world_and_another_id_in_another() -> None:
    row = conversation(User("查王小明"), *called("find_contact", name="王小明"), source=OFFICE)
    assert rebuilt(row) == rebuilt(row)
    others = [rebuilt(replace(row, id=f"row-{i}")) for i in range(5)]
    assert len({json.dumps(other.state, sort_keys=True) for other in others}) == 5


def test_what_the_result_tells_is_what_stands_in_the_world() -> None:
    world = rebuilt(looked_up('{"amount": "123 萬"}', "123 萬"))
    assert world.as_recorded
    [laid] = world.opening.laid
    assert (laid.table, laid.row) == ("records", {"name": "預算", "amount": "123 萬"})
    assert world.done[0].result == {"amount": "123 萬"}
    assert not world.done[0].changes


def test_the_state_is_what_the_calls_leave_and_new_rows_have_the_ids_that_were_told() -> None:
    event = {"title": "審核會", "start_time": "tomorrow 15:00"}
    world = rebuilt(conversation(User("排會議"), *called("add_calendar_event", '{"id": 1042}', **event), source=OFFICE))
    made = {"id": 1042, "title": "審核會", "start_time": "2026-03-03T15:00", "duration_minutes": None}
    assert world.state["events"] == [made]
    assert world.done[0].changes
    assert world.as_recorded


def test_moments_are_those_of_the_clock_that_is_passed_in() -> None:
    row = conversation(User("x"), *called("add_calendar_event", title="x", start_time="tomorrow 15:00"), source=OFFICE)
    later = rebuild(row, office()[0], NOW + timedelta(days=30))
    assert later.state["events"][0]["start_time"] == "2026-04-02T15:00"
    assert datetime.fromisoformat(rebuilt(row).state["events"][0]["start_time"]).day == 3


def test_a_call_tried_again_after_a_failure_is_given_its_rows_once() -> None:
    drop = {"title": "Emma"}
    turns = [User("Drop Emma"), *called("drop_book", '{"error": "timeout"}', **drop)]
    turns += [*called("drop_book", '{"deleted": 1}', **drop), Reply("drop_book says 1.")]
    world = library(*turns)
    assert [step.fails for step in world.steps] == [True, False]
    assert [done.result for done in world.done] == [{"deleted": 1}]
    assert world.as_recorded


def test_a_row_that_is_not_found_is_not_there() -> None:
    assert library(User("x"), *called("find_book", '{"error": "not_found"}', title="Emma")).opening.laid == ()
    assert len(library(User("x"), *called("find_book", '{"error": "timeout"}', title="Emma")).opening.laid) == 1


def test_decoys_change_no_result_and_stand_before_the_rows_that_are_right() -> None:
    find, told = {"name": "Amy", "department": "sales"}, '{"employee_id": "E-1"}'
    world = rebuilt(conversation(User("x"), *called("find_employee", told, **find), source={"pack": "hr"}))
    assert world.as_recorded
    decoy, right = (one.row for one in world.opening.laid)
    assert right == {"name": "Amy", "department": "sales", "employee_id": "E-1"}
    assert decoy["name"] == "Amy"
    assert decoy["department"] != "sales"


def test_what_other_right_calls_find_is_there_too() -> None:
    other = (Call("query_database", {"query_str": "決算"}),)
    row = conversation(
        User("查"), Calls((Call("query_database", {"query_str": "預算"}),), also=(other,)), source=OFFICE
    )
    world = rebuilt(row)
    assert [one.row["name"] for one in world.opening.laid] == ["預算", "決算"]
    assert [done.result.keys() for done in world.also[0].done] == [{"amount"}]
    assert world.also[0].opening == world.opening


def test_a_result_that_no_world_gives_is_said_not_to_be_made_again() -> None:
    assert not rebuilt(looked_up('{"amount": "1", "unit": "萬"}')).as_recorded
    assert not rebuilt(looked_up('{"total": 3}')).as_recorded
    for broken in ("not JSON", "[1]", "null", "[" * 100_000):
        assert rebuilt(looked_up(broken)).as_recorded  # nothing that could be held against the world's own


def test_ids_that_a_result_tells_are_those_of_the_rows() -> None:
    told = [("tools.1.action.columns", ["id", "shelf"])]
    world = library(User("x"), *called("find_book", '{"id": 77, "shelf": "B2"}', title="Emma"), changes=tuple(told))
    assert world.as_recorded
    assert [one.id for one in world.opening.laid] == [77]


def test_a_default_that_is_given_and_one_that_is_left_out_are_the_same_call() -> None:
    pack = {pack.pack: pack for pack in all_packs()}["smart_home"]
    tool = pack.tool("schedule_device")
    schedule = {"time": "07:00"}
    short = Call(tool.name, {"device": "lamp", "action": "on", "schedule": schedule})
    long = Call(tool.name, {**short.params, "schedule": {**schedule, "repeat": "once"}, "skip_holidays": False})
    assert with_defaults(short, tool).params == with_defaults(long, tool).params == long.params
    other = Call(tool.name, {**short.params, "skip_holidays": True})
    assert with_defaults(other, tool).params != with_defaults(short, tool).params


def test_a_default_that_names_no_moment_is_left_out() -> None:
    tool = {pack.pack: pack for pack in all_packs()}["maps_weather"].tool("get_traffic_report")
    now = Call(tool.name, {"road": "國道一號", "at_time": "now"})
    assert "at_time" not in with_defaults(now, tool).params
    assert with_defaults(Call(tool.name, {"road": "國道一號", "at_time": "15:00"}), tool).params["at_time"] == "15:00"


@pytest.mark.parametrize(
    ("turns", "changes", "sentence"),
    [
        (called("burn_book"), [], "packs/library.yaml has no tool 'burn_book'"),
        (called("find_book", title="x"), [("tools.1.action", None)], "packs/library.yaml cannot run 'find_book'"),
        (called("find_book"), [], "its own calls do not run: find_book requires 'title'"),
        (
            called("add_book", title="x", due_date="soon"),
            [],
            "its own calls do not run: add_book: due_date is 'soon', which names no moment",
        ),
        (
            called("add_book", '{"id": 1}', title="\ud800", due_date="today"),
            [],
            "its own calls do not run: add_book: ",
        ),
        (
            called("move_book", '{"copies": 1000000000000000000000000000000}', title="x", shelf="A1"),
            [("tools.3.action.columns", ["copies"])],
            "its own calls do not run: Python int too large to convert to SQLite INTEGER",
        ),
    ],
)
def test_a_row_that_cannot_be_run_says_why(turns: list[Any], changes: list[tuple[str, Any]], sentence: str) -> None:
    with pytest.raises(NoWorld) as why:
        library(User("x"), *turns, changes=tuple(changes))
    assert str(why.value).startswith(sentence)


def test_a_row_that_nests_too_deep_is_no_crash() -> None:
    deep: Any = "x"
    for _ in range(20_000):
        deep = [deep]
    anything: list[tuple[str, Any]] = [("tools.0.parameters.properties.authors", {})]
    with pytest.raises(NoWorld, match="it nests too deep to be run"):
        library(User("x"), *called("add_book", title="x", due_date="today", authors=deep), changes=tuple(anything))


def test_results_of_hostile_counts_and_ids_make_no_large_world() -> None:
    many = [("tools.4.given", [{"table": "books", "row": {"title": {"param": "title"}}, "rows": {"min": 1, "max": 3}}])]
    for told in ('{"deleted": 1000000000}', '{"deleted": -5}', '{"deleted": true}', '{"deleted": "x"}'):
        world = library(User("x"), *called("drop_book", told, title="Emma"), changes=tuple(many))
        assert 1 <= len(world.opening.laid) <= 3
        assert not world.as_recorded
    row = called("add_book", '{"id": 99999999999999999999}', title="x", due_date="today")
    assert not library(User("x"), *row).as_recorded
