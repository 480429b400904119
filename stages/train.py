"""train: QLoRA on the chosen text -> models/adapter, with its curve

    python -m stages.train           reads data/formatted/native/, models/base/
                                     leaves models/adapter/ (PEFT, safetensors),
                                     reports/train/{history.jsonl,summary.json}

history.jsonl has a line a step:
    {"step": 1, "epoch": 0.016, "loss": 2.31, "learning_rate": 0.0001, "tokens": 1234, "seconds": 3.1}
Checkpoints and the growing history lie in checkpoints/<key>/, where the key is a hash of data, params, base and code,
so a training that was interrupted, or killed, goes on from there and a changed input never does. With `train.processes`
or `train.launch` several processes share the rows of a step (stages/_launch.py).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import resource
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from callwright.faults import Fault
from callwright.outs import read_lines, refusal, to_json, whole_folder
from callwright.params import Machine, Params, Train, read_params
from stages import _checkpoints, _entry, _fits, _launch, _lock
from stages._order import order
from stages._progress import Progress
from stages._tracking import Mirror

NATIVE, BASE = Path("data/formatted/native"), Path("models/base")
ADAPTER, REPORT, WORK = Path("models/adapter"), Path("reports/train"), Path("checkpoints")
CODE = (
    *("stages/train.py", "stages/_qlora.py", "stages/_loss.py", "stages/_order.py", "stages/_fused.py"),
    *("stages/_trainer.py", "stages/_tree.py", "stages/_soap.py", "stages/_model.py"),
)
KEPT = 3
"""Trainings whose last checkpoints stay: done, or interrupted and not gone on with."""


def key_of(params: Params, native: Path = NATIVE, base: Path = BASE) -> str:
    """SHA-256 over what goes into a training: data, params, base, code."""
    digest = hashlib.sha256(params.train.model_dump_json().encode())
    for path in [*sorted(native.glob("*.jsonl")), *sorted(p for p in base.iterdir() if p.is_file()), *map(Path, CODE)]:
        with path.open("rb") as file:
            digest.update(f"{path.name}:{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def train(params: Params, key: str, work: Path) -> tuple[Any, dict[str, Any]]:
    """The tuned model and its summary; of several processes, the first sums up. Raises `Interrupted`."""
    from stages import _qlora

    _qlora.keep_memory()
    knobs = params.train
    rows, dev = list(read_lines(NATIVE / "train.jsonl")), list(read_lines(NATIVE / "dev.jsonl"))
    check_rows(rows)
    about = json.loads((BASE / "callwright.json").read_text(encoding="utf-8"))
    model = _qlora.load(BASE, knobs)
    tokenizer, pad = _tokenizer()
    first = os.environ.get("RANK", "0") == "0"
    with contextlib.ExitStack() as stack:
        watch: Any = lambda step, measured: None  # noqa: E731 - the first of several processes tells
        if first:
            planned = order([row["input_ids"] for row in rows], knobs.batch_size, knobs.epochs, knobs.seed)
            tokens = [len(rows[i]["input_ids"]) for i in planned]
            steps = -(-len(planned) // knobs.batch_size)
            told = f"{about['preset']}, {len(rows)} rows, {steps} steps, {sum(tokens):,} tokens"
            print(f"train: {told}, {_machine(knobs)}", flush=True)
            mirror = stack.enter_context(Mirror(key, f"{about['preset']} {key[:8]}"))
            progress = Progress(work / _qlora.HISTORY, len(rows), steps, tokens, knobs.batch_size, mirror)
            progress.go_on_after(_checkpoints.newest(work))
            watch = progress.step
        done, steps = _qlora.fine_tune(model, rows, knobs, work, pad, watch, _Stop(), tokenizer)
        if done < steps:
            raise _entry.Interrupted
        dev_loss = _qlora.mean_loss(model, dev, knobs.rows_at_a_time, pad) if dev else None
    history = list(read_lines(work / _qlora.HISTORY)) if first else []
    return model, summary(params, key, about, rows, history, dev_loss) if first else {}


def check_rows(rows: Sequence[dict[str, Any]]) -> None:
    """`Fault` where there is nothing to learn from."""
    place = NATIVE / "train.jsonl"
    if not rows:
        raise Fault(
            f"{place} has no rows; raise generate.rows in params.yaml, or see data/validated/report.json for rejects"
        )
    without = [row["id"] for row in rows if all(label == -100 for label in row["labels"])]
    if without:
        many = "a row has" if len(without) == 1 else f"{len(without)} rows have"
        raise Fault(
            f"{place}: {many} no labelled token, the first is {without[0]}; make it again with dvc repro format"
        )


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
        "train_as": str(params.format.train_as),
        "knobs": params.train.model_dump(mode="json"),
        "machine": _machine(params.train),
        "steps": len(history),
        "epochs": params.train.epochs,
        "train_rows": len(rows),
        "train_tokens": last["tokens"],
        "label_tokens": round(sum(label != -100 for row in rows for label in row["labels"]) * params.train.epochs),
        "seconds": last["seconds"],
        "tokens_per_second": round(trained / max(last["seconds"], 1e-9), 1),
        "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        **_fits.beside_the_estimate(params.train, BASE, rows),
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
def _disk(work: Path) -> Iterator[None]:
    """Say in a sentence that the disk refused a checkpoint, and leave none that is cut off."""
    try:
        yield
    except Exception as error:
        number, file = refusal(error), getattr(error, "filename", None)
        elsewhere = isinstance(file, str) and not Path(file).absolute().is_relative_to(work.absolute())
        if number is None or elsewhere:
            raise
        _checkpoints.clear(work)
        raise Fault(
            f"{work} could not be written: {os.strerror(number)}; the last whole checkpoint in it is kept. "
            "Make room or give yourself access there, then run it again: it goes on from that"
        ) from error


def _tokenizer() -> tuple[Any, int]:
    """The tokenizer of the base folder, and what rows are filled up with."""
    from transformers import AutoTokenizer

    found = AutoTokenizer.from_pretrained(BASE)
    return found, int(found.pad_token_id if found.pad_token_id is not None else found.eos_token_id)


def _machine(knobs: Train) -> str:
    import torch

    from stages._model import has_int8, number_format

    on_gpu, number = torch.cuda.is_available(), str(number_format()).removeprefix("torch.")
    name = torch.cuda.get_device_name() if on_gpu else f"{torch.get_num_threads()} CPU threads"
    return f"{name}, {number}" + (" and int8" if knobs.int8_products and not on_gpu and has_int8() else "")


def save(
    model: Any,
    summary: dict[str, Any],
    work: Path,
    adapter: Path = ADAPTER,
    report: Path = REPORT,
    state: dict[str, Any] | None = None,
) -> None:
    """Adapter and report, whole; `state` holds the weights where the model itself has only parts of them."""
    with whole_folder(adapter) as folder:
        model.save_pretrained(folder, **({"state_dict": state} if state else {}))
        (folder / "README.md").unlink(missing_ok=True)  # PEFT's empty model card; register writes the real one
        (folder / "callwright.json").write_text(
            to_json({name: summary[name] for name in ("base", "quantization", "train_as", "key")}, indent=2) + "\n",
            encoding="utf-8",
        )
    with whole_folder(report) as folder:
        shutil.copyfile(work / "history.jsonl", folder / "history.jsonl")
        (folder / "summary.json").write_text(to_json(summary, indent=2) + "\n", encoding="utf-8")


def here() -> Params:
    """The params for the machine this is; a GPU is used if one is there, unless `train.profile` says otherwise."""
    knobs = read_params().train
    if knobs.profile is Machine.CPU:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif knobs.processes == 1 and knobs.launch is None:  # TRL takes several GPUs without a launcher for a mistake
        os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]
    import torch

    on_gpu = torch.cuda.is_available()
    if knobs.profile is Machine.GPU and not on_gpu:
        raise Fault("params.yaml: train.profile is 'gpu', and torch finds none here; write auto or cpu")
    return read_params(on_gpu=on_gpu)


def main() -> None:
    if _launch.is_one_of_many():
        _as_one_of_many(Path(os.environ[_launch.WORK]))
        return
    params, gpus = here(), _lock.gpus()
    which = "GPU" if gpus else "CPU"
    print(f"train: where params.yaml says preset, the numbers for a {which} (train.profile: {params.train.profile})")
    _fits.refuse_what_cannot_fit(params.train, BASE, NATIVE / "train.jsonl", bool(gpus))
    if gpus and params.train.launch is None and len(gpus) < params.train.processes:
        raise Fault(
            f"params.yaml: train.processes is {params.train.processes}, and there are {len(gpus)} GPUs; lower it"
        )
    used = gpus if params.train.launch else gpus[: params.train.processes]
    with _lock.alone(WORK / "lock", str(WORK)), _lock.alone_on(used):
        key = key_of(params)
        work = WORK / key[:16]
        work.mkdir(parents=True, exist_ok=True)
        summary = _together(params, key, work) if _several(params.train) else _alone(params, key, work)
        _checkpoints.thin(WORK, KEPT)  # this one too stays: until DVC has recorded the outs, they can be lost
    if summary is None:
        print("train: ended; adapter and report, if it is done, are on the machine whose machine_rank is 0")
        return
    print(
        f"train: loss {summary['first_loss']:.3f} -> {summary['final_loss']:.3f} in {summary['seconds']:.0f} s; "
        f"adapter in {ADAPTER}"
    )


def _several(knobs: Train) -> bool:
    return knobs.processes > 1 or knobs.launch is not None


def _alone(params: Params, key: str, work: Path) -> dict[str, Any]:
    with _disk(work):
        model, summary = train(params, key, work)
    save(model, summary, work)
    return summary


def _together(params: Params, key: str, work: Path) -> dict[str, Any] | None:
    """The same by several processes; the first has left its outs in the work folder. None on another machine."""
    adapter, report = work / ADAPTER.name, work / REPORT.name
    shutil.rmtree(report, ignore_errors=True)
    _launch.launch(params.train, work, key)
    if not _launch.interrupted.is_set() and not _launch.is_first_machine(params.train):
        return None
    if not (report / "summary.json").is_file():
        raise _entry.Interrupted
    for made, out in ((adapter, ADAPTER), (report, REPORT)):
        with whole_folder(out) as folder:
            shutil.copytree(made, folder, dirs_exist_ok=True)
    summary: dict[str, Any] = json.loads((REPORT / "summary.json").read_text(encoding="utf-8"))
    return summary


def _as_one_of_many(work: Path) -> None:
    """Ends with 0 too where it was interrupted: whoever launched it sees that no summary is there."""
    _launch.end_with_parent()
    try:
        with _disk(work):
            model, summary = train(here(), os.environ[_launch.KEY], work)
    except Fault as fault:
        _launch.tell(fault, work)
        raise
    except _entry.Interrupted:
        return
    state = gathered(model)
    if summary:
        save(model, summary, work, work / ADAPTER.name, work / REPORT.name, state)


def gathered(model: Any) -> dict[str, Any] | None:
    """The LoRA weights in whole, where FSDP has spread them over the processes; each of them has to ask."""
    from torch.distributed.tensor import DTensor

    learnt = {name: weight for name, weight in model.state_dict().items() if "lora_" in name}
    if not any(isinstance(weight, DTensor) for weight in learnt.values()):
        return None
    return {name: weight.full_tensor() if isinstance(weight, DTensor) else weight for name, weight in learnt.items()}


if __name__ == "__main__":
    _entry.run(main)
