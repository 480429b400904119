"""Is this answer right?

    verdict(example, read_answer(text))   ->  Verdict(correct=False, reason="unknown_param", detail="…")

A wrong answer is a verdict with its first reason. An unparsable answer is never right. A lost answer (a row without
one) is no verdict: stages/evaluate.py raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from callwright.answers import Answer, Called, Outcome, Said, Unparsed, is_question, outcome
from callwright.records import Call, Calls, Category, Example, Reply, Result, Tool
from callwright.replies import asks_for, facts, invented, untold
from callwright.schemas import of_parameter, schema_fault
from callwright.values import same_call, same_value


@dataclass(frozen=True, slots=True)
class Verdict:
    correct: bool
    outcome: Outcome
    reason: str | None = None
    """A code; None where the answer is right."""
    detail: str | None = None


def gold(example: Example) -> Calls | Reply:
    """The turn that a model is asked for: the last."""
    last = example.messages[-1]
    if isinstance(last, Calls | Reply):
        return last
    raise ValueError(f"{example.id}: the last turn is {type(last).__name__}, not the assistant's")


def expected_outcome(example: Example) -> Outcome:
    turn = gold(example)
    if isinstance(turn, Calls):
        return Outcome.CALL
    return Outcome.ASK if is_question(turn.content) else Outcome.ANSWER


def verdict(example: Example, answer: Answer) -> Verdict:
    """Judge one answer; the first reason that makes it wrong is named."""
    expected = gold(example)
    reason = _fault(example, expected, answer)
    return Verdict(reason is None, outcome(answer), *(reason or (None, None)))


def _fault(example: Example, expected: Calls | Reply, answer: Answer) -> tuple[str, str] | None:
    if isinstance(answer, Unparsed):
        return "unparsed", answer.reason
    if isinstance(expected, Calls):
        if isinstance(answer, Said):
            return "no_call", "text where calls are right"
        return _call_fault(example, expected.calls, answer.calls)
    if isinstance(answer, Called):
        return "needless_call", f"{answer.calls[0].tool} is called where text is right"
    return _text_fault(example, expected, answer.text)


def _text_fault(example: Example, expected: Reply, text: str) -> tuple[str, str] | None:
    if example.category is Category.MISSING:
        if asks_for(text, expected.asks):
            return None
        return "not_asked", f"expected a question that names the missing value ({', '.join(expected.asks)})"
    if example.category is Category.NO_TOOL:
        return ("needless_question", "a question where nothing is missing") if is_question(text) else None
    told = facts(message for message in example.messages if isinstance(message, Result))
    if left := untold(text, told):
        return "fact_left_out", f"the reply does not tell {left[0]!r}"
    if more := invented(text, told):
        return "invented_number", f"the reply tells {more[0]}, which is no fact of the result"
    return None


def _call_fault(example: Example, expected: Sequence[Call], called: Sequence[Call]) -> tuple[str, str] | None:
    tools = {tool.name: tool for tool in example.tools}
    for call in called:
        if fault := schema_fault(call, tools.get(call.tool)):
            return fault
    left, odd = list(expected), []
    for call in called:  # as a multiset: equality is transitive, so the first match is as good as any
        match = next((i for i, wanted in enumerate(left) if same_call(call, wanted, tools.get(call.tool))), None)
        if match is None:
            odd.append(call)
        else:
            del left[match]
    if len(called) != len(expected):
        return "wrong_count", f"{len(called)} calls where {len(expected)} are right"
    return _difference(odd[0], left, tools[odd[0].tool]) if odd else None


def _difference(call: Call, left: Sequence[Call], tool: Tool) -> tuple[str, str]:
    """In what `call` differs from the calls that are left to match."""
    wanted = next((other for other in left if other.tool == call.tool), None)
    if wanted is None:
        return "wrong_tool", f"{call.tool} is called; expected {left[0].tool}"
    if differ := sorted(call.params.keys() ^ wanted.params.keys()):
        how = "left out" if differ[0] in wanted.params else "not asked for"
        return "wrong_params", f"{call.tool}: {differ[0]} is {how}"
    for name, value in wanted.params.items():
        if not same_value(call.params[name], value, name, of_parameter(tool, name)):
            return "wrong_value", f"{call.tool}: {name} is {call.params[name]!r}; expected {value!r}"
    raise AssertionError("two calls differ in nothing")
