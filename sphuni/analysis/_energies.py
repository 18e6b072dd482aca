"""Mean Riesz energies of a layer, set against random rows and against the certified optimum."""

import functools
import math
from typing import NamedTuple

import numpy as np

from sphuni.geometry import energy_bound
from sphuni.kernels import Kernel, Riesz

__all__ = ["ENERGIES", "Yardstick", "energy_kernels", "mean_energy", "yardstick"]


class _Energy(NamedTuple):
    """One energy of the report: its key, its kernel, and whether rows count as lines."""

    key: str
    kernel: Kernel
    antipodal: bool


class Yardstick(NamedTuple):
    """Mean energy of uniform random rows with its standard deviation, and the optimum's bound."""

    random: float
    deviation: float
    optimum: float
    attained: bool

    def excess(self, energy: float) -> float:
        """(E - E_opt) / (E_random - E_opt); nan where random rows have infinite energy."""
        if not math.isfinite(self.random) or self.random <= self.optimum:
            return math.nan
        return (energy - self.optimum) / (self.random - self.optimum)

    def z(self, energy: float, error: float = 0.0) -> float:
        """Deviations from the mean of random rows; nan where their variance is infinite.

        `error` is the standard error of the energy where it was estimated.
        """
        if not 0 < self.deviation < math.inf:
            return math.nan
        return (energy - self.random) / math.hypot(self.deviation, error)


ENERGIES = tuple(
    _Energy(f"half:{s}" if half else f"{s}", Riesz(float(s)), half)
    for half in (False, True)
    for s in (0, 1, 2)
)


def energy_kernels() -> tuple[Kernel, ...]:
    """The kernels whose pair sums make the energies, in the order of `ENERGIES`."""
    return tuple(e.kernel.antipodal() if e.antipodal else e.kernel for e in ENERGIES)


def mean_energy(energy: _Energy, pair_sum: float, n: int) -> float:
    """Mean over unordered pairs, of n points or of the 2n points {x, -x}."""
    if not energy.antipodal:
        return pair_sum / (0.5 * n * (n - 1))
    return (2 * pair_sum + n * energy.kernel.at_minus_one) / (n * (2 * n - 1))


@functools.lru_cache(maxsize=4096)
def yardstick(energy: _Energy, n: int, d: int) -> Yardstick:
    """What uniform random rows give, and what no rows can go below."""
    used = energy.kernel.antipodal() if energy.antipodal else energy.kernel
    pairs = 0.5 * n * (n - 1)
    random = mean_energy(energy, pairs * used.mean(d), n)
    per_pair_sum = (2 / (n * (2 * n - 1))) if energy.antipodal else 1 / pairs
    # cosines of different pairs are independent under uniformity, so variances add up
    deviation = float(np.sqrt(pairs * used.variance(d))) * per_pair_sum
    bound = energy_bound(n, d, kernel=energy.kernel, reduction="mean", antipodal=energy.antipodal)
    return Yardstick(random, deviation, float(bound.value), bool(bound.attained))
