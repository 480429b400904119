"""Functions of a Python file: hints and docstrings become schemas, and nothing of the file is run."""

from __future__ import annotations

import importlib.util
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter

from callwright.faults import Fault
from callwright.records import Call, Tool
from callwright.schemas import schema_fault, tool_fault
from callwright.tool_sources.found import Item, Note
from callwright.tool_sources.python_functions import read_python

HEAD = """
from __future__ import annotations
import datetime as dt
import enum
import typing as t
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import Enum, StrEnum, auto
from typing import *
from uuid import UUID
from pydantic import BaseModel, Field
"""


def read(code: str) -> list[Item]:
    return list(read_python((HEAD + textwrap.dedent(code)).encode(), "tools.py"))


def tools(code: str) -> list[Tool]:
    return [item for item in read(code) if isinstance(item, Tool)]


def hint(text: str, before: str = "") -> dict[str, Any]:
    """The schema of a parameter with that hint."""
    [tool] = tools(f"{before}\ndef f(x: {text}): 'F.'")
    assert tool_fault(tool) is None
    schema: dict[str, Any] = tool.parameters["properties"]["x"]
    return schema


@pytest.mark.parametrize(
    ("text", "schema"),
    [
        ("int", {"type": "integer"}),
        ("float", {"type": "number"}),
        ("Decimal", {"type": "number"}),
        ("Any", {}),
        ("date", {"type": "string", "format": "date"}),
        ("dt.datetime", {"type": "string", "format": "date-time"}),
        ("UUID", {"type": "string", "format": "uuid"}),
        ("'int'", {"type": "integer"}),
        ("list[str]", {"type": "array", "items": {"type": "string"}}),
        ("t.Sequence[int]", {"type": "array", "items": {"type": "integer"}}),
        ("set[int]", {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}),
        ("tuple[int, ...]", {"type": "array", "items": {"type": "integer"}}),
        (
            "tuple[int, str]",
            {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "minItems": 2, "maxItems": 2},
        ),
        ("dict[str, float]", {"type": "object", "additionalProperties": {"type": "number"}}),
        ("dict", {"type": "object"}),
        ("int | None", {"type": ["integer", "null"]}),
        ("Optional[list[int]]", {"type": ["array", "null"], "items": {"type": "integer"}}),
        ("Union[int, str]", {"type": ["integer", "string"]}),
        ("int | list[int]", {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]}),
        ("int | Any", {}),
        ("Literal['a', 'b']", {"type": "string", "enum": ["a", "b"]}),
        ("Literal['a', 1]", {"enum": ["a", 1]}),
        ("Literal['a'] | None", {"type": ["string", "null"], "enum": ["a", None]}),
        ("t.Annotated[int, 'how  many']", {"type": "integer", "description": "how many"}),
        (
            "Annotated[int, Field(ge=1, lt=9, multiple_of=2, description='n')]",
            {"type": "integer", "minimum": 1, "exclusiveMaximum": 9, "multipleOf": 2, "description": "n"},
        ),
        (
            "Annotated[list[str], Field(min_length=1, max_length=3)]",
            {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 3},
        ),
        (
            "Annotated[str, Field(min_length=1, pattern='^a')]",
            {"type": "string", "minLength": 1, "pattern": "^a"},
        ),
        ("Annotated[int, Ge(1), Le(5)]", {"type": "integer", "minimum": 1, "maximum": 5}),
    ],
)
def test_a_hint_is_a_schema(text: str, schema: dict[str, Any]) -> None:
    assert hint(text) == schema


CLASSES = """
class Size(StrEnum):
    SMALL = "small"
    LARGE = auto()
class Level(enum.Enum):
    LOW = 1
    HIGH = auto()
Mode = Literal["fast", "slow"]
UserId = NewType("UserId", int)
@dataclass
class Topping:
    name: str
    grams: int = 20
    tags: list[str] = field(default_factory=list)
@dataclass(eq=False)
class Special(Topping):
    price: float = 1.5
class Where(TypedDict, total=False):
    city: Required[str]
    zip: str
class Point(NamedTuple):
    x: int
    y: int = 0
class Order(BaseModel):
    size: Size = Size.SMALL
    first: Topping
    count: int = Field(1, ge=1, description="how many")
    note: str | None = Field(default=None, alias="remark")
    _hidden: int = 0
    limit: ClassVar[int] = 5
"""


@pytest.mark.parametrize(
    ("text", "schema"),
    [
        ("Size", {"type": "string", "enum": ["small", "large"]}),
        ("Level", {"type": "integer", "enum": [1, 2]}),
        ("Mode", {"type": "string", "enum": ["fast", "slow"]}),
        ("UserId", {"type": "integer"}),
        ("Literal[Size.LARGE]", {"type": "string", "enum": ["large"]}),
    ],
)
def test_enums_and_aliases_of_the_file_are_followed(text: str, schema: dict[str, Any]) -> None:
    assert hint(text, CLASSES) == schema


def test_fields_are_required_unless_they_have_a_default() -> None:
    special, where, order = (hint(name, CLASSES) for name in ("Special", "Where", "Order"))
    assert (list(special["properties"]), special["required"]) == (["name", "grams", "tags", "price"], ["name"])
    assert special["properties"]["price"] == {"type": "number", "default": 1.5}
    assert (list(where["properties"]), where["required"]) == (["city", "zip"], ["city"])
    assert (list(order["properties"]), order["required"]) == (["size", "first", "count", "remark"], ["first"])
    assert order["properties"]["count"] == {"type": "integer", "minimum": 1, "description": "how many", "default": 1}
    assert order["properties"]["size"]["default"] == "small"
    assert hint("Point", CLASSES)["required"] == ["x"]


VALUES: list[Any] = [
    *({"name": "cheese"}, {"name": "cheese", "grams": 5, "tags": ["a"]}, {"name": 5}, {"name": "x", "price": 2}),
    *({"city": "台北"}, {"zip": "100"}, {"zip": 100, "city": "x"}),
    *({"first": {"name": "x"}, "count": 2, "remark": "r"}, {"first": {"name": "x"}, "count": 0}, {"first": {}}),
    *({"first": {"name": "x"}, "size": "large"}, {"first": {"name": "x"}, "size": "huge"}),
    *("small", "tiny", 2, 3, {}, None),
]


def imported(path: Path, code: str) -> Iterator[ModuleType]:
    path.write_text(code, "utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look themselves up there
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        del sys.modules[path.stem]


@pytest.fixture
def classes(tmp_path: Path) -> Iterator[ModuleType]:
    yield from imported(tmp_path / "their_classes.py", HEAD + "from typing_extensions import TypedDict\n" + CLASSES)


@pytest.mark.parametrize("name", ["Topping", "Where", "Order", "Special", "Size", "Level"])
def test_pydantic_which_runs_the_file_accepts_the_same_values(name: str, classes: ModuleType) -> None:
    theirs = TypeAdapter(getattr(classes, name)).json_schema()
    ours = hint(name, CLASSES)
    verdicts = set()
    for value in VALUES:
        if isinstance(value, dict) and not value.keys() <= theirs.get("properties", {}).keys():
            continue  # pydantic drops what a class does not name, a call must not hold it
        verdict = Draft202012Validator(theirs).is_valid(value)
        assert Draft202012Validator(ours).is_valid(value) is verdict, value
        verdicts.add(verdict)
    assert verdicts == {True, False}


def test_a_class_that_holds_itself_stays_a_reference() -> None:
    [tool] = tools("""
        class Node(BaseModel):
            value: int
            kids: list["Node"] = []
        def grow(tree: Node, other: Node | None = None): "Grow."
    """)
    assert tool.parameters["properties"]["tree"] == {"$ref": "#/$defs/Node"}
    assert schema_fault(Call("grow", {"tree": {"value": 1, "kids": [{"value": 2}]}}), tool) is None
    assert schema_fault(Call("grow", {"tree": {"value": 1, "kids": [{"value": "x"}]}}), tool) is not None


def test_what_has_a_default_is_optional() -> None:
    [tool] = tools("def f(a, /, b: int, c: str = 'x', *rest, d: bool, e: int = 1 + 1, f: float | None = None): 'F.'")
    assert tool.required == ("a", "b", "d")
    assert list(tool.properties) == ["a", "b", "c", "d", "e", "f"]
    assert tool.properties["c"] == {"type": "string", "default": "x"}
    assert tool.properties["e"] == {"type": "integer"}  # only running would tell its default
    assert tool.properties["f"] == {"type": ["number", "null"]}
    assert tool.parameters["additionalProperties"] is False


DOCS = {
    "google": """Book a room.

    More of it.

    Args:
        room (str): Which room,
            by its number.
        seats: 幾個人

    Returns:
        A number.
    """,
    "numpy": """Book a room.

    Parameters
    ----------
    room : str
        Which room,
        by its number.
    seats : int, optional
        幾個人
    """,
    "sphinx": """Book a room.

    :param room: Which room,
        by its number.
    :param int seats: 幾個人
    :returns: A number.
    """,
}


@pytest.mark.parametrize("style", DOCS)
def test_docstrings_of_each_style_say_the_same(style: str) -> None:
    [tool] = tools(f'def book(room: str, seats: int = 2) -> int:\n    """{DOCS[style]}"""')
    assert tool.description == "Book a room."
    assert [schema["description"] for schema in tool.properties.values()] == ["Which room, by its number.", "幾個人"]


def test_async_functions_are_tools_too() -> None:
    assert [tool.name for tool in tools("async def a(): 'A.'\ndef b(): 'B.'")] == ["a", "b"]


def test_what_is_passed_over_or_unknown_is_named() -> None:
    found = read("""
        import os
        def plain(x, *args, **more): ...
        def known(path: os.PathLike, other: Strange[int]): "K."
        def _private(): ...
        @overload
        def known(x: int): ...
        class Room:
            def book(self): ...
    """)
    assert [item for item in found if isinstance(item, Note)] == [
        Note("plain", "has parameters without a type (x); anything is allowed there"),
        Note("plain", "is without *args and **more: a call names its parameters"),
        Note("plain", "has no docstring; the pack has no description of it"),
        Note("known", "takes types that the file does not hold (os.PathLike, Strange[int]); anything is allowed there"),
        Note("", "passed over what is private or a method: _private, known, Room.book"),
    ]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"def f(:\n", "tools.py:1: not Python: invalid syntax"),
        (b"x = 1\n\ndef f():\nreturn", "tools.py:4: not Python: expected an indented block"),
        (b"x = '\0'", "tools.py"),
        (b"# coding: nonsense\n", "tools.py"),
        (b"x = " + b"(" * 5000 + b")" * 5000, "tools.py"),
    ],
)
def test_what_is_no_python_is_told_with_its_line(data: bytes, told: str) -> None:
    with pytest.raises(Fault) as raised:
        list(read_python(data, "tools.py"))
    assert str(raised.value).startswith(told)
    assert "not Python: " in str(raised.value)


def test_nothing_of_the_file_is_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    code = f"""
        open({str(mark)!r}, "w")
        def touch(): open({str(mark)!r}, "w")
        def f(x: touch() = touch(), y: "touch()" = [touch() for _ in "ab"], z: int = __import__("os").getpid()):
            "F."
        @touch()
        class A(touch(), metaclass=touch()):
            x: int = touch()
        def g(a: A = A()): "G."
    """
    assert [tool.name for tool in tools(code)] == ["touch", "f", "g"]
    assert not mark.exists()


# transformers makes schemas of functions that it imports


THEIRS = '''
from typing import Any, Literal, Optional, Union

def book_room(room: str, seats: int, beamer: bool = False, price: float = 1.5):
    """
    Book a room.

    Args:
        room: Which room
        seats: How many people sit there
        beamer: Whether a beamer is needed
        price: The price
    """

def invite(people: list[str], data: dict[str, int], kind: Literal["a", "b"] = "a", note: Optional[str] = None):
    """
    邀請別人。

    Args:
        people: 邀請的人
        data: 資料
        kind: 種類
        note: 備註
    """

def convert(value: Union[int, str], unit: str = "c", rest: Any = None, more: dict = {}, inner: list[list[int]] = []):
    """
    Convert a value.

    Args:
        value: The value
        unit: The unit (choices: ["c", "f"])
        rest: Anything
        more: More
        inner: Lists
    """

def nothing():
    """
    Do nothing.
    """
'''


def without_our_own(schema: dict[str, Any]) -> dict[str, Any]:
    """The common subset: no defaults, no additionalProperties; null as transformers writes it."""
    found = {
        key: value for key, value in schema.items() if key not in ("default", "additionalProperties", "properties")
    }
    if isinstance(schema.get("additionalProperties"), dict):
        found["additionalProperties"] = schema["additionalProperties"]
    if "properties" in schema:
        found["properties"] = {name: without_our_own(inner) for name, inner in schema["properties"].items()}
    if isinstance(found.get("type"), list) and "null" in found["type"]:
        [found["type"]] = [kind for kind in found["type"] if kind != "null"]
        found["nullable"] = True
    return found


@pytest.fixture
def functions(tmp_path: Path) -> Iterator[ModuleType]:
    yield from imported(tmp_path / "their_functions.py", THEIRS)


def test_transformers_makes_the_same_of_what_it_knows(functions: ModuleType) -> None:
    from transformers.utils import get_json_schema

    ours = [item for item in read_python(THEIRS.encode(), "theirs.py") if isinstance(item, Tool)]
    assert [tool.name for tool in ours] == ["book_room", "invite", "convert", "nothing"]
    for tool in ours:
        theirs = get_json_schema(getattr(functions, tool.name))["function"]
        assert {**tool.to_json(), "parameters": without_our_own(dict(tool.parameters))} == theirs
