"""What the model is trained on: labelled is exactly what it shall write, under the real tokenizer and chat template."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from callwright.faults import Fault
from callwright.formats import said, to_alpaca, to_messages
from callwright.params import Format, Inexpressible, Long, TrainAs
from callwright.presets import FamilyName, read_preset
from callwright.records import Call, Calls, Example, Reply, User
from callwright.training_text import NotExpressible, Piece, Render, Row, rows
from stages._local import prompts
from stages._model import About
from stages.format import UNLABELLED, Encode, check_length, formatted, labelled, template_and_tokens, to_native
from tests.rows import ROOT, as_line, conversation, document_row, generated, loop

PRESET = read_preset("smollm2-135m", ROOT / "presets")
STOP = PRESET.stops[0]
ABOUT = About("smollm2-135m", FamilyName.TEMPLATE, (STOP,))


def knobs(max_length: int = 2048) -> Format:
    return Format(
        train_as=TrainAs.MESSAGES, max_length=max_length, too_long=Long.REFUSE, inexpressible=Inexpressible.TURNS
    )


MESSAGES = knobs()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Render, Encode, Any]:
    """The embedded model's template and tokenizer, as stages.base leaves them, without its weights."""
    from transformers import AutoTokenizer

    from stages.base import _mend_tokenizer

    folder = tmp_path_factory.mktemp("base")
    spec = importlib.util.find_spec(PRESET.source.module or "")
    assert spec
    assert spec.origin
    AutoTokenizer.from_pretrained(Path(spec.origin).parent, gguf_file=PRESET.source.file).save_pretrained(folder)
    _mend_tokenizer(PRESET, folder)
    render, encode = template_and_tokens(folder)
    return render, encode, AutoTokenizer.from_pretrained(folder)


def answers(row: Example) -> list[str]:
    """The assistant's turns as it shall write them."""
    return [said(turn) + STOP for turn in row.messages if isinstance(turn, Calls | Reply)]


def runs(labels: Sequence[int]) -> list[list[int]]:
    """The labelled stretches."""
    return [list(run) for wanted, run in groupby(labels, lambda label: label != UNLABELLED) if wanted]


def test_decoded_labels_are_exactly_the_assistants_turns_with_their_stop_token(model: Any) -> None:
    render, encode, tokenizer = model
    for row in generated():
        [made] = to_native(MESSAGES, ABOUT, render, encode)(row)
        assert [tokenizer.decode(run) for run in runs(made["labels"])] == answers(row)
        assert tokenizer.decode(made["input_ids"]) == made["text"]
        assert len(made["labels"]) == len(made["input_ids"])
        stop = tokenizer.convert_tokens_to_ids(STOP)
        assert all(run[-1] == stop and run.count(stop) == 1 for run in runs(made["labels"]))
        assert all(label in (UNLABELLED, own) for label, own in zip(made["labels"], made["input_ids"], strict=True))


def test_a_prompt_has_the_same_tokens_in_training_as_when_the_model_is_asked(model: Any) -> None:
    render, encode, _ = model
    for row in generated():
        made = to_native(MESSAGES, ABOUT, render, encode)(row)
        asked = render(to_messages(row)["messages"][:-1], None, True)
        pieces = [encode(piece.text) for piece in rows(row, TrainAs.MESSAGES, render, STOP)[0].pieces]
        assert prompts(made)[row.id].tokens == [token for piece in pieces[:-1] for token in piece]
        assert "".join(piece.text for piece in rows(row, TrainAs.MESSAGES, render, STOP)[0].pieces[:-1]) == asked


def test_the_presets_template_writes_tools_as_the_messages_format_does(model: Any) -> None:
    render, _, _ = model
    kinds = {(row.category, row.language) for row in generated()}
    assert len(kinds) == 10
    no_tools = conversation(User("你好"), Reply("你好。"), tools=())
    for row in (*generated(), document_row(), loop("預算為 300 萬。"), no_tools):
        assert rows(row, TrainAs.NATIVE, render, STOP) == rows(row, TrainAs.MESSAGES, render, STOP)


def test_a_loop_is_one_row_with_both_turns_labelled(model: Any) -> None:
    render, _, _ = model
    row = loop("預算為 300 萬。")
    [made] = rows(row, TrainAs.MESSAGES, render, STOP)
    assert made.id == "row-1"
    assert [piece.text for piece in made.pieces if piece.labelled] == answers(row)
    assert [piece.labelled for piece in made.pieces] == [False, True, False, True]
    assert made.pieces[2].text.startswith("\n<|im_start|>tool\n")


def test_digits_stand_alone_in_the_mended_tokenizer(model: Any) -> None:
    _, encode, tokenizer = model
    assert [tokenizer.decode([token]) for token in encode("2026")] == list("2026")


# Alpaca


def test_alpaca_text_is_the_usual_prompt_and_the_output_with_a_stop_token() -> None:
    [made] = rows(document_row(), TrainAs.ALPACA, unused, STOP)
    [alpaca] = to_alpaca(document_row())
    prompt = f"{alpaca['system']}\n\n### Instruction:\n{alpaca['instruction']}\n\n### Response:\n"
    assert made == Row("row-1", (Piece(prompt, False), Piece(alpaca["output"] + STOP, True)))
    assert made.text == prompt + alpaca["output"] + STOP


def test_alpaca_has_a_row_for_each_assistant_turn_and_the_last_is_what_is_asked() -> None:
    row = loop("預算為 300 萬。")
    made = [labelled(one, characters) for one in rows(row, TrainAs.ALPACA, unused, STOP)]
    assert [one["id"] for one in made] == ["row-1#0", "row-1#1"]
    assert [text(runs(one["labels"])[0]) for one in made] == answers(row)
    assert text(prompts(made)["row-1"].tokens) == rows(row, TrainAs.ALPACA, unused, STOP)[1].pieces[0].text


def unused(messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None, prompt: bool) -> str:
    raise AssertionError("alpaca needs no chat template")


def characters(piece: str) -> list[int]:
    """A tokenizer of one token a character."""
    return [ord(sign) for sign in piece]


def text(ids: list[int]) -> str:
    return "".join(map(chr, ids))


# Templates of other families


def plain(messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None, prompt: bool) -> str:
    body = "".join(f"<{m['role']}>{m.get('tool_calls') or m['content']}</s>\n" for m in messages)
    return body + ("<assistant>" if prompt else "")


def forgetful(messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None, prompt: bool) -> str:
    """Rewrites earlier turns, as Mistral's does with its tools: they stand before the last user turn."""
    last = max(i for i, message in enumerate(messages) if message["role"] in ("user", "tool"))
    body = "".join(("[TOOLS]" if i == last else "") + plain([m], tools, False) for i, m in enumerate(messages))
    return body + ("<assistant>" if prompt else "")


def test_a_template_that_rewrites_earlier_turns_gives_one_row_a_turn() -> None:
    row = loop("預算為 300 萬。")
    first, second = rows(row, TrainAs.MESSAGES, forgetful, "</s>")
    assert (first.id, second.id) == ("row-1#0", "row-1#1")
    assert [piece.labelled for made in (first, second) for piece in made.pieces] == [False, True, False, True]
    assert "[TOOLS]<user>" in first.text
    assert "[TOOLS]<tool>" in second.text
    assert second.pieces[1].text == "預算為 300 萬。</s>"
    assert (
        text(prompts([labelled(one, characters) for one in (first, second)])["row-1"].tokens) == second.pieces[0].text
    )


def test_a_template_gets_calls_with_their_arguments_as_an_object_and_tools_as_functions() -> None:
    seen: list[tuple[Any, Any]] = []

    def watching(messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None, prompt: bool) -> str:
        seen.append((messages, tools))
        return plain(messages, tools, prompt)

    rows(loop("預算為 300 萬。"), TrainAs.NATIVE, watching, "</s>")
    messages, tools = seen[-1]
    function = {"name": "query_database", "arguments": {"query_str": "預算"}}
    assert messages[2] == {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", "function": function}],
    }
    assert messages[3] == {"role": "tool", "name": "query_database", "content": '{"amount": "300 萬"}'}
    assert [tool["type"] for tool in tools] == ["function"] * 3
    assert tools[0]["function"]["parameters"]["required"] == ["query_str"]


def refused(render: Render, row: Example | None = None) -> str:
    with pytest.raises(Fault) as fault:
        rows(row or document_row(), TrainAs.MESSAGES, render, "</s>")
    return str(fault.value)


def test_a_template_that_cannot_be_labelled_is_named_with_the_way_out() -> None:
    assert refused(lambda messages, tools, prompt: f"{prompt}{plain(messages, tools, prompt)}") == (
        "row-1: the chat template writes what comes before turn 3 otherwise with its answer than without; "
        "use a template that does not"
    )
    assert refused(lambda messages, tools, prompt: plain(messages, tools, prompt).replace("</s>", "")) == (
        "row-1: the chat template does not end an assistant turn with '</s>'; correct `stop` in the preset"
    )


@pytest.mark.parametrize("text", [TrainAs.MESSAGES, TrainAs.ALPACA])
def test_a_turn_that_holds_the_stop_token_is_set_aside_and_not_cut(text: TrainAs) -> None:
    row = conversation(User("寫一行"), Reply("寫 </s> 好了"))
    with pytest.raises(NotExpressible, match=r"^row-1: .* holds '</s>', the token that ends one"):
        rows(row, text, plain, "</s>")


# stages.format


def test_rows_that_are_too_long_are_counted_and_the_longest_named(tmp_path: Path) -> None:
    short, long = conversation(User("短"), Reply("好。"), tools=()), document_row(id="long-1")
    path = tmp_path / "train.jsonl"
    path.write_text("".join(as_line(row) + "\n" for row in (short, long)), encoding="utf-8")
    native = to_native(knobs(200), replace(ABOUT, stops=("</s>",)), plain, characters)
    [made] = formatted(path, knobs(200), native, processes=1)
    assert made.rows == 2
    assert [json.loads(line)["id"] for line in made.lines["native"].splitlines()] == [short.id]
    with pytest.raises(Fault) as fault:
        check_length(made.aside, knobs(200))
    length = len(rows(long, TrainAs.MESSAGES, plain, "</s>")[0].text)
    assert str(fault.value) == (
        f"params.yaml: format.max_length is 200, and a row is longer (long-1 has {length} tokens); raise it, or have "
        "format.too_long drop or cut such rows"
    )
    with pytest.raises(Fault, match="and 2 rows are longer"):
        check_length(made.aside * 2, knobs(200))
    check_length([], knobs(200))


def test_a_broken_record_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(as_line(document_row()) + '\n{"id": 1}\n', encoding="utf-8")
    with pytest.raises(Fault, match=r"train\.jsonl:2: row has no category, .*; make the file again with dvc repro"):
        list(formatted(path, knobs(200), None, processes=1))
    with pytest.raises(Fault, match="is missing; dvc repro makes it"):
        list(formatted(tmp_path / "dev.jsonl", knobs(200), None, processes=1))


def test_a_row_with_nothing_to_learn_is_refused() -> None:
    with pytest.raises(Fault, match="row-1: no token of the assistant's is left to learn"):
        labelled(Row("row-1", (Piece("all prompt", False),)), characters)


def test_each_piece_is_tokenised_by_itself() -> None:
    pieces = (Piece("ab", False), Piece("cd", True), Piece("e", False))
    assert labelled(Row("r", pieces), characters) == {
        "id": "r",
        "text": "abcde",
        "input_ids": characters("abcde"),
        "labels": [UNLABELLED, UNLABELLED, *characters("cd"), UNLABELLED],
    }


def test_calls_of_one_turn_are_one_labelled_piece() -> None:
    two = conversation(
        User("查預算和薪資"),
        Calls((Call("query_database", {"query_str": "預算"}), Call("query_database", {"query_str": "薪資"}))),
    )
    [made] = rows(two, TrainAs.MESSAGES, plain, "</s>")
    assert [piece.text.count("\n") for piece in made.pieces if piece.labelled] == [1]
