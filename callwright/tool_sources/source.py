"""Which reader a source takes, and what the source calls itself.

read_source("api.json", None, None, 30)          ->  Source(items of openapi, "api.json", "api")
read_source(None, "npx some-server", None, 30)   ->  Source(items of mcp_server, "npx some-server", its name)
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from callwright.faults import Fault
from callwright.tool_sources.documents import MOST_BYTES, read_document
from callwright.tool_sources.found import Item, valid_name
from callwright.tool_sources.mcp_server import ask_server, read_server
from callwright.tool_sources.openapi import read_openapi
from callwright.tool_sources.python_functions import read_python
from callwright.tool_sources.tool_lists import read_tool_list


class Kind(StrEnum):
    OPENAI = "openai"
    PYTHON = "python"
    OPENAPI = "openapi"
    MCP = "mcp"


@dataclass(frozen=True, slots=True)
class Source:
    items: Iterable[Item]
    place: str
    """What sentences call it; no password is in it."""
    title: str
    """What it calls itself, as a pack's name; empty where it does not."""


def read_source(source: str | None, command: str | None, kind: Kind | None, deadline: float) -> Source:
    """The tools of a file, of standard input (`-`), or of an MCP server by its address or its command."""
    if (source is None) is (command is None):
        raise Fault("give one source: a file, -, the http(s) address of an MCP server, or --command with its program")
    if command is not None:
        return _server(_words(command), command, kind, deadline)
    assert source is not None  # noqa: S101 - for mypy
    if re.match(r"https?://", source):
        return _server(source, re.sub(r"//[^/@]*@", "//", source), kind, deadline)
    data, place = _bytes(source)
    stem = "" if source == "-" else valid_name(Path(source).stem).lower()
    if kind is Kind.PYTHON or (kind is None and source.endswith(".py")):
        return Source(read_python(data, place), place, stem)
    document = read_document(data, place)
    is_api = isinstance(document, dict) and ("openapi" in document or "swagger" in document)
    if kind is Kind.OPENAPI or (kind is None and is_api):
        return Source(read_openapi(document, place), place, stem or _title(document))
    return Source(read_tool_list(document, place), place, stem)


def _server(server: str | list[str], place: str, kind: Kind | None, deadline: float) -> Source:
    if kind not in (None, Kind.MCP):
        raise Fault(f"{place}: only an MCP server is asked; save an {kind} source as a file and give that")
    heard = ask_server(server, deadline)
    return Source(read_server(heard, place), place, valid_name(heard.name).lower())


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise Fault(f"--command {command!r}: {str(error).lower()}; close what is open") from None
    if not words:
        raise Fault("--command is empty; give the program of an MCP server and its arguments")
    return words


def _bytes(source: str) -> tuple[bytes, str]:
    """The file's bytes, no more than a document may have and one, and its name in sentences."""
    if source == "-":
        return sys.stdin.buffer.read(MOST_BYTES + 1), "standard input"
    try:
        with Path(source).open("rb") as file:
            return file.read(MOST_BYTES + 1), source
    except IsADirectoryError:
        raise Fault(f"{source} is a directory; give one file of it") from None
    except FileNotFoundError:
        raise Fault(f"{source} is not there; give a file, -, or the http(s) address of an MCP server") from None
    except (OSError, ValueError) as error:
        raise Fault(f"{source} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _title(document: Any) -> str:
    info = document.get("info") if isinstance(document, dict) else None
    title = info.get("title") if isinstance(info, dict) else None
    return valid_name(title).lower() if isinstance(title, str) else ""
