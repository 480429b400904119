"""BFCL's entries as ours: types, right answers, verdicts. The files here are small ones in its shape."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from callwright.answers import Called, Outcome, Said, Unparsed, read_answer
from callwright.bfcl.categories import DEFAULT, KNOWN, group, read_categories
from callwright.bfcl.gold import BadGold, wanted_of
from callwright.bfcl.reading import OPENING, Data, Entry, find_data, read_entries
from callwright.bfcl.scoring import judge, report, verdict
from callwright.bfcl.tools import UnknownType, dotless, dotted, tool_of
from callwright.faults import Fault
from callwright.records import Call, Reply, System, User
from callwright.schemas import tool_fault

HYPOT = {
    "name": "math.hypot",
    "description": "The length of a hypotenuse.",
    "parameters": {
        "type": "dict",
        "properties": {
            "x": {"type": "float", "description": "One side."},
            "y": {"type": "float"},
            "unit": {"type": "string", "enum": ["cm", "m"], "default": "cm"},
            "note": {"type": "string", "default": None},
        },
        "required": ["x", "y"],
    },
}
SHOP = {
    "name": "order",
    "description": "下訂單",
    "parameters": {
        "type": "dict",
        "properties": {
            "city": {"type": "string"},
            "drinks": {
                "type": "array",
                "items": {
                    "type": "dict",
                    "properties": {
                        "size": {"type": "string"},
                        "ice": {"type": "boolean"},
                        "count": {"type": "integer"},
                    },
                },
            },
            "tags": {"type": "tuple", "items": {"type": "any"}, "enum": ["hot", "new"]},
        },
        "required": ["city"],
    },
}


def question(name: str, text: str, *functions: Mapping[str, Any], system: str | None = None) -> dict[str, Any]:
    turns = [{"role": "system", "content": system}] if system else []
    return {"id": name, "question": [[*turns, {"role": "user", "content": text}]], "function": list(functions)}


def answer(name: str, *calls: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": name, "ground_truth": list(calls)}


def write(path: Path, *rows: Mapping[str, Any] | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def small(folder: Path) -> Data:
    """A data folder: three entries with right calls, one where nothing is to be called, one where anything is."""
    data = Data(folder, "BFCL_v4")
    write(
        data.questions("simple_python"),
        question("simple_python_0", "Hypotenuse of 4 and 5?", HYPOT),
        question("simple_python_1", "給台北訂一杯大杯去冰。", SHOP, system="You take orders."),
    )
    write(
        data.answers("simple_python"),
        answer("simple_python_0", {"math.hypot": {"x": [4.0], "y": [5.0], "unit": ["cm", ""]}}),
        answer(
            "simple_python_1",
            {"order": {"city": ["台北", "Taipei"], "drinks": [[{"size": ["L", "large"], "ice": [False, ""]}], ""]}},
        ),
    )
    write(data.questions("parallel"), question("parallel_0", "Hypotenuses of 4, 5 and 6, 7?", HYPOT))
    write(
        data.answers("parallel"),
        answer(
            "parallel_0", {"math.hypot": {"x": [4.0, 6.0], "y": [5.0, 7.0]}}, {"math.hypot": {"x": [4.0], "y": [5.0]}}
        ),
    )
    write(data.questions("irrelevance"), question("irrelevance_0", "Who wrote Hamlet?", HYPOT))
    write(data.questions("live_relevance"), question("live_relevance_0-0-0", "Something with sides?", HYPOT))
    return data


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return small(tmp_path / "data")


@pytest.fixture
def entry(data: Data) -> Callable[[str], Entry]:
    def of(name: str) -> Entry:
        category = name.rsplit("_", 1)[0]
        return next(each for each in read_entries(data, category) if each.id == name)

    return of


def calls(*made: tuple[str, dict[str, Any]]) -> Called:
    return Called(tuple(Call(tool, params) for tool, params in made))


def hypot(**params: Any) -> tuple[str, dict[str, Any]]:
    return "math.hypot", params


# Categories


def test_categories_are_names_and_groups_in_bfcls_order() -> None:
    assert read_categories("parallel, simple_python,parallel") == ("simple_python", "parallel")
    assert read_categories("live") == (*DEFAULT[5:], "live_relevance")
    assert read_categories("all") == KNOWN
    assert (group("simple_python"), group("live_multiple")) == ("non_live", "live")


@pytest.mark.parametrize("text", ["simple_java", "multi_turn_base", " , ", ""])
def test_a_category_that_is_not_scored_is_told_with_those_that_are(text: str) -> None:
    with pytest.raises(Fault, match=r"--categories.*; give some of simple_python, .* or non_live, live, all"):
        read_categories(text)


# Tools


def test_pythons_types_become_json_schemas() -> None:
    tool = tool_of(SHOP)
    assert tool.properties["drinks"]["items"]["properties"]["ice"] == {"type": "boolean"}
    assert tool.properties["tags"] == {"type": "array", "items": {"enum": ["hot", "new"]}}  # `any` is no type
    assert tool.parameters["type"] == "object"
    assert tool_fault(tool) is None
    assert tool_of(HYPOT).properties["x"] == {"type": "number", "description": "One side."}


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (
            {**HYPOT, "parameters": {"type": "dict", "properties": {"x": {"type": "HashMap"}}}},
            "math.hypot.x has type 'H",
        ),
        ({**HYPOT, "parameters": {"type": "array", "properties": {}}}, "math.hypot: parameters has type 'array'"),
        ({**HYPOT, "parameters": None}, "math.hypot: parameters is no object"),
        ({**HYPOT, "parameters": {"type": "dict", "properties": []}}, r"math.hypot.properties is no object"),
        ({**HYPOT, "parameters": {"type": "dict", "properties": {"x": 3}}}, "math.hypot.x: its schema is no object"),
        (
            {**HYPOT, "parameters": {"type": "dict", "properties": {}, "required": "x"}},
            "math.hypot.required is no list",
        ),
        ({"name": "f"}, "a function has no name or no description"),
        ("f", "a function is no object"),
    ],
)
def test_a_function_that_is_none_is_told_with_its_place(broken: Any, told: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownType, match=told):
        tool_of(broken)
    data = Data(tmp_path, "BFCL_v4")
    write(data.questions("irrelevance"), question("irrelevance_0", "?", HYPOT), question("irrelevance_1", "?", broken))
    with pytest.raises(Fault, match=rf"BFCL_v4_irrelevance.json:2: irrelevance_1: .*{told}"):
        read_entries(data, "irrelevance")


def test_a_schema_that_nests_too_deep_is_told() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(80):
        schema = {"type": "array", "items": schema}
    with pytest.raises(UnknownType, match="nested too deep"):
        tool_of({**HYPOT, "parameters": {"type": "dict", "properties": {"x": schema}}})


def test_names_lose_their_dots_for_a_server_and_get_them_back() -> None:
    tools = (tool_of(HYPOT), tool_of(SHOP))
    assert [tool.name for tool in dotless(tools)] == ["math_hypot", "order"]
    assert dotted(Call("math_hypot", {}), tools).tool == "math.hypot"
    assert dotted(Call("sin", {}), tools).tool == "sin"
    twins = (tool_of({**HYPOT, "name": "a.b"}), tool_of({**HYPOT, "name": "a_b"}))
    assert dotted(Call("a_b", {}), twins).tool == "a_b"  # nobody knows which was meant


# Right answers


def test_the_alternatives_of_an_object_are_multiplied_out() -> None:
    tools = {"order": tool_of(SHOP)}
    drinks = [[{"size": ["L", "large"], "ice": [False, ""], "count": [1]}]]
    wanted = wanted_of({"order": {"city": ["台北"], "drinks": [*drinks, ""]}}, tools)
    assert wanted.optional == {"drinks"}
    assert wanted.params["drinks"] == (
        [{"size": "L", "ice": False, "count": 1}],
        [{"size": "L", "count": 1}],
        [{"size": "large", "ice": False, "count": 1}],
        [{"size": "large", "count": 1}],
    )


@pytest.mark.parametrize(
    ("gold", "told"),
    [
        ({"sin": {}}, "'sin' is called, which is none of the entry's functions"),
        ({"order": {"city": "台北"}}, "order: each parameter needs the list of its right values"),
        ({"order": {"drinks": [[{"size": "L"}]]}}, "order.drinks.size needs the list of its right values"),
        ({"order": {"drinks": [[{str(i): list(range(9)) for i in range(9)}]]}}, "more than 5,000 right values"),
        ({}, "a right call is an object with one key"),
    ],
)
def test_a_right_answer_out_of_shape_is_told(gold: Any, told: str, tmp_path: Path) -> None:
    with pytest.raises(BadGold, match=told):
        wanted_of(gold, {"order": tool_of(SHOP)})
    data = Data(tmp_path, "BFCL_v4")
    write(data.questions("multiple"), question("multiple_0", "?", SHOP))
    write(data.answers("multiple"), answer("multiple_0", gold))
    with pytest.raises(Fault, match=rf"possible_answer/BFCL_v4_multiple.json:1: multiple_0: .*{told}"):
        read_entries(data, "multiple")


# Reading


def test_an_entry_is_asked_with_its_own_system_text_or_with_ours(entry: Callable[[str], Entry]) -> None:
    assert entry("simple_python_0").messages == (System(OPENING), User("Hypotenuse of 4 and 5?"))
    assert entry("simple_python_1").messages[0] == System("You take orders.")
    assert [tool.name for tool in entry("simple_python_0").asked.tools] == ["math.hypot"]


def test_turns_before_the_last_are_kept_and_those_of_one_speaker_joined(tmp_path: Path) -> None:
    data = Data(tmp_path, "BFCL_v4")
    turns = [
        {"role": "user", "content": "Hi."},
        {"role": "user", "content": "4 and 5?"},
        {"role": "assistant", "content": "Which unit?"},
        {"role": "user", "content": "m"},
    ]
    write(data.questions("irrelevance"), {**question("irrelevance_0", "", HYPOT), "question": [turns]})
    (entry,) = read_entries(data, "irrelevance")
    assert entry.messages[1:] == (User("Hi.\n\n4 and 5?"), Reply("Which unit?"), User("m"))


@pytest.mark.parametrize(
    "below", ["", "data", "bfcl_eval/data", "x/bfcl_eval/data", "lib/python3.11/site-packages/bfcl_eval/data"]
)
def test_the_data_is_found_in_the_folder_or_above_it(below: str, tmp_path: Path) -> None:
    small(tmp_path / below)
    write(tmp_path / below / "BFCL_v3_simple_python.json")
    assert find_data(tmp_path) == Data(tmp_path / below, "BFCL_v4")


def test_a_folder_without_the_data_is_told(tmp_path: Path) -> None:
    with pytest.raises(Fault, match=r"holds no BFCL_v\*_simple_python.json.*give bfcl-eval's data folder"):
        find_data(tmp_path)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (['{"id": "irrelevance_0", "question": [[{"ro'], r":1: not JSON .*unpack bfcl-eval anew"),
        (["[" * 3000], ":1: not JSON"),
        (["[]"], ":1: no object with an id"),
        ([question("a", "?", HYPOT), question("a", "?", HYPOT)], ":2: a stands in line 1 already"),
        ([{"id": "a", "question": [[]], "function": []}], ":1: a does not end with the user's turn"),
        ([{"id": "a", "question": [[], []], "function": []}], ":1: a is not one conversation"),
        (
            [{"id": "a", "question": [[{"role": "tool", "content": ""}]], "function": []}],
            ":1: a has a turn that is not",
        ),
        ([{"id": "a", "question": [[{"role": "user"}]], "function": []}], ":1: a has a turn that is not"),
        ([{"id": "a", "question": [[]]}], ":1: a has no list of functions"),
    ],
)
def test_a_broken_file_is_told_with_its_line(lines: list[Any], told: str, tmp_path: Path) -> None:
    data = Data(tmp_path, "BFCL_v4")
    write(data.questions("irrelevance"), *lines)
    with pytest.raises(Fault, match=rf"BFCL_v4_irrelevance.json{told}"):
        read_entries(data, "irrelevance")


def test_a_question_without_its_answer_is_told(data: Data) -> None:
    write(data.answers("simple_python"), answer("simple_python_7", {"math.hypot": {}}))
    with pytest.raises(Fault, match=r"has no answer to simple_python_0 and 1 more; take both files from one release"):
        read_entries(data, "simple_python")
    data.answers("simple_python").unlink()
    with pytest.raises(Fault, match=r"possible_answer/BFCL_v4_simple_python.json is missing; give a whole data folder"):
        read_entries(data, "simple_python")


# Verdicts


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"x": 4, "y": 5.0}, None),
        ({"x": 4.0, "y": 5.0, "unit": "cm"}, None),
        ({"x": 4.0, "y": 5.0, "note": None}, None),  # its default
        ({"x": 4.0, "y": 5.0, "unit": "m"}, "wrong_value"),
        ({"x": 4.0, "y": 5.0, "unit": "CM"}, "not_in_enum"),
        ({"x": 4.0, "y": 5.0, "note": "long"}, "wrong_params"),
        ({"x": 4.0, "y": 5.5}, "wrong_value"),
        ({"x": "4", "y": 5.0}, "wrong_type"),
        ({"x": 4.0}, "missing_param"),
        ({"x": 4.0, "y": 5.0, "z": 1}, "unknown_param"),
    ],
)
def test_a_call_is_right_if_each_parameter_has_one_of_its_right_values(
    entry: Callable[[str], Entry], params: dict[str, Any], reason: str | None
) -> None:
    found = verdict(entry("simple_python_0"), calls(("math.hypot", params)))
    assert (found.correct, found.outcome, found.reason) == (reason is None, Outcome.CALL, reason)


@pytest.mark.parametrize(
    ("params", "right"),
    [
        ({"city": "臺北", "drinks": [{"size": "l"}]}, True),
        ({"city": "TAIPEI"}, True),
        ({"city": "台北", "drinks": [{"size": "large", "ice": False}]}, True),
        ({"city": "台北", "drinks": [{"size": "large", "ice": True}]}, False),
        ({"city": "台北", "drinks": [{"ice": False}]}, False),
        ({"city": "台北", "drinks": [{"size": "L"}, {"size": "L"}]}, False),
        ({"city": "台中"}, False),
    ],
)
def test_text_is_compared_as_everywhere_and_objects_key_by_key(
    entry: Callable[[str], Entry], params: dict[str, Any], right: bool
) -> None:
    assert verdict(entry("simple_python_1"), calls(("order", params))).correct is right


def test_parallel_calls_are_matched_in_any_order_and_as_many_as_can_be(entry: Callable[[str], Entry]) -> None:
    one, two = hypot(x=4.0, y=5.0), hypot(x=6.0, y=7.0)
    assert verdict(entry("parallel_0"), calls(one, two)).correct  # the first right answer takes either, the second one
    assert verdict(entry("parallel_0"), calls(two, one)).correct
    assert verdict(entry("parallel_0"), calls(two, two)).reason == "wrong_value"
    assert verdict(entry("parallel_0"), calls(one)).reason == "wrong_count"


def test_another_function_is_wrong_whatever_its_name(entry: Callable[[str], Entry]) -> None:
    assert verdict(entry("simple_python_0"), calls(("math_hypot", {"x": 4.0, "y": 5.0}))).reason == "unknown_tool"
    assert verdict(entry("simple_python_0"), Said("It is 6.4.")).reason == "no_call"


def test_where_nothing_is_to_be_called_only_text_is_right(entry: Callable[[str], Entry]) -> None:
    none = entry("irrelevance_0")
    assert verdict(none, Said("莎士比亞寫的。")).correct
    assert verdict(none, Said("Do you mean the play?")).outcome is Outcome.ASK
    assert verdict(none, calls(hypot(x=1, y=1))).reason == "needless_call"
    for broken in ('{"tool": "math.hypot", "par', "[math.hypot(x=1, y=1)]", "<tool_call>{}</tool_call>", ""):
        found = verdict(none, read_answer(broken))
        assert (found.correct, found.outcome, found.reason) == (False, Outcome.MALFORMED, "unparsed"), broken


def test_where_anything_is_to_be_called_any_call_is_right(entry: Callable[[str], Entry]) -> None:
    some = entry("live_relevance_0-0-0")
    assert verdict(some, calls(hypot(x=1, y=1))).correct
    assert not verdict(some, Said("No.")).correct
    assert not verdict(some, Unparsed("{", "half a call")).correct


@pytest.mark.parametrize("name", ["simple_python_0", "irrelevance_0", "live_relevance_0-0-0"])
def test_an_entry_that_the_model_could_not_be_asked_is_wrong(entry: Callable[[str], Entry], name: str) -> None:
    found = verdict(entry(name), Unparsed("", "the conversation has 9,000 tokens"), asked=False)
    assert (found.correct, found.outcome, found.reason) == (False, Outcome.MALFORMED, "not_asked")
    assert found.detail == "the conversation has 9,000 tokens"


def test_a_value_that_nests_too_deep_is_wrong_and_nothing_crashes(entry: Callable[[str], Entry]) -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    assert not verdict(entry("simple_python_0"), calls(hypot(x=deep, y=5.0))).correct


def test_what_bfcl_answers_against_its_own_schema_is_right(tmp_path: Path) -> None:
    data = Data(tmp_path, "BFCL_v4")
    write(data.questions("live_simple"), question("live_simple_0-0-0", "?", HYPOT))
    gold = {"math.hypot": {"x": ["dontcare"], "y": [None, 5.0], "unit": ["km"]}}
    write(data.answers("live_simple"), answer("live_simple_0-0-0", gold))
    (entry,) = read_entries(data, "live_simple")
    assert verdict(entry, calls(hypot(x="dontcare", y=None, unit="km"))).correct
    assert verdict(entry, calls(hypot(x="dontcare", y=5, unit="km"))).correct
    assert not verdict(entry, calls(hypot(x="dontcare", y=5, unit="KM"))).correct
    assert verdict(entry, calls(hypot(x="dontcare", y=6, unit="km"))).reason == "wrong_value"
    assert entry.tools[0].properties["unit"]["enum"] == ["cm", "m"]  # what the model is shown stays as it was


# Reports


def test_a_year_that_nobody_says_is_shown_apart(tmp_path: Path) -> None:
    data = Data(tmp_path, "BFCL_v4")
    texts = ("On March 3.", "On March 3, 2023.", "On March 3.")
    write(data.questions("multiple"), *(question(f"multiple_{i}", text, SHOP) for i, text in enumerate(texts)))
    dates = (["2023-03-03", "3/3/2023"], ["2023-03-03"], ["2023-03-03", "March 3"])
    write(data.answers("multiple"), *(answer(f"multiple_{i}", {"order": {"city": day}}) for i, day in enumerate(dates)))
    entries = read_entries(data, "multiple")
    assert [entry.year_unsaid for entry in entries] == [True, False, False]
    made = report({"multiple": [judge(entry, calls(("order", {"city": "March 3"}))) for entry in entries]})
    scored = made["categories"]["multiple"]
    assert (scored["n"], scored["correct"]) == (3, 1)
    assert (scored["year_unsaid"]["n"], scored["year_unsaid"]["correct"]) == (1, 0)
    assert (scored["year_said"]["n"], scored["year_said"]["accuracy"]) == (2, 0.5)
    assert made["rows"][2] == {
        "id": "multiple_2",
        "category": "multiple",
        "correct": True,
        "outcome": "call",
        "reason": None,
        "detail": None,
        "year_unsaid": False,
    }


def test_live_calls_are_summed_up_only_where_all_four_categories_are_there(entry: Callable[[str], Entry]) -> None:
    right = judge(entry("simple_python_0"), calls(hypot(x=4, y=5)))
    wrong = judge(entry("simple_python_0"), Said("no"))
    four = {
        "live_simple": [right] * 3,
        "live_multiple": [wrong],
        "live_parallel": [],
        "live_parallel_multiple": [right],
    }
    assert report(four)["live_calls"]["accuracy"] == 0.8  # by rows, as bfcl-eval weighs them
    assert "live_calls" not in report({"live_simple": [right], "live_multiple": [wrong]})
    assert "overall" not in report({"simple_python": [right]})
