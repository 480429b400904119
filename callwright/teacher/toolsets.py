"""The tools that rows are about: those of packs, less what the exam keeps for itself, or a person's own from a file.

of_packs(["office"], FOLDER, held_out_tools={"track_package"}, held_out_packs=set())   ->  [Toolset("office", …)]
of_file(Path("my_tools.json"))                                                         ->  Toolset("my_tools", …)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from callwright.exchange.tools import read_tools
from callwright.faults import Fault
from callwright.packs import FOLDER, Pack, read_packs
from callwright.records import Language
from callwright.schemas import tool_fault
from callwright.teacher.plans import Toolset


def of_packs(
    names: Iterable[str],
    folder: Path = FOLDER,
    held_out_tools: Collection[str] = (),
    held_out_packs: Collection[str] = (),
) -> list[Toolset]:
    """One a pack. No training row offers what is held out, and a teacher's rows are training rows."""
    names = list(names)
    if held := [name for name in names if name in held_out_packs]:
        why = "generate.held_out_packs in params.yaml keeps it for the exam"
        raise Fault(f"--packs names {held[0]!r}, but {why}; leave it out")
    return [found for pack in read_packs(names, folder) if (found := _of_pack(pack, held_out_tools))]


def _of_pack(pack: Pack, held_out: Collection[str]) -> Toolset | None:
    tools = [tool for tool in pack.tools if tool.name not in held_out]
    offered = {language: tuple(tool.offered(language) for tool in tools) for language in Language}
    systems = {language: pack.system[language][0] for language in Language}
    return Toolset(pack.pack, offered, pack, systems) if tools else None


def of_file(path: Path) -> Toolset:
    """`Fault` names each tool whose parameters are no schema."""
    tools = read_tools(path)
    faults = [f"{path}: tool {tool.name!r}: {fault}" for tool in tools if (fault := tool_fault(tool))]
    if faults:
        raise Fault(faults)
    return Toolset(path.stem, {language: read_tools(path, language) for language in Language})
