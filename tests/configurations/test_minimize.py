import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from sphuni import normalize, random_points
from sphuni._rng import seeds
from sphuni.configurations import construct, fibonacci_sphere, optimize, symmetry_order
from sphuni.configurations._clock import OutOfTimeError
from sphuni.configurations.descent import _objectives, polish
from sphuni.configurations.descent._log_energy import _Power, log_energy, steepness
from sphuni.configurations.descent._native import minimize_native
from sphuni.configurations.descent._objectives import choose_engine, energy_objective
from sphuni.configurations.descent._packing_energy import packing_energy
from sphuni.configurations.descent.minimize import _first_values, minimize
from sphuni.configurations.descent.polish import (
    exact_sum,
    kernel_derivatives,
    newton,
    rotation_modes,
    tangent_basis,
)
from sphuni.configurations.problems import _energies
from sphuni.configurations.problems._determinants import (
    MaxdetProblem,
    _logdet_derivatives,
    _minus_logdet,
)
from sphuni.configurations.problems._resolve import resolve
from sphuni.configurations.starts._moves import into_a_hole, shake_a_cap, turn_a_cap
from sphuni.configurations.starts._orbits import _group, symmetric_points
from sphuni.configurations.starts._random import random_starts
from sphuni.configurations.starts._stored import _stored, stored_neighbours
from sphuni.geometry import covering_radius
from sphuni.kernels import Dirichlet, Gaussian, GegenbauerSeries, Riesz
from sphuni.pairwise import pair_reduce


def starts(n, d, batch, seed=0):
    return torch.from_numpy(random_points(n, d, batch=batch, rng=seed))


def geodesic(points, move, length):
    norm = move.norm(dim=1, keepdim=True)
    return points * torch.cos(length * norm) + move / norm * torch.sin(length * norm)


def check_derivatives(energy, derivatives, points):
    torch.manual_seed(1)
    basis = tangent_basis(points)
    coordinates = torch.randn(*points.shape[:1], points.shape[1] - 1, dtype=torch.float64)
    move = torch.einsum("nde,ne->nd", basis, coordinates)
    gradient, hessian = derivatives(points)
    h = 1e-4
    high, middle, low = (energy(geodesic(points, move, k * h)) for k in (1, 0, -1))
    assert (high - low) / (2 * h) == pytest.approx(float((gradient * move).sum()), rel=1e-5)
    flat = coordinates.reshape(-1)
    assert (high - 2 * middle + low) / h**2 == pytest.approx(float(flat @ hessian @ flat), rel=1e-3)


@pytest.mark.parametrize(
    "kernel",
    [Riesz(1.0), Riesz(0.0), Riesz(2.5), Riesz(1.0, "geodesic"), Gaussian(1.3)],
    ids=lambda k: k.label,
)
@pytest.mark.parametrize("d", [3, 5])
def test_kernel_derivatives_match_differences(kernel, d):
    def energy(points):
        return float(pair_reduce(points, kernel=kernel))

    check_derivatives(energy, kernel_derivatives(kernel), starts(7, d, 1, seed=d)[0])


def test_antipodal_derivatives_match_differences():
    kernel = Riesz(1.0).antipodal()
    check_derivatives(
        lambda x: float(pair_reduce(x, kernel=kernel)),
        kernel_derivatives(kernel),
        starts(6, 3, 1)[0],
    )


@pytest.mark.parametrize("kernel", [Dirichlet(degree=2), Gaussian(1.0)], ids=lambda k: k.label)
def test_logdet_derivatives_match_differences(kernel):
    objective = _minus_logdet(kernel)
    check_derivatives(
        lambda x: float(objective(x.T[..., None])[0]),
        _logdet_derivatives(kernel),
        starts(9, 3, 1)[0],
    )


@pytest.mark.parametrize("lines", [False, True])
def test_packing_gradient_matches_autograd(lines):
    planes = starts(6, 3, 2).permute(2, 1, 0).contiguous().requires_grad_()
    a, p0 = torch.tensor([3.0, 9.0]).double(), torch.tensor([0.5, 0.2]).double()
    value, gradient = packing_energy(lines, compiled=False)(planes, a, p0)
    (expected,) = torch.autograd.grad(value.sum(), planes)
    # q = 4 - p holds on the sphere only: compare what is tangent to it
    radial = ((gradient - expected) * planes).sum(0) * planes
    assert torch.allclose(gradient - radial, expected, atol=1e-10)


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize(("n", "d"), [(2, 2), (7, 3), (40, 3), (33, 8)])
def test_native_packing_sums_are_those_of_the_planes(n, d, lines):
    planes = starts(n, d, 3).permute(2, 1, 0).contiguous()
    a, p0 = torch.tensor([2.0, 9.0, 40.0]).double(), torch.tensor([0.5, 0.2, 0.1]).double()
    plain = packing_energy(lines, compiled=False)(planes, a, p0)
    native = packing_energy(lines, compiled=True)(planes, a, p0)
    for one, other in zip(native, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_powers_of_kernels_have_the_derivatives_of_their_values():
    power = _Power(Gaussian(2.0), 0.4)
    t = torch.linspace(-0.9, 0.9, 7, dtype=torch.float64, requires_grad=True)
    p, q = 2 - 2 * t, 2 + 2 * t
    (slope,) = torch.autograd.grad(power(t).sum(), t)
    torch.testing.assert_close(power.derivative(p, q), slope)
    (bend,) = torch.autograd.grad(power.derivative(p, q).sum(), t)
    torch.testing.assert_close(power.second(p, q), bend)


def test_the_gradient_of_the_log_energy_is_that_of_the_logarithm():
    rows = random_points(5, 3, rng=0)
    planes = torch.from_numpy(rows.T[..., None].copy())
    value, gradient = log_energy(Gaussian(3.0), 0.5, 4.0, 3)(planes)
    plain = energy_objective(Gaussian(3.0 * 0.5**0.5), 3, "blockwise")(planes)
    torch.testing.assert_close(value, plain[0].log() / 4)
    torch.testing.assert_close(gradient, plain[1] / plain[0] / 4)
    assert steepness(Riesz(6.0), 0.7) == pytest.approx(3.0)
    assert steepness(Gaussian(100.0), 1.0) == float("inf")


def test_every_lane_reaches_the_icosahedron():
    found = minimize(energy_objective(Riesz(1.0), 3, "blockwise"), starts(12, 3, 8))
    assert found.converged.all()
    assert found.values.numpy() == pytest.approx(49.16525305762876, abs=1e-9)
    assert torch.allclose(found.points.norm(dim=-1), torch.ones(8, 12).double(), atol=1e-14)
    assert (found.gradient <= 1e-6).all()


def test_a_lane_does_not_depend_on_its_neighbours():
    objective = energy_objective(Riesz(1.0), 3, "blockwise")
    many = starts(10, 3, 6)
    together = minimize(objective, many)
    alone = minimize(objective, many[2:3])
    assert alone.values[0] == pytest.approx(float(together.values[2]), rel=1e-12)
    assert alone.iterations[0] == together.iterations[2]


def test_lanes_with_their_own_parameters():
    def scaled(x, strength):
        value = (strength * x[2].sum(0)).clone()
        gradient = torch.zeros_like(x)
        gradient[2] = strength
        return value, gradient

    strength = torch.tensor([1.0, 2.0, 5.0]).double()
    found = minimize(scaled, starts(3, 3, 3), parameters=[strength], largest_step=0.5)
    assert torch.allclose(found.points[..., 2], -torch.ones(3, 3).double(), atol=1e-9)
    assert torch.allclose(found.values, -3 * strength)


def test_a_deadline_returns_unfinished_lanes():
    objective = energy_objective(Riesz(1.0), 3, "blockwise")
    given = starts(30, 3, 2)
    found = minimize(objective, given, deadline=time.monotonic() - 1)
    assert not found.converged.any()
    assert torch.equal(found.points, given)


def test_newton_reaches_rounding():
    rough = minimize(energy_objective(Riesz(1.0), 3, "blockwise"), starts(32, 3, 4), tolerance=1e-4)
    best = rough.points[rough.values.argmin()]
    polished = newton(kernel_derivatives(Riesz(1.0)), best)
    assert polished.gradient < 1e-13
    assert polished.smallest_eigenvalue == pytest.approx(1.1625383619, abs=1e-8)
    assert polished.flat_modes == 0


def test_rotations_are_flat_directions():
    points = starts(9, 4, 1)[0]
    modes = rotation_modes(points)
    assert modes.shape == (27, 6)
    assert torch.allclose(modes.T @ modes, torch.eye(6).double(), atol=1e-12)
    gradient, _ = kernel_derivatives(Riesz(1.0))(points)
    along = torch.einsum("nd,nde->ne", gradient, tangent_basis(points)).reshape(-1)
    assert float((modes.T @ along).abs().max()) < 1e-10


def test_engine_choice_depends_on_sizes_only(monkeypatch):
    monkeypatch.setattr(_objectives, "compiled_kind", lambda kernel, d: "native")
    assert choose_engine("auto", 12, 3, 64) == "blockwise"
    assert choose_engine("auto", 200, 3, 64) == "compiled"
    assert choose_engine("auto", 200, 12, 64) == "blockwise"
    monkeypatch.setattr(_objectives, "compiled_kind", lambda kernel, d: None)
    assert choose_engine("auto", 200, 3, 64) == "blockwise"


COMPILED = """
import numpy as np, torch
from sphuni import normalize, random_points
from sphuni.configurations.descent._packing_energy import packing_energy
from sphuni.configurations.descent._objectives import energy_objective
from sphuni.configurations.descent.minimize import minimize
from sphuni.kernels import Riesz

for n in (20, 31):
    given = torch.from_numpy(random_points(n, 3, batch=5, rng=0))
    plain = minimize(energy_objective(Riesz(1.0), 3, "blockwise"), given)
    fast = minimize(energy_objective(Riesz(1.0), 3, "compiled"), given, compiled=True)
    assert fast.converged.all()
    np.testing.assert_allclose(np.sort(fast.values), np.sort(plain.values), rtol=1e-10)

a, p0 = torch.tensor([3.0, 9.0]).double(), torch.tensor([0.5, 0.2]).double()
planes = torch.from_numpy(random_points(6, 3, batch=2, rng=0)).permute(2, 1, 0).contiguous()
for lines in (False, True):
    fast, plain = (packing_energy(lines, compiled)(planes, a, p0) for compiled in (True, False))
    for one, other in zip(fast, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("cpp_compiler")
def test_the_compiled_engine_agrees():
    # in a process of its own: torch.compile cannot trace the type checks that these tests add
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("n", "d", "count"),
    [(12, 3, 6), *(pytest.param(*case, 16, marks=pytest.mark.slow) for case in ((12, 3), (24, 4)))],
)
def test_native_loops_find_the_minima_of_the_planes(n, d, count):
    starts = torch.from_numpy(random_starts(n, d, 5, seeds(0, count)))
    options = {"tolerance": 1e-7, "largest_step": 0.2}
    found = minimize_native(Riesz(1.0), starts, **options)
    plain = minimize(energy_objective(Riesz(1.0), d, "blockwise"), starts, **options)
    assert bool(found.converged.all())
    assert float(found.gradient.max()) <= 1e-7
    assert torch.linalg.vector_norm(found.points, dim=-1).numpy() == pytest.approx(1, abs=1e-14)
    same = (found.values - plain.values).abs() < 1e-9
    assert float(same.double().mean()) > 0.7
    assert float(found.values.min()) == pytest.approx(float(plain.values.min()), abs=1e-10)


def test_a_native_lane_does_not_depend_on_the_others():
    starts = torch.from_numpy(random_starts(9, 3, 5, seeds(0, 6)))
    together = minimize_native(Riesz(1.0), starts)
    alone = minimize_native(Riesz(1.0), starts[3:4])
    assert torch.equal(together.points[3], alone.points[0])
    assert int(together.iterations[3]) == int(alone.iterations[0])


def test_starts_side_by_side_end_where_they_would_alone():
    starts = torch.from_numpy(random_starts(12, 3, 5, seeds(0, 40)))
    together = minimize_native(Riesz(1.0), starts, tolerance=1e-9)
    alone = [minimize_native(Riesz(1.0), one[None], tolerance=1e-9) for one in starts]
    assert bool(together.converged.all())
    assert [float(one.values[0]) for one in alone] == pytest.approx(together.values.tolist())
    again = minimize_native(Riesz(1.0), starts, tolerance=1e-9)
    assert torch.equal(together.points, again.points)


def test_coincident_points_part_in_native_loops():
    starts = torch.from_numpy(random_starts(6, 3, 5, seeds(0, 12)))
    starts[3, 1] = starts[3, 0]
    found = minimize_native(Riesz(1.0), starts, tolerance=1e-9)
    others = [k for k in range(12) if k != 3]
    assert bool(found.converged[others].all())
    assert found.values[others].tolist() == pytest.approx([9.985281374238570] * 11)


def test_native_loops_stop_at_the_limit_and_say_so():
    starts = torch.from_numpy(random_starts(9, 3, 5, seeds(0, 3)))
    found = minimize_native(Riesz(1.0), starts, max_iterations=5)
    assert not bool(found.converged.any())
    assert found.iterations.tolist() == [5, 5, 5]
    assert bool(torch.isfinite(found.values).all())


def test_native_loops_stop_at_the_clock_with_what_they_have():
    starts = torch.from_numpy(random_starts(9, 3, 5, seeds(0, 3)))
    found = minimize_native(Riesz(1.0), starts, deadline=time.monotonic() + 1e-3, tolerance=0.0)
    assert not bool(found.converged.any())
    assert int(found.iterations.max()) < 20_000


@pytest.mark.parametrize(
    ("name", "order", "axes"),
    [("C3", 3, [1, 1]), ("D2", 4, [2, 2, 2]), ("T", 12, [4, 4, 6]), ("I", 60, [12, 20, 30])],
)
def test_rotation_groups(name, order, axes):
    group, orbits = _group(name)
    assert group.shape == (order, 3, 3)
    assert np.einsum("gij,gkj->gik", group, group) == pytest.approx(
        np.broadcast_to(np.eye(3), (order, 3, 3)), abs=1e-12
    )
    assert sorted(map(len, orbits)) == axes


@pytest.mark.parametrize("n", [20, 31, 47, 200])
def test_symmetric_points_are_carried_into_themselves(n):
    rng = np.random.default_rng(n)
    for _ in range(4):
        points = symmetric_points(n, rng)
        assert points.shape == (n, 3)
        assert np.linalg.norm(points, axis=1) == pytest.approx(1)
        assert symmetry_order(points) > 1


def test_moves_change_what_they_should():
    points = fibonacci_sphere(40)
    rng = np.random.default_rng(0)
    moved = into_a_hole(points, rng, np.arange(40.0))
    kept = np.abs(points[:, None] - moved).sum(-1).min(1) == 0
    assert kept.sum() == 39
    assert not kept[-20:].all()
    for move in (shake_a_cap(points, rng, 0.1), turn_a_cap(points, rng)):
        same = (points == move).all(1)
        assert 20 <= same.sum() < 40
        assert np.linalg.norm(move, axis=1) == pytest.approx(1)
    turned = turn_a_cap(points, rng)
    inside = ~(points == turned).all(1)
    assert turned[inside] @ turned[inside].T == pytest.approx(points[inside] @ points[inside].T)


def test_determinants_of_many_points_are_varied_by_caps():
    few, many = (
        resolve("maxdet", n, 3, None, metric="chordal", kernel=None, antipodal=False)
        for n in (64, 81)
    )
    assert few.generations == 0 < many.generations
    points = fibonacci_sphere(81)
    for seed in range(4):
        moved = many.vary(points, np.random.default_rng(seed))
        assert 0.4 * 81 < (moved == points).all(1).sum() < 81
        assert np.linalg.norm(moved, axis=1) == pytest.approx(1)


def test_the_deepest_hole_of_points_in_a_plane_is_its_normal():
    points = np.vstack([np.eye(5)[:4], -np.eye(5)[:4], np.eye(5)[4:]])
    rows = [into_a_hole(points, np.random.default_rng(seed)) for seed in range(12)]
    flat = [row for row in rows if np.linalg.matrix_rank(row[:-1]) == 4]
    assert flat
    for row in rows:
        assert np.linalg.norm(row, axis=1) == pytest.approx(1)
    for row in flat:
        assert np.abs(row[-1]) == pytest.approx([0, 0, 0, 0, 1])


def test_neighbours_of_a_stored_size_differ_from_it_by_one_point():
    more, fewer = stored_neighbours("thomson_d3", 12, 3)
    assert more.shape == fewer.shape == (12, 3)
    larger, smaller = _stored("thomson_d3_n13"), _stored("thomson_d3_n11")
    assert {tuple(row) for row in more} < {tuple(row) for row in larger}
    assert {tuple(row) for row in smaller} < {tuple(row) for row in fewer}
    assert np.linalg.norm(fewer, axis=1) == pytest.approx(1)
    assert np.arccos((smaller @ fewer[-1]).max()) == pytest.approx(
        covering_radius(smaller).radius, abs=1e-12
    )
    assert stored_neighbours("thomson_d9", 12, 9) == []


def test_the_solver_starts_from_stored_neighbours():
    task = resolve("thomson", 12, 3, None, metric="chordal", kernel=None, antipodal=False)
    assert [points.shape for points in task.neighbours()] == [(12, 3), (12, 3)]
    lines = resolve("riesz", 12, 3, 2.0, metric="chordal", kernel=None, antipodal=True)
    assert lines.neighbours() == []
    few = [optimize("thomson", n=12, restarts=count).starts for count in (1, 2, 3, 4)]
    assert few == [1, 2, 3, 4]


KEPT = """
import torch
from sphuni import normalize, random_points
from sphuni.configurations.descent._native import _loop
from sphuni.configurations.descent._objectives import minimize_energy
from sphuni.kernels import Riesz

starts = torch.from_numpy(random_points(9, 3, batch=3, rng=0))
for s in (1.0, 2.0):
    found = minimize_energy(Riesz(s), starts, "compiled", tolerance=1e-6, largest_step=0.2)
    missed = _loop(Riesz(s), 3)._cache_misses
    print(float(found.values.min()), sum(missed.values()))
"""


@pytest.mark.slow
def test_native_loops_are_kept_for_the_next_process(tmp_path):
    answers = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", KEPT],
            capture_output=True,
            text=True,
            env=os.environ | {"SPHUNI_CACHE": str(tmp_path)},
        )
        assert done.returncode == 0, done.stderr
        answers.append([line.split() for line in done.stdout.splitlines()])
    first, again = answers
    assert [value for value, _ in first] == [value for value, _ in again]
    assert [misses for _, misses in first] == ["1", "1"]
    assert [misses for _, misses in again] == ["0", "0"]


def test_exact_sums_are_taken_in_parts_and_left_to_the_engine_where_they_are_long(monkeypatch):
    points = starts(40, 5, 1)[0]
    whole = exact_sum(Riesz(1.5), points)
    monkeypatch.setattr(polish, "_NUMBERS_TOGETHER", 35)
    assert exact_sum(Riesz(1.5), points) == pytest.approx(whole, rel=1e-15)
    problem = resolve("thomson", 300, 240, None, metric="chordal", kernel=None, antipodal=False)
    points = random_points(300, 240, rng=0)
    monkeypatch.setattr(_energies, "exact_sum", None)
    expected = float(pair_reduce(torch.from_numpy(points), kernel=Riesz(1.0)))
    assert problem.value(points) == expected


@pytest.mark.parametrize(
    ("kernel", "n"), [(GegenbauerSeries((0.0, 1.0), 3), 4), (Dirichlet(degree=2), 10)]
)
def test_determinants_that_vanish_for_all_points_are_refused(kernel, n):
    with pytest.raises(ValueError, match=r"n must be smaller.*singular whatever the points"):
        optimize("maxdet", n=n, kernel=kernel)


def test_singular_matrices_are_no_optima():
    """Rounding may leave them positive pivots, and a finite determinant above the bound."""
    problem = MaxdetProblem("maxdet", 5, 3, kernel=GegenbauerSeries((0.0, 1.0), 3))
    found = problem.relax(random_points(5, 3, batch=16, rng=0), [], "blockwise", np.inf)
    assert np.isposinf(found.scores).all()


def test_dear_starts_begin_until_the_deadline(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    plain = energy_objective(Riesz(1.0), 3, "blockwise")
    widths = []

    def dear(x):
        widths.append(x.shape[2])
        now[0] += x.shape[2]
        return plain(x)

    given = starts(12, 3, 8)
    found = minimize(dear, given, deadline=2.5)
    assert widths == [1, 1, 1]
    assert torch.isfinite(found.values).tolist() == [True] * 3 + [False] * 5
    assert not found.converged.any()
    assert torch.equal(found.points, given)


def test_no_start_begins_that_would_end_long_after_the_deadline(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    plain = energy_objective(Riesz(1.0), 3, "blockwise")

    def dear(x):
        now[0] += 10.0 * x.shape[2]
        return plain(x)

    values, _ = _first_values(dear, starts(12, 3, 8), [], 12.0)
    assert now[0] == 10.0
    assert torch.isfinite(values).tolist() == [True] + [False] * 7


def test_cheap_starts_are_evaluated_together_and_give_the_same(monkeypatch):
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    objective = energy_objective(Riesz(1.0), 3, "blockwise")
    given = starts(12, 3, 8)
    whole, limited = (minimize(objective, given, deadline=end) for end in (np.inf, 1.0))
    assert torch.equal(whole.points, limited.points)


@pytest.mark.parametrize("seed", range(6))
def test_newton_finds_minima_that_are_flat_to_second_order(seed):
    """A pentagon and its poles have the least log energy of 7 points, by terms of fourth order."""
    pentagon = np.column_stack([construct("polygon_5"), np.zeros(5)])
    exact = np.vstack([pentagon, [[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]])
    moved = normalize(exact + 1e-3 * np.random.default_rng(seed).standard_normal(exact.shape))
    found = newton(kernel_derivatives(Riesz(0.0)), torch.from_numpy(moved))
    assert found.gradient < 2e-11
    assert exact_sum(Riesz(0.0), found.points) == pytest.approx(
        -5 / 2 * np.log(5) - 6 * np.log(2), abs=2e-14
    )


def test_newton_looks_for_eigenvalues_when_asked_or_to_step(monkeypatch):
    def refuse(*args):
        raise AssertionError(args)

    x = torch.from_numpy(random_points(6, 3, rng=0))
    monkeypatch.setattr(polish, "_spectrum", refuse)
    found = newton(kernel_derivatives(Riesz(1.0)), x, deadline=0.0)
    assert torch.equal(found.points, x)
    with pytest.raises(AssertionError):
        _ = found.smallest_eigenvalue


def test_newton_says_that_a_step_takes_longer_than_there_is_time(monkeypatch):
    monkeypatch.setattr(polish, "_SECONDS", 1.0)
    x = torch.from_numpy(random_points(6, 3, rng=0))
    with pytest.raises(OutOfTimeError) as stopped:
        newton(kernel_derivatives(Riesz(1.0)), x, deadline=time.monotonic() + 600)
    assert np.array_equal(stopped.value.points, x.numpy())
    assert not torch.equal(newton(kernel_derivatives(Riesz(1.0)), x).points, x)
