"""Sums over pairs of directions, with their gradient in the weight from the same pass."""

import functools
from typing import Any

import torch
from torch import Tensor

from sphuni.kernels import Kernel
from sphuni.nn._directions import directions, lost, unit_and_inverse, unit_if_ordinary
from sphuni.nn._looks import granted, is_doubted
from sphuni.pairwise import pair_reduce, sum_and_gradient, sum_and_gradient_if_apart
from sphuni.sphere import unit_rows

__all__ = ["pair_sum"]


def pair_sum(weight: Tensor, kernel: Kernel, *, half_space: bool) -> Tensor:
    """Sum `kernel` over pairs of the `directions` of a weight: (..., n, d) -> (...)."""
    if weight.requires_grad and torch.is_grad_enabled():
        usual = _usual_sum(weight, kernel, half_space)
        if usual is not None:
            return usual
        rows, inverse = unit_and_inverse(weight.detach())
        found = sum_and_gradient(rows, kernel=kernel)
        apart = _none_coincide(found[0], kernel, rows.shape[-2])
        if not lost(rows, inverse, half_space=half_space, apart=apart):
            total: Tensor = _PairSum.apply(weight, inverse, *found, kernel)
            return total
    return pair_reduce(directions(weight, half_space=half_space), kernel=kernel)


def _usual_sum(weight: Tensor, kernel: Kernel, half_space: bool) -> Tensor | None:
    """The sum if no row is near another, extremely long or short: on a GPU, by a single look."""
    if weight.device.type == "cpu" or is_doubted():
        return None
    rows, inverse, ranges = unit_if_ordinary(weight.detach())
    found = sum_and_gradient_if_apart(rows, kernel=kernel, opposite=half_space)
    if found is None or not granted([*ranges, *found.ranges]):
        return None
    total: Tensor = _PairSum.apply(weight, inverse, found.sums, found.gradient, kernel)
    return total


def _none_coincide(total: Tensor, kernel: Kernel, n: int) -> bool:
    """Whether the sum is too small to hold the value of a coincident pair.

    Looking for such pairs takes another pass over the rows, which this saves for all exponents
    but small and negative ones.
    """
    met, least = _extremes(kernel)
    return bool((total < 0.5 * met + (0.5 * n * (n - 1) - 1) * least).all())


@functools.lru_cache(maxsize=64)
def _extremes(kernel: Kernel) -> tuple[float, float]:
    """Values of a pair that meets, and of the pair with the least: opposite, or orthogonal."""
    p = torch.tensor([0.0, 2.0, 4.0], dtype=torch.float64)
    met, *others = kernel.value(p, 4 - p).tolist()
    return met, min(met, *others)


class _PairSum(torch.autograd.Function):
    """Saves passes over the weight: its gradient is that in the directions over the norms.

    That is so because the gradient in the directions is tangent. Norms and upstream gradient are
    multiplied in together, in place; a second backward pass finds the gradient again.
    """

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, inverse: Tensor, total: Tensor, gradient: Tensor, kernel: Kernel
    ) -> Any:
        ctx.gradient, ctx.kernel = gradient, kernel
        ctx.save_for_backward(weight, inverse)
        return total

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        (weight, inverse), (go,) = ctx.saved_tensors, upstream
        if torch.is_grad_enabled():
            total = pair_reduce(unit_rows(weight), kernel=ctx.kernel)
            again = torch.autograd.grad(total, weight, go, create_graph=True)
            return *again, None, None, None, None
        gradient = ctx.gradient
        if gradient is None:
            gradient = sum_and_gradient(weight * inverse, kernel=ctx.kernel)[1]
        ctx.gradient = None
        return gradient.mul_(inverse * go[..., None, None]), None, None, None, None
