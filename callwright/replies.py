"""When a reply of text is right: it asks for what is missing, or tells the facts of a result and no other number."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fractions import Fraction

from callwright.answers import is_question
from callwright.records import Category, Example, Reply, Result, User
from callwright.speech import numbers as named_numbers
from callwright.speech import plain


def text_fault(example: Example, expected: Reply, text: str) -> tuple[str, str] | None:
    """The first reason for which a text is not the right reply to a row, a code and a sentence; or None.

    Rows from elsewhere mark neither what is missing nor which facts are to be told. There a question is right where
    one stands, and a reply may tell the numbers of the conversation.
    """
    asks = is_question(text)
    if example.category is Category.MISSING and expected.asks:
        if asks_for(text, expected.asks):
            return None
        return "not_asked", f"expected a question that names the missing value ({', '.join(expected.asks)})"
    if example.category in (Category.MISSING, Category.NO_TOOL):
        if is_question(expected.content):  # of a row that does not mark what is missing
            wrong = example.category is Category.MISSING and not asks
            return ("not_asked", "a statement where a question is right") if wrong else None
        return ("needless_question", "a question where nothing is missing") if asks else None
    told = facts(message for message in example.messages if isinstance(message, Result))
    if left := untold(text, told):
        return "fact_left_out", f"the reply does not tell {left[0]!r}"
    if not told and (lost := _shared(expected.content, example) - numbers(text)):
        return "fact_left_out", f"the reply does not tell {_shown(min(lost))}, which gold and a result both tell"
    known = told or [turn.content for turn in example.messages if isinstance(turn, User | Result)]
    if more := invented(text, [*known, expected.content]):
        return "invented_number", f"the reply tells {more[0]}, which is no fact of the result"
    return None


def _shared(right: str, example: Example) -> frozenset[Fraction]:
    """Numbers of the right reply that a result holds too: what an unmarked row must tell at least."""
    results = " ; ".join(message.content for message in example.messages if isinstance(message, Result))
    return _digit_numbers(right) & numbers(results)


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
    told = " ; ".join(known)
    more = [_shown(n) for n in sorted(_digit_numbers(text) - numbers(told))]
    return more + [digits for digits in _LONGER.findall(_plain(text)) if digits not in _plain(told)]


def _shown(number: Fraction) -> str:
    return str(float(number)) if number.denominator > 1 else str(number)


_SCALED = r"\d+(?:\.\d+)?(?: ?(?:[百千萬億]+|(?:k|m|thousand|million)\b))?"
_SCALED_NUMBER = re.compile(_SCALED)


def _digit_numbers(text: str) -> frozenset[Fraction]:
    """Numbers written with digits; 一 and "one" stand in too many words to count as facts."""
    found = map(numbers, set(_SCALED_NUMBER.findall(_plain(text))))
    return frozenset(max(values) for values in found if values)


_LONGER = re.compile(r"\d{41,}")
"""More digits than `speech.numbers` takes for a number: a code, or nonsense."""


_RUN = re.compile(
    r"([百千萬億]{4})[百千萬億]+|((?: (?:hundred|thousand|million)\b){4})(?: (?:hundred|thousand|million)\b)+"
)


def numbers(text: str) -> frozenset[Fraction]:
    """Those that `text` names; a model that writes 萬萬萬… without end names none that anyone could work out."""
    return named_numbers(_RUN.sub(lambda run: run[1] or run[2], text))


def _plain(text: str) -> str:
    """Without thousands separators, which are gone before 「，」 becomes a comma too."""
    return plain(re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text))


def _dense(text: str) -> str:
    return plain(text).replace(" ", "")


def _is_number(fact: str) -> bool:
    """A number alone, with its scale; 0912 is a code."""
    return re.fullmatch(rf"(?!0\d){_SCALED}", _plain(fact)) is not None and bool(numbers(fact))


def _value(number: str) -> Fraction:
    """With its scale: 3M is 3000000 and not 3."""
    return max(numbers(number))
