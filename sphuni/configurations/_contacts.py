"""Packing: the pairs of closest points as a family of functions.

It goes over all pairs itself: the engine lists no pairs within a margin.
"""

import numpy as np

from sphuni.configurations._members import Array, Members, tangents
from sphuni.configurations._sparse import add_blocks, block_rows

__all__ = ["contacts", "smallest_half_square"]


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


def smallest_half_square(points: Array, *, lines: bool = False) -> float:
    """Half the squared distance of the closest pair, 1 - t."""
    return float(contacts(points, 0.0, lines=lines).values.min())


def _curvature(
    bases: Array, weights: Array, cosines: Array, index: np.ndarray, n: int, plain: Array
) -> Array:
    """Hessian of sum_k w_k (1 - sign_k <x_i, x_j>)."""
    mixed = -weights[:, None, None] * np.einsum("kde,kdf->kef", bases[:, 0], bases[:, 1])
    own = (plain * cosines)[:, None, None] * np.eye(bases.shape[3])
    blocks = np.stack([np.stack([own, mixed], 2), np.stack([np.swapaxes(mixed, 1, 2), own], 2)], 1)
    return add_blocks(blocks, index, n)
