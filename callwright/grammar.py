"""Rows from packs: a phrasing, values for its placeholders, the calls they stand for, and the world's answer.

    rows = Rows(packs, plan)
    rows.fresh(42, taken)   ->  the row in that place, with a request that none of `taken` has

Nothing here is random beyond its seed: a row depends on the plan, its place in it and the requests already taken. The
same plan gives the same bytes, and the exam, written first, does not change with the training rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from random import Random

from callwright.duplicates import fingerprint
from callwright.faults import Fault
from callwright.pack_shape import Chain, Pack, PackTool
from callwright.records import Category, Example, Language, Split
from callwright.variation import Shown, Variation, show_tools
from callwright.writing import Setting, Writer

_TRIES = 200
_TRIES_A_LIST = 50


@dataclass(frozen=True, slots=True)
class Plan:
    """What to write: so many rows of one split."""

    split: Split
    rows: int
    seed: int
    zh_tw_share: float
    categories: Mapping[Category, float]
    tools_offered: tuple[int, int]
    rows_per_tool_list: int
    """So many rows after one another have one language, opening and list of tools, as an application has one list
    for many requests; training computes what they share once a batch. A row whose list has nothing new left to ask
    for takes another list."""
    voices: int
    """How many ways the assistant has of opening, asking back, declining and reporting."""
    held_out: frozenset[str]
    unseen: bool = False
    """Rows about the held-out tools; otherwise they are never offered."""
    held_out_packs: frozenset[str] = frozenset()
    """Packs of which all tools are held out."""
    rarer: float = 2.0
    """A list with one tool more is so many times as rare."""
    parallel_calls: int = 2
    """So many calls at most in one turn."""
    follow_ups: float = 0.0
    """Share of the rows that ask back in which the user answers and the call follows."""
    variation: Variation = field(default_factory=Variation)

    @property
    def test(self) -> bool:
        """Whether phrasings and free values are those of the test."""
        return self.split is Split.TEST

    def holds_out(self, pack: Pack, tool: PackTool) -> bool:
        return pack.pack in self.held_out_packs or tool.name in self.held_out


class Rows:
    """The rows of a plan by their place. A row depends on its place and on how often it was tried, on nothing else."""

    def __init__(self, packs: Sequence[Pack], plan: Plan) -> None:
        self.plan, self.all_packs = plan, packs
        self.packs = [pack for pack in packs if any(plan.holds_out(pack, tool) is plan.unseen for tool in pack.tools)]
        self.stem = "unseen" if plan.unseen else str(plan.split)
        self._group = -1
        self._setting: Setting | None = None

    @cached_property
    def schedule(self) -> list[tuple[Category, Language]]:
        return _schedule(self.plan)

    def fresh(self, i: int, taken: set[int]) -> Example:
        """Row `i`, whose request none of `taken` has; it is taken then."""
        attempt = 0
        while attempt < _TRIES:
            row = self.attempt(i, attempt)
            if row is None:  # nor has this list of tools another such request
                attempt += _TRIES_A_LIST - attempt % _TRIES_A_LIST
                continue
            if (request := fingerprint(row)) not in taken:
                taken.add(request)
                return row
            attempt += 1
        category, language = self.schedule[i]
        pack = self._pack(i)
        raise Fault(
            f"packs/{pack.pack}.yaml: {self.plan.rows} rows need more {category} requests in {language} than it can "
            f"phrase without repeating one ({i} were written); add phrasings and values, or ask for fewer rows"
        )

    def attempt(self, i: int, attempt: int) -> Example | None:
        """Row `i` as the given attempt writes it; None where the list of tools has no such request."""
        plan, pack, group = self.plan, self._pack(i), i // self.plan.rows_per_tool_list
        category, language = self.schedule[i]
        if attempt < _TRIES_A_LIST:
            if self._group != group or self._setting is None:
                self._group, self._setting = group, self._draw(pack, Random(f"{plan.seed}:list:{group}"))
            setting = self._setting
        else:
            renewed = attempt // _TRIES_A_LIST * _TRIES_A_LIST
            setting = self._draw(pack, Random(f"{plan.seed}:list:{group}:{i}:{renewed}"))
        if category is Category.CHAINED and not setting.chains:
            setting = self._draw(
                pack, Random(f"{plan.seed}:list:{group}:chain:{attempt // _TRIES_A_LIST}"), chained=True
            )
        rng = Random(f"{plan.seed}:{i}:{attempt}")
        shown = self._shown(setting, language, group)
        return Writer(setting, shown, plan, language, rng).write(category, f"{pack.pack}-{self.stem}-{i:06d}")

    def _pack(self, i: int) -> Pack:
        return self.packs[i // self.plan.rows_per_tool_list % len(self.packs)]

    def _shown(self, setting: Setting, language: Language, group: int) -> dict[str, Shown]:
        """The tools as the list shows them, the same for all its rows."""
        if language not in setting.shown:
            rng = Random(f"{self.plan.seed}:shown:{group}:{language}")
            setting.shown[language] = show_tools(setting.tools, language, self.plan.variation, rng)
        return setting.shown[language]

    def _draw(self, pack: Pack, rng: Random, chained: bool = False) -> Setting:
        """A list of tools, and what its rows may ask for."""
        plan = self.plan
        seen = [tool for tool in pack.tools if not plan.holds_out(pack, tool)]
        held = [tool for tool in pack.tools if plan.holds_out(pack, tool)]
        pool = held if plan.unseen else seen
        asked = {tool.name for tool in pool}
        chains = [chain for chain in pack.chains if self._fits(chain, pack)] if chained else []
        if chained and not chains:
            which = "held-out" if plan.unseen else "other"
            raise Fault(
                f"packs/{pack.pack}.yaml: no chain is about its {which} tools; add one under chains, "
                "or set the share of chained rows to 0"
            )
        least, most = plan.tools_offered
        sizes = range(least, most + 1)  # few tools more often than many: each costs tokens in every row
        weights = [plan.rarer ** (least - size) for size in sizes]
        for _ in range(_TRIES):
            size = rng.choices(sizes, weights)[0]
            needed: list[PackTool] = []
            if chained:
                needed = [pack.tool(name) for name in dict.fromkeys(step.tool for step in rng.choice(chains).steps)]
            elif plan.unseen:
                needed = rng.sample(held, rng.randint(1, min(2, len(held))))
            named = {tool.name for tool in needed}
            more = [tool for tool in seen or held if tool.name not in named]
            tools = needed + rng.sample(more, max(0, min(size - len(needed), len(more))))
            if others := self._others(pack, len(tools) - max(1, len(needed)), rng):
                tools = [*tools[: len(tools) - len(others)], *others]
            rng.shuffle(tools)
            targets = [tool for tool in tools if tool.name in asked]
            if chained or any(tool.missing for tool in targets):
                voice = rng.randrange(min(plan.voices, max(len(pack.system[each]) for each in Language)))
                offered = {tool.name for tool in tools}
                absent = [tool for tool in pool if tool.name not in offered]
                fitting = [c for c in pack.chains if self._fits(c, pack) and {s.tool for s in c.steps} <= offered]
                return Setting(pack, voice, tools, targets, absent, fitting, mixed=bool(others))
        raise Fault(
            f"packs/{pack.pack}.yaml: hardly any of its {'held-out' if plan.unseen else 'other'} tools has `missing`; "
            "add it to some, for rows of the category missing"
        )

    def _others(self, pack: Pack, most: int, rng: Random) -> list[PackTool]:
        """Up to `most` tools of other packs, for the place of some of the list's."""
        share = self.plan.variation.other_packs
        if not share or most < 1 or rng.random() >= share:
            return []
        strange = [
            tool
            for other in self.all_packs
            if other.pack != pack.pack
            for tool in other.tools
            if not self.plan.holds_out(other, tool)
        ]
        return rng.sample(strange, min(len(strange), rng.randint(1, most)))

    def _fits(self, chain: Chain, pack: Pack) -> bool:
        """Whether the chain is about tools that the plan's rows may be about."""
        held = [self.plan.holds_out(pack, pack.tool(step.tool)) for step in chain.steps]
        return any(held) if self.plan.unseen else not any(held)


def _schedule(plan: Plan) -> list[tuple[Category, Language]]:
    """Category and language of each row: shares as exact as whole rows allow, in an order drawn from the seed.

    Rows of one list have one language, but for the list where a language ends.
    """
    cells = {}
    for category, share in plan.categories.items():
        cells[category, Language.ZH_TW] = share * plan.zh_tw_share
        cells[category, Language.EN] = share * (1 - plan.zh_tw_share)
    counts = {cell: int(plan.rows * share) for cell, share in cells.items()}
    by_rest = sorted(cells, key=lambda cell: (counts[cell] - plan.rows * cells[cell], cell))
    for cell in by_rest[: plan.rows - sum(counts.values())]:
        counts[cell] += 1
    rng, size = Random(f"{plan.seed}:schedule"), plan.rows_per_tool_list
    whole: list[list[tuple[Category, Language]]] = []
    rest: list[tuple[Category, Language]] = []
    for language in Language:
        rows = [cell for cell, count in counts.items() for _ in range(count) if cell[1] is language]
        rng.shuffle(rows)
        whole += [rows[i : i + size] for i in range(0, len(rows) - size + 1, size)]
        rest += rows[len(rows) // size * size :]
    rng.shuffle(whole)
    return [row for group in whole for row in group] + rest
