"""Projected tests: how far the ecdf of projections is from their law, over all directions."""

import dataclasses
import functools
import math
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import special

from sphuni.kernels import Riesz
from sphuni.special import cap_angle, cosine_cdf, gegenbauer
from sphuni.stats._base import Term
from sphuni.stats.kernels import _coefficients as co
from sphuni.stats.kernels._angular import (
    CircleAndersonDarling,
    CircleCap,
    CircleSquare,
    LogOnePlusChord,
    arcs_have_atom,
)
from sphuni.stats.kernels._projected_kernels import ProjectedKernel
from sphuni.stats.kernels._zonal import Centred, Latitude
from sphuni.stats.laws import SmallestDistance
from sphuni.stats.sobolev import SobolevTest

__all__ = ["PAD", "PCvM", "PRt", "ProjectedTest"]

_FLOAT = NDArray[np.float64]
_NODES = 1200
_DEGREES = 512
_NOTABLE = 1e-3
_SMALLEST = 1e-9
_CROWDED = 0.6  # share of the sphere beyond which more than two caps hardly ever stay apart


@dataclasses.dataclass(frozen=True)
class ProjectedTest(SobolevTest):
    r"""A test :math:`n \int\int (F_{n,g}(u) - F(u))^2 dg\, dW(u)` over directions g.

    References
    ----------
    E. García-Portugués, P. Navarro-Esteban, J. A. Cuesta-Albertos, "On a projection-based class
    of uniformity tests on the hypersphere", Bernoulli 29 (2023) 181-204, doi:10.3150/21-BEJ1454.
    """

    reference: ClassVar[str] = "García-Portugués et al. 2023, doi:10.3150/21-BEJ1454"


@dataclasses.dataclass(frozen=True)
class PCvM(ProjectedTest):
    """Projected Cramér-von Mises test: W = F.

    References
    ----------
    E. García-Portugués, P. Navarro-Esteban, J. A. Cuesta-Albertos, "On a projection-based class
    of uniformity tests on the hypersphere", Bernoulli 29 (2023) 181-204, doi:10.3150/21-BEJ1454.
    """

    name: ClassVar[str] = "pcvm"
    detects: ClassVar[str] = "every departure, low harmonics most"

    def pair_terms(self, d: int) -> tuple[Term, ...]:
        """Closed for d = 2 and 3."""
        if d == 2:
            return (Term(2.0, CircleSquare()),)
        if d == 3:
            return (Term(0.25, Centred(Riesz(-1.0), Riesz(-1.0).mean(3), 3)),)
        return (Term(2.0, ProjectedKernel("cvm", d)),)

    def coefficients(self, d: int, count: int) -> _FLOAT:
        """Closed for d = 2 and 3, else the integral of squared cap eigenvalues."""
        if d == 2:
            return 1.0 / (math.pi * np.arange(1.0, count + 1)) ** 2
        if d == 3:
            return -0.125 * co.chord_power(1.0, 3, count)[1:] * co.dimensions(3, count)
        return _integrated("cvm", d, min(count, _DEGREES))

    def at_one(self, d: int) -> float:
        """1/6."""
        return 1.0 / 6.0


@dataclasses.dataclass(frozen=True)
class PAD(ProjectedTest):
    """Projected Anderson-Darling test: dW = dF / (F (1 - F)).

    References
    ----------
    E. García-Portugués, P. Navarro-Esteban, J. A. Cuesta-Albertos, "On a projection-based class
    of uniformity tests on the hypersphere", Bernoulli 29 (2023) 181-204, doi:10.3150/21-BEJ1454.
    """

    name: ClassVar[str] = "pad"
    detects: ClassVar[str] = "every departure, small caps more than pcvm"

    def pair_terms(self, d: int) -> tuple[Term, ...]:
        """Closed for d = 2 and 3."""
        if d == 2:
            return (Term(2.0, CircleAndersonDarling()),)
        return (Term(2.0, LogOnePlusChord() if d == 3 else ProjectedKernel("ad", d)),)

    def coefficients(self, d: int, count: int) -> _FLOAT:
        """The integral of squared cap eigenvalues."""
        return _integrated("ad", d, min(count, _DEGREES))

    def at_one(self, d: int) -> float:
        """1."""
        return 1.0


@dataclasses.dataclass(frozen=True)
class PRt(ProjectedTest):
    """Projected Rothman test: caps of one size, W a unit mass at it.

    Parameters
    ----------
    t : float, default 1/3
        Measure of the caps, in (0, 1), at least 1e-9 from either end; 1/2 is Ajne's test, and t and
        1 - t are the same.

    References
    ----------
    E. D. Rothman, "Tests for uniformity of a circular distribution", Sankhya A 34 (1972) 23-32.
    """

    name: ClassVar[str] = "prt"
    detects: ClassVar[str] = "caps of measure t that hold too much or too little"
    t: float = 1.0 / 3.0

    def __post_init__(self) -> None:
        if not 0 < self.t < 1:
            raise ValueError(f"t must lie strictly between 0 and 1; got {self.t}")
        if self._small < _SMALLEST * (1 - 1e-6):  # 1 - t has few digits there
            raise ValueError(
                f"t must lie between {_SMALLEST:g} and 1 - {_SMALLEST:g}: smaller caps hardly ever "
                f"hold two points, and their cosine has no digits left; got {self.t}"
            )

    def pair_terms(self, d: int) -> tuple[Term, ...]:
        """Closed on the circle and for hemispheres."""
        if self.t == 0.5:
            return (Term(1.0 / math.pi, Latitude()),)
        if d == 2:
            return (Term(2.0, CircleCap(self._small)),)
        return (Term(2.0, ProjectedKernel("cap", d, self._cosine(d))),)

    def has_atoms(self, n: int, d: int) -> bool:
        """Few points of the circle often have as even counts in arcs as there can be.

        Points so far apart that no two share a cap give the least value in every dimension.
        """
        if d == 2 and arcs_have_atom(n, self._small):
            return True
        caps = (2 if self.antipodal else 1) * n * self._small
        if self.t == 0.5 or (n > 2 and caps > _CROWDED):
            return False
        chord = 2.0 * math.sin(float(cap_angle(self._small, d)))
        apart = SmallestDistance(n, d, self.antipodal).tails(np.array(-(chord**2))).lower
        return float(apart) > _NOTABLE

    def coefficients(self, d: int, count: int) -> _FLOAT:
        """Squares of the cap's eigenvalues."""
        if d == 2:
            k = np.arange(1.0, count + 1)
            return 2.0 * (np.sin(k * math.pi * self._small) / (k * math.pi)) ** 2
        cosine = np.array([self._cosine(d)])
        return _caps(cosine, d, count)[:, 0] ** 2 * co.dimensions(d, count)

    def at_one(self, d: int) -> float:
        """T (1 - t)."""
        return self.t * (1.0 - self.t)

    @property
    def _small(self) -> float:
        return min(self.t, 1.0 - self.t)

    def _cosine(self, d: int) -> float:
        return math.cos(float(cap_angle(self._small, d))) if self.t != 0.5 else 0.0


def _caps(u: _FLOAT, d: int, count: int) -> _FLOAT:
    """E[1(T > u) P_k(T)] for k = 1 .. count, shape (count, u)."""
    log_density = special.gammaln(d / 2) - special.gammaln((d - 1) / 2) - 0.5 * math.log(math.pi)
    front = np.exp(log_density + 0.5 * (d - 1) * np.log1p(-u * u)) / (d - 1)
    return np.asarray(front * gegenbauer(count - 1, u, d + 2))


@functools.lru_cache(maxsize=64)
def _integrated(weight: str, d: int, count: int) -> _FLOAT:
    """d_k times the integral of squared cap eigenvalues, by Gauss-Legendre in the angle."""
    nodes, weights = _legendre()
    angle = 0.25 * math.pi * (nodes + 1.0)
    u = np.cos(angle)
    tail = np.asarray(cosine_cdf(-u, d))
    log_density = special.gammaln(d / 2) - special.gammaln((d - 1) / 2) - 0.5 * math.log(math.pi)
    measure = 0.5 * math.pi * weights * np.exp(log_density + (d - 2) * np.log(np.sin(angle)))
    if weight == "ad":
        measure = measure / np.maximum(tail * (1.0 - tail), 1e-300)
    squares = _caps(u, d, count) ** 2
    return np.asarray((squares @ measure) * co.dimensions(d, count))


@functools.lru_cache(maxsize=1)
def _legendre() -> tuple[_FLOAT, _FLOAT]:
    nodes, weights = special.roots_legendre(_NODES)
    return nodes, weights
