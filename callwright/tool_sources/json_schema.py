"""Schemas of a document, made to stand for themselves.

    Schemas(document, openapi_30).whole({"$ref": "#/components/schemas/Pet", …})
      ->  {"type": "object", "properties": {…}, "$defs": {…}}

A reference is replaced by what it refers to, so that a reader (and a model) sees it in its place. What refers to
itself, or would make a schema huge, goes into `$defs`. A reference that leaves the document is a `BadReference`:
nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

Change = Callable[[dict[str, Any]], dict[str, Any]]
"""What a dialect's keywords are in 2020-12, for one schema without the schemas in it."""

_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_ONES = (
    *("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"),
    *("unevaluatedItems", "unevaluatedProperties", "contentSchema"),
)
REMARKS = ("title", "description", "default", "deprecated", "examples", "readOnly", "writeOnly", "$comment")
"""Keywords that say something and forbid nothing: beside a reference they replace those of its target."""

INLINED = 200
"""Keywords and values of a schema that is still put in the place of a reference."""


class BadReference(ValueError):
    """A `$ref` that leads nowhere; the sentence names it."""


class Schemas:
    """The schemas of one document."""

    def __init__(self, document: Any, change: Change = dict) -> None:
        self._document = document
        self._change = change
        self._named: dict[str, str] = {}
        """References that are not inlined, with their names in `$defs`."""
        self._expanded: dict[str, tuple[Any, int]] = {}

    def whole(self, schema: Any) -> Any:
        """A copy that refers to nothing outside itself."""
        if not isinstance(schema, dict):
            return schema
        while True:
            before = len(self._named)
            self._expanded.clear()
            used: list[str] = []
            found = self._expand(schema, (), used)
            definitions: dict[str, Any] = {}
            while pending := [ref for ref in used if self._named[ref] not in definitions]:
                target = self.target(pending[0])
                definitions[self._named[pending[0]]] = self._expand(target, (pending[0],), used)
            if len(self._named) == before:  # else begin again: some were inlined before they were named
                return {**found, "$defs": definitions} if definitions else found

    def target(self, ref: str) -> Any:
        """What a reference inside of the document refers to, through references that are nothing else."""
        seen = [ref]
        while True:
            value = self._at(ref)
            if not isinstance(value, dict) or not isinstance(value.get("$ref"), str) or len(value) > 1:
                return value
            ref = value["$ref"]
            if ref in seen:
                raise BadReference(f"{ref!r} refers to itself and to nothing else")
            seen.append(ref)

    def _at(self, ref: str) -> Any:
        if not ref.startswith("#"):
            raise BadReference(f"{ref!r} lies outside the document, and nothing is fetched; put it into the document")
        value = self._document
        for part in ref.removeprefix("#").split("/")[1:]:
            key = unquote(part).replace("~1", "/").replace("~0", "~")
            if isinstance(value, dict) and key in value:
                value = value[key]
            elif isinstance(value, list) and key.isdigit() and int(key) < len(value):
                value = value[int(key)]
            else:
                raise BadReference(f"{ref!r} refers to what is not in the document")
        return value

    def _expand(self, schema: Any, within: tuple[str, ...], used: list[str]) -> Any:
        """The schema with its references replaced; `within`: those being replaced; `used` gains those left standing."""
        if not isinstance(schema, dict):
            return schema
        changed = self._change(schema)
        ref = changed.pop("$ref", None) if isinstance(changed.get("$ref"), str) else None
        changed.pop("$defs", None)
        changed.pop("definitions", None)
        rest = with_inner(changed, lambda inner: self._expand(inner, within, used))
        if ref is None:
            return rest
        if ref in within and ref not in self._named:
            self._name(ref)
        if ref not in self._named:
            if ref not in self._expanded:
                target = self._expand(self.target(ref), (*within, ref), used)
                self._expanded[ref] = target, _size(target)
                if self._expanded[ref][1] > INLINED and ref not in self._named:
                    self._name(ref)
            return _beside(self._expanded[ref][0], rest)
        used.append(ref)
        return {"$ref": f"#/$defs/{self._named[ref]}", **rest}

    def _name(self, ref: str) -> None:
        base = unquote(ref.rsplit("/", maxsplit=1)[-1]).replace("~1", "_").replace("~0", "_").strip("#") or "root"
        base = "".join(letter if letter.isalnum() else "_" for letter in base)
        name, number = base, 2
        while name in self._named.values():
            name, number = f"{base}_{number}", number + 1
        self._named[ref] = name


def with_inner(schema: dict[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """A copy whose schemas, one level down, are changed. Names of properties and values of enums are no schemas."""
    found = dict(schema)
    for key in _MAPS:
        if isinstance(found.get(key), dict):
            found[key] = {name: change(inner) for name, inner in found[key].items()}
    for key in _LISTS:
        if isinstance(found.get(key), list):
            found[key] = [change(inner) for inner in found[key]]
    for key in _ONES:
        if isinstance(found.get(key), dict):
            found[key] = change(found[key])
    return found


def inner_schemas(schema: Any) -> Iterator[dict[str, Any]]:
    """The schema and all in it."""
    if not isinstance(schema, dict):
        return
    yield schema
    inner: list[Any] = []
    with_inner(schema, inner.append)
    for found in inner:
        yield from inner_schemas(found)


def _beside(target: Any, rest: dict[str, Any]) -> Any:
    """What a reference and the keywords beside it mean together."""
    if not rest:
        return target
    if isinstance(target, dict) and (rest.keys() <= set(REMARKS) or not rest.keys() & target.keys()):
        return {**target, **rest}
    return {"allOf": [target], **rest}


def _size(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(map(_size, value.values()))
    return 1 + sum(map(_size, value)) if isinstance(value, list) else 1
