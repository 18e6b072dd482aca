"""How far the atlas is from every published or putative value: one line per row of the tables.

python -m benchmarks.gaps [PROBLEM ...]

Computes nothing: `make atlas` does that. Positive gaps are worse than the table, negative ones
better. Writes benchmarks/results/gaps.csv.
"""

import csv
import math
import sys
from typing import Any

from benchmarks.__main__ import RESULTS
from benchmarks.atlas import read_rows
from benchmarks.verify import HIGHER, published, size_of

__all__ = ["gaps", "main"]

COLUMNS = ("problem", "d", "s", "n", "table", "digits", "status", "ours", "gap", "hits", "tried")
TOLERANCE = {
    "thomson": 5e-10,
    "tammes": 1e-12,
    "covering": 1e-10,
    "polarization": 1e-10,
    "maxdet": 1e-12,
}
"""Relative for "maxdet", where values reach some hundreds, else absolute."""
COSINE = 5e-15
"""For Tammes' problem in space, whose table has all digits: in the largest cosine."""


def main() -> int:
    """Print and write the table, then a summary by problem and dimension."""
    wanted = sys.argv[1:] or list(TOLERANCE)
    rows = [row for row in gaps() if row["problem"] in wanted]
    with (RESULTS / "gaps.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        print(" ".join(str(row[column]) for column in COLUMNS))
    for problem, d in sorted({(row["problem"], row["d"]) for row in rows}):
        print(summary([row for row in rows if (row["problem"], row["d"]) == (problem, d)]))
    return 0


def gaps() -> list[dict[str, Any]]:
    """Every row of the tables that is no exact code, with our value and its gap."""
    ours = {size_of(row): row for row in read_rows().values()}
    found = []
    for key, old in published().items():
        row = ours.get(key)
        if old["problem"] not in TOLERANCE or (row is None and old["status"] == "proven"):
            continue
        sign = -1 if old["problem"] in HIGHER else 1
        gap = "" if row is None else sign * (float(row["value"]) - float(old["value"]))
        mine = {} if row is None else {name: row[name] for name in ("hits", "tried")}
        known = {name: old[name] for name in ("problem", "d", "s", "n", "digits", "status")}
        value = "" if row is None else row["value"]
        found.append({**known, "table": old["value"], "ours": value, "gap": gap, **mine})
    order = ("problem", "d", "s", "n")
    empty = dict.fromkeys(COLUMNS, "")
    return [
        empty | row
        for row in sorted(
            found, key=lambda r: [r[c] if c == "problem" else _number(r[c]) for c in order]
        )
    ]


def summary(rows: list[dict[str, Any]]) -> str:
    """Count the rows that are met, beaten, worse and not computed."""
    done = [row for row in rows if row["gap"] != ""]
    counts = {"met": 0, "beaten": 0, "worse": 0}
    for row in done:
        counts[_verdict(row)] += 1
    worst = max((row["gap"] for row in done), default=math.nan)
    text = ", ".join(f"{count} {name}" for name, count in counts.items())
    return (
        f"{rows[0]['problem']} d={rows[0]['d']}: {text}, {len(rows) - len(done)} not computed; "
        f"largest gap {worst:.3g}"
    )


def _verdict(row: dict[str, Any]) -> str:
    tolerance = _tolerance(row)
    digits = abs(float(row["table"])) * 10.0 ** (1 - int(row["digits"]))
    if row["gap"] > max(tolerance, 0.5 * digits):
        return "worse"
    return "beaten" if row["gap"] < -max(digits, tolerance) else "met"


def _tolerance(row: dict[str, Any]) -> float:
    table = abs(float(row["table"]))
    if (row["problem"], row["d"]) == ("tammes", "3"):
        return COSINE / math.sin(table)
    return TOLERANCE[row["problem"]] * (table if row["problem"] == "maxdet" else 1.0)


def _number(text: str) -> float:
    return float(text) if text else 0.0


if __name__ == "__main__":
    sys.exit(main())
