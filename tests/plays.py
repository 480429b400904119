"""For tests: rows of every category from every pack, and models that answer them from the rows themselves."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from random import Random

from callwright.answers import read_answer, write_calls
from callwright.filling import put, shown
from callwright.loop import Asked, Spoken
from callwright.pack_shape import PLACEHOLDER, Pack
from callwright.packs import read_packs
from callwright.params import check_params
from callwright.records import Calls, Category, Example, Message, Reply, Result, Split, User
from tests.rows import ROOT, made, params_value

Answer = Callable[[Example, Sequence[Message]], str]
"""What a model says to a row after the messages that follow its first request."""


@cache
def all_packs() -> tuple[Pack, ...]:
    return tuple(read_packs(sorted(path.stem for path in (ROOT / "packs").glob("*.yaml")), ROOT / "packs"))


@cache
def varied(rows: int = 600) -> tuple[Example, ...]:
    """Rows of all packs and categories, with up to four parallel calls, follow-ups, and every variation in some."""
    value = params_value()
    knobs = value["generate"]
    knobs |= {"packs": [pack.pack for pack in all_packs()], "rows": 500, "parallel_calls": 4, "follow_ups": 0.5}
    knobs |= {"voices": 3, "held_out_tools": ["find_contact"]}
    shares = dict.fromkeys(map(str, Category), 0.15) | {"no_tool": 0.1}
    knobs["categories"] = knobs["exam"]["categories"] = shares
    for part, count in (("dev", 1), ("test", rows), ("unseen", 8)):
        knobs["exam"][part]["rows"] = count
    exam = made(all_packs(), check_params(value).generate)[Split.TEST]
    knobs["variation"] = dict.fromkeys(knobs["variation"], 0.3)  # of training rows only
    return (*exam, *made(all_packs(), check_params(value).generate)[Split.TRAIN])


def right(example: Example, after: Sequence[Message]) -> str:
    """The row's own next turn; after its last calls a reply that tells their results as the pack does."""
    turns = [m for m in example.messages if isinstance(m, Calls | Reply)]
    said = sum(isinstance(m, Calls | Reply) for m in after)
    if said < len(turns):
        turn = turns[said]
        return write_calls(turn.calls) if isinstance(turn, Calls) else turn.content
    return told(example, after)


def told(example: Example, after: Sequence[Message]) -> str:
    """A reply that tells the results since the last turn of calls, or that there are none."""
    last = max(i for i, message in enumerate(after) if isinstance(message, Calls))
    calls = after[last]
    assert isinstance(calls, Calls)
    results = [message for message in after[last + 1 :] if isinstance(message, Result)]
    pack = {pack.pack: pack for pack in all_packs()}[str(example.source["pack"])]
    texts = []
    for call, result in zip(calls.calls, results, strict=True):
        found = json.loads(result.content)
        if "error" in found:
            texts.append(pack.errors[0].told[example.language].test[0])
            continue
        reply = pack.tool(example.own(call).tool).replies[example.language].test[0]
        names = PLACEHOLDER.findall(reply)
        texts.append(put(reply, {name: shown(found[name], example.language, Random(0))[0] for name in names}))
    return " ".join(texts)


class Reciting:
    """A model that knows the rows, and answers each as it is told to."""

    def __init__(self, examples: Sequence[Example], answer: Answer = right) -> None:
        self.rows: Mapping[str, Example] = {_key(row.messages, row): row for row in examples}
        self.answer_ = answer
        self.heard: list[tuple[int, float, int]] = []
        """How many were asked each time, at which temperature and seed."""

    def answer(self, asked: Sequence[Asked], *, temperature: float = 0.0, seed: int = 0) -> list[Spoken]:
        self.heard.append((len(asked), temperature, seed))
        return [self._spoken(one) for one in asked]

    def _spoken(self, asked: Asked) -> Spoken:
        first = next(i for i, message in enumerate(asked.messages) if isinstance(message, User))
        text = self.answer_(self.rows[_key(asked.messages, asked)], asked.messages[first + 1 :])
        return Spoken(text, read_answer(text))


def _key(messages: Sequence[Message], of: Example | Asked) -> str:
    request = next(message for message in messages if isinstance(message, User))
    return json.dumps([request.content, *sorted(tool.name for tool in of.tools)])
