"""Matrix products on the processor, by the faster of the two libraries that come with torch.

torch multiplies float32 matrices by MKL, which leaves the widest registers of AMD's processors
unused; oneDNN, which torch keeps for convolutions, is twice as fast there.
"""

import functools
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sphuni._transforms import has_values

__all__ = ["add_product", "images", "matmul", "own_products", "product", "row_products"]

_Linear = Callable[[Tensor, Tensor], Tensor]
_LEAST_WORK = 1 << 21
"""Multiplications below which the longer call takes more time than it saves."""
_MIRROR_FROM, _MIRROR_PARTS = 256, 4


def product(x: Tensor, y: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Products x y^T of rows (r, d) and (c, d), not differentiable."""
    linear = _linear_for(x, y, x.shape[0] * y.shape[0] * x.shape[1])
    if linear is None:
        return torch.mm(x, y.mT) if out is None else torch.mm(x, y.mT, out=out)
    found = linear(x, y)
    return found if out is None else out.copy_(found)


def matmul(x: Tensor, y: Tensor) -> Tensor:
    """Products x y^T of batches (b, r, d) and (b, c, d), not differentiable."""
    b, r, d = x.shape
    if b == 1:
        return product(x[0], y[0])[None]
    if _linear_for(x, y, r * y.shape[1] * d) is None:
        return torch.matmul(x, y.mT)
    found = x.new_empty(b, r, y.shape[1])
    for one, left, right in zip(found, x, y, strict=True):
        product(left, right, out=one)
    return found


def add_product(target: Tensor, left: Tensor, right: Tensor, beta: int = 1) -> None:
    """Make `target` (b, r, d) beta times itself and left @ right, with beta 0 or 1."""
    b, r, d = target.shape
    linear = _linear_for(left, right, r * left.shape[2] * d)
    if linear is None:
        if b == 1:  # a single matrix is faster than a batch of one
            target[0].addmm_(left[0], right[0], beta=beta)
        else:
            target.baddbmm_(left, right, beta=beta)
        return
    for into, one, other in zip(target, left, right, strict=True):
        # a transposed matrix is copied first unless it stands on the right
        turned = one.stride(0) == 1 and 2 * d < r
        found = linear(other.mT, one).mT if turned else linear(one, other.mT)
        if beta == 0:
            into.copy_(found)
        else:
            into.add_(found)


def own_products(x: Tensor) -> Tensor:
    """Products x x^T (b, n, n), of which a part is copied: that costs less than its products.

    On a GPU, where starting a dozen operations costs more than that part, one product makes all.
    """
    b, n, d = x.shape
    if b > 1 or min(n, d) < _MIRROR_FROM or x.device.type != "cpu":
        return matmul(x, x)
    rows, gram = x[0], x.new_empty(1, n, n)
    step = -(-n // _MIRROR_PARTS)
    for start in range(0, n, step):
        stop = start + step
        found = product(rows[start:], rows[start:stop])  # few columns are faster than few rows
        gram[0, start:, start:stop] = found
        gram[0, start:stop, stop:] = found[step:].T.contiguous()  # block by block, unlike a copy
    return gram


def row_products(x: Tensor) -> Tensor:
    """Products x x^T (..., n, n) of rows (..., n, d), differentiable any number of times.

    The gradient takes one product, where that of plain operations takes two.
    """
    if not has_values(x):
        return x @ x.mT
    found: Tensor = _RowProducts.apply(x.reshape(-1, *x.shape[-2:]))
    return found.reshape(*x.shape[:-1], x.shape[-2])


def images(x: Tensor, matrix: Tensor) -> Tensor:
    """Products x matrix^T of rows (n, d) with a matrix (m, d), which is a constant as a rule."""
    if matrix.requires_grad or not has_values(x):
        return x @ matrix.mT
    found: Tensor = _Images.apply(x, matrix)
    return found


class _Images(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, matrix: Tensor) -> Tensor:
        return product(x, matrix)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])
        ctx.save_for_forward(inputs[1])

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        (matrix,) = ctx.saved_tensors
        if torch.is_grad_enabled() or not has_values(upstream[0]):
            return upstream[0] @ matrix, None
        gradient = matrix.new_empty(1, len(upstream[0]), matrix.shape[1])
        add_product(gradient, upstream[0][None], matrix[None], 0)
        return gradient[0], None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        return tangents[0] @ ctx.saved_tensors[0].mT


class _RowProducts(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return own_products(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        both = upstream[0] + upstream[0].mT
        if torch.is_grad_enabled() or not has_values(both):
            return both @ x
        gradient = torch.empty_like(x)
        add_product(gradient, both, x, 0)
        return gradient

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        half = tangents[0] @ x.mT
        return half + half.mT


def _linear_for(x: Tensor, y: Tensor, work: int) -> _Linear | None:
    """The product by oneDNN for these operands, or None where torch's own serves."""
    if work < _LEAST_WORK or x.dtype != torch.float32 or x.device.type != "cpu":
        return None
    if torch.compiler.is_compiling():
        return None
    if torch.is_grad_enabled() and (x.requires_grad or y.requires_grad):
        return None
    return _onednn()


@functools.cache
def _onednn() -> _Linear | None:
    """Products x y^T by oneDNN, where it is the faster library."""
    wide = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    libraries = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()
    operation = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if not (wide and libraries and operation is not None and _made_by_amd()):
        return None

    def linear(x: Tensor, y: Tensor) -> Tensor:
        # a second operand with gaps would be multiplied number by number
        dense = y if y.is_contiguous() or y.mT.is_contiguous() else y.contiguous()
        found: Tensor = operation(x, dense, None, "none", [], "")
        return found

    return linear


def _made_by_amd() -> bool:
    """Whether the processor is one of AMD's, as far as the system says."""
    listed = Path("/proc/cpuinfo")
    text = platform.processor() + (listed.read_text()[:4096] if listed.exists() else "")
    return "AuthenticAMD" in text
