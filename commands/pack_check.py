"""callwright pack check: what is wrong with a pack, and what it lacks"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from callwright.faults import Fault
from callwright.packs import lacking


def check(paths: Sequence[Path], limit: int | None = None) -> int:
    """Say of each pack what it lacks; return the exit code: 0 nothing, 1 something. `Fault` where a file is no pack."""
    faults: list[str] = []
    short = 0
    for path in paths:
        try:
            pack, told = lacking(path)
        except Fault as fault:
            faults += fault.sentences
            continue
        for sentence in told[:limit]:
            print(sentence)
        if limit is not None and len(told) > limit:
            print(f"{path}: and {len(told) - limit} more; --limit shows more of them")
        ready = sum(not any(repr(tool.name) in sentence for sentence in told) for tool in pack.tools)
        state = "nothing is lacking" if not told else f"{len(told)} things are lacking"
        print(f"{path}: {len(pack.tools)} tools, {ready} of them whole; {state}")
        short += bool(told)
    if faults:
        raise Fault(faults)
    return 1 if short else 0
