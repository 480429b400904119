"""Llama 3.0: the plain chat markup. It was trained on no tool format, so it gets the document's `messages`.

    <|begin_of_text|><|start_header_id|>user<|end_header_id|>

    幫我查預算<|eot_id|><|start_header_id|>assistant<|end_header_id|>

    {"tool": "query_database", "params": {"query_str": "預算"}}<|eot_id|>

Texts are stripped and a turn has its role's name, as in Meta's template (TRL ships it as chat_templates/llama3.jinja).
"""

from __future__ import annotations

from collections.abc import Sequence

from callwright import formats
from callwright.answers import Answer, Called, Said, Unparsed, read_answer
from callwright.families.family import Family, Turn
from callwright.families.reading import Broken, no_controls
from callwright.records import Calls, Example, Reply, Tool
from callwright.training_text import NotExpressible, Row


def header(role: str) -> str:
    return f"<|start_header_id|>{role}<|end_header_id|>\n\n"


class Llama3(Family):
    name = "llama3"
    stops = ("<|eot_id|>", "<|end_of_text|>")
    begin = "<|begin_of_text|>"
    controls = (
        *("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        *(f"<|reserved_special_token_{i}|>" for i in range(251)),
    )
    native = False
    parallel = False

    def rows(self, example: Example, *, consecutive: bool = True) -> list[Row]:
        raise NotExpressible(f"{example.id}: llama3 has no tool format of its own")

    def said(self, answer: Calls | Reply) -> str:
        return formats.said(answer).strip()

    def _plain(self, role: str, text: str) -> Turn:
        return Turn(role, text.strip())

    def _before(self, turns: Sequence[Turn], tools: Sequence[Tool]) -> str:
        written = (f"{header(turn.role)}{turn.text}<|eot_id|>" for turn in turns)
        return "<|begin_of_text|>" + "".join(written) + header("assistant")

    def _read(self, text: str) -> Called | Said:
        no_controls(text, self.controls)
        found: Answer = read_answer(text)
        if isinstance(found, Unparsed):
            raise Broken(found.reason)
        return found
