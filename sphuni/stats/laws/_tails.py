"""What every null law answers: the two tail probabilities, as logarithms."""

import dataclasses
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

__all__ = ["Affine", "Law", "Tails", "Values"]

Values: TypeAlias = Any
"""One float64 number or a NumPy array of them."""


@dataclasses.dataclass(frozen=True, eq=False)
class Tails:
    """Natural logarithms of P(S >= x) and P(S <= x)."""

    log_upper: Values
    log_lower: Values

    @property
    def upper(self) -> Values:
        """P(S >= x); 0 where it is below the smallest float."""
        return np.asarray(np.exp(self.log_upper))

    @property
    def lower(self) -> Values:
        """P(S <= x); 0 where it is below the smallest float."""
        return np.asarray(np.exp(self.log_lower))


@runtime_checkable
class Law(Protocol):
    """A null law of a statistic."""

    @property
    def mean(self) -> float:
        """Expectation under uniformity, NaN where not known."""

    @property
    def variance(self) -> float:
        """Variance under uniformity, NaN where not known."""

    def tails(self, x: Values) -> Tails:
        """Both tails at `x`."""


@dataclasses.dataclass(frozen=True, eq=False)
class Affine:
    """The law of scale * X + offset, scale > 0."""

    base: Law
    scale: float
    offset: float

    @property
    def mean(self) -> float:
        """Expectation."""
        return self.scale * self.base.mean + self.offset

    @property
    def variance(self) -> float:
        """Variance."""
        return self.scale**2 * self.base.variance

    def tails(self, x: Values) -> Tails:
        """Both tails at `x`."""
        return self.base.tails((np.asarray(x) - self.offset) / self.scale)
