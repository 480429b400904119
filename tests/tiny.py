"""Two-layer models with the embedded model's real tokenizer: as the base stage leaves one, or a hub, of each family."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
STOP = "<|im_end|>"
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}


def make_base(folder: Path) -> Path:
    """Fill `folder` as the base stage does; random weights, seeded."""
    tokenizer = _tokenizer()
    tokenizer.save_pretrained(folder)
    _save("llama", len(tokenizer), folder, tie_word_embeddings=True, pad_token_id=2, eos_token_id=2)
    about = {"preset": "tiny", "source": "made by a test", "revision": "0", "family": "template", "stops": [STOP]}
    (folder / "callwright.json").write_text(json.dumps(about), encoding="utf-8")
    return folder


def make_model(model_type: str, controls: tuple[str, ...], folder: Path) -> Path:
    """Fill `folder` as a hub would: a model of this type whose tokenizer knows these control tokens."""
    tokenizer = _tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": list(controls)})
    tokenizer.save_pretrained(folder)
    _save(model_type, len(tokenizer), folder, tie_word_embeddings=False, head_dim=32)
    return folder


def _tokenizer() -> Any:
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
    from transformers import AutoTokenizer

    preset = yaml.safe_load((ROOT / "presets/smollm2-135m.yaml").read_text(encoding="utf-8"))
    spec = importlib.util.find_spec(preset["source"]["module"])
    assert spec is not None
    assert spec.origin is not None
    tokenizer = AutoTokenizer.from_pretrained(Path(spec.origin).parent, gguf_file=preset["source"]["file"])
    tokenizer.backend_tokenizer.pre_tokenizer = Sequence(
        [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
    )
    tokenizer.chat_template = preset["chat_template"].rstrip("\n")
    return tokenizer


def _save(model_type: str, words: int, folder: Path, **more: Any) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, vocab_size=words, **SIZES, **more)
    if model_type == "mistral":
        config.sliding_window = None  # as in v0.3
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
