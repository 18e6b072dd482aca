"""Lengths of vectors of any size, softened by eps."""

import torch
from torch import Tensor

__all__ = ["soft_length", "tamed"]

_LARGE = 1e15  # squares of larger entries may overflow in float32


def tamed(x: Tensor, dim: int = -1) -> tuple[Tensor, Tensor]:
    """Return `x`, divided by its largest entry where that is large, and the divisor."""
    largest = x.detach().abs().amax(dim=dim, keepdim=True)
    size = torch.where(largest > _LARGE, largest, 1.0)
    return x / size, size


def soft_length(x: Tensor, size: Tensor, eps: float, dim: int = -1) -> Tensor:
    """sqrt(|x|^2 + eps) over `size`, of an `x` that was divided by `size`."""
    return (x.square().sum(dim=dim, keepdim=True) + eps / size.square()).sqrt()
