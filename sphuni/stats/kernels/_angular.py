"""Kernels that are functions of the angle, and a few more that only the tests need."""

import abc
import dataclasses
import math

import torch
from torch import Tensor

from sphuni.kernels import Kernel
from sphuni.stats.kernels._zonal import ConeKernel

__all__ = [
    "AngleKernel",
    "CircleAndersonDarling",
    "CircleCap",
    "CircleQuartic",
    "CircleSquare",
    "HalfTangent",
    "LogOnePlusChord",
    "PyckeSeries",
    "arcs_have_atom",
]

_PI2 = 2.0 * math.pi
_FEW_POINTS = 10


@dataclasses.dataclass(frozen=True)
class AngleKernel(ConeKernel):
    """A kernel f(theta) given by f and its first two derivatives."""

    @abc.abstractmethod
    def of_angle(self, theta: Tensor, order: int) -> Tensor:
        """f, f' or f'' at the angle."""

    def value(self, p: Tensor, q: Tensor) -> Tensor:
        """K at squared distance `p` to the point and `q` to its antipode."""
        return self.of_angle(_angle(p, q), 0)

    def derivative(self, p: Tensor, q: Tensor) -> Tensor:
        """dK/dt, the derivative with respect to the cosine."""
        return -2.0 * self.of_angle(_angle(p, q), 1) * torch.rsqrt(p * q)

    def second(self, p: Tensor, q: Tensor) -> Tensor:
        """d^2K/dt^2, the second derivative with respect to the cosine."""
        theta, sine = _angle(p, q), 0.5 * torch.sqrt(p * q)
        bend = self.of_angle(theta, 2) * sine - self.of_angle(theta, 1) * (q - p) / 4
        return bend / sine**3

    @property
    def at_one(self) -> float:
        """K of two coincident points."""
        return float(self.of_angle(torch.zeros((), dtype=torch.float64), 0))

    @property
    def at_minus_one(self) -> float:
        """K of two antipodal points."""
        return float(self.of_angle(torch.tensor(math.pi, dtype=torch.float64), 0))


@dataclasses.dataclass(frozen=True)
class CircleSquare(AngleKernel):
    """x^2 - x + 1/6 with x = theta / (2 pi), the second Bernoulli polynomial."""

    @property
    def label(self) -> str:
        """A short name for tables and messages."""
        return "Bernoulli B2"

    def of_angle(self, theta: Tensor, order: int) -> Tensor:
        """The polynomial or a derivative."""
        x = theta / _PI2
        if order == 0:
            return x * x - x + 1.0 / 6.0
        return (2.0 * x - 1.0) / _PI2 if order == 1 else torch.full_like(x, 2.0 / _PI2**2)

    def mean(self, d: int) -> float:
        """0 on the circle."""
        return 0.0 if d == 2 else super().mean(d)


@dataclasses.dataclass(frozen=True)
class CircleQuartic(AngleKernel):
    """(1 - 2 x)^4 - 1/5 with x = theta / (2 pi): whether an even number of 4 points lie between."""

    @property
    def label(self) -> str:
        """A short name for tables and messages."""
        return "four-point overlap"

    def of_angle(self, theta: Tensor, order: int) -> Tensor:
        """The polynomial or a derivative."""
        u = 1.0 - theta / math.pi
        if order == 0:
            return u.square().square() - 0.2
        return -4.0 / math.pi * u**3 if order == 1 else 12.0 / math.pi**2 * u * u

    def mean(self, d: int) -> float:
        """0 on the circle."""
        return 0.0 if d == 2 else super().mean(d)


@dataclasses.dataclass(frozen=True)
class CircleCap(AngleKernel):
    """t (1 - t) - min(theta / (2 pi), t) for 0 < t <= 1/2: overlap of arcs of measure t."""

    t: float

    @property
    def label(self) -> str:
        """A short name for tables and messages."""
        return f"arc overlap t={self.t:g}"

    def of_angle(self, theta: Tensor, order: int) -> Tensor:
        """The truncated cone or a derivative."""
        x = theta / _PI2
        if order == 0:
            return self.t * (1.0 - self.t) - x.clamp(max=self.t)
        if order == 1:
            return torch.where(x < self.t, -1.0 / _PI2, 0.0).to(x.dtype)
        return torch.zeros_like(x)

    def mean(self, d: int) -> float:
        """0 on the circle."""
        return 0.0 if d == 2 else super().mean(d)


@dataclasses.dataclass(frozen=True)
class CircleAndersonDarling(AngleKernel):
    """(theta log theta + (2 pi - theta) log(2 pi - theta)) / pi + 1 - 2 log(2 pi)."""

    @property
    def label(self) -> str:
        """A short name for tables and messages."""
        return "projected Anderson-Darling, d=2"

    def of_angle(self, theta: Tensor, order: int) -> Tensor:
        """The kernel or a derivative."""
        rest = _PI2 - theta
        if order == 0:
            both = torch.special.xlogy(theta, theta) + torch.special.xlogy(rest, rest)
            return both / math.pi + (1.0 - 2.0 * math.log(_PI2))
        if order == 1:
            return torch.log(theta / rest) / math.pi
        return (1.0 / theta + 1.0 / rest) / math.pi

    def mean(self, d: int) -> float:
        """0 on the circle."""
        return 0.0 if d == 2 else super().mean(d)


@dataclasses.dataclass(frozen=True)
class LogOnePlusChord(Kernel):
    """1 - 2 log(1 + |x - y| / 2), the projected Anderson-Darling kernel of S^2."""

    @property
    def label(self) -> str:
        """A short name for tables and messages."""
        return "projected Anderson-Darling, d=3"

    def value(self, p: Tensor, q: Tensor) -> Tensor:
        """K at squared distance `p`."""
        return 1.0 - 2.0 * torch.log1p(0.5 * torch.sqrt(p))

    def derivative(self, p: Tensor, q: Tensor) -> Tensor:
        """dK/dt, the derivative with respect to the cosine."""
        r = torch.sqrt(p)
        return 2.0 / (r * (2.0 + r))

    def second(self, p: Tensor, q: Tensor) -> Tensor:
        """d^2K/dt^2, the second derivative with respect to the cosine."""
        r = torch.sqrt(p)
        return 4.0 * (1.0 + r) / (r**3 * (2.0 + r) ** 2)

    @property
    def at_one(self) -> float:
        """K of two coincident points."""
        return 1.0

    @property
    def singular(self) -> bool:
        """The chord has a cone at coincident points."""
        return True

    @property
    def reads_q(self) -> bool:
        """False."""
        return False

    def mean(self, d: int) -> float:
        """0 on S^2."""
        return 0.0 if d == 3 else super().mean(d)


@dataclasses.dataclass(frozen=True)
class HalfTangent(Kernel):
    """cot(theta/2) + a tan(theta/2)."""

    a: float = 0.0

    @property
    def label(self) -> str:
        """A short name for tables and messages."""
        return f"stereographic a={self.a:g}"

    def value(self, p: Tensor, q: Tensor) -> Tensor:
        """K at squared distance `p` to the point and `q` to its antipode."""
        value = torch.sqrt(q / p)
        return value if self.a == 0.0 else value + self.a * torch.sqrt(p / q)

    def derivative(self, p: Tensor, q: Tensor) -> Tensor:
        """dK/dt; that of cot is 1 / (sin(theta) (1 - t)), of tan -1 / (sin(theta) (1 + t))."""
        root = torch.rsqrt(p * q)
        value = 4.0 * root / p
        return value if self.a == 0.0 else value - 4.0 * self.a * root / q

    def second(self, p: Tensor, q: Tensor) -> Tensor:
        """d^2K/dt^2, the second derivative with respect to the cosine."""
        root = torch.rsqrt(p * q)
        near = 4.0 * root / p * (3.0 / p - 1.0 / q)
        far = 4.0 * root / q * (3.0 / q - 1.0 / p)
        return near + self.a * far

    @property
    def at_one(self) -> float:
        """Infinite."""
        return math.inf

    @property
    def at_minus_one(self) -> float:
        """0, or infinite with the sign of a."""
        return 0.0 if self.a == 0.0 else math.copysign(math.inf, self.a)

    @property
    def order_at_one(self) -> float:
        """1."""
        return 1.0

    @property
    def order_at_minus_one(self) -> float:
        """1 unless a = 0."""
        return 0.0 if self.a == 0.0 else 1.0

    @property
    def singular(self) -> bool:
        """True."""
        return True

    @property
    def singular_opposite(self) -> bool:
        """True: even the cotangent has a cone there."""
        return True


@dataclasses.dataclass(frozen=True)
class PyckeSeries(Kernel):
    """(t - r) / (1 - 2 r t + r^2) = sum_k r^(k-1) cos(k theta), 0 < r < 1."""

    r: float

    @property
    def label(self) -> str:
        """A short name for tables and messages."""
        return f"geometric series q={self.r:g}"

    def value(self, p: Tensor, q: Tensor) -> Tensor:
        """K at squared distance `p`; both parts are sums of p and (1 - r)."""
        gap = 1.0 - self.r
        return (gap - 0.5 * p) / (gap * gap + self.r * p)

    def derivative(self, p: Tensor, q: Tensor) -> Tensor:
        """dK/dt, the derivative with respect to the cosine."""
        gap = 1.0 - self.r
        return (1.0 - self.r**2) / (gap * gap + self.r * p) ** 2

    def second(self, p: Tensor, q: Tensor) -> Tensor:
        """d^2K/dt^2, the second derivative with respect to the cosine."""
        gap = 1.0 - self.r
        return 4.0 * self.r * (1.0 - self.r**2) / (gap * gap + self.r * p) ** 3

    @property
    def at_one(self) -> float:
        """K of two coincident points."""
        return 1.0 / (1.0 - self.r)

    @property
    def reads_q(self) -> bool:
        """False."""
        return False

    def mean(self, d: int) -> float:
        """0 on the circle."""
        return 0.0 if d == 2 else super().mean(d)


def _angle(p: Tensor, q: Tensor) -> Tensor:
    return 2.0 * torch.atan2(torch.sqrt(p), torch.sqrt(q))


def arcs_have_atom(n: int, t: float) -> bool:
    """Whether the counts of points in arcs of measure t are often as even as they can be.

    Where n t is not whole that is a set of positive probability, on which their variance has its
    least value; from 10 points on it is too small to matter.
    """
    return n < _FEW_POINTS and abs(n * t - round(n * t)) > 1e-9
