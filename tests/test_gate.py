"""The gate: what is promoted, challenged, refused, and with which numbers."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callwright.answers import Outcome
from callwright.gate import Contender, Decision, Rules, compare, decide, other_rows
from callwright.metrics import Judged, mcnemar
from callwright.records import Category, Language

RULES = Rules(alpha=0.05, margin=0.05, least_rows=50, floors={"missing": 0.5, "no_tool": 0.5})
KINDS = [Category.SINGLE] * 8 + [Category.PARALLEL] * 4 + [Category.MISSING] * 2 + [Category.NO_TOOL] * 2


def row(i: int, *, correct: bool, setting: str = "plain") -> Judged:
    """Rows by number: categories in turn, every second one in zh-TW, every fourth with tools never seen."""
    category = KINDS[i % len(KINDS)]
    expected = Outcome.CALL if category in (Category.SINGLE, Category.PARALLEL) else Outcome.ASK
    return Judged(
        id=f"row-{i}" + ("" if setting == "plain" else f"~{setting}"),
        category=category,
        language=Language.ZH_TW if i % 2 else Language.EN,
        seen=bool(i % 4),
        correct=correct,
        outcome=expected,
        expected=expected,
        reason=None if correct else "wrong_value",
        offered=3 + i % 3,
        setting=setting,
    )


def of(name: str, right: Sequence[bool], test_hash: str = "abc", setting: str = "plain") -> Contender:
    return Contender(name, test_hash, [row(i, correct=one, setting=setting) for i, one in enumerate(right)])


N = 160
GOOD = [i % 5 != 0 for i in range(N)]  # 128 right
BASE = of("base", [i % 16 == 14 for i in range(N)])
TUNED = of("tuned", GOOD)


def flipped(right: Sequence[bool], *, lose: int = 0, win: int = 0) -> list[bool]:
    made = list(right)
    for wanted, count in ((True, lose), (False, win)):
        for i in [i for i, one in enumerate(right) if one is wanted][:count]:
            made[i] = not wanted
    return made


def test_the_first_good_one_is_promoted() -> None:
    made = decide(TUNED, BASE, None, RULES)
    assert made.decision == "promote"
    assert made.reasons[0].startswith("tuned is right on 80.0% of 160 rows, base on 6.2% (1")
    assert made.numbers["champion"] is None
    assert json.loads(json.dumps(made.numbers, allow_nan=False)) == made.numbers


def test_one_as_good_as_the_champion_is_promoted() -> None:
    assert decide(TUNED, BASE, of("champion 3", GOOD), RULES).decision == "promote"


def test_a_better_one_is_promoted() -> None:
    assert decide(TUNED, BASE, of("champion 3", flipped(GOOD, lose=12)), RULES).decision == "promote"


def test_one_with_fewer_rows_right_which_may_be_chance_is_a_challenger() -> None:
    made = decide(TUNED, BASE, of("champion 3", flipped(GOOD, win=3)), RULES)
    assert made.decision == "challenge"
    assert made.reasons == (
        (
            "tuned is right on 80.0% of 160 rows, champion 3 on 81.9%, which may be chance (0 rows won, 3 lost, "
            "McNemar p = 0.25); callwright promote decides otherwise"
        ),
    )


def test_a_worse_one_is_refused_with_all_numbers() -> None:
    made = decide(of("tuned", flipped(GOOD, lose=30)), BASE, TUNED, RULES)
    assert made.decision == "refuse"
    assert any("and that is no chance (0 rows won, 30 lost, McNemar p = 1.9e-09)" in why for why in made.reasons)
    champion = made.numbers["champion"]
    assert (champion["wins"], champion["losses"], champion["n"]) == (0, 30, 160)
    assert champion["p_value"] == mcnemar(0, 30)


def test_one_that_is_not_better_than_its_base_is_refused() -> None:
    made = decide(BASE, BASE, None, replace(RULES, floors={}))
    same = (
        "tuned is right on 6.2% of 160 rows, base on 6.2%: no better than its base (0 rows won, 0 lost, McNemar p = 1)"
    )
    assert (made.decision, made.reasons) == ("refuse", (same,))
    barely = of("tuned", flipped([one.correct for one in BASE.rows], win=3))
    [why] = decide(barely, BASE, None, replace(RULES, floors={})).reasons
    assert "may be chance (3 rows won, 0 lost, McNemar p = 0.25)" in why


def test_a_regression_in_one_slice_is_refused_though_the_whole_is_better() -> None:
    champion = of("champion 3", [i % 2 == 1 or i % 3 == 0 for i in range(N)])
    tuned = of("tuned", [i % 2 == 0 or i % 4 == 1 for i in range(N)])
    assert sum(r.correct for r in tuned.rows) > sum(r.correct for r in champion.rows)
    made = decide(tuned, BASE, champion, replace(RULES, floors={}))
    assert made.decision == "refuse"
    assert any(why.startswith("language:zh-TW got worse than champion 3: 50.0% against 100.0%") for why in made.reasons)


def test_a_small_slice_is_reported_and_decides_nothing_but_for_its_floor() -> None:
    lost = [one and KINDS[i % len(KINDS)] is not Category.NO_TOOL for i, one in enumerate([True] * N)]
    champion = of("champion 3", [KINDS[i % len(KINDS)] is Category.NO_TOOL or (i // 3) % 3 > 0 for i in range(N)])
    made = decide(of("tuned", lost), BASE, champion, replace(RULES, floors={}))
    slice_ = made.numbers["champion"]["slices"]["category:no_tool"]
    assert (slice_["n"], slice_["tuned"], slice_["other"], slice_["decisive"]) == (20, 0.0, 1.0, False)
    assert (slice_["regression"], slice_["p_holm"]) == (False, None)
    assert made.decision == "promote"
    floored = decide(of("tuned", lost), BASE, champion, RULES)
    assert floored.decision == "refuse"
    assert floored.reasons[0] == "no_tool on seen tools is at 0.0%, under its floor of 50% (20 rows)"


def test_a_regression_under_changes_counts_against_the_champion_only() -> None:
    asked = [replace(one, correct=True) for one in of("x", [True] * 60, setting="robust:typos").rows]
    wrong = [replace(one, correct=i % 3 == 0) for i, one in enumerate(asked)]
    champion = Contender("champion 3", "abc", [*TUNED.rows, *asked])
    made = decide(Contender("tuned", "abc", [*TUNED.rows, *wrong]), BASE, champion, RULES)
    assert made.decision == "refuse"
    assert made.reasons[0].startswith("robust:typos got worse than champion 3: 33.3% against 100.0% of 60 rows")
    assert "robust:typos" not in made.numbers["base"]["slices"]


def test_categories_without_a_call_are_not_compared_with_the_base() -> None:
    silent = of("base", [KINDS[i % len(KINDS)] in (Category.MISSING, Category.NO_TOOL) for i in range(800)])
    tuned = of(
        "tuned", [KINDS[i % len(KINDS)] not in (Category.MISSING, Category.NO_TOOL) or i % 3 > 0 for i in range(800)]
    )
    made = decide(tuned, silent, None, RULES)
    assert made.decision == "promote"
    assert "category:no_tool" not in made.numbers["base"]["slices"]


REFUSED = {
    "other rows": (Contender("tuned", "abc", TUNED.rows[:-1]), "tuned has no verdict on row-159; evaluate again"),
    "another exam": (of("tuned", GOOD, "xyz"), "base was judged on other rows (abc) than tuned (xyz); evaluate again"),
    "no rows": (Contender("tuned", "abc", []), "tuned has answered no rows"),
    "twice": (Contender("tuned", "abc", [*TUNED.rows, TUNED.rows[3]]), "tuned has two verdicts on row-3"),
    "NaN": (
        Contender("tuned", "abc", [replace(TUNED.rows[0], correct=math.nan), *TUNED.rows[1:]]),  # type: ignore[arg-type]
        "tuned has no verdict on row-0 but something else",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_judged_is_refused(name: str) -> None:
    tuned, sentence = REFUSED[name]
    made = decide(tuned, BASE, None, RULES)
    assert made.decision == "refuse"
    assert made.reasons[0].startswith(sentence)


def test_a_floor_without_rows_and_rules_that_are_no_numbers_are_refused() -> None:
    single = Contender("tuned", "abc", [r for r in TUNED.rows if r.category is Category.SINGLE])
    base = Contender("base", "abc", [r for r in BASE.rows if r.category is Category.SINGLE])
    made = decide(single, base, None, RULES)
    assert made.decision == "refuse"
    assert made.reasons[0] == "missing on seen tools has no rows, and its floor is 50%"
    assert decide(TUNED, BASE, None, replace(RULES, margin=math.nan)).reasons == (
        "the gate's margin is nan, which is no share",
    )


def test_a_champion_that_cannot_be_compared_with_leaves_a_challenger() -> None:
    made = decide(TUNED, BASE, None, RULES, why_no_champion="its adapter is gone")
    assert (made.decision, made.reasons) == (
        "challenge",
        ("the champion cannot be compared with: its adapter is gone",),
    )


def test_a_change_that_one_of_the_two_was_not_asked_is_a_missing_slice() -> None:
    asked = of("x", [True] * 60, setting="robust:typos").rows
    more = Contender("tuned", "abc", [*TUNED.rows, *asked])
    champion = Contender("champion 3", "abc", [*TUNED.rows, *asked[:59]])
    lost = "champion 3 has no verdict on row-59~robust:typos in the slice robust:typos; evaluate again"
    assert decide(more, BASE, champion, RULES).reasons == (lost,)
    assert other_rows(more, champion) == lost
    why = "tuned has no verdict on row-0~robust:typos and 58 more in the slice robust:typos; evaluate again"
    assert decide(TUNED, BASE, champion, RULES).reasons == (why,)
    assert decide(TUNED, Contender("base", "abc", [*BASE.rows, *asked]), None, RULES).decision == "refuse"
    assert other_rows(more, BASE, plain_will_do=True) is None
    none = "champion 3 has no verdict on row-0~robust:typos and 59 more in the slice robust:typos; evaluate again"
    assert decide(more, BASE, of("champion 3", GOOD), RULES).reasons == (none,)


def test_constrained_answers_are_reported_apart_and_decide_nothing() -> None:
    constrained = [replace(one, setting="constrained", correct=False) for one in TUNED.rows]
    tuned = Contender("tuned", "abc", [*TUNED.rows, *constrained])
    made = decide(tuned, BASE, of("champion 3", GOOD), RULES)
    assert made.decision == "promote"
    assert made.numbers["apart"]["constrained"]["accuracy"] == 0
    assert "constrained" not in made.numbers["champion"]["slices"]


def test_constrained_answers_of_both_decide_nothing_either() -> None:
    constrained = [replace(one, setting="constrained") for one in TUNED.rows]
    worse = [replace(one, correct=i % 2 == 0) for i, one in enumerate(constrained)]
    champion = Contender("champion 3", "abc", [*TUNED.rows, *constrained])
    made = decide(Contender("tuned", "abc", [*TUNED.rows, *worse]), BASE, champion, RULES)
    assert made.decision == "promote"
    assert "constrained" not in made.numbers["champion"]["slices"]


def test_a_floor_is_of_seen_tools_alone() -> None:
    wrong = [replace(one, seen=False, correct=False) if i % 16 in (14, 15) else one for i, one in enumerate(TUNED.rows)]
    seen = [replace(one, seen=True, correct=True) if i >= 128 else one for i, one in enumerate(wrong)]
    made = decide(Contender("tuned", "abc", seen), BASE, None, RULES)
    floor = made.numbers["floors"]["no_tool"]
    assert (floor["n"], floor["correct"], made.decision) == (4, 4, "promote")


def test_rows_that_are_another_kind_for_the_other_model_are_other_rows() -> None:
    odd = [replace(TUNED.rows[0], category=Category.PARALLEL), *TUNED.rows[1:]]
    made = decide(TUNED, BASE, Contender("champion 3", "abc", odd), RULES)
    why = "row-0 is single en call for tuned and parallel en call for champion 3; evaluate again"
    assert (made.decision, made.reasons) == ("refuse", (why,))


def test_which_tools_are_seen_is_what_the_tuned_models_training_says() -> None:
    once = Contender("champion 3", "abc", [replace(one, seen=not one.seen) for one in TUNED.rows])
    made = decide(TUNED, BASE, once, RULES)
    assert made.decision == "promote"
    assert made.numbers["champion"]["slices"]["tools:seen"]["n"] == 120


def test_one_slice_of_twelve_at_a_hundredth_is_chance() -> None:
    """Eleven lost of 60 is p = 0.01 alone; it is Holm over the slices that takes it for chance."""
    changes = [f"robust:{i:02}" for i in range(12)]

    def champion(lost: int) -> Decision:
        theirs = [one for change in changes for one in of("x", [True] * 60, setting=change).rows]
        ours = [replace(r, correct=not (r.setting == changes[0] and int(r.id[4:-10]) < lost)) for r in theirs]
        tuned = Contender("tuned", "abc", [*TUNED.rows, *ours])
        return decide(tuned, BASE, Contender("champion 3", "abc", [*TUNED.rows, *theirs]), RULES)

    made = champion(11)
    one = made.numbers["champion"]["slices"]["robust:00"]
    assert 0.001 < one["p"] < 0.02
    assert one["ci95"][1] < -RULES.margin
    assert (one["decisive"], one["regression"], made.decision) == (True, False, "promote")
    assert one["p_holm"] > RULES.alpha
    made = champion(18)
    assert made.decision == "refuse"
    [why] = made.reasons
    assert why.startswith(
        "robust:00 got worse than champion 3: 70.0% against 100.0% of 60 rows, a loss of 19.9 to 42.5"
    )
    p_holm = made.numbers["champion"]["slices"]["robust:00"]["p_holm"]
    assert why.endswith(f" points, surely more than the 5 points allowed (Holm p = {p_holm:.2g})")


def test_a_loss_within_the_margin_is_none_however_many_rows_there_are() -> None:
    theirs = [True] * 4000
    ours = [i % 25 != 1 for i in range(4000)]  # 4 points
    made = decide(of("tuned", ours), of("base", [False] * 4000), of("champion 3", theirs), RULES)
    assert not any(one["regression"] for one in made.numbers["champion"]["slices"].values())
    assert made.decision == "refuse"  # but over all rows it is surely fewer
    assert "that is no chance (0 rows won, 160 lost" in made.reasons[0]


def test_a_slice_with_calls_may_not_be_worse_than_base_either() -> None:
    base = of("base", [KINDS[i % 16] is Category.PARALLEL for i in range(320)])
    tuned = of("tuned", [KINDS[i % 16] is not Category.PARALLEL for i in range(320)])
    made = decide(tuned, base, None, RULES)
    assert made.decision == "refuse"
    assert made.reasons[0].startswith("category:parallel got worse than base: 0.0% against 100.0% of 80 rows")


def test_the_weightiest_reason_stands_first_and_none_is_left_out() -> None:
    made = decide(of("tuned", [i % 40 == 0 for i in range(N)]), BASE, of("champion 3", GOOD), RULES)
    starts = (
        "tuned is right on 2.5% of 160 rows, base on",
        "missing on seen",
        "no_tool on seen",
        "tuned is right on 2.5%",
    )
    assert all(why.startswith(start) for why, start in zip(made.reasons, starts, strict=False))
    assert all("got worse than champion 3" in why for why in made.reasons[4:])
    assert len(made.reasons) > 4


def test_every_number_that_decided_is_there() -> None:
    numbers = decide(TUNED, BASE, of("champion 3", flipped(GOOD, win=3)), RULES).numbers
    assert list(numbers) == ["alpha", "margin", "least_rows", "base", "champion", "floors", "apart"]
    overall = ["name", "n", "tuned", "other", "wins", "losses", "difference", "ci95", "p_value", "slices"]
    assert list(numbers["champion"]) == list(numbers["base"]) == overall
    assert list(numbers["champion"]["slices"]["language:zh-TW"]) == [
        *("n", "tuned", "other", "wins", "losses", "difference", "ci95"),
        *("p", "p_holm", "decisive", "regression"),
    ]
    floor = numbers["floors"]["no_tool"]
    assert (floor["floor"], floor["n"], floor["correct"], floor["held"]) == (0.5, 20, 16, True)


@pytest.mark.parametrize(
    ("knob", "sentence"),
    [
        ({"alpha": math.inf}, "the gate's alpha is inf, which is no share"),
        ({"floors": {"no_tool": math.nan}}, "the gate's floor of no_tool is nan, which is no share"),
        ({"least_rows": 0}, "the gate's least_rows is 0, which is no number of rows"),
    ],
)
def test_rules_that_cannot_decide_refuse(knob: dict[str, Any], sentence: str) -> None:
    made = decide(TUNED, BASE, None, replace(RULES, **knob))
    assert (made.decision, made.reasons) == ("refuse", (sentence,))
    json.dumps(made.numbers, allow_nan=False)


def test_two_models_that_are_as_good_are_seldom_told_apart() -> None:
    """Of 160 rows each model gets 10% other ones right by chance; 150 pairs of equals."""
    rng, found = Random(5), Counter[str]()
    for _ in range(150):
        ours, theirs = ([one != (rng.random() < 0.05) for one in GOOD] for _ in range(2))
        found[decide(of("tuned", ours), BASE, of("champion 3", theirs), RULES).decision] += 1
    assert found["refuse"] <= 0.05 * 150
    assert 30 < found["challenge"] < 90


@settings(max_examples=25, deadline=None)
@given(st.lists(st.booleans(), min_size=N, max_size=N), st.lists(st.booleans(), min_size=N, max_size=N))
def test_who_is_held_against_whom_only_turns_the_numbers_round(mine: list[bool], theirs: list[bool]) -> None:
    a, b = of("a", mine), of("b", theirs)
    one, other = compare(a, b, RULES), compare(b, a, RULES)
    assert (one["wins"], one["losses"], one["p_value"]) == (other["losses"], other["wins"], other["p_value"])
    for name, part in one["slices"].items():
        turned = other["slices"][name]
        assert (part["tuned"], part["other"]) == (turned["other"], turned["tuned"])
        assert part["difference"] == -turned["difference"]
        assert part["ci95"] == pytest.approx([-limit for limit in reversed(turned["ci95"])], abs=1.5e-6)
        assert not (part["regression"] and turned["regression"])


rights = st.lists(st.booleans(), min_size=N, max_size=N)


@settings(max_examples=60, deadline=None)
@given(rights, rights)
def test_nothing_significantly_worse_is_ever_promoted_and_order_changes_nothing(
    mine: list[bool], theirs: list[bool]
) -> None:
    tuned, champion = of("tuned", mine), of("champion 3", theirs)
    made = decide(tuned, BASE, champion, RULES)
    wins = sum(a and not b for a, b in zip(mine, theirs, strict=True))
    losses = sum(b and not a for a, b in zip(mine, theirs, strict=True))
    if losses > wins:
        assert made.decision != "promote"
        if mcnemar(wins, losses) < RULES.alpha:
            assert made.decision == "refuse"
    shuffled = list(tuned.rows)
    Random(1).shuffle(shuffled)
    again: Decision = decide(Contender("tuned", "abc", shuffled), BASE, champion, RULES)
    assert again == made
