"""generate: packs -> tool-calling conversations, train, dev and test

    python -m stages.generate        reads packs/, leaves data/generated/{train,dev,test}.jsonl

A row is callwright.records' canonical record. The exam (dev, test) has its own seeds and is written first, so it
does not change with the number or seed of training rows; training rows then avoid its requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from callwright.faults import Fault
from callwright.grammar import Plan, write_rows
from callwright.outs import whole_folder, write_lines
from callwright.packs import Pack, read_packs
from callwright.params import Exam, Generate, read_params
from callwright.records import Example, Split
from stages import _entry

OUT = Path("data/generated")


def generate(packs: Sequence[Pack], params: Generate) -> dict[Split, list[Example]]:
    """All rows of all splits; no request stands twice."""
    check_held_out(packs, params)
    exam, taken = params.exam, set[str]()
    test = list(write_rows(packs, plan(params, Split.TEST, exam.test), taken))
    unseen = list(write_rows(packs, plan(params, Split.TEST, exam.unseen, unseen=True), taken))
    dev = list(write_rows(packs, plan(params, Split.DEV, exam.dev), taken))
    train = list(write_rows(packs, plan(params, Split.TRAIN, Exam(rows=params.rows, seed=params.seed)), taken))
    return {Split.TRAIN: train, Split.DEV: dev, Split.TEST: test + unseen}


def plan(params: Generate, split: Split, exam: Exam, unseen: bool = False) -> Plan:
    shares = params if split is Split.TRAIN else params.exam
    return Plan(
        split=split,
        rows=exam.rows,
        seed=exam.seed,
        zh_tw_share=shares.zh_tw_share,
        categories=shares.categories.shares(),
        tools_offered=(params.tools_offered.min, params.tools_offered.max),
        rows_per_tool_list=params.rows_per_tool_list if split is Split.TRAIN else 1,
        voices=params.voices,
        held_out=frozenset(params.held_out_tools),
        unseen=unseen,
    )


def check_held_out(packs: Sequence[Pack], params: Generate) -> None:
    """The held-out tools exist, and enough are left to train on."""
    known = {tool.name for pack in packs for tool in pack.tools}
    if strange := sorted(set(params.held_out_tools) - known):
        raise Fault(
            f"params.yaml: generate.held_out_tools names {strange[0]!r}, which no pack has; "
            f"packs have {', '.join(sorted(known))}"
        )
    if not params.held_out_tools:
        raise Fault("params.yaml: generate.held_out_tools is empty; name at least one, for exam.unseen asks about them")
    for pack in packs:
        left = [tool for tool in pack.tools if tool.name not in params.held_out_tools]
        if len(left) < params.tools_offered.max:
            raise Fault(
                f"params.yaml: generate.tools_offered.max is {params.tools_offered.max}, but packs/{pack.pack}.yaml "
                f"has only {len(left)} tools that are not held out; lower it or hold out fewer"
            )


def main() -> None:
    params = read_params().generate
    splits = generate(read_packs(params.packs), params)
    with whole_folder(OUT) as folder:
        for split, rows in splits.items():
            write_lines(folder / f"{split}.jsonl", (row.to_json() for row in rows))
    print(f"generate: {', '.join(f'{len(rows)} {split}' for split, rows in splits.items())} rows in {OUT}")


if __name__ == "__main__":
    _entry.run(main)
