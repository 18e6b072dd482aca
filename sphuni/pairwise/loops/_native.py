"""Small d on the processor: each pair once, in native loops compiled by numba.

torch.compile can only fuse the full square, in which every pair is met twice; here the loop over
j > i adds the force on i to a register and its reaction on j to a row of the tile. Many small sets
go side by side instead, a vector register holding the same pair of several sets. No compiler needs
to be installed, and compiling takes about a second.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sphuni._jit import native_jit
from sphuni.kernels import Kernel
from sphuni.pairwise.loops import _texts
from sphuni.pairwise.loops._scalar import can_spell, compile_loops, patience, spell
from sphuni.pairwise.tiles import _schedule

__all__ = [
    "FEWEST_PAIRS",
    "compile_for",
    "fewest_pairs",
    "has_loops",
    "serves",
    "sums",
    "sums_and_gradients",
    "sums_between",
]

Array = np.ndarray[Any, np.dtype[Any]]

FEWEST_PAIRS = 1 << 16
"""Ordered pairs from which loops repay: those of 256 points, or of many smaller sets."""
_BLOCK = 2048
_LANES = 32
_FEWEST_LANES = 12  # fewer sets than this are faster one after the other
_LARGEST_IN_LANES = 512


def serves(x: Tensor, kernel: Kernel) -> bool:
    """Whether the points are on the processor and the kernel can be spelled out in scalars."""
    return x.device.type == "cpu" and has_loops(kernel)


def has_loops(kernel: Kernel) -> bool:
    """Whether the kernel's sums are taken by native loops where points are on the processor."""
    return native_jit() is not None and can_spell(kernel)


def fewest_pairs(kernels: Sequence[Kernel]) -> int:
    """Ordered pairs from which the loops of kernels that have them repay."""
    return FEWEST_PAIRS * patience(kernels)


def sums(x: Tensor, kernel: Kernel) -> Tensor:
    """Sums over i < j (b,), in float64."""
    return _summed(x, kernel, forces=False)[0]


def sums_and_gradients(x: Tensor, kernel: Kernel) -> tuple[Tensor, Tensor]:
    """Sums over i < j (b,) and their gradients (b, n, d), radial part included, in float64."""
    return _summed(x, kernel, forces=True)


def _summed(x: Tensor, kernel: Kernel, *, forces: bool) -> tuple[Tensor, Tensor]:
    """The same; without `forces` gradients (b, 0, d)."""
    points = x.detach().numpy()
    b, n, d = points.shape
    spare = b % _LANES if b % _LANES < _FEWEST_LANES else 0
    in_lanes = b - spare if n <= _LARGEST_IN_LANES else 0
    sums, gradients = np.empty(b), np.empty((b, n if forces else 0, d))
    rest = np.arange(in_lanes, b)
    if in_lanes:
        sums[:in_lanes], gradients[:in_lanes] = _by_lanes(kernel, points[:in_lanes], forces)
        finite = np.isfinite(sums[:in_lanes] + gradients[:in_lanes].sum((1, 2)))
        rest = np.concatenate([np.flatnonzero(~finite), rest])
    if len(rest):
        sums[rest], gradients[rest] = _by_tiles(kernel, points[rest], forces=forces)
    return torch.from_numpy(sums), torch.from_numpy(gradients)


def sums_between(x: Tensor, y: Tensor, kernel: Kernel) -> tuple[Tensor, Tensor]:
    """Sums (b,) over the pairs of a row of `x` and a row of `y`, and gradients (b, n + m, d)."""
    both = torch.cat([x, y], dim=1).detach().numpy()
    sums, gradients = _by_tiles(kernel, both, split=x.shape[1])
    return torch.from_numpy(sums), torch.from_numpy(gradients)


def _by_tiles(
    kernel: Kernel, points: Array, *, split: int = 0, forces: bool = True
) -> tuple[Array, Array]:
    """One set after the other, tile by tile, with the kernel's limits at coincident points.

    With `split` only the pairs of one of the first `split` points and one of the others.
    """
    b, n, d = points.shape
    planes = np.ascontiguousarray(points.transpose(0, 2, 1))
    sums, coincident = np.zeros((b, n)), np.zeros((b, n))  # by first row of a tile
    gradients = np.zeros((b, d, n if forces else 0))
    tile = compile_for(_texts.tile, kernel, d, planes.dtype, forces)

    def work(task: _schedule.Task) -> None:
        right = slice(task.right.start + split, task.right.stop + split)
        places = (task.batch, task.left, right)
        bounds = [edge for place in places for edge in (place.start, place.stop)]
        tile(planes, gradients, sums, coincident, *bounds)

    rows = torch.from_numpy(points)
    others = rows[:, split:] if split else None
    _schedule.run_tiles(work, rows[:, :split] if split else rows, others, block=_BLOCK, copies=0)
    total, count = sums.sum(1), coincident.sum(1)
    total[count > 0] += kernel.at_one * count[count > 0]
    return total, gradients.transpose(0, 2, 1)


def _by_lanes(kernel: Kernel, points: Array, forces: bool) -> tuple[Array, Array]:
    """Groups of sets, the sets of a group side by side; spare lanes repeat the first set."""
    b, n, d = points.shape
    sums, gradients = np.empty(b), np.empty((b, n if forces else 0, d))
    lanes = compile_for(_texts.lanes, kernel, d, points.dtype, _LANES, forces)

    def work(group: slice) -> None:
        count = group.stop - group.start
        x = np.empty((n, d, _LANES), points.dtype)
        x[..., :count] = points[group].transpose(1, 2, 0)
        x[..., count:] = x[..., :1]
        out = np.zeros((n, d + 1 if forces else 1, _LANES), points.dtype)
        lanes(x.reshape(n, -1), out.reshape(n, -1))
        if forces:
            gradients[group] = out[:, :d, :count].transpose(2, 0, 1)
        sums[group] = out[:, -1, :count].sum(0, dtype=np.float64)

    groups = [slice(start, min(start + _LANES, b)) for start in range(0, b, _LANES)]
    _schedule.run_rounds(work, [groups], parallel=b * n * n > _LANES << 14)
    return sums, gradients


@functools.lru_cache(maxsize=256)
def compile_for(
    source: Callable[..., tuple[str, str]], kernel: Kernel, d: int, dtype: np.dtype[Any], *more: int
) -> Callable[..., None]:
    """Compile loops for a kernel, a dimension and a precision."""
    spelled = spell(kernel)
    names = {"at_one": kernel.at_one, "at_minus_one": kernel.at_minus_one}
    return compile_loops(source(kernel, spelled, d, *more), (spelled,), dtype, **names)
