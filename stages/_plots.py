"""The pictures of an evaluation: accuracy base against tuned, what was decided, the loss curve. Imports matplotlib inside functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BASE, TUNED, INK, GRID = "#b8bec9", "#2f6fde", "#1f2430", "#e6e8ee"


def accuracy(metrics: Mapping[str, Any], path: Path) -> None:
    """Bars with 95% intervals: all, by language, seen and unseen tools, by category."""
    base, tuned = metrics["base"], metrics["tuned"]
    rows = [("all rows", lambda m: m["overall"])]
    rows += [("seen tools", lambda m: m["by_tools"]["seen"]), ("unseen tools", lambda m: m["by_tools"]["unseen"])]
    rows += [(f"{name}, seen tools", lambda m, name=name: m["by_tools"]["seen"]["by_language"][name]) for name in tuned["by_tools"]["seen"]["by_language"]]
    rows += [(name.replace("_", " "), lambda m, name=name: m["by_category"][name]) for name in tuned["by_category"]]
    figure, axes = _figure(8, 0.52 * len(rows) + 1.3)
    for i, (label, part) in enumerate(rows):
        for model, color, shift in ((base, BASE, -0.19), (tuned, TUNED, 0.19)):
            found = part(model)
            if found["n"]:
                _bar(axes, i + shift, found, color)
        axes.text(-0.02, i, f"{label}  (n={part(tuned)['n']})", ha="right", va="center", color=INK, transform=axes.get_yaxis_transform())
    axes.set(xlim=(0, 1.12), ylim=(len(rows) - 0.4, -0.6), yticks=[], xlabel="share of rows answered right, with 95% interval")
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
    handles = [axes.barh([-9], [0], color=color) for color in (BASE, TUNED)]
    axes.legend(handles, ["base", "tuned"], loc="lower center", bbox_to_anchor=(0.45, 1.0), ncols=2, frameon=False)
    axes.grid(axis="x", color=GRID)
    _save(figure, path)


def _bar(axes: Axes, y: float, found: Mapping[str, Any], color: str) -> None:
    share, (low, high) = found["accuracy"], found["ci95"]
    axes.barh(y, share, height=0.36, color=color, zorder=2)
    axes.errorbar(share, y, xerr=[[share - low], [high - share]], color=INK, linewidth=1, capsize=2, zorder=3)
    axes.text(high + 0.015, y, f"{share:.0%}", va="center", fontsize=8, color=INK)


def decision(metrics: Mapping[str, Any], path: Path) -> None:
    """What was right to do against what was done, for both models."""
    from matplotlib import pyplot

    figure, both = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained", sharey=True)
    for axes, name in zip(both, ("base", "tuned"), strict=True):
        table = metrics[name]["decision"]
        right, done = list(table), list(next(iter(table.values())))
        counts = [[table[row][column] for column in done] for row in right]
        shares = [[count / max(1, sum(row)) for count in row] for row in counts]
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for i, row in enumerate(counts):
            for j, count in enumerate(row):
                axes.text(j, i, str(count), ha="center", va="center", color="white" if shares[i][j] > 0.55 else INK)
        axes.set_xticks(range(len(done)), done)
        axes.set_yticks(range(len(right)), right)
        axes.set(title=name, xlabel="what the model did")
    both[0].set_ylabel("what was right")
    _save(figure, path)


def loss(history: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Loss of every step, and its mean over the last ten."""
    figure, axes = _figure(8, 3.6)
    steps, values = [line["step"] for line in history], [line["loss"] for line in history]
    means = [sum(values[max(0, i - 9) : i + 1]) / len(values[max(0, i - 9) : i + 1]) for i in range(len(values))]
    axes.plot(steps, values, color=BASE, linewidth=1, label="each step")
    axes.plot(steps, means, color=TUNED, linewidth=2, label="mean of the last ten")
    axes.set(xlabel="step", ylabel="loss on the assistant's tokens", ylim=(0, None))
    axes.grid(color=GRID)
    axes.legend(frameon=False)
    _save(figure, path)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(width, height), layout="constrained")
    axes.spines[["top", "right", "left"]].set_visible(False)
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    from matplotlib import pyplot

    figure.savefig(path, dpi=110)
    pyplot.close(figure)
