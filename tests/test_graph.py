"""dvc.yaml, params.yaml and stages/ tell one story, and imports go one way only."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
GRAPH = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
STAGES = list(GRAPH["stages"])
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))

CANNOT_CHANGE_AN_OUT = {
    *("stages/_tracking.py", "stages/_completion.py", "stages/_card.py", "stages/_progress.py", "stages/_fits.py"),
    *("stages/_agent.py", "callwright/fitting.py", "callwright/machines.py", "callwright/memory.py"),
}
"""Modules that only show what the files hold, tell of progress, or refuse to begin."""

RINGS = {"callwright": 0, "stages": 1, "flows": 2, "commands": 2}
HEAVY = {"torch", "transformers", "trl", "peft", "bitsandbytes", "datasets", "mlflow", "matplotlib", "accelerate"}
OWN_HEAVY = {
    *("stages/_decode.py", "stages/_fused.py", "stages/_loss.py", "stages/_qlora.py", "stages/_soap.py"),
    *("stages/_agent_code.py", "stages/_trainer.py", "stages/_tree.py"),
}
"""Imported inside functions only, or by each other, as their docstrings say."""


@cache
def imports(path: Path, inside_functions: bool = True) -> frozenset[str]:
    """Dotted names that a file imports; without those inside functions and TYPE_CHECKING blocks if so asked."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif not inside_functions and (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        ):
            return
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return frozenset(found)


def project_file(name: str) -> Path | None:
    path = ROOT / name.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() and "." in name else path.with_suffix(".py")
    return path if name.partition(".")[0] in RINGS and path.is_file() else None


def closure(path: Path) -> set[str]:
    seen: set[str] = set()
    waiting = [path]
    while waiting:
        file = waiting.pop()
        name = str(file.relative_to(ROOT))
        if name in seen or name in CANNOT_CHANGE_AN_OUT:
            continue
        seen.add(name)
        waiting += [found for module in imports(file) if (found := project_file(module))]
    return seen


@pytest.mark.parametrize("stage", STAGES)
def test_the_deps_of_a_stage_are_the_project_files_it_imports(stage: str) -> None:
    """A folder stands for its files."""
    deps = [ROOT / dep for dep in GRAPH["stages"][stage]["deps"] if dep.partition("/")[0] in RINGS]
    files = [file for dep in deps for file in ([dep] if dep.suffix else dep.glob("*.py"))]
    assert {str(file.relative_to(ROOT)) for file in files} == closure(ROOT / f"stages/{stage}.py")


def test_stages_files_and_sections_have_the_same_names() -> None:
    files = {path.stem for path in (ROOT / "stages").glob("*.py") if not path.stem.startswith("_")}
    assert set(STAGES) == files == set(PARAMS)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_runs_its_own_module_and_lists_its_own_section(stage: str) -> None:
    entry = GRAPH["stages"][stage]
    assert entry["cmd"].endswith(f"-m stages.{stage}")
    assert stage in entry["params"]


def test_nothing_switches_the_run_cache_off() -> None:
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    assert "persist" not in text
    assert "cache:" not in text
    assert [name for name, entry in GRAPH["stages"].items() if entry.get("always_changed")] == ["register"]


@pytest.mark.parametrize("path", [path for ring in RINGS for path in sorted((ROOT / ring).glob("**/*.py"))], ids=str)
def test_imports_go_one_way_only(path: Path) -> None:
    ring = path.relative_to(ROOT).parts[0]
    for module in imports(path):
        top = module.partition(".")[0]
        if top in RINGS and top != ring:
            assert RINGS[top] < RINGS[ring], f"{path} imports {module}"
        if ring == "callwright":
            assert top not in HEAVY | {"prefect", "dvc"}, f"{path} imports {module}"
        if ring == "stages":
            assert top not in {"prefect", "dvc"}, f"{path} imports {module}"


@pytest.mark.parametrize("path", sorted((ROOT / "stages").glob("*.py")), ids=str)
def test_heavy_packages_are_imported_inside_functions(path: Path) -> None:
    if str(path.relative_to(ROOT)) not in OWN_HEAVY:
        assert not {module.partition(".")[0] for module in imports(path, inside_functions=False)} & HEAVY


if __name__ == "__main__":  # python -m tests.test_graph prints the lists for dvc.yaml
    for name in STAGES:
        print(name, *sorted(closure(ROOT / f"stages/{name}.py")), sep="\n  ")
