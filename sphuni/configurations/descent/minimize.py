"""Many local minimisations at once: L-BFGS on products of spheres, one start per lane.

Tensors are laid out (d, n, b) with the lanes b innermost, so every operation runs over all starts
in one vector loop. Lanes are independent: a lane whose line search fails shortens its own step
while the others go on, and lanes that have finished are taken out.
"""

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sphuni._typing import Points
from sphuni.configurations._clock import GRACE, late, room_for, seconds_left
from sphuni.configurations.maxmin._members import Array

__all__ = ["Minima", "Objective", "as_tensor", "minimize"]

Objective = Callable[..., tuple[Tensor, Tensor]]
"""Planes (d, n, b), and parameters (b,) if there are any, to values (b,) and gradients (d, n, b),
whose radial part is not used."""

_ARMIJO = 1e-4
_SHORTEST = 1e-9
_TALLY = 1e-300
_PATIENCE = 400
_CROWDED = 4.0
"""How much dearer a lane may be among others, where their pairs outgrow the cache together."""


@dataclasses.dataclass(frozen=True)
class Minima:
    """Where the lanes ended, in the order of the starts."""

    points: Points
    """(b, n, d) unit rows."""
    values: Tensor
    gradient: Tensor
    """Largest norm (b,) of one point's tangent gradient."""
    iterations: Tensor
    converged: Tensor


def as_tensor(points: Array) -> Tensor:
    """Copy to a float64 tensor."""
    return torch.tensor(points, dtype=torch.float64)


class _State(NamedTuple):
    """Position, value, gradient, search direction and step of every lane."""

    x: Tensor
    f: Tensor
    g: Tensor
    p: Tensor
    alpha: Tensor
    gamma: Tensor


class _Best(NamedTuple):
    """Least value and gradient of every lane so far, and the tick of the last improvement."""

    f: Tensor
    g: Tensor
    tick: Tensor


class _Memory(NamedTuple):
    """The last steps and gradient changes, oldest first; rho = 0 marks an empty entry."""

    s: list[Tensor]
    y: list[Tensor]
    rho: list[Tensor]


def minimize(
    objective: Objective,
    starts: Tensor,
    *,
    parameters: Sequence[Tensor] = (),
    tolerance: float | Tensor = 1e-6,
    largest_step: float = 0.1,
    memory: int = 8,
    max_iterations: int = 20_000,
    slack: float = 1e-13,
    deadline: float = float("inf"),
    compiled: bool = False,
) -> Minima:
    """Minimise a function of n points on the sphere from many starts side by side.

    Parameters
    ----------
    objective : callable
        See `Objective`.
    starts : tensor of shape (b, n, d)
        Unit rows, float64.
    parameters : sequence of tensors of shape (b,)
        Further arguments of the objective, one number per lane each.
    tolerance : float or tensor of shape (b,), default 1e-6
        A lane has converged when no point's tangent gradient is longer.
    largest_step : float, default 0.1
        No point moves farther in one iteration, in radians.
    memory : int, default 8
        Number of steps that L-BFGS remembers.
    max_iterations : int, default 20000
        Evaluations of the objective.
    slack : float, default 1e-13
        Increase of the value, relative to it, that the line search takes for rounding. Without
        it most lanes stop short of the tolerance where the value no longer resolves progress.
    deadline : float
        `time.monotonic()` after which lanes are returned as they are; those that it did not let
        begin have the value inf. The first with a finite value always begins.
    compiled : bool, default False
        Whether to compile the update (some seconds, once in a process).

    Returns
    -------
    Minima

    Notes
    -----
    A lane also ends, unconverged, after 400 evaluations that improve neither value nor gradient.
    Quasi-Newton pairs are kept in ambient coordinates and the direction is projected onto the
    tangent space; the retraction is the projection x + p to unit rows. Steps are accepted by
    Armijo's rule; pairs with <s, y> <= 0 are left out. A lane's arithmetic does not depend on the
    other lanes.

    References
    ----------
    D. C. Liu, J. Nocedal, "On the limited memory BFGS method for large scale optimization",
    Mathematical Programming 45 (1989) 503-528, doi:10.1007/BF01589116.
    """
    count = starts.shape[0]
    pad = 2 if count == 1 else 1
    lanes = starts.repeat(pad, 1, 1)
    numbers = [parameter.repeat(pad) for parameter in parameters]
    limit = torch.as_tensor(tolerance, dtype=starts.dtype).expand(count).repeat(pad)
    first = _first_values(objective, lanes, numbers, math.inf if compiled else deadline)
    run = _Run(
        objective, lanes, numbers, first, limit, largest_step, memory, slack, compiled=compiled
    )
    for _ in range(max_iterations):
        if run.finish() or late(deadline):
            break
        run.advance()
    return run.collect(count)


class _Run:
    """The lanes still at work and the answers of those that have finished."""

    def __init__(
        self,
        objective: Objective,
        starts: Tensor,
        parameters: list[Tensor],
        first: tuple[Tensor, Tensor],
        tolerance: Tensor,
        largest_step: float,
        memory: int,
        slack: float,
        *,
        compiled: bool,
    ) -> None:
        self.objective, self.update = objective, _updater(compiled)
        self.parameters, self.tolerance = parameters, tolerance
        self.largest_step, self.slack = largest_step, slack
        x = starts.permute(2, 1, 0).contiguous()
        b = x.shape[2]
        f, raw = first
        g = raw - (raw * x).sum(0) * x
        gamma = 0.1 * largest_step / _longest(g).clamp_min(_TALLY)
        self.state = _State(x, f, g, -gamma * g, torch.ones_like(f), gamma)
        self.memory = _Memory(
            [torch.zeros_like(x) for _ in range(memory)],
            [torch.zeros_like(x) for _ in range(memory)],
            [torch.zeros_like(f) for _ in range(memory)],
        )
        self.lane = torch.arange(b)
        self.done = torch.zeros(b, dtype=torch.bool)
        self.resets = torch.zeros(b, dtype=torch.long)
        self.out_x, self.out_f = x.clone(), f.clone()
        self.out_g = _longest(g)
        self.best = _Best(f, self.out_g.clone(), torch.zeros(b, dtype=torch.long))
        self.out_iterations = torch.zeros(b, dtype=torch.long)
        self.out_converged = torch.zeros(b, dtype=torch.bool)
        self.ticks = 0

    def advance(self) -> None:
        """Evaluate a trial point in every lane, accept or shorten, choose new directions."""
        state, memory = self.state, self.memory
        trial = state.x + state.alpha * state.p
        trial = trial * torch.rsqrt(trial.square().sum(0))
        value, raw = self.objective(trial, *self.parameters)
        *new, s, y, rho = self.update(
            *state, trial, value, raw, memory.s, memory.y, memory.rho, self.largest_step, self.slack
        )
        self.state = _State(*new)
        for history, entry in zip(memory, (s, y, rho), strict=True):
            history.pop(0)
            history.append(entry)
        self.ticks += 1
        if self.ticks % 8 == 0:
            self._rescue()
            self._give_up()

    def finish(self) -> bool:
        """Record lanes that have converged, drop them when they are many; True if none is left."""
        if self.ticks % 2:
            return False
        longest = _longest(self.state.g)
        fresh = (longest <= self.tolerance) & ~self.done
        if bool(fresh.any()):
            self._record(fresh, converged=True)
        width = len(self.lane)
        busy = ~self.done
        active = int(busy.sum())
        if active == 0:
            return True
        if width > 4 and active <= 0.75 * width:
            self._keep(torch.nonzero(busy)[:, 0])
        return False

    def collect(self, count: int) -> Minima:
        """Return the answers, those of unfinished lanes as they stand."""
        if bool((~self.done).any()):
            self._record(~self.done, converged=False)
        points = self.out_x.permute(2, 1, 0).contiguous()
        fields = (points, self.out_f, self.out_g, self.out_iterations, self.out_converged)
        return Minima(*(field[:count] for field in fields))

    def _record(self, which: Tensor, *, converged: bool) -> None:
        where = self.lane[which]
        self.out_x[:, :, where] = self.state.x[:, :, which]
        self.out_f[where] = self.state.f[which]
        self.out_g[where] = _longest(self.state.g)[which]
        self.out_iterations[where] = self.ticks
        self.out_converged[where] = converged
        self.done |= which

    def _keep(self, index: Tensor) -> None:
        """Drop all lanes but those of `index` (at least two, so that shapes stay dynamic)."""
        index = index if len(index) > 1 else index.expand(2)
        self.state = _State(*(field[..., index].contiguous() for field in self.state))
        self.memory = _Memory(
            *([entry[..., index].contiguous() for entry in history] for history in self.memory)
        )
        self.parameters = [parameter[index] for parameter in self.parameters]
        self.lane, self.tolerance = self.lane[index], self.tolerance[index]
        self.done, self.resets = self.done[index], self.resets[index]
        self.best = _Best(*(field[index] for field in self.best))

    def _rescue(self) -> None:
        """Restart lanes whose step has vanished along steepest descent; give up the third time."""
        stuck = (self.state.alpha < _SHORTEST) & ~self.done
        if not bool(stuck.any()):
            return
        self.resets += stuck
        hopeless = stuck & (self.resets > 2)
        if bool(hopeless.any()):
            self._record(hopeless, converged=False)
        state = self.state
        gamma = 1e-3 * self.largest_step / _longest(state.g).clamp_min(_TALLY)
        gamma = torch.where(stuck, gamma, state.gamma)
        p = torch.where(stuck, -gamma * state.g, state.p)
        alpha = torch.where(stuck, 1.0, state.alpha)
        self.state = state._replace(p=p, alpha=alpha, gamma=gamma)
        for k, rho in enumerate(self.memory.rho):
            self.memory.rho[k] = torch.where(stuck, 0.0, rho)

    def _give_up(self) -> None:
        """End lanes that wander at the level of rounding, as at a kink of the objective."""
        f, longest, best = self.state.f, _longest(self.state.g), self.best
        better = (f < best.f - self.slack * best.f.abs()) | (longest < 0.9 * best.g)
        tick = torch.where(better, self.ticks, best.tick)
        self.best = _Best(torch.minimum(f, best.f), torch.minimum(longest, best.g), tick)
        weary = (self.ticks - tick > _PATIENCE) & ~self.done
        if bool(weary.any()):
            self._record(weary, converged=False)


def _first_values(
    objective: Objective, starts: Tensor, parameters: list[Tensor], deadline: float
) -> tuple[Tensor, Tensor]:
    """Values and gradients at the starts (b, n, d), lane by lane where all would take too long.

    Lanes that the deadline leaves out have the value inf. Sums of one lane may round otherwise
    than those of many, so lane by lane is only for what the clock will cut short.
    """
    x = starts.permute(2, 1, 0).contiguous()
    if deadline == math.inf:
        return objective(x, *parameters)
    f, g = x.new_full((x.shape[2],), math.inf), torch.full_like(x, math.inf)
    for k in range(x.shape[2]):
        before = seconds_left(deadline)
        lane = slice(k, k + 1)
        f[lane], g[:, :, lane] = objective(
            x[:, :, lane].contiguous(), *(parameter[lane] for parameter in parameters)
        )
        left = seconds_left(deadline)
        if _CROWDED * (before - left) * x.shape[2] <= max(left, 0.0) + GRACE:
            break
        no_more = late(deadline) or not room_for(before - left, deadline)
        if no_more and bool(torch.isfinite(f[: k + 1]).any()):
            return f, g
    return objective(x, *parameters)


@functools.lru_cache(maxsize=2)
def _updater(compiled: bool) -> Callable[..., tuple[Tensor, ...]]:
    plain = inspect.unwrap(_update)
    return torch.compile(plain, dynamic=True, fullgraph=True) if compiled else plain


def _update(
    x: Tensor,
    f: Tensor,
    g: Tensor,
    p: Tensor,
    alpha: Tensor,
    gamma: Tensor,
    trial: Tensor,
    value: Tensor,
    raw: Tensor,
    past_s: Sequence[Tensor],
    past_y: Sequence[Tensor],
    past_rho: Sequence[Tensor],
    largest_step: float,
    slack: float,
) -> tuple[Tensor, ...]:
    """Judge the trial points and return the next state and the entry for the memory."""
    slope = _dot(p, g)
    allowed = f + _ARMIJO * alpha * slope + slack * f.abs()
    gradient = raw - (raw * trial).sum(0) * trial
    ok = (value <= allowed) & torch.isfinite(gradient.sum((0, 1)))
    s = torch.where(ok, trial - x, 0.0)
    y = torch.where(ok, gradient - g, 0.0)
    sy, yy = _dot(s, y), _dot(y, y)
    curved = ok & (sy > 0) & (yy > _TALLY)
    rho = torch.where(curved, 1 / torch.where(curved, sy, 1.0), 0.0)
    gamma = torch.where(curved, sy / torch.where(curved, yy, 1.0), gamma)
    rise = value - f - alpha * slope
    shrink = -0.5 * alpha * slope / torch.where(rise > 0, rise, 1.0)
    shrink = torch.where((rise > 0) & torch.isfinite(rise), shrink.clamp(0.1, 0.5), 0.1)
    x, f = torch.where(ok, trial, x), torch.where(ok, value, f)
    g = torch.where(ok, gradient, g)
    fresh = _direction(
        x, g, gamma, [*past_s[1:], s], [*past_y[1:], y], [*past_rho[1:], rho], largest_step
    )
    p = torch.where(ok, fresh, p)
    alpha = torch.where(ok, torch.ones_like(alpha), alpha * shrink)
    return x, f, g, p, alpha, gamma, s, y, rho


def _direction(
    x: Tensor,
    g: Tensor,
    gamma: Tensor,
    past_s: Sequence[Tensor],
    past_y: Sequence[Tensor],
    past_rho: Sequence[Tensor],
    largest_step: float,
) -> Tensor:
    """Two-loop recursion, projected to the tangent space and limited in length."""
    q = g
    weights = []
    for s, y, rho in zip(reversed(past_s), reversed(past_y), reversed(past_rho), strict=True):
        weight = rho * _dot(s, q)
        q = q - weight * y
        weights.append(weight)
    q = gamma * q
    for s, y, rho, weight in zip(past_s, past_y, past_rho, reversed(weights), strict=True):
        q = q + (weight - rho * _dot(y, q)) * s
    q = q - (q * x).sum(0) * x
    downhill = _dot(q, g) > 0
    q = torch.where(downhill, q, gamma * g)
    return -q * torch.clamp(largest_step / _longest(q).clamp_min(_TALLY), max=1.0)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((0, 1))


def _longest(v: Tensor) -> Tensor:
    """Norm (b,) of the longest of the n vectors of each lane."""
    return v.square().sum(0).amax(0).sqrt()
