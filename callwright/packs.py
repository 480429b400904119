"""A pack: a domain's tools, how people ask for them, and the world they act on. docs/packs.md has the whole shape.

    pack = read_pack(Path("packs/office.yaml"))
    pack.tool("book_room").phrasings[Language.ZH_TW].train

Reading checks everything at once; each fault is a sentence with file, line and name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from callwright.faults import Fault, found
from callwright.pack_checks import Place, check
from callwright.pack_shape import Pack, PackTool

__all__ = ["FOLDER", "Pack", "PackTool", "read_pack", "read_packs"]

FOLDER = Path("packs")


def read_packs(names: Iterable[str], folder: Path = FOLDER) -> list[Pack]:
    """Read several packs; the faults of all are told at once."""
    packs: list[Pack] = []
    faults: list[str] = []
    for name in names:
        try:
            packs.append(read_pack(folder / f"{name}.yaml"))
        except Fault as fault:
            faults += fault.sentences
    if faults:
        raise Fault(faults)
    return packs


def read_pack(path: Path) -> Pack:
    """Read and check one pack; `Fault` holds one sentence a fault, with its line."""
    value, lines = _read_yaml(path)
    twice = "stands twice, and only one of the two counts; put them together"
    faults: list[tuple[Place, str]] = [(place, f"{place[-1]!r} {twice}") for place in lines.twice]
    try:
        pack = Pack.model_validate(value)
    except ValidationError as error:
        for fault in error.errors():
            name = ".".join(map(str, fault["loc"])) or "the file"
            faults.append((fault["loc"], f"{name} {found(fault)}; docs/packs.md has the shape"))
    else:
        faults += check(pack)
        if pack.pack != path.stem:
            faults.append((("pack",), f"pack is {pack.pack!r}; name it {path.stem!r}, as the file"))
    if faults:
        told = sorted((lines.of(place), sentence) for place, sentence in faults)
        raise Fault(f"{path}:{line}: {sentence}" for line, sentence in told)
    return pack


@dataclass(frozen=True, slots=True)
class _Lines:
    """Line numbers of a YAML document's nodes, by path."""

    lines: dict[Place, int] = field(default_factory=dict)
    twice: list[Place] = field(default_factory=list)
    """Keys that stand twice in their mapping: YAML would drop the first in silence."""

    def of(self, place: Place) -> int:
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def note(self, node: Any, place: Place = ()) -> None:
        if node is None:
            return
        self.lines[place] = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                inner = (*place, str(key.value))
                if key.value in seen:
                    self.twice.append(inner)
                seen.add(str(key.value))
                self.note(value, inner)
                self.lines[inner] = key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode):
            for i, value in enumerate(node.value):
                self.note(value, (*place, i))


def _read_yaml(path: Path) -> tuple[Any, _Lines]:
    lines = _Lines()
    try:
        text = path.read_text(encoding="utf-8")
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
        try:
            node = loader.get_single_node()
            lines.note(node)
            return (loader.construct_document(node) if node else None), lines
        finally:
            loader.dispose()
    except FileNotFoundError:
        raise Fault(f"{path} is missing; generate.packs in params.yaml names the packs, packs/ holds them") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: no UTF-8, or a date that is none
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or str(error)
        raise Fault(f"{path}{f':{mark.line + 1}' if mark else ''}: not YAML: {' '.join(problem.split())}") from None
