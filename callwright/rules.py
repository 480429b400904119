"""The rules a training row must pass, in order; a rejected row carries the first that failed.

    rules = Rules(packs)
    rules.first_failure(example)   ->  None, or Failure("unknown_param", "office-000042: …")

Rules that need other rows (duplicates, contamination) are in `duplicates`; stages/validate.py runs them last.
A user turn or reply is judged by language; texts of tools and of the system are not.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from functools import lru_cache
from importlib.resources import files
from itertools import pairwise
from typing import Any, NamedTuple

from callwright.backend import Refused, World
from callwright.grounding import dated, foreign, unsaid
from callwright.moments import NOW, Absolute, canonical, is_moment, read
from callwright.packs import Pack
from callwright.records import Calls, Category, Example, Language, Message, Reply, Result, System, User
from callwright.replies import asks_for, facts, invented, untold
from callwright.schemas import of_parameter, schema_fault, tool_fault
from callwright.speech import plain
from callwright.values import leaves


class Failure(NamedTuple):
    code: str
    message: str


Rule = Callable[[Example], Iterator[Failure]]


class Rules:
    """The ordered list. `packs` are the worlds that calls are run in; a row of another pack skips that rule."""

    def __init__(self, packs: Sequence[Pack] = (), today: date | None = None) -> None:
        """`today`: the day from which one said without its year (March 4) is the next; without it none is."""
        self.today = today
        self._last: tuple[Example, list[_Value]] | None = None
        self.packs = {pack.pack: pack for pack in packs}
        self.lexicon = lexicon(packs)
        self.order: tuple[Rule, ...] = (
            tool_schemas,
            roles,
            language,
            calls,
            results,
            self.moments,
            self.grounding,
            self.execution,
            replies,
        )

    def first_failure(self, row: Example, named_tools: bool = True) -> Failure | None:
        """The first rule that the row breaks; where nothing says which tools there are, calls are not held to any."""
        for rule in self.order:
            if rule is calls and not named_tools:
                continue
            try:
                failure = next(rule(row), None)
            except (ArithmeticError, RecursionError, TypeError, ValueError) as error:  # of a row, whatever it holds
                failure = Failure("bad_json", f"it cannot be judged ({type(error).__name__}: {error})")
            if failure:
                return Failure(failure.code, f"{row.id}: {failure.message}")
        return None

    def warnings(self, row: Example) -> Iterator[Failure]:
        """What a person should look at though no rule is broken: mainland terms, free text in another script."""
        if row.language is Language.ZH_TW:
            for i, turn in enumerate(row.messages):
                if isinstance(turn, User | Reply) and (found := mainland_term(turn.content)):
                    term, here = found
                    yield Failure("mainland_term", f"{row.id}: messages[{i}] says {term!r}; in Taiwan that is {here!r}")
        if row.category not in fitting(row):
            likely = ", ".join(fitting(row))
            yield Failure("odd_category", f"{row.id}: category is {row.category}, and its turns are those of {likely}")
        for value in self._values_of(row):
            for part in foreign(value.name, value.value, value.schema, value.said, value.marked, value.root):
                meant = self.lexicon.get(plain(part), ())
                if not any(plain(word) in plain(value.said) for word in meant):
                    shown = f"{row.id}: {value.place} is {part!r}"
                    yield Failure(
                        "other_script", f"{shown}, in another script than the conversation; no pack's words say it"
                    )

    def moments(self, row: Example) -> Iterator[Failure]:
        for value in self._values_of(row):
            for place, name, schema, part in leaves(value.name, value.value, value.schema, value.place, value.root):
                if not isinstance(part, str) or not is_moment(name, schema, value.marked):
                    continue
                moment, shown = read(part), f"{place} is {part!r}"
                if moment is None:
                    yield Failure("bad_relative_time", f"{shown}; expected a moment such as 'tomorrow 15:00'")
                elif isinstance(moment, Absolute) and not dated(moment.date, value.said, self.today):
                    expected = "expected a moment such as 'tomorrow 15:00'"
                    yield Failure("hardcoded_date", f"{shown}, a date nobody said; {expected}")
                elif canonical(moment) != part:
                    yield Failure(
                        "bad_relative_time", f"{shown}; expected its canonical spelling {canonical(moment)!r}"
                    )

    def grounding(self, row: Example) -> Iterator[Failure]:
        for value in self._values_of(row):
            moment = not value.named and isinstance(value.value, str) and read(value.value) is not None
            for part in unsaid(value.name, value.value, value.schema, value.said, value.marked or moment, value.root):
                if not value.named and isinstance(part, str) and _CHOICE.fullmatch(part):
                    continue  # no schema says whether it is one of a few words
                yield Failure("ungrounded_value", f"{value.place} is {part!r}, which the conversation does not hold")

    def execution(self, row: Example) -> Iterator[Failure]:
        """The backend refuses no call."""
        pack = self.packs.get(str(row.source.get("pack")))
        if pack is None or not row.calls:
            return
        with World(pack, NOW) as world:
            for call in row.calls:
                own = row.own(call)
                known = pack.named.get(own.tool)
                if known is not None and known.action is None:
                    continue
                try:
                    world.run(own)
                except Refused as refusal:
                    yield Failure("execution_failed", f"the backend refuses {call.tool}: {refusal}")

    def _values_of(self, row: Example) -> list[_Value]:
        """`_values`, kept for the next rule."""
        if self._last is None or self._last[0] is not row:
            self._last = (row, list(self._values(row)))
        return self._last[1]

    def _values(self, row: Example) -> Iterator[_Value]:
        """Each value of each call, with the conversation before it."""
        tools = {tool.name: tool for tool in row.tools}
        pack = self.packs.get(str(row.source.get("pack")))
        before: list[str] = []
        for i, turn in enumerate(row.messages):
            if isinstance(turn, User | Result):
                before.append(turn.content)
            if not isinstance(turn, Calls):
                continue
            said = "\n".join(before)
            for j, call in enumerate(turn.calls):
                tool = tools.get(call.tool)
                own = pack.named.get(row.own(call).tool) if pack else None
                params = row.renamed(call).get("params", {})
                for name, value in call.params.items():
                    marked = own is not None and params.get(name, name) in own.moments
                    place = f"messages[{i}].calls[{j}].params.{name}"
                    schema = of_parameter(tool, name) if tool else {}
                    root = tool.parameters if tool else {}
                    yield _Value(place, said, name, schema, value, marked, tool is not None, root)


class _Value(NamedTuple):
    place: str
    said: str
    name: str
    schema: Mapping[str, Any]
    value: Any
    marked: bool
    named: bool
    """Whether the row says what its tool takes."""
    root: Mapping[str, Any]
    """The tool's parameters, which `schema` may refer to."""


_CHOICE = re.compile(r"[a-z]+\d{0,2}(?:_[a-z]+\d{0,2})*|[A-Z]{3}")
"""What one of a few words looks like: spouse, ev_charger, pm10, GBP."""


def fitting(row: Example) -> tuple[Category, ...]:
    """The categories that a row's turns may be of."""
    turns = [turn for turn in row.messages if not isinstance(turn, System)]
    kinds = [type(turn) for turn in turns]
    failed = any(isinstance(turn, Result) and '"error"' in turn.content for turn in turns)
    if Calls not in kinds:
        return (Category.MISSING, Category.NO_TOOL)
    if Reply in kinds[: kinds.index(Calls)]:
        return (Category.MISSING,)
    if failed:
        return (Category.TOOL_ERROR, Category.FULL_LOOP, Category.CHAINED)
    if kinds.count(Calls) > 1:
        return (Category.CHAINED, Category.TOOL_ERROR, Category.FULL_LOOP)
    if Result in kinds:
        return (Category.FULL_LOOP,)
    return (Category.PARALLEL,) if len(row.calls) > 1 else (Category.SINGLE,)


def lexicon(packs: Iterable[Pack]) -> dict[str, tuple[str, ...]]:
    """What people say for a value, by the value: the packs' words that say one thing and stand for another."""
    found: dict[str, list[str]] = {}
    for pack in packs:
        for slot in pack.slots.values():
            for words in (slot.any, slot.zh_tw, slot.en):
                for word in (*words.train, *words.test) if words else ():
                    if isinstance(word.value, str) and word.value != word.say:
                        found.setdefault(plain(word.value), []).append(word.say)
    return {value: tuple(said) for value, said in found.items()}


def tool_schemas(row: Example) -> Iterator[Failure]:
    for name, count in Counter(tool.name for tool in row.tools).items():
        if count > 1:
            yield Failure("bad_tool_schema", f"tools holds {name!r} {count} times; expected each name once")
    for i, tool in enumerate(row.tools):
        if fault := tool_fault(tool):
            yield Failure("bad_tool_schema", f"tools[{i}] {tool.name!r}: {fault}")


_NEXT: Mapping[type, tuple[type, ...]] = {
    System: (User,),
    User: (Calls, Reply),
    Calls: (Result,),
    Result: (Result, Calls, Reply),
    Reply: (User,),
}


def roles(row: Example) -> Iterator[Failure]:
    """system, user, assistant; none empty; each turn after one that it can follow; the last is the assistant's."""
    turns = row.messages
    for kind, name in ((System, "system"), (User, "user"), ((Calls, Reply), "assistant")):
        if not any(isinstance(turn, kind) for turn in turns):
            yield Failure("incomplete_roles", f"messages has no {name} turn; expected system, user, assistant")
            return
    if not isinstance(turns[0], System):
        yield Failure("incomplete_roles", f"messages[0] is {_role(turns[0])}; expected system first")
    for i, (before, turn) in enumerate(pairwise(turns), start=1):
        if not isinstance(turn, _NEXT[type(before)]):
            order = f"messages[{i}] is {_role(turn)} after {_role(before)}"
            yield Failure("incomplete_roles", f"{order}; turns are out of order")
    for i, turn in enumerate(turns):
        if not (turn.calls if isinstance(turn, Calls) else turn.content.strip()):
            yield Failure("incomplete_roles", f"messages[{i}] ({_role(turn)}) is empty")
    if not isinstance(turns[-1], Calls | Reply):
        last = f"messages[{len(turns) - 1}] is {_role(turns[-1])}"
        yield Failure("incomplete_roles", f"{last}; expected the assistant's turn last")


_HAN = re.compile(r"[\u3400-\u9fff]")
_LATIN = re.compile(r"[A-Za-z]")
_OTHER = re.compile(r"[\u0370-\u1fff\u3040-\u30ff\uac00-\ud7af]")  # Greek to Mongolian, kana, hangul


def results(row: Example) -> Iterator[Failure]:
    """A result is one of a call in the turn of calls before it, and of no call twice; judged once the calls are."""
    open_calls: list[str] = []
    for i, turn in enumerate(row.messages):
        if isinstance(turn, Calls):
            open_calls = [call.tool for call in turn.calls]
        elif isinstance(turn, Result):
            if turn.tool not in open_calls:
                what = f"messages[{i}] is a result of {turn.tool!r}, which no call before it waits for"
                yield Failure("incomplete_roles", what)
                return
            open_calls.remove(turn.tool)


def _a_value(text: str) -> bool:
    """An answer to a question that may be a value alone, such as a name or a code, in no language."""
    return len(text) <= 64 and not _HAN.search(text) and not _OTHER.search(text)


def language(row: Example) -> Iterator[Failure]:
    for i, turn in enumerate(row.messages):
        if not isinstance(turn, User | Reply):
            continue
        if i and isinstance(row.messages[i - 1], Reply) and _a_value(turn.content):
            continue
        if fault := _language_fault(turn.content, row.language):
            yield Failure("wrong_language", f"messages[{i}] {fault}; expected {row.language}: {_short(turn.content)}")


def _language_fault(text: str, expected: Language) -> str | None:
    han, latin, other = (len(script.findall(text)) for script in (_HAN, _LATIN, _OTHER))
    if other > (latin if expected is Language.EN else han):
        return "is in neither English nor Chinese"
    if expected is Language.EN:
        return "is in Chinese" if han > latin else None
    if not han and latin:
        return "has no Chinese"
    mainland = next((sign for sign in text if sign in simplified()), None)
    return f"has the Simplified {mainland!r}" if mainland else None


_TAIWAN_TOO = frozenset("凄峰床庄昵晒栖灶痴秘粽群肴虱雇霉")
"""OpenCC's table has another Traditional form for these (祕, 羣, 僱, …); Taiwan writes them as they are."""


@lru_cache(maxsize=1)
def simplified() -> frozenset[str]:
    """Characters that stand in Simplified Chinese only, by OpenCC's own table."""
    table = (files("opencc") / "dictionary" / "STCharacters.txt").read_text(encoding="utf-8")
    pairs = (line.split("\t") for line in table.splitlines() if "\t" in line)
    return frozenset(sign for sign, traditional in pairs if sign not in traditional.split()) - _TAIWAN_TOO


@lru_cache(maxsize=1)
def mainland_terms() -> tuple[re.Pattern[str], dict[str, str]]:
    """Terms of the mainland that Taiwan has another for, by OpenCC's own table."""
    table = (files("opencc") / "dictionary" / "TWPhrases.txt").read_text(encoding="utf-8")
    pairs = [line.split("\t") for line in table.splitlines() if "\t" in line]
    kept = {term: here.split()[0] for term, here in pairs if term in _NOT_SAID_HERE}
    terms = sorted(kept, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, terms))), kept


def mainland_term(text: str) -> tuple[str, str] | None:
    """The first mainland term of a text, and what it is in Taiwan."""
    pattern, here = mainland_terms()
    found = pattern.search(text)
    return (found[0], here[found[0]]) if found else None


_NOT_SAID_HERE = frozenset(
    (
        "U盤 下拉列表 互聯網 人工智能 光盤 光驅 內存 刻錄 剪貼板 博客 固件 單片機 命令行 字符 字符串 屏幕 截屏 "
        "打印 打印機 掃描儀 數據庫 數據挖掘 文件夾 服務器 殺毒 源代碼 演示文稿 激光 用戶名 知識產權 短信 硬件 "
        "硬盤 移動電話 移動硬盤 移動網絡 移動通信 程序員 端口 筆記本電腦 粘貼 網吧 網絡 線程 編程 緩存 芯片 "
        "視頻 視頻會議 視頻通話 觸摸屏 計算機科學 計算機安全 軟件 軟驅 黑客 默認 默認值 鼠標 鏈接 操作系統 "
        "局域網 寬帶 出租車 塑料 納米 概率 首席執行官 意大利 新西蘭 老撾 坦桑尼亞 尼日利亞 沙特阿拉伯 馬爾代夫"
    ).split()
)
"""Of the table's some five hundred terms many are also Taiwan's, in another sense (文件, 菜單, 通過); these are not."""


def calls(row: Example) -> Iterator[Failure]:
    """Tools that are offered, parameters that they have, values that their schemas allow."""
    tools = {tool.name: tool for tool in row.tools}
    for i, turn in enumerate(row.messages):
        if not isinstance(turn, Calls):
            continue
        for name, turn_calls in (("calls", turn.calls), *((f"also[{k}]", also) for k, also in enumerate(turn.also))):
            for j, call in enumerate(turn_calls):
                if fault := schema_fault(call, tools.get(call.tool)):
                    yield Failure(fault[0], f"messages[{i}].{name}[{j}]: {fault[1]}")


def replies(row: Example) -> Iterator[Failure]:
    """A reply after results tells their facts and no number from nowhere; a question asks for what is missing."""
    fresh: list[Result] = []  # results since the user's last turn
    held: list[str] = []
    looped = False
    for i, turn in enumerate(row.messages):
        match turn:
            case User(content):
                fresh = []
                held.append(content)
            case Result(_, content, told):
                looped = True
                if odd := untold(content, told):
                    yield Failure("unfaithful_reply", f"messages[{i}] marks {odd[0]!r}, which the result does not hold")
                fresh.append(turn)
                held.append(content)
            case Reply(content, asks):
                if left := untold(content, facts(fresh)):
                    yield Failure("unfaithful_reply", f"messages[{i}] does not tell {left[0]!r}: {_short(content)}")
                if looped and (more := invented(content, held)):
                    what = f"messages[{i}] tells {more[0]}, which no result holds"
                    yield Failure("unfaithful_reply", f"{what}: {_short(content)}")
                if row.category is Category.MISSING and asks and not asks_for(content, asks):
                    words = ", ".join(asks)
                    yield Failure("unfaithful_reply", f"messages[{i}] does not ask for the missing value ({words})")


def _role(turn: Message) -> str:
    return {System: "system", User: "user", Result: "tool"}.get(type(turn), "assistant")


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
