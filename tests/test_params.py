"""params.yaml is typed and whole: every fault of it is told at once, with its place and its value."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from callwright.faults import Fault
from callwright.params import Params, Quantization, TrainAs, read_params
from callwright.records import Category

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")


def line(knob: str) -> str:
    """The line of a knob in params.yaml, which tests replace."""
    return next(row for row in TEXT.splitlines() if row.strip().startswith(f"{knob}:"))


def write(folder: Path, *changes: tuple[str, str]) -> Path:
    """params.yaml with lines replaced: `("learning_rate", "learning_rate: fast")`."""
    text = TEXT
    for knob, new in changes:
        indent = line(knob)[: -len(line(knob).lstrip())]
        text = text.replace(line(knob), indent + new, 1)
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8")
    if not (folder / "presets").exists():
        (folder / "presets").symlink_to(ROOT / "presets")
    return path


def sentences(path: Path) -> tuple[str, ...]:
    with pytest.raises(Fault) as fault:
        read_params(path)
    return fault.value.sentences


def test_a_file_that_nests_without_end_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("a: " + "[" * 100_000, encoding="utf-8")
    assert sentences(path) == (f"{path}: not YAML: it nests too deep; write it flat",)


def test_the_projects_own_params_are_whole_and_of_their_types() -> None:
    params = read_params(ROOT / "params.yaml")
    assert isinstance(params, Params)
    assert params.format.train_as in TrainAs
    assert params.train.quantization in Quantization
    assert sum(params.generate.categories.shares().values()) == pytest.approx(1)
    assert set(params.generate.categories.shares()) <= set(Category)


def test_params_are_frozen() -> None:
    with pytest.raises(Exception, match="frozen"):
        read_params(ROOT / "params.yaml").train.epochs = 9


def test_an_unknown_key_and_a_word_for_a_number_are_told_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, ("learning_rate", "learning_rate: fast"), ("weight_decay", "wait_decay: 0.0"))
    assert sentences(path) == (
        f"{path}: train.learning_rate is 'fast'; input should be a valid number",
        f"{path}: train.weight_decay is missing; git diff {path} shows what it was",
        f"{path}: train.wait_decay is not known here; remove it or mend its spelling",
    )


@pytest.mark.parametrize("stage", ["base", "generate"])
def test_a_stage_tells_them_on_stderr_exits_with_2_and_writes_nothing(tmp_path: Path, stage: str) -> None:
    write(tmp_path, ("learning_rate", "learning_rate: fast"), ("epochs", "epochs: 2\n  epoch: 3"))
    before = sorted(tmp_path.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-m", f"stages.{stage}"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "params.yaml: train.learning_rate is 'fast'; input should be a valid number",
        "params.yaml: train.epoch is not known here; remove it or mend its spelling",
    ]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("knob", "new", "sentence"),
    [
        ("zh_tw_share", "zh_tw_share: 1.5", "generate.zh_tw_share is 1.5; input should be less than or equal to 1"),
        ("single", "single: 0.9", "generate.categories is wrong: the shares add up to "),
        (
            "tools_offered",
            "tools_offered: {min: 6, max: 3, rarer: 2.0}",
            "generate.tools_offered is wrong: min is 6 and max is 3; min is at most max",
        ),
        (
            "tools_offered",
            "tools_offered: {min: 0, max: 3, rarer: 2.0}",
            "generate.tools_offered.min is 0; input should be greater than or equal to 1",
        ),
        (
            "dev",
            "dev: {rows: 40, seed: 7}",
            "generate is wrong: seed, exam.dev.seed, exam.test.seed and exam.unseen.seed are [",
        ),
        (
            "decay_share",
            "decay_share: 0.96",
            "train is wrong: warmup_share is 0.05 and decay_share 0.96; make them at most 1 together",
        ),
        ("train_as", "train_as: chatml", "format.train_as is wrong: 'chatml' is unknown; choose one of messages,"),
        ("quantization", "quantization: [nf4]", "train.quantization is wrong: ['nf4'] is unknown; choose one of nf4"),
        ("batch_size", "batch_size: 4.0", "train.batch_size is 4.0; input should be a valid integer"),
        ("batch_size", "batch_size: true", "train.batch_size is True; input should be a valid integer"),
        ("epochs", "epochs: .inf", "train.epochs is inf; input should be a finite number"),
        ("epochs", "epochs: .nan", "train.epochs is nan; input should be a finite number"),
        ("packs", "packs: []", "generate.packs is []; list should have at least 1 item"),
        ("packs", "packs: office", "generate.packs is 'office'; input should be a valid list"),
        ("lora", "lora: 16", "train.lora is 16; it should be a section of named values"),
        ("name", "name: a b", "register.name is 'a b'; string should match pattern"),
        ("preset", "preset: 8", "base.preset is 8; input should be a valid string"),
    ],
)
def test_a_knob_out_of_its_range_is_told_with_its_value(tmp_path: Path, knob: str, new: str, sentence: str) -> None:
    path = write(tmp_path, (knob, new))
    (told,) = sentences(path)
    assert told.startswith(f"{path}: {sentence}")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"base: {preset: [}", ":1: not YAML: expected the node content, but found '}'; mend that line"),
        (b"base: 1\nbase: 2\n", ':2: not YAML: found duplicate key "base"'),
        (b"base: 2026-13-45\n", ": not YAML: month must be in 1..12"),
        (b"base: \xff", ": not YAML: 'utf-8' codec can't decode"),
        (b"base: !!python/object:os.system x", ":1: not YAML: could not determine a constructor"),
        (b"", ": the file is None; it should be a section of named values"),
    ],
)
def test_a_file_that_is_no_yaml_is_a_sentence_with_its_line(tmp_path: Path, text: bytes, sentence: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(text)
    assert sentences(path)[0].startswith(f"{path}{sentence}")


def test_a_missing_file_says_where_to_stand(tmp_path: Path) -> None:
    (told,) = sentences(tmp_path / "params.yaml")
    assert "is missing; run this in the project's folder, or git checkout" in told


def test_a_file_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    (told,) = sentences(tmp_path)
    assert told == f"{tmp_path} could not be read: Is a directory; mend that, then run it again"


@pytest.mark.parametrize(
    "number", ["1e-3", "1E-3", "0.001", "1.0e-3", "+1e-3", "1_000e-6", "010", "0o17", "1:30", "yes"]
)
def test_a_number_is_read_as_dvc_reads_it(tmp_path: Path, number: str) -> None:
    """DVC keys its cache by the values that it reads: a knob must not be one value here and another there."""
    from dvc.utils.serialize import parse_yaml

    path = write(tmp_path, ("learning_rate", f"learning_rate: {number}"))
    theirs = parse_yaml(path.read_text(encoding="utf-8"), path)["train"]["learning_rate"]
    if isinstance(theirs, float):
        assert read_params(path).train.learning_rate == theirs == 0.001
    else:
        assert repr(theirs) in sentences(path)[0]
