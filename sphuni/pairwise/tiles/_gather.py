"""Tangent gradients of sums over pairs, gathered tile by tile with few passes over them."""

import torch
from torch import Tensor

from sphuni.pairwise.tiles import _tiles
from sphuni.pairwise.tiles._products import add_product, product
from sphuni.pairwise.tiles._schedule import Task
from sphuni.pairwise.tiles._tiles import Near, Tile

__all__ = ["GradientSum"]


class GradientSum:
    """Gradients (k, b, n, d) of k sums over the pairs of x (b, n, d), without their radial parts.

    The gradient at x_i is sum_j w_ij x_j, its radial part r_i x_i with r_i = sum_j w_ij t_ij. A
    block's own tile comes last, when r is known: with -r_i on the diagonal of w the product leaves
    the tangent part. In high dimension that saves most of the traffic to memory, as does writing,
    not adding, at a block's first tile.
    """

    def __init__(self, x: Tensor, count: int) -> None:
        self._x = x
        direct = x.shape[-1] <= _tiles.DIRECT_DIMENSION
        new = torch.zeros if direct else torch.empty
        self.gradients = new(count, *x.shape, dtype=x.dtype, device=x.device)
        self._radial = x.new_zeros(count, *x.shape[:-1])
        self._begun: set[tuple[int, int, int]] = set()

    def add(self, k: int, tile: Tile, weights: Tensor, near: Tensor | None, task: Task) -> None:
        """Add the gradients of sum_ij weights_ij t_ij over one tile, and over its mirror image.

        Tiles that run at the same time share no rows, so nothing here needs a lock.
        """
        x, alone = self._x, task.own
        left, right = x[task.batch, task.left], x[task.batch, task.right]
        rows = self.gradients[k, task.batch, task.left]
        columns = None if alone else self.gradients[k, task.batch, task.right]
        if tile.direct:
            _tiles.accumulate(tile, weights, near, left, right, (rows, columns))
            if alone:
                _tiles.tangent(left, rows)
            return
        turn = tile.p.mul(-0.5).add_(1).mul_(weights)  # w_ij t_ij
        turned = turn.sum(-1), None if alone else turn.sum(-2)
        self.add_product(k, weights, turned, tile.near, near, task)

    def add_product(
        self,
        k: int,
        weights: Tensor,
        turned: tuple[Tensor, Tensor | None],
        near: Near | None,
        near_weights: Tensor | None,
        task: Task,
    ) -> None:
        """Add those of a tile whose sums of w_ij t_ij, by rows and by columns, are known."""
        x = self._x
        left, right = x[task.batch, task.left], x[task.batch, task.right]
        radial = self._radial[k, task.batch, task.left].add_(turned[0])
        if task.own:
            weights.diagonal(dim1=-2, dim2=-1).copy_(-radial)
        self._multiply(k, task.batch, task.left, weights, right)
        if turned[1] is not None and not task.own:
            self._radial[k, task.batch, task.right].add_(turned[1])
            self._multiply(k, task.batch, task.right, weights.mT, left)
        if near is not None and near_weights is not None:
            rows = self.gradients[k, task.batch, task.left]
            columns = self.gradients[k, task.batch, task.right] if not task.own else None
            _tiles.accumulate_near(near, near_weights, left, right, (rows, columns))

    def _multiply(self, k: int, batch: slice, rows: slice, weights: Tensor, points: Tensor) -> None:
        """Add weights @ points, or write it where nothing has been written yet."""
        if self.gradients.shape == (1, 1, *points.shape[1:]) == (1, *points.shape):
            # one product is all there is: it need not be copied
            self.gradients = product(weights[0], points[0].mT)[None, None]
            return
        place = (k, batch.start, rows.start)
        beta = 1 if place in self._begun else 0
        self._begun.add(place)
        add_product(self.gradients[k, batch, rows], weights, points, beta)
