"""When a reply of text is right: it asks for what is missing, or tells the facts of a result and no other number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from callwright.answers import is_question
from callwright.records import Result
from callwright.speech import numbers, plain


def asks_for(text: str, words: Sequence[str]) -> bool:
    """A question that holds one of the words that name the missing value."""
    said = plain(text)
    return is_question(text) and any(plain(word) in said for word in words)


def untold(text: str, results: Sequence[Result]) -> list[str]:
    """The facts marked in the results that `text` leaves out."""
    said, named = _dense(text), numbers(text)
    facts = [fact for result in results for fact in result.facts]
    return [fact for fact in facts if _dense(fact) not in said and not (_is_number(fact) and numbers(fact) <= named)]


def invented(text: str, results: Sequence[Result]) -> list[str]:
    """Numbers in `text` that are in no marked fact, as text; a number is in a fact by value (300 萬 is 3M)."""
    known = numbers(" ; ".join(fact for result in results for fact in result.facts))
    return sorted(str(float(n)) if n.denominator > 1 else str(n) for n in _digit_numbers(text) - known)


def _digit_numbers(text: str) -> frozenset[Fraction]:
    """Numbers written with digits; 一 and "one" stand in too many words to count as facts."""
    return numbers(" ; ".join(re.findall(r"\d[\d,.]*(?: ?(?:萬|億|千|百|[km]\b))?", plain(text))))


def _dense(text: str) -> str:
    return plain(text).replace(" ", "")


def _is_number(fact: str) -> bool:
    return _dense(fact)[:1].isdigit()
