"""What the samplers share."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from sphuni._arrays import like_caller
from sphuni._numbers import whole
from sphuni._rng import numpy_generator
from sphuni._typing import Seed

__all__ = [
    "about_axis",
    "angles",
    "number",
    "reflect",
    "shape_of",
    "tangent_normal",
    "turned",
    "uniform_rows",
    "unit",
]

_TABLE = 20_000


def shape_of(n: int, d: int, batch: int | tuple[int, ...]) -> tuple[int, ...]:
    n, d = whole("n", n), whole("d", d)
    if n < 1:
        raise ValueError(f"n must be a number of points, at least 1; got {n}")
    if d < 2:
        raise ValueError(f"d must be an ambient dimension, at least 2 (the circle); got {d}")
    sizes = batch if isinstance(batch, Iterable) else (batch,)
    return (*(whole("batch", size, 0) for size in sizes), n, d)


def number(name: str, value: Any) -> float:
    """Return a parameter as a plain number, of whatever size."""
    if isinstance(value, bool | str) or not hasattr(value, "__float__") or np.ndim(value):
        raise TypeError(f"{name} must be a number; got {value!r}")
    return float(value)


def uniform_rows(shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    rows = generator.standard_normal(shape)
    rows /= np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows)


def about_axis(
    n: int,
    d: int,
    log_density: Callable[[np.ndarray], np.ndarray],
    *,
    mu: ArrayLike | None,
    fold: bool,
    batch: int | tuple[int, ...],
    rng: Seed,
    like: Tensor | None,
) -> Any:
    """Draw from a rotationally symmetric law given by its log density in the cosine."""
    shape = shape_of(n, d, batch)
    generator = numpy_generator(rng)
    theta = angles(log_density, d, generator.random(shape[:-1]), 0.5 * np.pi if fold else np.pi)
    if fold:
        theta = np.where(generator.random(shape[:-1]) < 0.5, theta, np.pi - theta)
    return like_caller(turned(tangent_normal(theta, shape, generator), mu, d), like)


def turned(rows: np.ndarray, mu: ArrayLike | None, d: int) -> np.ndarray:
    """Carry the last axis to mu."""
    if mu is None:
        return rows
    axis = np.asarray(mu, dtype=np.float64)
    if axis.shape != (d,):
        raise ValueError(f"mu must be a direction of shape ({d},); got shape {axis.shape}")
    if not np.isfinite(axis).all() or not axis.any():
        raise ValueError(
            f"mu must be finite and not zero to be a direction; got {axis[:3]}"
            f"{'...' if d > 3 else ''}. Leave it out for the last axis"
        )
    return reflect(rows, np.broadcast_to(unit(axis), rows.shape))


def unit(axes: np.ndarray) -> np.ndarray:
    """Directions of the finite rows of an array; nan for a row of zeros."""
    exponent = np.frexp(np.abs(axes).max(axis=-1, keepdims=True))[1]
    scaled = np.ldexp(axes, -exponent)  # their squares could overflow
    with np.errstate(invalid="ignore"):
        return np.asarray(scaled / np.linalg.norm(scaled, axis=-1, keepdims=True))


def tangent_normal(
    theta: np.ndarray, shape: tuple[int, ...], generator: np.random.Generator
) -> np.ndarray:
    """Points at angles theta to the last axis, in uniform directions around it."""
    rows = np.empty(shape)
    if shape[-1] == 2:
        side = np.where(generator.random(shape[:-1]) < 0.5, -1.0, 1.0)[..., None]
    else:
        side = uniform_rows((*shape[:-1], shape[-1] - 1), generator)
    rows[..., :-1] = np.sin(theta)[..., None] * side
    rows[..., -1] = np.cos(theta)
    return rows


def reflect(rows: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Householder reflection that swaps the last axis and the unit vectors `axis`."""
    v = -axis.copy()
    last = axis[..., -1]
    # beside the last axis 1 - last would have few digits, or none
    sine_squared = np.sum(axis[..., :-1] ** 2, axis=-1)
    v[..., -1] = np.where(last > 0, sine_squared / (1.0 + np.abs(last)), 1.0 - last)
    square = np.sum(v * v, axis=-1, keepdims=True)
    share = 2.0 * np.sum(v * rows, axis=-1, keepdims=True) / np.where(square > 0, square, 1.0)
    return np.asarray(rows - share * v)


def angles(
    log_density: Callable[[np.ndarray], np.ndarray], d: int, share: np.ndarray, end: float
) -> np.ndarray:
    """Invert the distribution function of the angle, tabulated from 0 to `end` where it has mass.

    A peak may lie beside an edge of the table and its mass on both sides of that edge, although
    only one of the two cells shows it: each table takes in one cell more on either side.
    """
    low, high = 0.0, end
    for _ in range(4):
        edges = np.linspace(low, high, _TABLE + 1)
        middle = 0.5 * (edges[1:] + edges[:-1])
        logs = log_density(np.cos(middle)) + (d - 2) * np.log(np.sin(middle))
        mass = np.exp(logs - logs.max())
        held = np.flatnonzero(mass > 1e-18)
        if held[-1] - held[0] > _TABLE // 8:
            break
        low, high = edges[max(held[0] - 1, 0)], edges[min(held[-1] + 2, _TABLE)]
    total = np.concatenate([[0.0], np.cumsum(mass)])
    return np.asarray(np.interp(share * total[-1], total, edges))
