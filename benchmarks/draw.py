"""Time against n, log-log, with the roofline of the machine: a picture per family of ladders.

python -m benchmarks.draw
"""

import csv
import re
from collections import defaultdict
from pathlib import Path

import matplotlib.pyplot as plt

RESULTS = Path(__file__).parent / "results"
INK, GRID = "#333333", "#dddddd"
OURS = ("#1f5fa8", "#2a9d8f", "#7b4ea3", "#c2571a")
PEERS = ("#999999", "#bb8899", "#8a9a5b")


def main() -> None:
    """Read scaling.csv and draw."""
    with (RESULTS / "scaling.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    families: dict[str, dict[str, list[dict[str, str]]]] = defaultdict(lambda: defaultdict(list))
    slopes = {row["method"]: row for row in rows if row.get("exponent")}
    for row in rows:
        if row.get("seconds"):
            families[row["family"]][row["method"]].append(row)
    for family, methods in families.items():
        name = re.sub(r"\W+", "_", family)
        draw(family, methods, slopes, RESULTS / f"scaling_{name}.png")


def draw(
    family: str,
    methods: dict[str, list[dict[str, str]]],
    slopes: dict[str, dict[str, str]],
    path: Path,
) -> None:
    """One picture: a line per method, named at its end in the legend with its exponent."""
    figure, axes = plt.subplots(figsize=(7.5, 5.0), layout="constrained")
    colours = {True: iter(OURS), False: iter(PEERS)}
    for method, rows in methods.items():
        n = [int(row["n"]) for row in rows]
        seconds = [float(row["seconds"]) for row in rows]
        peer = any(word in method for word in ("cdist", "FMM3D", "scipy"))
        found = slopes.get(method)
        of = f"   {_law(found)}" if found else ""
        axes.loglog(
            n, seconds, "--o" if peer else "-o", color=next(colours[not peer]), label=method + of
        )
        roof = [float(row["roofline_seconds"]) for row in rows if row.get("roofline_seconds")]
        if roof:
            label = "roofline: operations at the rate of a matrix product"
            axes.loglog(n[: len(roof)], roof, color=INK, linewidth=1, linestyle=":", label=label)
    axes.set_xlabel("n, number of points")
    axes.set_ylabel("processor seconds, one thread")
    axes.set_title(f"Time against n: {family}", loc="left", fontsize=11)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _law(found: dict[str, str]) -> str:
    base = "n" if found["of"] == "n" else f"({found['of']})"
    return f"{base}$^{{{float(found['exponent']):.2f}}}$"


if __name__ == "__main__":
    main()
