"""Gaussian, Laplace and Poisson kernels: bounded at coincident points."""

import dataclasses

import numpy as np
import torch
from scipy import special
from torch import Tensor

from sphuni import _numbers
from sphuni.kernels import _moments
from sphuni.kernels._base import Kernel
from sphuni.kernels._powers import power

__all__ = ["Gaussian", "Laplace", "Poisson"]

_FEW_FACTORS = 16
_LARGEST_EPSILON = 1e75
_MOST_AHEAD = 20_000
_TINIEST = np.finfo(np.float64).tiny
# numerators u_k of DLMF 10.41.10 by powers of t^2, with their common denominators
_DEBYE = (
    (24, (3, -5)),
    (1152, (81, -462, 385)),
    (414720, (30375, -369603, 765765, -425425)),
    (39813120, (4465125, -94121676, 349922430, -446185740, 185910725)),
)


@dataclasses.dataclass(frozen=True)
class _Decreasing(Kernel):
    """A kernel of the chord alone, 1 at coincident points and absolutely monotone."""

    @property
    def at_one(self) -> float:
        """K of two coincident points."""
        return 1.0

    @property
    def reads_q(self) -> bool:
        """False."""
        return False

    @property
    def absolutely_monotone(self) -> bool:
        """True."""
        return True


@dataclasses.dataclass(frozen=True)
class Gaussian(_Decreasing):
    """``exp(-epsilon^2 |x - y|^2)``, with 0 < epsilon.

    With `epsilon**2 = t` it is the potential of the uniformity loss of Wang and Isola, and
    `kappa = 2 epsilon**2` gives the softmax kernel exp(kappa (cos - 1)).

    References
    ----------
    T. Wang, P. Isola, "Understanding contrastive representation learning through alignment and
    uniformity on the hypersphere", ICML 2020. arXiv:2005.10242.
    """

    epsilon: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "epsilon", _numbers.positive("epsilon", self.epsilon))
        if self.epsilon > _LARGEST_EPSILON:
            raise ValueError(
                f"epsilon must be at most {_LARGEST_EPSILON:g}, its fourth power being "
                f"finite; got {self.epsilon:g}"
            )

    @property
    def label(self) -> str:
        """A short name for tables and messages."""
        return f"Gaussian epsilon={self.epsilon:g}"

    def value(self, p: Tensor, q: Tensor) -> Tensor:
        """K at squared distance `p`."""
        return torch.exp(-(self.epsilon**2) * p)

    def derivative(self, p: Tensor, q: Tensor) -> Tensor:
        """dK/dt, the derivative with respect to the cosine."""
        return 2 * self.epsilon**2 * torch.exp(-(self.epsilon**2) * p)

    def value_and_derivative(self, p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        """K and dK/dt together, with one exponential."""
        value = torch.exp(-(self.epsilon**2) * p)
        return value, 2 * self.epsilon**2 * value

    def second(self, p: Tensor, q: Tensor) -> Tensor:
        """d^2K/dt^2, the second derivative with respect to the cosine."""
        return 4 * self.epsilon**4 * torch.exp(-(self.epsilon**2) * p)

    def log_value(self, p: Tensor, q: Tensor) -> Tensor:
        """Log K."""
        return -(self.epsilon**2) * p

    def gegenbauer(self, d: int, degree_max: int) -> np.ndarray:
        """Coefficients a_0 .. a_L: their ratios are those of modified Bessel functions."""
        d, degree_max = _moments.check_dimension(d), _moments.check_degree(degree_max)
        first = self.mean(d)
        kappa = 2 * self.epsilon**2
        log_first = (
            _log_bessel_mean(0.5 * d - 1, kappa) if first < _TINIEST else float(np.log(first))
        )
        ratios = _bessel_ratios(0.5 * d - 1, kappa, degree_max)
        ratios *= _moments.dimension_ratios(d, degree_max)
        return _moments.from_ratios(first, log_first, ratios)


@dataclasses.dataclass(frozen=True)
class Laplace(_Decreasing):
    """``exp(-a |x - y|)``, with 0 < a."""

    a: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "a", _numbers.positive("a", self.a))

    @property
    def label(self) -> str:
        """A short name for tables and messages."""
        return f"Laplace a={self.a:g}"

    def value(self, p: Tensor, q: Tensor) -> Tensor:
        """K at squared distance `p`."""
        return torch.exp(-self.a * torch.sqrt(p))

    def derivative(self, p: Tensor, q: Tensor) -> Tensor:
        """dK/dt, the derivative with respect to the cosine."""
        return self.a * torch.rsqrt(p) * torch.exp(-self.a * torch.sqrt(p))

    def second(self, p: Tensor, q: Tensor) -> Tensor:
        """d^2K/dt^2, the second derivative with respect to the cosine."""
        r = torch.sqrt(p)
        return self.a * (self.a * r + 1) / r**3 * torch.exp(-self.a * r)

    def log_value(self, p: Tensor, q: Tensor) -> Tensor:
        """Log K."""
        return -self.a * torch.sqrt(p)

    @property
    def singular(self) -> bool:
        """The kernel has a cone at coincident points."""
        return True


@dataclasses.dataclass(frozen=True)
class Poisson(_Decreasing):
    r"""The Poisson kernel scaled to 1 at coincident points, with 0 < rho < 1.

    .. math:: K = \left(\frac{1 - \rho}{\sqrt{1 - 2 \rho t + \rho^2}}\right)^d

    Parameters
    ----------
    rho : float
        Concentration.
    d : int
        Ambient dimension, the exponent of the kernel.
    """

    rho: float = 0.5
    d: int = 3

    def __post_init__(self) -> None:
        object.__setattr__(self, "rho", _numbers.finite("rho", self.rho))
        object.__setattr__(self, "d", _numbers.whole("d", self.d, 2))
        if not 0 < self.rho < 1:
            raise ValueError(f"rho must lie strictly between 0 and 1; got {self.rho}")

    @property
    def label(self) -> str:
        """A short name for tables and messages."""
        return f"Poisson rho={self.rho:g}"

    def value(self, p: Tensor, q: Tensor) -> Tensor:
        """K at squared distance `p`."""
        return self._power(p, -0.5 * self.d)

    def derivative(self, p: Tensor, q: Tensor) -> Tensor:
        """dK/dt, the derivative with respect to the cosine."""
        return self.d * self._power(p, -0.5 * self.d) * self._slope(p)

    def value_and_derivative(self, p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        """K and dK/dt together, with one power."""
        value = self._power(p, -0.5 * self.d)
        return value, self.d * value * self._slope(p)

    def second(self, p: Tensor, q: Tensor) -> Tensor:
        """d^2K/dt^2, the second derivative with respect to the cosine."""
        slope = self._slope(p)
        return self.d * (self.d + 2) * self._power(p, -0.5 * self.d) * slope * slope

    def log_value(self, p: Tensor, q: Tensor) -> Tensor:
        """Log K."""
        return -0.5 * self.d * torch.log1p(self._ratio * p)

    def mean(self, d: int) -> float:
        """E K, in closed form where `d` is the kernel's own dimension."""
        d = _moments.check_dimension(d)
        if d != self.d:
            return super().mean(d)
        return (1 - self.rho) ** (d - 1) / (1 + self.rho)

    def gegenbauer(self, d: int, degree_max: int) -> np.ndarray:
        """Coefficients in closed form where `d` is the kernel's own dimension."""
        d, degree_max = _moments.check_dimension(d), _moments.check_degree(degree_max)
        if d != self.d:
            return super().gegenbauer(d, degree_max)
        log_first = (d - 1) * np.log1p(-self.rho) - np.log1p(self.rho)
        ratios = self.rho * _moments.dimension_ratios(d, degree_max)
        return _moments.from_ratios(self.mean(d), log_first, ratios)

    def _power(self, p: Tensor, exponent: float) -> Tensor:
        """(1 + ratio p)^exponent; a high power would magnify the rounding of the sum."""
        if self.d <= _FEW_FACTORS:
            return power(1 + self._ratio * p, exponent)
        return torch.exp(exponent * torch.log1p(self._ratio * p))

    def _slope(self, p: Tensor) -> Tensor:
        """Derivative of log(1 + ratio p); times K it stays in float32 where its parts do not."""
        return self._ratio / (1 + self._ratio * p)

    @property
    def _ratio(self) -> float:
        """1 - 2 rho t + rho^2 = (1 - rho)^2 (1 + ratio p)."""
        return self.rho / (1 - self.rho) ** 2


def _bessel_ratios(nu: float, kappa: float, count: int) -> np.ndarray:
    """I_(nu + k + 1) / I_(nu + k) at kappa for k from 0 to count - 1.

    Their recurrence runs downwards from a bound whose error goes like kappa^-2, and starts so far
    above that even this is forgotten where kappa is not large.
    """
    ahead = min(int(7 * kappa**0.5) + 20, _MOST_AHEAD)
    order = nu + count + ahead
    ratio = kappa / (order + 0.5 + ((order + 1.5) ** 2 + kappa**2) ** 0.5)
    ratios = np.empty(count + ahead)
    for k in range(count + ahead - 1, -1, -1):
        ratio = kappa / (2 * (nu + k + 1) + kappa * ratio)
        ratios[k] = ratio
    return ratios[:count]


def _log_bessel_mean(nu: float, kappa: float) -> float:
    """Log of Gamma(nu + 1) (2 / kappa)^nu e^-kappa I_nu(kappa) for large hypot(nu, kappa).

    By the uniform (Debye) expansion, DLMF 10.41.3.
    """
    r = float(np.hypot(nu, kappa))
    t = (nu / r) ** 2
    terms = [
        np.polynomial.polynomial.polyval(t, numbers) / (scale * r**k)
        for k, (scale, numbers) in enumerate(_DEBYE, start=1)
    ]
    log_bessel = nu**2 / (r + kappa) + nu * np.log(2 / (nu + r)) - 0.5 * np.log(2 * np.pi * r)
    return float(log_bessel + np.log1p(sum(terms)) + special.gammaln(nu + 1))
