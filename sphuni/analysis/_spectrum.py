"""Singular values of the directions and the ranks read off them."""

import functools
import math
from typing import NamedTuple

import numpy as np
import torch

from sphuni.analysis._moments import Moments, moments_of
from sphuni.special import marchenko_pastur

__all__ = ["Spectrum", "measure_rank", "measure_spectrum", "random_effective_rank"]

_SIMULATED_BELOW = 64
_LONG = 4096
_DRAWS, _MOST_DRAWS, _ENTRIES = 20, 1000, 100_000
_KEPT = 256
_SEED = 7


class Spectrum(NamedTuple):
    """Singular values (decreasing, thinned out) and the ranks of a set of unit rows."""

    singular_values: np.ndarray
    effective_rank: float
    effective_rank_ratio: float
    stable_rank: float


def measure_spectrum(moments: Moments) -> Spectrum:
    """Spectrum of unit rows from the smaller of the two Gram matrices.

    The effective rank is exp of the entropy of sigma^2 / sum(sigma^2), the shares of the second
    moment along its principal axes (after O. Roy, M. Vetterli, "The effective rank", EUSIPCO 2007,
    who take sigma itself); the stable rank is |X|_F^2 / sigma_max^2.
    """
    n, d = moments.n, moments.d
    values = _singular_values(moments)
    ratio = effective_rank(values) / random_effective_rank(n, d)
    stable = float(n / values[0] ** 2)
    keep = np.unique(np.linspace(0, len(values) - 1, min(_KEPT, len(values))).round().astype(int))
    return Spectrum(values[keep], effective_rank(values), ratio, stable)


def measure_rank(moments: Moments) -> float:
    """The effective rank alone."""
    return effective_rank(_singular_values(moments))


def effective_rank(values: np.ndarray) -> float:
    """Exponential of the entropy of squared singular values scaled to sum 1."""
    shares = values[values > 0] ** 2 / np.square(values).sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


@functools.lru_cache(maxsize=1024)
def random_effective_rank(n: int, d: int) -> float:
    """Effective rank of n uniform random rows in R^d: simulated if small, else by the limit law."""
    if min(n, d) >= _SIMULATED_BELOW:
        ranks = (np.arange(min(n, d)) + 0.5) / min(n, d)
        return effective_rank(marchenko_pastur(ranks, n, d))
    if d > _LONG:
        # squared singular values 1 + e have the entropy log n - mean(e^2) / 2 and less
        return n * math.exp(-(n - 1) / (2 * d))
    generator = torch.Generator().manual_seed(_SEED)
    rows = min(n, _LONG)
    # the smaller the set, the more its rank differs from draw to draw
    draws = max(_DRAWS, min(_MOST_DRAWS, _ENTRIES // (rows * d)))
    return float(np.mean([_drawn_rank(rows, d, generator) for _ in range(draws)]))


def _drawn_rank(n: int, d: int, generator: torch.Generator) -> float:
    sample = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return measure_rank(moments_of(sample / sample.norm(dim=1, keepdim=True)))


def _singular_values(moments: Moments) -> np.ndarray:
    eigenvalues = torch.linalg.eigvalsh(moments.side).flip(0).clamp_min(0)
    return np.asarray(eigenvalues.sqrt().cpu().numpy())
