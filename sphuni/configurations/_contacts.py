"""Packing: the pairs of closest points as a family of functions, and its smooth stand-in.

Both go over all pairs themselves: the engine lists no pairs within a margin, and its kernels have
one exponent, where the stand-in has one per start.
"""

import functools
import inspect
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from sphuni.configurations._members import Array, Members, tangents
from sphuni.configurations._sparse import add_blocks, block_rows

__all__ = ["contacts", "packing_energy"]


def contacts(points: Array, margin: float, *, lines: bool = False) -> Members:
    """Half the squared distances p/2 = 1 - t of the closest pairs, within a margin in t.

    For lines a pair is measured by the nearer of x_j and -x_j; at right angles by both.
    """
    n = len(points)
    gram = points @ points.T
    np.fill_diagonal(gram, -2.0)
    above = np.triu(np.ones((n, n), dtype=bool), 1)
    least = (np.abs(gram[above]) if lines else gram[above]).max() - margin - 1e-14
    first, second = np.nonzero(above & (gram >= least))
    sign = np.ones(len(first))
    if lines:
        mirrored = np.nonzero(above & (-gram >= least))
        sign = np.append(sign, -np.ones(len(mirrored[0])))
        first, second = np.append(first, mirrored[0]), np.append(second, mirrored[1])
    other = sign[:, None] * points[second]
    values = 0.5 * ((points[first] - other) ** 2).sum(1)
    bases = tangents(points)
    left = -np.einsum("kd,kde->ke", other, bases[first])
    right = -sign[:, None] * np.einsum("kd,kde->ke", points[first], bases[second])
    index = np.column_stack([first, second])

    def curvature(weights: Array) -> Array:
        return _curvature(bases[index], sign * weights, 1 - values, index, n, weights)

    return Members(values, block_rows(np.stack([left, right], 1), index, n), index, curvature)


def _curvature(
    bases: Array, weights: Array, cosines: Array, index: np.ndarray, n: int, plain: Array
) -> Array:
    """Hessian of sum_k w_k (1 - sign_k <x_i, x_j>)."""
    mixed = -weights[:, None, None] * np.einsum("kde,kdf->kef", bases[:, 0], bases[:, 1])
    own = (plain * cosines)[:, None, None] * np.eye(bases.shape[3])
    blocks = np.stack([np.stack([own, mixed], 2), np.stack([np.swapaxes(mixed, 1, 2), own], 2)], 1)
    return add_blocks(blocks, index, n)


def packing_energy(lines: bool, compiled: bool) -> Callable[..., tuple[Tensor, Tensor]]:
    """Return the objective log(sum (p / p0)^-a) / a of lanes with exponents a and scales p0."""
    return _compiled(lines) if compiled else functools.partial(_packing, lines)


@functools.lru_cache(maxsize=2)
def _compiled(lines: bool) -> Callable[..., tuple[Tensor, Tensor]]:
    body = functools.partial(inspect.unwrap(_packing), lines)
    return torch.compile(body, dynamic=True, fullgraph=True)


def _packing(lines: bool, x: Tensor, a: Tensor, p0: Tensor) -> tuple[Tensor, Tensor]:
    """Value and gradient from planes (d, n, b); every exponent may differ."""
    same = torch.eye(x.shape[1], dtype=torch.bool)[:, :, None]
    planes = x.unbind(0)
    p = (planes[0][:, None] - planes[0][None]).square()
    for plane in planes[1:]:
        p = p + (plane[:, None] - plane[None]).square()
    p = torch.where(same, 4.0, p)
    near = torch.where(same, 0.0, torch.exp(-a * torch.log(p / p0)))
    pull = near / p
    total = near.sum((0, 1))
    if not lines:
        gradient = torch.stack([(pull * (e[None] - e[:, None])).sum(1) for e in planes])
        return torch.log(0.5 * total) / a, gradient * (4 / total)
    q = torch.where(same, 4.0, 4 - p)
    far = torch.where(same, 0.0, torch.exp(-a * torch.log(q / p0)))
    push = far / q
    total = total + far.sum((0, 1))
    gradient = torch.stack(
        [(pull * (e[None] - e[:, None]) - push * (e[None] + e[:, None])).sum(1) for e in planes]
    )
    return torch.log(0.5 * total) / a, gradient * (4 / total)
