"""The deepest holes of a set, as a family of functions of its points."""

import math

import numpy as np

from sphuni.configurations._clock import OutOfTimeError, room_for
from sphuni.configurations.maxmin._members import Array, Members, both_ends, tangents
from sphuni.configurations.maxmin._sparse import add_blocks, block_rows
from sphuni.geometry._hull import facets, hull_seconds

__all__ = ["circumcentres", "holes"]


def holes(
    points: Array, margin: float, *, lines: bool = False, deadline: float = math.inf
) -> Members:
    """Distances h = cos R of the hull's facets from the origin, those within a margin.

    With A the rows of a facet's vertices and A u = 1: h = 1/|u|, the normal is h u, and
    dh = h sum_i w_i <normal, dx_i> with A^T w = normal. Raises `OutOfTimeError` if the hull takes
    longer than there is until `deadline` of the monotonic clock.
    """
    n, d = points.shape
    both = both_ends(points, antipodal=lines)
    if not room_for(hull_seconds(len(both), d), deadline):
        raise OutOfTimeError(points)
    simplices = facets(both, spanning=True)
    corners = both[simplices]
    u = np.linalg.solve(corners, np.ones((len(corners), d, 1)))[..., 0]
    h = 1 / np.linalg.norm(u, axis=1)
    inside = u @ both.mean(axis=0) < 1
    values = np.where(inside, h, -h)
    near = values <= values.min() + margin
    corners, simplices, u = corners[near], simplices[near], u[near]
    h, normals = values[near], values[near, None] * u
    w = np.linalg.solve(np.swapaxes(corners, 1, 2), normals[..., None])[..., 0]
    sign = np.where(simplices < n, 1.0, -1.0)
    index = simplices % n
    bases = sign[..., None, None] * tangents(points)[index]
    pull = (h[:, None] * w)[..., None] * np.einsum("kd,kvde->kve", normals, bases)

    def curvature(weights: Array) -> Array:
        return _curvature(corners, u, h, bases, index, n, weights)

    return Members(values[near], block_rows(pull, index, n), index, curvature, normals)


def _curvature(
    corners: Array,
    u: Array,
    h: Array,
    bases: Array,
    index: np.ndarray,
    n: int,
    weights: Array,
) -> Array:
    """Hessian of sum_k w_k h_k.

    For g = |u|^2 = h^-2 with C = A^-1 and v = C^T u: dg = -2 v_i u_a and
    d2g = 2 (C^T C)_ij u_a u_b + 2 v_i C_aj u_b + 2 v_j C_bi u_a in the coordinates a, b of the
    corners i, j.
    """
    carrying = weights > 0
    corners, u, h, bases = corners[carrying], u[carrying], h[carrying], bases[carrying]
    inverse = np.linalg.inv(corners)
    v = np.einsum("kai,ka->ki", inverse, u)
    inner = np.einsum("kai,kaj->kij", inverse, inverse)
    along = np.einsum("ka,kiae->kie", u, bases)
    turned = np.einsum("kaj,kiae->kije", inverse, bases)
    second = 2 * np.einsum("kij,kie,kjf->kiejf", inner, along, along)
    half = 2 * np.einsum("ki,kije,kjf->kiejf", v, turned, along)
    second += half + half.transpose(0, 3, 4, 1, 2)
    first = -2 * v[..., None] * along
    cube = h**3
    blocks = -0.5 * cube[:, None, None, None, None] * second
    blocks += (0.75 * cube * h**2)[:, None, None, None, None] * (
        first[:, :, :, None, None] * first[:, None, None]
    )
    corner = np.arange(corners.shape[1])
    blocks[:, corner, :, corner, :] -= (cube[:, None] * v).T[..., None, None] * np.eye(
        bases.shape[3]
    )
    return add_blocks(weights[carrying][:, None, None, None, None] * blocks, index[carrying], n)


def circumcentres(rows: Array) -> tuple[Array, Array]:
    """Centres (m, d) of the empty caps through the hull's facets, and their angular radii."""
    corners = rows[facets(rows, spanning=True)]
    normals = np.linalg.solve(corners, np.ones((*corners.shape[:2], 1)))[..., 0]
    lengths = np.linalg.norm(normals, axis=1)
    return normals / lengths[:, None], np.arctan(np.sqrt(np.maximum(lengths**2 - 1, 0.0)))
