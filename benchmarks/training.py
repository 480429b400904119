"""Training on a CPU: real tokens a second, loss curves and memory, beside stock TRL and LLaMA-Factory on our own rows.

    python -m benchmarks.training          some thirteen minutes on two idle cores; the first time it makes a venv

A side is a process of its own (benchmarks/turns.py). Ours is the train stage's own code (benchmarks/ours.py), theirs
are in benchmarks/peers/: NF4 by bitsandbytes, the same LoRA, hyperparameters and rows. Two at a time train in turns,
whole optimizer steps, and what counts is tokens of rows, not padding. A ratio is the median of the turns' ratios.
On the same batches both take AdamW and exact products. In bfloat16 two programs round differently and the roundings
add up, so their curves of fewer and shorter rows are held against those in float32, which show what each computes.
"""

from __future__ import annotations

import contextlib
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.batching import WAYS
from benchmarks.turns import ROOT, NotMeasured, Turn, cut, side, spread
from benchmarks.venvs import installed
from callwright.outs import read_lines, write_lines
from callwright.params import Train, read_params
from stages._model import has_bfloat16
from stages._order import order

BASE, ROWS = Path("models/base"), Path("data/formatted/native/train.jsonl")
BENCH = ROOT / ".bench"
LLAMA_FACTORY = ("llamafactory==0.9.5", "bitsandbytes==0.50.2")
STEPS, CURVE = (1, 3, 3, 3), (1, 7, 7, 7)
"""Steps of each turn, the first one warm-up: for a rate, and for a loss curve."""
BATCHING = (3, *(2,) * 9)
FEW = 2
"""Rows of a step of a curve: in float32 they take several times as long where bfloat16 has instructions."""
PLAIN: dict[str, Any] = {"optimizer": "adamw", "decision_weight": 1.0, "int8_products": False}
"""Knobs with which ours does what stock TRL does."""
FLOPS = 4
"""For a parameter and token: LoRA's forward pass takes 2, its backward pass 2 through the frozen weights."""
ALLOWED = 1600
"""Tokens a second that 900 GFLOP/s allow 135M parameters (docs/lab-notes.md)."""


def measure() -> Iterator[str]:
    """Some lines; where a side cannot run, why."""
    if not (BASE / "model.safetensors").exists() or not ROWS.exists():
        yield "training               not measured: nothing has run yet; make run, then make bench"
        return
    BENCH.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="training-", dir=BENCH) as name:
        params = read_params()
        yield from Bench(Path(name), params.train, params.format.max_length).measure()


@dataclass(frozen=True, slots=True)
class Pair:
    """Turns of ours and of theirs, the warm-up first."""

    ours: list[Turn]
    theirs: list[Turn]

    @property
    def times(self) -> float:
        return statistics.median(a.rate / b.rate for a, b in zip(self.ours[1:], self.theirs[1:], strict=True))

    @property
    def apart(self) -> float:
        return apart(self.ours, self.theirs)

    def lines(self, name: str, them: str, about: str) -> Iterator[str]:
        ours, theirs = rate(self.ours), rate(self.theirs)
        yield f"  {name:<20} {ours:,.0f} tokens/s, {self.times:.2f} times {them} ({theirs:,.0f}); {about}"
        a, b = self.ours[-1].peak, self.theirs[-1].peak
        if a and b:
            yield f"  {'':<20} peak memory {a >> 20:,} MiB, {a / b:.2f} times theirs ({b >> 20:,} MiB)"


def rate(turns: Sequence[Turn]) -> float:
    return statistics.median(turn.rate for turn in turns[1:])


def apart(some: Sequence[Turn], others: Sequence[Turn]) -> float:
    """The largest difference of two loss curves."""
    return max(abs(a - b) for a, b in zip(curve(some), curve(others), strict=True))


def curve(turns: Sequence[Turn]) -> list[float]:
    return [loss for turn in turns for loss in turn.losses]


class Bench:
    """The parts of the benchmark, on the same rows and knobs; what they write is in `folder`."""

    def __init__(self, folder: Path, train: Train, max_length: int) -> None:
        self.folder, self.train, self.max_length = folder.absolute(), train, max_length
        self.number = "bfloat16" if has_bfloat16() else "float32"
        self.rows = list(read_lines(ROWS))
        planned = order(_ids(self.rows), train.batch_size, 1, train.seed)
        self.batches = cut(planned, train.batch_size)
        """Row numbers of all the batches that an epoch of ours has."""
        self.own = 0.0
        """Our tokens a second with our own batches."""

    def measure(self) -> Iterator[str]:
        size = f"{self.train.batch_size} rows a step, tokens of rows a second, medians of {len(STEPS) - 1} turns"
        yield f"training               {size}, {self.number}, {threads()} threads"
        parts = (self.own_batches, self.llama_factory, self.same_batches, self.loss_curves, self.arithmetic, self.ways)
        for part in parts:
            try:
                yield from part()
            except NotMeasured as why:
                yield f"  {part.__name__.replace('_', ' '):<20} not measured: {why}"

    def own_batches(self) -> Iterator[str]:
        found = self.pair("own", self.job(STEPS, batches="shuffled"), TRL)
        self.own = rate(found.ours)
        knobs = f"{self.train.optimizer}{', int8 products' if self.train.int8_products else ''}"
        yield from found.lines("own batches", "stock TRL", f"ours as params.yaml says ({knobs}), theirs adamw")

    def llama_factory(self) -> Iterator[str]:
        torch = f"torch=={version('torch').partition('+')[0]}"
        python = installed(BENCH / "llama-factory", [*LLAMA_FACTORY, torch], "2.3 GB")
        found = self.pair("llama-factory", self.job(STEPS), [str(python), "-m", "benchmarks.peers.llama_factory"])
        yield from found.lines("own batches", "LLaMA-Factory", "NF4 there too")

    def same_batches(self) -> Iterator[str]:
        found = self.pair("same", self.job(STEPS, batches="given", **PLAIN), TRL)
        yield from found.lines("same batches", "stock TRL", "both adamw, exact products")
        yield f"  {'':<20} losses of {sum(STEPS)} steps at most {found.apart:.1e} apart in {self.number}"

    def loss_curves(self) -> Iterator[str]:
        job = self.job(CURVE, batches="given", short=True, batch_size=FEW, **PLAIN)
        exact = self.pair("curves in float32", job | {"number": "float32"}, TRL)
        about = f"{sum(CURVE)} steps of {FEW} rows of the shorter half, AdamW, the same batches"
        yield f"  {'loss curves':<20} at most {exact.apart:.1e} from stock TRL's in float32; {about}"
        if self.number != "float32":
            found = self.pair(f"curves in {self.number}", job, TRL)
            ours, theirs = apart(found.ours, exact.theirs), apart(found.theirs, exact.theirs)
            yield (
                f"  {'':<20} at most {found.apart:.1e} in {self.number}, where rounding alone moves "
                f"ours by {ours:.1e} and stock TRL's by {theirs:.1e}"
            )

    def arithmetic(self) -> Iterator[str]:
        """How much of what the products of matrices alone would allow."""
        speed, parameters = product_speed(self.number), parameters_of(BASE / "model.safetensors")
        here = speed * 1e9 / FLOPS / parameters
        share = f"ours {self.own / here:.0%} of it, {self.own / ALLOWED:.0%} of {ALLOWED:,}"
        yield (
            f"  {'arithmetic':<20} {speed:,.0f} GFLOP/s in {self.number} allow {here:,.0f} tokens/s "
            f"at {FLOPS} FLOPs for each of {parameters / 1e6:.0f}M parameters; {share}"
        )

    def ways(self) -> Iterator[str]:
        path = self.folder / "all.jsonl"
        write_lines(path, self.rows)
        job = self.job(BATCHING) | {"rows": str(path)}
        with side(_module("benchmarks.batching"), job, self.folder / "ways") as it:
            turns = [it.turn() for _ in BATCHING][1:]
        rates = {way: statistics.median(turn.rate for turn in turns[i :: len(WAYS)]) for i, way in enumerate(WAYS)}
        told = ", ".join(f"{way} {each:,.0f}" for way, each in rates.items())
        yield f"  {'ways to batch':<20} {told} tokens/s in the same training of ours"

    def job(self, turns: Sequence[int], *, short: bool = False, batches: str = "", **knobs: Any) -> dict[str, Any]:
        """JOB.json: rows of whole batches, spread over all that an epoch has, or over its shorter half."""
        train = self.train.model_dump(mode="json") | {"epochs": 1.0, "checkpoint_steps": 10**6}
        number = knobs.pop("number", self.number)
        train |= knobs
        size = train["batch_size"]
        whole = [part for batch in self.batches for part in cut(batch, size) if len(part) == size]
        if short:
            whole.sort(key=lambda batch: sum(len(self.rows[i]["input_ids"]) for i in batch))
            whole = whole[: len(whole) // 2]
        rows = [self.rows[i] for batch in spread(whole, sum(turns)) for i in batch]
        path = self.folder / f"rows-{len(list(self.folder.iterdir()))}.jsonl"
        write_lines(path, rows)
        return {
            "base": str(BASE.absolute()),
            "rows": str(path),
            "order": order(_ids(rows), size, 1, train["seed"]),
            "train": train | {"rows_at_a_time": size},
            "turns": list(turns),
            "number": number,
            "max_length": self.max_length,
            "batches": batches,
        }

    def pair(self, name: str, job: dict[str, Any], theirs: Sequence[str]) -> Pair:
        """`ours` and `theirs` in turns; no more than these two are in memory."""
        print(f"training: {name}, {sum(job['turns'])} steps on either side", file=sys.stderr, flush=True)
        with (
            side(_module("benchmarks.ours"), job, self.folder / f"{name} ours") as we,
            contextlib.ExitStack() as stack,
        ):
            ours = [we.turn()]
            they = stack.enter_context(side(theirs, job, self.folder / f"{name} theirs"))
            found = Pair(ours, [they.turn()])
            for _ in job["turns"][1:]:
                found.ours.append(we.turn())
                found.theirs.append(they.turn())
        return found


def _module(name: str) -> list[str]:
    return [sys.executable, "-m", name]


TRL = _module("benchmarks.peers.trl_stock")


def _ids(rows: Sequence[dict[str, Any]]) -> list[list[int]]:
    return [row["input_ids"] for row in rows]


def product_speed(number: str) -> float:
    """GFLOP/s, in a process of its own."""
    command = [*_module("benchmarks.products"), number]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, timeout=600)
    if done.returncode:
        raise NotMeasured(f"{' '.join(command[1:])} ended with {done.returncode}: {done.stderr.strip()[-200:]}")
    return float(done.stdout)


def parameters_of(weights: Path) -> int:
    from safetensors import safe_open

    with safe_open(weights, framework="np") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118 - no mapping


def threads() -> int:
    return int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0)))


def main() -> None:
    for line in measure():
        print(line, flush=True)


if __name__ == "__main__":
    main()
