"""Classes of a Python file that stand for an object or for one of some values, as JSON Schema.

    @dataclass                              class Size(StrEnum):
    class Pizza:                                SMALL = "small"
        size: Size                              LARGE = "large"
        toppings: list[str] = field(default_factory=list)
      ->  {"type": "object", "properties": {"size": {"type": "string", "enum": […]}, …}, "required": ["size"], …}

A class is one of these by its bases or its decorator: dataclass, TypedDict, NamedTuple, pydantic's BaseModel, Enum.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from callwright.tool_sources.python_docs import documented
from callwright.tool_sources.python_types import Hints
from callwright.tool_sources.python_values import enum, last_name, literal, members

_OBJECTS = ("TypedDict", "NamedTuple", "BaseModel")
_ENUMS = ("Enum", "StrEnum", "IntEnum", "Flag", "IntFlag")


def hints_of(module: ast.Module) -> Hints:
    """The names of a file: its classes, and what it calls a type."""
    classes = {line.name: line for line in module.body if isinstance(line, ast.ClassDef)}
    aliases: dict[str, ast.expr] = {}
    for line in module.body:
        if isinstance(line, ast.Assign) and len(line.targets) == 1 and isinstance(line.targets[0], ast.Name):
            aliases[line.targets[0].id] = _aliased(line.value)
        elif isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and line.value:
            if last_name(line.annotation) == "TypeAlias":
                aliases[line.target.id] = line.value
        elif type(line).__name__ == "TypeAlias":  # type X = …, Python 3.12
            aliases[line.name.id] = line.value  # type: ignore[attr-defined]
    hints = Hints(classes, aliases, lambda known: _class_schema(known, hints))
    return hints


def _aliased(value: ast.expr) -> ast.expr:
    """`NewType("UserId", int)` is an int."""
    is_new = isinstance(value, ast.Call) and last_name(value.func) == "NewType" and len(value.args) == 2
    return value.args[1] if is_new and isinstance(value, ast.Call) else value


def _class_schema(known: ast.ClassDef, hints: Hints) -> dict[str, Any] | None:
    line = list(_line(known, hints))
    bases = {last_name(base) for each in line for base in each.bases}
    if bases & set(_ENUMS):
        values = [value for _, value in members(known)]
        return enum(values) if values else None
    is_data = any(last_name(_called(decorator)) == "dataclass" for each in line for decorator in each.decorator_list)
    return _object_schema(line, hints) if is_data or bases & set(_OBJECTS) else None


def _line(known: ast.ClassDef, hints: Hints) -> Iterator[ast.ClassDef]:
    """The class's bases in the file, then itself; a class that is its own base is no Python."""
    pending, seen = [known], [known.name]
    found = [known]
    while pending:
        for base in reversed(pending.pop().bases):
            other = hints.classes.get(last_name(base))
            if other and other.name not in seen:
                seen.append(other.name)
                found.insert(0, other)
                pending.append(other)
    yield from found


def _object_schema(line: list[ast.ClassDef], hints: Hints) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    required: dict[str, bool] = {}
    for each in line:
        said = documented(ast.get_docstring(each) or "").params
        partial = any(word.arg == "total" and _is_false(word.value) for word in each.keywords)
        for name, node, default in _fields(each):
            schema = hints.schema(node)
            is_required = default is None and not partial
            wrapper = last_name(node.value) if isinstance(node, ast.Subscript) else ""
            if wrapper in ("Required", "NotRequired"):
                is_required = wrapper == "Required"
            called, schema, is_required = with_default(name, schema, default, hints, is_required)
            if name in said and "description" not in schema:
                schema = {**schema, "description": said[name]}
            properties[called], required[called] = schema, is_required
    needed = [name for name, is_required in required.items() if is_required]
    found = {"type": "object", "properties": properties}
    return {**found, **({"required": needed} if needed else {}), "additionalProperties": False}


def _fields(known: ast.ClassDef) -> Iterator[tuple[str, ast.expr, ast.expr | None]]:
    for line in known.body:
        if not (isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)):
            continue
        name = line.target.id
        kind = last_name(line.annotation.value if isinstance(line.annotation, ast.Subscript) else line.annotation)
        if name.startswith("_") or kind == "ClassVar" or name == "model_config":
            continue
        yield name, line.annotation, line.value


def with_default(
    name: str, schema: dict[str, Any], default: ast.expr | None, hints: Hints, required: bool
) -> tuple[str, dict[str, Any], bool]:
    """Name, schema and whether it is required, after what stands behind `=`: a value, `Field(…)` or `field(…)`."""
    value = default
    if isinstance(default, ast.Call) and last_name(default.func) in ("Field", "field"):
        words = {word.arg: word.value for word in default.keywords}
        schema = hints.annotated(schema, [default])
        value = words.get("default", default.args[0] if default.args else None)
        if isinstance(alias := words.get("alias"), ast.Constant):
            name = str(alias.value)
        given = value is not None and not (isinstance(value, ast.Constant) and value.value is ...)
        required = not given and "default_factory" not in words
        value = value if given else None
    if value is not None:
        try:
            found = hints.value(value)
        except (ValueError, TypeError):  # a call, a name: there is a default, and only running would tell it
            return name, schema, required
        if found is not None:
            schema = {**schema, "default": found}
    return name, schema, required


def _called(node: ast.expr) -> ast.expr:
    return node.func if isinstance(node, ast.Call) else node


def _is_false(node: ast.expr) -> bool:
    try:
        return literal(node) is False
    except (ValueError, TypeError):
        return False
