"""A pack: a domain's tools, how people ask for them, and the world they act on. docs/packs.md has the whole shape.

    pack = read_pack(Path("packs/office.yaml"))
    pack.tool("book_room").phrasings.zh_tw.train

Reading checks everything at once; each fault is a sentence with file, line and name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

import yaml
from jsonschema import Draft202012Validator, SchemaError
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from callwright.faults import Fault
from callwright.moments import is_moment
from callwright.records import Language, Tool

FOLDER = Path("packs")
PLACEHOLDER = re.compile(r"\{(\w+)\}")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Scalar = str | int | float | bool
Identifier = Annotated[str, Field(pattern=f"^{NAME.pattern}$")]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)


class Word(Part):
    """What people say, and what the call then holds."""

    say: str
    value: Scalar

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, given: Any) -> Any:
        return given if isinstance(given, dict) else {"say": str(given), "value": given}


class Halves(Part):
    """Texts of the training and texts of the test."""

    train: Annotated[list[str], Field(min_length=1)]
    test: Annotated[list[str], Field(min_length=1)]

    def of(self, test: bool) -> list[str]:
        return self.test if test else self.train


class Words(Part):
    train: Annotated[list[Word], Field(min_length=1)]
    test: Annotated[list[Word], Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _same_everywhere(cls, given: Any) -> Any:
        return {"train": given, "test": given} if isinstance(given, list) else given

    def of(self, test: bool) -> list[Word]:
        return self.test if test else self.train


class Bilingual(Part):
    """One thing in each language; `thing[language]`."""

    def __getitem__(self, language: Language) -> Any:
        return getattr(self, "zh_tw" if language is Language.ZH_TW else "en")


class Texts(Bilingual):
    zh_tw: Halves = Field(alias="zh-TW")
    en: Halves


class Lines(Bilingual):
    zh_tw: Annotated[list[str], Field(min_length=1)] = Field(alias="zh-TW")
    en: Annotated[list[str], Field(min_length=1)]


class Line(Bilingual):
    zh_tw: str = Field(alias="zh-TW")
    en: str


class Talk(Part):
    train: Annotated[list[Annotated[list[str], Field(min_length=2, max_length=2)]], Field(min_length=1)]
    test: Annotated[list[Annotated[list[str], Field(min_length=2, max_length=2)]], Field(min_length=1)]

    def of(self, test: bool) -> list[list[str]]:
        return self.test if test else self.train


class Talks(Bilingual):
    zh_tw: Talk = Field(alias="zh-TW")
    en: Talk


class Steps(Part):
    min: int
    max: int
    step: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min is {self.min} and max is {self.max}; min is at most max")
        return self


class Slot(Part):
    """Where values come from: words, a number, a moment, or several values of another slot."""

    free: bool = False
    any: Words | None = None
    zh_tw: Words | None = Field(default=None, alias="zh-TW")
    en: Words | None = None
    number: Steps | None = None
    digits: bool = False
    moment: Literal["date-time", "date", "time"] | None = None
    list: str | None = None
    min: Annotated[int, Field(ge=1)] = 1
    max: Annotated[int, Field(ge=1)] = 3

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        words = self.any is not None or (self.zh_tw is not None and self.en is not None)
        kinds = [words, self.number is not None, self.moment is not None, self.list is not None]
        if sum(kinds) != 1:
            raise ValueError("a slot is one of: words (any, or zh-TW and en), number, moment, list")
        return self

    def words(self, language: Language) -> Words | None:
        return self.any or (self.zh_tw if language is Language.ZH_TW else self.en)


class Missing(Halves):
    questions: Annotated[list[str], Field(min_length=1)]
    words: Annotated[list[str], Field(min_length=1)]


class Missings(Bilingual):
    zh_tw: Missing = Field(alias="zh-TW")
    en: Missing


class Contains(Part):
    contains: Identifier


Where = dict[Identifier, Identifier | Contains]


class Action(Part):
    """What a tool does to the tables; docs/packs.md lists the kinds."""

    insert: Identifier | None = None
    select: Identifier | None = None
    count: Identifier | None = None
    update: Identifier | None = None
    delete: Identifier | None = None
    where: Where = {}
    set: dict[Identifier, Identifier] = {}
    columns: list[Identifier] = []

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if sum(kind is not None for kind in (self.insert, self.select, self.count, self.update, self.delete)) != 1:
            raise ValueError("an action is one of insert, select, count, update, delete")
        return self

    @property
    def table(self) -> str:
        return self.insert or self.select or self.count or self.update or self.delete or ""

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of its result."""
        if self.select or self.update:
            return tuple(self.columns)
        return ("id",) if self.insert else ("count",) if self.count else ("deleted",)


class Cell(Part):
    param: Identifier | None = None
    slot: Identifier | None = None
    value: Scalar | None = None


class Given(Part):
    table: Identifier
    row: dict[Identifier, Cell]


class PackTool(Part):
    name: Identifier
    description: Line
    parameters: dict[str, Any]
    slots: dict[str, str] = {}
    moments: list[str] = []
    phrasings: Texts
    clauses: Texts
    missing: dict[str, Missings] = {}
    action: Action
    given: Given | None = None
    replies: Texts

    def slot_of(self, param: str) -> str:
        return self.slots.get(param, param)

    def offered(self, language: Language) -> Tool:
        """The tool as a model sees it."""
        return Tool(self.name, self.description[language], self.parameters)

    @property
    def properties(self) -> dict[str, Any]:
        found: dict[str, Any] = self.parameters.get("properties", {})
        return found

    @property
    def required(self) -> list[str]:
        found: list[str] = self.parameters.get("required", [])
        return found

    def is_moment(self, param: str) -> bool:
        return is_moment(param, self.properties.get(param), marked=param in self.moments)


Column = Annotated[Literal["text", "integer", "real", "moment", "list"], BeforeValidator(lambda v: v)]


class Pack(Part):
    pack: Identifier
    system: Lines
    tables: dict[Identifier, dict[Identifier, Column]]
    slots: dict[str, Slot]
    tools: Annotated[list[PackTool], Field(min_length=1)]
    joiners: Texts
    declines: Texts
    unsupported: Texts
    chat: Talks

    def tool(self, name: str) -> PackTool:
        return next(tool for tool in self.tools if tool.name == name)


def read_packs(names: Iterable[str], folder: Path = FOLDER) -> list[Pack]:
    """Read several packs; the faults of all are told at once."""
    packs, faults = [], []
    for name in names:
        try:
            packs.append(read_pack(folder / f"{name}.yaml"))
        except Fault as fault:
            faults += fault.sentences
    if faults:
        raise Fault(faults)
    return packs


def read_pack(path: Path) -> Pack:
    """Read and check one pack; `Fault` holds one sentence a fault, with its line."""
    value, lines = _read_yaml(path)
    try:
        pack = Pack.model_validate(value)
    except ValidationError as error:
        raise Fault(
            f"{path}:{lines.of(fault['loc'])}: {'.'.join(map(str, fault['loc']))}: {fault['msg']}; docs/packs.md has the shape"
            for fault in error.errors()
        ) from None
    faults = [f"{path}:{lines.of(fault.place)}: {fault.sentence}" for fault in _check(pack)]
    if pack.pack != path.stem:
        faults.insert(0, f"{path}:{lines.of(('pack',))}: pack is {pack.pack!r}; name it {path.stem!r}, as the file")
    if faults:
        raise Fault(faults)
    return pack


class _Fault(NamedTuple):
    place: tuple[str | int, ...]
    sentence: str


def _check(pack: Pack) -> Iterator[_Fault]:
    """What types cannot say: names that must exist elsewhere in the pack."""
    seen: set[str] = set()
    for i, tool in enumerate(pack.tools):
        place = ("tools", i)
        if tool.name in seen:
            yield _Fault((*place, "name"), f"tool {tool.name!r} stands twice; rename one")
        seen.add(tool.name)
        yield from _check_schema(tool, place)
        yield from _check_slots(pack, tool, place)
        yield from _check_texts(tool, place)
        yield from _check_world(pack, tool, place)
    for name, slot in pack.slots.items():
        if slot.list and slot.list not in pack.slots:
            yield _Fault(("slots", name, "list"), f"slot {name!r} lists {slot.list!r}, which is no slot; add it under slots")
        yield from _check_apart(name, slot)


def _check_schema(tool: PackTool, place: tuple[str | int, ...]) -> Iterator[_Fault]:
    at = (*place, "parameters")
    try:
        Draft202012Validator.check_schema(tool.parameters)
    except SchemaError as error:
        yield _Fault(at, f"tool {tool.name!r}: parameters is not a JSON Schema: {error.message}")
        return
    if tool.parameters.get("type") != "object":
        yield _Fault(at, f"tool {tool.name!r}: parameters has type {tool.parameters.get('type')!r}; make it an object")
    for name in tool.required:
        if name not in tool.properties:
            yield _Fault(at, f"tool {tool.name!r} requires {name!r}, which is not among its properties; add it there")


def _check_slots(pack: Pack, tool: PackTool, place: tuple[str | int, ...]) -> Iterator[_Fault]:
    for param in tool.properties:
        if tool.slot_of(param) not in pack.slots:
            yield _Fault((*place, "parameters"), f"tool {tool.name!r}: {param!r} takes slot {tool.slot_of(param)!r}, which is not there; add it under slots")
    for param in (*tool.slots, *tool.moments):
        if param not in tool.properties:
            yield _Fault((*place, "slots"), f"tool {tool.name!r} has no parameter {param!r}; it has {', '.join(tool.properties)}")


def _check_texts(tool: PackTool, place: tuple[str | int, ...]) -> Iterator[_Fault]:
    for key, texts, known in (
        ("phrasings", tool.phrasings, set(tool.properties)),
        ("clauses", tool.clauses, set(tool.properties)),
        ("replies", tool.replies, set(tool.action.fields)),
    ):
        for language in Language:
            for half in ("train", "test"):
                for i, text in enumerate(getattr(texts[language], half)):
                    at = (*place, key, str(language), half, i)
                    held = set(PLACEHOLDER.findall(text))
                    for name in sorted(held - known):
                        what = "parameter" if key != "replies" else "field of its result"
                        yield _Fault(at, f"tool {tool.name!r} has no {what} {name!r}, which {text!r} fills; it has {', '.join(sorted(known))}")
                    if key != "replies" and (left := [p for p in tool.required if p not in held]):
                        yield _Fault(at, f"tool {tool.name!r} requires {left[0]!r}, which {text!r} leaves out; add {{{left[0]}}}")
    for param, missings in tool.missing.items():
        yield from _check_missing(tool, param, missings, (*place, "missing", param))


def _check_missing(tool: PackTool, param: str, missings: Missings, place: tuple[str | int, ...]) -> Iterator[_Fault]:
    if param not in tool.required:
        yield _Fault(place, f"tool {tool.name!r} does not require {param!r}; only a required parameter can be missing")
    for language in Language:
        missing: Missing = missings[language]
        for half in ("train", "test"):
            for i, text in enumerate(getattr(missing, half)):
                held = set(PLACEHOLDER.findall(text))
                at = (*place, str(language), half, i)
                if param in held:
                    yield _Fault(at, f"{text!r} holds {param!r}, which it should leave out")
                for name in sorted(held - set(tool.properties)):
                    yield _Fault(at, f"tool {tool.name!r} has no parameter {name!r}, which {text!r} fills; it has {', '.join(tool.properties)}")
                if left := [p for p in tool.required if p not in held and p != param]:
                    yield _Fault(at, f"{text!r} leaves out {left[0]!r} as well as {param!r}; add {{{left[0]}}}")
        for i, question in enumerate(missing.questions):
            if not any(word in question for word in missing.words):
                yield _Fault((*place, str(language), "questions", i), f"{question!r} holds none of words ({', '.join(missing.words)}); add one")


def _check_world(pack: Pack, tool: PackTool, place: tuple[str | int, ...]) -> Iterator[_Fault]:
    action, at = tool.action, (*place, "action")
    columns = pack.tables.get(action.table)
    if columns is None:
        yield _Fault(at, f"tool {tool.name!r} acts on table {action.table!r}, which is not there; add it under tables")
        return
    params = [w.contains if isinstance(w, Contains) else w for w in action.where.values()] + list(action.set.values())
    for name in params:
        if name not in tool.properties:
            yield _Fault(at, f"tool {tool.name!r} has no parameter {name!r}; it has {', '.join(tool.properties)}")
    for name in (*action.where, *action.set, *action.columns):
        if name not in columns:
            yield _Fault(at, f"table {action.table!r} has no column {name!r}; it has {', '.join(columns)}")
    if tool.given is None:
        return
    known = pack.tables.get(tool.given.table, {})
    for name, cell in tool.given.row.items():
        if name not in known:
            yield _Fault((*place, "given"), f"table {tool.given.table!r} has no column {name!r}; it has {', '.join(known)}")
        if cell.param is not None and cell.param not in tool.properties:
            yield _Fault((*place, "given"), f"tool {tool.name!r} has no parameter {cell.param!r}; it has {', '.join(tool.properties)}")
        if cell.slot is not None and cell.slot not in pack.slots:
            yield _Fault((*place, "given"), f"slot {cell.slot!r} is not there; add it under slots")


def _check_apart(name: str, slot: Slot) -> Iterator[_Fault]:
    """Free values of the test never occur in training."""
    if not slot.free:
        return
    for key, words in (("any", slot.any), ("zh-TW", slot.zh_tw), ("en", slot.en)):
        if words and (both := {w.say for w in words.train} & {w.say for w in words.test}):
            yield _Fault(("slots", name, key), f"slot {name!r}: {sorted(both)[0]!r} stands in train and in test; keep it in one")


class _Places:
    """Line numbers of a YAML document's nodes, by path."""

    def __init__(self) -> None:
        self.lines: dict[tuple[str | int, ...], int] = {}

    def of(self, place: tuple[str | int, ...]) -> int:
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)


def _read_yaml(path: Path) -> tuple[Any, _Places]:
    places = _Places()
    try:
        text = path.read_text(encoding="utf-8")
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
        try:
            node = loader.get_single_node()
            _note(node, (), places)
            return (loader.construct_document(node) if node else None), places
        finally:
            loader.dispose()
    except FileNotFoundError:
        raise Fault(f"{path} is missing; generate.packs in params.yaml names the packs, packs/ holds them") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Fault(f"{path}: not YAML: {' '.join(str(error).split())}") from None


def _note(node: Any, place: tuple[str | int, ...], places: _Places) -> None:
    if node is None:
        return
    places.lines[place] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            _note(value, (*place, str(key.value)), places)
            places.lines[(*place, str(key.value))] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            _note(value, (*place, i), places)
