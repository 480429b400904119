"""A question for the teacher, and what came of it.

Question(({"role": "user", "content": "…"},), schema={"type": "object", …}, answer_tokens=2048, attempt=0)
Answered('{"user": "…"}', finish="stop", tokens_in=900, tokens_out=310)      or Lost("timeout", "…")
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from callwright.outs import to_json
from callwright.teacher.address import Address
from callwright.teacher.cache import key_of

TEMPERATURE = 1.0
"""Rows should differ."""
_FRAME = 512
"""Tokens that a server may put around messages, at most."""


@dataclass(frozen=True, slots=True)
class Question:
    messages: tuple[Mapping[str, str], ...]
    schema: Mapping[str, Any]
    """JSON Schema of the answer."""
    answer_tokens: int
    attempt: int = 0
    """Which try this is at the same thing: each is a question of its own to the cache."""

    def key(self, where: Address) -> str:
        return key_of(
            {
                "address": where.url,
                "model": where.model,
                "messages": [dict(message) for message in self.messages],
                "options": {"schema": self.schema, "answer_tokens": self.answer_tokens, "temperature": TEMPERATURE},
                "attempt": self.attempt,
            }
        )

    @property
    def most_in(self) -> int:
        """No tokenizer that works on bytes makes more tokens than there are bytes; servers may count the schema too."""
        texts = [to_json(dict(message)) for message in self.messages]
        return sum(len(text.encode()) for text in (*texts, to_json(dict(self.schema)))) + _FRAME


@dataclass(frozen=True, slots=True)
class Answered:
    text: str
    """Empty where the teacher said nothing."""
    finish: str
    """Why it ended: `stop`, `length` where it was cut off, `refusal`, …"""
    tokens_in: int = 0
    tokens_out: int = 0
    cached: bool = False

    def to_json(self) -> dict[str, Any]:
        return {"text": self.text, "finish": self.finish, "usage": [self.tokens_in, self.tokens_out]}


class Lost(Exception):
    """No answer came, however often it was asked for. `code` is counted, the sentence is told."""

    def __init__(self, code: str, sentence: str) -> None:
        self.code = code
        super().__init__(sentence)


@dataclass(slots=True)
class Tally:
    """What went over the wire."""

    sent: int = 0
    answered: int = 0
    retried: int = 0
    from_cache: int = 0
    estimated: int = 0
    """Requests whose cost the server did not say: counted at the most they can have cost."""
    notes: list[str] = field(default_factory=list)
    """Sentences about the address as a whole, each once."""


def printable(text: str) -> str:
    """A stranger's text as a terminal may show it: without what moves its cursor or colours it."""
    return "".join(sign if sign.isprintable() else " " for sign in text)
