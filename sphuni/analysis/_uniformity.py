"""The report's tests of uniformity, from sums that the layer's passes have computed already."""

import math
from typing import NamedTuple

from sphuni.analysis._layer import TESTS
from sphuni.analysis._moments import Moments
from sphuni.kernels import Kernel
from sphuni.stats import UniformityTestResult, pair_kernels, test_from_summary

__all__ = ["Summary", "Uniformity", "log_tails", "sine_kernel", "summarise", "uniformity"]


class Summary(NamedTuple):
    """What the four tests are made of."""

    n: int
    d: int
    resultant: float
    squared_cosines: float
    sine_sum: float
    smallest_angle: float

    def clustering(self, test: str) -> float:
        """The number that the test's statistic grows with."""
        return {
            "rayleigh": self.resultant,
            "bingham": self.squared_cosines,
            "gine_gn": self.sine_sum,
            "packing": -self.smallest_angle,
        }[test]


class Uniformity(NamedTuple):
    """Statistics, effect sizes and both p-values per test."""

    statistic: dict[str, float]
    effect_size: dict[str, float]
    p: dict[str, float]
    p_lower: dict[str, float]


def sine_kernel(d: int) -> Kernel:
    """The kernel whose pair sum Giné's Gn takes."""
    (kernel,) = pair_kernels("gine_gn", d)
    return kernel


def summarise(
    moments: Moments, sine_sum: float = math.nan, smallest_angle: float = math.nan
) -> Summary:
    """Read off what needs no pass over the pairs; the other two are given where they are known."""
    resultant, squared = float(moments.total.norm()), float(moments.side.square().sum())
    return Summary(moments.n, moments.d, resultant, squared, sine_sum, smallest_angle)


def uniformity(summary: Summary, moments: Summary | None = None) -> Uniformity:
    """Run Rayleigh, Bingham, Giné Gn and packing on a layer's sums.

    `moments` holds the sums of all rows for the first two, where `summary` is that of a sample.
    """
    of_moments = summary if moments is None else moments
    results = {
        test: _run(of_moments if test in ("rayleigh", "bingham") else summary, test)
        for test in TESTS
    }
    return Uniformity(
        {test: float(r.statistic) for test, r in results.items()},
        {test: float(r.effect_size) for test, r in results.items()},
        {test: float(r.pvalue) for test, r in results.items()},
        {test: float(r.pvalue_lower) for test, r in results.items()},
    )


def log_tails(summary: Summary, test: str) -> tuple[float, float]:
    """Logarithms of the upper and of the lower p-value against uniform rows."""
    result = _run(summary, test)
    return float(result.log_pvalue), float(result.log_pvalue_lower)


def _run(summary: Summary, test: str) -> UniformityTestResult:
    value = summary.clustering(test)
    if test == "packing":
        value = 2 * math.sin(summary.smallest_angle / 2)
    return test_from_summary(value, test, n=summary.n, d=summary.d)
