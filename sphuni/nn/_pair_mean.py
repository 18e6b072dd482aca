"""Means over pairs of directions, with their gradient in the weight from the same pass."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sphuni.kernels import Kernel
from sphuni.nn._directions import directions, lost, unit_and_inverse
from sphuni.nn._precision import bounded
from sphuni.nn._waits import Range, beside, hold
from sphuni.pairwise import JointSums, joins, pair_reduce, sum_and_gradient
from sphuni.sphere import unit_rows

__all__ = ["PairMean", "pair_mean", "pair_means"]


@dataclasses.dataclass(frozen=True)
class PairMean:
    """What an objective makes of the sum over pairs of one weight: ``factor * sum + constant``.

    Attributes
    ----------
    kernel : Kernel
        Of directions; of the lines through them where those are meant.
    half_space : bool
        Whether rows on one line are to be parted.
    dtype : torch.dtype
        What is computed in.
    factor, constant : float
    logarithm : bool
        Whether the logarithm of that is taken.
    """

    kernel: Kernel
    half_space: bool
    dtype: torch.dtype
    factor: float
    constant: float = 0.0
    logarithm: bool = False

    def wide(self, weight: Tensor) -> Tensor:
        """The weight in the type that is computed in."""
        return weight if weight.dtype == self.dtype else bounded(weight, self.dtype)


def pair_mean(weight: Tensor, mean: PairMean) -> Tensor:
    """The mean over the pairs of `directions` of a weight: (..., n, d) to (...)."""
    if joins(weight) and _wants_gradient(weight):
        found, ranges = pair_means([weight.reshape(-1, *weight.shape[-2:])], [mean])
        if all(hold([ranges])[0]):
            return found.reshape(weight.shape[:-2])
    total = _pair_sum(mean.wide(weight), mean.kernel, half_space=mean.half_space) * mean.factor
    found = total + mean.constant if mean.constant else total
    return (found.log() if mean.logarithm else found).to(weight.dtype)


def pair_means(weights: Sequence[Tensor], means: Sequence[PairMean]) -> tuple[Tensor, list[Range]]:
    """The means of several weights (b, n, d) beside the processor, and what they hold under.

    Weights of the same n come one after the other, and the means differ in factor and constant
    only. The ranges are those of `JointSums`.
    """
    first = means[0]
    wide = [first.wide(weight) for weight in weights]
    joint = JointSums([one.detach() for one in wide], first.kernel, opposite=first.half_space)
    totals: Tensor = _JointSums.apply(joint, first.kernel, *wide)
    numbers = [
        (mean.factor, mean.constant)
        for mean, weight in zip(means, weights, strict=True)
        for _ in range(len(weight))
    ]
    factors, constants = beside(numbers, totals).unbind(dim=1)
    found = torch.addcmul(constants, totals, factors)
    return (found.log() if first.logarithm else found).to(weights[0].dtype), joint.ranges


def _wants_gradient(weight: Tensor) -> bool:
    return weight.requires_grad and torch.is_grad_enabled()


def _pair_sum(weight: Tensor, kernel: Kernel, *, half_space: bool) -> Tensor:
    """Sum `kernel` over pairs of the `directions` of a weight: (..., n, d) -> (...)."""
    if _wants_gradient(weight):
        rows, inverse = unit_and_inverse(weight.detach())
        found = sum_and_gradient(rows, kernel=kernel)
        apart = _none_coincide(found[0], kernel, rows.shape[-2])
        if not lost(rows, inverse, half_space=half_space, apart=apart):
            total: Tensor = _PairSum.apply(weight, inverse, *found, kernel)
            return total
    return pair_reduce(directions(weight, half_space=half_space), kernel=kernel)


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


class _JointSums(torch.autograd.Function):
    """Sums of several weights as a function of each of them."""

    @staticmethod
    def forward(ctx: Any, joint: JointSums, kernel: Kernel, *weights: Tensor) -> Any:
        ctx.joint, ctx.kernel = joint, kernel
        ctx.save_for_backward(*weights)
        return joint.sums.detach()  # the answer holds `joint`, which must not hold the answer

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        weights, (go,) = ctx.saved_tensors, upstream
        if not torch.is_grad_enabled():
            return None, None, *ctx.joint.gradients(go)
        totals = torch.cat([pair_reduce(unit_rows(one), kernel=ctx.kernel) for one in weights])
        return None, None, *torch.autograd.grad(totals, weights, go, create_graph=True)
