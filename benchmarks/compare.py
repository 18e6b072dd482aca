"""What became slower: ratios of one run set against those of an earlier one."""

import csv
from pathlib import Path
from typing import Any

__all__ = ["key", "losses"]

TOLERATED = 0.9


def losses(earlier: Path, rows: list[dict[str, Any]]) -> list[str]:
    """Name every ratio (higher is better) that fell by more than a tenth, and every lost case."""
    now = {key(row): row for row in rows}
    found = []
    with earlier.open(newline="") as stream:
        for old in csv.DictReader(stream):
            case = key(old)
            if case not in now:
                found.append(f"{case}: not run any more")
                continue
            for column in (name for name in old if "ratio" in name and old[name]):
                was, now_is = float(old[column]), now[case].get(column)
                if now_is is None or float(now_is) < TOLERATED * was:
                    found.append(f"{case}: {column} {was:.3g} -> {now_is}")
    return found


def key(row: dict[str, Any]) -> str:
    """A case, with the method where a case has several."""
    return f"{row['case']}, {row['method']}" if row.get("method") else str(row["case"])
