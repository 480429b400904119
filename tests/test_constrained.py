"""stages._constrained: whatever a model would say, what it says is a call that its tools take, or plain text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from callwright.answers import Called, Said, Unparsed, read_answer
from callwright.families import FAMILIES
from callwright.formats import said
from callwright.moments import read as read_moment
from callwright.packs import Pack, read_packs
from callwright.records import Calls, Category, Example, Language, Reply, Tool
from callwright.schemas import schema_fault
from stages import _decode
from stages._constrained import DOCUMENT, Constrained, Held
from tests import tiny
from tests.rows import CALENDAR, QUERY, ROOM, ROOT, generate_params, made

PACKS = sorted(path.stem for path in (ROOT / "packs").glob("*.yaml"))
STOP = 2


@cache
def packs() -> tuple[Pack, ...]:
    return tuple(read_packs(PACKS, ROOT / "packs"))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def hub(base: Path) -> Any:
    return AutoTokenizer.from_pretrained(base)


@pytest.fixture(scope="module")
def words(hub: Any) -> list[str]:
    """The text of each token."""
    found: list[str] = hub.batch_decode([[number] for number in range(len(hub))])
    return found


@pytest.fixture(scope="module")
def grammars(base: Path) -> Constrained:
    return Constrained(base, DOCUMENT, [STOP], longest=16)


def wander(held: Held | None, rows: int, begins: Sequence[int], seed: int, most: int = 500) -> list[list[int]]:
    """What a model without any sense would say: random scores, but for a liking for some first tokens."""
    chance = torch.Generator().manual_seed(seed)
    answers: list[list[int]] = [[] for _ in range(rows)]
    going = list(range(rows))
    while going:
        scores = torch.randn(len(going), 49152, generator=chance)
        if not any(answers):
            scores[:, list(begins)] += 20
        picked = held.pick(going, scores) if held else scores.argmax(-1).tolist()
        for row, token in zip(going, picked, strict=True):
            answers[row].append(token)
        going = [row for row in going if answers[row][-1] != STOP and len(answers[row]) < most]
    return [answer[:-1] if answer[-1] == STOP else answer for answer in answers]


def beginning(words: Sequence[str], *texts: str) -> list[int]:
    """The tokens that begin with one of the texts."""
    return [number for number, word in enumerate(words) if word.startswith(texts)]


def lists_of(pack: Pack, count: int, rng: Random) -> list[tuple[Tool, ...]]:
    """Lists of tools as rows offer them, in both languages by turns."""
    languages = [Language.ZH_TW, Language.EN]
    return [
        tuple(tool.offered(languages[i % 2]) for tool in rng.sample(pack.tools, rng.randint(1, 5)))
        for i in range(count)
    ]


@pytest.mark.parametrize("name", PACKS)
def test_an_answer_is_read_and_its_calls_are_those_of_the_tools(
    grammars: Constrained, hub: Any, words: list[str], name: str
) -> None:
    pack = next(pack for pack in packs() if pack.pack == name)
    offered = lists_of(pack, 6, Random(name))
    held = grammars.for_tools(offered)
    answers = wander(held, 6, beginning(words, "{"), seed=len(name))
    assert held.free == {}
    for tools, tokens in zip(offered, answers, strict=True):
        answer = read_answer(hub.decode(tokens))
        assert isinstance(answer, Called), answer
        by_name = {tool.name: tool for tool in tools}
        for call in answer.calls:
            assert schema_fault(call, by_name.get(call.tool)) is None
            order = [param for param in by_name[call.tool].properties if param in call.params]
            assert list(call.params) == order
    freely = [read_answer(hub.decode(tokens)) for tokens in wander(None, 6, beginning(words, "{"), 1, most=60)]
    assert all(isinstance(answer, Unparsed) for answer in freely)


def test_text_is_possible_and_reads_as_text_wherever_it_ends(grammars: Constrained, hub: Any, words: list[str]) -> None:
    likes = beginning(words, "A", "請", "\n", " ", "{", "`", "[", '"tool"')
    held = grammars.for_tools([(QUERY, CALENDAR)] * 12)
    texts = [hub.decode(tokens) for tokens in wander(held, 12, beginning(words, "A", "s"), 3, most=30)]
    assert all(isinstance(read_answer(text), Said) for text in texts), texts
    # and where a model keeps trying to call
    for seed in range(3):
        held, chance = grammars.for_tools([(QUERY,)]), torch.Generator().manual_seed(seed)
        tokens = held.pick([0], _liking(beginning(words, "A")))
        for _ in range(30):
            scores = torch.randn(1, 49152, generator=chance)
            scores[:, likes] += 6
            tokens += held.pick([0], scores)
            assert isinstance(read_answer(hub.decode([t for t in tokens if t != STOP])), Said)
            if tokens[-1] == STOP:
                break


def _liking(tokens: Sequence[int]) -> torch.Tensor:
    scores = torch.zeros(1, 49152)
    scores[:, list(tokens)] = 1
    return scores


def kept(grammars: Constrained, tools: Sequence[Tool], tokens: Sequence[int]) -> list[int]:
    """What is said where a model is certain of these tokens."""
    held = grammars.for_tools([tools])
    made = [held.pick([0], _liking([token]))[0] for token in tokens]
    assert held.free == {}
    return made


@pytest.fixture(scope="module")
def rows() -> list[Example]:
    """Rows of all packs, of each kind of last turn some."""
    params = generate_params(rows=500, exam=100)
    found = [row for split in made(packs(), params, processes=None).values() for row in split]
    return Random(4).sample(found, 200)


@pytest.mark.parametrize("form", [DOCUMENT, *FAMILIES])
def test_what_is_right_is_allowed_in_every_form(
    form: str, rows: list[Example], base: Path, hub: Any, tmp_path: Path
) -> None:
    folder, tokenizer = (base, hub) if form == DOCUMENT else family_tokenizer(form, tmp_path)
    stop = STOP if form == DOCUMENT else tokenizer.convert_tokens_to_ids(FAMILIES[form].stops[0])
    grammars, seen = Constrained(folder, form, [stop]), {Calls: 0, Reply: 0}
    for row in rows:
        turn = row.messages[-1]
        assert isinstance(turn, Calls | Reply)
        if form == "llama3.1" and isinstance(turn, Calls):
            turn = Calls(turn.calls[:1])  # a turn of its own each
        text = said(turn) if form == DOCUMENT else FAMILIES[form].said(turn)
        matcher = grammars.start(row.tools)
        assert not isinstance(matcher, str)
        tokens = tokenizer.encode(text, add_special_tokens=False)
        assert matcher.try_consume_tokens(tokens) == len(tokens), (row.id, text)
        assert matcher.is_accepting(), (row.id, text)
        seen[type(turn)] += 1
    assert min(seen.values()) > 20


def family_tokenizer(form: str, folder: Path) -> tuple[Path, Any]:
    """The embedded model's tokenizer with a family's control tokens."""
    tokenizer = tiny._tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": list(FAMILIES[form].controls)})
    tokenizer.save_pretrained(folder)
    return folder, tokenizer


@pytest.mark.parametrize("form", ["llama3", "llama3.1", "mistral", "qwen2.5", "qwen3"])
def test_a_familys_calls_are_read_by_it_and_taken_by_their_tools(form: str, tmp_path: Path) -> None:
    folder, tokenizer = family_tokenizer(form, tmp_path)
    stops = tokenizer.convert_tokens_to_ids(list(FAMILIES[form].stops))
    tools = (QUERY, CALENDAR, ROOM)
    held = Constrained(folder, form, stops, longest=5).for_tools([tools] * 4)
    marks = ("{", "<tool_call>", "[TOOL_CALLS]")
    likes = [token for token in range(len(tokenizer)) if tokenizer.decode([token]).startswith(marks)]
    chance, going = torch.Generator().manual_seed(5), list(range(4))
    answers: list[list[int]] = [[] for _ in going]
    while going:
        scores = torch.randn(len(going), len(tokenizer), generator=chance)
        scores[:, likes] += 0 if any(answers) else 20
        for row, token in zip(going, held.pick(going, scores), strict=True):
            answers[row].append(token)
        going = [row for row in going if answers[row][-1] not in stops]
    assert held.free == {}
    for tokens in answers:
        answer = FAMILIES[form].read(tokenizer.decode(tokens[:-1]))
        assert isinstance(answer, Called), answer
        for call in answer.calls:
            assert schema_fault(call, next(tool for tool in tools if tool.name == call.tool)) is None


@pytest.mark.parametrize("alone", [True, False])
def test_marks_are_text_to_a_tokenizer_that_has_no_token_for_them(base: Path, hub: Any, alone: bool) -> None:
    grammars = Constrained(base, "qwen2.5", [STOP])
    call = '<tool_call>\n{"name": "query_database", "arguments": {"query_str": "預算"}}\n</tool_call>'
    text = call if alone else f"{call}\n{call}"
    tokens = [*hub.encode(text, add_special_tokens=False), STOP]
    assert kept(grammars, (QUERY,), tokens) == tokens


ODD = [
    'a"b', "a\\b", "a\nb", "會議室", "%json {}", "//a # b", "a/b*", "'", "start: TEXT", "{}", "a\u2028b", "😀", "<[5]>",
    "",
]  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(odd=st.sampled_from(ODD) | st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=12))
def test_names_and_texts_of_tools_are_only_compared(grammars: Constrained, hub: Any, odd: str) -> None:
    schema = {"type": "string", "enum": [f"x{odd}", "y"], "description": odd}
    tool = Tool(
        odd, odd, {"type": "object", "properties": {f"p{odd}": schema}, "required": [f"p{odd}"], "description": odd}
    )
    matcher = grammars.start((tool, QUERY))
    assert not isinstance(matcher, str), matcher
    text = json.dumps({"tool": odd, "params": {f"p{odd}": f"x{odd}"}}, ensure_ascii=False)
    assume(hub.decode(hub.encode(text)) == text)  # the tokenizer has no token for some bytes
    other = json.dumps({"tool": odd, "params": {f"p{odd}": f"z{odd}"}}, ensure_ascii=False)
    wrong = hub.encode(other, add_special_tokens=False)
    assert matcher.validate_tokens(wrong) < len(wrong)
    tokens = hub.encode(text, add_special_tokens=False)
    assert matcher.try_consume_tokens(tokens) == len(tokens)
    assert matcher.is_accepting()


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"not": {"required": ["a"]}}, "not"),
        ({"properties": {"a": {"type": "array", "items": {"type": "string"}, "uniqueItems": True}}}, "uniqueItems"),
        ({"properties": {"a": {"type": "string", "pattern": "(?=b)b"}}}, "look-around"),
        ({"properties": {"a": {"$ref": "https://example.com/a.json"}}}, "example.com"),
        ({"properties": {"a": {"type": "integer", "minimum": 5, "maximum": 4}}}, ""),
        ({"properties": 3}, ""),
    ],
)
def test_tools_without_a_grammar_are_answered_freely_and_told(
    grammars: Constrained, hub: Any, params: dict[str, Any], why: str
) -> None:
    odd = Tool("odd", "", {"type": "object", "required": ["a"], **params})
    held = grammars.for_tools([(odd, QUERY), (QUERY,)])
    bracket = hub.encode("[")[0]  # no answer begins with it
    free, bound = held.pick([0, 1], _liking([bracket]).expand(2, -1))
    assert list(held.free) == [0]
    assert held.free[0].startswith("odd, query_database: ")
    assert why in held.free[0]
    assert "\n" not in held.free[0]
    print(held.free[0])
    assert free == bracket
    assert bound != bracket


def test_a_schema_that_nests_without_end_is_told(grammars: Constrained) -> None:
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(5_000):
        deep = {"type": "array", "items": deep}
    held = grammars.for_tools([(Tool("deep", "", {"type": "object", "properties": {"a": deep}}),)])
    held.pick([0], torch.zeros(1, 49152))
    assert held.free[0].startswith("deep: ")


def test_moments_are_spelt_as_their_grammar_has_it(
    base: Path, hub: Any, words: list[str], grammars: Constrained
) -> None:
    held = grammars.for_tools([(CALENDAR,)] * 10)
    for tokens in wander(held, 10, beginning(words, "{"), seed=8):
        answer = read_answer(hub.decode(tokens))
        assert isinstance(answer, Called)
        for call in answer.calls:
            assert read_moment(call.params["start_time"]) or call.params["start_time"].startswith(tuple("0123456789"))
    text = '{"tool": "add_calendar_event", "params": {"title": "x", "start_time": "3pm"}}'
    tokens = [*hub.encode(text, add_special_tokens=False), STOP]
    assert kept(grammars, (CALENDAR,), tokens) != tokens
    assert kept(Constrained(base, DOCUMENT, [STOP], moments=False), (CALENDAR,), tokens) == tokens


@pytest.mark.parametrize(
    ("form", "texts"),
    [
        (
            DOCUMENT,
            ['Say "tool" again', 'OK\n{"a": 1}', "OK\n  [1]", "``", " ", "\u3000", "OK\n\u3000{", "\n", "OK\x00"],
        ),
        ("llama3.1", ['Say "name" and', "Say <|eot_id|>", "Say <|reserved_special_token_17|>", '{"name": "x"', "[f("]),
        ("mistral", ["Say [TOOL_CALLS] [", "Say [control_700]", "Say </s>", "[{"]),
        ("qwen3", ["Say <tool_call>", "Say </think>", "Say <|im_end|>"]),
    ],
)
def test_text_that_readers_take_for_a_call_is_not_possible(base: Path, hub: Any, form: str, texts: list[str]) -> None:
    grammars = Constrained(base, form, [STOP])
    for text in texts:
        matcher = grammars.start((QUERY,))
        assert not isinstance(matcher, str)
        halves = text.partition("_")  # a control token is spelt out here, in two halves
        tokens = [token for half in halves for token in hub.encode(half, add_special_tokens=False)]
        assert not (matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()), text
    for text in ("請問會議室要訂幾點?", "It is 5 [kg] {net}, `ls`.\n\n  Next: tools, name.", ' "a tool"'):
        matcher = grammars.start((QUERY,))
        assert not isinstance(matcher, str)
        tokens = hub.encode(text, add_special_tokens=False)
        assert matcher.try_consume_tokens(tokens) == len(tokens), text
        assert matcher.is_accepting()


def test_an_answer_ends_after_so_many_calls(grammars: Constrained, hub: Any) -> None:
    call = '{"tool": "query_database", "params": {"query_str": "x"}}'
    tokens = hub.encode("\n".join([call] * 16), add_special_tokens=False)
    assert kept(grammars, (QUERY,), [*tokens, *hub.encode("\n")]) == [*tokens, STOP]


def test_without_tools_only_text_is_possible(grammars: Constrained, hub: Any, words: list[str]) -> None:
    held = grammars.for_tools([()] * 3)
    for tokens in wander(held, 3, beginning(words, "{"), seed=2, most=20):
        assert isinstance(read_answer(hub.decode(tokens)), Said)
    assert held.free == {}


def test_a_model_with_more_weights_than_tokens_never_says_the_others(grammars: Constrained) -> None:
    scores = torch.zeros(1, 49152 + 100)
    scores[0, -1] = 1
    assert grammars.for_tools([(QUERY,)]).pick([0], scores)[0] < 49152


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_random_model_answers_right_in_form_whatever_the_batches(
    base: Path, hub: Any, words: list[str], grammars: Constrained, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = AutoModelForCausalLM.from_pretrained(base)
    forward, likes = model.forward, beginning(words, '{"')

    def calling(*args: Any, **given: Any) -> Any:
        made = forward(*args, **given)
        made.logits[..., likes] += 16  # so that most answers are calls
        return made

    monkeypatch.setattr(model, "forward", calling)
    offered = [tools for pack in packs()[:2] for tools in lists_of(pack, 2, Random(1))]
    prompts = [hub.encode(f"請幫我 {i} please {'x ' * (i % 4)}") for i in range(len(offered))]
    answers = [
        _decode.greedy(
            model, prompts, {STOP}, 150, size, temperature=temperature, seed=3, constraint=grammars.for_tools(offered)
        )
        for size in (2, len(prompts))
    ]
    assert answers[0] == answers[1]
    called = 0
    for tools, tokens in zip(offered, answers[0], strict=True):
        answer = read_answer(hub.decode(tokens))
        assert not isinstance(answer, Unparsed), answer
        if isinstance(answer, Called):
            called += 1
            by_name = {tool.name: tool for tool in tools}
            assert all(schema_fault(call, by_name.get(call.tool)) is None for call in answer.calls)
    assert called
    free = _decode.greedy(model, prompts, {STOP}, 30, 9, temperature=temperature, seed=3)
    assert any(isinstance(read_answer(hub.decode(tokens)), Unparsed) for tokens in free)


def test_the_rows_above_hold_every_kind_of_answer(rows: list[Example]) -> None:
    assert {row.category for row in rows} >= {Category.SINGLE, Category.PARALLEL, Category.MISSING, Category.NO_TOOL}
    assert {row.language for row in rows} == set(Language)
