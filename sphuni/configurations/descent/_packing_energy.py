"""The smooth stand-in for packing, log(sum r^-2a) / a, and its minimisation in batches.

It goes over all pairs itself: the engine's kernels have one exponent, where this has one per start.
Native loops take a third of the time of compiled planes for n = 300, and a thirtieth for n = 2000,
whose n x n numbers no cache holds.
"""

import functools
import inspect
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from sphuni._jit import native_jit
from sphuni.configurations.descent._neighbour_energy import NeighbourEnergy
from sphuni.configurations.descent.minimize import Minima, as_tensor, minimize
from sphuni.configurations.maxmin._contacts import smallest_half_square
from sphuni.configurations.maxmin._members import Array
from sphuni.configurations.starts._random import spacing
from sphuni.pairwise import Engine, compile_loops, compiler_missing

__all__ = ["minimize_packing_energy", "packing_energy"]

_LEAST_SCALE = 1e-4


def minimize_packing_energy(
    starts: Array,
    a: Array,
    *,
    lines: bool,
    engine: Engine,
    tolerance: float,
    max_iterations: int,
    deadline: float,
    neighbours: bool = False,
) -> Minima:
    """Minimise from starts (b, n, d) with exponents a (b,), in units of each one's closest pair.

    With `neighbours` the pairs that are far apart are left out; then a >= `LEAST_EXPONENT`.
    """
    least = np.array([smallest_half_square(one, lines=lines) for one in starts])
    _, n, d = starts.shape
    compiled = engine == "compiled"
    numbers = [a, np.maximum(2 * least, _LEAST_SCALE)]
    objective = packing_energy(lines, compiled)
    if neighbours:
        objective = NeighbourEnergy(lines)
        numbers.append(np.arange(float(len(starts))))
    return minimize(
        objective,
        as_tensor(starts),
        parameters=[as_tensor(one) for one in numbers],
        tolerance=tolerance,
        largest_step=0.4 * spacing(2 * n if lines else n, d) / (1 + 0.02 * float(a.min())),
        max_iterations=max_iterations,
        deadline=deadline,
        compiled=compiled and _planes_are_compiled(),
    )


def packing_energy(lines: bool, compiled: bool) -> Callable[..., tuple[Tensor, Tensor]]:
    """Return the objective log(sum (p / p0)^-a) / a of lanes with exponents a and scales p0."""
    if compiled and native_jit() is not None:
        return functools.partial(_native, lines)
    planes = compiled and _planes_are_compiled()
    return _compiled(lines) if planes else functools.partial(_packing, lines)


def _planes_are_compiled() -> bool:
    """Whether torch compiles, where numba cannot; that takes longer than it saves elsewhere."""
    return native_jit() is None and compiler_missing() is None


def _native(lines: bool, x: Tensor, a: Tensor, p0: Tensor) -> tuple[Tensor, Tensor]:
    """As `_packing`, a lane at a time, each pair once."""
    rows = x.permute(2, 0, 1).contiguous().numpy()
    gradients, sums = np.zeros_like(rows), np.zeros(len(rows))
    _loops()(lines, rows, a.numpy(), p0.log().numpy(), gradients, sums, np.empty((3, x.shape[1])))
    total = torch.from_numpy(sums)
    gradient = torch.from_numpy(gradients).permute(1, 2, 0).contiguous()
    return torch.log(total) / a, gradient * (2 / total)


@functools.lru_cache(maxsize=1)
def _loops() -> Callable[..., None]:
    return compile_loops(_LOOPS, (), np.dtype(np.float64))


_LOOPS = (
    """def add_squares(squares, plane, here):
    for j in range(squares.size):
        apart = plane[j] - here
        squares[j] += apart * apart
""",
    """def opposite(squares, out):
    for j in range(squares.size):
        out[j] = dtype(4) - squares[j]
""",
    """def forces(squares, out, a, log0):
    total = zero
    for j in range(squares.size):
        near = exp(a * (log0 - log(squares[j])))
        out[j] = near / squares[j]
        total += near
    return total
""",
    """def push(pull, plane, here, side, gradient):
    # side 1: towards the other point; -1: away from its antipode
    back = zero
    for j in range(pull.size):
        force = pull[j] * (plane[j] - side * here)
        gradient[j] -= force
        back += force
    return side * back
""",
    """def packing(lines, rows, a, log0, gradients, sums, room):
    for lane in range(rows.shape[0]):
        x, g = rows[lane], gradients[lane]
        for i in range(x.shape[1] - 1):
            squares, pull = room[0, i + 1 :], room[1, i + 1 :]
            squares[:] = zero
            for k in range(x.shape[0]):
                add_squares(squares, x[k, i + 1 :], x[k, i])
            sums[lane] += forces(squares, pull, a[lane], log0[lane])
            for k in range(x.shape[0]):
                g[k, i] += push(pull, x[k, i + 1 :], x[k, i], one, g[k, i + 1 :])
            if lines:
                opposite(squares, room[2, i + 1 :])
                sums[lane] += forces(room[2, i + 1 :], pull, a[lane], log0[lane])
                for k in range(x.shape[0]):
                    g[k, i] += push(pull, x[k, i + 1 :], x[k, i], -one, g[k, i + 1 :])
""",
)


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
