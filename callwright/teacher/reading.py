"""An answer of the teacher made into a row, or a reject with its code.

    read_reply(Answered('{"user": "…", "calls": […]}', "stop"))   ->  {"user": "…", "calls": […]}
    turns(plan, {"user": "…", "calls": […]})                      ->  (User(…), Calls(…))

The answer is data: what is not exactly what the plan asked for is a reject. Beside the codes of design §4 there are
some for what no row of a file can have: `no_answer`, `refused`, `cut_off`, `too_long`, `key_echoed`, and
`not_as_planned` for an answer that is fine JSON and another kind of row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from callwright.answers import strict_json
from callwright.outs import to_json
from callwright.records import (
    BadRecord,
    Calls,
    Category,
    Example,
    Language,
    Message,
    Reply,
    Result,
    Split,
    System,
    User,
    read_call,
    read_example,
)
from callwright.replies import untold
from callwright.teacher.plans import Plan
from callwright.teacher.questions import Answered, printable
from callwright.teacher.wire import LARGEST_BODY

LONGEST = 40_000
"""Characters of an answer that are read."""
_SYSTEMS = {Language.ZH_TW: "你是一位專業助理。", Language.EN: "You are a professional assistant."}


class Reject(Exception):
    """No row: a code to count and a sentence. Raised and caught within a row, never over the run."""

    def __init__(self, code: str, message: str) -> None:
        self.code, self.message = code, message
        super().__init__(message)


def read_reply(answer: Answered) -> dict[str, Any]:
    """The JSON object that an answer is."""
    if answer.finish == "key":
        raise Reject("key_echoed", "the answer holds the key of the API; it is kept nowhere")
    if answer.finish in ("refusal", "content_filter"):
        raise Reject("refused", f"the teacher refuses: {_short(answer.text) or answer.finish}")
    if answer.finish == "too_long":
        raise Reject("too_long", f"the server sent more than {LARGEST_BODY} bytes, or packed ones")
    if not answer.text.strip():
        raise Reject("no_answer", "the teacher's answer is empty")
    if answer.finish == "length":
        raise Reject("cut_off", f"the answer was cut off at its limit of tokens: {_short(answer.text)}")
    if len(answer.text) > LONGEST:
        raise Reject("too_long", f"the answer has {len(answer.text)} characters; {LONGEST} are read")
    try:
        value = strict_json(_bare(answer.text))
    except (ValueError, RecursionError) as error:
        raise Reject("bad_json", f"the answer is not JSON ({error}): {_short(answer.text)}") from None
    if not isinstance(value, dict):
        raise Reject("bad_json", f"the answer is no JSON object: {_short(answer.text)}")
    return value


def turns(plan: Plan, said: Mapping[str, Any]) -> tuple[Message, ...]:
    """The turns after the system's that a first answer holds."""
    user = User(_text(said, "user"))
    match plan.category:
        case Category.NO_TOOL:
            return user, Reply(_text(said, "reply"))
        case Category.MISSING:
            return user, *_asking(plan, said)
    if plan.category in (Category.SINGLE, Category.PARALLEL) or plan.live:
        return user, _calls(said, len(plan.targets) if plan.category is Category.PARALLEL else 1)
    told: list[Message] = [user]
    steps = said.get("steps")
    if not isinstance(steps, list) or len(steps) != len(plan.targets):
        raise Reject("not_as_planned", f"steps is {_short(steps)}; expected {len(plan.targets)}")
    for step in steps:
        told += _step(step)
    return *told, Reply(_text(said, "reply"))


def next_turn(said: Mapping[str, Any], calls: bool) -> Message:
    return _calls(said, 1) if calls else Reply(_text(said, "reply"))


def row(plan: Plan, told: Sequence[Message], source: Mapping[str, Any]) -> Example:
    """The record, read as any record from outside is; facts marked, and the plan kept."""
    told = _marked(plan, told)
    _check_chain(plan, told)
    system = System((plan.toolset.systems or _SYSTEMS)[plan.language])
    made = Example(plan.id, plan.language, plan.category, Split.TRAIN, plan.offered, (system, *told), source)
    try:
        return read_example(strict_json(to_json(made.to_json())))
    except (BadRecord, ValueError) as error:
        raise Reject("bad_json", str(error)) from None


def _asking(plan: Plan, said: Mapping[str, Any]) -> tuple[Message, ...]:
    tool = plan.targets[0]
    if (name := _text(said, "missing")) not in tool.required:
        raise Reject("not_as_planned", f"missing is {name!r}; {tool.name} requires {', '.join(tool.required)}")
    words = said.get("words")
    if not isinstance(words, list) or not words or not all(isinstance(word, str) and word.strip() for word in words):
        raise Reject("not_as_planned", f"words is {_short(words)}; expected the words that name the missing value")
    question = Reply(_text(said, "question"), tuple(words))
    if not plan.follow_up:
        return (question,)
    return question, User(_text(said, "answer")), _calls(said, 1)


def _step(step: Any) -> tuple[Message, ...]:
    known = step if isinstance(step, dict) else {}
    calls, results = _calls(known, 1), known.get("results")
    if not isinstance(results, list) or len(results) != 1:
        raise Reject("not_as_planned", f"results is {_short(results)}; expected one for the call")
    content = results[0] if isinstance(results[0], str) else to_json(results[0])
    return calls, Result(calls.calls[0].tool, content)


def _calls(said: Mapping[str, Any], count: int) -> Calls:
    found = said.get("calls")
    if not isinstance(found, list) or len(found) != count:
        raise Reject("not_as_planned", f"calls is {_short(found)}; expected {count}")
    try:
        return Calls(tuple(read_call(call, f"calls[{i}]") for i, call in enumerate(found)))
    except BadRecord as error:
        raise Reject("bad_json", str(error)) from None


def _text(said: Mapping[str, Any], key: str) -> str:
    value = said.get(key)
    if not isinstance(value, str) or not value.strip():
        raise Reject("bad_json", f"{key} is {_short(value)}; expected text")
    return value.strip()


# What a row of results is judged by


def _marked(plan: Plan, told: Sequence[Message]) -> tuple[Message, ...]:
    """The facts of each result that the reply tells are marked. A reply that tells none of them is no use."""
    last = told[-1]
    results = [turn for turn in told if isinstance(turn, Result)]
    if not results or not isinstance(last, Reply):
        return tuple(told)
    failed = [_failure(turn) for turn in results]
    if plan.category is Category.TOOL_ERROR:
        if not any(failed):
            raise Reject("not_as_planned", f"the tool was to fail, and its result is {_short(results[0].content)}")
        return tuple(told)
    if any(failed):
        raise Reject("execution_failed", f"the result is {_short(results[failed.index(True)].content)}")
    final = results[-1]
    facts = tuple(fact for fact in dict.fromkeys(_leaves(final.content)) if not untold(last.content, [fact]))
    if not facts:
        raise Reject("unfaithful_reply", f"the reply {_short(last.content)} tells nothing of {_short(final.content)}")
    return tuple(replace(turn, facts=facts) if turn is final else turn for turn in told)


def _check_chain(plan: Plan, told: Sequence[Message]) -> None:
    """A later call takes something from an earlier result that the user did not say."""
    if plan.category is not Category.CHAINED:
        return
    if [call.tool for turn in told if isinstance(turn, Calls) for call in turn.calls] != [t.name for t in plan.targets]:
        raise Reject(
            "not_as_planned", f"the calls are not of {', '.join(tool.name for tool in plan.targets)}, in this order"
        )
    request = "\n".join(turn.content for turn in told if isinstance(turn, User))
    held: list[str] = []
    for turn in told:
        if isinstance(turn, Result):
            held += _leaves(turn.content)
        elif isinstance(turn, Calls) and held:
            values = [leaf for call in turn.calls for leaf in _scalars(dict(call.params))]
            if not any(value in held and value not in request for value in values):
                raise Reject(
                    "not_as_planned", f"{_short(turn.to_json()['calls'])} takes nothing from the result before it"
                )


def _failure(result: Result) -> bool:
    value = _parsed(result.content)
    return isinstance(value, dict) and bool(value.get("error"))


def _parsed(content: str) -> Any:
    try:
        return strict_json(content)
    except (ValueError, RecursionError):
        return content


def _leaves(content: str) -> list[str]:
    """Scalars of a result as text: what a reply can tell."""
    return list(_scalars(_parsed(content)))


def _scalars(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _scalars(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _scalars(item)
    elif isinstance(value, str):
        if value.strip():
            yield value
    elif value is not None and not isinstance(value, bool):
        yield to_json(value)


_FENCED = re.compile(r"\A```(?:json)?[ \t]*\n(.*)\n```\Z", re.DOTALL)
_THOUGHT = re.compile(r"\A<think>.*?</think>", re.DOTALL)


def _bare(text: str) -> str:
    """Without a reasoning model's thoughts before it, and one code fence around it."""
    text = _THOUGHT.sub("", text.strip()).strip()
    fenced = _FENCED.match(text)
    return fenced[1] if fenced else text


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else to_json(value)
    text = " ".join(printable(text).split())
    return text if len(text) <= 120 else text[:117] + "..."
