"""One trainer at a time in a workspace and on a GPU; a second one meets a sentence that names the first.

    with alone(Path("checkpoints/lock"), "checkpoints"): …

Locks are the system's (flock): they end with the process that holds them, whatever ends it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from callwright.faults import Fault


@contextlib.contextmanager
def alone(path: Path, what: str) -> Iterator[int]:
    """Hold the lock in the file `path` while the block runs; yields its file descriptor."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = _open(path)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(handle, 500, 0).decode("utf-8", "replace").strip() or "another process"
            raise Fault(f"{what} is in use by {owner}; wait for it, or end it, then run this again") from None
        os.ftruncate(handle, 0)
        since = datetime.now(UTC).astimezone().strftime("%Y-%m-%d %H:%M")
        os.pwrite(handle, f"process {os.getpid()} in {Path.cwd()}, since {since}".encode(), 0)
        yield handle
    finally:
        os.close(handle)


@contextlib.contextmanager
def alone_on(devices: Sequence[str]) -> Iterator[None]:
    """Hold a lock for each GPU, by its UUID, among all who use this machine."""
    with contextlib.ExitStack() as stack:
        for device in sorted(devices):
            place = Path(tempfile.gettempdir()) / f"callwright-{device}.lock"
            stack.enter_context(alone(place, f"the GPU {device}"))
        yield


def gpus() -> list[str]:
    """UUIDs of the GPUs that torch sees."""
    import torch

    return [str(torch.cuda.get_device_properties(i).uuid) for i in range(torch.cuda.device_count())]


def _open(path: Path) -> int:
    """For reading and writing by every user of the machine."""
    try:
        return os.open(path, os.O_RDWR)  # one of another user in a folder like /tmp may not be opened with O_CREAT
    except FileNotFoundError:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        with contextlib.suppress(OSError):
            path.chmod(0o666)
        return handle
