"""Where a training runs: cards by name or size, and how much memory this machine has.

read_machine("4090")    ->  Machine("RTX 4090", 24 GiB, teraflops=165.2)
read_machine("16GiB")   ->  Machine("16 GiB GPU", 16 GiB)
read_machine("cpu")     ->  Machine("this machine's CPU", …, on_gpu=False)
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from callwright.faults import Fault

_UNITS = {"GIB": 2**30, "GB": 10**9, "MIB": 2**20, "MB": 10**6}
_LIMITS = ("memory.max", "memory.high")  # of a control group, in cgroup v2


@dataclass(frozen=True, slots=True)
class Machine:
    name: str
    memory: int
    """Bytes."""
    teraflops: float | None = None
    """Products of 16-bit numbers a second, as the vendor says; None where no card is named."""
    on_gpu: bool = True


# Memory as it is sold, but for the T4, of which 14.74 GiB are left with ECC (printed by the notebook that
# callwright/speed.py names). Products: NVIDIA's data sheets and, for GeForce cards, its architecture white papers
# (GA102: 71; AD102: 165.2), without sparsity and with float32 accumulation.
CARDS = (
    Machine("T4", round(14.741 * 2**30), 65),
    Machine("RTX 3090", 24 * 2**30, 71),
    Machine("RTX 4090", 24 * 2**30, 165.2),
    Machine("L4", 24 * 2**30, 121),
    Machine("A10", 24 * 2**30, 125),
    Machine("L40S", 48 * 2**30, 362),
    Machine("A100", 40 * 2**30, 312),
    Machine("A100 80GB", 80 * 2**30, 312),
    Machine("H100", 80 * 2**30, 989),
)


def read_machine(said: str) -> Machine:
    """A card of `CARDS` by name, a size with its unit, or cpu; `Fault` for anything else."""
    name = _bare(said)
    if name == "cpu":
        return this_cpu()
    for card in CARDS:
        if name in (_bare(card.name), _bare(card.name).removeprefix("rtx")):
            return card
    size = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*([A-Za-z]*)", said.strip(), re.ASCII)
    known = ", ".join(card.name for card in CARDS)
    if not size:
        raise Fault(f"--gpu is {said!r}, no size and no card that is known; say a size such as 16GiB, cpu, or {known}")
    number, unit = float(size[1]), size[2].upper()
    if unit not in _UNITS:
        raise Fault(f"--gpu is {said!r}, a size without GiB, GB, MiB or MB; write {size[1]}GiB, or a card: {known}")
    memory = math.floor(number * _UNITS[unit])
    if not memory:
        raise Fault(f"--gpu is {said!r}, no memory at all; say a size such as 16GiB")
    return Machine(f"{size[1]} {size[2]} GPU", memory)


def _bare(name: str) -> str:
    return re.sub(r"[\s_-]|nvidia|geforce", "", name.lower())


def this_cpu() -> Machine:
    return Machine("this machine's CPU", machine_memory(), on_gpu=False)


def machine_memory(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that this process may use: the machine's memory, or less where a control group (a container) says so."""
    return min([_total(proc), *_group_limits(proc, groups)])


def _total(proc: Path) -> int:
    try:
        found = re.search(r"^MemTotal:\s+(\d+) kB$", (proc / "meminfo").read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        found = None
    if not found:
        raise Fault(f"{proc / 'meminfo'} does not say how much memory there is; say it with --gpu, such as 16GiB")
    return int(found[1]) * 1024


def _group_limits(proc: Path, groups: Path) -> list[int]:
    """Of this process's control group and those above it, version 2 and 1."""
    limits = []
    try:
        lines = (proc / "self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    places = [groups, groups / "memory"]
    for line in lines:
        _, kinds, place = [*line.split(":", 2), "", ""][:3]
        if kinds in ("", "memory"):
            own = Path(place.lstrip("/"))
            places += [groups / kinds / each for each in (own, *own.parents)]
    for folder in places:
        for name in (*_LIMITS, "memory.limit_in_bytes"):
            try:
                said = (folder / name).read_text(encoding="ascii").strip()
            except (OSError, ValueError):
                continue
            if said.isdigit():  # or `max`
                limits.append(int(said))
    return [limit for limit in limits if limit > 0]
