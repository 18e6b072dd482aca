"""Tiles of the pair matrix: value and closed-form gradient in one pass, O(n d + tile) memory.

Sums over i < j come with their gradient from one pass, see `_sums`; the others are three autograd
functions on the same tiles:

* `PairRows`: sum_j w_j K(x_i, y_j) for every i.
* `RowsGradient`: the gradient of `PairRows` in closed form.
* `HessianProduct`: its gradient, second derivatives along a direction, through plain operations
  tile by tile at the same memory.

Every gradient here is the tangent one, that of f(x / |x|): closed form and plain operations must
agree on the radial part too, or second derivatives would be wrong.
"""

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sphuni._threads import beside_others
from sphuni._transforms import is_many
from sphuni._typing import Weights
from sphuni.kernels import Kernel
from sphuni.pairwise._autograd import (
    Second,
    connect,
    last,
    lost,
    mended,
    narrowed,
    refuse_forward_mode,
    wants_gradient,
)
from sphuni.pairwise.loops import _potentials
from sphuni.pairwise.tiles import _tiles
from sphuni.pairwise.tiles._schedule import Task, run_tiles
from sphuni.pairwise.tiles._sums import sums_and_gradients

__all__ = ["rows", "second_derivatives", "supports", "total"]

_COPIES_OF_GRADIENT, _COPIES_OF_SECOND = 72, 192
"""As `COPIES`, where values, slopes and factors are held, and where autograd keeps steps."""

_NO_MORE = "sums over pairs have first and second derivatives; engine='reference' has higher ones"


def supports(x: Tensor, y: Tensor | None, kernels: Sequence[Kernel], op: str) -> str | None:
    """Return None: every call can be served by tiles."""
    return None


def total(x: Tensor, kernels: Sequence[Kernel]) -> Tensor:
    """Sum over i < j of each kernel: (b, n, d) -> (b, k)."""
    used, with_gradient = tuple(kernels), wants_gradient(x)
    sums, gradients = sums_and_gradients(x.detach(), used, with_gradient)
    if not with_gradient:
        return sums

    def recompute(x: Tensor) -> Tensor:
        return mended(sums_and_gradients(x, used, True)[1], x, recompute)

    gradients = mended(gradients, x, recompute)
    return connect(x, sums, gradients, second_derivatives(used), recompute=recompute)


def second_derivatives(kernels: tuple[Kernel, ...]) -> Second:
    """The gradient of a combination of sums over i < j, differentiable once more."""

    def second(x: Tensor, go: Tensor) -> Tensor:
        half = (0.5 * go)[:, None, :].expand(-1, x.shape[1], -1)
        gradient: Tensor = RowsGradient.apply(x, None, x.new_ones(x.shape[:-1]), half, kernels)[0]
        return gradient

    return second


def rows(x: Tensor, y: Tensor | None, weights: Weights | None, kernels: Sequence[Kernel]) -> Tensor:
    """sum_j w_j K(x_i, y_j): (b, n, k); with y None over the other points of x."""
    refuse_forward_mode(x, y, weights)
    other = x if y is None else y
    ones = x.new_ones(other.shape[:-1]) if weights is None else weights
    return PairRows.apply(x, y, ones, tuple(kernels))


class PairRows(torch.autograd.Function):
    """sum_j w_j K(x_i, y_j) for every row i."""

    @staticmethod
    def forward(
        x: Tensor, y: Tensor | None, weights: Weights, kernels: tuple[Kernel, ...]
    ) -> Tensor:
        """Return (b, n, k)."""
        if _potentials.serves(x, y, kernels):
            return _potentials.values(x, y, weights, kernels).to(x.dtype)
        out = x.new_zeros(*x.shape[:-1], len(kernels), dtype=torch.float64)
        run_tiles(functools.partial(_rows_tile, x, y, weights, kernels, out), x, y)
        return out.to(x.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep the inputs; nothing of size n x n."""
        x, y, weights, ctx.kernels = inputs
        ctx.save_for_backward(x, y, weights)

    @staticmethod
    @beside_others()
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        """Contract the slopes with the upstream rows."""
        _refuse_many(upstream)
        x, y, weights = ctx.saved_tensors
        grad_x, grad_y, grad_w = RowsGradient.apply(x, y, weights, upstream[0], ctx.kernels)
        return grad_x, (None if y is None else grad_y), grad_w, None


class RowsGradient(torch.autograd.Function):
    """Gradient of sum_ik go_ik sum_j w_j K_k(x_i, y_j) with respect to x, y and w."""

    @staticmethod
    def forward(
        x: Tensor, y: Tensor | None, weights: Weights, go: Tensor, kernels: tuple[Kernel, ...]
    ) -> Any:
        """Return (grad_x, grad_y, grad_w); with y None grad_x carries both roles of x."""
        grad_x, grad_y, grad_w = _gradients(x, y, weights, go, kernels)
        made_of = x, x if y is None else y, weights, go
        if lost(grad_x, *made_of) or lost(grad_y, *made_of):
            wide = grad_x, grad_y
            if x.dtype != torch.float64:
                other = None if y is None else y.double()
                wide = _gradients(x.double(), other, weights.double(), go.double(), kernels)[:2]
            grad_x, grad_y = (narrowed(part, x.dtype) for part in wide)
        return grad_x, grad_y, grad_w

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep the inputs."""
        x, y, weights, go, ctx.kernels = inputs
        ctx.save_for_backward(x, y, weights, go)

    @staticmethod
    @beside_others()
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        """Second derivatives, differentiable in `upstream` alone."""
        _refuse_many(upstream)
        held = [None if part is None else last(part, _NO_MORE) for part in ctx.saved_tensors]
        return *HessianProduct.apply(*held, ctx.kernels, None, *upstream), None


class HessianProduct(torch.autograd.Function):
    """Second derivatives of sum_ik go_ik sum_j w_j K_k(x_i, y_j) times a vector.

    Libraries such as `torch.autograd.functional.hvp` get their products by differentiating this
    one in its vector.
    """

    @staticmethod
    def forward(
        x: Tensor,
        y: Tensor | None,
        weights: Weights,
        go: Tensor,
        kernels: tuple[Kernel, ...],
        along_go: Tensor | None,
        *along: Tensor,
    ) -> Any:
        """Return the parts for x, y, w and go; with y None that of x carries both of its roles.

        The vector's own are in `along` for x, y and w, and `along_go`, where None means zero.
        """
        out = tuple(torch.zeros_like(part) for part in (x, x if y is None else y, weights, go))
        tile = functools.partial(_second_tile, x, y, weights, go, kernels, along_go, along, out)
        run_tiles(tile, x, y, copies=_COPIES_OF_SECOND)
        return (out[0] + out[1], None, *out[2:]) if y is None else out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep the inputs but the vector."""
        x, y, weights, go, ctx.kernels, *_ = inputs
        ctx.save_for_backward(x, y, weights, go)
        ctx.set_materialize_grads(False)

    @staticmethod
    @beside_others()
    def backward(ctx: Any, *upstream: Tensor | None) -> Any:
        """The product with `upstream`, since second derivatives are symmetric."""
        x, y, weights, go = ctx.saved_tensors
        *given, along_go = upstream
        along = (
            torch.zeros_like(part) if found is None else found
            for part, found in zip((x, x if y is None else y, weights), given, strict=True)
        )
        *parts, in_go = HessianProduct.apply(x, y, weights, go, ctx.kernels, along_go, *along)
        return *[None] * 5, in_go if ctx.needs_input_grad[5] else None, *parts


def _refuse_many(upstream: Sequence[Tensor]) -> None:
    if any(map(is_many, upstream)):
        raise NotImplementedError(
            "gradients of row sums are taken one at a time: call torch.autograd.grad without "
            "is_grads_batched, jacobian and hessian with vectorize=False"
        )


def _gradients(
    x: Tensor, y: Tensor | None, weights: Weights, go: Tensor, kernels: tuple[Kernel, ...]
) -> tuple[Tensor, Tensor, Tensor]:
    """What `RowsGradient` gives, in the precision of the points."""
    if _potentials.serves(x, y, kernels):
        grad_x, grad_y, grad_w = _potentials.gradients(x, y, weights, go, kernels)
    else:
        grad_x, grad_w = torch.zeros_like(x), torch.zeros_like(weights)
        grad_y = grad_x if y is None else torch.zeros_like(y)
        into = (grad_x, grad_y, grad_w)
        tile = functools.partial(_gradient_tile, x, y, weights, go, kernels, into)
        run_tiles(tile, x, y, copies=_COPIES_OF_GRADIENT)
    grad_x = _tiles.tangent(x, grad_x)
    return grad_x, x.new_zeros(()) if y is None else _tiles.tangent(y, grad_y), grad_w


def _rows_tile(
    x: Tensor,
    y: Tensor | None,
    weights: Weights,
    kernels: tuple[Kernel, ...],
    out: Tensor,
    task: Task,
) -> None:
    """Add one tile's row sums to `out` (b, n, k), float64."""
    left, right = x[task.batch, task.left], (x if y is None else y)[task.batch, task.right]
    tile = _tiles.distances(left, right, kernels, own=task.own)
    for k, kernel in enumerate(kernels):
        value = _tiles.evaluate(tile, kernel)
        out[task.batch, task.left, k] += _apply(value, weights[task.batch, task.right])
        if y is None and not task.own:
            out[task.batch, task.right, k] += _apply(value.mT, weights[task.batch, task.left])


def _apply(matrix: Tensor, vector: Tensor) -> Tensor:
    """Matrix times vector where 0 inf = 0, added up alike on any number of threads."""
    product = (matrix * vector[..., None, :]).sum(-1)
    if bool(product.isnan().any()):
        absent = (vector[..., None, :] == 0) & matrix.isinf()
        product = (matrix.masked_fill(absent, 0.0) * vector[..., None, :]).sum(-1)
    return product


def _gradient_tile(
    x: Tensor,
    y: Tensor | None,
    weights: Weights,
    go: Tensor,
    kernels: tuple[Kernel, ...],
    into: tuple[Tensor, Tensor, Tensor],
    task: Task,
) -> None:
    """Add one tile's closed-form gradients with respect to x, y and w to `into`."""
    left, right = x[task.batch, task.left], (x if y is None else y)[task.batch, task.right]
    grad_x, grad_y, grad_w = into
    tile = _tiles.distances(left, right, kernels, own=task.own)
    for k, kernel in enumerate(kernels):
        value, slope, near = _tiles.evaluate_both(tile, kernel)
        factor = go[task.batch, task.left, k, None] * weights[task.batch, None, task.right]
        if y is None and not task.own:
            mirrored = weights[task.batch, task.left, None] * go[task.batch, None, task.right, k]
            factor = factor + mirrored
            grad_w[task.batch, task.left] += _apply(value, go[task.batch, task.right, k])
        grad_w[task.batch, task.right] += _apply(value.mT, go[task.batch, task.left, k])
        if near is not None and tile.near is not None:
            near = near * factor[tile.near.where]
        rows = grad_x[task.batch, task.left], grad_y[task.batch, task.right]
        _tiles.accumulate(tile, slope.mul_(factor), near, left, right, rows)


def _second_tile(
    x: Tensor,
    y: Tensor | None,
    weights: Weights,
    go: Tensor,
    kernels: tuple[Kernel, ...],
    along_go: Tensor | None,
    along: tuple[Tensor, ...],
    out: tuple[Tensor, ...],
    task: Task,
) -> None:
    """Add to `out` the derivative along `along` of one tile's gradients, by plain double backward.

    `along` holds directions for x, y and w, and `along_go` that for go, or None for zero, which
    would meet infinite values; `out` receives the parts for the four. With y None a tile off the
    diagonal stands for both orders of its pairs.
    """
    self_pairs = y is None
    both_ways = self_pairs and not task.own
    hx, hy, hw = along[0], along[0] if self_pairs else along[1], along[2]
    left_of, right_of = (task.batch, task.left), (task.batch, task.right)
    sources = (x[left_of], (x if y is None else y)[right_of], weights[right_of], go[left_of])
    mirror = (weights[left_of], go[right_of]) if both_ways else ()
    with torch.enable_grad():
        leaves = [part.detach().clone().requires_grad_() for part in (*sources, *mirror)]
        left, right, w_right, go_left = leaves[:4]
        loss = left.new_zeros(())
        for k, kernel in enumerate(kernels):
            value = _tiles.kernel_tile(
                _tiles.degree_zero(left), _tiles.degree_zero(right), kernel, own=task.own
            )
            loss = loss + (go_left[..., k] * _apply(value, w_right)).sum()
            if both_ways:
                loss = loss + (leaves[4] * _apply(value, leaves[5][..., k])).sum()
        wanted = [left, right, w_right, *leaves[4:5]]
        directions = [hx[left_of], hy[right_of], hw[right_of]]
        directions += [hw[left_of]] if both_ways else []
        if along_go is not None:
            wanted += [go_left, *leaves[5:]]
            directions += [along_go[left_of], *([along_go[right_of]] if both_ways else [])]
        first = torch.autograd.grad(loss, wanted, create_graph=True, materialize_grads=True)
        slope = torch.stack([(g * h).sum() for g, h in zip(first, directions, strict=True)]).sum()
        second = torch.autograd.grad(slope, leaves, materialize_grads=True)
    for target, place, part in zip(
        out, (left_of, right_of, right_of, left_of), second, strict=False
    ):
        target[place] += part
    if both_ways:
        out[2][left_of] += second[4]
        out[3][right_of] += second[5]
