"""The stages of dvc.yaml, each after those whose outs it needs."""

from __future__ import annotations

import graphlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from callwright.faults import Fault

FILE = Path("dvc.yaml")


@dataclass(frozen=True, slots=True)
class Stage:
    name: str
    desc: str
    deps: tuple[str, ...]
    outs: tuple[str, ...]


def read_stages(path: Path = FILE) -> list[Stage]:
    """Read the stages in the order to run them; `Fault` says what is wrong with the file."""
    try:
        file = yaml.safe_load(path.read_text(encoding="utf-8"))
        stages = [_stage(str(name), value) for name, value in file["stages"].items()]
    except FileNotFoundError:
        raise Fault(f"{path} is missing; run this in the project's folder, or git checkout {path}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Fault(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except (TypeError, KeyError, AttributeError):
        raise Fault(f"{path} has no stages in the shape that DVC reads; git diff {path} shows what it was") from None
    return in_order(stages, path)


def in_order(stages: list[Stage], path: Path = FILE) -> list[Stage]:
    """Sort by deps and outs; stages that do not need each other keep their order in the file."""
    sorter: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter()
    for stage in stages:
        sorter.add(stage.name, *(other.name for other in stages if other is not stage and _needs(stage, other)))
    try:
        order = list(sorter.static_order())
    except graphlib.CycleError as error:
        raise Fault(f"{path}: {' → '.join(reversed(error.args[1]))} go in a circle; remove one of their deps") from None
    by_name = {stage.name: stage for stage in stages}
    return [by_name[name] for name in order]


def _needs(stage: Stage, other: Stage) -> bool:
    return any(_overlap(dep, out) for dep in stage.deps for out in other.outs)


def _overlap(one: str, other: str) -> bool:
    """data/formatted/native needs data/formatted, and the other way round."""
    a, b = PurePosixPath(one), PurePosixPath(other)
    return a.is_relative_to(b) or b.is_relative_to(a)


def _stage(name: str, value: Mapping[str, Any]) -> Stage:
    outs = [*value.get("outs", []), *value.get("metrics", []), *value.get("plots", [])]
    desc = " ".join(str(value.get("desc", "")).split())
    return Stage(name, desc, _paths(value.get("deps", [])), _paths(outs))


def _paths(entries: list[Any]) -> tuple[str, ...]:
    """DVC writes a path as text, or as an object with options: `{path: {cache: false}}`."""
    return tuple(next(iter(entry)) if isinstance(entry, dict) else str(entry) for entry in entries)
