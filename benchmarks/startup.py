"""What an edit-and-run round waits for before anything happens: imports, and a `dvc repro` with nothing to do.

Each is measured in new processes and given beside what it must not become: importing torch, and two bare starts of dvc.
Not covered: the first start after an installation, which compiles byte code.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROUNDS = 5


def measure() -> Iterator[str]:
    """One line a comparison."""
    light = seconds([sys.executable, "-c", "import stages.validate"])
    heavy = seconds([sys.executable, "-c", "import torch"])
    yield f"import stages.validate  {light:.2f} s, {light / heavy:.2f} of import torch ({heavy:.2f} s)"
    if not Path("dvc.lock").exists():
        yield "dvc repro              not measured: nothing has run yet; make run, then make bench"
        return
    bare = seconds([sys.executable, "-m", "dvc", "version"])
    # register is always_changed, so nothing to do means: up to evaluate
    idle = seconds([sys.executable, "-m", "dvc", "repro", "--dry", "evaluate"])
    yield f"dvc repro, no change    {idle:.2f} s, {idle / bare:.2f} of dvc version ({bare:.2f} s)"


def seconds(command: list[str]) -> float:
    """Median of some rounds, after one that warms the disk cache."""
    taken = []
    for _ in range(ROUNDS + 1):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:])
