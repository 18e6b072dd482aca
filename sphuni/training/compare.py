"""From the runs of an experiment to methods and claims with intervals and verdicts."""

import dataclasses
import math
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np

from sphuni.training.archive import Results
from sphuni.training.experiment import Case, Claim, Experiment
from sphuni.training.extras import EXTRAS
from sphuni.training.further import Further, further
from sphuni.training.runner import Outcome
from sphuni.training.statistics import (
    CONFIRMED,
    OPEN,
    Paired,
    Ranks,
    holm,
    lower_is_better,
    mean_ranks,
    paired,
    verdict,
)

__all__ = ["CaseTable", "ClaimRow", "Comparison", "MethodRow", "compare"]


@dataclasses.dataclass(frozen=True)
class MethodRow:
    """One method on one data set.

    Attributes
    ----------
    arm, label : str
    seeds, failed : int
        Runs that ended, and runs that diverged.
    mean, deviation : float
        Of the metric at the last epoch.
    difference : Paired
        To the reference, seed by seed.
    adjusted : float
        p-value after Holm's correction over all methods of the data set.
    rank : float
        Mean rank over seeds.
    chosen : dict
        Values that selection chose.
    seconds : float
        Median time of a run: one that was held up counts for no more than others.
    """

    arm: str
    label: str
    seeds: int
    failed: int
    mean: float
    deviation: float
    difference: Paired
    adjusted: float
    rank: float
    chosen: dict[str, Any]
    seconds: float


@dataclasses.dataclass(frozen=True)
class CaseTable:
    """All methods on one data set.

    Attributes
    ----------
    case, label, metric, reference : str
    rows : tuple of MethodRow
    ranks : Ranks
    further : tuple of Further
    """

    case: str
    label: str
    metric: str
    reference: str
    rows: tuple[MethodRow, ...]
    ranks: Ranks
    further: tuple[Further, ...] = ()


@dataclasses.dataclass(frozen=True)
class ClaimRow:
    """What became of a claim on one data set.

    Attributes
    ----------
    claim : Claim
    case, label : str
    better, worse : float
        Means of the metric over the seeds that are compared.
    difference : Paired
    adjusted : float
    adjusted_low, adjusted_high : float
        The interval at the level of this claim's step of Holm's method.
    failed : int
        Runs of the two methods that diverged.
    verdict : str
    """

    claim: Claim
    case: str
    label: str
    better: float
    worse: float
    difference: Paired
    adjusted: float
    adjusted_low: float
    adjusted_high: float
    failed: int
    verdict: str


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Everything that the tables of an experiment say.

    Attributes
    ----------
    experiment : Experiment
    cases : tuple of CaseTable
    claims : tuple of ClaimRow
    overall : Ranks or None
        Over all seeds of all data sets, for the methods that ran on all of them.
    overall_arms : tuple of str
    runs, failed : int
    hours : float
        Of training, selection included.
    extra : str
        What else the experiment shows, as Markdown.
    """

    experiment: Experiment
    cases: tuple[CaseTable, ...]
    claims: tuple[ClaimRow, ...]
    overall: Ranks | None
    overall_arms: tuple[str, ...]
    runs: int
    failed: int
    hours: float
    extra: str = ""


def compare(results: Results) -> Comparison:
    """Compare all methods of an experiment and judge its claims.

    Parameters
    ----------
    results : Results

    Returns
    -------
    Comparison
        Differences are paired by seed; a run that diverged takes its pair out and is counted.
    """
    experiment, finals = results.experiment, results.finals
    for metric in (experiment.metric, *experiment.further):
        _check_metric(metric, finals)
    for claim in experiment.claims:
        runs = [run for run in finals if run.arm == claim.better]
        _check_metric(claim.metric, runs, claim.epoch)
    grid = _Grid(finals)
    cases = [case for case in experiment.cases if grid.has(case.name)]
    tables = tuple(_case_table(experiment, case, grid) for case in cases)
    arms, overall = _overall(experiment, cases, grid)
    return Comparison(
        experiment,
        tables,
        tuple(_claims(experiment, cases, grid)),
        overall,
        arms,
        len(results.outcomes),
        sum(outcome.status == "failed" for outcome in results.outcomes),
        sum(outcome.seconds for outcome in results.outcomes) / 3600,
        EXTRAS[experiment.name](results) if experiment.name in EXTRAS and finals else "",
    )


def _check_metric(metric: str, finals: Sequence[Outcome], epoch: int = 0) -> None:
    """Refuse a metric that no log has."""
    done = [outcome for outcome in finals if outcome.status == "done" and outcome.rows]
    epochs = {0, epoch}
    if done and all(math.isnan(run.last(metric, number)) for run in done for number in epochs):
        logged = sorted({key for row in done[0].rows for key in row if "." in key})
        near = get_close_matches(metric, logged, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"metric {metric!r} is in no log; logged are {', '.join(logged)}.{hint}")


class _Grid:
    """The final runs by case, arm and seed."""

    def __init__(self, finals: Sequence[Outcome]) -> None:
        self.cells = {(o.case, o.arm, o.seed): o for o in finals}

    def has(self, case: str, arm: str | None = None) -> bool:
        return any(key[0] == case and arm in (None, key[1]) for key in self.cells)

    def runs(self, case: str, arm: str) -> list[Outcome]:
        return [self.cells[key] for key in sorted(self.cells) if key[:2] == (case, arm)]

    def seeds(self, case: str, arm: str) -> set[int]:
        return {key[2] for key in self.cells if key[:2] == (case, arm)}

    def values(self, case: str, arm: str, seeds: Sequence[int], metric: str, epoch: int = 0) -> Any:
        cells = (self.cells.get((case, arm, seed)) for seed in seeds)
        return np.array(
            [math.nan if cell is None else cell.last(metric, epoch) for cell in cells], dtype=float
        )

    def ranked(self, case: str, arm: str, seeds: Sequence[int], metric: str) -> Any:
        """Values in which a run that diverged is the worst there is."""
        values = self.values(case, arm, seeds, metric)
        worst = math.inf if lower_is_better(metric) else -math.inf
        for k, seed in enumerate(seeds):
            cell = self.cells.get((case, arm, seed))
            if cell is not None and cell.status == "failed":
                values[k] = worst
        return values


def _case_table(experiment: Experiment, case: Case, grid: _Grid) -> CaseTable:
    metric = experiment.metric
    arms = [arm for arm in experiment.arms if grid.has(case.name, arm.name)]
    reference = experiment.reference or experiment.arms[0].name
    seeds = sorted(set().union(*(grid.seeds(case.name, arm.name) for arm in arms)))
    values = {arm.name: grid.values(case.name, arm.name, seeds, metric) for arm in arms}
    base = values.get(reference, np.full(len(seeds), math.nan))
    ranked = [grid.ranked(case.name, arm.name, seeds, metric) for arm in arms]
    ranks = mean_ranks(np.stack(ranked, axis=1), lower=lower_is_better(metric))
    differences = [paired(values[arm.name], base) for arm in arms]
    compared = [k for k, arm in enumerate(arms) if arm.name != reference]
    adjusted = dict(zip(compared, holm([differences[k].p for k in compared]), strict=True))
    rows = []
    for k, arm in enumerate(arms):
        runs = grid.runs(case.name, arm.name)
        finite = values[arm.name][np.isfinite(values[arm.name])]
        rows.append(
            MethodRow(
                arm.name,
                arm.label or arm.name,
                finite.size,
                sum(run.status == "failed" for run in runs),
                float(finite.mean()) if finite.size else math.nan,
                float(finite.std(ddof=1)) if finite.size > 1 else math.nan,
                differences[k],
                adjusted.get(k, math.nan),
                ranks.mean[k],
                runs[0].candidate,
                float(np.median([run.seconds for run in runs])),
            )
        )
    others = tuple(
        further(
            name,
            {arm.name: grid.values(case.name, arm.name, seeds, name) for arm in arms},
            main=metric,
            main_values=values,
            reference=reference,
        )
        for name in experiment.further
    )
    label = case.label or case.name
    return CaseTable(case.name, label, metric, reference, tuple(rows), ranks, others)


def _claims(experiment: Experiment, cases: Sequence[Case], grid: _Grid) -> list[ClaimRow]:
    """Judge every claim on every data set; Holm's correction is within a family and data set."""
    found: list[ClaimRow] = []
    for case in experiment.cases:
        present = case in cases
        claims = [c for c in experiment.claims if not c.cases or case.name in c.cases]
        for family in dict.fromkeys(claim.family for claim in claims):
            part = [claim for claim in claims if claim.family == family]
            measured = [_measure(claim, case, grid if present else _Grid([])) for claim in part]
            adjusted = holm([result.p for result, *_ in measured])
            levels = _holm_levels([result.p for result, *_ in measured])
            for claim, (result, better, worse, failed), p, level in zip(
                part, measured, adjusted, levels, strict=True
            ):
                low, high = (
                    result.interval(1 - level) if result.pairs > 1 else (-math.inf, math.inf)
                )
                judged = verdict(result, p, lower=lower_is_better(claim.metric))
                diverged = any(run.status == "failed" for run in grid.runs(case.name, claim.better))
                if judged == CONFIRMED and diverged:
                    judged = OPEN  # the seeds that are left are not all there were
                label = case.label or case.name
                found.append(
                    ClaimRow(
                        claim, case.name, label, better, worse, result, p, low, high, failed, judged
                    )
                )
    return found


def _measure(claim: Claim, case: Case, grid: _Grid) -> tuple[Paired, float, float, int]:
    """The paired difference of a claim, both means over the pairs, and how many runs failed."""
    seeds = sorted(grid.seeds(case.name, claim.better))
    better = grid.values(case.name, claim.better, seeds, claim.metric, claim.epoch)
    if claim.than is not None:
        worse = np.full(len(seeds), claim.than)
    else:
        worse = grid.values(case.name, claim.worse, seeds, claim.metric, claim.epoch)
    both = np.isfinite(better) & np.isfinite(worse)
    failed = sum(
        run.status == "failed"
        for arm in (claim.better, claim.worse)
        for run in grid.runs(case.name, arm)
    )
    means = [float(one[both].mean()) if both.any() else math.nan for one in (better, worse)]
    return paired(better, worse), means[0], means[1], failed


def _holm_levels(pvalues: Sequence[float], level: float = 0.05) -> list[float]:
    """The level at which Holm's method tests each p-value: level / m for the least, and so on.

    It stops at the first that is not below its level; that level stays for all above, so that an
    interval excludes zero where the adjusted p-value is below `level`, and only there.
    """
    known = sorted((p, k) for k, p in enumerate(pvalues) if not math.isnan(p))
    levels = [level] * len(pvalues)
    reached, stopped = level, False
    for rank, (p, k) in enumerate(known):
        reached = reached if stopped else level / (len(known) - rank)
        stopped = stopped or p >= reached
        levels[k] = reached
    return levels


def _overall(
    experiment: Experiment, cases: Sequence[Case], grid: _Grid
) -> tuple[tuple[str, ...], Ranks | None]:
    """Ranks over the seeds of all data sets together, if there are several."""
    arms = [
        arm.name
        for arm in experiment.arms
        if cases and all(grid.has(case.name, arm.name) for case in cases)
    ]
    if len(cases) < 2 or len(arms) < 2:
        return tuple(arms), None
    blocks = []
    for case in cases:
        seeds = sorted(set.intersection(*(grid.seeds(case.name, arm) for arm in arms)))
        columns = [grid.ranked(case.name, arm, seeds, experiment.metric) for arm in arms]
        blocks.append(np.stack(columns, axis=1))
    ranks = mean_ranks(np.concatenate(blocks), lower=lower_is_better(experiment.metric))
    return tuple(arms), ranks
