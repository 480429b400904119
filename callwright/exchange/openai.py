r"""openai: OpenAI's fine-tuning JSONL (https://developers.openai.com/api/docs/guides/supervised-fine-tuning).

    {"messages": [
      {"role": "system", "content": "你是一位專業助理。"}, {"role": "user", "content": "幫我查預算"},
      {"role": "assistant", "content": null, "tool_calls": [{"id": "call_0", "type": "function",
        "function": {"name": "query_database", "arguments": "{\"query_str\": \"預算\"}"}}]},
      {"role": "tool", "tool_call_id": "call_0", "content": "…"},
      {"role": "assistant", "content": "2026 預算為 300 萬"}],
     "tools": [{"type": "function", "function": {"name", "description", "parameters"}}], "parallel_tool_calls": true}

Read as well: `developer` for system, content in parts of text, arguments as an object, and the older `functions` and
`function_call`. No other key is written, so that no upload is refused for one: a row has no `id`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from callwright.exchange import canonical, messages
from callwright.exchange.drafts import Draft, Form, Given, Names, Row, list_of, object_of, short, text_of, written
from callwright.exchange.tools import read_function_call, read_tool_list
from callwright.records import BadRecord, Calls, Example, Message, Reply, Result, System, User

BESIDE_CALLS = "text beside a turn's calls is left out"


def fits(row: Row) -> bool:
    return isinstance(row.get("messages"), list) and not canonical.fits(row) and not messages.holds_calls_as_text(row)


def read(row: Row, given: Given) -> Draft:
    draft = Draft([], known=frozenset({"messages", "tools", "functions", "parallel_tool_calls"}))
    for key in ("functions", "tools"):
        if row.get(key) is not None:
            draft.tools = read_tool_list(row[key], key)
    reader = _Turns(draft.warnings)
    for i, turn in enumerate(list_of(row.get("messages"), "messages")):
        draft.messages.append(reader.read(object_of(turn, f"messages[{i}]"), f"messages[{i}]"))
    return draft


class _Turns:
    """Results name the call they belong to, not the tool."""

    def __init__(self, warnings: list[str]) -> None:
        self.warnings = warnings
        self.names = Names()
        self.tools: dict[str, str] = {}

    def read(self, turn: dict[str, Any], place: str) -> Message:
        role = turn.get("role")
        if role in ("system", "developer"):
            return System(_content(turn, place))
        if role == "user":
            return User(_content(turn, place))
        if role in ("tool", "function"):
            name = self.tools.get(str(turn.get("tool_call_id")), turn.get("name"))
            return Result(self.names.of(name), _content(turn, place))
        if role != "assistant":
            raise BadRecord(f"{place}.role is {role!r}; expected system, user, assistant or tool")
        calls = list_of(turn.get("tool_calls") or [], f"{place}.tool_calls")
        if old := turn.get("function_call"):
            calls = [{"function": old}]
        if not calls:
            return Reply(_content(turn, place))
        if turn.get("content"):
            self.warnings.append(BESIDE_CALLS)
        return self._calls(calls, f"{place}.tool_calls")

    def _calls(self, calls: list[Any], place: str) -> Calls:
        made = []
        for i, value in enumerate(calls):
            call = object_of(value, f"{place}[{i}]")
            made.append(read_function_call(call.get("function"), f"{place}[{i}].function"))
            self.tools[str(call.get("id"))] = made[-1].tool
        turn = Calls(tuple(made))
        self.names.called(turn)
        return turn


def _content(turn: dict[str, Any], place: str) -> str:
    """Text, or parts of text; null is none."""
    content = turn.get("content")
    if content is None:
        return text_of(turn.get("refusal") or "", f"{place}.refusal")
    if not isinstance(content, list):
        return content if isinstance(content, str) else written(content)
    texts = []
    for i, part in enumerate(content):
        if not isinstance(part, dict) or part.get("type") != "text":
            raise BadRecord(f"{place}.content[{i}] is {short(part)}; only text can be kept")
        texts.append(text_of(part.get("text"), f"{place}.content[{i}].text"))
    return "".join(texts)


def write(example: Example) -> Iterator[dict[str, Any]]:
    row: dict[str, Any] = {"messages": list(_turns(example))}
    if example.tools:
        row["tools"] = [{"type": "function", "function": tool.to_json()} for tool in example.tools]
        row["parallel_tool_calls"] = True
    yield row


def _turns(example: Example) -> Iterator[dict[str, Any]]:
    number = 0
    waiting: deque[tuple[str, str]] = deque()  # ids of calls without a result yet, with their tools
    for message in example.messages:
        match message:
            case System(content):
                yield {"role": "system", "content": content}
            case User(content):
                yield {"role": "user", "content": content}
            case Reply(content):
                yield {"role": "assistant", "content": content}
            case Calls(calls):
                waiting = deque((f"call_{number + i}", call.tool) for i, call in enumerate(calls))
                number += len(calls)
                functions = [{"name": call.tool, "arguments": written(dict(call.params))} for call in calls]
                made = [
                    {"id": call_id, "type": "function", "function": function}
                    for (call_id, _), function in zip(waiting, functions, strict=True)
                ]
                yield {"role": "assistant", "content": None, "tool_calls": made}
            case Result(tool, content):
                mine = next((pair for pair in waiting if pair[1] == tool), None)
                if mine:
                    waiting.remove(mine)
                yield {"role": "tool", "tool_call_id": mine[0] if mine else "", "content": content}


FORM = Form("openai", fits, read, write)
