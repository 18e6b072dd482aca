"""What can be said for an optimised configuration besides its value."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sphuni._result import Result

__all__ = ["Certificate", "attained", "trivial"]


@dataclasses.dataclass(frozen=True, repr=False, kw_only=True)
class Certificate(Result):
    """First- and second-order evidence, a bound, and the symmetry of a configuration.

    Attributes
    ----------
    kind : str
        ``"smooth"`` (gradient and Hessian), ``"max-min"`` (Karush-Kuhn-Tucker conditions) or
        ``"theorem"`` (so few points that the optimum is known).
    residual : float
        Smooth: the largest tangent gradient of one point. Max-min: the largest entry of the
        gradients of the active functions, weighted by `multipliers`. Zero at an optimum; nan
        where there was no time for the multipliers.
    smallest_eigenvalue : float or None
        Smooth: of the Riemannian Hessian, rotations of the whole set left out; None where it is
        too large, or takes longer than a search that was cut short has left. Max-min: of minus the
        Hessian of the Lagrangian on the moves that keep the functions with positive multipliers
        equal, rotations left out; None where there are no such moves. Positive means a strict
        local optimum up to rotation.
    flat_modes : int or None
        Eigenvalues that vanish (below 1e-9 of the largest; max-min: 1e-8 of the Hessian's norm),
        rotations left out: free points, or an optimum that is not strict to second order.
    tied_moves : int or None
        Max-min: dimension of these moves; 0 where the tied functions alone fix the points, so
        that the conditions of first order suffice.
    active : integer array (m, k) or None
        Indices of the points of each tied function: pairs in contact, vertices of the deepest
        facets; None where a function has no such points.
    places : array (m, d) or None
        Covering and polarization: the place of each tied function, centre of a deepest hole or
        local minimum of the potential.
    multipliers : array (m,) or None
        Weights >= 0 with sum 1 of the active functions; zeros mean that strict complementarity
        fails there. None where there was no time for them.
    free_points : int or None
        Points that no active function with a positive multiplier holds (rattlers).
    spread : float or None
        Difference between the largest and the smallest active function.
    bound : float
        No configuration beats this; nan where no bound is known.
    bound_method : str
    bound_attained : bool or None
        True where a configuration is known to reach the bound.
    symmetry_order : int or None
        Order of the group of orthogonal maps that permute the points; None where the points do
        not span the space or the search would take too long.
    value_is_bound : bool
        Polarization: True where a search that was cut short could not look at all places that may
        be the worst; the value is then that of the worst one seen, which the set's own polarization
        does not exceed.
    """

    kind: str
    residual: float
    smallest_eigenvalue: float | None = None
    flat_modes: int | None = None
    tied_moves: int | None = None
    active: NDArray[np.int64] | None = None
    places: NDArray[np.float64] | None = None
    multipliers: NDArray[np.float64] | None = None
    free_points: int | None = None
    spread: float | None = None
    bound: float
    bound_method: str
    bound_attained: bool | None
    symmetry_order: int | None = None
    value_is_bound: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain Python numbers and lists, nan as None."""
        fields = super().to_dict()
        return {key: None if value != value else value for key, value in fields.items()}


def attained(value: float, reason: str) -> Certificate:
    """Return the certificate of a value that a theorem says is the best, and why."""
    return Certificate(
        kind="theorem", residual=0.0, bound=value, bound_method=reason, bound_attained=True
    )


def trivial(value: float) -> Certificate:
    """Return the certificate of one point, where nothing is to be chosen."""
    return attained(value, "one point is as good as another")
