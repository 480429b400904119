"""format: accepted rows -> the document's three formats, and the chosen model's text with its label mask

    python -m stages.format          reads data/validated/, models/base/
                                     leaves data/formatted/{messages,alpaca,pro,native}/{train,dev,test}.jsonl

A row of native/ is {"id", "text", "input_ids", "labels"}: labels are the ids of the assistant's turns through the stop
token, and -100 elsewhere. Pieces are tokenised one by one, so that a prompt has the same tokens in training as when a
model answers it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from callwright.faults import Fault
from callwright.formats import to_alpaca, to_messages, to_pro
from callwright.outs import read_lines, whole_folder, write_lines
from callwright.params import Format, read_params
from callwright.records import Example, Split, read_example
from callwright.training_text import Render, Row, rows
from stages import _entry

VALIDATED, BASE, OUT = Path("data/validated"), Path("models/base"), Path("data/formatted")
UNLABELLED = -100

Encode = Callable[[str], list[int]]


def formatted(examples: Iterable[Example]) -> dict[str, list[dict[str, Any]]]:
    """The three formats of the document."""
    out: dict[str, list[dict[str, Any]]] = {"messages": [], "alpaca": [], "pro": []}
    for example in examples:
        out["messages"].append(to_messages(example))
        out["alpaca"] += to_alpaca(example)
        out["pro"] += to_pro(example)
    return out


def native(
    examples: Iterable[Example], params: Format, render: Render, encode: Encode, stop: str
) -> Iterator[dict[str, Any]]:
    """Text, token ids and labels; `Fault` names the rows that are too long."""
    long = []
    for example in examples:
        for row in rows(example, params.train_as, render, stop):
            made = labelled(row, encode)
            if len(made["input_ids"]) > params.max_length:
                long.append((row.id, len(made["input_ids"])))
            else:
                yield made
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
    render, encode, stop = template_and_tokens(BASE)
    with whole_folder(OUT) as folder:
        for split in Split:
            examples = [read_example(row) for row in read_lines(VALIDATED / f"{split}.jsonl")]
            made = formatted(examples) | {"native": list(native(examples, params, render, encode, stop))}
            for name, part in made.items():
                (folder / name).mkdir(exist_ok=True)
                write_lines(folder / name / f"{split}.jsonl", part)
            tokens = sum(len(row["input_ids"]) for row in made["native"])
            print(f"format: {split}: {len(examples)} rows, {tokens:,} tokens as {params.train_as}")


if __name__ == "__main__":
    _entry.run(main)
