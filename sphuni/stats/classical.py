"""The classical Sobolev tests: Rayleigh, Bingham, Giné."""

import dataclasses
import math
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sphuni._typing import Points
from sphuni.special import harmonic_dimension
from sphuni.sphere import root, unit_rows
from sphuni.stats._base import LawChoice, Term
from sphuni.stats.kernels._zonal import OneMinusSine
from sphuni.stats.laws.circular import Normal
from sphuni.stats.laws.rayleigh import RayleighLaw
from sphuni.stats.sobolev import SobolevTest

__all__ = ["Bingham", "GineGn", "Rayleigh", "RayleighHD"]

_FLOAT = NDArray[np.float64]
_EXACT_UP_TO = 40


@dataclasses.dataclass(frozen=True)
class Rayleigh(SobolevTest):
    r"""Rayleigh's test, :math:`S = n d |\bar x|^2`: the first harmonic alone.

    References
    ----------
    K. V. Mardia, P. E. Jupp, "Directional Statistics", Wiley, 1999, section 10.4,
    doi:10.1002/9780470316979.
    """

    name: ClassVar[str] = "rayleigh"
    detects: ClassVar[str] = "a common direction"
    reference: ClassVar[str] = "Mardia & Jupp 1999, doi:10.1002/9780470316979"

    def summary(self, points: Points, d: int) -> Tensor:
        """The length of the sum of the points."""
        total = points.sum(-2, dtype=torch.float64)
        squared = total.square().sum(-1)
        return root(squared)

    def from_summary(self, summary: Any, n: int, d: int) -> Tensor:
        """D R^2 / n, with R the resultant length."""
        return d / n * torch.as_tensor(summary).square()

    def pair_terms(self, d: int) -> tuple[Term, ...]:
        """None: the resultant needs no pairs."""
        return ()

    def coefficients(self, d: int, count: int) -> _FLOAT:
        """v_1 = 1."""
        return np.array([float(d)])

    def at_one(self, d: int) -> float:
        """D."""
        return float(d)

    def values(self, t: _FLOAT, d: int) -> _FLOAT:
        """psi(t) = d t."""
        return d * t

    def best_law(self, n: int, d: int) -> LawChoice | None:
        """The exact law up to n = 40 on the circle and S^2."""
        if d <= 3 and 2 <= n <= _EXACT_UP_TO:
            law = self.placed(RayleighLaw(n, d), n, d)
            return LawChoice(law, "exact", f"length of a sum of {n} uniform unit vectors")
        return super().best_law(n, d)


@dataclasses.dataclass(frozen=True)
class RayleighHD(Rayleigh):
    r"""Rayleigh's statistic standardised for high dimension, :math:`(S - d) / \sqrt{2 d}`.

    References
    ----------
    D. Paindaveine, T. Verdebout, "On high-dimensional sign tests", Bernoulli 22 (2016) 1745-1769,
    doi:10.3150/15-BEJ710.
    """

    name: ClassVar[str] = "rayleigh_hd"
    reference: ClassVar[str] = "Paindaveine & Verdebout 2016, doi:10.3150/15-BEJ710"

    @classmethod
    def defined(cls, d: int) -> bool:
        """From d = 3 on."""
        return d >= 3

    def from_summary(self, summary: Any, n: int, d: int) -> Tensor:
        """Centred and scaled."""
        return (super().from_summary(summary, n, d) - d) / math.sqrt(2.0 * d)

    def affine(self, n: int, d: int) -> tuple[float, float]:
        """Scale and offset of the same."""
        return 1.0 / math.sqrt(2.0 * d), -math.sqrt(0.5 * d)

    def asymptotic_law(self, n: int, d: int) -> LawChoice | None:
        """Normal, as d grows; "auto" takes the law of Rayleigh's statistic at n and d."""
        return LawChoice(Normal(1.0), "asymptotic", "normal, as d grows")


@dataclasses.dataclass(frozen=True)
class Bingham(SobolevTest):
    r"""Bingham's test, :math:`S = \tfrac{n d (d+2)}{2} (\mathrm{tr}\,T^2 - 1/d)`.

    T is the scatter matrix :math:`\frac1n \sum x x^T`; the statistic is the second harmonic alone.

    References
    ----------
    C. Bingham, "An antipodally symmetric distribution on the sphere", Annals of Statistics 2
    (1974) 1201-1225, doi:10.1214/aos/1176342874.
    """

    name: ClassVar[str] = "bingham"
    detects: ClassVar[str] = "a common axis or plane, whatever the sign of the points"
    reference: ClassVar[str] = "Bingham 1974, doi:10.1214/aos/1176342874"

    def summary(self, points: Points, d: int) -> Tensor:
        """The sum of all n^2 squared cosines, from the smaller of the two Gram matrices.

        Norms that are 1 to single precision only would count n times, so they are put right.
        """
        x = points if points.dtype == torch.float64 else unit_rows(points.double())
        small = x.mT @ x if x.shape[-1] < x.shape[-2] else x @ x.mT
        return small.square().sum((-2, -1))

    def from_summary(self, summary: Any, n: int, d: int) -> Tensor:
        """D (d + 2) / (2 n) times the excess of the sum of squares over n^2 / d."""
        doubled = 2 if self.antipodal else 1
        return doubled * d * (d + 2) / (2 * n) * (torch.as_tensor(summary) - n * n / d)

    def pair_terms(self, d: int) -> tuple[Term, ...]:
        """None: the scatter matrix needs no pairs."""
        return ()

    def coefficients(self, d: int, count: int) -> _FLOAT:
        """v_2 = 1."""
        return np.array([0.0, float(harmonic_dimension(2, d))])

    def at_one(self, d: int) -> float:
        """(d - 1) (d + 2) / 2."""
        return float(harmonic_dimension(2, d))

    def values(self, t: _FLOAT, d: int) -> _FLOAT:
        """psi(t) = (d + 2) (d t^2 - 1) / 2."""
        return 0.5 * (d + 2) * (d * t * t - 1)


@dataclasses.dataclass(frozen=True)
class GineGn(SobolevTest):
    r"""Giné's G_n, :math:`S = \frac n2 - \frac An \sum_{i<j} \sin\theta_{ij}`, all even harmonics.

    :math:`A = \frac{d-1}{2} (\Gamma(\frac{d-1}2) / \Gamma(\frac d2))^2 = 1 / E\sin\theta`.

    References
    ----------
    E. M. Giné, "Invariant tests for uniformity on compact Riemannian manifolds based on Sobolev
    norms", Annals of Statistics 3 (1975) 1243-1266, doi:10.1214/aos/1176343283.
    """

    name: ClassVar[str] = "gine_gn"
    detects: ClassVar[str] = "every departure that is symmetric under x to -x"
    reference: ClassVar[str] = "Giné 1975, doi:10.1214/aos/1176343283"

    def pair_terms(self, d: int) -> tuple[Term, ...]:
        """A (1 - sin theta)."""
        return (Term(1.0 / OneMinusSine.mean_sine(d), OneMinusSine()),)

    def coefficients(self, d: int, count: int) -> _FLOAT:
        """Closed form, even degrees only."""
        return gine_coefficients(d, count)

    def at_one(self, d: int) -> float:
        """1/2."""
        return 0.5


def gine_coefficients(d: int, count: int) -> _FLOAT:
    r"""Return v_k^2 d_k of G_n: even k = 2m, from Saalschütz's sum.

    :math:`-\tfrac12 d_{2m} (\tfrac12)_m (-\tfrac12)_m / ((\tfrac{d-1}2)_m (\tfrac{d+1}2)_m)`.
    """
    values = np.zeros(count)
    ratio = 1.0
    for m in range(1, count // 2 + 1):
        j = m - 1
        ratio *= (0.5 + j) * (-0.5 + j) / ((0.5 * (d - 1) + j) * (0.5 * (d + 1) + j))
        values[2 * m - 1] = -0.5 * ratio * float(harmonic_dimension(2 * m, d))
    return values
