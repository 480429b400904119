"""One stage through DVC's command line, under the supervisor: what it printed, and whether it ran.

The command line and not `dvc.repo`: that one has global state, no deadline and does not like threads.
"""

from __future__ import annotations

import itertools
import json
import re
import sys
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path

import yaml

from callwright.faults import Fault
from flows import supervisor

INTERRUPTED = 75
"""A stage's exit code that says: run me again, I go on."""

_DVC = (sys.executable, "-m", "dvc")
# What DVC says about its own work. The flow tells it in its own words, and what is not listed here is shown.
_OWN_WORDS = re.compile(
    r"Running stage '|Stage '.*' (is cached|didn't change)|(Generating|Updating) lock file|Use `dvc push`"
    r"|To (track the changes with git|enable auto staging)|\s+(git add|dvc config) |Data and pipelines are up to date"
    r"|ERROR: failed to reproduce '.*': failed to run: |\s*$"
)
_EXITED = re.compile(r"failed to run: .*, exited with (-?\d+)")
_BUSY = re.compile(r"Unable to acquire lock|is busy, it is being blocked by|Unable to read RWLock")


class State(StrEnum):
    RAN = "ran"
    RESTORED = "restored"
    """Its outs came from DVC's run cache: it ran before on the same input."""
    CACHED = "cached"
    """Nothing it depends on has changed."""


class StageFailed(Exception):
    """`code` is the stage's own exit code, or 1 where DVC itself refused."""

    def __init__(self, stage: str, code: int) -> None:
        self.stage, self.code = stage, code
        super().__init__(stage, code)

    def __str__(self) -> str:
        return f"{self.stage} failed (exit {self.code}); what it said stands above"


class StageInterrupted(StageFailed):
    def __str__(self) -> str:
        return f"{self.stage} was interrupted; the next run goes on from where it was"


class Busy(StageFailed):
    def __str__(self) -> str:
        return f"{self.stage} waits for another dvc command that works in this folder"


def repro(
    stage: str,
    on_line: Callable[[str], None],
    on_start: Callable[[], None] = lambda: None,
    env: Mapping[str, str] | None = None,
) -> State:
    """Bring one stage up to date, those before it being so already. `on_start` is called only if it has to run."""
    said = _Listener(on_line, on_start)
    code = supervisor.run([*_DVC, "repro", "--single-item", stage], said.hear, env=env)
    if code == 0:
        return said.state
    if said.exit_code is None:
        raise Busy(stage, INTERRUPTED) if said.busy else StageFailed(stage, 1)
    if said.exit_code == INTERRUPTED:
        raise StageInterrupted(stage, INTERRUPTED)
    raise StageFailed(stage, said.exit_code if said.exit_code > 0 else 1)


class _Listener:
    """Tells DVC's own words from the stage's, which it passes on."""

    def __init__(self, on_line: Callable[[str], None], on_start: Callable[[], None]) -> None:
        self._on_line, self._on_start = on_line, on_start
        self.state = State.CACHED
        self.exit_code: int | None = None
        self.busy = False
        self._its_command_follows = False

    def hear(self, line: str) -> None:
        if line.startswith("Running stage '"):
            self.state = State.RAN
            self._on_start()
        elif line.startswith("Stage '") and " is cached - " in line:
            self.state = State.RESTORED
        elif found := _EXITED.search(line):
            self.exit_code = int(found[1])
        elif _BUSY.search(line):
            self.busy = True
        own = _OWN_WORDS.match(line) or (self._its_command_follows and line.startswith("> "))
        self._its_command_follows = line.startswith("Running stage '")
        if not own:
            self._on_line(line)


def mend(root: Path = Path()) -> list[str]:
    """Put right what a kill in the wrong millisecond leaves of DVC's own files; say what was done.

    DVC removes locks of processes that are gone. It does not cope with a lock file or dvc.lock that was cut short, nor
    with a lock whose process number now belongs to another program.
    """
    if not (root / ".dvc").is_dir():
        raise Fault(f"{root.resolve()} is no DVC project; run this in the project's folder")
    done = []
    rwlock = root / ".dvc" / "tmp" / "rwlock"
    if _is_stale(rwlock):
        rwlock.unlink(missing_ok=True)
        done.append("removed a lock that a killed dvc had left")
    lock = root / "dvc.lock"
    if lock.exists() and not _is_whole(lock):
        lock.replace(lock.with_name("dvc.lock.broken"))
        done.append("dvc.lock was cut short; it is made again from DVC's cache, and the old one is dvc.lock.broken")
    return done


def _is_stale(rwlock: Path) -> bool:
    """Whether it cannot be read, or names a process that is another program now and no DVC that lives."""
    for _ in range(3):  # a live DVC may be writing it at this moment
        try:
            locks = json.loads(rwlock.read_text(encoding="utf-8"))
            infos = [*locks.get("write", {}).values(), *itertools.chain(*locks.get("read", {}).values())]
            commands = [_command(int(info["pid"])) for info in infos]
        except FileNotFoundError:
            return False
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            time.sleep(0.1)
        else:
            alive = [command for command in commands if command]
            return bool(alive) and not any(b"dvc" in command for command in alive)
    return True


def _command(pid: int) -> bytes:
    """A living process's command line; nothing for one that is gone, which DVC sees to."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _is_whole(lock: Path) -> bool:
    try:
        stages = (yaml.safe_load(lock.read_text(encoding="utf-8")) or {}).get("stages", {})
        files = [file for stage in stages.values() for part in ("deps", "outs") for file in stage.get(part, [])]
        return all(isinstance(file["path"], str) for file in files)
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, TypeError, KeyError):
        return False
