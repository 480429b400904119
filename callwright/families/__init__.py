"""How each family of models writes a conversation with tools, and how its answers are read.

    family("qwen2.5").rows(example)
      -> [Row("office-1", (Piece("<|im_start|>system…", False), Piece("<tool_call>\\n{…}<|im_end|>", True)))]
    family("qwen2.5").read('<tool_call>\\n{"name": "find_contact", "arguments": {"name": "王小明"}}\\n</tool_call>')
      -> Called((Call("find_contact", {"name": "王小明"}),))

The texts are the vendors', to the token (tests/test_families.py holds them against the vendors' own files).
"""

from __future__ import annotations

from callwright.families.family import Family
from callwright.families.llama3 import Llama3
from callwright.families.llama3_1 import Llama31
from callwright.families.mistral import Mistral
from callwright.families.qwen import Qwen3, Qwen25
from callwright.faults import Fault
from callwright.training_text import NotExpressible

__all__ = ["FAMILIES", "Family", "NotExpressible", "family"]

FAMILIES: dict[str, Family] = {one.name: one for one in (Llama3(), Llama31(), Mistral(), Qwen25(), Qwen3())}


def family(name: str) -> Family:
    try:
        return FAMILIES[name]
    except KeyError:
        raise Fault(f"family {str(name)!r} is unknown; choose one of {', '.join(FAMILIES)}") from None
