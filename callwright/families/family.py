"""What all families have in common: from turns to rows, and what may not stand in a text.

    turns [system, user, assistant, tool, assistant] -> what stands before each assistant turn, and the turn -> rows

Rows are put together from the text before each answer: turns share a row as long as the text before the next begins
with all that went before. Where a family writes earlier turns anew (Mistral moves its tools, Qwen3 drops its thinking),
another row begins, so that every answer is labelled once and after the very prompt that it is asked with.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, TypeVar

from callwright.answers import Answer, Called, Said, Unparsed
from callwright.families.reading import Broken
from callwright.records import Calls, Example, Message, Reply, Result, System, Tool, User
from callwright.training_text import NotExpressible, Piece, Row

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn with its text as it stands between the family's marks. Roles: system, user, assistant, tool."""

    role: str
    text: str


class Family(ABC):
    name: ClassVar[str]
    stops: ClassVar[tuple[str, ...]]
    """The first ends a turn in training, any of them an answer."""
    begin: ClassVar[str] = ""
    """What a text begins with."""
    controls: ClassVar[tuple[str, ...]]
    """Strings that the tokenizer takes for control tokens, wherever they stand: no text of a row may hold one."""
    frames: ClassVar[tuple[str, ...]] = ()
    """Marks that are text to the tokenizer and are kept out of a row's texts too, where they would pass for marks."""
    native: ClassVar[bool] = True
    parallel: ClassVar[bool] = True
    """Whether one turn can hold several calls."""
    one_answer_a_row: ClassVar[bool] = False

    def rows(self, example: Example, *, consecutive: bool = True) -> list[Row]:
        """The training rows of an example in the family's own tool format; `NotExpressible` where there are none.

        `consecutive`: whether a turn of several calls becomes several turns where the family's turn holds one.
        """
        self._check_tools(example)
        turns, last = self._native(example, consecutive)
        return self._joined(example.id, turns, example.tools, last)

    def messages(self, row_id: str, turns: Sequence[Mapping[str, Any]]) -> list[Row]:
        """The rows of a conversation whose tools and calls are plain text already, as `to_messages` writes it."""
        for i, turn in enumerate(turns):
            self._check(turn["content"], f"{row_id}: messages[{i}]")
        return self._joined(row_id, [self._plain(turn["role"], turn["content"]) for turn in turns], (), 1)

    def alpaca(self, row: Row) -> Row:
        """A row of Alpaca text as this family's tokenizer takes it: behind its first token, without control tokens."""
        asked, answer = row.pieces
        self._check(asked.text, f"{row.id}: its prompt")
        self._check(answer.text.removesuffix(self.stops[0]), f"{row.id}: its answer")
        return Row(row.id, (Piece(self.begin + asked.text, False), answer))

    def read(self, text: str) -> Answer:
        """What a model wrote after the prompt, up to its stop token. Nothing is executed, mended or guessed."""
        try:
            return self._read(text)
        except Broken as broken:
            return Unparsed(text, str(broken))

    @abstractmethod
    def said(self, answer: Calls | Reply) -> str:
        """An assistant turn as the model writes it, without its stop token."""

    @abstractmethod
    def _before(self, turns: Sequence[Turn], tools: Sequence[Tool]) -> str:
        """All that stands before the model's next turn."""

    @abstractmethod
    def _read(self, text: str) -> Called | Said:
        """`Broken` where it is neither calls nor text."""

    def _plain(self, role: str, text: str) -> Turn:
        """A turn of `messages`."""
        return Turn(role, text)

    def _native(self, example: Example, consecutive: bool) -> tuple[list[Turn], int]:
        """The turns of an example, and how many of them its last message makes."""
        return [self._turn(example, i, message) for i, message in enumerate(example.messages)], 1

    def _turn(self, example: Example, i: int, message: Message) -> Turn:
        place = f"{example.id}: messages[{i}]"
        match message:
            case System(content):
                return self._plain("system", self._check(content, place))
            case User(content):
                return self._plain("user", self._check(content, place))
            case Result(_, content):
                return self._plain("tool", self._check(content, place))
            case Calls() | Reply():
                return Turn("assistant", self._said_and_read(message, place))

    def _said_and_read(self, answer: Calls | Reply, place: str) -> str:
        """`said`, if reading gives the very same back: what cannot be read cannot be learnt."""
        if isinstance(answer, Reply):
            self._check(answer.content, place)
        else:
            for number, call in enumerate(answer.calls):
                self._check(dumps(call.to_json()), f"{place}.calls[{number}]")
        said = self.said(answer)
        wanted = Called(answer.calls) if isinstance(answer, Calls) else Said(said.strip())
        found = self.read(said)
        if found != wanted:
            kind = "is a reply that reads as no text" if isinstance(answer, Reply) else "has calls that read as others"
            why = f": {found.reason}" if isinstance(found, Unparsed) else ""
            raise NotExpressible(f"{place} {kind} of {self.name}{why}")
        return said

    def _check(self, text: str, place: str) -> str:
        if found := self._forbidden.search(text):
            what = "a control token" if found[0] in self.controls else "a mark"
            raise NotExpressible(f"{place} holds {found[0]!r}, {what} of {self.name}")
        return text

    def _check_tools(self, example: Example) -> None:
        for i, tool in enumerate(example.tools):
            self._check(dumps(tool.to_json()), f"{example.id}: tools[{i}]")

    @cached_property
    def _forbidden(self) -> re.Pattern[str]:
        return re.compile("|".join(map(re.escape, (*self.controls, *self.frames))))

    def _joined(self, row_id: str, turns: Sequence[Turn], tools: Sequence[Tool], last: int) -> list[Row]:
        groups = list(self._groups(turns, tools))
        if len(groups) == 1:
            return [Row(row_id, groups[0], last)]
        return [Row(f"{row_id}#{number}", pieces, last) for number, pieces in enumerate(groups)]

    def _groups(self, turns: Sequence[Turn], tools: Sequence[Tool]) -> Iterator[tuple[Piece, ...]]:
        pieces, so_far = list[Piece](), ""
        for i, turn in enumerate(turns):
            if turn.role != "assistant":
                continue
            before, answer = self._before(turns[:i], tools), turn.text + self.stops[0]
            if pieces and (self.one_answer_a_row or not before.startswith(so_far)):
                yield tuple(pieces)
                pieces, so_far = [], ""
            pieces += [Piece(before[len(so_far) :], False), Piece(answer, True)]
            so_far = before + answer
        if pieces:
            yield tuple(pieces)


def dumps(value: Any, indent: int | None = None) -> str:
    """JSON as the vendors' templates and encoders write it."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def as_function(tool: Tool) -> dict[str, Any]:
    return {"type": "function", "function": tool.to_json()}


def owner(waiting: list[tuple[str, T]], tool: str, place: str) -> T:
    """Of the calls that wait for a result, the first one of this tool; it waits no longer."""
    for i, (name, value) in enumerate(waiting):
        if name == tool:
            del waiting[i]
            return value
    raise NotExpressible(f"{place} is a result of {tool!r}, which no call before it waits for")
