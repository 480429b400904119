"""format: accepted rows -> the document's three formats, and the chosen model's text with its label mask

    python -m stages.format          reads data/validated/, models/base/
                                     leaves data/formatted/{messages,alpaca,pro,native}/{train,dev,test}.jsonl

A row of native/ is {"id", "text", "input_ids", "labels"}: labels are the ids of the assistant's turns through the stop
token, and -100 elsewhere. Pieces are tokenised one by one, so that a prompt has the same tokens in training as when a
model answers it.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from callwright.blocks import Block, blocks, lines_of
from callwright.faults import Fault
from callwright.formats import to_alpaca, to_messages, to_pro
from callwright.outs import to_json, whole_folder
from callwright.params import Format, read_params
from callwright.records import BadRecord, Example, Split, read_line
from callwright.training_text import Render, Row, rows
from stages import _entry
from stages._workers import in_order

VALIDATED, BASE, OUT = Path("data/validated"), Path("models/base"), Path("data/formatted")
UNLABELLED = -100

Encode = Callable[[str], list[int]]
Native = Callable[[Example], list[dict[str, Any]]]
"""The rows that the chosen model is trained on."""


class Formatted(NamedTuple):
    lines: dict[str, str]
    """JSON lines of each format."""
    rows: int
    tokens: int
    long: list[tuple[str, int]]
    """Rows over the length, with their tokens."""


def formatted(path: Path, params: Format, native: Native | None, processes: int | None = None) -> Iterator[Formatted]:
    """The three formats of the document, and `native` where it is given, block by block of a file of records."""
    return in_order(formatter(params, native), blocks(path), processes)


def formatter(params: Format, native: Native | None) -> Callable[[Block], Formatted]:
    def work(block: Block) -> Formatted:
        made: dict[str, list[dict[str, Any]]] = {"messages": [], "alpaca": [], "pro": [], "native": []}
        count, tokens = 0, 0
        long: list[tuple[str, int]] = []
        for place, line in lines_of(block):
            try:
                example = read_line(line.decode())
            except (BadRecord, UnicodeDecodeError) as error:
                raise Fault(f"{place}: {error}; make the file again with dvc repro") from None
            count += 1
            made["messages"].append(to_messages(example))
            made["alpaca"] += to_alpaca(example)
            made["pro"] += to_pro(example)
            for row in native(example) if native else ():
                length = len(row["input_ids"])
                tokens += length
                if length > params.max_length:
                    long.append((row["id"], length))
                else:
                    made["native"].append(row)
        return Formatted({name: _lines(part) for name, part in made.items()}, count, tokens, long)

    return work


def _lines(made: Iterable[dict[str, Any]]) -> str:
    return "".join(to_json(row) + "\n" for row in made)


def to_native(params: Format, render: Render, encode: Encode, stop: str) -> Native:
    """Text, token ids and labels of each training row of an example."""
    return lambda example: [labelled(row, encode) for row in rows(example, params.train_as, render, stop)]


def check_length(long: Sequence[tuple[str, int]], params: Format) -> None:
    """`Fault` names the rows that are too long."""
    if long:
        row_id, length = max(long, key=lambda found: found[1])
        many = "a row is" if len(long) == 1 else f"{len(long)} rows are"
        place = f"params.yaml: format.max_length is {params.max_length}"
        raise Fault(f"{place}, and {many} longer ({row_id} has {length} tokens); raise it")


def labelled(row: Row, encode: Encode) -> dict[str, Any]:
    ids: list[int] = []
    labels: list[int] = []
    for piece in row.pieces:
        tokens = encode(piece.text)
        ids += tokens
        labels += tokens if piece.labelled else [UNLABELLED] * len(tokens)
    if all(label == UNLABELLED for label in labels):
        raise Fault(f"{row.id}: no token of the assistant's is left to learn; look at the row in data/validated/")
    return {"id": row.id, "text": row.text, "input_ids": ids, "labels": labels}


def template_and_tokens(folder: Path) -> tuple[Render, Encode, str]:
    """Chat template, tokenizer and stop token of a model folder made by the base stage."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)

    def render(messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None, prompt: bool) -> str:
        return str(tokenizer.apply_chat_template(messages, tools=tools, add_generation_prompt=prompt, tokenize=False))

    def encode(text: str) -> list[int]:
        return list(tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids)

    stop: str = json.loads((folder / "callwright.json").read_text(encoding="utf-8"))["stop"]
    return render, encode, stop


def main() -> None:
    params = read_params().format
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # each process has a tokenizer of its own
    native = to_native(params, *template_and_tokens(BASE))
    long: list[tuple[str, int]] = []
    with whole_folder(OUT) as folder:
        for split in Split:
            count = tokens = 0
            with contextlib.ExitStack() as stack:
                outs: dict[str, Any] = {}
                for name in ("messages", "alpaca", "pro", "native"):
                    (folder / name).mkdir(exist_ok=True)
                    path = folder / name / f"{split}.jsonl"
                    outs[name] = stack.enter_context(path.open("w", encoding="utf-8", newline="\n"))
                for part in formatted(VALIDATED / f"{split}.jsonl", params, native):
                    for name, lines in part.lines.items():
                        outs[name].write(lines)
                    count, tokens, long = count + part.rows, tokens + part.tokens, long + part.long
            print(f"format: {split}: {count} rows, {tokens:,} tokens as {params.train_as}")
        check_length(long, params)


if __name__ == "__main__":
    _entry.run(main)
