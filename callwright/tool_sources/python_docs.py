"""What a docstring says of a function and its parameters: Google's, NumPy's and Sphinx's styles.

    "Book a room.\\n\\nArgs:\\n    seats: How many."  ->  Documented("Book a room.", {"seats": "How many."})

Choices are read as transformers writes them: `unit: The unit (choices: ["celsius", "fahrenheit"])`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

_CHOICES = re.compile(r"\(choices:\s*(\[.*?\])\s*\)\s*$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Documented:
    description: str
    params: dict[str, str]


def documented(docstring: str) -> Documented:
    """The first paragraph, and a line for each parameter; a docstring of no style is a first paragraph."""
    from docstring_parser import ParseError, parse

    try:
        found = parse(docstring)
    except (ParseError, ValueError, IndexError):
        return Documented(_line(docstring.strip().split("\n\n")[0]), {})
    params = {
        name.strip().lstrip("*"): _line(param.description)
        for param in found.params
        if param.description
        for name in param.arg_name.split(",")  # NumPy: `x, y : int`
    }
    return Documented(_line(found.short_description or ""), params)


def choices(description: str) -> tuple[str, list[Any] | None]:
    """The description without its choices, and the choices."""
    if found := _CHOICES.search(description):
        try:
            values = json.loads(found[1])
        except ValueError:
            return description, None
        return description[: found.start()].strip(), values
    return description, None


def _line(text: str) -> str:
    return " ".join(text.split())
