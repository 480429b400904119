"""Functions of a Python file: each a tool, from its hints and docstring. The file is read and never imported or run.

    def book_room(seats: int, when: datetime, beamer: bool = False) -> str:
        \"\"\"Book a room.\"\"\"
      ->  Tool("book_room", "Book a room.", {"type": "object", "properties": {"seats": {"type": "integer"}, …},
                                             "required": ["seats", "when"], "additionalProperties": False})

Left out and named: private functions, methods, overloads. Not followed: imports; a type of another file says nothing.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from callwright.faults import Fault
from callwright.records import Tool
from callwright.tool_sources.found import Item, LeftOut, Note
from callwright.tool_sources.python_classes import hints_of, with_default
from callwright.tool_sources.python_docs import choices, documented
from callwright.tool_sources.python_types import Hints
from callwright.tool_sources.python_values import last_name

Function = ast.FunctionDef | ast.AsyncFunctionDef


def read_python(data: bytes, place: str) -> Iterator[Item]:
    """Each public function of the file as a tool, in its order. `Fault` where it is no Python."""
    try:
        module = ast.parse(data, filename=place)
    except SyntaxError as error:
        raise Fault(f"{place}:{error.lineno or 1}: not Python: {error.msg}; mend it there") from None
    except (ValueError, RecursionError, MemoryError) as error:  # a null byte; nested too deep
        raise Fault(f"{place}: not Python: {error or 'it nests too deep'}") from None
    passed: list[str] = []
    for line in module.body:
        if isinstance(line, ast.ClassDef):
            passed += [f"{line.name}.{inner.name}" for inner in line.body if isinstance(inner, Function)]
        elif isinstance(line, Function):
            if line.name.startswith("_") or any(last_name(mark) == "overload" for mark in line.decorator_list):
                passed.append(line.name)
            else:
                yield from _function(line, module)
    if passed:
        yield Note("", f"passed over what is private or a method: {', '.join(passed)}")


def _function(function: Function, module: ast.Module) -> Iterator[Item]:
    hints = hints_of(module)
    said = documented(ast.get_docstring(function) or "")
    try:
        parameters = _parameters(function, hints, said.params)
    except RecursionError:
        yield LeftOut(function.name, "has hints that nest too deep; make them flatter")
        return
    yield Tool(function.name, said.description, parameters)
    if hints.strange:
        names = ", ".join(dict.fromkeys(hints.strange))
        yield Note(function.name, f"takes types that the file does not hold ({names}); anything is allowed there")
    arguments = function.args
    bare = [each.arg for each in _named(arguments) if each.annotation is None]
    if bare:
        yield Note(function.name, f"has parameters without a type ({', '.join(bare)}); anything is allowed there")
    loose = [f"*{arguments.vararg.arg}"] if arguments.vararg else []
    loose += [f"**{arguments.kwarg.arg}"] if arguments.kwarg else []
    if loose:
        yield Note(function.name, f"is without {' and '.join(loose)}: a call names its parameters")
    if not said.description:
        yield Note(function.name, "has no docstring; the pack has no description of it")


def _named(arguments: ast.arguments) -> list[ast.arg]:
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]


def _parameters(function: Function, hints: Hints, said: dict[str, str]) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    required: list[str] = []
    for argument, default in _with_defaults(function.args):
        schema = hints.schema(argument.annotation)
        _, schema, is_required = with_default(argument.arg, schema, default, hints, required=default is None)
        described, values = choices(said.get(argument.arg, ""))
        if values is not None and "enum" not in schema:
            schema = {**schema, "enum": values}
        if described and "description" not in schema:
            schema = {**schema, "description": described}
        properties[argument.arg] = schema
        if is_required:
            required.append(argument.arg)
    return {
        "type": "object",
        "properties": properties,
        **({"required": required} if required else {}),
        "additionalProperties": False,
        **({"$defs": hints.definitions} if hints.definitions else {}),
    }


def _with_defaults(arguments: ast.arguments) -> Iterator[tuple[ast.arg, ast.expr | None]]:
    positional = [*arguments.posonlyargs, *arguments.args]
    bare = len(positional) - len(arguments.defaults)
    yield from zip(positional, (*[None] * bare, *arguments.defaults), strict=True)
    yield from zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
