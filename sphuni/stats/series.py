"""Sobolev tests with finitely many harmonics, of weights of one's choice."""

import dataclasses
import functools
import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import special
from torch import Tensor

from sphuni._numbers import whole
from sphuni._typing import Points
from sphuni.stats._base import Term
from sphuni.stats.kernels import _coefficients as co
from sphuni.stats.kernels._zonal import Series
from sphuni.stats.sobolev import SobolevTest
from sphuni.stats.sums._moments import gegenbauer_pair_sum, moment_count, rounding

__all__ = ["Sobolev", "Stein"]

_FLOAT = NDArray[np.float64]
_TERMS = 20
_MOMENTS_FROM = 500
_PAIRS_PER_MOMENT = 4
_LARGEST_ROUNDING = 1e-4


@dataclasses.dataclass(frozen=True)
class Sobolev(SobolevTest):
    r"""A finite Sobolev test with weights :math:`v_1^2, v_2^2, \ldots` of your choice.

    Parameters
    ----------
    weights : sequence of float, default (0, 0, 1)
        Non-negative weights v_k^2 of degrees 1, 2, ...

    References
    ----------
    P. E. Jupp, "Data-driven Sobolev tests of uniformity on compact Riemannian manifolds", Annals
    of Statistics 36 (2008) 1246-1260, doi:10.1214/009053607000000541.
    """

    name: ClassVar[str] = "sobolev"
    detects: ClassVar[str] = "the harmonics with positive weight"
    reference: ClassVar[str] = "Jupp 2008, doi:10.1214/009053607000000541"
    weights: Any = (0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        try:
            given = np.asarray(self.weights, dtype=np.float64)
        except (TypeError, ValueError):
            given = np.empty(())
        if given.ndim != 1:
            raise ValueError(
                f"weights must be one row of numbers, v_k^2 of degrees 1, 2, ...; got "
                f"{self.weights!r}. Rows are tests of their own: uniformity_tests(points, "
                "['sobolev:weights=0/0/1', 'sobolev:weights=1/0/0'])"
            )
        weights = tuple(given.tolist())
        if not weights or not all(0 <= w < math.inf for w in weights) or sum(weights) == 0:
            raise ValueError(
                f"weights must be non-negative numbers, one of them positive; got {self.weights}"
            )
        object.__setattr__(self, "weights", weights)

    def spectrum(self, d: int) -> _FLOAT:
        """v_k^2 in R^d."""
        return np.array(self.weights)

    def pair_terms(self, d: int) -> tuple[Term, ...]:
        """The series itself, twice."""
        values = self.coefficients(d, 0)
        scale = float(values.max())
        return (Term(2.0 * scale, Series((0.0, *(values / scale)), d)),)

    def needs_pairs(self, n: int, d: int) -> bool:
        """While there are fewer points than moments, or where these would leave no digits."""
        degree = int(np.flatnonzero(self.coefficients(d, 0))[-1]) + 1
        if n < _MOMENTS_FROM or _PAIRS_PER_MOMENT * moment_count(degree, d) > n:
            return True
        return n * _rounding(self, d) > _LARGEST_ROUNDING

    def summary(self, points: Points, d: int) -> Tensor | tuple[Tensor, ...]:
        """The pair sum, from moments where there are many points: O(n)."""
        if self.needs_pairs(points.shape[-2], d):
            return super().summary(points, d)
        return (gegenbauer_pair_sum(points, self._series(d), d),)

    def _series(self, d: int) -> _FLOAT:
        """Coefficients from degree 0 on of the kernel that `pair_terms` scales to at most 1."""
        values = np.concatenate([[0.0], self.coefficients(d, 0)])
        values = values[: np.flatnonzero(values)[-1] + 1] / values.max()
        if self.antipodal:
            values = np.where(np.arange(values.size) % 2 == 0, 2.0 * values, 0.0)
        return np.asarray(values)

    def coefficients(self, d: int, count: int) -> _FLOAT:
        """v_k^2 d_k."""
        weights = self.spectrum(d)
        return weights * co.dimensions(d, weights.size)

    def at_one(self, d: int) -> float:
        """The sum of the coefficients."""
        return float(self.coefficients(d, 0).sum())


@dataclasses.dataclass(frozen=True)
class Stein(Sobolev):
    r"""Stein's test: :math:`v_k = \Gamma(\tfrac d2) 2^{d/2-1} k (k+d-2) I_{d/2-1+k}(1)`, k <= K.

    Parameters
    ----------
    K : int, default 10
        Highest degree.
    cf : bool, default False
        Take Bessel's J in place of I, the form from the characteristic function.

    References
    ----------
    P. Axmann, B. Ebner, E. García-Portugués, "On Stein's test of uniformity on the hypersphere",
    preprint, 2026, arXiv:2602.20896.
    """

    name: ClassVar[str] = "stein"
    detects: ClassVar[str] = "low harmonics, second ones most"
    reference: ClassVar[str] = "Axmann, Ebner & García-Portugués 2026, arXiv:2602.20896"
    weights: Any = dataclasses.field(default=(1.0,), init=False)
    K: int = 10
    cf: bool = False

    def __post_init__(self) -> None:
        whole("K", self.K, 1)

    def spectrum(self, d: int) -> _FLOAT:
        """v_k^2 from the power series of the Bessel function, which does not underflow."""
        k = np.arange(1.0, self.K + 1)
        sign = -0.25 if self.cf else 0.25
        bessel = _confluent(0.5 * d + k, sign)
        log_front = special.gammaln(0.5 * d) - special.gammaln(0.5 * d + k) - k * math.log(2.0)
        return np.asarray((k * (k + d - 2) * np.exp(log_front) * bessel) ** 2)


@functools.lru_cache(maxsize=256)
def _rounding(test: Sobolev, d: int) -> float:
    return rounding(test._series(d), d)


def _confluent(b: _FLOAT, z: float) -> _FLOAT:
    """0F1(; b; z) for b >= 1 and small z, by its series: SciPy gives NaN from b = 150 on."""
    total = term = np.ones_like(b)
    for j in range(1, _TERMS + 1):
        term = term * z / ((b + j - 1) * j)
        total = total + term
    return total
