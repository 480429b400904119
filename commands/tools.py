"""callwright tools import: a pack skeleton from tools that others describe

callwright tools import api.json --include 'read_*' --limit 40
callwright tools import https://host/mcp
callwright tools import --command "npx some-server" --name files
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from callwright.faults import Fault
from callwright.pack_shape import NAME
from callwright.packs import FOLDER
from callwright.tool_sources.found import Choice, Found, collect
from callwright.tool_sources.pack_file import write_pack
from callwright.tool_sources.skeleton import MadePack, make_pack
from callwright.tool_sources.source import Kind, Source, read_source

DEADLINE = 30.0
"""Seconds for an MCP server to start and tell its tools."""


def import_tools(
    source: str | None,
    *,
    command: str | None = None,
    kind: Kind | None = None,
    name: str | None = None,
    out: Path | None = None,
    choice: Choice = Choice(),  # noqa: B008 - it is frozen
    force: bool = False,
    deadline: float = DEADLINE,
) -> int:
    """Write the skeleton and say what was made; return the exit code: 0 all of it, 1 some tools were left out."""
    if name is not None or out is not None:
        _place(name, out, "", force)  # before a server is started
    read = read_source(source, command, kind, deadline)
    found = collect(read.items, choice)
    name, out = _place(name, out, read.title, force)
    if not found.tools:
        raise Fault([*_left_out(found), f"{read.place}: {_none(found)}"])
    made = make_pack(name, found.tools)
    write_pack(out, made, found.notes, read.place)
    _tell(read, found, made, out)
    return 1 if found.left_out or made.left_out else 0


def _place(name: str | None, out: Path | None, title: str, force: bool) -> tuple[str, Path]:
    """The pack's name and its file."""
    called = name or (out.stem if out else title)
    if not NAME.fullmatch(called):
        what = (
            f"{called!r} is no name for a pack (letters, digits, _)" if called else "the source has no name of its own"
        )
        raise Fault(f"{what}; give one with --name")
    path = out or FOLDER / f"{called}.yaml"
    if path.name != f"{called}.yaml":
        raise Fault(
            f"{path} would hold the pack {called!r}; a pack's file is its name and .yaml, so --out …/{called}.yaml"
        )
    if path.exists() and not (force and path.is_file()):
        raise Fault(f"{path} is there already; --force writes over it, --name or --out takes another place")
    return called, path


def _none(found: Found) -> str:
    if found.not_chosen:
        held = found.not_chosen + len(found.left_out)
        return f"none of its {held} tools was chosen; see --include, --exclude and --limit"
    if found.left_out:
        return "no tool of it can be used, and nothing was made"
    return "it holds no tools; nothing was made"


def _left_out(found: Found) -> list[str]:
    return [f"{tool.name} {tool.why}".strip() for tool in found.left_out]


def _tell(read: Source, found: Found, made: MadePack, out: Path) -> None:
    noted: dict[str, list[str]] = {}
    for note in found.notes:
        noted.setdefault(note.what, []).append(note.name)
    for what, names in noted.items():
        several = f"{', '.join(names[:3])} and {len(names) - 3} more: each" if len(names) > 3 else ", ".join(names)
        print(f"note: {several} {what}" if several else f"note: {what}")
    for sentence in (*_left_out(found), *(f"{tool.name} {tool.why}" for tool in made.left_out)):
        print(f"left out: {sentence}")
    tools, left = len(made.pack["tools"]), len(found.left_out) + len(made.left_out)
    shares = f"{tools} taken, {left} left out, {found.not_chosen} not chosen"
    print(f"{read.place}: {tools + left + found.not_chosen} tools; {shares}")
    print(f"{out}: {tools} tools, {len(made.pack['slots'])} slots; callwright pack check {out} lists what it lacks")


def run(
    source: str | None,
    command: str | None,
    kind: str | None,
    name: str | None,
    out: Path | None,
    include: Sequence[str],
    exclude: Sequence[str],
    limit: int | None,
    force: bool,
    deadline: float,
) -> int:
    """`import_tools` with what a command line gives."""
    if kind is not None and kind not in list(Kind):
        raise Fault(f"--kind is {kind!r}; it is one of {', '.join(Kind)}")
    known = Kind(kind) if kind is not None else None
    choice = Choice(tuple(include), tuple(exclude), limit)
    return import_tools(
        source, command=command, kind=known, name=name, out=out, choice=choice, force=force, deadline=deadline
    )
