"""YAML files that a person writes: YAML 1.2, as DVC reads it. 1e-3 is a number, a key that stands twice a fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from callwright.faults import Fault


def read_yaml(path: Path) -> Any:
    """What the file says; `Fault` with file and line where it is missing, unreadable or no YAML."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Fault(f"{path} is missing; run this in the project's folder, or git checkout {path}") from None
    except OSError as error:
        raise Fault(f"{path} could not be read: {error.strerror}; mend that, then run it again") from None
    except RecursionError:
        raise Fault(f"{path}: not YAML: it nests too deep; write it flat") from None
    except (YAMLError, ValueError) as error:  # ValueError: no UTF-8, or a date that is none
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or str(error)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        raise Fault(f"{place}: not YAML: {' '.join(problem.split())}; mend that line") from None
