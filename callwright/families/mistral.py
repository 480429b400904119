"""Mistral 7B Instruct v0.3: control tokens of its own for tools, calls and results; every call has an id.

    <s>[AVAILABLE_TOOLS] [{"type": "function", …}][/AVAILABLE_TOOLS][INST] 你是一位專業助理。\\n\\n幫我查預算[/INST]
    [TOOL_CALLS] [{"name": "query_database", "arguments": {"query_str": "預算"}, "id": "4fJb0qQ2e"}]</s>
    [TOOL_RESULTS] {"content": {"amount": "300 萬"}, "call_id": "4fJb0qQ2e"}[/TOOL_RESULTS] 預算為 300 萬。</s>

(in one line). As the vendor's encoder writes it (mistral-common, InstructTokenizerV3): tools and system text go with
the last user turn, a result that is JSON is put in as JSON. That encoder encodes each text by itself, and SentencePiece
puts a space before it; here the space stands in the text, as in the vendor's chat template for transformers.
"""

from __future__ import annotations

import hashlib
import string
from collections.abc import Sequence
from typing import Any

from callwright.answers import Called, Said, strict_json
from callwright.families.family import Family, Turn, as_function, dumps, owner
from callwright.families.reading import Broken, call_of, json_of, no_controls, plain
from callwright.records import Call, Calls, Example, Reply, Result, System, Tool
from callwright.training_text import NotExpressible, Row

_CALLS = "[TOOL_CALLS]"
_LETTERS = string.digits + string.ascii_letters


class Mistral(Family):
    name = "mistral"
    stops = ("</s>",)
    begin = "<s>"
    controls = (
        *("<unk>", "<s>", "</s>", "[INST]", "[/INST]", _CALLS, "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"),
        *("[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[IMG]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]"),
        *(f"[control_{i}]" for i in range(8, 769)),
    )

    one_answer_a_row = True

    def said(self, answer: Calls | Reply) -> str:
        """Calls without their ids, which belong to a row."""
        if isinstance(answer, Reply):
            return answer.content.rstrip(" ")
        return _written(answer)

    def _plain(self, role: str, text: str) -> Turn:
        """Of `messages`, where a result has no call with an id: there it is a user turn."""
        if role == "assistant":
            return Turn(role, f" {text.rstrip(' ')}")
        return Turn("user" if role == "tool" else role, text)

    def _native(self, example: Example, consecutive: bool) -> tuple[list[Turn], int]:
        turns, spoken, waiting = list[Turn](), -1, list[tuple[str, str]]()
        for i, message in enumerate(example.messages):
            spoken += not isinstance(message, System)
            turn, place = self._turn(example, i, message), f"{example.id}: messages[{i}]"
            if isinstance(message, Calls):
                waiting = [(call.tool, call_id(example.id, spoken, n)) for n, call in enumerate(message.calls)]
                turn = Turn(turn.role, _written(message, [own for _, own in waiting]))
            elif isinstance(message, Result):
                result = {"content": _json_or_text(message.content), "call_id": owner(waiting, message.tool, place)}
                turn = Turn("tool", self._check(dumps(result), place))
            elif isinstance(message, Reply):
                turn = self._plain(turn.role, turn.text)
            turns.append(turn)
        return turns, 1

    def _joined(self, row_id: str, turns: Sequence[Turn], tools: Sequence[Tool], last: int) -> list[Row]:
        if next((turn.role for turn in turns if turn.role != "system"), None) != "user":
            raise NotExpressible(f"{row_id}: a conversation of {self.name} begins with a user turn")
        return super()._joined(row_id, turns, tools, last)

    def _before(self, turns: Sequence[Turn], tools: Sequence[Tool]) -> str:
        system = "\n\n".join(turn.text for turn in turns if turn.role == "system" and turn.text)
        spoken = _merged([turn for turn in turns if turn.role != "system"])
        last = max((i for i, turn in enumerate(spoken) if turn.role == "user"), default=-1)
        text = "<s>"
        for i, turn in enumerate(spoken):
            if turn.role == "user":
                if i == last and tools:
                    offered = dumps([as_function(tool) for tool in tools])
                    text += f"[AVAILABLE_TOOLS] {offered}[/AVAILABLE_TOOLS]"
                text += f"[INST] {system}\n\n" if i == last and system else "[INST] "
                text += f"{turn.text}[/INST]"
            elif turn.role == "tool":
                text += f"[TOOL_RESULTS] {turn.text}[/TOOL_RESULTS]"
            else:
                text += f"{turn.text}</s>"
        return text

    def _read(self, text: str) -> Called | Said:
        """`[TOOL_CALLS]` and a list of calls, each with an id or without, or text: this form has no place for both."""
        before, called, listed = text.partition(_CALLS)
        if not called:
            return plain(text, self.controls)
        if before.strip():
            raise Broken(f"text stands before {_CALLS}")
        no_controls(listed, self.controls)
        calls = json_of(listed)
        if not isinstance(calls, list) or not calls:
            raise Broken(f"after {_CALLS} stands no list of calls")
        return Called(tuple(_call(call) for call in calls))


def call_id(row_id: str, message: int, number: int) -> str:
    """Nine letters and digits, as mistral-common wants them; the same whenever the row is written.

    `message` counts without the system's, `number` the calls of that message.
    """
    value = int.from_bytes(hashlib.sha256(f"{row_id}/{message}/{number}".encode()).digest())
    return "".join(_LETTERS[value // len(_LETTERS) ** place % len(_LETTERS)] for place in range(9))


def _written(answer: Calls, ids: Sequence[str] = ()) -> str:
    calls = [{"name": call.tool, "arguments": dict(call.params)} for call in answer.calls]
    return f"{_CALLS} {dumps([{**call, 'id': own} for call, own in zip(calls, ids, strict=True)] if ids else calls)}"


def _call(value: Any) -> Call:
    if isinstance(value, dict) and "id" in value:
        if not isinstance(value["id"], str):
            raise Broken("an id is no text")
        value = {key: part for key, part in value.items() if key != "id"}
    return call_of(value, "arguments")


def _json_or_text(content: str) -> Any:
    """What a result holds, as the vendor's encoder takes it: JSON where it is some, nothing as `{}`."""
    if not content:
        return {}
    try:
        return strict_json(content)
    except (ValueError, RecursionError):
        return content


def _merged(turns: Sequence[Turn]) -> list[Turn]:
    """User turns in a row are one, as the vendor's encoder has it."""
    made: list[Turn] = []
    for turn in turns:
        if made and turn.role == made[-1].role == "user":
            made[-1] = Turn("user", "\n\n".join(text for text in (made[-1].text, turn.text) if text))
        else:
            made.append(turn)
    return made
