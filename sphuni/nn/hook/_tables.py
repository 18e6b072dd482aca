"""What the hook tells its user: the plan before training, the state of the layers after."""

import dataclasses
import math
import re
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sphuni._result import Result
from sphuni.geometry import energy_bound
from sphuni.kernels import Riesz
from sphuni.nn.functional import mhe
from sphuni.nn.functional.separation import mhs

__all__ = ["Plan", "PlanRow", "Summary", "SummaryRow", "measure_layer"]

_NUMBER = re.compile(r"-|nan|-?[0-9.]+(e[-+]?[0-9]+)?")


@dataclasses.dataclass(frozen=True, repr=False)
class PlanRow(Result):
    """How one layer is regularised.

    Attributes
    ----------
    name, kind, role : str
    n, d : int
    objective : str
    weight : float
        Coefficient of its penalty.
    trainable : bool
    """

    name: str
    kind: str
    role: str
    n: int
    d: int
    objective: str
    weight: float
    trainable: bool


@dataclasses.dataclass(frozen=True, repr=False)
class Plan(Result):
    """The layers that a regularizer has found; printing it gives a table.

    Attributes
    ----------
    method : str
    rows : tuple of PlanRow
    left_out : tuple of (name, reason)
    """

    method: str
    rows: tuple[PlanRow, ...]
    left_out: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        cells = [
            [
                r.name,
                r.kind,
                r.role,
                str(r.n),
                str(r.d),
                f"{r.weight:g}",
                r.objective,
                "" if r.trainable else "frozen: no penalty",
            ]
            for r in self.rows
        ]
        head = ["layer", "kind", "role", "n", "d", "weight", "objective", ""]
        lines = [f"{self.method}: {len(self.rows)} layers", *_table(head, cells)]
        lines += [f"left out: {name}: {reason}" for name, reason in self.left_out]
        return "\n".join(lines)


@dataclasses.dataclass(frozen=True, repr=False)
class SummaryRow(Result):
    """How uniform one layer is now.

    Attributes
    ----------
    name, role : str
    n, d : int
    half_space : bool
        Whether rows are taken as lines.
    energy, bound : float
        Mean Riesz energy per pair, and the certified lower bound.
    attained : bool or None
        Whether a configuration reaches the bound; None where that is not known.
    excess : float
        (energy - bound) / (random - bound): 0 at the bound, 1 for uniform random directions. nan
        where the energy of random directions is infinite.
    min_angle : float
        Smallest angle between two rows (lines, in half space), in degrees.
    """

    name: str
    role: str
    n: int
    d: int
    half_space: bool
    energy: float
    bound: float
    attained: bool | None
    excess: float
    min_angle: float


@dataclasses.dataclass(frozen=True, repr=False)
class Summary(Result):
    """The state of the regularised layers; printing it gives a table.

    Attributes
    ----------
    s, metric
        The Riesz energy that is shown, whatever the method.
    rows : tuple of SummaryRow
    """

    s: float
    metric: str
    rows: tuple[SummaryRow, ...]

    def __str__(self) -> str:
        cells = [
            [
                r.name,
                str(r.n),
                str(r.d),
                "half" if r.half_space else "full",
                f"{r.energy:.6g}",
                f"{r.bound:.6g}",
                {True: "yes", False: "no", None: "open"}[r.attained],
                "-" if math.isnan(r.excess) else f"{r.excess:.4f}",
                f"{r.min_angle:.2f}",
            ]
            for r in self.rows
        ]
        head = ["layer", "n", "d", "space", "energy", "bound", "attained", "excess", "min angle"]
        title = f"Riesz s={self.s:g}, {self.metric}: mean over pairs; excess 0 = bound, 1 = random"
        return "\n".join([title, *_table(head, cells)])


def measure_layer(
    rows: Tensor, *, name: str, role: str, kernel: Riesz, half_space: bool
) -> SummaryRow:
    """Measure one layer in float64."""
    n, d = rows.shape
    weight = rows.detach().cpu().double()
    with torch.no_grad():
        energy = float(mhe(weight, s=kernel.s, metric=kernel.metric, half_space=half_space))
        angle = -float(mhs(weight, metric="geodesic", half_space=half_space))
    bound, attained = math.nan, None
    try:
        found = energy_bound(n, d, kernel=kernel, reduction="mean", antipodal=half_space)
        bound, attained = found.value, found.attained
    except ValueError:
        pass  # no bound is known for this kernel, which the table shows as nan
    random = _random_energy(kernel, n, d, half_space)
    constant = math.isclose(random, bound, rel_tol=1e-12)  # the kernel sees nothing of the rows
    excess = (
        math.nan if constant or not np.isfinite(random) else (energy - bound) / (random - bound)
    )
    return SummaryRow(
        name, role, n, d, half_space, energy, bound, attained, excess, math.degrees(angle)
    )


def _random_energy(kernel: Riesz, n: int, d: int, half_space: bool) -> float:
    """Expected mean energy of uniform random directions, or of the doubled set {x, -x}."""
    mean = kernel.mean(d)
    if not half_space:
        return mean
    return (2 * (n - 1) * mean + kernel.at_minus_one) / (2 * n - 1)


def _table(head: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    """Left-aligned names, right-aligned numbers, two spaces between columns."""
    widths = [max(len(row[i]) for row in (head, *cells)) for i in range(len(head))]
    lines = []
    for row in (head, *cells):
        parts = [
            cell.rjust(width) if _is_number(cells, i) else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(parts).rstrip())
    return lines


def _is_number(cells: Sequence[Sequence[str]], column: int) -> bool:
    return all(_NUMBER.fullmatch(row[column]) is not None for row in cells)
