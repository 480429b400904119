"""Rows in and out of the formats that others use, around the canonical record. docs/formats.md has an example of each.

    from callwright.exchange import read_rows, writer
    rows = read_rows(Path("xlam.json"))      rows of any format, detected where it is not named
    writer("openai").rows(example)           rows in another

One file a format: how to know it (`fits`), read it, write it. `reading` and `writing` are the same for all.
"""

from __future__ import annotations

from callwright.exchange.categories import category_of, language_of
from callwright.exchange.reading import FORMATS, Row, Unread, detect, read_rows
from callwright.exchange.tools import read_tools
from callwright.exchange.writing import Writer, losses, writer

__all__ = [
    "FORMATS",
    "Row",
    "Unread",
    "Writer",
    "category_of",
    "detect",
    "language_of",
    "losses",
    "read_rows",
    "read_tools",
    "writer",
]
