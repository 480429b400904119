"""The model that --model names: champion, adapter or base on this machine; addresses are `openai_model`'s.

choose("champion", "callwright", folder)   ->  Chosen(Path("…/adapter"), "version 3 of callwright")
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from callwright.faults import Fault

BASE, ADAPTER = Path("models/base"), Path("models/adapter")


@dataclass(frozen=True, slots=True)
class Chosen:
    adapter: Path | None
    about: str


def choose(name: str, registered: str, folder: Path, *, adapter_will_do: bool = False) -> Chosen:
    """The adapter, none for the base; a champion's files are copied into the empty folder.

    `adapter_will_do`: where there is no champion, models/adapter is taken, and `about` says why.
    """
    # bitsandbytes warns that kernels for inference in 4 bits are missing, which nobody here needs
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    if name == "base":
        return Chosen(None, "the base alone")
    if name == "adapter":
        if not ADAPTER.is_dir():
            raise Fault(f"{ADAPTER} is missing; dvc repro makes it, or give --model base, champion or an address")
        return Chosen(ADAPTER, str(ADAPTER))
    if name != "champion":
        raise Fault(
            f"--model is {name!r}; give champion, adapter, base, or an address such as http://localhost:8000/v1"
        )
    from stages._champion import fetch
    from stages._tracking import Unreachable

    why = f"no version of {registered} is champion"
    try:
        if champion := fetch(registered, folder):
            return Chosen(champion.adapter, f"version {champion.version} of {registered}")
    except Unreachable as error:
        if not adapter_will_do:
            raise
        why = str(error)
    if not adapter_will_do:
        raise Fault(f"{why}; dvc repro registers one, or give --model adapter")
    if not ADAPTER.is_dir():
        raise Fault(f"there is no model to talk to: {why}, and {ADAPTER} is missing; make run makes both")
    return Chosen(ADAPTER, f"{ADAPTER} ({why})")
