"""What a person did wrong, or the world refused: a sentence with the place, the value and the way out.

A model's failure is a value (see `answers`), the pipeline's failure is an exception, and this is the exception
whose text is meant for a person. Entry points print it and exit with 2, without a traceback.
"""

from __future__ import annotations

from collections.abc import Iterable


class Fault(Exception):
    """One or more sentences; `str()` gives one a line."""

    def __init__(self, sentences: str | Iterable[str]) -> None:
        self.sentences = (sentences,) if isinstance(sentences, str) else tuple(sentences)
        super().__init__("\n".join(self.sentences))
