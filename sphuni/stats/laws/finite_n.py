"""Exact moments of a pair statistic at finite n, and the asymptotic law corrected to them."""

import dataclasses
import functools
import math

import numpy as np
from numpy.polynomial.polynomial import polyder, polyval
from numpy.typing import NDArray

from sphuni.stats.laws._tails import Tails, Values
from sphuni.stats.laws.weighted_chi2 import WeightedChi2

__all__ = ["Corrected", "corrected", "with_moments"]

_FLOAT = NDArray[np.float64]
_SLOPES = (0.4, 2.5)
_ANCHORED_BELOW = -12.0
_HALVINGS = 60


@dataclasses.dataclass(frozen=True, eq=False)
class Corrected:
    """`base` read at a polynomial of the statistic that gives it the right three moments.

    Attributes
    ----------
    base : WeightedChi2
        The limit law as n grows.
    mean, variance : float
        Of the statistic itself.
    coefficients : numpy.ndarray
        Of the correction in standard deviations, a polynomial of the standardised statistic.
    anchored : Corrected or None
        The same with the lowest value of the statistic kept in place, by which the lower tail falls
        on below e^-12: without it values that can be reached would have probability 0.
    low, high : float
        Standardised range in which the corrected statistic rises at a reasonable rate; beyond it
        the correction goes on linearly.
    skew_change : float
        Third central moment of the statistic less that of the limit, in standard deviations.
    """

    base: WeightedChi2
    mean: float
    variance: float
    coefficients: _FLOAT
    low: float
    high: float
    skew_change: float
    anchored: "Corrected | None" = None

    @functools.cached_property
    def _slopes(self) -> _FLOAT:
        return np.asarray(polyder(self.coefficients))

    def tails(self, x: Values) -> Tails:
        """Both tails at `x`."""
        tails = self._plain(x)
        if self.anchored is None:
            return tails
        below = np.asarray(x) < self._join
        if not below.any():
            return tails
        fall = self.anchored.tails(x).log_lower - self._anchored_at_join
        log_lower = np.where(below, _ANCHORED_BELOW + np.minimum(fall, 0.0), tails.log_lower)
        rest = np.log1p(-np.exp(np.where(below, log_lower, _ANCHORED_BELOW)))
        return Tails(np.where(below, rest, tails.log_upper), log_lower)

    @functools.cached_property
    def _join(self) -> float:
        """Where the lower tail is e^-12."""
        low, high = self.base.lowest, self.base.mean
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            under = self._plain(np.array([middle])).log_lower[0] < _ANCHORED_BELOW
            low, high = (middle, high) if under else (low, middle)
        return high

    @functools.cached_property
    def _anchored_at_join(self) -> float:
        assert self.anchored is not None
        return float(self.anchored.tails(np.array([self._join])).log_lower[0])

    def _plain(self, x: Values) -> Tails:
        """Both tails of the correction itself."""
        spread = math.sqrt(self.base.variance)
        z = (np.asarray(x, dtype=np.float64) - self.base.mean) / spread
        inside = np.minimum(np.maximum(z, self.low), self.high)
        slope = polyval(inside, self._slopes)
        with np.errstate(invalid="ignore"):
            moved = z + polyval(inside, self.coefficients) + slope * (z - inside)
        # an infinite statistic needs no correction
        place = np.where(np.isinf(z), z, moved)
        return self.base.tails(self.base.mean + spread * place)


def corrected(
    base: WeightedChi2,
    n: int,
    *,
    second: float,
    third: float,
    triangle: float,
    bounded_below: bool,
    end: float = -math.inf,
) -> Corrected:
    r"""Correct the limit law of a pair statistic to its exact variance and skewness at n points.

    Parameters
    ----------
    base : WeightedChi2
        Limit law; its mean is the exact mean of the statistic at every n.
    n : int
        Number of points, at least 2.
    second, third : float
        :math:`E \psi^2` and :math:`E \psi^3` of the centred kernel of two independent points.
    triangle : float
        :math:`E \psi(x, y) \psi(y, z) \psi(z, x)`.
    bounded_below : bool
        Whether the statistic is a V-form: then 0, the end of its support, stays where it is.
    end : float
        That end of a U-form, where it is finite: the far lower tail is made to reach down to it.

    Returns
    -------
    Corrected

    Notes
    -----
    The statistic is :math:`c + (2/n) \sum_{i<j} \psi`. Cosines of different pairs are pairwise
    independent, so its variance is :math:`2 (1 - 1/n) E\psi^2`, and only triangles add to

    .. math:: \kappa_3 = 4 (n-1) n^{-2} E\psi^3 + 8 (n-1)(n-2) n^{-2} E\psi\psi\psi.

    A statistic whose limit is one chi-square differs from it at order 1/n by a cubic polynomial
    (Cordeiro and Ferrari), of which Mardia and Jupp's form of the Rayleigh test is an example;
    the three moments determine its coefficients, and the same form is used for weighted sums.

    References
    ----------
    G. M. Cordeiro, S. L. P. Ferrari, "A modified score test statistic having chi-squared
    distribution to order n^-1", Biometrika 78 (1991) 573-582, doi:10.1093/biomet/78.3.573.

    P. E. Jupp, "Modifications of the Rayleigh and Bingham tests for uniformity of directions",
    Journal of Multivariate Analysis 77 (2001) 1-20, doi:10.1006/jmva.2000.1922.
    """
    variance = 2.0 * (1.0 - 1.0 / n) * second
    cubic = 4.0 * (n - 1) / n**2 * third + 8.0 * (n - 1) * (n - 2) / n**2 * triangle
    if bounded_below:
        return with_moments(base, variance, cubic, end=0.0)
    plain = with_moments(base, variance, cubic)
    if not math.isfinite(end):
        return plain
    return dataclasses.replace(plain, anchored=with_moments(base, variance, cubic, end=end))


def with_moments(
    base: WeightedChi2, variance: float, cubic: float, *, end: float = -math.inf
) -> Corrected:
    """Correct the limit law to a variance and a third central moment; a finite `end` stays."""
    excess = variance / base.variance - 1.0
    skew = (cubic - base.cumulant(3)) / base.variance**1.5
    polynomial = _polynomial(base, excess, skew, end)
    low, high = _steady(polynomial)
    coefficients = np.asarray(polynomial.coef, dtype=np.float64)
    return Corrected(base, base.mean, variance, coefficients, low, high, skew)


def _polynomial(
    base: WeightedChi2, excess: float, skew: float, end: float
) -> np.polynomial.Polynomial:
    """G with E g = 0, 2 E[z g] = -excess and 3 E[z^2 g] = -skew under the limit law."""
    moments = _standard_moments(base)
    ratio = math.sqrt(base.variance) / (base.mean - end)
    matrix = [[moments[i + j] + ratio * moments[i + j + 1] for j in range(3)] for i in range(3)]
    solution = np.linalg.solve(np.array(matrix), [0.0, -excess / 2.0, -skew / 3.0])
    return np.polynomial.Polynomial(solution) * np.polynomial.Polynomial([1.0, ratio])


def _standard_moments(base: WeightedChi2) -> list[float]:
    """Moments of order 0 to 5 of the standardised limit law, from its cumulants."""
    k3, k4, k5 = (base.cumulant(r) / base.variance ** (r / 2) for r in (3, 4, 5))
    return [1.0, 0.0, 1.0, k3, k4 + 3.0, k5 + 10.0 * k3]


def _steady(polynomial: np.polynomial.Polynomial) -> tuple[float, float]:
    """Largest interval about 0 in which z + g(z) rises at a rate within `_SLOPES`."""
    slope = polynomial.deriv()
    low, high = -math.inf, math.inf
    for limit in _SLOPES:
        for root in (slope - (limit - 1.0)).roots():
            if abs(root.imag) < 1e-12:
                place = float(root.real)
                low = max(low, place) if place < 0 else low
                high = min(high, place) if place >= 0 else high
    return low, high
