"""Uniform points, and point processes that repel."""

from typing import Any

import numpy as np
from torch import Tensor

from sphuni._arrays import like_caller
from sphuni._rng import numpy_generator
from sphuni._typing import Seed
from sphuni.distributions._sampling import shape_of, uniform_rows

__all__ = ["haar_blocks", "random_points", "spherical_ensemble"]


def random_points(
    n: int,
    d: int,
    *,
    batch: int | tuple[int, ...] = (),
    rng: Seed = None,
    like: Tensor | None = None,
) -> Any:
    """Draw independent uniform points on S^(d-1).

    Parameters
    ----------
    n : int
        Number of points, at least 1.
    d : int
        Ambient dimension, at least 2.
    batch : int or tuple of int, default ()
        Leading dimensions: so many independent sets.
    rng : int, numpy Generator, torch Generator or None
        Seed.
    like : tensor, optional
        Return a tensor of its dtype and device instead of a NumPy array.

    Returns
    -------
    array of shape (..., n, d)
        Unit rows, NumPy float64 unless `like` says otherwise.

    References
    ----------
    M. E. Muller, "A note on a method for generating points uniformly on n-dimensional spheres",
    Communications of the ACM 2 (1959) 19-20, doi:10.1145/377939.377946.

    Examples
    --------
    >>> random_points(5, 3, rng=0).shape
    (5, 3)
    """
    shape = shape_of(n, d, batch)
    return like_caller(uniform_rows(shape, numpy_generator(rng)), like)


def haar_blocks(
    n: int,
    d: int,
    *,
    batch: int | tuple[int, ...] = (),
    rng: Seed = None,
    like: Tensor | None = None,
) -> Any:
    """Draw rows of independent Haar orthogonal matrices, stacked: repulsive within blocks of d.

    Parameters
    ----------
    n, d, batch, rng, like
        As in `random_points`.

    Returns
    -------
    array of shape (..., n, d)

    Examples
    --------
    >>> x = haar_blocks(4, 4, rng=0)
    >>> bool(np.allclose(x @ x.T, np.eye(4)))
    True
    """
    generator = numpy_generator(rng)
    lead = shape_of(n, d, batch)[:-2]
    blocks = []
    for start in range(0, n, d):
        # orthonormal columns of the first n - start coordinates suffice for a last, partial block
        q, r = np.linalg.qr(generator.standard_normal((*lead, d, min(d, n - start))))
        q *= np.sign(np.diagonal(r, axis1=-2, axis2=-1))[..., None, :]
        blocks.append(np.swapaxes(q, -1, -2))
    rows = np.concatenate(blocks, axis=-2)
    return like_caller(np.ascontiguousarray(rows), like)


def spherical_ensemble(
    n: int,
    d: int = 3,
    *,
    batch: int | tuple[int, ...] = (),
    rng: Seed = None,
    like: Tensor | None = None,
) -> Any:
    """Draw the spherical ensemble: points of S^2 that repel each other.

    Parameters
    ----------
    n, batch, rng, like
        As in `random_points`; the cost is O(n^3).
    d : int, default 3
        Only 3.

    Returns
    -------
    array of shape (..., n, 3)

    Notes
    -----
    Eigenvalues of A^-1 B, with A and B complex Gaussian n x n matrices, carried to the sphere by
    stereographic projection: a determinantal process, each point uniform by itself.
    Rows come in random order.

    References
    ----------
    M. Krishnapur, "From random matrices to random analytic functions", Annals of Probability 37
    (2009) 314-346, doi:10.1214/08-AOP404.
    """
    if d != 3:
        raise ValueError(f"the spherical ensemble lives in R^3; got d = {d}. Try haar_blocks")
    generator = numpy_generator(rng)
    shape = (*shape_of(n, d, batch)[:-1], n)
    first, second = (
        generator.standard_normal(shape) + 1j * generator.standard_normal(shape) for _ in range(2)
    )
    found = np.linalg.eigvals(np.linalg.solve(first, second))
    # LAPACK finds eigenvalues in an order of its own; shuffled, every row has the same law
    z = np.take_along_axis(found, np.argsort(generator.random(found.shape), axis=-1), axis=-1)
    square = np.abs(z) ** 2
    rows = np.stack([2 * z.real, 2 * z.imag, square - 1], axis=-1) / (1 + square)[..., None]
    return like_caller(rows / np.linalg.norm(rows, axis=-1, keepdims=True), like)
