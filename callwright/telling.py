"""What a reply must tell after calls: the facts of their results, or that a tool failed.

left_out("預算查到了。", query_database, Language.ZH_TW, {"amount": "300 萬"})     ->  "300 萬"
tells_failure("抱歉，逾時了。", failures_told(pack, Language.ZH_TW, "timeout"))    ->  True
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from callwright.filling import shown
from callwright.pack_shape import PLACEHOLDER, Pack, PackTool
from callwright.records import Language
from callwright.replies import untold
from callwright.speech import plain


def left_out(text: str, tool: PackTool, language: Language, result: Mapping[str, Any]) -> str | None:
    """The first fact not told, of the pack's replies the one that comes nearest; None where one is told whole."""
    least: list[str] | None = None
    for names in fields_told(tool, language):
        facts = [fact for name in names if result.get(name) is not None for fact in _facts(result[name], language)]
        left = untold(text, facts)
        if not left:
            return None
        least = left if least is None or len(left) < len(least) else least
    return least[0] if least else None


def _facts(value: Any, language: Language) -> tuple[str, ...]:
    return shown(value, language, Random(0))[1]


def fields_told(tool: PackTool, language: Language) -> list[list[str]]:
    """The fields that a reply must tell, each list enough by itself: what the shortest of the pack's replies tell."""
    replies = tool.replies[language]
    sets = {frozenset(PLACEHOLDER.findall(text)) for text in (*replies.train, *replies.test)}
    return sorted(sorted(one) for one in sets if not any(other < one for other in sets))


def failures_told(pack: Pack, language: Language, error: Any) -> list[str]:
    """How the pack tells this failure; of one that it does not know, how it tells any."""
    known = [each for each in pack.errors if each.error == error] or pack.errors
    return [text for each in known for half in (each.told[language],) for text in (*half.train, *half.test)]


_FAILED = re.compile(
    "沒|查無|無法|無權|無效|不到|不了|不出|不下|不能|不足|不可|不夠|不符|不再|不允許|失敗|逾時|抱歉|遺憾|錯誤|未能|未成|尚未|"
    "拒絕|超出|超過|截止|期限已過|期限過了|用完|撞期|已滿|滿了|額滿|售完|已經有人|"
    r"\b(?:no|not|none|nothing|nobody|never|cannot|unable|fail\w*|sorry|unfortunately|errors?|denied|refused|rejected|"
    r"blocked|timed out|exceed\w*|used up|run out|expired|full|empty|deadline|already taken|someone else|"
    r"too (?:late|low)|unavailable|unsuccessful)\b|n['’]t\b"
)
_NO_FAILURE = re.compile("沒問題|沒事|no problem|no worries")
_ALIKE = 0.7


def tells_failure(text: str, told: Sequence[str]) -> bool:
    """Whether a reply says that something did not work: by a word, or nearly as the pack says it then (`told`)."""
    said = _NO_FAILURE.sub(" ", plain(text))
    if _FAILED.search(said):
        return True
    return any(difflib.SequenceMatcher(None, said, plain(one), autojunk=False).ratio() >= _ALIKE for one in told)
