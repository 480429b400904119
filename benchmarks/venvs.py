"""A peer's packages in a venv of their own, made by pip at the first benchmark and kept in .bench/.

installed(Path(".bench/llama-factory"), ["llamafactory==0.9.5"], "2 GB")  ->  .bench/llama-factory/bin/python
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.turns import NotMeasured

LIMIT = 1200.0


def installed(venv: Path, packages: Sequence[str], room: str) -> Path:
    """The Python of `venv`, made where it does not hold exactly `packages` yet; `NotMeasured` where that fails."""
    python, done, names = venv / "bin" / "python", venv / "installed.txt", " ".join(packages)
    if done.exists() and done.read_text(encoding="utf-8") == names and python.exists():
        return python
    print(f"making {venv} with {names}: {room}, some minutes", file=sys.stderr, flush=True)
    shutil.rmtree(venv, ignore_errors=True)  # what was cut short, or other versions
    for command in (
        [sys.executable, "-m", "venv", str(venv)],
        [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages],
    ):
        try:
            made = subprocess.run(command, check=False, capture_output=True, text=True, timeout=LIMIT)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotMeasured(f"{names} could not be installed ({str(error)[:200]})") from None
        if made.returncode:
            last = (made.stderr or made.stdout).strip().splitlines()[-1:]
            raise NotMeasured(f"{names} could not be installed ({' '.join(last)[:200]})")
    done.write_text(names, encoding="utf-8")
    return python
