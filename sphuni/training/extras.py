"""What single experiments show besides methods and claims, as Markdown for their pages."""

import itertools
from collections.abc import Callable

import numpy as np

from sphuni.training.archive import Results
from sphuni.training.runner import Outcome

__all__ = ["EXTRAS", "condition_numbers", "histogram_of_k"]

_BINS = (0.0, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0, np.inf)
_LEAST_K = 0.05


def condition_numbers(results: Results) -> str:
    """Return the median condition number by case, arm and scale c."""
    scales = results.experiment.options["scales"]
    head = ["factors", "objective", *(f"c = {c:g}" for c in scales)]
    lines = []
    for case in results.experiment.cases:
        for arm in results.experiment.arms:
            runs = _of(results, case.name, arm.name)
            if runs:
                values = [[row["kappa"] for row in run.rows] for run in runs]
                shown = [f"{value:.4g}" for value in np.median(values, axis=0)]
                lines.append([case.label or case.name, arm.label or arm.name, *shown])
    return "Median condition number over seeds:\n\n" + _table(head, lines)


def histogram_of_k(results: Results) -> str:
    """Return how many filters of every layer learned which k, in per cent over all seeds."""
    head = ["layer", *(_bin(a, b) for a, b in itertools.pairwise(_BINS)), "mean"]
    found: dict[str, list[float]] = {}
    for run in _of(results, results.experiment.cases[0].name, "learnable"):
        for row in run.rows:
            for name, values in row.get("parameters", {}).items():
                found.setdefault(name, []).extend(abs(value) + _LEAST_K for value in values)
    lines = []
    for name, values in found.items():
        shares = 100 * np.histogram(values, _BINS)[0] / len(values)
        layer = name.removesuffix(".angular.k")
        lines.append([layer, *(f"{share:.0f}" for share in shares), f"{np.mean(values):.3f}"])
    return "Share of filters by their learned k, in per cent:\n\n" + _table(head, lines)


EXTRAS: dict[str, Callable[[Results], str]] = {
    "conditioning": condition_numbers,
    "learnable-k": histogram_of_k,
}


def _of(results: Results, case: str, arm: str) -> list[Outcome]:
    return [run for run in results.finals if (run.case, run.arm, run.status) == (case, arm, "done")]


def _bin(low: float, high: float) -> str:
    return f"above {low:g}" if np.isinf(high) else f"{low:g}-{high:g}"


def _table(head: list[str], lines: list[list[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
