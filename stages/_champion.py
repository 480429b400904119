"""The adapter that is in service, out of the registry.

with tempfile.TemporaryDirectory() as folder:
    fetch("callwright", Path(folder))     ->  Champion("3", Path("/tmp/…/artifacts/adapter")), or None: there is none
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stages._registry import Registry, aliases
from stages._tracking import open_store, told_unreachable


@dataclass(frozen=True, slots=True)
class Champion:
    version: str
    adapter: Path


def fetch(name: str, folder: Path) -> Champion | None:
    """Copy the champion of a registered model into an empty folder; None where no version is one.

    `Unreachable` where MLflow does not answer, `Fault` where the files are not those that were registered.
    """
    version = aliases(name).get("champion")
    if version is None:
        return None
    with told_unreachable():
        store = open_store()
    return Champion(version, Registry(store, name).fetch_adapter(version, folder))
