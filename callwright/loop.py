"""The loop: a model calls, the backend runs, the model reads the results and answers the user.

    conversation = Conversation(Asked(language, tools, messages), backend, limits)
    converse(model, [conversation])

Any model stands behind `Model`: a local base, an adapter, an OpenAI-compatible address. Nothing that it says is
executed, evaluated or put into SQL: a call is looked up among the tools by its name, its values are bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from callwright.answers import Answer
from callwright.records import Call, Language, Message, Tool


@dataclass(frozen=True, slots=True)
class Asked:
    """What a model is to go on from: the conversation so far, up to a user's turn or a tool's result."""

    language: Language
    tools: tuple[Tool, ...]
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a model said: its own text, and what that was read as."""

    raw: str
    answer: Answer


class Model(Protocol):
    def answer(self, asked: Sequence[Asked]) -> list[Spoken]:
        """One answer to each, in their order. Many at a time are cheaper than one by one."""
        ...


class Backend(Protocol):
    def run(self, call: Call) -> str:
        """The result as JSON text; `backend.Refused` where the call is not run."""
        ...
