"""Local minimisations of Thomson's problem against scipy and pymanopt, and the time to a record.

Every method starts from the same random points and ends when no point's tangent gradient exceeds
1e-6; times are processor seconds of one thread, so that a busy machine changes ratios little.
scipy gets an analytic gradient written in numpy in two ways: from the Gram matrix by BLAS, and
from differences of coordinates; pymanopt's conjugate gradients get the cost in torch, which it
differentiates itself, and the first of scipy's gradients. Compilation is stated apart. The last row
is the polishing of a packing: from the smooth stand-in's minimum to 1e-14.
"""

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy import optimize
from threadpoolctl import threadpool_limits

from benchmarks.measure import isolated
from sphuni import random_points
from sphuni._rng import seeds
from sphuni.configurations.descent._objectives import minimize_energy
from sphuni.configurations.problems._packings import TammesProblem
from sphuni.configurations.starts._random import random_starts, spacing
from sphuni.kernels import Riesz

__all__ = ["run"]

SIZES = {32: (64, 412.2612746505), 72: (64, 2255.0011909750), 100: (128, 4448.3506343313)}
"""Points to starts of ours and the best known energy."""
SCIPY_STARTS = 8
PYMANOPT_STARTS = 3
PACKING = 50
POLISHED = 8
TOLERANCE = 1e-6

Gradient = Callable[[np.ndarray], tuple[float, np.ndarray]]


def run() -> list[dict[str, Any]]:
    """Run every size in a process of its own and return one row each."""
    return [*(isolated(_case, n, *case) for n, case in SIZES.items()), isolated(_polish, PACKING)]


def _case(n: int, count: int, best: float) -> dict[str, Any]:
    torch.set_num_threads(1)
    starts = random_points(n, 3, batch=count, rng=0)
    compiling, _ = _ours(starts[:1])
    seconds, found = _ours(starts)
    hits = int((found.values < best + 1e-7).sum())
    row = {
        "case": f"Thomson n={n}, to max|gradient| <= {TOLERANCE:g}, one thread",
        "compile_seconds": compiling,
        "ours_ms": 1e3 * seconds / count,
        "iterations": float(found.iterations.double().mean()),
        "converged": float(found.converged.double().mean()),
        "hit_rate": hits / count,
        "expected_seconds_to_best": seconds / max(hits, 1),
    }
    for name, gradient in (("gram", gram_form), ("difference", difference_form)):
        peer = _scipy(gradient, starts[:SCIPY_STARTS])
        row |= {f"scipy_{name}_ms": peer, f"ratio_{name}": peer / row["ours_ms"]}
    for name, peer in _pymanopt(starts[:PYMANOPT_STARTS]).items():
        row |= {f"pymanopt_{name}_ms": peer, f"ratio_pymanopt_{name}": peer / row["ours_ms"]}
    return row


@threadpool_limits.wrap(limits=1)  # as the search does: LAPACK has threads of its own
def _polish(n: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    task, streams = TammesProblem("tammes", n, 3), seeds(0, 32)
    found = task.relax(random_starts(n, 3, 0, streams), streams, "blockwise", math.inf)
    seconds = []
    for index in np.argsort(found.scores)[:POLISHED]:
        spent = []
        for _ in range(3):
            began = time.process_time()
            task.refine(found.points[index])
            spent.append(time.process_time() - began)
        seconds.append(min(spent))
    return {
        "case": f"Tammes n={n}, polishing the best {POLISHED} of 32 starts, one thread",
        "ours_ms": 1e3 * float(np.mean(seconds)),
        "slowest_ms": 1e3 * max(seconds),
    }


def _ours(starts: np.ndarray) -> tuple[float, Any]:
    began = time.process_time()
    found = minimize_energy(
        Riesz(1.0),
        torch.from_numpy(starts),
        "compiled",
        tolerance=TOLERANCE,
        largest_step=0.4 * spacing(starts.shape[1], 3),
    )
    return time.process_time() - began, found


def _scipy(gradient: Gradient, starts: np.ndarray) -> float:
    """Milliseconds per start; ftol = 0 leaves the gradient as the only criterion."""
    options = {"gtol": TOLERANCE, "ftol": 0.0, "maxiter": 20_000, "maxfun": 100_000}
    began = time.process_time()
    for start in starts:
        optimize.minimize(gradient, start.ravel(), jac=True, method="L-BFGS-B", options=options)
    return 1e3 * (time.process_time() - began) / len(starts)


def _pymanopt(starts: np.ndarray) -> dict[str, float]:
    """Milliseconds per start by kind of gradient; empty where pymanopt is not installed."""
    try:
        import pymanopt
    except ImportError:
        return {}
    n = starts.shape[1]
    manifold = pymanopt.manifolds.Oblique(3, n)

    @pymanopt.function.pytorch(manifold)
    def by_torch(x: torch.Tensor) -> torch.Tensor:
        return torch.pdist(x.T).reciprocal().sum()

    @pymanopt.function.numpy(manifold)
    def by_numpy(x: np.ndarray) -> float:
        return gram_form(x.T.ravel())[0]

    @pymanopt.function.numpy(manifold)
    def gradient(x: np.ndarray) -> np.ndarray:
        return gram_form(x.T.ravel())[1].reshape(n, 3).T

    problems = {
        "torch": pymanopt.Problem(manifold, by_torch),
        "numpy": pymanopt.Problem(manifold, by_numpy, euclidean_gradient=gradient),
    }
    optimizer = pymanopt.optimizers.ConjugateGradient(
        verbosity=0, min_gradient_norm=TOLERANCE, max_iterations=20_000, max_time=60
    )
    spent = {}
    for name, problem in problems.items():
        began = time.process_time()
        for start in starts:
            optimizer.run(problem, initial_point=start.T)
        spent[name] = 1e3 * (time.process_time() - began) / len(starts)
    return spent


def gram_form(x: np.ndarray) -> tuple[float, np.ndarray]:
    """Energy and gradient of normalised points by one product and its transpose."""
    unit, norm = _unit(x)
    squared = 2 - 2 * (unit @ unit.T)
    np.fill_diagonal(squared, 1.0)
    inverse = squared**-0.5
    np.fill_diagonal(inverse, 0.0)
    pull = (inverse / squared) @ unit
    return 0.5 * inverse.sum(), _through_norm(pull, unit, norm)


def difference_form(x: np.ndarray) -> tuple[float, np.ndarray]:
    """Energy and gradient of normalised points from all differences of coordinates."""
    unit, norm = _unit(x)
    apart = unit[:, None] - unit[None]
    squared = (apart**2).sum(-1)
    np.fill_diagonal(squared, 1.0)
    inverse = squared**-0.5
    np.fill_diagonal(inverse, 0.0)
    pull = -((inverse / squared)[..., None] * apart).sum(1)
    return 0.5 * inverse.sum(), _through_norm(pull, unit, norm)


def _unit(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows = x.reshape(-1, 3)
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / norm, norm


def _through_norm(pull: np.ndarray, unit: np.ndarray, norm: np.ndarray) -> np.ndarray:
    return ((pull - (pull * unit).sum(1, keepdims=True) * unit) / norm).ravel()
