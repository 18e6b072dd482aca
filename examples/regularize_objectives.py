"""Minimise each objective alone and print what that does to all the others.

Every row is a training run from one random start, every column an objective: 0 is its value at the
start, 1 its optimum. For 24 rows in 32 dimensions the optimum is that of the simplex in full space
and of orthogonal rows in half space; for 12 rows in 3 dimensions that of the icosahedron. Own
optima stand on the diagonal.

Run: python examples/regularize_objectives.py [--picture matrix.png]
"""

import argparse
import math

import torch

import sphuni
import sphuni.nn as snn

METHODS = ("mhe", "hs-mhe", "mhs", "hs-mhs", "mhp", "mhc", "mgd", "hs-mgd", "r-mhp", "orthogonal")
OPTIONS = {
    "mhs": {"minimum": "soft", "sharpness": 200.0},
    "hs-mhs": {"minimum": "soft", "sharpness": 200.0},
    "mhp": {"n_aux": 16},
    "mhc": {"n_aux": 16},
}
EXACT = {"mhp": snn.mhp, "mhc": snn.mhc}


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


def measure(method: str, weight: torch.Tensor) -> float:
    """Evaluate one objective, with the exact covering radius and a full search for the pole."""
    return EXACT.get(method, snn.build(method))(weight).item()


def optimum(method: str, n: int, d: int) -> torch.Tensor:
    """Return a set that is optimal for the objective."""
    half_space = method.startswith("hs-") or (method == "orthogonal" and n <= d)
    if n <= d:
        rows = torch.eye(n, d, dtype=torch.float64)
        return rows if half_space else rows - rows.mean(0)
    return torch.from_numpy(sphuni.configurations.construct("icosahedron"))


def matrix(n: int, d: int, methods: tuple[str, ...], steps: int = 1000) -> torch.Tensor:
    """Return the share of the way to its optimum that every objective was moved by every run."""
    start = torch.randn(n, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    first = {c: measure(c, start) for c in methods}
    best = {c: measure(c, optimum(c, n, d)) for c in methods}
    shares = []
    for row in methods:
        weight = minimise(row, start, steps)
        shares.append([(first[c] - measure(c, weight)) / (first[c] - best[c]) for c in methods])
    return torch.tensor(shares)


def show(title: str, methods: tuple[str, ...], shares: torch.Tensor) -> None:
    """Print the matrix."""
    print(title)
    print(f"{'minimised':>11} " + " ".join(f"{c:>10}" for c in methods))
    for row, values in zip(methods, shares.tolist(), strict=True):
        print(f"{row:>11} " + " ".join(f"{share:10.3f}" for share in values), flush=True)


def draw(tables: dict[str, tuple[tuple[str, ...], torch.Tensor]], path: str) -> None:
    """Draw the matrices side by side."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(tables), figsize=(12, 5), layout="constrained")
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
    full = tuple(m for m in METHODS if not m.startswith("hs-"))
    tables = {}
    for n, d, methods in ((24, 32, METHODS), (12, 3, full)):
        title = f"{n} rows in {d} dimensions"
        tables[title] = methods, matrix(n, d, methods)
        show(title, *tables[title])
    if path:
        draw(tables, path)


if __name__ == "__main__":
    main()
