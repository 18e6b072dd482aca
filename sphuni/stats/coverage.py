"""Tests of the circle from what arcs that start at the points leave uncovered."""

import dataclasses
import math
from typing import ClassVar

from torch import Tensor

from sphuni.stats._base import LawChoice
from sphuni.stats.circular import ROUNDING, CircleTest, gaps, normal_law
from sphuni.stats.laws import circular as laws

__all__ = ["MaxUncover", "NumUncover", "Vacancy"]


@dataclasses.dataclass(frozen=True)
class _Uncovered(CircleTest):
    a: float = 2.0 * math.pi

    def __post_init__(self) -> None:
        if not 0 < self.a < math.inf:
            raise ValueError(f"a must be the positive total length of the arcs; got {self.a}")

    @property
    def _b(self) -> float:
        return self.a / (2.0 * math.pi)


@dataclasses.dataclass(frozen=True)
class Vacancy(_Uncovered):
    """Length that arcs of length a / n starting at the points leave uncovered, standardised.

    Parameters
    ----------
    a : float, default 2 pi
        Total length of the arcs, in radians.

    References
    ----------
    F. W. Huffer, L. A. Shepp, "On the probability of covering the circle by random arcs", Journal
    of Applied Probability 24 (1987) 422-429, doi:10.2307/3214266.
    """

    name: ClassVar[str] = "vacancy"
    detects: ClassVar[str] = "empty arcs"
    reference: ClassVar[str] = "Huffer & Shepp 1987, doi:10.2307/3214266"

    def of_turns(self, u: Tensor, n: int) -> Tensor:
        """Uncovered share of the circle."""
        e = math.exp(-self._b)
        sd = math.sqrt(2.0 * e - e * e - (e * (1.0 + self._b)) ** 2)
        share = (gaps(u) - self._b / n).clamp(min=0.0).sum(-1)
        return math.sqrt(n) * (share - e) / sd

    def law(self, n: int) -> LawChoice | None:
        """Normal."""
        return normal_law(1.0)


@dataclasses.dataclass(frozen=True)
class MaxUncover(_Uncovered):
    r"""The longest uncovered arc, :math:`n D/2\pi - \log n` with D the largest gap.

    Parameters
    ----------
    a : float, default 2 pi
        Total length of the arcs, in radians.

    References
    ----------
    F. W. Huffer, L. A. Shepp, "On the probability of covering the circle by random arcs", Journal
    of Applied Probability 24 (1987) 422-429, doi:10.2307/3214266.
    """

    name: ClassVar[str] = "max_uncover"
    detects: ClassVar[str] = "an empty arc"
    reference: ClassVar[str] = "Huffer & Shepp 1987, doi:10.2307/3214266"

    def of_turns(self, u: Tensor, n: int) -> Tensor:
        """The largest gap less the arc that covers part of it."""
        rest = (gaps(u).amax(-1) - self._b / n).clamp(min=0.0)
        return n * rest + self._b - math.log(n)

    def law(self, n: int) -> LawChoice | None:
        """Gumbel's, cut off at the value of a circle that is covered."""
        law = laws.Gumbel(least=self._b - math.log(n))
        return LawChoice(law, "asymptotic", "Gumbel")


@dataclasses.dataclass(frozen=True)
class NumUncover(_Uncovered):
    """How many uncovered arcs there are, standardised: few when points cluster.

    The statistic is large for points that are *more regular* than chance; clustering shows in its
    lower tail.

    Parameters
    ----------
    a : float, default 2 pi
        Total length of the arcs, in radians.

    References
    ----------
    F. W. Huffer, L. A. Shepp, "On the probability of covering the circle by random arcs", Journal
    of Applied Probability 24 (1987) 422-429, doi:10.2307/3214266.
    """

    name: ClassVar[str] = "num_uncover"
    detects: ClassVar[str] = "spacings that are all alike; clustering in the lower tail"
    reference: ClassVar[str] = "Huffer & Shepp 1987, doi:10.2307/3214266"
    discrete: ClassVar[bool] = True

    def of_turns(self, u: Tensor, n: int) -> Tensor:
        """Count the gaps longer than an arc."""
        e = math.exp(-self._b)
        sd = math.sqrt(e - e * e * (1.0 + self._b**2))
        count = (gaps(u) > self._b / n + ROUNDING).sum(-1).to(u.dtype)
        return math.sqrt(n) * (count / n - e) / sd

    def law(self, n: int) -> LawChoice | None:
        """Normal."""
        return normal_law(1.0)
