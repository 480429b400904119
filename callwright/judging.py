"""Is a conversation that was run for real right? What it left in the tables, and what it told the user.

    judge(play)   ->  Executed(state=True, reply=False, reason="fact_left_out", detail="the reply does not …")

Right is what leaves the tables as the row's own calls leave them, whichever way it went, and then a reply that tells
what the results hold: the fields that the pack's own replies tell, and no number that is in neither the results nor the
conversation. Where the row asks back, the reply asks; where it calls nothing, nothing is called; where its tool fails
to the end, the failure is told.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from callwright.answers import Called, Unparsed, is_question
from callwright.loop import Conversation, Ending
from callwright.matching import unfit, wanted_of
from callwright.pack_shape import Contains
from callwright.records import Call, Calls, Category, Example, Language, Message, Reply, Result, User
from callwright.replayed import Ran, Replayed
from callwright.replies import asks_for, invented
from callwright.score import Reason, call_fault, seen
from callwright.steps import Step
from callwright.telling import failures_told, left_out, tells_failure
from callwright.values import meaning, same_json
from callwright.worlds import Done, Rebuilt, State


@dataclass(frozen=True, slots=True)
class Request:
    """What the user says, and what is right after it."""

    text: str
    turns: tuple[Message, ...]

    @property
    def calls(self) -> bool:
        return any(isinstance(turn, Calls) for turn in self.turns)

    @property
    def reply(self) -> Reply | None:
        """The text that ends it, where the row holds it."""
        last = self.turns[-1] if self.turns else None
        return last if isinstance(last, Reply) else None


@dataclass(slots=True)
class Play:
    """One row, played once."""

    example: Example
    requests: tuple[Request, ...]
    rebuilt: Rebuilt
    backend: Replayed
    conversation: Conversation
    begun: list[int]
    """Where in the conversation's messages what follows each request that was said begins."""
    now: datetime

    def said(self, request: int) -> tuple[Message, ...]:
        """The messages after the user's turn of a request."""
        ends = [*self.begun[1:], None]
        found = self.conversation.messages[self.begun[request] : ends[request]]
        return found[:-1] if ends[request] is not None else found  # less the user's next turn


@dataclass(frozen=True, slots=True)
class Executed:
    """`reason` is the first that makes it wrong, a code, and `detail` its sentence."""

    state: bool
    """The tables are as the right calls leave them."""
    reply: bool
    """The user was told what is right, or asked for what is missing."""
    reason: str | None = None
    detail: str | None = None

    @property
    def correct(self) -> bool:
        return self.state and self.reply


def requests_of(example: Example) -> tuple[Request, ...]:
    """The row's requests, each up to the next."""
    places = [i for i, message in enumerate(example.messages) if isinstance(message, User)]
    spans = zip(places, [*places[1:], len(example.messages)], strict=True)
    return tuple(
        Request(message.content, example.messages[i + 1 : end])
        for i, end in spans
        if isinstance(message := example.messages[i], User)
    )


def judge(play: Play) -> Executed:
    """The first reason that makes it wrong is named: how it ended, then what was done, then what was told.

    Where the row calls several sets of calls right, the reason is that against its own.
    """
    first = _judged(play)
    if first.correct:
        return first
    others = (_judged(replace(play, rebuilt=other)) for other in play.rebuilt.also)
    return next((one for one in others if one.correct), first)


def _judged(play: Play) -> Executed:
    odd = _odd_state(play)
    try:
        if reason := _ending(play):
            return Executed(odd is None, False, *reason)
        told = _reply_fault(play)
        done = (_called_wrong(play) or ("wrong_state", odd)) if odd else None
    except RecursionError:
        return Executed(odd is None, False, "bad_value", "it nests too deep to be judged")
    return Executed(odd is None, told is None, *(done or told or (None, None)))


def _ending(play: Play) -> Reason | None:
    conversation = play.conversation
    last = seen(conversation.steps[-1].spoken.answer, play.example) if conversation.steps else None
    if isinstance(last, Unparsed) and conversation.ending in (Ending.MALFORMED, Ending.ANSWERED, Ending.ASKED):
        return "unparsed", last.reason
    if conversation.ending is None or not conversation.ending.is_text:
        return str(conversation.ending), conversation.detail
    return None


# What was done


def _odd_state(play: Play) -> str | None:
    """In what the tables are not as the right calls leave them."""
    own = play.rebuilt.opening.pack.pack
    odd = (difference(play.rebuilt.state if pack == own else {}, state) for pack, state in play.backend.state().items())
    return next((sentence for sentence in odd if sentence), None)


def _called_wrong(play: Play) -> Reason | None:
    """What is wrong with the calls; None where each is right by itself."""
    called = _called(play.conversation)
    if not called:
        asks = play.conversation.ending is Ending.ASKED
        question = "needless_question", "a question where nothing is missing"
        return question if asks else ("no_call", "text where calls are right")
    if not play.example.calls:
        return "needless_call", f"{called[0].tool} is called where text is right"
    tools = {tool.name: tool for tool in play.example.tools}
    right = list({_key(call): call for call in play.example.calls}.values())
    wanted = [wanted_of(call, tools.get(call.tool)) for call in right]
    said = "\n".join(m.content for m in play.conversation.messages if isinstance(m, User | Result))
    return call_fault(list({_key(call): call for call in called}.values()), wanted, tools, play.now, said=said)


def _called(conversation: Conversation) -> list[Call]:
    """All calls that the model made, also those that were not run."""
    answers = (step.spoken.answer for step in conversation.steps)
    return [call for answer in answers if isinstance(answer, Called) for call in answer.calls]


def _key(call: Call) -> str:
    return json.dumps(call.to_json(), sort_keys=True)


def difference(right: State, found: State) -> str | None:
    """What tells two states apart, in a sentence; None where they are one.

    Rows are compared as a multiset and without their ids, which hang on the order of parallel calls; text as people
    compare it (`values.free_text`).
    """
    for table in dict.fromkeys([*right, *found]):
        here, there = _counted(found.get(table, ())), _counted(right.get(table, ()))
        if more := here - there:
            return f"{table} has {_row(found[table], more)}, which the right calls do not leave there"
        if lost := there - here:
            return f"{table} lacks {_row(right[table], lost)}, which the right calls leave there"
    return None


def _counted(rows: Sequence[Mapping[str, Any]]) -> Counter[Hashable]:
    return Counter(map(_means, rows))


def _means(row: Mapping[str, Any]) -> Hashable:
    return frozenset((column, meaning(cell)) for column, cell in row.items() if column != "id")


def _row(rows: Sequence[Mapping[str, Any]], odd: Counter[Hashable]) -> str:
    row = next(row for row in rows if _means(row) in odd)
    text = json.dumps({c: v for c, v in row.items() if v is not None and c != "id"}, ensure_ascii=False)
    return text if len(text) <= 200 else text[:197] + "..."


# What was told


def _reply_fault(play: Play) -> Reason | None:
    for i, request in enumerate(play.requests[:-1]):
        if request.reply and not request.calls and (fault := _not_asked(play, request.reply, _text(play.said(i)))):
            return fault
    last, said = play.requests[-1], play.said(-1)
    text = _text(said)
    if last.calls:
        return next(_loop_faults(play, text), None)
    if last.reply and (last.reply.asks or play.example.category is Category.MISSING):
        return _not_asked(play, last.reply, text)
    called = next((turn.calls[0].tool for turn in said if isinstance(turn, Calls)), None)
    if called:
        return "needless_call", f"{called} is called where text is right"
    asked = is_question(text) and not (last.reply and is_question(last.reply.content))
    return ("needless_question", "a question where nothing is missing") if asked else None


def _text(said: Sequence[Message]) -> str:
    return next((turn.content for turn in reversed(said) if isinstance(turn, Reply)), "")


def _not_asked(play: Play, right: Reply, text: str) -> Reason | None:
    if right.asks and not asks_for(text, right.asks):
        return "not_asked", f"expected a question that names the missing value ({', '.join(right.asks)})"
    asks = is_question(right.content) or (play.example.category is Category.MISSING and not right.asks)
    return ("not_asked", "a statement where a question is right") if asks and not is_question(text) else None


def _loop_faults(play: Play, text: str) -> Iterator[Reason]:
    """What is wrong with a reply after calls: the results that it needs were not there, or it does not tell them."""
    rebuilt, pack, language = play.rebuilt, play.rebuilt.opening.pack, play.example.language
    last = max(step.turn for step in rebuilt.steps)
    found = _matched(play)
    for one, ran in zip(rebuilt.done, found, strict=True):
        if ran is None:
            yield _called_wrong(play) or ("not_called", f"{one.call.tool} was not called to the right result")
    failing = [step for step in rebuilt.steps if step.fails and step.turn == last]
    for step in failing:
        if not _tried(play, step):
            yield _called_wrong(play) or ("not_called", f"{step.call.tool} was not called as it should be")
        if not tells_failure(text, failures_told(pack, language, (step.recorded or {}).get("error"))):
            yield "failure_not_told", f"the reply does not tell that {step.call.tool} failed"
    for one, ran in zip(rebuilt.done, found, strict=True):
        if (
            one.turn == last
            and ran
            and (left := left_out(text, pack.tool(one.call.tool), language, _value(ran.result)))
        ):
            yield "fact_left_out", f"the reply does not tell {left!r}"
    messages = play.conversation.messages
    known = [turn.content for turn in messages if isinstance(turn, User | Result)]
    known += [_key(one.call) for one in play.backend.ran]
    if more := invented(text, known):
        yield "invented_number", f"the reply tells {more[0]}, which no result holds"


def _matched(play: Play) -> list[Ran | None]:
    """For each right call the one that was made in its stead: to the same result, or else with the same values.

    Values that the pack's tables do not hold leave no mark that could be compared, so they must be the same.
    """
    left = [(one, _value(one.result)) for one in play.backend.ran]
    found: list[Ran | None] = []
    for done in play.rebuilt.done:
        like = [(pair, _unlike(play, pair[0].call, done)) for pair in left if "error" not in pair[1]]
        like = [(pair, wrong) for pair, wrong in like if wrong is not None and not wrong & _unheld(play, done.call)]
        like.sort(key=lambda one: (not same_json(one[0][1], done.result), len(one[1] or ())))
        pair = next((pair for pair, wrong in like if not wrong or same_json(pair[1], done.result)), None)
        if pair:
            left.remove(pair)
        found.append(pair[0] if pair else None)
    return found


def _unlike(play: Play, call: Call, right: Done | Step) -> set[str] | None:
    """The parameters in which a call differs from a right one; None where it is of another tool."""
    if call.tool != right.call.tool:
        return None
    tool = play.rebuilt.opening.pack.tool(call.tool).offered(Language.EN)
    return set(unfit(call, wanted_of(right.call, tool), tool, play.now))


def _unheld(play: Play, call: Call) -> set[str]:
    """The parameters that the tool's action makes nothing of."""
    pack = play.rebuilt.opening.pack
    action = pack.tool(call.tool).action
    if action is None:
        return set()
    held = {test.contains if isinstance(test, Contains) else test for test in action.where.values()}
    held |= {*action.set.values(), *(pack.tables[action.insert] if action.insert else ())}
    return set(pack.tool(call.tool).properties) - held


def _tried(play: Play, step: Step) -> bool:
    return any(_unlike(play, one.call, step) == set() for one in play.backend.ran)


def _value(result: str) -> dict[str, Any]:
    value = json.loads(result)
    return value if isinstance(value, dict) else {}
