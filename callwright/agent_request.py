"""A request to the served agent, in the form of OpenAI's Responses API, read strictly.

    read_request({"input": "幫我查一下預算表", "tools": [{"type": "function", "name": "query_database", …}]})
        ->  Request(language=zh-TW, tools=(Tool(…),), messages=(System(…), User("幫我查一下預算表")), …)

`input` is a text, or the items of a conversation: messages, `function_call`, `function_call_output`. The agent's own:
`custom_inputs: {"pack": "office", "world": {table: [rows]}, "now": "2026-03-03T09:00+08:00", "seed": 1}` has the calls
run in the server. What is wrong, and what cannot be honoured, is a `BadRequest` with its place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from callwright.agent_input import (
    BadRequest,
    a_text,
    an_object,
    check_order,
    listed,
    read_messages,
    read_tools,
    shown,
)
from callwright.answers import depth
from callwright.exchange.categories import language_of
from callwright.records import Language, Message, System, Tool

MOST_CHARACTERS = 1_000_000
MOST_TOKENS = 1_024
"""Of one answer of the model; a request that wants more gets these."""
TOKENS = 256
"""Where the request does not say."""
_DEEPEST = 100

OPENING = {Language.ZH_TW: "你是一位專業助理。", Language.EN: "You are a professional assistant."}
"""The system's turn where the request has none: a model was never trained without one."""


@dataclass(frozen=True, slots=True)
class Request:
    language: Language
    tools: tuple[Tool, ...]
    messages: tuple[Message, ...]
    """The last is the user's turn, or the result of a call."""
    own_opening: bool
    """Whether the system's turn is the request's own, and not `OPENING`."""
    temperature: float = 0.0
    max_tokens: int = TOKENS
    one_call: bool = False
    """No more than one call a turn is wanted."""
    packs: tuple[str, ...] = ()
    """Where the calls run in the server: the packs whose tools they are."""
    world: Mapping[str, Any] | None = None
    now: datetime | None = None
    seed: int | None = None
    said: Mapping[str, Any] = field(default_factory=dict)
    """As it came."""


def read_request(value: Any) -> Request:
    _check_size(value)
    _refuse_what_is_not_done(value)
    own = _own(value.get("custom_inputs"))
    packs = own.get("pack") or ()
    tools = read_tools(value.get("tools"))
    if value.get("tool_choice") == "none":
        if packs:
            raise BadRequest("tool_choice is 'none', and custom_inputs.pack offers tools; leave one of the two out")
        tools = ()
    opening, turns = read_messages(value)
    language = Language(own["language"]) if "language" in own else language_of(turns)
    messages = (System(opening or OPENING[language]), *turns)
    check_order(messages)
    return Request(
        language,
        tools,
        messages,
        own_opening=bool(opening),
        temperature=_number(value.get("temperature"), "temperature", 0, 2, 0.0),
        max_tokens=min(_whole(value.get("max_output_tokens"), "max_output_tokens", TOKENS), MOST_TOKENS),
        one_call=value.get("parallel_tool_calls") is False,
        packs=(packs,) if isinstance(packs, str) else tuple(packs),
        world=own.get("world"),
        now=own.get("now"),
        seed=own.get("seed"),
        said=value,
    )


def _check_size(value: Any) -> None:
    if not isinstance(value, dict):
        raise BadRequest(f"the request is {shown(value)}; expected an object with input and tools")
    if not all(isinstance(key, str) for key in value) or depth(value) > _DEEPEST:
        raise BadRequest(f"the request nests more than {_DEEPEST} deep; no tool or conversation needs that")
    try:
        size = len(json.dumps(value, ensure_ascii=False, allow_nan=False).encode())
    except UnicodeEncodeError:
        raise BadRequest("the request holds half of a surrogate pair, which is no text") from None
    except (TypeError, ValueError) as error:
        raise BadRequest(f"the request is not JSON ({error})") from None
    if size > MOST_CHARACTERS:
        raise BadRequest(f"the request has {size:,} bytes, and {MOST_CHARACTERS:,} are read; no model here holds more")


def _refuse_what_is_not_done(value: Mapping[str, Any]) -> None:
    """Knobs that would change the answer, and that this server does not have. Others are passed over."""
    choice, text = value.get("tool_choice"), value.get("text")
    form = text.get("format", {}).get("type", "text") if isinstance(text, dict) else "text"
    not_done = {
        "tool_choice": (choice not in (None, "auto", "none"), "a call cannot be forced; give auto, or none"),
        "top_p": (value.get("top_p") not in (None, 1), "only temperature is known here; leave it out"),
        "text": (form != "text", "no form of the text is enforced; leave it out"),
        "background": (bool(value.get("background")), "every request is answered at once; leave it out"),
        "previous_response_id": (
            value.get("previous_response_id") is not None,
            "nothing is kept between requests; give the whole conversation in input",
        ),
        "conversation": (
            value.get("conversation") is not None,
            "nothing is kept between requests; give the whole conversation in input",
        ),
        "prompt": (value.get("prompt") is not None, "no prompts are kept here; give instructions and input"),
    }
    for name, (wrong, way_out) in not_done.items():
        if wrong:
            raise BadRequest(f"{name} is {shown(value[name])}; {way_out}")


# The agent's own


def _own(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    own = dict(an_object(value, "custom_inputs"))
    known = ("pack", "world", "now", "seed", "language")
    if odd := next((key for key in own if key not in known), None):
        raise BadRequest(f"custom_inputs has the unknown key {odd!r}; known are {', '.join(known)}")
    if "pack" in own:
        names = [own["pack"]] if isinstance(own["pack"], str) else listed(own["pack"], "custom_inputs.pack", 16)
        own["pack"] = tuple(dict.fromkeys(a_text(name, "custom_inputs.pack") for name in names))
    elif alone := next((key for key in ("world", "now") if key in own), None):
        raise BadRequest(f"custom_inputs.{alone} is for calls that run here; say in which pack: custom_inputs.pack")
    if "world" in own:
        an_object(own["world"], "custom_inputs.world")
    if "now" in own:
        own["now"] = _moment(own["now"])
    if "seed" in own:
        own["seed"] = _whole(own["seed"], "custom_inputs.seed", 0, least=0)
    if own.get("language", Language.EN) not in list(Language):
        raise BadRequest(f"custom_inputs.language is {shown(own['language'])}; give one of {', '.join(Language)}")
    return own


def _moment(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(a_text(value, "custom_inputs.now"))
    except ValueError as error:
        if isinstance(error, BadRequest):
            raise
        raise BadRequest(f"custom_inputs.now is {shown(value)}; write it as 2026-03-03T09:00+08:00") from None
    return moment if moment.tzinfo else moment.astimezone()


def _number(value: Any, place: str, least: float, most: float, default: float) -> float:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise BadRequest(f"{place} is {shown(value)}; expected a number from {least:g} to {most:g}")
    return float(value)


def _whole(value: Any, place: str, default: int, *, least: int = 1) -> int:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**63:
        raise BadRequest(f"{place} is {shown(value)}; expected a whole number from {least}")
    return value
