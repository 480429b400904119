"""The vendors' own tokenizers and encoders, from packages of theirs: what our native formats are held against.

Llama 3's tokenizer.model from llama-models (tiktoken), Qwen's qwen.tiktoken from dashscope, Mistral's v3 tokenizer and
encoder from mistral-common. Files are read as data: of llama-models and dashscope no code is run.
"""

from __future__ import annotations

import base64
import importlib.metadata
from functools import cache
from pathlib import Path
from typing import Any

import tiktoken
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|NUMBER| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3_PATTERN, QWEN_PATTERN = (_PATTERN.replace("NUMBER", number) for number in (r"\p{N}{1,3}", r"\p{N}"))
"""How each cuts a text before it looks for tokens; they differ in how many digits stand together."""


def _ranks(path: Path) -> dict[bytes, int]:
    lines = (line.split() for line in path.read_bytes().splitlines() if line)
    return {base64.b64decode(token): int(rank) for token, rank in lines}


def packaged(package: str, ending: str) -> Path:
    """A file of an installed package, found without importing it."""
    files = importlib.metadata.files(package) or []
    found = min(file for file in files if str(file).endswith(ending))  # one may lie in a folder of tests too
    return Path(str(found.locate()))


def _encoding(name: str, pattern: str, ranks: dict[bytes, int], controls: tuple[str, ...]) -> tiktoken.Encoding:
    special = {control: len(ranks) + i for i, control in enumerate(controls)}
    return tiktoken.Encoding(name=name, pat_str=pattern, mergeable_ranks=ranks, special_tokens=special)


@cache
def llama3() -> tiktoken.Encoding:
    names = ("begin_of_text", "end_of_text", "start_header_id", "end_header_id", "eot_id", "eom_id", "python_tag")
    controls = tuple(f"<|{name}|>" for name in names)
    return _encoding(
        "llama3", LLAMA3_PATTERN, _ranks(packaged("llama-models", "llama_models/llama3/tokenizer.model")), controls
    )


@cache
def qwen() -> tiktoken.Encoding:
    names = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>", "<think>", "</think>")
    return _encoding("qwen", QWEN_PATTERN, _ranks(packaged("dashscope", "qwen.tiktoken")), names)


@cache
def mistral() -> Any:
    return MistralTokenizer.v3()


def encode(encoding: tiktoken.Encoding, text: str) -> list[int]:
    return encoding.encode(text, allowed_special="all")


@cache
def _mistral_controls() -> dict[str, int]:
    inner: Any = mistral().instruct_tokenizer.tokenizer
    from callwright.families import family

    return {control: inner._model.piece_to_id(control) for control in family("mistral").controls}


def encode_mistral(text: str) -> list[int]:
    """Our text by Mistral's SentencePiece model: control tokens as their ids, the space behind one begins a word."""
    inner: Any = mistral().instruct_tokenizer.tokenizer
    ids: list[int] = []
    while text:
        control = next((one for one in _mistral_controls() if text.startswith(one)), None)
        if control:
            ids.append(_mistral_controls()[control])
            text = text.removeprefix(control)
            continue
        end = min((at for one in _mistral_controls() if (at := text.find(one)) >= 0), default=len(text))
        assert text[0] == " " or not ids or text[:end] == text, f"no space behind a control token: {text[:20]!r}"
        ids += inner.encode(text[:end].removeprefix(" "), bos=False, eos=False)
        text = text[end:]
    return ids
