"""Sums over weighted points for every row, in few dimensions: native loops over ordered pairs."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sphuni._typing import Weights
from sphuni.kernels import Kernel
from sphuni.pairwise.loops import _native, _texts
from sphuni.pairwise.tiles import _tiles
from sphuni.pairwise.tiles._schedule import Task, run_tiles

__all__ = ["gradients", "serves", "values"]

Array = np.ndarray[Any, np.dtype[Any]]

_BLOCK = 2048


def serves(x: Tensor, y: Tensor | None, kernels: tuple[Kernel, ...]) -> bool:
    """Whether there are loops for these points and kernels, and pairs enough to repay them."""
    pairs = x.shape[:-1].numel() * (x if y is None else y).shape[-2]
    if pairs < _native.FEWEST_PAIRS or x.shape[-1] > _tiles.DIRECT_DIMENSION:
        return False
    served = all(_native.serves(x, kernel) for kernel in kernels)
    return served and pairs >= _native.fewest_pairs(kernels)


def values(x: Tensor, y: Tensor | None, weights: Weights, kernels: tuple[Kernel, ...]) -> Tensor:
    """sum_j w_j K(x_i, y_j): (b, n, k), float64; with y None over the other points of x."""
    other, found = x if y is None else y, []
    left, right, w = _planes(x), _planes(other), _rows(weights)
    for kernel in kernels:
        out = np.zeros((len(left), x.shape[1]))
        _run(_texts.potentials, kernel, (left, right, w, out), x, y)
        found.append(torch.from_numpy(out))
    # the loops compare distances, and take what is not a number for a point met
    here, there = (torch.isfinite(part.detach()).all(-1, keepdim=True) for part in (x, other))
    sound = here & there.all(1, keepdim=True)
    return torch.stack(found, dim=-1).masked_fill(~sound, torch.nan)


def gradients(
    x: Tensor, y: Tensor | None, weights: Weights, go: Tensor, kernels: tuple[Kernel, ...]
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of sum_ik go_ik sum_j w_j K_k(x_i, y_j) in x, y and w, radial parts included.

    With y None those in x carry both of its roles, and those in y are the same.
    """
    left, right, w = _planes(x), _planes(x if y is None else y), _rows(weights)
    dx, dw = np.zeros(left.shape), np.zeros(w.shape)
    dy = dx if y is None else np.zeros(right.shape)
    for k, kernel in enumerate(kernels):
        arrays = (left, right, w, _rows(go[..., k]), dx, dy, dw)
        _run(_texts.potential_gradients, kernel, arrays, x, y)
    in_x, in_y, in_w = (torch.from_numpy(part).to(x.dtype) for part in (dx, dy, dw))
    return in_x.mT.contiguous(), in_y.mT.contiguous(), in_w


def _run(
    source: Callable[..., tuple[str, str]],
    kernel: Kernel,
    arrays: tuple[Array, ...],
    x: Tensor,
    y: Tensor | None,
) -> None:
    loops = _native.compile_for(source, kernel, x.shape[-1], arrays[0].dtype)

    def work(task: Task) -> None:
        for left, right in _ways(task, self_pairs=y is None):
            places = (task.batch, left, right)
            loops(*arrays, task.own, *(edge for s in places for edge in (s.start, s.stop)))

    run_tiles(work, x, y, block=_BLOCK, copies=0)


def _ways(task: Task, *, self_pairs: bool) -> Iterator[tuple[slice, slice]]:
    """A tile off the diagonal of one set stands for its mirror image too."""
    yield task.left, task.right
    if self_pairs and not task.own:
        yield task.right, task.left


def _planes(x: Tensor) -> Array:
    """Points (b, n, d) as planes (b, d, n)."""
    return np.ascontiguousarray(x.detach().numpy().transpose(0, 2, 1))


def _rows(x: Tensor) -> Array:
    return np.ascontiguousarray(x.detach().numpy())
