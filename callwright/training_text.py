"""The text a model is trained on, as pieces: which are the assistant's, through the token that ends its turn.

    rows(example, TrainAs.MESSAGES, render, stop="<|im_end|>")
      -> [Row("office-train-000001", (Piece("<|im_start|>system…\\n", False), Piece("{…}<|im_end|>", True), …))]

`render` is a chat template: (messages, tools or None, add_generation_prompt) -> text. No stock template marks the
assistant's turns, so they are found by rendering up to the turn and with it, and taking the difference. Where a
template rewrites earlier turns, each assistant turn becomes a row of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from callwright.faults import Fault
from callwright.formats import to_alpaca, to_messages
from callwright.params import TrainAs
from callwright.records import Calls, Example, Message, Reply, Result, System, User

Render = Callable[[list[dict[str, Any]], list[dict[str, Any]] | None, bool], str]


class NotExpressible(Exception):
    """A row that the text of a model cannot hold, with the reason in words: it is set aside, and counted."""


@dataclass(frozen=True, slots=True)
class Piece:
    text: str
    labelled: bool


@dataclass(frozen=True, slots=True)
class Row:
    id: str
    pieces: tuple[Piece, ...]
    turns: int = 1
    """How many labelled pieces the last assistant message makes: several where each of its calls is a turn."""

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)


def rows(example: Example, train_as: TrainAs, render: Render, stop: str) -> list[Row]:
    """The training rows of one example: one, or one for each assistant turn."""
    if train_as is TrainAs.ALPACA:
        return [_alpaca(row, stop) for row in to_alpaca(example)]
    if train_as is TrainAs.MESSAGES:
        turns, tools = to_messages(example)["messages"], None
    else:
        turns = [native_turn(example, i) for i in range(len(example.messages))]
        tools = [{"type": "function", "function": tool.to_json()} for tool in example.tools]
    places = [i for i, turn in enumerate(turns) if turn["role"] == "assistant"]
    return list(_joined(example.id, [_answer(example.id, turns[: i + 1], tools, render, stop) for i in places]))


def native_turn(example: Example, i: int) -> dict[str, Any]:
    """A turn as chat templates take it: calls in `tool_calls` with their arguments as an object."""
    message: Message = example.messages[i]
    match message:
        case System(content):
            return {"role": "system", "content": content}
        case User(content):
            return {"role": "user", "content": content}
        case Result(tool, content):
            return {"role": "tool", "name": tool, "content": content}
        case Calls(calls):
            made = [{"type": "function", "function": {"name": c.tool, "arguments": dict(c.params)}} for c in calls]
            return {"role": "assistant", "content": "", "tool_calls": made}
        case Reply(content):
            return {"role": "assistant", "content": content}


@dataclass(frozen=True, slots=True)
class _Answer:
    before: str
    answer: str


def _answer(
    row_id: str, turns: list[dict[str, Any]], tools: list[dict[str, Any]] | None, render: Render, stop: str
) -> _Answer:
    before, whole = render(turns[:-1], tools, True), render(turns, tools, False)
    if not whole.startswith(before):
        place = f"{row_id}: the chat template writes what comes before turn {len(turns)}"
        raise Fault(f"{place} otherwise with its answer than without; use a template that does not")
    answer, found, after = whole[len(before) :].partition(stop)
    if not found:
        place = f"{row_id}: the chat template does not end an assistant turn with {stop!r}"
        raise Fault(f"{place}; correct `stop` in the preset")
    if stop in after:
        raise NotExpressible(f"{row_id}: turn {len(turns)} holds {stop!r}, the token that ends one")
    return _Answer(before, answer + stop)


def _joined(row_id: str, answers: list[_Answer]) -> Iterator[Row]:
    """All turns in one row as long as each rendering begins with the one before it; else a row for each."""
    pieces, so_far = [], ""
    for one in answers:
        if not one.before.startswith(so_far):
            for number, alone in enumerate(answers):
                yield Row(f"{row_id}#{number}", (Piece(alone.before, False), Piece(alone.answer, True)))
            return
        pieces += [Piece(one.before[len(so_far) :], False), Piece(one.answer, True)]
        so_far = one.before + one.answer
    yield Row(row_id, tuple(pieces))


def _alpaca(row: Mapping[str, Any], stop: str) -> Row:
    """The usual Alpaca prompt (https://github.com/tatsu-lab/stanford_alpaca), the system text first."""
    if stop in row["output"]:
        raise NotExpressible(f"{row['id']}: its answer holds {stop!r}, the token that ends one")
    prompt = f"{row['system']}\n\n### Instruction:\n{row['instruction']}\n\n### Response:\n"
    return Row(row["id"], (Piece(prompt, False), Piece(row["output"] + stop, True)))
