"""Riesz and logarithmic kernels of the chordal or the geodesic distance."""

import dataclasses
import math
import numbers

import numpy as np
import torch
from scipy import special
from torch import Tensor

from sphuni._typing import Metric
from sphuni.kernels import _moments
from sphuni.kernels._base import Kernel
from sphuni.kernels._powers import power

__all__ = ["Riesz"]

_HIGH = 40
_SPREAD = 0.1
_STIRLING_FROM = 16.0
_SMALL_ANGLE = 0.4


@dataclasses.dataclass(frozen=True)
class Riesz(Kernel):
    r"""The Riesz kernel; lower energy is always more uniform.

    .. math:: K = \rho^{-s}\ (s > 0),\quad -\log\rho\ (s = 0),\quad -\rho^{-s}\ (s < 0)

    Parameters
    ----------
    s : float, default 1
        Exponent; 1 is Coulomb's in R^3, 0 the logarithmic kernel, -1 the sum of distances.
    metric : {"chordal", "geodesic"}, default "chordal"
        What rho is: the straight-line distance in [0, 2] or the angle in [0, pi].

    Notes
    -----
    No general power is taken in the inner loop: integer and half-integer exponents of the squared
    distance are products of reciprocals and roots, the others go through exp and log.

    References
    ----------
    S. V. Borodachov, D. P. Hardin, E. B. Saff, "Discrete Energy on Rectifiable Sets", Springer,
    2019. doi:10.1007/978-0-387-84808-2.

    Examples
    --------
    >>> from sphuni.kernels import Riesz
    >>> Riesz(1.0)(-1.0)
    np.float64(0.5)
    >>> Riesz(1.0).mean(3)
    1.0
    """

    s: float = 1.0
    metric: Metric = "chordal"

    def __post_init__(self) -> None:
        if isinstance(self.s, bool) or not isinstance(self.s, numbers.Real):
            raise TypeError(f"s must be a real number; got {type(self.s).__name__}")
        if not math.isfinite(self.s):
            raise ValueError(f"s must be finite; got {self.s}. For s to infinity use separation")
        if self.metric not in ("chordal", "geodesic"):
            raise ValueError(f"metric must be 'chordal' or 'geodesic'; got {self.metric!r}")
        object.__setattr__(self, "s", float(self.s))

    @property
    def label(self) -> str:
        """A short name for tables and messages."""
        name = "log" if self.s == 0 else f"Riesz s={self.s:g}"
        return name if self.metric == "chordal" else f"{name}, geodesic"

    def value(self, p: Tensor, q: Tensor) -> Tensor:
        """K at squared distance `p` to the point and `q` to its antipode."""
        if self.metric == "chordal":
            return _profile(p, self.s, squared=True)
        return _profile(_angle(p, q), self.s, squared=False)

    def derivative(self, p: Tensor, q: Tensor) -> Tensor:
        """dK/dt, the derivative with respect to the cosine."""
        if self.metric == "chordal":
            return _factor(self.s) * power(p, -self.s / 2 - 1)
        theta = _angle(p, q)
        return _factor(self.s) * power(theta, -self.s - 1) * 2 * torch.rsqrt(p * q)

    def second(self, p: Tensor, q: Tensor) -> Tensor:
        """d^2K/dt^2, the second derivative with respect to the cosine."""
        if self.metric == "chordal" and self.s == -2:
            return torch.zeros_like(p)  # the kernel is linear in t; 0 times inf at p = 0 is not
        if self.metric == "chordal":
            return _factor(self.s) * (self.s + 2) * power(p, -self.s / 2 - 2)
        theta, sine = _angle(p, q), 0.5 * torch.sqrt(p * q)
        if self.s == -2:
            return -2 * _sine_less_arc(theta, sine, (q - p) / 4) / sine**3
        slope = -_factor(self.s) * power(theta, -self.s - 1)
        curvature = _factor(self.s) * (self.s + 1) * power(theta, -self.s - 2)
        return (curvature * sine - slope * (q - p) / 4) / sine**3

    def log_value(self, p: Tensor, q: Tensor) -> Tensor | None:
        """Log K for s > 0, where K is positive."""
        if self.s <= 0:
            return None
        return (
            -0.5 * self.s * torch.log(p)
            if self.metric == "chordal"
            else (-self.s * torch.log(_angle(p, q)))
        )

    def value_and_derivative(self, p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        """K and dK/dt together: the chord's derivative is abs(s) K / p."""
        if self.metric == "geodesic" or self.s <= 0:
            return self.value(p, q), self.derivative(p, q)
        value = power(p, -self.s / 2)
        if self.s == 2:
            return value, 2 * value * value
        if self.s == 1:
            return value, value * value * value
        return value, self.s * value / p

    @property
    def at_one(self) -> float:
        """K of two coincident points: inf for s >= 0, 0 for s < 0."""
        return float("inf") if self.s >= 0 else 0.0

    @property
    def order_at_one(self) -> float:
        """The kernel grows like theta^-s."""
        return max(self.s, 0.0)

    @property
    def singular(self) -> bool:
        """True but where the kernel is a polynomial in the cosine."""
        return not (self.metric == "chordal" and self.s < 0 and self.s % 2 == 0)

    @property
    def singular_opposite(self) -> bool:
        """The angle has a cone at the antipode; the chord has none."""
        return self.metric == "geodesic"

    @property
    def reads_q(self) -> bool:
        """True for the angle."""
        return self.metric == "geodesic"

    @property
    def absolutely_monotone(self) -> bool:
        """True for the chord and s >= -2."""
        return self.metric == "chordal" and self.s >= -2

    def mean(self, d: int) -> float:
        """E K in closed form for the chord, by quadrature for the angle."""
        d = _moments.check_dimension(d)
        if self.metric == "geodesic" or self.s >= d - 1:
            return super().mean(d)
        if self.s == 0:
            return float(-np.log(2) + 0.5 * (special.digamma(d - 1) - special.digamma((d - 1) / 2)))
        return float(np.sign(self.s) * np.exp(_log_moment(self.s, d)))

    def variance(self, d: int) -> float:
        """Var K, in closed form in high dimension where the squared mean is no large part of it."""
        d = _moments.check_dimension(d)
        if self.metric == "geodesic" or self.s == 0 or d < _HIGH or 2 * self.s >= d - 1:
            return super().variance(d)
        log_square = _log_moment(2 * self.s, d)
        excess = log_square - 2 * _log_moment(self.s, d)
        if excess < _SPREAD:
            return super().variance(d)
        return float(np.exp(log_square) * -np.expm1(-excess))

    def gegenbauer(self, d: int, degree_max: int) -> np.ndarray:
        """Coefficients a_0 .. a_L in closed form (Funk-Hecke) for the chord."""
        d, degree_max = _moments.check_dimension(d), _moments.check_degree(degree_max)
        if self.metric == "geodesic" or self.s >= d - 1:
            return super().gegenbauer(d, degree_max)
        degree = np.arange(degree_max)
        ratios = _moments.dimension_ratios(d, degree_max)
        ratios *= (self.s / 2 + degree) / (d - 1 - self.s / 2 + degree)
        if self.s != 0:
            log_first = _log_moment(self.s, d)
            return _moments.from_ratios(self.mean(d), log_first, ratios)
        # the first ratio is 0 over the mean; the eigenvalue of degree 1 is 1 / (2 (d - 1))
        later = np.cumprod(np.concatenate([[0.5 * d / (d - 1)], ratios[1:]]))
        return np.concatenate([[self.mean(d)], later])[: degree_max + 1]


def _log_moment(s: float, d: int) -> float:
    """Log E |x - y|^-s, for s below d - 1.

    With a = (d - 1) / 2 and h = s / 2 it is -s log 2 + log of Gamma(a - h) Gamma(2a) over
    Gamma(a) Gamma(2a - h). Where their logarithms are large they nearly cancel: what is left of
    their leading terms is written out, about h = 0 and about h = a - 1/2, where the moment is 1.
    """
    if d < _STIRLING_FROM:
        return float(
            (d - 2 - s) * np.log(2)
            + special.gammaln(d / 2)
            + special.gammaln((d - 1 - s) / 2)
            - 0.5 * np.log(np.pi)
            - special.gammaln(d - 1 - s / 2)
        )
    a, h = (d - 1) / 2, s / 2
    left = a - h
    rest = _stirling_rest(left) - _stirling_rest(a) - _stirling_rest(2 * a - h)
    rest += _stirling_rest(2 * a)
    if h < 0.5 * a:
        near = (left - 0.5) * np.log1p(-h / a) - (2 * a - h - 0.5) * np.log1p(-h / (2 * a))
        return float(near - h * np.log(2) + rest)
    k = left - 0.5
    far = (0.5 + 2 * k) * np.log(2) - (a + k) * np.log1p(left / a) + k * np.log(left / a)
    return float(far + rest)


def _stirling_rest(x: float) -> float:
    """Log Gamma(x) less (x - 1/2) log x - x + log(2 pi) / 2."""
    if x < _STIRLING_FROM:
        leading = (x - 0.5) * np.log(x) - x + 0.5 * np.log(2 * np.pi)
        return float(special.gammaln(x) - leading)
    terms = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188)
    return float(sum(term / x ** (2 * k + 1) for k, term in enumerate(terms)))


def _angle(p: Tensor, q: Tensor) -> Tensor:
    return 2 * torch.atan2(torch.sqrt(p), torch.sqrt(q))


def _sine_less_arc(theta: Tensor, sine: Tensor, cosine: Tensor) -> Tensor:
    """sin(theta) - theta cos(theta), by its series at small angles, where the two nearly cancel."""
    square = theta.square()
    series = torch.zeros_like(theta)
    for k in range(6, 0, -1):
        series = 2 * k / math.factorial(2 * k + 1) - square * series
    return torch.where(theta < _SMALL_ANGLE, theta**3 * series, sine - theta * cosine)


def _factor(s: float) -> float:
    """|d/d rho| of the kernel is this constant times rho^(-s-1)."""
    return 1.0 if s == 0 else abs(s)


def _profile(base: Tensor, s: float, *, squared: bool) -> Tensor:
    """The kernel from rho (or from rho^2 when `squared`)."""
    if s == 0:
        return torch.log(base) * (-0.5 if squared else -1.0)
    raised = power(base, -s / 2 if squared else -s)
    return raised if s > 0 else -raised
