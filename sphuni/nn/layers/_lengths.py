"""Lengths of vectors of any size, softened by eps."""

import torch
from torch import Tensor

from sphuni.nn._precision import autocasts

__all__ = ["multiplied_in_float16", "soft_length", "tamed"]

_LARGE = 1e15  # squares of larger entries may overflow in float32
_LARGE_HALF = 128.0  # products of 10^5 larger entries with unit rows may overflow in float16


def tamed(x: Tensor, dim: int | tuple[int, ...] = -1) -> tuple[Tensor, Tensor]:
    """Return `x`, divided where its largest entry is too large for products, and the divisor."""
    axes = dim if isinstance(dim, tuple) else (dim,)
    empty = x.ndim > 0 and any(x.shape[axis] == 0 for axis in axes)
    reduced = torch.sum if empty else torch.amax  # nothing has a sum, but no largest entry
    largest = reduced(x.detach().abs(), dim=dim, keepdim=True)
    limit = _LARGE_HALF if multiplied_in_float16(x) else _LARGE
    size = torch.where(largest > limit, largest / limit, 1.0)
    return x / size, size


def multiplied_in_float16(x: Tensor) -> bool:
    """Whether products of `x` are formed in float16, by its own dtype or by autocast."""
    if autocasts(x) and x.dtype != torch.float64:
        return torch.get_autocast_dtype(x.device.type) == torch.float16
    return x.dtype == torch.float16


def soft_length(x: Tensor, size: Tensor, eps: float, dim: int = -1) -> Tensor:
    """sqrt(|x|^2 + eps) over `size`, of an `x` that was divided by `size`."""
    return (x.square().sum(dim=dim, keepdim=True) + eps / size.square()).sqrt()
