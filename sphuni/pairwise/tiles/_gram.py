"""The dense kernel matrix, for the determinants that need it whole."""

import torch
from torch import Tensor

from sphuni._typing import Points
from sphuni.kernels import GegenbauerSeries, Kernel
from sphuni.pairwise.tiles._tiles import DIRECT_DIMENSION, degree_zero, kernel_tile, sensitive

__all__ = ["gram_bytes", "gram_matrix"]

_NEAR_BYTES = 24  # three indices, of every pair if the points lie in a cluster


def gram_matrix(points: Points, kernel: Kernel, *, opposite: bool = False) -> Tensor:
    """K(x_i, x_j), or K(x_i, -x_j) if `opposite`, as a differentiable (..., n, n) tensor.

    The caller answers for the memory, see `gram_bytes`. Near pairs follow the same rule as in the
    reductions.
    """
    x = degree_zero(points.reshape(-1, *points.shape[-2:]))
    if opposite:
        matrix = kernel_tile(x, -x, kernel, own=False)
    else:
        matrix = kernel_tile(x, x, kernel, own=True)
        own = torch.full_like(matrix[..., 0], kernel.at_one)
        matrix = torch.diagonal_scatter(matrix, own, dim1=-2, dim2=-1)
    return matrix.reshape(*points.shape[:-1], points.shape[-2])


def gram_bytes(points: Points, kernel: Kernel) -> int:
    """About how much a Gram matrix, its factor and their gradient take at most."""
    n, d = points.shape[-2:]
    matrices = 14 if kernel.reads_q else 8
    if torch.is_grad_enabled() and points.requires_grad:
        matrices += 8 + (2 * d if d <= DIRECT_DIMENSION else 0)
        if isinstance(kernel, GegenbauerSeries):
            matrices += 3 * len(kernel.coefficients)
    per_pair = matrices * points.element_size()
    if d > DIRECT_DIMENSION and any(sensitive((kernel,))):
        per_pair += _NEAR_BYTES + 2 * points.element_size()
    return per_pair * points.numel() // max(1, d) * n
