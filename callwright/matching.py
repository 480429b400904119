"""Calls against the calls that are right.

    Wanted("book_room", {"room": ("A301",), "people": (14, 14.0)}, optional={"people"})

Several values of a parameter may be right, and a parameter may be left out: so equality is no longer transitive, and
calls are matched as a whole rather than one after another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Wanted:
    """A call that is right: the values that each parameter may have, one or more."""

    tool: str
    params: Mapping[str, tuple[Any, ...]]
    optional: frozenset[str] = frozenset()
    """Parameters that may be left out."""
