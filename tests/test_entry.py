"""How a stage ends: exit codes as DVC expects them, and sentences where a person can mend something."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def end(body: str) -> subprocess.CompletedProcess[str]:
    """Run a stage whose main is `body`."""
    code = (
        f"import os, signal\nfrom callwright.faults import Fault\nfrom stages import _entry\ndef main():\n    {body}\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    words = [sys.executable, "-c", code + "_entry.run(main)"]
    return subprocess.run(words, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("body", "code", "told"),
    [
        ("print('done')", 0, ""),
        ("raise Fault(['one sentence', 'and another'])", 2, "one sentence\nand another\n"),
        (
            "raise OSError(28, 'No space left on device', 'x.bin')",
            2,
            "the disk refused at x.bin: No space left on device;",
        ),
        ("os.kill(os.getpid(), signal.SIGTERM)", 75, "-c: interrupted; the next run goes on from here\n"),
        ("os.kill(os.getpid(), signal.SIGINT)", 75, "-c: interrupted; the next run goes on from here\n"),
    ],
)
def test_each_end_has_its_code_and_no_traceback(body: str, code: int, told: str) -> None:
    done = end(body)
    assert done.returncode == code
    assert done.stderr.startswith(told)
    assert "Traceback" not in done.stderr


def test_a_bug_is_a_traceback() -> None:
    done = end("{}['x']")
    assert done.returncode == 1
    assert "KeyError" in done.stderr
