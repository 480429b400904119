"""Calls against the calls that are right: as many matched as can be, held against brute force."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callwright.matching import Wanted, fits, unfit, unmatched, wanted_of
from callwright.records import Call, Tool

TOOL = Tool(
    "book",
    "",
    {
        "type": "object",
        "properties": {
            "room": {"type": "string"},
            "people": {"type": "integer", "default": 1},
            "start_time": {"type": "string", "default": "tomorrow"},
            "extras": {"type": "object", "properties": {"tea": {"type": "boolean", "default": False}}},
            "kind": {"$ref": "#/$defs/kind", "default": "small"},
        },
        "$defs": {"kind": {"enum": ["small", "large"]}},
    },
)
TOOLS = {"book": TOOL}
NOW = datetime(2026, 3, 2, 9, 0)  # noqa: DTZ001 - a Monday


def book(**params: Any) -> Call:
    return Call("book", params)


def test_a_call_wants_itself_and_a_default_may_be_left_out_or_given() -> None:
    wanted = wanted_of(book(room="A", people=1), TOOL)
    assert wanted.params == {"room": ("A",), "people": (1,), "start_time": ("tomorrow",), "kind": ("small",)}
    assert wanted.optional == {"people", "start_time", "kind"}
    assert wanted_of(book(room="A", people=2), TOOL).optional == {"start_time", "kind"}
    assert wanted_of(Call("other", {"x": 1}), None) == Wanted("other", {"x": (1,)})


@pytest.mark.parametrize(
    "params",
    [
        {"room": "A"},
        {"room": "A", "people": 1},
        {"room": "A", "people": 1.0, "start_time": "tomorrow", "kind": "small"},
        {"room": "A", "extras": {}},
        {"room": "A", "extras": {"tea": False}},
    ],
)
def test_a_default_given_or_left_out_is_the_same_call(params: dict[str, Any]) -> None:
    extras: dict[str, Any] = {"extras": {}} if "extras" in params else {}
    assert fits(Call("book", params), wanted_of(book(room="A", **extras), TOOL), TOOL)
    assert fits(book(room="A", **extras), wanted_of(Call("book", params), TOOL), TOOL)
    assert unmatched([Call("book", params)], [wanted_of(book(room="A", **extras), TOOL)], TOOLS) == ([], [])


@pytest.mark.parametrize(
    ("params", "wrong"),
    [
        ({"room": "A", "people": 2}, ["people"]),
        ({"room": "A", "start_time": "today"}, ["start_time"]),
        ({"room": "A", "kind": "large"}, ["kind"]),
        ({"room": "B"}, ["room"]),
        ({}, ["room"]),
        ({"room": "A", "extras": {"tea": True}}, ["extras"]),
        ({"people": 2, "more": 1}, ["more", "people", "room"]),
    ],
)
def test_anything_else_differs_and_says_in_what(params: dict[str, Any], wrong: list[str]) -> None:
    wanted = wanted_of(book(room="A"), TOOL)
    assert not fits(Call("book", params), wanted, TOOL)
    assert unfit(Call("book", params), wanted, TOOL) == wrong


def test_another_tool_never_fits() -> None:
    assert not fits(Call("book_it", {"room": "A"}), wanted_of(book(room="A"), TOOL), None)


def test_without_a_tool_values_are_compared_all_the_same() -> None:
    assert fits(book(room="Ａ", people=2.0), Wanted("book", {"room": ("a",), "people": (1, 2)}), None)
    assert not fits(book(room="A"), Wanted("book", {"room": ("A",), "people": (1,)}), None)
    assert fits(book(room="A"), Wanted("book", {"room": ("A",), "people": (3,)}, frozenset({"people"})), None)


def test_moments_of_a_call_are_seen_from_the_clock_that_is_given() -> None:
    wanted = wanted_of(book(room="A", start_time="this friday"), TOOL)
    assert fits(book(room="A", start_time="in 4 days"), wanted, TOOL, NOW)
    assert not fits(book(room="A", start_time="in 4 days"), wanted, TOOL, NOW.replace(day=3))


def test_a_call_that_two_would_take_is_left_to_the_one_that_takes_nothing_else() -> None:
    for takes in (("AB", "AC"), ("AB", "BC", "CA"), ("AB", "BC", "CD", "DE")):
        wants = [Wanted("book", {"room": tuple(rooms)}) for rooms in takes]
        for called in permutations([book(room=rooms[-1]) for rooms in takes]):
            for wanted in permutations(wants):
                assert unmatched(called, wanted, TOOLS) == ([], [])


def test_what_is_left_over_is_told_on_both_sides_in_the_order_given() -> None:
    a, b, c = (book(room=room) for room in "ABC")
    wanted = [wanted_of(call, TOOL) for call in (c, a, a)]
    assert unmatched([a, b, a, b, a], wanted, TOOLS) == ([b, b, a], [wanted[0]])
    assert unmatched([], wanted, TOOLS) == ([], wanted)
    assert unmatched([a, b], [], TOOLS) == ([a, b], [])


def test_a_list_is_ordered_and_an_object_goes_by_its_keys() -> None:
    wanted = Wanted("f", {"x": ([1, 2],), "y": ({"a": 1, "b": 2},)})
    assert fits(Call("f", {"y": {"b": 2, "a": 1}, "x": [1, 2]}), wanted, None)
    assert not fits(Call("f", {"y": {"b": 2, "a": 1}, "x": [2, 1]}), wanted, None)


def most(called: Sequence[Call], wanted: Sequence[Wanted]) -> int:
    """By trying every order, one call after the other."""
    longer, shorter = (called, wanted) if len(called) >= len(wanted) else (wanted, called)

    def fit(one: Any, other: Any) -> bool:
        call, want = (one, other) if isinstance(one, Call) else (other, one)
        return fits(call, want, TOOL, NOW)

    return max(sum(map(fit, order, shorter)) for order in permutations(longer, len(shorter)))


VALUES = st.sampled_from([1, 2, 3, 4, 1.0, True])
"""Few names and values, so that many of them fit."""
CALLS = st.lists(
    st.builds(
        Call,
        st.just("book"),
        st.fixed_dictionaries({"people": VALUES}, optional={"room": st.sampled_from("Aa")}),
    ),
    max_size=5,
)
WANTED = st.lists(
    st.builds(
        Wanted,
        st.just("book"),
        st.fixed_dictionaries(
            {"people": st.lists(VALUES, min_size=1, max_size=3).map(tuple)},
            optional={"room": st.lists(st.sampled_from("AB"), min_size=1, max_size=2).map(tuple)},
        ),
        st.frozensets(st.sampled_from(["room", "people"])),
    ),
    max_size=5,
)


@given(CALLS, WANTED)
def test_no_way_to_match_matches_more(called: list[Call], wanted: list[Wanted]) -> None:
    odd, left = unmatched(called, wanted, TOOLS, NOW)
    assert len(called) - len(odd) == len(wanted) - len(left) == most(called, wanted)
    assert all(call in called for call in odd)
    assert all(want in wanted for want in left)
    assert not any(fits(call, want, TOOL, NOW) for call in odd for want in left)


@given(
    st.permutations([1, 2, 3, 4]),
    st.lists(st.permutations([1, 2, 3, 4]).map(lambda some: tuple(some[:2])), min_size=3, max_size=5),
)
def test_where_each_takes_two_no_way_matches_more(values: list[int], takes: list[tuple[int, ...]]) -> None:
    called, wanted = [book(people=value) for value in values], [Wanted("book", {"people": two}) for two in takes]
    assert len(called) - len(unmatched(called, wanted, TOOLS, NOW)[0]) == most(called, wanted)


@given(CALLS)
def test_calls_are_matched_with_themselves_in_any_order(called: list[Call]) -> None:
    wanted = [wanted_of(call, TOOL) for call in reversed(called)]
    assert unmatched(called, wanted, TOOLS, NOW) == ([], [])


@pytest.mark.parametrize(
    ("called", "wanted", "odd", "left"),
    [
        ([book(room="A")] * 10_000, [wanted_of(book(room="A"), TOOL)], 9_999, 0),
        ([book(room="A")] * 10_000, [Wanted("book", {"room": ("A", "B")})] * 10_000, 0, 0),
        ([book(room=str(i)) for i in range(10_000)], [wanted_of(book(room="x"), TOOL)] * 3, 10_000, 3),
        (
            [book(room=str(i)) for i in range(10_000)],
            [wanted_of(book(room=str(i)), TOOL) for i in reversed(range(10_000))],
            0,
            0,
        ),
        ([book(room=str(i)) for i in range(10_000)], [Wanted("book", {"room": ("1", "2", "3")})] * 3, 9_997, 0),
    ],
    ids=["one", "alternatives", "none", "as many", "few of many"],
)
def test_ten_thousand_calls_are_matched_at_once(called: list[Call], wanted: list[Wanted], odd: int, left: int) -> None:
    began = time.process_time()
    found = unmatched(called, wanted, TOOLS, NOW)
    assert (len(found[0]), len(found[1])) == (odd, left)
    assert time.process_time() - began < 4
