"""The dense kernel matrix, for the determinants that need it whole."""

import torch
from torch import Tensor

from sphuni._typing import Points
from sphuni.kernels import Kernel
from sphuni.pairwise._tiles import degree_zero, kernel_tile

__all__ = ["gram_matrix"]


def gram_matrix(points: Points, kernel: Kernel, *, opposite: bool = False) -> Tensor:
    """K(x_i, x_j), or K(x_i, -x_j) if `opposite`, as a differentiable (..., n, n) tensor.

    The caller answers for the memory. Near pairs follow the same rule as in the reductions.
    """
    x = degree_zero(points.reshape(-1, *points.shape[-2:]))
    if opposite:
        matrix = kernel_tile(x, -x, kernel, own=False)
    else:
        matrix = kernel_tile(x, x, kernel, own=True)
        own = torch.full_like(matrix[..., 0], kernel.at_one)
        matrix = matrix + torch.diag_embed(own)
    return matrix.reshape(*points.shape[:-1], points.shape[-2])
