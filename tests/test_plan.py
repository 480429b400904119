"""callwright plan: what it prints, what it answers, and train's refusal. Speeds and machines beside it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from callwright.faults import Fault
from callwright.fitting import MOST_ROWS, MOST_TOKENS, STEP, knobs_of, largest_length, largest_rows, refusal, setting_of
from callwright.machines import CARDS, Machine, machine_memory, read_machine
from callwright.memory import GIB, Setting, estimate
from callwright.params import Params, Train, read_params
from callwright.presets import Shape, preset_names, read_preset
from callwright.speed import FAST, SLOW, duration, flops_a_token, tokens_a_second
from commands.plan import plan

ROOT = Path(__file__).parent.parent
GPU16 = Machine("16 GiB GPU", 16 * GIB)


def shape(name: str) -> Shape:
    found = read_preset(name).shape
    assert found is not None
    return found


def printed(capsys: pytest.CaptureFixture[str], *args: Any, **named: Any) -> tuple[int, str]:
    code = plan(*args, **named)
    out = capsys.readouterr().out
    print(out)
    assert all(cell_len(line) <= 100 for line in out.splitlines())
    return code, out


# What is printed.


def test_a_preset_that_fits_shows_its_parts_and_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    code, out = printed(capsys, "llama-3-8b", "16GiB", rows=5000)
    assert code == 0
    m = estimate(shape("llama-3-8b"), setting_of(knobs_of(read_preset("llama-3-8b"), on_gpu=True), 2048, on_gpu=True))
    for part in (m.weights, m.lora, m.kept, m.layer, m.overhead, m.total, 16 * GIB - m.total):
        assert f"{part / GIB:.2f}" in out
    assert "8,030,261,248" in out
    assert "fits" in out
    assert "does not fit" not in out
    assert "5,000 rows once, 1,024 tokens each" in out


def test_one_that_does_not_fit_says_what_is_missing_and_exits_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    code, out = printed(capsys, "llama-3-8b", "6.9GiB")
    assert code == 1
    assert "does not fit" in out
    assert "Not one row of 2,048 tokens fits; one row fits up to" in out
    code, out = printed(capsys, "mistral-7b", "6GiB")
    assert code == 1
    assert "or 1 row at a time (of 2,048 tokens)." in out


def test_hopeless_sizes_promise_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    code, out = printed(capsys, "qwen3-8b", "4GB")
    assert code == 1
    assert "Not one row of 2,048 tokens fits." in out


def test_without_a_preset_all_stand_at_16_and_24_gib(capsys: pytest.CaptureFixture[str]) -> None:
    code, out = printed(capsys)
    assert code == 0
    assert all(out.count(f" {name} ") == 2 for name in preset_names())
    assert "16 GiB" in out
    assert "24 GiB" in out


def test_on_the_cpu_weights_are_dense_and_twice_in_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    _, out = printed(capsys, "smollm2-135m", "cpu")
    assert "linear layers twice in bytes" in out
    assert "NF4" not in out
    assert "all of 30 layers" in out


def test_length_rows_at_a_time_and_speed_can_be_said(capsys: pytest.CaptureFixture[str]) -> None:
    _, out = printed(
        capsys, "mistral-7b", "RTX 4090", max_length=4096, batch=1, rows=100, epochs=3, tokens=500, speed=1000
    )
    assert "1 row of 4,096 tokens at a time, RTX 4090" in out
    assert "100 rows 3 times, 500 tokens each: 2 min." in out  # 150,000 tokens at 1,000 a second
    assert "--speed" in out


def test_a_small_models_time_on_a_gpu_is_unknown_not_invented(capsys: pytest.CaptureFixture[str]) -> None:
    _, out = printed(capsys, "smollm2-135m", "16GiB")
    assert "tokens each: unknown." in out


def test_rows_are_those_of_params_yaml(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "presets", tmp_path / "presets")
    monkeypatch.chdir(tmp_path)
    assert "5,000 rows once" in printed(capsys, "mistral-7b")[1]
    (tmp_path / "params.yaml").write_text("generate: {rows: 777}\n", encoding="utf-8")
    assert "777 rows once" in printed(capsys, "mistral-7b")[1]


# What makes no sense is a sentence.


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"preset": ""}, "preset '' is unknown; choose one of llama-3-8b, "),
        ({"preset": "llama-9"}, "preset 'llama-9' is unknown; choose one of llama-3-8b, "),
        ({"gpu": "16"}, "--gpu is '16', a size without GiB, GB, MiB or MB; write 16GiB, or a card: T4"),
        ({"gpu": "16 PB"}, "--gpu is '16 PB', a size without GiB, GB, MiB or MB"),
        ({"gpu": "-16GiB"}, "--gpu is '-16GiB', no size and no card that is known; say a size such as 16GiB"),
        ({"gpu": "nanGiB"}, "no size and no card that is known"),
        ({"gpu": "顯示卡"}, "--gpu is '顯示卡', no size and no card that is known"),
        ({"gpu": ""}, "--gpu is '', no size and no card that is known"),
        ({"gpu": "0GiB"}, "--gpu is '0GiB', no memory at all; say a size such as 16GiB"),
        ({"max_length": 0}, "--max-length is 0; say a whole number from 1 to 1,048,576"),
        ({"max_length": 10**12}, "--max-length is 1000000000000; say"),
        ({"batch": -1}, "--batch is -1; say a whole number from 1 to 1,024"),
        ({"rows": 0}, "--rows is 0; say a whole number"),
        ({"tokens": -5}, "--tokens is -5; say a whole number"),
        ({"epochs": 0.0}, "--epochs is 0; say a number over 0"),
        ({"epochs": float("nan")}, "--epochs is nan; say a number over 0"),
        ({"labelled": 1.5}, "--labelled is 1.5; say a share over 0 and up to 1"),
        ({"speed": 0.0}, "--speed is 0; say the tokens a second that train printed"),
    ],
)
def test_what_makes_no_sense_is_said_with_the_way_out(said: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Fault) as fault:
        plan(**{"preset": "llama-3-8b", **said})
    print(fault.value)
    assert sentence in str(fault.value)


def test_all_wrong_numbers_are_told_at_once() -> None:
    with pytest.raises(Fault) as fault:
        plan("llama-3-8b", batch=0, rows=-1)
    assert len(fault.value.sentences) == 2


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("source: {folder: x}\nstop: </s>\nmax_length: 64\n", "presets/mine.yaml: shape is missing"),
        ("source: {folder: x}\nstop: </s>\nshape: SHAPE\n", "presets/mine.yaml: max_length is missing"),
        (
            "source: {folder: x}\nstop: </s>\nshape: SHAPE\nmax_length: 64\n",
            "does not say train.rows_at_a_time, train.lora, train.optimizer, train.quantization",
        ),
    ],
)
def test_a_preset_that_says_too_little_is_told_what_is_missing(
    text: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "presets").mkdir()
    mine = text.replace("SHAPE", shape("mistral-7b").model_dump_json())
    (tmp_path / "presets/mine.yaml").write_text(mine, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Fault) as fault:
        plan("mine")
    print(fault.value)
    assert sentence in str(fault.value)


def test_a_folder_without_presets_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Fault, match="presets holds no preset; run this in the project's folder"):
        plan()
    with pytest.raises(Fault, match="none, presets is empty"):
        plan("llama-3-8b")


# Train's refusal.


def params(name: str, *, on_gpu: bool, **train: Any) -> Train:
    """The section `train` with a preset's numbers, and others in their place."""
    read: Params = read_params(ROOT / "params.yaml")
    return read.train.model_copy(update=dict(_of_preset(name, on_gpu), **train))


def _of_preset(name: str, on_gpu: bool) -> dict[str, Any]:
    knobs = knobs_of(read_preset(name), on_gpu=on_gpu)
    return {key: value for key in type(knobs).model_fields if (value := getattr(knobs, key)) is not None}


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_trains_on_16_gib(name: str) -> None:
    found = read_preset(name)
    assert found.max_length is not None
    assert refusal(params(name, on_gpu=True), shape(name), found.max_length, 16 * GIB, on_gpu=True) is None


def test_too_many_rows_are_refused_with_the_number_that_fits() -> None:
    train = params("llama-3-8b", on_gpu=True, rows_at_a_time=16)
    said = refusal(train, shape("llama-3-8b"), 2048, 16 * GIB, on_gpu=True)
    print(said)
    most = largest_rows(shape("llama-3-8b"), setting_of(train, 2048, on_gpu=True), 16 * GIB)
    assert said is not None
    assert said.startswith("16 rows of 2,048 tokens at a time need ")
    assert "and the GPU has 16.00; " in said
    assert said.endswith(f"set train.rows_at_a_time in params.yaml to {most} or fewer")
    for rows, fits in ((most, True), (most + 1, False)):
        less = train.model_copy(update={"rows_at_a_time": rows})
        assert (refusal(less, shape("llama-3-8b"), 2048, 16 * GIB, on_gpu=True) is None) == fits


def test_too_long_rows_are_refused_with_the_length_that_fits() -> None:
    train = params("llama-3-8b", on_gpu=True)
    said = refusal(train, shape("llama-3-8b"), 8192, 8 * GIB, on_gpu=True)
    print(said)
    one = setting_of(train.model_copy(update={"rows_at_a_time": 1}), 8192, on_gpu=True)
    length = largest_length(shape("llama-3-8b"), one, 8 * GIB)
    assert said is not None
    assert (
        f"not one row fits; set train.rows_at_a_time in params.yaml to 1 and format.max_length to {length:,} " in said
    )


def test_a_plain_base_that_is_too_large_is_told_of_nf4() -> None:
    train = params("mistral-7b", on_gpu=True, quantization="none")
    said = refusal(train, shape("mistral-7b"), 2048, 12 * GIB, on_gpu=True)
    print(said)
    assert said is not None
    assert "set train.quantization in params.yaml to nf4" in said


def test_a_base_that_is_too_large_is_told_of_smaller_ones() -> None:
    said = refusal(params("qwen3-8b", on_gpu=True), shape("qwen3-8b"), 2048, 5 * GIB, on_gpu=True)
    print(said)
    assert said is not None
    assert "choose a smaller base.preset in params.yaml (smollm2-135m)" in said


def test_where_nothing_fits_more_memory_is_the_way_out() -> None:
    said = refusal(params("qwen3-8b", on_gpu=True), shape("qwen3-8b"), 2048, GIB // 4, on_gpu=True)
    print(said)
    assert said is not None
    assert said.endswith("not one row fits; train on a machine with more memory")


@pytest.mark.parametrize("number", [2, 4])
def test_the_embedded_default_is_never_refused_on_8_gb(number: int) -> None:
    """With bfloat16 even where nothing is common and everything labelled; in float32 with rows as they are here."""
    train = params("smollm2-135m", on_gpu=False)
    known = {} if number == 2 else {"labelled": 0.3, "shared": 0.3}
    memory = int(7.7e9)  # MemTotal of a machine with 8 GB
    assert refusal(train, shape("smollm2-135m"), 512, memory, on_gpu=False, number=number, **known) is None


def test_8_billion_parameters_are_refused_on_a_cpu_with_16_gb() -> None:
    said = refusal(params("llama-3-8b", on_gpu=False), shape("llama-3-8b"), 2048, 16 * 10**9, on_gpu=False)
    print(said)
    assert said is not None
    assert "this machine has 14.90" in said


SETTINGS = st.builds(
    Setting,
    length=st.integers(64, 4096),
    rows=st.integers(1, 16),
    rank=st.sampled_from([8, 64]),
    on_gpu=st.booleans(),
    labelled=st.sampled_from([0.1, 1.0]),
)


@given(setting=SETTINGS, name=st.sampled_from(preset_names()), memory=st.integers(GIB // 2, 100 * GIB))
def test_the_largest_that_fits_fits_and_a_step_more_does_not(setting: Setting, name: str, memory: int) -> None:
    of = shape(name)
    rows, length = largest_rows(of, setting, memory), largest_length(of, setting, memory)
    assert rows == 0 or estimate(of, replace(setting, rows=rows)).total <= memory
    assert rows == MOST_ROWS or estimate(of, replace(setting, rows=rows + 1)).total > memory
    assert length == 0 or estimate(of, replace(setting, length=length)).total <= memory
    assert length == MOST_TOKENS or estimate(of, replace(setting, length=length + STEP)).total > memory


# Machines.


@pytest.mark.parametrize("said", ["4090", "RTX 4090", "rtx4090", "NVIDIA GeForce RTX 4090", "rtx-4090"])
def test_a_card_is_found_by_any_of_its_names(said: str) -> None:
    assert read_machine(said) == next(card for card in CARDS if card.name == "RTX 4090")


def test_gib_and_gb_are_two_units() -> None:
    assert read_machine("16GiB").memory == 16 * 2**30
    assert read_machine("24 GB").memory == 24 * 10**9
    assert read_machine("15.5 gib").memory == int(15.5 * 2**30)


@pytest.mark.parametrize(
    ("limits", "groups", "expected"),
    [
        ({}, "0::/\n", 8_000_000 * 1024),
        ({"memory.max": "max\n"}, "0::/\n", 8_000_000 * 1024),
        ({"memory.max": "4294967296\n"}, "0::/\n", 4 * GIB),
        ({"a/b/memory.max": "1073741824\n", "a/memory.max": "max"}, "0::/a/b\n", GIB),
        ({"a/memory.max": "1073741824\n"}, "0::/a/b\n", GIB),
        ({"memory/job/memory.limit_in_bytes": "2147483648\n"}, "4:memory:/job\n3:cpu:/x\n", 2 * GIB),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, "4:memory:/\n", 8_000_000 * 1024),
        ({}, "not a control group\n", 8_000_000 * 1024),
    ],
)
def test_a_containers_limit_is_the_memory_there_is(
    limits: dict[str, str], groups: str, expected: int, tmp_path: Path
) -> None:
    proc, top = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal:        8000000 kB\nMemFree:          100 kB\n", encoding="ascii")
    (proc / "self/cgroup").write_text(groups, encoding="ascii")
    for name, text in limits.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text, encoding="ascii")
    assert machine_memory(proc, top) == expected


def test_a_system_that_does_not_tell_its_memory_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="does not say how much memory there is; say it with --gpu"):
        machine_memory(tmp_path, tmp_path)


def test_this_machines_memory_is_what_psutil_says_or_less() -> None:
    import psutil

    assert 0 < machine_memory() <= psutil.virtual_memory().total


# Speeds.


def test_torchtunes_speed_comes_out_where_it_went_in() -> None:
    """2,413 tokens/s of Llama 3.1 8B on an RTX 4090, r 8, rows of 2,048 of which every token is labelled."""
    setting = Setting(length=2048, rows=2, rank=8, on_gpu=True)
    speed = tokens_a_second(shape("llama-3.1-8b"), setting, read_machine("4090"))
    assert speed is not None
    assert speed.fast == pytest.approx(2413, rel=0.01)
    assert speed.slow / speed.fast == pytest.approx(SLOW / FAST) == pytest.approx(1.15 / 3.95)


def test_the_embedded_defaults_speed_on_a_cpu_is_near_the_measured_one() -> None:
    """1,623 tokens/s (docs/lab-notes.md), of rows of about 220 tokens."""
    setting = Setting(length=220, rows=8, rank=16, on_gpu=False, checkpointing=False, labelled=0.2)
    speed = tokens_a_second(shape("smollm2-135m"), setting, Machine("", 8 * GIB, on_gpu=False))
    assert speed is not None
    assert speed.fast == pytest.approx(1623, rel=0.15)


def test_work_is_six_or_eight_products_a_weight() -> None:
    """Of Mistral 7B without its embeddings: 2 forward, 2 back, 2 again with checkpointing; LoRA adds little."""
    weights = 7_248_023_552 - 32_768 * 4096
    setting = Setting(length=64, rows=1, rank=1, on_gpu=True)
    assert 5.9 < flops_a_token(shape("mistral-7b"), setting) / weights < 6.1
    assert 3.9 < flops_a_token(shape("mistral-7b"), replace(setting, checkpointing=False)) / weights < 4.1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (89, "89 s"),
        (120, "2 min"),
        (99 * 60, "99 min"),
        (100 * 60, "1 h 40 min"),
        (2 * 3600, "2 h"),
        (50 * 3600, "2 days 2 h"),
    ],
)
def test_a_duration_reads_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text
