"""What each row is to be: its category, language, tools, and the person who asks.

    Plans(toolsets, seed=7, languages={Language.EN: 1.0}, model="qwen3").plan(42)   ->  Plan("qwen3-1f0c9a2b-000042", …)

A plan depends on the choices above and on its place, not on how many rows are asked for: asked for more, a run goes on
where it ended. The id names the choices by a hash, so that rows of other choices are other rows.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random

from callwright.pack_shape import Chain, Pack
from callwright.records import Category, Language, Tool

SHARES: Mapping[Category, float] = {
    Category.SINGLE: 0.25,
    Category.PARALLEL: 0.2,
    Category.CHAINED: 0.1,
    Category.MISSING: 0.15,
    Category.NO_TOOL: 0.12,
    Category.FULL_LOOP: 0.12,
    Category.TOOL_ERROR: 0.06,
}
_MOST_OFFERED = 6
_PERSONS = (
    "an office assistant",
    "the owner of a small shop",
    "a nurse between two shifts",
    "a student",
    "a software engineer",
    "a parent with little time",
    "a retired teacher",
    "a sales representative on the road",
    "a project manager",
    "a cook",
    "someone new to the job",
    "an accountant",
    "a driver who speaks into a phone",
    "a researcher",
    "an event organiser",
    "a person planning a family trip",
)
_STYLES = (
    "polite and complete",
    "blunt",
    "gives the reason first",
    "as a question",
    "chatty, with small talk around it",
    "in telegram style",
    "spoken, with a filler word or a correction of oneself",
    "mixes a word of the other language in, as people do at work",
    "formal, as in a letter",
    "as one line of notes",
)
_LENGTHS = ("under ten words", "one short sentence", "one sentence", "two sentences", "three or four sentences")


@dataclass(frozen=True, slots=True)
class Toolset:
    """Tools that belong together. With a pack, its world runs their calls."""

    name: str
    tools: Mapping[Language, tuple[Tool, ...]]
    pack: Pack | None = None
    systems: Mapping[Language, str] | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    id: str
    category: Category
    language: Language
    toolset: Toolset
    offered: tuple[Tool, ...]
    targets: tuple[Tool, ...]
    """What the request is about. Of a chain its steps, in order."""
    person: str
    style: str
    length: str
    follow_up: bool
    """Of a row that asks back: whether the user answers and the call follows."""
    chance: int
    """Seed of all that is drawn for this row's world."""

    @property
    def live(self) -> Pack | None:
        """The pack that runs this row's calls, if any does; otherwise the teacher writes the results too."""
        return self.toolset.pack if self.category in _WITH_RESULTS else None


_WITH_RESULTS = (Category.CHAINED, Category.FULL_LOOP, Category.TOOL_ERROR)


class Plans:
    def __init__(self, toolsets: Sequence[Toolset], seed: int, languages: Mapping[Language, float], model: str) -> None:
        self.toolsets, self.seed, self.languages = toolsets, seed, languages
        self.stem = f"{slug(model)}-{self._digest(model)}"

    def id(self, i: int) -> str:
        return f"{self.stem}-{i:06d}"

    def plan(self, i: int) -> Plan:
        rng = Random(f"{self.seed}:{i}")
        toolset = self.toolsets[i % len(self.toolsets)]
        language = rng.choices(list(self.languages), list(self.languages.values()))[0]
        possible = self._possible[toolset.name]
        category = rng.choices(possible, [SHARES[each] for each in possible])[0]
        tools = {tool.name: tool for tool in toolset.tools[language]}
        targets = [tools[name] for name in _targets(toolset, category, rng)]
        others = [tool for tool in tools.values() if tool not in targets]
        unique = list({tool.name: tool for tool in targets}.values())
        room = max(2, rng.randint(2, _MOST_OFFERED) - len(unique))
        if category is Category.NO_TOOL and len(others) > room:  # a tool that is not offered is what they may ask for
            offered = rng.sample(others, room)
        else:
            offered = [*unique, *rng.sample(others, min(room, len(others)))]
        rng.shuffle(offered)
        return Plan(
            self.id(i),
            category,
            language,
            toolset,
            tuple(offered),
            tuple(targets),
            rng.choice(_PERSONS),
            rng.choice(_STYLES),
            rng.choice(_LENGTHS),
            rng.random() < 0.5,
            rng.randrange(1 << 30),
        )

    @cached_property
    def _possible(self) -> dict[str, list[Category]]:
        return {toolset.name: [each for each in SHARES if _can(toolset, each)] for toolset in self.toolsets}

    def _digest(self, model: str) -> str:
        tools = [
            [toolset.name, [tool.to_json() for tools in toolset.tools.values() for tool in tools]]
            for toolset in self.toolsets
        ]
        choices = [model, self.seed, {str(each): share for each, share in self.languages.items()}, tools]
        return hashlib.sha256(json.dumps(choices, sort_keys=True).encode()).hexdigest()[:8]


def slug(name: str) -> str:
    """A model's name as part of a file's name and of ids: `Qwen/Qwen3-8B` -> `qwen3-8b`."""
    return re.sub(r"[^a-z0-9.]+", "-", name.rstrip("/").rpartition("/")[2].lower()).strip("-.") or "model"


def _can(toolset: Toolset, category: Category) -> bool:
    tools, pack = next(iter(toolset.tools.values())), toolset.pack
    match category:
        case Category.MISSING:
            return any(tool.required for tool in tools)
        case Category.CHAINED:
            return bool(_chains(toolset)) if pack else len(tools) > 1
        case Category.FULL_LOOP | Category.TOOL_ERROR:
            return any(pack.tool(tool.name).action for tool in tools) if pack else True
    return True


def _targets(toolset: Toolset, category: Category, rng: Random) -> list[str]:
    """Names of the tools that the row is about."""
    tools, pack = next(iter(toolset.tools.values())), toolset.pack
    names = [tool.name for tool in tools]
    match category:
        case Category.PARALLEL:
            count = rng.choices([2, 3, 4], [6, 3, 1])[0]
            return (
                rng.sample(names, count) if count <= len(names) and rng.random() < 0.8 else rng.choices(names, k=count)
            )
        case Category.CHAINED:
            return [step.tool for step in rng.choice(_chains(toolset)).steps] if pack else rng.sample(names, 2)
        case Category.MISSING:
            return [rng.choice([tool.name for tool in tools if tool.required])]
        case Category.NO_TOOL:
            return []
        case Category.FULL_LOOP | Category.TOOL_ERROR if pack:
            return [rng.choice([name for name in names if pack.tool(name).action])]
    return [rng.choice(names)]


def _chains(toolset: Toolset) -> list[Chain]:
    """The pack's chains of which every tool may be offered."""
    names = {tool.name for tool in next(iter(toolset.tools.values()))}
    chains = toolset.pack.chains if toolset.pack else []
    return [chain for chain in chains if all(step.tool in names for step in chain.steps)]
