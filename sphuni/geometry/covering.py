"""Covering radius: how deep the deepest hole is."""

import dataclasses
import math
import warnings
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sphuni._arrays import array_function, check_points, result_function, widen
from sphuni._budget import require
from sphuni._errors import NumericalWarning
from sphuni._result import Result
from sphuni._typing import Array
from sphuni.geometry._ascent import deep_holes, starting_poles
from sphuni.geometry._hemisphere import Hemisphere, closed_hemisphere
from sphuni.geometry._hull import deepest_facet, fits, hull_bytes
from sphuni.geometry._once import first_only
from sphuni.geometry.separation import nearest_distances
from sphuni.sphere import angles, tangent_rows, unit_rows

__all__ = ["CoveringResult", "covering_radius", "mesh_ratio"]

_AGREE = 1e-12
_ABOUT = 1e-8

CoveringMethod = Literal["auto", "hull", "hemisphere", "bounds"]


@dataclasses.dataclass(frozen=True, repr=False)
class CoveringResult(Result):
    """The deepest hole of a point set, with certified bounds on its depth.

    Attributes
    ----------
    radius : array (...)
        Largest angle from a point of the sphere to its nearest point of the set, in radians;
        lower is better. Where `exact` is False it is the depth of the best hole found.
    witness : array (..., d)
        The hole: a unit vector at that angle from its nearest points.
    lower, upper : array (...)
        Certified bounds; both equal the radius where `exact` is True.
    exact : bool array (...)
        Whether the radius is that of the deepest hole, up to rounding.
    """

    better: ClassVar[str | None] = "lower"

    radius: Array
    witness: Array
    lower: Array
    upper: Array
    exact: Array


class _Hole(NamedTuple):
    """What a search decided.

    `support` holds the indices of a facet, the weights of the points that touch `pole`, or a pole.
    """

    kind: Literal["facet", "hemisphere", "pole"]
    support: Tensor
    upper: float | None
    pole: Tensor | None = None


@result_function()
def covering_radius(
    points: Tensor, /, *, method: CoveringMethod = "auto", antipodal: bool = False
) -> CoveringResult:
    r"""Compute the covering radius (mesh norm, fill distance) of points on the sphere.

    .. math:: R = \max_{|z|=1} \min_i \angle(z, x_i)

    Parameters
    ----------
    points : array of shape (..., n, d)
        Unit rows.
    method : {"auto", "hull", "hemisphere", "bounds"}, default "auto"
        "hemisphere": exact in any d if the points lie in a closed hemisphere, always so for
        n <= d. "hull": exact by the facets of the convex hull, d <= 8 with as many points as a
        hull of some seconds allows. "bounds": a local search for the deepest hole (certified
        lower bound) and a moment bound from above. "auto" takes the first that applies.
    antipodal : bool, default False
        The covering radius of the 2n points {x, -x}.

    Returns
    -------
    CoveringResult

    Raises
    ------
    ValueError
        If the method asked for by name does not apply; the message says why.
    BudgetError
        If a hull that is to be taken does not fit into memory.

    Notes
    -----
    In a hemisphere R = pi - arccos|p| with p the point of least norm of the convex hull. With the
    origin inside the hull, cos R is the least distance of a facet from the origin. The search
    runs on detached values, set by set; the value is recomputed from the points it found, so the
    gradient is that of the deepest hole (Danskin). Second derivatives are those of a facet; where
    the hole is none, as it would have to move, they are refused. For antipodal sets of rank below
    d the radius is exactly pi/2.

    References
    ----------
    S. V. Borodachov, D. P. Hardin, E. B. Saff, "Discrete Energy on Rectifiable Sets", Springer,
    2019, chapter 3. doi:10.1007/978-0-387-84808-2.

    Examples
    --------
    >>> import numpy as np, sphuni
    >>> octahedron = np.vstack([np.eye(3), -np.eye(3)])
    >>> result = sphuni.covering_radius(octahedron)
    >>> round(float(np.degrees(result.radius)), 10), bool(result.exact)
    (54.7356103172, True)
    """
    check_points(points)
    return covering(points, method=method, antipodal=antipodal)


@array_function()
def mesh_ratio(points: Tensor, /, *, antipodal: bool = False) -> Tensor:
    """Covering radius over half the separation, both angles; lower is better, at least 1.

    Parameters
    ----------
    points : array of shape (..., n, d)
        Unit rows, n >= 2.
    antipodal : bool, default False
        The ratio of the 2n points {x, -x}.

    Returns
    -------
    array of shape (...)
        inf for coincident points. Where the covering radius is not exact (see
        `covering_radius`) this is a lower bound of the ratio.

    Raises
    ------
    ValueError
        For one point, whose separation is infinite.

    Warns
    -----
    NumericalWarning
        Where the ratio is a lower bound only, with what it is at most.

    Examples
    --------
    >>> import numpy as np, sphuni
    >>> round(float(sphuni.mesh_ratio(np.vstack([np.eye(2), -np.eye(2)]))), 12)
    1.0
    """
    check_points(points)
    if points.shape[-2] < 2:
        raise ValueError("points must hold at least two points: one point has no separation")
    rows = widen(points)
    distance, _ = nearest_distances(rows, antipodal=antipodal)
    closest = distance.amin(dim=-1)
    if antipodal:  # a point and its own antipode are a pair of the doubled set
        closest = closest.clamp_max(torch.pi)
    found = covering(rows, method="auto", antipodal=antipodal)
    apart = closest > 0
    half = torch.where(apart, 0.5 * closest, 1.0)
    ratio = torch.where(apart, found.radius / half, torch.inf)
    _warn_of_bounds(found.radius / half, found.upper / half, apart & ~found.exact)
    return ratio.to(points.dtype)


def _warn_of_bounds(lower: Tensor, upper: Tensor, inexact: Tensor) -> None:
    """Say that mesh ratios are lower bounds, and for the first how far up it may lie."""
    if not bool(inexact.any()):
        return
    low, high = (float(bound[inexact][0].detach()) for bound in (lower, upper))
    warnings.warn(
        f"the mesh ratio is a lower bound, as the covering radius is not exact: {low:.4g}, and at "
        f"most {high:.4g}. covering_radius gives both bounds",
        NumericalWarning,
        stacklevel=4,
    )


def covering(points: Tensor, *, method: CoveringMethod, antipodal: bool) -> CoveringResult:
    """`covering_radius` for code that has checked tensors already."""
    if method not in ("auto", "hull", "hemisphere", "bounds"):
        raise ValueError(f"method must be 'auto', 'hull', 'hemisphere' or 'bounds'; got {method!r}")
    flat = tangent_rows(widen(points)).reshape(-1, *points.shape[-2:])
    parts = [_one_set(one, method, antipodal) for one in flat]
    batch = points.shape[:-2]

    def gather(index: int, *tail: int) -> Tensor:
        stacked = torch.stack([part[index] for part in parts])
        stacked = stacked if stacked.dtype == torch.bool else stacked.to(points.dtype)
        return stacked.reshape((*batch, *tail))

    return CoveringResult(gather(0), gather(1, points.shape[-1]), gather(2), gather(3), gather(4))


def _one_set(points: Tensor, method: CoveringMethod, antipodal: bool) -> tuple[Tensor, ...]:
    both = torch.cat([points, -points]) if antipodal else points
    hole = _find(both.detach(), method, antipodal=antipodal)
    radius, witness = _measure(both, hole)
    lower = radius.detach()
    upper = lower if hole.upper is None else lower.new_tensor(hole.upper).clamp_min(lower)
    return radius, witness, lower, upper, upper - lower <= _AGREE


def _find(points: Tensor, method: CoveringMethod, *, antipodal: bool) -> _Hole:
    """Choose the method that applies and run its search."""
    rows = unit_rows(points.double()).cpu().numpy()
    n, d = rows.shape
    nearly = None
    if method != "bounds" or d == 2:
        found = _about_half_a_circle(rows) if d == 2 else None
        if found is None:
            found = closed_hemisphere(rows)
            if found is not None and (rows @ found.pole).max() + found.norm > _AGREE:
                nearly, found = found, None  # the hull's edge is at the origin, so far as one sees
        if found is not None and method == "hull":
            raise ValueError(
                "method='hull' does not apply to points in a closed hemisphere, whose hull leaves "
                "the origin out; use 'auto'"
            )
        if found is not None:
            weights, pole = (torch.from_numpy(a).to(points) for a in (found.weights, found.pole))
            return _Hole("hemisphere", weights, None, pole)
        if method == "hemisphere":
            raise ValueError("method='hemisphere' needs points in a closed hemisphere")
    if d == 2:
        return _Hole("facet", torch.from_numpy(_widest_gap(rows)).to(points.device), None)
    if method == "hull" and not fits(n, d):
        raise ValueError(f"method='hull' would take too long for n = {n}, d = {d}; use 'auto'")
    if method in ("auto", "hull") and fits(n, d):
        require(
            hull_bytes(n, d, matrices=False),
            None,
            what=f"the hull of n = {n} points in d = {d}",
            remedy="use covering_radius with method='bounds'",
        )
        facet = deepest_facet(rows)
        if facet is not None:
            return _Hole("facet", torch.from_numpy(facet).to(points.device), None)
    poles = deep_holes(points, starting_poles(points, antipodal=antipodal))
    upper = _moment_upper_bound(rows)
    if nearly is not None:
        poles = torch.cat([poles, torch.from_numpy(nearly.pole[None]).to(points)])
        short = min(1.0, float(np.linalg.norm(nearly.weights @ rows)))
        upper = min(upper, math.pi / 2 + math.asin(short))
    deepest = torch.stack([(points @ pole).max() for pole in poles]).argmin()
    return _Hole("pole", poles[deepest], upper)


def _measure(points: Tensor, hole: _Hole) -> tuple[Tensor, Tensor]:
    """Recompute radius and witness differentiably from the support that the search found."""
    if hole.kind == "facet":
        ones = points.new_ones(points.shape[1], 1)
        normal = torch.linalg.solve(points[hole.support], ones)[:, 0]
        tangent = (normal.square().sum() - 1).clamp_min(0).sqrt()
        return torch.atan2(tangent, torch.ones_like(tangent)), unit_rows(normal).detach()
    points = first_only(points)
    if hole.pole is not None:
        # all points with a weight are at the same angle; pi - acos|p| has no slope at |p| = 1
        return hole.support @ angles(points, hole.pole), hole.pole
    closest = (points @ hole.support).argmax()
    return angles(points[closest], hole.support), hole.support


def _widest_gap(rows: np.ndarray) -> np.ndarray:
    """Indices of the two neighbours on the circle with the widest gap."""
    order = np.argsort(np.arctan2(rows[:, 1], rows[:, 0]), kind="stable")
    sorted_angles = np.arctan2(rows[order, 1], rows[order, 0])
    gaps = np.diff(np.append(sorted_angles, sorted_angles[0] + 2 * np.pi))
    widest = int(gaps.argmax())
    return np.array([order[widest], order[(widest + 1) % len(order)]])


def _about_half_a_circle(rows: np.ndarray) -> Hemisphere | None:
    """A half circle with all points but for next to nothing, or None.

    Its middle is perpendicular to the chord of the widest gap, whose ends alone count.
    """
    ends = _widest_gap(rows)
    weights = np.bincount(ends, minlength=len(rows)) / 2
    norm = float(np.linalg.norm(weights @ rows))
    if norm > _ABOUT:
        return None
    chord = rows[ends[1]] - rows[ends[0]]
    pole = np.array([chord[1], -chord[0]]) / np.linalg.norm(chord)
    return Hemisphere(weights, pole, norm)


def _moment_upper_bound(rows: np.ndarray) -> float:
    """Certified upper bound from the first two moments of the points.

    For any pole let M be the largest cosine. (t + 1)(t - M) <= 0 for every cosine t, so with mean
    t >= -m (m the norm of the mean) and mean t^2 >= v (the least eigenvalue of the second moment)
    M >= (v - m) / (1 - m).
    """
    mean = float(np.linalg.norm(rows.mean(axis=0)))
    second = float(np.linalg.eigvalsh(rows.T @ rows / len(rows))[0])
    largest_cosine = (second - mean) / (1 - mean) if mean < 1 else -1.0
    return float(np.arccos(np.clip(largest_cosine, -1.0, 1.0)))
