"""Energies of sets whose pairs are too many: an unbiased estimate with its standard error."""

import dataclasses
import math
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from sphuni._arrays import check_points, result_function, widen
from sphuni._result import Result
from sphuni._rng import torch_generator
from sphuni._typing import Array, Seed
from sphuni.kernels import Kernel, check_kernel
from sphuni.pairwise import pair_reduce

__all__ = ["PairSample", "SampledEnergy", "sample_pairs", "sampled_energy"]

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
        About how many pairs to evaluate: at least 8 blocks of up to (n / 16)^2 pairs, and about as
        many as there are at most.
    antipodal : bool, default False
        The energy of the 2n points {x, -x}, the n constant pairs included.
    rng : int, generator or None
        Seed of the shuffles.

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
    enough. Each pair of points is as likely as any other to be met, so the estimate is unbiased. A
    matrix product makes a pair some hundred times cheaper than a gather of random pairs.
    O(pairs * d) time, O(n + block) memory.

    What a row adds to all its pairs, Hoeffding's linear part, does not matter where a whole
    shuffle is met, since that holds every row once; the standard error is then that of the rest,
    from contrasts between the quarters of each couple of blocks in which rows cancel. Where the
    pairs asked for are fewer than a shuffle has, about 256 n, it is that of the mean of the
    blocks' means. The fewest pairs are 8 blocks, so that the standard error has 8 degrees of
    freedom: 1.96 of it on either side hold the energy in about 91 of 100 cases, 2.3 in 95. Points
    in clusters make close pairs frequent; the standard error sees that as far as the sample does,
    and not at all where a kernel is so narrow that next to no pair of the sample feels it.

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
    check_kernel(kernel)
    used = kernel.antipodal() if antipodal else kernel
    if not math.isfinite(used.variance(d)):
        raise ValueError(
            f"the kernel {kernel.label} has infinite variance over uniform pairs in d = {d}, so "
            "that no sample has a standard error. Take kernel_energy, which is exact, or a kernel "
            f"of lower order (Riesz with s < {(d - 1) / 2:g})"
        )
    generator = torch_generator(rng)
    flat = widen(points).reshape(-1, n, d)
    found = [sample_pairs(one, [used], pairs, generator) for one in flat]
    value, error = (torch.cat([one[k] for one in found]) for k in range(2))
    if antipodal:
        value = ((n - 1) * value + kernel.at_minus_one) / (2 * n - 1)
        error = (n - 1) * error / (2 * n - 1)
    shape = points.shape[:-2]
    return SampledEnergy(
        value.reshape(shape).to(points.dtype),
        error.reshape(shape).to(points.dtype),
        found[0].pairs,
    )


class PairSample(NamedTuple):
    """Means (k,) of kernels over random pairs of one set, their errors, and how many pairs."""

    mean: Tensor
    error: Tensor
    pairs: int


def sample_pairs(
    points: Tensor, kernels: Sequence[Kernel], pairs: int, generator: torch.Generator
) -> PairSample:
    """Average kernels over the pairs between random blocks of rows; see `sampled_energy`."""
    n = points.shape[0]
    couples = max(_FEWEST_BLOCKS, -(-n // (2 * _BLOCK)))
    count = max(_FEWEST_BLOCKS, -(-min(pairs, n * (n - 1) // 2) * 4 * couples**2 // n**2))
    found = [
        _couple(points, rows, kernels)
        for _ in range(-(-count // couples))
        for rows in _shuffled(n, couples, generator)[:count]
    ]
    total = torch.stack([one.total for one in found])
    met = torch.tensor([one.pairs for one in found])
    if count >= couples:
        spread = torch.stack([one.contrast for one in found]).square().mean(dim=0) / 16
    else:
        spread = (total / met.to(total)[:, None]).var(dim=0)
    pairs = int(met.sum())
    return PairSample(total.sum(dim=0) / pairs, (spread / len(found)).sqrt(), pairs)


class _Couple(NamedTuple):
    """What two blocks of rows say: sum and contrast of every kernel (k,).

    The contrast of the means of the four quarters is free of what any one row adds to all its
    pairs.
    """

    total: Tensor
    contrast: Tensor
    pairs: int


def _couple(points: Tensor, rows: Sequence[Tensor], kernels: Sequence[Kernel]) -> _Couple:
    """Look at all pairs of the first two of four runs of rows with the last two."""
    parts = [points[index.to(points.device)] for index in rows]
    sums, sizes = [], []
    for left in parts[:2]:
        for right in parts[2:]:
            sums.append(pair_reduce(left, right, kernel=kernels).double())
            sizes.append(len(left) * len(right))
    means = [total / size for total, size in zip(sums, sizes, strict=True)]
    contrast = means[0] - means[1] - means[2] + means[3]
    return _Couple(torch.stack(sums).sum(dim=0), contrast, sum(sizes))


def _shuffled(n: int, couples: int, generator: torch.Generator) -> list[tuple[Tensor, ...]]:
    """All rows in random order, as four runs of almost equal length for each couple of blocks."""
    runs = torch.randperm(n, generator=generator).tensor_split(4 * couples)
    return [tuple(runs[k : k + 4]) for k in range(0, 4 * couples, 4)]
