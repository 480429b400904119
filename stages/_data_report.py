"""The data report: one page that a person opens before training, and the pictures in it; used by validate

    write(folder, facts)   ->  folder/report.html, categories.png, tools.png, lengths.png, rejects.png

The page holds its pictures and needs nothing from elsewhere. Texts of rows are data: the template escapes them.
matplotlib and Jinja are imported inside functions.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callwright.data_stats import describe, spread
from callwright.outs import to_json
from callwright.records import Calls, Example, Reply, Result, System, User
from stages._data_page import PAGE
from stages._plots import BASE, GRID, INK, QUIET, TUNED, figure, save

READ = 24
"""Rows shown whole."""
TOOLS = 30
"""Tools of which the calls are drawn."""


@dataclass(frozen=True, slots=True)
class Facts:
    report: Mapping[str, Any]
    """report.json."""
    sample: Sequence[Example]
    """Accepted training rows, drawn."""
    rejects: Mapping[str, Sequence[tuple[str, str]]]
    """Some sentences, each with its row, of each code."""
    warnings: Mapping[str, str]
    """A sentence of each kind."""
    coverage: tuple[int, int]
    """Phrasings of the packs that training rows were made from, and all of them."""


def write(folder: Path, facts: Facts) -> None:
    described = describe(facts.sample)
    train = facts.report["splits"]["train"]
    pictures = {name: folder / f"{name}.png" for name in ("categories", "tools", "lengths", "rejects")}
    _categories(facts.report["splits"], pictures["categories"])
    _tools(train["tools_called"], pictures["tools"])
    _lengths(described, pictures["lengths"])
    _rejects(facts.report["codes"], pictures["rejects"])
    page = _page(facts, described, pictures)  # a reject may hold bytes that are no text
    (folder / "report.html").write_text(page, encoding="utf-8", errors="backslashreplace")
    kept = {name: part for name, part in described.items() if name != "openings"}
    lengths = {name: spread(values) for name, values in described["request_characters"].items()}
    counted = {name: spread(kept[name]) for name in ("tools_offered", "turns", "calls")}
    numbers = {"rows": kept["rows"], "request_characters": lengths, **counted, "distinct": kept["distinct"]}
    numbers["phrasings"] = {"used": facts.coverage[0], "all": facts.coverage[1]}
    (folder / "diversity.json").write_text(to_json(numbers, indent=2) + "\n", encoding="utf-8")


def _page(facts: Facts, described: Mapping[str, Any], pictures: Mapping[str, Path]) -> str:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(PAGE).render(
        report=facts.report,
        described=described,
        lengths={name: spread(values) for name, values in described["request_characters"].items()},
        counted={name: spread(described[name]) for name in ("tools_offered", "turns", "calls")},
        coverage=facts.coverage,
        rejects=facts.rejects,
        warnings=facts.warnings,
        rows=[_shown(row) for row in facts.sample[:READ]],
        pictures={name: base64.b64encode(path.read_bytes()).decode() for name, path in pictures.items()},
    )


def _shown(row: Example) -> dict[str, Any]:
    """A row as the page shows it: its turns as (role, text)."""
    turns: list[tuple[str, str]] = []
    for message in row.messages:
        match message:
            case System(content):
                turns.append(("system", content))
            case User(content):
                turns.append(("user", content))
            case Calls(calls):
                turns.append(("call", "\n".join(json.dumps(call.to_json(), ensure_ascii=False) for call in calls)))
            case Result(tool, content):
                turns.append(("result", f"{tool}: {content}"))
            case Reply(content):
                turns.append(("reply", content))
    tools = [tool.name for tool in row.tools]
    return {"id": row.id, "category": row.category, "language": row.language, "tools": tools, "turns": turns}


# Pictures


def _categories(splits: Mapping[str, Any], path: Path) -> None:
    """Rows of each category as shares, training beside the exam."""
    names = sorted({name for part in splits.values() for name in part["by_category"]})
    drawn = [(split, part) for split, part in splits.items() if part["rows"]]
    made, axes = figure(8.4, 0.24 * len(names) * max(1, len(drawn)) + 1.4)
    colors = {"train": TUNED, "dev": BASE, "test": QUIET}
    height = 0.8 / max(1, len(drawn))
    for i, (split, part) in enumerate(drawn):
        shares = [part["by_category"].get(name, 0) / part["rows"] for name in names]
        places = [y + (i - (len(drawn) - 1) / 2) * height for y in range(len(names))]
        axes.barh(places, shares, height=height * 0.9, color=colors[split], label=f"{split} ({part['rows']:,} rows)")
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.invert_yaxis()
    axes.set_xlabel("share of the split's rows", color=QUIET)
    axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.grid(axis="x", color=GRID)
    if drawn:
        axes.legend(frameon=False)
    save(made, path)


def _tools(called: Mapping[str, int], path: Path) -> None:
    most = sorted(called.items(), key=lambda pair: (-pair[1], pair[0]))[:TOOLS]
    made, axes = figure(8.4, 0.24 * len(most) + 1.2)
    axes.barh(range(len(most)), [count for _, count in most], height=0.7, color=TUNED)
    axes.set_ylim(-0.6, max(len(most), 3) - 0.4)
    axes.set_yticks(range(len(most)), [_plain(name) for name, _ in most])
    axes.invert_yaxis()
    rest = f", the {TOOLS} called most of {len(called)}" if len(called) > TOOLS else ""
    axes.set_xlabel(f"calls in training rows{rest}", color=QUIET)
    axes.grid(axis="x", color=GRID)
    save(made, path)


def _plain(name: str) -> str:
    """A name that matplotlib does not take for a formula."""
    return name[:60].replace("$", r"\$")


def _lengths(described: Mapping[str, Any], path: Path) -> None:
    made, both = figure(9.2, 3.4, columns=2)
    for (name, values), color in zip(described["request_characters"].items(), (TUNED, QUIET), strict=True):
        if values:
            both[0].hist(values, bins=40, color=color, alpha=0.7, label=name)
    both[0].set_xlabel("characters of a request", color=QUIET)
    if any(described["request_characters"].values()):
        both[0].legend(frameon=False)
    offered = described["tools_offered"]
    sizes = range(min(offered, default=0), max(offered, default=0) + 1)
    both[1].bar(list(sizes), [offered.count(size) for size in sizes], color=TUNED, width=0.8)
    both[1].set_xticks(list(sizes))
    both[1].set_xlabel("tools offered", color=QUIET)
    for axes in both:
        axes.grid(axis="y", color=GRID)
        axes.set_ylabel("rows of the sample", color=QUIET)
    save(made, path)


def _rejects(codes: Mapping[str, int], path: Path) -> None:
    most = sorted(codes.items(), key=lambda pair: -pair[1])
    made, axes = figure(8.4, 0.32 * max(len(most), 2) + 1.1)
    axes.barh(range(len(most)), [count for _, count in most], height=0.6, color=INK)
    axes.set_ylim(-0.6, max(len(most), 2) - 0.4)
    axes.set_yticks(range(len(most)), [code for code, _ in most])
    axes.invert_yaxis()
    axes.set_xlabel("rows rejected", color=QUIET)
    axes.grid(axis="x", color=GRID)
    save(made, path)
