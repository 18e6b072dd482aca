"""The result of a bound."""

import dataclasses
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sphuni._result import Result

__all__ = ["BoundResult", "LowerBound", "UpperBound"]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class BoundResult(Result):
    """A number that no configuration of n points on S^(d-1) can beat.

    Attributes
    ----------
    value : float
        The bound.
    attained : bool or None
        True where a configuration is known to reach the bound, which is then the optimum; False
        where none can; None where that is not known.
    method : str
        The name of the bound.
    reason : str
        Why the bound holds, and what attains it.
    reduction : str or None
        "sum" or "mean" over pairs, for energies.
    degree : int or None
        Degree of the polynomial in the cosine that certifies the bound, for bounds by quadrature
        or by linear programming.
    nodes, weights : numpy.ndarray or None
        The cosines and weights of the certifying quadrature rule, ascending; the mass 1/n at
        cosine 1 is left out.
    coefficients : numpy.ndarray or None
        Gegenbauer coefficients of the certifying polynomial of a linear programme.
    """

    value: float
    attained: bool | None
    method: str
    reason: str
    reduction: str | None = None
    degree: int | None = None
    nodes: NDArray[np.float64] | None = None
    weights: NDArray[np.float64] | None = None
    coefficients: NDArray[np.float64] | None = None


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class LowerBound(BoundResult):
    """A bound from below on a measure for which lower is more uniform."""

    better: ClassVar[str | None] = "lower"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class UpperBound(BoundResult):
    """A bound from above on a measure for which higher is more uniform."""

    better: ClassVar[str | None] = "higher"
