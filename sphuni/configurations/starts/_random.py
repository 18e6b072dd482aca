"""Starts drawn at random, but for the first few: an exact code, a spiral, symmetric sets."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from sphuni._rng import numpy_generator
from sphuni.configurations.codes.constructions import (
    available_constructions,
    construct,
    fibonacci_sphere,
)
from sphuni.configurations.maxmin._members import Array
from sphuni.configurations.starts._orbits import symmetric_points

__all__ = ["exact_start", "random_starts", "spacing"]

_SYMMETRIC_FROM = 20
_COSINE_NOISE = 1e-9


def random_starts(
    n: int,
    d: int,
    first: int,
    streams: Sequence[int],
    *,
    exact: Literal["points", "lines"] | None = "points",
) -> Array:
    """Starts number `first` and on, (b, n, d), each drawn from a stream of its own.

    Start 0 is an `exact` configuration of that size if there is one, start 1 a jittered spiral on
    S^2. From there on, on S^2 and for 20 points or more, every second one (beyond 150 points
    three of four) is symmetric but for a little noise, which lets it leave a saddle. All others
    are uniform.
    """
    rows = np.empty((len(streams), n, d))
    for k, stream in enumerate(streams):
        rng = numpy_generator(stream)
        rows[k] = rng.standard_normal((n, d))
        known = exact_start(n, d, exact) if exact is not None and first + k == 0 else None
        if known is not None:
            rows[k] = known
        elif first + k == 1 and d == 3:
            noise = rows[k] * (0.1 * spacing(n, d))
            rows[k] = fibonacci_sphere(n) + noise
        elif d == 3 and n >= _SYMMETRIC_FROM and (first + k) % (2 if n <= 150 else 4):
            orbits = symmetric_points(n, rng)
            if orbits is not None:
                rows[k] = orbits + 1e-3 * spacing(n, d) * rows[k]
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def exact_start(n: int, d: int, kind: Literal["points", "lines"]) -> Array | None:
    """Points of an exact code, or the lines of one, if there is one of that size.

    An antipodal code of 2n points gives one end of each of its lines; a code of n points no two of
    which are opposite gives as many lines.
    """
    single = _exact_points(n, d)
    if kind == "points":
        return single
    doubled = _exact_points(2 * n, d)
    if doubled is not None and _is_antipodal(doubled):
        return _one_end_each(doubled)
    return None if single is None or _is_antipodal(single) else single


def _exact_points(n: int, d: int) -> Array | None:
    names = [code.name for code in available_constructions() if (code.n, code.d) == (n, d)]
    if n == 2 * d:
        names.append(f"cross_{d}")
    if n == d + 1:
        names.append(f"simplex_{d}")
    return np.asarray(construct(names[0])) if names else None


def _is_antipodal(code: Array) -> bool:
    """Whether the points of an exact code are opposite in pairs: all see the same cosines."""
    return bool((code @ code[0]).min() < -1 + _COSINE_NOISE)


def _one_end_each(code: Array) -> Array:
    """Keep the points whose first coordinate that is not zero is positive."""
    first = np.argmax(np.abs(code) > _COSINE_NOISE, axis=1)
    return code[code[np.arange(len(code)), first] > 0]


def spacing(n: int, d: int) -> float:
    """Rough angle between neighbours of n even points on S^(d-1)."""
    return min(1.5, 2.5 * n ** (-1 / (d - 1)))
