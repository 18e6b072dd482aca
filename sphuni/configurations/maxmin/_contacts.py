"""Packing: the pairs of closest points as a family of functions.

It lists them itself, of small sets from all pairs: the engine lists no pairs within a margin.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from sphuni.configurations.maxmin._members import Array, Members, both_ends, tangents
from sphuni.configurations.maxmin._sparse import add_blocks, block_rows
from sphuni.pairwise import smallest_distance

__all__ = ["contacts", "many", "pairs_within", "smallest_half_square"]

_INDEX = NDArray[np.intp]

_TREE_FROM, _TREE_DIMENSION = 1_000, 8
"""Points from which on a tree lists pairs, up to a dimension in which it is faster than all."""
_SAME = 1e-14
"""By how much cosines of equally close pairs may differ."""


def contacts(points: Array, margin: float, *, lines: bool = False) -> Members:
    """Half the squared distances p/2 = 1 - t of the closest pairs, within a margin in t.

    For lines a pair is measured by the nearer of x_j and -x_j; at right angles by both.
    """
    n = len(points)
    first, second, sign = (_from_tree if many(*points.shape) else _among_all)(points, margin, lines)
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
    if many(*points.shape):
        return 0.5 * float(smallest_distance(torch.from_numpy(points), antipodal=lines)) ** 2
    return float(contacts(points, 0.0, lines=lines).values.min())


def many(n: int, d: int) -> bool:
    """Whether a tree lists the pairs of so many points faster than all are gone through."""
    return n >= _TREE_FROM and d <= _TREE_DIMENSION


def _among_all(points: Array, margin: float, lines: bool) -> tuple[_INDEX, _INDEX, Array]:
    """Pairs i < j within the margin of the closest, and 1, or -1 where that is x_i with -x_j."""
    n = len(points)
    gram = points @ points.T
    np.fill_diagonal(gram, -2.0)
    above = np.triu(np.ones((n, n), dtype=bool), 1)
    least = (np.abs(gram[above]) if lines else gram[above]).max() - margin - _SAME
    first, second = np.nonzero(above & (gram >= least))
    sign = np.ones(len(first))
    if lines:
        mirrored = np.nonzero(above & (-gram >= least))
        sign = np.append(sign, -np.ones(len(mirrored[0])))
        first, second = np.append(first, mirrored[0]), np.append(second, mirrored[1])
    return first, second, sign


def _from_tree(points: Array, margin: float, lines: bool) -> tuple[_INDEX, _INDEX, Array]:
    """The same pairs in the same order."""
    reach = math.sqrt(2 * (smallest_half_square(points, lines=lines) + margin + _SAME))
    return pairs_within(points, reach, lines=lines)


def pairs_within(points: Array, reach: float, *, lines: bool) -> tuple[_INDEX, _INDEX, Array]:
    """Pairs i < j no farther apart than `reach`, and 1, or -1 where that is x_i from -x_j."""
    n = len(points)
    tree = cKDTree(both_ends(points, antipodal=lines))
    first, second = tree.query_pairs(reach, output_type="ndarray").T
    sign = np.where(second < n, 1.0, -1.0)
    second = second % n
    kept = first < second  # a line's pairs are found from both ends
    order = np.lexsort((second[kept], first[kept], -sign[kept]))
    return first[kept][order], second[kept][order], sign[kept][order]


def _curvature(
    bases: Array, weights: Array, cosines: Array, index: np.ndarray, n: int, plain: Array
) -> Array:
    """Hessian of sum_k w_k (1 - sign_k <x_i, x_j>)."""
    mixed = -weights[:, None, None] * np.einsum("kde,kdf->kef", bases[:, 0], bases[:, 1])
    own = (plain * cosines)[:, None, None] * np.eye(bases.shape[3])
    blocks = np.stack([np.stack([own, mixed], 2), np.stack([np.swapaxes(mixed, 1, 2), own], 2)], 1)
    return add_blocks(blocks, index, n)
