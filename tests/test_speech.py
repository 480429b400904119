"""What is said is heard, in both languages; numbers are heard by value."""

from __future__ import annotations

from datetime import time
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callwright.moments import Absolute, AtTime, Day, Days, InMinutes, Months, OnDay, Weekday, read
from callwright.records import Language
from callwright.saying import say_list, say_moment, say_number, zh_number
from callwright.speech import en_value, heard, numbers, plain, zh_value

chances = st.integers(0, 2**32).map(Random)
languages = st.sampled_from(Language)
times = st.times().map(lambda at: at.replace(second=0, microsecond=0))
days: st.SearchStrategy[Day] = st.one_of(
    st.builds(Days, st.integers(-1, 400)),
    st.builds(Months, st.integers(1, 24)),
    st.builds(Weekday, st.sampled_from(["this", "next"]), st.integers(0, 6)),
)


def same_face(times: frozenset[time]) -> int:
    """How many places of a clock's face are heard; 10:30 alone may be either half of the day."""
    return len({(at.hour % 12, at.minute) for at in times})


@settings(max_examples=400)
@given(days, st.none() | times, languages, chances)
def test_the_day_and_time_that_are_said_are_heard_and_no_others(
    day: Day, at: time | None, language: Language, chance: Random
) -> None:
    said = say_moment(OnDay(day, at), language, chance)
    found = heard(said)
    assert found.days == {day}, said
    assert at is None or at in found.times, said
    assert same_face(found.times) == (at is not None), said


@settings(max_examples=200)
@given(times, languages, chances)
def test_a_time_alone_is_heard(at: time, language: Language, chance: Random) -> None:
    said = say_moment(AtTime(at), language, chance)
    found = heard(said)
    assert at in found.times, said
    assert same_face(found.times) == 1, said
    assert not found.days, said


@settings(max_examples=200)
@given(st.integers(1, 60).map(lambda hours: hours * 60) | st.integers(1, 999), languages, chances)
def test_a_distance_is_heard_in_minutes(count: int, language: Language, chance: Random) -> None:
    said = say_moment(InMinutes(count), language, chance)
    assert heard(said).minutes == {count}, said


@given(st.integers(0, 9999), languages, chances)
def test_a_number_is_heard_by_its_value(number: int, language: Language, chance: Random) -> None:
    said = say_number(number, language, chance)
    assert number in numbers(said), said


@given(st.integers(0, 9999))
def test_chinese_numerals_go_there_and_back(number: int) -> None:
    assert zh_value(zh_number(number)) == number


@pytest.mark.parametrize(
    ("number", "said"),
    [(2, "二"), (10, "十"), (15, "十五"), (112, "一百一十二"), (305, "三百零五"), (2000, "兩千"), (20, "二十")],
)
def test_numerals_are_spelled_as_people_spell_them(number: int, said: str) -> None:
    assert zh_number(number) == said


def test_an_absolute_date_is_written_and_never_said() -> None:
    moment = read("2026-03-04")
    assert isinstance(moment, Absolute)
    with pytest.raises(ValueError, match="is not said"):
        say_moment(moment, Language.EN, Random(1))


def test_the_same_seed_says_the_same_and_seeds_differ() -> None:
    said = [
        [say_moment(OnDay(Days(3), time(15)), Language.ZH_TW, Random(seed)) for seed in range(20)] for _ in range(2)
    ]
    assert said[0] == said[1]
    assert len(set(said[0])) > 4


def test_lists_are_joined_as_each_language_does() -> None:
    assert say_list(["Amy"], Language.EN, Random(1)) == "Amy"
    assert say_list(["Amy", "Bo", "Cy"], Language.EN, Random(1)) == "Amy, Bo and Cy"
    assert say_list(["甲", "乙", "丙"], Language.ZH_TW, Random(1)).startswith("甲、乙")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("大後天下午", {Days(3)}),
        ("後天", {Days(2)}),
        ("the day after tomorrow", {Days(2)}),
        ("明早", {Days(1)}),
        ("兩個禮拜後", {Days(14)}),
        ("三天內", {Days(3)}),
        ("in a week", {Days(7)}),
        ("in two months", {Months(2)}),
        ("本週五", {Weekday("this", 4)}),
        ("週五見", {Weekday("this", 4)}),
        ("下個星期天", {Weekday("next", 6)}),
        ("下下週一", set()),
        ("上週五的檔案", set()),
        ("on Friday", {Weekday("this", 4)}),
        ("last friday", set()),
        ("next Sunday", {Weekday("next", 6)}),
        ("周末", set()),
    ],
)
def test_days_are_heard_as_people_name_them(text: str, found: set[Day]) -> None:
    assert heard(text).days == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("下午三點半", {"15:30"}),
        ("下午3:30", {"15:30"}),
        ("下午３：３０", {"15:30"}),
        ("晚上八點十五分", {"20:15"}),
        ("晚上十二點", {"00:00"}),
        ("凌晨12點", {"00:00"}),
        ("凌晨兩點一刻", {"02:15"}),
        ("中午十二點", {"12:00"}),
        ("中午一點", {"13:00"}),
        ("中午", {"12:00"}),
        ("早上九點", {"09:00"}),
        ("三點", {"03:00", "15:00"}),
        ("下週一三點", {"03:00", "15:00"}),
        ("星期三十點", {"10:00", "22:00"}),
        ("二十點", {"20:00"}),
        ("3pm開會", {"15:00"}),
        ("at 3:05 p.m.", {"15:05"}),
        ("12 am", {"00:00"}),
        ("half past three", {"03:30", "15:30"}),
        ("a quarter to five", {"04:45", "16:45"}),
        ("quarter past ten", {"10:15", "22:15"}),
        ("six o'clock", {"06:00", "18:00"}),
        ("at seven", {"07:00", "19:00"}),
        ("seven pm", {"19:00"}),
        ("at 15:30", {"15:30"}),
        ("at 03:30", {"03:30"}),
        ("noon", {"12:00"}),
        ("midnight", {"00:00"}),
        ("25:00, 13pm, 99點", set()),
        ("I am at home with 3 people, team of 5", set()),
    ],
)
def test_times_are_heard_as_people_name_them(text: str, found: set[str]) -> None:
    assert {f"{at:%H:%M}" for at in heard(text).times} == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("半小時後", {30}),
        ("半個小時後", {30}),
        ("一個半小時後", {90}),
        ("兩個鐘頭之後", {120}),
        ("四十五分鐘後", {45}),
        ("in half an hour", {30}),
        ("in an hour", {60}),
        ("in an hour and a half", {90}),
        ("in twenty-five minutes", {25}),
        ("開會兩小時", set()),
        ("for two hours", set()),
    ],
)
def test_distances_are_heard_and_lengths_are_none(text: str, found: set[int]) -> None:
    assert heard(text).minutes == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("300 萬", {300, 3_000_000}),
        ("$3.2M", {Fraction("3.2"), 3_200_000}),
        ("860k元", {860, 860_000}),
        ("2 million", {2, 2_000_000}),
        ("三百萬", {300, 3_000_000}),
        ("3百萬", {3, 300, 3_000_000}),
        ("1.2 億", {Fraction("1.2"), 120_000_000}),
        ("一萬兩千五百", {1, 2500, 12_500}),
        ("two hundred", {2, 200}),
        ("a hundred", {100}),
        ("three hundred thousand", {3, 300, 300_000}),
        ("1,280 元", {1280}),
        ("1,234,567", {1_234_567}),
        ("1，280", {1, 280}),
        ("2,400 萬", {2400, 24_000_000}),
        ("10,20", {10, 20}),
        ("１２個", {12}),
        ("十二個人", {12}),
        ("兩個", {2}),
        ("二〇", {0}),
        ("twenty-one", {21}),
        ("twenty", {20}),
        ("Ninety-nine", {99}),
        ("14.0", {14}),
        ("a task, an hour", set()),
        ("no numbers", set()),
    ],
)
def test_numbers_are_heard_by_value_with_and_without_their_scale(text: str, found: set[Fraction]) -> None:
    assert numbers(text) == found


@pytest.mark.parametrize(("word", "value"), [("12", 12), ("zero", 0), ("forty-two", 42), ("an", 1), ("dozen", None)])
def test_english_number_words_have_values(word: str, value: int | None) -> None:
    assert en_value(word) == value


@pytest.mark.parametrize(
    ("word", "value"), [("兩千零五", 2005), ("十", 10), ("三億", 300_000_000), ("萬", None), ("x", None)]
)
def test_chinese_numerals_have_values(word: str, value: int | None) -> None:
    assert zh_value(word) == value


def test_text_is_compared_without_width_case_or_variant_signs() -> None:
    assert plain(" Ｔｅｓｔ　臺北\n") == "test 台北"
