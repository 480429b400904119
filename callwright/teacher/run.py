"""A run: plans become questions, answers become rows, until the plan is done, a cap is reached or someone stops it.

    report = asyncio.run(Run(client, plans, rules, rows).through(100))

Each planned row is tried twice; the second question says what was wrong with the first answer. A row that is in the
file is not asked for again.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from callwright.backend import Refused
from callwright.duplicates import dense
from callwright.faults import Fault
from callwright.records import Calls, Category, Example, Message, Result
from callwright.rules import Rules
from callwright.schemas import schema_fault
from callwright.teacher.budget import CapReached
from callwright.teacher.client import Client
from callwright.teacher.plans import Plan, Plans
from callwright.teacher.prompts import first_question, next_question
from callwright.teacher.questions import Lost, Question
from callwright.teacher.reading import Reject, next_turn, read_reply, row, turns
from callwright.teacher.report import Refusal, Report
from callwright.teacher.rowfile import RowFile
from callwright.teacher.worlds import Happening

ATTEMPTS = 2
INTERRUPTED = "interrupted"


class Run:
    """`go_on`: a row whose answer is lost is counted and the run goes on; otherwise it stops there."""

    def __init__(
        self,
        client: Client,
        plans: Plans,
        rules: Rules,
        rows: RowFile,
        *,
        answer_tokens: int = 2048,
        concurrency: int = 8,
        go_on: bool = False,
        seen: Callable[[Report], None] = lambda _: None,
    ) -> None:
        self.client, self.plans, self.rules, self.rows = client, plans, rules, rows
        self.answer_tokens, self.concurrency, self.go_on, self.seen = answer_tokens, concurrency, go_on, seen
        self.report = Report(client.where.model, client.where.url, str(rows.path), 0, 0)

    async def through(self, count: int) -> Report:
        """Go through the first `count` plans. `Fault` where it stops for good; `report` tells how far it came."""
        places = [i for i in range(count) if self.plans.id(i) not in self.rows.ids]
        self.report.planned, self.report.before = count, count - len(places)
        plans = map(self.plans.plan, places)
        workers = [asyncio.create_task(self._work(plans)) for _ in range(min(self.concurrency, len(places)))]
        with _stoppable(workers) as stopped:
            try:
                await asyncio.gather(*workers)
            except CapReached as cap:
                self.report.stopped = str(cap)
            except asyncio.CancelledError:
                if not stopped:
                    raise
                self.report.stopped = INTERRUPTED
            except Fault as fault:
                self.report.stopped = str(fault)
                raise
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)
        return self.report

    async def _work(self, plans: Iterator[Plan]) -> None:
        for plan in plans:
            code = await self._row(plan)
            if code is None:
                self.report.accepted[str(plan.category)] += 1
            else:
                self.report.rejected[code] += 1
            self.seen(self.report)

    async def _row(self, plan: Plan) -> str | None:
        """Write the plan's row, or return the code of its last reject."""
        code, wrong = None, ""
        for attempt in range(ATTEMPTS):
            try:
                made = await self._write(plan, attempt, wrong)
                self._judge(made)
            except Reject as reject:
                code, wrong = reject.code, reject.message
            except Lost as lost:
                if not self.go_on:
                    raise Fault(f"{lost}; {self._kept()}, and --on-error go-on leaves such a row out") from None
                self._refuse(plan, attempt, f"lost_{lost.code}", str(lost))
                return f"lost_{lost.code}"
            else:
                self.rows.add(made)
                return None
            self._refuse(plan, attempt, code, wrong)
        return code

    async def _write(self, plan: Plan, attempt: int, wrong: str) -> Example:
        messages, schema = first_question(plan)
        told = list(turns(plan, await self._said(messages, schema, attempt, wrong)))
        if plan.live:
            with Happening(plan, plan.live) as world:
                await self._go_on(plan, told, world, attempt)
        source = {"generator": "teacher", "model": self.client.where.model, "seed": self.plans.seed}
        if plan.toolset.pack:
            source["pack"] = plan.toolset.pack.pack
        return row(plan, told, source)

    async def _go_on(self, plan: Plan, told: list[Message], world: Happening, attempt: int) -> None:
        """Run the calls and ask for what follows, until the reply."""
        steps = len(plan.targets) if plan.category is Category.CHAINED else 1
        tools = {tool.name: tool for tool in plan.offered}
        for step in range(steps):
            last = told[-1]
            assert isinstance(last, Calls)  # noqa: S101 - `turns` and `next_turn` made it
            for call in last.calls:  # by the code of the rule, before the backend refuses it
                if fault := schema_fault(call, tools.get(call.tool)):
                    raise Reject(fault[0], f"{plan.id}: {fault[1]}")
            try:
                results = world.results(last.calls)
            except Refused as refusal:
                raise Reject("execution_failed", f"the backend refuses {last.calls[0].tool}: {refusal}") from None
            told += [Result(call.tool, content) for call, content in zip(last.calls, results, strict=True)]
            calls = step + 1 < steps
            messages, schema = next_question(plan, told, calls)
            told.append(next_turn(await self._said(messages, schema, attempt), calls))

    async def _said(
        self, messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any], attempt: int, wrong: str = ""
    ) -> dict[str, Any]:
        if wrong:
            again = f"An earlier answer was turned down: {wrong}\nAnswer anew, with another request, and mend that."
            messages = [*messages, {"role": "user", "content": again}]
        return read_reply(await self.client.ask(Question(tuple(messages), schema, self.answer_tokens, attempt)))

    def _judge(self, made: Example) -> None:
        """The rules that any row must pass; and no request twice."""
        if failure := self.rules.first_failure(made):
            raise Reject(failure.code, failure.message)
        if twin := self.rows.requests.get(dense(made)):
            raise Reject("duplicate", f"{made.id}: the same request stands in {twin}")

    def _refuse(self, plan: Plan, attempt: int, code: str, message: str) -> None:
        self.report.refusals.append(Refusal(plan.id, attempt, code, self.client.where.scrub(message)))

    def _kept(self) -> str:
        return f"{self.report.accepted.total()} new rows are kept in {self.rows.path}; run this again to go on"


@contextlib.contextmanager
def _stoppable(workers: Sequence[asyncio.Task[None]]) -> Iterator[list[int]]:
    """SIGINT and SIGTERM cancel the workers; yields the signals that came."""
    loop, came = asyncio.get_running_loop(), list[int]()

    def stop(number: int) -> None:
        came.append(number)
        for worker in workers:
            worker.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(ValueError, RuntimeError):  # not in the main thread: the caller's to end
            loop.add_signal_handler(number, stop, number)
    try:
        yield came
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(ValueError, RuntimeError):
                loop.remove_signal_handler(number)
