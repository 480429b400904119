"""Slices of the rows, and the statistics of two models on the same rows, held against what they are defined by."""

from __future__ import annotations

from itertools import combinations
from math import comb, log
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callwright.answers import Outcome
from callwright.metrics import Judged, below, holm, mcnemar, metrics, paired, robustness, slices, tango
from callwright.records import Category, Language


def row(row_id: str, *, correct: bool = True, seen: bool = True, offered: int = 3, setting: str = "plain") -> Judged:
    given = (row_id, Category.SINGLE, Language.ZH_TW, seen, correct, Outcome.CALL, Outcome.CALL, None)
    return Judged(*given, offered=offered, setting=setting)


# Statistics, held against what they are defined by


def test_slices_are_named_by_what_they_hold_and_a_changed_row_stands_in_its_own_alone() -> None:
    rows = [row("1", offered=3), row("2", seen=False, offered=20), row("1~typos", setting="robust:typos")]
    rows.append(row("1", setting="constrained"))
    found = {name: [(one.id, one.setting) for one in part] for name, part in slices(rows).items()}
    plain = [("1", "plain"), ("2", "plain")]
    assert found == {
        "category:single": plain,
        "constrained": [("1", "constrained")],
        "language:zh-TW": plain,
        "offered:1-3": plain[:1],
        "offered:16 or more": plain[1:],
        "robust:typos": [("1~typos", "robust:typos")],
        "tools:seen": plain[:1],
        "tools:unseen": plain[1:],
    }
    assert slices([]) == {}


def test_a_changed_row_is_held_against_the_row_as_it_was() -> None:
    rows = [row("1"), row("2", correct=False), row("3")]
    rows += [row(f"{n}~typos", correct=n == 2, setting="robust:typos") for n in (1, 2)]
    typos = robustness(rows)["typos"]
    assert (typos["n"], typos["correct"], typos["unchanged"]["n"], typos["unchanged"]["correct"]) == (2, 1, 2, 1)


def test_how_many_tools_were_offered_is_counted_in_groups() -> None:
    counted = metrics([row(str(n), offered=n) for n in (1, 3, 4, 8, 9, 15, 16, 400)])["by_offered"]
    assert {name: part["n"] for name, part in counted.items()} == {
        "1-3": 2,
        "4-5": 1,
        "6-8": 1,
        "9-15": 2,
        "16 or more": 2,
    }


def test_pairs_are_counted_by_who_is_right() -> None:
    pair = paired([(True, True), (True, False), (True, False), (False, True), (False, False)])
    assert (pair.n, pair.wins, pair.losses, pair.right, pair.difference) == (5, 2, 1, 3, 0.2)
    assert paired([]).difference == 0


# Two models on the same rows: published examples, then definitions


def test_mcnemar_and_tango_give_what_is_published() -> None:
    # Cavo et al. 2012 in Fagerland, Lydersen, Laake, Statistical Analysis of Contingency Tables (2017), chapter 8,
    # as the R package contingencytables prints it; Bentur et al. 2009 in the same authors' paper of 2014
    assert mcnemar(6, 16) == pytest.approx(0.052479, abs=5e-7)
    assert tango(6, 16, 161) == pytest.approx((-0.1240, -0.0054), abs=5e-5)
    assert tango(1, 7, 21) == pytest.approx((-0.517, -0.026), abs=5e-4)
    # R's PropCIs::scoreci.mp(25, 28, 618, 0.90)
    assert tango(28, 25, 618, 0.90) == pytest.approx((-0.0148, 0.0247), abs=5e-5)


def outcomes(n: int, won: float, lost: float) -> list[tuple[int, int, float]]:
    """Wins, losses and their probability, for all that can come of n rows."""
    return [
        (wins, losses, comb(n, wins) * comb(n - wins, losses) * won**wins * lost**losses * (1 - won - lost) ** rest)
        for wins in range(n + 1)
        for losses in range(n + 1 - wins)
        for rest in [n - wins - losses]
    ]


@pytest.mark.parametrize(("won", "lost"), [(0.2, 0.1), (0.05, 0.05), (0.02, 0.1), (0.3, 0.3)])
def test_tangos_interval_holds_the_true_difference_in_95_of_100(won: float, lost: float) -> None:
    held = 0.0
    for wins, losses, share in outcomes(40, won, lost):
        if share > 1e-7:
            low, high = tango(wins, losses, 40)
            held += share * (low <= won - lost <= high)
    assert 0.94 < held < 0.97


@pytest.mark.parametrize("churn", [0.05, 0.1, 0.2, 0.3])
@pytest.mark.parametrize("n", [50, 80])
def test_a_loss_of_just_the_margin_is_taken_for_more_in_2_or_3_of_100(n: int, churn: float) -> None:
    claimed = {(won, lost): below(won, lost, n, 0.05) < 0.05 for won in range(n + 1) for lost in range(n + 1 - won)}
    at_margin = sum(p for won, lost, p in outcomes(n, churn / 2, churn / 2 + 0.05) if claimed[won, lost])
    assert 0.015 < at_margin < 0.03
    assert sum(p for won, lost, p in outcomes(n, churn / 2, churn / 2) if claimed[won, lost]) < 0.005


@given(st.integers(0, 25), st.integers(0, 25), st.floats(-0.4, 0.4))
def test_the_p_value_is_that_of_the_likeliest_shares_with_this_difference(
    wins: int, losses: int, difference: float
) -> None:
    n = 60
    least = max(0.0, -difference)  # of losses: wins are losses + difference

    def unlikely(lost: float) -> float:
        shares = ((wins, lost + difference), (losses, lost), (n - wins - losses, 1 - 2 * lost - difference))
        return -sum(count * log(max(share, 1e-300)) for count, share in shares if count)

    low, high = least, (1 - difference) / 2
    for _ in range(120):  # it has one valley
        left, right = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, right) if unlikely(left) < unlikely(right) else (left, high)
    lost = (low + high) / 2
    variance = n * (2 * lost + difference - difference**2)
    if variance > 0.05:
        z = (wins - losses - n * difference) / variance**0.5
        expected = min(1.0, 2 * NormalDist().cdf(z))
        assert below(wins, losses, n, -difference) == pytest.approx(expected, rel=1e-3, abs=1e-6)


@given(st.integers(0, 30), st.integers(0, 30), st.sampled_from([0.5, 0.9, 0.95]))
def test_tangos_interval_mirrors_and_widens_and_contains_the_difference(wins: int, losses: int, level: float) -> None:
    low, high = tango(wins, losses, 60, level)
    assert tango(losses, wins, 60, level) == pytest.approx((-high, -low), abs=1.5e-6)
    assert -1 <= low < (wins - losses) / 60 < high <= 1
    wide = tango(wins, losses, 60, 0.99)
    assert wide[0] < low < high < wide[1]


def test_tangos_interval_is_of_use_where_the_two_never_differ_or_always_do() -> None:
    assert tango(0, 0, 30) == (-0.113513, 0.113513)  # z² / (n + z²)
    assert (tango(0, 10, 10)[0], tango(10, 0, 10)[1]) == (-1, 1)
    assert below(0, 0, 30, 0.0) == 1
    assert below(0, 30, 30, 0.05) < 1e-6


@given(st.integers(0, 30), st.integers(0, 30), st.sampled_from([0.0, 0.05, 0.2]))
def test_the_p_value_is_under_alpha_where_the_interval_lies_below_the_margin(
    wins: int, losses: int, margin: float
) -> None:
    n = 61
    _, high = tango(wins, losses, n)
    if abs(high + margin) > 1e-5:
        assert (below(wins, losses, n, margin) < 0.05) == (high < -margin)


def test_without_a_margin_the_p_value_is_mcnemars_asymptotic_one() -> None:
    assert below(6, 16, 161, 0.0) == pytest.approx(0.033006, abs=5e-7)  # Cavo et al. again


def test_holm_by_hand() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    assert holm({f"s{i}": 0.01 for i in range(12)})["s0"] == pytest.approx(0.12)
    assert holm({}) == {}


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_bonferroni_on_every_group_that_a_finding_belongs_to(p_values: list[float]) -> None:
    names = range(len(p_values))
    adjusted = holm({str(i): p for i, p in enumerate(p_values)})
    for i in names:
        groups = [group for size in range(1, len(p_values) + 1) for group in combinations(names, size) if i in group]
        worst = max(min(1.0, len(group) * min(p_values[j] for j in group)) for group in groups)
        assert adjusted[str(i)] == pytest.approx(worst)
