"""Laws of the classical tests of a uniform sample on the line."""

import dataclasses
import functools
import math

import numpy as np
from scipy import special

from sphuni.stats.laws._tails import Tails, Values
from sphuni.stats.laws.finite_n import Corrected, with_moments
from sphuni.stats.laws.weighted_chi2 import WeightedChi2

__all__ = ["KolmogorovLaw", "anderson_law", "cramer_law"]

_TERMS = 200
_FAR_LOG = -600.0
_NEAR, _FAR, _NODES = 0.2, 5.0, 200
"""Kolmogorov's law has less than 1e-11 outside of this range, at any n."""


@dataclasses.dataclass(frozen=True)
class KolmogorovLaw:
    """The exact law of Kolmogorov's sqrt(n) D.

    References
    ----------
    R. Simard, P. L'Ecuyer, "Computing the two-sided Kolmogorov-Smirnov distribution", Journal of
    Statistical Software 39 (2011) 11, doi:10.18637/jss.v039.i11.
    """

    n: int

    @property
    def mean(self) -> float:
        """The integral of the upper tail."""
        return _kolmogorov_moments(self.n)[0]

    @property
    def variance(self) -> float:
        """From twice the integral of x times the upper tail."""
        mean, square = _kolmogorov_moments(self.n)
        return square - mean**2

    def tails(self, x: Values) -> Tails:
        """Both tails at `x`."""
        from scipy.stats import kstwo  # takes half a second, which most commands can save

        distance = np.asarray(x, dtype=np.float64) / math.sqrt(self.n)
        with np.errstate(divide="ignore"):
            upper = np.log(kstwo.sf(distance, self.n))
            lower = np.log(kstwo.cdf(distance, self.n))
        far = (upper < _FAR_LOG) & (distance < 1.0)
        if far.any():
            upper = np.array(upper)
            upper[far] = [_log_far(float(place), self.n) for place in distance[far]]
        return Tails(upper, lower)


def _log_far(distance: float, n: int) -> float:
    """Log upper tail where it underflows: twice Birnbaum and Tingey's sum for one side."""
    j = np.arange(math.floor(n * (1.0 - distance)) + 1.0)
    up, down = distance + j / n, 1.0 - distance - j / n
    with np.errstate(divide="ignore"):
        logs = (
            special.gammaln(n + 1.0) - special.gammaln(j + 1.0) - special.gammaln(n - j + 1.0)
            + (j - 1.0) * np.log(up) + special.xlogy(n - j, np.maximum(down, 0.0))
        )  # fmt: skip
    return math.log(2.0 * distance) + float(special.logsumexp(logs))


@functools.lru_cache(maxsize=256)
def _kolmogorov_moments(n: int) -> tuple[float, float]:
    """E and E of the square of sqrt(n) D, which is at least 1 / (2 sqrt(n)); to 3e-7."""
    from scipy.stats import kstwo

    root = math.sqrt(n)
    low, high = max(0.5 / root, _NEAR), min(root, _FAR)
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    x = low + 0.5 * (high - low) * (nodes + 1)
    # far out `sf` sums n terms a node for its relative digits, which a moment does not need
    upper = 0.5 * (high - low) * weights * (1.0 - kstwo.cdf(x / root, n))
    return low + float(upper.sum()), low**2 + 2 * float((x * upper).sum())


def cramer_law(n: int) -> Corrected:
    """The limit law of the Cramér-von Mises statistic with its exact three moments at n.

    References
    ----------
    E. S. Pearson, M. A. Stephens, "The goodness-of-fit tests based on W_N^2 and U_N^2", Biometrika
    49 (1962) 397-402, doi:10.1093/biomet/49.3-4.397.
    """
    limit = _limit(1.0 / (math.pi * np.arange(1.0, _TERMS + 1)) ** 2, 1.0 / 6.0, 1.0 / 90.0)
    third = (32.0 * n * n - 61.0 * n + 30.0) / (3780.0 * n * n)
    return with_moments(limit, (4.0 * n - 3.0) / (180.0 * n), third, end=0.0)


def anderson_law(n: int) -> Corrected:
    """The limit law of the Anderson-Darling statistic with its exact mean and variance at n.

    References
    ----------
    T. W. Anderson, D. A. Darling, "A test of goodness of fit", Journal of the American Statistical
    Association 49 (1954) 765-769, doi:10.1080/01621459.1954.10501232.
    """
    k = np.arange(1.0, _TERMS + 1)
    limit = _limit(1.0 / (k * (k + 1.0)), 1.0, (math.pi**2 - 9.0) / 3.0)
    variance = limit.variance + (10.0 - math.pi**2) / n
    return with_moments(limit, variance, limit.cumulant(3), end=0.0)


def _limit(weights: np.ndarray, total: float, square: float) -> WeightedChi2:
    """Weights of one degree of freedom each; a last chi-square stands for those left out."""
    rest, square_left = total - weights.sum(), square - float(weights @ weights)
    last = square_left / rest
    return WeightedChi2(
        np.append(weights, last), np.append(np.ones_like(weights), rest / last), total
    )
