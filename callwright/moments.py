"""Moments: the small language in which a call says when, the same in every human language.

    moment   = day [" " time] | time | distance
    day      = "today" | "tomorrow" | "yesterday" | "in " N " days" | "in " N " weeks" | "in " N " months"
             | ("this " | "next ") weekday
    weekday  = "monday" | "tuesday" | "wednesday" | "thursday" | "friday" | "saturday" | "sunday"
    time     = HH ":" MM                      24 hours, two digits each
    distance = "in " N " minutes" | "in " N " hours"
    N        = a whole number; after 1 the unit stands in the singular: "in 1 week"

A week starts on Monday: `this friday` is the Friday of the week that today is in, `next monday` the Monday of the week
after. Written is the one canonical spelling (`in 2 weeks`, not `in 14 days`; `tomorrow`, not `in 1 day`). Read are
also other spellings: "tomorrow at 3pm", "in 14 days", ISO dates and date-times, with or without an offset.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Literal

NOW = datetime(2026, 3, 2, 9, 0)  # noqa: DTZ001 - a clock on a wall: results hold no offset
"""The pipeline's own clock, a Monday: of the worlds that make results, and of the scorer. No text of a row holds it."""

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True, slots=True)
class Days:
    """So many days from today; negative is past."""

    count: int


@dataclass(frozen=True, slots=True)
class Months:
    count: int


@dataclass(frozen=True, slots=True)
class Weekday:
    week: Literal["this", "next"]
    day: int
    """0 is Monday."""


Day = Days | Months | Weekday


@dataclass(frozen=True, slots=True)
class OnDay:
    day: Day
    time: time | None = None


@dataclass(frozen=True, slots=True)
class AtTime:
    """A time of day without a day: the next time it comes round is the backend's to decide; here it is today's."""

    time: time


@dataclass(frozen=True, slots=True)
class InMinutes:
    count: int


@dataclass(frozen=True, slots=True)
class Absolute:
    """An ISO date or date-time: readable, and allowed only where the conversation holds it."""

    date: date
    time: time | None = None
    zone: tzinfo | None = None
    """The offset that stood behind the time: such a moment is the same everywhere."""


Moment = OnDay | AtTime | InMinutes | Absolute


def canonical(moment: Moment) -> str:
    """The one spelling of a moment."""
    match moment:
        case OnDay(day, at):
            return _spell_day(day) + (f" {at:%H:%M}" if at else "")
        case AtTime(at):
            return f"{at:%H:%M}"
        case InMinutes(count):
            return f"in {_many(count // 60, 'hour')}" if count % 60 == 0 else f"in {_many(count, 'minute')}"
        case Absolute(on, at, zone):
            return datetime.combine(on, at, zone).isoformat(timespec="minutes") if at else on.isoformat()


def read(text: str) -> Moment | None:
    """The moment that `text` names, in any spelling that is read; None where it is in no grammar."""
    words = re.sub(r"\s+", " ", text.strip().lower())
    for reader in (_read_absolute, _read_distance, _read_day):
        if found := reader(words):
            return found
    at = _read_time(words)
    return AtTime(at) if at else None


def is_moment(name: str, schema: object, marked: bool = False) -> bool:
    """Whether a parameter stands for a moment: its pack marks it, its format says so, or its name.

    Its name alone does not where its type is no text: `created_at: integer` is a number.
    """
    known = schema if isinstance(schema, Mapping) else {}
    if not marked and ("enum" in known or "const" in known):
        return False
    if marked or known.get("format") in ("date", "time", "date-time"):
        return True
    return name.endswith(("_time", "_date", "_at")) and "string" in known.get("type", "string")


def resolve(moment: Moment, now: datetime) -> str:
    """ISO 8601 of a moment as seen at `now`, in its time zone if it has one: a date where no time was named."""
    match moment:
        case InMinutes(count):
            return _later(now, timedelta(minutes=count)).isoformat(timespec="minutes")
        case AtTime(at):
            on, named = now.date(), at
        case OnDay(day, maybe):
            on = _date(day, now.date())
            if maybe is None:
                return on.isoformat()
            named = maybe
        case Absolute(on, maybe, zone):
            if maybe is None:
                return on.isoformat()
            if zone and now.tzinfo:
                return datetime.combine(on, maybe, zone).astimezone(now.tzinfo).isoformat(timespec="minutes")
            named = maybe
    return datetime.combine(on, named, tzinfo=now.tzinfo).isoformat(timespec="minutes")


def _later(now: datetime, distance: timedelta) -> datetime:
    """By the clock that always runs: two hours are two hours on the night when summer time ends."""
    return (now.astimezone(UTC) + distance).astimezone(now.tzinfo) if now.tzinfo else now + distance


def _date(day: Day, today: date) -> date:
    match day:
        case Days(count):
            return today + timedelta(days=count)
        case Months(count):
            year, month = divmod(today.year * 12 + today.month - 1 + count, 12)
            return date(year, month + 1, min(today.day, calendar.monthrange(year, month + 1)[1]))
        case Weekday(week, number):
            monday = today - timedelta(days=today.weekday())
            return monday + timedelta(days=number + (7 if week == "next" else 0))


def _spell_day(day: Day) -> str:
    match day:
        case Days(count) if count in _NAMED:
            return _NAMED[count]
        case Days(count):
            return f"in {_many(count // 7, 'week')}" if count % 7 == 0 else f"in {_many(count, 'day')}"
        case Months(count):
            return f"in {_many(count, 'month')}"
        case Weekday(week, number):
            return f"{week} {WEEKDAYS[number]}"


_NAMED = {0: "today", 1: "tomorrow", -1: "yesterday"}


def _many(count: int, unit: str) -> str:
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


_TIME = r"(?:at )?(\d{1,2})(?::(\d{2})(?::00)?)? ?(am|pm|a\.m\.|p\.m\.)?"


def _read_time(words: str) -> time | None:
    if words in ("noon", "at noon", "midnight", "at midnight"):
        return time(12 if "noon" in words else 0)
    found = re.fullmatch(_TIME, words)
    if not found or not (found[2] or found[3]):
        return None
    hour, minute, half = int(found[1]), int(found[2] or 0), (found[3] or "").replace(".", "")
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half == "pm" else 0)
    return time(hour, minute) if hour < 24 and minute < 60 else None


_ISO = re.compile(
    r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})"  # date
    r"(?:[t ]+(\d{1,2}:\d{2})(?::\d{2}(?:\.\d+)?)?(z|[+-]\d{2}:?\d{2})?)?"  # time, its seconds passed over, offset
)


def _read_absolute(words: str) -> Absolute | None:
    found = _ISO.fullmatch(words)
    if not found:
        return None
    try:
        on = date(int(found[1]), int(found[2]), int(found[3]))
        zone = datetime.strptime(found[5].upper(), "%z").tzinfo if found[5] else None
    except ValueError:
        return None
    at = _read_time(found[4]) if found[4] else None
    return None if found[4] and at is None else Absolute(on, at, zone)


def _read_distance(words: str) -> InMinutes | None:
    found = re.fullmatch(r"in (\d{1,5}) (minute|hour)s?", words)
    return InMinutes(int(found[1]) * (60 if found[2] == "hour" else 1)) if found else None


_DAY = re.compile(
    r"(?:on )?(?:(today|tomorrow|yesterday)|in (\d{1,4}) (day|week|month)s?|(this|next) (" + "|".join(WEEKDAYS) + r"))"
    r"(?:,? (.+))?"
)


def _read_day(words: str) -> OnDay | None:
    found = _DAY.fullmatch(words)
    if not found:
        return None
    day: Day
    if found[1]:
        day = Days({name: count for count, name in _NAMED.items()}[found[1]])
    elif found[2]:
        number = int(found[2])
        day = Months(number) if found[3] == "month" else Days(number * (7 if found[3] == "week" else 1))
    else:
        day = Weekday("this" if found[4] == "this" else "next", WEEKDAYS.index(found[5]))
    if found[6] is None:
        return OnDay(day)
    at = _read_time(found[6])
    return OnDay(day, at) if at else None
