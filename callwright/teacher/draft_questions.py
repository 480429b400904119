"""What the teacher is asked to draft for a pack: texts of a tool, values of a slot, talk around requests.

    tool_question(tool, Language.EN)   ->  Asked(("tools", "book_room", "en"), messages, schema)

One question a tool, a slot or the pack, and language. What comes back are lists of texts, and a person edits them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from callwright.outs import to_json
from callwright.pack_shape import Pack, PackTool
from callwright.records import Language

Place = tuple[str, ...]

_SYSTEM = """\
You help an engineer to write down how people ask an assistant for things. You answer with one JSON object of the shape
that is asked for: no text around it, no code fence. The texts are the beginning of a file that a person then edits.

- People in the texts speak as real people do: short, long, polite, blunt, as a question, with the reason first.
- No two texts of a list have the same build, and none is a translation."""

_LANGUAGES = {
    Language.ZH_TW: "Traditional Chinese as people in Taiwan write and speak it (資訊, 影片, 網路), with "
    "full-width punctuation and never a Simplified character",
    Language.EN: "English as native speakers write and speak it",
}
_TOOL_TEXTS = """\
In the texts a value is a placeholder, {} around the parameter's name and nothing else; later a value is put there.
Answer with an object:
"description": what the tool does, in a few words;
"phrasings": 11 whole requests with their punctuation;
"clauses": 6 imperatives without full stop and without a capital, to be joined by "and";
"missing": a list with an entry for each required parameter that people may forget to give:
{"param": its name, "requests": 5 requests that leave it out and hold every other required placeholder,
"questions": 2 short questions with a question mark that ask for it, "words": the words in these that name it}."""
_TALK = """\
Answer with an object:
"joiners": 5 texts that make one request of two imperatives, with {a} and {b} for them ({A} where a capital is due);
"answers": 4 ways to answer a question for a value, with {value} for it and nothing else of substance;
"declines": 5 ways in which the assistant says that none of its tools can do that, without a question;
"unsupported": 15 everyday requests that none of these tools can serve;
"chat": 13 pairs [what a user says who needs no tool, what the assistant answers, without a question]."""
_TEXTS: Mapping[str, Any] = {"type": "array", "items": {"type": "string", "minLength": 1}}


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, and the place in the pack that its answer is for."""

    place: Place
    messages: tuple[dict[str, str], ...]
    schema: dict[str, Any]


def tool_question(tool: PackTool, language: Language) -> Asked:
    """Phrasings, clauses, what people say who forget a required value, and replies where the result is known."""
    held = ", ".join(f"{{{name}}}" for name in tool.required) or "no placeholder that must be there"
    lines = [
        f"A tool: {to_json({'name': tool.name, 'description': _described(tool), 'parameters': tool.parameters})}",
        f"Write in {_LANGUAGES[language]}.",
        f"Each phrasing and clause holds {held}, and some also hold optional ones. No other value stands in them.",
    ]
    if moments := [name for name in tool.properties if tool.is_moment(name)]:
        lines.append(f"For {', '.join(moments)} words such as 明天下午三點 or tomorrow at 3 pm are put there.")
    forgotten = _object(param={"enum": list(tool.required)}, requests=_TEXTS, questions=_TEXTS, words=_TEXTS)
    missing = {"type": "array", "items": forgotten} if tool.required else {"type": "array", "maxItems": 0}
    parts = {"description": {"type": "string"}, "phrasings": _TEXTS, "clauses": _TEXTS, "missing": missing}
    lines.append(_TOOL_TEXTS)
    if tool.action:
        fields = ", ".join(f"{{{name}}}" for name in tool.action.fields)
        lines.append(
            f'"replies": 5 ways to tell the user the result, with these placeholders for its fields: {fields}.'
        )
        parts["replies"] = _TEXTS
    return Asked(("tools", tool.name, str(language)), _messages(lines), _object(**parts))


def slot_question(name: str, values: list[Any], users: Mapping[str, Any], language: Language) -> Asked:
    """Values, or what people say for those that a schema allows. `users`: schemas by tool.parameter."""
    if values:
        what = f"for each of {to_json(values)} what people say for it in a request"
        entry = _object(say={"type": "string", "minLength": 1}, value={"enum": values})
        shape = _object(values={"type": "array", "items": entry})
    else:
        what, shape = "16 varied, concrete, everyday values as they stand in a request", _object(values=_TEXTS)
    lines = [
        "Parameters that take the same values, with their schemas:",
        *(f"{user}: {to_json(schema)}" for user, schema in users.items()),
        f"Write in {_LANGUAGES[language]}.",
        f'Answer with an object: "values": {what}.',
    ]
    return Asked(("slots", name, str(language)), _messages(lines), shape)


def talk_question(pack: Pack, language: Language) -> Asked:
    """What stands around requests, and requests that no tool serves."""
    lines = [
        "An assistant with these tools:",
        *(f"{tool.name}: {_described(tool)}" for tool in pack.tools),
        f"Write in {_LANGUAGES[language]}.",
        _TALK,
    ]
    pairs = {"type": "array", "items": {**_TEXTS, "minItems": 2, "maxItems": 2}}
    shape = _object(**dict.fromkeys(("joiners", "answers", "declines", "unsupported"), _TEXTS), chat=pairs)
    return Asked(("pack", pack.pack, str(language)), _messages(lines), shape)


def _described(tool: PackTool) -> str:
    return next((text for language in Language for text in tool.description[language] if text), "")


def _messages(lines: list[str]) -> tuple[dict[str, str], ...]:
    return {"role": "system", "content": _SYSTEM}, {"role": "user", "content": "\n".join(lines)}


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
