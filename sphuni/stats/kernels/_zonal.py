"""Zonal kernels that only the tests of uniformity need.

Each is centred or nearly so: a statistic of order 1 is what is left of a sum of order n, and the
digits must survive in float32.
"""

import dataclasses
import math

import torch
from torch import Tensor

from sphuni.kernels import GegenbauerSeries, Kernel, OfBase
from sphuni.special._measure import log_gamma_half_step

__all__ = ["Centred", "ConeKernel", "Latitude", "OneMinusSine", "Series"]


@dataclasses.dataclass(frozen=True)
class Centred(OfBase):
    """`base` less its mean in R^d, pair by pair, so that sums of many pairs keep digits."""

    constant: float
    d: int

    @property
    def label(self) -> str:
        """A short name for tables and messages."""
        return f"{self.base.label} - {self.constant:.6g}"

    def value(self, p: Tensor, q: Tensor) -> Tensor:
        """K at squared distance `p` to the point and `q` to its antipode."""
        return self.base.value(p, q) - self.constant

    def derivative(self, p: Tensor, q: Tensor) -> Tensor:
        """dK/dt, the derivative with respect to the cosine."""
        return self.base.derivative(p, q)

    def second(self, p: Tensor, q: Tensor) -> Tensor:
        """d^2K/dt^2, the second derivative with respect to the cosine."""
        return self.base.second(p, q)

    def value_and_derivative(self, p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        """K and dK/dt together."""
        value, slope = self.base.value_and_derivative(p, q)
        return value - self.constant, slope

    @property
    def at_one(self) -> float:
        """K of two coincident points."""
        return self.base.at_one - self.constant

    @property
    def at_minus_one(self) -> float:
        """K of two antipodal points."""
        return self.base.at_minus_one - self.constant

    @property
    def order_at_one(self) -> float:
        """That of the base."""
        return self.base.order_at_one

    @property
    def order_at_minus_one(self) -> float:
        """That of the base."""
        return self.base.order_at_minus_one

    def mean(self, d: int) -> float:
        """Zero in the dimension that the constant belongs to."""
        return 0.0 if d == self.d else self.base.mean(d) - self.constant

    def variance(self, d: int) -> float:
        """The variance of the base."""
        return self.base.variance(d)


@dataclasses.dataclass(frozen=True)
class Series(GegenbauerSeries):
    """A Gegenbauer series whose value skips the derivatives, which cost three times as much."""

    def value(self, p: Tensor, q: Tensor) -> Tensor:
        """K at cosine (q - p) / 4."""
        t = (q - p) / 4
        before, now = torch.ones_like(t), t
        total = self.coefficients[0] + self.coefficients[1] * t
        for degree, coefficient in enumerate(self.coefficients[2:], start=2):
            scale = 1.0 / (degree + self.d - 3) if degree + self.d > 3 else 1.0
            ahead = (2 * degree + self.d - 4) * scale
            before, now = now, torch.addcmul(before * (-(degree - 1) * scale), t, now, value=ahead)
            if coefficient != 0.0:
                total = total + coefficient * now
        return total


@dataclasses.dataclass(frozen=True)
class ConeKernel(Kernel):
    """A bounded kernel with a cone at coincident and at antipodal points, as the angle has."""

    @property
    def singular(self) -> bool:
        """The kernel has a cone at coincident points."""
        return True

    @property
    def singular_opposite(self) -> bool:
        """The kernel has a cone at antipodal points."""
        return True


@dataclasses.dataclass(frozen=True)
class Latitude(ConeKernel):
    """pi/2 - theta, the arc sine of the cosine: odd, with mean 0 in every dimension."""

    @property
    def label(self) -> str:
        """A short name for tables and messages."""
        return "latitude"

    def value(self, p: Tensor, q: Tensor) -> Tensor:
        """K at squared distance `p` to the point and `q` to its antipode."""
        return torch.atan2(0.25 * (q - p), _sine(p, q))

    def derivative(self, p: Tensor, q: Tensor) -> Tensor:
        """dK/dt, the derivative with respect to the cosine."""
        return 1.0 / _sine(p, q)

    def second(self, p: Tensor, q: Tensor) -> Tensor:
        """d^2K/dt^2, the second derivative with respect to the cosine."""
        return 0.25 * (q - p) / _sine(p, q) ** 3

    @property
    def at_one(self) -> float:
        """K of two coincident points."""
        return 0.5 * math.pi

    @property
    def at_minus_one(self) -> float:
        """K of two antipodal points."""
        return -0.5 * math.pi

    def mean(self, d: int) -> float:
        """E K = 0 by symmetry."""
        return 0.0


@dataclasses.dataclass(frozen=True)
class OneMinusSine(ConeKernel):
    """1 - sin(theta), formed as t^2 / (1 + sin(theta)) so that small values keep their digits."""

    @property
    def label(self) -> str:
        """A short name for tables and messages."""
        return "1 - sine"

    def value(self, p: Tensor, q: Tensor) -> Tensor:
        """K at squared distance `p` to the point and `q` to its antipode."""
        return (q - p).square() / (16.0 + 16.0 * _sine(p, q))

    def derivative(self, p: Tensor, q: Tensor) -> Tensor:
        """dK/dt, the derivative with respect to the cosine."""
        return 0.25 * (q - p) / _sine(p, q)

    def second(self, p: Tensor, q: Tensor) -> Tensor:
        """d^2K/dt^2, the second derivative with respect to the cosine."""
        return _sine(p, q) ** -3

    @property
    def at_one(self) -> float:
        """K of two coincident points."""
        return 1.0

    @property
    def at_minus_one(self) -> float:
        """K of two antipodal points."""
        return 1.0

    @staticmethod
    def mean_sine(d: int) -> float:
        """E sin(theta), 2 (Gamma(d/2) / Gamma((d-1)/2))^2 / (d - 1)."""
        return 2.0 / (d - 1) * math.exp(2.0 * log_gamma_half_step(0.5 * (d - 1)))

    def mean(self, d: int) -> float:
        """E K in closed form."""
        return 1.0 - self.mean_sine(d)


def _sine(p: Tensor, q: Tensor) -> Tensor:
    return 0.5 * torch.sqrt(p * q)
