"""Effect sizes with jackknife and bootstrap intervals."""

import dataclasses
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from sphuni._arrays import result_function
from sphuni._numbers import whole
from sphuni._result import Result
from sphuni._rng import numpy_generator
from sphuni._typing import Points, Seed
from sphuni.sphere import float64_rows
from sphuni.stats._groups import (
    build_sobolev,
    check_one_set,
    group_numbers,
    row_sums,
    within_groups,
)
from sphuni.stats.sobolev import SobolevTest

__all__ = ["EffectResult", "effect_size"]

_FLOAT = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, repr=False)
class EffectResult(Result):
    """How far points are from uniform, with an interval.

    Attributes
    ----------
    test : str
        Name of the test whose kernel measures the distance.
    estimate : float
        Mean of the kernel over pairs of independent rows, in standard deviations that a pair of
        uniform points gives: 0 for uniform points, whatever n.
    low, high : float
        Interval.
    standard_error : float
        Of the estimate.
    level : float
        Confidence of the interval.
    method : str
        "jackknife" or "bootstrap".
    n, d : int
        Number of points and ambient dimension.
    n_groups : int
        Independent groups of rows: n where no clusters or blocks were given.
    """

    test: str
    estimate: float
    low: float
    high: float
    standard_error: float
    level: float
    method: str
    n: int
    d: int
    n_groups: int


@result_function()
def effect_size(
    points: Points,
    /,
    test: str = "gine_fn",
    *,
    clusters: ArrayLike | None = None,
    block_length: int | None = None,
    method: str = "jackknife",
    level: float = 0.95,
    n_resamples: int = 999,
    rng: Seed = None,
    **parameters: Any,
) -> EffectResult:
    r"""Estimate the distance of the points' law from uniform, with an interval.

    Parameters
    ----------
    points : array of shape (n, d)
        Unit rows.
    test : str, default "gine_fn"
        A Sobolev test; its kernel psi defines the distance.
    clusters : array_like of shape (n,), optional
        Labels of groups of rows that may depend on each other.
    block_length : int, optional
        Take successive runs of so many rows as the groups, for rows in the order of time.
    method : {"jackknife", "bootstrap"}, default "jackknife"
        "jackknife" leaves out one group at a time; "bootstrap" redraws groups with replacement and
        gives the interval of the middle of its distribution.
    level : float, default 0.95
        Confidence.
    n_resamples, rng
        Of the bootstrap.
    **parameters
        Parameters of the test.

    Returns
    -------
    EffectResult

    Raises
    ------
    ValueError
        If the test has no kernel, or there are fewer than 3 groups.

    Notes
    -----
    The estimate is the U-form :math:`\binom n2^{-1} \sum \psi(x_i \cdot x_j) / \sqrt{E \psi^2}`
    over pairs from different groups: unbiased for :math:`E\psi(X \cdot Y) / \sqrt{E\psi^2}`, which
    is 0 if and only if the harmonics that the test sees vanish. Small differences that a test
    finds at n = 100,000 stay small here. Close to uniform the U-statistic is degenerate: its law is
    skewed, and the interval, which is then too long rather than too short below, contains 0.
    The jackknife costs one pass over the pairs, the bootstrap O(n^2) memory of a group matrix.

    References
    ----------
    J. N. Arvesen, "Jackknifing U-statistics", Annals of Mathematical Statistics 40 (1969)
    2076-2100, doi:10.1214/aoms/1177697287.

    Examples
    --------
    >>> from sphuni.distributions import von_mises_fisher
    >>> result = effect_size(von_mises_fisher(400, 3, kappa=1.0, rng=1), "rayleigh")
    >>> result.low < 0.17 < result.high  # sqrt(d) |E x|^2, |E x| = coth(1) - 1
    True
    """
    check_one_set(points, level)
    whole("n_resamples", n_resamples, 2)
    built = build_sobolev(test, parameters)
    n, d = points.shape
    groups = group_numbers(n, clusters, block_length)
    count = int(groups.max()) + 1
    if count < 3:
        raise ValueError(f"points must fall into at least 3 groups; got {count}")
    scale = float(np.sqrt(built.second_moment(d)))
    if not np.isfinite(scale):
        raise ValueError(
            f"test {built.name!r} has no effect size in R^{d}, as its kernel has no variance; take "
            "another, such as 'gine_fn'"
        )
    if method == "jackknife":
        estimate, error = _jackknife(points, built, groups, scale)
        half = _normal_quantile(level) * error
        low, high = estimate - half, estimate + half
    elif method == "bootstrap":
        estimate, draws = _bootstrap(points, built, groups, scale, n_resamples, rng)
        error = float(draws.std(ddof=1))
        low, high = map(float, np.quantile(draws, (0.5 - level / 2, 0.5 + level / 2)))
    else:
        raise ValueError(f"method must be 'jackknife' or 'bootstrap'; got {method!r}")
    return EffectResult(built.name, estimate, low, high, error, level, method, n, d, count)


def _jackknife(
    points: Points, test: SobolevTest, groups: NDArray[np.int64], scale: float
) -> tuple[float, float]:
    """U-statistic over pairs from different groups, and its delete-one-group standard error."""
    x = float64_rows(points.detach().cpu())
    n = x.shape[0]
    sizes = np.bincount(groups).astype(np.float64)
    touching = np.bincount(groups, weights=row_sums(x, test)) - within_groups(x, test, groups)
    total, pairs = 0.5 * touching.sum(), 0.5 * (n * n - (sizes**2).sum())
    left = pairs - sizes * (n - sizes)
    replicates = (total - touching) / left / scale
    count = sizes.size
    spread = replicates - replicates.mean()
    error = float(np.sqrt((count - 1) / count * (spread**2).sum()))
    return float(total / pairs / scale), error


def _bootstrap(
    points: Points,
    test: SobolevTest,
    groups: NDArray[np.int64],
    scale: float,
    n_resamples: int,
    rng: Seed,
) -> tuple[float, _FLOAT]:
    """U-statistic of groups redrawn with replacement; copies of one group never meet."""
    x = float64_rows(points.detach().cpu())
    between = _group_matrix(x, test, groups)
    sizes = np.bincount(groups).astype(np.float64)
    weight = np.outer(sizes, sizes)
    np.fill_diagonal(weight, 0.0)
    generator = numpy_generator(rng)
    count = sizes.size
    draws = np.empty(n_resamples)
    for index in range(n_resamples):
        times = generator.multinomial(count, np.full(count, 1.0 / count)).astype(np.float64)
        while times.max() == count:  # one group alone has no pairs
            times = generator.multinomial(count, np.full(count, 1.0 / count)).astype(np.float64)
        draws[index] = (times @ between @ times) / (times @ weight @ times)
    return float(between.sum() / weight.sum() / scale), draws / scale


def _group_matrix(x: Tensor, test: SobolevTest, groups: NDArray[np.int64]) -> _FLOAT:
    """Sums of psi between every two groups, zero on the diagonal."""
    columns = []
    for group in range(int(groups.max()) + 1):
        rows = row_sums(x, test, x[torch.from_numpy(groups == group)])
        columns.append(np.bincount(groups, weights=rows))
    total = np.stack(columns, axis=1).astype(np.float64)
    np.fill_diagonal(total, 0.0)
    return total


def _normal_quantile(level: float) -> float:
    from scipy import special

    return float(special.ndtri(0.5 + 0.5 * level))
