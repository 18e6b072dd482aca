"""The report's tests of uniformity, from sums that the layer's passes have computed already."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from sphuni.kernels import Kernel
from sphuni.stats import pair_kernels, test_from_summary

__all__ = ["Summary", "Uniformity", "sine_kernel", "summarise", "uniformity"]


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


def summarise(points: Tensor, sine_sum: float, smallest_angle: float) -> Summary:
    """Add the sums that need no pass over the pairs."""
    n, d = points.shape
    total = torch.zeros(d, dtype=torch.float64, device=points.device)
    side = torch.zeros(min(n, d), min(n, d), dtype=torch.float64, device=points.device)
    if n < d:
        wide = points.double()
        total, side = wide.sum(dim=0), wide @ wide.T
    else:
        for block in points.split(8192):
            wide = block.double()
            total += wide.sum(dim=0)
            side += wide.T @ wide
    squared = float(side.square().sum())
    return Summary(n, d, float(total.norm()), squared, sine_sum, smallest_angle)


def uniformity(summary: Summary) -> Uniformity:
    """Run Rayleigh, Bingham, Giné Gn and packing on a layer's sums."""
    values = {
        "rayleigh": summary.resultant,
        "bingham": summary.squared_cosines,
        "gine_gn": summary.sine_sum,
        "packing": 2 * math.sin(summary.smallest_angle / 2),
    }
    results = {
        name: test_from_summary(value, name, n=summary.n, d=summary.d)
        for name, value in values.items()
    }
    return Uniformity(
        {name: float(r.statistic) for name, r in results.items()},
        {name: float(r.effect_size) for name, r in results.items()},
        {name: float(r.pvalue) for name, r in results.items()},
        {name: float(r.pvalue_lower) for name, r in results.items()},
    )
