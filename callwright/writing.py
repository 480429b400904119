"""One row: the turns of each category, from a list of tools and a source of chance. `grammar` says which rows there are

Writer(setting, shown, plan, language, rng).write(Category.FULL_LOOP, "office-train-000042")   ->  Example
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from callwright.backend import World
from callwright.faults import Fault
from callwright.filling import drawn, given_rows, put, shown
from callwright.moments import NOW
from callwright.pack_chains import placed_in, taken_from
from callwright.pack_shape import PLACEHOLDER, Chain, Failing, Given, Halves, Missing, Pack, PackTool
from callwright.records import Call, Calls, Category, Example, Language, Message, Reply, Result, System, User
from callwright.speech import numbers
from callwright.variation import Dress, Shown

if TYPE_CHECKING:
    from callwright.grammar import Plan


@dataclass(slots=True)
class Setting:
    """What the rows of one list of tools share."""

    pack: Pack
    voice: int
    """Which of the openings, and which of the ways to reply, to ask back and to decline: an assistant has one voice.
    Where each row had another, a model would spend its training on guessing words that nothing tells it."""
    tools: list[PackTool]
    targets: list[PackTool]
    """Those of `tools` that requests are about: for rows about unseen tools the held-out ones."""
    absent: list[PackTool]
    """Tools that requests may be about though they are not offered."""
    chains: list[Chain]
    """Chains of which all tools are offered."""
    mixed: bool
    """Whether tools of other packs are offered too: they may serve what the pack calls unsupported."""
    shown: dict[Language, dict[str, Shown]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Filled:
    text: str
    said: dict[str, str]
    """What stands in the text for each parameter."""
    values: dict[str, Any]
    """What a call holds for it."""


class Writer:
    """Writes one row with one source of chance."""

    def __init__(
        self, setting: Setting, shown_tools: Mapping[str, Shown], plan: Plan, language: Language, rng: Random
    ) -> None:
        self.setting, self.pack, self.plan, self.language, self.rng = setting, setting.pack, plan, language, rng
        self.shown = shown_tools
        self.dress = Dress(plan.variation, self.pack, language, plan.test, rng)
        self.values: list[dict[str, Any]] = []
        """The values of each request made, for telling rows apart that call nothing."""
        self.texts: list[str] = []
        """The pack's texts that the requests were made from: `book_room.phrasings.3`."""

    def write(self, category: Category, row_id: str) -> Example | None:
        """The row; None where the list of tools has no request of this category."""
        turns = {
            Category.SINGLE: self._single,
            Category.PARALLEL: self._parallel,
            Category.CHAINED: self._chained,
            Category.MISSING: self._missing,
            Category.NO_TOOL: self._no_tool,
            Category.FULL_LOOP: self._full_loop,
            Category.TOOL_ERROR: self._tool_error,
        }[category]()
        if turns is None:
            return None
        system = System(self._voiced(self.pack.system[self.language]))
        offered = tuple(self.shown[tool.name].tool for tool in self.setting.tools)
        source = {"pack": self.pack.pack, "generator": "grammar", "seed": self.plan.seed}
        source |= {"texts": self.texts, "values": self.values}
        if renamed := self._renamed():
            source["renamed"] = renamed
        return Example(row_id, self.language, category, self.plan.split, offered, (system, *turns), source)

    def _renamed(self) -> dict[str, Any]:
        """The pack's names of tools and parameters that stand under others, so that the calls can be run."""
        return {
            one.tool.name: {"tool": one.name, "params": dict(one.params)}
            for one in self.shown.values()
            if one.params or one.tool.name != one.name
        }

    # One category each: the turns after the system's.

    def _single(self) -> list[Message]:
        tool = self.rng.choice(self.setting.targets)
        asked = self._fill(tool, self._pick(tool.phrasings, f"{tool.name}.phrasings"))
        return [User(asked.text), Calls((self._call(tool, asked.values),))]

    def _parallel(self) -> list[Message] | None:
        """Two calls, or up to `parallel_calls`; with more than two, a tool may be called twice."""
        first = self.rng.choice(self.setting.targets)
        others = [tool for tool in self.setting.tools if tool is not first and tool.name in self.pack.named]
        count = 2
        if self.plan.parallel_calls > 2:
            counts = [n for n in (2, 3, 4) if n <= self.plan.parallel_calls and n in set(self._joinable())]
            count = self.rng.choices(counts, [{2: 6, 3: 3, 4: 1}[n] for n in counts])[0]
            others = [*others, first] if first.properties else others
        if not others:
            return None
        tools = [first, self.rng.choice(others)]
        tools += [self.rng.choice([first, *others]) for _ in range(count - 2)]
        self.rng.shuffle(tools)
        asked = [self._fill(tool, self._pick(tool.clauses, f"{tool.name}.clauses"), dressed=False) for tool in tools]
        calls = [self._call(tool, part.values) for tool, part in zip(tools, asked, strict=True)]
        if len({json.dumps(call.to_json(), sort_keys=True) for call in calls}) < count:
            return None  # the same twice is one
        joiners = [text for text in self._half(self.pack.joiners) if len(PLACEHOLDER.findall(text)) == count]
        text = self.dress.request(self.rng.choice(joiners))
        for name, part in zip("abcd", asked, strict=False):
            upper = part.text[:1].upper() + part.text[1:]
            text = text.replace(f"{{{name}}}", part.text).replace(f"{{{name.upper()}}}", upper)
        return [User(self.dress.said(text)), Calls(tuple(calls))]

    def _joinable(self) -> Iterator[int]:
        """How many requests the pack's joiners join."""
        return (len(PLACEHOLDER.findall(text)) for text in self._half(self.pack.joiners))

    def _chained(self) -> list[Message] | None:
        chain = self.rng.choice(self.setting.chains)
        steps = [self.pack.tool(step.tool) for step in chain.steps]
        text = self.dress.request(self._pick(chain.phrasings, f"chains.{self.pack.chains.index(chain)}"))
        said: dict[str, str] = {}
        values: list[dict[str, Any]] = [{} for _ in steps]
        for name in PLACEHOLDER.findall(text):
            i, param = (placed_in(name, chain, steps) or [(0, name)])[0]
            said[name], values[i][param] = self._value(steps[i].slot_of(param))
            slot = self.pack.slots[steps[i].slot_of(param)]
            if slot.number and values[i][param] not in numbers(put(text, said)):
                said[name] = str(values[i][param])
        self.values.append({name: value for step in values for name, value in step.items()})
        turns: list[Message] = [User(self.dress.said(" ".join(put(text, said).split())))]
        results: list[dict[str, Any]] = []
        with World(self.pack, NOW, first_id=self.rng.randint(100, 9999)) as world:
            for i, (step, tool) in enumerate(zip(chain.steps, steps, strict=True)):
                for param, source in step.take.items():
                    early, name = taken_from(source, steps[:i]) or (0, source)
                    if name not in results[early] and name not in values[early]:
                        continue  # an optional one that was not said
                    taken = results[early].get(name, values[early].get(name))
                    kind = tool.properties[param].get("type")
                    values[i][param] = str(taken) if kind == "string" and not isinstance(taken, str) else taken
                in_order = {name: values[i][name] for name in tool.properties if name in values[i]}
                content = self._run(world, tool, in_order)
                results.append(json.loads(content))
                last = i == len(steps) - 1
                told, facts = self._told(tool, results[-1]) if last else ("", ())
                turns += [
                    Calls((self._call(tool, in_order),)),
                    Result(self.shown[tool.name].tool.name, content, facts),
                    *([Reply(told)] if last else []),
                ]
        return turns

    def _missing(self) -> list[Message]:
        tool = self.rng.choice([tool for tool in self.setting.targets if tool.missing])
        param = self.rng.choice(sorted(tool.missing))
        missing: Missing = tool.missing[param][self.language]
        asked = self._fill(tool, self._pick(missing, f"{tool.name}.missing.{param}"))
        question = Reply(put(self._voiced(missing.questions), asked.said), asks=tuple(missing.words))
        answers = self._half(self.pack.answers)
        if not (self.plan.follow_ups and answers and self.rng.random() < self.plan.follow_ups):
            return [User(asked.text), question]
        said, value = self._value(tool.slot_of(param))
        answer = put(self.rng.choice(answers), {"value": said})
        if isinstance(value, int | float) and value not in numbers(answer):
            answer = put(answer.replace(said, "{value}", 1), {"value": str(value)})
        values = {
            name: {**asked.values, param: value}[name] for name in tool.properties if name in {*asked.values, param}
        }
        self.values.append({param: value})
        return [User(asked.text), question, User(self.dress.said(answer)), Calls((self._call(tool, values),))]

    def _no_tool(self) -> list[Message]:
        kind = self.rng.choices(["absent", "unsupported", "chat"], [0.5, 0.3, 0.2])[0]
        if kind == "unsupported" and self.setting.mixed:
            kind = "absent"  # a tool of another pack may serve it
        if kind == "chat" or (kind == "absent" and self.setting.mixed and not self.setting.absent):
            talk = self.pack.chat[self.language].of(self.plan.test)
            said, answer = self.rng.choice(talk)
            self.texts.append(f"chat.{talk.index([said, answer])}")
            return [User(self.dress.said(said)), Reply(answer)]
        decline = Reply(self._voiced(self._half(self.pack.declines)))
        if kind == "unsupported" or not self.setting.absent:
            return [
                User(self.dress.said(self.dress.request(self._pick(self.pack.unsupported, "unsupported")))),
                decline,
            ]
        tool = self.rng.choice(self.setting.absent)
        return [User(self._fill(tool, self._pick(tool.phrasings, f"{tool.name}.phrasings")).text), decline]

    def _full_loop(self) -> list[Message] | None:
        runnable = [tool for tool in self.setting.targets if tool.action]
        if not runnable:
            return None
        tool = self.rng.choice(runnable)
        asked = self._fill(tool, self._pick(tool.phrasings, f"{tool.name}.phrasings"))
        with World(self.pack, NOW, first_id=self.rng.randint(100, 9999)) as world:
            content = self._run(world, tool, asked.values)
        told, facts = self._told(tool, json.loads(content))
        result = Result(self.shown[tool.name].tool.name, content, facts)
        return [User(asked.text), Calls((self._call(tool, asked.values),)), result, Reply(told)]

    def _tool_error(self) -> list[Message] | None:
        """The tool fails: that is told, or the call is made once more and works, or fails again."""
        fitting = [(tool, failing) for tool in self.setting.targets for failing in self._failings(tool)]
        if not fitting:
            return None
        tool, failing = self.rng.choice(fitting)
        asked = self._fill(tool, self._pick(tool.phrasings, f"{tool.name}.phrasings"))
        name, call = self.shown[tool.name].tool.name, Calls((self._call(tool, asked.values),))
        failed = Result(name, json.dumps({"error": failing.error}))
        told = Reply(self._voiced(self._half(failing.told)))
        turns: list[Message] = [User(asked.text), call, failed]
        if not failing.retry:
            return [*turns, told]
        if self.rng.random() < 0.3:
            return [*turns, call, failed, told]
        with World(self.pack, NOW, first_id=self.rng.randint(100, 9999)) as world:
            content = self._run(world, tool, asked.values)
        reply, facts = self._told(tool, json.loads(content))
        return [*turns, call, Result(name, content, facts), Reply(reply)]

    def _failings(self, tool: PackTool) -> list[Failing]:
        action = tool.action
        if action is None:
            return []
        finds = action.select or action.update or action.delete
        return [
            failing
            for failing in self.pack.errors
            if (failing.tools is None or tool.name in failing.tools)
            and (failing.error != "not_found" or finds)
            and self._half(failing.told)
        ]

    # Calls and their results

    def _call(self, tool: PackTool, values: Mapping[str, Any]) -> Call:
        one = self.shown[tool.name]
        return Call(one.tool.name, one.names(values))

    def _run(self, world: World, tool: PackTool, values: Mapping[str, Any]) -> str:
        def draw(slot: str) -> Any:
            return self._value(slot)[1]

        def count(given: Given) -> int:
            return self.rng.randint(given.rows.min, given.rows.max) if given.rows else 1

        for table, row in given_rows(self.pack, tool, values, draw, count, NOW):
            world.put(table, row)
        return world.run(Call(tool.name, values))

    def _told(self, tool: PackTool, result: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
        """A reply that tells the result, and what of it the reply must tell."""
        reply = self._voiced(self._half(tool.replies))
        said: dict[str, str] = {}
        facts: list[str] = []
        for name in dict.fromkeys(PLACEHOLDER.findall(reply)):
            if result.get(name) is None:
                raise Fault(
                    f"packs/{self.pack.pack}.yaml: the reply {reply!r} of {tool.name} tells {name!r}, and its result "
                    f"is {json.dumps(result, ensure_ascii=False)}; let given fill that column"
                )
            said[name], found = shown(result[name], self.language, self.rng)
            facts += found
        return put(reply, said), tuple(facts)

    # Texts and values

    def _pick(self, texts: Any, place: str) -> str:
        half = self._half(texts)
        chosen = self.rng.choice(half)
        self.texts.append(f"{place}.{half.index(chosen)}")
        return chosen

    def _half(self, texts: Any) -> list[str]:
        halves: Halves = texts if isinstance(texts, Halves) else texts[self.language]
        return halves.of(self.plan.test)

    def _voiced(self, texts: Sequence[str]) -> str:
        return texts[self.setting.voice % len(texts)]

    def _fill(self, tool: PackTool, text: str, dressed: bool = True) -> _Filled:
        text = self.dress.request(text) if dressed else text
        held = set(PLACEHOLDER.findall(text))
        said: dict[str, str] = {}
        values: dict[str, Any] = {}
        for param in tool.properties:  # in the schema's order, which is also the order in a call
            if param in held:
                said[param], values[param] = self._value(tool.slot_of(param))
        for param, value in values.items():  # 「下週一十七個人」 says neither 一 nor 十七: there, digits
            if self.pack.slots[tool.slot_of(param)].number and value not in numbers(put(text, said)):
                said[param] = str(value)
        self.values.append(values)
        filled = " ".join(put(text, said).split())
        return _Filled(self.dress.said(filled) if dressed else filled, said, values)

    def _value(self, slot_name: str) -> tuple[str, Any]:
        """What is said, and what the call holds."""
        plan = self.plan
        return drawn(self.pack, slot_name, self.language, plan.test, plan.variation.spoken, self.rng)
