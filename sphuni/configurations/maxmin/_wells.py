"""Descents to the local minima of a potential in native loops, one start after the other."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from sphuni._jit import native_jit
from sphuni.configurations._compile import compile_parts
from sphuni.kernels import Kernel, Riesz
from sphuni.kernels._base import Antipodal

__all__ = ["native_wells"]

Array = np.ndarray[Any, np.dtype[np.float64]]


def native_wells(kernel: Kernel) -> Callable[[Array, Array], Array] | None:
    """Return the descent (points, starts to places) of a chordal Riesz kernel, else None."""
    lines = isinstance(kernel, Antipodal)
    base = kernel.base if isinstance(kernel, Antipodal) else kernel
    chordal = isinstance(base, Riesz) and base.metric == "chordal" and base.s > -2
    if not chordal or native_jit() is None:
        return None
    assert isinstance(base, Riesz)
    half = 0.5 * base.s

    def descend(points: Array, starts: Array) -> Array:
        places = starts.copy()
        _settle_all()(np.ascontiguousarray(points), places, half, lines)
        return places

    return descend


@functools.lru_cache(maxsize=1)
def _settle_all() -> Callable[..., None]:
    """Compile the descents (two seconds, the first time)."""
    return compile_parts(_PARTS)


def _potential(
    points: Array, z: Array, half: float, lines: bool, pull: Array, bend: Array
) -> float:
    """Riesz potential of exponent 2 half, its derivatives in z as a vector of the whole space."""
    n, d = points.shape
    total = 0.0
    pull[:] = 0.0
    bend[:, :] = 0.0
    for i in range(n):
        for side in range(2 if lines else 1):
            sign = 1.0 - 2.0 * side
            p = 0.0
            for k in range(d):
                p += (z[k] - sign * points[i, k]) ** 2
            p = max(p, 1e-12)
            if half == 0.5:
                value = 1 / np.sqrt(p)
            elif half == 1.0:
                value = 1 / p
            elif half == 0.0:
                value = -0.5 * np.log(p)
            else:
                value = np.copysign(np.exp(-half * np.log(p)), half)
            total += value
            first = 1 / p if half == 0.0 else 2 * half * value / p
            second = first * (2 * half + 2) / p
            for k in range(d):
                x = points[i, k]
                pull[k] += sign * first * x
                for j in range(k + 1):
                    bend[k, j] += second * x * points[i, j]
    return total


def _tangential(z: Array, pull: Array, bend: Array, along: Array) -> float:
    """Turn derivatives of space into the gradient and Hessian on the sphere; gradient's norm.

    Along z itself the Hessian is set to 1, so that it can be inverted.
    """
    d = z.size
    radial = 0.0
    for k in range(d):
        radial += pull[k] * z[k]
        for j in range(k):
            bend[j, k] = bend[k, j]
    normal = 0.0
    for k in range(d):
        along[k] = 0.0
        for j in range(d):
            along[k] += bend[k, j] * z[j]
        normal += along[k] * z[k]
    square = 0.0
    for k in range(d):
        pull[k] -= radial * z[k]
        square += pull[k] ** 2
        for j in range(d):
            bend[k, j] += (normal + radial + 1) * z[k] * z[j] - along[k] * z[j] - z[k] * along[j]
        bend[k, k] -= radial
    return np.sqrt(square)


def _solve(bend: Array, pull: Array, factor: Array, step: Array) -> None:
    """Newton's step, the Hessian shifted until Cholesky's factors exist."""
    d = pull.size
    size = 0.0
    for k in range(d):
        size += abs(bend[k, k])
    shift = 0.0
    for _ in range(12):
        sound = True
        for k in range(d):
            for j in range(k + 1):
                entry = bend[k, j]
                for m in range(j):
                    entry -= factor[k, m] * factor[j, m]
                if j < k:
                    factor[k, j] = entry / factor[j, j]
                else:
                    entry += shift
                    sound = sound and entry > 1e-13 * size
                    factor[k, k] = np.sqrt(entry) if entry > 1e-13 * size else 1.0
        if sound:
            break
        shift = max(4 * shift, 1e-2 * size)
    for k in range(d):
        step[k] = -pull[k]
        for m in range(k):
            step[k] -= factor[k, m] * step[m]
        step[k] /= factor[k, k]
    for k in range(d - 1, -1, -1):
        for m in range(k + 1, d):
            step[k] -= factor[m, k] * step[m]
        step[k] /= factor[k, k]


def _settle(points: Array, places: Array, half: float, lines: bool) -> None:
    """Move every place to a local minimum: Newton's steps, shortened while the value rises."""
    d = points.shape[1]
    pull, along, step, trial = np.zeros(d), np.zeros(d), np.zeros(d), np.zeros(d)
    bend, factor = np.zeros((d, d)), np.zeros((d, d))
    for row in range(places.shape[0]):
        z = places[row]
        value = _potential(points, z, half, lines, pull, bend)
        slope = _tangential(z, pull, bend, along)
        _solve(bend, pull, factor, step)
        reach = 0.3
        for _ in range(60):
            length = 0.0
            for k in range(d):
                length += step[k] ** 2
            length = np.sqrt(length)
            scale = min(1.0, reach / max(length, 1e-300))
            norm = 0.0
            for k in range(d):
                trial[k] = z[k] + scale * step[k]
                norm += trial[k] ** 2
            for k in range(d):
                trial[k] /= np.sqrt(norm)
            if length <= 1e-9:  # Newton's step squares the error: no need to look again
                for k in range(d):
                    z[k] = trial[k]
                break
            new = _potential(points, trial, half, lines, pull, bend)
            new_slope = _tangential(trial, pull, bend, along)
            if new < value or (length < 1e-5 and new_slope < slope):
                value, slope = new, new_slope
                for k in range(d):
                    z[k] = trial[k]
                _solve(bend, pull, factor, step)
                reach = min(0.3, 2 * reach)
            else:
                if length < 1e-5:
                    break
                reach = 0.25 * min(reach, length)
                if reach <= 1e-11:
                    break


_PARTS = (_potential, _tangential, _solve, _settle)
