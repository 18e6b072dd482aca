"""Which rows enter the pair sums: all of them, or a random sample where all would take too long."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from sphuni._rng import torch_generator
from sphuni.analysis._energies import ENERGIES, yardstick
from sphuni.analysis._options import Options

__all__ = ["RowSample", "sample_rows"]

_MULTIPLY_ADDS_PER_SECOND = 2e10
"""A cautious rate of one core for the two passes over the pairs of rows."""


class RowSample(NamedTuple):
    """The rows that are compared with each other; `places` gives their indices among all rows."""

    points: Tensor
    places: Tensor
    total: int

    def sentence(self, energy: dict[str, float]) -> str:
        """Say what was sampled, with the standard error of the first finite energy."""
        n, d = self.points.shape
        if n == self.total:
            return ""
        for spec in ENERGIES:
            deviation = yardstick(spec, n, d).deviation
            if math.isfinite(deviation) and math.isfinite(energy[spec.key]):
                error = f"; standard error of energy {spec.key} about {deviation:.2g}"
                break
        else:
            error = "; the kernels have no finite variance here, so no standard error is given"
        return (
            f"pairs among {n:,} random rows of {self.total:,} (close pairs of other rows are not "
            f"seen){error}"
        )


def sample_rows(points: Tensor, options: Options) -> RowSample:
    """Keep all rows if their pairs fit into `max_seconds`, else as many random ones as do."""
    n, d = points.shape
    most = int(math.sqrt(options.max_seconds * _MULTIPLY_ADDS_PER_SECOND / d))
    if n <= most:
        return RowSample(points, torch.arange(n, device=points.device), n)
    shuffled = torch.randperm(n, generator=torch_generator(options.seed))
    index = shuffled[:most].sort().values.to(points.device)
    return RowSample(points[index], index, n)
