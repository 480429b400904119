"""callwright sync: bring MLflow up to date after an outage"""

from __future__ import annotations

import sys

import typer

from callwright.faults import Fault
from stages import register
from stages._registry import aliases
from stages._tracking import Unreachable, shown_address


def sync() -> None:
    """Bring MLflow up to date with the files, after an outage: run, curve, metrics, data sets, version and alias.

    Repeats what the register stage could not do. Doing it twice adds nothing. DVC's files stay as they are: the
    next dvc repro takes the decision over into reports/register/decision.json.

    Exits with 0 when MLflow has everything, 1 when it still cannot be reached, 2 when nothing is trained and
    evaluated yet.
    """
    try:
        evidence = register.read_evidence()
        aliases(evidence.rules.name)  # asks briefly whether MLflow is there at all
        decision = register.decide(evidence)
        register.keep(decision)
    except Fault as fault:
        print(fault, file=sys.stderr)
        raise typer.Exit(2) from None
    except Unreachable as error:
        print(f"{error}. Nothing is lost; run callwright sync again when it is back", file=sys.stderr)
        raise typer.Exit(1) from None
    version = f"version {decision['version']} ({decision['alias']})" if decision["version"] else "no version of it"
    print(
        f"MLflow at {shown_address()} is up to date: run {decision['run_id']}, {decision['model']} {version}. "
        f"{decision['reason']}"
    )
