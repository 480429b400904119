"""What a person did wrong, or the world refused: a sentence with the place, the value and the way out.

A model's failure is a value (see `answers`), the pipeline's failure is an exception, and this is the exception
whose text is meant for a person. Entry points print it and exit with 2, without a traceback.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class Fault(Exception):
    """One or more sentences; `str()` gives one a line."""

    def __init__(self, sentences: str | Iterable[str]) -> None:
        self.sentences = (sentences,) if isinstance(sentences, str) else tuple(sentences)
        super().__init__("\n".join(self.sentences))


def found(fault: Mapping[str, Any]) -> str:
    """The end of a sentence for one of pydantic's errors: `is 'fast'; input should be a valid number`."""
    if fault["type"] == "extra_forbidden":
        return "is not known here; remove it or mend its spelling"
    if fault["type"] == "missing":
        return "is missing; add it"
    if fault["type"] == "value_error":
        return f"is wrong: {fault['ctx']['error']}"
    if fault["type"] in ("model_type", "dict_type"):
        return f"is {_short(fault['input'])}; it should be a section of named values"
    reason = str(fault["msg"])
    return f"is {_short(fault['input'])}; {reason[0].lower()}{reason[1:]}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
