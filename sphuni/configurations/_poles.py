"""The lowest potentials of a set, as a family of functions of its points."""

import numpy as np
import torch
from scipy import sparse
from scipy.spatial import QhullError
from torch import Tensor

from sphuni._typing import Points
from sphuni.configurations._members import Array, Members, tangents
from sphuni.configurations._wells import native_wells
from sphuni.geometry._hull import can_be_listed, facets
from sphuni.kernels import Antipodal, Kernel
from sphuni.sphere import unit_rows

__all__ = ["lowest_poles", "pole_values"]

_STEPS = 60
_REACH = 0.3
_CLOSE = 1e-5
_SETTLED = 1e-11
_TINY = 1e-12
_SAME = 1e-12


def pole_values(points: Array, margin: float, *, kernel: Kernel) -> Members:
    """Values of the potential at its lowest local minima, those within a margin.

    By the envelope theorem the derivative is the partial one at the fixed pole.
    """
    rows = torch.from_numpy(points)
    poles = lowest_poles(rows, kernel, margin)
    p, q = _squared(poles, rows)
    values = kernel.value(p, q).sum(1).numpy()
    slope, bend = kernel.derivative(p, q).numpy(), kernel.second(p, q).numpy()
    bases, z = tangents(points), poles.numpy()
    along = np.einsum("kd,nde->kne", z, bases)
    jacobian = sparse.csr_matrix((slope[..., None] * along).reshape(len(z), -1))
    none = np.empty((len(values), 0), dtype=np.int64)

    def curvature(weights: Array) -> Array:
        return _curvature(points, z, bases, along, slope, bend, weights)

    return Members(values, jacobian, none, curvature, z)


def lowest_poles(points: Points, kernel: Kernel, margin: float) -> Tensor:
    """Distinct local minima (m, d) of the potential within a margin of the lowest.

    Safeguarded Newton descents start from the centres of the hull's facets, which are the
    farthest places from the points, from the points' antipodes and fixed random directions;
    beyond d = 8 from the last two alone where the facets can be too many to go over. Of lines the
    hull is that of both ends, and one of two opposite minima is kept.
    """
    lines = isinstance(kernel, Antipodal)
    native, starts = native_wells(kernel), _line_starts(points) if lines else _pole_starts(points)
    if native is None:
        z = _descend(points, kernel, starts)
    else:
        z = torch.from_numpy(native(points.numpy(), starts.numpy()))
    value = kernel.value(*_squared(z, points)).sum(1)
    order = value.argsort()
    z, value = z[order], value[order]
    z = z[value <= value[0] + margin]
    cosines = z @ z.T
    gap = 2 - 2 * (cosines.abs() if lines else cosines)
    earlier = torch.tril(gap < _SAME, diagonal=-1).any(1)
    return z[~earlier]


def _pole_starts(points: Points) -> Tensor:
    n, d = points.shape
    generator = torch.Generator().manual_seed(n + 1000 * d)
    starts = torch.randn(8 * d, d, generator=generator, dtype=torch.float64)
    return unit_rows(torch.cat([starts, -points, _centres(points)]))


def _line_starts(points: Points) -> Tensor:
    """One of two opposite places each; a line's own ends are the highest places of all."""
    n, d = points.shape
    generator = torch.Generator().manual_seed(n + 1000 * d)
    starts = torch.randn(8 * d + n, d, generator=generator, dtype=torch.float64)
    centres = _centres(torch.cat([points, -points]))
    return unit_rows(torch.cat([starts, centres[centres[:, 0] >= 0]]))


def _centres(points: Points) -> Tensor:
    """Normals (m, d) of the hull's facets; none where there is no hull, or it is too large."""
    n, d = points.shape
    rows = points.numpy()
    if not can_be_listed(n, d):
        return points[:0]
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
    squares = (points[:, :, None] * points[:, None, :]).flatten(1)
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
    values, vectors = torch.linalg.eigh(hessian)
    inner = (vectors.mT @ gradient[:, :, None])[..., 0] / values.abs().clamp_min(1e-12)
    step = -(vectors @ inner[:, :, None])[..., 0]
    return kernel.value(p, q).sum(1), torch.linalg.vector_norm(gradient, dim=1), step


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
