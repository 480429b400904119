"""Presets: what `preset` in params.yaml stands for, on either kind of machine, and what one that lacks it is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from callwright.families import family
from callwright.faults import Fault
from callwright.params import AS_PRESET, read_params
from callwright.presets import FamilyName, preset_names, read_preset
from tests.rows import ROOT

TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")
ASKED = ["smollm2-135m", "llama-3-8b", "llama-3.1-8b", "mistral-7b", "qwen2.5-7b", "qwen3-8b"]


def project(folder: Path, preset: str, *changes: tuple[str, str]) -> Path:
    """A params.yaml with this preset, beside the project's own presets."""
    text = TEXT.replace("preset: smollm2-135m", f"preset: {preset}")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    if not (folder / "presets").exists():
        (folder / "presets").symlink_to(ROOT / "presets")
    return folder / "params.yaml"


def test_there_is_a_preset_for_every_base_that_is_asked_for() -> None:
    assert set(preset_names(ROOT / "presets")) == set(ASKED)


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize("on_gpu", [False, True])
def test_every_preset_makes_whole_params_on_either_machine(tmp_path: Path, name: str, on_gpu: bool) -> None:
    params = read_params(project(tmp_path, name), on_gpu=on_gpu)
    assert AS_PRESET not in str(params.train)
    assert params.train.batch_size % params.train.rows_at_a_time == 0
    assert params.format.max_length in (512, 2048)


@pytest.mark.parametrize("name", ASKED[1:])
def test_the_large_ones_have_a_pinned_revision_and_their_familys_stops(name: str) -> None:
    preset = read_preset(name, ROOT / "presets")
    assert re.fullmatch("[0-9a-f]{40}", preset.source.revision or "")
    speaks = family(preset.family)
    assert preset.stops[0] == speaks.stops[0]
    assert set(preset.stops) <= {*speaks.stops, "<|end_of_text|>"}
    assert preset.train_as == ("native" if speaks.native else "messages")


def test_a_value_in_params_goes_before_the_presets(tmp_path: Path) -> None:
    path = project(tmp_path, "mistral-7b", ("learning_rate: preset", "learning_rate: 3e-5"))
    params = read_params(path)
    assert params.train.learning_rate == 3e-5
    assert params.train.lora.alpha == read_preset("mistral-7b", ROOT / "presets").train.lora.alpha  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("profile", "there", "rows"), [("auto", True, 2), ("auto", False, 1), ("gpu", False, 2), ("cpu", True, 1)]
)
def test_the_profile_is_what_is_there_unless_params_say_which(
    tmp_path: Path, profile: str, there: bool, rows: int
) -> None:
    path = project(tmp_path, "qwen3-8b", ("profile: auto", f"profile: {profile}"))
    assert read_params(path, on_gpu=there).train.rows_at_a_time == rows


def test_a_preset_that_lacks_a_number_is_told_what_to_add(tmp_path: Path) -> None:
    whole = yaml.safe_load((ROOT / "presets/qwen3-8b.yaml").read_text(encoding="utf-8"))
    del whole["max_length"], whole["train"]["lora"], whole["on_cpu"]
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets/mine.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")
    path = project(tmp_path, "mine")
    with pytest.raises(Fault) as fault:
        read_params(path)
    assert str(fault.value) == (
        f"presets/mine.yaml does not say what `preset` stands for in {path}: format.max_length, train.rows_at_a_time, "
        f"train.lora (for a CPU); add that, as presets/smollm2-135m.yaml has it, or write values in {path}"
    )


def test_what_a_preset_says_is_checked_as_params_are(tmp_path: Path) -> None:
    whole = yaml.safe_load((ROOT / "presets/qwen3-8b.yaml").read_text(encoding="utf-8"))
    whole["train"]["optimizer"] = "shampoo"
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets/mine.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")
    with pytest.raises(Fault, match=r"train\.optimizer is wrong: 'shampoo' is unknown; choose one of soap, adamw"):
        read_params(project(tmp_path, "mine"))


def test_an_unknown_family_is_told_with_those_there_are(tmp_path: Path) -> None:
    whole = yaml.safe_load((ROOT / "presets/qwen3-8b.yaml").read_text(encoding="utf-8"))
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**whole, "family": "gemma"}), encoding="utf-8")
    known = ", ".join(FamilyName)
    with pytest.raises(Fault, match=f"family is wrong: 'gemma' is unknown; choose one of {known}"):
        read_preset("mine", tmp_path)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            [("processes: 1", "processes: 3")],
            r"train is wrong: batch_size is 8 and processes 3; make batch_size a multiple of it",
        ),
        (
            [("rows_at_a_time: preset", "rows_at_a_time: 3")],
            r"train is wrong: batch_size is 8 and rows_at_a_time is 3 in 1 process\(es\); make batch_size a multiple",
        ),
        (
            [("profile: auto", "profile: tpu")],
            r"train\.profile is wrong: 'tpu' is unknown; choose one of auto, gpu, cpu",
        ),
        (
            [("too_long: refuse", "too_long: squeeze")],
            r"format\.too_long is wrong: 'squeeze' is unknown; choose one of",
        ),
        ([("inexpressible: turns", "inexpressible: guess")], r"format\.inexpressible is wrong: 'guess' is unknown"),
    ],
)
def test_knobs_that_do_not_go_together_name_both(tmp_path: Path, changes: list[tuple[str, str]], sentence: str) -> None:
    with pytest.raises(Fault, match=sentence):
        read_params(project(tmp_path, "smollm2-135m", *changes))
