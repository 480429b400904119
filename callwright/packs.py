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
from callwright.pack_checks import check
from callwright.pack_lacks import ESSENTIAL, GOOD, lacks
from callwright.pack_shape import Pack, PackTool
from callwright.pack_texts import Place

__all__ = ["FOLDER", "Pack", "PackTool", "lacking", "read_pack", "read_packs"]

FOLDER = Path("packs")


def read_packs(names: Iterable[str], folder: Path = FOLDER) -> list[Pack]:
    """Read several packs; the faults of all are told at once."""
    packs: list[Pack] = []
    faults: list[str] = []
    owners: dict[str, str] = {}
    for name in names:
        try:
            packs.append(read_pack(folder / f"{name}.yaml"))
        except Fault as fault:
            faults += fault.sentences
            continue
        for tool in packs[-1].tools:
            if (owner := owners.setdefault(tool.name, name)) != name:
                twice = f"tool {tool.name!r} stands in {folder / owner}.yaml too"
                faults.append(f"{folder / name}.yaml: {twice}; rename one of them")
    if faults:
        raise Fault(faults)
    return packs


def read_pack(path: Path) -> Pack:
    """Read and check one pack; `Fault` holds one sentence a fault, with its line."""
    pack, lines = _read(path)
    if short := list(lacks(pack, ESSENTIAL)):
        raise Fault(lines.told(path, short))
    return pack


def lacking(path: Path) -> tuple[Pack, list[str]]:
    """A pack that may be a draft, and what a good one would have more: one sentence each, with its line."""
    pack, lines = _read(path)
    return pack, lines.told(path, lacks(pack, GOOD))


def _read(path: Path) -> tuple[Pack, _Lines]:
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
        raise Fault(lines.told(path, faults))
    return pack, lines


@dataclass(slots=True)
class _Lines:
    """Line numbers of a YAML document's nodes, by path."""

    lines: dict[Place, int] = field(default_factory=dict)
    twice: list[Place] = field(default_factory=list)
    """Keys that stand twice in their mapping: YAML would drop the first in silence."""
    values: int = 0

    def of(self, place: Place) -> int:
        if "given" in place:  # one alone may stand there without a list around it
            at = place.index("given") + 1
            alone = (*place[:at], *place[at + 1 :])
            place = alone if alone in self.lines else place
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def told(self, path: Path, sentences: Iterable[tuple[Place, str]]) -> list[str]:
        """Each sentence with file and line, in their order."""
        placed = sorted((self.of(place), sentence) for place, sentence in sentences)
        return [f"{path}:{line}: {sentence}" for line, sentence in placed]

    def note(self, path: Path, node: Any, place: Place = (), way: tuple[int, ...] = ()) -> None:
        if node is None:
            return
        line = node.start_mark.line + 1
        self.values += 1
        if id(node) in way:
            raise Fault(f"{path}:{line}: this holds itself, by an alias (*name); write it out")
        if self.values > _MOST_VALUES:
            raise Fault(f"{path}:{line}: with its aliases written out it has over {_MOST_VALUES:,} values; no pack has")
        way = (*way, id(node))
        self.lines[place] = line
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                inner = (*place, str(key.value))
                if str(key.value) in seen:
                    self.twice.append(inner)
                seen.add(str(key.value))
                self.note(path, value, inner, way)
                self.lines[inner] = key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode):
            for i, value in enumerate(node.value):
                self.note(path, value, (*place, i), way)


def _read_yaml(path: Path) -> tuple[Any, _Lines]:
    lines = _Lines()
    try:
        text = path.read_text(encoding="utf-8")
        kind = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        _not_too_deep(path, yaml.parse(text, Loader=kind))
        loader = kind(text)
        try:
            node = loader.get_single_node()
            lines.note(path, node)
            return (loader.construct_document(node) if node else None), lines
        finally:
            loader.dispose()
    except FileNotFoundError:
        raise Fault(f"{path} is missing; generate.packs in params.yaml names the packs, packs/ holds them") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: no UTF-8, or a date that is none
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or str(error)
        raise Fault(f"{path}{f':{mark.line + 1}' if mark else ''}: not YAML: {' '.join(problem.split())}") from None


_DEEPEST, _MOST_VALUES = 100, 500_000


def _not_too_deep(path: Path, events: Iterable[Any]) -> None:
    """Before anything is built: the C loader takes the whole process down with it where it nests without end."""
    depth = 0
    for event in events:
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise Fault(f"{path}:{event.start_mark.line + 1}: this nests more than {_DEEPEST} deep; no pack does")
