"""Confirm in 50-digit arithmetic the values of the atlas that beat a published or putative one.

python -m benchmarks.verify [problem]

The stored coordinates are taken as exact rationals and normalised with 50 digits. Polarization:
every local minimum of the potential that float64 finds is refined by Newton's method with 50
digits, and the least value is printed; that no other minimum lies lower is the certified lower
bound of the branch and bound in the table. Covering: the circumradius of every deepest facet.
Thomson: the sum over all pairs, which no least energy exceeds. Tammes: the smallest angle. Largest
determinants: the pivots of the Gram matrix of the Dirichlet kernel.
"""

import csv
import itertools
import math
import sys
from importlib import resources
from typing import Any

import mpmath
import numpy as np
import torch

from benchmarks.atlas import FOLDER, read_rows
from sphuni.configurations.maxmin._holes import holes
from sphuni.configurations.maxmin._poles import lowest_poles
from sphuni.kernels import Riesz

__all__ = [
    "main",
    "precise_covering",
    "precise_maxdet",
    "precise_polarization",
    "precise_tammes",
    "precise_thomson",
    "size_of",
]

HIGHER = ("polarization", "tammes", "maxdet")


def main() -> int:
    """Print every value that beats a row of the package's tables, in 50 digits."""
    mpmath.mp.dps = 50
    wanted = sys.argv[1:] or list(PRECISE)
    with np.load(FOLDER / "points.npz") as file:
        points = dict(file)
    known = published()
    for key, row in read_rows().items():
        old = known.get(size_of(row))
        if row["problem"] not in wanted or old is None or not beats(row, old):
            continue
        value = PRECISE[row["problem"]](points[key], row["s"])
        gain = (value - mpmath.mpf(old["value"])) * (1 if row["problem"] in HIGHER else -1)
        print(f"{key}: {mpmath.nstr(value, 32)}")
        print(
            f"  table {old['value']} ({old['status']}); better by {mpmath.nstr(gain, 6)};", end=" "
        )
        second = row["second_value"] or "none"
        print(f"second evaluation {second}, certified bound {row['second_lower'] or 'none'}")
    return 0


def size_of(row: dict[str, Any]) -> tuple[str, ...]:
    """What a row of a table is looked up by: points are never compared with as many lines."""
    return tuple(row[name] for name in ("problem", "n", "d", "s", "antipodal"))


def published() -> dict[tuple[str, ...], dict[str, str]]:
    """Every row of the package's tables but the atlas, by its size."""
    folder = resources.files("sphuni.configurations").joinpath("data")
    lines = [f.read_text(encoding="utf-8") for f in folder.iterdir() if f.name.endswith(".csv")]
    rows = [row for text in lines for row in csv.DictReader(text.splitlines())]
    return {size_of(row): row for row in rows}


def beats(row: dict[str, Any], old: dict[str, str]) -> bool:
    """Whether a value is better by more than the digits of the other."""
    gain = (float(row["value"]) - float(old["value"])) * (1 if row["problem"] in HIGHER else -1)
    return gain > abs(float(old["value"])) * 10.0 ** (1 - int(old["digits"]))


def precise_polarization(points: np.ndarray, exponent: str) -> Any:
    """Least of the local minima of sum_i |z - x_i|^-s, refined from those of float64."""
    rows, s = [_normalised(row) for row in points], int(float(exponent))
    poles = lowest_poles(torch.from_numpy(points), Riesz(float(s)), 1e-6)
    return min(_potential(_refined(_normalised(pole), rows, s), rows, s) for pole in poles.numpy())


def precise_thomson(points: np.ndarray, exponent: str) -> Any:
    """Sum over i < j of 1/|x_i - x_j|."""
    del exponent
    rows = [_normalised(row) for row in points]
    pairs = itertools.combinations(rows, 2)
    apart = (mpmath.sqrt(sum((a - b) ** 2 for a, b in zip(x, y, strict=True))) for x, y in pairs)
    return mpmath.fsum(1 / r for r in apart)


def precise_tammes(points: np.ndarray, exponent: str) -> Any:
    """Smallest angle between two points."""
    del exponent
    rows = [_normalised(row) for row in points]
    pairs = itertools.combinations(rows, 2)
    least = min(sum((a - b) ** 2 for a, b in zip(x, y, strict=True)) for x, y in pairs)
    return 2 * mpmath.asin(mpmath.sqrt(least) / 2)


def precise_covering(points: np.ndarray, exponent: str) -> Any:
    """Greatest angular circumradius of the deepest facets."""
    del exponent
    rows = [_normalised(row) for row in points]
    facets = holes(points, 1e-10).labels
    cosines = []
    for facet in facets:
        u = mpmath.lu_solve(mpmath.matrix([rows[i] for i in facet]), mpmath.ones(len(rows[0]), 1))
        cosines.append(1 / mpmath.norm(u))
    return mpmath.acos(min(cosines))


def precise_maxdet(points: np.ndarray, exponent: str) -> Any:
    """Logarithm of the determinant of sum_l (2 l + 1) P_l(x_i . x_j) / (4 pi)."""
    del exponent
    rows = [_normalised(row) for row in points]
    degree = math.isqrt(len(rows)) - 1
    gram = mpmath.matrix(len(rows))
    for i, x in enumerate(rows):
        for j in range(i + 1):
            t = sum(a * b for a, b in zip(x, rows[j], strict=True))
            gram[i, j] = gram[j, i] = _dirichlet(t, degree)
    factor = mpmath.cholesky(gram)
    return 2 * mpmath.fsum(mpmath.log(factor[i, i]) for i in range(len(rows)))


def _dirichlet(t: Any, degree: int) -> Any:
    before, now, total = mpmath.mpf(0), mpmath.mpf(1), mpmath.mpf(1)
    for l in range(degree):
        before, now = now, ((2 * l + 1) * t * now - l * before) / (l + 1)
        total += (2 * l + 3) * now
    return total / (4 * mpmath.pi)


def _normalised(row: np.ndarray) -> list[Any]:
    exact = [mpmath.mpf(float(c)) for c in row]
    norm = mpmath.sqrt(sum(c * c for c in exact))
    return [c / norm for c in exact]


def _potential(z: list[Any], rows: list[list[Any]], s: int) -> Any:
    squares = (sum((a - b) ** 2 for a, b in zip(z, row, strict=True)) for row in rows)
    return sum(p ** (-mpmath.mpf(s) / 2) for p in squares)


def _refined(z: list[Any], rows: list[list[Any]], s: int) -> list[Any]:
    """Newton's method for a stationary point of the potential on the sphere.

    With the multiplier m of |z|^2 = 1: sum_i s p_i^(-s/2 - 1) x_i = m z, in z and m.
    """
    d = len(z)
    power = -mpmath.mpf(s) / 2 - 1
    m = None
    for _ in range(8):
        t = [sum(a * b for a, b in zip(z, row, strict=True)) for row in rows]
        first = [s * (2 - 2 * c) ** power for c in t]
        second = [-2 * power * s * (2 - 2 * c) ** (power - 1) for c in t]
        pull = [sum(f * row[k] for f, row in zip(first, rows, strict=True)) for k in range(d)]
        m = sum(a * b for a, b in zip(pull, z, strict=True)) if m is None else m
        system = mpmath.matrix(d + 1, d + 1)
        target = mpmath.matrix(d + 1, 1)
        for k in range(d):
            for j in range(d):
                system[k, j] = sum(f * r[k] * r[j] for f, r in zip(second, rows, strict=True))
            system[k, k] -= m
            system[k, d] = -z[k]
            system[d, k] = z[k]
            target[k] = m * z[k] - pull[k]
        target[d] = (1 - sum(c * c for c in z)) / 2
        move = mpmath.lu_solve(system, target)
        z, m = [z[k] + move[k] for k in range(d)], m + move[d]
    norm = mpmath.sqrt(sum(c * c for c in z))
    return [c / norm for c in z]


PRECISE = {
    "polarization": precise_polarization,
    "covering": precise_covering,
    "thomson": precise_thomson,
    "tammes": precise_tammes,
    "maxdet": precise_maxdet,
}


if __name__ == "__main__":
    sys.exit(main())
