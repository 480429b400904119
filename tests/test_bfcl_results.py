"""BFCL's result files: written as its evaluator reads them, read back, gone on with, and scored by the command."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callwright.answers import Called, Said, Unparsed, read_answer
from callwright.bfcl.answering import AT_ONCE, Run, WithoutDots, answer_all
from callwright.bfcl.reading import Data, read_entries
from callwright.bfcl.results import python_calls, read_result, read_results, result_line, result_path, result_text
from callwright.faults import Fault
from callwright.loop import Asked, Spoken
from callwright.records import Call, User
from commands import bfcl
from tests.test_bfcl import HYPOT, answer, question, small, write

RIGHT = '{"tool": "math.hypot", "params": {"x": 4, "y": 5}}'

NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: name not in ("is", "in", "if", "as", "or")
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def spoken(raw: str) -> Spoken:
    return Spoken(raw, read_answer(raw))


# What the official evaluator reads


def test_calls_are_written_as_a_python_list_of_them() -> None:
    made = Called((Call("math.hypot", {"x": 4, "y": -5.0}), Call("f", {"q": "臺北 'A'", "on": True, "no": None})))
    assert python_calls(made.calls) == """[math.hypot(x=4, y=-5.0), f(q="臺北 'A'", on=True, no=None)]"""


@given(st.lists(st.tuples(NAMES, st.dictionaries(NAMES, VALUES, max_size=3)), min_size=1, max_size=3))
def test_calls_go_there_and_back(made: list[tuple[str, dict[str, Any]]]) -> None:
    calls = tuple(Call(f"a.{tool}_", {f"{name}_": value for name, value in params.items()}) for tool, params in made)
    try:
        python_calls(calls).encode()
    except UnicodeEncodeError:
        return
    assert read_result(python_calls(calls)) == Called(calls)


@pytest.mark.parametrize(
    ("call", "written"),
    [
        (Call("f", {"from": 1, "User-Agent": "x"}), "[f(**{'from': 1}, **{'User-Agent': 'x'})]"),
        (Call("os.system('rm') or f", {}), "[\"os.system('rm') or f\"()]"),
        (Call("f", {"x=1+1, y": 2}), "[f(**{'x=1+1, y': 2})]"),
        (Call("año", {"ﬁ": 1, "niño": 2}), "[año(**{'ﬁ': 1}, niño=2)]"),
    ],
)
def test_a_name_that_is_none_stays_text_and_nothing_of_it_becomes_code(call: Call, written: str) -> None:
    assert python_calls((call,)) == written
    tree = ast.parse(written, mode="eval")
    assert not any(isinstance(node, ast.BinOp | ast.BoolOp) for node in ast.walk(tree))


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (RIGHT, "[math.hypot(x=4, y=5)]"),
        ("It is 6.4.", "It is 6.4."),
        ('{"tool": "math.hypot", ', '{"tool": "math.hypot", '),
        ("[f(a=__import__('os').getpid()+1)]", "[not_read()]"),  # its decoder evaluates a sum
        ("f(a='a'*10**9)", "[not_read()]"),
        ("`f(a=1+1)`\n", "[not_read()]"),
        ("f(a=lambda: 1)", "[not_read()]"),
        ("f(a=1)", "f(a=1)"),
        ("-" * 90_000 + "1", "-" * 90_000 + "1"),
        ("half \ud800", "half ?"),
    ],
)
def test_a_text_is_handed_on_as_it_is_but_for_what_would_be_evaluated(raw: str, text: str) -> None:
    assert result_text("simple_python", spoken(raw)) == text


def test_what_could_not_be_asked_is_wrong_for_the_official_evaluator_too() -> None:
    unasked = Spoken("", Unparsed("", "too long"), asked=False)
    assert result_text("irrelevance", unasked) == "[not_read()]"  # a call, where text would be right
    assert result_text("live_relevance", unasked) == "too long for the model"
    assert result_line("irrelevance_0", "irrelevance", unasked)["asked"] is False


# What another model's file says


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[f(a=1, b='x'), g.h()]", Called((Call("f", {"a": 1, "b": "x"}), Call("g.h", {})))),
        ("```\nf(a=[1, -2.5], b={'c': True})\n```", Called((Call("f", {"a": [1, -2.5], "b": {"c": True}}),))),
        ("f(a=(1, 2))", Called((Call("f", {"a": [1, 2]}),))),
        ("Hello.", Said("Hello.")),
        ("Paris", Said("Paris")),
    ],
)
def test_the_result_of_another_model_is_read_as_literals(text: str, found: object) -> None:
    assert read_result(text) == found


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("f(1)", "values without a parameter's name"),
        ("f(**{'a': 1})", "values without a parameter's name"),
        ("f(a=open('x'))", "no literal that JSON has too"),
        ("f(a=2**9**9)", "no literal that JSON has too"),
        ("f(a={1, 2})", "no literal that JSON has too"),
        ("f(a=b'x')", "no literal that JSON has too"),
        ("[f(a=1), 'and so on']", "some of it is a call and some is not"),
        ("[]", "a list of no calls"),
        ("", "the answer is empty"),
    ],
)
def test_what_is_no_call_of_literals_is_not_guessed(text: str, why: str) -> None:
    found = read_result(text)
    assert isinstance(found, Unparsed)
    assert why in found.reason


def test_a_file_without_our_keys_is_read_from_its_results(tmp_path: Path) -> None:
    path = write(tmp_path / "r.json", {"id": "a", "result": "[f(a=1)]"}, {"id": "b", "result": "no", "latency": 0.1})
    assert [each.answer for each in read_results(path).values()] == [Called((Call("f", {"a": 1}),)), Said("no")]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"id": "b", "result": "[f(', r":2: not JSON .*; take the file away and run callwright bfcl run again"),
        ("[" * 2000, ":2: not JSON"),
        ({"result": "x"}, ":2: a line is one JSON object with an id"),
        (["b"], ":2: a line is one JSON object with an id"),
        ({"id": "a", "result": "x"}, ":2: a is answered twice; take one of its lines out"),
        ({"id": "b"}, ":2: b: it has neither an answer nor a result that is text"),
        ({"id": "b", "answer": {"calls": []}}, ":2: b: it has neither an answer"),
        ({"id": "b", "answer": {"calls": [{"tool": "f"}]}}, r":2: b: its answer has a call that is none: calls\[0\]"),
    ],
)
def test_a_broken_result_file_is_told_with_its_line(line: Any, told: str, tmp_path: Path) -> None:
    path = write(
        tmp_path / "r.json", {"id": "a", "result": "x"}, line if isinstance(line, str | dict) else json.dumps(line)
    )
    with pytest.raises(Fault, match=rf"r.json{told}"):
        read_results(path)


# Answering


class Speaker:
    """Says one thing to all, and keeps what it was asked; stops after so many times."""

    def __init__(self, text: str = RIGHT, times: int = 99) -> None:
        self.text, self.times = text, times
        self.asked: list[list[str]] = []

    def answer(self, asked: Sequence[Asked]) -> list[Spoken]:
        if len(self.asked) == self.times:
            raise KeyboardInterrupt
        self.asked.append([one.messages[-1].content for one in asked if isinstance(one.messages[-1], User)])
        return [spoken(self.text) for _ in asked]


def many(folder: Path, count: int) -> Data:
    data = Data(folder, "BFCL_v4")
    write(data.questions("simple_python"), *(question(f"simple_python_{i}", f"No. {i}?", HYPOT) for i in range(count)))
    gold = {"math.hypot": {"x": [4.0], "y": [5.0]}}
    write(data.answers("simple_python"), *(answer(f"simple_python_{i}", gold) for i in range(count)))
    return data


def a_run(folder: Path, model: str = "one", limit: int | None = None) -> Run:
    return Run(folder, "tuned", {"model": model}, limit)


def test_a_file_for_each_category_lies_where_the_official_evaluator_looks(tmp_path: Path) -> None:
    data = small(tmp_path / "data")
    answer_all(data, ("simple_python", "live_relevance"), Speaker(), a_run(tmp_path / "out"))
    place = tmp_path / "out/tuned/non_live/BFCL_v4_simple_python_result.json"
    assert [json.loads(line)["id"] for line in place.read_text().splitlines()] == ["simple_python_0", "simple_python_1"]
    assert json.loads(place.read_text().splitlines()[0]) == {
        "id": "simple_python_0",
        "result": "[math.hypot(x=4, y=5)]",
        "answer": {"calls": [{"tool": "math.hypot", "params": {"x": 4, "y": 5}}]},
        "raw": RIGHT,
    }
    assert (tmp_path / "out/tuned/live/BFCL_v4_live_relevance_result.json").is_file()
    assert not list(tmp_path.glob("out/tuned/*/.writing-*"))


def test_an_interrupted_run_goes_on_and_asks_nothing_twice(tmp_path: Path) -> None:
    data, out = many(tmp_path / "data", 2 * AT_ONCE + 5), tmp_path / "out"
    path = result_path(out, "tuned", data, "simple_python")
    first = Speaker(times=1)
    with pytest.raises(KeyboardInterrupt):
        answer_all(data, ("simple_python",), first, a_run(out))
    assert not path.exists()  # whole, or not at all
    (growing,) = path.parent.glob(".writing-*")
    growing.write_bytes(growing.read_bytes()[:-7])  # the kill came while the last line was written
    told: list[str] = []
    second = Speaker()
    answer_all(data, ("simple_python",), second, a_run(out), told.append)
    assert sum(map(len, first.asked)) + sum(map(len, second.asked)) == 2 * AT_ONCE + 6  # the cut one again
    assert list(read_results(path)) == [f"simple_python_{i}" for i in range(2 * AT_ONCE + 5)]
    assert told[-1] == f"simple_python: {2 * AT_ONCE + 5} of {2 * AT_ONCE + 5} answered"
    third = Speaker()
    answer_all(data, ("simple_python",), third, a_run(out))
    assert third.asked == []


def test_a_run_of_the_first_entries_is_part_of_the_whole_one(tmp_path: Path) -> None:
    data, out = many(tmp_path / "data", 9), tmp_path / "out"
    path = result_path(out, "tuned", data, "simple_python")
    answer_all(data, ("simple_python",), Speaker(), a_run(out, limit=3))
    assert list(read_results(path)) == [f"simple_python_{i}" for i in range(3)]
    rest = Speaker()
    answer_all(data, ("simple_python",), rest, a_run(out))
    assert len(rest.asked[0]) == 6
    answer_all(data, ("simple_python",), Speaker(), a_run(out, limit=3))
    assert len(read_results(path)) == 9


def test_a_folder_takes_the_answers_of_one_model_only(tmp_path: Path) -> None:
    data, out = many(tmp_path / "data", 2), tmp_path / "out"
    answer_all(data, ("simple_python",), Speaker(), a_run(out))
    with pytest.raises(
        Fault, match=r"out/tuned holds other answers: model was 'one' and is 'two'; give another --name"
    ):
        answer_all(data, ("simple_python",), Speaker(), a_run(out, "two"))
    (out / "tuned/callwright.json").write_text("{")
    with pytest.raises(Fault, match=r"callwright.json is not JSON .*; give another --name, or take .* away"):
        answer_all(data, ("simple_python",), Speaker(), a_run(out))


def test_answers_to_another_release_are_told(tmp_path: Path) -> None:
    out = tmp_path / "out"
    answer_all(many(tmp_path / "new", 4), ("simple_python",), Speaker(), a_run(out))
    with pytest.raises(Fault, match=r"holds an answer to simple_python_2, which this data does not ask"):
        answer_all(many(tmp_path / "old", 2), ("simple_python",), Speaker(), a_run(out))


def test_two_runs_do_not_write_one_folder_at_once(tmp_path: Path) -> None:
    data, out = many(tmp_path / "data", 2), tmp_path / "out"

    class Nested(Speaker):
        def answer(self, asked: Sequence[Asked]) -> list[Spoken]:
            with pytest.raises(Fault, match="is being written by another run; wait for it, or give another --name"):
                answer_all(data, ("simple_python",), Speaker(), a_run(out))
            return super().answer(asked)

    answer_all(data, ("simple_python",), Nested(), a_run(out))


def test_a_model_that_loses_an_answer_is_no_wrong_answer(tmp_path: Path) -> None:
    class Loser(Speaker):
        def answer(self, asked: Sequence[Asked]) -> list[Spoken]:
            return super().answer(asked)[1:]

    with pytest.raises(RuntimeError, match="2 were asked and 1 answers came; a lost answer is not a wrong one"):
        answer_all(many(tmp_path / "data", 2), ("simple_python",), Loser(), a_run(tmp_path / "out"))


def test_a_model_that_takes_no_dots_is_asked_without_and_answers_with_them(tmp_path: Path) -> None:
    (entry, *_) = read_entries(small(tmp_path), "simple_python")

    class Plain(Speaker):
        def answer(self, asked: Sequence[Asked]) -> list[Spoken]:
            assert [tool.name for tool in asked[0].tools] == ["math_hypot"]
            return super().answer(asked)

    called = WithoutDots(Plain('{"tool": "math_hypot", "params": {"x": 4}}')).answer([entry.asked])
    assert called[0].answer == Called((Call("math.hypot", {"x": 4}),))
    assert WithoutDots(Plain("no")).answer([entry.asked]) == [spoken("no")]


# The command


@pytest.fixture
def answered(tmp_path: Path) -> Path:
    """A folder with the answers of two models, and data beside it."""
    data = small(tmp_path / "data")
    for name, text in (("base", "Hello."), ("tuned", RIGHT)):
        answer_all(data, ("simple_python", "irrelevance"), Speaker(text), Run(tmp_path / "out", name, {"model": name}))
    return tmp_path


def scored(folder: Path, *names: str, categories: str | None = None, partial: bool = False) -> dict[str, Any]:
    out = folder / "report.json"
    assert bfcl.score(folder / "data", folder / "out", names, categories, out, partial=partial) == 0
    made: dict[str, Any] = json.loads(out.read_text())
    return made


def test_score_shows_models_side_by_side(answered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = scored(answered)
    assert made["base"]["categories"]["irrelevance"]["accuracy"] == 1.0
    assert made["tuned"]["categories"]["irrelevance"]["reasons"] == {"needless_call": 1}
    assert made["tuned"]["categories"]["simple_python"]["correct"] == 1
    assert [row["id"] for row in made["tuned"]["rows"]] == ["simple_python_0", "simple_python_1", "irrelevance_0"]
    shown = capsys.readouterr().out
    assert "simple_python" in shown
    assert "50.0%" in shown
    assert "overall" not in shown
    assert list(scored(answered, "tuned")) == ["tuned"]
    assert list(scored(answered, "tuned", categories="irrelevance")["tuned"]["categories"]) == ["irrelevance"]


def test_a_lost_answer_is_told_and_counts_only_where_that_is_wanted(answered: Path) -> None:
    path = answered / "out/tuned/non_live/BFCL_v4_simple_python_result.json"
    path.write_text(path.read_text().splitlines()[0] + "\n")
    with pytest.raises(Fault, match=r"lacks 1 of 2 answers, such as simple_python_1; .* or give --partial"):
        scored(answered)
    assert scored(answered, partial=True)["tuned"]["categories"]["simple_python"]["n"] == 1


def test_entries_that_were_too_long_are_told(answered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unasked = result_line("simple_python_0", "simple_python", Spoken("", Unparsed("", "9,000 tokens"), asked=False))
    path = answered / "out/tuned/non_live/BFCL_v4_simple_python_result.json"
    write(path, unasked, path.read_text().splitlines()[1])
    assert scored(answered, "tuned")["tuned"]["rows"][0]["reason"] == "not_asked"
    assert "tuned, simple_python: 1 entries are too long for the model and were not asked" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("names", "categories", "told"),
    [
        (("gone",), None, "no category of BFCL_v4 is answered by gone"),
        (("tuned",), "multiple", r"BFCL_v4_multiple.json is missing"),
        (("tuned",), "live_relevance", r"BFCL_v4_live_relevance_result.json is missing; callwright bfcl run writes it"),
        (("../x",), None, r"--name is '../x'; give the name of one folder"),
    ],
)
def test_what_cannot_be_scored_is_told(answered: Path, names: tuple[str, ...], categories: str, told: str) -> None:
    with pytest.raises(Fault, match=told):
        scored(answered, *names, categories=categories)


def test_an_answer_to_what_is_not_asked_is_told(answered: Path) -> None:
    write(answered / "out/tuned/non_live/BFCL_v4_irrelevance_result.json", {"id": "irrelevance_9", "result": "no"})
    with pytest.raises(Fault, match=r"answers irrelevance_9, which .*BFCL_v4_irrelevance.json does not ask"):
        scored(answered, "tuned")


def test_an_empty_folder_of_results_is_told(tmp_path: Path) -> None:
    small(tmp_path / "data")
    with pytest.raises(Fault, match=r"holds no NAME/non_live/BFCL_v\*_result.json; callwright bfcl run writes them"):
        scored(tmp_path)


def test_run_tells_which_models_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    for model, told in (
        ("gpt", "--model is 'gpt'; give champion, adapter, base"),
        ("adapter", "models/adapter is missing"),
    ):
        with pytest.raises(Fault, match=told):
            bfcl.run(Path("data"), None, model, Path("out"), None, None, 96, 8)


def test_entries_whose_year_nobody_says_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = small(tmp_path / "data")
    day = {
        **HYPOT,
        "name": "day",
        "parameters": {"type": "dict", "properties": {"on": {"type": "string"}}, "required": []},
    }
    write(
        data.questions("multiple"), question("multiple_0", "On 3/3.", day), question("multiple_1", "On 3/3/2023.", day)
    )
    write(data.answers("multiple"), *(answer(f"multiple_{i}", {"day": {"on": ["2023-03-03"]}}) for i in range(2)))
    text = '{"tool": "day", "params": {"on": "2023-03-03"}}'
    answer_all(data, ("multiple",), Speaker(text), Run(tmp_path / "out", "tuned", {}))
    scored(tmp_path)
    told = "tuned, multiple: in 1 entries the right year is said by nobody, and 1 are right; without them 100.0%"
    assert told in capsys.readouterr().out
