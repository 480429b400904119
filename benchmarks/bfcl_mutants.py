"""BFCL's own right answers, and answers that differ from them in one known way: to hold two checkers against each other

first_values(gold, tools)                ->  (Call("math.hypot", {"x": 4.0, "y": 5.0}),)
mutants(calls, tools, Random(7))         ->  [("an integer where a float is right", (Call(…, {"x": 4, "y": 5.0}),)), …]
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any

from callwright.records import Call, Tool

Calls = tuple[Call, ...]
Path = tuple[str | int, ...]
_OUT = object()
"""Stands for a value that is left out."""


def first_values(gold: Sequence[Mapping[str, Any]], tools: Mapping[str, Tool]) -> Calls:
    """The first right value of each parameter; left out where the first is "", but for required ones."""
    calls = []
    for one in gold:
        ((name, given),) = one.items()
        params = {}
        for key, values in given.items():
            value = _first(values)
            if value is not _OUT:
                params[key] = value
            elif key in tools[name].required:
                params[key] = next((_made(value) for value in values if value != ""), "")
        calls.append(Call(name, params))
    return tuple(calls)


def _first(values: Sequence[Any]) -> Any:
    if not values:
        return []  # two entries have parameters that nothing is right for
    return _OUT if values[0] == "" else _made(values[0])


def _made(value: Any) -> Any:
    """A value of a list of right ones: in an object each key has such a list again."""
    if isinstance(value, dict):
        made = {key: _first(some) if isinstance(some, list) else some for key, some in value.items()}
        return {key: one for key, one in made.items() if one is not _OUT}
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return [_made(item) for item in value]
    return value


def other_right(
    calls: Calls, gold: Sequence[Mapping[str, Any]], tools: Mapping[str, Tool], rng: Random
) -> Calls | None:
    """With another of the right values in one place; `calls` are `first_values` of `gold`."""
    places = [
        (i, name, _made(value))
        for i, one in enumerate(gold)
        for name, values in one[calls[i].tool].items()
        for value in values[1:]
        if value != "" and name in tools[calls[i].tool].properties
    ]
    if not places:
        return None
    i, name, value = rng.choice(places)
    return (*calls[:i], Call(calls[i].tool, {**calls[i].params, name: value}), *calls[i + 1 :])


# Where a mutant differs


def _leaves(value: Any, schema: Any, path: Path = ()) -> Iterator[tuple[Path, Any, Mapping[str, Any]]]:
    """Every value inside params with its path and schema, containers too."""
    known = schema if isinstance(schema, Mapping) else {}
    if path:
        yield path, value, known
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, known.get("properties", {}).get(key), (*path, key))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _leaves(inner, known.get("items"), (*path, i))


def _with(value: Any, path: Path, new: Any) -> Any:
    if not path:
        return new
    if isinstance(value, Mapping):
        inner = _with(value.get(str(path[0])), path[1:], new)
        return {k: v for k, v in {**value, path[0]: inner}.items() if v is not _OUT}
    return [_with(v, path[1:], new) if i == path[0] else v for i, v in enumerate(value)]


class _Mutator:
    def __init__(self, calls: Calls, tools: Mapping[str, Tool], rng: Random) -> None:
        self.calls, self.tools, self.rng = calls, tools, rng

    def at_leaf(
        self,
        change: Callable[[Any, Mapping[str, Any]], Any],
        where: Callable[[Path, Mapping[str, Any]], bool] = lambda *_: True,
    ) -> Calls | None:
        """Calls with one value changed, drawn from those that `change` makes another of; None where it changes none."""
        made = [
            (i, path, new)
            for i, call in enumerate(self.calls)
            for path, value, schema in _leaves(call.params, self.tools[call.tool].parameters)
            if where(path, schema) and ((new := change(value, schema)) is _OUT or json.dumps(new) != json.dumps(value))
        ]
        if not made:
            return None
        i, path, new = self.rng.choice(made)
        return self.replaced(i, Call(self.calls[i].tool, _with(self.calls[i].params, path, new)))

    def replaced(self, i: int, *new: Call) -> Calls:
        return (*self.calls[:i], *new, *self.calls[i + 1 :])


def _text(change: Callable[[str], str], enums: bool | None = False) -> Callable[[_Mutator], Calls | None]:
    """Change a text that has no enum (`enums` True: one that has)."""

    def mutate(m: _Mutator) -> Calls | None:
        return m.at_leaf(
            lambda value, _: change(value) if isinstance(value, str) and value else value,
            lambda _, schema: enums is None or ("enum" in schema) is enums,
        )

    return mutate


def _number(change: Callable[[Any], Any], kind: type, deep: bool) -> Callable[[_Mutator], Calls | None]:
    def mutate(m: _Mutator) -> Calls | None:
        return m.at_leaf(
            lambda value, _: change(value) if type(value) is kind else value, lambda path, _: (len(path) > 1) is deep
        )

    return mutate


def _top(path: Path, _: Mapping[str, Any]) -> bool:
    return len(path) == 1


def _required(m: _Mutator) -> Calls | None:
    places = [
        (i, name) for i, call in enumerate(m.calls) for name in m.tools[call.tool].required if name in call.params
    ]
    return _without(m, places)


def _optional(m: _Mutator) -> Calls | None:
    places = [(i, n) for i, call in enumerate(m.calls) for n in call.params if n not in m.tools[call.tool].required]
    return _without(m, places)


def _without(m: _Mutator, places: Sequence[tuple[int, str]]) -> Calls | None:
    if not places:
        return None
    i, name = m.rng.choice(places)
    params = {key: value for key, value in m.calls[i].params.items() if key != name}
    return m.replaced(i, Call(m.calls[i].tool, params))


def _given(of: Callable[[Mapping[str, Any]], Any]) -> Callable[[_Mutator], Calls | None]:
    """Give a parameter that was left out what `of` makes of its schema."""

    def mutate(m: _Mutator) -> Calls | None:
        places = [
            (i, name, value)
            for i, call in enumerate(m.calls)
            for name, schema in m.tools[call.tool].properties.items()
            if name not in call.params and (value := of(schema)) is not _OUT
        ]
        if not places:
            return None
        i, name, value = m.rng.choice(places)
        return m.replaced(i, Call(m.calls[i].tool, {**m.calls[i].params, name: value}))

    return mutate


def _other_function(m: _Mutator) -> Calls | None:
    i = m.rng.randrange(len(m.calls))
    others = [name for name in m.tools if name != m.calls[i].tool] or ["no_such_function"]
    return m.replaced(i, Call(m.rng.choice(others), m.calls[i].params))


def _renamed(change: Callable[[str], str]) -> Callable[[_Mutator], Calls | None]:
    def mutate(m: _Mutator) -> Calls | None:
        found = [i for i, call in enumerate(m.calls) if change(call.tool) != call.tool]
        i = m.rng.choice(found) if found else None
        return None if i is None else m.replaced(i, Call(change(m.calls[i].tool), m.calls[i].params))

    return mutate


def _param_renamed(m: _Mutator) -> Calls | None:
    places = [(i, name) for i, call in enumerate(m.calls) for name in call.params]
    if not places:
        return None
    i, name = m.rng.choice(places)
    params = {f"{key}_value" if key == name else key: value for key, value in m.calls[i].params.items()}
    return m.replaced(i, Call(m.calls[i].tool, params))


def _key_added(m: _Mutator) -> Calls | None:
    return m.at_leaf(lambda value, _: {**value, "note": "x"} if isinstance(value, Mapping) else value)


def _key_dropped(m: _Mutator) -> Calls | None:
    return m.at_leaf(lambda value, _: dict(list(value.items())[1:]) if isinstance(value, Mapping) and value else value)


def _reversed(m: _Mutator) -> Calls | None:
    return m.calls[::-1] if len(m.calls) > 1 and m.calls[::-1] != m.calls else None


def _dropped(m: _Mutator) -> Calls | None:
    return m.replaced(m.rng.randrange(len(m.calls))) if len(m.calls) > 1 else None


def _doubled(m: _Mutator) -> Calls | None:
    i = m.rng.randrange(len(m.calls))
    return m.replaced(i, m.calls[i], m.calls[i])


def _one_for_all(m: _Mutator) -> Calls | None:
    """The first call as often as there are calls."""
    return (m.calls[0],) * len(m.calls) if len(m.calls) > 1 and m.calls[1] != m.calls[0] else None


def _clock(text: str) -> str:
    """17:30 as 5:30pm."""
    found = re.fullmatch(r"(\d\d):(\d\d)", text)
    if not found or int(found[1]) > 23:
        return text
    hour = int(found[1])
    return f"{(hour + 11) % 12 + 1}:{found[2]}{'am' if hour < 12 else 'pm'}"


def _other_script(text: str) -> str:
    return text.replace("台", "臺") if "台" in text else text.replace("臺", "台")


_WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}


WAYS: Mapping[str, Callable[[_Mutator], Calls | None]] = {
    "another text": _text(lambda text: f"{text} zzz", enums=None),
    "another integer": _number(lambda n: n + 1, int, deep=False),
    "another float": _number(lambda n: n + 0.5, float, deep=False),
    "the other boolean": lambda m: m.at_leaf(lambda v, _: not v if isinstance(v, bool) else v),
    "upper case": _text(str.upper),
    "upper case, enum": _text(str.upper, enums=True),
    "a full stop at the end": _text(lambda text: f"{text}."),
    "a point inside a number": _text(lambda text: re.sub(r"(\d)(\d)", r"\1.\2", text, count=1)),
    "a hyphen for a space": _text(lambda text: text.replace(" ", "-") if "-" not in text else text),
    "spaces left out": _text(lambda text: text.replace(" ", "")),
    "commas left out": _text(lambda text: text.replace(",", "")),
    "two spaces for one": _text(lambda text: text.replace(" ", "  ")),
    "a minus left out": _text(lambda text: re.sub(r"-(?=\d)", "", text)),
    "slashes left out": _text(lambda text: text.replace("/", "")),
    "double quotes for single": _text(lambda text: text.replace("'", '"')),
    "quotes around": _text(lambda text: f'"{text}"'),
    "full-width letters": _text(lambda text: text.translate(_WIDE)),
    "臺 for 台": _text(_other_script),
    "another spelling of a time": _text(_clock),
    "empty text": _text(lambda _: "", enums=None),
    "a number as text": lambda m: m.at_leaf(
        lambda v, _: str(v) if isinstance(v, int | float) and not isinstance(v, bool) else v
    ),
    "a text as a number": _text(lambda text: float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else text),  # type: ignore[arg-type, return-value]
    "a boolean as text": lambda m: m.at_leaf(lambda v, _: str(v).lower() if isinstance(v, bool) else v),
    "a boolean as a number": lambda m: m.at_leaf(lambda v, _: int(v) if isinstance(v, bool) else v),
    "an integer for a float": _number(lambda n: int(n) if n.is_integer() else n, float, deep=False),
    "an integer for a float, inside": _number(lambda n: int(n) if n.is_integer() else n, float, deep=True),
    "a float for an integer": _number(float, int, deep=False),
    "a float for an integer, inside": _number(float, int, deep=True),
    "one for true": _number(lambda n: True if n == 1 else n, int, deep=False),
    "null": lambda m: m.at_leaf(lambda *_: None, _top),
    "a list around": lambda m: m.at_leaf(lambda v, _: v if isinstance(v, list) else [v], _top),
    "the only item for its list": lambda m: m.at_leaf(lambda v, _: v[0] if isinstance(v, list) and len(v) == 1 else v),
    "a list in reverse": lambda m: m.at_leaf(lambda v, _: v[::-1] if isinstance(v, list) else v),
    "an item more": lambda m: m.at_leaf(lambda v, _: [*v, v[-1]] if isinstance(v, list) and v else v),
    "a key more in an object": _key_added,
    "a key less in an object": _key_dropped,
    "a required parameter left out": _required,
    "another parameter left out": _optional,
    "the default given": _given(lambda schema: schema.get("default", _OUT)),
    "null given": _given(lambda _: None),
    "an empty text given": _given(lambda schema: "" if schema.get("type") == "string" else _OUT),
    "an unknown parameter": lambda m: m.replaced(0, Call(m.calls[0].tool, {**m.calls[0].params, "verbose": True})),
    "a parameter renamed": _param_renamed,
    "another function": _other_function,
    "underscores for dots": _renamed(lambda name: name.replace(".", "_")),
    "a function in upper case": _renamed(str.upper),
    "calls in reverse": _reversed,
    "a call left out": _dropped,
    "a call twice": _doubled,
    "one call for all": _one_for_all,
}


def mutants(calls: Calls, tools: Mapping[str, Tool], rng: Random) -> Iterator[tuple[str, Calls]]:
    """One for each way in which these calls can be changed."""
    mutator = _Mutator(calls, tools, rng)
    for way, mutate in WAYS.items():
        if made := mutate(mutator):
            yield way, made
