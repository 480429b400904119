"""A two-layer Llama in a folder as the base stage leaves it, with the embedded model's real tokenizer and template."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
STOP = "<|im_end|>"


def make_base(folder: Path) -> Path:
    """Fill `folder`; random weights, seeded."""
    import torch
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    preset = yaml.safe_load((ROOT / "presets/smollm2-135m.yaml").read_text(encoding="utf-8"))
    spec = importlib.util.find_spec(preset["source"]["module"])
    assert spec is not None
    assert spec.origin is not None
    tokenizer = AutoTokenizer.from_pretrained(Path(spec.origin).parent, gguf_file=preset["source"]["file"])
    tokenizer.backend_tokenizer.pre_tokenizer = Sequence(
        [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
    )
    tokenizer.chat_template = preset["chat_template"].rstrip("\n")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=True,
        pad_token_id=2,
        eos_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    about = {"preset": "tiny", "source": "made by a test", "revision": "0", "stop": STOP}
    (folder / "callwright.json").write_text(json.dumps(about), encoding="utf-8")
    return folder
