"""Moments: one written spelling, several read ones, and a clock that is passed in."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callwright.moments import (
    Absolute,
    AtTime,
    Days,
    InMinutes,
    Moment,
    Months,
    OnDay,
    Weekday,
    canonical,
    is_moment,
    read,
    resolve,
)

TAIPEI = timezone(timedelta(hours=8))
WEDNESDAY = datetime(2026, 3, 4, 9, 30, tzinfo=TAIPEI)

times = st.times().map(lambda at: at.replace(second=0, microsecond=0))
days = st.one_of(
    st.builds(Days, st.integers(-1, 9999)),
    st.builds(Months, st.integers(1, 9999)),
    st.builds(Weekday, st.sampled_from(["this", "next"]), st.integers(0, 6)),
)
zones = st.none() | st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))
relative = st.one_of(
    st.builds(OnDay, days, st.none() | times), st.builds(AtTime, times), st.builds(InMinutes, st.integers(1, 99_999))
)
moments = relative | st.builds(Absolute, st.dates()) | st.builds(Absolute, st.dates(), times, zones)
clocks = st.datetimes(datetime(1970, 1, 1), datetime(2999, 1, 1))  # noqa: DTZ001 - both kinds of clocks, below
awake = clocks | clocks.map(lambda now: now.replace(tzinfo=TAIPEI))


@given(moments)
def test_what_is_written_is_read_again_as_the_same_moment(moment: Moment) -> None:
    assert read(canonical(moment)) == moment


@given(relative, awake)
def test_a_resolved_moment_is_iso_in_the_zone_of_the_clock(moment: Moment, now: datetime) -> None:
    found = read(resolve(moment, now))
    assert isinstance(found, Absolute)
    if found.time:
        assert (found.zone is None) == (now.tzinfo is None)
        assert resolve(found, now) == resolve(moment, now)


@pytest.mark.parametrize(
    ("spelling", "written"),
    [
        ("tomorrow at 3pm", "tomorrow 15:00"),
        ("Tomorrow 3 PM", "tomorrow 15:00"),
        ("tomorrow, 3:30 p.m.", "tomorrow 15:30"),
        ("today 12am", "today 00:00"),
        ("today at 12 pm", "today 12:00"),
        ("next monday at noon", "next monday 12:00"),
        ("on next Monday midnight", "next monday 00:00"),
        ("  in   3 days  9:30 ", "in 3 days 09:30"),
        ("in 14 days", "in 2 weeks"),
        ("in 1 week", "in 1 week"),
        ("in 1 days", "tomorrow"),
        ("in 1 month 08:00", "in 1 month 08:00"),
        ("in 120 minutes", "in 2 hours"),
        ("in 90 minutes", "in 90 minutes"),
        ("in 1 hour", "in 1 hour"),
        ("at 7:05", "07:05"),
        ("7pm", "19:00"),
        ("2026-03-04", "2026-03-04"),
        ("2026/3/4", "2026-03-04"),
        ("2026-03-04T15:00", "2026-03-04T15:00"),
        ("2026-03-04 15:00:30.5", "2026-03-04T15:00"),
        ("2026-03-04T15:00Z", "2026-03-04T15:00+00:00"),
        ("2026-03-04t15:00+0800", "2026-03-04T15:00+08:00"),
    ],
)
def test_other_spellings_are_read_and_written_in_the_one_of_the_grammar(spelling: str, written: str) -> None:
    moment = read(spelling)
    assert moment is not None
    assert canonical(moment) == written


@pytest.mark.parametrize(
    "words",
    [
        *("", "soon", "15", "13pm", "0am", "25:00", "10:60", "monday", "tomorrow 15", "tomorrow teatime", "in days"),
        *("in -1 days", "2026-02-30", "2026-03-04T25:00", "2026-03-04T15:00+99:00", "明天下午三點", "2 days"),
        "in 3 days in 2 hours",
    ],
)
def test_what_is_in_no_grammar_is_no_moment(words: str) -> None:
    assert read(words) is None


@pytest.mark.parametrize(
    ("words", "iso"),
    [
        ("today 18:00", "2026-03-04T18:00+08:00"),
        ("tomorrow", "2026-03-05"),
        ("yesterday", "2026-03-03"),
        ("in 3 days 09:30", "2026-03-07T09:30+08:00"),
        ("in 4 weeks", "2026-04-01"),
        ("this monday", "2026-03-02"),
        ("this sunday", "2026-03-08"),
        ("next monday 10:00", "2026-03-09T10:00+08:00"),
        ("next sunday", "2026-03-15"),
        ("09:00", "2026-03-04T09:00+08:00"),
        ("in 2 hours", "2026-03-04T11:30+08:00"),
        ("in 900 minutes", "2026-03-05T00:30+08:00"),
        ("2026-12-31", "2026-12-31"),
        ("2026-12-31T08:00", "2026-12-31T08:00+08:00"),
        ("2026-12-31T23:00Z", "2027-01-01T07:00+08:00"),
    ],
)
def test_a_moment_is_resolved_against_the_clock_that_is_passed_in(words: str, iso: str) -> None:
    moment = read(words)
    assert moment is not None
    assert resolve(moment, WEDNESDAY) == iso


def test_a_clock_without_a_zone_gives_moments_without_one() -> None:
    now = WEDNESDAY.replace(tzinfo=None)
    assert resolve(OnDay(Days(1), time(15)), now) == "2026-03-05T15:00"
    assert resolve(InMinutes(30), now) == "2026-03-04T10:00"
    assert resolve(Absolute(date(2026, 3, 4), time(15), UTC), now) == "2026-03-04T15:00"


@pytest.mark.parametrize(
    ("today", "months", "then"),
    [
        (date(2026, 1, 31), 1, "2026-02-28"),
        (date(2024, 1, 31), 1, "2024-02-29"),
        (date(2026, 3, 31), 1, "2026-04-30"),
        (date(2026, 12, 15), 1, "2027-01-15"),
        (date(2026, 11, 30), 3, "2027-02-28"),
        (date(2026, 1, 31), 12, "2027-01-31"),
    ],
)
def test_a_month_later_is_the_same_day_or_the_last_of_a_shorter_month(today: date, months: int, then: str) -> None:
    assert resolve(OnDay(Months(months)), datetime.combine(today, time(9))) == then


def test_a_week_starts_on_monday_on_each_of_its_days() -> None:
    for day in range(7):
        now = datetime(2026, 3, 2 + day, 12, tzinfo=TAIPEI)
        assert resolve(OnDay(Weekday("this", 4)), now) == "2026-03-06"
        assert resolve(OnDay(Weekday("next", 0)), now) == "2026-03-09"


def test_two_hours_are_two_hours_when_summer_time_ends() -> None:
    before = datetime(2026, 10, 25, 1, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    assert resolve(InMinutes(120), before) == "2026-10-25T02:30+01:00"


@pytest.mark.parametrize(
    ("name", "schema", "marked", "answer"),
    [
        ("start_time", {"type": "string"}, False, True),
        ("due_date", None, False, True),
        ("remind_at", {}, False, True),
        ("when", {"format": "date-time"}, False, True),
        ("when", {"format": "time"}, False, True),
        ("when", {}, True, True),
        ("when", {"format": "email"}, False, False),
        ("time", {}, False, False),
        ("date_of_what", {}, False, False),
    ],
)
def test_the_pack_the_format_or_the_name_makes_a_parameter_a_moment(
    name: str, schema: object, marked: bool, answer: bool
) -> None:
    assert is_moment(name, schema, marked) is answer
