"""The smooth stand-in for packing, log(sum r^-2a) / a, and its minimisation in batches.

It goes over all pairs itself: the engine's kernels have one exponent, where this has one per start.
"""

import functools
import inspect
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from sphuni.configurations._contacts import smallest_half_square
from sphuni.configurations._members import Array
from sphuni.configurations.minimize import Minima, minimize
from sphuni.configurations.problems import as_tensor, spacing

__all__ = ["minimize_packing_energy", "packing_energy"]

_LEAST_SCALE = 1e-4


def minimize_packing_energy(
    starts: Array,
    a: Array,
    *,
    lines: bool,
    tolerance: float,
    max_iterations: int,
    deadline: float,
    compiled: bool = False,
) -> Minima:
    """Minimise from starts (b, n, d) with exponents a (b,), in units of each one's closest pair."""
    least = np.array([smallest_half_square(one, lines=lines) for one in starts])
    _, n, d = starts.shape
    return minimize(
        packing_energy(lines, compiled),
        as_tensor(starts),
        parameters=(as_tensor(a), as_tensor(np.maximum(2 * least, _LEAST_SCALE))),
        tolerance=tolerance,
        largest_step=0.4 * spacing(2 * n if lines else n, d) / (1 + 0.02 * float(a.min())),
        max_iterations=max_iterations,
        deadline=deadline,
        compiled=compiled,
    )


def packing_energy(lines: bool, compiled: bool) -> Callable[..., tuple[Tensor, Tensor]]:
    """Return the objective log(sum (p / p0)^-a) / a of lanes with exponents a and scales p0."""
    return _compiled(lines) if compiled else functools.partial(_packing, lines)


@functools.lru_cache(maxsize=2)
def _compiled(lines: bool) -> Callable[..., tuple[Tensor, Tensor]]:
    body = functools.partial(inspect.unwrap(_packing), lines)
    return torch.compile(body, dynamic=True, fullgraph=True)


def _packing(lines: bool, x: Tensor, a: Tensor, p0: Tensor) -> tuple[Tensor, Tensor]:
    """Value and gradient from planes (d, n, b); every exponent may differ."""
    same = torch.eye(x.shape[1], dtype=torch.bool)[:, :, None]
    planes = x.unbind(0)
    p = (planes[0][:, None] - planes[0][None]).square()
    for plane in planes[1:]:
        p = p + (plane[:, None] - plane[None]).square()
    p = torch.where(same, 4.0, p)
    near = torch.where(same, 0.0, torch.exp(-a * torch.log(p / p0)))
    pull = near / p
    total = near.sum((0, 1))
    if not lines:
        gradient = torch.stack([(pull * (e[None] - e[:, None])).sum(1) for e in planes])
        return torch.log(0.5 * total) / a, gradient * (4 / total)
    q = torch.where(same, 4.0, 4 - p)
    far = torch.where(same, 0.0, torch.exp(-a * torch.log(q / p0)))
    push = far / q
    total = total + far.sum((0, 1))
    gradient = torch.stack(
        [(pull * (e[None] - e[:, None]) - push * (e[None] + e[:, None])).sum(1) for e in planes]
    )
    return torch.log(0.5 * total) / a, gradient * (4 / total)
