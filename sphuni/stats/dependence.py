"""Tests for rows that depend on each other within groups."""

import dataclasses
import math
from collections.abc import Callable
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
from sphuni.stats import _registry
from sphuni.stats._base import UniformityTest
from sphuni.stats._groups import build_sobolev, check_one_set, group_numbers, within_groups
from sphuni.stats.nulls._pvalues import warn_of_infinity
from sphuni.stats.nulls._sets import exact_statistics
from sphuni.stats.sobolev import SobolevTest

__all__ = ["ClusterTestResult", "cluster_test", "effective_n"]

_FLOAT = NDArray[np.float64]
_CHUNK_NUMBERS = 1 << 20


@dataclasses.dataclass(frozen=True, repr=False)
class ClusterTestResult(Result):
    """A test of uniformity for rows that depend on each other within groups.

    Attributes
    ----------
    test : str
        Name of the test.
    statistic : float
        Of the points as they are.
    pvalue, pvalue_lower, pvalue_two_sided : float
        Shares of rotated sets that are at least as clustered, or as regular; never 0.
    n_resamples : int
        Rotated sets.
    n, d : int
        Number of points and ambient dimension.
    n_groups : int
        Groups that were rotated.
    effective_n : float
        Independent points that would know as much; see `effective_n`. NaN where the test has no
        kernel of finite value at 1.
    """

    test: str
    statistic: float
    pvalue: float
    pvalue_lower: float
    pvalue_two_sided: float
    n_resamples: int
    n: int
    d: int
    n_groups: int
    effective_n: float


@result_function()
def cluster_test(
    points: Points,
    /,
    test: str | UniformityTest = "gine_fn",
    *,
    clusters: ArrayLike | None = None,
    block_length: int | None = None,
    n_resamples: int = 999,
    rng: Seed = None,
    **parameters: Any,
) -> ClusterTestResult:
    """Test uniformity of rows that depend on each other within groups.

    Parameters
    ----------
    points : array of shape (n, d)
        Unit rows.
    test : str, default "gine_fn"
        Name of the test.
    clusters : array_like of shape (n,), optional
        Labels of groups of rows that may depend on each other.
    block_length : int, optional
        Take successive runs of so many rows as the groups, for rows in the order of time.
    n_resamples : int, default 999
        Rotated sets.
    rng : int, numpy Generator, torch Generator or None
        Seed.
    **parameters
        Parameters of the test.

    Returns
    -------
    ClusterTestResult

    Notes
    -----
    Every group is turned by a random rotation of its own, which keeps what lies within groups and
    destroys what they have in common. If the groups are independent and the law of each does not
    change under rotations, the p-values are exact at any n, whatever the dependence within groups.
    Blocks of a time series are independent only approximately: take them much longer than its
    memory. With groups of one row this is the Monte-Carlo test of uniformity.

    References
    ----------
    E. L. Lehmann, J. P. Romano, "Testing Statistical Hypotheses", Springer, 2005, section 15.2,
    doi:10.1007/0-387-27605-X.

    Examples
    --------
    >>> import numpy as np
    >>> from sphuni import random_points
    >>> x = np.repeat(random_points(40, 3, rng=1), 5, axis=0)  # each row five times
    >>> result = cluster_test(x, "rayleigh", clusters=np.repeat(np.arange(40), 5), rng=0)
    >>> result.pvalue > 0.05, round(result.effective_n)
    (True, 40)
    """
    check_one_set(points, 0.5)
    whole("n_resamples", n_resamples, 1)
    built = _registry.build(test, parameters)
    n, d = points.shape
    built.check(n, d)
    groups = group_numbers(n, clusters, block_length)
    x = float64_rows(points.detach().cpu())
    with torch.no_grad():
        observed = float(exact_statistics(x[None], [built], d)[0, 0])
        turned = _rotated_statistics(x, built, groups, n_resamples, rng)
    slack = built.rounding(float(np.abs(turned[np.isfinite(turned)]).max(initial=0.0)))
    # a statistic that is not a number counts as extreme on either side
    upper = (1 + int((~(turned < observed - slack)).sum())) / (1 + n_resamples)
    lower = (1 + int((~(turned > observed + slack)).sum())) / (1 + n_resamples)
    if math.isnan(observed):
        warn_of_infinity(built, torch.tensor(observed), stacklevel=4)
        upper = lower = math.nan
    return ClusterTestResult(
        test=built.name,
        statistic=observed,
        pvalue=upper,
        pvalue_lower=lower,
        pvalue_two_sided=2 * min(upper, lower, 0.5) if upper == upper else math.nan,
        n_resamples=n_resamples,
        n=n,
        d=d,
        n_groups=int(groups.max()) + 1,
        effective_n=_effective(x, built, groups),
    )


@result_function()
def effective_n(
    points: Points,
    /,
    test: str = "rayleigh",
    *,
    clusters: ArrayLike | None = None,
    block_length: int | None = None,
    **parameters: Any,
) -> float:
    r"""Count the independent points that would know as much as dependent rows do.

    Parameters
    ----------
    points : array of shape (n, d)
        Unit rows.
    test : str, default "rayleigh"
        A Sobolev test with a kernel psi that is finite at 1.
    clusters, block_length
        Groups of rows, as in `cluster_test`.
    **parameters
        Parameters of the test.

    Returns
    -------
    float
        n over the factor by which dependence within groups inflates the null mean of the V-form,
        :math:`1 + \sum_{\text{pairs within groups}} 2 \psi(x_i \cdot x_j) / (n \psi(1))`; inf where
        rows within groups repel so much that the factor is not positive.

    References
    ----------
    L. Kish, "Survey Sampling", Wiley, 1965, section 8.2.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.repeat(np.eye(3), 4, axis=0)
    >>> effective_n(x, clusters=np.repeat([0, 1, 2], 4))
    3.0
    """
    check_one_set(points, 0.5)
    built = build_sobolev(test, parameters)
    if not np.isfinite(built.at_one(points.shape[-1])):
        raise ValueError(
            f"test {built.name!r} has an infinite kernel at coincident points; take another one"
        )
    groups = group_numbers(points.shape[0], clusters, block_length)
    return _effective(float64_rows(points.detach().cpu()), built, groups)


def _effective(x: Tensor, test: UniformityTest, groups: NDArray[np.int64]) -> float:
    n, d = x.shape
    if not isinstance(test, SobolevTest) or test.antipodal or not np.isfinite(test.at_one(d)):
        return float("nan")
    inflation = 1.0 + float(within_groups(x, test, groups).sum()) / (n * test.at_one(d))
    return n / inflation if inflation > 0 else float("inf")


def _rotated_statistics(
    x: Tensor,
    test: UniformityTest,
    groups: NDArray[np.int64],
    n_resamples: int,
    rng: Seed,
) -> _FLOAT:
    """Statistics of sets whose groups were turned independently."""
    n, d = x.shape
    generator = numpy_generator(rng)
    largest = int(np.bincount(groups).max())
    turn: Callable[[int], Tensor] = (
        (lambda many: _fresh(n, d, many, generator))
        if largest == 1
        else (lambda many: _turned(x, groups, many, generator))
    )
    step = max(1, _CHUNK_NUMBERS // (n * max(n, d)))
    counts = [min(step, n_resamples - start) for start in range(0, n_resamples, step)]
    return np.concatenate([exact_statistics(turn(many), [test], d)[:, 0] for many in counts])


def _fresh(n: int, d: int, many: int, generator: np.random.Generator) -> Tensor:
    rows = generator.standard_normal((many, n, d))
    return torch.from_numpy(rows / np.linalg.norm(rows, axis=-1, keepdims=True))


def _turned(
    x: Tensor, groups: NDArray[np.int64], many: int, generator: np.random.Generator
) -> Tensor:
    """Copies of x, every group by a random rotation of its own."""
    d = x.shape[1]
    out = torch.empty(many, *x.shape, dtype=torch.float64)
    order = np.argsort(groups, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        mine = x[torch.from_numpy(rows)]
        # a group of k rows spans k dimensions at most: k columns of a Haar matrix turn it
        right = np.linalg.svd(mine.numpy(), full_matrices=False)[2]
        rank = right.shape[0]
        q, r = np.linalg.qr(generator.standard_normal((many, d, rank)))
        q = q * np.sign(np.diagonal(r, axis1=-2, axis2=-1))[:, None, :]
        if rank == d:  # a mirrored group of a whole basis is not one that was turned
            q[:, :, 0] *= np.sign(np.linalg.det(q) * np.linalg.det(right))[:, None]
        inner = mine.numpy() @ right.T
        out[:, torch.from_numpy(rows)] = torch.from_numpy(inner @ np.swapaxes(q, -1, -2))
    return torch.nn.functional.normalize(out, dim=-1)
