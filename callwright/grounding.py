"""Whether the values of a call come from the conversation before it.

    unsaid("room", "A302", {}, "幫我訂 A301")            ->  "A302"
    unsaid("minutes", 90, {}, "for an hour and a half")   ->  nothing

Numbers and moments are compared by value, codes and addresses stand in the conversation whole, free text shares content
with it. Values of an enum are not judged here: the pack's words for them are many.
Free text in another script than the conversation's ("budget" for 預算表) is not judged by it: `foreign` finds it,
for the pack's lexicon or a warning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from fractions import Fraction
from functools import lru_cache
from typing import Any

from callwright.moments import Absolute, AtTime, InMinutes, OnDay, is_moment, read
from callwright.speech import en_value, heard, numbers, plain, zh_value
from callwright.values import leaves


def unsaid(
    name: str,
    value: Any,
    schema: Mapping[str, Any],
    conversation: str,
    marked: bool = False,
    root: Mapping[str, Any] | None = None,
) -> Iterator[Any]:
    """The parts of parameter `name`'s value that the conversation does not hold; `marked`: a moment by its pack."""
    for part, moment in _free(name, value, schema, marked, root):
        if not (_moment_said(part, conversation) if moment else _said(part, conversation)):
            yield part


def foreign(
    name: str,
    value: Any,
    schema: Mapping[str, Any],
    conversation: str,
    marked: bool = False,
    root: Mapping[str, Any] | None = None,
) -> Iterator[str]:
    """Free text in another script than the conversation's, which nothing grounds: "budget" for 預算表."""
    text = _dense(conversation)
    for part, moment in _free(name, value, schema, marked, root):
        if moment or not isinstance(part, str) or _codes(plain(part)):
            continue
        wanted = _dense(part)
        if wanted not in text and re.search(r"\w", wanted) and _another_script(wanted, text):
            yield part


def _free(
    name: str, value: Any, schema: Mapping[str, Any], marked: bool, root: Mapping[str, Any] | None
) -> Iterator[tuple[Any, bool]]:
    """The scalars for which the schema names no choice, and whether each stands for a moment."""
    for _, part_name, part_schema, part in leaves(name, value, schema, root=root):
        moment = isinstance(part, str) and is_moment(part_name, part_schema, marked)
        if moment or ("enum" not in part_schema and "const" not in part_schema):
            yield part, moment


def dated(on: date, text: str, today: date | None = None) -> bool:
    """Whether `text` names the day: with its year, or without (3 月 4 日) where it is the next one from `today`."""
    if on in dates(text):
        return True
    return today is not None and (on.month, on.day) in _days_of_the_year(text) and on == _next(on, today)


def _next(on: date, today: date) -> date | None:
    """The next such day; February 29 may be eight years off."""
    days = (_date(year, on.month, on.day) for year in range(today.year, today.year + 9))
    return next((day for day in days if day and day >= today), None)


def _days_of_the_year(text: str) -> set[tuple[int, int]]:
    words = plain(text)
    found = {(int(m), int(d)) for m, d in re.findall(r"(?<![\d/.-])(\d{1,2}) ?[/月] ?(\d{1,2})(?![\d/.-])", words)}
    found |= {(zh_value(m) or 0, zh_value(d) or 0) for m, d in re.findall(rf"({_ZH}+)月({_ZH}+)[日號]", words)}
    found |= {(_MONTHS.index(m) + 1, int(d)) for m, d in re.findall(rf"{_MONTH} (\d{{1,2}})(?:st|nd|rd|th)?\b", words)}
    days = re.findall(rf"\b(\d{{1,2}})(?:st|nd|rd|th)? (?:of )?{_MONTH}", words)
    return found | {(_MONTHS.index(m) + 1, int(d)) for d, m in days}


_ZH = "[一二三四五六七八九十]"


def dates(text: str) -> frozenset[date]:
    """The dates that `text` names with their year: 2026-03-04, 2026/3/4, 2026年3月4日, March 4, 2026, 4 March 2026."""
    words, found = plain(text), set()
    for year, month, day in re.findall(r"(?<!\d)(\d{4}) ?[-/.年] ?(\d{1,2}) ?[-/.月] ?(\d{1,2})(?!\d)", words):
        found.add((int(year), int(month), int(day)))
    for month, day, year in re.findall(rf"{_MONTH} (\d{{1,2}})(?:st|nd|rd|th)?,? (\d{{4}})\b", words):
        found.add((int(year), _MONTHS.index(month) + 1, int(day)))
    for day, month, year in re.findall(rf"\b(\d{{1,2}})(?:st|nd|rd|th)? (?:of )?{_MONTH},? (\d{{4}})\b", words):
        found.add((int(year), _MONTHS.index(month) + 1, int(day)))
    return frozenset(on for ymd in found if (on := _date(*ymd)))


_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_MONTH = rf"\b({'|'.join(_MONTHS)})[a-z]*\.?"


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _moment_said(value: str, conversation: str) -> bool:
    moment, found = read(value), _heard(conversation)
    match moment:
        case InMinutes(count):
            return count in found.minutes
        case AtTime(at):
            return at in found.times
        case OnDay(day, at):
            return day in found.days and (at is None or at in found.times)
        case Absolute(_, at):  # its date is judged by the rule about dates
            return at is None or at in found.times
    return True  # in no grammar: judged by the rule about moments


def _said(value: Any, conversation: str) -> bool:
    if value is None or isinstance(value, bool):
        return True
    if isinstance(value, int | float):
        exact = Fraction(str(value))
        return exact in _numbers(conversation) or exact in _converted(plain(conversation))
    return _text_said(plain(value), _dense(conversation), conversation)


_HAN = re.compile(r"[\u3400-\u9fff]")
_EVERYWHERE = {"and", "for", "from", "her", "his", "our", "that", "the", "this", "with", "you", "your"}


def _text_said(value: str, text: str, conversation: str) -> bool:
    wanted, words = value.replace(" ", ""), plain(conversation)
    if not re.search(r"\w", wanted):
        return wanted in text and bool(wanted)
    if _stands(value, words) or (_HAN.search(wanted) and wanted in text):
        return True
    if codes := _codes(value):
        return all(_stands(c, words) or (c.isdecimal() and Fraction(c) in _numbers(conversation)) for c in codes)
    if _another_script(wanted, text):
        return True
    if _HAN.search(wanted):  # up to three signs are a name or one word: nothing else is meant by half of it
        return len(wanted) > 3 and any(wanted[i : i + 2] in text for i in range(len(wanted) - 1))
    return any(_shares(word, words) for word in re.findall(r"\w{3,}", value) if word not in _EVERYWHERE)


def _stands(value: str, words: str) -> bool:
    """Whether it stands whole, not inside another word or code."""
    at = words.find(value)
    while at >= 0:
        before, after = words[at - 1 : at], words[at + len(value) : at + len(value) + 1]
        if not (_LATIN.match(before) and _LATIN.match(value[0])) and not (
            _LATIN.match(after) and _LATIN.match(value[-1])
        ):
            return True
        at = words.find(value, at + 1)
    return False


_LATIN = re.compile("[a-z0-9]")


def _shares(word: str, words: str) -> bool:
    """Whether the word, or a form of it, stands there: report, reports, reporting."""
    stem = re.escape(word[:-1] if len(word) > 4 and word.endswith(("s", "e")) else word)
    return re.search(rf"(?<![a-z0-9]){stem}[a-z]{{0,{3 if len(word) > 4 else 2}}}(?![a-z0-9])", words) is not None


def _codes(value: str) -> list[str]:
    return [word.strip(".,;:!?()") for word in value.split() if re.search(r"\d|@|://", word)]


def _another_script(wanted: str, text: str) -> bool:
    return not _HAN.search(text) if _HAN.search(wanted) else _mostly_han(text)


@lru_cache(maxsize=256)
def _dense(text: str) -> str:
    return plain(text).replace(" ", "")


_numbers = lru_cache(maxsize=256)(numbers)
_heard = lru_cache(maxsize=256)(heard)


def _mostly_han(text: str) -> bool:
    return 2 * len(_HAN.findall(text)) > len(text)


# Amounts after their unit: two weeks = 14 days, two hours = 120 minutes, 半小時 = 30 minutes.

_ZH_NUMERAL = r"(?<![零一二兩三四五六七八九十百千])[零一二兩三四五六七八九十百千]{1,40}"
_AMOUNT = rf"(半|(?<![\d.])\d{{1,40}}(?:\.\d{{1,40}})?|{_ZH_NUMERAL}|\b[a-z]+(?:-[a-z]+)?)"
_UNITS = (
    (r"(?:個?小時|個?鐘頭|hours?\b|hrs?\b)", 60),
    (r"(?:個?[週周]|個?星期|個?禮拜|weeks?\b)", 7),
    (r"(?:天|days?\b)", 1),
)
_HALF = Fraction(1, 2)


@lru_cache(maxsize=256)
def _converted(words: str) -> frozenset[Fraction]:
    found = set()
    for unit, factor in _UNITS:
        said = rf"{_AMOUNT} ?(個半| and a half)?[ -]?{unit}( and a half|半)?"
        for number, half, half_after in re.findall(said, words):
            amount = _amount(number)
            if amount is not None:
                found.add((amount + (_HALF if half or half_after else 0)) * factor)
        if re.search(rf"\bhalf (?:an? )?{unit}|\bhalf-{unit}", words):
            found.add(_HALF * factor)
    return frozenset(found)


def _amount(word: str) -> Fraction | None:
    if word == "半":
        return _HALF
    if word[0].isdigit():
        return Fraction(word)
    value = zh_value(word) if _HAN.search(word) else en_value(word)
    return None if value is None else Fraction(value)
