"""Calls checked against their tools' schemas a second: ours beside plain `jsonschema`, on calls of our own rows.

Plain jsonschema is measured as its documentation opens (`validate`, which makes all anew for each call) and with
validators that were made before. Every side must say the same of each call, also where a quarter of them is broken;
timed are the calls as they are, some hundreds at a time, as a stage has just read them. Beside it all rules.
"""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

from callwright.faults import Fault
from callwright.packs import Pack
from callwright.records import Call, Example, Tool, read_line
from callwright.rules import Rules
from callwright.schemas import schema_fault

CALLS, AT_ONCE, ROUNDS = 20_000, 500, 5
SLOW = 1_000
"""Calls that `validate` gets, which is some hundred times as slow."""
RULED, WARM = 2_000, 200
"""Rows that all rules judge, and those before that fill caches."""

Pair = tuple[Call, Tool]
Check = Callable[[Sequence[Pair]], list[bool]]


def measure(path: Path, packs: Sequence[Pack]) -> Iterator[str]:
    """Three lines, from a file of accepted records."""
    with path.open(encoding="utf-8") as file:
        some = [read_line(line) for line in itertools.islice(file, WARM + RULED)]
        yield all_rules(some, packs)  # first: the more there is in memory, the longer Python looks for what can go
        rows = [*some, *(read_line(line) for line in itertools.islice(file, CALLS))]
    pairs = pairs_of(rows)[:CALLS]
    theirs, plain = kept_validators(pairs), new_validators()
    broken = judged_alike(with_broken(pairs), theirs, plain)
    judged_alike(pairs, theirs, plain)
    rates = in_turns({"ours": ours, "kept": theirs}, pairs)
    slow = in_turns({"ours": ours, "new": plain}, pairs[:SLOW], rounds=1)
    compiled = in_turns({"ours": _alone(pairs, compiled_of), "kept": _alone(pairs, kept_of)}, pairs)
    yield (
        f"schema of a call       {rates['ours']:,.0f} checks/s, {rates['ours'] / rates['kept']:.1f} times jsonschema's "
        f"with its validators kept ({rates['kept']:,.0f}), {slow['ours'] / slow['new']:.0f} times jsonschema.validate "
        f"({slow['new']:,.0f}); {len(pairs):,} calls, and with {broken:,} of them broken, judged alike"
    )
    yield (
        f"  the validators alone {compiled['ours']:,.0f} checks/s, {compiled['ours'] / compiled['kept']:.1f} times "
        f"jsonschema's ({compiled['kept']:,.0f})"
    )


def all_rules(rows: Sequence[Example], packs: Sequence[Pack]) -> str:
    rules = Rules(packs)
    for row in rows[:WARM]:
        rules.first_failure(row)
    began = time.perf_counter()
    calls = 0
    for row in rows[WARM:]:
        rules.first_failure(row)
        calls += len(row.calls)
    seconds, judged = time.perf_counter() - began, len(rows) - WARM
    return f"all rules              {judged / seconds:,.0f} rows/s in one process, {calls / seconds:,.0f} calls/s"


def judged_alike(pairs: Sequence[Pair], theirs: Check, plain: Check) -> int:
    """How many calls are broken; the first that the sides do not judge alike is told."""
    found = ours(pairs)
    for other in (theirs(pairs), plain(pairs[:SLOW])):
        for pair, own, its in zip(pairs, found, other, strict=False):
            if own is not its:
                raise Fault(f"benchmarks: the sides do not judge {pair[0]} alike; one of them is wrong")
    return found.count(False)


def pairs_of(rows: Sequence[Example]) -> list[Pair]:
    """Each call with its tool."""
    return [(call, tool) for row in rows for call in row.calls for tool in row.tools if tool.name == call.tool]


def with_broken(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs, every fourth call broken: a parameter too many, one too few, or a value of another type."""
    rng, found = Random(1), list(pairs)
    for i in range(0, len(found), 4):
        call, tool = found[i]
        params = dict(call.params)
        match rng.randrange(3):
            case 0:
                params["colour_of_the_sky"] = "blue"
            case 1 if tool.required:
                params.pop(rng.choice(tool.required), None)
            case _:
                params.update(dict.fromkeys(params, None))
        found[i] = (Call(call.tool, params), tool)
    return found


def ours(pairs: Sequence[Pair]) -> list[bool]:
    return [schema_fault(call, tool) is None for call, tool in pairs]


def kept_validators(pairs: Sequence[Pair]) -> Check:
    """Plain jsonschema, with each tool's validator found as fast as can be."""
    return _alone(pairs, kept_of)


def new_validators() -> Check:
    import jsonschema

    def valid(call: Call, tool: Tool) -> bool:
        try:
            jsonschema.validate(call.params, tool.parameters)
        except jsonschema.ValidationError:
            return False
        return True

    return lambda some: [valid(call, tool) for call, tool in some]


def kept_of(tool: Tool) -> Any:
    import jsonschema

    return jsonschema.Draft202012Validator(tool.parameters)


def compiled_of(tool: Tool) -> Any:
    from callwright.schemas import _key, _validator

    return _validator(_key(tool))


def _alone(pairs: Sequence[Pair], made: Callable[[Tool], Any]) -> Check:
    """One validator a schema, found by the tool's identity."""
    by_schema: dict[str, Any] = {}
    valid: dict[int, Callable[[Any], bool]] = {}
    for _, tool in pairs:
        text = json.dumps(tool.parameters)
        if text not in by_schema:
            by_schema[text] = made(tool).is_valid
        valid[id(tool)] = by_schema[text]
    return lambda some: [valid[id(tool)](call.params) for call, tool in some]


def in_turns(checks: dict[str, Check], pairs: Sequence[Pair], rounds: int = ROUNDS) -> dict[str, float]:
    """Checks a second: some pairs at a time, each side in turn, medians of the rounds after the first."""
    total = dict.fromkeys(checks, 0.0)
    for start in range(0, len(pairs), AT_ONCE):
        some = pairs[start : start + AT_ONCE]
        taken: dict[str, list[float]] = {name: [] for name in checks}
        for _ in range(rounds + 1):
            for name, check in checks.items():
                began = time.perf_counter()
                check(some)
                taken[name].append(time.perf_counter() - began)
        for name, seconds in taken.items():
            total[name] += statistics.median(seconds[1:])
    return {name: len(pairs) / seconds for name, seconds in total.items()}
