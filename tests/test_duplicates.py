"""Two rows are one request where people would say so, and finding that out is exact."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from callwright.duplicates import Requests, Twin, dense, signature
from callwright.duplicates import grams as grams_of
from callwright.records import Call, Calls, Example, Language, Reply, User
from tests.rows import calling, conversation

LONG = "Please book room A301 for the quarterly budget review with the whole finance team"


def booking(request: str, row_id: str = "row-1", **params: Any) -> Example:
    return replace(calling(request, **(params or {"room": "A301"})), id=row_id)


def twin(row: Example, *others: Example, near: float = 0.8) -> Twin | None:
    requests = Requests(near)
    for other in others:
        requests.add(signature(other))
    return requests.twin(signature(row))


def grams(row: Example) -> frozenset[str]:
    return grams_of(dense(row))


def test_the_first_row_has_no_twin() -> None:
    assert twin(booking(LONG)) is None


def test_the_same_request_is_a_duplicate_whatever_is_called() -> None:
    assert twin(booking(LONG, room="B205"), booking(LONG, "first"), booking(LONG, "second")) == Twin("first", True, 1.0)


def test_width_case_and_space_make_no_other_request() -> None:
    row = conversation(User("幫我訂 A301,去臺北"), Reply("好。"))
    other = conversation(User("幫我訂Ａ３０１，去台北"), Reply("好。"), row_id="other")
    assert twin(row, other) == Twin("other", True, 1.0)


def test_nearly_the_same_request_with_the_same_values_is_a_near_duplicate() -> None:
    found = twin(booking(LONG + "!"), booking(LONG, "other"))
    assert found
    assert (found.id, found.exact) == ("other", False)
    assert 0.8 <= found.similarity < 1


def test_nearly_the_same_request_with_another_value_or_tool_is_another() -> None:
    other = booking(LONG, "other")
    assert twin(booking(LONG.replace("A301", "A302"), room="A302"), other) is None
    assert twin(booking(LONG + "!", room="A301", people=3), other) is None
    assert twin(replace(calling(LONG + "!", tool="query_database", query_str="A301")), other) is None


def test_the_order_of_parallel_calls_makes_no_other_request() -> None:
    a, b = Call("book_room", {"room": "A301"}), Call("book_room", {"room": "B205"})
    row = conversation(User(LONG), Calls((a, b)), language=Language.EN)
    other = conversation(User(LONG + "!"), Calls((b, a)), language=Language.EN, row_id="other")
    found = twin(row, other)
    assert found
    assert found.id == "other"


def test_rows_that_call_nothing_are_told_apart_by_the_values_their_writer_noted() -> None:
    def asking(request: str, row_id: str, room: str) -> Example:
        return conversation(User(request), Reply("When?"), row_id=row_id, source={"values": [{"room": room}]})

    other = asking(LONG, "other", "A301")
    assert twin(asking(LONG.replace("A301", "A302"), "row", "A302"), other) is None
    found = twin(asking(LONG + "!", "row", "A301"), other)
    assert found
    assert found.id == "other"


def test_every_turn_of_the_user_counts() -> None:
    short = conversation(User(LONG), Reply("When?"))
    assert (
        twin(replace(short, messages=(*short.messages, User("Never mind, thanks a lot"), Reply("Sure."))), short)
        is None
    )


def test_the_threshold_is_the_one_given() -> None:
    row, other = booking("abcdefghij"), booking("abcdefghix", "other")
    shared = len(grams(row) & grams(other)) / len(grams(row) | grams(other))  # 5 of 7
    assert twin(row, other, near=shared) == Twin("other", False, shared)
    assert twin(row, other, near=shared + 0.01) is None


def test_a_request_that_only_goes_on_from_another_is_found_at_exactly_the_threshold() -> None:
    """The grams that differ sort first: the closest case there is for comparing only rows that share a first gram."""
    row, other = booking("mnopqrstuvwxyz"), booking("abcdmnopqrstuvwxyz", "other")
    share = len(grams(row)) / len(grams(other))
    assert twin(row, other, near=share) == Twin("other", False, share)
    assert twin(replace(other, id="row-1"), replace(row, id="other"), near=share) == Twin("other", False, share)


@given(
    st.lists(st.text("ab", min_size=1, max_size=12), min_size=1, max_size=8),
    st.text("ab", min_size=1, max_size=12),
    st.floats(0.05, 1),
)
def test_a_near_twin_is_found_exactly_where_comparing_all_rows_finds_one(
    texts: list[str], text: str, near: float
) -> None:
    row, others = booking(text), [booking(other, f"row-{i}") for i, other in enumerate(texts)]
    own = grams(row)
    alike = [one.id for one in others if len(own & grams(one)) / len(own | grams(one)) >= near]
    exact = [one.id for one, other in zip(others, texts, strict=True) if other == text]
    found = twin(row, *others, near=near)
    assert (found.id if found else None) == next(iter(exact or alike), None)
