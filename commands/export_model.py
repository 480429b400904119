"""callwright export --merged DIR: base and adapter as one model, with tokenizer, chat template and generation config

    callwright export --merged exported                  models/base and models/adapter, merged as they were trained
    callwright export --merged exported --onto plain     into the base as published (stages/_export.py says what for)
    transformers serve ./exported                        answers OpenAI's clients, `tool_calls` included

The folder is read back and asked a sample of the test rows beside the adapter; it exits with 1, and the folder stays,
if fewer than 95% of the answers are the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from callwright.faults import Fault
from callwright.outs import read_lines, whole_folder
from callwright.params import read_params
from stages import _exam, _local, _model

if TYPE_CHECKING:
    from stages._export import Pair

ADAPTER = Path("models/adapter")
WEIGHTS = ("adapter_config.json", "adapter_model.safetensors")
SAME = 0.95
_SHOWN = 3


def merged(
    folder: Path, adapter: Path = ADAPTER, *, onto: str = "as-trained", force: bool = False, sample: int = 20
) -> int:
    """Write the merged model, whole or not at all; return 0, or 1 where it does not answer as the adapter does."""
    from stages import _export

    if onto not in list(_export.Onto):
        raise Fault(f"--onto is {onto!r}; choose one of {', '.join(_export.Onto)}")
    if sample < 0:
        raise Fault(f"--sample is {sample}; give the number of test rows to ask, 0 for none")
    _refuse(folder, force=force)
    said = _adapter(adapter)
    said.setdefault("train_as", str(read_params().format.train_as))
    asked, most = _sample(sample)
    way = _export.Onto(onto)
    model = _export.merge(_exam.BASE, adapter, way)
    with whole_folder(folder) as aside:
        _export.write(model, _exam.BASE, said, way, aside)
        del model
        print(f"export: written; base: {_export.rounding(said, way)}", flush=True)
        told = "export: {} has answered"
        pairs = (
            _export.compare(_exam.BASE, adapter, aside, asked, most, lambda name: print(told.format(name), flush=True))
            if asked
            else {}
        )
    return _tell(folder, pairs, sample)


def gguf(file: Path, *, kind: str = "bf16") -> NoReturn:
    """Say how: no library on the package registry that is kept by those who know the format writes GGUF."""
    raise Fault(
        "callwright writes no GGUF itself; write the model with callwright export --merged exported, then convert "
        "that with llama.cpp's own script: python llama.cpp/convert_hf_to_gguf.py exported "
        f"--outfile {file} --outtype {kind}"
    )


def _refuse(folder: Path, *, force: bool) -> None:
    if folder.is_file():
        raise Fault(f"{folder} is a file; --merged names a folder")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not _ours(folder):
        raise Fault(
            f"{folder} holds something else than a merged model of ours, and stays as it is; name another folder"
        )
    if not force:
        raise Fault(f"{folder} is there already; --force replaces it, or name another folder")


def _ours(folder: Path) -> bool:
    try:
        return "merged" in json.loads((folder / "callwright.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def _adapter(adapter: Path) -> dict[str, Any]:
    """What its callwright.json says; `Fault` where it is not one for this base."""
    if not adapter.is_dir():
        raise Fault(f"{adapter} is missing: there is no adapter to merge; dvc repro trains one")
    _model.location(_exam.BASE)
    for name in WEIGHTS:
        if not (adapter / name).is_file():
            raise Fault(f"{adapter} holds no {name}; dvc checkout brings it back")
    try:
        return _model.check_adapter(_exam.BASE, adapter)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Fault(
            f"callwright.json of {adapter} or {_exam.BASE} is not as train and base write it ({error!r}); "
            "dvc checkout brings them back"
        ) from error


def _sample(size: int) -> tuple[dict[str, list[int]], int]:
    """Prompts of so many test rows, spread over all of them, and how long an answer may be."""
    native, rows = _exam.NATIVE / "test.jsonl", _exam.VALIDATED / "test.jsonl"
    if not size or not native.is_file() or not rows.is_file():
        return {}, 0
    prompts = _local.prompts(read_lines(native))
    known = [row["id"] for row in read_lines(rows) if row["id"] in prompts]
    taken = min(size, len(known))
    chosen = [known[i * len(known) // taken] for i in range(taken)]
    return {row: prompts[row].tokens for row in chosen}, read_params().evaluate.max_new_tokens if chosen else 0


def _tell(folder: Path, pairs: Mapping[str, Pair], sample: int) -> int:
    if not pairs:
        why = f"there are no test rows in {_exam.NATIVE}" if sample else "--sample is 0"
        print(f"export: {folder} is there; not asked anything: {why}")
        return 0
    same = sum(pair.adapter == pair.merged for pair in pairs.values())
    print(f"export: {folder} is there; {same} of {len(pairs)} answers are the same as the adapter's")
    print("\n".join(_others(pairs)), end="\n" if same < len(pairs) else "")
    if same >= SAME * len(pairs):
        return 0
    print(f"export: fewer than {SAME:.0%}: this is not the model that evaluate scored; score it before you serve it")
    return 1


def _others(pairs: Mapping[str, Pair]) -> Iterator[str]:
    others = [(row, pair) for row, pair in pairs.items() if pair.adapter != pair.merged]
    for row, pair in others[:_SHOWN]:
        yield f"  {row}: adapter {pair.adapter!r}, merged {pair.merged!r}"
    if len(others) > _SHOWN:
        yield f"  and {len(others) - _SHOWN} more"
