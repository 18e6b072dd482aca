"""The exact law of Rayleigh's statistic on the circle and on S^2."""

import dataclasses
import functools
import math
from collections.abc import Callable

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy import special

from sphuni.stats.laws._tails import Tails, Values

__all__ = ["RayleighLaw"]

_FLOAT = NDArray[np.float64]
_TERMS = 6000
_BLOCK = 1 << 20
_MANY = 129
_JOIN = 1e-6


@dataclasses.dataclass(frozen=True)
class RayleighLaw:
    r"""The law of :math:`S = d R^2 / n`, R the length of a sum of n uniform unit vectors.

    Parameters
    ----------
    n : int
        Number of vectors, 2 to 40.
    d : int
        2 or 3.

    Notes
    -----
    On S^2 a coordinate Z of the sum is a sum of n uniform variables on [-1, 1], and
    :math:`P(R > r) = 2 r f_Z(r) + 2 P(Z > r)`, a piecewise polynomial. On the circle
    :math:`P(R \le r) = r \int_0^\infty J_1(u r) J_0(u)^n du` is summed as a Fourier-Bessel series
    on the disc of radius n from n = 4 on; n = 2 has a closed form and n = 3 one integral over
    it. Errors are about 1e-9 (1e-7 for n = 4 on the circle, and where a table serves more than
    129 values at once). On S^2 upper tails keep their relative digits all the way; other tails
    below 1e-6 follow their power laws, :math:`(n - r)^{(n-1)(d-1)/2}` at the top, where they are
    too large by up to e^5 at n = 40, and :math:`r^d` at the bottom.

    References
    ----------
    J. A. Greenwood, D. Durand, "The distribution of length and components of the sum of n random
    unit vectors", Annals of Mathematical Statistics 26 (1955) 233-246,
    doi:10.1214/aoms/1177728540.
    """

    n: int
    d: int

    @property
    def mean(self) -> float:
        """D."""
        return float(self.d)

    @property
    def variance(self) -> float:
        """2 d (1 - 1/n)."""
        return 2.0 * self.d * (1.0 - 1.0 / self.n)

    def tails(self, x: Values) -> Tails:
        """Both tails at `x`."""
        ratio = np.maximum(np.asarray(x, dtype=np.float64), 0.0) * self.n / self.d
        length = np.minimum(np.sqrt(ratio), self.n).ravel()
        upper = self._upper(length)
        nan = np.where(np.isnan(np.asarray(x, dtype=np.float64)), np.nan, 0.0).ravel()
        with np.errstate(divide="ignore"):
            log_upper = np.log(np.clip(upper, 0.0, 1.0))
            log_lower = np.log1p(-np.clip(upper, 0.0, 1.0))
            top, bottom = self._joins()
            far = length > top
            log_upper[far] = (
                _sphere_far(length[far], self.n)
                if self.d == 3
                else self._power(self.n - length[far], self.n - top, self._rate)
            )
            near = length < bottom
            log_lower[near] = self._power(length[near], bottom, float(self.d))
        shape = np.shape(x)
        # beyond the longest sum there is nothing, but equal vectors reach it up to rounding
        over = ratio.ravel() > self.n**2 * (1.0 + 1e-9)
        log_upper[over] = -np.inf
        return Tails((log_upper + nan).reshape(shape), (log_lower + nan).reshape(shape))

    @property
    def _rate(self) -> float:
        """Power of n - r that the upper tail falls by."""
        return 0.5 * (self.n - 1) * (self.d - 1)

    @staticmethod
    def _power(place: _FLOAT, join: float, rate: float) -> _FLOAT:
        return np.asarray(math.log(_JOIN) + rate * np.log(np.maximum(place, 1e-300) / join))

    def _upper(self, length: _FLOAT) -> _FLOAT:
        if length.size > _MANY and self.n > 3:
            return np.asarray(_table(self)(length))
        return self._exact(length)

    def _joins(self) -> tuple[float, float]:
        """Lengths at which either tail is 1e-6."""
        return _joins(self)

    def _exact(self, length: _FLOAT) -> _FLOAT:
        """P(R > r)."""
        if self.d == 3:
            return _sphere(length, self.n)
        if self.n == 2:
            return np.asarray(2.0 / math.pi * np.arccos(np.clip(0.5 * length, 0.0, 1.0)))
        return _three(length) if self.n == 3 else _circle(length, self.n)


@functools.lru_cache(maxsize=128)
def _table(law: RayleighLaw) -> Callable[[_FLOAT], _FLOAT]:
    grid = np.linspace(0.0, law.n, 2049)
    return scipy.interpolate.PchipInterpolator(grid, law._exact(grid))


@functools.lru_cache(maxsize=128)
def _joins(law: RayleighLaw) -> tuple[float, float]:
    """By bisection of the tails."""
    ends = []
    for sign in (1.0, -1.0):
        low, high = 0.0, float(law.n)
        for _ in range(60):
            middle = 0.5 * (low + high)
            upper = float(law._exact(np.array([middle]))[0])
            outside = upper < _JOIN if sign > 0 else 1.0 - upper > _JOIN
            low, high = (low, middle) if outside else (middle, high)
        ends.append(0.5 * (low + high))
    return ends[0], ends[1]


def _sphere(r: _FLOAT, n: int) -> _FLOAT:
    """2 r f_Z(r) + 2 P(Z > r) for a sum of n uniforms on [-1, 1]."""
    k = np.arange(n // 2 + 1)
    above = np.maximum(n - r[:, None] - 2.0 * k, 0.0)
    choose = (-1.0) ** k * special.binom(n, k)
    tail = above**n @ choose / (2.0**n * math.factorial(n))
    density = above ** (n - 1) @ choose / (2.0**n * math.factorial(n - 1))
    return np.asarray(2.0 * r * density + 2.0 * tail)


def _sphere_far(r: _FLOAT, n: int) -> _FLOAT:
    """Log of the same far up, where its terms fall so fast that nothing cancels."""
    k = np.arange(n // 2 + 1)
    gap = np.maximum(n - r, 1e-300)[:, None]
    # both sums over the power n - 1 of n - r, which underflows
    above = np.maximum(1.0 - 2.0 * k / gap, 0.0) ** (n - 1)
    choose = (-1.0) ** k * special.binom(n, k)
    share = (above * (2.0 * r[:, None] + 2.0 * np.maximum(gap - 2.0 * k, 0.0) / n)) @ choose
    log_front = (n - 1) * np.log(gap[:, 0]) - n * math.log(2.0) - special.gammaln(n)
    return np.asarray(log_front + np.log(share))


def _three(r: _FLOAT) -> _FLOAT:
    """P(R > r) for three unit vectors of the plane, given the angle between the first two."""
    start = 2.0 * np.arccos(np.minimum(0.5 * (r + 1.0), 1.0))
    end = 2.0 * np.arccos(np.minimum(0.5 * np.abs(r - 1.0), 1.0))
    nodes, weights = special.roots_legendre(96)
    middle, half = 0.5 * (start + end), 0.5 * (end - start)
    # the sine takes away the square-root singularities at both ends
    angle = middle[:, None] + half[:, None] * np.sin(0.5 * math.pi * nodes)
    two = np.maximum(2.0 * np.cos(0.5 * angle), 1e-300)
    cosine = np.clip((r[:, None] ** 2 - two**2 - 1.0) / (2.0 * two), -1.0, 1.0)
    share = np.arccos(cosine) * np.cos(0.5 * math.pi * nodes) @ weights * half * 0.5
    return np.asarray((start + share + np.where(r < 1.0, math.pi - end, 0.0)) / math.pi)


def _circle(r: _FLOAT, n: int) -> _FLOAT:
    """One less the Fourier-Bessel series of P(R <= r)."""
    zeros, weights = _series(n)
    below = np.empty_like(r)
    size = max(1, _BLOCK // zeros.size)
    for start in range(0, r.size, size):
        part = r[start : start + size]
        below[start : start + size] = part * (special.j1(part[:, None] * zeros) @ weights)
    return 1.0 - below


@functools.lru_cache(maxsize=64)
def _series(n: int) -> tuple[_FLOAT, _FLOAT]:
    """Frequencies z_k / n, z_k the zeros of J_0, and weights, as far as they matter."""
    k = np.arange(1.0, _TERMS + 1)
    b = (k - 0.25) * math.pi
    zeros = b + 1.0 / (8.0 * b) - 31.0 / (384.0 * b**3) + 3779.0 / (15360.0 * b**5)
    for _ in range(3):
        zeros = zeros + special.j0(zeros) / special.j1(zeros)
    shape = special.j0(zeros / n)
    weights = 2.0 * shape**n / (n * zeros * special.j1(zeros) ** 2)
    kept = np.flatnonzero(np.abs(weights) > 1e-18)
    return zeros[: kept[-1] + 1] / n, weights[: kept[-1] + 1]
