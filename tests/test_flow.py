"""The flow on a small DVC project of shell stages: real DVC, real Prefect, one Prefect server for all tests."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from callwright.faults import Fault
from flows import dvc, graph, results, server, supervisor
from flows.graph import Stage

ROOT = Path(__file__).parents[1]

STAGES = """\
stages:
  report:
    cmd: mkdir -p reports && echo always && cp out/second reports/last
    deps: [out/second]
    outs: [reports]
    always_changed: true
  second:
    cmd: sh second.sh
    deps: [first.txt, out/first, second.sh]
    outs: [out/second]
  first:
    desc: the first of all
    cmd: echo told live && mkdir -p out && cp first.txt out/first
    deps: [first.txt]
    outs: [out/first]
"""

# Leaves a checkpoint when it is interrupted, as train does, and has a child of its own.
SLOW = """\
trap 'echo leaving a checkpoint; exit 75' INT TERM
sleep 600 &
echo "$CALLWRIGHT_PREFECT_RUN" > run
echo begun
wait
"""


@pytest.fixture(scope="module")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a flow that finds this server; it ends with the tests, whatever happens."""
    home = tmp_path_factory.mktemp("prefect")
    quiet = {"PREFECT_HOME": str(home), "DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in quiet.items():
            patch.setenv(name, value)
        port = server.free_port()
        log = server.log_file("server")
        with server.start(port, log, scheduling=False) as child:
            server.wait_until_up(child, f"{server.api_url(port)}/health", "the Prefect server", Path(log.name))
            yield {**quiet, "PREFECT_API_URL": server.api_url(port)}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc" / "config", tmp_path / ".dvc")
    with (tmp_path / ".dvc" / "config").open("a", encoding="utf-8") as config:
        config.write("    no_scm = true\n")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "presets").symlink_to(ROOT / "presets")
    (tmp_path / "dvc.yaml").write_text(STAGES, encoding="utf-8")
    (tmp_path / "first.txt").write_text("1", encoding="utf-8")
    (tmp_path / "second.sh").write_text("echo second here; cp out/first out/second\n", encoding="utf-8")
    return tmp_path


def start(project: Path, env: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "flows.pipeline"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def flow(project: Path, env: dict[str, str]) -> tuple[int, str]:
    process = start(project, env)
    out, _ = process.communicate(timeout=120)
    return process.returncode, out


def working_in(project: Path) -> list[str]:
    """Command lines of the living processes that were started for this project."""
    here = (process.info for process in psutil.process_iter(["cwd", "cmdline", "status"]))
    return [
        " ".join(info["cmdline"] or [])
        for info in here
        if info["cwd"] == str(project) and info["status"] != psutil.STATUS_ZOMBIE
    ]


@pytest.mark.timeout(120)
def test_stages_run_in_the_order_of_their_files_and_only_changed_ones_again(
    project: Path, prefect_server: dict[str, str]
) -> None:
    code, out = flow(project, prefect_server)
    assert code == 0, out
    words = ["▶ first", "told live", "✓ first", "▶ second", "second here", "✓ second", "▶ report", "always", "✓ report"]
    places = [out.index(word) for word in words]
    assert places == sorted(places)
    assert "the first of all" in out
    assert "dvc push" not in out, "DVC's own words are not the stage's"

    code, out = flow(project, prefect_server)
    assert code == 0, out
    assert "= first     cached" in out
    assert "= second    cached" in out
    assert "✓ report    ran" in out

    assert [name for name, _ in artifacts(prefect_server)] == ["results"] * 2
    table = artifacts(prefect_server)[-1][1]
    assert "| second | cached |" in table
    assert "| report | ran |" in table


def test_what_ran_before_on_the_same_input_is_restored(project: Path) -> None:
    for text, state in (("1", dvc.State.RAN), ("2", dvc.State.RAN), ("1", dvc.State.RESTORED), ("1", dvc.State.CACHED)):
        (project / "first.txt").write_text(text, encoding="utf-8")
        assert run_in(project, "first") is state
        assert (project / "out" / "first").read_text(encoding="utf-8") == text


def artifacts(env: dict[str, str]) -> list[tuple[str, str]]:
    """Key and text of all artifacts, oldest first."""
    import httpx

    answer = httpx.post(f"{env['PREFECT_API_URL']}/artifacts/filter", json={}, timeout=20)
    found = sorted(
        (artifact for artifact in answer.json() if artifact["key"]), key=lambda artifact: artifact["created"]
    )
    return [(artifact["key"], artifact["data"]) for artifact in found]


@pytest.mark.timeout(60)
def test_a_stage_that_fails_ends_the_run_with_its_exit_code(project: Path, prefect_server: dict[str, str]) -> None:
    (project / "second.sh").write_text("echo packs/office.yaml:41: no phrasing; exit 2\n", encoding="utf-8")
    code, out = flow(project, prefect_server)
    assert code == 2
    assert "packs/office.yaml:41: no phrasing" in out
    assert "✗ second    failed" in out
    assert "report" not in out.splitlines()[-1]
    assert "Traceback" not in out
    assert out.count("▶ second") == 1, "a fault is not tried again"
    assert "| second | failed |" in artifacts(prefect_server)[-1][1]


@pytest.mark.timeout(60)
def test_an_interrupted_stage_is_tried_again(project: Path, prefect_server: dict[str, str]) -> None:
    once = "if [ ! -e been ]; then touch been; exit 75; fi\ncp out/first out/second\n"
    (project / "second.sh").write_text(once, encoding="utf-8")
    code, out = flow(project, prefect_server)
    assert code == 0, out
    assert out.count("▶ second") == 2


def test_faults_in_params_are_all_told_and_nothing_is_started(project: Path) -> None:
    text = (project / "params.yaml").read_text(encoding="utf-8").replace("seed: 11", "seed: 11\n  sped: 3")
    lines = [line if "learning_rate" not in line else "  learning_rate: fast" for line in text.splitlines()]
    (project / "params.yaml").write_text("\n".join(lines), encoding="utf-8")
    code, out = flow(project, {"PREFECT_HOME": str(project / "home")})
    assert code == 2
    assert "train.sped" in out
    assert "train.learning_rate is 'fast'" in out
    assert not (project / "home").exists()
    assert not (project / "dvc.lock").exists()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_it_is_stopped_no_process_is_left_and_the_next_run_goes_on(
    project: Path, prefect_server: dict[str, str], number: signal.Signals
) -> None:
    (project / "second.sh").write_text(SLOW, encoding="utf-8")
    process = start(project, prefect_server)
    assert process.stdout is not None
    try:
        out = ""
        while "begun" not in out:
            line = process.stdout.readline()
            assert line, out
            out += line
        assert any("second.sh" in command for command in working_in(project))
        process.send_signal(number)
        out += process.communicate(timeout=30)[0]
    finally:
        process.kill()
        process.wait()
    until = time.monotonic() + 20
    while working_in(project) and time.monotonic() < until:
        time.sleep(0.1)
    assert working_in(project) == []
    assert len((project / "run").read_text(encoding="utf-8").strip()) == 36, "the stage knows its Prefect run"
    if number != signal.SIGKILL:
        assert process.returncode == 130
        assert "leaving a checkpoint" in out
        assert "goes on" in out.splitlines()[-1]
    (project / "second.sh").write_text("cp out/first out/second\n", encoding="utf-8")
    state = run_in(project, "second")
    assert state is dvc.State.RAN


def run_in(project: Path, stage: str) -> dvc.State:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        dvc.mend()
        return dvc.repro(stage, lambda line: None)


@pytest.mark.timeout(90)
def test_it_needs_no_server_and_leaves_none(project: Path, prefect_server: dict[str, str]) -> None:
    code, out = flow(project, prefect_server | {"PREFECT_API_URL": ""})  # the same home: its database is made already
    assert code == 0, out
    assert working_in(project) == []


def test_a_lock_that_names_another_program_or_was_cut_short_is_removed(project: Path) -> None:
    rwlock = project / ".dvc" / "tmp" / "rwlock"
    rwlock.parent.mkdir()
    with supervisor.Child(["sh", "-c", "echo up; sleep 60"]) as other:
        next(other.lines())
        held = f'{{"write": {{"{project}/out": {{"pid": {other.pid}, "cmd": "dvc repro"}}}}}}'
        for text in (held, held[:30], ""):
            rwlock.write_text(text, encoding="utf-8")
            assert dvc.mend(project)
            assert not rwlock.exists()
    rwlock.write_text(held, encoding="utf-8")  # now its process is gone, and DVC sees to it
    assert dvc.mend(project) == []


def test_a_dvc_lock_that_was_cut_short_is_put_aside(project: Path) -> None:
    run_in(project, "first")
    lock = project / "dvc.lock"
    whole = lock.read_text(encoding="utf-8")
    assert dvc.mend(project) == []
    for end in (whole.index("cmd") + 2, whole.index("path") + 2, whole.index("path") + 4):
        lock.write_text(whole[:end], encoding="utf-8")
        assert "dvc.lock.broken" in dvc.mend(project)[0]
        assert not lock.exists()
    assert run_in(project, "first") is dvc.State.RESTORED, "DVC's run cache has it"
    assert lock.read_text(encoding="utf-8") == whole


def test_another_dvc_command_in_the_folder_makes_a_stage_busy(project: Path) -> None:
    (project / ".dvc" / "tmp").mkdir()
    hold = "from dvc.lock import make_lock; lock = make_lock('.dvc/tmp/lock'); lock.lock(); print('held')"
    with supervisor.Child(
        [sys.executable, "-c", f"import os, time; os.chdir({str(project)!r}); {hold}; time.sleep(60)"]
    ) as holder:
        assert next(holder.lines()) == "held"
        with pytest.raises(dvc.Busy, match="waits for another dvc command") as busy:
            run_in(project, "first")
    assert busy.value.code == 75


def test_a_circle_and_a_broken_dvc_yaml_are_sentences(tmp_path: Path) -> None:
    one, two = Stage("one", "", ("b",), ("a",)), Stage("two", "", ("a",), ("b",))
    with pytest.raises(Fault, match=r"one → two → one|two → one → two"):
        graph.in_order([one, two])
    for text in ("stages: [", "[]", "other: {}"):
        (tmp_path / "dvc.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(Fault, match=r"dvc\.yaml"):
            graph.read_stages(tmp_path / "dvc.yaml")
    with pytest.raises(Fault, match="missing"):
        graph.read_stages(tmp_path / "none.yaml")


def test_the_results_hold_base_beside_tuned() -> None:
    def scores(accuracy: float) -> dict[str, object]:
        one = {"n": 40, "accuracy": accuracy}
        return {"overall": one, "by_category": {"single": one}, "by_language": {"zh-TW": one}}

    text = results.markdown([results.Outcome("train", "ran", 1.25)], {"base": scores(0.015), "tuned": scores(0.9)})
    assert "| train | ran | 1.2 |" in text
    assert "| zh-TW | 40 | 1.5% | 90.0% |" in text


def test_the_results_tell_what_the_gate_decided_and_why(tmp_path: Path) -> None:
    ran = [results.Outcome("register", "ran", 1.0)]
    refused = {"decision": "refuse", "reason": "Refused: no better.", "reasons": ["tuned 10.0%, base 12.5%", "p = 0.3"]}
    path = tmp_path / "decision.json"
    path.write_text(json.dumps(refused), encoding="utf-8")
    text = results.markdown(ran, None, results.read_decision(path))
    assert "**refuse**: Refused: no better.\n\n- tuned 10.0%, base 12.5%\n- p = 0.3\n" in text
    path.write_text("{", encoding="utf-8")
    assert results.read_decision(path) is None
