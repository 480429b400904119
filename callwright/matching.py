"""Calls against the calls that are right.

    Wanted("book_room", {"room": ("A301",), "people": (14, 15)}, optional={"people"})
    unmatched([Call("book_room", {"room": "a301"})], [that], {"book_room": tool})   ->  ([], [])

Several values of a parameter may be right, and a parameter may be left out. Then the first match is not always a good
one: a call that either of two would take must be left to the one that takes nothing else. So calls are matched as a
whole, as many as can be: a maximum flow by augmenting paths (Ford and Fulkerson, 1956), equal calls taken together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from callwright.moments import NOW
from callwright.records import Call, Tool
from callwright.schemas import of_parameter
from callwright.values import defaults, meaning


@dataclass(frozen=True, slots=True)
class Wanted:
    """A call that is right: the values that each parameter may have, one or more."""

    tool: str
    params: Mapping[str, tuple[Any, ...]]
    optional: frozenset[str] = frozenset()
    """Parameters that may be left out."""


Tools = Mapping[str, Tool] | None
"""By name; None where nothing says what they take, and calls are compared by their values alone."""


def wanted_of(call: Call, tool: Tool | None) -> Wanted:
    """Each value as it stands; a parameter that has its schema's default, or is left out for it, may be either."""
    params = {name: (value,) for name, value in call.params.items()}
    if tool is None:
        return Wanted(call.tool, params)
    optional = set()
    for name, means in defaults(tool.parameters, tool.parameters).items():
        if name not in params:
            params[name] = (tool.properties[name]["default"],)
            optional.add(name)
        elif _meant(name, params[name][0], tool, NOW) == means:
            optional.add(name)
    return Wanted(call.tool, params, frozenset(optional))


def fits(call: Call, wanted: Wanted, tool: Tool | None, now: datetime = NOW) -> bool:
    """Whether the call is one that is wanted, by schema."""
    sides = _Sides({call.tool: tool} if tool else None, now)
    return sides.fit(sides.called(call), sides.wanted(wanted))


def unfit(call: Call, wanted: Wanted, tool: Tool | None, now: datetime = NOW) -> list[str]:
    """The parameters, by name, in which a call of the tool that is wanted differs from it."""
    sides = _Sides({call.tool: tool} if tool else None, now)
    return sorted(sides.unfit(sides.called(call), sides.wanted(wanted)))


def unmatched(
    called: Sequence[Call], wanted: Sequence[Wanted], tools: Tools, now: datetime = NOW
) -> tuple[list[Call], list[Wanted]]:
    """The calls that are left over on either side where as many as possible fit, each in the order given."""
    sides = _Sides(tools, now)
    here, there = _groups(map(sides.called, called)), _groups(map(sides.wanted, wanted))
    odd, left = _most(
        sides.edges(list(here), list(there)), list(map(len, here.values())), list(map(len, there.values()))
    )
    return _last(called, here.values(), odd), _last(wanted, there.values(), left)


@dataclass(frozen=True, slots=True)
class _Called:
    tool: str
    means: frozenset[tuple[str, Hashable]]
    """Each parameter with what it says."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    tool: str
    may: frozenset[tuple[str, frozenset[Hashable]]]
    optional: frozenset[str]


class _Sides:
    """Both sides as meanings, at one clock and for one set of tools."""

    def __init__(self, tools: Tools, now: datetime) -> None:
        self._tools, self._now = tools or {}, now
        self._defaults: dict[str, dict[str, Hashable]] = {}

    def called(self, call: Call) -> _Called:
        tool = self._tools.get(call.tool)
        said = ((name, _meant(name, value, tool, self._now)) for name, value in call.params.items())
        return _Called(call.tool, frozenset(said))

    def wanted(self, wanted: Wanted) -> _Wanted:
        tool = self._tools.get(wanted.tool)
        may = (
            (name, frozenset(_meant(name, value, tool, self._now) for value in values))
            for name, values in wanted.params.items()
        )
        return _Wanted(wanted.tool, frozenset(may), wanted.optional)

    def usual(self, name: str) -> Mapping[str, Hashable]:
        """What a tool's parameters mean where they are left out."""
        if name not in self._defaults:
            tool = self._tools.get(name)
            self._defaults[name] = defaults(tool.parameters, tool.parameters, self._now) if tool else {}
        return self._defaults[name]

    def fit(self, call: _Called, wanted: _Wanted) -> bool:
        """A parameter left out means its default."""
        if call.tool != wanted.tool:
            return False
        return not self.unfit(call, wanted)

    def unfit(self, call: _Called, wanted: _Wanted) -> set[str]:
        """The parameters in which two calls of one tool differ."""
        usual, said, may = self.usual(call.tool), dict(call.means), dict(wanted.may)
        wrong = {n for n, means in said.items() if not (means in may[n] if n in may else usual.get(n) == means)}
        left_out = may.keys() - said.keys() - wanted.optional
        return wrong | {name for name in left_out if name not in usual or usual[name] not in may[name]}

    def edges(self, called: Sequence[_Called], wanted: Sequence[_Wanted]) -> list[list[int]]:
        """For each of `called` the places in `wanted` of those it fits."""
        exact: dict[tuple[str, frozenset[tuple[str, Hashable]]], list[int]] = {}
        loose: dict[str, list[int]] = {}
        for i, one in enumerate(wanted):
            if (only := self._only(one)) is None:
                loose.setdefault(one.tool, []).append(i)
            else:
                exact.setdefault((one.tool, only), []).append(i)
        return [
            exact.get((call.tool, self._told(call)), [])
            + [i for i in loose.get(call.tool, ()) if self.fit(call, wanted[i])]
            for call in called
        ]

    def _told(self, call: _Called) -> frozenset[tuple[str, Hashable]]:
        usual = self.usual(call.tool)
        return frozenset(pair for pair in call.means if usual.get(pair[0]) != pair[1]) if usual else call.means

    def _only(self, wanted: _Wanted) -> frozenset[tuple[str, Hashable]] | None:
        """What a call must say, where it is one thing: then it is looked up, and held against no other."""
        usual, told = self.usual(wanted.tool), set[tuple[str, Hashable]]()
        for name, values in wanted.may:
            is_default = name in usual and usual[name] in values
            if len(values) != 1 or (name in wanted.optional and not is_default):
                return None
            if not is_default:
                told.add((name, next(iter(values))))
        return frozenset(told)


def _meant(name: str, value: Any, tool: Tool | None, now: datetime) -> Hashable:
    return (
        meaning(value, name, of_parameter(tool, name), tool.parameters, now) if tool else meaning(value, name, now=now)
    )


def _groups(made: Iterable[Any]) -> dict[Any, list[int]]:
    """The places at which each of them stands."""
    groups: dict[Any, list[int]] = {}
    for i, one in enumerate(made):
        groups.setdefault(one, []).append(i)
    return groups


def _last(given: Sequence[Any], groups: Iterable[Sequence[int]], counts: Sequence[int]) -> list[Any]:
    """The last `counts` of each group, in the order given."""
    places = [i for places, count in zip(groups, counts, strict=True) for i in places[len(places) - count :]]
    return [given[i] for i in sorted(places)]


def _most(edges: Sequence[Sequence[int]], have: list[int], room: list[int]) -> tuple[list[int], list[int]]:
    """How many of each side are left where as many as possible are matched.

    `edges[i]` are the places in `room` that take any of `have[i]`.
    """
    taken: list[dict[int, int]] = [{} for _ in room]
    """For each place how many it has from whom."""
    dead: set[int] = set()
    for i in range(len(have)):
        while have[i] and (way := _way(i, edges, room, taken, dead)):
            givers, places = zip(*way, strict=True)
            back = list(zip(givers, places[1:], strict=False))  # who gives to one place what it has from the next
            count = min(have[i], room[places[0]], *(taken[j][who] for who, j in back))
            have[i] -= count
            room[places[0]] -= count
            for who, j in way:
                taken[j][who] = taken[j].get(who, 0) + count
            for who, j in back:
                taken[j][who] -= count
                if not taken[j][who]:
                    del taken[j][who]
    return have, room


def _way(
    start: int, edges: Sequence[Sequence[int]], room: Sequence[int], taken: Sequence[Mapping[int, int]], dead: set[int]
) -> list[tuple[int, int]]:
    """From a place with room back to `start`, who gives to which place; empty where there is no such way.

    `dead` are the places from which no way leads on; none ever will, so they are not looked at again.
    """
    came: dict[int, int] = {}
    sent = {start: -1}
    """From which place somebody has to take what it has, so that the place can take from another."""
    queue = deque([start])
    while queue:
        who = queue.popleft()
        for j in edges[who]:
            if j in came or j in dead:
                continue
            came[j] = who
            if room[j]:
                return list(_back(j, came, sent))
            for other in taken[j]:
                if other not in sent:
                    sent[other] = j
                    queue.append(other)
    dead.update(came)
    return []


def _back(place: int, came: Mapping[int, int], sent: Mapping[int, int]) -> Iterator[tuple[int, int]]:
    while place >= 0:
        yield came[place], place
        place = sent[came[place]]
