"""Run the benchmarks and write one CSV per family to benchmarks/results/.

python -m benchmarks [engine] [analysis] [configurations]
"""

import argparse
import csv
import platform
import sys
from pathlib import Path
from typing import Any

import torch

import sphuni
from benchmarks import analysis, configurations, engine

FAMILIES = {
    "engine": engine.run,
    "analysis": analysis.run,
    "configurations": configurations.run,
}
RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Run the families named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*", choices=[[], *FAMILIES], help="default: all")
    families = parser.parse_args().families or list(FAMILIES)
    for family in families:
        rows = [row | _machine() for row in FAMILIES[family]()]
        _write(RESULTS / f"{family}.csv", rows)
        for row in rows:
            print(_line(row))
    return 0


def _machine() -> dict[str, Any]:
    return {
        "sphuni": sphuni.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": _processor(),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)


def _line(row: dict[str, Any]) -> str:
    hidden = {"sphuni", "torch", "python", "machine"}
    shown = (
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in row.items()
        if key not in hidden
    )
    return "  ".join(shown)


if __name__ == "__main__":
    sys.exit(main())
