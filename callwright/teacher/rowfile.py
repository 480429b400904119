"""The file that rows are added to: whole lines only, one process at a time, and what stands there is known.

    with RowFile(Path("data/sources/teacher-qwen3.jsonl")) as rows:
        rows.ids, rows.requests      what is there already
        rows.add(row)

A last line that a kill cut off is taken away when the file is opened. A lock of the kernel keeps a second process out,
and is gone with the process that holds it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path
from typing import Self

from callwright.duplicates import dense
from callwright.faults import Fault
from callwright.outs import to_json
from callwright.records import BadRecord, Example, read_line


class RowFile:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.ids: set[str] = set()
        self.requests: dict[str, str] = {}
        """Ids by request, as duplicates are looked for."""
        self.mended = 0
        """Bytes of a cut line that were taken away."""

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a+b", buffering=0)
        except OSError as error:
            raise Fault(f"{self.path} cannot be written: {error.strerror}; name another with --out") from None
        try:
            self._lock()
            self._read()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        with contextlib.suppress(OSError):
            os.fsync(self._file.fileno())
        self._file.close()  # and with it the lock

    def add(self, row: Example) -> None:
        """Append one line, whole or not at all: a kill loses none that was added."""
        end = os.fstat(self._file.fileno()).st_size
        line = (to_json(row.to_json()) + "\n").encode()
        try:
            written = self._file.write(line)
            if written != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._file.truncate(end)
            raise Fault(f"{self.path} cannot be written: {error.strerror}; make room, then run this again") from None
        self.ids.add(row.id)
        self.requests[dense(row)] = row.id

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Fault(
                f"{self.path} is being written by another process; wait for it, end it, or give another --out"
            ) from None
        except OSError as error:  # a disk that knows no locks
            raise Fault(f"{self.path} cannot be locked: {error.strerror}; give another --out") from None

    def _read(self) -> None:
        self._file.seek(0)
        content = self._file.readall()
        whole = content.rfind(b"\n") + 1
        self.mended = len(content) - whole
        if self.mended:
            self._file.truncate(whole)
        for number, line in enumerate(content[:whole].split(b"\n")[:-1], start=1):
            try:
                row = read_line(line.decode())
            except (BadRecord, UnicodeDecodeError) as error:
                raise Fault(f"{self.path}:{number}: {error}; mend or delete the line, or give another --out") from None
            self.ids.add(row.id)
            self.requests.setdefault(dense(row), row.id)
