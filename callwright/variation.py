"""How rows are made to differ where their truth does not: knobs with shares, `generate.variation` in params.yaml.

    renamed(tool, ["start_time"], rng)   ->  Shown(Tool("bookRoom", …), {"roomName": "room", …})
    Dress(variation, pack, language, rng).request("幫我訂「{room}」。")

A request's words are changed around its placeholders only, so that what is said for a value stays what it was.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from random import Random
from typing import Any

from callwright.moments import is_moment
from callwright.pack_shape import PLACEHOLDER, Pack, PackTool
from callwright.records import Language, Tool


@dataclass(frozen=True, slots=True)
class Variation:
    """Shares from 0 to 1: of lists of tools, of tools in them, of rows, or of words. All at 0: no row is varied."""

    other_packs: float = 0.0
    """Of lists: tools of other packs stand among them."""
    renamed: float = 0.0
    """Of tools: function and parameters have other names."""
    paraphrased: float = 0.0
    """Of tools: another of the pack's descriptions."""
    undescribed: float = 0.0
    """Of tools: no description."""
    english_tools: float = 0.0
    """Of zh-TW lists: tools are described in English."""
    lead_ins: float = 0.0
    """Of rows: something is said before the request, or after it."""
    mixed_language: float = 0.0
    """Of zh-TW rows: words that people also say in English are."""
    typos: float = 0.0
    """Of rows: one or two typing errors, never in a value."""
    widths: float = 0.0
    """Of rows: punctuation and digits of the other width; English without capitals and full stops."""
    spoken: float = 0.0
    """Of numbers and times: in words."""

    def __bool__(self) -> bool:
        return any(getattr(self, each.name) for each in fields(self))


# Tools


@dataclass(frozen=True, slots=True)
class Shown:
    """A pack's tool as a row offers it. `params`: the pack's parameter for each shown one."""

    tool: Tool
    name: str
    """The pack's."""
    params: Mapping[str, str]

    def names(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values of the pack's parameters under the names shown."""
        given = {own: shown for shown, own in self.params.items()}
        return {given.get(name, name): value for name, value in values.items()}


def show_tools(tools: Iterable[PackTool], language: Language, variation: Variation, rng: Random) -> dict[str, Shown]:
    """The pack's tools by their own names, as one list of tools shows them."""
    described = language
    if variation.english_tools and language is Language.ZH_TW and rng.random() < variation.english_tools:
        described = Language.EN
    shown: dict[str, Shown] = {}
    taken: set[str] = set()
    for tool in tools:
        one = _described(tool, described, variation, rng)
        if variation.renamed and rng.random() < variation.renamed:
            found = renamed(one.tool, tool, rng)
            one = found if found.tool.name not in taken else one
        taken.add(one.tool.name)
        shown[tool.name] = one
    return shown


def _described(tool: PackTool, language: Language, variation: Variation, rng: Random) -> Shown:
    texts = tool.description[language]
    text = texts[0]
    if variation.paraphrased and len(texts) > 1 and rng.random() < variation.paraphrased:
        text = rng.choice(texts[1:])
    if variation.undescribed and rng.random() < variation.undescribed:
        text = ""
    return Shown(Tool(tool.name, text, tool.parameters), tool.name, {})


_SYNONYMS = {
    "add": "insert", "assign": "allocate", "book": "reserve", "cancel": "revoke", "check": "inspect", "create": "make",
    "delete": "remove", "enroll": "register", "find": "lookup", "get": "fetch", "issue": "grant", "list": "show",
    "log": "record", "move": "shift", "open": "file", "place": "submit", "post": "publish", "query": "search",
    "rate": "score", "rent": "hire", "return": "send_back", "schedule": "plan", "search": "query", "send": "dispatch",
    "set": "configure", "start": "launch", "submit": "hand_in", "track": "follow", "update": "modify",
    "amount": "total", "city": "town", "date": "day", "location": "place", "message": "body", "name": "label",
    "note": "remark", "number": "no", "people": "headcount", "person": "who", "quantity": "count", "reason": "why",
    "subject": "topic", "title": "heading", "type": "kind",
}  # fmt: skip
"""Words of tool and parameter names, and another that means the same."""


def renamed(tool: Tool, pack_tool: PackTool, rng: Random) -> Shown:
    """The tool under other names: synonyms, another case, or names that say nothing. Its schema stays but for them.

    A parameter that is a moment by its name has its `format` added, so that it still is one (Hammer, Lin et al. 2024,
    arXiv:2410.04587, masks names likewise).
    """
    style = rng.choice([_synonym, _camel, _pascal, _synonym_camel, None])
    properties: dict[str, Any] = {}
    params: dict[str, str] = {}
    for i, (name, schema) in enumerate(tool.properties.items()):
        new = f"arg{i + 1}" if style is None else style(name)
        new = new if new not in properties else name
        if pack_tool.is_moment(name) and isinstance(schema, Mapping) and not is_moment(new, schema):
            schema = {**schema, "format": "date-time"}  # noqa: PLW2901 - the grammar stands in for the format
        if style is None and isinstance(schema, Mapping) and "description" not in schema:
            schema = {**schema, "description": name.replace("_", " ")}  # noqa: PLW2901 - else nothing would tell it
        properties[new] = schema
        if new != name:
            params[new] = name
    new_name = {own: new for new, own in params.items()}
    parameters = {**tool.parameters, "properties": properties}
    if tool.required:
        parameters["required"] = [new_name.get(name, name) for name in tool.required]
    shown_name = f"func_{rng.randint(100, 999)}" if style is None else style(tool.name)
    described = tool.description or (tool.name.replace("_", " ") if style is None else "")
    return Shown(replace(tool, name=shown_name, description=described, parameters=parameters), pack_tool.name, params)


def _synonym(name: str) -> str:
    return "_".join(_SYNONYMS.get(word, word) for word in name.split("_"))


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(word.capitalize() for word in tail)


def _pascal(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def _synonym_camel(name: str) -> str:
    return _camel(_synonym(name))


# Requests


class Dress:
    """Varies the words of one row's requests."""

    def __init__(self, variation: Variation, pack: Pack, language: Language, test: bool, rng: Random) -> None:
        self.pack, self.language, self.test, self.rng = pack, language, test, rng
        self.changes: list[Callable[[str], str]] = []
        self.finish: Callable[[str], str] | None = None
        zh = language is Language.ZH_TW
        if variation.lead_ins and rng.random() < variation.lead_ins:
            self.changes.append(self._led)
        if zh and variation.mixed_language and rng.random() < variation.mixed_language:
            self.changes.append(self._mixed)
        if variation.typos and rng.random() < variation.typos:
            self.changes.append(self._mistyped)
        if variation.widths and rng.random() < variation.widths:
            if zh:
                self.finish = _other_width
            else:
                self.changes.append(_careless)

    def request(self, template: str) -> str:
        for change in self.changes:
            template = change(template)
        return template

    def said(self, text: str) -> str:
        """The filled request; widths may differ in values too, which are compared after NFKC."""
        return self.finish(text) if self.finish else text

    def _led(self, template: str) -> str:
        before = self.pack.lead_ins[self.language].of(self.test)
        after = self.pack.sign_offs[self.language].of(self.test)
        where = self.rng.choices(["before", "after", "both"], [5, 4, 2])[0]
        if before and where != "after":
            template = self.rng.choice(before) + template
        if after and where != "before":
            template += self.rng.choice(after)
        return template

    def _mixed(self, template: str) -> str:
        return _around_values(template, self._switched)

    def _switched(self, text: str) -> str:
        for word, english in sorted(self.pack.code_switch.items(), key=lambda pair: -len(pair[0])):
            if word in text:
                text = re.sub(rf"(?<=[A-Za-z0-9]){re.escape(word)}", f" {word}", text)
                text = text.replace(word, f" {english} ")
        return re.sub(r" +", " ", text).replace(" ，", "，").replace(" 。", "。").replace(" ？", "？")

    def _mistyped(self, template: str) -> str:
        pieces = _pieces(template)
        long = [i for i in range(0, len(pieces), 2) if len(pieces[i].strip()) >= 4]
        for i in self.rng.sample(long, min(len(long), self.rng.randint(1, 2))):
            wrong = _zh_typo if self.language is Language.ZH_TW else _en_typo
            pieces[i] = wrong(pieces[i], self.rng)
        return "".join(pieces)


def _pieces(template: str) -> list[str]:
    """Words and placeholders by turns, words first."""
    pieces, end = [], 0
    for found in PLACEHOLDER.finditer(template):
        pieces += [template[end : found.start()], found[0]]
        end = found.end()
    return [*pieces, template[end:]]


def _around_values(template: str, change: Callable[[str], str]) -> str:
    return "".join(change(piece) if i % 2 == 0 else piece for i, piece in enumerate(_pieces(template)))


_ZH_MISTAKES = [
    ("在", "再"), ("再", "在"), ("的", "得"), ("得", "的"), ("應該", "因該"), ("以", "已"), ("已", "以"), ("訂", "定"),
    ("幫", "邦"), ("麻煩", "麻凡"), ("那", "哪"), ("做", "作"), ("作", "做"), ("帳", "賬"), ("嗎", "ㄇ"), ("吧", "ㄅ"),
    ("登", "燈"), ("查", "察"), ("請", "情"), ("週", "周"), ("謝謝", "謝ㄒ"), ("排", "牌"), ("知道", "之道"),
]  # fmt: skip
"""What is written for what, by sound or by the key beside it; the meaning stays plain."""


def _zh_typo(text: str, rng: Random) -> str:
    fitting = [(right, wrong) for right, wrong in _ZH_MISTAKES if right in text]
    if fitting and rng.random() < 0.7:
        right, wrong = rng.choice(fitting)
        return text.replace(right, wrong, 1)
    places = [i for i in range(2, len(text) - 2) if unicodedata.category(text[i]) == "Lo" and text[i] not in _NOT]
    if not places:  # what stands beside a value may be its unit
        return text
    i = rng.choice(places)
    return (
        text[:i] + (text[i] if rng.random() < 0.5 else "") + text[i:]
        if rng.random() < 0.5
        else text[:i] + text[i + 1 :]
    )


def _en_typo(text: str, rng: Random) -> str:
    words = list(re.finditer(r"[A-Za-z]{4,}", text))
    if not words:
        return text
    found = rng.choice(words)
    i = rng.randrange(found.start() + 1, found.end() - 1)
    kind = rng.choice(["swap", "drop", "double"])
    if kind == "swap":
        return text[:i] + text[i + 1] + text[i] + text[i + 2 :]
    return text[:i] + text[i + 1 :] if kind == "drop" else text[:i] + text[i] + text[i:]


_NOT = "不別沒未無非免勿"
"""Signs that turn a request round; none of them is lost."""

_NARROW = str.maketrans({"，": ",", "。": ".", "？": "?", "！": "!", "：": ":", "；": ";"})
_WIDE = str.maketrans("0123456789:,.?!", "０１２３４５６７８９：，．？！")


def _other_width(text: str) -> str:
    """Half-width punctuation where there is full-width; else digits and signs in full width, but in an address."""
    narrow = re.sub(r"(?<=\d)，(?=\d)", ", ", text).translate(_NARROW)  # 2881,895 would be one number
    if narrow != text:
        return narrow
    return text if re.search(r"@|://|\d,\d", text) else text.translate(_WIDE)


def _careless(template: str) -> str:
    """As people type on a phone: the first letter small, no full stop at the end."""
    return (template[:1].lower() + template[1:]).rstrip(".")
