"""What resampling of groups of rows shares."""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from sphuni._arrays import check_points
from sphuni._typing import Points
from sphuni.pairwise import pair_reduce
from sphuni.stats import _registry
from sphuni.stats._base import UniformityTest
from sphuni.stats.classical import Bingham, Rayleigh
from sphuni.stats.sobolev import SobolevTest

__all__ = ["build_sobolev", "check_one_set", "group_numbers", "row_sums", "within_groups"]

_FLOAT = NDArray[np.float64]


def check_one_set(points: Points, level: float) -> None:
    check_points(points)
    if points.ndim != 2:
        raise ValueError(f"points must be one set of shape (n, d); got {tuple(points.shape)}")
    if not 0 < level < 1:
        raise ValueError(f"level must be a confidence strictly between 0 and 1; got {level}")


def build_sobolev(test: str | UniformityTest, parameters: dict[str, Any]) -> SobolevTest:
    built = _registry.build(test, parameters)
    if not isinstance(built, SobolevTest):
        raise ValueError(
            f"test {built.name!r} has no kernel; take a Sobolev test such as 'gine_fn' or 'pad'"
        )
    if built.antipodal:
        raise ValueError("lines have no effect size of their own yet; leave out antipodal=True")
    return built


def group_numbers(
    n: int, clusters: ArrayLike | None, block_length: int | None
) -> NDArray[np.int64]:
    """Number every row's group from 0."""
    if clusters is not None and block_length is not None:
        raise ValueError("give clusters or block_length, not both")
    if block_length is not None:
        if not 1 <= block_length <= n:
            raise ValueError(f"block_length must lie in 1 .. n = {n}; got {block_length}")
        return np.arange(n) // block_length
    if clusters is None:
        return np.arange(n)
    labels = np.asarray(clusters)
    if labels.shape != (n,):
        raise ValueError(f"clusters must have shape ({n},), one label a row; got {labels.shape}")
    absent = next((row for row, label in enumerate(labels) if _is_missing(label)), None)
    if absent is not None:
        raise ValueError(
            f"clusters must not hold missing labels; row {absent} has {labels[absent]}. Drop such "
            "rows, or give each a label of its own"
        )
    return np.asarray(np.unique(labels, return_inverse=True)[1]).reshape(-1)


def _is_missing(label: Any) -> bool:
    """Whether a label is None, NaN, NaT or pandas' NA: those equal nothing, not even themselves."""
    same = label == label
    return label is None or not (isinstance(same, bool | np.bool_) and bool(same))


def row_sums(x: Tensor, test: SobolevTest, other: Tensor | None = None) -> _FLOAT:
    """Sum of psi(x_i . y_j) over the rows of `other`, or over those of x with j != i, for all i."""
    d = x.shape[1]
    count, own = (x.shape[0] - 1, 1.0) if other is None else (other.shape[0], 0.0)
    y = x if other is None else other
    if isinstance(test, Rayleigh):
        return np.asarray((d * (x @ y.sum(0) - own)).numpy())
    if isinstance(test, Bingham):
        quadratic = torch.einsum("id,de,ie->i", x, y.mT @ y, x)
        return np.asarray((0.5 * (d + 2) * (d * (quadratic - own) - count)).numpy())
    terms = test.psi_terms(d)
    kernels = [term.kernel for term in terms]
    rows = pair_reduce(x, *([] if other is None else [other]), kernel=kernels, op="rows")
    factors = torch.tensor([term.factor for term in terms], dtype=torch.float64)
    means = sum(term.factor * term.kernel.mean(d) for term in terms)
    return np.asarray(0.5 * (rows @ factors - count * means).numpy())


def within_groups(x: Tensor, test: SobolevTest, groups: NDArray[np.int64]) -> _FLOAT:
    """Sum of psi over ordered pairs within each group."""
    sums = np.zeros(int(groups.max()) + 1)
    order = np.argsort(groups, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        if rows.size > 1:
            sums[groups[rows[0]]] = row_sums(x[torch.from_numpy(rows)], test).sum()
    return sums
