"""What became slower: ratios of one run set against those of an earlier one."""

import csv
from pathlib import Path
from typing import Any

__all__ = ["earlier_rows", "key", "losses"]

TOLERATED = 0.9


def earlier_rows(where: Path, family: str, only: str = "") -> list[dict[str, Any]]:
    """Rows of a family from a folder of results, or from its file; none if the folder has none."""
    path = where / f"{family}.csv" if where.is_dir() else where
    if where.is_dir() and not path.exists():
        return []
    with path.open(newline="") as stream:
        return [row for row in csv.DictReader(stream) if only in str(row["case"])]


def losses(earlier: list[dict[str, Any]], rows: list[dict[str, Any]]) -> list[str]:
    """Name what fell by more than a tenth, of ratios and fractions, and every lost case."""
    now = {key(row): row for row in rows}
    found = []
    for old in earlier:
        case = key(old)
        if case not in now:
            found.append(f"{case}: not run any more")
            continue
        for column in (name for name in old if _compared(name) and old[name]):
            was, now_is = float(old[column]), now[case].get(column)
            if now_is in (None, "") or float(now_is) < TOLERATED * was:
                found.append(f"{case}: {column} {was:.3g} -> {now_is}")
    return found


def _compared(column: str) -> bool:
    """Whether a column is a ratio of this run, so that higher is better on any machine."""
    return not {"ratio", "fraction"}.isdisjoint(column.split("_"))


def key(row: dict[str, Any]) -> str:
    """A case, with the method where a case has several."""
    return f"{row['case']}, {row['method']}" if row.get("method") else str(row["case"])
