"""How people say moments and numbers, in Traditional Chinese and English: to write requests and to check them.

    say_moment(OnDay(Days(1), time(15)), Language.ZH_TW, rng)   ->  明天下午三點
    heard("明天下午三點").days, .times                            ->  {Days(1)}, {time(15)}
    numbers("預算 300 萬, 十二個人")                              ->  {3000000, 300, 12}
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import time
from fractions import Fraction
from random import Random

from callwright.moments import AtTime, Day, Days, InMinutes, Moment, Months, OnDay, Weekday
from callwright.records import Language

_DIGITS = "零一二三四五六七八九"
_ZH_WEEKDAY = "一二三四五六日"
_EN_WEEKDAY = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_EN_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty"
).split()
_EN_TENS = dict(zip("thirty forty fifty sixty seventy eighty ninety".split(), range(30, 100, 10), strict=True))


def plain(text: str) -> str:
    """Text as it is compared: NFKC, case folded, 臺 as 台, white space single."""
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text).casefold().replace("臺", "台")).strip()


def zh_number(number: int) -> str:
    """0 to 9999 as Chinese numerals: 十二, 三百零五, 兩千."""
    if number < 10:
        return _DIGITS[number]
    if number < 20:
        return "十" + (_DIGITS[number - 10] if number > 10 else "")
    for size, unit in ((1000, "千"), (100, "百"), (10, "十")):
        if number >= size:
            head, rest = divmod(number, size)
            word = "兩" if head == 2 and size == 1000 else _DIGITS[head]
            gap = "零" if 0 < rest < size // 10 else ""
            tail = "一" + zh_number(rest) if 10 <= rest < 20 else zh_number(rest)
            return word + unit + (gap + tail if rest else "")
    raise AssertionError(number)


def zh_count(number: int) -> str:
    """As before a counter: 兩個, not 二個."""
    return "兩" if number == 2 else zh_number(number)


def say_number(number: int, language: Language, rng: Random) -> str:
    """Digits; in zh-TW up to 20 also numerals as before a counter."""
    if language is Language.ZH_TW and number <= 20 and rng.random() < 0.5:
        return zh_count(number)
    return str(number)


def say_moment(moment: Moment, language: Language, rng: Random) -> str:
    """As people say it; the choice of words is drawn from `rng`."""
    zh = language is Language.ZH_TW
    match moment:
        case InMinutes(count):
            return _zh_distance(count, rng) if zh else _en_distance(count)
        case AtTime(at):
            return _zh_time(at, rng) if zh else _en_time(at, rng)
        case OnDay(day, at):
            said = _zh_day(day, rng) if zh else _en_day(day, rng)
            if at is None:
                return said
            return said + _zh_time(at, rng) if zh else f"{said} at {_en_time(at, rng)}"
    raise ValueError(f"{moment} is not said, it is written")


def _zh_distance(count: int, rng: Random) -> str:
    if count == 30 and rng.random() < 0.5:
        return "半小時後"
    if count % 60 == 0:
        return f"{_zh_or_digits(count // 60, rng)}{rng.choice(['小時', '個小時'])}後"
    return f"{count}分鐘後" if rng.random() < 0.5 else f"{zh_number(count)}分鐘後"


def _en_distance(count: int) -> str:
    number, unit = (count // 60, "hour") if count % 60 == 0 else (count, "minute")
    return f"in {number} {unit}{'' if number == 1 else 's'}"


def _zh_day(day: Day, rng: Random) -> str:
    match day:
        case Days(count) if count in (0, 1, 2):
            return ("今天", "明天", "後天")[count]
        case Days(count) if count % 7 == 0:
            return f"{_zh_or_digits(count // 7, rng)}{rng.choice(['週', '個星期'])}後"
        case Days(count):
            return f"{_zh_or_digits(count, rng)}天後"
        case Months(count):
            return f"{_zh_or_digits(count, rng)}個月後"
        case Weekday(week, number):
            word = rng.choice(["週", "週", "星期", "禮拜"])
            return ("這" if week == "this" else "下") + word + _ZH_WEEKDAY[number]


def _en_day(day: Day, rng: Random) -> str:
    match day:
        case Days(count) if count in (0, 1):
            return ("today", "tomorrow")[count]
        case Days(2) if rng.random() < 0.4:
            return "the day after tomorrow"
        case Days(count) if count % 7 == 0:
            return f"in {count // 7} week{'' if count == 7 else 's'}"
        case Days(count):
            return f"in {count} days"
        case Months(count):
            return f"in {count} month{'' if count == 1 else 's'}"
        case Weekday(week, number):
            return f"{week} {_EN_WEEKDAY[number]}"


def _zh_time(at: time, rng: Random) -> str:
    if rng.random() < 0.2:
        return f" {at:%H:%M} " if rng.random() < 0.5 else f"{at:%H:%M}"
    hour = at.hour % 12 or 12
    part = "早上" if at.hour < 9 else "上午" if at.hour < 12 else "中午" if at.hour == 12 else "下午" if at.hour < 18 else "晚上"
    said = f"{part}{_zh_or_digits(hour, rng)}點"
    if at.minute == 30:
        return said + "半"
    return said + (f"{zh_number(at.minute)}分" if at.minute else "")


def _en_time(at: time, rng: Random) -> str:
    hour, half = at.hour % 12 or 12, "am" if at.hour < 12 else "pm"
    if at == time(12) and rng.random() < 0.5:
        return "noon"
    if rng.random() < 0.15:
        return f"{at:%H:%M}"
    gap = rng.choice([" ", ""])
    return f"{hour}:{at:%M}{gap}{half}" if at.minute else f"{hour}{gap}{half}"


def _zh_or_digits(number: int, rng: Random) -> str:
    return zh_count(number) if rng.random() < 0.7 else str(number)


# What a text says of days, times and numbers: enough to tell whether a value comes from it.


@dataclass(frozen=True, slots=True)
class Heard:
    days: frozenset[Day]
    times: frozenset[time]
    minutes: frozenset[int]
    """Distances from now."""


_ZH_NUM = r"[零一二兩三四五六七八九十百千\d]+"


def heard(text: str) -> Heard:
    """Days, times of day and distances that `text` names, in either language."""
    words = plain(text)
    return Heard(frozenset(_days(words)), frozenset(_times(words)), frozenset(_distances(words)))


def _days(words: str) -> set[Day]:
    found: set[Day] = set()
    for pattern, days in (
        (r"今天|今日|今晚|\btoday\b|\btonight\b", 0),
        (r"明天|明日|明早|明晚|(?<!after )\btomorrow\b", 1),
        (r"(?<!大)後天|\bday after tomorrow\b", 2),
        (r"大後天", 3),
        (r"昨天|\byesterday\b", -1),
    ):
        if re.search(pattern, words):
            found.add(Days(days))
    for number, unit in re.findall(rf"({_ZH_NUM}) ?(天|個?週|個?周|個?星期|個?禮拜|個?月) ?(?:之?後|內)", words):
        count = zh_value(number)
        if count is not None:
            found.add(Months(count) if unit.endswith("月") else Days(count * (1 if unit == "天" else 7)))
    for number, unit in re.findall(r"\bin (\w+) (day|week|month)s?\b", words):
        count = en_value(number)
        if count is not None:
            found.add(Months(count) if unit == "month" else Days(count * (7 if unit == "week" else 1)))
    for week, day in re.findall(r"(這|本|下)個?(?:週|周|星期|禮拜)([一二三四五六日天])", words):
        found.add(Weekday("next" if week == "下" else "this", _ZH_WEEKDAY.index(day.replace("天", "日"))))
    for week, day in re.findall(r"\b(?:(this|next|on) )?(monday|tuesday|wednesday|thursday|friday|saturday|sunday)\b", words):
        found.add(Weekday("next" if week == "next" else "this", [d.lower() for d in _EN_WEEKDAY].index(day)))
    return found


def _times(words: str) -> set[time]:
    found: set[time] = set()
    for part, hour, half, minute in re.findall(rf"(凌晨|早上|清晨|上午|中午|下午|傍晚|晚上|今晚|明晚|明早)? ?({_ZH_NUM}) ?點(?:(半)|({_ZH_NUM}) ?分?)?", words):
        number = zh_value(hour)
        if number is not None and number <= 24:
            later = part in ("下午", "傍晚", "晚上", "今晚", "明晚") and number < 12 or part == "中午" and number < 10
            past = 30 if half else (zh_value(minute) or 0) if minute else 0
            _add_time(found, number + (12 if later else 0), past)
    for hour, minute, half in re.findall(r"\b(\d{1,2})(?::(\d{2}))? ?(am|pm|a\.m\.|p\.m\.)", words):
        if 1 <= int(hour) <= 12:
            _add_time(found, int(hour) % 12 + (12 if half.startswith("p") else 0), int(minute or 0))
    for hour, minute in re.findall(r"(?<!\d)(\d{1,2}):(\d{2})(?! ?[ap]\.?m)", words):
        _add_time(found, int(hour), int(minute))
    if re.search(r"\bnoon\b|正午|中午(?!\d|[一二兩三十])", words):
        found.add(time(12))
    if re.search(r"\bmidnight\b|午夜", words):
        found.add(time(0))
    return found


def _add_time(found: set[time], hour: int, minute: int) -> None:
    if hour < 24 and minute < 60:
        found.add(time(hour, minute))


def _distances(words: str) -> set[int]:
    found: set[int] = set()
    for number, unit in re.findall(rf"({_ZH_NUM}|半) ?個?(小時|鐘頭|分鐘) ?(?:之?後)", words):
        count = Fraction(1, 2) if number == "半" else zh_value(number)
        if count is not None:
            found.add(int(count * (1 if unit == "分鐘" else 60)))
    for number, unit in re.findall(r"\bin (\w+) (hour|minute)s?\b", words):
        count = 1 if number in ("a", "an") else en_value(number)
        if count is not None:
            found.add(count * (60 if unit == "hour" else 1))
    if re.search(r"half an hour", words):
        found.add(30)
    return found


def zh_value(text: str) -> int | None:
    """The whole number of digits or Chinese numerals up to 9999; None where it is neither."""
    if text.isdecimal():
        return int(text)
    total, digit = 0, 0
    for sign in text.replace("兩", "二").replace("〇", "零"):
        if sign in _DIGITS:
            digit = _DIGITS.index(sign)
        elif sign in "十百千":
            total += (digit or 1) * {"十": 10, "百": 100, "千": 1000}[sign]
            digit = 0
        else:
            return None
    return total + digit


def en_value(word: str) -> int | None:
    """The whole number of digits or an English number word up to 99."""
    if word.isdecimal():
        return int(word)
    if word in _EN_NUMBERS:
        return _EN_NUMBERS.index(word)
    head, _, tail = word.partition("-")
    if head in _EN_TENS and (not tail or tail in _EN_NUMBERS[1:10]):
        return _EN_TENS[head] + (_EN_NUMBERS.index(tail) if tail else 0)
    return 1 if word in ("a", "an") else None


_SCALES = {"萬": 10_000, "億": 100_000_000, "千": 1000, "百": 100, "k": 1000, "m": 1_000_000, "thousand": 1000, "million": 1_000_000}


def numbers(text: str) -> frozenset[Fraction]:
    """Every number that `text` names, by value: digits, numerals and words, each also with its scale (300 萬 = 3M)."""
    words = plain(re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text))  # before NFKC, which makes 「，」 a comma too
    found: set[Fraction] = set()
    for digits, scale in re.findall(r"(\d+(?:\.\d+)?) ?(萬|億|千|百|k\b|m\b|thousand\b|million\b)?", words):
        found.add(Fraction(digits))
        if scale:
            found.add(Fraction(digits) * _SCALES[scale])
    for numeral in re.findall(r"[零一二兩三四五六七八九十百千]+", words):
        value = zh_value(numeral)
        if value is not None:
            found.add(Fraction(value))
    for word in re.findall(r"[a-z]+(?:-[a-z]+)?", words):
        if word not in ("a", "an") and (value := en_value(word)) is not None:
            found.add(Fraction(value))
    return frozenset(found)
