"""What is known of every construction: size, inner products, design strength, builder."""

import dataclasses
import math
import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sphuni._result import Result
from sphuni.configurations.codes import _lattices, _polytopes

_ROOT_5 = math.sqrt(5.0)
Builder = Callable[[], NDArray[np.float64]]

# Families grow without end, so a typo such as cube_64 must not exhaust the memory.
_MOST_COORDINATES = 2**27


@dataclasses.dataclass(frozen=True, repr=False)
class Construction(Result):
    """What is known of one exact configuration; see `construction_info`."""

    name: str
    n: int
    d: int
    inner_products: tuple[float, ...]
    """Cosines between different points, ascending, correctly rounded or nearly so."""
    multiplicities: tuple[int, ...]
    """How many other points every point sees at each of the inner products."""
    design_strength: int
    """Largest t for which the points average polynomials of degree t exactly."""


Describer = Callable[[], Construction]


@dataclasses.dataclass(frozen=True)
class Family:
    """A named family with one integer parameter."""

    prefix: str
    parameter: str
    least: int
    coordinates: Callable[[int], int]
    """How many numbers a member holds, n times d, told without building anything."""
    info: Callable[[int], Construction]
    build: Callable[[int], NDArray[np.float64]]

    @property
    def pattern(self) -> str:
        """The name with its parameter, as in ``simplex_<d>``."""
        return f"{self.prefix}_<{self.parameter}>"


def _polygon(n: int) -> Construction:
    products = tuple(math.sin(math.pi * (n - 4 * k) / (2 * n)) for k in range(n // 2, 0, -1))
    counts = tuple(1 if 2 * k == n else 2 for k in range(n // 2, 0, -1))
    return Construction(f"polygon_{n}", n, 2, products, counts, n - 1)


def _simplex(d: int) -> Construction:
    return Construction(f"simplex_{d}", d + 1, d, (-1.0 / d,), (d,), 2)


def _cross(d: int) -> Construction:
    return Construction(f"cross_{d}", 2 * d, d, (-1.0, 0.0), (1, 2 * d - 2), 3)


def _cube(d: int) -> Construction:
    products = tuple((d - 2 * k) / d for k in range(d, 0, -1))
    counts = tuple(math.comb(d, k) for k in range(d, 0, -1))
    return Construction(f"cube_{d}", 2**d, d, products, counts, 3)


def _antipodal_products(positive: tuple[float, ...]) -> tuple[float, ...]:
    """Complete the positive inner products of an antipodal code that also has 0 and -1."""
    return (-1.0, *(-t for t in reversed(positive)), 0.0, *positive)


def _antipodal_counts(at_zero: int, positive: tuple[int, ...]) -> tuple[int, ...]:
    return (1, *reversed(positive), at_zero, *positive)


# Pairs (a, b) of the cosines (a + b sqrt 5)/16 of the 120-cell, and how often each occurs.
_120_PAIRS = (
    (6, -2), (-2, 2), (4, 0), (-4, 4), (10, -2), (2, 2), (8, 0), (0, 4), (6, 2), (-2, 6), (12, 0),
    (4, 4), (10, 2), (2, 6),
)  # fmt: skip
_120_COUNTS = (24, 24, 28, 24, 12, 24, 32, 24, 24, 4, 12, 24, 12, 4)
_120_PRODUCTS = tuple((a + b * _ROOT_5) / 16 for a, b in _120_PAIRS)
_600_PRODUCTS = ((_ROOT_5 - 1) / 4, 0.5, (_ROOT_5 + 1) / 4)

FAMILIES = (
    Family("polygon", "n", 3, lambda n: 2 * n, _polygon, _polytopes.polygon),
    Family("simplex", "d", 2, lambda d: (d + 1) * d, _simplex, _polytopes.simplex),
    Family("cross", "d", 2, lambda d: 2 * d * d, _cross, _polytopes.cross_polytope),
    Family("cube", "d", 2, lambda d: d << min(d, 64), _cube, _polytopes.cube),
)

_FIXED: tuple[tuple[Builder, Construction], ...] = (
    (
        _polytopes.icosahedron,
        Construction("icosahedron", 12, 3, (-1.0, -1 / _ROOT_5, 1 / _ROOT_5), (1, 5, 5), 5),
    ),
    (
        _polytopes.dodecahedron,
        Construction(
            "dodecahedron",
            20,
            3,
            (-1.0, -_ROOT_5 / 3, -1 / 3, 1 / 3, _ROOT_5 / 3),
            (1, 3, 6, 6, 3),
            5,
        ),
    ),
    (
        _polytopes.cell_24,
        Construction("24-cell", 24, 4, _antipodal_products((0.5,)), _antipodal_counts(6, (8,)), 5),
    ),
    (
        _polytopes.cell_120,
        Construction(
            "120-cell",
            600,
            4,
            _antipodal_products(_120_PRODUCTS),
            _antipodal_counts(54, _120_COUNTS),
            11,
        ),
    ),
    (
        _polytopes.cell_600,
        Construction(
            "600-cell",
            120,
            4,
            _antipodal_products(_600_PRODUCTS),
            _antipodal_counts(30, (12, 20, 12)),
            11,
        ),
    ),
    (
        _lattices.e8_roots,
        Construction("E8_roots", 240, 8, (-1.0, -0.5, 0.0, 0.5), (1, 56, 126, 56), 7),
    ),
    (_lattices.k56, Construction("K56", 56, 7, (-1.0, -1 / 3, 1 / 3), (1, 27, 27), 5)),
    (_lattices.schlafli_27, Construction("schlafli_27", 27, 6, (-0.5, 0.25), (10, 16), 4)),
    (
        _lattices.hemicube_16,
        Construction("hemicube_16(clebsch)", 16, 5, (-0.6, 0.2), (5, 10), 3),
    ),
    (
        _lattices.code_4600,
        Construction("4600", 4600, 23, (-1.0, -1 / 3, 0.0, 1 / 3), (1, 891, 2816, 891), 7),
    ),
    (_lattices.code_891, Construction("891", 891, 22, (-0.5, -0.125, 0.25), (42, 512, 336), 5)),
    (_lattices.code_552, Construction("552", 552, 23, (-1.0, -0.2, 0.2), (1, 275, 275), 5)),
    (
        _lattices.mclaughlin_275,
        Construction("275_mclaughlin", 275, 22, (-0.25, 1 / 6), (112, 162), 4),
    ),
    (_lattices.code_162, Construction("162", 162, 21, (-2 / 7, 1 / 7), (56, 105), 3)),
    (_lattices.code_112, Construction("112", 112, 21, (-1 / 3, 1 / 9), (30, 81), 3)),
    (
        _lattices.higman_sims_100,
        Construction("higman_sims_100", 100, 22, (-4 / 11, 1 / 11), (22, 77), 3),
    ),
    (
        _lattices.leech_196560,
        Construction(
            "leech_196560",
            196560,
            24,
            (-1.0, -0.5, -0.25, 0.0, 0.25, 0.5),
            (1, 4600, 47104, 93150, 47104, 4600),
            11,
        ),
    ),
)

FIXED = {info.name: (build, info) for build, info in _FIXED}
ALIASES = {
    "tetrahedron": "simplex_3",
    "octahedron": "cross_3",
    "cube": "cube_3",
    "hemicube_16": "hemicube_16(clebsch)",
}


def find(name: str) -> tuple[Builder, Describer] | None:
    """Return what builds and what describes a construction, or None for an unknown name."""
    name = ALIASES.get(name, name)
    if name in FIXED:
        build, info = FIXED[name]
        return build, lambda: info
    for family in FAMILIES:
        if match := re.fullmatch(rf"{family.prefix}_(\d{{1,9}})", name):
            return _member(family, int(match[1]))
    return None


def _member(family: Family, parameter: int) -> tuple[Builder, Describer]:
    if parameter < family.least:
        raise ValueError(
            f"name must be {family.pattern} with {family.parameter} >= {family.least}; "
            f"got {family.prefix}_{parameter}."
        )
    if family.coordinates(parameter) > _MOST_COORDINATES:
        raise ValueError(
            f"name must be a configuration of at most {_MOST_COORDINATES} coordinates; "
            f"{family.prefix}_{parameter} has more. Choose a smaller {family.parameter}."
        )
    return lambda: family.build(parameter), lambda: family.info(parameter)
