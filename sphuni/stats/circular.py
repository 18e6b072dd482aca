"""Tests of the circle from sorted angles: ecdf, spacings and scans, all O(n log n)."""

import abc
import dataclasses
import math
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sphuni._typing import Points
from sphuni.stats._base import LawChoice, UniformityTest
from sphuni.stats.laws import Affine, Empirical
from sphuni.stats.laws import circular as laws
from sphuni.stats.sums._sorted import doubled, sorted_turns

__all__ = [
    "ROUNDING",
    "CircleTest",
    "Cressie",
    "Gini",
    "GiniSquared",
    "Greenwood",
    "HodgesAjne",
    "Kuiper",
    "LogGaps",
    "Range",
    "Rao",
    "Watson1976",
    "gaps",
    "normal_law",
]

_FLOAT = NDArray[np.float64]
_TABLE_UP_TO = 2000
_ARC_VARIANCE = 100.0
_EULER = 0.57721566490153286
_SKEWED = "gamma with the exact mean, variance and skewness"
ROUNDING = 1e-12
"""Shares of a turn that differ by less are taken as equal."""


@dataclasses.dataclass(frozen=True)
class CircleTest(UniformityTest):
    """A test of the circle whose summary is the sorted angles, as shares of a turn.

    With `antipodal` angles are doubled, which makes lines into points and leaves every null law.
    """

    circle_only: ClassVar[bool] = True
    pairwise: ClassVar[bool] = False
    one_number: ClassVar[bool] = False
    antipodal: bool = False

    def summary(self, points: Points, d: int) -> Tensor:
        """Angles as shares of a turn in [0, 1), ascending."""
        return self.turns(sorted_turns(points))

    def turns(self, u: Tensor) -> Tensor:
        """Sorted turns that the statistic is of: those of points, or of lines."""
        return doubled(u) if self.antipodal else u

    def from_summary(self, summary: Any, n: int, d: int) -> Tensor:
        """The statistic from sorted angles."""
        return self.of_turns(torch.as_tensor(summary), n)

    @abc.abstractmethod
    def of_turns(self, u: Tensor, n: int) -> Tensor:
        """The statistic (...,) of sorted turns u (..., n)."""

    def law(self, n: int) -> LawChoice | None:
        """Exact or limit law."""
        return None

    def asymptotic_law(self, n: int, d: int) -> LawChoice | None:
        """Exact or limit law."""
        return self.law(n)

    def best_law(self, n: int, d: int) -> LawChoice | None:
        """An exact law; a limit law only where a simulated table would be too slow."""
        choice = self.law(n)
        if choice is None or (choice.kind == "asymptotic" and n <= _TABLE_UP_TO):
            return None
        return choice


@dataclasses.dataclass(frozen=True)
class Kuiper(CircleTest):
    r"""Kuiper's test, :math:`\sqrt n (D^+ + D^-)`.

    References
    ----------
    N. H. Kuiper, "Tests concerning random points on a circle", Indagationes Mathematicae 63 (1960)
    38-47, doi:10.1016/S1385-7258(60)50006-0.
    """

    name: ClassVar[str] = "kuiper"
    detects: ClassVar[str] = "every departure on the circle"
    reference: ClassVar[str] = "Kuiper 1960, doi:10.1016/S1385-7258(60)50006-0"

    def of_turns(self, u: Tensor, n: int) -> Tensor:
        """Range of the difference between ecdf and uniform law."""
        above = _ranks(u, n) / n - u
        return math.sqrt(n) * (above.amax(-1) - above.amin(-1) + 1.0 / n)

    def law(self, n: int) -> LawChoice | None:
        """Kuiper's series with its term of order 1 / sqrt(n)."""
        return LawChoice(laws.KuiperLaw(n, "series"), "asymptotic", "Kuiper's series")

    def best_law(self, n: int, d: int) -> LawChoice | None:
        """From n = 100 on the series at the shifted statistic."""
        words = "Kuiper's series at V sqrt(n) + 1 / (3 sqrt(n))"
        return LawChoice(laws.KuiperLaw(n), "asymptotic", words) if n >= 100 else None


@dataclasses.dataclass(frozen=True)
class Watson1976(CircleTest):
    r"""Watson's 1976 test, :math:`\sqrt n (D^+ + \bar U - \tfrac12)`.

    References
    ----------
    G. S. Watson, "Optimal invariant tests for uniformity", in Studies in Probability and
    Statistics, North-Holland, 1976, 121-127.
    """

    name: ClassVar[str] = "watson_1976"
    detects: ClassVar[str] = "every departure on the circle"
    reference: ClassVar[str] = "Watson 1976, Studies in Probability and Statistics, 121-127"

    def of_turns(self, u: Tensor, n: int) -> Tensor:
        """Largest excess of the ecdf over its mean."""
        above = (_ranks(u, n) / n - u).amax(-1)
        return math.sqrt(n) * (above + u.mean(-1) - 0.5)

    def law(self, n: int) -> LawChoice | None:
        """The law of the area under a Brownian excursion."""
        return LawChoice(laws.Watson1976Law(), "asymptotic", "area of a Brownian excursion")

    def best_law(self, n: int, d: int) -> LawChoice | None:
        """The same at the shifted statistic: an ecdf exceeds its mean by less than a bridge."""
        choice = super().best_law(n, d)
        if choice is None:
            return None
        moved = Affine(choice.law, 1.0, -1.0 / (6.0 * math.sqrt(n)))
        words = f"{choice.description} at the statistic + 1 / (6 sqrt(n))"
        return choice._replace(law=moved, description=words)


@dataclasses.dataclass(frozen=True)
class Range(CircleTest):
    """The largest gap between neighbours, in radians.

    References
    ----------
    R. A. Fisher, "Tests of significance in harmonic analysis", Proceedings of the Royal Society A
    125 (1929) 54-59, doi:10.1098/rspa.1929.0151.
    """

    name: ClassVar[str] = "range"
    detects: ClassVar[str] = "an empty arc"
    reference: ClassVar[str] = "Fisher 1929, doi:10.1098/rspa.1929.0151"

    def of_turns(self, u: Tensor, n: int) -> Tensor:
        """The largest spacing."""
        return 2.0 * math.pi * gaps(u).amax(-1)

    def law(self, n: int) -> LawChoice | None:
        """Fisher's alternating sum."""
        return LawChoice(laws.LargestGap(n), "exact", "largest of n spacings")


@dataclasses.dataclass(frozen=True)
class Rao(CircleTest):
    r"""Rao's spacing test, :math:`\sqrt n (\tfrac12 \sum |D_i - 2\pi/n| - 2\pi/e)`.

    References
    ----------
    J. S. Rao, "Some tests based on arc-lengths for the circle", Sankhya B 38 (1976) 329-338.
    """

    name: ClassVar[str] = "rao"
    detects: ClassVar[str] = "uneven spacings"
    reference: ClassVar[str] = "Rao 1976, Sankhya B 38, 329-338"

    def of_turns(self, u: Tensor, n: int) -> Tensor:
        """Sum of absolute deviations of the spacings."""
        share = 0.5 * (gaps(u) - 1.0 / n).abs().sum(-1)
        return math.sqrt(n) * 2.0 * math.pi * (share - math.exp(-1.0))

    def law(self, n: int) -> LawChoice | None:
        """Normal."""
        variance = (2.0 * math.pi) ** 2 * (2.0 * math.exp(-1.0) - 5.0 * math.exp(-2.0))
        return normal_law(variance)


@dataclasses.dataclass(frozen=True)
class Greenwood(CircleTest):
    r"""Greenwood's test, :math:`\sqrt n (n \sum D_i^2 / 4\pi^2 - 2)`.

    References
    ----------
    M. Greenwood, "The statistical study of infectious diseases", Journal of the Royal Statistical
    Society 109 (1946) 85-110, doi:10.2307/2981176.
    """

    name: ClassVar[str] = "greenwood"
    detects: ClassVar[str] = "uneven spacings"
    reference: ClassVar[str] = "Greenwood 1946, doi:10.2307/2981176"

    def of_turns(self, u: Tensor, n: int) -> Tensor:
        """Sum of squared spacings."""
        return math.sqrt(n) * (n * gaps(u).square().sum(-1) - 2.0)

    def law(self, n: int) -> LawChoice | None:
        """Normal."""
        return normal_law(4.0)

    def best_law(self, n: int, d: int) -> LawChoice | None:
        """Skewed where a simulated table would be too slow."""
        return LawChoice(laws.greenwood_law(n), "asymptotic", _SKEWED) if n > _TABLE_UP_TO else None


@dataclasses.dataclass(frozen=True)
class LogGaps(CircleTest):
    r"""Log-spacings test, :math:`|\sqrt n (\log(2\pi/n) - \overline{\log D} - \gamma)|`.

    References
    ----------
    D. A. Darling, "On a class of problems related to the random division of an interval", Annals
    of Mathematical Statistics 24 (1953) 239-253, doi:10.1214/aoms/1177729030.
    """

    name: ClassVar[str] = "log_gaps"
    detects: ClassVar[str] = "uneven or too even spacings"
    reference: ClassVar[str] = "Darling 1953, doi:10.1214/aoms/1177729030"

    def of_turns(self, u: Tensor, n: int) -> Tensor:
        """Mean log spacing."""
        gap = gaps(u)
        # coincident points make the statistic infinite and have no say in its gradient
        logs = torch.where(gap > 0, torch.log(n * torch.where(gap > 0, gap, 1.0)), -torch.inf)
        mean = logs.mean(-1)
        return math.sqrt(n) * (mean + _EULER).abs()

    def law(self, n: int) -> LawChoice | None:
        """Half-normal."""
        law = laws.HalfNormal(math.sqrt(math.pi**2 / 6.0 - 1.0))
        return LawChoice(law, "asymptotic", "half-normal")


@dataclasses.dataclass(frozen=True)
class Gini(CircleTest):
    """Gini's mean difference of the spacings.

    References
    ----------
    S. Rao Jammalamadaka, M. N. Goria, "A test of goodness-of-fit based on Gini's index of
    spacings", Statistics & Probability Letters 68 (2004) 177-187, doi:10.1016/j.spl.2004.02.009.
    """

    name: ClassVar[str] = "gini"
    detects: ClassVar[str] = "uneven spacings"
    reference: ClassVar[str] = "Jammalamadaka & Goria 2004, doi:10.1016/j.spl.2004.02.009"

    def of_turns(self, u: Tensor, n: int) -> Tensor:
        """Sorted spacings give all pairwise differences in O(n log n)."""
        ordered = torch.sort(gaps(u), dim=-1).values
        weight = 2.0 * _ranks(u, n) - n - 1.0
        return math.sqrt(n) * (2.0 / (n - 1) * (weight * ordered).sum(-1) - 1.0)

    def law(self, n: int) -> LawChoice | None:
        """Normal."""
        return normal_law(1.0 / 3.0)


@dataclasses.dataclass(frozen=True)
class GiniSquared(CircleTest):
    """Mean squared difference of the spacings.

    References
    ----------
    S. Rao Jammalamadaka, M. N. Goria, "A test of goodness-of-fit based on Gini's index of
    spacings", Statistics & Probability Letters 68 (2004) 177-187, doi:10.1016/j.spl.2004.02.009.
    """

    name: ClassVar[str] = "gini_squared"
    detects: ClassVar[str] = "uneven spacings"
    reference: ClassVar[str] = "Jammalamadaka & Goria 2004, doi:10.1016/j.spl.2004.02.009"

    def of_turns(self, u: Tensor, n: int) -> Tensor:
        """Twice the variance of the spacings."""
        spread = n * gaps(u).square().sum(-1) - 1.0
        return math.sqrt(n) * (2.0 * n / (n - 1) * spread - 2.0)

    def law(self, n: int) -> LawChoice | None:
        """Normal."""
        return normal_law(16.0)

    def best_law(self, n: int, d: int) -> LawChoice | None:
        """That of Greenwood's test, of which this is a linear function."""
        if n <= _TABLE_UP_TO:
            return None
        law = Affine(laws.greenwood_law(n), 2.0 * n / (n - 1), 2.0 * math.sqrt(n) / (n - 1))
        return LawChoice(law, "asymptotic", _SKEWED)


@dataclasses.dataclass(frozen=True)
class HodgesAjne(CircleTest):
    """The largest number of points in a half circle.

    References
    ----------
    J. L. Hodges, "A bivariate sign test", Annals of Mathematical Statistics 26 (1955) 523-527,
    doi:10.1214/aoms/1177728498.
    """

    name: ClassVar[str] = "hodges_ajne"
    detects: ClassVar[str] = "a half circle that holds more than its half"
    reference: ClassVar[str] = "Hodges 1955, doi:10.1214/aoms/1177728498"
    discrete: ClassVar[bool] = True

    def of_turns(self, u: Tensor, n: int) -> Tensor:
        """Scan half circles that start at a point."""
        return _scan(u, 0.5)

    def law(self, n: int) -> LawChoice | None:
        """Daniels' sum."""
        return LawChoice(laws.HodgesAjneLaw(n), "exact", "Hodges and Daniels, P(T >= t)")


@dataclasses.dataclass(frozen=True)
class Cressie(CircleTest):
    """The largest number of points in an arc of measure t.

    Parameters
    ----------
    t : float, default 1/3
        Share of the circle that the arc covers, in (0, 1).

    References
    ----------
    N. Cressie, "On some properties of the scan statistic on the circle and the line", Journal of
    Applied Probability 14 (1977) 272-283, doi:10.2307/3212998.
    """

    name: ClassVar[str] = "cressie"
    detects: ClassVar[str] = "one crowded arc"
    reference: ClassVar[str] = "Cressie 1977, doi:10.2307/3212998"
    discrete: ClassVar[bool] = True
    t: float = 1.0 / 3.0

    def __post_init__(self) -> None:
        if not 0 < self.t < 1:
            raise ValueError(f"t must lie strictly between 0 and 1; got {self.t}")

    def of_turns(self, u: Tensor, n: int) -> Tensor:
        """Scan arcs that start at a point."""
        return _scan(u, self.t)

    def cost(self, n: int, d: int) -> float:
        """A search for the end of every arc takes longer than sums over the spacings."""
        return 500.0 * n

    def simulated_at(self, n: int) -> int:
        """Beyond n = 2000 the excess over n t grows as the root of n: it is simulated there.

        For very short and very long arcs it does so later, as either side must hold many points.
        """
        return min(n, max(_TABLE_UP_TO, math.ceil(_ARC_VARIANCE / (self.t * (1.0 - self.t)))))

    def refine(self, table: Empirical, n: int, d: int) -> LawChoice:
        """Stretch the table of fewer points, each count spread over the unit it stands for."""
        at = self.simulated_at(n)
        if at < n:
            counts, copies = np.unique(table.sample, return_counts=True)
            spread = np.concatenate([(np.arange(k) + 0.5) / k - 0.5 for k in copies])
            excess = np.repeat(counts, copies) + spread - at * self.t
            table = Empirical(np.rint(n * self.t + self._stretched(excess, at, n)))
        return super().refine(table, n, d)

    def _stretched(self, excess: _FLOAT, at: int, n: int) -> _FLOAT:
        r"""Excess that n points have where `at` have this one, as likely for one arc.

        The count in one arc is binomial. Its quantiles are those of a normal variable z by Cornish
        and Fisher's :math:`\sigma (z + \gamma (z^2 - 1) / 6)`, with the skewness gamma.
        """
        few, many = (math.sqrt(m * self.t * (1.0 - self.t)) for m in (at, n))
        bend, bend_there = ((1.0 - 2.0 * self.t) / (6.0 * sd) for sd in (few, many))
        moved = excess / few + bend
        z = 2.0 * moved / (1.0 + np.sqrt(np.maximum(1.0 + 4.0 * bend * moved, 0.0)))
        return np.asarray(many * (z + bend_there * (z * z - 1.0)))


def _ranks(u: Tensor, n: int) -> Tensor:
    return torch.arange(1, n + 1, dtype=u.dtype, device=u.device)


def gaps(u: Tensor) -> Tensor:
    """Spacings around the circle, as shares of a turn."""
    return torch.cat([u[..., 1:] - u[..., :-1], u[..., :1] + 1.0 - u[..., -1:]], dim=-1)


def _scan(u: Tensor, share: float) -> Tensor:
    """Most points in any closed arc of this share that starts at a point.

    Rounded angles lie an arc apart up to roundings, which must not depend on the rotation.
    """
    n = u.shape[-1]
    twice = torch.cat([u, u + 1.0], dim=-1).detach().contiguous()
    last = torch.searchsorted(twice, (u + (share + ROUNDING)).detach().contiguous(), right=True)
    start = torch.arange(n, device=u.device)
    return (last - start).amax(-1).clamp(max=n).to(u.dtype)


def normal_law(variance: float) -> LawChoice:
    """Limit law of a standardised sum: normal with mean 0."""
    return LawChoice(laws.Normal(variance), "asymptotic", f"normal with variance {variance:.6g}")
