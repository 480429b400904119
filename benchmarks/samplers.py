"""Rows a second: requests with their calls from our packs, beside NeMo Data Designer's samplers on the same tools.

Like for like is a request about one tool and its call, in either language, each side with all that it does then: ours
draws a list of tools, writes whole records and lets no request stand twice; theirs makes a table and a profile of it.
Beside it our rows of all categories. Sides take turns. Their venv is made at the first run, in .bench/, and kept.
Not covered: their columns that ask a model.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.turns import NotMeasured
from benchmarks.venvs import installed
from callwright.filling import drawn, put
from callwright.pack_shape import PLACEHOLDER
from callwright.packs import Pack, PackTool
from callwright.params import Exam, Generate
from callwright.records import Call, Language, Split
from callwright.schemas import schema_fault

PACKAGE = "data-designer==0.9.7"
PEER = Path(__file__).parent / "peers" / "samplers.py"
ROUNDS, OURS, THEIRS = 3, 20_000, 2_000
VALUES = 40
"""Values that their samplers choose from, for each place of a phrasing."""


def measure(packs: Sequence[Pack], params: Generate, bench: Path) -> Iterator[str]:
    """One line; where their venv cannot be made, why, and our rates alone."""
    with tempfile.TemporaryDirectory(prefix="samplers-", dir=bench) as name:
        folder = Path(name)
        tools = tools_for_samplers(packs)
        (folder / "tools.json").write_text(json.dumps(tools), encoding="utf-8")
        try:
            python = installed(bench / "data-designer", [PACKAGE], "800 MB")
            with peer(python, folder) as their:
                rates = _in_turns(packs, params, folder, their)
        except NotMeasured as why:
            rates = _in_turns(packs, params, folder, None)
            yield f"request and call       {rates['like']:,.0f} rows/s; Data Designer not measured: {why}"
            return
        fitting, calls = _fitting(packs, folder / "calls.jsonl")
    like, full, theirs = (rates[side] for side in ("like", "full", "theirs"))
    yield (
        f"request and call       {like:,.0f} rows/s, {like / theirs:.1f} times Data Designer's samplers "
        f"({theirs:,.0f} rows/s); all categories and variations {full:,.0f} rows/s, {full / theirs:.1f} times"
    )
    if fitting < calls:
        yield f"                       of its {calls} calls {calls - fitting} break their schemas"


class Peer:
    """Their process, which makes rows when it is told to."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process, self.log = process, log

    def said(self) -> str:
        assert self.process.stdout  # noqa: S101 - it was asked for
        if line := self.process.stdout.readline():
            return line
        self.process.wait()
        last = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        raise NotMeasured(f"it ended with {self.process.returncode}: {' '.join(last)[:200]}")

    def rate(self, rows: int) -> float:
        assert self.process.stdin  # noqa: S101 - it was asked for
        self.process.stdin.write(f"{rows}\n")
        self.process.stdin.flush()
        made = json.loads(self.said())
        return float(made["rows"] / made["seconds"])


@contextlib.contextmanager
def peer(python: Path, folder: Path) -> Iterator[Peer]:
    """Their process; it has no key of ours and calls nobody."""
    log = folder / "log.txt"
    env = {"PATH": os.environ.get("PATH", ""), "HOME": str(folder), "NEMO_TELEMETRY_ENABLED": "false"}
    command = [str(python), str(PEER.absolute()), str(folder / "tools.json"), str(folder)]
    pipe = subprocess.PIPE
    with (
        log.open("w", encoding="utf-8") as errors,
        subprocess.Popen(command, env=env, cwd=folder, stdin=pipe, stdout=pipe, stderr=errors, text=True) as process,
    ):
        try:
            their = Peer(process, log)
            their.said()
            yield their
            assert process.stdin  # noqa: S101 - it was asked for
            process.stdin.close()
            process.wait(timeout=60)
        finally:
            process.kill()


def tools_for_samplers(packs: Sequence[Pack]) -> dict[str, Any]:
    """Each tool and language: phrasings with numbered places, the form of the call, values for each place.

    The phrasings are those with the placeholders that most have, and with a text or a number in each.
    """
    rng = Random(1)
    found = {}
    for pack in packs:
        for tool in pack.tools:
            for language in Language:
                if one := _sampled(pack, tool, language, rng):
                    found[f"{tool.name}/{language}"] = one
    return found


def _sampled(pack: Pack, tool: PackTool, language: Language, rng: Random) -> dict[str, Any] | None:
    texts = [(text, tuple(dict.fromkeys(PLACEHOLDER.findall(text)))) for text in tool.phrasings[language].train]
    for held, _ in Counter(tuple(sorted(places)) for _, places in texts).most_common():
        values = [
            [drawn(pack, tool.slot_of(place), language, test=False, spoken=0.0, rng=rng)[1] for _ in range(VALUES)]
            for place in held
        ]
        if not all(type(value) in (str, int, float) for some in values for value in some):
            continue
        numbered = {place: f"{{{i}}}" for i, place in enumerate(held)}
        quotes = ['"' if isinstance(some[0], str) else "" for some in values]
        params = ", ".join(f'"{place}": {q}{numbered[place]}{q}' for place, q in zip(held, quotes, strict=True))
        return {
            "texts": [put(text, numbered) for text, places in texts if tuple(sorted(places)) == held],
            "call": f'{{{{"tool": "{tool.name}", "params": {{{{{params}}}}}}}}}',
            "values": [[str(value) for value in some] for some in values],
        }
    return None


def _in_turns(packs: Sequence[Pack], params: Generate, folder: Path, their: Peer | None) -> dict[str, float]:
    """Medians of rows a second; the first round touches the memory."""
    from stages.generate import lines, plan

    single = params.categories.model_copy(
        update={name: float(name == "single") for name in params.categories.model_fields_set}
    )
    none = params.variation.model_copy(update=dict.fromkeys(params.variation.model_fields_set, 0.0))
    sides = {"full": params, "like": params.model_copy(update={"categories": single, "variation": none})}
    rates: dict[str, list[float]] = {"full": [], "like": [], "theirs": []}
    for turn in range(ROUNDS + 1):
        for side, knobs in sides.items():
            rows = plan(knobs, Split.TRAIN, Exam(rows=OURS, seed=turn))
            began = time.perf_counter()
            with (folder / "ours.jsonl").open("w", encoding="utf-8") as file:
                file.writelines(line + "\n" for line in lines(packs, rows, set()))
            rates[side].append(OURS / (time.perf_counter() - began))
        if their:
            rates["theirs"].append(their.rate(THEIRS))
    return {side: statistics.median(some[1:]) for side, some in rates.items() if some}


def _fitting(packs: Sequence[Pack], path: Path) -> tuple[int, int]:
    """How many of their calls fit their schemas, of how many: what is compared is the same work."""
    tools = {tool.name: tool.offered(Language.EN) for pack in packs for tool in pack.tools}
    calls = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    faults = [schema_fault(Call(call["tool"], call["params"]), tools.get(call["tool"])) for call in calls]
    return faults.count(None), len(faults)
