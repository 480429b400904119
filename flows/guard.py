"""Runs a command in a session of its own and lets none of it stay behind.

    python -I -S flows/guard.py GRACE COMMAND [ARGUMENT ...]

Whoever starts a guard holds the other end of its stdin. When that end closes, because it was closed or because its
holder is gone, even by kill -9, the command's whole process group gets SIGINT (DVC then waits for its stage and puts
its locks in order, where on SIGTERM it would leave the stage running), SIGTERM after half of the grace, and SIGKILL
after all of it. SIGTERM to the guard itself means SIGKILL for the group, now. Exits as the command did.

Only the standard library: it starts in some 20 ms.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from types import FrameType

_TICK = 0.05


def main() -> int:
    grace, command = float(sys.argv[1]), sys.argv[2:]
    # Handlers, not SIG_IGN, which the command would inherit.
    signal.signal(signal.SIGINT, _nothing)
    signal.signal(signal.SIGHUP, _nothing)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)

    def kill_now(number: int, frame: FrameType | None) -> None:
        _send(child.pid, signal.SIGKILL)

    signal.signal(signal.SIGTERM, kill_now)
    ending = threading.Event()
    threading.Thread(target=_end_with_the_holder, args=(child.pid, grace, ending), daemon=True).start()
    code = child.wait()
    if ending.is_set():  # the leader is gone, and what is left of its group was not what it waited for
        _send(child.pid, signal.SIGTERM)
        _wait_until_empty(child.pid, grace / 2)
    _send(child.pid, signal.SIGKILL)
    return code if code >= 0 else 128 - code


def _end_with_the_holder(group: int, grace: float, ending: threading.Event) -> None:
    while os.read(0, 1024):
        pass
    ending.set()
    for number in (signal.SIGINT, signal.SIGTERM):
        _send(group, number)
        if _wait_until_empty(group, grace / 2):
            return
    _send(group, signal.SIGKILL)


def _wait_until_empty(group: int, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not _send(group, 0):
            return True
        time.sleep(_TICK)
    return False


def _send(group: int, number: int) -> bool:
    """Whether the group still has a process to send to."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
        return True
    return False


def _nothing(number: int, frame: FrameType | None) -> None:
    """Take a signal that is meant for someone else."""


if __name__ == "__main__":
    sys.exit(main())
