"""What single experiments show besides methods and claims, as Markdown for their pages."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats as distributions

from sphuni.training.archive import Results
from sphuni.training.runner import Outcome

__all__ = ["EXTRAS", "condition_numbers", "histogram_of_k", "objective_matrix"]

_BINS = (0.0, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0, np.inf)
_LEAST_K = 0.05
_LAYERS = (("rejected.bingham", "Bingham"), ("rejected.rayleigh", "Rayleigh"))


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


def objective_matrix(results: Results) -> str:
    """Return what training for each objective does to all objectives, and to the error.

    Entries are paired differences to the baseline in units of the baseline's standard deviation
    over seeds; below them, the rank correlation of each objective with the error over methods.
    """
    return "\n\n".join(
        _matrix(results, case.name, case.label or case.name) for case in results.experiment.cases
    )


EXTRAS: dict[str, Callable[[Results], str]] = {
    "conditioning": condition_numbers,
    "learnable-k": histogram_of_k,
    "trained-uniformity": objective_matrix,
}


def _matrix(results: Results, case: str, label: str) -> str:
    arms = results.experiment.arms
    lines: list[list[str]] = []
    errors: list[float] = []
    means: list[list[float]] = []
    base = {run.seed: run for run in _of(results, case, arms[0].name)}
    if len(base) < 2:
        return f"**{label}**: fewer than two seeds so far."
    first = next(iter(base.values()))
    names = sorted(key for key in _last(first) if key.startswith("objective."))
    deviation = {n: np.std([run.last(n) for run in base.values()], ddof=1) for n in names}
    for arm in arms:
        runs = [run for run in _of(results, case, arm.name) if run.seed in base]
        if not runs:
            continue
        errors.append(float(np.mean([run.last("test.error") for run in runs])))
        means.append([float(np.mean([run.last(name) for run in runs])) for name in names])
        shifts = [
            np.mean([run.last(name) - base[run.seed].last(name) for run in runs]) / deviation[name]
            for name in names
        ]
        tests = [f"{np.mean([run.last(key) for run in runs]):.0f}" for key, _ in _LAYERS]
        shown = [f"{value:+.1f}" for value in shifts]
        lines.append([arm.label or arm.name, f"{errors[-1]:.2f}", *shown, *tests])
    head = ["trained with", "error", *(name.removeprefix("objective.") for name in names)]
    head += [f"{name} rejects" for _, name in _LAYERS]
    correlation = ["correlation with error", "", *_correlations(errors, means)]
    return f"**{label}**\n\n" + _table(head, [*lines, correlation + [""] * len(_LAYERS)])


def _correlations(errors: Sequence[float], means: Sequence[Sequence[float]]) -> list[str]:
    """Spearman's rank correlation over methods, with its p-value."""
    if len(errors) < 3:
        return ["-"] * len(means[0])
    found = []
    for column in zip(*means, strict=True):
        if np.ptp(column) == 0 or np.ptp(errors) == 0:
            found.append("-")
            continue
        result = distributions.spearmanr(column, errors)
        found.append(f"{result.statistic:+.2f} (p {result.pvalue:.2f})")
    return found


def _of(results: Results, case: str, arm: str) -> list[Outcome]:
    return [run for run in results.finals if (run.case, run.arm, run.status) == (case, arm, "done")]


def _last(run: Outcome) -> dict[str, float]:
    return [row for row in run.rows if row.get("event") == "epoch"][-1]


def _bin(low: float, high: float) -> str:
    return f"above {low:g}" if np.isinf(high) else f"{low:g}-{high:g}"


def _table(head: list[str], lines: list[list[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
