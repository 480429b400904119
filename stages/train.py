"""train: QLoRA on the chosen text -> models/adapter, with its curve

    python -m stages.train           reads data/formatted/native/, models/base/
                                     leaves models/adapter/ (PEFT, safetensors),
                                     reports/train/{history.jsonl,summary.json}

history.jsonl has a line a step:
    {"step": 1, "epoch": 0.016, "loss": 2.31, "learning_rate": 0.0001, "tokens": 1234, "seconds": 3.1}
Checkpoints and the growing history lie in checkpoints/<key>/, where the key is a hash of data, params, base and code,
so a training that was interrupted goes on from there and a changed input never does. Not covered: several processes.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from callwright.faults import Fault
from callwright.outs import read_lines, refusal, to_json, whole_folder
from callwright.params import Params, Train, read_params
from stages import _entry
from stages._tracking import Mirror

NATIVE, BASE = Path("data/formatted/native"), Path("models/base")
ADAPTER, REPORT, WORK = Path("models/adapter"), Path("reports/train"), Path("checkpoints")
CODE = ("stages/train.py", "stages/_qlora.py", "stages/_fused.py", "stages/_tree.py", "stages/_model.py")


def key_of(params: Params, native: Path = NATIVE, base: Path = BASE) -> str:
    """SHA-256 over what goes into a training: data, params, base, code."""
    digest = hashlib.sha256(params.train.model_dump_json().encode())
    for path in [*sorted(native.glob("*.jsonl")), *sorted(p for p in base.iterdir() if p.is_file()), *map(Path, CODE)]:
        with path.open("rb") as file:
            digest.update(f"{path.name}:{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


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

    def go_on_after(self, step: int) -> None:
        """Keep the lines up to the step that a checkpoint holds."""
        kept = [line for line in read_lines(self.path) if line["step"] <= step] if self.path.exists() else []
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


def train(params: Params, key: str, work: Path) -> tuple[Any, dict[str, Any]] | None:
    """The tuned model and its summary; None where it was interrupted and can go on."""
    from stages import _qlora

    _qlora.keep_memory()
    knobs = params.train
    rows, dev = list(read_lines(NATIVE / "train.jsonl")), list(read_lines(NATIVE / "dev.jsonl"))
    if not rows:
        raise Fault(
            f"{NATIVE / 'train.jsonl'} has no rows; raise generate.rows in params.yaml, or see "
            "data/validated/report.json for rejects"
        )
    about = json.loads((BASE / "callwright.json").read_text(encoding="utf-8"))
    model = _qlora.load(BASE, knobs)
    pad = _pad()
    planned = _qlora.order([row["input_ids"] for row in rows], knobs.batch_size, knobs.epochs, knobs.seed)
    tokens = [len(rows[i]["input_ids"]) for i in planned]
    steps = -(-len(planned) // knobs.batch_size)
    print(
        f"train: {about['preset']}, {len(rows)} rows, {steps} steps, {sum(tokens):,} tokens, {_machine(knobs)}",
        flush=True,
    )
    stopped = _Stop()
    with Mirror(key, f"{about['preset']} {key[:8]}") as mirror:
        progress = Progress(work / "history.jsonl", len(rows), steps, tokens, knobs.batch_size, mirror)
        checkpoint = _qlora.last_checkpoint(work)
        progress.go_on_after(int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0)
        done, steps = _qlora.fine_tune(model, rows, knobs, work, pad, progress.step, stopped)
        if done < steps:
            return None
        history = list(read_lines(work / "history.jsonl"))
        dev_loss = _qlora.mean_loss(model, dev, knobs.batch_size, pad) if dev else None
    return model, summary(params, key, about, rows, history, dev_loss)


def summary(
    params: Params, key: str, about: dict[str, Any], rows: Sequence[Any], history: Sequence[Any], dev_loss: float | None
) -> dict[str, Any]:
    """What reports/train/summary.json says. Times are of the process that ended the training."""
    last = history[-1]
    resumed = next((i for i in range(len(history) - 1, 0, -1) if history[i]["seconds"] < history[i - 1]["seconds"]), 0)
    trained = last["tokens"] - (history[resumed - 1]["tokens"] if resumed else 0)
    return {
        "key": key,
        "base": about,
        "quantization": params.train.quantization,
        "steps": len(history),
        "epochs": params.train.epochs,
        "train_rows": len(rows),
        "train_tokens": last["tokens"],
        "label_tokens": round(sum(label != -100 for row in rows for label in row["labels"]) * params.train.epochs),
        "seconds": last["seconds"],
        "tokens_per_second": round(trained / max(last["seconds"], 1e-9), 1),
        "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        "first_loss": history[0]["loss"],
        "final_loss": last["loss"],
        "dev_loss": dev_loss,
    }


class _Stop:
    """The first SIGTERM or SIGINT lets the step end and saves; a second one ends at once."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: object) -> None:
        if self.asked:
            raise _entry.Interrupted
        self.asked = True
        print("train: stopping after this step; a checkpoint is being saved", file=sys.stderr, flush=True)

    def __call__(self) -> bool:
        return self.asked


@contextmanager
def alone(work: Path) -> Iterator[None]:
    """One trainer at a time in a workspace; a second one meets a sentence that names the first."""
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read().strip() or "another process"
            raise Fault(f"{work} is being trained in by {owner}; wait for it, or end it, then run this again") from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()}")
        lock.flush()
        yield


@contextmanager
def _checkpoints(work: Path) -> Iterator[None]:
    """Say in a sentence that the disk refused a checkpoint, and leave none that is cut off."""
    from stages._qlora import WHOLE

    try:
        yield
    except Exception as error:
        number, file = refusal(error), getattr(error, "filename", None)
        elsewhere = isinstance(file, str) and not Path(file).absolute().is_relative_to(work.absolute())
        if number is None or elsewhere:
            raise
        for cut_off in work.glob("checkpoint-*"):
            if not (cut_off / WHOLE).exists():
                shutil.rmtree(cut_off, ignore_errors=True)
        raise Fault(
            f"{work} could not be written: {os.strerror(number)}; the last whole checkpoint in it is kept. "
            "Make room or give yourself access there, then run it again: it goes on from that"
        ) from error


def _pad() -> int:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(BASE)
    return int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id)


def _machine(knobs: Train) -> str:
    import torch

    from stages._model import has_int8, number_format

    on_gpu, number = torch.cuda.is_available(), str(number_format()).removeprefix("torch.")
    name = torch.cuda.get_device_name() if on_gpu else f"{torch.get_num_threads()} CPU threads"
    return f"{name}, {number}" + (" and int8" if knobs.int8_products and not on_gpu and has_int8() else "")


def save(model: Any, summary: dict[str, Any], work: Path) -> None:
    with whole_folder(ADAPTER) as folder:
        model.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)  # PEFT's empty model card; register writes the real one
        (folder / "callwright.json").write_text(
            to_json({name: summary[name] for name in ("base", "quantization", "key")}, indent=2) + "\n",
            encoding="utf-8",
        )
    with whole_folder(REPORT) as folder:
        shutil.copyfile(work / "history.jsonl", folder / "history.jsonl")
        (folder / "summary.json").write_text(to_json(summary, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    params = read_params()
    with alone(WORK):
        key = key_of(params)
        work = WORK / key[:16]
        work.mkdir(parents=True, exist_ok=True)
        with _checkpoints(work):
            done = train(params, key, work)
        if done is None:
            raise _entry.Interrupted
        save(*done, work)
        shutil.rmtree(work)
    summary = done[1]
    print(
        f"train: loss {summary['first_loss']:.3f} -> {summary['final_loss']:.3f} in {summary['seconds']:.0f} s; "
        f"adapter in {ADAPTER}"
    )


if __name__ == "__main__":
    _entry.run(main)
