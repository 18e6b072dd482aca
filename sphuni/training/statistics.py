"""Paired comparisons: intervals, corrections for many of them, ranks over data sets."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy import stats as distributions

from sphuni.stats.multiplicity import adjust_pvalues

__all__ = [
    "Paired",
    "Ranks",
    "Verdict",
    "holm",
    "lower_is_better",
    "mean_ranks",
    "paired",
    "verdict",
]

Verdict = str
CONFIRMED, OPEN, FAILED = "confirmed", "not contradicted", "not reproduced"
_FEWEST = 3
NOT_RUN, ONE_SEED = "not run", "one seed"
_ZERO = 1e-4
_HIGHER = ("accuracy", "recall", "positives", "score", "separation", "area", "rank")


@dataclasses.dataclass(frozen=True)
class Paired:
    """A mean of paired differences.

    Attributes
    ----------
    pairs : int
        Seeds for which both numbers exist.
    mean, deviation : float
        Of the differences; `deviation` is that of one difference.
    low, high : float
        The 95 % t interval of the mean.
    p : float
        Two-sided p-value of the paired t test; NaN for fewer than two pairs.
    """

    pairs: int
    mean: float
    deviation: float
    low: float
    high: float
    p: float

    def interval(self, level: float) -> tuple[float, float]:
        """Return the t interval at another level, such as 0.99."""
        half = _half_width(self.pairs, self.deviation, level)
        return self.mean - half, self.mean + half


@dataclasses.dataclass(frozen=True)
class Ranks:
    """Mean ranks of methods over blocks, 1 the best.

    Attributes
    ----------
    mean : tuple of float
    blocks : int
    p : float
        Of Friedman's test that all methods are alike.
    critical : float
        Nemenyi's critical difference of two mean ranks at the level 0.05.
    """

    mean: tuple[float, ...]
    blocks: int
    p: float
    critical: float


def paired(first: ArrayLike, second: ArrayLike) -> Paired:
    r"""Compare two methods seed by seed.

    Parameters
    ----------
    first, second : array_like of shape (seeds,)
        The same seeds in the same order; pairs with a NaN (a failed run) are left out.

    Returns
    -------
    Paired
        Of the differences first - second.

    Notes
    -----
    The interval is mean +- t s / sqrt(n), with t the 97.5 % point of Student's law of n - 1
    degrees of freedom. Differences without any variance give p = 0, or 1 if they are all zero.

    Examples
    --------
    >>> result = paired([5.0, 6.0, 7.0], [6.0, 8.0, 8.0])
    >>> round(result.mean, 4), round(result.low, 4), round(result.p, 4)
    (-1.3333, -2.7676, 0.0572)
    """
    difference = np.asarray(first, float) - np.asarray(second, float)
    difference = difference[np.isfinite(difference)]
    n = difference.size
    if n == 0:
        return Paired(0, math.nan, math.nan, math.nan, math.nan, math.nan)
    mean = float(difference.mean())
    if n == 1:
        return Paired(1, mean, math.nan, -math.inf, math.inf, math.nan)
    deviation = float(difference.std(ddof=1))
    half = _half_width(n, deviation, 0.95)
    if deviation == 0.0:
        p = 1.0 if mean == 0.0 else 0.0
    else:
        p = float(2 * distributions.t.sf(abs(mean) / (deviation / math.sqrt(n)), n - 1))
    return Paired(n, mean, deviation, mean - half, mean + half, p)


def holm(pvalues: Sequence[float]) -> list[float]:
    """Return p-values adjusted by Holm's method; NaN (a comparison that was not made) stays.

    Examples
    --------
    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    known = [k for k, p in enumerate(pvalues) if not math.isnan(p)]
    adjusted = [math.nan] * len(pvalues)
    if known:
        values = torch.tensor([pvalues[k] for k in known], dtype=torch.float64)
        for k, value in zip(known, adjust_pvalues(values, method="holm").tolist(), strict=True):
            adjusted[k] = float(value)
    return adjusted


def verdict(result: Paired, adjusted: float, *, lower: bool, level: float = 0.05) -> Verdict:
    """Judge the claim that the first of two methods is better.

    Parameters
    ----------
    result : Paired
        Of first - second.
    adjusted : float
        Its p-value after correction.
    lower : bool
        Whether lower is better.
    level : float, default 0.05

    Returns
    -------
    str
        "confirmed" if the difference has the claimed sign and `adjusted` < `level`, that is, the
        adjusted interval excludes zero, with three pairs or more: two differences of errors that
        are counted in whole samples may be equal by chance. "not contradicted" if the mean has the
        claimed sign only. "not reproduced" otherwise: the mean is zero (to a ten-thousandth of the
        deviation) or has the other sign. "one seed" for one pair, which has no interval, "not run"
        for none.
    """
    if result.pairs < 2:
        return ONE_SEED if result.pairs else NOT_RUN
    gain = -result.mean if lower else result.mean
    if not gain > _ZERO * result.deviation:
        return FAILED
    return CONFIRMED if adjusted < level and result.pairs >= _FEWEST else OPEN


def lower_is_better(metric: str) -> bool:
    """Return the direction that a metric's name implies.

    Examples
    --------
    >>> lower_is_better("test.error"), lower_is_better("test.recall@5")
    (True, False)
    """
    return not any(word in metric for word in _HIGHER)


def mean_ranks(values: ArrayLike, *, lower: bool = True) -> Ranks:
    r"""Rank methods within blocks (a data set and a seed), and test whether they differ at all.

    Parameters
    ----------
    values : array_like of shape (blocks, methods)
        Blocks with a NaN are left out.
    lower : bool, default True
        Whether lower is better.

    Notes
    -----
    Friedman's test with the correction for ties; Nemenyi's critical difference is
    q sqrt(k (k+1) / (6 n)), with q the studentised range over sqrt 2 for k methods.

    References
    ----------
    J. Demsar, "Statistical comparisons of classifiers over multiple data sets", JMLR 7, 2006.

    Examples
    --------
    >>> result = mean_ranks([[1, 2, 3], [1, 3, 2], [1, 2, 3], [2, 1, 3]])
    >>> result.mean, round(result.p, 4)
    ((1.25, 2.0, 2.75), 0.1054)
    """
    table = np.atleast_2d(np.asarray(values, float))
    table = table[~np.isnan(table).any(axis=1)]
    n, k = table.shape
    if n == 0:
        return Ranks((math.nan,) * k, 0, math.nan, math.nan)
    ranks = distributions.rankdata(table if lower else -table, axis=1)
    means = ranks.mean(axis=0)
    spread = ((ranks - (k + 1) / 2) ** 2).sum() / (k - 1) if k > 1 else 0.0
    if n < 2 or spread == 0.0:
        return Ranks(tuple(map(float, means)), n, math.nan, math.nan)
    statistic = n * n * ((means - (k + 1) / 2) ** 2).sum() / spread
    p = float(distributions.chi2.sf(statistic, k - 1))
    q = float(distributions.studentized_range.ppf(0.95, k, np.inf)) / math.sqrt(2)
    return Ranks(tuple(map(float, means)), n, p, q * math.sqrt(k * (k + 1) / (6 * n)))


def _half_width(n: int, deviation: float, level: float) -> float:
    if n < 2:
        return math.inf
    return float(distributions.t.ppf(0.5 + level / 2, n - 1)) * deviation / math.sqrt(n)
