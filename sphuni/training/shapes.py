"""Point clouds of parametric shapes, a substitute for scanned or modelled objects."""

import functools
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from sphuni.training.data._records import Dataset, Samples

__all__ = ["SHAPES", "cloud", "dataset"]

Array = NDArray[np.float64]
_POINTS = 128
_POOL, _TEST = 600, 1000
_NOISE = 0.02


def _directions(rng: np.random.Generator, n: int) -> Array:
    x = rng.standard_normal((n, 3))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def _ellipsoid(rng: np.random.Generator, n: int) -> Array:
    return _directions(rng, n) * rng.uniform(0.5, 1.0, 3)


def _box(rng: np.random.Generator, n: int) -> Array:
    points = rng.uniform(-1, 1, (n, 3))
    side = rng.integers(0, 3, n)
    points[np.arange(n), side] = rng.choice([-1.0, 1.0], n)
    return points * rng.uniform(0.4, 1.0, 3)


def _round(rng: np.random.Generator, n: int, radius: Array, height: Array) -> Array:
    """Points on circles of given radii at given heights."""
    angle = rng.uniform(0, 2 * np.pi, n)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)


def _cylinder(rng: np.random.Generator, n: int) -> Array:
    return _round(rng, n, np.ones(n), rng.uniform(0.5, 1.5) * rng.uniform(-1, 1, n))


def _cone(rng: np.random.Generator, n: int) -> Array:
    share = np.sqrt(rng.uniform(0, 1, n))
    return _round(rng, n, share, rng.uniform(1.0, 2.0) * (0.5 - share))


def _torus(rng: np.random.Generator, n: int) -> Array:
    tube, angle = rng.uniform(0.15, 0.4), rng.uniform(0, 2 * np.pi, n)
    return _round(rng, n, 1 + tube * np.cos(angle), tube * np.sin(angle))


def _helix(rng: np.random.Generator, n: int) -> Array:
    turns, share = rng.uniform(2, 4), rng.uniform(-1, 1, n)
    angle = np.pi * turns * share
    return np.stack([np.cos(angle), np.sin(angle), share * rng.uniform(0.7, 1.3)], axis=1)


def _disc(rng: np.random.Generator, n: int) -> Array:
    points = _round(rng, n, np.sqrt(rng.uniform(0, 1, n)), np.zeros(n))
    return points * [1.0, rng.uniform(0.5, 1.0), 1.0]


def _cross(rng: np.random.Generator, n: int) -> Array:
    points = rng.uniform(-0.15, 0.15, (n, 3))
    points[np.arange(n), rng.integers(0, 3, n)] = rng.uniform(-1, 1, n)
    return points * rng.uniform(0.6, 1.0, 3)


def _saddle(rng: np.random.Generator, n: int) -> Array:
    x, y = rng.uniform(-1, 1, (2, n))
    return np.stack([x, y, rng.uniform(0.4, 1.0) * (x**2 - y**2)], axis=1)


def _dumbbell(rng: np.random.Generator, n: int) -> Array:
    size = rng.uniform(0.3, 0.5)
    ends = rng.choice([-1.0, 1.0], n)[:, None] * [0.0, 0.0, 1.0]
    bar = np.stack([np.zeros(n), np.zeros(n), rng.uniform(-1, 1, n)], axis=1)
    return np.where(rng.uniform(size=(n, 1)) < 0.2, bar, ends + size * _directions(rng, n))


SHAPES: dict[str, Callable[[np.random.Generator, int], Array]] = {
    "ellipsoid": _ellipsoid,
    "box": _box,
    "cylinder": _cylinder,
    "cone": _cone,
    "torus": _torus,
    "helix": _helix,
    "disc": _disc,
    "cross": _cross,
    "saddle": _saddle,
    "dumbbell": _dumbbell,
}
"""Generators of surface points before noise, rotation and scaling."""


def cloud(name: str, n: int, rng: np.random.Generator) -> Array:
    """Return one cloud of a shape: random proportions, turned about the vertical axis.

    Parameters
    ----------
    name : str
        One of `SHAPES`.
    n : int
        Points.
    rng : Generator

    Returns
    -------
    array of shape (n, 3)
        Centred, in the unit ball, with a little noise.

    Examples
    --------
    >>> import numpy as np
    >>> points = cloud("torus", 50, np.random.default_rng(0))
    >>> points.shape, round(float(np.linalg.norm(points, axis=1).max()), 6)
    ((50, 3), 1.0)
    """
    if name not in SHAPES:
        raise ValueError(f"name must be one of {', '.join(SHAPES)}; got {name!r}")
    points = SHAPES[name](rng, n)
    turn = rng.uniform(0, 2 * np.pi)
    cos, sin = np.cos(turn), np.sin(turn)
    points = points @ np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    points = points - points.mean(axis=0)
    points = points + _NOISE * np.abs(points).max() * rng.standard_normal(points.shape)
    scaled: Array = points / np.linalg.norm(points, axis=1).max()
    return scaled


@functools.lru_cache(maxsize=1)
def dataset() -> Dataset:
    """Return 600 clouds to draw from and 1,000 to test on, of ten shapes with 128 points each."""
    pool, test = (_samples(count, np.random.default_rng(seed)) for seed, count in _SIZES)
    note = "generated shapes, a substitute for ModelNet-40"
    return Dataset("shapes", len(SHAPES), pool, test, note=note)


_SIZES = ((0, _POOL), (1, _TEST))


def _samples(count: int, rng: np.random.Generator) -> Samples:
    names = list(SHAPES)
    clouds = [cloud(names[k % len(names)], _POINTS, rng) for k in range(count)]
    targets = torch.arange(count) % len(names)
    return Samples(torch.from_numpy(np.stack(clouds)).float(), targets)
