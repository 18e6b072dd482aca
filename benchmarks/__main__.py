"""Run the benchmarks and write one CSV per family to benchmarks/results/.

python -m benchmarks [FAMILY ...] [--only TEXT] [--compare PATH] [--machine NAME]

Families: engine, threads, separation, layers, descent, scaling, ring, analysis, configurations,
statistics, training, training_cost, million, gpu (says so and writes nothing where there is none).
Peers that are not installed are named as absent (`make bench` installs them). The commands
`python -m benchmarks.draw` and `python -m benchmarks.readme` turn the results into pictures and
into the README's tables. Calibration of the tests and the atlas of configurations have commands of
their own, see the Makefile: they take hours and resume.
"""

import argparse
import csv
import inspect
import io
import platform
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

import sphuni
from benchmarks import (
    analysis,
    configurations,
    descent,
    engine,
    gpu,
    layers,
    million,
    ring,
    scaling,
    separation,
    statistics,
    threads,
    training,
    training_cost,
)
from benchmarks.compare import earlier_rows, key, losses
from sphuni._files import write_text

FAMILIES = {
    "engine": engine.run,
    "threads": threads.run,
    "separation": separation.run,
    "layers": layers.run,
    "descent": descent.run,
    "scaling": scaling.run,
    "ring": ring.run,
    "analysis": analysis.run,
    "configurations": configurations.run,
    "statistics": statistics.run,
    "training": training.run,
    "training_cost": training_cost.run,
    "million": million.run,
    "gpu": gpu.run,
}
RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Run the families named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*", metavar="FAMILY", help="default: all")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name has this")
    parser.add_argument("--compare", type=Path, metavar="PATH", help="earlier results: CSV, folder")
    parser.add_argument(
        "--machine",
        default="",
        metavar="NAME",
        help="keep these results beside those of the first machine, as FAMILY_NAME.csv",
    )
    arguments = parser.parse_args()
    for unknown in set(arguments.families) - set(FAMILIES):
        parser.error(f"there is no family {unknown!r}, but {', '.join(FAMILIES)}")
    if arguments.compare and not arguments.compare.exists():
        parser.error(f"--compare: there is no {str(arguments.compare)!r}")
    if arguments.compare and arguments.compare.is_file() and len(arguments.families) != 1:
        parser.error("--compare with a file needs the one family that the file is of")
    lost = []
    for family in arguments.families or list(FAMILIES):
        name = "_".join(filter(None, (family, arguments.machine)))
        path, rows = RESULTS / f"{name}.csv", []
        where = arguments.compare
        earlier = earlier_rows(where, name, arguments.only) if where else []
        for row in _rows_of(family, arguments.only):
            rows.append(row | _machine())
            print(_line(row), flush=True)
            _write(path, rows, keep=True)
        if rows and not arguments.only:
            _write(path, rows, keep=False)
        if where and not earlier:
            print(f"{family}: nothing to compare in {where}", file=sys.stderr)
        lost += losses(earlier, rows)
    print("".join(f"LOST {line}\n" for line in lost), end="", file=sys.stderr)
    return 1 if lost else 0


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


def _rows_of(family: str, only: str) -> Iterable[dict[str, Any]]:
    run = FAMILIES[family]
    return run(only) if "only" in inspect.signature(run).parameters else run()


def _write(path: Path, rows: list[dict[str, Any]], *, keep: bool) -> None:
    """Write the rows; with `keep` those of other cases stay in the file, and all in their order."""
    if keep and path.exists():
        new = {key(row): row for row in rows}
        with path.open(newline="") as stream:
            rows = [new.pop(key(row), row) for row in csv.DictReader(stream)] + list(new.values())
    columns = list(dict.fromkeys(key for row in rows for key in row))
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, columns)
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, stream.getvalue())


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
