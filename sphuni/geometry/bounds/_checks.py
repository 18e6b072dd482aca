"""Argument checks and evaluations that the bounds share."""

import math
import operator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sphuni.kernels import Kernel

_N_MAX = 10**150


def check_size(n: Any, d: Any, *, least: int) -> tuple[int, int]:
    """Return n and d as plain integers, or say what is wrong with them."""
    n, d = _as_integer(n, "n"), _as_integer(d, "d")
    if d < 2:
        raise ValueError(f"d must be at least 2 (the ambient dimension; 2 is the circle); got {d}")
    if not least <= n <= _N_MAX:
        raise ValueError(f"n must be a number of points between {least} and 1e150; got {n}")
    return n, d


def evaluate(kernel: Kernel, p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Evaluate the kernel at squared distances p to a point and q to its antipode."""
    return np.asarray(kernel.value(torch.from_numpy(p), torch.from_numpy(q)).numpy())


def at_cosine(kernel: Kernel, t: float) -> float:
    """Evaluate the kernel at one cosine."""
    return float(kernel(float(t)))


def angle_of(p: float) -> float:
    """Return the angle between two points at squared distance p."""
    return 2 * math.atan2(math.sqrt(p), math.sqrt(4 - p))


def _as_integer(value: Any, name: str) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer; got {type(value).__name__}") from None
