"""Draw the pictures of the pages on tests of uniformity.

python docs/stats_pictures.py tests/data/comets_ccf09.csv     # inclinations and nodes, in radians
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from sphuni import plots, random_points
from sphuni.distributions import von_mises_fisher, watson
from sphuni.special import cosine_density
from sphuni.stats import build_test
from sphuni.stats.alternatives import minimum_energy

IMAGES = Path(__file__).parent / "images"
DPI = 130


def main() -> None:
    """Draw all pictures; without a file of comets girdle-like points take their place."""
    comets = _orbits(sys.argv[1]) if len(sys.argv) > 1 else watson(208, 3, kappa=-0.7, rng=1)
    for name, figure in (
        ("sobolev", sobolev(comets)),
        ("projected", projected(comets)),
        ("circular", circular()),
        ("packing", packing()),
        ("highdim", high_dimension()),
    ):
        figure.savefig(IMAGES / f"stats_{name}.png", dpi=DPI)


def sobolev(x: np.ndarray) -> Figure:
    """Kernels of some tests, and the law of one with the statistic of the points."""
    figure = Figure(figsize=(9.6, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    t = np.linspace(-1.0, 0.999, 600)
    for name, dash in (
        ("rayleigh", "--"), ("bingham", ":"), ("ajne", "-."), ("gine_gn", (0, (5, 1))),
        ("bakshaev", "-"), ("poisson", (0, (1, 1))),
    ):  # fmt: skip
        test = build_test(name)
        values = test.values(t, 3) / np.sqrt(test.second_moment(3))
        left.plot(np.degrees(np.arccos(t)), values, ls=dash, lw=1.6, label=name)
    left.axhline(0, color="#5b6470", lw=0.6)
    left.set(xlabel="angle between two points, degrees", ylabel="kernel ψ, in its deviations")
    left.set_ylim(-3, 5.5)
    left.spines[["top", "right"]].set_visible(False)
    left.legend(frameon=False, fontsize="small")
    plots.null_density(x, "gine_gn", ax=right)
    return figure


def projected(x: np.ndarray) -> Figure:
    """Projections of a sample of the sphere, and of points with one mode in R^10."""
    figure = Figure(figsize=(9.6, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    plots.projected_ecdf(x, ax=left)
    left.set_title(f"n = {len(x)}, d = 3", fontsize="medium")
    plots.projected_ecdf(von_mises_fisher(150, 10, kappa=3.0, rng=0), ax=right)
    right.set_title("one mode, n = 150, d = 10", fontsize="medium")
    return figure


def circular() -> Figure:
    """One mode, and two opposite modes, with the law of Kuiper's test."""
    figure = Figure(figsize=(11.5, 3.6), layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=(1, 1, 1.25))
    one = von_mises_fisher(60, 2, kappa=0.7, rng=4)
    plots.circle(one, ax=axes[0])
    axes[0].set_title("one mode", fontsize="medium")
    plots.circle(watson(60, 2, kappa=2.5, rng=1), ax=axes[1])
    axes[1].set_title("two opposite modes", fontsize="medium")
    plots.null_density(one, "kuiper", ax=axes[2])
    return figure


def packing() -> Figure:
    """Uniform and repelling points, and where their closest pairs lie in the null law."""
    figure = Figure(figsize=(11.5, 6.4), layout="constrained")
    axes = figure.subplots(2, 2, width_ratios=(1.7, 1))
    for row, (title, x) in zip(
        axes,
        (
            ("uniform points", random_points(100, 3, rng=3)),
            ("the same after 12 steps of repulsion", minimum_energy(100, 3, steps=12, rng=3)),
        ),
        strict=True,
    ):
        plots.sphere(x, ax=row[0])
        row[0].set_title(title, fontsize="medium")
        plots.null_density(x, "packing", ax=row[1])
    return figure


def high_dimension() -> Figure:
    """The cosine of two uniform points as d grows."""
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    axes = figure.subplots()
    t = np.linspace(-0.999, 0.999, 1001)
    for d, dash in ((3, ":"), (10, "-."), (64, "--"), (512, "-")):
        axes.plot(t, np.asarray(cosine_density(t, d)), ls=dash, lw=1.5, label=f"d = {d}")
    axes.set(xlabel="cosine of two uniform points", ylabel="density", xlim=(-1, 1), ylim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small")
    return figure


def _orbits(path: str) -> np.ndarray:
    inclination, node = np.loadtxt(path, delimiter=",", skiprows=1).T
    flat = np.sin(inclination)
    return np.stack([flat * np.cos(node), flat * np.sin(node), np.cos(inclination)], axis=1)


if __name__ == "__main__":
    main()
