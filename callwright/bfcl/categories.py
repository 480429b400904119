"""The categories of BFCL that are answered and scored here, and the groups that its own evaluator puts them in.

read_categories("simple_python,live")    ->  ("simple_python", "live_simple", "live_multiple", …)
"""

from __future__ import annotations

from callwright.faults import Fault

NON_LIVE = ("simple_python", "multiple", "parallel", "parallel_multiple", "irrelevance")
LIVE = ("live_simple", "live_multiple", "live_parallel", "live_parallel_multiple", "live_irrelevance")
DEFAULT = (*NON_LIVE, *LIVE)
KNOWN = (*DEFAULT, "live_relevance")
_GROUPS = {"non_live": NON_LIVE, "live": (*LIVE, "live_relevance"), "all": KNOWN}


def read_categories(text: str) -> tuple[str, ...]:
    """Names and groups, with commas between them; each category once, in BFCL's order."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in KNOWN and name not in _GROUPS:
            raise Fault(f"--categories: {name!r} is no single-turn Python category of BFCL; {_way_out()}")
    if not names:
        raise Fault(f"--categories names none; {_way_out()}")
    chosen = {category for name in names for category in _GROUPS.get(name, (name,))}
    return tuple(category for category in KNOWN if category in chosen)


def _way_out() -> str:
    return f"give some of {', '.join(KNOWN)}, or {', '.join(_GROUPS)}"


def group(category: str) -> str:
    """The folder of its result file (bfcl_eval.utils.get_directory_structure_by_category)."""
    return "live" if category.startswith("live_") else "non_live"


def wants_no_call(category: str) -> bool:
    return category.endswith("irrelevance")


def wants_any_call(category: str) -> bool:
    return category.endswith("_relevance")
