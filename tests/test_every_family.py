"""The whole path on a two-layer model of each family, with real NF4: base, format, train, evaluate by their mains."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from callwright.families import family
from callwright.faults import Fault
from callwright.outs import read_lines
from callwright.params import read_params
from callwright.presets import read_preset
from callwright.records import Category, Example, Split
from stages import _local, base, evaluate, train
from stages import format as formatting
from tests.rows import as_line, generate_params, made, office
from tests.tiny import ROOT, SIZES, make_model

FAMILIES = {"llama3": "llama", "llama3.1": "llama", "mistral": "mistral", "qwen2.5": "qwen2", "qwen3": "qwen3"}


@pytest.fixture
def project(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a preset of the family, its model as a hub would have it, and rows of every category."""
    name: str = request.param
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none/there.db")
    controls = (*family(name).controls, *family(name).stops)
    make_model(FAMILIES[name], tuple(dict.fromkeys(controls)), tmp_path / "hub")
    config = json.loads((tmp_path / "hub/config.json").read_text(encoding="utf-8"))
    embedded = yaml.safe_load((ROOT / "presets/smollm2-135m.yaml").read_text(encoding="utf-8"))
    preset = {
        "source": {"folder": "hub"},
        "family": name,
        "stop": list(family(name).stops),
        "train_as": "native" if family(name).native else "messages",
        "max_length": 2048,
        "shape": {key: config[key] for key in ("model_type", "vocab_size", *SIZES, "head_dim", "tie_word_embeddings")},
        "evaluate": {"batch_size": 8, "max_new_tokens": 8},
        "train": {**embedded["train"], "batch_size": 4, "rows_at_a_time": 2, "optimizer": "adamw"},
    }
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets/tiny.yaml").write_text(yaml.safe_dump(preset), encoding="utf-8")
    change("preset: smollm2-135m", "preset: tiny")
    for folder in ("stages", "callwright", "packs"):
        Path(folder).symlink_to(ROOT / folder)
    Path("data/validated").mkdir(parents=True)
    for split, rows in some().items():
        Path(f"data/validated/{split}.jsonl").write_text("".join(as_line(row) + "\n" for row in rows), encoding="utf-8")
    return tmp_path


def change(old: str, new: str) -> None:
    if not Path("params.yaml").exists():
        shutil.copy(ROOT / "params.yaml", "params.yaml")
    text = Path("params.yaml").read_text(encoding="utf-8")
    assert old in text
    Path("params.yaml").write_text(text.replace(old, new), encoding="utf-8")


def some() -> dict[Split, list[Example]]:
    """A few rows of each split, of every category that there is."""
    rows = made(office(), generate_params(60, 20))
    picked: dict[Split, list[Example]] = {}
    for split, most in ((Split.TRAIN, 2), (Split.DEV, 1), (Split.TEST, 2)):
        of = {category: [row for row in rows[split] if row.category is category][:most] for category in Category}
        picked[split] = [row for each in of.values() for row in each]
    return picked


@pytest.mark.parametrize("project", list(FAMILIES), indirect=True)
def test_from_the_hub_to_the_scores(project: Path) -> None:
    base.main()
    formatting.main()
    assert list(read_lines(Path("data/formatted/set_aside.jsonl"))) == []
    train.main()
    history = list(read_lines(Path("reports/train/history.jsonl")))
    assert history[-1]["loss"] < 12
    assert json.loads(Path("models/adapter/adapter_config.json").read_text(encoding="utf-8"))["r"] == 16
    evaluate.main()
    metrics = json.loads(Path("reports/evaluate/metrics.json").read_text(encoding="utf-8"))
    asked = len(some()[Split.TEST])
    assert metrics["tuned"]["overall"]["n"] == metrics["base"]["overall"]["n"] == asked
    assert metrics["set_aside"] == 0


ALL = """
from stages import _entry, base, evaluate, train
from stages import format as formatting
def main():
    for stage in (base, formatting, train, evaluate):
        stage.main()
_entry.run(main)
"""


@pytest.mark.parametrize("project", ["qwen2.5"], indirect=True)
def test_a_base_on_the_hub_is_trained_and_asked_at_its_pinned_revision(project: Path) -> None:
    """From a cache as the hub's client keeps it, offline: what is at `main` is another model."""
    revision, cache = "a" * 40, project / "cache/models--org--tiny"
    shutil.copytree("hub", cache / f"snapshots/{revision}")
    (cache / f"snapshots/{'b' * 40}").mkdir()
    (cache / f"snapshots/{'b' * 40}/config.json").write_text("{}", encoding="utf-8")
    (cache / "refs").mkdir()
    (cache / "refs/main").write_text("b" * 40, encoding="utf-8")
    shutil.rmtree("hub")
    preset = yaml.safe_load(Path("presets/tiny.yaml").read_text(encoding="utf-8"))
    preset["source"] = {"hub": "org/tiny", "revision": revision}
    Path("presets/tiny.yaml").write_text(yaml.safe_dump(preset), encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_CACHE": str(project / "cache"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", ALL], env=env, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert not list(Path("models/base").glob("*.safetensors")), "its weights stay on the hub"
    assert (
        json.loads(Path("models/adapter/callwright.json").read_text(encoding="utf-8"))["base"]["revision"] == revision
    )
    assert Path("reports/evaluate/metrics.json").is_file()


@pytest.mark.parametrize("project", ["llama3.1"], indirect=True)
def test_what_a_family_cannot_say_is_set_aside_and_counted_if_so_asked(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change("inexpressible: turns", "inexpressible: set_aside")
    base.main()
    formatting.main()
    aside = list(read_lines(Path("data/formatted/set_aside.jsonl")))
    parallel = [row.id for row in some()[Split.TRAIN] if row.category is Category.PARALLEL]
    assert [row["id"] for row in aside if row["split"] == "train"] == parallel
    assert {row["reason"] for row in aside} == {"not_expressible"}
    assert f"{len(parallel)} set aside as not_expressible" in capsys.readouterr().out
    native = [row["id"] for row in read_lines(Path("data/formatted/native/train.jsonl"))]
    assert not any(row_id.startswith(tuple(parallel)) for row_id in native)


@pytest.mark.parametrize("project", ["llama3.1"], indirect=True)
def test_calls_one_a_turn_are_asked_for_turn_by_turn(project: Path) -> None:
    """With a model that always says what the row says, every turn is asked for and the row is right."""
    base.main()
    formatting.main()
    rows = [row for row in some()[Split.TEST] if row.category is Category.PARALLEL]
    asked = _local.prompts(read_lines(Path("data/formatted/native/test.jsonl")))
    assert all(len(asked[row.id].between) == 1 for row in rows)
    native = {row["id"]: row for row in read_lines(Path("data/formatted/native/test.jsonl"))}

    def knowing(prompts: Sequence[list[int]], stops: Collection[int], *_: Any, **how: Any) -> list[list[int]]:
        said = []
        for prompt in prompts:
            [whole] = [row["input_ids"] for row in native.values() if row["input_ids"][: len(prompt)] == prompt]
            after = whole[len(prompt) :]
            said.append(after[: next(i for i, token in enumerate(after) if token in stops)])
        return said

    only = {row.id: asked[row.id] for row in rows}
    tongue = evaluate.Tongue.of(read_params().format.train_as)
    texts = evaluate.answer(knowing, only, tongue, "knowing")
    verdicts = evaluate.judge("knowing", rows, texts, dict.fromkeys(only, True), tongue.read)
    assert rows
    assert [row["reason"] for row in verdicts if not row["correct"]] == []


@pytest.mark.parametrize("project", ["llama3"], indirect=True)
def test_a_base_without_a_tool_format_is_not_trained_natively(project: Path) -> None:
    base.main()
    change("train_as: preset", "train_as: native")
    with pytest.raises(Fault, match="train_as is 'native', and tiny has no tool format of its own; write messages"):
        formatting.main()


@pytest.mark.parametrize("project", list(FAMILIES), indirect=True)
def test_each_may_be_trained_on_the_documents_texts(project: Path) -> None:
    base.main()
    before = "preset"
    for text in ("messages", "alpaca"):
        change(f"train_as: {before}", f"train_as: {text}")
        before = text
        formatting.main()
        for split, rows in some().items():
            native = list(read_lines(Path(f"data/formatted/native/{split}.jsonl")))
            begin = family(read_preset("tiny").family).begin
            assert all(row["text"].startswith(begin) for row in native)
            assert {row["id"].partition("#")[0] for row in native} == {row.id for row in rows}
            assert all(any(label != -100 for label in row["labels"]) for row in native)


@pytest.mark.parametrize("project", ["qwen2.5"], indirect=True)
def test_long_rows_are_refused_dropped_or_cut_as_params_say(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base.main()
    change("max_length: preset", "max_length: 450")
    with pytest.raises(Fault, match=r"format\.max_length is 450, and \d+ rows are longer .*; raise it, or have"):
        formatting.main()
    assert not Path("data/formatted").exists()
    change("too_long: refuse", "too_long: drop")
    formatting.main()
    aside = list(read_lines(Path("data/formatted/set_aside.jsonl")))
    assert {row["reason"] for row in aside} == {"too_long"}
    assert re.search(
        r"train: 1\d rows, .*; \d+ set aside as too_long \(data/formatted/set_aside\.jsonl\)", said(capsys)
    )
    change("too_long: drop", "too_long: cut")
    formatting.main()
    after = list(read_lines(Path("data/formatted/set_aside.jsonl")))
    kept = [row for row in read_lines(Path("data/formatted/native/train.jsonl")) if "cut" in row]
    assert {row["split"] for row in after if row["reason"] == "too_long"} <= {"dev", "test"}
    assert {row["reason"] for row in after if row["split"] == "train"} <= {"no_label"}
    for row in kept:
        assert len(row["input_ids"]) == len(row["labels"]) == 450 < row["cut"]
        assert any(label != -100 for label in row["labels"])


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out
