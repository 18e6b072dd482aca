"""One Thomson problem from the same start to the same gradient: Riemannian optimisers of others.

n = 100 points, one start, until no point's tangent gradient exceeds 1e-6, one thread. The energy
and gradient of the peers are analytic and vectorised; a peer that has not arrived after its limit
of iterations is marked so. The final energies may differ: from one start different methods find
different minima.
"""

import importlib.util
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.configurations import difference_form, gram_form
from benchmarks.measure import isolated
from sphuni import random_points
from sphuni.configurations.descent._objectives import minimize_energy
from sphuni.configurations.starts._random import spacing
from sphuni.kernels import Riesz

__all__ = ["run"]

N = 100
TOLERANCE = 1e-6
PACKAGES = {
    "sphuni": "torch",
    "scipy L-BFGS-B": "scipy",
    "pymanopt": "pymanopt",
    "geoopt": "geoopt",
}


def run(only: str = "") -> list[dict[str, Any]]:
    """One row per method; ratios need all of them."""
    rows = []
    for method, package in PACKAGES.items():
        row: dict[str, Any] = {"case": f"Thomson n = {N} to a gradient of {TOLERANCE:g}"}
        row["method"] = method
        if importlib.util.find_spec(package) is None:
            rows.append(row | {"status": "absent", "note": f"{package} is not installed"})
        else:
            rows.append(row | isolated(_case, method))
    ours = rows[0].get("seconds")
    for row in rows[1:]:
        if ours and "seconds" in row:
            row["ratio"] = row["seconds"] / ours
    return rows


def _case(method: str) -> dict[str, Any]:
    torch.set_num_threads(1)
    start = random_points(N, 3, rng=0)
    solve = METHODS[method]
    solve(random_points(N, 3, rng=1))
    began = time.process_time()
    points = solve(start)
    seconds = time.process_time() - began
    value, gradient = difference_form(points.ravel())
    largest = float(np.linalg.norm(gradient.reshape(-1, 3), axis=1).max())
    arrived = largest <= 10 * TOLERANCE  # each has its own norm in which it stops
    return {
        "status": "right" if arrived else "stopped early",
        "seconds": seconds,
        "energy": value,
        "gradient": largest,
    }


def _sphuni(start: np.ndarray) -> np.ndarray:
    found = minimize_energy(
        Riesz(1.0),
        torch.from_numpy(start[None]),
        "compiled",
        tolerance=TOLERANCE,
        largest_step=0.4 * spacing(N, 3),
    )
    return np.asarray(found.points[0])


def _scipy(start: np.ndarray) -> np.ndarray:
    from scipy import optimize

    options = {"gtol": TOLERANCE, "ftol": 0.0, "maxiter": 20_000, "maxfun": 100_000}
    found = optimize.minimize(
        gram_form, start.ravel(), jac=True, method="L-BFGS-B", options=options
    )
    points = found.x.reshape(-1, 3)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def _pymanopt(start: np.ndarray) -> np.ndarray:
    import pymanopt

    manifold = pymanopt.manifolds.Oblique(3, N)  # unit columns

    @pymanopt.function.numpy(manifold)
    def cost(columns: np.ndarray) -> float:
        return gram_form(columns.T.ravel())[0]

    @pymanopt.function.numpy(manifold)
    def slope(columns: np.ndarray) -> np.ndarray:
        return gram_form(columns.T.ravel())[1].reshape(-1, 3).T

    problem = pymanopt.Problem(manifold, cost, euclidean_gradient=slope)
    optimizer = pymanopt.optimizers.ConjugateGradient(
        min_gradient_norm=TOLERANCE, min_step_size=1e-16, max_iterations=20_000,
        max_time=120, verbosity=0,
    )  # fmt: skip
    return optimizer.run(problem, initial_point=start.T.copy()).point.T


def _geoopt(start: np.ndarray) -> np.ndarray:
    import geoopt

    points = geoopt.ManifoldParameter(torch.from_numpy(start.copy()), manifold=geoopt.Sphere())
    optimizer = geoopt.optim.RiemannianAdam([points], lr=1e-3)
    for step in range(20_000):
        if step in (10_000, 15_000, 18_000):
            for group in optimizer.param_groups:
                group["lr"] *= 0.1
        _, slope = gram_form(points.detach().numpy().ravel())
        points.grad = torch.from_numpy(slope.reshape(-1, 3))
        if np.linalg.norm(slope.reshape(-1, 3), axis=1).max() <= TOLERANCE:
            break
        optimizer.step()
    return points.detach().numpy()


METHODS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sphuni": _sphuni,
    "scipy L-BFGS-B": _scipy,
    "pymanopt": _pymanopt,
    "geoopt": _geoopt,
}
