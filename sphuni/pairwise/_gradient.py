"""Sums over pairs with their gradients, for callers that take no derivative through them."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from sphuni.kernels import Kernel
from sphuni.pairwise import _compiled, _inductor
from sphuni.pairwise.loops import _native, _texts

__all__ = ["compiled_kind", "compiled_planes", "native_pairs", "native_sets"]


def compiled_kind(kernel: Kernel, d: int) -> str | None:
    """Which loops engine="compiled" would use in float64: "native", "planes" or None."""
    probe = torch.empty(1, 2, d, dtype=torch.float64, device="cpu")
    if _compiled.supports(probe, None, [kernel], "sum") is not None:
        return None
    return "native" if _native.serves(probe, kernel) else "planes"


def native_pairs(kernel: Kernel, d: int) -> Callable[..., None]:
    """Native float64 loops over the pairs of small sets, to be called from other native loops.

    ``pairs(x, gradients, sums, coincident, b0, b1, 0, n, 0, n)`` with planes x (b, d, n) adds to
    gradients (b, d, n), radial part included, to ``sums[b, 0]`` the kernel over i < j at distinct
    points, and to ``coincident[b, 0]`` the number of pairs at distance zero of singular kernels.
    """
    return _native.compile_for(_texts.tile, kernel, d, np.dtype(np.float64), True)


def native_sets(kernel: Kernel, d: int, width: int) -> Callable[..., None]:
    """Native float64 loops over the pairs of `width` small sets at once, a lane to each set.

    ``sets(x, out)`` with rows x (n, d width) adds to out (n, (d + 1) width) the gradients, radial
    part included, and last, in n parts, the sums. Sets with coincident points come out not finite.
    """
    return _native.compile_for(_texts.lanes, kernel, d, np.dtype(np.float64), width, True)


def compiled_planes(kernel: Kernel, d: int) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Return the function of planes (d, n, b) to sums (b,) and gradients (d, n, b)."""
    body = _inductor.compiled_body(kernel, d, torch.float64, "cpu", True)

    def compiled(x: Tensor) -> tuple[Tensor, Tensor]:
        sums, gradient = body(x)
        return 0.5 * sums.sum(0), gradient

    return compiled
