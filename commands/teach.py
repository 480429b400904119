"""callwright teach: rows written by an LLM behind an OpenAI-compatible address, into data/sources/ (docs/teacher.md)"""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from callwright.faults import Fault
from callwright.packs import FOLDER
from callwright.params import FILE, Generate, read_params
from callwright.records import Language
from callwright.rules import Rules
from callwright.teacher.address import Address, read_address
from callwright.teacher.budget import Budget, Caps
from callwright.teacher.cache import Cache
from callwright.teacher.client import Client
from callwright.teacher.plans import Plans, Toolset, slug
from callwright.teacher.questions import Tally
from callwright.teacher.report import Report
from callwright.teacher.rowfile import RowFile
from callwright.teacher.run import INTERRUPTED, Run
from callwright.teacher.toolsets import of_file, of_packs

SOURCES = Path("data/sources")
CACHE = Path("data/teacher/answers.db")
STOPPED = 75  # EX_TEMPFAIL: run it again


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How the teacher is asked; the same for `teach` and for `pack draft`."""

    model: str
    address: str | None = None
    concurrency: int = 8
    rpm: float | None = None
    max_tokens: int | None = None
    max_cost: float | None = None
    price_in: float | None = None
    price_out: float | None = None
    timeout: float = 120.0
    answer_tokens: int = 2048
    cache: Path = CACHE

    def where(self) -> Address:
        return read_address(self.address, self.model, os.environ)

    def budget(self) -> Budget:
        """`Fault` where a cap cannot be kept."""
        for name, value in (("max-cost", self.max_cost), ("price-in", self.price_in), ("price-out", self.price_out)):
            if value is not None and not 0 <= value < float("inf"):
                raise Fault(f"--{name} is {value}; give a sum of money in USD")
        if self.max_cost is not None and (self.price_in is None or self.price_out is None):
            raise Fault("--max-cost needs --price-in and --price-out: what a million tokens in and out cost, in USD")
        money = [
            None if sum_ is None else Decimal(str(sum_)) for sum_ in (self.max_cost, self.price_in, self.price_out)
        ]
        return Budget(Caps(self.max_tokens, *money))


def asking_of(**given: Any) -> Asking:
    """From options of which those that were not given are None."""
    return Asking(**{name: value for name, value in given.items() if value is not None})


def teach(
    asking: Asking,
    rows: int,
    *,
    packs: str | None = None,
    tools: Path | None = None,
    language: str = "both",
    zh_share: float = 0.5,
    go_on: bool = False,
    seed: int = 7,
    out: Path | None = None,
) -> int:
    """Go through `rows` plans; the exit code: 0 done, 1 stopped at a cap or no row at all, 75 interrupted."""
    where, budget = asking.where(), asking.budget()
    path = out or SOURCES / f"teacher-{slug(asking.model)}.jsonl"
    if path.suffix != ".jsonl":
        raise Fault(f"--out is {path}; name it .jsonl, as validate reads no other files")
    toolsets = _toolsets(packs, tools)
    plans = Plans(toolsets, seed, _languages(language, zh_share), asking.model)
    rules = Rules([toolset.pack for toolset in toolsets if toolset.pack])
    return asyncio.run(_teach(asking, where, budget, plans, rules, rows, path, go_on))


async def _teach(
    asking: Asking, where: Address, budget: Budget, plans: Plans, rules: Rules, rows: int, path: Path, go_on: bool
) -> int:
    with RowFile(path) as file, Cache(asking.cache) as cache:
        if file.mended:
            print(f"{path}: the last line was cut off ({file.mended} bytes) and is taken away", file=sys.stderr)
        async with Client(where, budget, cache, timeout=asking.timeout, rpm=asking.rpm) as client:
            run = Run(
                client,
                plans,
                rules,
                file,
                answer_tokens=asking.answer_tokens,
                concurrency=asking.concurrency,
                go_on=go_on,
                seen=Progress(),
            )
            try:
                report = await run.through(rows)
            finally:
                run.report.write(path.with_suffix(".report.json"), client.tally, budget)
                show(run.report, client.tally, budget)
    if report.stopped == INTERRUPTED:
        print(f"teach: interrupted; {path} keeps what was good, and the next run goes on from here", file=sys.stderr)
        return STOPPED
    if report.stopped:
        print(f"teach: stopped: {report.stopped}; {path} keeps what was good", file=sys.stderr)
        return 1
    return 0 if report.before + report.accepted.total() else 1


class Progress:
    """A line on a terminal that says how far the run is."""

    def __call__(self, report: Report) -> None:
        if sys.stderr.isatty():
            done = report.before + report.accepted.total() + report.rejected.total()
            print(
                f"\r{done} of {report.planned}, {report.rejected.total()} rejected", end="", file=sys.stderr, flush=True
            )


def show(report: Report, tally: Tally, budget: Budget) -> None:
    """The yield as a table."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=120)
    console.print(Text(f"{report.model}: rows in {report.out}"))
    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for label, count in _lines(report, tally, budget):
        table.add_row(Text(label), Text(count)) if label else table.add_section()
    console.print(table)
    for note in tally.notes:
        console.print(Text(note))
    for code in sorted(report.rejected):
        example = next((refusal for refusal in reversed(report.refusals) if refusal.code == code), None)
        if example:
            console.print(Text(f"{code}, such as {example.message}"))


def _lines(report: Report, tally: Tally, budget: Budget) -> list[tuple[str, str]]:
    lines = [("rows planned", report.planned), ("  in the file already", report.before)]
    lines += [("  accepted", report.accepted.total()), ("  rejected", report.rejected.total()), ("  left", report.left)]
    lines += [("", 0), *((f"rejected: {code}", count) for code, count in report.rejected.most_common())]
    lines += [("", 0), ("requests sent", tally.sent), ("  answered", tally.answered), ("  sent again", tally.retried)]
    lines += [("answers from the cache", tally.from_cache)]
    lines += [("tokens in", budget.tokens_in), ("tokens out", budget.tokens_out)]
    told = [(label, f"{count:,}") for label, count in lines]
    if budget.caps.price_in is not None and budget.caps.price_out is not None:
        told.append(("cost, USD", f"{budget.cost:.4f}"))
    return told


def _toolsets(packs: str | None, tools: Path | None) -> list[Toolset]:
    """Those that are named; where none are, the packs of params.yaml."""
    found = [of_file(tools)] if tools else []
    if packs or not tools:
        params = _params()
        if not packs and not params:
            raise Fault(f"there are no tools to write rows about: {FILE} is not here; give --packs or --tools")
        held_packs = set(params.held_out_packs) if params else set[str]()
        held_tools = set(params.held_out_tools) if params else set[str]()
        named = [name.strip() for name in packs.split(",") if name.strip()] if packs else []
        named = named or [name for name in (params.packs if params else ()) if name not in held_packs]
        found += of_packs(named, FOLDER, held_tools, held_packs)
    if not found:
        raise Fault("there are no tools to write rows about: all are held out for the exam; give --packs or --tools")
    return found


def _params() -> Generate | None:
    """What the pipeline knows of packs; people who never run it have no params.yaml."""
    return read_params().generate if FILE.exists() else None


def _languages(language: str, zh_share: float) -> dict[Language, float]:
    if not 0 <= zh_share <= 1:
        raise Fault(f"--zh-share is {zh_share}; give a share from 0 to 1")
    if language == "both":
        return {Language.ZH_TW: zh_share, Language.EN: 1 - zh_share}
    try:
        return {Language(language): 1.0}
    except ValueError:
        raise Fault(f"--language is {language!r}; give zh-TW, en or both") from None
