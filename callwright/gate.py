"""The gate: a tuned model against its base and the champion, on the same rows -> promote, challenge or refuse.

    decide(Contender("tuned", "5f0c…", rows), Contender("base", …), Contender("champion 3", …), rules)
    ->  Decision("refuse", ("robust:typos got worse than champion 3: 41.2% of 80 rows against 68.8%, …",), {…})

refuse      the evidence is no good; no better than base; a floor broken; worse than the champion, in all or in a slice
challenge   none of these, but below the champion by what may be chance, or the champion cannot be compared with
promote     no champion, or one that is not above it, and no slice got worse

A slice got worse where the 95% interval of its paired difference lies below minus the margin, by Holm's procedure over
the slices of that comparison. Bad evidence is a refusal with its reason, not an exception.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from callwright.metrics import CONSTRAINED, PLAIN, Judged, Paired, accuracy, below, holm, mcnemar, paired, slices, tango
from callwright.records import Category

WITHOUT_A_CALL = frozenset({Category.MISSING, Category.NO_TOOL})
"""A model that never calls is nearly always right there: no comparison with base, but floors."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The knobs of params.yaml `register`."""

    alpha: float
    """Of McNemar's test over all rows, and of all slices of a comparison together."""
    margin: float
    """A loss that a slice may have, as a share: 0.05 is 5 points."""
    least_rows: int
    """Of a slice that decides; smaller ones are reported. Floors hold for any number of rows."""
    floors: Mapping[str, float]
    """Least accuracy by category, on rows of seen tools."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A model with its verdicts: on the test rows as they are, and perhaps in other settings."""

    name: str
    test_hash: str
    rows: Sequence[Judged]


@dataclass(frozen=True, slots=True)
class Decision:
    decision: Literal["promote", "challenge", "refuse"]
    reasons: tuple[str, ...]
    """In plain words with their numbers, the weightiest first."""
    numbers: dict[str, Any]
    """JSON: every number that made the decision."""


def decide(
    tuned: Contender, base: Contender, champion: Contender | None, rules: Rules, *, why_no_champion: str = ""
) -> Decision:
    """Judge `tuned`. A champion that cannot be compared with is None, and `why_no_champion` says why."""
    numbers: dict[str, Any] = {name: value if _finite(value) else None for name, value in _knobs(rules).items()}
    numbers |= {"base": None, "champion": None, "floors": {}, "apart": {}}
    bad = [*_bad_rules(rules), *_bad_rows(tuned), *_bad_rows(base), *(_bad_rows(champion) if champion else ())]
    apart = [other_rows(tuned, base, plain_will_do=True), champion and other_rows(tuned, champion)]
    if bad := bad or [why for why in apart if why]:
        return Decision("refuse", tuple(bad), numbers)
    against_base = compare(tuned, base, rules, calls_only=True)
    against_champion = compare(tuned, champion, rules) if champion else None
    floors = _floors(tuned, rules)
    numbers |= {"base": against_base, "champion": against_champion, "floors": floors, "apart": _apart(tuned, champion)}
    refusals, doubts = [*_no_better(against_base, rules.alpha), *_broken(floors)], list[str]()
    if against_champion:
        refusals += [*_worse(against_champion, rules.alpha), *_regressions(against_champion, rules.margin)]
        doubts += _fewer(against_champion, rules.alpha)
    refusals += _regressions(against_base, rules.margin)
    if why_no_champion:
        doubts.append(f"the champion cannot be compared with: {why_no_champion}")
    if refusals or doubts:
        return Decision("refuse" if refusals else "challenge", (*refusals, *doubts), numbers)
    return Decision("promote", tuple(_merits(against_base, against_champion, floors, rules)), numbers)


# What is compared


def other_rows(tuned: Contender, other: Contender, *, plain_will_do: bool = False) -> str | None:
    """Why the two cannot be held against each other row by row, and the way out; None where they can.

    The same test set, and the same rows in every setting. Constrained answers may be missing on either side, and with
    `plain_will_do` the other's on changed rows: those are then reported apart. Ask this of kept answers before use.
    """
    if tuned.test_hash != other.test_hash:
        theirs, ours = other.test_hash[:12] or "unknown", tuned.test_hash[:12] or "unknown"
        return f"{other.name} was judged on other rows ({theirs}) than {tuned.name} ({ours}); evaluate again"
    ours_by, theirs_by = _by_setting(tuned), _by_setting(other)
    for setting in sorted((ours_by.keys() | theirs_by.keys()) - {CONSTRAINED}):
        our_rows, their_rows = ours_by.get(setting, {}), theirs_by.get(setting, {})
        if plain_will_do and setting != PLAIN and not their_rows:
            continue
        for name, rows, wanted in ((tuned.name, our_rows, their_rows), (other.name, their_rows, our_rows)):
            if lost := sorted(wanted.keys() - rows.keys()):
                where = "" if setting == PLAIN else f" in the slice {setting}"
                return f"{name} has no verdict on {_some(lost)}{where}; evaluate again"
        for row_id, row in our_rows.items():
            mine, its = (" ".join(_facts(one)) for one in (row, their_rows[row_id]))
            if mine != its:
                return f"{row_id} is {mine} for {tuned.name} and {its} for {other.name}; evaluate again"
    return None


def compare(tuned: Contender, other: Contender, rules: Rules, *, calls_only: bool = False) -> dict[str, Any]:
    """The numbers of one comparison, of all rows as they are and by slice, for two that `other_rows` finds alike.

    `calls_only`: the slices are of rows of categories with a call. They are cut as the tuned model's rows say: which
    tools are seen depends on what it was trained on.
    """
    before = {(row.setting, row.id): row.correct for row in other.rows}
    shared = _shared(tuned, other)
    rows = [row for row in tuned.rows if row.setting in shared]

    def pair(part: Iterable[Judged]) -> Paired:
        return paired((row.correct, before[row.setting, row.id]) for row in part)

    overall = pair(row for row in rows if row.setting == PLAIN)
    counted = slices([row for row in rows if not (calls_only and row.category in WITHOUT_A_CALL)])
    return {
        "name": other.name,
        **_shares(overall),
        "p_value": mcnemar(overall.wins, overall.losses),
        "slices": _slices({name: pair(part) for name, part in counted.items()}, rules),
    }


def _slices(pairs: Mapping[str, Paired], rules: Rules) -> dict[str, Any]:
    p_values = {name: below(pair.wins, pair.losses, pair.n, rules.margin) for name, pair in pairs.items()}
    adjusted = holm({name: p for name, p in p_values.items() if pairs[name].n >= rules.least_rows})
    return {
        name: {
            **_shares(pair),
            "p": p_values[name],
            "p_holm": adjusted.get(name),
            "decisive": name in adjusted,
            "regression": adjusted.get(name, 1.0) < rules.alpha,
        }
        for name, pair in pairs.items()
    }


def _shares(pair: Paired) -> dict[str, Any]:
    return {
        "n": pair.n,
        "tuned": round(pair.right / pair.n, 6),
        "other": round((pair.right - pair.wins + pair.losses) / pair.n, 6),
        "wins": pair.wins,
        "losses": pair.losses,
        "difference": round(pair.difference, 6),
        "ci95": list(tango(pair.wins, pair.losses, pair.n)),
    }


def _floors(tuned: Contender, rules: Rules) -> dict[str, Any]:
    found = {}
    for category, floor in rules.floors.items():
        rows = [row for row in tuned.rows if row.setting == PLAIN and row.seen and row.category == category]
        right = sum(row.correct for row in rows)
        held = bool(rows) and right / len(rows) >= floor
        found[category] = {"floor": floor, **accuracy(rows), "held": held}
    return found


def _apart(tuned: Contender, champion: Contender | None) -> dict[str, Any]:
    """Scores of tuned in the settings in which it is compared with nobody."""
    compared = _shared(tuned, champion) if champion else {PLAIN}
    by_setting = _by_setting(tuned)
    return {name: accuracy([*by_setting[name].values()]) for name in sorted(by_setting.keys() - compared)}


def _shared(tuned: Contender, other: Contender) -> set[str]:
    """The settings in which both answered the same rows, freely: what decides is what is served."""
    ours, theirs = _by_setting(tuned), _by_setting(other)
    both = (ours.keys() & theirs.keys()) - {CONSTRAINED}
    return {setting for setting in both if ours[setting].keys() == theirs[setting].keys()}


def _by_setting(one: Contender) -> dict[str, dict[str, Judged]]:
    found: dict[str, dict[str, Judged]] = {}
    for row in one.rows:
        found.setdefault(row.setting, {})[row.id] = row
    return found


def _facts(row: Judged) -> tuple[str, ...]:
    return str(row.category), str(row.language), str(row.expected)


# Evidence that is no good


def _knobs(rules: Rules) -> dict[str, Any]:
    return {"alpha": rules.alpha, "margin": rules.margin, "least_rows": rules.least_rows}


def _bad_rules(rules: Rules) -> Iterator[str]:
    shares = _knobs(rules) | {f"floor of {category}": floor for category, floor in rules.floors.items()}
    del shares["least_rows"]
    for name, value in shares.items():
        if not (_finite(value) and 0 <= value <= 1):
            yield f"the gate's {name} is {value}, which is no share"
    if not (_finite(rules.least_rows) and rules.least_rows >= 1):
        yield f"the gate's least_rows is {rules.least_rows}, which is no number of rows"


def _bad_rows(one: Contender) -> Iterator[str]:
    if not any(row.setting == PLAIN for row in one.rows):
        yield f"{one.name} has answered no rows; evaluate again"
    counts = Counter((row.setting, row.id) for row in one.rows)
    if twice := sorted({row_id for (_, row_id), count in counts.items() if count > 1}):
        yield f"{one.name} has two verdicts on {_some(twice)}; evaluate again"
    odd = {row.id: row.correct for row in one.rows if not isinstance(row.correct, bool)}
    if odd:
        yield f"{one.name} has no verdict on {_some(sorted(odd))} but something else ({next(iter(odd.values()))!r})"


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _some(ids: Sequence[str]) -> str:
    return ids[0] if len(ids) == 1 else f"{ids[0]} and {len(ids) - 1} more"


# Reasons


def _no_better(base: Mapping[str, Any], alpha: float) -> Iterator[str]:
    if base["wins"] <= base["losses"]:
        yield f"{_told(base)}: no better than its base {_tested(base)}"
    elif base["p_value"] >= alpha:
        yield f"{_told(base)}, which may be chance {_tested(base)}"


def _broken(floors: Mapping[str, Any]) -> Iterator[str]:
    for category, one in floors.items():
        if not one["n"]:
            yield f"{category} on seen tools has no rows, and its floor is {one['floor']:.0%}"
        elif not one["held"]:
            under = f"under its floor of {one['floor']:.0%} ({one['n']} rows)"
            yield f"{category} on seen tools is at {one['accuracy']:.1%}, {under}"


def _worse(champion: Mapping[str, Any], alpha: float) -> Iterator[str]:
    if champion["wins"] < champion["losses"] and champion["p_value"] < alpha:
        yield f"{_told(champion)}, and that is no chance {_tested(champion)}"


def _fewer(champion: Mapping[str, Any], alpha: float) -> Iterator[str]:
    if champion["wins"] < champion["losses"] and champion["p_value"] >= alpha:
        yield f"{_told(champion)}, which may be chance {_tested(champion)}; callwright promote decides otherwise"


def _regressions(comparison: Mapping[str, Any], margin: float) -> Iterator[str]:
    worse = [(name, one) for name, one in comparison["slices"].items() if one["regression"]]
    for name, one in sorted(worse, key=lambda item: (item[1]["p_holm"], item[1]["difference"], item[0])):
        shares = f"{one['tuned']:.1%} against {one['other']:.1%} of {one['n']} rows"
        bound = f"surely more than the {100 * margin:.3g} points allowed (Holm p = {one['p_holm']:.2g})"
        yield f"{name} got worse than {comparison['name']}: {shares}, a loss of {_interval(one)}, {bound}"


def _merits(
    base: Mapping[str, Any], champion: Mapping[str, Any] | None, floors: Mapping[str, Any], rules: Rules
) -> Iterator[str]:
    yield f"{_told(base)} {_tested(base)}"
    if champion:
        yield f"{_told(champion)} {_tested(champion)}"
    for other in filter(None, (champion, base)):
        decisive = sum(one["decisive"] for one in other["slices"].values())
        small = len(other["slices"]) - decisive
        none = (
            f"none of {decisive} slices is surely more than {100 * rules.margin:.3g} points worse than {other['name']}"
        )
        yield f"{none}; {small} of under {rules.least_rows} rows decide nothing"
    for category, one in floors.items():
        yield f"{category} on seen tools is at {one['accuracy']:.1%}, its floor is {one['floor']:.0%} ({one['n']} rows)"


def _told(comparison: Mapping[str, Any]) -> str:
    ours = f"tuned is right on {comparison['tuned']:.1%} of {comparison['n']} rows"
    return f"{ours}, {comparison['name']} on {comparison['other']:.1%}"


def _tested(comparison: Mapping[str, Any]) -> str:
    counts = f"{comparison['wins']} rows won, {comparison['losses']} lost"
    return f"({counts}, McNemar p = {comparison['p_value']:.2g})"


def _interval(one: Mapping[str, Any]) -> str:
    low, high = one["ci95"]
    return f"{-100 * high:.1f} to {-100 * low:.1f} points"
