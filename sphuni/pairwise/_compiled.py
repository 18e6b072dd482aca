"""Small d: the difference-form body compiled for one kernel, by numba or by torch.compile.

Value and gradient come from one pass; second derivatives are handed to the blockwise engine.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sphuni.kernels import Kernel
from sphuni.pairwise import _blockwise, _inductor, _native

__all__ = ["supports", "total"]

_LARGEST_D = 8


def supports(x: Tensor, y: Tensor | None, kernels: Sequence[Kernel], op: str) -> str | None:
    """Return the reason for refusing a call, or None."""
    if op != "sum" or y is not None:
        return "it computes sums over the pairs of one unweighted set only"
    if x.shape[-1] > _LARGEST_D:
        return f"d = {x.shape[-1]} is above {_LARGEST_D}, where tiles are faster"
    if all(_native.serves(x, kernel) for kernel in kernels):
        return None
    return _inductor.compiler_missing()


def total(x: Tensor, kernels: Sequence[Kernel]) -> Tensor:
    """Sum over i < j of each kernel: (b, n, d) -> (b, k)."""
    return torch.stack([CompiledSum.apply(x, kernel)[0] for kernel in kernels], dim=-1)


class CompiledSum(torch.autograd.Function):
    """sum_{i<j} K(x_i, x_j) and its gradient from one compiled pass."""

    @staticmethod
    def forward(x: Tensor, kernel: Kernel) -> Any:
        """Return the sums (b,) and the gradient (b, n, d)."""
        backend = _native if _native.serves(x, kernel) else _inductor
        sums, gradient = backend.sums_and_gradients(x, kernel)
        return sums.to(x.dtype), _blockwise.tangent(x, gradient.to(x.dtype).contiguous())

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep the points and their gradient."""
        x, ctx.kernel = inputs
        ctx.save_for_backward(x, output[1])
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, go: Tensor | None, _: None) -> Any:
        """Scale the saved gradient; under create_graph hand over to the tiles."""
        if go is None:
            return None, None
        x, gradient = ctx.saved_tensors
        if not torch.is_grad_enabled():
            return go[:, None, None] * gradient, None
        with torch.enable_grad():
            (first,) = torch.autograd.grad(
                _blockwise.total(x, (ctx.kernel,)).sum(), x, create_graph=True
            )
        return go[:, None, None] * first, None
