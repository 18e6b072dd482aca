"""Energies of sets whose pairs are too many: an unbiased estimate with its standard error."""

import dataclasses
import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from sphuni._arrays import check_points, result_function, widen
from sphuni._result import Result
from sphuni._rng import torch_generator
from sphuni._typing import Array, Seed
from sphuni.kernels import Kernel
from sphuni.pairwise import pair_reduce

__all__ = ["SampledEnergy", "block_means", "sampled_energy"]

_BLOCK = 512
_FEWEST_BLOCKS = 8


@dataclasses.dataclass(frozen=True, repr=False)
class SampledEnergy(Result):
    """A mean energy estimated from some of the pairs.

    Attributes
    ----------
    value : array (...)
        Unbiased estimate of the mean over all unordered pairs.
    standard_error : array (...)
        Standard deviation of the estimate over the choice of pairs.
    pairs : int
        How many pairs were evaluated, per set.
    """

    better: ClassVar[str | None] = "lower"

    value: Array
    standard_error: Array
    pairs: int


@result_function()
def sampled_energy(
    points: Tensor,
    /,
    *,
    kernel: Kernel,
    pairs: int = 1 << 25,
    antipodal: bool = False,
    rng: Seed = None,
) -> SampledEnergy:
    r"""Estimate the mean energy of a large set from random blocks of pairs.

    Parameters
    ----------
    points : array of shape (..., n, d)
        Unit rows, n >= 32.
    kernel : Kernel
        With a finite variance over uniform pairs: for Riesz, 2 s < d - 1.
    pairs : int, default 2^25
        About how many pairs to evaluate, at least 8 blocks and at most as many as there are.
    antipodal : bool, default False
        The energy of the 2n points {x, -x}, the n constant pairs included.
    rng : int, generator or None

    Returns
    -------
    SampledEnergy

    Raises
    ------
    ValueError
        If the kernel's variance over uniform pairs is infinite: the few closest pairs then decide
        the energy, and a sample that misses them says nothing about its own error.

    Notes
    -----
    The rows are shuffled and cut into blocks of at most 512; every block of a shuffle is met with
    one other block, all rows with all rows, and shuffles are repeated until the pairs are many
    enough. Each pair of points is as likely as any other to be met, so the estimate is unbiased;
    the standard error is that of the mean of the blocks' means, and errs on the large side, since
    the blocks of a shuffle together hold every row once. A matrix product makes a pair some
    hundred times cheaper than a gather of random pairs. O(pairs * d) time, O(n + block) memory.

    Points that are far from uniform (clusters) make close pairs frequent; the standard error sees
    that as far as the sample does.

    References
    ----------
    W. Hoeffding, "A class of statistics with asymptotically normal distribution", Ann. Math.
    Stat. 19, 1948, 293-325. doi:10.1214/aoms/1177730196.
    G. Blom, "Some properties of incomplete U-statistics", Biometrika 63, 1976, 573-580.
    doi:10.1093/biomet/63.3.573.

    Examples
    --------
    >>> import sphuni
    >>> points = sphuni.random_points(20_000, 6, rng=0)
    >>> found = sphuni.geometry.sampled_energy(points, kernel=sphuni.Riesz(1.0), rng=0)
    >>> abs(found.value - sphuni.Riesz(1.0).mean(6)) < 1e-3
    np.True_
    """
    check_points(points)
    n, d = points.shape[-2:]
    if n < 4 * _FEWEST_BLOCKS:
        raise ValueError(
            f"points must have at least {4 * _FEWEST_BLOCKS} rows to sample their pairs; got {n}. "
            "Take kernel_energy, which is exact"
        )
    if pairs < 1:
        raise ValueError(f"pairs must be at least 1; got {pairs}")
    used = kernel.antipodal() if antipodal else kernel
    if not math.isfinite(used.variance(d)):
        raise ValueError(
            f"the kernel {kernel.label} has infinite variance over uniform pairs in d = {d}, so "
            "that no sample has a standard error. Take kernel_energy, which is exact, or a kernel "
            f"of lower order (Riesz with s < {(d - 1) / 2:g})"
        )
    generator = torch_generator(rng)
    flat = widen(points).reshape(-1, n, d)
    means = torch.stack([block_means(one, [used], pairs, generator)[:, 0] for one in flat])
    count, size = means.shape[1], _block_rows(n)
    value, error = means.mean(dim=1), means.std(dim=1) / math.sqrt(count)
    if antipodal:
        value = ((n - 1) * value + kernel.at_minus_one) / (2 * n - 1)
        error = (n - 1) * error / (2 * n - 1)
    shape = points.shape[:-2]
    return SampledEnergy(
        value.reshape(shape).to(points.dtype),
        error.reshape(shape).to(points.dtype),
        count * size * size,
    )


def block_means(
    points: Tensor, kernels: Sequence[Kernel], pairs: int, generator: torch.Generator
) -> Tensor:
    """Mean kernels (count, k) over the pairs of two random blocks of rows; see `sampled_energy`."""
    n = points.shape[0]
    size = _block_rows(n)
    count = max(_FEWEST_BLOCKS, -(-min(pairs, n * (n - 1) // 2) // size**2))
    means: list[Tensor] = []
    while len(means) < count:
        order = torch.randperm(n, generator=generator).to(points.device)
        couples = order[: n // (2 * size) * 2 * size].reshape(-1, 2, size)
        for left, right in couples[: count - len(means)]:
            total = pair_reduce(points[left], points[right], kernel=kernels)
            means.append(total.double() / size**2)
    return torch.stack(means)


def _block_rows(n: int) -> int:
    """Rows of a block, such that a shuffle has some blocks."""
    return min(_BLOCK, n // (2 * _FEWEST_BLOCKS))
