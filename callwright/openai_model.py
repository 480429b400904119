"""Any OpenAI-compatible address behind the loop's `Model`: tools go as functions, results by the id of their call.

    model = OpenAIModel(read_where("http://localhost:8000/v1#qwen3", os.environ))
    model.answer([asked])     ->  [Spoken('{"tool_calls": […]}', Called(…))]

A call whose arguments are no JSON object is an `Unparsed` with the reason, never mended. A conversation that the server
does not take (too long for it, say) is a `Spoken` that was not `asked`; a server that does not answer is a `Fault`.
The key is the teacher's: from the environment, for this address only.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from callwright.answers import Answer, Called, Said, Unparsed, read_answer, strict_json
from callwright.faults import Fault
from callwright.loop import Asked, Spoken
from callwright.outs import to_json
from callwright.records import BadRecord, Category, Example, Split
from callwright.teacher.address import Address, read_address
from callwright.teacher.questions import Lost, printable
from callwright.teacher.responses import Again, BadForm, Free, read_body, refusal
from callwright.teacher.wire import TooLong, openai_client

if TYPE_CHECKING:  # loaded when something is asked
    from openai import AsyncOpenAI
    from tenacity import RetryCallState

TRIES = 3
_SHOWN = 12
"""So many names of models stand in a sentence."""


def read_where(text: str, environment: Mapping[str, str], timeout: float = 20.0) -> Address:
    """The address and model of `http://HOST/v1#MODEL`; without a name the one model that the address has is asked.

    `Fault` where it is no address, does not answer, or has several models.
    """
    url, _, name = text.partition("#")
    try:
        where = read_address(url, name or "its only one", environment)
    except Fault as fault:
        raise _fault(str(fault)) from None
    if name:
        return where
    names = asyncio.run(_models(where, timeout))
    if len(names) == 1:
        return replace(where, model=names[0])
    told = ", ".join(printable(each)[:80] for each in names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
    has = f"has {len(names)} models ({told})" if names else "names no model"
    raise Fault(f"{where.url} {has}; say which you mean: --model '{where.url}#NAME'")


async def _models(where: Address, seconds: float) -> list[str]:
    try:
        async with openai_client(where, seconds) as client, _told(where, seconds):
            raw = await client.models.with_raw_response.list()
        listed = strict_json(bytes(raw.content).decode())["data"]
        return [str(one["id"]) for one in listed]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
    except (BadForm, Free, Again, TooLong) as error:
        said = str(error.error if isinstance(error, Free) else error).removeprefix(f"{where.url} ")
        way_out = f"name the model yourself, --model '{where.url}#NAME', or mend the address"
        raise _fault(f"{where.url}, asked for its models, {said or 'says more than can be read'}; {way_out}") from None


@asynccontextmanager
async def _told(where: Address, seconds: float) -> AsyncIterator[None]:
    """Turn what the client throws into the teacher's errors, which say whether asking again may help."""
    import openai

    try:
        async with asyncio.timeout(seconds):
            yield
    except openai.APIStatusError as error:
        raise refusal(where, error.status_code, error.response.text, error.response.headers) from None
    except (TimeoutError, openai.APITimeoutError):
        raise Again("timeout", f"gave no answer within {seconds:g} s") from None
    except openai.APIConnectionError as error:
        cause = error.__cause__
        why = where.scrub(str(cause)) or type(cause).__name__
        how = "cannot be reached" if "Connect" in type(cause).__name__ else "broke the connection off"
        raise Again("unreachable", f"{how} ({why})") from None


class OpenAIModel:
    """`timeout`: seconds for one answer; `at_once`: how many are asked for at a time; `pause`: how waiting is done."""

    def __init__(
        self,
        where: Address,
        *,
        max_new_tokens: int = 1024,
        timeout: float = 120.0,
        at_once: int = 8,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.where, self.max_new_tokens, self.timeout, self.at_once = where, max_new_tokens, timeout, at_once
        self.pause = pause
        self._classic, self._proven = True, False

    def answer(self, asked: Sequence[Asked], *, temperature: float = 0.0, seed: int = 0) -> list[Spoken]:
        """One answer to each. `Fault` where the server does not answer, or does not know the model or the key."""
        return asyncio.run(self._all(asked, temperature, seed))

    async def _all(self, asked: Sequence[Asked], temperature: float, seed: int) -> list[Spoken]:
        turns = asyncio.Semaphore(self.at_once)
        async with openai_client(self.where, self.timeout) as client:

            async def one(number: int, each: Asked) -> Spoken:
                async with turns:
                    return await self._patiently(client, _request(each), temperature, seed + number)

            tasks = [asyncio.create_task(one(number, each)) for number, each in enumerate(asked)]
            try:
                return list(await asyncio.gather(*tasks))
            finally:  # one has failed: nobody waits for the others
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _patiently(self, client: AsyncOpenAI, request: dict[str, Any], temperature: float, seed: int) -> Spoken:
        from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt

        again = AsyncRetrying(
            retry=retry_if_exception(_helps),
            stop=stop_after_attempt(TRIES),
            wait=_wait,
            sleep=self.pause,
            reraise=True,
        )
        try:
            return await again(self._in_some_form, client, request, temperature, seed)
        except Again as error:
            times = f" ({TRIES} times)" if _helps(error) else ""
            raise _fault(f"{self.where.url} {error}{times}; run this again when it answers") from None
        except Lost as lost:
            if lost.code == "refused_request":
                return _unasked(str(lost))
            raise _fault(str(lost)) from None
        except Fault as fault:
            raise _fault(str(fault)) from None
        except TooLong:
            return Spoken("", Unparsed("", "the server's answer is longer than any that was asked for"))

    async def _in_some_form(
        self, client: AsyncOpenAI, request: dict[str, Any], temperature: float, seed: int
    ) -> Spoken:
        """Newer models take `max_completion_tokens` and no temperature; which it is, the first answer shows."""
        while True:
            classic = self._classic
            options: dict[str, Any] = {"max_completion_tokens": self.max_new_tokens}
            if classic:
                options = {"max_tokens": self.max_new_tokens, "temperature": temperature}
                options |= {"seed": seed} if temperature else {}
            try:
                spoken = _read(self.where, await self._post(client, request | options))
            except BadForm as error:
                if classic and (not self._proven or not self._classic):
                    self._classic = False
                    continue
                if self._proven:  # others were answered: it is this conversation that is not taken
                    return _unasked(f"{self.where.url} {error}")
                raise Fault(
                    f"{self.where.url} {error}; see whether it serves {self.where.model!r} with tools"
                ) from None
            except Free as free:
                raise free.error from None
            self._proven = True
            return spoken

    async def _post(self, client: AsyncOpenAI, options: dict[str, Any]) -> bytes:
        async with _told(self.where, self.timeout):
            raw = await client.chat.completions.with_raw_response.create(model=self.where.model, **options)
            return bytes(raw.content)


def _fault(sentence: str) -> Fault:
    """The teacher has its address in an option of its own."""
    return Fault(sentence.replace("--address", "the address in --model"))


def _helps(error: BaseException) -> bool:
    """Whether asking again may help: not a server that is slow, which would only have more to do."""
    return isinstance(error, Again) and error.code != "timeout"


def _wait(state: RetryCallState) -> float:
    from tenacity import wait_random_exponential

    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, Again) and error.wait is not None:
        return error.wait
    return wait_random_exponential(multiplier=1, max=20, min=0.5)(state)


def _request(asked: Asked) -> dict[str, Any]:
    """Messages and tools as OpenAI writes them."""
    from callwright.exchange.openai import write

    row = Example("asked", asked.language, Category.SINGLE, Split.TEST, asked.tools, asked.messages)
    written = next(iter(write(row)))
    return {name: written[name] for name in ("messages", "tools") if name in written}


def _read(where: Address, body: bytes) -> Spoken:
    """What the first choice says; `Again` where the body is no answer."""
    read_body(where, body)
    choice = next(iter(strict_json(body.decode())["choices"]), None)
    message = where.scrub(choice.get("message") if isinstance(choice, Mapping) else None)
    if not isinstance(message, Mapping):
        return Spoken("", Unparsed("", "the answer holds no message"))
    if message.get("tool_calls"):
        kept = {name: message[name] for name in ("content", "tool_calls") if message.get(name)}
        raw = to_json(kept)
        return Spoken(raw, _calls(message["tool_calls"], raw))
    text = message.get("content") or message.get("refusal") or ""
    if not isinstance(text, str):
        raw = to_json(text)
        return Spoken(raw, Unparsed(raw, "content is no text"))
    return Spoken(text, _text(text))


def _calls(listed: Any, raw: str) -> Answer:
    from callwright.exchange.tools import read_function_call

    if not isinstance(listed, list):
        return Unparsed(raw, "tool_calls is no list")
    calls = []
    for i, call in enumerate(listed):
        try:
            function = call.get("function") if isinstance(call, Mapping) else None
            calls.append(read_function_call(function, f"tool_calls[{i}].function"))
        except BadRecord as error:
            return Unparsed(raw, str(error))
    return Called(tuple(calls))


def _text(text: str) -> Answer:
    """Text; but what looks like calls in the document's form is read as such.

    A model of ours writes them so, and a server that does not know its form hands them through. Others may begin a line
    with a code mark and mean text.
    """
    if '"tool"' in text or text.lstrip().startswith(("{", "[")):
        return read_answer(text)
    return Said(text.strip()) if text.strip() else Unparsed(text, "the answer is empty")


def _unasked(why: str) -> Spoken:
    return Spoken("", Unparsed("", why), asked=False)
