"""Bandwidth tests in the normalisations of other packages: QuadratiK's U and V, and MMD."""

import dataclasses
import math
import sys
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sphuni.kernels import Poisson
from sphuni.stats._base import Term
from sphuni.stats.kernels import _coefficients as co
from sphuni.stats.kernels._zonal import Centred
from sphuni.stats.pairs import Softmax
from sphuni.stats.sobolev import SobolevTest

__all__ = ["MMD", "QuadratikU", "QuadratikV"]

_FLOAT = NDArray[np.float64]
_LARGEST_CONSTANT = 1e8
_NARROWEST = 1e-100


@dataclasses.dataclass(frozen=True)
class _Quadratik(SobolevTest):
    rho: float | None = None

    def __post_init__(self) -> None:
        if self.rho is not None and not 0 < self.rho < 1:
            raise ValueError(f"rho must lie strictly between 0 and 1; got {self.rho}")

    def check(self, n: int, d: int) -> None:
        """Refuse kernels so narrow that their mean is no number."""
        if self._kernel_mean(d) < sys.float_info.min / sys.float_info.epsilon:
            raise ValueError(
                f"test {self.name!r} at rho = {self.rho} in R^{d} sees nothing but coincident "
                f"points; take rho={d**-0.5:.2g} or leave it out"
            )
        super().check(n, d)

    def pair_terms(self, d: int) -> tuple[Term, ...]:
        """Twice the Poisson kernel over its mean, less 1."""
        rho, mean = self._rho(d), self._kernel_mean(d)
        return (Term(2.0 / mean, Centred(Poisson(rho, d), mean, d)),)

    def coefficients(self, d: int, count: int) -> _FLOAT:
        """d_k rho^k."""
        return self._rho(d) ** np.arange(1.0, count + 1) * co.dimensions(d, count)

    def at_one(self, d: int) -> float:
        """The kernel of a point with itself, less 1."""
        rho = self._rho(d)
        log_value = math.log1p(rho) - (d - 1) * math.log1p(-rho)
        return math.expm1(log_value) if log_value < 700.0 else math.inf

    def second_moment(self, d: int) -> float:
        """Closed form."""
        square = self._rho(d) ** 2
        return math.expm1(min(math.log1p(square) - (d - 1) * math.log1p(-square), 700.0))

    def _rho(self, d: int) -> float:
        return d**-0.5 if self.rho is None else self.rho

    def _kernel_mean(self, d: int) -> float:
        rho = self._rho(d)
        return math.exp(d * math.log1p(-rho) - math.log1p(-(rho**2)))


@dataclasses.dataclass(frozen=True)
class QuadratikU(_Quadratik):
    r"""QuadratiK's standardised :math:`U_n`, the mean of the centred Poisson kernel over pairs.

    :math:`\frac{1}{\sigma n (n-1)} \sum_{i \ne j} (K_\rho(x_i \cdot x_j) - 1)` with
    :math:`\sigma^2 = \frac{2}{n(n-1)} (\frac{1 + \rho^2}{(1 - \rho^2)^{d-1}} - 1)`, which is its
    exact variance.

    Parameters
    ----------
    rho : float, optional
        Concentration in (0, 1). Default: d^(-1/2), at which degree k has about 1 / k! of the
        variance in every dimension.

    References
    ----------
    Y. Ding, M. Markatou, G. Saraceno, "Poisson kernel-based tests for uniformity on the
    d-dimensional sphere", Statistica Sinica 35 (2025) 1947-1969, doi:10.5705/ss.202022.0347.
    """

    form: ClassVar[str] = "U"
    name: ClassVar[str] = "quadratik_u"
    detects: ClassVar[str] = "clusters of a size set by rho"
    reference: ClassVar[str] = "Ding, Markatou & Saraceno 2025, doi:10.5705/ss.202022.0347"

    def affine(self, n: int, d: int) -> tuple[float, float]:
        """Divided by the standard deviation of a mean over pairs."""
        spread = math.sqrt(2.0 * (n - 1) / n * self.second_moment(d))
        return 1.0 / spread, 0.0


@dataclasses.dataclass(frozen=True)
class QuadratikV(_Quadratik):
    r"""QuadratiK's :math:`V_n = \frac1n \sum_{i,j} (K_\rho(x_i \cdot x_j) - 1)`.

    Parameters
    ----------
    rho : float, optional
        Concentration in (0, 1). Default: d^(-1/2).

    Notes
    -----
    The pairs i = j add a constant that hides the rest in high dimension: beyond 1e8 the test is
    refused, and `quadratik_u`, which leaves them out, says the same.

    References
    ----------
    Y. Ding, M. Markatou, G. Saraceno, "Poisson kernel-based tests for uniformity on the
    d-dimensional sphere", Statistica Sinica 35 (2025) 1947-1969, doi:10.5705/ss.202022.0347.
    """

    name: ClassVar[str] = "quadratik_v"
    detects: ClassVar[str] = "clusters of a size set by rho"
    reference: ClassVar[str] = "Ding, Markatou & Saraceno 2025, doi:10.5705/ss.202022.0347"

    def check(self, n: int, d: int) -> None:
        """Refuse dimensions in which the constant leaves no digits."""
        super().check(n, d)
        if self.at_one(d) > _LARGEST_CONSTANT:
            raise ValueError(
                f"test 'quadratik_v' at rho = {self._rho(d):.3g} in R^{d} is a constant of "
                f"{self.at_one(d):.0e} plus a statistic of order 1; take 'quadratik_u'"
            )


@dataclasses.dataclass(frozen=True)
class MMD(Softmax):
    r"""Maximum mean discrepancy to the uniform law, n times squared, in the V-form.

    :math:`\frac1n \sum_{i,j} (k(x_i, x_j) - E k)` with
    :math:`k = e^{-|x - y|^2 / (2 h^2)}`; `softmax` with kappa = h^-2 is its U-form.

    Parameters
    ----------
    bandwidth : float, default 1
        h, in units of the chord.

    References
    ----------
    A. Gretton, K. Borgwardt, M. Rasch, B. Schölkopf, A. Smola, "A kernel two-sample test", Journal
    of Machine Learning Research 13 (2012) 723-773.
    """

    form: ClassVar[str] = "V"
    name: ClassVar[str] = "mmd"
    detects: ClassVar[str] = "every departure, at the scale of the bandwidth"
    reference: ClassVar[str] = "Gretton et al. 2012, JMLR 13, 723-773"
    kappa: float = dataclasses.field(default=1.0, init=False)
    bandwidth: float = 1.0

    def __post_init__(self) -> None:
        if not _NARROWEST <= self.bandwidth <= 1.0 / _NARROWEST:
            raise ValueError(
                "bandwidth must be a positive number, in units of the chord, from "
                f"{_NARROWEST:g} to {1.0 / _NARROWEST:g}; got {self.bandwidth}"
            )
        object.__setattr__(self, "kappa", self.bandwidth**-2)
