"""What `sphuni test` prints: the table of results, as text or JSON."""

import argparse
import dataclasses
import json
import math
from typing import TYPE_CHECKING, Any

from sphuni.cli import _output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sphuni.stats import TestInfo, TestTable

__all__ = ["TAILS", "Outcome", "catalogue_as_json"]

TAILS = {"upper": "adjusted", "lower": "adjusted_lower", "two-sided": "adjusted_two_sided"}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The table of results, the adjusted p-values of one tail, and what was rejected."""

    table: "TestTable"
    labels: tuple[str, ...]
    adjusted: tuple[float, ...]
    rejected: tuple[str, ...]
    tail: str
    correction: str
    alpha: float | None

    @classmethod
    def of(cls, table: "TestTable", arguments: argparse.Namespace) -> "Outcome":
        """Compare the adjusted p-values of the tail asked for with alpha."""
        if not len(table):
            raise _output.UsageError("no test suits these points; see --list -d")
        adjusted = tuple(float(p) for p in getattr(table, TAILS[arguments.tail]))
        labels = tuple(result.label for result in table)
        level = -math.inf if arguments.alpha is None else arguments.alpha
        rejected = tuple(name for name, p in zip(labels, adjusted, strict=True) if p < level)
        return cls(
            table, labels, adjusted, rejected, arguments.tail, table.correction, arguments.alpha
        )

    def as_text(self) -> str:
        """Lay out for reading."""
        first = self.table.results[0]
        heads = ("test", "statistic", "effect", "p", "p lower", "adj. p", "null")
        rows = [
            (
                label,
                f"{float(r.statistic):.6g}",
                f"{float(r.effect_size):.3g}".replace("nan", "-"),
                _probability(float(r.pvalue)),
                _probability(float(r.pvalue_lower)),
                _probability(p),
                r.null,
            )
            for label, r, p in zip(self.labels, self.table, self.adjusted, strict=True)
        ]
        kind = "lines" if first.parameters.get("antipodal") else "points"
        lines = [f"{first.n} {kind} in R^{first.d}", "", *_grid([heads, *rows]), ""]
        lines += [
            "effect: 0 by chance (packing: 1)",
            "p: as clustered by chance; p lower: as regular by chance; "
            f"adj. p: {self.tail} tail, {_corrected(self.correction, len(rows))}",
        ]
        if self.table.skipped:
            lines.append(f"not run: {_left_out(self.table.skipped, first.d)}")
        lines += [f"{label}: {note}" for label, note in self._remarks()]
        return "\n".join([*lines, self._verdict()])

    def _remarks(self) -> "list[tuple[str, str]]":
        pairs = zip(self.labels, self.table, strict=True)
        return [(label, note) for label, result in pairs for note in result.notes]

    def _verdict(self) -> str:
        least = min(range(len(self.labels)), key=lambda j: self.adjusted[j])
        text = f"smallest adjusted p: {_probability(self.adjusted[least])} ({self.labels[least]})"
        if self.alpha is None:
            return text
        names = ", ".join(self.rejected) or "none"
        return f"{text}; below alpha = {self.alpha:g}: {names}"

    def as_json(self, arguments: argparse.Namespace) -> str:
        """Everything, with null where a number is not finite."""
        tests = [
            {"label": label, **result.to_dict(), "pvalue_adjusted": p}
            for label, result, p in zip(self.labels, self.table, self.adjusted, strict=True)
        ]
        content = {
            "schema": "sphuni.test.result",
            "version": 1,
            "file": arguments.path,
            "n": self.table.results[0].n,
            "d": self.table.results[0].d,
            "tail": self.tail,
            "correction": self.correction,
            "alpha": self.alpha,
            "rejected": list(self.rejected),
            "tests": tests,
            "skipped": self.table.skipped,
        }
        return json.dumps(_finite(content), indent=1, allow_nan=False)


def _left_out(skipped: dict[str, str], d: int) -> str:
    """Tests that were left out: by name if they exist in R^d, else their number."""
    from sphuni.stats import available_tests

    here = {info.name for info in available_tests(d)}
    named = [name for name in skipped if name in here]
    other = len(skipped) - len(named)
    parts = [", ".join(named)] if named else []
    parts += [f"{other} for other dimensions"] if other else []
    return "; ".join(parts) + " (--json gives the reasons)"


def _corrected(method: str, count: int) -> str:
    return (
        "not adjusted"
        if method == "none"
        else f"{method} over {count} test{'s' if count > 1 else ''}"
    )


def _probability(p: float) -> str:
    return f"{p:.4f}" if p >= 0.001 else f"{p:.1e}" if p > 0 else "0"


def _grid(rows: "Sequence[Sequence[str]]") -> list[str]:
    """Columns of equal width: names to the left, numbers to the right."""
    widths = [max(len(row[j]) for row in rows) for j in range(len(rows[0]))]
    last = len(widths) - 1
    return [
        "  ".join(
            cell.ljust(width) if j in (0, last) else cell.rjust(width)
            for j, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def catalogue_as_json(tests: "Sequence[TestInfo]") -> str:
    """The list of tests for programs."""
    entries = [dataclasses.asdict(info) | {"null_laws": info.null_laws} for info in tests]
    content = {"schema": "sphuni.tests", "version": 1, "tests": entries}
    return json.dumps(_finite(content), indent=1, allow_nan=False)
