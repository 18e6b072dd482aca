"""The minimiser's own arithmetic in native loops, one start after the other in the cache.

The same method as `minimize`, laid out (b, d n): a start's whole memory stays in the cache, where
planes with the starts innermost would stream it from far away at every step.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sphuni.configurations._clock import late
from sphuni.configurations._loops import compile_parts
from sphuni.configurations.minimize import Minima

__all__ = ["minimize_native"]

Array = np.ndarray[Any, np.dtype[np.float64]]

_RUNNING, _CONVERGED = 0, 1
_TURNS = 64
"""Turns of every start between two looks at the clock."""


def minimize_native(
    tile: Callable[..., None],
    at_one: float,
    starts: Tensor,
    *,
    tolerance: float = 1e-6,
    largest_step: float = 0.1,
    memory: int = 8,
    max_iterations: int = 20_000,
    slack: float = 1e-13,
    deadline: float = float("inf"),
) -> Minima:
    """Minimise a pair energy from many starts (b, n, d); see `minimize`.

    `tile` are the engine's native loops over the pairs of a kernel, whose value at coincident
    points is `at_one`.
    """
    b, n, d = starts.shape
    trial = starts.transpose(1, 2).contiguous().numpy().reshape(b, d * n).copy()
    lanes = _Lanes(b, d * n, memory)
    options = (tolerance, largest_step, slack)
    loop = _loop(tile)
    used = 0
    while used < max_iterations:  # once even if it is late: a start that was not begun has no place
        turns = min(_TURNS, max_iterations - used)
        loop(at_one, *lanes.arrays, trial, d, turns, *options)
        used = int(lanes.ticks.max())
        if not (lanes.status == _RUNNING).any() or late(deadline):
            break
    return Minima(
        torch.from_numpy(lanes.x).view(b, d, n).transpose(1, 2).contiguous(),
        torch.from_numpy(lanes.f),
        torch.from_numpy(lanes.longest),
        torch.from_numpy(lanes.ticks),
        torch.from_numpy(lanes.status == _CONVERGED),
    )


class _Lanes:
    """Position, value, gradient, direction, step and memory of every start."""

    def __init__(self, b: int, width: int, memory: int) -> None:
        self.x, self.g, self.p = np.zeros((3, b, width))
        self.f, self.alpha, self.gamma, self.longest = np.zeros((4, b))
        self.s, self.y = np.zeros((2, b, memory, width))
        self.rho = np.zeros((b, memory))
        self.head, self.resets, self.status, self.ticks = np.zeros((4, b), dtype=np.int64)

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """What the native loop reads and writes, in its order."""
        memory = (self.s, self.y, self.rho, self.head)
        state = (self.x, self.f, self.g, self.p, self.alpha, self.gamma)
        return (*state, *memory, self.resets, self.status, self.longest, self.ticks)


@functools.lru_cache(maxsize=64)
def _loop(pairs: Callable[..., None]) -> Callable[..., None]:
    """Compile the loop over the starts (some seconds, the first time)."""
    return compile_parts(_PARTS, _tile=pairs)


def _run(
    at_one: float,
    x: Array,
    f: Array,
    g: Array,
    p: Array,
    alpha: Array,
    gamma: Array,
    past_s: Array,
    past_y: Array,
    rho: Array,
    head: Any,
    resets: Any,
    status: Any,
    longest: Array,
    ticks: Any,
    trial: Array,
    d: int,
    turns: int,
    tolerance: float,
    largest: float,
    slack: float,
) -> None:
    """Advance every start by some turns: judge the trial point, choose the next."""
    n = x.shape[1] // d
    raw, sums, met = np.zeros((1, d, n)), np.zeros((1, n)), np.zeros((1, n))
    fresh = raw.reshape(d * n)
    for lane in range(x.shape[0]):
        planes = trial[lane].reshape(1, d, n)
        for _ in range(turns):
            if status[lane] != 0:
                break
            value = _value(at_one, planes, raw, sums, met)
            first = ticks[lane] == 0
            ticks[lane] += 1
            _tangent(fresh, trial[lane], d)
            size = _longest(fresh, d)
            slope = 0.0 if first else _dot(p[lane], g[lane])
            allowed = f[lane] + 1e-4 * alpha[lane] * slope + slack * abs(f[lane])
            if first or (value <= allowed and np.isfinite(size)):
                if first:
                    gamma[lane] = 0.1 * largest / max(size, 1e-300)
                else:
                    slot = head[lane] % rho.shape[1]
                    step, change = past_s[lane, slot], past_y[lane, slot]
                    _difference(step, trial[lane], x[lane])
                    _difference(change, fresh, g[lane])
                    sy, yy = _dot(step, change), _dot(change, change)
                    rho[lane, slot] = 0.0
                    if sy > 0 and yy > 1e-300:
                        rho[lane, slot], gamma[lane] = 1 / sy, sy / yy
                        head[lane] += 1
                _copy(x[lane], 1.0, trial[lane])
                _copy(g[lane], 1.0, fresh)
                f[lane], longest[lane], alpha[lane] = value, size, 1.0
                if size <= tolerance:
                    status[lane] = 1
                    break
                history = (past_s[lane], past_y[lane], rho[lane], head[lane])
                _direction(x[lane], g[lane], p[lane], gamma[lane], history, d, largest)
            else:
                alpha[lane] *= _shrink(value - f[lane], alpha[lane] * slope)
                if alpha[lane] < 1e-9:
                    resets[lane] += 1
                    if resets[lane] > 2:
                        status[lane] = 2
                        break
                    rho[lane, :] = 0.0
                    alpha[lane], gamma[lane] = 1.0, 1e-3 * largest / max(longest[lane], 1e-300)
                    _copy(p[lane], -gamma[lane], g[lane])
            _retract(trial[lane], x[lane], alpha[lane], p[lane], d)


def _tile(planes: Array, raw: Array, sums: Array, met: Array, *bounds: int) -> None:
    """In the place of this come the engine's loops over the pairs of one kernel."""
    raise NotImplementedError


def _value(at_one: float, planes: Array, raw: Array, sums: Array, met: Array) -> float:
    """Sum over pairs, its gradient into raw."""
    n = planes.shape[2]
    raw[:] = 0.0
    sums[0, 0] = met[0, 0] = 0.0
    _tile(planes, raw, sums, met, 0, 1, 0, n, 0, n)
    return sums[0, 0] + (at_one * met[0, 0] if met[0, 0] > 0 else 0.0)


def _shrink(change: float, promised: float) -> float:
    """Factor of a step that failed: the minimum of the parabola, within 0.1 and 0.5."""
    rise = change - promised
    if rise > 0 and np.isfinite(rise):
        return min(0.5, max(0.1, -0.5 * promised / rise))
    return 0.1


def _direction(
    x: Array, g: Array, p: Array, gamma: float, history: Any, d: int, largest: float
) -> None:
    """Two-loop recursion into p, projected to the tangent space and limited in length."""
    past_s, past_y, rho, head = history
    memory = rho.shape[0]
    weights = np.zeros(memory)
    _copy(p, 1.0, g)
    for back in range(memory):
        slot = (head - 1 - back) % memory
        if rho[slot] > 0:
            weights[slot] = rho[slot] * _dot(past_s[slot], p)
            _add(p, -weights[slot], past_y[slot])
    _copy(p, gamma, p)
    for ahead in range(memory):
        slot = (head + ahead) % memory
        if rho[slot] > 0:
            _add(p, weights[slot] - rho[slot] * _dot(past_y[slot], p), past_s[slot])
    _tangent(p, x, d)
    if not _dot(p, g) > 0:
        _copy(p, gamma, g)
    _copy(p, -min(1.0, largest / max(_longest(p, d), 1e-300)), p)


def _dot(a: Array, b: Array) -> float:
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


def _add(a: Array, weight: float, b: Array) -> None:
    for i in range(a.size):
        a[i] += weight * b[i]


def _copy(a: Array, weight: float, b: Array) -> None:
    for i in range(a.size):
        a[i] = weight * b[i]


def _difference(out: Array, a: Array, b: Array) -> None:
    for i in range(a.size):
        out[i] = a[i] - b[i]


def _tangent(v: Array, x: Array, d: int) -> None:
    """Take the radial parts off v."""
    n = x.size // d
    for i in range(n):
        radial = 0.0
        for k in range(d):
            radial += v[k * n + i] * x[k * n + i]
        for k in range(d):
            v[k * n + i] -= radial * x[k * n + i]


def _longest(v: Array, d: int) -> float:
    """Norm of the longest of the vectors."""
    n = v.size // d
    most = 0.0
    for i in range(n):
        square = 0.0
        for k in range(d):
            square += v[k * n + i] ** 2
        most = max(most, square)
    return np.sqrt(most)


def _retract(trial: Array, x: Array, alpha: float, p: Array, d: int) -> None:
    """Return x + alpha p to the sphere."""
    n = x.size // d
    for i in range(n):
        square = 0.0
        for k in range(d):
            moved = x[k * n + i] + alpha * p[k * n + i]
            trial[k * n + i] = moved
            square += moved * moved
        scale = 1 / np.sqrt(square)
        for k in range(d):
            trial[k * n + i] *= scale


_PARTS = (
    *(_dot, _add, _copy, _difference, _tangent, _longest, _retract, _value, _shrink),
    *(_direction, _run),
)
"""Each calls those before it only."""
