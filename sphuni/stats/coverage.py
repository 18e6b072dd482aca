"""Tests of the circle from what arcs that start at the points leave uncovered."""

import dataclasses
import math
from typing import ClassVar

from scipy import special
from torch import Tensor

from sphuni.stats._base import LawChoice
from sphuni.stats.circular import ROUNDING, CircleTest, gaps, normal_law
from sphuni.stats.laws import circular as laws

__all__ = ["MaxUncover", "NumUncover", "Vacancy"]

_SHORTEST, _LONGEST = 1e-6, 4000.0
_LEAST_VARIANCE = 190.0
_NOTABLE = 1e-3


@dataclasses.dataclass(frozen=True)
class _Uncovered(CircleTest):
    a: float = 2.0 * math.pi

    def __post_init__(self) -> None:
        if not _SHORTEST <= self.a <= _LONGEST:
            raise ValueError(
                f"a must be the total length of the arcs in radians, from {_SHORTEST:g} to "
                f"{_LONGEST:g}: shorter ones never meet, longer ones leave nothing uncovered; "
                f"got {self.a}"
            )

    @property
    def _b(self) -> float:
        return self.a / (2.0 * math.pi)

    def _count_variance(self) -> float:
        """Variance of the number of uncovered arcs over n, for large n."""
        e = math.exp(-self._b)
        if self._b < 1.0:
            return e * e * (math.expm1(self._b) - self._b**2)
        return e - e * e * (1.0 + self._b**2)

    def _covered(self, n: int) -> float:
        """Probability that nothing is uncovered."""
        if self._b <= 1.0:
            return 0.0
        return float(laws.LargestGap(n).tails(self.a / n).lower)


@dataclasses.dataclass(frozen=True)
class _Summed(_Uncovered):
    """A sum over the gaps, normal once the gaps of either kind are many."""

    def _is_normal(self, n: int) -> bool:
        # the number of gaps of the rarer kind is close to Poisson: its variance says how many
        return n * self._count_variance() >= _LEAST_VARIANCE

    def law(self, n: int) -> LawChoice | None:
        """Normal."""
        choice = normal_law(1.0)
        if self._is_normal(n):
            return choice
        kind = "uncovered arcs" if self._b > 1.0 else "overlapping arcs"
        words = f"{kind} are too rare for the normal law at n = {n}, a = {self.a:.6g}"
        return choice._replace(caution=f"{words}: null='auto' simulates there")

    def best_law(self, n: int, d: int) -> LawChoice | None:
        """Normal where a simulated table would be too slow and gaps of either kind are many."""
        return super().best_law(n, d) if self._is_normal(n) else None


@dataclasses.dataclass(frozen=True)
class Vacancy(_Summed):
    """Length that arcs of length a / n starting at the points leave uncovered, standardised.

    Parameters
    ----------
    a : float, default 2 pi
        Total length of the arcs, in radians, from 1e-6 to 4000.

    References
    ----------
    F. W. Huffer, L. A. Shepp, "On the probability of covering the circle by random arcs", Journal
    of Applied Probability 24 (1987) 422-429, doi:10.2307/3214266.
    """

    name: ClassVar[str] = "vacancy"
    detects: ClassVar[str] = "empty arcs"
    reference: ClassVar[str] = "Huffer & Shepp 1987, doi:10.2307/3214266"

    def of_turns(self, u: Tensor, n: int) -> Tensor:
        """Uncovered share of the circle; overlaps of short arcs are what it has besides 1 - b."""
        b, gap = self._b, gaps(u)
        e = math.exp(-b)
        if b >= 1.0:
            excess = (gap - b / n).clamp(min=0.0).sum(-1) - e
            variance = 2.0 * e - e * e - (e * (1.0 + b)) ** 2
        else:
            # e^-b - 1 + b and e^b - 1 - b - b^2 / 2 without cancellation
            rest = 0.5 * b**2 * float(special.hyp1f1(1, 3, -b))
            excess = (b / n - gap).clamp(min=0.0).sum(-1) - rest
            variance = e * e * b**3 / 3.0 * float(special.hyp1f1(1, 4, b))
        return math.sqrt(n) / math.sqrt(variance) * excess

    def has_atoms(self, n: int, d: int) -> bool:
        """All may be covered, or no arcs overlap."""
        least = (1.0 - self._b) ** (n - 1) if self._b < 1.0 else self._covered(n)
        return least > _NOTABLE


@dataclasses.dataclass(frozen=True)
class MaxUncover(_Uncovered):
    r"""The longest uncovered arc, :math:`n D/2\pi - \log n` with D the largest gap.

    Parameters
    ----------
    a : float, default 2 pi
        Total length of the arcs, in radians, from 1e-6 to 4000.

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

    def has_atoms(self, n: int, d: int) -> bool:
        """All may be covered."""
        return self._covered(n) > _NOTABLE

    def law(self, n: int) -> LawChoice | None:
        """Gumbel's, cut off at the value of a circle that is covered."""
        law = laws.Gumbel(least=self._b - math.log(n))
        return LawChoice(law, "asymptotic", "Gumbel")


@dataclasses.dataclass(frozen=True)
class NumUncover(_Summed):
    """How many uncovered arcs there are, standardised: few when points cluster.

    The statistic is large for points that are *more regular* than chance; clustering shows in its
    lower tail.

    Parameters
    ----------
    a : float, default 2 pi
        Total length of the arcs, in radians, from 1e-6 to 4000.

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
        count = (gaps(u) > self._b / n + ROUNDING).sum(-1).to(u.dtype)
        return math.sqrt(n / self._count_variance()) * (count / n - math.exp(-self._b))
