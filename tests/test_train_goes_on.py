"""The train stage as a process that is ended: killed at a step, killed in a save, asked to end, alone or with others.

What counts is the curve: it has to be that of a training which nothing ever happened to.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from callwright.faults import Fault
from callwright.outs import write_lines
from callwright.params import Train, check_params
from stages import _checkpoints, _launch, _lock
from tests.rows import params_value
from tests.tiny import ROOT, make_base

KNOBS = {"batch_size": 4, "rows_at_a_time": 4, "epochs": 4, "checkpoint_steps": 4, "processes": 1}
STEPS = 22

EXACT = """
from stages import _model
_model.has_bfloat16 = _model.has_int8 = lambda: False
"""
"""float32 in every process, also on a CPU with bfloat16: the curves are held against each other."""

KILLED_IN_A_SAVE = """
import os, signal
from stages import _checkpoints
whole, seen = _checkpoints.seal, []
def seal(folder):
    seen.append(folder)
    os.kill(os.getpid(), signal.SIGKILL) if len(seen) == 2 else whole(folder)
_checkpoints.seal = seal
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"))


def project(folder: Path, base: Path, **knobs: Any) -> Path:
    """A folder in which `python -m stages.train` runs, with 22 rows."""
    (folder / "models").mkdir(parents=True)
    (folder / "models/base").symlink_to(base)
    for name in ("stages", "presets", "callwright"):
        (folder / name).symlink_to(ROOT / name)
    rng = random.Random(3)
    for split, count in (("train", 22), ("dev", 3)):
        (folder / "data/formatted/native").mkdir(parents=True, exist_ok=True)
        write_lines(folder / f"data/formatted/native/{split}.jsonl", [row(f"{split}-{i}", rng) for i in range(count)])
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    section = text.index("\ntrain:\n")
    head, tail = text[:section], text[section:]
    for knob, value in (KNOBS | knobs).items():
        tail = re.sub(rf"(?m)^(  {knob}: )\S+", rf"\g<1>{value}", tail, count=1)
    (folder / "params.yaml").write_text(head + tail, encoding="utf-8")
    (folder / "sitecustomize.py").write_text(EXACT, encoding="utf-8")
    return folder


def row(row_id: str, rng: random.Random) -> dict[str, Any]:
    ids = [rng.randrange(5, 40_000) for _ in range(rng.randrange(20, 40))]
    return {"id": row_id, "text": "", "input_ids": ids, "labels": [-100] * 12 + ids[12:]}


@contextlib.contextmanager
def trainer(folder: Path, first: str = "") -> Iterator[subprocess.Popen[str]]:
    """The stage as a process; whatever is left of it and of what it started is gone when the block ends."""
    code = f"{first}\nfrom stages import _entry, train\n_entry.run(train.main)"
    env = {**os.environ, "PYTHONPATH": f"{folder}:{ROOT}", "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/none/there.db"}
    env.pop("RANK", None)
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=folder,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    started = psutil.Process(child.pid)
    family: list[psutil.Process] = []
    try:
        yield child
        with contextlib.suppress(psutil.NoSuchProcess):
            family = started.children(recursive=True)
    finally:
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        if child.poll() is None:
            child.kill()
        child.communicate()


def to_the_end(folder: Path) -> str:
    with trainer(folder) as child:
        said, _ = child.communicate(timeout=240)
    assert child.returncode == 0, said
    return said


def at_step(folder: Path, step: int, child: subprocess.Popen[str]) -> None:
    """Wait until the history holds so many steps."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for path in folder.glob("checkpoints/*/history.jsonl"):
            if path.read_text(encoding="utf-8").count("\n") >= step:
                return
        assert child.poll() is None, child.stdout.read() if child.stdout else ""
        time.sleep(0.01)
    raise AssertionError(f"no step {step} within two minutes")


def curve(folder: Path) -> list[float]:
    lines = (folder / "reports/train/history.jsonl").read_text(encoding="utf-8").splitlines()
    history = [json.loads(line) for line in lines]
    assert [line["step"] for line in history] == list(range(1, STEPS + 1))
    return [line["loss"] for line in history]


def steps_gone_on_after(said: str) -> int:
    found = re.search(rf"train: going on after step (\d+) of {STEPS}", said)
    assert found, said
    return int(found[1])


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, base: Path) -> list[float]:
    folder = project(tmp_path_factory.mktemp("unbroken") / "project", base)
    to_the_end(folder)
    return curve(folder)


def test_a_training_killed_at_a_step_and_in_a_save_ends_as_an_unbroken_one(
    tmp_path: Path, base: Path, unbroken: list[float]
) -> None:
    folder = project(tmp_path / "project", base)
    killed_at = random.Random().randrange(5, 8)
    with trainer(folder) as child:
        at_step(folder, killed_at, child)
        child.kill()
    assert not (folder / "models/adapter").exists()
    with trainer(folder, KILLED_IN_A_SAVE) as child:
        child.communicate(timeout=120)
        assert child.returncode == -signal.SIGKILL
    assert list(folder.glob("checkpoints/*/.writing-checkpoint-*")), "it was killed while it wrote"
    said = to_the_end(folder)
    assert steps_gone_on_after(said) == 8, "the save of step 12 was cut off"
    assert curve(folder) == pytest.approx(unbroken, abs=1e-4)


def test_outs_that_are_lost_before_dvc_has_recorded_them_are_there_again_at_once(
    tmp_path: Path, base: Path, unbroken: list[float]
) -> None:
    folder = project(tmp_path / "project", base)
    to_the_end(folder)
    adapter = (folder / "models/adapter/adapter_model.safetensors").read_bytes()
    for out in ("models/adapter", "reports/train"):
        shutil.rmtree(folder / out)
    assert steps_gone_on_after(to_the_end(folder)) == STEPS
    assert curve(folder) == pytest.approx(unbroken, abs=1e-4)
    assert (folder / "models/adapter/adapter_model.safetensors").read_bytes() == adapter


def test_a_training_asked_to_end_saves_ends_with_75_and_goes_on(
    tmp_path: Path, base: Path, unbroken: list[float]
) -> None:
    folder = project(tmp_path / "project", base, checkpoint_steps=100)
    with trainer(folder) as child:
        at_step(folder, 6, child)
        child.terminate()
        said, _ = child.communicate(timeout=120)
    assert child.returncode == 75, said
    assert "stopping after this step; a checkpoint is being saved" in said
    assert not (folder / "models/adapter").exists()
    assert not (folder / "reports/train").exists()
    assert steps_gone_on_after(to_the_end(folder)) >= 6
    assert curve(folder) == pytest.approx(unbroken, abs=1e-4)


def test_two_processes_have_the_curve_of_one_are_asked_to_end_together_and_go_on(
    tmp_path: Path, base: Path, unbroken: list[float]
) -> None:
    folder = project(tmp_path / "project", base, processes=2, checkpoint_steps=100)
    with trainer(folder) as child:
        at_step(folder, 5, child)
        assert len(psutil.Process(child.pid).children(recursive=True)) == 3, "the launcher and two trainers"
        child.terminate()
        said, _ = child.communicate(timeout=120)
    assert child.returncode == 75, said
    assert not (folder / "models/adapter").exists()
    assert steps_gone_on_after(to_the_end(folder)) >= 5
    assert curve(folder) == pytest.approx(unbroken, abs=2e-4)
    assert (folder / "models/adapter/adapter_model.safetensors").is_file()


def test_killing_the_one_that_launched_them_ends_them_all(tmp_path: Path, base: Path) -> None:
    folder = project(tmp_path / "project", base, processes=2, epochs=400)  # it would take minutes
    with trainer(folder) as child:
        at_step(folder, 2, child)
        family = psutil.Process(child.pid).children(recursive=True)
        child.kill()
        _, left = psutil.wait_procs(family, timeout=20)
        assert not left


def test_a_row_without_a_label_is_told_by_one_of_many_too(tmp_path: Path, base: Path) -> None:
    folder = project(tmp_path / "project", base, processes=2)
    path = folder / "data/formatted/native/train.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows[3]["labels"] = [-100] * len(rows[3]["labels"])
    write_lines(path, rows)
    with trainer(folder) as child:
        said, _ = child.communicate(timeout=120)
    assert child.returncode == 2, said
    wanted = "data/formatted/native/train.jsonl: a row has no labelled token, the first is train-3; make it again"
    assert said.splitlines()[-1].startswith(wanted)


# Checkpoints


def write_checkpoint(work: Path, step: int) -> Path:
    with _checkpoints.writing(work, step, keep=2) as folder:
        (folder / "optimizer.pt").write_bytes(b"state " * step)
        (folder / "history.jsonl").write_text('{"step": 1}\n', encoding="utf-8")
    return work / f"checkpoint-{step}"


def test_the_newest_whole_checkpoint_is_taken_and_only_two_stay(tmp_path: Path) -> None:
    assert _checkpoints.newest(tmp_path) is None
    for step in (20, 100, 120):
        write_checkpoint(tmp_path, step)
    assert _checkpoints.newest(tmp_path) == tmp_path / "checkpoint-120"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-100", "checkpoint-120"]


@pytest.mark.parametrize("harm", ["cut off", "changed", "gone", "no seal", "seal no JSON"])
def test_one_that_is_no_longer_what_was_written_is_told_and_the_one_before_it_taken(
    tmp_path: Path, harm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before, last = write_checkpoint(tmp_path, 8), write_checkpoint(tmp_path, 12)
    state, seal = last / "optimizer.pt", last / _checkpoints.SEAL
    match harm:
        case "cut off":
            state.write_bytes(state.read_bytes()[:-1])
        case "changed":
            state.write_bytes(b"other " * 12)
        case "gone":
            state.unlink()
        case "no seal":
            seal.unlink()
        case "seal no JSON":
            seal.write_text('{"optimizer.pt": ', encoding="utf-8")
    assert _checkpoints.newest(tmp_path) == before
    assert f"{last} is not gone on from: " in capsys.readouterr().err
    assert last.exists(), "a person may want to look"


def test_broken_ones_of_later_steps_do_not_crowd_out_a_new_one(tmp_path: Path) -> None:
    for step in (180, 240):
        (tmp_path / f"checkpoint-{step}").mkdir()
    new = write_checkpoint(tmp_path, 60)
    assert _checkpoints.newest(tmp_path) == new


def test_one_that_raises_while_it_is_written_is_none(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="full"), _checkpoints.writing(tmp_path, 4, keep=2):
        raise OSError("full")
    assert _checkpoints.newest(tmp_path) is None
    assert not list(tmp_path.iterdir())


def test_of_trainings_that_nobody_went_on_with_the_last_ones_stay(tmp_path: Path) -> None:
    for age, name in enumerate("abcd"):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (age, age))
    _checkpoints.thin(tmp_path, keep=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "c", "d"]
    _checkpoints.thin(tmp_path, keep=9)
    assert len(list(tmp_path.iterdir())) == 3


# The lock


HOLDING = """
import sys, time
from pathlib import Path
from stages import _lock
with _lock.alone(Path(sys.argv[1]), "the GPU"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_trainer_meets_a_sentence_that_names_the_first_until_that_is_killed(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", HOLDING, str(lock)]
    with subprocess.Popen(words, env=env, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as first:
        try:
            assert first.stdout is not None
            assert first.stdout.readline() == "held\n"
            sentence = rf"^the GPU is in use by process {first.pid} in {tmp_path}, since .*; wait for it, or end it"
            with pytest.raises(Fault, match=sentence), _lock.alone(lock, "the GPU"):
                pass
        finally:
            first.kill()
    with _lock.alone(lock, "the GPU"):
        pass


def test_a_gpu_is_locked_for_every_workspace_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with _lock.alone_on(["b", "a"]):
        with pytest.raises(Fault, match=f"the GPU a is in use by process {os.getpid()}"), _lock.alone_on(["a"]):
            pass
        with _lock.alone_on(["c"]):
            pass
    with _lock.alone_on(["a", "b"]):
        pass


# The launcher


def knobs(**changed: Any) -> Train:
    value = params_value()
    value["train"] |= changed
    return check_params(value).train


def test_the_launcher_gets_the_processes_or_the_file_that_params_name(tmp_path: Path) -> None:
    words = _launch.command(knobs(processes=2))
    assert "--num_processes=2" in words
    assert words[-2:] == ["--module", "stages.train"]
    config = tmp_path / "nodes.yaml"
    config.write_text("num_machines: 2\n", encoding="utf-8")
    words = _launch.command(knobs(launch=str(config)))
    assert words[words.index("--config_file") + 1] == str(config)
    assert not any(word.startswith("--num_processes") for word in words)
    with pytest.raises(Fault, match=r"train\.launch is 'nowhere\.yaml', and no such file is there"):
        _launch.command(knobs(launch="nowhere.yaml"))


def test_what_a_file_for_the_launcher_says_of_the_training_is_read() -> None:
    alone, several, fsdp = (
        knobs(launch=path and str(ROOT / f"presets/accelerate/{path}.yaml")) for path in (None, "several-nodes", "fsdp")
    )
    assert [_launch.trainers(each) for each in (alone, several, fsdp)] == [1, 8, 4]
    assert [_launch.spreads_the_model(each) for each in (alone, several, fsdp)] == [False, False, True]
    assert all(_launch.is_first_machine(each) for each in (alone, several, fsdp))


@pytest.mark.parametrize("path", sorted((ROOT / "presets/accelerate").glob("*.yaml")), ids=lambda path: path.stem)
def test_accelerate_knows_every_entry_of_the_files_that_are_there(path: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    found = load_config_from_file(str(path))
    assert found.num_processes == _launch.trainers(knobs(launch=str(path)))
