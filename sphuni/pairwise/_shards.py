"""What one process does for a ring: the pairs within a shard, and those between two shards.

The tiles are those of the blockwise engine or, for small d and kernels that have them, the native
loops. Forces keep their radial parts; the owner of the rows takes them out once all are added.
"""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from sphuni.kernels import Kernel
from sphuni.pairwise import _compiled
from sphuni.pairwise.loops import _native
from sphuni.pairwise.tiles import _tiles
from sphuni.pairwise.tiles._schedule import Task, run_tiles, tile_rows
from sphuni.pairwise.tiles._sums import sums_and_gradients

__all__ = ["between", "has_native_loops", "within"]


def has_native_loops(x: Tensor, kernels: Sequence[Kernel]) -> bool:
    """Whether native loops serve all kernels at this dimension and device."""
    if _compiled.supports(x, None, kernels, "sum") is not None:
        return False
    return all(_native.serves(x, kernel) for kernel in kernels)


def within(
    x: Tensor, kernels: tuple[Kernel, ...], with_gradient: bool, native: bool
) -> tuple[Tensor, Tensor]:
    """Sums (b, k), float64, over the pairs of one shard, and gradients (k, b, n, d)."""
    if x.numel() == 0:
        sums = x.new_zeros(x.shape[0], len(kernels), dtype=torch.float64)
        return sums, x.new_zeros((len(kernels), *x.shape) if with_gradient else 0)
    if not native:
        sums, gradients = sums_and_gradients(x, kernels, with_gradient)
        return sums.double(), gradients
    if not with_gradient:
        return torch.stack([_native.sums(x, kernel) for kernel in kernels], dim=-1), x.new_zeros(0)
    both = [_native.sums_and_gradients(x, kernel) for kernel in kernels]
    sums = torch.stack([sums for sums, _ in both], dim=-1)
    return sums, torch.stack([forces for _, forces in both]).to(x.dtype)


def between(
    x: Tensor, y: Tensor, kernels: tuple[Kernel, ...], with_gradient: bool, native: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Sums over the pairs of a row of `x` and a row of `y`, and the gradients in both."""
    if x.numel() and y.numel() and native:
        both = [_native.sums_between(x, y, kernel) for kernel in kernels]
        sums = torch.stack([sums for sums, _ in both], dim=-1)
        forces = torch.stack([forces for _, forces in both]).to(x.dtype)
        return sums, forces[:, :, : x.shape[1]], forces[:, :, x.shape[1] :]
    blocks = -(-x.shape[1] // tile_rows(x))
    sums = x.new_zeros(blocks, x.shape[0], len(kernels), dtype=torch.float64)
    rows, columns = (
        part.new_zeros((len(kernels), *part.shape) if with_gradient else 0) for part in (x, y)
    )
    if x.numel() and y.numel():
        into = (rows, columns) if with_gradient else None
        run_tiles(functools.partial(_tile, x, y, kernels, sums, into), x, y)
    return sums.sum(dim=0), rows, columns


def _tile(
    x: Tensor,
    y: Tensor,
    kernels: tuple[Kernel, ...],
    sums: Tensor,
    into: tuple[Tensor, Tensor] | None,
    task: Task,
) -> None:
    """Add one tile's sums to those of its block of rows, and its gradients, in place."""
    left, right = x[task.batch, task.left], y[task.batch, task.right]
    tile = _tiles.distances(left, right, kernels, own=False)
    block = task.left.start // tile_rows(x)
    for k, kernel in enumerate(kernels):
        if into is None:
            value = _tiles.evaluate(tile, kernel)
        else:
            value, slope, near = _tiles.evaluate_both(tile, kernel)
            rows = into[0][k, task.batch, task.left], into[1][k, task.batch, task.right]
            _tiles.accumulate(tile, slope, near, left, right, rows)
        sums[block, task.batch, k] += value.sum(-1).sum(-1, dtype=torch.float64)
