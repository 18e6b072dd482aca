"""Tiles of the pair matrix: value and closed-form gradient in one pass, O(n d + tile) memory.

Three autograd functions share the tiles of `_tiles`:

* `PairSum`: sum over i < j. Where a gradient may be asked for it is computed in the same pass.
* `PairRows`: sum_j w_j K(x_i, y_j) for every i.
* `RowsGradient`: the gradient of `PairRows` in closed form; its own gradient goes through plain
  operations tile by tile, which gives second derivatives at the same memory.

Every gradient here is the tangent one, that of f(x / |x|): closed form and plain operations must
agree on the radial part too, or second derivatives would be wrong.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sphuni.kernels import Kernel
from sphuni.pairwise import _tiles
from sphuni.pairwise._lanes import Task, run_lanes, tasks

__all__ = ["rows", "supports", "total"]


def supports(x: Tensor, y: Tensor | None, kernels: Sequence[Kernel], op: str) -> str | None:
    """Return None: every call can be served by tiles."""
    return None


def total(x: Tensor, kernels: Sequence[Kernel]) -> Tensor:
    """Sum over i < j of each kernel: (b, n, d) -> (b, k)."""
    sums, _ = PairSum.apply(x, tuple(kernels), x.requires_grad and torch.is_grad_enabled())
    return sums


def rows(x: Tensor, y: Tensor | None, weights: Tensor | None, kernels: Sequence[Kernel]) -> Tensor:
    """sum_j w_j K(x_i, y_j): (b, n, k); with y None over the other points of x."""
    other = x if y is None else y
    ones = x.new_ones(other.shape[:-1]) if weights is None else weights
    return PairRows.apply(x, y, ones, tuple(kernels))


class PairSum(torch.autograd.Function):
    """sum_{i<j} K(x_i, x_j) with the gradient of each kernel from the same pass."""

    @staticmethod
    def forward(x: Tensor, kernels: tuple[Kernel, ...], with_gradient: bool) -> Any:
        """Return the sums (b, k) and the gradients (k, b, n, d), empty if not asked for."""
        parts = run_lanes(
            lambda lane: _sum_lane(x, kernels, lane, with_gradient), tasks(x, None), x.device
        )
        sums = torch.stack([part[0] for part in parts]).sum(0).to(x.dtype)
        if not with_gradient:
            return sums, x.new_empty(0)
        gradients = parts[0][1]
        for part in parts[1:]:
            gradients += part[1]
        return sums, tangent(x, gradients)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep the points and their gradients."""
        x, ctx.kernels, _ = inputs
        ctx.save_for_backward(x, output[1])
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        """Scale the saved gradients; under create_graph recompute them differentiably."""
        x, gradients = ctx.saved_tensors
        go = upstream[0]
        if not torch.is_grad_enabled():
            return torch.einsum("bk,kbnd->bnd", go, gradients), None, None
        ones = x.new_ones(x.shape[:-1])
        half = (0.5 * go)[:, None, :].expand(-1, x.shape[1], -1)
        grad_x, _, _ = RowsGradient.apply(x, None, ones, half, ctx.kernels)
        return grad_x, None, None


class PairRows(torch.autograd.Function):
    """sum_j w_j K(x_i, y_j) for every row i."""

    @staticmethod
    def forward(
        x: Tensor, y: Tensor | None, weights: Tensor, kernels: tuple[Kernel, ...]
    ) -> Tensor:
        """Return (b, n, k)."""
        parts = run_lanes(
            lambda lane: _rows_lane(x, y, weights, kernels, lane), tasks(x, y), x.device
        )
        return torch.stack([part[0] for part in parts]).sum(0).to(x.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep the inputs; nothing of size n x n."""
        x, y, weights, ctx.kernels = inputs
        ctx.save_for_backward(x, y, weights)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        """Contract the slopes with the upstream rows."""
        x, y, weights = ctx.saved_tensors
        grad_x, grad_y, grad_w = RowsGradient.apply(x, y, weights, upstream[0], ctx.kernels)
        return grad_x, (None if y is None else grad_y), grad_w, None


class RowsGradient(torch.autograd.Function):
    """Gradient of sum_ik go_ik sum_j w_j K_k(x_i, y_j) with respect to x, y and w."""

    @staticmethod
    def forward(
        x: Tensor, y: Tensor | None, weights: Tensor, go: Tensor, kernels: tuple[Kernel, ...]
    ) -> Any:
        """Return (grad_x, grad_y, grad_w); with y None grad_x carries both roles of x."""
        parts = run_lanes(
            lambda lane: _gradient_lane(x, y, weights, go, kernels, lane), tasks(x, y), x.device
        )
        grad_x, grad_y, grad_w = (torch.stack(part).sum(0) for part in zip(*parts, strict=True))
        if y is None:
            return tangent(x, grad_x + grad_y), torch.zeros_like(grad_y), grad_w
        return tangent(x, grad_x), tangent(y, grad_y), grad_w

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep the inputs."""
        x, y, weights, go, ctx.kernels = inputs
        ctx.save_for_backward(x, y, weights, go)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        """Second derivatives, tile by tile through plain operations."""
        x, y, weights, go = ctx.saved_tensors
        hx, hy, hw = upstream
        todo = tasks(x, y)
        parts = [_second_tile(x, y, weights, go, ctx.kernels, (hx, hy, hw), task) for task in todo]
        other = x if y is None else y
        out = [
            torch.zeros_like(x),
            torch.zeros_like(other),
            torch.zeros_like(weights),
            torch.zeros_like(go),
        ]
        for task, (left, right, w_left, w_right, go_left, go_right) in zip(
            todo, parts, strict=True
        ):
            out[0][task.batch, task.left] += left
            out[1][task.batch, task.right] += right
            out[2][task.batch, task.right] += w_right
            out[3][task.batch, task.left] += go_left
            if y is None and not task.diagonal:
                out[2][task.batch, task.left] += w_left
                out[3][task.batch, task.right] += go_right
        if y is None:
            return out[0] + out[1], None, out[2], out[3], None
        return out[0], out[1], out[2], out[3], None


def tangent(x: Tensor, gradient: Tensor) -> Tensor:
    """Remove, in place, the radial part of a gradient (..., b, n, d) at unit rows x."""
    radial = torch.einsum("...bnd,bnd->...bn", gradient, x)
    return gradient.addcmul_(radial[..., None], x, value=-1)


def _sum_lane(
    x: Tensor, kernels: tuple[Kernel, ...], lane: Sequence[Task], with_gradient: bool
) -> tuple[Tensor, Tensor]:
    """Sums in float64 and gradients of one lane's tiles."""
    sums = x.new_zeros(x.shape[0], len(kernels), dtype=torch.float64)
    gradients = x.new_zeros((len(kernels), *x.shape) if with_gradient else 0)
    for task in lane:
        left, right = x[task.batch, task.left], x[task.batch, task.right]
        tile = _tiles.distances(left, right, kernels, diagonal=task.diagonal)
        share = 0.5 if task.diagonal else 1.0
        for k, kernel in enumerate(kernels):
            if not with_gradient:
                value = _tiles.evaluate(tile, kernel)
            else:
                value, slope, near = _tiles.evaluate_both(tile, kernel)
                if task.diagonal:  # a full square: both ends of a pair are met twice
                    slope, near = slope.mul_(share), None if near is None else near.mul_(share)
                into = gradients[k, task.batch, task.left], gradients[k, task.batch, task.right]
                _tiles.accumulate(tile, slope, near, left, right, into)
            sums[task.batch, k] += share * value.sum(-1).sum(-1, dtype=torch.float64)
    return sums, gradients


def _rows_lane(
    x: Tensor, y: Tensor | None, weights: Tensor, kernels: tuple[Kernel, ...], lane: Sequence[Task]
) -> tuple[Tensor]:
    """Row sums in float64 of one lane's tiles."""
    other = x if y is None else y
    out = x.new_zeros(*x.shape[:-1], len(kernels), dtype=torch.float64)
    for task in lane:
        left, right = x[task.batch, task.left], other[task.batch, task.right]
        tile = _tiles.distances(left, right, kernels, diagonal=task.diagonal)
        for k, kernel in enumerate(kernels):
            value = _tiles.evaluate(tile, kernel)
            out[task.batch, task.left, k] += _apply(value, weights[task.batch, task.right])
            if y is None and not task.diagonal:
                out[task.batch, task.right, k] += _apply(value.mT, weights[task.batch, task.left])
    return (out,)


def _apply(matrix: Tensor, vector: Tensor) -> Tensor:
    return torch.matmul(matrix, vector[..., None])[..., 0]


def _gradient_lane(
    x: Tensor,
    y: Tensor | None,
    weights: Tensor,
    go: Tensor,
    kernels: tuple[Kernel, ...],
    lane: Sequence[Task],
) -> tuple[Tensor, Tensor, Tensor]:
    """Closed-form gradients of one lane's tiles."""
    other = x if y is None else y
    grad_x, grad_y, grad_w = torch.zeros_like(x), torch.zeros_like(other), torch.zeros_like(weights)
    for task in lane:
        left, right = x[task.batch, task.left], other[task.batch, task.right]
        tile = _tiles.distances(left, right, kernels, diagonal=task.diagonal)
        for k, kernel in enumerate(kernels):
            value, slope, near = _tiles.evaluate_both(tile, kernel)
            both_ways = y is None and not task.diagonal
            factor = go[task.batch, task.left, k, None] * weights[task.batch, None, task.right]
            if both_ways:
                mirrored = (
                    weights[task.batch, task.left, None] * go[task.batch, None, task.right, k]
                )
                factor = factor + mirrored
                grad_w[task.batch, task.left] += _apply(value, go[task.batch, task.right, k])
            grad_w[task.batch, task.right] += _apply(value.mT, go[task.batch, task.left, k])
            if near is not None and tile.near is not None:
                near = near * factor[tile.near.where]
            into = grad_x[task.batch, task.left], grad_y[task.batch, task.right]
            _tiles.accumulate(tile, slope.mul_(factor), near, left, right, into)
    return grad_x, grad_y, grad_w


def _second_tile(
    x: Tensor,
    y: Tensor | None,
    weights: Tensor,
    go: Tensor,
    kernels: tuple[Kernel, ...],
    directions: tuple[Tensor, Tensor, Tensor],
    task: Task,
) -> tuple[Tensor, ...]:
    """Derivative along `directions` of the gradients of one tile, by plain double backward."""
    other = x if y is None else y
    hx, hy, hw = directions
    both_ways = y is None and not task.diagonal
    with torch.enable_grad():
        left, right, w_left, w_right, go_left, go_right = (
            part.detach().clone().requires_grad_()
            for part in (
                x[task.batch, task.left],
                other[task.batch, task.right],
                weights[task.batch, task.left] if y is None else weights[task.batch, :0],
                weights[task.batch, task.right],
                go[task.batch, task.left],
                go[task.batch, task.right] if y is None else go[task.batch, :0],
            )
        )
        inputs = (left, right, w_left, w_right, go_left, go_right)
        loss = left.new_zeros(())
        for k, kernel in enumerate(kernels):
            value = _tiles.kernel_tile(
                _tiles.degree_zero(left), _tiles.degree_zero(right), kernel, diagonal=task.diagonal
            )
            loss = loss + (go_left[..., k] * _apply(value, w_right)).sum()
            if both_ways:
                loss = loss + (w_left * _apply(value, go_right[..., k])).sum()
        first = torch.autograd.grad(loss, inputs[:4], create_graph=True, materialize_grads=True)
        along = (first[0] * hx[task.batch, task.left]).sum()
        along = along + (first[1] * (hx if y is None else hy)[task.batch, task.right]).sum()
        along = along + (first[3] * hw[task.batch, task.right]).sum()
        if both_ways:
            along = along + (first[2] * hw[task.batch, task.left]).sum()
        return torch.autograd.grad(along, inputs, materialize_grads=True)
