"""When a reply of text is right: it asks for what is missing, or tells the facts of a result and no other number."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fractions import Fraction

from callwright.answers import is_question
from callwright.records import Result
from callwright.speech import numbers, plain


def asks_for(text: str, words: Sequence[str]) -> bool:
    """A question that holds one of the words that name the missing value."""
    said = plain(text)
    return is_question(text) and any(plain(word) in said for word in words)


def facts(results: Iterable[Result]) -> list[str]:
    """What a reply to these results must tell."""
    return [fact for result in results for fact in result.facts]


def untold(text: str, told: Iterable[str]) -> list[str]:
    """Those of the facts `told` that `text` leaves out. Numbers by value: 300 萬 is 3M, and 14 is not in 1441."""
    said, named = _dense(text), numbers(text)
    return [fact for fact in told if (_value(fact) not in named if _is_number(fact) else _dense(fact) not in said)]


def invented(text: str, known: Iterable[str]) -> list[str]:
    """Numbers in `text`, as text, that stand in none of the `known` texts; compared by value, with their scale."""
    held = numbers(" ; ".join(known))
    return [str(float(n)) if n.denominator > 1 else str(n) for n in sorted(_digit_numbers(text) - held)]


_SCALED = r"\d+(?:\.\d+)?(?: ?(?:[百千萬億]+|(?:k|m|thousand|million)\b))?"


def _digit_numbers(text: str) -> frozenset[Fraction]:
    """Numbers written with digits; 一 and "one" stand in too many words to count as facts."""
    return frozenset(_value(number) for number in re.findall(_SCALED, _plain(text)))


def _plain(text: str) -> str:
    """Without thousands separators, which are gone before 「，」 becomes a comma too."""
    return plain(re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text))


def _dense(text: str) -> str:
    return plain(text).replace(" ", "")


def _is_number(fact: str) -> bool:
    """A number alone, with its scale; 0912 is a code."""
    return re.fullmatch(rf"(?!0\d){_SCALED}", _plain(fact)) is not None


def _value(number: str) -> Fraction:
    """With its scale: 3M is 3000000 and not 3."""
    return max(numbers(number))
