"""Sums over pairs of directions, with their gradient in the weight from the same pass."""

from typing import Any

import torch
from torch import Tensor

from sphuni.kernels import Kernel
from sphuni.nn._directions import directions, undisturbed
from sphuni.pairwise import pair_reduce, sum_and_gradient
from sphuni.sphere import unit_rows

__all__ = ["pair_sum"]


def pair_sum(weight: Tensor, kernel: Kernel, *, half_space: bool) -> Tensor:
    """Sum `kernel` over pairs of the `directions` of a weight: (..., n, d) -> (...)."""
    if weight.requires_grad and torch.is_grad_enabled():
        found = undisturbed(weight.detach(), half_space=half_space)
        if found is not None:
            total: Tensor = _PairSum.apply(weight, *found, kernel)
            return total
    return pair_reduce(directions(weight, half_space=half_space), kernel=kernel)


class _PairSum(torch.autograd.Function):
    """Saves passes over the weight: its gradient is that in the directions over the norms.

    That is so because the gradient in the directions is tangent. Norms and upstream gradient are
    multiplied in together, in place; a second backward pass finds the gradient again.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, rows: Tensor, inverse: Tensor, kernel: Kernel) -> Any:
        total, ctx.gradient = sum_and_gradient(rows, kernel=kernel)
        ctx.kernel = kernel
        ctx.save_for_backward(weight, inverse)
        return total

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        (weight, inverse), (go,) = ctx.saved_tensors, upstream
        if torch.is_grad_enabled():
            total = pair_reduce(unit_rows(weight), kernel=ctx.kernel)
            again = torch.autograd.grad(total, weight, go, create_graph=True)
            return *again, None, None, None
        gradient = ctx.gradient
        if gradient is None:
            gradient = sum_and_gradient(weight * inverse, kernel=ctx.kernel)[1]
        ctx.gradient = None
        return gradient.mul_(inverse * go[..., None, None]), None, None, None
