"""Energies of arc lengths: kinks at opposite points."""

import math

import numpy as np
import pytest
import torch

from sphuni.configurations import construct, optimize
from sphuni.configurations.descent import _opposites
from sphuni.configurations.descent._opposites import polish, state_of, ties_of
from sphuni.configurations.descent.polish import kernel_derivatives, newton
from sphuni.distributions import random_points
from sphuni.kernels import Riesz


def energy(points, s):
    angles = [
        2 * math.atan2(np.linalg.norm(x - y), np.linalg.norm(x + y))
        for i, x in enumerate(points)
        for y in points[i + 1 :]
    ]
    return math.fsum(math.copysign(a**-s, s) if s else -math.log(a) for a in angles)


@pytest.mark.parametrize("s", [pytest.param(1.0, marks=pytest.mark.slow), -0.5])
@pytest.mark.parametrize(
    ("n", "d", "symmetry"), [(6, 3, 48), pytest.param(8, 4, 384, marks=pytest.mark.slow)]
)
def test_sets_of_opposite_points_are_certified(n, d, symmetry, s):
    result = optimize("riesz", n=n, d=d, s=s, metric="geodesic", restarts=8)
    certificate = result.certificate
    assert certificate.residual < 1e-12
    assert certificate.smallest_eigenvalue > 0.1
    assert certificate.symmetry_order == symmetry
    assert result.value == pytest.approx(energy(result.points, s), rel=1e-13)
    assert result.value - certificate.bound < 1e-4 * abs(result.value)
    assert "found repeatedly" in result.advice


@pytest.mark.parametrize("n", [4, pytest.param(7, marks=pytest.mark.slow)])
def test_the_sum_of_angles_has_its_known_maximum(n):
    result = optimize("riesz", n=n, d=3, s=-1.0, metric="geodesic", restarts=8)
    assert -result.value == pytest.approx(math.pi * (n * n // 4), rel=1e-9)
    assert "optimal" in result.advice


@pytest.mark.parametrize("lines", [False, True])
def test_powers_above_the_first_gather_all_points(lines):
    result = optimize("riesz", n=5, d=3, s=-1.5, metric="geodesic", antipodal=lines)
    assert result.status == "closed form"
    pairs = 25 if lines else 6
    assert -result.value == pytest.approx(pairs * math.pi**1.5, rel=1e-9)
    rivals = [energy(random_points(5, 3, rng=k), -1.5) for k in range(20)]
    assert lines or min(rivals) > result.value


@pytest.mark.slow
def test_moving_any_point_of_a_certified_set_costs_energy():
    result = optimize("riesz", n=7, d=3, s=1.0, metric="geodesic", restarts=8)
    rng = np.random.default_rng(0)
    for size in (1e-2, 1e-4):
        for _ in range(50):
            moved = result.points + size * rng.standard_normal(result.points.shape)
            moved /= np.linalg.norm(moved, axis=1, keepdims=True)
            assert energy(moved, 1.0) > result.value - 1e-12


def test_without_opposite_points_it_is_newtons_method():
    x = torch.from_numpy(random_points(5, 3, rng=3))
    kernel = Riesz(1.0, "geodesic")
    ours, plain = state_of(kernel, x), newton(kernel_derivatives(kernel), x, iterations=0)
    assert ours.gradient == pytest.approx(plain.gradient)
    assert ours.smallest_eigenvalue == pytest.approx(plain.smallest_eigenvalue)


def test_a_force_beyond_the_cone_is_a_residual():
    crowd = torch.tensor(
        [[0.0, 0, 1], [0, 0, -1], [0.1, 0, 1], [0.1, 0.05, 1]], dtype=torch.float64
    )
    crowd /= crowd.norm(dim=1, keepdim=True)
    ties, _ = ties_of(crowd)
    assert ties.pairs.tolist() == [[0, 1]]
    assert state_of(Riesz(1.0, "geodesic"), crowd).gradient > 1


def test_nearly_opposite_points_become_opposite():
    octahedron = torch.cat([torch.eye(3), -torch.eye(3)]).double()
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal((6, 3)))
    start = octahedron + 0.02 * noise
    start /= start.norm(dim=1, keepdim=True)
    found = polish(Riesz(1.0, "geodesic"), start)
    ties, rows = ties_of(found)
    assert len(ties.pairs) == 3
    assert torch.allclose(rows @ rows.T, torch.eye(3).double(), atol=1e-12)


@pytest.mark.parametrize(("n", "d"), [(4, 4), (5, 5), (6, 5)])
def test_simplices_are_found_repeatedly_and_to_full_precision(n, d):
    result = optimize("riesz", n=n, d=d, s=1.0, metric="geodesic", engine="blockwise")
    assert result.certificate.residual < 1e-13
    assert result.hits > 1
    assert result.advice == "found repeatedly"
    gram = result.points @ result.points.T
    assert gram[~np.eye(n, dtype=bool)] == pytest.approx(-1 / (n - 1), abs=1e-13)


def test_equal_energies_are_told_apart_by_their_balance():
    kernel = Riesz(1.0, "geodesic")
    simplex = torch.from_numpy(construct("simplex_3"))
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal((4, 3)))
    start = simplex + 3e-9 * noise
    start /= start.norm(dim=1, keepdim=True)
    assert state_of(kernel, start).gradient > 1e-9
    assert state_of(kernel, polish(kernel, start)).gradient < 1e-14


def test_newton_takes_no_step_after_the_deadline():
    x = torch.from_numpy(random_points(6, 3, rng=0))
    found = newton(kernel_derivatives(Riesz(1.0)), x, deadline=0.0)
    assert torch.equal(found.points, x)
    assert math.isfinite(found.smallest_eigenvalue)


def test_coincident_points_have_no_hessian_and_no_crash():
    poles = torch.tensor([[0.0, 0, 1], [0, 0, 1], [0, 0, -1]], dtype=torch.float64)
    assert math.isnan(newton(kernel_derivatives(Riesz(-1.5)), poles).smallest_eigenvalue)


def test_late_polishing_tries_one_way_of_tying(monkeypatch):
    calls = []

    def counted(*args, **options):
        calls.append(args)
        return newton(*args, **options)

    monkeypatch.setattr(_opposites, "newton", counted)
    points = torch.from_numpy(random_points(6, 3, rng=0))
    polish(Riesz(1.0, "geodesic"), points, 0.0)
    assert len(calls) == 1
