"""format: accepted rows -> the document's three formats, and the chosen model's text with its label mask

    python -m stages.format          reads data/validated/, models/base/
                                     leaves data/formatted/{messages,alpaca,pro,native}/{train,dev,test}.jsonl

A row of native/ is {"id", "text", "input_ids", "labels"}: labels are the ids of the assistant's turns through the stop
token, and -100 elsewhere; "turns" says in how many of them the last message is written, where they are several, and
"cut" how many tokens a row had before its end was cut off. Pieces are tokenised one by one, so that a prompt has the
same tokens in training as when a model answers it. A row that is not in native/ stands in data/formatted/, in
set_aside.jsonl, with its reason: not_expressible, too_long, no_label.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from callwright.blocks import Block, blocks, lines_of
from callwright.families import NotExpressible, family
from callwright.faults import Fault
from callwright.formats import to_alpaca, to_messages, to_pro
from callwright.outs import to_json, whole_folder, write_lines
from callwright.params import Format, Inexpressible, Long, TrainAs, read_params
from callwright.presets import FamilyName
from callwright.records import BadRecord, Example, Split, read_line
from callwright.training_text import Render, Row, rows
from stages import _entry
from stages._model import About, about
from stages._workers import in_order

VALIDATED, BASE, OUT = Path("data/validated"), Path("models/base"), Path("data/formatted")
UNLABELLED = -100

Encode = Callable[[str], list[int]]
Native = Callable[[Example], list[dict[str, Any]]]
"""The rows that the chosen model is trained on; raises `NotExpressible`."""
SET_ASIDE = "set_aside.jsonl"


class Aside(StrEnum):
    NOT_EXPRESSIBLE = "not_expressible"
    TOO_LONG = "too_long"
    NO_LABEL = "no_label"


class Formatted(NamedTuple):
    lines: dict[str, str]
    """JSON lines of each format."""
    rows: int
    tokens: int
    aside: list[dict[str, Any]]
    """Rows that are not in native/: id, reason, detail."""
    cut: int
    """Rows whose end was cut off."""


def formatted(path: Path, params: Format, native: Native | None, processes: int | None = None) -> Iterator[Formatted]:
    """The three formats of the document, and `native` where it is given, block by block of a file of records."""
    return in_order(formatter(params, native), blocks(path), processes)


def formatter(params: Format, native: Native | None) -> Callable[[Block], Formatted]:
    def work(block: Block) -> Formatted:
        made: dict[str, list[dict[str, Any]]] = {"messages": [], "alpaca": [], "pro": [], "native": []}
        count, aside = 0, list[dict[str, Any]]()
        for place, line in lines_of(block):
            try:
                example = read_line(line.decode())
            except (BadRecord, UnicodeDecodeError) as error:
                raise Fault(f"{place}: {error}; make the file again with dvc repro") from None
            count += 1
            made["messages"].append(to_messages(example))
            made["alpaca"] += to_alpaca(example)
            made["pro"] += to_pro(example)
            if native:
                rows, why = trained_on(example, native, params)
                made["native"] += rows
                aside += why
        tokens = sum(row.get("cut") or len(row["input_ids"]) for row in made["native"])
        cut = sum("cut" in row for row in made["native"])
        return Formatted({name: _lines(part) for name, part in made.items()}, count, tokens, aside, cut)

    return work


def trained_on(example: Example, native: Native, params: Format) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The native rows of an example, and those that are set aside. An exam's row is never cut: its end is asked for."""
    try:
        rows = native(example)
    except NotExpressible as error:
        return [], [_aside(example.id, Aside.NOT_EXPRESSIBLE, str(error))]
    kept, aside = list[dict[str, Any]](), list[dict[str, Any]]()
    for row in rows:
        length = len(row["input_ids"])
        if length <= params.max_length:
            kept.append(row)
        elif params.too_long is not Long.CUT or example.split is not Split.TRAIN:
            aside.append(_aside(row["id"], Aside.TOO_LONG, f"{length} tokens", tokens=length))
        elif all(label == UNLABELLED for label in row["labels"][: params.max_length]):
            aside.append(_aside(row["id"], Aside.NO_LABEL, f"no answer within {params.max_length} of {length} tokens"))
        else:
            ends = {name: row[name][: params.max_length] for name in ("input_ids", "labels")}
            kept.append({**row, **ends, "cut": length})
    return kept, aside


def _aside(row_id: str, reason: Aside, detail: str, **more: Any) -> dict[str, Any]:
    return {"id": row_id, "reason": str(reason), "detail": detail, **more}


def _lines(made: Iterable[dict[str, Any]]) -> str:
    return "".join(to_json(row) + "\n" for row in made)


def to_native(params: Format, about: About, render: Render, encode: Encode) -> Native:
    """Text, token ids and labels of each training row of an example, as the family of the base writes them."""
    stop = about.stops[0]
    if about.family is FamilyName.TEMPLATE:
        return lambda example: [labelled(row, encode) for row in rows(example, params.train_as, render, stop)]
    speaks = family(about.family)
    if params.train_as is TrainAs.ALPACA:
        return lambda example: [
            labelled(speaks.alpaca(row), encode) for row in rows(example, params.train_as, render, stop)
        ]
    if params.train_as is TrainAs.MESSAGES:
        return lambda example: [
            labelled(row, encode) for row in speaks.messages(example.id, to_messages(example)["messages"])
        ]
    if not speaks.native:
        raise Fault(
            f"params.yaml: format.train_as is 'native', and {about.preset} has no tool format of its own; "
            "write messages, alpaca or preset"
        )
    in_turns = params.inexpressible is Inexpressible.TURNS
    return lambda example: [labelled(row, encode) for row in speaks.rows(example, consecutive=in_turns)]


def check_length(aside: Sequence[dict[str, Any]], params: Format) -> None:
    """`Fault` names the rows that are too long, where they are to be refused."""
    long = [row for row in aside if row["reason"] == Aside.TOO_LONG]
    if long and params.too_long is Long.REFUSE:
        longest = max(long, key=lambda row: int(row["tokens"]))
        many = "a row is" if len(long) == 1 else f"{len(long)} rows are"
        place = f"params.yaml: format.max_length is {params.max_length}"
        raise Fault(
            f"{place}, and {many} longer ({longest['id']} has {longest['tokens']} tokens); raise it, or have "
            "format.too_long drop or cut such rows"
        )


def labelled(row: Row, encode: Encode) -> dict[str, Any]:
    ids: list[int] = []
    labels: list[int] = []
    for piece in row.pieces:
        tokens = encode(piece.text)
        ids += tokens
        labels += tokens if piece.labelled else [UNLABELLED] * len(tokens)
    if all(label == UNLABELLED for label in labels):
        raise Fault(f"{row.id}: no token of the assistant's is left to learn; look at the row in data/validated/")
    turns = {"turns": row.turns} if row.turns > 1 else {}
    return {"id": row.id, "text": row.text, "input_ids": ids, "labels": labels, **turns}


def template_and_tokens(folder: Path) -> tuple[Render, Encode]:
    """Chat template and tokenizer of a model folder made by the base stage."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)

    def render(messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None, prompt: bool) -> str:
        return str(tokenizer.apply_chat_template(messages, tools=tools, add_generation_prompt=prompt, tokenize=False))

    def encode(text: str) -> list[int]:
        return list(tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids)

    return render, encode


def main() -> None:
    params = read_params().format
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # each process has a tokenizer of its own
    native = to_native(params, about(BASE), *template_and_tokens(BASE))
    aside: list[dict[str, Any]] = []
    with whole_folder(OUT) as folder:
        for split in Split:
            count = tokens = cut = 0
            with contextlib.ExitStack() as stack:
                outs: dict[str, Any] = {}
                for name in ("messages", "alpaca", "pro", "native"):
                    (folder / name).mkdir(exist_ok=True)
                    path = folder / name / f"{split}.jsonl"
                    outs[name] = stack.enter_context(path.open("w", encoding="utf-8", newline="\n"))
                for part in formatted(VALIDATED / f"{split}.jsonl", params, native):
                    for name, lines in part.lines.items():
                        outs[name].write(lines)
                    count, tokens, cut = count + part.rows, tokens + part.tokens, cut + part.cut
                    aside += [{"split": str(split), **row} for row in part.aside]
            print(f"format: {split}: {count} rows, {tokens:,} tokens as {params.train_as}{told(split, aside, cut)}")
        write_lines(folder / SET_ASIDE, aside)
        check_length(aside, params)


def told(split: Split, aside: Sequence[dict[str, Any]], cut: int) -> str:
    """`; 3 set aside as not_expressible, 2 cut`, or nothing."""
    reasons = Counter(row["reason"] for row in aside if row["split"] == split)
    parts = [f"{many} set aside as {reason} ({OUT / SET_ASIDE})" for reason, many in sorted(reasons.items())]
    parts += [f"{cut} cut to their first tokens"] if cut else []
    return "".join(f"; {part}" for part in parts)


if __name__ == "__main__":
    _entry.run(main)
