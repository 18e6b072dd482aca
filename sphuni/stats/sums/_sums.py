"""Where the pair sums of kernels come from."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sphuni._typing import Points
from sphuni.kernels import Kernel
from sphuni.pairwise import cell_sums, has_cells, has_loops, pair_reduce
from sphuni.stats.sums._circle_sums import circle_sums, has_circle_form

__all__ = ["kernel_sums"]

_CELLS_FROM = 200
_CIRCLE_FROM = 5000
_FEWEST_TOGETHER = 2
_ALONE_FROM = 5_000


def kernel_sums(points: Points, kernels: Sequence[Kernel]) -> dict[Kernel, Tensor]:
    """Sums of kernels over i < j of points (..., n, d), each (...,), in as few passes as can be.

    Where no gradient is asked for, kernels that are smooth on the circle are summed there in
    O(n log n), and several kernels of many points from one histogram with moments, as is one
    without native loops. Sums are float64 but on a GPU, where they are taken in the precision of
    the points.
    """
    kernels = list(dict.fromkeys(kernels))
    sums: dict[Kernel, Tensor] = {}
    n, d = points.shape[-2:]
    if points.device.type == "cpu" and not (points.requires_grad and torch.is_grad_enabled()):
        if d == 2 and n >= _CIRCLE_FROM:
            sums = _on_the_circle(points, [k for k in kernels if has_circle_form(k)])
        rest = [kernel for kernel in kernels if kernel not in sums]
        alone = n >= _ALONE_FROM and not all(map(has_loops, rest))
        if alone or (n >= _CELLS_FROM and len(rest) >= _FEWEST_TOGETHER):
            together = [kernel for kernel in rest if has_cells(kernel)]
            parts = cell_sums(points, together).unbind(-1)
            sums |= dict(zip(together, parts, strict=True))
    rest = [kernel for kernel in kernels if kernel not in sums]
    if rest:
        # a statistic is what is left of sums n times as large: single precision would not do
        wide = points.double() if points.device.type == "cpu" else points
        sums |= dict(zip(rest, pair_reduce(wide, kernel=rest).unbind(-1), strict=True))
    return sums


def _on_the_circle(points: Points, kernels: Sequence[Kernel]) -> dict[Kernel, Tensor]:
    """Sums by `circle_sums`, or nothing where it declines one of the sets."""
    found = []
    for rows in points.reshape(-1, *points.shape[-2:]) if kernels else ():
        sums = circle_sums(rows, kernels)
        if sums is None:
            return {}
        found.append(sums)
    if not found:
        return {}
    whole = torch.stack(found).reshape(*points.shape[:-2], len(kernels))
    return dict(zip(kernels, whole.unbind(-1), strict=True))
