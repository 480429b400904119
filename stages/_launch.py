"""Several trainers for one training: accelerate's launcher, its end, and what it leaves.

    launch(params.train, work, key)     # returns when all have ended, also where they were asked to; else a `Fault`

Each trainer is `python -m stages.train` with CALLWRIGHT_WORK set, which has it leave adapter and summary in that
folder. They share the rows of a step: the effective batch and the loss curve are those of one process. Killing any of
them, or this one, ends them all. On several machines the launcher's `--config_file` says how they find each other, each
machine runs `python -m stages.train`, and the outs are on the first.
"""

from __future__ import annotations

import collections
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import IO, Any

from callwright.faults import Fault
from callwright.outs import to_json
from callwright.params import Train
from callwright.yaml_files import read_yaml

WORK, KEY = "CALLWRIGHT_WORK", "CALLWRIGHT_KEY"
_PATIENT = {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "3600"}
"""Seconds that the launcher gives trainers to end their step and save; it kills them after 30 unless told."""
TOLD = "fault.json"
_KEPT_LINES = 30

interrupted = threading.Event()
"""Set once this process was asked to end and has asked the trainers."""


def is_one_of_many() -> bool:
    return WORK in os.environ


def launch(knobs: Train, work: Path, key: str) -> None:
    """Train in `knobs.processes` processes, or as the file `knobs.launch` says; `Fault` with what one of them said."""
    (work / TOLD).unlink(missing_ok=True)
    child = subprocess.Popen(
        command(knobs),
        env={**os.environ, WORK: str(work), KEY: key, "PYTHONUNBUFFERED": "1", **_PATIENT},
        stderr=subprocess.PIPE,
        preexec_fn=end_with_parent,  # noqa: PLW1509 - one system call, which is bound already
        start_new_session=True,  # Ctrl-C in the terminal reaches this process, which asks once
    )
    said: collections.deque[str] = collections.deque(maxlen=_KEPT_LINES)
    reader = threading.Thread(target=_read, args=(child.stderr, said), daemon=True)
    reader.start()
    before = {number: signal.signal(number, _to(child)) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        code = child.wait()
        reader.join(10)
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        for number, handler in before.items():
            signal.signal(number, handler)
    if (work / TOLD).is_file():
        raise Fault(json.loads((work / TOLD).read_text(encoding="utf-8")))
    if code and not interrupted.is_set():
        last = "\n".join(said) or "they said nothing"
        raise Fault(f"the trainers ended with {code}; the last whole checkpoint in {work} is kept. They said:\n{last}")


def command(knobs: Train) -> list[str]:
    """The launcher of accelerate with this stage as its module."""
    words = [sys.executable, "-m", "accelerate.commands.launch"]
    if knobs.launch is not None:
        if not Path(knobs.launch).is_file():
            raise Fault(
                f"params.yaml: train.launch is {knobs.launch!r}, and no such file is there; "
                "presets/accelerate/ has some, null is for this machine alone"
            )
        words += ["--config_file", knobs.launch]
    else:
        # On a CPU it knows several processes by MPI only; started as for GPUs, each sees that there is none.
        threads = max(1, len(os.sched_getaffinity(0)) // knobs.processes)
        words += ["--multi_gpu", f"--num_processes={knobs.processes}", "--num_machines=1", "--dynamo_backend=no"]
        words += ["--mixed_precision=no", f"--num_cpu_threads_per_process={threads}", "--main_process_port=0"]
    return [*words, "--module", "stages.train"]


def is_first_machine(knobs: Train) -> bool:
    """Whether the first process, which leaves adapter and report, is on this machine."""
    return not _said(knobs).get("machine_rank")


def spreads_the_model(knobs: Train) -> bool:
    """Whether no process holds all of it (FSDP), so that it may be larger than one card."""
    return _said(knobs).get("distributed_type") == "FSDP"


def trainers(knobs: Train) -> int:
    """How many of them there are, on all machines."""
    found = _said(knobs).get("num_processes", knobs.processes)
    return found if isinstance(found, int) and found > 0 else knobs.processes


def _said(knobs: Train) -> dict[str, Any]:
    """The file for accelerate, where there is one."""
    if knobs.launch is None or not Path(knobs.launch).is_file():
        return {}
    said = read_yaml(Path(knobs.launch))
    return said if isinstance(said, dict) else {}


def end_with_parent() -> None:
    """Have the system kill this process when its parent ends (prctl of Linux); elsewhere nothing happens."""
    if _prctl:
        pr_set_pdeathsig = 1
        _prctl(pr_set_pdeathsig, signal.SIGKILL)


def _bound() -> Callable[[int, int], int] | None:
    try:
        found: Callable[[int, int], int] = ctypes.CDLL(None).prctl
    except (AttributeError, OSError):
        return None
    return found


_prctl = _bound()


def tell(fault: Fault, work: Path) -> None:
    """Leave the sentence where `launch` finds it: the launcher's own report buries it."""
    (work / TOLD).write_text(to_json(list(fault.sentences)), encoding="utf-8")


def _to(child: subprocess.Popen[bytes]) -> Callable[[int, FrameType | None], None]:
    def handler(number: int, frame: FrameType | None) -> None:
        if interrupted.is_set():
            child.kill()
            return
        interrupted.set()
        child.send_signal(signal.SIGTERM)

    return handler


def _read(stream: IO[bytes] | None, said: collections.deque[str]) -> None:
    """Pass on what the trainers say; keep the launcher's own words for the case that something is wrong."""
    for line in stream or ():
        text = line.decode("utf-8", "replace").rstrip("\n")
        said.append(text)
        if text.startswith("train:"):
            print(text, file=sys.stderr, flush=True)
