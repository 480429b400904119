"""What a fresh clone stands on: make targets, packages, deployments, and that nothing of one machine is in a file."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def make(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_make_help_lists_the_targets_of_the_design() -> None:
    listed = make("help")
    assert listed.returncode == 0
    for target in ("run", "test", "check", "up", "bench"):
        assert f"make {target} " in listed.stdout
        assert make("--dry-run", target).returncode == 0


def test_without_a_python_that_will_do_make_says_what_to_install(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    for name in ("python3", "python3.11", "python3.12", "python3.13", "python3.14"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    refused = subprocess.run(
        ["make", "check", "PYTHON="],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode != 0
    assert "Python 3.11" in refused.stderr
    assert not (tmp_path / ".venv").exists()


def test_ci_runs_the_tests() -> None:
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_every_pin_is_exact_and_every_dependency_has_one(pyproject: dict[str, Any]) -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    pins = {}
    for line in lines:
        found = re.fullmatch(r"([A-Za-z0-9._-]+)==([0-9A-Za-z.]+)", line)
        assert found, f"{line} is no plain pin: no path, no address, no +cpu"
        pins[re.sub(r"[-_.]+", "-", found[1]).lower()] = found[2]
    wanted = pyproject["project"]["dependencies"] + pyproject["project"]["optional-dependencies"]["dev"]
    for requirement in wanted:
        name = re.sub(r"[-_.]+", "-", re.split(r"[<>=~! ]", requirement)[0]).lower()
        assert name in pins, f"{requirement} has no pin in constraints.txt"


def test_the_packages_that_are_installed_are_those_that_are_here(pyproject: dict[str, Any]) -> None:
    packages = pyproject["tool"]["setuptools"]["packages"]
    inits = [*ROOT.glob("*/__init__.py"), *ROOT.glob("*/*/__init__.py")]
    here = {".".join(path.parent.relative_to(ROOT).parts) for path in inits if path.parent.parts[-1][0] != "."}
    assert set(packages) == here - {"benchmarks"}  # which only make bench needs, from this folder


def test_callwright_help_lists_its_commands_without_heavy_imports() -> None:
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from commands.main import app\n"
        "result = CliRunner().invoke(app, ['--help'])\n"
        "assert result.exit_code == 0, result.output\n"
        "assert 'show' in result.output and 'sync' in result.output\n"
        "print(sorted({'torch', 'mlflow', 'prefect', 'transformers'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_deployments_point_at_the_flow_and_at_no_folder_of_this_machine() -> None:
    file = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    deployments = {deployment["name"]: deployment for deployment in file["deployments"]}
    assert set(deployments) == {"weekly", "on-demand"}
    assert [schedule["timezone"] for schedule in deployments["weekly"]["schedules"]] == ["Asia/Taipei"]
    assert deployments["on-demand"]["schedules"] == []
    for deployment in deployments.values():
        path, name = deployment["entrypoint"].split(":")
        module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
        assert getattr(module, name).name == "callwright"
        assert deployment["work_pool"]["name"] == importlib.import_module("flows.deployments").POOL
    (step,) = file["pull"]
    assert step == {"prefect.deployments.steps.set_working_directory": {"directory": "{{ $CALLWRIGHT_HOME }}"}}


def test_git_ignores_what_the_pipeline_leaves_so_that_dvc_adds_no_gitignore() -> None:
    graph = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    outs = [out for stage in graph["stages"].values() for out in stage["outs"]]
    own = [".venv", ".prefect", "mlruns/mlflow.db", "data/.writing-generated", ".dvc/cache", ".dvc/tmp"]
    rules = "\n".join(
        f"{prefix}{line}"
        for prefix, file in (("", ROOT / ".gitignore"), (".dvc", ROOT / ".dvc" / ".gitignore"))
        for line in file.read_text(encoding="utf-8").splitlines()
    )
    for path in [*outs, *own]:
        assert _ignored(path, rules), f"{path} would show up in git status"
    for path in ("mlruns/.gitkeep", "data/sources/.gitkeep", "dvc.lock", "dvc.yaml"):
        assert not _ignored(path, rules), f"{path} belongs into git"


def _ignored(path: str, rules: str) -> bool:
    """Ask git, in an empty repository that has these rules."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["git", "init", "--quiet", folder], check=True)
        (Path(folder) / ".gitignore").write_text(rules, encoding="utf-8")
        place = Path(folder) / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.suffix or place.name.startswith(".git"):
            place.touch()
        else:
            place.mkdir()
        asked = subprocess.run(["git", "-C", folder, "check-ignore", "--quiet", path], check=False)
    return asked.returncode == 0
