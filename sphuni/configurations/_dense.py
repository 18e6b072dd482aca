"""Dense linear algebra that does not give up on symmetric configurations."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

__all__ = ["Factors", "least_squares", "power_of_two", "singular_values"]

_RANK = 1e-8
_CUT = 1e-10

Array = NDArray[np.float64]


class Factors(NamedTuple):
    """Singular value decomposition u s vt, u and vt square, and the rank to within rounding."""

    u: Array
    s: Array
    vt: Array
    rank: int


def singular_values(matrix: Array) -> Factors:
    """Decompose a matrix.

    Of the many equal singular values of a symmetric configuration the fast method, by division,
    finds at times none at all; that of the QR iteration then does.
    """
    try:
        u, s, vt = np.linalg.svd(matrix, full_matrices=True)
    except np.linalg.LinAlgError:
        u, s, vt = linalg.svd(matrix, lapack_driver="gesvd")
    rank = int((s > _RANK * max(s.max(initial=0.0), 1e-300)).sum())
    return Factors(u, s, vt, rank)


def least_squares(matrix: Array, target: Array) -> Array:
    """The shortest of the vectors that the matrix brings nearest to the target; see above."""
    try:
        return np.asarray(np.linalg.lstsq(matrix, target, rcond=_CUT)[0])
    except np.linalg.LinAlgError:
        return np.asarray(linalg.lstsq(matrix, target, cond=_CUT, lapack_driver="gelss")[0])


def power_of_two(size: float) -> float:
    """The power of two next to a size, a unit that rounds nothing; 1 if that is 0 or infinite."""
    normal = 0 < size < math.inf
    return 2.0 ** min(1000, max(-1000, round(math.log2(size)))) if normal else 1.0
