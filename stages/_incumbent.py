"""incumbent: the version in service, with its answers on today's test rows, for the gate

    incumbent(registry, "3", tuned, "smollm2-135m@abc")    ->  Contender("champion 3", test_hash, rows), ""
                                                               None, "champion 3 … stands on another base (…)"

Its answers are kept beside its run from the time that it was registered. If it was judged on other rows, or by other
code, its adapter is fetched and answers these rows now.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from callwright.faults import Fault
from callwright.gate import Contender, other_rows
from callwright.metrics import Judged
from stages._registry import Registry
from stages._tracking import Unreachable, told_unreachable

LOCK = Path("dvc.lock")


def incumbent(registry: Registry, version: str, tuned: Contender, base: str) -> tuple[Contender | None, str]:
    """The contender, with verdicts on the rows of `tuned`; or None, and why it cannot be compared with."""
    name, by, test_hash = f"champion {version}", judged_by(), tuned.test_hash
    with told_unreachable():
        its = registry.version(version).tags.get("callwright.base", "")
        kept = registry.answers(version, test_hash, by)
    known = Contender(name, test_hash, _readable(kept or ()))
    if other_rows(tuned, known) is None:
        return known, ""
    if its != base:
        return None, f"{name} was not judged on these rows and stands on another base ({its}, here {base})"
    with tempfile.TemporaryDirectory() as folder:
        from stages import evaluate

        try:
            adapter = registry.fetch_adapter(version, Path(folder))
            evaluate.text_of(adapter)
        except (Unreachable, Fault, ValueError, KeyError, TypeError) as error:
            return None, f"{name} was not judged on these rows and its adapter cannot be asked: {error}"
        print(f"register: champion version {version} was not judged on these rows; it answers them now", flush=True)
        answers = evaluate.answer_adapter(adapter, test_hash)
    with told_unreachable():
        registry.keep_answers(version, test_hash, by, answers)
    return Contender(name, test_hash, evaluate.judged(answers)), ""


def judged_by() -> str:
    """Of the code and knobs that evaluate ran with, as DVC has them: other ones may judge the same answer otherwise."""
    try:
        entry = yaml.safe_load(LOCK.read_text(encoding="utf-8"))["stages"]["evaluate"]
        code = [dep for dep in entry["deps"] if dep["path"].partition("/")[0] in ("callwright", "stages", "presets")]
        told = json.dumps([code, entry.get("params")], sort_keys=True)
    except (OSError, yaml.YAMLError, TypeError, KeyError):
        told = ""  # run by hand: nothing tells
    return hashlib.sha256(told.encode()).hexdigest()


def _readable(answers: Iterable[Mapping[str, Any]]) -> list[Judged]:
    """None where another version of this project kept them in another shape."""
    from stages import evaluate

    try:
        return evaluate.judged(dict(row) for row in answers)
    except (KeyError, ValueError, TypeError):
        return []
