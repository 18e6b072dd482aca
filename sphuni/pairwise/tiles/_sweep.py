"""Native loops over a tile of cosines: kernel sums, slopes and radial parts in one look.

Plain operations would read and write the tile eight times over; beside products of a thousand
coordinates that is as much time as the products themselves.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sphuni._jit import native_jit
from sphuni.kernels import Kernel
from sphuni.pairwise.loops import _scalar, _texts
from sphuni.pairwise.tiles._tiles import NEAR_COSINE, sensitive

__all__ = ["MARK", "Slopes", "serves", "slopes", "values"]

MARK = _texts.MARK
_FEWEST_PAIRS = 64 * 64
_FACTORS = 8
_NEAR = {
    (False, False): "",
    (True, False): "t > edge",
    (False, True): "-t > edge",
    (True, True): "abs(t) > edge",
}
_STEP = 64
"""Cosines that four of the widest registers hold: what is left over goes one by one."""


def serves(x: Tensor, kernels: Sequence[Kernel], pairs: int) -> bool:
    """Whether tiles of these points are on the processor and the kernels have scalar forms.

    For few pairs plain operations take some 60 microseconds more: ten thousand calls of them last
    as long as compiling the loops.
    """
    if pairs < _FEWEST_PAIRS or x.device.type != "cpu" or x.dtype not in _scalar.DTYPES:
        return False
    if native_jit() is None:
        return False
    used = [_far(kernel) for kernel in kernels]
    spelled = all(map(_scalar.can_spell, used))
    return spelled and pairs >= _FEWEST_PAIRS * _scalar.patience(used)


def values(cosines: Tensor, kernels: tuple[Kernel, ...]) -> tuple[Tensor, bool]:
    """Sums (b, k), float64, over the cosines (b, r, c) that are not `MARK`.

    And whether there were near pairs among them, whose cosines have too few digits.
    """
    dtype = _scalar.DTYPES[cosines.dtype]
    sums = np.zeros((len(cosines), len(kernels) + 1))
    _compiled(kernels, False, dtype)(cosines.numpy(), sums, _products(cosines.shape[2], dtype))
    return torch.from_numpy(sums[:, :-1]), bool(sums[:, -1].any())


class Slopes(NamedTuple):
    """Sums of a kernel over tiles (b,), float64, and of cosine times slope over rows and columns.

    `near` says whether there were near pairs, whose cosines have too few digits.
    """

    sums: Tensor
    rows: Tensor
    columns: Tensor
    near: bool


def slopes(cosines: Tensor, kernel: Kernel, *, both: bool) -> Slopes:
    """Replace the cosines (b, r, c) by slopes dK/dt, in place, and by zero where they are `MARK`.

    The sums over the columns (b, c) are empty unless `both`.
    """
    dtype = _scalar.DTYPES[cosines.dtype]
    b, r, c = cosines.shape
    sums, rows = np.zeros((b, 2)), np.zeros((b, r), dtype)
    columns = np.zeros((b, c if both else 0), dtype)
    _compiled((kernel,), True, dtype)(cosines.numpy(), sums, rows, columns, _products(c, dtype))
    total, turned, other = (torch.from_numpy(found) for found in (sums[:, 0], rows, columns))
    return Slopes(total, turned, other, near=bool(sums[:, 1].any()))


def _products(columns: int, dtype: np.dtype[Any]) -> np.ndarray[Any, np.dtype[Any]]:
    """Ones, room for the products of p and of q of which the loops take logarithms."""
    return np.ones((2, _STEP * max(1, -(-columns // (_FACTORS * _STEP)))), dtype)


@functools.lru_cache(maxsize=256)
def _compiled(
    kernels: tuple[Kernel, ...], with_slopes: bool, dtype: np.dtype[Any]
) -> Callable[..., None]:
    spelled = [_scalar.spell(_far(kernel), f"k{k}") for k, kernel in enumerate(kernels)]
    source = _texts.cosine_slopes if with_slopes else _texts.cosine_values
    near = _NEAR[sensitive(kernels)]
    return _scalar.compile_loops(source(spelled, near), spelled, dtype, edge=NEAR_COSINE)


def _far(kernel: Kernel) -> Kernel:
    """What is left to do in a tile: near pairs of singular kernels have been set apart."""
    return kernel.apart if kernel.singular else kernel
