"""What a text says of days, times and numbers: enough to tell whether a value comes from it. `saying` is the other way.

    heard("明天下午三點").days, .times        ->  {Days(1)}, {time(15)}
    numbers("預算 300 萬, 十二個人")          ->  {300, 3000000, 12}

Where people leave it open, all that they may mean is heard: 三點 is 03:00 and 15:00.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import time
from fractions import Fraction

from callwright.moments import WEEKDAYS, Day, Days, Months, Weekday

ZH_DIGITS = "零一二三四五六七八九"
ZH_WEEKDAYS = "一二三四五六日"
EN_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
EN_TENS = dict(zip("twenty thirty forty fifty sixty seventy eighty ninety".split(), range(20, 100, 10), strict=True))


def plain(text: str) -> str:
    """Text as it is compared: NFKC, case folded, 臺 as 台, white space single."""
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text).casefold().replace("臺", "台")).strip()


@dataclass(frozen=True, slots=True)
class Heard:
    days: frozenset[Day]
    times: frozenset[time]
    minutes: frozenset[int]
    """Distances from now."""


def heard(text: str) -> Heard:
    """Days, times of day and distances that `text` names, in either language."""
    words = plain(text)
    return Heard(frozenset(_days(words)), frozenset(_times(words)), frozenset(_distances(words)))


_ZH_NUM = r"(?<![零〇一二兩三四五六七八九十百千\d])[零〇一二兩三四五六七八九十百千\d]{1,40}"
_ZH_WEEK = r"(?:週|周|星期|禮拜)"
_NAMED_DAYS = (
    (r"今天|今日|今晚|\btoday\b|\btonight\b", 0),
    (r"明天|明日|明早|明晚|(?<!after )\btomorrow\b", 1),
    (r"(?<!大)後天|\bday after tomorrow\b", 2),
    (r"大後天", 3),
    (r"昨天|\byesterday\b", -1),
)


def _days(words: str) -> Iterator[Day]:
    for pattern, days in _NAMED_DAYS:
        if re.search(pattern, words):
            yield Days(days)
    for number, unit in re.findall(rf"({_ZH_NUM}) ?(天|個?週|個?周|個?星期|個?禮拜|個?月) ?(?:之?後|內)", words):
        count = zh_value(number)
        if count is not None:
            yield Months(count) if unit.endswith("月") else Days(count * (1 if unit == "天" else 7))
    for number, unit in re.findall(r"\bin ([\w-]+) (day|week|month)s?\b", words):
        count = en_value(number)
        if count is not None:
            yield Months(count) if unit == "month" else Days(count * (7 if unit == "week" else 1))
    for week, day in re.findall(rf"(上|下下|這|本|下)?個?{_ZH_WEEK}([一二三四五六日天])", words):
        if week not in ("上", "下下"):  # the grammar of moments has neither
            yield Weekday("next" if week == "下" else "this", ZH_WEEKDAYS.index(day.replace("天", "日")))
    for week, day in re.findall(rf"\b(?:(last|this|next) )?({'|'.join(WEEKDAYS)})\b", words):
        if week != "last":
            yield Weekday("next" if week == "next" else "this", WEEKDAYS.index(day))


_NIGHT = ("凌晨", "半夜", "深夜", "晚上", "晚間", "今晚", "明晚", "a")
"""Where twelve is midnight. `a` and `p` are am and pm."""
_LATER = ("下午", "傍晚", "晚上", "晚間", "今晚", "明晚", "p")
_MORNING = ("早上", "清晨", "上午", "今早", "明早")
_PART = rf"({'|'.join(dict.fromkeys([*_NIGHT[:-1], *_LATER[:-1], *_MORNING, '中午']))})? ?"
_HALF = r"([ap])\.?m(?![a-z])"


def _times(words: str) -> Iterator[time]:
    words = re.sub(rf"({_ZH_WEEK}[一二三四五六日天])", r"\1 ", words)  # 週一三點 is three o'clock, not thirteen
    for part, hour, mark, minute in re.findall(rf"{_PART}({_ZH_NUM}) ?點(?:(半|[一三]刻)|({_ZH_NUM}) ?分?)?", words):
        past = {"半": 30, "一刻": 15, "三刻": 45}.get(mark) or zh_value(minute) or 0
        yield from _clock(part, zh_value(hour), past, exact=hour.startswith("0"))
    for part, hour, minute, half in re.findall(
        rf"{_PART}(?<!\d)(?<!\d:)(\d{{1,2}}):(\d{{2}})(?!\d)(?: ?{_HALF})?", words
    ):
        yield from _clock(half or part, int(hour), int(minute), exact=hour.startswith("0"))
    for hour, half in re.findall(rf"(?<![\d:a-z-])(\d{{1,2}}|[a-z]{{3,}}) ?{_HALF}", words):
        yield from _clock(half, en_value(hour), 0)
    for mark, hour in re.findall(r"\b(half|quarter) past (\w+)", words):
        yield from _clock("", en_value(hour), 30 if mark == "half" else 15)
    for hour in re.findall(r"\bquarter to (\w+)", words):
        yield from _clock("", ((en_value(hour) or 0) - 1) or 12, 45)
    for before, after in re.findall(r"\bat (\w+)\b(?!:)|\b(\w+) o'?clock", words):
        yield from _clock("", en_value(before or after), 0)
    if re.search(r"\bnoon\b|正午|中午(?! ?[\d一二兩三十])", words):
        yield time(12)
    if re.search(r"\bmidnight\b|午夜", words):
        yield time(0)


def _clock(part: str, hour: int | None, minute: int, exact: bool = False) -> Iterator[time]:
    """The times that an hour may mean in a part of the day; in none, either half of it, unless it is written 03:00."""
    if hour is None or not 0 <= hour <= 24 or minute > 59 or (part in ("a", "p") and not 1 <= hour <= 12):
        return
    if hour == 24 or (hour == 12 and part in _NIGHT):
        hour = 0
    elif (hour < 12 and part in _LATER) or (hour < 10 and part == "中午"):
        hour += 12
    yield time(hour, minute)
    if not part and not exact and 1 <= hour < 12:
        yield time(hour + 12, minute)


def _distances(words: str) -> Iterator[int]:
    for number, unit in re.findall(rf"({_ZH_NUM}|(?<!個)半) ?個?(小時|鐘頭|分鐘) ?之?後", words):
        count = Fraction(1, 2) if number == "半" else zh_value(number)
        if count is not None:
            yield int(count * (1 if unit == "分鐘" else 60))
    for number in re.findall(rf"({_ZH_NUM}) ?個半(?:小時|鐘頭) ?之?後", words):
        if (count := zh_value(number)) is not None:
            yield count * 60 + 30
    for number, unit, half in re.findall(r"\bin ([\w-]+) (hour|minute)s?\b( and a half)?", words):
        if (count := en_value(number)) is not None:
            yield count * (60 if unit == "hour" else 1) + (30 if half else 0)
    if re.search(r"half an hour", words):
        yield 30


_LONGEST = 40
"""Digits of the longest number that is one; a longer run is a code or nonsense."""


def zh_value(text: str) -> int | None:
    """The whole number of digits or Chinese numerals; None where it is neither."""
    if not text or text.isdecimal():
        return int(text) if 0 < len(text) <= _LONGEST else None
    for sign, size in (("億", 100_000_000), ("萬", 10_000)):
        head, found, tail = text.partition(sign)
        if found:
            many, rest = zh_value(head), zh_value(tail) if tail else 0
            return None if many is None or rest is None else many * size + rest
    total, digit = 0, 0
    for sign in text.replace("兩", "二").replace("〇", "零"):
        if sign in ZH_DIGITS:
            digit = ZH_DIGITS.index(sign)
        elif sign in "十百千":
            total += (digit or 1) * {"十": 10, "百": 100, "千": 1000}[sign]
            digit = 0
        else:
            return None
    return total + digit


def en_value(word: str) -> int | None:
    """The whole number of digits or an English number word up to 99."""
    if word.isdecimal():
        return int(word) if len(word) <= _LONGEST else None
    if word in EN_NUMBERS:
        return EN_NUMBERS.index(word)
    head, _, tail = word.partition("-")
    if head in EN_TENS and (not tail or tail in EN_NUMBERS[1:10]):
        return EN_TENS[head] + (EN_NUMBERS.index(tail) if tail else 0)
    return 1 if word in ("a", "an") else None


_SCALES = {
    "百": 100,
    "千": 1000,
    "萬": 10_000,
    "億": 100_000_000,
    "k": 1000,
    "m": 1_000_000,
    "hundred": 100,
    "thousand": 1000,
    "million": 1_000_000,
}
_SCALE = re.compile("|".join(sorted(_SCALES, key=len, reverse=True)))
_ZH_SIGNS = "零〇一二兩三四五六七八九十百千"
_ZH_ONE = f"(?<![{_ZH_SIGNS}])[{_ZH_SIGNS}]"
_EN_WORD = "|".join([*EN_NUMBERS, *EN_TENS, "hundred", "thousand", "million"])
_DIGITS = re.compile(
    r"((?<![\w-])-|零下 ?|負|minus |negative )?(?<!\d)(\d{1,40}(?:\.\d{1,40})?)(?!\d)"
    r" ?([百千萬億]+|(?:k|m|thousand|million)(?![a-z]))?"
)
"""Whether below zero, the digits, and what they are of: hundreds, 萬."""


def numbers(text: str) -> frozenset[Fraction]:
    """Every number that `text` names, by value: digits, numerals and words, each also with its scale (300 萬 = 3M)."""
    words = plain(re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text))  # before NFKC, which makes 「，」 a comma too
    found: set[Fraction] = set()
    for below, digits, scales in _DIGITS.findall(words):
        values = list(_scaled(Fraction(digits), scales))
        found.update([-value for value in values] if below else [], values)
    found.update(
        Fraction(int(n) * 10_000 + int(rest) * 1000) for n, rest in re.findall(r"(?<!\d)(\d{1,9})萬(\d)(?!\d)", words)
    )
    words = _DIGITS.sub(" ", words)
    for below, numeral in re.findall(rf"(零下|負)?({_ZH_ONE}[{_ZH_SIGNS}萬億]{{0,39}})", words):
        parts = [zh_value(part) for part in (numeral, *re.split("[萬億]", numeral))]
        values = [Fraction(value) for value in parts if value is not None] + list(_spoken_short(numeral))
        found.update([-value for value in values] if below else [], values)
    for whole, part in re.findall(rf"({_ZH_ONE}+)點([零一二三四五六七八九]{{1,9}})", words):
        if (value := zh_value(whole)) is not None:
            found.add(Fraction(f"{value}.{''.join(str(ZH_DIGITS.index(sign)) for sign in part)}"))
    for below, word, scales in re.findall(
        r"(minus |negative )?([a-z]+(?:-[a-z]+)?)((?: (?:hundred|thousand|million))*)(?![a-z])", words
    ):
        value = en_value(word)
        if value is None and "-" in word:  # a two-star hotel
            value = next((en_value(part) for part in word.split("-") if en_value(part) is not None), None)
        if value is not None:
            values = list(_scaled(Fraction(value), scales, alone=word not in ("a", "an")))
            found.update([-value for value in values] if below else [], values)
    found.update(_en_phrases(words))
    return frozenset(found)


def _spoken_short(numeral: str) -> Iterator[Fraction]:
    """三百五 is also 350, 兩萬五 25,000: the last digit stands for the next lower unit."""
    found = re.fullmatch(r"(.+)([百千萬])([一二三四五六七八九])", numeral)
    if found and (head := zh_value(found[1] + found[2])) is not None:
        yield Fraction(head + ZH_DIGITS.index(found[3]) * {"百": 10, "千": 100, "萬": 1000}[found[2]])


def _en_phrases(words: str) -> Iterator[Fraction]:
    """Numbers of several words: one hundred and twenty, two thousand five hundred."""
    for phrase in re.findall(rf"\b(?:{_EN_WORD})(?:(?: and|,)? (?:{_EN_WORD})|-(?:{_EN_WORD}))+\b", words)[:50]:
        total, part = 0, 0
        for word in re.findall("[a-z]+", phrase):
            if word in ("thousand", "million"):
                total, part = total + (part or 1) * _SCALES[word], 0
            elif word == "hundred":
                part = (part or 1) * 100
            elif (value := en_value(word)) is not None:
                part += value
        yield Fraction(total + part)


_MOST_SCALES = 4
"""Nobody says more; 萬萬萬… would make numbers of any length."""


def _scaled(value: Fraction, scales: str, alone: bool = True) -> Iterator[Fraction]:
    """The value, and with each of its scales: 3 百萬 is 3, 300 and 3,000,000."""
    if alone:
        yield value
    for scale in _SCALE.findall(scales)[:_MOST_SCALES]:
        value *= _SCALES[scale]
        yield value
