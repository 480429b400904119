"""callwright pack draft: a pack for one's own tools; a teacher drafts its texts and a person edits them"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from callwright.faults import Fault
from callwright.outs import to_json
from callwright.pack_shape import NAME
from callwright.packs import FOLDER
from callwright.teacher.cache import Cache
from callwright.teacher.client import Client
from callwright.teacher.draft import Draft, draft
from callwright.teacher.draft_skeleton import read_skeleton
from callwright.tool_sources.found import LeftOut, Note
from callwright.tool_sources.pack_file import write_pack
from callwright.tool_sources.skeleton import MadePack
from commands.teach import STOPPED, Asking

SHOWN = 20
"""So many dropped texts are printed."""


def draft_pack(
    asking: Asking, tools: Path, *, out: Path | None = None, force: bool = False, go_on: bool = False
) -> int:
    """Write the draft; the exit code: 0 all parts were answered, 1 some were not, 75 interrupted, nothing written."""
    path = out or FOLDER / f"{_name(tools.stem)}.yaml"
    if path.suffix != ".yaml" or not NAME.fullmatch(path.stem):
        raise Fault(f"--out is {path}; a pack is a file NAME.yaml, its name of letters, digits and _")
    if path.exists() and not force:
        raise Fault(f"{path} is there already, and someone may have edited it; --force writes over it")
    made, known, left_out = read_skeleton(tools, path.stem)
    try:
        drafted = asyncio.run(_draft(asking, made, go_on))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print(
            "pack draft: interrupted; nothing was written, what was answered is kept: run this again", file=sys.stderr
        )
        return STOPPED
    notes = [*known, *(Note(name, f"draft: lacks {what}") for name, what in drafted.lacking())]
    remarks = {name: remark for name, remark in made.remarks.items() if _empty(drafted.pack["slots"][name])}
    write_pack(path, MadePack(drafted.pack, remarks), notes, f"{tools}, drafted by {asking.model}")
    return _tell(path, tools, left_out, drafted)


async def _draft(asking: Asking, made: MadePack, go_on: bool) -> Draft:
    where, budget = asking.where(), asking.budget()
    with Cache(asking.cache) as cache:
        async with Client(where, budget, cache, timeout=asking.timeout, rpm=asking.rpm) as client:
            drafted = await draft(
                client,
                made.pack,
                answer_tokens=asking.answer_tokens,
                concurrency=asking.concurrency,
                go_on=go_on,
            )
            for note in client.tally.notes:
                print(note)
            tally = client.tally
            tokens = f"{budget.tokens_in:,} tokens in, {budget.tokens_out:,} out"
            print(f"{tally.sent} requests, {tally.answered} answered, {tally.from_cache} from the cache; {tokens}")
    return drafted


def _tell(path: Path, tools: Path, left_out: Sequence[LeftOut], drafted: Draft) -> int:
    for tool in left_out:
        print(f"left out: {tool.name} {tool.why}")
    for sentence in drafted.unanswered:
        print(f"not answered: {sentence}")
    for sentence in drafted.dropped[:SHOWN]:
        print(f"dropped: {sentence}")
    if len(drafted.dropped) > SHOWN:
        print(f"dropped: and {len(drafted.dropped) - SHOWN} more")
    if drafted.stopped:
        print(f"pack draft: stopped: {drafted.stopped}", file=sys.stderr)
    count = len(drafted.pack["tools"])
    print(f"{path}: {count} tools of {tools}; read and edit it, callwright pack check {path} lists what it lacks")
    return 1 if drafted.unanswered or drafted.stopped or left_out else 0


def _empty(slot: object) -> bool:
    """Whether a word of a slot is still to be given in some language."""
    return "[]" in to_json(slot)


def _name(stem: str) -> str:
    return "".join(sign if sign.isascii() and sign.isalnum() else "_" for sign in stem).strip("_").lower() or "mine"
