"""The history of a training while it grows, one line a step, and what a person and MLflow are told of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from callwright.outs import read_lines, to_json
from stages import _checkpoints
from stages._tracking import Mirror


class Progress:
    """Keeps the history, tells the person and MLflow."""

    def __init__(
        self, path: Path, rows: int, steps: int, tokens: Sequence[int], batch_size: int, mirror: Mirror
    ) -> None:
        self.path, self.rows, self.steps, self.tokens, self.batch_size, self.mirror = (
            path,
            rows,
            steps,
            tokens,
            batch_size,
            mirror,
        )
        self.began = self.told = time.monotonic()
        self.before = 0
        """Steps done by an earlier process."""

    def go_on_after(self, checkpoint: Path | None) -> None:
        """Begin with the history that the checkpoint holds: what came after it is done again."""
        step = _checkpoints.step_of(checkpoint)
        kept = list(read_lines(checkpoint / self.path.name)) if checkpoint else []
        self.path.write_text("".join(to_json(line) + "\n" for line in kept), encoding="utf-8")
        self.before = step
        for line in kept:
            self.mirror.log(line["step"], {"loss": line["loss"], "learning_rate": line["learning_rate"]})
        if step:
            print(f"train: going on after step {step} of {self.steps}", flush=True)

    def step(self, step: int, measured: dict[str, float]) -> None:
        now = time.monotonic()
        done = min(step * self.batch_size, len(self.tokens))
        line = {
            "step": step,
            "epoch": round(done / self.rows, 4),
            **measured,
            "tokens": sum(self.tokens[:done]),
            "seconds": round(now - self.began, 2),
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(to_json(line) + "\n")
        self.mirror.log(step, measured)
        if now - self.told >= 10 or step in (self.before + 1, self.steps):
            self.told = now
            each = (now - self.began) / (step - self.before)
            left = round(each * (self.steps - step))
            speed = sum(self.tokens[self.before * self.batch_size : done]) / (now - self.began)
            rest = f"{speed:.0f} tokens/s  {left // 60}:{left % 60:02d} left"
            print(f"train: step {step}/{self.steps}  loss {measured['loss']:.4f}  {rest}", flush=True)
