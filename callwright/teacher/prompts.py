"""How the teacher is asked for a row, and what its answer must look like.

first_question(plan)                      the whole row, or its beginning where a pack's world makes the results
next_question(plan, turns, calls=False)   what the assistant says next, when the results are there
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from callwright.moments import is_moment
from callwright.outs import to_json
from callwright.records import Calls, Category, Language, Message, Tool
from callwright.teacher.plans import Plan

Messages = tuple[dict[str, str], ...]
Shape = dict[str, Any]
"""A JSON Schema."""

SYSTEM = """\
You write training conversations for an assistant that calls tools. You are given the tools and a plan, and you answer
with one JSON object of the shape that the plan names: no text around it, no code fence, no comment.

- The user speaks as a real person would and never names tools or parameters as code.
- A call uses the tool's exact name and exactly the parameter names of its JSON Schema, with values of its types.
- Every value of a call comes from the user's words or an earlier result. Leave out an optional parameter that nobody
  spoke of. Names, titles, codes and addresses are taken over as the user writes them, in the user's language.
- Invent concrete, varied, everyday values for the user to say. No placeholders such as "XXX" or "[name]".
- Moments are written relative to now, in a small language that is the same in every human language, in lower case:
  a day (today, tomorrow, yesterday, in 3 days, in 2 weeks, in 1 month, this friday, next monday), a time of 24 hours
  (15:00), a day and a time (tomorrow 15:00), or a distance (in 20 minutes, in 2 hours). Seven days are "in 1 week".
  The user says it as people do (明天下午三點, half past nine next Monday) and names no date of the calendar.
- A reply is short and invents no fact and no number."""

_LANGUAGES = {
    Language.ZH_TW: "Traditional Chinese as people in Taiwan write and speak it, with Taiwan's words "
    "(資訊, 影片, 網路, 軟體, 計程車), full-width punctuation, and never a Simplified character. "
    "Written natively, not translated.",
    Language.EN: "English as native speakers write and speak it.",
}

_TASKS: Mapping[Category, str] = {
    Category.SINGLE: "The user asks for one thing, and the assistant calls {targets} once.",
    Category.PARALLEL: "In one message the user asks for {count} things that do not depend on each other; the "
    "assistant makes all {count} calls at once, in the order of the request: {targets}.",
    Category.CHAINED: "The user asks in one message for something that takes several calls, one after another: "
    "{targets}. A value of each later call is not said by the user: it comes from the result of the call before.",
    Category.MISSING: "The user wants what {targets} does but does not say the value of one required parameter. "
    "The assistant calls nothing and asks for it in one short question.",
    Category.NO_TOOL: "No tool helps here. Either the user asks for something that none of the tools can do, and the "
    "assistant says so briefly, without asking anything; or the user just talks (thanks, a greeting, a question that "
    "anyone can answer), and it answers.",
    Category.FULL_LOOP: "The user asks for something, the assistant calls {targets} once, the result comes back, and "
    "the assistant tells the user what matters in it.",
    Category.TOOL_ERROR: "The user asks for something, the assistant calls {targets} once, and the tool fails. The "
    "assistant tells the user plainly that it did not work and why, without making up a result.",
}

_CALL = '{"tool": NAME, "params": {…}}'
_TEXT: Shape = {"type": "string", "minLength": 1}


def first_question(plan: Plan) -> tuple[Messages, Shape]:
    """Messages, and the JSON Schema of the answer."""
    targets = ", then ".join(tool.name for tool in plan.targets)
    keys, shape = _shape(plan)
    moments = [f"{tool.name}.{name}" for tool in plan.offered for name in tool.properties if _moment(plan, tool, name)]
    lines = [
        *_tools(plan),
        f"Parameters that are moments: {', '.join(moments) or 'none'}.",
        "",
        f"Plan: {_TASKS[plan.category].format(targets=targets, count=len(plan.targets))}",
        f"Language of everything the user and the assistant say: {_LANGUAGES[plan.language]}",
        f"The user is {plan.person}. The request: {plan.length}; {plan.style}.",
        "",
        f"Answer with {keys}",
    ]
    return _messages(lines), shape


def next_question(plan: Plan, turns: Sequence[Message], calls: bool) -> tuple[Messages, Shape]:
    """What the assistant does after the results in `turns`: the next call of a chain, or the reply."""
    if calls:
        step = sum(isinstance(turn, Calls) for turn in turns)
        keys, shape = f'{{"calls": [{_CALL}]}}', _object(calls=_calls(plan.targets[step : step + 1]))
        task = f"Write the assistant's next call, of {plan.targets[step].name}, with what it needs from the result."
    else:
        keys, shape = '{"reply": TEXT}', _object(reply=_TEXT)
        task = "Write the assistant's reply: it tells what matters in the result, word for word and number for number."
        if plan.category is Category.TOOL_ERROR:
            task = "Write the assistant's reply: plainly that it did not work and why. It makes up no result."
    lines = [
        *_tools(plan),
        "",
        "The conversation so far:",
        *(to_json(turn.to_json()) for turn in turns),
        "",
        task,
        f"Language: {_LANGUAGES[plan.language]}",
        f"Answer with {keys}",
    ]
    return _messages(lines), shape


def _messages(lines: Sequence[str]) -> Messages:
    return {"role": "system", "content": SYSTEM}, {"role": "user", "content": "\n".join(lines)}


def _tools(plan: Plan) -> list[str]:
    return ["Tools, one a line:", *(to_json(tool.to_json()) for tool in plan.offered)]


def _shape(plan: Plan) -> tuple[str, Shape]:
    """The answer in words and as a schema."""
    count = len(plan.targets)
    match plan.category:
        case Category.NO_TOOL:
            return '{"user": TEXT, "reply": TEXT}', _object(user=_TEXT, reply=_TEXT)
        case Category.MISSING:
            return _asking(plan)
        case Category.PARALLEL:
            keys = ", ".join([_CALL] * count)
            return f'{{"user": TEXT, "calls": [{keys}]}}', _object(user=_TEXT, calls=_calls(plan.targets, count))
    if plan.category is Category.SINGLE or plan.live:
        return f'{{"user": TEXT, "calls": [{_CALL}]}}', _object(user=_TEXT, calls=_calls(plan.targets[:1]))
    result = '{"error": WHAT}' if plan.category is Category.TOOL_ERROR else "{a JSON object as such a tool gives back}"
    steps = ", ".join([f'{{"calls": [{_CALL}], "results": [{result}]}}'] * count)
    step = _object(calls=_calls(plan.targets), results=_several({"type": "object"}, 1))
    keys = f'{{"user": TEXT, "steps": [{steps}], "reply": TEXT}}'
    return keys, _object(user=_TEXT, steps=_several(step, count), reply=_TEXT)


def _asking(plan: Plan) -> tuple[str, Shape]:
    keys = '"user": TEXT, "missing": NAME OF THE PARAMETER, "question": TEXT'
    keys += ', "words": [the words of the question that name the missing value]'
    parts = {"user": _TEXT, "missing": _TEXT, "question": _TEXT, "words": {"type": "array", "items": _TEXT}}
    if plan.follow_up:
        keys += f', "answer": what the user answers, "calls": [{_CALL}]'
        parts |= {"answer": _TEXT, "calls": _calls(plan.targets)}
    return f"{{{keys}}}", _object(**parts)


def _object(**properties: Any) -> Shape:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _several(item: Shape, count: int) -> Shape:
    return {"type": "array", "items": item, "minItems": count, "maxItems": count}


def _calls(targets: Sequence[Tool], count: int = 1) -> Shape:
    """Calls of these tools: a server that decodes by schema then writes none that breaks its tool's."""
    tools = {tool.name: tool for tool in targets}
    kinds = [_object(tool={"const": tool.name}, params=_params(tool)) for tool in tools.values()]
    return _several({"anyOf": kinds}, count)


def _params(tool: Tool) -> Mapping[str, Any]:
    """A reference inside a tool's schema would point elsewhere here; such a tool is described by its line alone."""
    return {"type": "object"} if '"$ref"' in to_json(dict(tool.parameters)) else tool.parameters


def _moment(plan: Plan, tool: Tool, name: str) -> bool:
    pack = plan.toolset.pack
    return pack.tool(tool.name).is_moment(name) if pack else is_moment(name, tool.properties.get(name))
