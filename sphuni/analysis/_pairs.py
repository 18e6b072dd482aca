"""Closest pairs and nearest neighbours of a layer, with angles taken by differences."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sphuni._typing import Points
from sphuni.analysis._layer import Histogram
from sphuni.geometry.separation import angles_to
from sphuni.pairwise import PairScan, nearest
from sphuni.sphere import angles

__all__ = ["Pairs", "measure_pairs", "smallest_angle"]

_ANGLE_BINS = 180


class Pairs(NamedTuple):
    """What the scan of all pairs says, in the rows' own indices."""

    max_cosine: float
    pair: tuple[int, int]
    separation: float
    worst: tuple[tuple[int, int, float], ...]
    cosines: Histogram
    nearest: Histogram
    note: str


def measure_pairs(points: Points, live: Tensor, scan: PairScan) -> Pairs:
    """Read the scan of all pairs of unit rows; `live` maps them to the indices reported."""
    n = points.shape[0]
    closest = angles_to(points, scan.nearest, dtype=torch.float64)
    first = int(closest.argmin())
    second = int(scan.nearest[first])
    names = live.tolist()
    worst = tuple((names[i], names[j], _cosine(points, i, j)) for i, j, _ in scan.aligned)
    low, high = sorted((names[first], names[second]))
    edges = np.linspace(-1.0, 1.0, len(scan.counts) + 1)
    degrees = np.degrees(closest.cpu().numpy())
    counts, angle_edges = np.histogram(degrees, bins=_ANGLE_BINS, range=(0.0, 180.0))
    pairs = n * (n - 1) // 2
    note = (
        ""
        if scan.counted == pairs
        else (
            f"the histogram of cosines counts {scan.counted:,} of {pairs:,} pairs; "
            "every number is from all of them"
        )
    )
    return Pairs(
        float(np.cos(float(closest[first]))),
        (low, high),
        float(closest[first]),
        worst,
        Histogram(scan.counts.cpu().numpy(), edges),
        Histogram(counts.astype(np.float64), angle_edges),
        note,
    )


def smallest_angle(points: Points) -> float:
    """Angle of the closest pair alone."""
    return float(nearest(points).distance.min().clamp_max(2).div(2).asin() * 2)


def _cosine(points: Points, i: int, j: int) -> float:
    return float(torch.cos(angles(points[i].double(), points[j].double())))
