"""Counting the cosines of a tile by equal bins."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sphuni._jit import native_jit
from sphuni.pairwise.loops._scalar import DTYPES, compile_loops

__all__ = ["above_diagonal", "count_cosines"]


def count_cosines(counts: Tensor, tile: Tensor, *, own: bool, native: bool = True) -> None:
    """Add the cosines of a tile (r, c) to the equal bins of [-1, 1], in place.

    Parameters
    ----------
    counts : tensor (bins,)
    tile : tensor (r, c)
        Cosines; beyond 1 by rounding they belong to the last bin.
    own : bool
        The tile is that of some rows with themselves: only what is above its diagonal counts.
    native : bool, default True
        Whether a loop that takes a second to compile is worth it: torch.histc is a fourth as fast.
    """
    if native and tile.device.type == "cpu" and native_jit() is not None:
        _compiled(DTYPES[tile.dtype])(counts.numpy(), tile.numpy(), own)
        return
    seen = tile[above_diagonal(tile)] if own else tile
    counts += torch.histc(seen.clamp(-1, 1).float(), len(counts), -1, 1)


def above_diagonal(tile: Tensor) -> Tensor:
    """Where a tile of some rows with themselves holds each pair once."""
    return torch.ones_like(tile, dtype=torch.bool).triu_(1)


_LOOPS = (
    """def outer(counts, tile, own):
    last = counts.size - 1
    half = dtype(counts.size) / two
    for i in range(tile.shape[0]):
        for j in range(i + 1 if own else 0, tile.shape[1]):
            place = int((tile[i, j] + one) * half)
            counts[min(max(place, 0), last)] += 1
""",
)


@functools.lru_cache(maxsize=2)
def _compiled(dtype: np.dtype[Any]) -> Callable[..., None]:
    return compile_loops(_LOOPS, (), dtype)
