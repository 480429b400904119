"""Values in Python's source: literals, and the members of an Enum. Read from the syntax tree, never evaluated.

literal(ast.parse("(1, 'a')", mode="eval").body)   ->  [1, "a"]
enum(["low", "high"])                              ->  {"type": "string", "enum": ["low", "high"]}
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from typing import Any


def last_name(node: ast.expr | None) -> str:
    """`Literal` of `Literal`, `typing.Literal`, `t.Literal`."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def literal(node: ast.expr | None) -> Any:
    """The value that a literal writes and JSON can hold; `ValueError` for anything else. Nothing is evaluated."""
    if node is None:
        raise ValueError("nothing stands there")
    value = ast.literal_eval(node)
    json.dumps(value, allow_nan=False)  # TypeError: a set, bytes
    return list(value) if isinstance(value, tuple) else value


def enum(values: list[Any]) -> dict[str, Any]:
    """An enum, with its type where all values are of one."""
    kinds = {"bool": "boolean", "int": "integer", "float": "number", "str": "string"}
    found = {kinds.get(type(value).__name__, "") for value in values}
    kind = found.pop() if len(found) == 1 else ""
    return {**({"type": kind} if kind else {}), "enum": values}


def members(known: ast.ClassDef) -> Iterator[tuple[str, Any]]:
    """An Enum's names and values; `auto()` counts, in a StrEnum it is the name in lower case."""
    text = any(last_name(base) == "StrEnum" for base in known.bases)
    last = 0
    for line in known.body:
        if not (isinstance(line, ast.Assign) and len(line.targets) == 1 and isinstance(line.targets[0], ast.Name)):
            continue
        name = line.targets[0].id
        if name.startswith("_"):
            continue
        if isinstance(line.value, ast.Call) and last_name(line.value.func) == "auto":
            last += 1
            yield name, name.lower() if text else last
            continue
        try:
            value = literal(line.value)
        except (ValueError, TypeError):
            continue
        last = value if isinstance(value, int) else last
        yield name, value
