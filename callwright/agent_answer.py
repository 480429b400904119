"""What the served agent answers, in the form of OpenAI's Responses API: a conversation's steps as output items.

    response(request, conversation, "callwright")
        ->  {"object": "response", "status": "completed", "output": [{"type": "function_call", …}], …}

The client's own functions are calls for the client to run; one that breaks its tool's schema has the status
`incomplete`, and `custom_outputs.faults` says why. Calls that ran here stand with their results. An answer that is
neither calls nor text is a message with the model's own words, and `custom_outputs` says what it is.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from callwright.agent_input import BadRequest
from callwright.agent_request import Request
from callwright.answers import Outcome, Said, outcome
from callwright.loop import Conversation, Ending, Ran, Step
from callwright.outs import to_json
from callwright.records import Call

Item = dict[str, Any]


class ForTheClient:
    """The backend of calls that someone else runs: nothing happens here, and no result is looked at."""

    def run(self, call: Call) -> str:
        return "{}"


def response(
    request: Request, conversation: Conversation, model: str, changes: Sequence[Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """The whole answer. `BadRequest` where the model could not be asked at all.

    `changes`: what the calls did to the tables, where they ran here.
    """
    last, here = conversation.steps[-1], bool(request.packs)
    ending, calls = conversation.ending, bool(last.ran)
    if ending is Ending.REFUSED and len(conversation.steps) == 1:
        raise BadRequest(f"the model cannot be asked this: {conversation.detail}")
    handed_over = calls and not here
    whole = handed_over or (ending is not None and ending.is_text)
    custom: dict[str, Any] = {"outcome": str(_outcome(conversation))}
    if not whole:
        custom |= {"ending": str(ending), "reason": conversation.detail}
    if changes is not None:
        custom["changes"] = list(changes)
    output: list[Item] = []
    for step in conversation.steps:
        output += _items(step, conversation, custom, here=here)
    said = request.said
    return {
        "id": _new("resp"),
        "object": "response",
        "created_at": time.time(),
        "model": model,
        "status": "completed" if whole else "incomplete",
        "output": output,
        "temperature": request.temperature,
        "max_output_tokens": request.max_tokens,
        "tools": [{"type": "function", **tool.to_json()} for tool in request.tools],
        "tool_choice": said.get("tool_choice") or "auto",
        "parallel_tool_calls": not request.one_call,
        "custom_outputs": custom,
    }


def events(whole: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The answer as a stream tells it: item by item, then the whole."""
    for i, item in enumerate(whole["output"]):
        yield {"type": "response.output_item.done", "output_index": i, "item": item}
    yield {"type": "response.completed", "response": dict(whole)}


def _outcome(conversation: Conversation) -> Outcome:
    """Of the last answer; one that was not taken, for a limit or for what it is, is malformed."""
    last = conversation.steps[-1]
    if last.ran or (conversation.ending and conversation.ending.is_text):
        return outcome(last.spoken.answer)
    return Outcome.MALFORMED


def _items(step: Step, conversation: Conversation, custom: dict[str, Any], *, here: bool) -> Iterator[Item]:
    if not step.ran:
        answer = step.spoken.answer
        yield _message(answer.text if isinstance(answer, Said) else step.spoken.raw, conversation.detail)
        return
    named = [(_new("call"), ran) for ran in step.ran]
    for call_id, ran in named:
        whole = ran.ok or here
        yield _call(call_id, ran, "completed" if whole else "incomplete")
        if not whole:
            custom.setdefault("faults", []).append({"call_id": call_id, "reason": json.loads(ran.result)["error"]})
    if here:
        yield from (_result(call_id, ran) for call_id, ran in named)


def _call(call_id: str, ran: Ran, status: str) -> Item:
    return {
        "type": "function_call",
        "id": _new("fc"),
        "call_id": call_id,
        "name": ran.call.tool,
        "arguments": to_json(dict(ran.call.params)),
        "status": status,
    }


def _result(call_id: str, ran: Ran) -> Item:
    made: Item = {"type": "function_call_output", "id": _new("fco"), "call_id": call_id, "output": ran.result}
    return made | {"status": "completed"}


def _message(text: str, otherwise: str) -> Item:
    """A text of the model's; where it said nothing at all, why, as a refusal."""
    part: Item = (
        {"type": "output_text", "text": text, "annotations": []} if text else {"type": "refusal", "refusal": otherwise}
    )
    return {"type": "message", "id": _new("msg"), "role": "assistant", "status": "completed", "content": [part]}


def _new(kind: str) -> str:
    return f"{kind}_{uuid.uuid4().hex}"
