"""generate: packs -> tool-calling conversations, train, dev and test

    python -m stages.generate        reads packs/, leaves data/generated/{train,dev,test}.jsonl

A row is callwright.records' canonical record. The exam (dev, test) has its own seeds and is written first, so it
does not change with the number or seed of training rows; training rows then avoid its requests.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from callwright.duplicates import fingerprint
from callwright.faults import Fault
from callwright.grammar import Plan, Rows
from callwright.outs import to_json, whole_folder
from callwright.packs import Pack, read_packs
from callwright.params import Exam, Generate, read_params
from callwright.records import Split
from callwright.variation import Variation
from stages import _entry
from stages._workers import in_order

OUT = Path("data/generated")
CHUNK = 256
"""Rows written at a time by one process."""


def generate(packs: Sequence[Pack], params: Generate, processes: int | None = None) -> Iterator[tuple[Split, str]]:
    """The lines of all splits, with the split each belongs to; no request stands twice."""
    check_held_out(packs, params)
    exam, taken = params.exam, set[int]()
    for each in (
        plan(params, Split.TEST, exam.test),
        plan(params, Split.TEST, exam.unseen, unseen=True),
        plan(params, Split.DEV, exam.dev),
        plan(params, Split.TRAIN, Exam(rows=params.rows, seed=params.seed)),
    ):
        for line in lines(packs, each, taken, processes):
            yield each.split, line


def lines(packs: Sequence[Pack], plan: Plan, taken: set[int], processes: int | None = None) -> Iterator[str]:
    """A plan's rows as JSON lines, whose requests none of `taken` has; the same whatever the number of processes.

    Processes write each row as if it were alone; one whose request is taken by then is written again here.
    """
    rows = Rows(packs, plan)
    _ = rows.schedule  # drawn once, before processes are made
    chunks = [range(i, min(i + CHUNK, plan.rows)) for i in range(0, plan.rows, CHUNK)]
    written = in_order(first_attempts(rows), chunks, processes if len(chunks) > 1 else 1)
    for chunk, attempts in zip(chunks, written, strict=True):
        for i, made in zip(chunk, attempts, strict=True):
            if made is None or made[0] in taken:
                yield to_json(rows.fresh(i, taken).to_json())
            else:
                taken.add(made[0])
                yield made[1]


def first_attempts(rows: Rows) -> Callable[[range], list[tuple[int, str] | None]]:
    """Writes the rows of a range: the request's fingerprint and the line, or None where it takes another attempt."""

    def write(chunk: range) -> list[tuple[int, str] | None]:
        made = (rows.attempt(i, 0) for i in chunk)
        return [None if row is None else (fingerprint(row), to_json(row.to_json())) for row in made]

    return write


def plan(params: Generate, split: Split, exam: Exam, unseen: bool = False) -> Plan:
    shares = params if split is Split.TRAIN else params.exam
    return Plan(
        split=split,
        rows=exam.rows,
        seed=exam.seed,
        zh_tw_share=shares.zh_tw_share,
        categories=shares.categories.shares(),
        tools_offered=(params.tools_offered.min, params.tools_offered.max),
        rarer=params.tools_offered.rarer,
        rows_per_tool_list=params.rows_per_tool_list if split is Split.TRAIN else 1,
        voices=params.voices,
        held_out=frozenset(params.held_out_tools),
        unseen=unseen,
        held_out_packs=frozenset(params.held_out_packs),
        parallel_calls=params.parallel_calls,
        follow_ups=params.follow_ups if split is Split.TRAIN else 0.0,
        variation=Variation(**params.variation.model_dump()) if split is Split.TRAIN else Variation(),
    )


def check_held_out(packs: Sequence[Pack], params: Generate) -> None:
    """The held-out tools and packs exist, and enough are left to train on."""
    known = {tool.name for pack in packs for tool in pack.tools}
    if strange := sorted(set(params.held_out_tools) - known):
        raise Fault(
            f"params.yaml: generate.held_out_tools names {strange[0]!r}, which no pack has; "
            f"packs have {', '.join(sorted(known))}"
        )
    if strange := sorted(set(params.held_out_packs) - {pack.pack for pack in packs}):
        raise Fault(
            f"params.yaml: generate.held_out_packs names {strange[0]!r}, which generate.packs does not; add it there"
        )
    if not params.held_out_tools and not params.held_out_packs:
        raise Fault("params.yaml: generate.held_out_tools is empty; name at least one, for exam.unseen asks about them")
    seen = [pack for pack in packs if pack.pack not in params.held_out_packs]
    if not seen:
        raise Fault("params.yaml: generate.held_out_packs holds all packs; leave one to train on")
    for pack in seen:
        left = [tool for tool in pack.tools if tool.name not in params.held_out_tools]
        if len(left) < params.tools_offered.max:
            raise Fault(
                f"params.yaml: generate.tools_offered.max is {params.tools_offered.max}, but packs/{pack.pack}.yaml "
                f"has only {len(left)} tools that are not held out; lower it or hold out fewer"
            )


def main() -> None:
    params = read_params().generate
    packs = read_packs(params.packs)
    count = dict.fromkeys(Split, 0)
    with whole_folder(OUT) as folder, contextlib.ExitStack() as stack:
        files = {
            split: stack.enter_context((folder / f"{split}.jsonl").open("w", encoding="utf-8", newline="\n"))
            for split in Split
        }
        for split, line in generate(packs, params):
            files[split].write(line + "\n")
            count[split] += 1
        stack.close()  # before the folder is put in its place
    print(f"generate: {', '.join(f'{rows} {split}' for split, rows in count.items())} rows in {OUT}")


if __name__ == "__main__":
    _entry.run(main)
