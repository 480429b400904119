"""Python type hints as JSON Schema, from the source's syntax tree alone.

    int                                     {"type": "integer"}
    Literal["low", "high"] | None           {"enum": ["low", "high", None]}
    Annotated[int, Field(ge=1, le=9)]       {"type": "integer", "minimum": 1, "maximum": 9}
    list[Pizza], a dataclass, TypedDict, NamedTuple, pydantic model or Enum of the same file: its own schema

A type that the file does not hold says nothing ({}), and `strange` names it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from callwright.tool_sources.python_values import enum, last_name, literal, members

SIMPLE: dict[str, dict[str, Any]] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "None": {"type": "null"},
    "NoneType": {"type": "null"},
    "Any": {},
    "object": {},
    "bytes": {"type": "string"},
    "complex": {"type": "string"},
    "Decimal": {"type": "number"},
    "date": {"type": "string", "format": "date"},
    "datetime": {"type": "string", "format": "date-time"},
    "time": {"type": "string", "format": "time"},
    "timedelta": {"type": "string", "format": "duration"},
    "UUID": {"type": "string", "format": "uuid"},
    "Path": {"type": "string"},
    "EmailStr": {"type": "string", "format": "email"},
    "HttpUrl": {"type": "string", "format": "uri"},
    "AnyUrl": {"type": "string", "format": "uri"},
    "PositiveInt": {"type": "integer", "exclusiveMinimum": 0},
    "NonNegativeInt": {"type": "integer", "minimum": 0},
    "PositiveFloat": {"type": "number", "exclusiveMinimum": 0},
    "NonNegativeFloat": {"type": "number", "minimum": 0},
}
_LISTS = ("list", "List", "Sequence", "MutableSequence", "Iterable", "Collection", "deque")
_SETS = ("set", "Set", "frozenset", "FrozenSet", "AbstractSet", "MutableSet")
_MAPS = ("dict", "Dict", "Mapping", "MutableMapping", "OrderedDict", "defaultdict")
_WRAPPERS = ("Required", "NotRequired", "ReadOnly", "Final", "ClassVar", "InitVar")
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
_SINGLE_BOUNDS = {
    "Ge": "ge",
    "Gt": "gt",
    "Le": "le",
    "Lt": "lt",
    "MultipleOf": "multiple_of",
    "MinLen": "min_length",
    "MaxLen": "max_length",
}

ClassSchema = Callable[[ast.ClassDef], dict[str, Any] | None]


@dataclass(slots=True)
class Hints:
    """Schemas of type hints, in the names of one file."""

    classes: dict[str, ast.ClassDef]
    aliases: dict[str, ast.expr]
    """Names that stand for a type: `Size = Literal["S", "M"]`."""
    class_schema: ClassSchema
    strange: list[str] = field(default_factory=list)
    """Types that the file does not hold, as they are written."""
    definitions: dict[str, Any] = field(default_factory=dict)
    _within: list[str] = field(default_factory=list)
    _recursive: set[str] = field(default_factory=set)

    def schema(self, node: ast.expr | None) -> dict[str, Any]:
        if node is None:
            return {}
        if isinstance(node, ast.Constant):
            return self._constant(node)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return _union([self.schema(node.left), self.schema(node.right)])
        if isinstance(node, ast.Subscript):
            return self._subscript(node)
        name = last_name(node)
        if name in self.classes:
            return self._class(name, node)
        if name in self.aliases and name not in self._within:
            self._within.append(name)
            found = self.schema(self.aliases[name])
            self._within.pop()
            return found
        if name in SIMPLE:
            return dict(SIMPLE[name])
        if name in (*_LISTS, "tuple", "Tuple"):
            return {"type": "array"}
        if name in _SETS:
            return {"type": "array", "uniqueItems": True}
        return {"type": "object"} if name in _MAPS else self._unknown(node)

    def _constant(self, node: ast.Constant) -> dict[str, Any]:
        if node.value is None:
            return {"type": "null"}
        if isinstance(node.value, str):  # a name that is defined later
            try:
                return self.schema(ast.parse(node.value, mode="eval").body)
            except (SyntaxError, ValueError):
                pass
        return self._unknown(node)

    def _unknown(self, node: ast.expr) -> dict[str, Any]:
        self.strange.append(ast.unparse(node))
        return {}

    def _subscript(self, node: ast.Subscript) -> dict[str, Any]:
        name = last_name(node.value)
        inner = list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]
        if name == "Optional":
            return _union([self.schema(inner[0]), {"type": "null"}])
        if name == "Union":
            return _union([self.schema(item) for item in inner])
        if name == "Literal":
            return self._literal(node, inner)
        if name == "Annotated":
            return self.annotated(self.schema(inner[0]), inner[1:])
        if name in _WRAPPERS:
            return self.schema(inner[0])
        if name in _LISTS:
            return _array(self.schema(inner[0]))
        if name in _SETS:
            return {**_array(self.schema(inner[0])), "uniqueItems": True}
        if name in ("tuple", "Tuple"):
            if len(inner) == 2 and isinstance(inner[1], ast.Constant) and inner[1].value is ...:
                return _array(self.schema(inner[0]))
            items = [self.schema(item) for item in inner]
            return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
        if name in _MAPS:
            values = self.schema(inner[1]) if len(inner) == 2 else {}
            return {"type": "object", **({"additionalProperties": values} if values else {})}
        return self._unknown(node)

    def _literal(self, node: ast.Subscript, inner: list[ast.expr]) -> dict[str, Any]:
        values: list[Any] = []
        for item in inner:
            try:
                values.append(self.value(item))
            except (ValueError, TypeError):
                return self._unknown(node)
        return enum(values)

    def value(self, node: ast.expr | None) -> Any:
        """A literal's value, or that of a member of an Enum of the file: `Size.LARGE`."""
        if isinstance(node, ast.Attribute) and (known := self.classes.get(last_name(node.value))):
            values = dict(members(known))
            if node.attr in values:
                return values[node.attr]
        return literal(node)

    def _class(self, name: str, node: ast.expr) -> dict[str, Any]:
        if name in self._within:
            self._recursive.add(name)
            return {"$ref": f"#/$defs/{name}"}
        if name in self.definitions:
            return {"$ref": f"#/$defs/{name}"}
        self._within.append(name)
        found = self.class_schema(self.classes[name])
        self._within.pop()
        if found is None:
            return self._unknown(node)
        if name in self._recursive:
            self.definitions[name] = found
            return {"$ref": f"#/$defs/{name}"}
        return found

    def annotated(self, schema: dict[str, Any], remarks: list[ast.expr]) -> dict[str, Any]:
        """The schema with what `Annotated` says beside it: a text or `Doc`, pydantic's `Field`, annotated_types."""
        found = dict(schema)
        for remark in remarks:
            if isinstance(remark, ast.Constant) and isinstance(remark.value, str):
                found["description"] = " ".join(remark.value.split())
            elif isinstance(remark, ast.Call):
                found.update(_constraints(remark, found))
        return found


def _constraints(call: ast.Call, schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """What a call beside a type demands: `Field(ge=1, description="…")`, `Ge(1)`, `Len(1, 5)`, `Doc("…")`."""
    name = last_name(call.func)
    given = {word.arg: word.value for word in call.keywords if word.arg}
    if name in _SINGLE_BOUNDS and call.args:
        given[_SINGLE_BOUNDS[name]] = call.args[0]
    elif name == "Len":
        given.update(zip(("min_length", "max_length"), call.args, strict=False))
    elif name == "Doc" and call.args:
        given["description"] = call.args[0]
    array, text = "array" in _types(schema), "string" in _types(schema)
    for key, node in given.items():
        try:
            value = literal(node)
        except (ValueError, TypeError):
            continue
        if key in _BOUNDS or key == "multiple_of":
            yield _BOUNDS.get(key, "multipleOf"), value
        elif key in ("min_length", "max_length", "min_items", "max_items") and (array or text):
            yield key[:3] + ("Items" if array else "Length"), value
        elif key in ("pattern", "regex"):
            yield "pattern", value
        elif key == "description":
            yield "description", " ".join(str(value).split())


def _types(schema: dict[str, Any]) -> list[str]:
    kind = schema.get("type", [])
    return kind if isinstance(kind, list) else [kind]


def _array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", **({"items": items} if items else {})}


def _union(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """`int | str`, `X | None`: a list of types where that says it all, else `anyOf`."""
    flat = [inner for part in parts for inner in (part["anyOf"] if list(part) == ["anyOf"] else [part])]
    if {} in flat:
        return {}
    null = {"type": "null"}
    if all(list(part) == ["type"] for part in flat):
        kinds = list(dict.fromkeys(kind for part in flat for kind in _types(part)))
        return {"type": kinds if len(kinds) > 1 else kinds[0]}
    rest = [part for part in flat if part != null]
    if len(rest) == 1 and len(flat) > 1:
        only = rest[0]
        if isinstance(only.get("enum"), list):
            return {**only, **_with_null(only), "enum": [*only["enum"], None]}
        if isinstance(only.get("type"), str) and "anyOf" not in only:
            return {**only, **_with_null(only)}
    return {"anyOf": flat}


def _with_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": [*_types(schema), "null"]} if "type" in schema else {}
