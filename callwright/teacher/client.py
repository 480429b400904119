"""One question, one answer: from the cache, or from the address, patiently and within the caps.

    async with Client(where, budget, cache) as client:
        await client.ask(question)   ->  Answered(…);  Lost where none comes;  Fault where asking on makes no sense

Asked again, after growing waits or as long as Retry-After says, is what may work the next time: 408, 409, 429, 5xx,
time-outs, cut connections, bodies that are no answer. 400 and 422 are met with a plainer form of the request, each form
once. A request whose answer was lost on the way counts as if it had cost the most it could.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from callwright.faults import Fault
from callwright.teacher.address import Address
from callwright.teacher.budget import Budget
from callwright.teacher.cache import Cache
from callwright.teacher.questions import TEMPERATURE, Answered, Lost, Question, Tally
from callwright.teacher.responses import Again, BadForm, Free, read_body, refusal
from callwright.teacher.wire import TooLong, openai_client

if TYPE_CHECKING:  # loaded when something is asked
    from tenacity import RetryCallState

TRIES = 6


@dataclass(frozen=True, slots=True)
class Form:
    """How a request is written; servers differ in what they take."""

    schema: bool
    """`response_format` with the JSON Schema; otherwise the messages alone say that JSON is wanted."""
    classic: bool
    """`max_tokens` and a temperature; newer models take `max_completion_tokens` and no temperature."""

    def __str__(self) -> str:
        limit = "max_tokens and a temperature" if self.classic else "max_completion_tokens"
        return f"{'with' if self.schema else 'without'} response_format, with {limit}"


FORMS = (Form(True, True), Form(True, False), Form(False, True), Form(False, False))


class Client:
    """`timeout` is in seconds for a whole answer, `rpm` the most requests a minute, `pause` how waiting is done."""

    def __init__(
        self,
        where: Address,
        budget: Budget,
        cache: Cache,
        *,
        timeout: float = 120.0,
        rpm: float | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        from aiolimiter import AsyncLimiter

        self.where, self.budget, self.cache, self.timeout, self.pause = where, budget, cache, timeout, pause
        self.tally = Tally()
        self._limiter = AsyncLimiter(1, 60 / rpm) if rpm else None  # evenly: a burst would pass a minute's limit
        self._form, self._proven = 0, False
        self._openai = openai_client(where, timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._openai.close()

    async def ask(self, question: Question) -> Answered:
        key = question.key(self.where)
        if kept := self.cache.get(key):
            self.tally.from_cache += 1
            return Answered(str(kept.get("text", "")), str(kept.get("finish", "")), cached=True)
        answer = await self._patiently(question)
        self.tally.answered += 1
        if self.where.holds_key(answer.text):
            return Answered("", "key", answer.tokens_in, answer.tokens_out)  # kept nowhere
        self.cache.put(key, answer.to_json())
        return answer

    async def _patiently(self, question: Question) -> Answered:
        from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt

        again = AsyncRetrying(
            retry=retry_if_exception_type(Again),
            stop=stop_after_attempt(TRIES),
            wait=_wait,
            sleep=self.pause,
            before_sleep=self._count_retry,
            reraise=True,
        )
        try:
            return await again(self._in_some_form, question)
        except Again as error:
            raise Lost(error.code, f"{self.where.url} {error} ({TRIES} times)") from None

    def _count_retry(self, state: RetryCallState) -> None:
        self.tally.retried += 1

    async def _in_some_form(self, question: Question) -> Answered:
        """Ask in the form that this address takes; where it is not known yet, in each form once at most."""
        while True:
            at = self._form
            try:
                answer = await self._send(question, FORMS[at])
            except BadForm as error:
                if at != self._form:  # another request has moved on already
                    continue
                if self._proven:  # the form is fine, this request is not
                    raise Lost("refused_request", f"{self.where.url} {error}") from None
                if at + 1 == len(FORMS):
                    raise Fault(f"{self.where.url} {error}, in every form of the request") from None
                self._form += 1
                self.tally.notes.append(f"{self.where.url} {error}; asked again {FORMS[self._form]}")
            else:
                self._proven = self._proven or at == self._form
                return answer

    async def _send(self, question: Question, form: Form) -> Answered:
        """One request. Its cost is settled whatever comes of it."""
        held = await self.budget.reserve(question.most_in, question.answer_tokens)
        cost, known = (0, 0), True
        try:
            if self._limiter:
                await self._limiter.acquire()
            self.tally.sent += 1
            cost, known = (held.most_in, held.most_out), False  # until something better is known
            answer, known = read_body(self.where, await self._post(question, form))
        except (BadForm, Fault, Free) as refused:
            cost, known = (0, 0), True
            raise refused.error if isinstance(refused, Free) else refused from None
        except TooLong:
            return Answered("", "too_long", *cost)
        else:
            cost = (answer.tokens_in, answer.tokens_out) if known else cost
            return answer
        finally:
            self.tally.estimated += not known
            self.budget.settle(held, *cost)

    async def _post(self, question: Question, form: Form) -> bytes:
        import openai

        try:
            async with asyncio.timeout(self.timeout):
                options = _options(self.where, question, form)
                raw = await self._openai.chat.completions.with_raw_response.create(**options)
                return bytes(raw.content)
        except openai.APIStatusError as error:
            raise refusal(self.where, error.status_code, error.response.text, error.response.headers) from None
        except (TimeoutError, openai.APITimeoutError):
            raise Again("timeout", f"gave no answer within {self.timeout:g} s; --timeout allows it more") from None
        except openai.APIConnectionError as error:
            cause = error.__cause__
            why = self.where.scrub(str(cause)) or type(cause).__name__
            if "Connect" in type(cause).__name__:  # it was never sent
                raise Free(Again("unreachable", f"cannot be reached ({why})")) from None
            raise Again("unreachable", f"broke the connection off ({why})") from None


def _options(where: Address, question: Question, form: Form) -> dict[str, Any]:
    options: dict[str, Any] = {"model": where.model, "messages": [dict(message) for message in question.messages]}
    if form.schema:
        shape = {"name": "answer", "schema": dict(question.schema)}
        options["response_format"] = {"type": "json_schema", "json_schema": shape}
    if form.classic:
        options |= {"max_tokens": question.answer_tokens, "temperature": TEMPERATURE}
    else:
        options["max_completion_tokens"] = question.answer_tokens
    return options


def _wait(state: RetryCallState) -> float:
    from tenacity import wait_random_exponential

    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, Again) and error.wait is not None:
        return error.wait
    return wait_random_exponential(multiplier=1, max=60, min=0.5)(state)
