"""Is this answer right?

    verdict(example, read_answer(text))   ->  Verdict(correct=False, outcome="call", reason="unknown_param", detail="…")

A wrong answer is a verdict with its first reason. An unparsable answer is never right. A lost answer (a row without
one) is no verdict: who scores raises.

What makes calls right is in `matching` and `values`, what makes a text right in `replies`. Relative times are compared
at a fixed clock, the pipeline's own unless another is given.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import islice
from typing import Any

from callwright.answers import Answer, Called, Outcome, Said, Unparsed, call_in_another_form, is_question, outcome
from callwright.grounding import dated
from callwright.matching import Tools, Wanted, fits, unfit, unmatched, wanted_of
from callwright.moments import NOW, Absolute, is_moment, read
from callwright.records import Call, Calls, Category, Example, Reply, Result, Tool, User
from callwright.replies import text_fault
from callwright.schemas import of_parameter, schema_fault
from callwright.values import format_fault, leaves

Reason = tuple[str, str]
"""A code and a sentence."""


@dataclass(frozen=True, slots=True)
class Verdict:
    correct: bool
    outcome: Outcome
    reason: str | None = None
    """A code; None where the answer is right."""
    detail: str | None = None


def gold(example: Example) -> Calls | Reply:
    """The turn that a model is asked for: the last."""
    last = example.messages[-1] if example.messages else None
    if isinstance(last, Calls | Reply):
        return last
    raise ValueError(f"{example.id}: the last turn is {type(last).__name__}, not the assistant's")


def right_calls(turn: Calls) -> tuple[tuple[Call, ...], ...]:
    """Each set of calls that is right for a turn: its own first, then the others that the row names."""
    return (turn.calls, *turn.also)


def expected_outcome(example: Example) -> Outcome:
    """A turn of no calls is a text, whatever it says."""
    turn = gold(example)
    if isinstance(turn, Calls):
        return Outcome.CALL if turn.calls else Outcome.ANSWER
    return Outcome.ASK if is_question(turn.content) else Outcome.ANSWER


def verdict(example: Example, answer: Answer, now: datetime = NOW, *, named_tools: bool = True) -> Verdict:
    """Judge one answer; the first reason that makes it wrong is named.

    Without `named_tools` nothing says what the row's tools take: its calls are compared by their values alone.
    """
    expected, answer = gold(example), seen(answer, example)
    try:
        reason = _fault(example, expected, answer, now, named_tools=named_tools)
    except RecursionError:
        reason = "bad_value", "it nests too deep to be judged"
    code, detail = reason or (None, None)
    return Verdict(reason is None, outcome(answer), code, detail and detail[:_LONGEST])


_LONGEST = 500
"""Signs of a sentence: it may hold what a model wrote."""


def seen(answer: Answer, example: Example) -> Answer:
    """The answer; a text that is a call in another form than the asked one is `Unparsed`."""
    if isinstance(answer, Said):
        names = {tool.name for tool in example.tools} | {call.tool for call in example.calls}
        if why := call_in_another_form(answer.text, names):
            return Unparsed(answer.text, why)
    return answer


def _fault(
    example: Example, expected: Calls | Reply, answer: Answer, now: datetime, *, named_tools: bool
) -> Reason | None:
    if isinstance(answer, Unparsed):
        return "unparsed", answer.reason
    if isinstance(expected, Calls) and expected.calls:
        if isinstance(answer, Said):
            return "no_call", "text where calls are right"
        return _turn_fault(example, expected, answer.calls, now, named_tools=named_tools)
    if isinstance(answer, Called):
        first = f"{_named(answer.calls[0].tool)} is called" if answer.calls else "an empty list of calls"
        return "needless_call", f"{first} where text is right"
    return text_fault(example, expected, answer.text) if isinstance(expected, Reply) else None


def _turn_fault(
    example: Example, expected: Calls, called: Sequence[Call], now: datetime, *, named_tools: bool
) -> Reason | None:
    """The reason is that against the row's own calls, where it names several sets that are right."""
    tools = {tool.name: tool for tool in example.tools} if named_tools else None
    said = "\n".join(turn.content for turn in example.messages if isinstance(turn, User | Result))
    first = None
    for right in right_calls(expected):
        wanted = [wanted_of(call, tools.get(call.tool) if tools else None) for call in right]
        fault = call_fault(called, wanted, tools, now, ordered=example.category is Category.CHAINED, said=said)
        if fault is None:
            return None
        first = first or fault
    return first


def call_fault(
    called: Sequence[Call],
    wanted: Sequence[Wanted],
    tools: Tools,
    now: datetime | None = None,
    *,
    ordered: bool = False,
    said: str | None = None,
) -> Reason | None:
    """The first reason for which calls are not the wanted ones, or None.

    First each call is held to its tool (`tools` None: to none), then to what was said (`said` None: dates are not
    judged), then all are matched: as a multiset, or where they are `ordered` one by one.
    """
    clock = now or NOW
    if fault := next(_tool_faults(called, tools), None) or next(_dates(called, wanted, tools, clock, said), None):
        return fault
    if len(called) != len(wanted):
        return "wrong_count", f"{len(called)} calls where {_are(len(wanted))} right"
    odd, left = unmatched(called, wanted, tools, clock)
    if odd:
        return _difference(odd[0], left, tools.get(odd[0].tool) if tools else None, clock)
    if ordered:
        for i, (call, at_its_place) in enumerate(zip(called, wanted, strict=True), start=1):
            if not fits(call, at_its_place, tools.get(call.tool) if tools else None, clock):
                return "wrong_order", f"call {i} is {_named(call.tool)} too early or too late; the order counts here"
    return None


def turns_fault(
    called: Sequence[Sequence[Call]],
    wanted: Sequence[Sequence[Wanted]],
    tools: Tools,
    now: datetime | None = None,
    *,
    said: str | None = None,
) -> Reason | None:
    """As `call_fault`, over the turns of a chain: within a turn any order is right, the turns go one after another.

    A turn may be called piece by piece. Calls of two turns in one answer are wrong: the later had no result to go by.
    """
    calls, all_wanted = [call for turn in called for call in turn], [call for turn in wanted for call in turn]
    if fault := call_fault(calls, all_wanted, tools, now, said=said):
        return fault
    begin = 0
    for number, turn in enumerate(wanted, start=1):
        end = begin + len(turn)
        if call_fault(calls[begin:end], turn, tools, now):
            return "wrong_order", f"the calls of turn {number} are right and do not come in their turn"
        begin = end
    ends = _ends(wanted)
    if together := [
        turn for turn, (begin, end) in zip(called, _spans(called), strict=True) if ends & {*range(begin + 1, end)}
    ]:
        names = ", ".join(_named(call.tool) for call in together[0][:4])
        return "wrong_order", f"{names} are called in one answer, where a later one needs the result of an earlier"
    return None


def _spans(turns: Sequence[Sequence[Any]]) -> Iterator[tuple[int, int]]:
    """Where each turn begins and ends among all calls."""
    end = 0
    for turn in turns:
        begin, end = end, end + len(turn)
        yield begin, end


def _ends(turns: Sequence[Sequence[Any]]) -> set[int]:
    return {end for begin, end in _spans(turns) if end > begin}


def _tool_faults(called: Sequence[Call], tools: Tools) -> Iterator[Reason]:
    """Calls that break their tool's schema, or the format that it names for a text."""
    if tools is None:
        return
    formats = {name: tool for name, tool in tools.items() if _names_a_format(tool.parameters)}
    for call in called:
        if fault := schema_fault(call, tools.get(call.tool)):
            yield fault
        elif tool := formats.get(call.tool):
            for name, value in call.params.items():
                if wrong := format_fault(name, value, of_parameter(tool, name), tool.parameters):
                    yield "bad_value", f"{call.tool}.{wrong}"


def _names_a_format(schema: Any) -> bool:
    if isinstance(schema, dict):
        return "format" in schema or any(map(_names_a_format, schema.values()))
    return isinstance(schema, list) and any(map(_names_a_format, schema))


def _dates(
    called: Sequence[Call], wanted: Sequence[Wanted], tools: Tools, now: datetime, said: str | None
) -> Iterator[Reason]:
    """Absolute dates that nobody said: hard-coded, even where they mean the same. What is wanted itself is allowed."""
    if said is None:
        return
    granted: set[date] | None = None
    for call in called:
        for place, value, on in _absolute(call.tool, call.params, tools):
            if dated(on, said, now.date()):
                continue
            if granted is None:
                granted = set(_granted(wanted, tools))
            if on not in granted:
                hint = "expected a moment such as 'tomorrow 15:00'"
                yield "hardcoded_date", f"{call.tool}.{place} is {_short(value)}, a date nobody said; {hint}"


def _granted(wanted: Sequence[Wanted], tools: Tools) -> Iterator[date]:
    for one in wanted:
        for name, values in one.params.items():
            for value in values:
                yield from (on for *_, on in _absolute(one.tool, {name: value}, tools))


def _absolute(name: str, params: Any, tools: Tools) -> Iterator[tuple[str, str, date]]:
    """The moments with a date of their own: where they stand, as they are written, the date."""
    tool = tools.get(name) if tools else None
    for param, value in params.items():
        if not isinstance(value, list | dict) and not _may_be_a_date(value):
            continue
        schema, root = (of_parameter(tool, param), tool.parameters) if tool else ({}, {})
        for place, part_name, known, part in leaves(param, value, schema, root=root):
            if _may_be_a_date(part) and is_moment(part_name, known):
                moment = read(part)
                if isinstance(moment, Absolute):
                    yield place, part, moment.date


def _may_be_a_date(value: Any) -> bool:
    return isinstance(value, str) and value.strip()[:4].isdecimal()


def _difference(call: Call, left: Sequence[Wanted], tool: Tool | None, now: datetime) -> Reason:
    """In what `call` differs from the nearest of the calls that are left to match."""
    same_tool = [wanted for wanted in islice(left, _LOOKED_AT) if wanted.tool == call.tool]
    if not same_tool:
        return "wrong_tool", f"{_named(call.tool)} is called; expected {_named(left[0].tool)}"
    wanted, wrong = min(((one, unfit(call, one, tool, now)) for one in same_tool), key=lambda pair: len(pair[1]))
    for name in wrong:
        if name not in call.params or name not in wanted.params:
            how = "not asked for" if name in call.params else "left out"
            return "wrong_params", f"{call.tool}: {_named(name)} is {how}"
    name = wrong[0]
    value, right = call.params[name], wanted.params[name]
    expected = _short(right[0]) if len(right) == 1 else f"one of {_short(list(right))}"
    what = f"{call.tool}: {name} is {_short(value)}; expected {expected}"
    known = of_parameter(tool, name) if tool else {}
    if isinstance(value, str) and is_moment(name, known) and read(value) is None and any(map(_reads, right)):
        return "bad_relative_time", what
    return "wrong_value", what


_LOOKED_AT = 100
"""Calls left to match that a wrong one is held against."""


def _reads(value: Any) -> bool:
    return isinstance(value, str) and read(value) is not None


def _are(count: int) -> str:
    return f"{count} is" if count == 1 else f"{count} are"


def _named(name: str) -> str:
    """A name that a model gave: as it is where it is one."""
    return name if name.isidentifier() and len(name) <= 64 else _short(name)


def _short(value: Any) -> str:
    """A value of a model in a sentence: not longer than it has to be, and of signs that can be written."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # an int of too many digits has no repr
        text = "too large to be shown"
    text = text if len(text) <= 120 else text[:117] + "..."
    return text.encode(errors="backslashreplace").decode()
