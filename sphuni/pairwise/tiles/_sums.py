"""Sums over the pairs of one set, with their gradients, tile by tile.

Where the kernels have scalar forms native loops go over the cosines of a tile; elsewhere, and for
the few dimensions in which distances are taken by differences, plain operations do.
"""

import functools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from sphuni._budget import room_for
from sphuni.kernels import Antipodal, Kernel
from sphuni.pairwise.tiles import _sweep, _tiles
from sphuni.pairwise.tiles._gather import GradientSum
from sphuni.pairwise.tiles._schedule import (
    COPIES,
    LARGEST_BLOCK,
    Task,
    block_size,
    run_tiles,
    tile_rows,
)

__all__ = ["cosine_sums", "sums_and_gradients"]


def cosine_sums(
    gram: Tensor,
    x: Tensor,
    y: Tensor,
    kernels: tuple[Kernel, ...],
    *,
    own: bool,
) -> Tensor:
    """Sums (b, k), float64, over one tile of cosines (b, r, c), which is used up."""
    share = _share(own)
    if not _sweep.serves(gram, kernels, gram.numel()):
        near = _tiles.set_apart(gram, x, y, kernels, own=own, neutral=0.0)
        tile = _tiles.from_cosines(gram, near, kernels, own=own)
        return share * torch.stack(list(_tile_sums(tile, kernels)), dim=-1)
    if own:
        gram.diagonal(dim1=-2, dim2=-1).fill_(_sweep.MARK)
    sums, close = _sweep.values(gram, kernels)
    near = _set_apart(gram, x, y, kernels, own) if close else None
    if near is not None:
        sums, _ = _sweep.values(gram, kernels)
        values = torch.stack([_tiles.near_values(near, kernel).double() for kernel in kernels], 1)
        sums.index_add_(0, near.where[0], values)
    return share * sums


def sums_and_gradients(
    x: Tensor, kernels: tuple[Kernel, ...], with_gradient: bool
) -> tuple[Tensor, Tensor]:
    """Sums over i < j (b, k), and their tangent gradients (k, b, n, d), empty if not asked for."""
    b, n, d = x.shape
    into = GradientSum(x, len(kernels)) if with_gradient else None
    swept = d > _tiles.DIRECT_DIMENSION and _sweep.serves(x, kernels, b * n**2)
    block = _swept_block(n, x.element_size()) if swept else tile_rows(x)
    sums = _BlockSums(x, len(kernels), block)
    work: Callable[..., None] = functools.partial(_sum_tile, x, kernels, sums)
    if into is not None:
        tile = _swept_gradient_tile if swept else _sum_gradient_tile
        work = functools.partial(tile, x, kernels, sums, into)
    run_tiles(work, x, None, block=block)
    return sums.total(), x.new_zeros(0) if into is None else into.gradients


def _swept_block(n: int, element_size: int) -> int:
    """Rows of a swept tile: all of a set of up to three blocks, where it is not to save memory.

    Only from four blocks on are there two tiles that share no rows, but one product has work for
    all threads.
    """
    whole = n <= 3 * LARGEST_BLOCK and room_for(n**2, COPIES * element_size) == n**2
    return max(1, n) if whole else block_size(n, "cpu", COPIES * element_size)


class _BlockSums:
    """Sums (b, k) by blocks of rows: tiles that run at the same time add to different ones."""

    def __init__(self, x: Tensor, count: int, block: int) -> None:
        self._x, self._block = x, block
        blocks = -(-x.shape[1] // block)
        self._parts = x.new_zeros(blocks, x.shape[0], count, dtype=torch.float64)

    def place(self, task: Task) -> tuple[Tensor, Tensor, Tensor, float]:
        """Rows and columns of a tile, where its sums belong, and the share of them that counts."""
        x, sums = self._x, self._parts[task.left.start // self._block, task.batch]
        return x[task.batch, task.left], x[task.batch, task.right], sums, _share(task.own)

    def total(self) -> Tensor:
        """The sums over all blocks, in the type of the points."""
        return self._parts.sum(dim=0).to(self._x.dtype)


def _share(own: bool) -> float:
    """Whole rows on the diagonal meet every pair twice."""
    return 0.5 if own else 1.0


def _sum_tile(x: Tensor, kernels: tuple[Kernel, ...], into: _BlockSums, task: Task) -> None:
    """Add one tile's sums to those of its block of rows.

    Nothing is returned: small tensors that outlive their tile would split the heap's free space
    into pieces too small for the next tile.
    """
    left, right, sums, share = into.place(task)
    if x.shape[2] > _tiles.DIRECT_DIMENSION:
        gram = _tiles.products(left, right, own=task.own)
        sums += cosine_sums(gram, left, right, kernels, own=task.own)
        return
    tile = _tiles.distances(left, right, kernels, own=task.own)
    sums += share * torch.stack(list(_tile_sums(tile, kernels)), dim=-1)


def _sum_gradient_tile(
    x: Tensor,
    kernels: tuple[Kernel, ...],
    block_sums: _BlockSums,
    into: GradientSum,
    task: Task,
) -> None:
    """Add one tile's sums and gradients, by plain operations."""
    left, right, sums, share = block_sums.place(task)
    tile = _tiles.distances(left, right, kernels, own=task.own)
    for k, kernel in enumerate(kernels):
        value, slope, near = _tiles.evaluate_both(tile, kernel)
        into.add(k, tile, slope, near, task)
        sums[:, k] += share * _add_up(value)


def _swept_gradient_tile(
    x: Tensor,
    kernels: tuple[Kernel, ...],
    block_sums: _BlockSums,
    into: GradientSum,
    task: Task,
) -> None:
    """The same by native loops over the tile's cosines.

    Near pairs are rare: a loop that meets some is run again without them, which costs less than
    looking for them before every loop.
    """
    left, right, sums, share = block_sums.place(task)
    cosines, near = _marked_products(left, right, task.own), None
    for k, kernel in enumerate(kernels):
        last = k == len(kernels) - 1
        weights = cosines if last else cosines.clone()
        swept = _sweep.slopes(weights, kernel, both=not task.own)
        if swept.near:
            cosines = _marked_products(left, right, task.own)
            near = _set_apart(cosines, left, right, kernels, task.own)
            weights = cosines if last else cosines.clone()
            swept = _sweep.slopes(weights, kernel, both=not task.own)
        near_slopes = None
        if near is not None:
            near_slopes = _tiles.near_slopes(near, kernel)
            swept.sums.index_add_(0, near.where[0], _tiles.near_values(near, kernel).double())
        into.add_product(k, weights, (swept.rows, swept.columns), near, near_slopes, task)
        sums[:, k] += share * swept.sums


def _marked_products(left: Tensor, right: Tensor, own: bool) -> Tensor:
    """Cosines (b, r, c), marked on the diagonal of a block's own tile."""
    gram = _tiles.products(left, right, own=own)
    if own:
        gram.diagonal(dim1=-2, dim2=-1).fill_(_sweep.MARK)
    return gram


def _set_apart(
    gram: Tensor, x: Tensor, y: Tensor, kernels: tuple[Kernel, ...], own: bool
) -> _tiles.Near | None:
    return _tiles.set_apart(gram, x, y, kernels, own=own, neutral=_sweep.MARK)


def _tile_sums(tile: _tiles.Tile, kernels: tuple[Kernel, ...]) -> Iterator[Tensor]:
    """Sums of one tile, in which an antipodal kernel shares the values of its base."""

    @functools.cache
    def one(kernel: Kernel, mirrored: bool) -> Tensor:
        return _add_up(_tiles.evaluate(_tiles.mirror(tile) if mirrored else tile, kernel))

    for kernel in kernels:
        if isinstance(kernel, Antipodal):
            yield one(kernel.base, False) + one(kernel.base, True)
        else:
            yield one(kernel, False)


def _add_up(matrix: Tensor) -> Tensor:
    return matrix.sum(-1).sum(-1, dtype=torch.float64)
