r"""messages: the user's document, section 二. Tools are described in the system text, calls are JSON lines in text.

{"id": "office-1", "messages": [
  {"role": "system", "content": "你是一位專業助理。你可以使用以下工具:\n1. query_database(query_str): …"},
  {"role": "user", "content": "幫我查預算"},
  {"role": "assistant", "content": "{\"tool\": \"query_database\", \"params\": {\"query_str\": \"預算\"}}"},
  {"role": "tool", "name": "query_database", "content": "…"},
  {"role": "assistant", "content": "2026 預算為 300 萬"}]}
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from callwright.answers import Called, read_answer
from callwright.exchange import canonical
from callwright.exchange.drafts import Draft, Form, Given, Names, Row, list_of, object_of, text_of
from callwright.exchange.systems import opening_of
from callwright.exchange.tools import read_tool_list
from callwright.exchange.turns_as_text import answer_of
from callwright.formats import to_messages
from callwright.records import BadRecord, Calls, Example, Message, Result, System, User

_OPENAIS = ("tool_calls", "tool_call_id", "function_call")


def fits(row: Row) -> bool:
    turns = row.get("messages")
    if not isinstance(turns, list) or canonical.fits(row):
        return False
    return not any(isinstance(turn, dict) and any(turn.get(key) for key in _OPENAIS) for turn in turns)


def holds_calls_as_text(row: Row) -> bool:
    """Whether an assistant's content is calls in the document's form."""
    turns = [turn for turn in row.get("messages", []) if isinstance(turn, dict) and turn.get("role") == "assistant"]
    texts = [turn["content"] for turn in turns if isinstance(turn.get("content"), str)]
    return any(isinstance(read_answer(text), Called) for text in texts)


def read(row: Row, given: Given) -> Draft:
    draft = Draft([], known=frozenset({"messages", "tools"}))
    if row.get("tools") is not None:
        draft.tools = read_tool_list(row["tools"], "tools")
    names = Names()
    for i, turn in enumerate(list_of(row.get("messages"), "messages")):
        message = _message(object_of(turn, f"messages[{i}]"), f"messages[{i}]", names)
        if isinstance(message, System) and not any(isinstance(one, System) for one in draft.messages):
            message, listed = opening_of(message.content, given.tools if draft.tools is None else draft.tools)
            draft.tools = listed if draft.tools is None else draft.tools
        draft.messages.append(message)
    return draft


def _message(turn: dict[str, Any], place: str, names: Names) -> Message:
    role = turn.get("role")
    content = text_of(turn.get("content"), f"{place}.content")
    if role == "system":
        return System(content)
    if role == "user":
        return User(content)
    if role == "tool":
        return Result(names.of(turn.get("name")), content)
    if role != "assistant":
        raise BadRecord(f"{place}.role is {role!r}; expected system, user, assistant or tool")
    answer = answer_of(content, f"{place}.content")
    if isinstance(answer, Calls):
        names.called(answer)
    return answer


def write(example: Example) -> Iterator[dict[str, Any]]:
    yield to_messages(example)


FORM = Form("messages", fits, read, write)
