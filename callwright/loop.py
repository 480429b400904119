"""The loop: a model calls, the backend runs, the model reads the results and answers the user.

    conversation = Conversation(Asked(language, tools, messages), backend, Limits())
    converse(model, [conversation])
    conversation.ending, conversation.steps      ->  Ending.ANSWERED, [Step(calls with results), Step(text)]

Any model stands behind `Model`: a local base, an adapter, an OpenAI-compatible address. Nothing that it says is
executed, evaluated or put into SQL: a call is looked up among the tools by its name, its values are bound. A call that
is not run, and a tool that fails, become a result that the model reads: `{"error": "…"}`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from callwright.answers import Answer, Called, Said, Unparsed, is_question
from callwright.outs import to_json
from callwright.records import Call, Calls, Language, Message, Reply, Result, Tool, User
from callwright.schemas import schema_fault


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
    asked: bool = True
    """False where the model could not be asked at all, as the conversation is too long for it or holds one of its
    control tokens: the answer is an `Unparsed` that says why."""


class Model(Protocol):
    def answer(self, asked: Sequence[Asked]) -> list[Spoken]:
        """One answer to each, in their order. Many at a time are cheaper than one by one."""
        ...


class Backend(Protocol):
    def run(self, call: Call) -> str:
        """The result as JSON text. A `ValueError`, such as `backend.Refused`, or an `OSError` where there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """How far one request may go."""

    turns: int = 8
    """Answers of the model."""
    calls_a_turn: int = 8
    """An answer with more of them is not run, not even in part."""
    calls: int = 24
    seconds: float = math.inf
    """After which nothing more is run. In a batch everyone waits for everyone, so only who answers one at a time
    sets it."""
    result_characters: int = 4_000
    """Of a result that the model sees; the rest is cut off, with a mark."""
    answer_characters: int = 20_000
    """A longer answer is not looked at."""
    retries: int = 0
    """How often the model is told that its answer could not be read, and asked again."""


class Ending(StrEnum):
    """Why a conversation waits for the user, or is over."""

    ANSWERED = "answered"
    ASKED = "asked"
    """The answer is a question to the user."""
    MALFORMED = "malformed"
    OUTPUT_LIMIT = "output_limit"
    TURN_LIMIT = "turn_limit"
    CALL_LIMIT = "call_limit"
    TIME_LIMIT = "time_limit"
    REFUSED = "refused"
    """The model cannot be asked this."""
    STOPPED = "stopped"
    """Who asked gave up waiting."""

    @property
    def is_text(self) -> bool:
        return self in (Ending.ANSWERED, Ending.ASKED)


@dataclass(frozen=True, slots=True)
class Ran:
    """A call, and the result that the model sees. `ok`: whether the backend ran it; else the result says why not."""

    call: Call
    result: str
    ok: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """One answer of the model, with what came of its calls. `ran` is empty for a text, and where nothing was run."""

    spoken: Spoken
    ran: tuple[Ran, ...] = ()


class Conversation:
    """One conversation, step by step, so that many can be asked together.

    `asked` is what the model is to answer next, None where it is the user's turn; `hear` takes the answer and runs its
    calls; `say` takes what the user says next. `steps` are of the whole conversation, limits and `ending` of the last
    request. `clock` gives seconds.
    """

    def __init__(
        self, asked: Asked, backend: Backend, limits: Limits = Limits(), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.backend, self.limits, self.clock = backend, limits, clock
        self.steps: list[Step] = []
        self.ending: Ending | None = None
        self.detail = ""
        """A sentence about the ending, where it is no text."""
        self._begun = asked
        self._offered = {tool.name: tool for tool in asked.tools}
        self._notice: str | None = None
        self._open(max((i for i, m in enumerate(asked.messages) if isinstance(m, User)), default=len(asked.messages)))

    def _open(self, request: int) -> None:
        """A request begins: what was counted is counted anew. `request` is the place of the user's turn."""
        self._request, self._since = request, self.clock()
        self._turns = self._calls = self._retried = 0
        self.ending, self.detail, self._notice = None, "", None

    @property
    def messages(self) -> tuple[Message, ...]:
        return self._begun.messages

    @property
    def language(self) -> Language:
        return self._begun.language

    @property
    def asked(self) -> Asked | None:
        if self.ending:
            return None
        more = (User(self._notice),) if self._notice else ()
        return replace(self._begun, messages=(*self.messages, *more))

    def say(self, text: str) -> None:
        """The user's next turn. A request that came to no text is taken out: no model has learnt to go on from one.

        What its calls did to the world stays done.
        """
        if self.ending is None:
            raise ValueError("the model has not answered yet: nobody else speaks before it")
        kept = self.messages if self.ending.is_text else self.messages[: self._request]
        self._begun = replace(self._begun, messages=(*kept, User(text)))
        self._open(len(kept))

    def stop(self, why: str) -> None:
        """End the open request without an answer."""
        self.ending, self.detail, self._notice = Ending.STOPPED, why, None

    def hear(self, spoken: Spoken) -> None:
        """Take the model's answer to `asked`: run its calls, or end the request."""
        if self.ending:
            raise ValueError(f"nothing was asked: the request has ended ({self.ending})")
        self._turns += 1
        step, ending, detail = self._heard(spoken)
        self.steps.append(step)
        if ending:
            self.ending, self.detail, self._notice = ending, detail, None

    def _heard(self, spoken: Spoken) -> tuple[Step, Ending | None, str]:
        alone, answer, limits = Step(spoken), spoken.answer, self.limits
        if not spoken.asked:
            return alone, Ending.REFUSED, answer.reason if isinstance(answer, Unparsed) else ""
        if len(spoken.raw) > limits.answer_characters:
            long = f"the answer has {len(spoken.raw):,} characters, and {limits.answer_characters:,} are read at most"
            return alone, Ending.OUTPUT_LIMIT, long
        if isinstance(answer, Called) and not answer.calls:
            answer = Unparsed(spoken.raw, "it is a list of no calls")
        match answer:
            case Said(text):
                self._add(Reply(text))
                return alone, Ending.ASKED if is_question(text) else Ending.ANSWERED, ""
            case Unparsed(_, reason):
                return alone, *self._unread(reason)
            case Called(calls):
                if (over := self._over(len(calls))) is not None:
                    return alone, *over
                return self._ran(spoken, calls)

    def _unread(self, reason: str) -> tuple[Ending | None, str]:
        if self._retried < self.limits.retries and self._turns < self.limits.turns:
            self._retried += 1
            self._notice = _UNREAD[self.language].format(reason=reason)
            return None, ""
        return Ending.MALFORMED, f"the answer is neither calls nor text: {reason}"

    def _over(self, count: int) -> tuple[Ending, str] | None:
        """The limit that so many more calls would pass."""
        limits = self.limits
        if count > limits.calls_a_turn:
            many = f"the answer has {count:,} calls, and {limits.calls_a_turn:,} a turn are run at most"
            return Ending.CALL_LIMIT, f"{many}; none of them was run"
        if self._calls + count > limits.calls:
            many = (
                f"with this answer the request has {self._calls + count:,} calls, and {limits.calls:,} are run at most"
            )
            return Ending.CALL_LIMIT, f"{many}; none of the last {count:,} was run"
        if (passed := self.clock() - self._since) > limits.seconds:
            late = f"the request has taken {passed:.0f} s, and {limits.seconds:g} s are allowed"
            return Ending.TIME_LIMIT, f"{late}; the last {count:,} call{'s were' if count > 1 else ' was'} not run"
        return None

    def _ran(self, spoken: Spoken, calls: tuple[Call, ...]) -> tuple[Step, Ending | None, str]:
        self._calls += len(calls)
        ran = tuple(self._run(call) for call in calls)
        self._notice = None
        self._add(Calls(calls), *(Result(one.call.tool, one.result) for one in ran))
        if self._turns < self.limits.turns:
            return Step(spoken, ran), None, ""
        many = f"the model has called {self._turns:,} times in a row, which is all that a request may take"
        return Step(spoken, ran), Ending.TURN_LIMIT, f"{many}, and has not answered the user"

    def _run(self, call: Call) -> Ran:
        """The call's result; where it breaks its tool's schema, or the tool fails, an error for the model to read."""
        if fault := schema_fault(call, self._offered.get(call.tool)):
            return Ran(call, self._shown(error(fault[1])), ok=False)
        try:
            return Ran(call, self._shown(self.backend.run(call)))
        except (ValueError, ArithmeticError, RecursionError, OSError) as failure:
            why = str(failure) or type(failure).__name__
            return Ran(call, self._shown(error(why)), ok=False)

    def _shown(self, result: str) -> str:
        most = self.limits.result_characters
        return result if len(result) <= most else f"{result[:most]}… [cut off: {most:,} of {len(result):,} characters]"

    def _add(self, *messages: Message) -> None:
        self._begun = replace(self._begun, messages=(*self.messages, *messages))


_UNREAD = {
    Language.ZH_TW: "(系統訊息:剛才的回答無法解讀,{reason}。請只輸出工具呼叫,每行一個 JSON,或只用文字回答。)",
    Language.EN: "(From the system: your answer could not be read, {reason}. Write only calls, or only plain text.)",
}
"""Said in the user's place, and not kept: neither is the answer that it is about."""


def error(why: str) -> str:
    """A result that tells a failure, as the packs' own do."""
    return to_json({"error": why.encode(errors="replace").decode()})


def converse(
    model: Model, conversations: Sequence[Conversation], heard: Callable[[Conversation], None] = lambda _: None
) -> None:
    """Go on with all of them until each waits for its user; every round asks the model once, for all that are open.

    `heard` is told after each answer, when its calls have run.
    """
    while going := [(one, asked) for one in conversations if (asked := one.asked)]:
        answers = model.answer([asked for _, asked in going])
        if len(answers) != len(going):
            raise RuntimeError(
                f"{len(going)} were asked and {len(answers)} answers came: a lost answer is no wrong one"
            )
        for (conversation, _), spoken in zip(going, answers, strict=True):
            conversation.hear(spoken)
            heard(conversation)
