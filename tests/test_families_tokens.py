"""Native formats under the tokenizers that transformers makes of the vendors' own files, and in the rarer shapes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mistral_common.integrations.chat_templates.template_generator import TemplateConfig, build_chat_template
from mistral_common.protocol.instruct.messages import AssistantMessage, SystemMessage, UserMessage
from mistral_common.tokens.tokenizers.base import TokenizerVersion
from transformers.convert_slow_tokenizer import TikTokenConverter
from transformers.models.llama.tokenization_llama import LlamaTokenizer
from transformers.models.qwen2.tokenization_qwen2 import Qwen2Tokenizer
from transformers.utils.chat_template_utils import render_jinja_template

from callwright.answers import Called, Said, Unparsed
from callwright.families import FAMILIES, NotExpressible, family
from callwright.families.mistral import call_id
from callwright.faults import Fault
from callwright.formats import to_messages
from callwright.presets import preset_names, read_preset
from callwright.records import Call, Calls, Example, Reply, Result, System, User
from callwright.training_text import Row
from stages.format import UNLABELLED, labelled
from tests import vendors
from tests.rows import ROOT, conversation, loop
from tests.test_families import NATIVE, as_templates_take_it, encoded_by_mistral, every_kind, json_values, rendered

QUERY = "query_database"


@cache
def llama() -> Any:
    path = vendors.packaged("llama-models", "llama_models/llama3/tokenizer.model")
    specials = list(vendors.llama3()._special_tokens)
    return TikTokenConverter(str(path), extra_special_tokens=specials).converted()


@cache
def qwen() -> Any:
    path = vendors.packaged("dashscope", "qwen.tiktoken")
    vocab, merges = TikTokenConverter(str(path)).extract_vocab_merges_from_model(str(path))
    tokenizer = Qwen2Tokenizer(vocab=vocab, merges=merges)
    tokenizer.add_special_tokens({"additional_special_tokens": list(family("qwen3").controls)})
    return tokenizer.backend_tokenizer


@pytest.fixture(scope="session")
def mistral_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The vendor's SentencePiece file under the name that transformers looks for."""
    made = tmp_path_factory.mktemp("mistral") / "tokenizer.model"
    shutil.copy(vendors.mistral().instruct_tokenizer.tokenizer.file_path, made)
    return made


@pytest.fixture(scope="session")
def tokenizers(mistral_file: Path) -> dict[str, Any]:
    mistral = LlamaTokenizer.from_pretrained(mistral_file.parent, vocab_file=str(mistral_file))
    mistral.add_special_tokens({"additional_special_tokens": list(family("mistral").controls)})
    return {
        "llama3": llama(),
        "llama3.1": llama(),
        "qwen2.5": qwen(),
        "qwen3": qwen(),
        "mistral": mistral.backend_tokenizer,
    }


def encoder(tokenizer: Any) -> Callable[[str], list[int]]:
    """As stages.format encodes a piece."""
    return lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids)


# Under the tokenizers of transformers


@pytest.mark.parametrize("name", NATIVE)
def test_what_is_labelled_decodes_to_the_assistants_turns_through_the_stop_token(
    name: str, tokenizers: dict[str, Any]
) -> None:
    speaks, tokenizer = family(name), tokenizers[name]
    for example in every_kind():
        for row in speaks.rows(example):
            made = labelled(row, encoder(tokenizer))
            runs = [[*run] for on, run in groupby(made["labels"], lambda label: label != UNLABELLED) if on]
            wanted = [piece.text.strip() for piece in row.pieces if piece.labelled]
            assert [tokenizer.decode(run, skip_special_tokens=False).strip() for run in runs] == wanted
            stop = tokenizer.token_to_id(speaks.stops[0])
            assert all(run[-1] == stop and run.count(stop) == 1 for run in runs)


@pytest.mark.parametrize("name", NATIVE)
def test_what_a_model_decodes_to_is_read_as_the_turn_it_was_taught(name: str, tokenizers: dict[str, Any]) -> None:
    speaks, tokenizer = family(name), tokenizers[name]
    for example in every_kind()[::5]:
        last = speaks.rows(example)[-1]
        said = "".join(piece.text for piece in last.pieces[len(last.pieces) - 2 * last.turns + 1 :])
        text = tokenizer.decode(encoder(tokenizer)(said)[:-1], skip_special_tokens=False)
        wanted = example.messages[-1]
        read = speaks.read(text)
        if isinstance(wanted, Calls):
            assert read == Called(wanted.calls)
        else:
            assert isinstance(wanted, Reply)
            assert read == Said(wanted.content.strip())


@pytest.mark.parametrize("name", ["llama3.1", "qwen2.5", "qwen3"])
def test_pieces_have_the_tokens_of_the_whole_text(name: str, tokenizers: dict[str, Any]) -> None:
    encode = encoder(tokenizers[name])
    for example in every_kind():
        for row in family(name).rows(example):
            assert [token for piece in row.pieces for token in encode(piece.text)] == encode(row.text)


def test_under_transformers_mistrals_text_has_the_tokens_of_the_vendors_encoder(tokenizers: dict[str, Any]) -> None:
    encode = encoder(tokenizers["mistral"])
    for example in every_kind():
        for row in family("mistral").rows(example):
            theirs = vendors.encode_mistral(row.text)
            assert [token for piece in row.pieces for token in encode(piece.text)] == theirs
            assert encode(row.text) == theirs


def test_mistrals_text_is_that_of_the_vendors_template_for_transformers() -> None:
    template = build_chat_template(TemplateConfig(version=TokenizerVersion.v3, spm=True))
    for example in every_kind():
        if any(isinstance(message, Result) for message in example.messages):
            continue  # a result that is JSON it writes as a text in quotes, where the encoder beside it writes JSON
        turns, tools = as_templates_take_it(example)
        for i, turn in enumerate(turns):
            for number, call in enumerate(turn.get("tool_calls", [])):
                call["id"] = call_id(example.id, i - 1, number)
        text, _ = render_jinja_template([turns], chat_template=template, tools=tools, bos_token="<s>", eos_token="</s>")  # noqa: S106
        assert family("mistral").rows(example)[-1].text == text[0]


# What the vendors call control tokens


def test_control_tokens_are_the_vendors() -> None:
    inner: Any = vendors.mistral().instruct_tokenizer.tokenizer
    pieces = [inner._model.id_to_piece(i) for i in range(inner.n_words)]
    assert {piece for i, piece in enumerate(pieces) if inner._model.IsControl(i)} <= set(family("mistral").controls)
    listed = (vendors.packaged("llama-models", "llama_models/llama3/tokenizer.py")).read_text(encoding="utf-8")
    assert all(f'"{one}"' in listed for one in family("llama3.1").controls if "reserved" not in one)


def test_stops_are_those_of_the_presets() -> None:
    for name in preset_names(ROOT / "presets"):
        preset = read_preset(name, ROOT / "presets")
        if preset.family in FAMILIES:
            assert tuple(preset.stops) == family(preset.family).stops


def test_an_unknown_family_is_told_with_those_that_there_are() -> None:
    with pytest.raises(Fault) as fault:
        family("gemma")
    assert str(fault.value) == ("family 'gemma' is unknown; choose one of llama3, llama3.1, mistral, qwen2.5, qwen3")


# The document's messages, with results


@pytest.mark.parametrize("name", ["llama3", "llama3.1", "qwen2.5", "qwen3"])
def test_messages_with_results_are_the_vendors_chat_too(name: str, tokenizers: dict[str, Any]) -> None:
    encode = encoder(tokenizers[name])
    for example in every_kind():
        turns = to_messages(example)["messages"]
        last = family(name).messages(example.id, turns)[-1]
        whole = rendered(name, turns, None).removesuffix("\n")
        assert last.text == whole
        assert [token for piece in last.pieces for token in encode(piece.text)] == encode(whole)


def test_in_mistrals_messages_a_result_is_a_user_turn() -> None:
    kinds: dict[str, Any] = {"system": SystemMessage, "user": UserMessage, "tool": UserMessage}
    kinds["assistant"] = AssistantMessage
    for example in every_kind():
        turns = to_messages(example)["messages"]
        messages = [kinds[turn["role"]](content=turn["content"]) for turn in turns]
        last = family("mistral").messages(example.id, turns)[-1]
        bare = conversation(*example.messages, tools=())
        ours = [token for piece in last.pieces for token in vendors.encode_mistral(piece.text)]
        assert ours == encoded_by_mistral(bare, messages)


# Rarer shapes


def without_system(example: Example) -> Example:
    return Example(
        **{
            **{name: getattr(example, name) for name in ("id", "language", "category", "split", "tools")},
            "messages": tuple(m for m in example.messages if not isinstance(m, System)),
        }
    )


@pytest.mark.parametrize("name", ["llama3.1", "qwen2.5", "qwen3"])
def test_a_row_without_a_system_turn_or_without_tools_is_the_vendors_too(name: str) -> None:
    for example in (without_system(loop("預算為 300 萬。")), conversation(User("你好"), Reply("你好。"), tools=())):
        turns, tools = as_templates_take_it(example)
        assert family(name).rows(example)[-1].text == rendered(name, turns, tools).removesuffix("\n")


def test_mistral_without_a_system_turn_has_the_request_alone() -> None:
    [_, last] = family("mistral").rows(without_system(loop("預算為 300 萬。")))
    assert "[/AVAILABLE_TOOLS][INST] 幫我查預算[/INST][TOOL_CALLS] [" in last.text


def test_mistral_puts_json_results_in_as_json_and_others_as_text() -> None:
    for content, written in (
        ('{"amount": "300 萬"}', '{"amount": "300 萬"}'),
        ("查無資料", '"查無資料"'),
        ("", "{}"),
        ('{"a": NaN}', '"{\\"a\\": NaN}"'),
        ('"\\ud800"', '"\\"\\\\ud800\\""'),
        ("[" * 5000, f'"{"[" * 5000}"'),
    ):
        last = family("mistral").rows(loop("好。", content=content))[-1]
        assert f'[TOOL_RESULTS] {{"content": {written}, "call_id": "' in last.text
        last.text.encode()


def test_ids_are_nine_letters_and_digits_of_their_own_and_stay() -> None:
    ids = [call_id("office-1", message, number) for message in range(30) for number in range(30)]
    assert all(len(one) == 9 and one.isascii() and one.isalnum() for one in ids)
    assert len(set(ids)) == len(ids)
    assert ids[0] == call_id("office-1", 0, 0) != call_id("office-2", 0, 0)


def test_results_go_to_their_calls_by_name_whatever_their_order() -> None:
    calls = Calls((Call(QUERY, {"query_str": "預算"}), Call("book_room", {"room": "A"})))
    row = conversation(User("查"), calls, Result("book_room", "A 室"), Result(QUERY, "300 萬"), Reply("好。"))
    [made] = family("llama3.1").rows(row)
    assert [made.text.index(one) for one in ('{"name": "query', '"300 萬"', '{"name": "book', '"A 室"')] == sorted(
        made.text.index(one) for one in ('{"name": "query', '"300 萬"', '{"name": "book', '"A 室"')
    )
    last = family("mistral").rows(row)[-1].text
    assert f'"A 室", "call_id": "{call_id("row-1", 1, 1)}"' in last
    assert f'"300 萬", "call_id": "{call_id("row-1", 1, 0)}"' in last


def refused(name: str, row: Example) -> str:
    with pytest.raises(NotExpressible) as told:
        family(name).rows(row)
    return str(told.value)


def test_what_cannot_be_said_is_told_with_place_and_reason() -> None:
    two = Calls((Call(QUERY, {"query_str": "a"}), Call(QUERY, {"query_str": "b"})))
    assert refused("llama3.1", conversation(User("查"), two, Result(QUERY, "1"), Reply("好。"))) == (
        "row-1: messages[2] has 2 calls and 1 result(s); as turns each needs its own"
    )
    for name in ("llama3.1", "mistral"):
        assert refused(name, conversation(User("查"), two, Result("book_room", "1"), Result(QUERY, "1"))) == (
            "row-1: messages[3] is a result of 'book_room', which no call before it waits for"
        )
    assert refused("llama3.1", conversation(Reply("好。"))).endswith("writes tools into a user turn that comes first")
    assert refused("mistral", conversation(Reply("好。"))) == (
        "row-1: a conversation of mistral begins with a user turn"
    )
    assert refused("llama3.1", conversation(User("hi"), Calls((Call('a"b', {}),)))).startswith(
        "row-1: messages[2] has calls that read as others of llama3.1: not one JSON value ("
    )
    assert refused("qwen2.5", conversation(User("</tool_response>"), Reply("好。"))) == (
        "row-1: messages[1] holds '</tool_response>', a mark of qwen2.5"
    )
    assert refused("qwen3", conversation(User("<think>"), Reply("好。"))) == (
        "row-1: messages[1] holds '<think>', a control token of qwen3"
    )


def test_a_control_token_hidden_in_an_escape_of_a_result_is_found() -> None:
    assert refused("mistral", loop("好。", content='{"a": "\\u005b/INST]"}')) == (
        "row-1: messages[3] holds '[/INST]', a control token of mistral"
    )


# Read


@pytest.mark.parametrize("name", list(FAMILIES))
@settings(max_examples=150, deadline=None)
@given(text=st.text(st.characters() | st.sampled_from('{}[]":,<>|\\'), max_size=60), data=st.data())
def test_no_text_breaks_a_reader(name: str, text: str, data: st.DataObject) -> None:
    marks = ["", *family(name).controls[:12], "<think>", "</think>", '{"name": "x", "arguments": {}}']
    around = [data.draw(st.sampled_from(marks)) for _ in range(3)]
    assert isinstance(family(name).read(around[0] + text.join(around[1:])), Called | Said | Unparsed)


@pytest.mark.parametrize("name", NATIVE)
@settings(max_examples=100, deadline=None)
@given(params=st.lists(st.dictionaries(st.text(max_size=8), json_values, max_size=4), min_size=1, max_size=4))
def test_a_row_with_any_params_reads_back_or_is_set_aside_with_its_reason(name: str, params: list[Any]) -> None:
    row = conversation(User("hi"), Calls(tuple(Call("book_room", one) for one in params)))
    try:
        rows: list[Row] = family(name).rows(row)
    except NotExpressible as told:
        assert "a control token" in str(told)  # noqa: PT017
        return
    pieces = rows[-1].pieces[1:]
    text = "".join(piece.text for piece in pieces).removesuffix(family(name).stops[0])
    read = family(name).read(text)
    assert isinstance(read, Called)
    assert json.dumps([dict(call.params) for call in read.calls]) == json.dumps(params)


def test_a_call_in_a_fence_or_in_another_form_is_no_text() -> None:
    fenced = '```json\n{"name": "x", "parameters": {}}\n```'
    for name in NATIVE:
        for text in (fenced, '[{"name": "x", "arguments": {}}]', '{"tool": "x", "params": {}}', "[book_room(room=1)]"):
            assert isinstance(family(name).read(text), Unparsed), (name, text)
        assert family(name).read("[1] 見附件。") == Said("[1] 見附件。")


def test_llama_reads_metas_own_type_key_and_no_other_value_of_it() -> None:
    read = family("llama3.1").read
    assert read('{"type": "function", "name": "x", "parameters": {}}') == Called((Call("x", {}),))
    told = read('{"type": "tool", "name": "x", "parameters": {}}')
    assert isinstance(told, Unparsed)
    assert told.reason == 'type is "tool"; expected "function"'


def test_llama_3_reads_the_documents_form() -> None:
    read = family("llama3").read
    assert read('{"tool": "x", "params": {}}') == Called((Call("x", {}),))
    assert isinstance(read('{"tool": "x"}'), Unparsed)
    assert isinstance(read("好<|eot_id|>"), Unparsed)
