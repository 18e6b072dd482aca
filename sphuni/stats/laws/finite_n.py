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

    @functools.cached_property
    def _slopes(self) -> _FLOAT:
        return np.asarray(polyder(self.coefficients))

    def tails(self, x: Values) -> Tails:
        """Both tails at `x`."""
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
    end : float, optional
        Lowest value of the statistic, which stays where it is if it is finite: 0 of a V-form. A
        correction that moves it gives values that can be reached the probability 0, or, on the
        circle, too much to those next to it.

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
    return with_moments(base, variance, cubic, end=end)


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
