"""The options of an analysis, checked once."""

import dataclasses
import math
from typing import Literal, TypeAlias

from sphuni._budget import memory_budget

__all__ = ["Baseline", "Options"]

_MULTIPLY_ADDS_PER_SECOND = 2e10
"""A cautious rate of one core for the two passes over the pairs of rows."""

_PER_PAIR, _PER_NEAR_PAIR = 130, 3000
"""Multiply-adds that take as long as the kernels of a pair do beside its product of d; and as those
of a near pair, which is taken from differences: on the circle a quarter of all are near."""

_FEWEST_ROWS = 64
"""A sample of fewer rows says nothing, and takes no time however long they are."""

_MOST_ROWS = 1 << 62

_MOST_PAIRS = 1 << 28
"""More pairs would not make the mean of a sample more exact than anyone reads it."""

Baseline: TypeAlias = Literal["uniform", "init"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """How layers are measured; see `sphuni.analysis.analyze`."""

    baseline: str = "uniform"
    center: bool = False
    remove_top: int = 0
    max_bytes: int | str | None = None
    max_seconds: float = 120.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.baseline not in ("uniform", "init"):
            raise ValueError(f"baseline must be 'uniform' or 'init'; got {self.baseline!r}")
        if self.remove_top < 0:
            raise ValueError(f"remove_top must not be negative; got {self.remove_top}")
        if not self.max_seconds > 0:
            raise ValueError(f"max_seconds must be positive; got {self.max_seconds}")
        memory_budget(self.max_bytes)

    @property
    def transforms(self) -> bool:
        """Whether rows are changed before they are measured."""
        return self.center or self.remove_top > 0

    @property
    def most_work(self) -> float:
        """How many multiply-adds fit into `max_seconds`, about."""
        return self.max_seconds * _MULTIPLY_ADDS_PER_SECOND

    def pair_work(self, d: int) -> float:
        """How many multiply-adds one of the n^2 entries of R^d takes, about."""
        return d + _PER_PAIR + _PER_NEAR_PAIR / d**2

    def most_rows(self, d: int) -> int:
        """How many rows of R^d can be compared with each other in `max_seconds`, about."""
        rows = math.sqrt(self.most_work / self.pair_work(d))
        return int(min(max(rows, _FEWEST_ROWS), _MOST_ROWS))

    def most_pairs(self, d: int) -> int:
        """How many sampled pairs of R^d can be looked at in `max_seconds`, about.

        Each takes as long as both entries of a pair that all rows are compared by.
        """
        return int(min(max(self.most_work / (2 * self.pair_work(d)), 1), _MOST_PAIRS))
