"""Squared distances of listed pairs, differentiable twice, without holding their coordinates.

Where points lie in a cluster every pair is a near one. Gathered by plain operations, and kept for
the derivatives, the rows of n^2 pairs would be d times as large as the matrix itself.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sphuni._budget import room_for

__all__ = ["Where", "pair_squares", "parts"]

Where = tuple[Tensor, Tensor, Tensor]
"""(batch, row, column) indices of pairs."""

_GATHER_ELEMENTS = 1 << 20
_GATHER_BYTES = 256  # of a stated limit for each, as a dozen copies are worked on


def parts(count: int, d: int) -> Iterator[slice]:
    """Slices of the near pairs small enough to gather (part, d) rows of."""
    step = max(1, room_for(_GATHER_ELEMENTS, _GATHER_BYTES) // d)
    for start in range(0, count, step):
        yield slice(start, start + step)


def pair_squares(x: Tensor, y: Tensor, where: Where, sign: int) -> Tensor:
    """|x_i + sign y_j|^2 of the listed pairs, some of them at a time."""
    squares: Tensor = _Squares.apply(x, y, where, sign)
    return squares


class _Squares(torch.autograd.Function):
    """The squares (m,) of sums or differences of m pairs."""

    @staticmethod
    def forward(x: Tensor, y: Tensor, where: Where, sign: int) -> Tensor:
        return _products((x, y), (x, y), where, sign)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, y, where, ctx.sign = inputs
        ctx.save_for_backward(x, y, *where)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        x, y, *where = ctx.saved_tensors
        return *_Push.apply(x, y, tuple(where), ctx.sign, upstream[0]), None, None


class _Push(torch.autograd.Function):
    """The gradient of sum_m weight_m |x_i + sign y_j|^2."""

    @staticmethod
    def forward(x: Tensor, y: Tensor, where: Where, sign: int, weights: Tensor) -> Any:
        return _pushes(x, y, where, sign, weights)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, y, where, ctx.sign, weights = inputs
        ctx.save_for_backward(x, y, weights, *where)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        """The push is linear in the points as in the weights."""
        x, y, weights, *listed = ctx.saved_tensors
        where, (hx, hy) = tuple(listed), upstream
        grad_x, grad_y = _pushes(hx, hy, where, ctx.sign, weights)
        return grad_x, grad_y, None, None, 2 * _products((x, y), (hx, hy), where, ctx.sign)


def _products(
    pair: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor], where: Where, sign: int
) -> Tensor:
    """<x_i + sign y_j, u_i + sign v_j> of the listed pairs."""
    found = pair[0].new_empty(where[0].shape)
    for part in parts(found.numel(), pair[0].shape[-1]):
        here = _some(where, part)
        first = _combined(*pair, here, sign)
        second = first if other is pair else _combined(*other, here, sign)
        found[part] = (first * second).sum(-1)
    return found


def _pushes(
    x: Tensor, y: Tensor, where: Where, sign: int, weights: Tensor
) -> tuple[Tensor, Tensor]:
    into = torch.zeros_like(x), torch.zeros_like(y)
    for part in parts(weights.numel(), x.shape[-1]):
        b, i, j = _some(where, part)
        push = 2 * weights[part, None] * _combined(x, y, (b, i, j), sign)
        into[0].index_put_((b, i), push, accumulate=True)
        into[1].index_put_((b, j), push.mul_(sign), accumulate=True)
    return into


def _some(where: Where, part: slice) -> Where:
    b, i, j = where
    return b[part], i[part], j[part]


def _combined(x: Tensor, y: Tensor, where: Where, sign: int) -> Tensor:
    b, i, j = where
    return x[b, i] + sign * y[b, j]
