"""Rows played for real: a model calls, the packs' tools run, the user is answered; then what it left is judged.

    rows = executed(model, examples, packs, trials=4, temperature=0.7, seed=404)      reports/evaluate/executed.jsonl
    summary(rows)   ->  {"n": 40, "trials": 4, "pass^1": 0.61, "pass^2": 0.52, …, "state": {…}, "reply": {…}, …}

`judging` says what is right. A row of the result is one trial of one example, or says why the example cannot be played
(`set_aside`); the summary can be computed again from the rows. pass^k is the chance that k trials of an example are all
right, estimated without bias from its n trials, c of them right, as C(c, k) / C(n, k), and averaged over the examples
(tau-bench, Yao et al. 2024, arXiv:2406.12045).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import comb
from statistics import fmean
from typing import Any, Protocol

from callwright.judging import Executed, Play, judge, requests_of
from callwright.loop import Asked, Conversation, Ending, Limits, Spoken, converse
from callwright.metrics import wilson
from callwright.moments import NOW
from callwright.pack_shape import Pack
from callwright.records import Calls, Example, Reply, User
from callwright.replayed import Replayed
from callwright.steps import NoWorld
from callwright.worlds import Rebuilt, rebuild

Row = dict[str, Any]
"""Of executed.jsonl."""

MOST_K = 4
_USUAL = Limits()


class Drawing(Protocol):
    """A model that can draw its answers: the same prompt given twice is answered twice, each by chance of its own."""

    def answer(self, asked: Sequence[Asked], *, temperature: float, seed: int) -> list[Spoken]: ...


@dataclass(slots=True)
class _Drawn:
    """The loop's `Model`: each round has a seed of its own."""

    model: Drawing
    temperature: float
    seed: int
    round: int = 0

    def answer(self, asked: Sequence[Asked]) -> list[Spoken]:
        seed, self.round = self.seed + self.round * _A_ROUND, self.round + 1
        return self.model.answer(asked, temperature=self.temperature, seed=seed)


_A_ROUND = 1_000_003
"""Apart enough that one seed's rounds are not another's."""


def executed(
    model: Drawing,
    examples: Iterable[Example],
    packs: Sequence[Pack],
    *,
    trials: int = 1,
    temperature: float = 0.0,
    seed: int = 0,
    limits: Limits = _USUAL,
    now: datetime = NOW,
    heard: Callable[[Conversation], None] = lambda _: None,
) -> list[Row]:
    """Each example `trials` times, all of them together, round by round.

    `packs` are all that tools may come from. An exception of the model goes through: a lost answer is no wrong one.
    """
    by_name = {pack.pack: pack for pack in packs}
    owners = {tool.name: pack for pack in packs for tool in pack.tools}
    rows, plays = list[Row](), list[tuple[int, Play]]()
    for example in examples:
        try:
            rebuilt = _playable(example, by_name, now)
        except NoWorld as why:
            rows.append(_aside(example, str(why)))
            continue
        plays += [(trial, _begun(example, rebuilt, owners, limits, now)) for trial in range(trials)]
    _play_all(_Drawn(model, temperature, seed), [play for _, play in plays], heard)
    known = {"temperature": temperature, "seed": seed}
    return rows + [_row(play, trial) | known for trial, play in plays]


def _playable(example: Example, packs: Mapping[str, Pack], now: datetime) -> Rebuilt:
    """The row's world; `NoWorld` where there is nothing to run its calls, or nothing to judge them by."""
    name = example.source.get("pack")
    pack = packs.get(name) if isinstance(name, str) else None
    if pack is None:
        raise NoWorld(f"there is no pack {name!r} to run its tools" if name else "no pack is named to run its tools")
    requests = requests_of(example)
    if not requests or not requests[-1].turns or not isinstance(requests[-1].turns[-1], Calls | Reply):
        raise NoWorld("it does not end with the assistant's turn")
    rebuilt = rebuild(example, pack, now)
    if not rebuilt.as_recorded and len({one.turn for one in rebuilt.done}) > 1:
        raise NoWorld("its results cannot be made again, and its later calls may take values from them")
    return rebuilt


def _begun(example: Example, rebuilt: Rebuilt, owners: Mapping[str, Pack], limits: Limits, now: datetime) -> Play:
    requests = requests_of(example)
    first = next(i for i, message in enumerate(example.messages) if isinstance(message, User))
    asked = Asked(example.language, example.tools, example.messages[: first + 1])
    backend = Replayed(example, rebuilt, owners)
    return Play(example, requests, rebuilt, backend, Conversation(asked, backend, limits), [first + 1], now)


def _play_all(model: _Drawn, plays: Sequence[Play], heard: Callable[[Conversation], None]) -> None:
    """Request by request: what the user says next in the row is said to a text, whatever it is."""
    open_plays = list(plays)
    while open_plays:
        converse(model, [play.conversation for play in open_plays], heard)
        open_plays = [play for play in open_plays if _said_on(play)]


def _said_on(play: Play) -> bool:
    """Say the row's next request; whether there was one to say."""
    conversation = play.conversation
    if len(play.begun) == len(play.requests) or not (conversation.ending and conversation.ending.is_text):
        return False
    conversation.say(play.requests[len(play.begun)].text)
    play.begun.append(len(conversation.messages))
    return True


# Rows


def _row(play: Play, trial: int) -> Row:
    conversation = play.conversation
    if conversation.ending is Ending.REFUSED and len(conversation.steps) == 1:
        return _aside(play.example, f"the model cannot be asked it: {conversation.detail}", trial)
    found: Executed = judge(play)
    gold = [message for message in play.example.messages if isinstance(message, Calls | Reply)]
    return {
        "id": play.example.id,
        "trial": trial,
        "category": str(play.example.category),
        "language": str(play.example.language),
        "correct": found.correct,
        "state": found.state,
        "reply": found.reply,
        "reason": found.reason,
        "detail": _writable(found.detail) if found.detail else None,
        "ending": str(conversation.ending),
        "turns": len(conversation.steps),
        "gold_turns": len(gold) + isinstance(gold[-1], Calls),  # the row need not hold the answer after its calls
        "calls": sum(len(step.ran) for step in conversation.steps),
        "rebuilt": play.rebuilt.as_recorded,
        "request": play.example.request,
        "steps": [
            {"raw": _writable(step.spoken.raw[:_LONGEST]), "results": [_writable(one.result) for one in step.ran]}
            for step in conversation.steps
        ],
    }


_LONGEST = 20_000
"""Characters of an answer that are kept."""


def _aside(example: Example, why: str, trial: int | None = None) -> Row:
    about = {"id": example.id, "trial": trial, "category": str(example.category), "language": str(example.language)}
    return about | {"set_aside": _writable(why)}


def _writable(text: str) -> str:
    """Half of a surrogate pair is no text that a file can hold."""
    return text.encode(errors="backslashreplace").decode()


# Scores


def pass_k(right: int, trials: int, k: int) -> float:
    """The chance that k trials are all right, where `right` of so many were."""
    return comb(right, k) / comb(trials, k)


def summary(rows: Iterable[Row]) -> dict[str, Any]:
    """Scores of the rows that were played; null where there are none. `n` is of examples, not of trials.

    pass^k is null where an example has fewer than k trials. The intervals are Wilson's for as many trials as there are
    examples: trials of one example are alike, so that they are no narrower than they should be.
    """
    rows = list(rows)
    played = [row for row in rows if "set_aside" not in row]
    examples = list(_by(played, "id").values())
    trials = min(map(len, examples), default=0)
    scores = {
        f"pass^{k}": round(fmean(pass_k(_right(one), len(one), k) for one in examples), 6) if k <= trials else None
        for k in range(1, MOST_K + 1)
    }
    return {
        "n": len(examples),
        "trials": trials,
        "temperature": played[0]["temperature"] if played else None,
        **scores,
        **{name: _share(played, name) for name in ("correct", "state", "reply")},
        "turns": {
            "mean": round(fmean(row["turns"] for row in played), 3) if played else None,
            "gold_mean": round(fmean(row["gold_turns"] for row in played), 3) if played else None,
        },
        "by_category": {name: _share(part, "correct") for name, part in sorted(_by(played, "category").items())},
        "by_language": {name: _share(part, "correct") for name, part in sorted(_by(played, "language").items())},
        "reasons": _counts(row["reason"] for row in played if row["reason"]),
        "endings": _counts(row["ending"] for row in played),
        "set_aside": {
            "n": len({row["id"] for row in rows if "set_aside" in row}),
            "reasons": _counts({row["id"]: row["set_aside"] for row in rows if "set_aside" in row}.values()),
        },
    }


def _by(rows: Iterable[Row], key: str) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row[key], []).append(row)
    return groups


def _right(rows: Iterable[Row]) -> int:
    return sum(row["correct"] for row in rows)


def _share(rows: Sequence[Row], name: str) -> dict[str, Any]:
    """How many examples there are, and the mean over them of the share of their trials that have it."""
    shares = [fmean(row[name] for row in one) for one in _by(rows, "id").values()]
    if not shares:
        return {"n": 0, "accuracy": None, "ci95": None}
    n, total = len(shares), sum(shares)
    return {"n": n, "accuracy": round(total / n, 6), "ci95": wilson(total, n)}


def _counts(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items(), key=lambda pair: (-pair[1], pair[0])))
