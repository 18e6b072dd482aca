"""Random points on the sphere: the uniform law and its alternatives."""

from typing import Any

import numpy as np
from torch import Tensor

from sphuni._arrays import like_caller
from sphuni._rng import numpy_generator
from sphuni._typing import Seed

__all__ = ["random_points"]


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
    array of shape (*batch, n, d)
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
    shape = _shape(n, d, batch)
    rows = numpy_generator(rng).standard_normal(shape)
    rows /= np.linalg.norm(rows, axis=-1, keepdims=True)
    return like_caller(rows, like)


def _shape(n: int, d: int, batch: int | tuple[int, ...]) -> tuple[int, ...]:
    if n < 1:
        raise ValueError(f"n must be a number of points, at least 1; got {n}")
    if d < 2:
        raise ValueError(f"d must be an ambient dimension, at least 2 (the circle); got {d}")
    lead = (batch,) if isinstance(batch, int) else tuple(batch)
    return (*lead, n, d)
