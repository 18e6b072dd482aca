"""Deepest holes and lowest potentials of a set, as families of functions of its points."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import ConvexHull
from torch import Tensor

from sphuni.configurations._slp import Array, Members, tangents
from sphuni.configurations.polish import tangent_basis
from sphuni.kernels import Kernel
from sphuni.sphere import unit_rows

__all__ = ["circumcentres", "facets", "holes", "lowest_poles", "pole_values"]

_STEPS = 60
_FLAT_FACET = 1e-9


def holes(points: Array, margin: float, *, lines: bool = False) -> Members:
    """Distances h = cos R of the hull's facets from the origin, those within a margin.

    With A the rows of a facet's vertices and A u = 1: h = 1/|u|, the normal is h u, and
    dh = h sum_i w_i <normal, dx_i> with A^T w = normal.
    """
    n, d = points.shape
    both = np.vstack([points, -points]) if lines else points
    simplices = facets(both)
    corners = both[simplices]
    u = np.linalg.solve(corners, np.ones((len(corners), d, 1)))[..., 0]
    h = 1 / np.linalg.norm(u, axis=1)
    inside = u @ both.mean(axis=0) < 1
    values = np.where(inside, h, -h)
    near = values <= values.min() + margin
    corners, simplices = corners[near], simplices[near]
    h, normals = values[near], h[near, None] * u[near]
    w = np.linalg.solve(np.swapaxes(corners, 1, 2), normals[..., None])[..., 0]
    sign = np.where(simplices < n, 1.0, -1.0)
    index = simplices % n
    pull = (h[:, None] * w * sign)[..., None] * np.einsum(
        "kd,kvde->kve", normals, tangents(points)[index]
    )
    return Members(values[near], _rows(pull, index, n), index)


def pole_values(points: Array, margin: float, *, kernel: Kernel) -> Members:
    """Values of the potential at its lowest local minima, those within a margin.

    By the envelope theorem the derivative is the partial one at the fixed pole.
    """
    n = len(points)
    rows = torch.from_numpy(points)
    poles = lowest_poles(rows, kernel, margin)
    p, q = _squared(poles, rows)
    values = kernel.value(p, q).sum(1).numpy()
    slope = kernel.derivative(p, q).numpy()
    pull = slope[..., None] * np.einsum("kd,nde->kne", poles.numpy(), tangents(points))
    index = np.broadcast_to(np.arange(n), (len(values), n))
    return Members(values, _rows(pull, index, n), np.empty((len(values), 0), dtype=np.int64))


def lowest_poles(points: Tensor, kernel: Kernel, margin: float) -> Tensor:
    """Distinct local minima (m, d) of the potential within a margin of the lowest.

    Safeguarded Newton descents start from the centres of the hull's facets, which are the
    farthest places from the points, and from fixed random directions.
    """
    z = _descend(points, kernel, _pole_starts(points))
    value = kernel.value(*_squared(z, points)).sum(1)
    order = value.argsort()
    z, value = z[order], value[order]
    keep = value <= value[0] + margin
    z = z[keep]
    gap = (z[:, None] - z[None]).square().sum(-1)
    earlier = torch.tril(gap < 1e-12, diagonal=-1).any(1)
    return z[~earlier]


def _pole_starts(points: Tensor) -> Tensor:
    n, d = points.shape
    generator = torch.Generator().manual_seed(n + 1000 * d)
    starts = torch.randn(8 * d, d, generator=generator, dtype=torch.float64)
    parts = [starts, -points]
    rows = points.numpy()
    if n > d and np.linalg.matrix_rank(rows - rows[0], tol=1e-6) == d:
        corners = rows[facets(rows)]
        normals = np.linalg.solve(corners, np.ones((len(corners), d, 1)))[..., 0]
        parts.append(torch.from_numpy(normals))
    return unit_rows(torch.cat(parts))


def _descend(points: Tensor, kernel: Kernel, z: Tensor) -> Tensor:
    """Newton with |eigenvalues| and halved steps, on all poles at once."""
    value = kernel.value(*_squared(z, points)).sum(1)
    reach = torch.full_like(value, 0.3)
    for _ in range(_STEPS):
        step, slope = _newton_steps(z, points, kernel)
        length = torch.linalg.vector_norm(step, dim=1)
        step = step * (reach / length.clamp_min(1e-300)).clamp_max(1.0)[:, None]
        trial = unit_rows(z + step)
        trial_value = kernel.value(*_squared(trial, points)).sum(1)
        better = trial_value < value
        z = torch.where(better[:, None], trial, z)
        value = torch.where(better, trial_value, value)
        reach = torch.where(better, reach * 1.5, reach.minimum(length) * 0.25).clamp_max(0.3)
        if not bool((better & (slope > 1e-10 * value.abs())).any()):
            break
    return z


def _newton_steps(z: Tensor, points: Tensor, kernel: Kernel) -> tuple[Tensor, Tensor]:
    """Tangent Newton steps (m, d) and gradient norms (m,) of the potential."""
    p, q = _squared(z, points)
    slope, curvature = kernel.derivative(p, q), kernel.second(p, q)
    basis = tangent_basis(z)
    along = torch.einsum("mde,nd->mne", basis, points)
    gradient = torch.einsum("mn,mne->me", slope, along)
    hessian = torch.einsum("mne,mn,mnf->mef", along, curvature, along)
    radial = (slope * (q - p)).sum(1) / 4
    hessian -= radial[:, None, None] * torch.eye(z.shape[1] - 1, dtype=z.dtype)
    values, vectors = torch.linalg.eigh(hessian)
    inner = torch.einsum("mef,me->mf", vectors, gradient) / values.abs().clamp_min(1e-12)
    move = -torch.einsum("mef,mf->me", vectors, inner)
    return torch.einsum("mde,me->md", basis, move), torch.linalg.vector_norm(gradient, dim=1)


def _squared(z: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    p = (z[:, None] - points[None]).square().sum(-1).clamp_min(1e-12)
    q = (z[:, None] + points[None]).square().sum(-1).clamp_min(1e-12)
    return p, q


def circumcentres(rows: Array) -> tuple[Array, Array]:
    """Centres (m, d) of the empty caps through the hull's facets, and their angular radii."""
    corners = rows[facets(rows)]
    normals = np.linalg.solve(corners, np.ones((*corners.shape[:2], 1)))[..., 0]
    lengths = np.linalg.norm(normals, axis=1)
    return normals / lengths[:, None], np.arctan(np.sqrt(np.maximum(lengths**2 - 1, 0.0)))


def facets(rows: Array) -> NDArray[np.int64]:
    """Vertices (m, d) of the hull's facets, slivers of triangulated flat facets left out."""
    simplices = ConvexHull(rows, qhull_options="Qt Q12").simplices
    volumes = np.abs(np.linalg.det(rows[simplices]))
    return simplices[volumes > _FLAT_FACET * volumes.max()].astype(np.int64)


def _rows(pull: Array, index: NDArray[np.int64], n: int) -> sparse.csr_matrix:
    """Sparse rows from blocks (k, v, d - 1) at points (k, v)."""
    count, _, width = pull.shape
    columns = (index[..., None] * width + np.arange(width)).reshape(count, -1)
    rows = np.repeat(np.arange(count), columns.shape[1])
    return sparse.csr_matrix((pull.reshape(-1), (rows, columns.ravel())), shape=(count, n * width))
