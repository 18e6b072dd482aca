"""Kernels given by their Gegenbauer coefficients."""

import dataclasses
import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from sphuni import _numbers
from sphuni.kernels import _moments
from sphuni.kernels._base import Kernel

__all__ = ["Dirichlet", "GegenbauerSeries"]


@dataclasses.dataclass(frozen=True)
class GegenbauerSeries(Kernel):
    """sum_l a_l P_l(t) with the polynomials of R^d scaled to P_l(1) = 1.

    Parameters
    ----------
    coefficients : tuple of float
        a_0 .. a_L.
    d : int
        Ambient dimension of the polynomials.
    """

    coefficients: tuple[float, ...] = (0.0, 1.0)
    d: int = 3

    def __post_init__(self) -> None:
        object.__setattr__(self, "d", _numbers.whole("d", self.d, 2))
        object.__setattr__(self, "coefficients", _finite_numbers(self.coefficients))

    @property
    def label(self) -> str:
        """A short name for tables and messages."""
        return f"Gegenbauer series of degree {len(self.coefficients) - 1} in R^{self.d}"

    def value(self, p: Tensor, q: Tensor) -> Tensor:
        """K at cosine (q - p) / 4."""
        return self._sum(p, q, 0)

    def derivative(self, p: Tensor, q: Tensor) -> Tensor:
        """dK/dt, the derivative with respect to the cosine."""
        return self._sum(p, q, 1)

    def second(self, p: Tensor, q: Tensor) -> Tensor:
        """d^2K/dt^2, the second derivative with respect to the cosine."""
        return self._sum(p, q, 2)

    @property
    def at_one(self) -> float:
        """K of two coincident points."""
        return math.fsum(self.coefficients)

    def mean(self, d: int) -> float:
        """E K, which is a_0 in the series' own dimension."""
        d = _moments.check_dimension(d)
        return self.coefficients[0] if d == self.d else super().mean(d)

    def gegenbauer(self, d: int, degree_max: int) -> np.ndarray:
        """The coefficients themselves in the series' own dimension, cut or padded with zeros."""
        d, degree_max = _moments.check_dimension(d), _moments.check_degree(degree_max)
        if d != self.d:
            return super().gegenbauer(d, degree_max)
        padded = np.zeros(degree_max + 1)
        known = self.coefficients[: degree_max + 1]
        padded[: len(known)] = known
        return padded

    def _sum(self, p: Tensor, q: Tensor, order: int) -> Tensor:
        """The `order`-th derivative of the series, summed from its last term by Clenshaw's rule."""
        t = (q - p) / 4
        coefficients, d = np.asarray(self.coefficients), self.d
        for _ in range(order):
            coefficients, d = _differentiate(coefficients, d), d + 2
        after = torch.zeros_like(t)
        now = after + float(coefficients[-1])
        for degree in range(len(coefficients) - 2, -1, -1):
            up, _ = _recurrence(degree, d)
            _, down = _recurrence(degree + 1, d)
            after, now = now, up * t * now - down * after + float(coefficients[degree])
        return now


@dataclasses.dataclass(frozen=True)
class Dirichlet(GegenbauerSeries):
    """The reproducing kernel of polynomials of degree <= L on S^2: sum (2l + 1) P_l / (4 pi).

    Its Gram determinant is what Womersley's extremal points maximise.

    References
    ----------
    I. H. Sloan, R. S. Womersley, "Extremal systems of points and numerical integration on the
    sphere", Adv. Comput. Math. 21, 2004, 107-125. doi:10.1023/B:ACOM.0000016428.25905.da.
    """

    coefficients: tuple[float, ...] = dataclasses.field(init=False, default=(0.0,), repr=False)
    d: int = dataclasses.field(init=False, default=3, repr=False)
    degree: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "degree", _numbers.whole("degree", self.degree, 0))
        weights = tuple((2 * l + 1) / (4 * math.pi) for l in range(self.degree + 1))
        object.__setattr__(self, "coefficients", weights)

    @property
    def label(self) -> str:
        """A short name for tables and messages."""
        return f"Dirichlet degree={self.degree}"


def _finite_numbers(coefficients: Iterable[float]) -> tuple[float, ...]:
    """Coefficients as plain floats."""
    wanted = "coefficients must be a non-empty tuple of finite numbers"
    try:
        plain = tuple(
            _numbers.finite(f"coefficients[{place}]", a) for place, a in enumerate(coefficients)
        )
    except (TypeError, ValueError) as error:
        raise type(error)(f"{wanted}: {error}") from None
    if not plain:
        raise ValueError(f"{wanted}; got none")
    return plain


def _differentiate(coefficients: np.ndarray, d: int) -> np.ndarray:
    """Coefficients in R^(d + 2) of the derivative: P_l' = l (l + d - 2) / (d - 1) P_(l-1)."""
    degree = np.arange(1, len(coefficients))
    slopes = coefficients[1:] * degree * (degree + d - 2) / (d - 1)
    return slopes if len(slopes) else np.zeros(1)


def _recurrence(degree: int, d: int) -> tuple[float, float]:
    """Return a and b of P_(l+1) = a t P_l - b P_(l-1) at l = `degree`."""
    if degree == 0:
        return 1.0, 0.0
    scale = 1 / (degree + d - 2)
    return (2 * degree + d - 2) * scale, degree * scale
