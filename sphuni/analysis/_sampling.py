"""Layers whose pairs are too many: what is taken of all rows, and what of a random sample.

Moments are those of all rows. Energies are estimated from random blocks of all rows, without bias
and with a standard error. Nearest neighbours, and the tests that need all pairs, are those of a
sample of rows.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from sphuni._rng import torch_generator
from sphuni._typing import Points
from sphuni.analysis._energies import ENERGIES, energy_kernels, mean_energy
from sphuni.analysis._options import Options
from sphuni.geometry.sampling import sample_pairs

__all__ = ["EnergyEstimate", "RowSample", "estimate_energies", "sample_rows"]


class RowSample(NamedTuple):
    """The rows that are compared with each other; `places` gives their indices among all rows."""

    points: Points
    places: Tensor
    total: int

    @property
    def partial(self) -> bool:
        """Whether rows were left out."""
        return self.points.shape[0] < self.total


class EnergyEstimate(NamedTuple):
    """Mean energies by key, nan where their variance is infinite, and their standard errors."""

    energy: dict[str, float]
    error: dict[str, float]
    pairs: int

    def sentence(self, sample: RowSample) -> str:
        """Say what was sampled and how far it is to be trusted."""
        rows = f"{sample.points.shape[0]:,} random rows of {sample.total:,}"
        errors = [f"{k}: {e:.2g}" for k, e in self.error.items() if math.isfinite(e)]
        stated = f"standard errors {', '.join(errors)}" if errors else "no standard error is finite"
        return (
            f"energies from {self.pairs:,} pairs of random blocks of all rows ({stated}); moments "
            f"and spectrum from all rows; nearest neighbours, worst pairs, Giné's and the packing "
            f"test among {rows}, so approximate: close pairs of other rows are not seen"
        )


def sample_rows(points: Points, options: Options) -> RowSample:
    """Keep all rows if their pairs fit into `max_seconds`, else as many random ones as do."""
    n, d = points.shape
    most = options.most_rows(d)
    if n <= most:
        return RowSample(points, torch.arange(n, device=points.device), n)
    shuffled = torch.randperm(n, generator=torch_generator(options.seed))
    index = shuffled[:most].sort().values.to(points.device)
    return RowSample(points[index], index, n)


def estimate_energies(points: Points, options: Options) -> EnergyEstimate:
    """Estimate every mean energy of the report from random blocks of rows."""
    n, d = points.shape
    generator = torch_generator(options.seed + 1)
    found = sample_pairs(points, energy_kernels(), options.most_pairs(d), generator)
    all_pairs = 0.5 * n * (n - 1)
    value, error = {}, {}
    for k, (energy, kernel) in enumerate(zip(ENERGIES, energy_kernels(), strict=True)):
        finite = math.isfinite(kernel.variance(d))
        slope = mean_energy(energy, all_pairs, n) - mean_energy(energy, 0.0, n)
        value[energy.key] = (
            mean_energy(energy, float(found.mean[k]) * all_pairs, n) if finite else math.nan
        )
        error[energy.key] = slope * float(found.error[k]) if finite else math.nan
    return EnergyEstimate(value, error, found.pairs)
