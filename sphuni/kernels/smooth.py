"""Gaussian, Laplace and Poisson kernels: bounded at coincident points."""

import dataclasses

import numpy as np
import torch
from torch import Tensor

from sphuni import _numbers
from sphuni.kernels._base import Kernel
from sphuni.kernels._powers import power
from sphuni.special import harmonic_dimension

__all__ = ["Gaussian", "Laplace", "Poisson"]

_FEW_FACTORS = 16


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
        return self.d * self._ratio * self._power(p, -0.5 * self.d - 1)

    def value_and_derivative(self, p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        """K and dK/dt together, with one power."""
        value = self._power(p, -0.5 * self.d)
        return value, self.d * self._ratio * value / (1 + self._ratio * p)

    def second(self, p: Tensor, q: Tensor) -> Tensor:
        """d^2K/dt^2, the second derivative with respect to the cosine."""
        constant = self.d * (self.d + 2) * self._ratio**2
        return constant * self._power(p, -0.5 * self.d - 2)

    def gegenbauer(self, d: int, degree_max: int) -> np.ndarray:
        """Coefficients in closed form where `d` is the kernel's own dimension."""
        if d != self.d:
            return super().gegenbauer(d, degree_max)
        scale = (1 - self.rho) ** d / (1 - self.rho**2)
        degrees = range(degree_max + 1)
        return np.array([scale * float(harmonic_dimension(l, d)) * self.rho**l for l in degrees])

    def _power(self, p: Tensor, exponent: float) -> Tensor:
        """(1 + ratio p)^exponent; a high power would magnify the rounding of the sum."""
        if self.d <= _FEW_FACTORS:
            return power(1 + self._ratio * p, exponent)
        return torch.exp(exponent * torch.log1p(self._ratio * p))

    @property
    def _ratio(self) -> float:
        """1 - 2 rho t + rho^2 = (1 - rho)^2 (1 + ratio p)."""
        return self.rho / (1 - self.rho) ** 2
