"""Our side of the training benchmark: the train stage's own code, on the rows and knobs of JOB.json.

    python -m benchmarks.ours JOB.json

benchmarks.training starts it: {"base": folder, "rows": …jsonl, "train": the section of params.yaml,
"turns": [2, 4, 4, 4], "number": "bfloat16", "max_length": 512, "batches": …}.
"""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import turns
from callwright.outs import read_lines
from callwright.params import Train


def main() -> None:
    job, taken = turns.given()
    import torch

    from stages import _model, _qlora
    from stages._order import order

    _model.number_format = lambda: getattr(torch, job["number"])
    _qlora.keep_memory()
    params, rows = Train.model_validate_json(json.dumps(job["train"])), list(read_lines(Path(job["rows"])))
    size = params.batch_size
    planned = order([row["input_ids"] for row in rows], size, params.epochs, params.seed)
    tokens = [sum(len(rows[i]["input_ids"]) for i in planned[k : k + size]) for k in range(0, len(planned), size)]
    pad = turns.pad_of(job["base"])

    def watch(step: int, measured: dict[str, float]) -> None:
        taken.step(measured["loss"], tokens[step - 1])

    work = Path("work")
    work.mkdir()
    _qlora.fine_tune(_qlora.load(Path(job["base"]), params), rows, params, work, pad, watch, lambda: False)


if __name__ == "__main__":
    main()
