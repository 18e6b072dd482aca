"""Kernels and point sets that every engine must serve alike."""

import torch

import sphuni
from sphuni.kernels import Dirichlet, Gaussian, GegenbauerSeries, Laplace, Poisson, Riesz

EXPONENTS = (-2.0, -1.0, 0.0, 0.5, 1.0, 2.0, 3.5)
BASE = [
    *(Riesz(s, metric) for metric in ("chordal", "geodesic") for s in EXPONENTS),
    Gaussian(1.2),
    Laplace(0.8),
    Poisson(0.5, 3),
    Poisson(0.2, 20),
    GegenbauerSeries((0.2, 1.0, -0.5, 0.25), 3),
    Dirichlet(degree=3),
]
KERNELS = [*BASE, *(kernel.antipodal() for kernel in BASE)]


def points(n, d, *, seed=0, batch=()):
    return torch.from_numpy(sphuni.random_points(n, d, batch=batch, rng=seed))


def close_set(n, d, *, seed=0):
    """Random points of which some have neighbours, or opposites, at angles 1e-3 to 1e-8."""
    x = points(n, d, seed=seed)
    step = points(n, d, seed=seed + 1)
    for row, exponent in enumerate((3, 4, 6, 8)):
        near = x[row] + 10.0**-exponent * step[row]
        x[-1 - row] = near / near.norm() * (-1 if row % 2 else 1)
    return x


def degenerate_set(n, d, *, seed=0):
    """Random points with exact duplicates, among them a triple, and exact antipodes."""
    x = points(n, d, seed=seed)
    x[1], x[2], x[-1] = x[0], x[0], -x[3]
    x[-2] = x[n // 2]
    return x
