"""Small d: the difference-form body compiled for one kernel, by numba or by torch.compile.

Value and gradient come from one pass, values alone from a shorter one; second derivatives are left
to the blockwise engine.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sphuni.kernels import Kernel
from sphuni.pairwise import _blockwise, _inductor
from sphuni.pairwise._autograd import connect, mended, wants_gradient
from sphuni.pairwise.loops import _native
from sphuni.pairwise.tiles import _tiles

__all__ = ["LARGEST_D", "reason_against", "supports", "total"]

_INDUCTOR_FROM = 5_000  # points
LARGEST_D = _tiles.DIRECT_DIMENSION
"""Beyond it tiles of products are faster than loops over differences."""


def supports(x: Tensor, y: Tensor | None, kernels: Sequence[Kernel], op: str) -> str | None:
    """Return the reason for refusing a call, or None."""
    unserved = _unserved(x, y, op)
    if unserved is not None or all(_native.serves(x, kernel) for kernel in kernels):
        return unserved
    return _inductor.compiler_missing(x.device.type)


def _unserved(x: Tensor, y: Tensor | None, op: str) -> str | None:
    if op != "sum" or y is not None:
        return "it computes sums over the pairs of one unweighted set only"
    if x.shape[-1] > LARGEST_D:
        return f"d = {x.shape[-1]} is above {LARGEST_D}, where tiles are faster"
    return None


def reason_against(x: Tensor, y: Tensor | None, kernels: Sequence[Kernel], op: str) -> str | None:
    """Return the reason why a call cannot be compiled for, or is not worth it, or None.

    Native loops are compiled once on a machine, in about half a second, and save a millisecond at
    the least number of pairs; torch.compile takes many seconds in every process.
    """
    unserved = _unserved(x, y, op)
    if unserved is not None:
        return unserved
    *batch, n, _ = x.shape
    if all(_native.serves(x, kernel) for kernel in kernels):
        pairs = math.prod(batch) * n**2
        fewest = _native.fewest_pairs(kernels)
        small = f"{pairs} ordered pairs are fewer than {fewest}"
        return f"{small}: compiling would not repay" if pairs < fewest else None
    if n < _INDUCTOR_FROM:
        return f"n = {n} is below {_INDUCTOR_FROM}: compiling would not repay"
    return _inductor.compiler_missing(x.device.type)


def total(x: Tensor, kernels: Sequence[Kernel]) -> Tensor:
    """Sum over i < j of each kernel: (b, n, d) -> (b, k)."""
    if not wants_gradient(x):
        return _sound(torch.stack([_sum(x, kernel) for kernel in kernels], dim=-1), x)
    found = [_sums_and_gradient(x.detach(), kernel) for kernel in kernels]
    sums = _sound(torch.stack([sums for sums, _ in found], dim=-1), x)
    gradients = torch.stack([gradient for _, gradient in found])
    gradients = mended(gradients, x, lambda x: _gradients(x, kernels))
    return connect(x, sums, gradients, _blockwise.second_derivatives(tuple(kernels)))


def _sound(sums: Tensor, x: Tensor) -> Tensor:
    """The loops compare distances, and take what is not a number for a coincident pair."""
    unsound = ~torch.isfinite(x.detach()).flatten(1).all(dim=1, keepdim=True)
    return sums.masked_fill(unsound, torch.nan)


def _sum(x: Tensor, kernel: Kernel) -> Tensor:
    if _native.serves(x, kernel):
        return _native.sums(x, kernel).to(x.dtype)
    return _inductor.sums_and_gradients(x.detach(), kernel)[0].to(x.dtype)


def _gradients(x: Tensor, kernels: Sequence[Kernel]) -> Tensor:
    return torch.stack([_sums_and_gradient(x, kernel)[1] for kernel in kernels])


def _sums_and_gradient(x: Tensor, kernel: Kernel) -> tuple[Tensor, Tensor]:
    """The sums (b,) and the tangent gradient (b, n, d) from one compiled pass."""
    backend = _native if _native.serves(x, kernel) else _inductor
    sums, gradient = backend.sums_and_gradients(x, kernel)
    return sums.to(x.dtype), _tiles.tangent(x, gradient.to(x.dtype).contiguous())
