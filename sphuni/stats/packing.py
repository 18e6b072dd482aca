"""The packing test of the closest pair."""

import dataclasses
import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from sphuni._typing import Points
from sphuni.pairwise import smallest_distance
from sphuni.special import cap_angle
from sphuni.stats._base import LawChoice, UniformityTest
from sphuni.stats.laws import Empirical, SmallestDistance, TailedTable

__all__ = ["MaxAngle", "Packing"]

_PAIRS_LAW_FROM = 50
_RELATIVE, _OF_CHORDS = 1e-10, 1e-14


@dataclasses.dataclass(frozen=True)
class Packing(UniformityTest):
    r"""The test of the closest pair, :math:`S = -\min_{i<j} |x_i - x_j|^2`.

    The statistic lies in [-4, 0] and equals 2 (max cosine - 1), with all digits near 0. With
    `antipodal` the chord to the closer of y and -y counts, that is, the largest absolute cosine.

    References
    ----------
    T. Cai, J. Fan, T. Jiang, "Distributions of angles in random packing on spheres", Journal of
    Machine Learning Research 14 (2013) 1837-1864, arXiv:1306.0256.

    T. T. Cai, T. Jiang, "Phase transition in limiting distributions of coherence of
    high-dimensional random matrices", Journal of Multivariate Analysis 107 (2012) 24-39,
    doi:10.1016/j.jmva.2011.11.008.
    """

    name: ClassVar[str] = "packing"
    aliases: ClassVar[tuple[str, ...]] = ("cj12", "coherence", "max_cosine", "min_angle")
    detects: ClassVar[str] = "a nearly coincident pair; in the lower tail, points kept apart"
    reference: ClassVar[str] = "Cai, Fan & Jiang 2013, arXiv:1306.0256"
    antipodal: bool = False

    def summary(self, points: Points, d: int) -> Tensor:
        """The smallest chord."""
        return smallest_distance(points, antipodal=self.antipodal)

    def closest(self, smallest: Tensor, largest: Tensor) -> Tensor:
        """The summary from the extreme cosines, to their absolute precision."""
        cosine = torch.maximum(-smallest, largest) if self.antipodal else largest
        return (2.0 - 2.0 * cosine).clamp(min=0.0).sqrt()

    def from_summary(self, summary: Any, n: int, d: int) -> Tensor:
        """Minus the squared chord."""
        return -torch.as_tensor(summary).square()

    def rounding(self, largest: float) -> float:
        """That of a squared chord, which keeps its digits near 0 but for those of the points."""
        return _RELATIVE * largest + _OF_CHORDS * math.sqrt(largest)

    def asymptotic_law(self, n: int, d: int) -> LawChoice | None:
        """The Poisson law of close pairs, with the exact probability for one pair."""
        law = SmallestDistance(n, d, self.antipodal)
        if d == 2:
            return LawChoice(law, "exact", "smallest of n spacings of the circle")
        if n == 2:
            return LawChoice(law, "exact", "law of one chord")
        return LawChoice(law, "asymptotic", "independent pairs, each with the exact beta law")

    def best_law(self, n: int, d: int) -> LawChoice | None:
        """The same, where pairs are many enough or their law is exact."""
        if d == 2 or n == 2 or n > _PAIRS_LAW_FROM:
            return self.asymptotic_law(n, d)
        return None

    def refine(self, table: Empirical, n: int, d: int) -> LawChoice:
        """Keep the law of pairs in the upper tail.

        By the inequalities of Bonferroni and pairwise independence its error there is at most half
        of the p-value, relative to the p-value, at every n.
        """
        law = TailedTable(table.sample, SmallestDistance(n, d, self.antipodal))
        words = f"upper tail by independent pairs, lower tail by {table.sample.size} simulated sets"
        return LawChoice(law, "monte-carlo", words)

    def effect_size(self, statistic: Tensor, n: int, d: int) -> Tensor:
        """The median smallest chord of uniform points over the observed one."""
        return _median_chord(n, d, self.antipodal) / (-statistic).sqrt()


@dataclasses.dataclass(frozen=True)
class MaxAngle(Packing):
    r"""The test of the most opposite pair, :math:`S = -\min_{i<j} |x_i + x_j|^2`.

    The mirror image of `packing`: large when two points are nearly antipodal, and in the lower
    tail when the largest angle stays further below pi than chance would have it.

    References
    ----------
    T. Cai, J. Fan, T. Jiang, "Distributions of angles in random packing on spheres", Journal of
    Machine Learning Research 14 (2013) 1837-1864, arXiv:1306.0256.
    """

    name: ClassVar[str] = "max_angle"
    aliases: ClassVar[tuple[str, ...]] = ("cfj_max",)
    detects: ClassVar[str] = "a nearly antipodal pair"

    def check(self, n: int, d: int) -> None:
        """Refuse lines, each of which holds an antipodal pair."""
        super().check(n, d)
        if self.antipodal:
            raise ValueError(
                "test 'max_angle' is constant for points taken as lines, where x and -x are the "
                "most opposite pair; leave out antipodal=True or take test='packing'"
            )

    def summary(self, points: Points, d: int) -> Tensor:
        """The smallest length of a sum of two points."""
        return smallest_distance(points, opposite=True)

    def closest(self, smallest: Tensor, largest: Tensor) -> Tensor:
        """The summary from the smallest cosine, to its absolute precision."""
        return (2.0 + 2.0 * smallest).clamp(min=0.0).sqrt()

    def asymptotic_law(self, n: int, d: int) -> LawChoice | None:
        """The Poisson law of opposite pairs, with the exact probability for one pair."""
        words = "independent pairs, each with the exact beta law"
        kind = "exact" if n == 2 else "asymptotic"
        return LawChoice(SmallestDistance(n, d, pairs=True), kind, words)

    def best_law(self, n: int, d: int) -> LawChoice | None:
        """The same, where pairs are many enough."""
        return self.asymptotic_law(n, d) if n == 2 or n > _PAIRS_LAW_FROM else None

    def refine(self, table: Empirical, n: int, d: int) -> LawChoice:
        """Keep the law of pairs in the upper tail, as in `packing`."""
        law = TailedTable(table.sample, SmallestDistance(n, d, pairs=True))
        words = f"upper tail by independent pairs, lower tail by {table.sample.size} simulated sets"
        return LawChoice(law, "monte-carlo", words)


def _median_chord(n: int, d: int, antipodal: bool) -> float:
    """Median of the smallest chord by the law of independent pairs."""
    share = -math.expm1(-math.log(2.0) / (0.5 * n * (n - 1)))
    angle = cap_angle(0.5 * share if antipodal else share, d)
    return 2.0 * math.sin(0.5 * float(angle))
