"""Entries of BFCL: what is asked, with which tools, and which calls are right.

    BFCL_v4_multiple.json                  {"id": "multiple_0", "question": [[{"role": "user", "content": "…"}]],
                                            "function": [{"name": …, "description": …, "parameters": {…}}]}
    possible_answer/BFCL_v4_multiple.json  {"id": "multiple_0", "ground_truth": [{"triangle.area": {"base": [10], …}}]}

    read_entries(find_data(Path("bfcl_eval")), "multiple")[0]    ->  Entry("multiple_0", …)

Irrelevance and relevance have no right answers on file: nothing is to be called, or anything. The files are data;
nothing in them is run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from callwright.answers import strict_json
from callwright.bfcl.categories import wants_any_call, wants_no_call
from callwright.bfcl.gold import BadGold, takes_gold, wanted_of
from callwright.bfcl.tools import UnknownType, tool_of
from callwright.faults import Fault
from callwright.loop import Asked
from callwright.matching import Wanted
from callwright.records import Language, Message, Reply, System, Tool, User

OPENING = "You are a helpful assistant."
"""The system text of an entry that has none; one that the packs train with."""

_PLACES = ("", "data", "bfcl_eval/data", "*/bfcl_eval/data", "lib/python*/site-packages/bfcl_eval/data")


@dataclass(frozen=True)
class Entry:
    id: str
    category: str
    tools: tuple[Tool, ...]
    messages: tuple[Message, ...]
    wanted: tuple[Wanted, ...]
    """The right calls, in any order; none where nothing, or anything, is to be called."""

    @property
    def asked(self) -> Asked:
        return Asked(Language.EN, self.tools, self.messages)

    @cached_property
    def judged_by(self) -> Mapping[str, Tool]:
        """The tools by name, each taking what BFCL's own answers give it."""
        return {tool.name: takes_gold(tool, self.wanted) for tool in self.tools}

    @cached_property
    def year_unsaid(self) -> bool:
        """Whether some right value has a year in every spelling, and no turn says that year: it can only be guessed."""
        said = _years("\n".join(message.content for message in self.messages if isinstance(message, System | User)))
        return any(
            values and all(_years(json.dumps(value, ensure_ascii=False)) - said for value in values)
            for wanted in self.wanted
            for name, values in wanted.params.items()
            if name not in wanted.optional
        )


def _years(text: str) -> set[str]:
    return set(re.findall(r"(?<!\d)(?:19|20)\d\d(?!\d)", text))


@dataclass(frozen=True, slots=True)
class Data:
    """The folder of the questions, and the version that its files' names say."""

    folder: Path
    prefix: str

    def questions(self, category: str) -> Path:
        return self.folder / f"{self.prefix}_{category}.json"

    def answers(self, category: str) -> Path:
        return self.folder / "possible_answer" / f"{self.prefix}_{category}.json"


def find_data(path: Path) -> Data:
    """bfcl-eval's data in the folder itself, in the unpacked package, or in an environment that has it installed."""
    for place in _PLACES:
        for folder in sorted(path.glob(place)) if place else [path]:
            versions = {
                int(found[1])
                for file in folder.glob("BFCL_v*_simple_python.json")
                if (found := re.match(r"BFCL_v(\d+)_", file.name))
            }
            if versions:
                return Data(folder, f"BFCL_v{max(versions)}")
    raise Fault(
        f"{path} holds no BFCL_v*_simple_python.json, nor do {', '.join(place for place in _PLACES if place)} in it; "
        "give bfcl-eval's data folder (pip download --no-deps bfcl-eval, and unzip the wheel)"
    )


def read_entries(data: Data, category: str) -> list[Entry]:
    """All entries of a category, in the file's order. `Fault` names file and line of what cannot be read."""
    path = data.questions(category)
    asked = list(_rows(path))
    if wants_no_call(category) or wants_any_call(category):
        return [_entry(category, path, line, row, None) for line, row in asked]
    gold_path = data.answers(category)
    gold = {_id(gold_path, line, row): (line, row) for line, row in _rows(gold_path)}
    if missing := [row["id"] for _, row in asked if row["id"] not in gold]:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise Fault(f"{gold_path} has no answer to {missing[0]}{more}; take both files from one release of bfcl-eval")
    return [_entry(category, path, line, row, (gold_path, *gold[row["id"]])) for line, row in asked]


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    seen: dict[str, int] = {}
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    row = strict_json(line.decode("utf-8-sig"))
                except (ValueError, RecursionError) as error:
                    raise Fault(f"{path}:{number}: not JSON ({error}); unpack bfcl-eval anew") from None
                name = _id(path, number, row)
                if name in seen:
                    raise Fault(f"{path}:{number}: {name} stands in line {seen[name]} already; unpack bfcl-eval anew")
                seen[name] = number
                yield number, row
    except FileNotFoundError:
        raise Fault(f"{path} is missing; give a whole data folder of bfcl-eval") from None


def _id(path: Path, number: int, row: Any) -> str:
    if not isinstance(row, dict) or not isinstance(row.get("id"), str):
        raise Fault(f"{path}:{number}: no object with an id; unpack bfcl-eval anew")
    return str(row["id"])


def _entry(
    category: str, path: Path, line: int, row: Mapping[str, Any], gold: tuple[Path, int, Mapping[str, Any]] | None
) -> Entry:
    place = f"{path}:{line}: {row['id']}"
    functions = row.get("function")
    if not isinstance(functions, list):
        raise Fault(f"{place} has no list of functions; unpack bfcl-eval anew")
    try:
        tools = tuple(map(tool_of, functions))
    except UnknownType as error:
        raise Fault(f"{place}: {error}; take a release of bfcl-eval whose types are known, 2026.3.23 for one") from None
    messages = _messages(row.get("question"), place)
    if gold is None:
        return Entry(row["id"], category, tools, messages, ())
    gold_path, gold_line, answer = gold
    by_name = {tool.name: tool for tool in tools}
    right = answer.get("ground_truth")
    try:
        if not isinstance(right, list) or not right:
            raise BadGold("ground_truth is no list of calls")
        wanted = tuple(wanted_of(one, by_name) for one in right)
    except BadGold as error:
        raise Fault(f"{gold_path}:{gold_line}: {row['id']}: {error}; unpack bfcl-eval anew") from None
    return Entry(row["id"], category, tools, messages, wanted)


def _messages(question: Any, place: str) -> tuple[Message, ...]:
    """One conversation; turns of the user that follow each other become one, as many chat templates want it."""
    if not isinstance(question, list) or len(question) != 1 or not isinstance(question[0], list):
        raise Fault(f"{place} is not one conversation; only BFCL's single-turn categories are answered")
    turns: list[Message] = []
    for turn in question[0]:
        role, content = (turn.get("role"), turn.get("content")) if isinstance(turn, dict) else (None, None)
        if not isinstance(content, str) or role not in ("system", "user", "assistant"):
            raise Fault(f"{place} has a turn that is not system, user or assistant with a text; unpack bfcl-eval anew")
        if role == "user" and turns and isinstance(turns[-1], User):
            turns[-1] = User(f"{turns[-1].content}\n\n{content}")
        else:
            turns.append(User(content) if role == "user" else System(content) if role == "system" else Reply(content))
    if not turns or not isinstance(turns[-1], User):
        raise Fault(f"{place} does not end with the user's turn; unpack bfcl-eval anew")
    return _opened(turns)


def _opened(turns: Sequence[Message]) -> tuple[Message, ...]:
    return tuple(turns) if isinstance(turns[0], System) else (System(OPENING), *turns)
