"""Sobolev tests of the circle (Pycke's also on S^2)."""

import dataclasses
import math
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sphuni._numbers import whole
from sphuni._typing import Points
from sphuni.kernels import Riesz
from sphuni.sphere import root
from sphuni.stats._base import LawChoice, Term
from sphuni.stats.classical import Rayleigh
from sphuni.stats.kernels import _coefficients as co
from sphuni.stats.kernels._angular import CircleQuartic, CircleSquare, PyckeSeries
from sphuni.stats.kernels._zonal import Centred, Latitude, OneMinusSine
from sphuni.stats.laws import Affine
from sphuni.stats.projected import PRt
from sphuni.stats.sobolev import SobolevTest
from sphuni.stats.sums._sorted import doubled, sorted_turns

__all__ = [
    "FeltzGoldin",
    "HermansRasson",
    "Pycke",
    "PyckeQ",
    "RayleighM",
    "Rothman",
    "Watson",
    "watson_of_turns",
]

_FLOAT = NDArray[np.float64]
_BETA = math.pi**2 / 36.0 / (0.5 - 4.0 / math.pi**2)


@dataclasses.dataclass(frozen=True)
class RayleighM(SobolevTest):
    r"""The m-modal Rayleigh test of the circle, :math:`\frac2n |\sum e^{i m \theta}|^2`.

    Parameters
    ----------
    m : int, default 2
        Number of equally spaced modes; ``uniformity_test(points, "rayleigh", m=2)`` is this test.

    References
    ----------
    K. V. Mardia, P. E. Jupp, "Directional Statistics", Wiley, 1999, doi:10.1002/9780470316979.
    """

    name: ClassVar[str] = "rayleigh_m"
    detects: ClassVar[str] = "m equally spaced modes"
    reference: ClassVar[str] = "Mardia & Jupp 1999, doi:10.1002/9780470316979"
    circle_only: ClassVar[bool] = True
    least_n: ClassVar[int] = 2
    m: int = 2

    def __post_init__(self) -> None:
        whole("m", self.m, 1, "a number of modes")

    def check(self, n: int, d: int) -> None:
        """Refuse other dimensions by both names that the test has."""
        if d != 2:
            raise ValueError(
                f"test 'rayleigh' with m = {self.m} ('rayleigh_m') is defined on the circle "
                f"(d = 2) only; the points have d = {d}. Leave out m for a common direction"
            )
        super().check(n, d)

    def summary(self, points: Points, d: int) -> Tensor:
        """Length of the sum of e^(i m theta), by complex powers."""
        x = points.double()
        total = (torch.complex(x[..., 0], x[..., 1]) ** self.m).sum(-1)
        squared = total.real.square() + total.imag.square()
        return root(squared)

    def from_summary(self, summary: Any, n: int, d: int) -> Tensor:
        """2 R^2 / n."""
        doubled = 2 if self.antipodal else 1
        return doubled * 2.0 / n * torch.as_tensor(summary).square()

    def pair_terms(self, d: int) -> tuple[Term, ...]:
        """None: the resultant needs no pairs."""
        return ()

    def coefficients(self, d: int, count: int) -> _FLOAT:
        """v_m = 1."""
        return np.where(np.arange(1, self.m + 1) == self.m, 2.0, 0.0)

    def at_one(self, d: int) -> float:
        """2."""
        return 2.0

    def values(self, t: _FLOAT, d: int) -> _FLOAT:
        """2 cos(m theta)."""
        return np.asarray(2.0 * np.cos(self.m * np.arccos(t)))

    def best_law(self, n: int, d: int) -> LawChoice | None:
        """That of Rayleigh's test: m theta is uniform too."""
        choice = Rayleigh().best_law(n, d)
        if choice is None or not self.antipodal:
            return choice
        return choice._replace(law=Affine(choice.law, 2.0, 0.0))  # an even number of modes


@dataclasses.dataclass(frozen=True)
class Watson(SobolevTest):
    r"""Watson's :math:`U^2`, the rotation-invariant Cramér-von Mises statistic; O(n log n).

    References
    ----------
    G. S. Watson, "Goodness-of-fit tests on a circle", Biometrika 48 (1961) 109-114,
    doi:10.1093/biomet/48.1-2.109.
    """

    name: ClassVar[str] = "watson"
    detects: ClassVar[str] = "every departure on the circle"
    reference: ClassVar[str] = "Watson 1961, doi:10.1093/biomet/48.1-2.109"
    circle_only: ClassVar[bool] = True

    def summary(self, points: Points, d: int) -> Tensor:
        """The statistic itself, from sorted angles; those of lines are doubled."""
        u = sorted_turns(points)
        return watson_of_turns(doubled(u) if self.antipodal else u)

    def from_summary(self, summary: Any, n: int, d: int) -> Tensor:
        """As it is."""
        return torch.as_tensor(summary)

    def asymptotic_law(self, n: int, d: int) -> LawChoice | None:
        """The weighted chi-square law; doubled angles have the same."""
        return Watson().asymptotic_law(n, d) if self.antipodal else super().asymptotic_law(n, d)

    def best_law(self, n: int, d: int) -> LawChoice | None:
        """The same where its size is right."""
        return Watson().best_law(n, d) if self.antipodal else super().best_law(n, d)

    def pair_terms(self, d: int) -> tuple[Term, ...]:
        """None: sorting serves."""
        return ()

    def psi_terms(self, d: int) -> tuple[Term, ...]:
        """The second Bernoulli polynomial."""
        return (Term(1.0, CircleSquare()),)

    def coefficients(self, d: int, count: int) -> _FLOAT:
        """1 / (2 pi^2 k^2)."""
        return 0.5 / (math.pi * np.arange(1.0, count + 1)) ** 2

    def at_one(self, d: int) -> float:
        """1/12."""
        return 1.0 / 12.0

    def values(self, t: _FLOAT, d: int) -> _FLOAT:
        """Half of the second Bernoulli polynomial."""
        x = np.arccos(t) / (2.0 * math.pi)
        return np.asarray(0.5 * (x * x - x + 1.0 / 6.0))


@dataclasses.dataclass(frozen=True)
class FeltzGoldin(SobolevTest):
    r"""Feltz and Goldin's four-point Cramér-von Mises test of the circle.

    :math:`S = \frac1{96 n} \sum_{i,j} ((1 - \theta_{ij} / \pi)^4 - \tfrac15)`.

    Notes
    -----
    Four uniform points cut the circle into two sets of alternate arcs. The statistic is
    1 / 4! times the mean square of the difference between the share of the points in one of the
    sets and its length, times n; with two points it would be Watson's, and the kernel follows
    from the chance (1 + (1 - theta / pi)^4) / 2 that two points fall into the same set. Its
    Fourier coefficients give the limit law.

    References
    ----------
    C. J. Feltz, G. A. Goldin, "Partition-based goodness-of-fit tests on the line and the circle",
    Australian & New Zealand Journal of Statistics 43 (2001) 207-220,
    doi:10.1111/1467-842X.00166.
    """

    name: ClassVar[str] = "fg01"
    aliases: ClassVar[tuple[str, ...]] = ("feltz_goldin",)
    detects: ClassVar[str] = "every departure on the circle, finer ones than watson"
    reference: ClassVar[str] = "Feltz & Goldin 2001, doi:10.1111/1467-842X.00166"
    circle_only: ClassVar[bool] = True

    def pair_terms(self, d: int) -> tuple[Term, ...]:
        """The quartic."""
        return (Term(1.0 / 48.0, CircleQuartic()),)

    def coefficients(self, d: int, count: int) -> _FLOAT:
        """Those of the second and fourth Bernoulli polynomials."""
        square = (math.pi * np.arange(1.0, count + 1)) ** 2
        return np.asarray((0.5 - 3.0 / square) / square / 6.0)

    def at_one(self, d: int) -> float:
        """1/120."""
        return 1.0 / 120.0


@dataclasses.dataclass(frozen=True)
class Rothman(PRt):
    """Rothman's test of the circle: arcs of measure t.

    Parameters
    ----------
    t : float, default 1/3
        Measure of the arcs, in (0, 1), at least 1e-9 from either end.

    References
    ----------
    E. D. Rothman, "Tests for uniformity of a circular distribution", Sankhya A 34 (1972) 23-32.
    """

    name: ClassVar[str] = "rothman"
    detects: ClassVar[str] = "arcs of measure t that hold too much or too little"
    reference: ClassVar[str] = "Rothman 1972, Sankhya A 34, 23-32"
    circle_only: ClassVar[bool] = True


@dataclasses.dataclass(frozen=True)
class HermansRasson(SobolevTest):
    r"""Hermans and Rasson's test, the sum of theta and :math:`\beta_2 \sin\theta` over pairs.

    References
    ----------
    M. Hermans, J. P. Rasson, "A new Sobolev test for uniformity on the circle", Biometrika 72
    (1985) 698-702, doi:10.1093/biomet/72.3.698.
    """

    name: ClassVar[str] = "hermans_rasson"
    detects: ClassVar[str] = "several modes"
    reference: ClassVar[str] = "Hermans & Rasson 1985, doi:10.1093/biomet/72.3.698"
    circle_only: ClassVar[bool] = True

    def pair_terms(self, d: int) -> tuple[Term, ...]:
        """2 (pi/2 - theta) + 2 beta (1 - sin theta)."""
        return Term(2.0, Latitude()), Term(2.0 * _BETA, OneMinusSine())

    def coefficients(self, d: int, count: int) -> _FLOAT:
        """Fourier coefficients of the angle and of the sine."""
        k = np.arange(1.0, count + 1)
        odd = np.arange(1, count + 1) % 2 == 1
        even = 4.0 * _BETA / (math.pi * np.where(odd, 1.0, k * k - 1.0))
        return np.where(odd, 4.0 / (math.pi * k * k), even)

    def at_one(self, d: int) -> float:
        """pi/2 + 2 beta / pi."""
        return 0.5 * math.pi + 2.0 * _BETA / math.pi


@dataclasses.dataclass(frozen=True)
class Pycke(SobolevTest):
    r"""Pycke's logarithmic test, on the circle and on S^2.

    :math:`-\frac{4}{n-1} \sum \log|x_i - x_j|` on the circle, and
    :math:`\frac1{\pi(n-1)} \sum (E \log|x-y| - \log|x_i - x_j|)` on S^2.

    References
    ----------
    J.-R. Pycke, "U-statistics based on the Green's function of the Laplacian on the circle and the
    sphere", Statistics & Probability Letters 77 (2007) 863-872, doi:10.1016/j.spl.2006.11.009.

    J.-R. Pycke, "Some tests for uniformity of circular distributions powerful against multimodal
    alternatives", Canadian Journal of Statistics 38 (2010) 80-96, doi:10.1002/cjs.10048.
    """

    form: ClassVar[str] = "U"
    name: ClassVar[str] = "pycke"
    detects: ClassVar[str] = "several modes, close pairs"
    reference: ClassVar[str] = "Pycke 2010, doi:10.1002/cjs.10048"

    @classmethod
    def defined(cls, d: int) -> bool:
        """On the circle and on S^2."""
        return d in (2, 3)

    def pair_terms(self, d: int) -> tuple[Term, ...]:
        """Twice the logarithmic kernel."""
        log = Riesz(0.0)
        return (Term(2.0, Centred(log, log.mean(d) if d > 2 else 0.0, d)),)

    def coefficients(self, d: int, count: int) -> _FLOAT:
        """Those of -log."""
        return co.log_chord(d, count) * co.dimensions(d, count)

    def at_one(self, d: int) -> float:
        """Infinite."""
        return math.inf

    def second_moment(self, d: int) -> float:
        """The variance of the logarithm."""
        return math.pi**2 / 12.0 if d == 2 else 0.25

    def affine(self, n: int, d: int) -> tuple[float, float]:
        """Custom scales by n / (n - 1), and by 2 or 1 / (2 pi)."""
        return n / (n - 1) * (2.0 if d == 2 else 0.5 / math.pi), 0.0


@dataclasses.dataclass(frozen=True)
class PyckeQ(SobolevTest):
    r"""Pycke's test with weights :math:`v_k^2 = q^{k-1}`.

    Parameters
    ----------
    q : float, default 0.5
        In (0, 1).

    References
    ----------
    J.-R. Pycke, "Some tests for uniformity of circular distributions powerful against multimodal
    alternatives", Canadian Journal of Statistics 38 (2010) 80-96, doi:10.1002/cjs.10048.
    """

    name: ClassVar[str] = "pycke_q"
    detects: ClassVar[str] = "several modes"
    reference: ClassVar[str] = "Pycke 2010, doi:10.1002/cjs.10048"
    circle_only: ClassVar[bool] = True
    q: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.q < 1:
            raise ValueError(f"q must lie strictly between 0 and 1; got {self.q}")

    def pair_terms(self, d: int) -> tuple[Term, ...]:
        """The geometric series of cosines."""
        return (Term(4.0, PyckeSeries(self.q)),)

    def coefficients(self, d: int, count: int) -> _FLOAT:
        """2 q^(k-1)."""
        return np.asarray(2.0 * self.q ** np.arange(count))

    def at_one(self, d: int) -> float:
        """2 / (1 - q)."""
        return 2.0 / (1.0 - self.q)


def watson_of_turns(u: Tensor) -> Tensor:
    """Watson's U^2 of sorted turns (..., n)."""
    n = u.shape[-1]
    gap = u - (torch.arange(1, n + 1, dtype=u.dtype, device=u.device) - 0.5) / n
    return (gap - gap.mean(-1, keepdim=True)).square().sum(-1) + 1.0 / (12.0 * n)
