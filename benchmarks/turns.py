"""Training processes that take turns: each trains on for some steps, says how fast, and waits to be told to go on.

    in a side:   job, turns = given()                   ready to train on what JOB.json says
                 turns.step(loss, tokens)               after each optimizer step; it waits at the end of a turn
    outside:     with side([python, "-m", …], job, folder) as it: it.turn()
                 -> Turn(seconds=21.3, tokens=6604, losses=[2.31, …], peak=2951430144)

So start-up and other sides are in no one's time, each peak of memory is one side's own, and a side trains in one piece.
Standard library only: peers import this in a venv of their own.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

ROOT = Path(__file__).parent.parent
LIMIT = 900.0
"""Seconds after which a turn that has not ended never will."""


class Turn(NamedTuple):
    seconds: float
    """Of whole optimizer steps: forward, backward, clip, step, and what makes the batches."""
    tokens: int
    """Of rows; padding is not counted."""
    losses: list[float]
    peak: int
    """The most memory that the process has had so far, in bytes; 0 where the machine does not say."""

    @property
    def rate(self) -> float:
        return self.tokens / self.seconds


class NotMeasured(Exception):
    """Why a side has no figures here."""


class Turns:
    """A side's end. `steps` are those of each turn, the first one warm-up."""

    def __init__(self, steps: Sequence[int], told: TextIO) -> None:
        self.steps, self.told = list(steps), told
        self._begin()

    def _begin(self) -> None:
        self.losses, self.tokens, self.began = list[float](), 0, time.perf_counter()

    def step(self, loss: float, tokens: int) -> None:
        self.losses.append(loss)
        self.tokens += tokens
        if self.steps and len(self.losses) == self.steps[0]:
            seconds = time.perf_counter() - self.began
            print(json.dumps({"seconds": seconds, "tokens": self.tokens, "losses": self.losses}), file=self.told)
            self.told.flush()
            self.steps.pop(0)
            if self.steps and not sys.stdin.readline():
                sys.exit(1)  # nobody waits for it any more
            self._begin()


def given() -> tuple[dict[str, Any], Turns]:
    """What JOB.json asks for; whatever else prints goes to the log from here on."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return job, Turns(job["turns"], told)


def pad_of(base: str) -> int:
    """The token that fills up the rows of a batch."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    return int(tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id)


class Side:
    """The other end: a process that has been started."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process, self.log = process, log
        self._waits = False

    def turn(self) -> Turn:
        """Let it go on to the end of its next turn; `NotMeasured` where it ends before."""
        assert self.process.stdin  # noqa: S101 - it was asked for
        assert self.process.stdout  # noqa: S101 - it was asked for
        watchdog = threading.Timer(LIMIT, self.process.kill)
        watchdog.start()
        try:
            if self._waits:
                with contextlib.suppress(BrokenPipeError):  # it has ended; reading says so
                    self.process.stdin.write("\n")
                    self.process.stdin.flush()
            line = self.process.stdout.readline()
        finally:
            watchdog.cancel()
        if not line:
            self.process.wait()
            raise NotMeasured(f"it ended with {self.process.returncode}: {last_line(self.log)}")
        self._waits = True
        return Turn(**json.loads(line), peak=_peak_of(self.process.pid))


@contextlib.contextmanager
def side(command: Sequence[str], job: dict[str, Any], folder: Path) -> Iterator[Side]:
    """Start `command` with `job` written to JOB.json; it has `folder` for itself, no key of ours, and calls nobody."""
    folder.mkdir(parents=True)
    log, path = folder / "log.txt", folder / "job.json"
    path.write_text(json.dumps(job), encoding="utf-8")
    env = {name: value for name, value in os.environ.items() if name in _KEPT} | _QUIET
    env |= {"PYTHONPATH": str(ROOT), "HOME": str(folder), "HF_HOME": str(folder / "hub")}
    pipe = subprocess.PIPE
    with (
        log.open("w", encoding="utf-8") as errors,
        subprocess.Popen(
            [*command, str(path)], env=env, cwd=folder, stdin=pipe, stdout=pipe, stderr=errors, text=True
        ) as process,
    ):
        try:
            yield Side(process, log)
        finally:
            process.kill()


_KEPT = {"PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "OMP_NUM_THREADS"}
_QUIET = {
    "CUDA_VISIBLE_DEVICES": "",
    "HF_HUB_OFFLINE": "1",
    "PYTHONUNBUFFERED": "1",
    "DO_NOT_TRACK": "1",
    "WANDB_DISABLED": "true",
    "TOKENIZERS_PARALLELISM": "false",
}


def spread(items: Sequence[Any], count: int) -> list[Any]:
    """`count` of `items`, evenly from the first to the last: few that stand for all."""
    return [items[int((k + 0.5) * len(items) / count)] for k in range(count)]


def cut(items: Sequence[Any], size: int) -> list[Any]:
    return [items[i : i + size] for i in range(0, len(items), size)]


def last_line(log: Path) -> str:
    """The last line that says something, at most 200 characters of it."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "it said nothing")[:200]


def _peak_of(pid: int) -> int:
    """VmHWM of proc(5): unlike ru_maxrss it does not count the process that this one was forked from."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM:")), 0)
