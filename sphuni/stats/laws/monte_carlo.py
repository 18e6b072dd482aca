"""Null laws by simulation."""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sphuni._rng import seeds
from sphuni.stats.laws._tails import Law, Tails, Values

__all__ = [
    "Empirical",
    "SequentialTable",
    "TailedTable",
    "chunks",
    "gram_sample",
    "simulate",
    "span_sample",
    "tie_slack",
]

_FLOAT = NDArray[np.float64]
_CHUNK_NUMBERS = 1 << 20
_MOST_CHUNK = 4096
_TIE = 1e-10
_ROUNDING = 1e-14


@dataclasses.dataclass(frozen=True, eq=False)
class Empirical:
    """The law of a simulated sample.

    Attributes
    ----------
    sample : numpy.ndarray of shape (M,)
        Sorted statistics of M uniform sets.

    Notes
    -----
    With b simulated statistics at least as extreme, p = (1 + b) / (1 + M): never 0, and exact in
    size for an independent observation. Statistics equal to within rounding count as ties.

    References
    ----------
    B. Phipson, G. K. Smyth, "Permutation p-values should never be zero", Statistical Applications
    in Genetics and Molecular Biology 9 (2010) 39, doi:10.2202/1544-6115.1585.
    """

    sample: _FLOAT

    @property
    def mean(self) -> float:
        """Mean of the simulated statistics."""
        return float(self.sample.mean())

    @property
    def variance(self) -> float:
        """Variance of the simulated statistics."""
        return float(self.sample.var(ddof=1))

    def tails(self, x: Values) -> Tails:
        """Both tails at `x`."""
        count = self.sample.size
        slack = tie_slack(self.sample[0], self.sample[-1])
        above = count - np.searchsorted(self.sample, np.asarray(x) - slack, side="left")
        below = np.searchsorted(self.sample, np.asarray(x) + slack, side="right")
        nan = np.where(np.isnan(x), np.nan, 0.0)
        return Tails(
            np.log((1 + above) / (1 + count)) + nan, np.log((1 + below) / (1 + count)) + nan
        )


@dataclasses.dataclass(frozen=True, eq=False)
class TailedTable(Empirical):
    """A simulated lower tail beside an upper tail that is known.

    Attributes
    ----------
    known : Law
        Law whose upper tail is right.
    """

    known: Law

    def tails(self, x: Values) -> Tails:
        """Both tails at `x`."""
        return Tails(self.known.tails(x).log_upper, super().tails(x).log_lower)


@dataclasses.dataclass(frozen=True, eq=False)
class SequentialTable(Empirical):
    """Simulated statistics in the order drawn, read until `enough` of them are as extreme.

    With the h-th such statistic at draw l the p-value is h / l; if h are never reached among M, it
    is (1 + b) / (1 + M). A large p-value takes few draws, about h where it is near 1.

    Attributes
    ----------
    sample : numpy.ndarray of shape (M,)
        Statistics in the order drawn.
    enough : int
        h.

    References
    ----------
    J. Besag, P. Clifford, "Sequential Monte Carlo p-values", Biometrika 78 (1991) 301-304,
    doi:10.1093/biomet/78.2.301.
    """

    enough: int

    def tails(self, x: Values) -> Tails:
        """Both tails at `x`."""
        flat = np.asarray(x, dtype=np.float64).ravel()
        slack = tie_slack(self.sample.min(), self.sample.max())
        upper = [self._log_p(self.sample >= value - slack) for value in flat]
        lower = [self._log_p(self.sample <= value + slack) for value in flat]
        nan = np.where(np.isnan(flat), np.nan, 0.0)
        shape = np.shape(x)
        return Tails((np.array(upper) + nan).reshape(shape), (np.array(lower) + nan).reshape(shape))

    def decided(self, x: Values) -> bool:
        """Whether more draws would change nothing for any of the values."""
        flat = np.asarray(x, dtype=np.float64).ravel()
        above = (self.sample >= flat[:, None]).sum(1)
        below = (self.sample <= flat[:, None]).sum(1)
        return bool(np.all((np.minimum(above, below) >= self.enough) | np.isnan(flat)))

    def _log_p(self, extreme: NDArray[np.bool_]) -> float:
        places = np.flatnonzero(extreme)
        if places.size >= self.enough:
            return float(np.log(self.enough / (places[self.enough - 1] + 1.0)))
        return float(np.log((1.0 + places.size) / (1.0 + self.sample.size)))


def tie_slack(low: float, high: float) -> float:
    """How far apart equal statistics of random sets may be by rounding alone.

    Relative to their range: a statistic can be a large constant plus what tells sets apart, or
    all of it be tiny.
    """
    return float(_TIE * (high - low) + _ROUNDING * max(abs(low), abs(high)))


def gram_sample(
    n: int, d: int, count: int, rng: np.random.Generator, *, full: bool = False
) -> Tensor:
    """Draw `count` sets of n points with the inner products of uniform points on S^(d-1).

    For d > n the rows are those of Bartlett's triangular factor of a Wishart matrix, scaled to
    length one: n-dimensional, at a cost that does not depend on d. With `full` the points have
    all d coordinates.

    References
    ----------
    M. S. Bartlett, "On the theory of statistical regression", Proceedings of the Royal Society
    of Edinburgh 53 (1933) 260-283, doi:10.1017/S0370164600015637.
    """
    if full or d <= n:
        rows = rng.standard_normal((count, n, d))
    else:
        rows = np.tril(rng.standard_normal((count, n, n)), -1)
        i = np.arange(n)
        rows[:, i, i] = np.sqrt(rng.chisquare(d - i, size=(count, n)))
    rows /= np.linalg.norm(rows, axis=-1, keepdims=True)
    return torch.from_numpy(rows)


def span_sample(n: int, d: int, width: int, count: int, rng: np.random.Generator) -> Tensor:
    """Draw `width` < d coordinates of `count` sets of n uniform points on S^(d-1).

    The squares of the others add up to a chi-square, whatever d is.
    """
    rows = rng.standard_normal((count, n, width))
    others = rng.chisquare(d - width, size=(count, n, 1))
    rows /= np.sqrt((rows**2).sum(-1, keepdims=True) + others)
    return torch.from_numpy(rows)


def simulate(
    statistic: Callable[[Tensor], Tensor],
    n: int,
    d: int,
    count: int,
    *,
    rng: int,
    full: bool = False,
) -> _FLOAT:
    """Evaluate `statistic` on `count` uniform sets; the last axis of its result may hold several.

    The sets are those of `simulate_tests` with the same `rng`. With `full` the points have all d
    coordinates, for statistics that are not rotation invariant.
    """
    width = d if full else min(n, d)
    sizes = list(chunks(count, n, width))

    def work(task: tuple[int, int]) -> _FLOAT:
        seed, many = task
        points = gram_sample(n, d, many, np.random.default_rng(seed), full=full)
        with torch.no_grad():
            return statistic(points).numpy()

    tasks = zip(seeds(rng, len(sizes)), sizes, strict=True)
    return np.concatenate([work(task) for task in tasks])


def chunks(count: int, n: int, width: int, most: int | None = None) -> Iterator[int]:
    """Sizes of the chunks in which `count` sets of n points of `width` numbers are drawn."""
    size = int(np.clip(_CHUNK_NUMBERS // (n * max(width, n // 2)), 1, most or _MOST_CHUNK))
    for start in range(0, count, size):
        yield min(size, count - start)
