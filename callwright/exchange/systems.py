r"""The system text of a row, without the tools that it describes.

opening_of("你是一位專業助理。你可以使用以下工具:\n1. query_database(query_str): …", tools)
  ->  System("你是一位專業助理。"), tools
"""

from __future__ import annotations

from collections.abc import Sequence

from callwright.formats import listed_tools, system_text
from callwright.records import Language, System, Tool

NEUTRAL = {Language.ZH_TW: "你是一位專業助理。", Language.EN: "You are a professional assistant."}
"""Where a format has no place for a system text."""


def opening_of(text: str, tools: Sequence[Tool]) -> tuple[System, tuple[Tool, ...] | None]:
    """The instruction alone and, if the text lists tools as our writer does and all of them are known, those tools.

    Signatures hold no schema: where the tools are not known, the whole text stays and None is returned.
    """
    for language in Language:
        suffix = system_text("", tuple(tools), language)
        if tools and text.endswith(suffix):
            return System(text.removesuffix(suffix)), tuple(tools)
    known = {tool.name: tool for tool in tools}
    opening, names = listed_tools(text)
    if names and all(name in known for name in names):
        return System(opening), tuple(known[name] for name in names)
    return System(text), None
