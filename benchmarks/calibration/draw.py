"""Pictures of the calibration: a map of all sizes, and the power curves."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.calibration import curves
from benchmarks.calibration.sizes import DIMENSIONS, NUMBERS, cells
from sphuni.plots import power_curves

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["power_figure", "sizes_figure"]

PANELS = (("upper", 0.05), ("lower", 0.05), ("upper", 0.01), ("lower", 0.01))


def sizes_figure(counts: Path) -> "Figure":
    """Draw every size as a colour: white is right, red too often, blue too seldom.

    The colour is that of the end of the 99.9 % interval nearest to the level, so that noise is
    white.
    """
    from matplotlib.figure import Figure

    found = {(c.test, c.d, c.n): c for c in cells(counts)}
    tests = list(dict.fromkeys(test for test, _, _ in found))
    columns = [(d, n) for d in DIMENSIONS for n in NUMBERS]
    figure = Figure(figsize=(17, 0.19 * len(tests) + 2.2), layout="constrained")
    axes = figure.subplots(1, 4, sharey=True)
    for ax, (tail, alpha) in zip(axes, PANELS, strict=True):
        ratio = np.full((len(tests), len(columns)), np.nan)
        for row, test in enumerate(tests):
            for column, (d, n) in enumerate(columns):
                cell = found.get((test, d, n))
                if cell is None:
                    continue
                low, high = cell.interval(tail, alpha)
                ratio[row, column] = np.clip(alpha, low, high) / alpha
                if not cell.passed(tail, alpha):
                    ax.plot(column, row, "x", color="black", ms=4, mew=1.2)
        image = ax.imshow(
            np.clip(ratio, 0.4, 1.6), cmap="RdBu_r", vmin=0.4, vmax=1.6, aspect="auto"
        )
        ax.set_facecolor("#d9dce1")
        ax.set_title(f"{tail} tail at {alpha:.0%}", fontsize="medium")
        ax.set_xticks(
            np.arange(0, len(columns), len(NUMBERS)) + 2.5, [f"d = {d}" for d in DIMENSIONS]
        )
        ax.tick_params(length=0)
        for edge in range(1, len(DIMENSIONS)):
            ax.axvline(edge * len(NUMBERS) - 0.5, color="#5b6470", lw=0.8)
        ax.set_xlabel("n = " + ", ".join(map(str, NUMBERS)) + " within each d", fontsize="small")
    axes[0].set_yticks(range(len(tests)), tests, fontsize="small")
    bar = figure.colorbar(image, ax=axes, shrink=0.7, pad=0.01)
    bar.set_label(
        "rejections over the level, nearest end of the 99.9 % interval; × outside the band"
    )
    return figure


def power_figure(source: Path) -> "Figure":
    """Draw the power curves, one panel an alternative."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 7.6), layout="constrained")
    known = curves.read(source)
    for ax, (label, found) in zip(
        figure.subplots(2, 4).flat,
        ((label, known[label]) for label in curves.ALTERNATIVES if label in known),
        strict=False,
    ):
        _, parameter, tail, strengths, _ = curves.ALTERNATIVES[label]
        power_curves(found, [abs(x) for x in strengths], tail=tail, xlabel=parameter, ax=ax)
        if max(map(abs, strengths)) > 100:
            ax.set_xscale("symlog", linthresh=3)
            ax.set_xlim(left=0)
        ax.get_legend().remove()
        ax.set_title(f"{label}; {tail.replace('_', '-')} tail", fontsize="medium")
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return figure
