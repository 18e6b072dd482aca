"""Random sets in space that a rotation group carries into themselves.

Most of the best energies known belong to sets with some symmetry, and there are far fewer
symmetric sets than others: searching them first saves most of the work.
"""

import functools
import itertools
import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["axis_of", "symmetric_points"]

Array = NDArray[np.float64]

_PHI = (1 + math.sqrt(5)) / 2
_CYCLES = range(2, 7)
_GROUPS = (*(f"C{k}" for k in _CYCLES), *(f"D{k}" for k in _CYCLES), "T", "O", "I")
_OFTEN = {"C2": 6, "C3": 3, "D2": 3, "D3": 2}
"""How many times as often as the others: the best known sets have these groups most often."""


def symmetric_points(n: int, rng: np.random.Generator) -> Array | None:
    """Draw n points (n, 3): random whole orbits of a random group, with its axes as needed.

    None if no group was found that fits n.
    """
    often = np.array([_OFTEN.get(name, 1) for name in _GROUPS])
    for name in rng.choice(_GROUPS, len(_GROUPS), replace=False, p=often / often.sum()):
        group, axes = _group(str(name))
        fitting = [
            chosen
            for count in range(len(axes) + 1)
            for chosen in itertools.combinations(range(len(axes)), count)
            if (rest := n - sum(len(axes[k]) for k in chosen)) >= 0 and rest % len(group) == 0
        ]
        if fitting:
            chosen = fitting[int(rng.integers(len(fitting)))]
            parts = [axes[k] for k in chosen]
            orbits = (n - sum(map(len, parts))) // len(group)
            seeds = rng.standard_normal((orbits, 3))
            seeds /= np.linalg.norm(seeds, axis=1, keepdims=True)
            parts.append(np.einsum("gij,oj->ogi", group, seeds).reshape(-1, 3))
            return np.concatenate(parts)
    return None


def axis_of(rotation: Array) -> Array:
    """Unit vector, of either sign, that a rotation leaves alone."""
    return np.asarray(np.linalg.svd(rotation - np.eye(3))[2][-1])


@functools.cache
def _group(name: str) -> tuple[Array, tuple[Array, ...]]:
    """Rotations (g, 3, 3) of a group, and the orbits (k, 3) of the ends of its axes."""
    group = _closure(_generators(name))
    ends: list[Array] = []
    for rotation in group[1:]:
        axis = axis_of(rotation)
        for end in (axis, -axis):
            if all(np.abs(orbit - end).sum(1).min() > 1e-6 for orbit in ends):
                ends.append(_distinct(group @ end))
    return group, tuple(ends)


def _generators(name: str) -> list[Array]:
    diagonal = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    half = np.diag([1.0, -1, -1])
    if name == "T":
        return [diagonal, half]
    if name == "O":
        return [diagonal, _turn(np.array([0.0, 0, 1]), math.pi / 2)]
    if name == "I":
        axis = np.array([0.0, 1.0, _PHI]) / math.sqrt(1 + _PHI**2)
        return [diagonal, _turn(axis, 2 * math.pi / 5)]
    turn = _turn(np.array([0.0, 0, 1]), 2 * math.pi / int(name[1:]))
    return [turn, half] if name[0] == "D" else [turn]


def _closure(generators: list[Array]) -> Array:
    """All products of the generators, the identity first."""
    found = [np.eye(3)]
    for element in found:
        for generator in generators:
            new = generator @ element
            if all(np.abs(new - known).max() > 1e-9 for known in found):
                found.append(new)
    return np.stack(found)


def _turn(axis: Array, angle: float) -> Array:
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross)


def _distinct(rows: Array) -> Array:
    return rows[np.unique(np.round(rows, 9), axis=0, return_index=True)[1]]
