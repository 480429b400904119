"""Starts a command so that nothing of it stays behind, whatever ends the program that started it.

    code = run(["dvc", "repro", "-s", "train"], on_line=print)

Ctrl-C, SIGTERM, an exception, kill -9: flows/guard.py ends the command's whole process group in each case.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

GRACE = 20.0
"""Seconds that an interrupted command has to leave its work so that the next run can go on."""

_GUARD = Path(__file__).with_name("guard.py")


class Child:
    """A command under its guard. Leaving the `with` block ends it."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        grace: float = GRACE,
        output: IO[bytes] | None = None,
    ) -> None:
        """`output` takes the command's stdout and stderr; without it, `lines` gives them."""
        self.command = tuple(command)
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_GUARD), str(grace), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if output is None else output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {}), "PYTHONUNBUFFERED": "1"},
            start_new_session=True,  # Ctrl-C in the terminal reaches us, and we tell the guard
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def lines(self) -> Iterator[str]:
        """What the command prints, line by line while it runs; a carriage return ends a line too."""
        if self._process.stdout is None:
            return
        pending = b""
        while chunk := os.read(self._process.stdout.fileno(), 65536):
            *whole, pending = (pending + chunk).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
            for line in whole:
                yield line.decode("utf-8", errors="replace")
        if pending:
            yield pending.decode("utf-8", errors="replace")

    def exit_code(self) -> int | None:
        """`None` while it runs."""
        return self._process.poll()

    def wait(self) -> int:
        return self._process.wait()

    def ask_to_end(self) -> None:
        """Begin its end, without waiting for it."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def end(self, on_line: Callable[[str], None] = lambda line: None) -> int:
        """End it and all it has started; what it says to that goes to `on_line`. A second Ctrl-C kills at once."""
        self.ask_to_end()
        try:
            for line in self.lines():
                on_line(line)
            return self._process.wait()
        finally:
            if self._process.poll() is None:
                self._process.terminate()
                self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()


def run(
    command: Sequence[str],
    on_line: Callable[[str], None],
    *,
    env: Mapping[str, str] | None = None,
    grace: float = GRACE,
) -> int:
    """Run a command to its end, giving each line as it comes; return its exit code."""
    child = Child(command, env=env, grace=grace)
    try:
        for line in child.lines():
            on_line(line)
        return child.wait()
    finally:
        child.end(on_line)
