"""What an analysis found: one `LayerReport` per tensor, gathered in a `ModelReport`.

These classes hold data and know how to be written down. They load neither torch nor matplotlib, so
that a saved report can be read, compared and drawn anywhere.
"""

import dataclasses
import math
import os
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sphuni._files import write_text
from sphuni.analysis import _serialize

if TYPE_CHECKING:
    import pandas

__all__ = [
    "ANALYSED_VERDICTS",
    "ENERGY_KEYS",
    "TESTS",
    "VERDICTS",
    "Histogram",
    "LayerReport",
    "ModelReport",
    "Progress",
    "ProgressCallback",
    "Totals",
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

SCHEMA = "sphuni.report"
SCHEMA_VERSION = 1


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
    excess : dict
        (E - E_opt) / (E_random - E_opt): 0 at the optimum, 1 for uniform random rows.
    excess_is_upper : dict
        True where E_opt is only a certified bound, so that `excess` can only be smaller.
    z : dict
        (E - E_random) in standard deviations of the null law.
    statistic, effect_size : dict
        Test statistics, and each over its mean under uniformity.
    p, p_lower : dict
        p-values of the upper tail (less uniform) and of the lower tail (more regular).
    p_adjusted, p_lower_adjusted : dict
        The same after Benjamini-Hochberg across the layers of the model.
    effective_rank : float
        Exponential of the entropy of the normalised spectrum.
    effective_rank_ratio : float
        The same over that of uniform random rows of the same shape.
    stable_rank : float
        Squared Frobenius norm over squared largest singular value.
    mean_resultant_length : float
        Norm of the mean of the unit rows, in [0, 1].
    verdict : str
        One of `VERDICTS`.
    why : str
        The verdict in one sentence with its numbers.
    dead : tuple of int
        Rows whose norm is negligible.
    worst_pairs : tuple of (i, j, cosine)
        Up to ten pairs of largest absolute cosine; the sign tells a collapsed from an antipodal one.
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Totals:
    """How many tensors and parameters a model has, and what became of its layers."""

    tensors: int = 0
    parameters: int = 0
    analysed: int = 0
    skipped: int = 0
    failed: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ModelReport:
    """The analysis of one model: every tensor, analysed or listed with the reason why not.

    ``str(report)`` is the table that `sphuni analyze` prints.

    Attributes
    ----------
    source : str
        Path or class name of what was analysed.
    layers : tuple of LayerReport
        In the order of the model.
    created : str
        ISO 8601 time.
    version : str
        Version of sphuni that wrote the report.
    settings : dict
        The options of the analysis.
    partial : bool
        True if the analysis did not reach the end; `reason` says why.
    totals : Totals
        Counts over the whole model.
    """

    source: str
    layers: tuple[LayerReport, ...]
    created: str
    version: str
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    partial: bool = False
    reason: str = ""
    totals: Totals = dataclasses.field(default_factory=Totals)

    def __str__(self) -> str:
        from sphuni.analysis.table import plain_table

        return plain_table(self)

    def __repr__(self) -> str:
        return f"<ModelReport of {self.source!r}: {len(self.layers)} layers, {self.summary()}>"

    def summary(self) -> dict[str, int]:
        """Count the verdicts, worst first; verdicts that do not occur are left out."""
        counts = Counter(layer.verdict for layer in self.layers)
        return {verdict: counts[verdict] for verdict in VERDICTS if counts[verdict]}

    def worst_first(self) -> tuple[LayerReport, ...]:
        """Return the layers by severity, and within a verdict by how far from uniform they are."""
        return tuple(sorted(self.layers, key=_rank))

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain numbers, strings, lists and dicts, NaN and inf kept."""
        return {
            "schema": SCHEMA,
            "version": SCHEMA_VERSION,
            "sphuni_version": self.version,
            "source": self.source,
            "created": self.created,
            "settings": _serialize.plain(self.settings),
            "partial": self.partial,
            "reason": self.reason,
            "totals": dataclasses.asdict(self.totals),
            "summary": self.summary(),
            "layers": [layer.to_dict() for layer in self.layers],
        }

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the report as strict JSON, and write it to `path` if one is given.

        Parameters
        ----------
        path : path-like, optional
            Where to write. The file appears whole or not at all.

        Notes
        -----
        JSON has no NaN and no infinity: NaN is written as ``null``, infinities as the strings
        ``"Infinity"`` and ``"-Infinity"``. `from_json` undoes both.
        """
        text = _serialize.dump_json(self.to_dict())
        if path is not None:
            write_text(path, text)
        return text

    @classmethod
    def from_json(cls, source: str | os.PathLike[str]) -> "ModelReport":
        """Read a report that `to_json` wrote.

        Parameters
        ----------
        source : path-like
            The file.

        Raises
        ------
        UnreadableFileError
            If the file is missing, is not JSON, or is not a report of a version known here.
        """
        data = _serialize.load_json(source, SCHEMA, SCHEMA_VERSION)
        with _serialize.reading(source):
            return cls(
                source=str(data["source"]),
                layers=tuple(_layer_from_dict(layer) for layer in data["layers"]),
                created=str(data["created"]),
                version=str(data["sphuni_version"]),
                settings=dict(data["settings"]),
                partial=bool(data["partial"]),
                reason=str(data["reason"]),
                totals=_serialize.decode(Totals, data["totals"]),
            )

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the report as CSV, one row per layer, and write it to `path` if one is given.

        Parameters
        ----------
        path : path-like, optional
            Where to write. The file appears whole or not at all.

        Notes
        -----
        Mappings become columns: ``energy_0``, ``energy_half_0``, ``p_rayleigh``. An excess over a
        bound that may not be attained stands under ``excess_upper_...``. Text cells that a
        spreadsheet would run as a formula are preceded by an apostrophe; control characters are
        written as escapes; NaN is an empty cell.
        """
        text = _serialize.dump_csv([_serialize.flatten(layer) for layer in self.layers])
        if path is not None:
            write_text(path, text)
        return text

    def to_dataframe(self) -> "pandas.DataFrame":
        """Return one row per layer with the columns of `to_csv`; needs pandas.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError(
                "to_dataframe needs pandas; install it with `pip install pandas`, "
                "or use to_csv() or to_dict()"
            ) from error
        return pandas.DataFrame([_serialize.flatten(layer) for layer in self.layers])

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the report as one self-contained page, and write it to `path` if one is given.

        Parameters
        ----------
        path : path-like, optional
            Where to write. The file appears whole or not at all.

        Notes
        -----
        The page requests nothing, can be read without scripts, follows the reader's light or dark
        setting and prints.
        """
        from sphuni.analysis.html import render_report

        text = render_report(self)
        if path is not None:
            write_text(path, text)
        return text


def _rank(layer: LayerReport) -> tuple[int, float, float]:
    """Sort key: verdict, then smallest p, then largest half-space excess."""
    p = layer.smallest_p
    excess = layer.excess.get("half:2", math.nan)
    return (
        layer.severity,
        2.0 if math.isnan(p) else p,
        math.inf if math.isnan(excess) else -excess,
    )


def _layer_from_dict(data: dict[str, Any]) -> LayerReport:
    """Undo `LayerReport.to_dict` after a passage through JSON."""
    histograms: dict[str, Any] = {}
    for name in ("cosine_histogram", "angle_histogram"):
        value = data.get(name)
        histograms[name] = None if value is None else _serialize.decode(Histogram, value)
    return _serialize.decode(LayerReport, {**data, **histograms})
