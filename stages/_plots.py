"""The pictures of an evaluation: accuracy of base and tuned, what was decided, the loss curve.

Drawn on plain figures, without pyplot: nothing is global and no screen is asked for. matplotlib is imported inside
functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Metrics = Mapping[str, Any]

BASE, TUNED, INK, QUIET, GRID = "#b8bec9", "#2f6fde", "#1f2430", "#6b7280", "#e6e8ee"


def accuracy(metrics: Metrics, path: Path) -> None:
    """Bars with 95% intervals: all rows, by tools, by language, by category; a group without rows has no bar."""
    base, tuned = list(_parts(metrics["base"])), list(_parts(metrics["tuned"]))
    places, y = [], 0.0
    for i, (group, _, _) in enumerate(tuned):
        y += 1 if i == 0 or group == tuned[i - 1][0] else 1.5
        places.append(y)
    made, axes = figure(8.4, 0.46 * y + 1.2)
    for parts, color, shift in ((base, BASE, -0.2), (tuned, TUNED, 0.2)):
        found = {(group, label): part for group, label, part in parts}
        for place, (group, label, _) in zip(places, tuned, strict=True):
            part = found.get((group, label))
            if part and part["n"]:
                _bar(axes, place + shift, part, color)
    axes.set_yticks(places, [f"{label}  (n = {part['n']})" for _, label, part in tuned])
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
    axes.set(xlim=(0, 1.1), ylim=(y + 0.6, 0.4))
    axes.set_xlabel("share of rows answered right, with 95% interval", color=QUIET)
    axes.grid(axis="x", color=GRID)
    axes.spines["bottom"].set_visible(False)
    handles = [axes.barh([-9], [0], color=color) for color in (BASE, TUNED)]
    made.legend(handles, ["base", "tuned"], loc="outside upper center", ncols=2, frameon=False)
    save(made, path)


def _parts(model: Metrics) -> Iterator[tuple[str, str, Metrics]]:
    """Group, label and score of each pair of bars."""
    tools = model["by_tools"]
    yield "all", "all rows", model["overall"]
    yield "tools", "seen tools", tools["seen"]
    yield "tools", "unseen tools", tools["unseen"]
    for name, part in tools["seen"]["by_language"].items():
        yield "language", f"{name}, seen tools", part
    for name, part in model["by_category"].items():
        yield "category", name.replace("_", " "), part


def _bar(axes: Axes, y: float, part: Metrics, color: str) -> None:
    share, (low, high) = part["accuracy"], part["ci95"]
    reach = [[max(0.0, share - low)], [max(0.0, high - share)]]  # both are rounded
    axes.barh(y, share, height=0.38, color=color, zorder=2)
    axes.errorbar(share, y, xerr=reach, color=INK, linewidth=1, capsize=2.5, zorder=3)
    axes.text(high + 0.012, y, f"{share:.0%}", va="center", fontsize=8.5, color=INK)


def decision(metrics: Metrics, path: Path) -> None:
    """What was right to do against what was done, for both models; a row's colour is its shares."""
    made, both = figure(9.2, 3.9, columns=2)
    for axes, name in zip(both, ("base", "tuned"), strict=True):
        table = metrics[name]["decision"]
        right, done = list(table), list(next(iter(table.values())))
        totals = [sum(table[row].values()) for row in right]
        shares = [[table[row][to] / (total or 1) for to in done] for row, total in zip(right, totals, strict=True)]
        axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1, edgecolors="white", linewidth=3)
        for i, row in enumerate(right):
            for j, to in enumerate(done):
                _count(axes, j + 0.5, i + 0.5, table[row][to], shares[i][j], right=row == to)
        axes.set_xticks([j + 0.5 for j in range(len(done))], done)
        axes.set_yticks([i + 0.5 for i in range(len(right))], [])
        axes.invert_yaxis()
        axes.set_title(name, fontweight="bold", color=INK)
        axes.set_xlabel("what the model did", color=QUIET)
        axes.spines["bottom"].set_visible(False)
    labels = [f"{row}  (n = {total})" for row, total in zip(right, totals, strict=True)]
    both[0].set_yticks([i + 0.5 for i in range(len(labels))], labels)
    both[0].set_ylabel("what was right", color=QUIET)
    save(made, path)


def _count(axes: Axes, x: float, y: float, count: int, share: float, *, right: bool) -> None:
    color, weight = "white" if share > 0.55 else INK if count else QUIET, "bold" if right else "normal"
    axes.text(x, y, str(count), ha="center", va="bottom", fontsize=12, color=color, fontweight=weight)
    axes.text(x, y + 0.05, f"{share:.0%}", ha="center", va="top", fontsize=8, color=color)


def loss(history: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Loss of every step, and its mean over ten steps around."""
    made, axes = figure(8.4, 3.7)
    lines = [line for line in history if "loss" in line]
    steps, values = [line["step"] for line in lines], [line["loss"] for line in lines]
    around = [values[max(0, i - 5) : i + 6] for i in range(len(values))]
    axes.plot(steps, values, color=BASE, linewidth=1, label="each step")
    axes.plot(
        steps, [sum(near) / len(near) for near in around], color=TUNED, linewidth=2, label="mean of the steps around"
    )
    axes.set(xlim=(0, max(steps, default=1)), ylim=(0, 1.05 * max(values, default=1)))
    axes.set_xlabel("step", color=QUIET)
    axes.set_ylabel("loss on the assistant's tokens", color=QUIET)
    axes.grid(color=GRID)
    axes.legend(frameon=False)
    save(made, path)


def figure(width: float, height: float, columns: int = 1) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    made = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1))
    axes = made.subplots(1, columns)
    for one in axes if columns > 1 else [axes]:
        one.spines[["top", "right", "left"]].set_visible(False)
        one.spines["bottom"].set_color(QUIET)
        one.tick_params(length=0, labelcolor=INK)
        one.set_axisbelow(True)
    return made, axes


def save(made: Figure, path: Path) -> None:
    made.savefig(path, dpi=150)
