"""Qwen2.5 and Qwen3: ChatML, tools in the system turn, calls in <tool_call>, results in <tool_response> in a user turn.

    <|im_start|>assistant
    <tool_call>
    {"name": "query_database", "arguments": {"query_str": "預算"}}
    </tool_call><|im_end|>
    <|im_start|>user
    <tool_response>
    {"amount": "300 萬"}
    </tool_response><|im_end|>

As the vendor's templates write it (TRL ships them as chat_templates/qwen2_5.jinja and qwen3.jinja). Qwen3 answers
without thinking: its prompt ends with an empty <think> block, which earlier turns do not keep.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from callwright.answers import Called, Said
from callwright.families.family import Family, Turn, as_function, dumps
from callwright.families.reading import Broken, no_controls, one_call, plain
from callwright.records import Call, Calls, Reply, Tool

_TOOLS = """# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>"""
_FORM = """
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call>"""
_CONTROLS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>"),
    *(f"<|{shape}_{end}|>" for shape in ("object_ref", "box", "quad", "vision") for end in ("start", "end")),
    *("<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
    *("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"),
)
_RESULT = ("<tool_response>", "</tool_response>")


class Qwen25(Family):
    name = "qwen2.5"
    stops = ("<|im_end|>", "<|endoftext|>")
    controls = _CONTROLS
    frames: ClassVar[tuple[str, ...]] = _RESULT
    default = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
    """The system text of a conversation that has none."""
    prompt = "<|im_start|>assistant\n"

    def said(self, answer: Calls | Reply) -> str:
        return answer.content if isinstance(answer, Reply) else "\n".join(map(_call, answer.calls))

    def _before(self, turns: Sequence[Turn], tools: Sequence[Tool]) -> str:
        opens = bool(turns) and turns[0].role == "system"
        system = turns[0].text if opens else self.default
        if tools:
            listed = "".join(f"\n{dumps(as_function(tool))}" for tool in tools)
            system = "\n\n".join(([system] if opens or system else []) + [_TOOLS + listed + _FORM])
        text = f"<|im_start|>system\n{system}<|im_end|>\n" if opens or system else ""
        rest = turns[1:] if opens else turns
        for i, turn in enumerate(rest):
            if turn.role != "tool":
                text += f"<|im_start|>{turn.role}\n{turn.text}<|im_end|>\n"
                continue
            text += "" if i and rest[i - 1].role == "tool" else "<|im_start|>user"
            text += f"\n<tool_response>\n{turn.text}\n</tool_response>"
            text += "" if rest[i + 1 : i + 2] and rest[i + 1].role == "tool" else "<|im_end|>\n"
        return text + self.prompt

    def _read(self, text: str) -> Called | Said:
        """Calls with nothing but white space between and after them, or text.

        Prose before the first call is let go: the vendors' parsers keep it beside the calls (vLLM's hermes parser), and
        an answer is scored as calls or as text. Prose after a call, which that parser drops in silence, is a fault.
        """
        before, *blocks = text.split("<tool_call>")
        outside = tuple(control for control in self.controls if control != "<tool_call>")
        if not blocks:
            return plain(text, self.controls)
        if before.strip():
            plain(before, outside)
        calls = []
        for block in blocks:
            inside, closed, after = block.partition("</tool_call>")
            if not closed:
                raise Broken("a <tool_call> is not closed")
            if after.strip():
                raise Broken("text stands after a call")
            no_controls(inside, outside)
            calls.append(one_call(inside, "arguments"))
        return Called(tuple(calls))


class Qwen3(Qwen25):
    name = "qwen3"
    controls = (*_CONTROLS, *_RESULT, "<think>", "</think>")
    frames = ()
    default = ""
    prompt = "<|im_start|>assistant\n<think>\n\n</think>\n\n"

    def said(self, answer: Calls | Reply) -> str:
        return super().said(answer).lstrip("\n")

    def _read(self, text: str) -> Called | Said:
        """As Qwen2.5's; a <think> block before it, empty or not, is let go."""
        opened = text.lstrip()
        if opened.startswith("<think>"):
            _, closed, text = opened.partition("</think>")
            if not closed:
                raise Broken("the <think> block is not closed")
        return super()._read(text)


def _call(call: Call) -> str:
    return f'<tool_call>\n{{"name": "{call.tool}", "arguments": {dumps(dict(call.params))}}}\n</tool_call>'
