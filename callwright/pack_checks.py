"""What types cannot say of a pack: names that must stand elsewhere in it, texts that fit their tool, values that fit
their schema, and a test that training has not seen. Each fault is a place in the file and a sentence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from callwright.pack_chains import chained, errors
from callwright.pack_shape import (
    Contains,
    Given,
    Halves,
    Missing,
    Missings,
    Pack,
    PackTool,
    Slot,
    Texts,
)
from callwright.pack_texts import HALVES, Place, Placed, apart, each, each_half, listed, placeholders
from callwright.records import Language
from callwright.schemas import resolved, tool_fault, value_fault
from callwright.speech import plain


def check(pack: Pack) -> Placed:
    seen: set[str] = set()
    for i, tool in enumerate(pack.tools):
        place = ("tools", i)
        if tool.name in seen:
            yield (*place, "name"), f"tool {tool.name!r} stands twice; rename one"
        seen.add(tool.name)
        for sentence_place, sentence in _tool(pack, tool):
            yield (*place, *sentence_place), f"tool {tool.name!r} {sentence}"
    yield from _tables(pack)
    yield from _slots(pack)
    yield from _talk(pack)
    for i, chain in enumerate(pack.chains):
        yield from chained(pack, chain, ("chains", i))
    yield from errors(pack)


def _tool(pack: Pack, tool: PackTool) -> Placed:
    """Sentences here go on from `tool 'name' `."""
    if fault := tool_fault(tool.offered(Language.EN)):
        yield ("parameters",), f"cannot be offered: {fault}"
        return
    for name in tool.required:
        if name not in tool.properties:
            yield ("parameters",), f"requires {name!r}, which is not among its properties; add it there"
    yield from _values(pack, tool)
    for key, texts in (("phrasings", tool.phrasings), ("clauses", tool.clauses)):
        yield from _requests(tool, key, texts)
    fields = tool.action.fields if tool.action else ()
    for place, text in each(tool.replies, ("replies",)):
        for name in _strange(text, fields):
            yield place, f"has no field {name!r} in its result, which {text!r} tells; it has {listed(fields)}"
    for param, missings in tool.missing.items():
        yield from _missing(tool, param, missings)
    yield from _action(pack, tool)
    for given in tool.given:
        yield from _given(pack, tool, given)


# Values


def _values(pack: Pack, tool: PackTool) -> Placed:
    for param in (*tool.slots, *tool.moments):
        if param not in tool.properties:
            yield ("slots",), f"has no parameter {param!r}; it has {listed(tool.properties)}"
    for param, schema in tool.properties.items():
        name = tool.slot_of(param)
        slot = pack.slots.get(name)
        if slot is None:
            yield ("parameters",), f"takes {param!r} from slot {name!r}, which is not there; add it under slots"
        elif tool.is_moment(param) is not bool(slot.moment):
            yield (
                ("slots",),
                (
                    f"takes {param!r} from slot {name!r}, and only one of the two is a moment; "
                    "list it under moments, or give it another slot"
                ),
            )
        elif refused := _refused(pack, slot, schema, tool.parameters):
            yield ("slots",), f"takes {param!r} from slot {name!r}, and its schema refuses what is there: {refused}"


def _refused(pack: Pack, slot: Slot, schema: Any, root: dict[str, Any]) -> str | None:
    """Why the schema, a part of `root`, does not take a value of the slot."""
    known = resolved(schema, root) if isinstance(schema, dict) else {}
    if slot.list:
        if "array" not in _types(known):
            return f"a list is not of type {known.get('type')!r}"
        item = pack.slots.get(slot.list)
        return _refused(pack, item, known.get("items", {}), root) if item and not item.list else None
    if slot.object is not None:
        return _object_refused(pack, slot, known, root)
    values: list[Any] = [slot.number.min, slot.number.at(slot.number.count - 1)] if slot.number else []
    values += ["today"] if slot.moment else []
    for words in (slot.any, slot.zh_tw, slot.en):
        values += [word.value for word in (*words.train, *words.test)] if words else []
    return next((fault for value in values if (fault := value_fault(value, schema, root))), None)


def _object_refused(pack: Pack, slot: Slot, schema: Mapping[str, Any], root: dict[str, Any]) -> str | None:
    """Why the schema does not take an object: its type, a property, or what a text of `say` leaves out."""
    if "object" not in _types(schema):
        return f"an object is not of type {schema.get('type')!r}"
    parts, properties = slot.object or {}, schema.get("properties", {})
    for name, part in parts.items():
        if name not in properties:
            return f"it has no property {name!r}"
        inner = pack.slots.get(part)
        if inner and inner is not slot and (why := _refused(pack, inner, properties[name], root)):
            return f"{name}: {why}"
    for language in Language:
        for text in slot.say[language] if slot.say else ():
            for name in schema.get("required", ()):
                if name not in placeholders(text):
                    return f"{name!r} is a required property, which {text!r} leaves out"
    return None


def _types(schema: Mapping[str, Any]) -> list[str]:
    kind = schema.get("type", ["array", "object"])
    return kind if isinstance(kind, list) else [kind]


# Texts


def _requests(tool: PackTool, key: str, texts: Texts) -> Placed:
    for place, text in each(texts, (key,)):
        yield from _fills(tool, text, place)
        for name in tool.required:
            if name not in placeholders(text):
                yield place, f"requires {name!r}, which {text!r} leaves out; add {{{name}}}"
    for language in Language:
        yield from apart(texts[language], (key, str(language)), "has")


def _fills(tool: PackTool, text: str, place: Place) -> Placed:
    for name in _strange(text, tool.properties):
        yield place, f"has no parameter {name!r}, which {text!r} fills; it has {listed(tool.properties)}"


def _missing(tool: PackTool, param: str, missings: Missings) -> Placed:
    if param not in tool.required:
        yield ("missing", param), f"does not require {param!r}; only a required parameter can be missing"
    others = [name for name in tool.required if name != param]
    for language in Language:
        missing: Missing = missings[language]
        at = ("missing", param, str(language))
        for place, text in each_half(missing, at):
            yield from _fills(tool, text, place)
            if param in placeholders(text):
                yield place, f"has {text!r} for requests without {param!r}, which it holds; leave it out"
            for name in others:
                if name not in placeholders(text):
                    yield place, f"has {text!r}, which leaves out {name!r} as well as {param!r}; add {{{name}}}"
        yield from apart(missing, at, "has")
        for i, question in enumerate(missing.questions):
            place = (*at, "questions", i)
            if not any(plain(word) in plain(question) for word in missing.words):
                yield place, f"asks {question!r}, which holds none of words ({listed(missing.words)}); add one"
            if not _asks(question):
                yield place, f"asks {question!r} without a question mark; add it"
            for name in _strange(question, others):
                yield place, f"asks {question!r}, which holds {name!r}, and not every such request does; take it out"


def _talk(pack: Pack) -> Placed:
    """Texts that belong to no tool."""
    for place, text in each(pack.joiners, ("joiners",)):
        if "".join(sorted(name.lower() for name in placeholders(text))) not in ("ab", "abc", "abcd"):
            wanted = "{a} and {b} (or {A}, {B}), for more requests {c} and {d}"
            yield place, f"joiner {text!r} should hold {wanted}, and nothing else; mend it"
    for language in Language:
        for half in HALVES:
            texts = getattr(pack.joiners[language], half)
            if texts and not any(len(placeholders(text)) == 2 for text in texts):
                yield ("joiners", str(language), half), f"joiners of {language} has none for two requests; add one"
    for place, text in each(pack.answers, ("answers",)):
        if placeholders(text) != {"value"}:
            yield place, f"answer {text!r} should hold {{value}} and nothing else; mend it"
    for key, texts in (("lead_ins", pack.lead_ins), ("sign_offs", pack.sign_offs)):
        for place, text in each(texts, (key,)):
            if placeholders(text):
                yield place, f"{text!r} holds a placeholder; {key} stand beside any request, take it out"
    for word, english in pack.code_switch.items():
        if not word or not english or placeholders(word + english):
            yield ("code_switch", word), f"code_switch has {word!r}: {english!r}; both are plain words"
    for place, text in each(pack.declines, ("declines",)):
        if _asks(text):
            yield place, f"decline {text!r} asks something; say that no tool fits, without a question mark"
    for language in Language:
        for key, texts in (("joiners", pack.joiners), ("declines", pack.declines), ("unsupported", pack.unsupported)):
            # lead_ins, sign_offs and answers are small talk around a request: they may stand in both
            if key != "declines":  # an answer may be the same
                yield from apart(texts[language], (key, str(language)), "pack has")
        talk = pack.chat[language]
        for half in HALVES:
            for i, (said, answer) in enumerate(getattr(talk, half)):
                if _asks(answer):
                    yield ("chat", str(language), half, i), f"answer {answer!r} to {said!r} asks something; just answer"
        said = Halves(train=[said for said, _ in talk.train], test=[said for said, _ in talk.test])
        yield from apart(said, ("chat", str(language)), "pack has")


def _strange(text: str, known: Iterable[str]) -> list[str]:
    return sorted(placeholders(text) - set(known))


def _asks(text: str) -> bool:
    return "?" in text or "？" in text


# The world


def _action(pack: Pack, tool: PackTool) -> Placed:
    action = tool.action
    if action is None:
        return
    columns = pack.tables.get(action.table)
    if columns is None:
        yield ("action",), f"acts on table {action.table!r}, which is not there; add it under tables"
        return
    tests = [test.contains if isinstance(test, Contains) else test for test in action.where.values()]
    for name in (*tests, *action.set.values()):
        if name not in tool.properties:
            yield ("action",), f"has no parameter {name!r}; it has {listed(tool.properties)}"
    for name in (*action.where, *action.set, *action.columns):
        if name not in columns:
            yield (
                ("action",),
                f"acts on column {name!r}, which table {action.table!r} has not; it has {listed(columns)}",
            )
    yield from _told_columns(pack, tool)
    if action.insert or action.count or action.list:
        return
    row = next((given.row for given in tool.given if given.table == action.table), {})
    for column, name in zip(action.where, tests, strict=True):
        if column not in row or row[column].param != name:
            given = f"{{table: {action.table}, row: {{{column}: {{param: {name}}}}}}}"
            yield ("action",), f"finds nothing in an empty world; add given: {given}"


def _told_columns(pack: Pack, tool: PackTool) -> Placed:
    """A result tells no empty column, and a moment is compared with a moment."""
    action = tool.action
    if action is None or action.insert or action.count or action.delete:
        return
    filled = {column for given in tool.given if given.table == action.table for column in given.row}
    for column in action.columns:
        if column not in filled | action.set.keys() | {"id"}:
            yield ("action",), f"tells column {column!r}, which given leaves empty; fill it there"
    columns = pack.tables.get(action.table, {})
    for column, test in action.where.items():
        param = test.contains if isinstance(test, Contains) else test
        if tool.is_moment(param) and columns.get(column) not in ("moment", None):
            yield ("action",), f"looks for the moment {param!r} in column {column!r}, which is no moment; make it one"


def _given(pack: Pack, tool: PackTool, given: Given) -> Placed:
    columns = pack.tables.get(given.table, {})
    for name, cell in given.row.items():
        if name not in columns:
            known = listed(columns)
            yield ("given",), f"is given column {name!r}, which table {given.table!r} has not; it has {known}"
        if cell.param is not None and cell.param not in tool.properties:
            yield ("given",), f"has no parameter {cell.param!r}; it has {listed(tool.properties)}"
        if cell.slot is not None and cell.slot not in pack.slots:
            yield ("given",), f"is given a value of slot {cell.slot!r}, which is not there; add it under slots"


def _tables(pack: Pack) -> Placed:
    names: dict[str, str] = {}
    for table, columns in pack.tables.items():
        if table.lower().startswith("sqlite_"):
            yield ("tables", table), f"table {table!r} has a name that SQLite keeps for itself; rename it"
        if (twin := names.setdefault(table.lower(), table)) != table:
            yield (
                ("tables", table),
                f"tables {twin!r} and {table!r} differ in case alone, which SQLite does not see; rename one",
            )
        if len({column.lower() for column in columns}) < len(columns):
            yield ("tables", table), f"table {table!r} has columns that differ in case alone; rename one"
        for column in columns:
            if column.lower() == "id":
                place = ("tables", table, column)
                yield place, f"table {table!r} has a column {column!r}; every table has an id of its own, take it out"


def _slots(pack: Pack) -> Placed:
    known: dict[str, str] = {}
    free = [(name, slot) for name, slot in pack.slots.items() if slot.free]
    for name, slot in free:
        for _, words in _words(slot):
            known.update((plain(word.say), name) for word in words.train)
    for name, slot in free:
        for key, words in _words(slot):
            for word in words.test:
                if plain(word.say) in known:
                    twin = f"slot {known[plain(word.say)]!r} in train"
                    yield ("slots", name, key), f"slot {name!r} has {word.say!r} in test, {twin}; keep it in one"
    for name, slot in pack.slots.items():
        place = ("slots", name, "list")
        if slot.list and slot.list not in pack.slots:
            yield place, f"slot {name!r} lists {slot.list!r}, which is no slot; add it under slots"
        elif slot.list and pack.slots[slot.list].list:
            yield place, f"slot {name!r} lists {slot.list!r}, which is a list itself; name another"
        yield from _object(pack, name, slot)


def _object(pack: Pack, name: str, slot: Slot) -> Placed:
    place = ("slots", name, "object")
    for part in (slot.object or {}).values():
        inner = pack.slots.get(part)
        if inner is None:
            yield place, f"slot {name!r} has a part from slot {part!r}, which is no slot; add it under slots"
        elif inner.object is not None or (inner.list and getattr(pack.slots.get(inner.list), "object", None)):
            yield place, f"slot {name!r} has a part from slot {part!r}, which holds objects itself; name another"
    for language in Language:
        for text in slot.say[language] if slot.say else ():
            for strange in _strange(text, slot.object or {}):
                known = listed(slot.object or {})
                yield ("slots", name, "say"), f"slot {name!r} says {text!r}, which holds {strange!r}; it has {known}"


def _words(slot: Slot) -> list[tuple[str, Any]]:
    return [(key, words) for key, words in (("any", slot.any), ("zh-TW", slot.zh_tw), ("en", slot.en)) if words]
