r"""How `transformers serve` finds calls in what a tuned model wrote: a response template in the tokenizer's config.

    {"tool": "find_contact", "params": {"name": "王小明"}}<|im_end|>   ->  tool_calls, one a line
    請問要排在什麼時間?<|im_end|>                                       ->  content
    {"tool": "find_contact", <|im_end|>                                 ->  content, as the model wrote it

transformers (utils/chat_parsing of 5.23) reads an answer by the template's regular expressions. Ours know JSON, so that
either the whole answer is calls or none of it is, and nothing fails in the server: name and arguments go to the client
as they were written, neither mended nor converted. Qwen's own form needs none; transformers knows it by the model type.
What is not covered: a key that stands twice in the arguments reaches the client, and a call to a name with an escape is
content. `callwright.answers.read_answer` is the judge.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def _spaced(pattern: str) -> str:
    """Spaces in the pattern stand for any white space of JSON."""
    return pattern.replace(" ", r"[ \t\r\n]*+")


_JSON = (
    r'(?(DEFINE)(?P<string>"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+")'
    r"(?P<number>-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?)"
    + _spaced(r"(?P<value>(?&string)|(?&object)|\[ (?:(?&value) (?:, (?&value) )*+)?\]|(?&number)|true|false|null)")
    + _spaced(r"(?P<object>\{ (?:(?&string) : (?&value) (?:, (?&string) : (?&value) )*+)?\}))")
)
"""RFC 8259 for the module `regex`, which transformers uses: it knows recursion."""

_NAME, _ARGUMENTS = r'"(?P<name>[^"\\\x00-\x1f]++)"', "(?P<arguments>(?&object))"


@dataclass(frozen=True, slots=True)
class _Form:
    """Calls as a family writes them: patterns in which spaces stand for any white space."""

    call: str
    begin: str = ""
    between: str = ""
    """Empty where a turn holds one call."""
    end: str = ""


_DOCUMENT = _Form(rf'\{{ "tool" : {_NAME} , "params" : {_ARGUMENTS} \}}', between=r"[\x20\t]*+\n ")
_NATIVE = {
    "template": _DOCUMENT,
    "llama3.1": _Form(rf'\{{ "name" : {_NAME} , "parameters" : {_ARGUMENTS} \}}'),
    "mistral": _Form(
        rf'\{{ "name" : {_NAME} , "arguments" : {_ARGUMENTS} (?:, "id" : (?&string) )?\}}',
        begin=r"\[TOOL_CALLS\] \[ ",
        between=" , ",
        end=r" \]",
    ),
}


def response_template(
    tokenizer: PreTrainedTokenizerBase, family: str, stops: Sequence[str], *, native: bool
) -> dict[str, Any] | None:
    """What `tokenizer.response_template` is to be; None where transformers knows better, or there is no chat template.

    `native` says that the model was trained on its family's own form, and not on the document's.
    """
    form = _NATIVE.get(family) if native else _DOCUMENT
    anchor = _opening(tokenizer)
    if form is None or anchor is None:
        return None
    return _template(form, anchor, "|".join(map(re.escape, stops)))


def _template(form: _Form, anchor: str, stop: str) -> dict[str, Any]:
    call, unnamed = _spaced(form.call), _spaced(re.sub(r"\?P<(name|arguments)>", "?:", form.call))
    begin, between, end = (_spaced(part) for part in (form.begin, form.between, form.end))
    rest = rf"{end}{_spaced(' ')}(?:{stop})"
    more = f"(?:{between}{unnamed})*+" if between else ""
    start = r"\A[ \t\r\n]*"
    # What begins like a call is read to its stop before it is judged: the module's partial matches, by which
    # transformers streams, tell too little of what follows. \G and the look behind: only a call comes before the next.
    first = rf"{start}+(?=[{{[])(?=(?s:.)*?(?:{stop})){begin}{call}(?={more}{rest})"
    following = rf"\G(?<={start}[{{[](?s:.)*){between}{call}"
    return {
        "defaults": {"role": "assistant"},
        "start_anchor": anchor,
        "fields": {
            "content": {"close_pattern": rf"\s*(?:{stop})"},
            "tool_calls": {
                "open_pattern": _JSON + (f"(?:{first}|{following})" if between else first),
                "close_pattern": f"(?:{end})?",
                "repeats": True,
                "transform": {"type": "function", "function": {"name": "{name}", "arguments": "{arguments}"}},
            },
        },
    }


def _opening(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """What a prompt ends with, right before the answer."""
    if not tokenizer.chat_template:
        return None
    turns = [{"role": "user", "content": "?"}]
    before, after = (
        str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=asked))
        for asked in (False, True)
    )
    return after.removeprefix(before) or ("[/INST]" if after.rstrip().endswith("[/INST]") else None)
