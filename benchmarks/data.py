"""Training data: seconds and memory of generate, validate and format, and our rates beside our peers'.

    python -m benchmarks.data                     50,000 rows, as in make bench
    python -m benchmarks.data --rows 1000000      these, then so many: is the time linear, does the memory stay?

The stages run as `dvc repro` runs them, each in a process of its own with its imports, on all packs, categories and
variations, in a folder that is gone afterwards. `native` text, which is tokenised, is counted apart.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from callwright.faults import Fault
from callwright.outs import read_lines
from callwright.packs import read_packs
from callwright.params import Format, Params, check_params, read_params
from callwright.records import Split

ROOT = Path(__file__).parent.parent
BENCH = ROOT / ".bench"
ROWS, NATIVE_ROWS = 50_000, 2_000
BYTES_A_ROW = 15_000
EVERY = 0.05
"""Seconds between two looks at the memory. What is read is each process's peak, so that nothing between is missed."""
STAGES = {
    "generate": ["-m", "stages.generate"],
    "validate": ["-m", "stages.validate"],
    "format": ["-c", "from benchmarks.data import write_formats; write_formats()"],
}


class Run(NamedTuple):
    seconds: float
    cpu: float
    """Seconds that all its processes computed: what other work on the machine hardly changes."""
    parent: int
    """Peak memory of the stage's process, in bytes."""
    worker: int
    """And of the largest of those that it started."""


def measure(more: int | None = None) -> Iterator[str]:
    """Some lines; with `more` rows a second set of them, and how its time and memory compare."""
    from benchmarks import samplers, schemas

    BENCH.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="data-", dir=BENCH) as name:
        folder = Path(name)
        params = prepare(folder, ROWS)
        runs = {stage: watched(command, folder) for stage, command in STAGES.items()}
        yield from told(ROWS, runs, folder)
        packs = read_packs(params.generate.packs, ROOT / "packs")
        yield from schemas.measure(folder / "data/validated/train.jsonl", packs)
        yield from native(folder, params.format)
    yield from samplers.measure(packs, params.generate, BENCH)
    if more:
        yield from larger(more, sum(run.seconds for run in runs.values()))


def larger(rows: int, seconds: float) -> Iterator[str]:
    free = shutil.disk_usage(BENCH).free
    if free < rows * BYTES_A_ROW:
        need = f"{rows:,} rows take some {rows * BYTES_A_ROW >> 30} GB"
        raise Fault(f"{BENCH}: {need} and {free >> 30} GB are free; make room or ask for fewer with --rows")
    with tempfile.TemporaryDirectory(prefix="data-", dir=BENCH) as name:
        prepare(Path(name), rows)
        runs = {stage: watched(command, Path(name)) for stage, command in STAGES.items()}
        yield from told(rows, runs, Path(name))
    taken = sum(run.seconds for run in runs.values())
    fold = f"{rows / ROWS:.1f} times as many"
    yield f"                       {taken / seconds:.1f} times as long as {ROWS:,} rows; these are {fold}"


def knobs(rows: int) -> dict[str, Any]:
    """The project's knobs, with all packs, categories and variations."""
    value: dict[str, Any] = read_params(ROOT / "params.yaml").model_dump(mode="json", by_alias=True)
    generate = value["generate"]
    shares = {
        "parallel": 0.15,
        "chained": 0.12,
        "missing": 0.15,
        "no_tool": 0.13,
        "full_loop": 0.13,
        "tool_error": 0.07,
    }
    value["generate"] = generate | {
        "packs": sorted(path.stem for path in (ROOT / "packs").glob("*.yaml")),
        "held_out_packs": ["education", "media"],
        "rows": rows,
        "categories": {"single": 0.25, **shares},
        "parallel_calls": 4,
        "follow_ups": 0.5,
        "tools_offered": {"min": 1, "max": 8, "rarer": 1.3},
        "variation": dict.fromkeys(generate["variation"], 0.25),
    }
    return value


def prepare(folder: Path, rows: int) -> Params:
    """A project's folder for the stages."""
    value = knobs(rows)
    (folder / "params.yaml").write_text(json.dumps(value, indent=1), encoding="utf-8")  # JSON is YAML
    (folder / "packs").symlink_to(ROOT / "packs")
    return check_params(value)


def watched(command: Sequence[str], folder: Path) -> Run:
    """Run Python with `command` in `folder` to its end; its time and the peak memory of its processes."""
    import psutil

    peaks: dict[int, int] = {}
    began, before = time.perf_counter(), _computed()
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, *command], cwd=folder, env=env, stdout=subprocess.DEVNULL)
    try:
        looked = psutil.Process(process.pid)
        while process.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                for pid in (process.pid, *(child.pid for child in looked.children(recursive=True))):
                    peaks[pid] = max(peaks.get(pid, 0), peak_of(pid))
            time.sleep(EVERY)
        seconds = time.perf_counter() - began
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        raise Fault(f"{' '.join(command)}: it ended with {process.returncode}; what it said stands above")
    return Run(seconds, _computed() - before, peaks.pop(process.pid, 0), max(peaks.values(), default=0))


def _computed() -> float:
    """CPU seconds of the processes that have ended, with theirs."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime


def peak_of(pid: int) -> int:
    """The most memory that a process has had at once (VmHWM of proc(5)), in bytes; 0 where it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM:")), 0)


def told(rows: int, runs: dict[str, Run], folder: Path) -> Iterator[str]:
    """Time, memory and rejects."""
    report = json.loads((folder / "data/validated/report.json").read_text(encoding="utf-8"))
    total = sum(run.seconds for run in runs.values())
    each = ", ".join(f"{name} {run.seconds:.1f} s" for name, run in runs.items())
    yield f"data                   {rows:,} rows in {total:.1f} s, {rows / total:,.0f} rows/s: {each}"
    cpu, cores = sum(run.cpu for run in runs.values()), len(os.sched_getaffinity(0))
    yield f"                       {cpu:.1f} s of CPU on {cores} cores, load average {os.getloadavg()[0]:.1f}"
    peaks = ", ".join(f"{name} {run.parent >> 20} and {run.worker >> 20}" for name, run in runs.items())
    most = max(max(run.parent, run.worker) for run in runs.values())
    yield f"  memory               at most {most >> 20} MiB a process: {peaks} MiB (its own, its largest worker)"
    share = {code: count / report["rows"] for code, count in report["codes"].items()}
    near, same = share.pop("near_duplicate", 0.0), share.pop("duplicate", 0.0)
    others = f" ({', '.join(f'{code} {part:.3%}' for code, part in share.items())})" if share else ""
    yield (
        f"  rejected             {near:.2%} near duplicates, {same:.2%} duplicates, "
        f"{sum(share.values()):.3%} for any other reason{others}"
    )


def write_formats() -> None:
    """What stages.format does, without `native` text; in a stage's folder."""
    from callwright.outs import whole_folder
    from stages.format import OUT, VALIDATED, formatted

    params = read_params().format
    with whole_folder(OUT) as folder:
        for split in Split:
            with contextlib.ExitStack() as stack:
                outs = {}
                for name in ("messages", "alpaca", "pro"):
                    (folder / name).mkdir(exist_ok=True)
                    path = folder / name / f"{split}.jsonl"
                    outs[name] = stack.enter_context(path.open("w", encoding="utf-8", newline="\n"))
                for part in formatted(VALIDATED / f"{split}.jsonl", params, None):
                    for name, file in outs.items():
                        file.write(part.lines[name])


def native(folder: Path, params: Format) -> Iterator[str]:
    """Tokens a second of the embedded model's training text, in one process."""
    import importlib.util
    import itertools

    from callwright.presets import read_preset
    from callwright.records import read_example
    from stages._model import About
    from stages.format import template_and_tokens, to_native

    preset = read_preset("smollm2-135m", ROOT / "presets")
    spec = importlib.util.find_spec(preset.source.module or "")
    if spec is None or spec.origin is None:
        yield f"native text            not measured: {preset.source.module} is not installed; make run installs it"
        return
    base = folder / "base"
    _tokenizer(Path(spec.origin).parent, base)
    examples = [
        read_example(row) for row in itertools.islice(read_lines(folder / "data/validated/train.jsonl"), NATIVE_ROWS)
    ]
    about = About("smollm2-135m", preset.family, tuple(preset.stops))
    make = to_native(params, about, *template_and_tokens(base))
    make(examples[0])
    began = time.perf_counter()
    tokens = sum(len(row["input_ids"]) for example in examples for row in make(example))
    seconds = time.perf_counter() - began
    yield (
        f"native text            {tokens / seconds:,.0f} tokens/s in one process, {len(examples) / seconds:,.0f} rows/s"
        f" ({tokens / len(examples):.0f} tokens a row; not in the time above)"
    )


def _tokenizer(module: Path, folder: Path) -> None:
    """The embedded model's tokenizer as the base stage leaves it, without weights."""
    from transformers import AutoTokenizer

    from callwright.presets import read_preset
    from stages.base import _mend_tokenizer

    preset = read_preset("smollm2-135m", ROOT / "presets")
    AutoTokenizer.from_pretrained(module, gguf_file=preset.source.file).save_pretrained(folder)
    _mend_tokenizer(preset, folder)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rows", type=int, help=f"so many rows beside the {ROWS:,}")
    more = parser.parse_args().rows
    try:
        for line in measure(more):
            print(line, flush=True)
    except Fault as fault:
        print(fault, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
