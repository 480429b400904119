"""Answers held to the schemas of the tools that are offered: calls that the tools take, or plain text. By llguidance.

    grammars = Constrained(Path("models/base"), DOCUMENT, stops)
    held = grammars.for_tools([example.tools for example in exam])      a list of tools for each prompt
    answers = _decode.greedy(model, prompts, stops, 96, 160, constraint=held)
    held.free                                                           {3: "book_room: Unimplemented keys: …"}

An answer is either one call or more, in the form that the model was trained on and with the parameters in the schema's
order, or text that no reader takes for a call; then the stop token. Tools come from anywhere: their names and schemas
stand in a grammar as quoted strings and as JSON, and are nothing but compared. Tools of which llguidance makes no
grammar are answered freely, and `free` says why.
Held to less than the schema: `format` (a moment is held to its grammar instead), and keys that it does not name, which
may stand twice. Held to more: texts and numbers without bounds have some. Not covered: an answer that
`max_new_tokens` cuts off, a family's control token that is spelt out in a value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callwright.families import family
from callwright.moments import WEEKDAYS, is_moment
from callwright.records import Tool

if TYPE_CHECKING:
    import torch
    from llguidance import LLMatcher

DOCUMENT = "document"
"""The form of `messages` and `alpaca`; the others are the families' names."""

_MOST_CALLS = 16
"""In one answer: a model that loops comes to an end."""
LONGEST = 1_000
"""Characters of a text that its schema does not limit; `max_new_tokens` ends most of them earlier."""
_MOST = 10**15
"""The largest number where a schema sets no bound; Python writes all up to it without an exponent."""


class Constrained:
    """Makes grammars from tools, for one tokenizer and one form of calls; each list of tools is compiled once."""

    def __init__(
        self, base: Path, form: str, stops: Sequence[int], *, moments: bool = True, longest: int = LONGEST
    ) -> None:
        """`base`: a folder with the tokenizer. `moments`: whether moments are held to the grammar of `moments`."""
        from llguidance.hf import from_tokenizer
        from transformers import AutoTokenizer

        hub: Any = AutoTokenizer.from_pretrained(base)
        marks = {mark: f"<[{number}]>" for mark, number in hub.get_added_vocab().items()}
        self.stops, self.tokenizer = list(stops), from_tokenizer(hub, eos_token=list(stops))
        self.form, self.moments, self.longest = _FORMS[form](form, marks), moments, longest
        self._of = lru_cache(maxsize=1024)(self._compiled)

    def for_tools(self, offered: Sequence[Sequence[Tool]]) -> Held:
        """For one round of answers; its rows are numbered as `offered` is."""
        return Held(self, offered)

    def start(self, tools: Sequence[Tool]) -> LLMatcher | str:
        """The grammar of `tools` at the beginning of an answer, or why there is none."""
        try:
            made = self._of(json.dumps([tool.to_json() for tool in tools]))
        except RecursionError:
            return f"{_names(tools)}: their schemas nest too deep"
        return made if isinstance(made, str) else made.deep_copy()

    def grammar(self, tools: Sequence[Tool]) -> str:
        """In llguidance's dialect of Lark."""
        rules = [self.form.start(len(tools)), f"TEXT: {self.form.text}"]
        rules.append(f"call: {' | '.join(f'call{i}' for i in range(len(tools)))}")
        for i, tool in enumerate(tools):
            schema = {**_held(tool.parameters, "", self), "x-guidance": _SPELLING}
            schema.setdefault("additionalProperties", False)  # names are exact where nothing is said
            before, after = self.form.around(tool.name)
            rules += [f"call{i}: {before} p{i} {after}", f"p{i}: %json {json.dumps(schema)}"]
        return "\n".join(rules if tools else ["start: TEXT", rules[1]])

    def _compiled(self, text: str) -> LLMatcher | str:
        from llguidance import LLMatcher

        tools = [Tool(**tool) for tool in json.loads(text)]
        try:
            matcher = LLMatcher(self.tokenizer, self.grammar(tools), log_level=0)
        except (TypeError, ValueError, AttributeError, RecursionError) as error:  # a schema that is none
            return f"{_names(tools)}: {type(error).__name__}: {error}"
        return f"{_names(tools)}: {_sentence(matcher.get_error())}" if matcher.is_error() else matcher


def _names(tools: Sequence[Tool]) -> str:
    return ", ".join(tool.name for tool in tools)


def _sentence(error: str) -> str:
    """What is wrong in words, without the grammar and the state that llguidance quotes."""
    said = re.split(r"\n *\d+ \||\n<state>", error)[0]
    return " ".join(re.sub(r"^at \d+\(\d+\): |failed to compile JSON schema: ", "", said).split())


class Held:
    """Where each row of one round is in its grammar. Used once."""

    def __init__(self, grammars: Constrained, offered: Sequence[Sequence[Tool]]) -> None:
        self.grammars, self.offered = grammars, offered
        self.free: dict[int, str] = {}
        """Rows that are answered freely, with the reason."""
        self._at: dict[int, LLMatcher] = {}

    def pick(self, rows: Sequence[int], scores: torch.Tensor) -> list[int]:
        """Of each row the best token that may come next, of scores (rows, vocabulary).

        A row whose best token is allowed, which is nearly every one of a trained model, costs no mask.
        """
        picked: list[int] = scores.argmax(-1).tolist()
        for i, row in enumerate(rows):
            matcher = self._matcher(row)
            if matcher is None or self._takes(matcher, picked[i]):
                continue
            best = self._best(matcher, scores[i])
            if best is None or not self._takes(matcher, best):
                self.free[row] = f"{_names(self.offered[row])}: {_sentence(matcher.get_error()) or 'no way goes on'}"
            else:
                picked[i] = best
        for row, token in zip(rows, picked, strict=True):
            if token in self.grammars.stops:
                self._at.pop(row, None)
        return picked

    def _matcher(self, row: int) -> LLMatcher | None:
        if row in self.free:
            return None
        if row not in self._at:
            started = self.grammars.start(self.offered[row])
            if isinstance(started, str):
                self.free[row] = started
                return None
            self._at[row] = started
        return self._at[row]

    def _takes(self, matcher: LLMatcher, token: int) -> bool:
        """Go on with the token if it may come next."""
        if matcher.is_stopped():  # after the last that the grammar holds
            return token in self.grammars.stops and not matcher.is_error()
        return token < self.grammars.tokenizer.vocab_size and matcher.try_consume_tokens([token]) == 1

    def _best(self, matcher: LLMatcher, scores: torch.Tensor) -> int | None:
        import numpy as np
        import torch

        if matcher.is_error():  # llguidance has come to one of its limits
            return None
        allowed = np.flatnonzero(np.frombuffer(matcher.compute_logit_bias(), dtype=np.uint8))
        if not len(allowed):
            return None
        places = torch.from_numpy(allowed).to(scores.device)
        return int(allowed[int(scores[places].argmax())])


# Forms of an answer


class _Form:
    """The document's: one call a line."""

    before, key, after = '{"tool": ', "params", "}"
    several = '" "? call ("\\n" call){0,%d}'

    def __init__(self, name: str, marks: Mapping[str, str]) -> None:
        """`marks`: how the grammar writes those strings that the tokenizer has as tokens of their own."""
        self.marks = marks
        shut = ('"tool"', '"name"') if name == DOCUMENT else ('"tool"', '"name"', *family(name).controls)
        # numbered control tokens, of which a family has hundreds, as one
        forbidden = dict.fromkeys(re.sub(r"\d+", r"\\d+", re.escape(one)).replace("/", r"\/") for one in shut)
        # some tokenizers put a space before an answer
        self.text = rf"/ ?{_LINES}/ & ~/(?s:.*)({'|'.join(forbidden)})(?s:.*)/"

    def start(self, tools: int) -> str:
        return f"start: TEXT | {self.several % (_MOST_CALLS - 1)}"

    def around(self, name: str) -> tuple[str, str]:
        """What stands before and after the parameters."""
        return _quoted(f'{self.before}{json.dumps(name, ensure_ascii=False)}, "{self.key}": '), _quoted(self.after)

    def mark(self, text: str) -> str:
        return self.marks.get(text, _quoted(text))


class _Qwen(_Form):
    before, key = '{"name": ', "arguments"

    def start(self, tools: int) -> str:
        block = f'{self.mark("<tool_call>")} "\\n" call "\\n" {self.mark("</tool_call>")}'
        return f'start: TEXT | block ("\\n" block){{0,{_MOST_CALLS - 1}}}\nblock: {block}'


class _Llama31(_Form):
    """One call a turn; evaluate asks for the next turn."""

    before, key, several = '{"name": ', "parameters", "call%.0s"


class _Mistral(_Form):
    before, key = '{"name": ', "arguments"

    def start(self, tools: int) -> str:
        return f'start: TEXT | {self.mark("[TOOL_CALLS]")} " [" call (", " call){{0,{_MOST_CALLS - 1}}} "]"'

    def around(self, name: str) -> tuple[str, str]:
        """Behind the parameters stands the call's id, which training rows have and readers do not need."""
        return super().around(name)[0], '(", \\"id\\": \\"" /[0-9A-Za-z]{9}/ "\\"")? "}"'


_FORMS: Mapping[str, type[_Form]] = {
    DOCUMENT: _Form,
    "llama3": _Form,
    "llama3.1": _Llama31,
    "mistral": _Mistral,
    "qwen2.5": _Qwen,
    "qwen3": _Qwen,
}

_CHARACTER = r"[^\x00-\x08\x0a-\x1f\x7f]"
_LINE = rf"[^\s{{\[`\x00-\x1f\x7f]{_CHARACTER}*"
_LINES = rf"{_LINE}(\n+[ \t]*{_LINE})*"
"""No line begins as a call does, or a list of calls, or a block of code with one in it."""


def _quoted(text: str) -> str:
    """A string of Lark, which is one of JSON."""
    return json.dumps(text, ensure_ascii=False)


# Schemas

_SPELLING = {  # as json.dumps(…, ensure_ascii=False) writes it
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    "json_allowed_escapes": '"\\nrtbf',
}
_N = "[1-9][0-9]{0,2}"
_AT = "([01][0-9]|2[0-3]):[0-5][0-9]"
_DAY = f"(today|tomorrow|yesterday|in (1 (day|week|month)|{_N} (days|weeks|months))|(this|next) ({'|'.join(WEEKDAYS)}))"
_ISO = f"[0-9]{{4}}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])(T{_AT}(Z|[+-][0-9]{{2}}:[0-9]{{2}})?)?"
_MOMENT = f"^({_DAY}( {_AT})?|{_AT}|in (1 (minute|hour)|{_N} (minutes|hours))|{_ISO})$"
"""Moments as `moments` writes them, and the ISO dates that a conversation may name."""

_NAMED = ("properties", "patternProperties", "$defs", "definitions")
_LISTED = ("anyOf", "oneOf", "allOf", "prefixItems")
_ONE = ("items", "additionalProperties")


def _held(schema: Any, name: str, how: Constrained) -> Any:
    """The schema of parameter `name` as answers are held to it: without `format`, with moments and sensible bounds."""
    if not isinstance(schema, Mapping):
        return schema
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _NAMED and isinstance(value, Mapping):
            made[key] = {inner: _held(part, inner if key == "properties" else "", how) for inner, part in value.items()}
        elif key in _LISTED and isinstance(value, list):
            made[key] = [_held(part, name, how) for part in value]
        elif key in _ONE:
            made[key] = _held(value, "", how)
        elif key not in ("format", "x-guidance"):
            made[key] = value
    if "enum" in schema or "const" in schema:
        return made
    if how.moments and is_moment(name, schema) and "pattern" not in made:
        return {**made, "pattern": _MOMENT}
    kinds = schema.get("type", ())
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if "string" in kinds:
        made.setdefault("maxLength", max(how.longest, made.get("minLength", 0)))
    if "integer" in kinds or "number" in kinds:
        if "exclusiveMinimum" not in made:
            made.setdefault("minimum", min(-_MOST, made.get("maximum", 0)))
        if "exclusiveMaximum" not in made:
            made.setdefault("maximum", max(_MOST, made.get("minimum", 0)))
    return made
