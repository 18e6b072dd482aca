"""Laws of the tests of the circle."""

import dataclasses
import decimal
import math
from typing import Literal

import numpy as np
from scipy import special

from sphuni.stats.laws._tails import Tails, Values
from sphuni.stats.laws.weighted_chi2 import WeightedChi2

__all__ = [
    "Gumbel",
    "HalfNormal",
    "HodgesAjneLaw",
    "KuiperLaw",
    "LargestGap",
    "Normal",
    "Watson1976Law",
    "greenwood_law",
]

_AIRY_ZEROS = -special.ai_zeros(60)[0]
_AIRY_JOIN = 2.0
_KUIPER_MEAN = math.sqrt(math.pi / 2.0)
_TRANSFORM_FROM, _LINE_NODES = 100, 150
_CANCELLED = 1e-6


def _both(log_upper: Values, log_lower: Values) -> Tails:
    return Tails(np.minimum(log_upper, 0.0), np.minimum(log_lower, 0.0))


def _complement(log_p: Values) -> Values:
    """log(1 - p) from log p."""
    with np.errstate(divide="ignore"):
        close = np.log(-np.expm1(np.minimum(log_p, 0.0)))
        far = np.log1p(-np.exp(np.minimum(log_p, 0.0)))
    return np.asarray(np.where(log_p > -0.7, close, far))


@dataclasses.dataclass(frozen=True)
class Normal:
    """Normal with mean 0."""

    variance: float
    mean: float = 0.0

    def tails(self, x: Values) -> Tails:
        """Both tails at `x`."""
        z = np.asarray(x) / math.sqrt(self.variance)
        return _both(special.log_ndtr(-z), special.log_ndtr(z))


@dataclasses.dataclass(frozen=True)
class HalfNormal:
    """Absolute value of a normal variable with mean 0."""

    sd: float

    @property
    def mean(self) -> float:
        """Expectation."""
        return self.sd * math.sqrt(2.0 / math.pi)

    @property
    def variance(self) -> float:
        """Variance."""
        return self.sd**2 * (1.0 - 2.0 / math.pi)

    def tails(self, x: Values) -> Tails:
        """Both tails at `x`."""
        z = np.maximum(np.asarray(x) / self.sd, 0.0)
        with np.errstate(divide="ignore"):
            return _both(math.log(2.0) + special.log_ndtr(-z), np.log(special.erf(z / 2**0.5)))


@dataclasses.dataclass(frozen=True)
class Gumbel:
    """exp(-exp(-x)), with what lies below `least` moved there."""

    mean: float = 0.5772156649015329
    variance: float = math.pi**2 / 6.0
    least: float = -math.inf

    def tails(self, x: Values) -> Tails:
        """Both tails at `x`."""
        x = np.asarray(x, dtype=np.float64)
        log_lower = -np.exp(-x)
        log_upper = np.where(x <= self.least + 1e-9, 0.0, _complement(log_lower))
        return _both(log_upper, np.where(x < self.least - 1e-9, -np.inf, log_lower))


@dataclasses.dataclass(frozen=True)
class KuiperLaw:
    """Law of Kuiper's sqrt(n) V from its limit series.

    The term of order 1/sqrt(n) is a third of the series' derivative, so it shifts the statistic by
    1 / (3 sqrt(n)). `correction` is "shift" for that, with which both tails have their size from
    n = 100 on; "stephens" for Stephens' multiple, made for the upper tail (at n = 100 the lower one
    rejects 6 % at 5 %); or "series" for the sum of both terms.

    References
    ----------
    M. A. Stephens, "Use of the Kolmogorov-Smirnov, Cramér-von Mises and related statistics without
    extensive tables", Journal of the Royal Statistical Society B 32 (1970) 115-122,
    doi:10.1111/j.2517-6161.1970.tb00821.x.
    """

    n: int
    correction: Literal["shift", "stephens", "series"] = "shift"

    @property
    def mean(self) -> float:
        """Of the limit law, corrected as the tails are."""
        if self.correction == "stephens":
            return _KUIPER_MEAN / self._multiple
        return _KUIPER_MEAN - 1.0 / (3.0 * math.sqrt(self.n))

    @property
    def variance(self) -> float:
        """Of the limit law, corrected as the tails are."""
        limit = math.pi**2 / 6.0 - math.pi / 2.0
        return limit / self._multiple**2 if self.correction == "stephens" else limit

    @property
    def _multiple(self) -> float:
        return 1.0 + 0.155 / math.sqrt(self.n) + 0.24 / self.n

    def tails(self, x: Values) -> Tails:
        """Both tails at `x`."""
        root = math.sqrt(self.n)
        v = np.maximum(np.asarray(x, dtype=np.float64), 1e-3)
        if self.correction == "series":
            return self._second_order(v)
        v = v * self._multiple if self.correction == "stephens" else v + 1.0 / (3.0 * root)
        j = np.arange(1.0, 60.0)
        square = (j * v[..., None]) ** 2
        with np.errstate(divide="ignore"):
            # the first term times what the others add to it keeps the digits of the upper tail
            lead = -2.0 * square[..., :1]
            terms = 2.0 * (4.0 * square - 1.0) * np.exp(-2.0 * square - lead)
            log_upper = lead[..., 0] + np.log(np.maximum(terms.sum(-1), 0.0))
            log_lower = self._lower(v)
        upper = np.where(v > 1.2, log_upper, _complement(log_lower))
        return _both(upper, np.where(v > 1.2, _complement(log_upper), log_lower))

    def _second_order(self, v: Values) -> Tails:
        j = np.arange(1.0, 60.0)
        square = (j * v[..., None]) ** 2
        rate = 8.0 * v[..., None] / (3.0 * math.sqrt(self.n))
        terms = 2.0 * (4.0 * square - 1.0) - rate * j**2 * (4.0 * square - 3.0)
        with np.errstate(divide="ignore"):
            lead = -2.0 * square[..., 0]
            shares = (terms * np.exp(-2.0 * square - lead[..., None])).sum(-1)
            log_upper = np.minimum(lead + np.log(np.maximum(shares, 0.0)), 0.0)
        return _both(log_upper, _complement(log_upper))

    @staticmethod
    def _lower(v: Values) -> Values:
        """The theta-transformed series, which converges for small values."""
        k = np.arange(1.0, 40.0)
        w = (k * math.pi) ** 2 / (2.0 * v[..., None] ** 2)
        lead = w[..., :1]
        terms = 2.0 * w * np.exp(lead - w)
        front = math.sqrt(2.0 * math.pi) / v
        return np.asarray(np.log(front * terms.sum(-1)) - lead[..., 0])


@dataclasses.dataclass(frozen=True)
class Watson1976Law:
    r"""Limit law of Watson's 1976 statistic: that of the area under a Brownian excursion.

    Notes
    -----
    A bridge less its mean has its supremum distributed as the area of the excursion that Vervaat's
    shift makes of it. The series in zeros of the Airy function converges for every x; far in the
    upper tail :math:`P(A > x) \sim 6 \sqrt{6 / \pi}\, x e^{-6 x^2}`, joined on at p = 1e-11.

    References
    ----------
    D. A. Darling, "On the supremum of a certain Gaussian process", Annals of Probability 11 (1983)
    803-806, doi:10.1214/aop/1176993527.

    S. Janson, "Brownian excursion area, Wright's constants in graph enumeration, and other
    Brownian areas", Probability Surveys 4 (2007) 80-145, doi:10.1214/07-PS104.
    """

    mean: float = math.sqrt(math.pi / 8.0)
    variance: float = 5.0 / 12.0 - math.pi / 8.0

    def tails(self, x: Values) -> Tails:
        """Both tails at `x`."""
        x = np.maximum(np.asarray(x, dtype=np.float64), 0.02)
        log_lower = self._series(np.minimum(x, _AIRY_JOIN))
        join = float(_complement(self._series(np.array(_AIRY_JOIN))))
        beyond = join + np.log(x / _AIRY_JOIN) - 6.0 * (x**2 - _AIRY_JOIN**2)
        far = x > _AIRY_JOIN
        return _both(
            np.where(far, beyond, _complement(log_lower)),
            np.where(far, _complement(np.minimum(beyond, join)), log_lower),
        )

    @staticmethod
    def _series(x: Values) -> Values:
        w = 2.0 * _AIRY_ZEROS**3 / (27.0 * x[..., None] ** 2)
        lead = w[..., :1]
        terms = np.exp(lead - w) * w ** (2.0 / 3.0) * special.hyperu(1.0 / 6.0, 4.0 / 3.0, w)
        return np.asarray(np.log(math.sqrt(6.0) / x * terms.sum(-1)) - lead[..., 0])


@dataclasses.dataclass(frozen=True)
class LargestGap:
    """Law of the largest of n spacings of the circle, in radians (Fisher)."""

    n: int

    @property
    def mean(self) -> float:
        """2 pi H_n / n."""
        return 2.0 * math.pi / self.n * float(special.digamma(self.n + 1.0) + np.euler_gamma)

    @property
    def variance(self) -> float:
        """Not given."""
        return math.nan

    def tails(self, x: Values) -> Tails:
        """Both tails at `x`."""
        flat = np.atleast_1d(np.asarray(x, dtype=np.float64)) / (2.0 * math.pi)
        pairs = np.array([self._one(float(share)) for share in flat.ravel()]).reshape(-1, 2)
        shape = np.shape(x)
        return _both(pairs[:, 0].reshape(shape), pairs[:, 1].reshape(shape))

    def _one(self, share: float) -> tuple[float, float]:
        if not share * self.n > 1.0 or share >= 1.0:
            inside = share * self.n <= 1.0
            return (0.0, -math.inf) if inside else (-math.inf, 0.0)
        rate = math.log(self.n) + (self.n - 1) * math.log1p(-share)
        if rate > math.log(8.0):
            log_lower = self._crowded(share)
            return float(_complement(np.array(log_lower))), log_lower
        terms, k = [], 1
        while k <= self.n and k * share < 1.0:
            log_choose = sum(math.log((self.n - i) / (i + 1)) for i in range(k))
            log_term = log_choose + (self.n - 1) * math.log1p(-k * share)
            if log_term < rate - 45.0:
                break
            terms.append((-1.0) ** (k - 1) * math.exp(log_term - rate))
            k += 1
        log_upper = rate + math.log(math.fsum(terms))
        if log_upper > -_CANCELLED:
            log_lower = self._crowded(share)
            return float(_complement(np.array(log_lower))), log_lower
        return log_upper, float(_complement(np.array(log_upper)))

    def _crowded(self, share: float) -> float:
        """Log P(largest <= x) far below the mean, in long decimals or from its transform."""
        if self.n >= _TRANSFORM_FROM:
            return _all_shorter(self.n, share)
        with decimal.localcontext() as context:
            # shares a rounding above 1 / n have a probability of 1e-17 to the power n or so
            context.prec = 40 + 18 * self.n
            whole, total = decimal.Decimal(share), decimal.Decimal(0)
            choose = 1
            for k in range(self.n + 1):
                if k * whole >= 1:
                    break
                total += (-1) ** k * choose * (1 - k * whole) ** (self.n - 1)
                choose = choose * (self.n - k) // (k + 1)
            return float(total.ln()) if total > 0 else -math.inf


@dataclasses.dataclass(frozen=True)
class HodgesAjneLaw:
    """Law of the largest number of points in a half circle: both tails include the value.

    References
    ----------
    H. E. Daniels, "A distribution-free test for regression parameters", Annals of Mathematical
    Statistics 25 (1954) 499-513, doi:10.1214/aoms/1177728718.
    """

    n: int
    mean: float = math.nan
    variance: float = math.nan

    def tails(self, x: Values) -> Tails:
        """Both tails at `x`."""
        most = np.ceil(np.asarray(x, dtype=np.float64) - 1e-9)
        values, place = np.unique(most, return_inverse=True)
        upper = np.array([self._log_at_least(int(v)) for v in values])
        next_up = np.array([self._log_at_least(int(v) + 1) for v in values])
        shape = np.shape(x)
        return _both(upper[place].reshape(shape), _complement(next_up)[place].reshape(shape))

    def _log_at_least(self, most: int) -> float:
        """Log P(T >= most), with m = n - most points on the other side."""
        n, m = self.n, self.n - most
        if m < 0:
            return -math.inf
        if 2 * m >= n - 1:
            return 0.0
        total = math.fsum(
            math.exp(_log_choose(n, m - j * (n - 2 * m)) - _log_choose(n, m))
            for j in range(m // (n - 2 * m) + 1)
        )
        log_p = math.log(n - 2 * m) + (1 - n) * math.log(2.0) + _log_choose(n, m) + math.log(total)
        return min(0.0, log_p)


def greenwood_law(n: int) -> WeightedChi2:
    """Gamma law with the exact first three moments of Greenwood's statistic at n.

    The limit is normal, but the skewness falls as 10 / sqrt(n) only.

    References
    ----------
    P. A. P. Moran, "The random division of an interval", Journal of the Royal Statistical Society
    Supplement 9 (1947) 92-98, doi:10.2307/2983572.
    """
    mean = -2.0 * math.sqrt(n) / (n + 1)
    variance = 4.0 * n**3 * (n - 1) / ((n + 1) ** 2 * (n + 2) * (n + 3))
    rest = n**4.5 / ((n + 1.0) ** 3 * (n + 2.0) * (n + 3.0) * (n + 4.0) * (n + 5.0))
    weight = 16.0 * (n - 1) * (5 * n - 7) * rest / (4.0 * variance)
    return WeightedChi2(np.array([weight]), np.array([0.5 * variance / weight**2]), mean)


def _all_shorter(n: int, share: float) -> float:
    r"""Log probability that all of many spacings are at most `share`, a share of the circle.

    Spacings are exponential variables given their sum, so that is (n - 1)! times the inverse
    Laplace transform at 1 of :math:`((1 - e^{-s x}) / s)^n`, along a line through its saddle point.
    """
    from scipy import optimize

    mean = 1.0 / (n * share)

    def excess(u: float) -> float:
        """Mean of an exponential variable of rate u cut off at 1, less that of the spacings."""
        cut = 0.5 - u / 12.0 if abs(u) < 1e-4 else 1.0 / u - 1.0 / math.expm1(u)
        return cut - mean

    u = float(optimize.brentq(excess, -2.0 / (1.0 - mean) - 1.0, 2.0 / mean + 1.0))
    u = u if abs(u) > 1e-6 else 1e-6
    variance = 1.0 / 12.0 if abs(u) < 1e-2 else u**-2.0 - 0.25 * _squared_reciprocal_sinh(0.5 * u)
    step = 0.1 / (share * math.sqrt(n * variance))
    z = u / share + 1j * step * np.arange(_LINE_NODES)
    # (1 - e^(-z x)) / z, written so that nothing overflows on either side of 0
    if u > 0:
        factor = np.log(-np.expm1(-z * share) / z)
    else:
        factor = np.log(np.expm1(z * share) / z) - z * share
    exponent = z + n * factor
    height = float(exponent[0].real)
    integrand = np.exp(exponent - height).real
    total = (float(integrand.sum()) - 0.5 * float(integrand[0])) * step / math.pi
    return min(math.lgamma(n) + height + math.log(total), 0.0)


def _squared_reciprocal_sinh(x: float) -> float:
    return math.sinh(x) ** -2.0 if abs(x) < 300.0 else 0.0


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
