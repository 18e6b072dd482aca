"""One layer of a report, and the words that reports use."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from sphuni.analysis import _serialize

__all__ = [
    "ANALYSED_VERDICTS",
    "ENERGY_KEYS",
    "TESTS",
    "VERDICTS",
    "Histogram",
    "LayerReport",
    "Progress",
    "ProgressCallback",
    "flatten",
]

ANALYSED_VERDICTS = (
    "dead neurons",
    "collapsed pair",
    "few directions",
    "common direction",
    "clustered",
    "more regular than random",
    "uniform",
)
"""The verdicts on an analysed layer, worst first."""

VERDICTS = ("failed", *ANALYSED_VERDICTS, "skipped")
"""Every verdict word, in the order in which reports list layers."""

ENERGY_KEYS = ("0", "1", "2", "half:0", "half:1", "half:2")
"""Keys of the energy fields: the exponent s in full space, and in half space after `half:`."""

TESTS = ("rayleigh", "bingham", "gine_gn", "packing")
"""Keys of the fields that are kept per test of uniformity."""

_NOT_IN_CSV = ("cosine_histogram", "angle_histogram", "singular_values", "worst_pairs", "pair")
_PER_KEY = (
    "energy", "optimum", "excess", "z", "statistic", "effect_size",
    "p", "p_lower", "p_adjusted", "p_lower_adjusted",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progress:
    """How far an analysis has come.

    Attributes
    ----------
    done, total : int
        Layers finished and layers to analyse.
    name : str
        The layer now being worked on.
    fraction : float
        Share of the estimated work that is done, in [0, 1].
    seconds : float
        Time since the start.
    """

    done: int
    total: int
    name: str = ""
    fraction: float = 0.0
    seconds: float = 0.0

    @property
    def seconds_left(self) -> float:
        """Estimated time to the end; NaN until something has been done."""
        if self.fraction <= 0.0:
            return math.nan
        return self.seconds * (1.0 - self.fraction) / self.fraction


ProgressCallback = Callable[[Progress], None]


@dataclasses.dataclass(frozen=True, eq=False)
class Histogram:
    """Counts between edges.

    Attributes
    ----------
    counts : numpy.ndarray of shape (k,)
        How many values fell between neighbouring edges (float where they were sampled).
    edges : numpy.ndarray of shape (k + 1,)
        Increasing, not necessarily evenly spaced.
    """

    counts: np.ndarray
    edges: np.ndarray

    def __post_init__(self) -> None:
        if self.counts.ndim != 1 or self.edges.shape != (self.counts.size + 1,):
            raise ValueError(
                "edges must hold one number more than counts; got shapes "
                f"{self.edges.shape} and {self.counts.shape}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LayerReport:
    """Everything that is known about one tensor, whose rows are read as points on a sphere.

    Numbers that were not computed are NaN, mappings and tuples are then empty. Mappings of energies
    have the keys `ENERGY_KEYS`, mappings of tests the keys `TESTS`.

    Attributes
    ----------
    name, kind : str
        Name of the tensor and the kind of layer it belongs to.
    status : {"analysed", "skipped", "failed"}
        What happened to it.
    reason : str
        Why it was skipped or failed; empty when analysed.
    shape : tuple of int
        Shape of the tensor as stored.
    n, d : int
        Number of neurons and their dimension.
    norm_min, norm_max : float
        Smallest and largest norm of a row.
    max_cosine : float
        Largest cosine between two rows, in [-1, 1].
    pair : tuple of two ints, or None
        The rows that attain it.
    separation_deg : float
        The angle between them, in degrees.
    energy : dict
        Mean Riesz energy over unordered pairs; lower is more uniform.
    optimum : dict
        The proven least energy, or a certified lower bound on it.
    excess : dict
        (E - E_opt) / (E_random - E_opt): 0 at the optimum, 1 for uniform random rows.
    excess_is_upper : dict
        True where E_opt is only a certified bound: the excess over the optimum itself can then only
        be smaller where `excess` is below 1, and only larger where it is above.
    z : dict
        (E - E_random) in standard deviations of the null law.
    statistic, effect_size : dict
        Test statistics; and the mean of each one's kernel over pairs, in the standard deviations of
        a pair of uniform rows, 0 for chance; of "packing" the median smallest chord of uniform rows
        over the observed one, 1 for chance. Neither grows with n.
    p, p_lower : dict
        p-values of the upper tail (less uniform) and of the lower tail (more regular).
    p_adjusted, p_lower_adjusted : dict
        The same after Benjamini-Hochberg across the layers of the model.
    effective_rank : float
        Exponential of the entropy of the squared singular values of the unit rows, scaled to sum 1.
    effective_rank_ratio : float
        The same over that of uniform random rows of the same shape, or of draws that were
        transformed as the rows were.
    stable_rank : float
        Squared Frobenius norm over squared largest singular value.
    mean_resultant_length : float
        Norm of the mean of the unit rows, in [0, 1].
    verdict : str
        One of `VERDICTS`.
    why : str
        The verdict in one sentence with its numbers.
    dead : tuple of int
        Rows whose norm is at most 1e-6 of the mean norm.
    worst_pairs : tuple of (i, j, cosine)
        Up to ten pairs of largest absolute cosine; its sign tells collapsed from antipodal.
    cosine_histogram : Histogram or None
        Cosines of all pairs.
    angle_histogram : Histogram or None
        Angle of each row to its nearest other row, in degrees.
    singular_values : numpy.ndarray
        Of the matrix of unit rows, decreasing; evenly thinned out where there are many.
    sampled : str
        Empty, or what was sampled and with which standard error.
    notes : tuple of str
        Remarks for the reader.
    seconds : float
        Time spent.
    """

    name: str
    kind: str
    status: Literal["analysed", "skipped", "failed"]
    reason: str = ""
    shape: tuple[int, ...] = ()
    n: int = 0
    d: int = 0
    norm_min: float = math.nan
    norm_max: float = math.nan
    max_cosine: float = math.nan
    pair: tuple[int, int] | None = None
    separation_deg: float = math.nan
    energy: dict[str, float] = dataclasses.field(default_factory=dict)
    optimum: dict[str, float] = dataclasses.field(default_factory=dict)
    excess: dict[str, float] = dataclasses.field(default_factory=dict)
    excess_is_upper: dict[str, bool] = dataclasses.field(default_factory=dict)
    z: dict[str, float] = dataclasses.field(default_factory=dict)
    statistic: dict[str, float] = dataclasses.field(default_factory=dict)
    effect_size: dict[str, float] = dataclasses.field(default_factory=dict)
    p: dict[str, float] = dataclasses.field(default_factory=dict)
    p_lower: dict[str, float] = dataclasses.field(default_factory=dict)
    p_adjusted: dict[str, float] = dataclasses.field(default_factory=dict)
    p_lower_adjusted: dict[str, float] = dataclasses.field(default_factory=dict)
    effective_rank: float = math.nan
    effective_rank_ratio: float = math.nan
    stable_rank: float = math.nan
    mean_resultant_length: float = math.nan
    verdict: str = ""
    why: str = ""
    dead: tuple[int, ...] = ()
    worst_pairs: tuple[tuple[int, int, float], ...] = ()
    cosine_histogram: Histogram | None = None
    angle_histogram: Histogram | None = None
    singular_values: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0))
    sampled: str = ""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.status not in ("analysed", "skipped", "failed"):
            raise ValueError(f"status must be analysed, skipped or failed; got {self.status!r}")
        if not self.verdict:
            verdict = "uniform" if self.status == "analysed" else self.status
            object.__setattr__(self, "verdict", verdict)
        if self.verdict not in VERDICTS:
            raise ValueError(f"verdict must be one of {', '.join(VERDICTS)}; got {self.verdict!r}")

    @property
    def severity(self) -> int:
        """Place of the verdict in `VERDICTS`: the smaller, the worse."""
        return VERDICTS.index(self.verdict)

    @property
    def smallest_p(self) -> float:
        """The smallest adjusted p-value of either tail; NaN if there is none."""
        values = [*self.p_adjusted.values(), *self.p_lower_adjusted.values()]
        return min((p for p in values if not math.isnan(p)), default=math.nan)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain numbers, strings, lists and dicts."""
        return {f.name: _serialize.plain(getattr(self, f.name)) for f in dataclasses.fields(self)}


def flatten(layer: LayerReport) -> dict[str, Any]:
    """Return one flat row of a layer; the columns do not depend on the layer."""
    row: dict[str, Any] = {}
    for field in dataclasses.fields(layer):
        value = getattr(layer, field.name)
        if field.name in _PER_KEY:
            keys = ENERGY_KEYS if field.name in ("energy", "optimum", "excess", "z") else TESTS
            row |= _columns(field.name, value, keys, layer.excess_is_upper)
        elif field.name == "excess_is_upper" or field.name in _NOT_IN_CSV:
            continue
        elif isinstance(value, tuple):
            row[field.name] = ("; " if field.name == "notes" else " ").join(map(str, value))
        else:
            row[field.name] = value
    first, second = layer.pair or (None, None)
    return row | {"pair_i": first, "pair_j": second}


def _columns(
    name: str, values: dict[str, float], keys: tuple[str, ...], is_upper: dict[str, bool]
) -> dict[str, float]:
    """Spread a mapping over columns, an excess over one column of two."""
    row = {}
    for key in keys:
        suffix = key.replace(":", "_")
        value = values.get(key, math.nan)
        if name == "excess":
            upper = is_upper.get(key, False)
            row[f"excess_{suffix}"] = math.nan if upper else value
            row[f"excess_upper_{suffix}"] = value if upper else math.nan
        else:
            row[f"{name}_{suffix}"] = value
    return row
