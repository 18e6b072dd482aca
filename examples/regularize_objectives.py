"""Minimise each objective alone and print what that does to all the others.

Every row is a training run from one random start, every column an objective: 0 is its value at the
start, 1 its optimum. For 24 rows in 32 dimensions the optimum is that of the simplex in full space
and of orthogonal rows in half space; for 12 rows in 3 dimensions that of the icosahedron. The
optimum of hs-mhp and hs-mhc, on a projection to 3 dimensions, is not known: there 1 is the best of
all runs. Own optima stand on the diagonal.

Run: python examples/regularize_objectives.py [--picture matrix.png]
"""

import argparse
import math

import torch

import sphuni
import sphuni.nn as snn

FULL = ("mhe", "mhs", "mhp", "mhc", "mgd", "r-mhp", "uniformity", "koleo")
ORTHOGONAL = ("orthogonal", "so", "dso", "srip")
HALF = ("hs-mhe", "hs-mhs", "hs-mgd", "mutual-coherence")
PROJECTED = ("hs-mhp", "hs-mhc", "rp-comhe", "ap-comhe", "group-comhe")
UNKNOWN = ("hs-mhp", "hs-mhc")
SOFT = {"minimum": "soft", "sharpness": 200.0}
OPTIONS = {
    "mhs": SOFT,
    "hs-mhs": SOFT,
    "mhp": {"n_aux": 16},
    "mhc": {"n_aux": 16},
    "hs-mhp": {"n_aux": 16, "projection": 3},
    "hs-mhc": {"n_aux": 16, "projection": 3},
    "so": {"normalize": True},
    "dso": {"normalize": True},
    "srip": {"normalize": True, "exact": True},
    "group-comhe": {"size": 12},
}
MEASURED = {**OPTIONS, "mhs": {}, "hs-mhs": {}, "rp-comhe": {"C": 200}, "group-comhe": {"C": 200}}
POLES = {"mhp": snn.mhp, "mhc": snn.mhc}


def minimise(method: str, start: torch.Tensor, steps: int) -> torch.Tensor:
    """Return the weight after `steps` steps of Adam on one objective."""
    objective = snn.build(method, shape=tuple(start.shape), **OPTIONS.get(method, {}))
    weight = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([weight], lr=0.03)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.015 * (1 + math.cos(math.pi * step / steps))
        optimizer.zero_grad()
        objective(weight).backward()
        optimizer.step()
    return weight.detach()


@torch.no_grad()
def measure(method: str, weight: torch.Tensor) -> float:
    """Evaluate one objective, with an exact search for the pole and a learned projection."""
    objective = snn.build(method, shape=tuple(weight.shape), **MEASURED.get(method, {}))
    if method in UNKNOWN:
        rows = objective.read(weight).image[0]
        return POLES[method.removeprefix("hs-")](rows, half_space=True).item()
    if method in POLES:
        return POLES[method](weight).item()
    for _ in range(100 if method == "ap-comhe" else 0):
        objective(weight)
    return objective(weight).item()


def optimum(method: str, n: int, d: int) -> torch.Tensor:
    """Return a set that is optimal for the objective."""
    if n > d:
        return torch.from_numpy(sphuni.configurations.construct("icosahedron"))
    rows = torch.eye(n, d, dtype=torch.float64)
    return rows - rows.mean(0) if method in FULL else rows


def matrix(n: int, d: int, methods: tuple[str, ...], steps: int = 1000) -> torch.Tensor:
    """Return the share of the way to its optimum that every objective was moved by every run."""
    start = torch.randn(n, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    runs = {row: minimise(row, start, steps) for row in methods}
    columns = []
    for column in methods:
        first = measure(column, start)
        reached = torch.tensor([measure(column, weight) for weight in runs.values()])
        known = column not in UNKNOWN
        best = measure(column, optimum(column, n, d)) if known else reached.min().item()
        columns.append((first - reached) / (first - best))
    return torch.stack(columns, dim=1)


def show(title: str, methods: tuple[str, ...], shares: torch.Tensor) -> None:
    """Print the matrix."""
    print(title)
    print(f"{'minimised':>16} " + " ".join(f"{c[:10]:>10}" for c in methods))
    for row, values in zip(methods, shares.tolist(), strict=True):
        print(f"{row:>16} " + " ".join(f"{share:10.3f}" for share in values), flush=True)


def draw(tables: dict[str, tuple[tuple[str, ...], torch.Tensor]], path: str) -> None:
    """Draw the matrices side by side."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        1, len(tables), figsize=(18, 8), width_ratios=(21, 12), layout="constrained"
    )
    for axis, (title, (methods, shares)) in zip(axes, tables.items(), strict=True):
        image = axis.imshow(shares.clamp(-0.5, 1), vmin=-0.5, vmax=1, cmap="RdYlBu")
        axis.set_xticks(range(len(methods)), methods, rotation=60, ha="right")
        axis.set_yticks(range(len(methods)), methods)
        axis.set(title=title, xlabel="measured", ylabel="minimised")
        for i, values in enumerate(shares.tolist()):
            for j, share in enumerate(values):
                color = "white" if share > 0.8 or share < -0.3 else "black"
                place = {"ha": "center", "va": "center", "fontsize": 7, "color": color}
                axis.text(j, i, f"{share:.2f}", **place)
    figure.colorbar(image, ax=axes, label="share of the way to the optimum", shrink=0.8)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Print both matrices."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture")
    path = parser.parse_args().picture
    tables = {}
    everything = (*FULL, *HALF, *ORTHOGONAL, *PROJECTED)
    for n, d, methods in ((24, 32, everything), (12, 3, (*FULL, *ORTHOGONAL))):
        title = f"{n} rows in {d} dimensions"
        tables[title] = methods, matrix(n, d, methods)
        show(title, *tables[title])
    if path:
        draw(tables, path)


if __name__ == "__main__":
    main()
