"""The minimiser's own arithmetic in native loops, sixteen starts at a time in the cache.

The same method as `minimize`, laid out (b, d n): a start's whole memory stays in the cache, where
planes with all starts innermost would stream it from far away at every step. Only the points
change their layout, for the sum over pairs: there a vector register holds the same pair of several
starts.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sphuni.configurations._clock import late
from sphuni.configurations._compile import compile_parts
from sphuni.configurations.descent.minimize import Minima
from sphuni.kernels import Kernel
from sphuni.pairwise import native_pairs, native_sets

__all__ = ["minimize_native"]

Array = np.ndarray[Any, np.dtype[np.float64]]

_RUNNING, _CONVERGED = 0, 1
_SIDE = 16
"""Starts side by side, a vector lane to each: two registers of the widest kind."""
_ENOUGH = 8
"""Fewer starts than this are faster one after the other."""
_LARGEST_SIDE = 512
_LOOK, _TURN, _PAIR = 0.02, 2e-6, 2e-9
"""Seconds between two looks at the clock, and roughly those of a turn of one start, of a pair."""


def minimize_native(
    kernel: Kernel,
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

    A start that the deadline did not let begin comes back as it is, with the value inf. Starts go
    side by side while eight or more are at work, and their sums are then taken in another order:
    a start's last digits depend on the others that it is given with.
    """
    b, n, d = starts.shape
    trial = starts.transpose(1, 2).contiguous().numpy().reshape(b, d * n).copy()
    lanes = _Lanes(trial, memory)
    width = _SIDE if n <= _LARGEST_SIDE and b >= _ENOUGH else 1
    sides = np.append(np.full(width, -1), 0)
    options = (tolerance, largest_step, slack, max_iterations)
    turns = 1 + int(_LOOK / (width * (_TURN + _PAIR * n * n)))
    loop = _loop(kernel, d)
    while True:  # once even if it is late
        loop(kernel.at_one, sides, *lanes.arrays, trial, d, turns, *options)
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

    def __init__(self, starts: Array, memory: int) -> None:
        b, width = starts.shape
        self.x, (self.g, self.p) = starts.copy(), np.zeros((2, b, width))
        self.alpha, self.gamma = np.zeros((2, b))
        self.f, self.longest = np.full((2, b), np.inf)
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
def _loop(kernel: Kernel, d: int) -> Callable[..., None]:
    """Compile the loop over the starts (some seconds, the first time)."""
    return compile_parts(_PARTS, _tile=native_pairs(kernel, d), _sets=native_sets(kernel, d, _SIDE))


def _run(
    at_one: float,
    sides: Any,
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
    most_ticks: int,
) -> None:
    """Advance the starts in `sides` by some turns; who has finished makes room for the next.

    The last entry of `sides` is the next start to have a place.
    """
    wide()
    width, n = sides.size - 1, x.shape[1] // d
    rows, out = np.zeros((n, d * width)), np.zeros((n, (d + 1) * width))
    raw, sums, met = np.zeros((1, d, n)), np.zeros((1, n)), np.zeros((1, n))
    fresh, work = raw.reshape(d * n), np.zeros(n)
    for _ in range(turns):
        busy = _fill(sides, status)
        if busy == 0:
            return
        together = width > 1 and 2 * busy > width
        if together:
            _lay_out(rows, trial, sides, d)
            out[:] = 0.0
            _sets(rows, out)
        for place in range(width):
            lane = sides[place]
            if lane < 0:
                continue
            value = _pick(fresh, out, place, width, d) if together else np.inf
            if not np.isfinite(value):
                value = _value(at_one, trial[lane].reshape(1, d, n), raw, sums, met)
            first = ticks[lane] == 0
            ticks[lane] += 1
            _tangent(fresh, trial[lane], work)
            size = _longest(fresh, work)
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
                    continue
                history = (past_s[lane], past_y[lane], rho[lane], head[lane])
                _direction(x[lane], g[lane], p[lane], gamma[lane], history, largest, work)
            else:
                alpha[lane] *= _shrink(value - f[lane], alpha[lane] * slope)
                if alpha[lane] < 1e-9:
                    resets[lane] += 1
                    if resets[lane] > 2:
                        status[lane] = 2
                        continue
                    rho[lane, :] = 0.0
                    alpha[lane], gamma[lane] = 1.0, 1e-3 * largest / max(longest[lane], 1e-300)
                    _copy(p[lane], -gamma[lane], g[lane])
            if ticks[lane] >= most_ticks:
                status[lane] = 2
            _retract(trial[lane], x[lane], alpha[lane], p[lane], work)


def _fill(sides: Any, status: Any) -> int:
    """Give the places of starts that have finished to the next ones; number of places taken."""
    busy = 0
    for place in range(sides.size - 1):
        if sides[place] < 0 or status[sides[place]] != 0:
            sides[place] = -1
            if sides[-1] < status.size:
                sides[place] = sides[-1]
                sides[-1] += 1
        busy += sides[place] >= 0
    return busy


def _lay_out(rows: Array, trial: Array, sides: Any, d: int) -> None:
    """Put the starts side by side; empty places repeat one that is taken."""
    width, n = sides.size - 1, rows.shape[0]
    taken = 0
    for place in range(width):
        taken = max(taken, sides[place])
    for place in range(width):
        lane = sides[place] if sides[place] >= 0 else taken
        for i in range(n):
            for k in range(d):
                rows[i, k * width + place] = trial[lane, k * n + i]


def _pick(fresh: Array, out: Array, place: int, width: int, d: int) -> float:
    """Value and gradient of one of the starts side by side."""
    n = out.shape[0]
    total = 0.0
    for i in range(n):
        for k in range(d):
            fresh[k * n + i] = out[i, k * width + place]
        total += out[i, d * width + place]
    return total


def wide() -> None:
    """In the place of this comes what asks for the widest registers."""
    raise NotImplementedError


def _sets(rows: Array, out: Array) -> None:
    """In the place of this come the engine's loops over starts side by side."""
    raise NotImplementedError


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
    x: Array, g: Array, p: Array, gamma: float, history: Any, largest: float, work: Array
) -> None:
    """Two-loop recursion into p, projected to the tangent space and limited in length."""
    past_s, past_y, rho, head = history
    memory = rho.shape[0]
    weights = np.zeros(memory)
    _copy(p, 1.0, g)
    product = _dot(past_s[(head - 1) % memory], p)
    for back in range(memory):
        slot, older = (head - 1 - back) % memory, (head - 2 - back) % memory
        weights[slot] = rho[slot] * product
        product = _add_and_dot(p, -weights[slot], past_y[slot], past_s[older])
    product = gamma * _dot(past_y[head % memory], p)
    _copy(p, gamma, p)
    for ahead in range(memory):
        slot, newer = (head + ahead) % memory, (head + ahead + 1) % memory
        change = weights[slot] - rho[slot] * product
        product = _add_and_dot(p, change, past_s[slot], past_y[newer])
    _tangent(p, x, work)
    if not _dot(p, g) > 0:
        _copy(p, gamma, g)
    _copy(p, -min(1.0, largest / max(_longest(p, work), 1e-300)), p)


def _dot(a: Array, b: Array) -> float:
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


def _add_and_dot(a: Array, weight: float, b: Array, c: Array) -> float:
    """Add weight b to a; product of the new a and c."""
    total = 0.0
    for i in range(a.size):
        a[i] += weight * b[i]
        total += a[i] * c[i]
    return total


def _copy(a: Array, weight: float, b: Array) -> None:
    for i in range(a.size):
        a[i] = weight * b[i]


def _difference(out: Array, a: Array, b: Array) -> None:
    for i in range(a.size):
        out[i] = a[i] - b[i]


def _products(a: Array, b: Array, work: Array) -> None:
    """Scalar products of the points' vectors, into work (n,)."""
    n = work.size
    work[:] = 0.0
    for k in range(a.size // n):
        for i in range(n):
            work[i] += a[k * n + i] * b[k * n + i]


def _tangent(v: Array, x: Array, work: Array) -> None:
    """Take the radial parts off v."""
    n = work.size
    _products(v, x, work)
    for k in range(x.size // n):
        for i in range(n):
            v[k * n + i] -= work[i] * x[k * n + i]


def _longest(v: Array, work: Array) -> float:
    """Norm of the longest of the vectors."""
    _products(v, v, work)
    most = 0.0
    for square in work:
        most = max(most, square)
    return np.sqrt(most)


def _retract(trial: Array, x: Array, alpha: float, p: Array, work: Array) -> None:
    """Return x + alpha p to the sphere."""
    n = work.size
    for i in range(x.size):
        trial[i] = x[i] + alpha * p[i]
    _products(trial, trial, work)
    for i in range(n):
        work[i] = 1 / np.sqrt(work[i])
    for k in range(x.size // n):
        for i in range(n):
            trial[k * n + i] *= work[i]


_PARTS = (
    *(_dot, _add_and_dot, _copy, _difference, _products, _tangent, _longest, _retract),
    *(_value, _shrink),
    *(_direction, _fill, _lay_out, _pick, _run),
)
"""Each calls those before it only."""
