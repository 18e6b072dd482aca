"""Measure size and power of every test; see the results in benchmarks/results/.

python -m benchmarks.calibration [sizes] [power] [draw]

"draw" also renews the pictures of the documentation, unless --into names another folder.
"""

import argparse
import shutil
import sys
from pathlib import Path

from benchmarks.calibration import curves, draw, sizes

RESULTS = Path(__file__).parents[1] / "results"
IMAGES = Path(__file__).parents[2] / "docs" / "images"
PICTURES = {"calibration": "stats_sizes.png", "power": "stats_power.png"}


def main() -> int:
    """Run what is named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", choices=[[], "sizes", "power", "draw"])
    parser.add_argument("--minutes", type=float, default=150.0, help="time for sizes")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--only", action="append", default=[], help="this test only")
    parser.add_argument("--fresh", action="store_true", help="forget earlier counts")
    parser.add_argument("--into", type=Path, default=RESULTS, help="folder of the results")
    arguments = parser.parse_args()
    what = arguments.what or ["sizes", "power", "draw"]
    into = arguments.into
    into.mkdir(parents=True, exist_ok=True)
    counts = into / "calibration_counts.csv"
    if "sizes" in what:
        if arguments.fresh:
            counts.unlink(missing_ok=True)
        only = tuple(arguments.only)
        sizes.run(counts, minutes=arguments.minutes, workers=arguments.workers, only=only)
    if "power" in what:
        curves.run(into / "power.csv", workers=arguments.workers)
    if "draw" in what:
        passed, total = sizes.write_table(counts, into / "calibration.csv")
        print(f"{passed} of {total} cells pass")
        figures = {
            "calibration": draw.sizes_figure(counts),
            "power": draw.power_figure(into / "power.csv"),
        }
        for name, figure in figures.items():
            figure.savefig(into / f"{name}.png", dpi=130)
            if into == RESULTS:
                shutil.copyfile(into / f"{name}.png", IMAGES / PICTURES[name])
    return 0


if __name__ == "__main__":
    sys.exit(main())
