"""A merged model on a two-layer Llama whose adapter knows three rows by heart: files, weights, answers, a server."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import OpenAI
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from transformers.utils.chat_parsing.response_parser import ResponseParser, parse_response

from callwright.answers import Called, Said, read_answer, write_calls
from callwright.faults import Fault
from callwright.outs import write_lines
from callwright.records import Call
from commands.export_model import gguf, merged
from stages import _exam, _export, _model, _serving
from tests.tiny import ROOT, STOP, make_base

EXPORTED = Path("exported")
SYSTEMS = {"zh-TW": "你是專業助理。", "en": "You are a professional assistant."}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "book_room",
            "description": "預約會議室",
            "parameters": {
                "type": "object",
                "properties": {"room": {"type": "string"}, "people": {"type": "integer"}},
                "required": ["room"],
            },
        },
    }
]
ROWS = {
    "zh-TW-1": ("zh-TW", "幫我訂301會議室,8個人", '{"tool": "book_room", "params": {"room": "301室", "people": 8}}'),
    "en-1": (
        "en",
        "Book Oak and Elm",
        '{"tool": "book_room", "params": {"room": "Oak"}}\n{"tool": "book_room", "params": {"room": "Elm"}}',
    ),
    "en-2": ("en", "Book a room", "Which room should it be?"),
}


def _messages(row: str) -> list[dict[str, str]]:
    language, request, _ = ROWS[row]
    return [{"role": "system", "content": SYSTEMS[language]}, {"role": "user", "content": request}]


def _native(tokenizer: Any) -> Iterator[dict[str, Any]]:
    for row, (_, _, answer) in ROWS.items():
        prompt = tokenizer.apply_chat_template(
            _messages(row), tools=TOOLS, add_generation_prompt=True, return_dict=True
        )["input_ids"]
        said = tokenizer(answer + STOP, add_special_tokens=False)["input_ids"]
        yield {"id": row, "text": "", "input_ids": prompt + said, "labels": [-100] * len(prompt) + said}


def _sharpen(base: Path) -> None:
    """Fresh, all tokens are about as likely, and the stop token, which pads too, is a row of zeros."""
    model = AutoModelForCausalLM.from_pretrained(base)
    model.model.norm.weight.data *= 20
    model.model.embed_tokens.weight.data[model.config.pad_token_id].normal_(std=0.02)
    model.save_pretrained(base)


def _learn(base: Path, rows: list[dict[str, Any]], out: Path) -> None:
    """An adapter on the rounded base that answers each row as it should, whatever rounding to bfloat16 does."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so small a model only waits for more of them
    model = _model.dense(_model.load_nf4(base, torch.float32), torch.float32)
    config = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    tuned: Any = get_peft_model(model, config)
    optimizer = torch.optim.Adam([w for w in tuned.parameters() if w.requires_grad], lr=1e-2)
    for _ in range(300):
        off = torch.zeros(())
        for row in rows:
            kept = sum(label != -100 for label in row["labels"])
            logits = tuned(input_ids=torch.tensor([row["input_ids"]]), logits_to_keep=kept + 1).logits[0, :-1]
            off = off + torch.nn.functional.cross_entropy(logits.float(), torch.tensor(row["labels"][-kept:]))
        off.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        if off.item() < 0.03:
            break
    assert off.item() < 0.1
    torch.set_num_threads(threads)
    tuned.save_pretrained(out)
    about = {"base": json.loads((base / "callwright.json").read_text()), "quantization": "nf4", "key": "k" * 8}
    (out / "callwright.json").write_text(json.dumps(about))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project's folder with base, adapter and test rows, to be copied."""
    folder = tmp_path_factory.mktemp("trained")
    base = make_base(folder / "models/base")
    _sharpen(base)
    about = {"preset": "tiny", "source": "made by a test", "revision": "0", "family": "template"}
    (base / "callwright.json").write_text(json.dumps({**about, "stops": [STOP, "<|endoftext|>"]}))
    rows = list(_native(AutoTokenizer.from_pretrained(base)))
    _learn(base, rows, folder / "models/adapter")
    for path, lines in ((_exam.NATIVE, rows), (_exam.VALIDATED, [{"id": row} for row in ROWS])):
        (folder / path).mkdir(parents=True)
        write_lines(folder / path / "test.jsonl", lines)
    shutil.copy(ROOT / "params.yaml", folder)
    shutil.copytree(ROOT / "presets", folder / "presets")
    return folder


@pytest.fixture
def project(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Written once, for those tests that only read it."""
    folder = tmp_path_factory.mktemp("exports") / EXPORTED
    before = Path.cwd()
    os.chdir(trained)
    try:
        assert merged(folder) == 0
    finally:
        os.chdir(before)
    return folder


def test_the_folder_holds_all_that_a_server_wants_and_nothing_of_this_machine(exported: Path, trained: Path) -> None:
    assert {file.name for file in exported.iterdir()} == {
        *("config.json", "generation_config.json", "model.safetensors", "README.md", "callwright.json"),
        *("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"),
    }
    tokenizer = AutoTokenizer.from_pretrained(exported)
    greedy = GenerationConfig.from_pretrained(exported)
    assert greedy.do_sample is False
    assert greedy.eos_token_id == tokenizer.convert_tokens_to_ids([STOP, "<|endoftext|>"])
    assert greedy.pad_token_id == tokenizer.pad_token_id
    config = json.loads((exported / "config.json").read_text())
    assert config["dtype"] == "bfloat16"
    assert "quantization_config" not in config
    card = (exported / "README.md").read_text()
    for word in ("made by a test", "`0`", "kkkkkkkk", "NF4", "licence"):
        assert word in card
    for file in exported.glob("*.json"):
        assert str(trained) not in file.read_text(), file


def test_the_folder_alone_answers_what_the_adapter_learnt(exported: Path) -> None:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(exported), AutoTokenizer.from_pretrained(exported)
    for row, (_, _, answer) in ROWS.items():
        prompt = tokenizer.apply_chat_template(
            _messages(row), tools=TOOLS, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        made = model.generate(**prompt, max_new_tokens=96)[0, prompt["input_ids"].shape[1] :]
        assert tokenizer.decode(made) == answer + STOP


@pytest.mark.parametrize("onto", ["as-trained", "plain"])
def test_the_weights_are_the_bases_and_the_adapters(project: Path, onto: str) -> None:
    """Held against bitsandbytes and the adapter's own file, by hand."""
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit
    from safetensors.torch import load_file

    merged(EXPORTED, onto=onto, sample=0)
    plain, made = (load_file(folder / "model.safetensors") for folder in (_exam.BASE, EXPORTED))
    lora = load_file("models/adapter/adapter_model.safetensors")
    assert made.keys() == plain.keys()
    moved = 0
    for name, weight in plain.items():
        key = f"base_model.model.{name.removesuffix('.weight')}.lora_{{}}.weight"
        wanted = weight.bfloat16()
        if key.format("A") in lora:
            if onto == "as-trained":
                wanted = dequantize_4bit(*quantize_4bit(wanted, quant_type="nf4", compress_statistics=True)).bfloat16()
            wanted = (wanted.float() + 2 * lora[key.format("B")].float() @ lora[key.format("A")].float()).bfloat16()
            moved += 1
        assert made[name].dtype is torch.bfloat16
        assert torch.allclose(made[name].float(), wanted.float(), rtol=2**-6, atol=1e-3), name
    assert moved == 14


def test_a_merge_that_answers_otherwise_ends_with_1_and_stays(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_export, "merge", lambda base, adapter, onto: _model.load(base, torch.bfloat16))
    assert merged(EXPORTED) == 1
    said = capsys.readouterr().out
    assert "0 of 3 answers are the same as the adapter's" in said
    assert "en-2: adapter 'Which room should it be?', merged '" in said
    assert "fewer than 95%: this is not the model that evaluate scored" in said
    assert (EXPORTED / "model.safetensors").is_file()


def test_where_no_test_rows_are_nothing_is_asked(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree("data")
    assert merged(EXPORTED) == 0
    assert "not asked anything: there are no test rows in data/formatted/native" in capsys.readouterr().out


def test_an_export_of_ours_is_replaced_by_force_only(project: Path) -> None:
    merged(EXPORTED, sample=0)
    with pytest.raises(Fault, match=r"exported is there already; --force replaces it"):
        merged(EXPORTED, sample=0)
    (EXPORTED / "stray").touch()
    assert merged(EXPORTED, sample=0, force=True) == 0
    assert not (EXPORTED / "stray").exists()


def test_what_is_not_ours_stays_as_it_is(project: Path) -> None:
    for name in ("models", "models/base", "models/adapter", "data"):
        with pytest.raises(Fault, match=rf"{name} holds something else than a merged model of ours"):
            merged(Path(name), force=True)
    with pytest.raises(Fault, match=r"params.yaml is a file; --merged names a folder"):
        merged(Path("params.yaml"), force=True)


def _spoil(file: str, text: str | None) -> None:
    if text is None:
        Path(file).unlink()
    else:
        Path(file).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("models/base/config.json", None, r"models/base holds no model; dvc repro base makes it"),
        ("models/adapter/adapter_model.safetensors", None, r"holds no adapter_model.safetensors; dvc checkout brings"),
        ("models/adapter/callwright.json", None, r"holds no callwright.json, so nobody knows which base"),
        ("models/adapter/callwright.json", "[", r"callwright.json of models/adapter or models/base is not as train"),
        (
            "models/adapter/callwright.json",
            '{"base": {"source": "another", "revision": "1"}}',
            r"models/adapter was trained on another at 1, and models/base is made by a test at 0",
        ),
        ("models/adapter/adapter_model.safetensors", "no", r"models/adapter could not be loaded: .*dvc checkout"),
        ("models/adapter/adapter_config.json", "{}", r"models/adapter could not be loaded: .*dvc checkout"),
    ],
)
def test_what_cannot_be_merged_is_a_sentence(project: Path, file: str, text: str | None, sentence: str) -> None:
    _spoil(file, text)
    with pytest.raises(Fault, match=sentence) as told:
        merged(EXPORTED)
    print(told.value)
    assert not EXPORTED.exists()


def test_misuse_is_a_sentence(project: Path) -> None:
    with pytest.raises(Fault, match=r"nowhere is missing: there is no adapter to merge; dvc repro trains one"):
        merged(EXPORTED, Path("nowhere"))
    with pytest.raises(Fault, match=r"--onto is 'nf4'; choose one of as-trained, plain"):
        merged(EXPORTED, onto="nf4")
    with pytest.raises(Fault, match=r"--sample is -1; give the number of test rows"):
        merged(EXPORTED, sample=-1)
    with pytest.raises(Fault, match=r"convert_hf_to_gguf.py exported --outfile tuned.gguf --outtype q8_0"):
        gguf(Path("tuned.gguf"), kind="q8_0")


def test_a_stop_that_is_no_token_is_a_sentence(project: Path) -> None:
    for folder in ("models/base", "models/adapter"):
        file = Path(folder, "callwright.json")
        file.write_text(file.read_text().replace("<|endoftext|>", "<|nothing|>"))
    with pytest.raises(Fault, match=r"names the stop '<\|nothing\|>', which is no token of it"):
        merged(EXPORTED)
    assert not EXPORTED.exists()


def test_a_full_disk_leaves_nothing(project: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(Fault, match=r"exported could not be written: .*nothing half-written was left"):
            merged(EXPORTED)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(Path().glob("*exported*"))


def test_an_older_base_names_one_stop() -> None:
    assert _export.stops({"stop": STOP}) == [STOP]
    assert _export.stops({"stops": ["a", "b"]}) == ["a", "b"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
CALLS = st.lists(
    st.builds(Call, st.sampled_from(["book_room", "查詢"]), st.dictionaries(st.text(max_size=5), JSON, max_size=3)),
    min_size=1,
    max_size=4,
).map(tuple)
PREFIX = f"<|im_start|>user\n?{STOP}\n<|im_start|>assistant\n"


@pytest.fixture(scope="session")
def template(exported: Path) -> dict[str, Any]:
    found: dict[str, Any] = AutoTokenizer.from_pretrained(exported).response_template
    return found


def _read(template: dict[str, Any], text: str, prefix: str = PREFIX, cuts: int = 0) -> tuple[str, list[Any]]:
    """Content and calls as the server finds them: at once, or from a stream in parts of `cuts` characters."""
    if not cuts:
        found = parse_response(text, template, prefix=prefix, tools=TOOLS)
        calls = [call["function"] for call in found.get("tool_calls", [])]
        return found.get("content", ""), [(call["name"], call["arguments"]) for call in calls]
    parser = ResponseParser(template, prefix=prefix, tools=TOOLS)
    events = [event for i in range(0, len(text), cuts) for event in parser.feed(text[i : i + cuts])]
    events += parser.finalize()[1]
    shown = [e["text"] for e in events if e["type"] == "region_chunk" and e["field"] == "content"]
    calls = [e["value"]["function"] for e in events if e["type"] == "region_close" and e["field"] == "tool_calls"]
    return "".join(shown).strip(), [(call["name"], call["arguments"]) for call in calls]


@given(calls=CALLS, cuts=st.integers(0, 9))
@settings(max_examples=150, deadline=None)
def test_the_server_finds_the_calls_that_read_answer_finds(
    template: dict[str, Any], calls: tuple[Call, ...], cuts: int
) -> None:
    content, found = _read(template, write_calls(calls) + STOP, cuts=cuts)
    assert content == ""
    assert [Call(name, json.loads(arguments)) for name, arguments in found] == list(calls)


CALL = '{"tool": "book_room", "params": {"room": "王\\n", "people": "8"}}'


@pytest.mark.parametrize("cuts", [0, 1, 7])
@pytest.mark.parametrize(
    "text",
    [
        *(
            "請問要哪一間?",
            "Which room?\nOak or Elm?",
            f"Sure:\n{CALL}",
            f"{{}}\n{CALL}",
            f"{CALL}\ndone",
            f"{CALL} {CALL}",
        ),
        *('{"tool": "book_room",', f'{{"tool": }}\n{CALL}', f'{CALL}\n{{"tool": "a"', CALL.replace('"8"', "NaN")),
        *(CALL.replace("8", "\t"), CALL.replace('{"room', '[{"room'), CALL.replace(', "params"', ', "x": 1, "params"')),
        *('{"tool": "a", "params": []}', '{"tool": 1, "params": {}}', '{"tool": "a", "params": {"x": 01}}', "```json"),
        '{"tool": "a", "params": {"x": ' + "[" * 2000,
    ],
)
def test_what_is_not_calls_from_end_to_end_is_text_and_never_an_error(
    template: dict[str, Any], text: str, cuts: int
) -> None:
    assert not isinstance(read_answer(text), Called)
    assert _read(template, text + STOP, cuts=cuts) == (text, [])


@pytest.mark.parametrize("cuts", [0, 1, 7])
def test_an_answer_that_was_cut_off_is_text(template: dict[str, Any], cuts: int) -> None:
    assert _read(template, CALL, cuts=cuts) == (CALL, [])


def test_arguments_reach_the_client_as_they_were_written(template: dict[str, Any]) -> None:
    """`people` is a string where the tool wants an integer: the client's to see, not the server's to mend."""
    assert _read(template, CALL + STOP)[1] == [("book_room", '{"room": "王\\n", "people": "8"}')]
    assert _read(template, "\n".join([CALL] * 1000) + STOP)[1] == [("book_room", CALL[32:-1])] * 1000


@pytest.mark.parametrize("cuts", [0, 1])
@pytest.mark.parametrize(
    ("family", "native", "chat", "stop", "text", "names"),
    [
        ("llama3.1", True, "<|h|>", "<|eot_id|>", '{"name": "f", "parameters": {"x": [1]}}', ["f"]),
        (
            "llama3.1",
            True,
            "<|h|>",
            "<|eom_id|>",
            '{"name": "f", "parameters": {}}\n{"name": "g", "parameters": {}}',
            [],
        ),
        ("llama3", False, "<|h|>", "<|eot_id|>", f"{CALL}\n{CALL}", ["book_room"] * 2),
        (
            *("mistral", True, "", "</s>"),
            '[TOOL_CALLS] [{"name": "f", "arguments": {"x": 1}, "id": "a1b2c3d4e"}, {"name": "g", "arguments": {}}]',
            ["f", "g"],
        ),
        ("mistral", True, "", "</s>", '[{"name": "f", "arguments": {}}]', []),
        ("mistral", True, "", "</s>", '[TOOL_CALLS] [{"name": "f", "arguments": {}}', []),
        ("mistral", False, "", "</s>", CALL, ["book_room"]),
    ],
)
def test_other_families_calls_are_found_in_their_own_form(
    trained: Path, family: str, native: bool, chat: str, stop: str, text: str, names: list[str], cuts: int
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(trained / "models/base")
    tokenizer.chat_template = (
        f"[INST] {{{{ messages[0].content }}}}[/INST]{{% if add_generation_prompt %}}{chat}{{% endif %}}"
    )
    stops = ["<|eot_id|>", "<|eom_id|>", "</s>"]
    made = _serving.response_template(tokenizer, family, stops, native=native)
    assert made is not None
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], tokenize=False, add_generation_prompt=True
    )
    content, calls = _read(made, text + stop, prefix=prompt, cuts=cuts)
    assert [name for name, _ in calls] == names
    assert content == ("" if names else text)


def test_qwens_own_form_is_left_to_transformers(trained: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(trained / "models/base")
    assert _serving.response_template(tokenizer, "qwen2.5", [STOP], native=True) is None
    assert _serving.response_template(tokenizer, "qwen2.5", [STOP], native=False) is not None
    tokenizer.chat_template = None
    assert _serving.response_template(tokenizer, "template", [STOP], native=True) is None


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def server(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port, log = _free_port(), tmp_path_factory.mktemp("serve") / "log"
    command = [str(Path(sys.executable).parent / "transformers"), "serve", str(exported), "--port", str(port)]
    quiet = {**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    with (
        log.open("w") as out,
        subprocess.Popen([*command, "--host", "127.0.0.1"], stdout=out, stderr=out, env=quiet) as process,
    ):
        try:
            deadline = time.monotonic() + 90
            while not _listens(port):
                assert time.monotonic() < deadline, log.read_text()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    raise AssertionError(f"it ended with {process.wait(0.2)}: {log.read_text()}")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.kill()
            process.wait(30)


def _listens(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("row", list(ROWS))
def test_the_official_client_gets_tool_calls_from_transformers_serve(exported: Path, server: str, row: str) -> None:
    wanted = read_answer(ROWS[row][2])
    with OpenAI(base_url=server, api_key="none", max_retries=0, timeout=60) as client:
        asked: Any = {"model": str(exported), "messages": _messages(row), "tools": TOOLS}
        choice = client.chat.completions.create(**asked).choices[0]
        streamed = [
            part.choices[0].delta for part in client.chat.completions.create(**asked, stream=True) if part.choices
        ]
    once = [call.function for call in choice.message.tool_calls or []]
    parts = [call.function for delta in streamed for call in delta.tool_calls or []]
    if isinstance(wanted, Said):
        assert (choice.finish_reason, choice.message.content) == ("stop", wanted.text)
        assert "".join(delta.content or "" for delta in streamed) == wanted.text
        assert not once + parts
    else:
        assert choice.finish_reason == "tool_calls"
        for found in (once, parts):
            assert Called(tuple(Call(call.name, json.loads(call.arguments)) for call in found)) == wanted
