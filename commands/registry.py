"""callwright models, promote, rollback: what is registered, and by hand what is in service

    callwright models                                        a table with scores and lineage; --json, --history
    callwright promote 3 --why "half the time for the same answers"
    callwright rollback --why "3 invents cities"

Each asks MLflow at MLFLOW_TRACKING_URI, or mlruns/mlflow.db, and first ends a move of aliases that a crash left undone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

from callwright.faults import Fault
from callwright.outs import to_json
from callwright.params import read_params
from stages._moves import Move, history, mend, put_into_service, roll_back, withdrawn
from stages._registry import Registry, alone
from stages._standing import standing
from stages._tracking import Unreachable, address, open_store, shown_address, told_unreachable

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

Row = Mapping[str, Any]
T = TypeVar("T")


def promote(version: str, why: str) -> int:
    """Put a version into service; what was in service becomes `previous`."""
    reason = _why(why, f"promote {version}")
    number = _number(version)
    moved = _asked(lambda registry: put_into_service(registry, number, reason))
    if moved is None:
        print(f"Version {number} is the champion already; nothing was moved.")
    else:
        print(_moved(moved))
    return 0


def rollback(why: str) -> int:
    """Put the version back that was in service before; the one in service becomes `previous`."""
    reason = _why(why, "rollback")
    print(_moved(_asked(lambda registry: roll_back(registry, reason))))
    return 0


def models(*, as_json: bool = False, moves: bool = False) -> int:
    """Print every version, the newest first; or every move of the aliases, the oldest first."""
    rows, told = _asked(_read)
    if as_json:
        print(to_json([asdict(move) for move in told] if moves else rows, indent=2))
        return 0
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=160)
    if moves and not told:
        print("Nothing was moved yet.")
        return 0
    console.print(_moves_table(told) if moves else _table(rows))
    return 0


def _read(registry: Registry) -> tuple[list[Row], list[Move]]:
    with alone():
        mend(registry)
    names: dict[str, list[str]] = {}
    for alias, version in registry.aliases().items():
        names.setdefault(version, []).append(alias)
    return [_row(one, sorted(names.get(str(one.version), []))) for one in registry.versions()], history(registry)


def _row(one: ModelVersion, aliases: Sequence[str]) -> Row:
    """One version as --json shows it: what is not known is null."""
    tags, out = one.tags, withdrawn(one.tags)
    dirty = tags.get("callwright.git_dirty")
    return {
        "version": int(one.version),
        "aliases": list(aliases),
        "registered": datetime.fromtimestamp(one.creation_timestamp / 1000, UTC).isoformat(timespec="seconds"),
        "rows": None if (rows := _share(tags.get("callwright.rows"))) is None else int(rows),
        "tuned": _share(tags.get("callwright.accuracy")),
        "base": _share(tags.get("callwright.base_accuracy")),
        "seen": _share(tags.get("callwright.seen_accuracy")),
        "unseen": _share(tags.get("callwright.unseen_accuracy")),
        "decision": tags.get("callwright.decision"),
        "reason": tags.get("callwright.reason"),
        "withdrawn": out.told if out else None,
        "base_model": tags.get("callwright.base"),
        "train_hash": tags.get("callwright.data_hash"),
        "validated_hash": tags.get("callwright.validated_hash"),
        "test_hash": tags.get("callwright.test_hash"),
        "adapter_hash": tags.get("callwright.adapter_hash"),
        "git_commit": tags.get("mlflow.source.git.commit"),
        "git_dirty": None if dirty is None else dirty == "true",
        "run_id": one.run_id,
    }


def _table(rows: Iterable[Row]) -> Table:
    table = Table(title="Versions, the newest first; shares of right answers on each version's test rows")
    table.title_justify = "left"
    table.add_column("version", no_wrap=True)
    table.add_column("right", no_wrap=True)
    table.add_column("made from", overflow="fold")
    table.add_column("decision", overflow="fold", min_width=24)
    for row in rows:
        commit = f"{(row['git_commit'] or '?')[:10]}{' + changes' if row['git_dirty'] else ''}"
        made_from = (
            f"{_cut(row['base_model'], 24)}\ndata {_cut(row['train_hash'], 12)}\n"
            f"of {_cut(row['validated_hash'], 12)}\ngit {commit}"
        )
        decided = row["reason"] or row["decision"] or "registered by an earlier Callwright"
        out = f"\nTaken out of service: {row['withdrawn']}" if row["withdrawn"] else ""
        table.add_row(
            Text("\n".join([str(row["version"]), *row["aliases"], row["registered"][:10]])),
            f"base   {_percent(row['base'])}\ntuned  {_percent(row['tuned'])}\n seen   {_percent(row['seen'])}\n"
            f" unseen {_percent(row['unseen'])}\n{row['rows'] or '?'} rows",
            Text(printable(made_from)),
            Text(printable(decided + out)),
        )
        table.add_section()
    return table


def _moves_table(moves: Iterable[Move]) -> Table:
    table = Table(title="Moves of the aliases, the oldest first")
    table.title_justify = "left"
    for name in ("when (UTC), who", "what", "aliases"):
        table.add_column(name, no_wrap=True)
    table.add_column("why", overflow="fold", min_width=24)
    for one in moves:
        what = f"{one.action} {one.version}"
        stands = [f"{alias} {_change(one, alias)}" for alias in ("champion", "previous", "challenger")]
        when = one.when[:16].replace("T", " ")
        cells = (f"{when}\n{one.who}", what, "\n".join(stands), one.why)
        table.add_row(*(Text(printable(cell)) for cell in cells))
        table.add_section()
    return table


def printable(text: str) -> str:
    """Without the signs that a terminal obeys: what people wrote is shown and no more."""
    return "".join(sign if sign.isprintable() or sign == "\n" else "\N{REPLACEMENT CHARACTER}" for sign in text)


def _change(one: Move, alias: str) -> str:
    before, after = one.before.get(alias, "–"), one.after.get(alias, "–")
    return after if before == after else f"{before} → {after}"


def _asked(ask: Callable[[Registry], T]) -> T:
    """What `ask` finds in the registry; a sentence where there is none, or it does not answer."""
    name = read_params().register_.name
    nothing = f"{shown_address()} has no version of {name} yet; make run (or dvc repro) trains and registers one"
    path = Path(address().removeprefix("sqlite:///"))
    if address().startswith("sqlite:///") and not path.exists():
        raise Fault(nothing)  # opening it would make it
    try:
        standing(name)  # asks briefly whether MLflow is there at all
        with told_unreachable():
            registry = Registry(open_store(), name)
            if not registry.versions():
                raise Fault(nothing)
            return ask(registry)
    except Unreachable as error:
        raise Fault(f"{error}; start it (make up does), or name another one in MLFLOW_TRACKING_URI") from None


def _number(version: str) -> str:
    if not re.fullmatch(r"0*[1-9][0-9]{0,8}", version):
        raise Fault(f"version {version!r} is no number of a version, such as 3; callwright models lists them")
    return str(int(version))


def _why(why: str, command: str) -> str:
    if not why.strip():
        raise Fault(f"callwright {command}: --why is empty; say in a few words why, it stays with the version")
    return why.strip()


def _moved(one: Move) -> str:
    before, after = one.before.get("champion"), one.after.get("champion")
    was = f"; version {before} is now `previous`, and comes back with callwright rollback --why …" if before else ""
    return f"Version {after} is the champion{was}."


def _share(text: str | None) -> float | None:
    try:
        return float(text) if text not in (None, "None") else None
    except ValueError:
        return None


def _percent(share: float | None) -> str:
    return "?" if share is None else f"{share:.1%}"


def _cut(text: str | None, most: int) -> str:
    return "?" if not text else text if len(text) <= most else f"{text[: most - 1]}…"
