"""callwright bfcl: the single-turn Python categories of the Berkeley Function-Calling Leaderboard, answered and scored

    callwright bfcl run --data bfcl_eval/data --model adapter     writes reports/bfcl/adapter/non_live/…_result.json
    callwright bfcl score --data bfcl_eval/data --name base --name adapter --report bfcl.json

The data is bfcl-eval's own and no part of this project. docs/bfcl.md says where verdicts differ from its checker's.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callwright.bfcl.answering import Run, WithoutDots, answer_all
from callwright.bfcl.categories import DEFAULT, read_categories
from callwright.bfcl.reading import Data, Entry, find_data, read_entries
from callwright.bfcl.results import read_results, result_path
from callwright.bfcl.scoring import Judged, judge, report
from callwright.faults import Fault
from callwright.loop import Model
from callwright.outs import to_json, whole_file
from callwright.params import FILE, read_params
from commands.named_model import BASE, choose

if TYPE_CHECKING:  # loaded when something is printed
    from rich.table import Table


def run(
    data_path: Path,
    categories: str | None,
    model: str,
    out: Path,
    name: str | None,
    limit: int | None,
    max_new_tokens: int,
    batch_size: int,
    *,
    constrained: bool = False,
) -> int:
    """Answer what is not answered yet; 0 when all is."""
    chosen = read_categories(categories) if categories is not None else DEFAULT
    data = find_data(data_path)
    with _model(model, max_new_tokens, batch_size, constrained=constrained) as (asked, about):
        told = {**about, "max_new_tokens": max_new_tokens, "data": data.prefix}
        going = Run(out, _name(name or _short_name(model)), told, limit)
        print(f"{about['model']} answers {', '.join(chosen)}; the files are in {going.folder}", flush=True)
        answer_all(data, chosen, asked, going, tell=lambda line: print(line, flush=True))
    return 0


def _name(given: str) -> str:
    if not given or given in (".", "..") or "/" in given or "\0" in given:
        raise Fault(f"--name is {given!r}; give the name of one folder")
    return given


def _short_name(model: str) -> str:
    return model.rpartition("#")[2].replace("/", "_") if model.startswith(("http://", "https://")) else model


@contextlib.contextmanager
def _model(
    name: str, max_new_tokens: int, batch_size: int, *, constrained: bool
) -> Iterator[tuple[Model, Mapping[str, Any]]]:
    """The model, and what tells it from others."""
    if name.startswith(("http://", "https://")):
        from callwright.openai_model import OpenAIModel, read_where

        if constrained:
            raise Fault("--constrained is for a model on this machine; a server has settings of its own")
        where = read_where(name, os.environ)
        yield WithoutDots(OpenAIModel(where, max_new_tokens=max_new_tokens)), {"model": f"{where.model} at {where.url}"}
        return
    with tempfile.TemporaryDirectory() as folder:
        registered = read_params().register_.name if FILE.exists() else "callwright"
        chosen = choose(name, registered, Path(folder))
        from stages._completion import folder_hash
        from stages._local import LocalModel

        trained_as = read_params().format.train_as if FILE.exists() else None
        local = LocalModel(
            BASE,
            chosen.adapter,
            max_new_tokens=max_new_tokens,
            batch_size=batch_size,
            train_as=trained_as,
            constrained=constrained,
        )
        base = json.loads((BASE / "callwright.json").read_text(encoding="utf-8"))
        yield (
            local,
            {
                "model": chosen.about,
                "base": f"{base['source']} at {base['revision']}",
                "adapter": folder_hash(chosen.adapter) if chosen.adapter else None,
                "train_as": str(local.train_as),
                **({"constrained": True} if constrained else {}),
            },
        )


def score(
    data_path: Path,
    results: Path,
    names: Sequence[str],
    categories: str | None,
    report_path: Path | None,
    *,
    partial: bool,
) -> int:
    """Judge the answers of one or several models side by side; 0 once they are scored."""
    data = find_data(data_path)
    named = tuple(map(_name, names)) or _found(results)
    chosen = read_categories(categories) if categories is not None else _answered(data, results, named)
    entries = {category: read_entries(data, category) for category in chosen}
    judged = {name: {c: _judged(data, results, name, c, entries[c], partial=partial) for c in chosen} for name in named}
    made = {name: report(by_category) for name, by_category in judged.items()}
    if report_path:
        with whole_file(report_path) as aside:
            aside.write_text(to_json(made, indent=2) + "\n", encoding="utf-8")
    _print(made)
    return 0


def _found(results: Path) -> tuple[str, ...]:
    names = tuple(sorted({path.parents[1].name for path in results.glob("*/*/BFCL_v*_result.json")}))
    if not names:
        raise Fault(f"{results} holds no NAME/non_live/BFCL_v*_result.json; callwright bfcl run writes them")
    return names


def _answered(data: Data, results: Path, names: Sequence[str]) -> tuple[str, ...]:
    """The categories that all have answered."""
    every = [c for c in read_categories("all") if all(result_path(results, n, data, c).exists() for n in names)]
    if not every:
        raise Fault(
            f"{results}: no category of {data.prefix} is answered by {', '.join(names)}; run callwright bfcl run"
        )
    return tuple(every)


def _judged(
    data: Data, results: Path, name: str, category: str, entries: Sequence[Entry], *, partial: bool
) -> list[Judged]:
    path = result_path(results, name, data, category)
    found = read_results(path)
    if strange := sorted(found.keys() - {entry.id for entry in entries}):
        raise Fault(
            f"{path} answers {strange[0]}, which {data.questions(category)} does not ask; give the same release"
        )
    missing = [entry.id for entry in entries if entry.id not in found]
    if missing and not partial:
        lost = f"{path} lacks {len(missing):,} of {len(entries):,} answers, such as {missing[0]}"
        raise Fault(f"{lost}; a lost answer is no wrong one: run callwright bfcl run again, or give --partial")
    return [judge(entry, found[entry.id].answer, asked=found[entry.id].asked) for entry in entries if entry.id in found]


def _print(made: Mapping[str, Any]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=max(120, 40 + 34 * len(made)))
    console.print(_table(made))
    for name, one in made.items():
        for category, scored in one["categories"].items():
            for line in _apart(scored):
                print(f"{name}, {category}: {line}")
        if total := one.get("live_calls"):
            print(f"{name}: {_in_words(total)} of the {total['n']:,} live calls, as bfcl-eval sums them up")
    sys.stdout.flush()


def _table(made: Mapping[str, Any]) -> Table:
    from rich.table import Table

    table = Table(title="BFCL: right answers, 95% interval, malformed", title_justify="left")
    table.add_column("")
    table.add_column("rows", justify="right")
    for name in made:
        table.add_column(name, justify="right")
    first = next(iter(made.values()))["categories"]
    for category, scored in first.items():
        cells = [
            f"{_score(one['categories'][category])}  {one['categories'][category]['outcomes']['malformed']:>4}"
            for one in made.values()
        ]
        table.add_row(category, f"{scored['n']:,}", *cells)
    return table


def _score(score: Mapping[str, Any]) -> str:
    if not score["n"]:
        return "–"
    low, high = score["ci95"]
    return f"{score['accuracy']:>6.1%}  {100 * low:>3.0f} to {100 * high:>3.0f}%"


def _in_words(score: Mapping[str, Any]) -> str:
    return " ".join(_score(score).split())


def _apart(scored: Mapping[str, Any]) -> Iterator[str]:
    """What a score alone would hide."""
    if unasked := scored["reasons"].get("not_asked"):
        yield f"{unasked:,} entries are too long for the model and were not asked; they count as wrong"
    year = scored["year_unsaid"]
    if year["n"]:
        said = scored["year_said"]
        without = f"; without them {_in_words(said)} of {said['n']:,}" if said["n"] else ""
        yield f"in {year['n']:,} entries the right year is said by nobody, and {year['correct']:,} are right{without}"
