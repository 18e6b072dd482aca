"""What an analysis found: one `LayerReport` per tensor, gathered in a `ModelReport`.

These classes hold data and know how to be written down. They load neither torch nor matplotlib, so
that a saved report can be read, compared and drawn anywhere.
"""

import dataclasses
import math
import os
from collections import Counter
from typing import TYPE_CHECKING, Any

from sphuni._files import write_text
from sphuni.analysis import _serialize
from sphuni.analysis._layer import (
    ANALYSED_VERDICTS,
    ENERGY_KEYS,
    TESTS,
    VERDICTS,
    Histogram,
    LayerReport,
    Progress,
    ProgressCallback,
    flatten,
)

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

SCHEMA = "sphuni.report"
SCHEMA_VERSION = 1


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
        written as escapes; text beyond 32,000 characters is shortened; NaN is an empty cell.
        """
        text = _serialize.dump_csv([flatten(layer) for layer in self.layers])
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
        return pandas.DataFrame([flatten(layer) for layer in self.layers])

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
