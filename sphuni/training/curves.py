"""Pictures of an experiment: learning curves, differences, energies of layers, spectra."""

import math
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sphuni._files import atomic_writer
from sphuni.plots._style import INK, OBSERVED, new_figure, tidy
from sphuni.training.archive import Results
from sphuni.training.compare import CaseTable, Comparison, compare
from sphuni.training.runner import Outcome
from sphuni.training.statistics import lower_is_better

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw"]

_DASHES = ("-", "--", "-.", ":")
_ENERGY = "half:2"
_TICKS = (-1.0, 0.0, 0.25, 0.5, 0.75, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0)
_FINE_BELOW, _MOST_STEPS = 100.0, 6
_DECADES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
Runs = dict[str, list[Outcome]]


def draw(results: Results, folder: Path, *, taken: Iterable[Path] = ()) -> list[Path]:
    """Draw one picture per data set of an experiment.

    Parameters
    ----------
    results : Results
    folder : Path
        Gets ``<experiment>-<case>.png``, a slash in a name as a hyphen.
    taken : iterable of Path, default ()
        Pictures to be kept: one that would have the same name is given a number, as are those of
        data sets called ``a/b`` and ``a-b``.

    Returns
    -------
    list of Path
    """
    comparison = compare(results)
    paths, kept = list[Path](), list(taken)
    for table in comparison.cases:
        runs: Runs = {row.arm: [] for row in table.rows}
        for outcome in results.finals:
            if outcome.case == table.case and outcome.status == "done":
                runs[outcome.arm].append(outcome)
        name = f"{results.experiment.name}-{table.case}".replace("/", "-")
        path = _free(folder, name, (*kept, *paths))
        _draw_case(comparison, table, runs, path)
        paths.append(path)
    return paths


def _free(folder: Path, name: str, taken: Container[Path]) -> Path:
    """A file for a picture that is none of those taken."""
    path, number = folder / f"{name}.png", 1
    while path in taken:
        number += 1
        path = folder / f"{name}-{number}.png"
    return path


def _draw_case(comparison: Comparison, table: CaseTable, runs: Runs, path: Path) -> None:
    outcomes = [outcome for found in runs.values() for outcome in found]
    curved = any(len(_mean_curve([outcome], table.metric)[0]) > 1 for outcome in outcomes)
    layered = any(_final_layers(outcome) for outcome in outcomes)
    wide = curved or layered
    figure = new_figure(11.0 if wide else 6.0, 8.0 if layered else 4.2)
    figure.suptitle(f"{comparison.experiment.title} ({table.label})", fontsize=12, color=INK)
    axes = figure.subplots(1 + layered, 1 + wide, squeeze=False)
    labels = {row.arm: row.label for row in table.rows}
    if wide:
        _curves(axes[0, 0], runs, labels, table)
    _differences(axes[0, -1], table)
    if layered:
        _excess(axes[1, 0], runs, labels, table.reference)
        _spectrum(axes[1, -1], runs, labels, table.reference)
    with atomic_writer(path) as stream:
        figure.savefig(stream, format="png", dpi=110)


def _curves(axes: "Axes", runs: Runs, labels: dict[str, str], table: CaseTable) -> None:
    """Mean over seeds at every epoch that was evaluated."""
    shown: list[float] = []
    for k, (arm, outcomes) in enumerate(runs.items()):
        epochs, means = _mean_curve(outcomes, table.metric)
        shown += means
        if epochs:
            axes.plot(epochs, means, label=labels[arm], **_line(k, arm == table.reference))
    if shown and lower_is_better(table.metric) and 0 < 4 * min(shown) < max(shown):
        axes.set_yscale("log")
        ticks = [tick for tick in _DECADES if min(shown) <= 1.5 * tick <= 2 * max(shown)]
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel("epoch")
    axes.set_ylabel(table.metric)
    axes.set_title("mean over seeds", fontsize=10)
    axes.legend(fontsize=7, ncols=2, frameon=False)
    tidy(axes, left=True)


def _differences(axes: "Axes", table: CaseTable) -> None:
    """Difference to the reference with its 95 % interval, the best on top."""
    sign = 1 if lower_is_better(table.metric) else -1
    rows = [row for row in table.rows if row.arm != table.reference and row.difference.pairs > 1]
    rows.sort(key=lambda row: -sign * row.difference.mean)
    for height, row in enumerate(rows):
        result = row.difference
        axes.plot([result.low, result.high], [height, height], color=OBSERVED, linewidth=2)
        axes.plot([result.mean], [height], "o", color=OBSERVED, markersize=5)
    axes.axvline(0.0, color=INK, linewidth=0.8)
    tidy(axes, left=True)
    axes.set_yticks(range(len(rows)), [row.label for row in rows], fontsize=8)
    axes.set_title(f"difference to {table.reference}, paired, 95 %", fontsize=10)


def _excess(axes: "Axes", runs: Runs, labels: dict[str, str], reference: str) -> None:
    """Excess energy of every layer after training: 0 at the optimum, 1 at random."""
    depth = 1
    axes.set_yscale("symlog", linthresh=1.0)  # first, as limits are made for the scale there is
    for k, (arm, outcomes) in enumerate(runs.items()):
        layers = [_final_layers(outcome) for outcome in outcomes]
        values = [[_float(one["excess"].get(_ENERGY)) for one in part] for part in layers if part]
        if values:
            means = np.mean(values, axis=0)
            line = _line(k, arm == reference)
            axes.plot(range(1, len(means) + 1), means, marker=".", label=labels[arm], **line)
            depth = max(depth, len(means))
    axes.axhline(1.0, color=INK, linewidth=0.6, linestyle=":")
    ticks = _ticks(*axes.get_ylim())
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks(range(1, depth + 1))
    axes.set_xlabel("layer")
    axes.set_title("excess energy after training (half space, s = 2; random = 1)", fontsize=10)
    tidy(axes, left=True)


def _ticks(low: float, high: float) -> list[float]:
    """Powers of ten, as many as have room, where the steps of a usual axis would overlap."""
    if high <= _FINE_BELOW:
        return [tick for tick in _TICKS if low <= tick <= high]
    decades = math.floor(math.log10(high))
    return [0.0, *(10.0**k for k in range(0, decades + 1, -(-decades // _MOST_STEPS)))]


def _spectrum(axes: "Axes", runs: Runs, labels: dict[str, str], reference: str) -> None:
    """Singular values of the unit rows of the layer with the most neurons, the last of those."""
    name = ""
    for k, (arm, outcomes) in enumerate(runs.items()):
        spectra = []
        for outcome in outcomes:
            layers = _final_layers(outcome)[:-1]
            if layers:
                widest = max(layers, key=lambda one: (one["n"], layers.index(one)))
                name = str(widest["name"])
                spectra.append(widest["spectrum"])
        if spectra:
            means = np.mean(np.asarray(spectra, float), axis=0)
            axes.plot(
                np.linspace(0, 1, len(means)),
                means,
                label=labels[arm],
                **_line(k, arm == reference),
            )
    axes.set_xlabel("rank of the singular value, as a fraction")
    axes.set_title(f"singular values of the directions in {name}" if name else "", fontsize=10)
    tidy(axes, left=True)


def _mean_curve(outcomes: Sequence[Outcome], metric: str) -> tuple[list[int], list[float]]:
    numbers: dict[int, list[float]] = {}
    for outcome in outcomes:
        for row in outcome.rows:
            if row.get("event") == "epoch":
                value = outcome.last(metric, int(row["epoch"]))
                if np.isfinite(value):
                    numbers.setdefault(int(row["epoch"]), []).append(value)
    epochs = sorted(epoch for epoch, found in numbers.items() if len(found) == len(outcomes))
    return epochs, [float(np.mean(numbers[epoch])) for epoch in epochs]


def _final_layers(outcome: Outcome) -> list[dict[str, Any]]:
    rows = [row for row in outcome.rows if row.get("event") == "layers" and row["epoch"] > 0]
    return rows[-1]["layers"] if rows else []


def _float(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _line(k: int, reference: bool = False) -> dict[str, Any]:
    if reference:
        return {"color": INK, "linewidth": 2.2}
    return {"color": f"C{k % 10}", "linestyle": _DASHES[k // 10 % 4], "linewidth": 1.2}
