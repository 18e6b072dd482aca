"""Clusters, and directions of a normal vector."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from sphuni._arrays import like_caller
from sphuni._numbers import whole
from sphuni._rng import numpy_generator
from sphuni._typing import Seed
from sphuni.distributions._sampling import number, reflect, shape_of, uniform_rows, unit
from sphuni.distributions.rotational import von_mises_fisher

__all__ = ["angular_central_gaussian", "clusters"]

_ASYMMETRY = 1e-10  # of the sizes of both axes: an entry near zero may be all rounding


def angular_central_gaussian(
    n: int,
    d: int,
    *,
    scatter: ArrayLike,
    batch: int | tuple[int, ...] = (),
    rng: Seed = None,
    like: Tensor | None = None,
) -> Any:
    """Draw directions of a centred normal vector.

    Parameters
    ----------
    n, d, batch, rng, like
        As in `random_points`.
    scatter : array_like of shape (d,) or (d, d)
        Covariance of the normal vector, or its diagonal; positive definite.

    Returns
    -------
    array of shape (..., n, d)

    References
    ----------
    D. E. Tyler, "Statistical analysis for the angular central Gaussian distribution on the sphere",
    Biometrika 74 (1987) 579-589, doi:10.1093/biomet/74.3.579.
    """
    matrix = np.asarray(scatter, dtype=np.float64)
    if matrix.shape not in ((d,), (d, d)):
        raise ValueError(f"scatter must have shape ({d},) or ({d}, {d}); got {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError("scatter must be finite; drop or repair the entries that are not")
    # directions do not depend on the scale; a power of four leaves the digits as they are
    exponent = int(np.frexp(np.abs(matrix).max())[1])
    matrix = np.ldexp(matrix, -2 * (exponent // 2))
    rows = numpy_generator(rng).standard_normal(shape_of(n, d, batch))
    if matrix.ndim == 1:
        if not np.all(matrix > 0):
            raise ValueError("scatter must be positive definite; an entry is not positive")
        rows *= np.sqrt(matrix)
    else:
        sizes = np.sqrt(np.abs(np.diagonal(matrix)))
        if np.any(np.abs(matrix - matrix.T) > _ASYMMETRY * np.outer(sizes, sizes)):
            raise ValueError("scatter must be symmetric; take (scatter + scatter.T) / 2")
        rows = rows @ _root(matrix).T
    return like_caller(rows / np.linalg.norm(rows, axis=-1, keepdims=True), like)


def clusters(
    n: int,
    d: int,
    *,
    kappa: float,
    centres: int | ArrayLike = 5,
    noise: float = 0.0,
    batch: int | tuple[int, ...] = (),
    rng: Seed = None,
    like: Tensor | None = None,
) -> Any:
    """Draw from a mixture of von Mises-Fisher laws of equal shares.

    Parameters
    ----------
    n, d, batch, rng, like
        As in `random_points`.
    kappa : float
        Concentration of each cluster.
    centres : int or array_like of shape (k, d), default 5
        Mean directions, or how many uniform ones to draw for each set.
    noise : float, default 0
        Share of points that are uniform instead, in [0, 1].

    Returns
    -------
    array of shape (..., n, d)
    """
    if not 0 <= number("noise", noise) <= 1:
        raise ValueError(f"noise must be a share in [0, 1]; got {noise}")
    generator = numpy_generator(rng)
    shape = shape_of(n, d, batch)
    if isinstance(centres, int | np.integer):
        poles = uniform_rows((*shape[:-2], whole("centres", centres, 1), d), generator)
    else:
        poles = np.asarray(centres, dtype=np.float64)
        if poles.ndim != 2 or poles.shape[1] != d or len(poles) == 0:
            raise ValueError(f"centres must have shape (k, {d}) with k >= 1; got {poles.shape}")
        if not np.isfinite(poles).all() or not poles.any(axis=1).all():
            raise ValueError("centres must be finite and not zero; drop the rows that are not")
        poles = np.broadcast_to(unit(poles), (*shape[:-2], *poles.shape))
    rows = von_mises_fisher(n, d, kappa=kappa, batch=batch, rng=generator)
    chosen = generator.integers(poles.shape[-2], size=shape[:-1])
    rows = reflect(rows, np.take_along_axis(poles, chosen[..., None], axis=-2))
    plain = generator.random(shape[:-1]) < noise
    rows[plain] = uniform_rows((int(plain.sum()), d), generator)
    return like_caller(rows, like)


def _root(matrix: np.ndarray) -> np.ndarray:
    """Cholesky factor."""
    if not matrix.any():
        raise ValueError("scatter must be positive definite; all its entries are zero")
    try:
        return np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        least = np.linalg.eigvalsh(matrix)[0] / np.abs(matrix).max()
        raise ValueError(
            f"scatter must be positive definite; its least eigenvalue is {least:.2g} times its "
            "largest entry. Add a multiple of the identity, or leave out what depends on the rest"
        ) from None
