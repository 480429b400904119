"""How people say moments and numbers, in Traditional Chinese and English: to write requests. `speech` hears them again.

    say_moment(OnDay(Days(1), time(15)), Language.ZH_TW, rng)   ->  明天下午三點
    say_number(12, Language.ZH_TW, rng)                         ->  十二

The choice of words is drawn from the generator that is passed in.
"""

from __future__ import annotations

from datetime import time
from random import Random

from callwright.moments import WEEKDAYS, AtTime, Day, Days, InMinutes, Moment, Months, OnDay, Weekday
from callwright.records import Language
from callwright.speech import EN_NUMBERS, EN_TENS, ZH_DIGITS, ZH_WEEKDAYS

_ZH_DAYS = {-1: "昨天", 0: "今天", 1: "明天", 2: "後天"}
_EN_DAYS = {-1: "yesterday", 0: "today", 1: "tomorrow"}
_ZH_PARTS = ((5, "凌晨"), (9, "早上"), (12, "上午"), (13, "中午"), (18, "下午"), (24, "晚上"))
"""Parts of the day, each with the hour at which it is over."""


def zh_number(number: int) -> str:
    """0 to 9999 as Chinese numerals: 十二, 三百零五, 兩千."""
    if number < 10:
        return ZH_DIGITS[number]
    if number < 20:
        return "十" + (ZH_DIGITS[number - 10] if number > 10 else "")
    for size, unit in ((1000, "千"), (100, "百"), (10, "十")):
        if number >= size:
            head, rest = divmod(number, size)
            word = "兩" if head == 2 and size == 1000 else ZH_DIGITS[head]
            gap = "零" if 0 < rest < size // 10 else ""
            tail = "一" + zh_number(rest) if 10 <= rest < 20 else zh_number(rest)
            return word + unit + (gap + tail if rest else "")
    raise AssertionError(number)


def zh_count(number: int) -> str:
    """As before a counter: 兩個, not 二個."""
    return "兩" if number == 2 else zh_number(number)


def say_number(number: int, language: Language, rng: Random) -> str:
    """Digits; in zh-TW up to 20 also numerals as before a counter."""
    if language is Language.ZH_TW and 0 <= number <= 20 and rng.random() < 0.5:
        return zh_count(number)
    return str(number)


def spell_number(number: int, language: Language) -> str:
    """In words as far as people go: 二十五, twenty-five; beyond that in digits."""
    if language is Language.ZH_TW:
        return zh_count(number) if 0 <= number < 10_000 else str(number)
    if not 0 <= number < 100:
        return str(number)
    if number < len(EN_NUMBERS):
        return EN_NUMBERS[number]
    ten, rest = divmod(number, 10)
    word = next(word for word, value in EN_TENS.items() if value == ten * 10)
    return f"{word}-{EN_NUMBERS[rest]}" if rest else word


def say_scaled(number: float, language: Language, rng: Random) -> str:
    """With its scale where that is exact: 300 萬, 3 million, 50k; else digits, with separators as people write them."""
    zh = language is Language.ZH_TW
    for size, words in ((10_000, [" 萬", "萬"]),) if zh else ((1_000_000, [" million"]), (1000, ["k", " thousand"])):
        if number >= size and number % (size / 10) == 0:
            return f"{number / size:g}{rng.choice(words)}"
    return f"{number:,}" if rng.random() < 0.5 else str(number)


def say_list(said: list[str], language: Language, rng: Random) -> str:
    """甲、乙和丙; one, two and three."""
    if len(said) == 1:
        return said[0]
    zh = language is Language.ZH_TW
    last = rng.choice(["和", "跟", "、"]) if zh else " and "
    return ("、" if zh else ", ").join(said[:-1]) + last + said[-1]


def say_moment(moment: Moment, language: Language, rng: Random, spoken: float = 0.8, in_words: bool = False) -> str:
    """As people say it, a share of the times `spoken` and the others written; what is drawn comes from `rng`.

    `in_words`: without any digits (half past three in the afternoon).
    """
    zh = language is Language.ZH_TW

    def clock(at: time) -> str:
        if rng.random() >= spoken:
            return (f" {at:%H:%M} " if rng.random() < 0.5 else f"{at:%H:%M}") if zh else f"{at:%H:%M}"
        if in_words and not zh:
            return _en_words_time(at)
        return _zh_time(at, rng) if zh else _en_time(at, rng)

    match moment:
        case InMinutes(count):
            return _zh_distance(count, rng) if zh else _en_distance(count)
        case AtTime(at):
            return clock(at)
        case OnDay(day, at):
            said = _zh_day(day, rng) if zh else _en_day(day, rng)
            if at is None:
                return said
            return said + clock(at) if zh else f"{said} at {clock(at)}"
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
        case Days(count) if count in _ZH_DAYS:
            return _ZH_DAYS[count]
        case Days(count) if count % 7 == 0:
            return f"{_zh_or_digits(count // 7, rng)}{rng.choice(['週', '個星期'])}後"
        case Days(count):
            return f"{_zh_or_digits(count, rng)}天後"
        case Months(count):
            return f"{_zh_or_digits(count, rng)}個月後"
        case Weekday(week, number):
            word = rng.choice(["週", "週", "星期", "禮拜"])
            return ("這" if week == "this" else "下") + word + ZH_WEEKDAYS[number]


def _en_day(day: Day, rng: Random) -> str:
    match day:
        case Days(count) if count in _EN_DAYS:
            return _EN_DAYS[count]
        case Days(2) if rng.random() < 0.4:
            return "the day after tomorrow"
        case Days(count) if count % 7 == 0:
            return f"in {count // 7} week{'' if count == 7 else 's'}"
        case Days(count):
            return f"in {count} days"
        case Months(count):
            return f"in {count} month{'' if count == 1 else 's'}"
        case Weekday(week, number):
            return f"{week} {WEEKDAYS[number].capitalize()}"


def _zh_time(at: time, rng: Random) -> str:
    hour = at.hour % 12 or 12
    part = next(name for until, name in _ZH_PARTS if at.hour < until)
    said = f"{part}{_zh_or_digits(hour, rng)}點"
    if at.minute == 30:
        return said + "半"
    return said + (f"{zh_number(at.minute)}分" if at.minute else "")


def _en_time(at: time, rng: Random) -> str:
    hour, half = at.hour % 12 or 12, "am" if at.hour < 12 else "pm"
    if at == time(12) and rng.random() < 0.5:
        return "noon"
    gap = rng.choice([" ", ""])
    return f"{hour}:{at:%M}{gap}{half}" if at.minute else f"{hour}{gap}{half}"


def _en_words_time(at: time) -> str:
    """As in "half past three in the afternoon"; minutes that are no quarter as 3:20 pm."""
    if at.minute not in (0, 15, 30, 45):
        return f"{at.hour % 12 or 12}:{at:%M} {'am' if at.hour < 12 else 'pm'}"
    hour = (at.hour + (at.minute == 45)) % 12 or 12
    word = EN_NUMBERS[hour]
    said = {0: f"{word} o'clock", 15: f"quarter past {word}", 30: f"half past {word}", 45: f"quarter to {word}"}[
        at.minute
    ]
    part = "in the morning" if at.hour < 12 else "in the afternoon" if at.hour < 18 else "in the evening"
    return f"{said} {part}"


def _zh_or_digits(number: int, rng: Random) -> str:
    return zh_count(number) if rng.random() < 0.7 else str(number)
