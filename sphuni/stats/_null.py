"""Which null law a test is read against, and its Monte-Carlo tables."""

import dataclasses
import functools
import zlib

import numpy as np
import torch

from sphuni._rng import seeds
from sphuni._typing import Seed
from sphuni.stats._base import LawChoice, UniformityTest
from sphuni.stats.laws.monte_carlo import Empirical, simulate

__all__ = ["Null", "choose", "monte_carlo_law"]

_BUDGET = 4e10
_FEWEST = 199

NULLS = ("auto", "exact", "asymptotic", "monte-carlo")


@dataclasses.dataclass(frozen=True)
class Null:
    """What the caller asked for."""

    null: str = "auto"
    n_resamples: int = 9999
    rng: Seed = None
    workers: int = 1

    def __post_init__(self) -> None:
        if self.null not in NULLS:
            raise ValueError(
                f"null must be one of {', '.join(map(repr, NULLS))}; got {self.null!r}"
            )
        if self.n_resamples < 1:
            raise ValueError(f"n_resamples must be at least 1; got {self.n_resamples}")


def choose(test: UniformityTest, n: int, d: int, asked: Null) -> LawChoice:
    """The law that was asked for, or for "auto" the one whose size is right at n and d."""
    if asked.null == "monte-carlo":
        return monte_carlo_law(test, n, d, asked)
    if asked.null == "auto":
        return test.best_law(n, d) or monte_carlo_law(test, n, d, asked)
    law = test.asymptotic_law(n, d) if asked.null == "asymptotic" else test.best_law(n, d)
    if law is None or (asked.null == "exact" and law.kind != "exact"):
        raise ValueError(
            f"test {test.name!r} has no {asked.null} null law at n = {n}, d = {d}; "
            "use null='auto' or null='monte-carlo'"
        )
    return law


def monte_carlo_law(test: UniformityTest, n: int, d: int, asked: Null) -> LawChoice:
    """A simulated table, kept in memory; "auto" without a seed has a fixed one per test, n, d."""
    if asked.rng is None and asked.null == "auto":
        seed = zlib.crc32(f"{test!r} {n} {d}".encode())
    elif isinstance(asked.rng, int):
        seed = asked.rng
    else:
        seed = seeds(asked.rng, 1)[0]
    count = asked.n_resamples if asked.null == "monte-carlo" else _affordable(test, n, d, asked)
    law = Empirical(_table(test, n, d, count, seed, asked.workers))
    if asked.null == "auto":
        return test.refine(law, n, d)
    return LawChoice(law, "monte-carlo", f"{count} simulated uniform sets")


def _affordable(test: UniformityTest, n: int, d: int, asked: Null) -> int:
    """As many simulated sets as "auto" may spend, at most those asked for."""
    cost = float(n) * (n * (min(n, d) + 60) if test.pairwise else 60)
    count = min(asked.n_resamples, int(_BUDGET / cost))
    if count < min(asked.n_resamples, _FEWEST):
        raise ValueError(
            f"test {test.name!r} has no trustworthy null law at n = {n}, d = {d}, and simulating "
            f"one would take about {cost * _FEWEST:.0e} operations; "
            "ask for it by null='monte-carlo', or take fewer points"
        )
    return count


@functools.lru_cache(maxsize=256)
def _table(test: UniformityTest, n: int, d: int, count: int, seed: int, workers: int) -> np.ndarray:
    sample = simulate(
        lambda points: test.statistic(points, d).to(torch.float64),
        n,
        d,
        count,
        rng=seed,
        workers=workers,
        full=not test.invariant,
    )
    return np.sort(sample)
