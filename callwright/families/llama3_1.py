"""Llama 3.1: bare JSON, one call a turn; results in turns of role ipython.

    …<|start_header_id|>assistant<|end_header_id|>

    {"name": "query_database", "parameters": {"query_str": "預算"}}<|eot_id|><|start_header_id|>ipython<|end_header_id|>

    "{\\"amount\\": \\"300 萬\\"}"<|eot_id|>…

As Meta's template writes it (TRL ships it as chat_templates/llama3_1.jinja): the tools in the first user turn, its two
fixed dates, texts stripped, results as JSON strings. The built-in tools (<|python_tag|>) are neither written nor read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from callwright.answers import Called, Said
from callwright.families.family import Family, Turn, as_function, dumps, owner
from callwright.families.llama3 import header
from callwright.families.reading import Broken, no_controls, one_call, plain
from callwright.records import Call, Calls, Example, Message, Reply, Result, Tool
from callwright.training_text import NotExpressible

_DATES = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"
_ASK = (
    "Given the following functions, please respond with a JSON for a function call "
    "with its proper arguments that best answers the given prompt.\n\n"
    'Respond in the format {"name": function name, "parameters": dictionary of argument name and its value}.'
    "Do not use variables.\n\n"
)
_BETWEEN = "<|eot_id|>" + header("assistant")
_ALSO = {"type": "function"}
"""Meta's own encoder writes it and its own parser takes it (llama-models, llama3/tool_utils.py)."""


class Llama31(Family):
    name = "llama3.1"
    stops = ("<|eot_id|>", "<|eom_id|>", "<|end_of_text|>")
    begin = "<|begin_of_text|>"
    controls = (
        *("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        *("<|eom_id|>", "<|python_tag|>", "<|finetune_right_pad_id|>", "<|step_id|>", "<|image|>"),
        *(f"<|reserved_special_token_{i}|>" for i in range(248)),
    )
    parallel = False

    def said(self, answer: Calls | Reply) -> str:
        """Several calls are several turns, with the header of each next one between."""
        if isinstance(answer, Reply):
            return answer.content.strip()
        return _BETWEEN.join(map(_call, answer.calls))

    def _plain(self, role: str, text: str) -> Turn:
        return Turn(role, dumps(text) if role == "tool" else text.strip())

    def _native(self, example: Example, consecutive: bool) -> tuple[list[Turn], int]:
        if not consecutive:
            for i, message in enumerate(example.messages):
                if isinstance(message, Calls) and len(message.calls) > 1:
                    many = f"{example.id}: messages[{i}]: a turn has {len(message.calls)} calls"
                    raise NotExpressible(f"{many}, and one of Llama 3.1 holds one")
        turns = [self._turn(example, i, message) for i, message in _one_call_a_turn(example)]
        if example.tools and not next((turn.role == "user" for turn in turns if turn.role != "system"), False):
            raise NotExpressible(f"{example.id}: {self.name} writes tools into a user turn that comes first")
        last = example.messages[-1]
        return turns, len(last.calls) if isinstance(last, Calls) else 1

    def _before(self, turns: Sequence[Turn], tools: Sequence[Tool]) -> str:
        opens = bool(turns) and turns[0].role == "system"
        system = turns[0].text if opens else ""
        head = "Environment: ipython\n" if tools else ""
        text = f"<|begin_of_text|>{header('system')}{head}{_DATES}{system}<|eot_id|>"
        for number, turn in enumerate(turns[1:] if opens else turns):
            offered = _ASK + "".join(f"{dumps(as_function(tool), indent=4)}\n\n" for tool in tools)
            inside = offered + turn.text if tools and not number else turn.text
            text += f"{header('ipython' if turn.role == 'tool' else turn.role)}{inside}<|eot_id|>"
        return text + header("assistant")

    def _read(self, text: str) -> Called | Said:
        """Calls, each in a turn of its own, or text. A call holds the keys name and parameters, or type as well."""
        if "<|python_tag|>" in text:
            raise Broken("it holds '<|python_tag|>': calls of built-in tools are not read")
        turns = text.split(_BETWEEN)
        if not turns[0].lstrip().startswith("{"):
            return plain(text, self.controls)
        for turn in turns:
            no_controls(turn, self.controls)
        return Called(tuple(one_call(turn, "parameters", _ALSO) for turn in turns))


def _call(call: Call) -> str:
    return f'{{"name": "{call.tool}", "parameters": {dumps(dict(call.params))}}}'


def _one_call_a_turn(example: Example) -> Iterator[tuple[int, Message]]:
    """The messages with their places; of several calls in one each stands alone, with its result after it."""
    calls: list[tuple[int, Call]] = []
    results: list[tuple[int, Result]] = []
    for i, message in enumerate(example.messages):
        if isinstance(message, Result):
            results.append((i, message))
            continue
        yield from _each_alone(example.id, calls, results)
        calls = [(i, call) for call in message.calls] if isinstance(message, Calls) else []
        results = []
        if not calls:
            yield i, message
    yield from _each_alone(example.id, calls, results)


def _each_alone(
    row_id: str, calls: list[tuple[int, Call]], results: list[tuple[int, Result]]
) -> Iterator[tuple[int, Message]]:
    if results and len(results) < len(calls):
        few = f"{len(calls)} calls and {len(results)} result(s)"
        raise NotExpressible(f"{row_id}: messages[{calls[0][0]}] has {few}; as turns each needs its own")
    waiting = [(call.tool, number) for number, (_, call) in enumerate(calls)]
    results_by_call = {owner(waiting, one.tool, f"{row_id}: messages[{i}]"): (i, one) for i, one in results}
    for number, (i, call) in enumerate(calls):
        yield i, Calls((call,))
        if number in results_by_call:
            yield results_by_call[number]
