"""Minimise each objective alone and print what that does to all the others.

Every row is a training run on one 24 x 32 weight, every column an objective (lower is better) as
a fraction of the way from the random start (0) to the best value any row reached (1).

Run: python examples/regularize_objectives.py
"""

import math

import torch

import sphuni.nn as snn

METHODS = ("mhe", "hs-mhe", "mhs", "hs-mhs", "mhp", "mhc", "mgd", "hs-mgd", "r-mhp", "orthogonal")
N, D, STEPS = 24, 32, 300


def minimise(method: str, start: torch.Tensor) -> torch.Tensor:
    """Return the weight after `STEPS` steps of Adam on one objective."""
    options = {"minimum": "soft", "sharpness": 50.0} if method.endswith("mhs") else {}
    objective = snn.build(method, shape=(N, D), **options)
    weight = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([weight], lr=0.03)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = 0.015 * (1 + math.cos(math.pi * step / STEPS))
        optimizer.zero_grad()
        objective(weight).backward()
        optimizer.step()
    return weight.detach()


def measure(method: str, weight: torch.Tensor) -> float:
    """Evaluate one objective, with the exact covering radius and a full search for the pole."""
    exact = {"mhp": snn.mhp, "mhc": snn.mhc}
    return exact.get(method, snn.build(method))(weight).item()


def main() -> None:
    """Print the matrix."""
    start = torch.randn(N, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = {method: minimise(method, start) for method in METHODS}
    first = {method: measure(method, start) for method in METHODS}
    values = {row: {c: measure(c, weights[row]) for c in METHODS} for row in METHODS}
    best = {c: min(values[row][c] for row in METHODS) for c in METHODS}
    print(f"{'minimised':>11} " + " ".join(f"{c:>10}" for c in METHODS))
    for row in METHODS:
        gained = [(first[c] - values[row][c]) / (first[c] - best[c]) for c in METHODS]
        print(f"{row:>11} " + " ".join(f"{share:10.3f}" for share in gained))


if __name__ == "__main__":
    main()
