"""Several tests of the same points, adjusted by their joint null law."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from sphuni._arrays import check_points, result_function
from sphuni._numbers import whole
from sphuni._result import Result
from sphuni._rng import seeds
from sphuni._typing import Array, Points, Seed
from sphuni._workers import check_workers
from sphuni.sphere import float64_rows
from sphuni.stats import _registry
from sphuni.stats._base import UniformityTest
from sphuni.stats.laws.monte_carlo import tie_slack
from sphuni.stats.nulls._pvalues import warn_of_infinity
from sphuni.stats.nulls._sets import exact_statistics
from sphuni.stats.nulls._simulate import simulate_tests

__all__ = ["JointResult", "joint_tests"]

_FLOAT = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, repr=False)
class JointResult(Result):
    """Tests of the same points with p-values adjusted for each other.

    Attributes
    ----------
    tests : tuple of str
        Names.
    statistics : array of shape (k,)
        One per test.
    pvalues : array of shape (k,)
        Monte-Carlo p-values, each test by itself.
    adjusted : array of shape (k,)
        Step-down max-T p-values: the chance of any false rejection is at most the level.
    pvalue : float
        Of the hypothesis that the points are uniform: the smallest adjusted one.
    tail : str
        "upper", "lower" or "two_sided".
    n_resamples : int
        Simulated uniform sets.
    n, d : int
        Number of points and ambient dimension.
    """

    tests: tuple[str, ...]
    statistics: Array
    pvalues: Array
    adjusted: Array
    pvalue: float
    tail: str
    n_resamples: int
    n: int
    d: int


@result_function()
def joint_tests(
    points: Points,
    /,
    tests: Sequence[str | UniformityTest],
    *,
    tail: str = "upper",
    n_resamples: int = 9999,
    rng: Seed = None,
    workers: int = 1,
) -> JointResult:
    r"""Run tests of uniformity whose p-values are adjusted by their joint null law (max-T).

    Parameters
    ----------
    points : array of shape (n, d)
        Unit rows.
    tests : sequence of str
        Names listed by `available_tests`.
    tail : {"upper", "lower", "two_sided"}, default "upper"
        Clustered, more regular than chance, or either.
    n_resamples : int, default 9999
        Simulated uniform sets; all tests see the same ones.
    rng : int, numpy Generator, torch Generator or None
        Seed; the answer does not depend on `workers`.
    workers : int, default 1
        Processes.

    Returns
    -------
    JointResult

    Notes
    -----
    Every statistic is replaced by its p-value among the simulated ones, so that no test outweighs
    another, and the smallest of them is compared with the smallest ones that uniform sets give
    (Westfall and Young's min-P). Tests of uniformity are strongly dependent: with ten of them Holm
    multiplies the smallest p by 10, this by 3 or so. The p-values are exact at any n.

    References
    ----------
    P. H. Westfall, S. S. Young, "Resampling-based multiple testing", Wiley, 1993.

    Y. Ge, S. Dudoit, T. P. Speed, "Resampling-based multiple testing for microarray data analysis",
    TEST 12 (2003) 1-77, doi:10.1007/BF02595811.

    Examples
    --------
    >>> from sphuni import random_points
    >>> x = random_points(20, 3, rng=1)
    >>> result = joint_tests(x, ["rayleigh", "bingham", "pad"], n_resamples=199, rng=0)
    >>> bool((result.adjusted >= result.pvalues).all()), len(result.tests)
    (True, 3)
    """
    check_points(points)
    if points.ndim != 2:
        raise ValueError(f"points must be one set of shape (n, d); got {tuple(points.shape)}")
    if tail not in ("upper", "lower", "two_sided"):
        raise ValueError(f"tail must be 'upper', 'lower' or 'two_sided'; got {tail!r}")
    whole("n_resamples", n_resamples, 1)
    if isinstance(tests, str):
        raise TypeError(f"tests must be a sequence of names; got {tests!r}")
    if not len(tests):
        raise ValueError("tests must hold at least one name")
    n, d = points.shape
    built = [_registry.build(test, {}) for test in tests]
    for test in built:
        test.check(n, d)
    count = check_workers(workers)
    x = float64_rows(points.detach().cpu())
    with torch.no_grad():
        observed = exact_statistics(x[None], built, d)
    null = simulate_tests(built, n, d, n_resamples, rng=seeds(rng, 1)[0], workers=count)
    pool = _pooled_pvalues(np.concatenate([observed, null]), tail)
    adjusted = _step_down(pool)
    for place, test in enumerate(built):
        if np.isnan(observed[0, place]):
            warn_of_infinity(test, torch.tensor(observed[0, place]), stacklevel=4)
            pool[0, place] = adjusted[place] = np.nan
    return JointResult(
        tests=tuple(test.name for test in built),
        statistics=observed[0],
        pvalues=pool[0].copy(),
        adjusted=adjusted,
        pvalue=float(np.nanmin(adjusted)) if not np.isnan(adjusted).all() else np.nan,
        tail=tail,
        n_resamples=n_resamples,
        n=n,
        d=d,
    )


def _pooled_pvalues(pool: _FLOAT, tail: str) -> _FLOAT:
    """p-value of every row of the pool within each column, ties counted on both sides."""
    if tail == "lower":
        return _upper_pvalues(-pool)
    if tail == "upper":
        return _upper_pvalues(pool)
    return np.minimum(1.0, 2.0 * np.minimum(_upper_pvalues(pool), _upper_pvalues(-pool)))


def _upper_pvalues(pool: _FLOAT) -> _FLOAT:
    size = len(pool)
    out = np.empty_like(pool)
    for j, column in enumerate(pool.T):
        if np.isnan(column[0]):
            out[:, j] = 1.0  # no evidence, neither here nor in the smallest of all
            continue
        finite = column[np.isfinite(column)]
        slack = tie_slack(finite.min(), finite.max()) if finite.size else 0.0
        above = size - np.searchsorted(np.sort(column), column - slack, side="left")
        out[:, j] = above / size
    return out


def _step_down(pool: _FLOAT) -> _FLOAT:
    """Adjusted p-values of the first row: the least of the tests that are not yet rejected."""
    order = np.argsort(pool[0], kind="stable")
    adjusted = np.empty(pool.shape[1])
    least = np.minimum.accumulate(pool[:, order[::-1]], axis=1)[:, ::-1]
    running = 0.0
    for place, j in enumerate(order):
        share = float((least[:, place] <= pool[0, j] + 1e-12).mean())
        running = max(running, share)
        adjusted[j] = running
    return adjusted
