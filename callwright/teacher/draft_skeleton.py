"""What a draft begins with: a skeleton of tools from a file, or a pack that a person has begun.

read_skeleton(Path("tools.json"), "mine")        all texts and values are open
read_skeleton(Path("packs/mine.yaml"), "mine")   those that are empty; what stands there stays
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from callwright.exchange.tools import read_tools
from callwright.packs import lacking
from callwright.records import Language
from callwright.teacher.draft import TALK
from callwright.tool_sources.found import Choice, LeftOut, Note, collect
from callwright.tool_sources.skeleton import MadePack, make_pack


def read_skeleton(path: Path, name: str) -> tuple[MadePack, Sequence[Note], Sequence[LeftOut]]:
    """The skeleton, what a person should know of its tools, and the tools that no pack can have."""
    if begun := _begun(path):
        lacking(path)  # its faults are told
        return MadePack(_complete(begun, name), {}), (), ()
    found = collect(read_tools(path), Choice())
    made = make_pack(name, found.tools)
    return made, found.notes, (*found.left_out, *made.left_out)


def _begun(path: Path) -> dict[str, Any] | None:
    """The file's value, if it is a pack."""
    import yaml

    if path.suffix not in (".yaml", ".yml"):
        return None
    try:
        value = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - safe
    except (OSError, yaml.YAMLError, ValueError):
        return None  # the reader of tools says what is wrong
    return value if isinstance(value, dict) and "pack" in value else None


def _complete(pack: dict[str, Any], name: str) -> dict[str, Any]:
    """With an empty place for all that a pack may leave out and a teacher can write."""
    pack["pack"] = name
    pack.setdefault("slots", {})
    for part in TALK:
        _open(pack, part)
    for tool in pack["tools"]:
        for part in ("phrasings", "clauses", *(("replies",) if tool.get("action") else ())):
            _open(tool, part)
        tool.setdefault("missing", {})
    return pack


def _open(node: dict[str, Any], part: str) -> None:
    texts = node.setdefault(part, {})
    for language in Language:
        texts.setdefault(str(language), {"train": [], "test": []})
