"""Line tests on the circle cut open at angle 0: they change when the origin is moved."""

import dataclasses
import math
from typing import ClassVar

import torch
from torch import Tensor

from sphuni.stats._base import LawChoice
from sphuni.stats.circular import CircleTest
from sphuni.stats.laws import line as laws

__all__ = ["AndersonDarling", "CramerVonMises", "KolmogorovSmirnov", "ecdf_distance"]

_CORRECTED_FROM = 20
_LIMIT_FROM = 100


@dataclasses.dataclass(frozen=True)
class _LineTest(CircleTest):
    invariant: ClassVar[bool] = False


@dataclasses.dataclass(frozen=True)
class KolmogorovSmirnov(_LineTest):
    r"""Kolmogorov's :math:`\sqrt n \max |F_n - F|` of the angles on [0, 2 pi).

    The answer depends on where angle 0 is: `kuiper` is the form that does not.

    References
    ----------
    A. Kolmogorov, "Sulla determinazione empirica di una legge di distribuzione", Giornale
    dell'Istituto Italiano degli Attuari 4 (1933) 83-91.
    """

    name: ClassVar[str] = "ks"
    aliases: ClassVar[tuple[str, ...]] = ("kolmogorov_smirnov",)
    detects: ClassVar[str] = "every departure on the circle; depends on the origin"
    reference: ClassVar[str] = "Kolmogorov 1933, Giornale dell'Istituto Italiano degli Attuari 4"

    def of_turns(self, u: Tensor, n: int) -> Tensor:
        """Largest distance on either side of a step."""
        return math.sqrt(n) * ecdf_distance(u)

    def law(self, n: int) -> LawChoice | None:
        """Exact."""
        return LawChoice(laws.KolmogorovLaw(n), "exact", "Kolmogorov's law at n")


@dataclasses.dataclass(frozen=True)
class CramerVonMises(_LineTest):
    r"""Cramér and von Mises' :math:`\frac1{12n} + \sum (U_{(i)} - \frac{2i-1}{2n})^2`.

    The answer depends on where angle 0 is: `watson` is the form that does not.

    References
    ----------
    T. W. Anderson, D. A. Darling, "Asymptotic theory of certain goodness of fit criteria based on
    stochastic processes", Annals of Mathematical Statistics 23 (1952) 193-212,
    doi:10.1214/aoms/1177729437.
    """

    name: ClassVar[str] = "cvm"
    aliases: ClassVar[tuple[str, ...]] = ("cramer_von_mises",)
    detects: ClassVar[str] = "every departure on the circle; depends on the origin"
    reference: ClassVar[str] = "Anderson & Darling 1952, doi:10.1214/aoms/1177729437"

    def of_turns(self, u: Tensor, n: int) -> Tensor:
        """Squared deviations from the even grid."""
        middle = (torch.arange(1, n + 1, dtype=u.dtype, device=u.device) - 0.5) / n
        return (u - middle).square().sum(-1) + 1.0 / (12.0 * n)

    def law(self, n: int) -> LawChoice | None:
        """The limit law with the exact moments."""
        words = f"weighted sum of chi-squares with the exact moments at n = {n}"
        return LawChoice(laws.cramer_law(n), "asymptotic", words)

    def best_law(self, n: int, d: int) -> LawChoice | None:
        """From n = 20 on."""
        return self.law(n) if n >= _CORRECTED_FROM else None


@dataclasses.dataclass(frozen=True)
class AndersonDarling(_LineTest):
    r"""Anderson and Darling's :math:`-n - \frac1n \sum (2i-1) \log(U_{(i)} (1 - U_{(n+1-i)}))`.

    The answer depends on where angle 0 is: `pad` is the form that does not.

    References
    ----------
    T. W. Anderson, D. A. Darling, "A test of goodness of fit", Journal of the American Statistical
    Association 49 (1954) 765-769, doi:10.1080/01621459.1954.10501232.
    """

    name: ClassVar[str] = "ad"
    aliases: ClassVar[tuple[str, ...]] = ("anderson_darling",)
    detects: ClassVar[str] = "every departure on the circle, most at the origin"
    infinite_at: ClassVar[str] = "a point at angle 0"
    reference: ClassVar[str] = "Anderson & Darling 1954, doi:10.1080/01621459.1954.10501232"

    def of_turns(self, u: Tensor, n: int) -> Tensor:
        """Logarithms of both tails; a point at angle 0 itself makes the statistic infinite."""
        weight = 2.0 * torch.arange(1, n + 1, dtype=u.dtype, device=u.device) - 1.0
        # a point at angle 0 has no say in the gradient
        logs = torch.where(u > 0, torch.log(torch.where(u > 0, u, 1.0)), -torch.inf)
        both = logs + torch.log1p(-u.flip(-1))
        return -n - (weight * both).sum(-1) / n

    def law(self, n: int) -> LawChoice | None:
        """The limit law with the exact variance."""
        words = f"weighted sum of chi-squares with the exact variance at n = {n}"
        return LawChoice(laws.anderson_law(n), "asymptotic", words)

    def best_law(self, n: int, d: int) -> LawChoice | None:
        """From n = 100 on."""
        return self.law(n) if n >= _LIMIT_FROM else None


def ecdf_distance(u: Tensor) -> Tensor:
    """Kolmogorov's distance of sorted values in [0, 1] from the uniform law."""
    n = u.shape[-1]
    above = torch.arange(1, n + 1, dtype=u.dtype, device=u.device) / n - u
    return torch.maximum(above.amax(-1), 1.0 / n - above.amin(-1))
