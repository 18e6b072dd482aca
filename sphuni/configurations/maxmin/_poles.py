"""The lowest potentials of a set, as a family of functions of its points."""

import math

import numpy as np
import torch
from scipy import sparse
from scipy.spatial import QhullError
from torch import Tensor

from sphuni._typing import Points
from sphuni.configurations._clock import OutOfTimeError, late, room_for
from sphuni.configurations.maxmin._members import Array, Members, tangents
from sphuni.configurations.maxmin._wells import native_wells
from sphuni.geometry._hull import can_be_listed, facets, hull_seconds
from sphuni.kernels import Antipodal, Kernel
from sphuni.pairwise import pair_reduce
from sphuni.sphere import unit_rows

__all__ = ["least_potential", "lowest_poles", "pole_values"]

_STEPS = 60
_REACH = 0.3
_CLOSE = 1e-5
_SETTLED = 1e-11
_TINY = 1e-12
_SAME = 1e-12
_OFF = 1e-2
_UNSTABLE = 1e-6  # of the largest curvature
_TERMS_TOGETHER = 10_000_000  # entries of Hessians, summed over points: a twentieth of a second
_PAIRS_TOGETHER = 1 << 24
_DESCENTS = 256  # all there are for some eighty points; more only from starts that are as low


def pole_values(
    points: Array, margin: float, *, kernel: Kernel, deadline: float = math.inf
) -> Members:
    """Values of the potential at its lowest local minima, those within a margin.

    By the envelope theorem the derivative is the partial one at the fixed pole. Raises
    `OutOfTimeError` where the minima are not all known at `deadline` of the monotonic clock.
    """
    rows = torch.from_numpy(points)
    poles = lowest_poles(rows, kernel, margin, deadline)
    p, q = _squared(poles, rows)
    values = kernel.value(p, q).sum(1).numpy()
    slope, bend = kernel.derivative(p, q).numpy(), kernel.second(p, q).numpy()
    bases, z = tangents(points), poles.numpy()
    along = np.einsum("kd,nde->kne", z, bases)
    jacobian = sparse.csr_matrix((slope[..., None] * along).reshape(len(z), -1))
    none = np.empty((len(values), 0), dtype=np.int64)

    def curvature(weights: Array) -> Array:
        return _curvature(points, z, bases, along, slope, bend, weights)

    def elsewhere(other: Array) -> Array:
        return kernel.value(*_squared(poles, torch.from_numpy(other))).sum(1).numpy()

    return Members(values, jacobian, none, curvature, z, elsewhere)


def least_potential(points: Points, kernel: Kernel, deadline: float = math.inf) -> float:
    """Least potential at the local minima; `OutOfTimeError` has that of those seen in time."""
    poles = lowest_poles(points, kernel, 0.0, deadline)
    return float(kernel.value(*_squared(poles, points)).sum(1).min())


def lowest_poles(
    points: Points, kernel: Kernel, margin: float, deadline: float = math.inf
) -> Tensor:
    """Distinct local minima (m, d) of the potential within a margin of the lowest.

    Safeguarded Newton descents start from the centres of the hull's facets, which are the
    farthest places from the points, from the points' antipodes and fixed random directions;
    beyond d = 8 from the last two alone where the facets can be too many to go over. Of lines the
    hull is that of both ends, and one of two opposite minima is kept. Starts are taken in the
    order of their potentials, and those that are too high to come down far enough are left out.
    Lines have minima far from the facets' centres, hence more directions. Symmetric starts may end
    at saddles; descents from both sides of these follow.

    Raises `OutOfTimeError` if at `deadline` not all descents have ended, or if the hull takes
    longer than that; it has the least potential of the ends.
    """
    lines = isinstance(kernel, Antipodal)
    both = torch.cat([points, -points]) if lines else points
    hull = can_be_listed(*both.shape)
    in_time = not hull or room_for(hull_seconds(*both.shape), deadline)
    centres = _centres(both) if hull and in_time else points[:0]
    starts = _line_starts(points, centres) if lines else _pole_starts(points, centres)
    z, value, ended = _settle(points, kernel, starts, margin, deadline)
    sides = _sides(points, kernel, z, deadline) if ended else z[:0]
    if len(sides):
        lower, depth, ended = _settle(points, kernel, sides, margin, deadline)
        z, value = torch.cat([z, lower]), torch.cat([value, depth])
    if not (ended and in_time):
        raise OutOfTimeError(points.numpy(), float(value.min()))
    order = value.argsort()
    z, value = z[order], value[order]
    return _distinct(z[value <= value[0] + margin], lines=lines)


def _pole_starts(points: Points, centres: Tensor) -> Tensor:
    n, d = points.shape
    generator = torch.Generator().manual_seed(n + 1000 * d)
    starts = torch.randn(8 * d, d, generator=generator, dtype=torch.float64)
    return unit_rows(torch.cat([starts, -points, centres]))


def _line_starts(points: Points, centres: Tensor) -> Tensor:
    """One of two opposite places each; a line's own ends are the highest places of all."""
    n, d = points.shape
    generator = torch.Generator().manual_seed(n + 1000 * d)
    starts = torch.randn(32 * d + n, d, generator=generator, dtype=torch.float64)
    return unit_rows(torch.cat([starts, centres[centres[:, 0] >= 0]]))


def _settle(
    points: Points,
    kernel: Kernel,
    starts: Tensor,
    margin: float,
    deadline: float,
) -> tuple[Tensor, Tensor, bool]:
    """Ends (m, d) of the descents from the m lowest starts, their values, and if these suffice.

    They do once the next start lies above the lowest end by more than the margin and the deepest
    fall from the first starts: low starts, where the holes are, lie close above their minima.
    """
    heights, order = pair_reduce(starts, points, kernel=kernel, op="rows").sort()
    starts = starts[order]
    native, (n, d) = native_wells(kernel), points.shape
    z, value = torch.empty_like(starts), torch.empty_like(heights)
    together = max(1, min(_DESCENTS, _TERMS_TOGETHER // (n * d * d)))
    for done in range(0, len(starts), together):
        if done >= _DESCENTS:
            fall = (heights[:_DESCENTS] - value[:_DESCENTS]).max()
            if bool(heights[done] > value[:done].min() + margin + fall):
                return z[:done], value[:done], True
        if done and late(deadline):
            return z[:done], value[:done], False
        some = slice(done, done + together)
        if native is None:
            z[some] = _descend(points, kernel, starts[some])
        else:
            z[some] = torch.from_numpy(native(points.numpy(), starts[some].numpy()))
        value[some] = kernel.value(*_squared(z[some], points)).sum(1)
    return z, value, True


def _sides(points: Points, kernel: Kernel, z: Tensor, deadline: float) -> Tensor:
    """Places (k, d) on both sides of those ends of descents that are saddles.

    Of many ends those that there is time to look at; random sets end at none.
    """
    n, d = points.shape
    squares = _squares(points)
    found = [z[:0]]
    for some in z.split(max(1, _TERMS_TOGETHER // (n * d * d))):
        if len(found) > 1 and late(deadline):
            break
        hessian = _differentials(some, points, squares, kernel)[2]
        finite = hessian.isfinite().all(2).all(1)  # not at a point itself, a start's antipode
        some, hessian = some[finite], hessian[finite]
        curve, axes = torch.linalg.eigh(hessian)
        saddle = curve[:, 0] < -_UNSTABLE * curve.abs().amax(1)
        off = _OFF * axes[saddle, :, 0]
        found += [some[saddle] + off, some[saddle] - off]
    return unit_rows(torch.cat(found))


def _distinct(z: Tensor, *, lines: bool) -> Tensor:
    """Leave out the places (m, d) that lie where an earlier one does."""

    def same(some: Tensor, others: Tensor) -> Tensor:
        cosines = some @ others.T
        return 2 - 2 * (cosines.abs() if lines else cosines) < _SAME

    kept = z[:0]
    for some in z.split(max(1, _PAIRS_TOGETHER // len(z))):
        new = some[~same(some, kept).any(1)]
        kept = torch.cat([kept, new[~torch.tril(same(new, new), diagonal=-1).any(1)]])
    return kept


def _centres(points: Points) -> Tensor:
    """Normals (m, d) of the hull's facets; none where there is no hull."""
    d = points.shape[1]
    rows = points.numpy()
    try:
        corners = rows[facets(rows, spanning=True)]
        return torch.from_numpy(np.linalg.solve(corners, np.ones((len(corners), d, 1)))[..., 0])
    except (QhullError, np.linalg.LinAlgError):
        return points[:0]


def _descend(points: Points, kernel: Kernel, starts: Tensor) -> Tensor:
    """Newton with |eigenvalues| and shortened steps, on all poles that still move."""
    out = starts.clone()
    place = torch.arange(len(starts))
    z, reach = starts, starts.new_full((len(starts),), _REACH)
    squares = _squares(points)
    value, gradient, step = _newton_steps(z, points, squares, kernel)
    for _ in range(_STEPS):
        length = torch.linalg.vector_norm(step, dim=1)
        scale = (reach / length.clamp_min(_TINY)).clamp_max(1.0)
        trial = unit_rows(z + step * scale[:, None])
        new = _newton_steps(trial, points, squares, kernel)
        better = (new[0] < value) | ((length < _CLOSE) & (new[1] < gradient))
        z = torch.where(better[:, None], trial, z)
        step = torch.where(better[:, None], new[2], step)
        value, gradient = (
            torch.where(better, a, b) for a, b in zip(new, (value, gradient), strict=False)
        )
        reach = torch.where(better, 2 * reach, reach.minimum(length) * 0.25).clamp_max(_REACH)
        out[place] = z
        moving = torch.where(better, length > _SETTLED, length > _CLOSE) & (reach > _SETTLED)
        if not bool(moving.any()):
            break
        place, z, reach, step = place[moving], z[moving], reach[moving], step[moving]
        value, gradient = value[moving], gradient[moving]
    return out


def _newton_steps(
    z: Tensor, points: Points, squares: Tensor, kernel: Kernel
) -> tuple[Tensor, Tensor, Tensor]:
    """Potentials (m,), norms (m,) of their tangent gradients and Newton steps (m, d)."""
    value, gradient, hessian = _differentials(z, points, squares, kernel)
    values, vectors = torch.linalg.eigh(hessian)
    inner = (vectors.mT @ gradient[:, :, None])[..., 0] / values.abs().clamp_min(1e-12)
    step = -(vectors @ inner[:, :, None])[..., 0]
    return value, torch.linalg.vector_norm(gradient, dim=1), step


def _squares(points: Points) -> Tensor:
    """Outer products (n, d^2) of the points with themselves."""
    return (points[:, :, None] * points[:, None, :]).flatten(1)


def _differentials(
    z: Tensor, points: Points, squares: Tensor, kernel: Kernel
) -> tuple[Tensor, Tensor, Tensor]:
    """Potentials (m,), tangent gradients (m, d) and Hessians (m, d, d), with 1 along z itself."""
    d = points.shape[1]
    t = z @ points.T
    p, q = (2 - 2 * t).clamp_min(_TINY), (2 + 2 * t).clamp_min(_TINY)
    slope, bend = kernel.derivative(p, q), kernel.second(p, q)
    pull = slope @ points
    radial = (pull * z).sum(1)
    gradient = pull - radial[:, None] * z
    outer = z[:, :, None] * z[:, None, :]
    hessian = (bend @ squares).view(-1, d, d)
    along = (hessian @ z[:, :, None])[..., 0]
    cross = along[:, :, None] * z[:, None, :]
    normal = (along * z).sum(1)
    hessian = hessian - cross - cross.mT + (normal + radial + 1)[:, None, None] * outer
    hessian.diagonal(dim1=1, dim2=2).sub_(radial[:, None])
    return kernel.value(p, q).sum(1), gradient, hessian


def _curvature(
    points: Array,
    poles: Array,
    bases: Array,
    along: Array,
    slope: Array,
    bend: Array,
    weights: Array,
) -> Array:
    """Hessian of sum_k w_k min_z U(z, x): the direct part less what the poles give by moving."""
    carrying = weights > 0
    poles, along, w = poles[carrying], along[carrying], weights[carrying]
    slope, bend = slope[carrying], bend[carrying]
    n, width = bases.shape[0], bases.shape[2]
    frames = tangents(poles)
    t = poles @ points.T
    direct = np.einsum("k,kn,kne,knf->nef", w, bend, along, along)
    direct -= np.einsum("k,kn,kn->n", w, slope, t)[:, None, None] * np.eye(width)
    seen = np.einsum("kdf,nd->knf", frames, points)
    own = np.einsum("kn,kne,knf->kef", bend, seen, seen)
    own -= (slope * t).sum(1)[:, None, None] * np.eye(width)
    mixed = bend[..., None, None] * seen[..., None] * along[:, :, None, :]
    mixed += slope[..., None, None] * np.einsum("kdf,nde->knfe", frames, bases)
    mixed = mixed.transpose(0, 2, 1, 3).reshape(len(w), width, n * width)
    hessian = -np.einsum("k,kfa,kfb->ab", w, mixed, np.linalg.solve(own, mixed))
    index = np.arange(n)
    hessian.reshape(n, width, n, width)[index, :, index, :] += direct
    return np.asarray(hessian)


def _squared(z: Tensor, points: Points) -> tuple[Tensor, Tensor]:
    p = (z[:, None] - points[None]).square().sum(-1).clamp_min(_TINY)
    q = (z[:, None] + points[None]).square().sum(-1).clamp_min(_TINY)
    return p, q
