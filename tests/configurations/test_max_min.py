import dataclasses
import functools
import math
import time

import numpy as np
import pytest
import torch
from scipy import optimize as optimize_scipy
from scipy import sparse

import sphuni
from sphuni import random_points
from sphuni._errors import BudgetError
from sphuni.configurations import construct, fibonacci_sphere, optimize
from sphuni.configurations._clock import OutOfTimeError
from sphuni.configurations._dense import least_squares, singular_values
from sphuni.configurations.certificate import Certificate
from sphuni.configurations.descent._neighbour_energy import NeighbourEnergy
from sphuni.configurations.descent._packing_energy import packing_energy
from sphuni.configurations.maxmin import _contacts, _poles, _sqp, _tied
from sphuni.configurations.maxmin._contacts import contacts, smallest_half_square
from sphuni.configurations.maxmin._holes import holes
from sphuni.configurations.maxmin._members import (
    in_units,
    rotations,
    step_along,
    tangents,
    unturned,
)
from sphuni.configurations.maxmin._poles import _descend, lowest_poles, pole_values
from sphuni.configurations.maxmin._quadratic import best_rise
from sphuni.configurations.maxmin._slp import ascend
from sphuni.configurations.maxmin._sparse import add_blocks
from sphuni.configurations.maxmin._sqp import climb
from sphuni.configurations.maxmin._tied import corrected, multipliers
from sphuni.configurations.maxmin._wells import native_wells
from sphuni.configurations.problems import _packings, _worst_places
from sphuni.configurations.problems._resolve import resolve
from sphuni.configurations.search._batch import Batch, _relax_starts
from sphuni.configurations.solver import _advice
from sphuni.configurations.starts._random import exact_start, random_starts
from sphuni.configurations.starts._stored import _stored
from sphuni.geometry import polarization
from sphuni.geometry._hull import can_be_listed, deepest_facet, facets, typical_facets
from sphuni.kernels import Gaussian, Riesz


def check_jacobian(family, points, tolerance=1e-6):
    """Directional derivatives of every member, matched by value order."""
    members = family(points, np.inf)
    move = np.random.default_rng(3).standard_normal((len(points), points.shape[1] - 1))
    h = 1e-6
    high = family(step_along(points, h * move), np.inf).values
    low = family(step_along(points, -h * move), np.inf).values
    slopes = members.jacobian @ move.ravel()
    order = np.argsort(members.values)
    assert (np.sort(high) - np.sort(low)) / (2 * h) == pytest.approx(
        slopes[order], abs=tolerance * np.abs(slopes).max()
    )


@pytest.mark.parametrize("d", [3, 4])
@pytest.mark.parametrize("lines", [False, True])
def test_jacobian_of_contacts(d, lines):
    check_jacobian(
        lambda x, margin: contacts(x, min(margin, 9.0), lines=lines), random_points(8, d, rng=d)
    )


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("margin", [0.0, 1e-3, 0.2])
@pytest.mark.parametrize(
    "points",
    [construct("icosahedron"), random_points(40, 3, rng=1), random_points(30, 5, rng=2), np.eye(4)],
    ids=["icosahedron", "random", "random in R^5", "right angles"],
)
def test_contacts_from_a_tree_are_those_among_all_pairs(points, margin, lines, monkeypatch):
    plain = contacts(points, margin, lines=lines)
    least = smallest_half_square(points, lines=lines)
    monkeypatch.setattr(_contacts, "_TREE_FROM", 1)
    found = contacts(points, margin, lines=lines)
    assert np.array_equal(found.labels, plain.labels)
    assert np.array_equal(found.values, plain.values)
    assert smallest_half_square(points, lines=lines) == pytest.approx(least, rel=1e-14)


@pytest.mark.parametrize(("n", "d", "lines"), [(12, 3, False), (8, 3, True), (12, 4, False)])
def test_jacobian_of_holes(n, d, lines):
    points = random_points(n, d, rng=5)
    members = holes(points, np.inf, lines=lines)
    assert members.jacobian.shape == (len(members.values), n * (d - 1))
    if not lines:
        check_jacobian(holes, points, 1e-5)
    move = np.random.default_rng(3).standard_normal((n, d - 1))
    h = 1e-6
    least = members.values.argmin()
    change = [holes(step_along(points, k * h * move), 0.0, lines=lines).values[0] for k in (1, -1)]
    slope = (members.jacobian @ move.ravel())[least]
    assert (change[0] - change[1]) / (2 * h) == pytest.approx(slope, rel=1e-5)


def test_jacobian_of_the_lowest_potential():
    points, kernel = random_points(9, 3, rng=2), Riesz(1.0)
    members = pole_values(points, 0.0, kernel=kernel)
    move = np.random.default_rng(3).standard_normal((9, 2))
    h = 1e-5
    high, low = (
        pole_values(step_along(points, k * h * move), 0.0, kernel=kernel).values[0] for k in (1, -1)
    )
    assert (high - low) / (2 * h) == pytest.approx(
        float((members.jacobian @ move.ravel())[0]), rel=1e-6
    )


def test_lowest_poles_of_the_icosahedron_are_its_face_centres():
    points = torch.from_numpy(construct("icosahedron"))
    poles = lowest_poles(points, Riesz(2.0), 1e-6)
    assert len(poles) == 20
    p = (poles[:, None] - points).square().sum(-1)
    assert (1 / p).sum(1).numpy() == pytest.approx(11.25, abs=1e-12)


@pytest.mark.parametrize(
    ("n", "d", "s", "lines"),
    [(9, 3, 1.0, False), (8, 4, 3.0, True), (7, 3, 0.0, False), (7, 3, -0.5, True)],
)
def test_native_descents_end_where_those_of_torch_do(n, d, s, lines):
    points = torch.from_numpy(random_points(n, d, rng=7))
    kernel = Riesz(s).antipodal() if lines else Riesz(s)
    starts = torch.from_numpy(random_points(60, d, rng=8))
    ends = native_wells(kernel)(points.numpy(), starts.numpy())
    t = points @ torch.from_numpy(ends).T
    native = kernel.value(2 - 2 * t, 2 + 2 * t).sum(0).numpy()
    t = points @ _descend(points, kernel, starts).T
    other = kernel.value(2 - 2 * t, 2 + 2 * t).sum(0).numpy()
    assert np.linalg.norm(ends, axis=1) == pytest.approx(1, abs=1e-15)
    assert set(native.round(9)) == set(other.round(9))


def test_native_descents_serve_chordal_powers_only():
    assert native_wells(Riesz(1.0, metric="geodesic")) is None
    assert native_wells(Riesz(-2.0)) is None
    assert native_wells(Gaussian(1.0)) is None


def test_a_rise_satisfies_the_conditions_of_its_programme():
    rng = np.random.default_rng(4)
    offsets, jacobian = rng.uniform(size=12), rng.standard_normal((12, 5))
    root = rng.standard_normal((5, 2))
    rise = best_rise(offsets, jacobian, root @ root.T)
    levels = offsets + jacobian @ rise.move
    assert rise.level == levels.min()
    assert rise.weights @ (levels - rise.level) < 1e-4
    inside = np.abs(rise.move) < 1 - 1e-4
    slope = jacobian.T @ rise.weights - root @ (root.T @ rise.move)
    assert slope[inside] == pytest.approx(0, abs=1e-3)
    assert (slope * np.sign(rise.move))[~inside].min(initial=0.0) > -1e-3


def test_a_rise_without_curvature_is_that_of_the_linear_programme():
    rng = np.random.default_rng(5)
    offsets, jacobian = rng.uniform(size=9), rng.standard_normal((9, 4))
    linear = optimize_scipy.linprog(
        [0, 0, 0, 0, -1],
        A_ub=np.hstack([-jacobian, np.ones((9, 1))]),
        b_ub=offsets,
        bounds=[(-1, 1)] * 4 + [(None, None)],
    )
    rise = best_rise(offsets, jacobian, np.zeros((4, 4)))
    assert rise.level == pytest.approx(-linear.fun, rel=2e-4)


@pytest.mark.parametrize(("n", "d"), [(3, 3), (4, 3), (50, 3), (7, 6), (30, 5), (60, 8)])
def test_a_hull_has_about_as_many_facets_as_is_said(n, d):
    counts = [len(facets(random_points(n, d, rng=k))) for k in range(3)] if n > d else [0]
    assert typical_facets(n, d) == pytest.approx(np.mean(counts), rel=0.1)
    if d == 3 < n:
        assert typical_facets(n, d) == pytest.approx(2 * n - 4, rel=1e-9)
    assert typical_facets(d + 1, d) == pytest.approx(d + 1, rel=1e-9)


def test_many_points_have_as_many_facets_as_the_simplices_of_random_points_in_space():
    for k, simplices in ((2, 2.0), (3, 24 * np.pi**2 / 35)):  # per point, of Delaunay's cells
        assert typical_facets(10**9, k + 1) / 10**9 == pytest.approx(simplices, rel=1e-2)


def test_facets_of_a_cube_leave_out_slivers():
    assert facets(construct("cube_3")).shape == (12, 3)


def test_a_facet_whose_plane_holds_the_centre_is_one():
    pyramid = np.array([[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0], [0, 0, 1.0]])
    assert len(facets(pyramid)) == 6
    assert len(facets(pyramid, spanning=True)) == 4
    assert set(deepest_facet(pyramid)) < {0, 1, 2, 3}


def test_a_hole_outside_the_hull_is_negative():
    rng = np.random.default_rng(0)
    cap = rng.standard_normal((6, 3)) * 0.2 + (0, 0, 1)
    cap /= np.linalg.norm(cap, axis=1, keepdims=True)
    assert holes(cap, 0.0).values[0] < 0


def test_tangents_are_orthonormal_and_tangent():
    points = np.vstack([random_points(5, 4, rng=0), np.eye(4), -np.eye(4)])
    bases = tangents(points)
    assert np.einsum("nd,nde->ne", points, bases) == pytest.approx(0, abs=1e-15)
    assert np.einsum("nde,ndf->nef", bases, bases) == pytest.approx(
        np.broadcast_to(np.eye(3), (13, 3, 3)), abs=1e-14
    )


def test_ascent_from_a_shaken_icosahedron_returns_quadratically():
    rng = np.random.default_rng(1)
    shaken = construct("icosahedron") + 0.02 * rng.standard_normal((12, 3))
    shaken /= np.linalg.norm(shaken, axis=1, keepdims=True)
    found = ascend(contacts, shaken, radius=0.05)
    assert found.value == pytest.approx(1 - 5**-0.5, abs=1e-15)
    assert found.iterations <= 8


def test_multipliers_of_a_rigid_packing_are_spread_evenly():
    members = contacts(construct("icosahedron"), 1e-12)
    weights, residual = multipliers(members)
    assert len(weights) == 30
    assert weights == pytest.approx(1 / 30, abs=1e-12)
    assert residual < 1e-15


@pytest.mark.parametrize("name", ["24-cell", "600-cell", "cross_8", "simplex_9"])
def test_multipliers_of_a_code_are_equal_and_take_no_search(name, monkeypatch):
    def refuse(*_arguments, **_options):
        raise AssertionError("one multiplier after the other")

    monkeypatch.setattr(optimize_scipy, "nnls", refuse)
    weights, residual = multipliers(contacts(construct(name), 1e-9))
    assert weights == pytest.approx(1 / len(weights), rel=1e-9)
    assert residual < 1e-15


@pytest.mark.parametrize(("unknowns", "count"), [(6, 15), (15, 6), (9, 9)])
@pytest.mark.parametrize("lift", [0.0, 3.0])
def test_weights_are_those_of_non_negative_least_squares(unknowns, count, lift):
    """Whether all are positive or some vanish, with more members than unknowns or fewer."""
    rng = np.random.default_rng(unknowns)
    gradients = rng.standard_normal((unknowns, count))
    gradients -= gradients.mean(1, keepdims=True)
    gradients[0] += lift * np.arange(count)
    ridge = 1e-3
    system = np.vstack([gradients, np.ones((1, count)), ridge * np.eye(count)])
    target = np.eye(len(system))[unknowns]
    expected = optimize_scipy.nnls(system, target)[0]
    found = _tied._weights(gradients, ridge)
    assert found == pytest.approx(expected / expected.sum(), abs=1e-8)


def test_weights_of_facets_cut_into_simplices_take_no_search(monkeypatch):
    """Thousands tied, of which a part carries no weight: the conditions of optimality hold."""

    def refuse(*_arguments, **_options):
        raise AssertionError("one weight after the other")

    monkeypatch.setattr(optimize_scipy, "nnls", refuse)
    members = holes(exact_start(28, 7, "lines"), 1e-9, lines=True)
    gradients, ridge = members.jacobian.toarray().T, 1e-3
    assert gradients.shape[1] > 4_000
    weights = _tied._of_many(gradients, ridge) / ridge**2
    assert 1_000 < (weights == 0).sum() < 2_000
    pull = (1 - weights.sum()) - gradients.T @ (gradients @ weights)
    assert pull[weights > 0] == pytest.approx(ridge**2 * weights[weights > 0], abs=1e-12)
    assert pull[weights == 0].max() < 1e-12
    assert _tied._weights(gradients, ridge) == pytest.approx(weights / weights.sum())


@pytest.mark.parametrize("unit", [1e-9, 1e-4, 1e4, 1e9])
def test_multipliers_do_not_depend_on_the_unit_of_the_members(unit):
    """They are not unique here, and the last four members can carry none."""
    rng = np.random.default_rng(0)
    gradients = rng.standard_normal((5, 12))
    gradients -= gradients.mean(1, keepdims=True)
    idle = np.vstack([rng.standard_normal((5, 4)), [[1.0, 2.0, 3.0, 4.0]]])
    members = contacts(construct("simplex_3"), 9.0)._replace(
        jacobian=sparse.csr_matrix(np.hstack([np.vstack([gradients, np.zeros(12)]), idle]).T)
    )
    weights, residual = multipliers(members)
    assert residual < 1e-15
    assert (weights[:12] > 0).all()
    assert not weights[12:].any()
    scaled, rest = multipliers(members._replace(jacobian=unit * members.jacobian))
    assert scaled == pytest.approx(weights, abs=1e-4)
    assert rest < 1e-14 * unit


@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (5, 5)])
def test_matrices_that_the_fast_method_gives_up_on_are_taken_apart(shape, monkeypatch):
    """Symmetric sets have many equal singular values, of which it finds none at times."""

    def refuse(*_arguments, **_options):
        raise np.linalg.LinAlgError("SVD did not converge")

    rng = np.random.default_rng(1)
    matrix = np.outer(rng.standard_normal(shape[0]), rng.standard_normal(shape[1]))
    matrix[0] += 1.0
    target = rng.standard_normal(shape[0])
    shortest = np.linalg.pinv(matrix) @ target
    monkeypatch.setattr(np.linalg, "svd", refuse)
    monkeypatch.setattr(np.linalg, "lstsq", refuse)
    found = singular_values(matrix)
    assert found.rank == 2
    assert found.u[:, :2] * found.s[:2] @ found.vt[:2] == pytest.approx(matrix, abs=1e-13)
    for square in (found.u, found.vt):
        assert square @ square.T == pytest.approx(np.eye(len(square)), abs=1e-13)
    assert least_squares(matrix, target) == pytest.approx(shortest, abs=1e-12)


def test_multipliers_of_a_point_that_is_not_optimal_leave_a_remainder():
    members = contacts(random_points(8, 3, rng=1), 0.0)
    weights, residual = multipliers(members)
    assert weights.sum() == pytest.approx(1)
    assert residual > 0.1


@pytest.mark.parametrize(
    ("family", "n", "d"),
    [
        (lambda x, margin: contacts(x, min(margin, 9.0)), 7, 3),
        (lambda x, margin: contacts(x, min(margin, 9.0), lines=True), 6, 4),
        (holes, 9, 3),
        (lambda x, margin: holes(x, margin, lines=True), 6, 3),
        (lambda x, margin: pole_values(x, margin, kernel=Riesz(2.0)), 8, 3),
        (lambda x, margin: pole_values(x, margin, kernel=Riesz(1.0)), 9, 4),
    ],
)
def test_curvature_of_every_member_by_differences(family, n, d):
    points = random_points(n, d, rng=11)
    members = family(points, np.inf)
    index = int(members.values.argmin())
    weights = np.zeros(len(members.values))
    weights[index] = 1.0
    move = np.random.default_rng(3).standard_normal((n, d - 1))
    h = 1e-4
    high, low = (family(step_along(points, k * h * move), 0.0).values.min() for k in (1, -1))
    bend = (high - 2 * members.values[index] + low) / h**2
    # second differences see the retraction's curve x + u - |u|^2 x / 2, as the Hessian does
    assert move.ravel() @ members.curvature(weights) @ move.ravel() == pytest.approx(
        bend, rel=1e-4, abs=1e-4
    )


def test_blocks_are_added_where_indices_meet():
    blocks = np.ones((2, 2, 1, 2, 1))
    index = np.array([[0, 1], [1, 2]])
    assert add_blocks(blocks, index, 3) == pytest.approx(
        np.array([[1.0, 1, 0], [1, 2, 1], [0, 1, 1]])
    )


def test_second_order_of_a_strict_optimum_that_is_no_vertex():
    result = optimize("polarization", n=9, s=1.0, restarts=2)
    certificate = result.certificate
    assert certificate.residual < 1e-13
    assert certificate.tied_moves > 0
    assert certificate.smallest_eigenvalue > 0.01
    assert certificate.flat_modes == 0


def test_second_order_has_nothing_to_say_at_a_vertex():
    certificate = optimize("tammes", n=12, restarts=2).certificate
    assert (certificate.tied_moves, certificate.smallest_eigenvalue) == (0, None)


@pytest.mark.parametrize(
    ("n", "s", "value"),
    [(4, 2.0, 2.5), (6, 2.0, 4.5), pytest.param(12, 2.0, 11.25, marks=pytest.mark.slow)],
)
def test_polarization_of_platonic_solids(n, s, value):
    result = optimize("polarization", n=n, s=s, restarts=2)
    assert result.value == pytest.approx(value, abs=1e-13)


@pytest.mark.parametrize("s", [0.0, -0.5])
def test_polarization_of_any_exponent_is_best_at_the_simplex(s):
    result = optimize("polarization", n=5, d=4, s=s, restarts=2)
    kernel = Riesz(s)
    assert result.value == pytest.approx(float(kernel(-1.0)) + 4 * float(kernel(0.25)), abs=1e-12)
    assert "optimal" in result.advice


@pytest.mark.parametrize(("problem", "s"), [("covering", None), ("polarization", 2.0)])
def test_the_certificate_names_the_worst_places(problem, s):
    result = optimize(problem, n=6, s=s, restarts=2)
    places = result.certificate.places
    assert places.shape == (len(result.certificate.multipliers), 3)
    cosines = places @ result.points.T
    if problem == "covering":
        assert np.arccos(cosines.max(1)) == pytest.approx(result.value, abs=1e-12)
    else:
        potential = (1 / (2 - 2 * cosines)).sum(1)
        assert potential == pytest.approx(result.value, abs=1e-12)


@pytest.mark.parametrize("s", [30.0, 50.0])
def test_steep_potentials_are_told_to_be_stationary(s):
    """Of thousands of millions: the icosahedron's twenty holes are tied in their unit."""
    result = optimize("polarization", n=12, s=s, restarts=2)
    hole = 2 * math.sin(math.atan(3 - math.sqrt(5)) / 2)
    assert result.value == pytest.approx(3 * hole**-s, rel=1e-3)
    certificate = result.certificate
    assert len(certificate.places) == 20
    assert certificate.spread < 1e-9 * result.value
    assert certificate.residual < 1e-6 * result.value / 12
    assert "found" in result.advice


def test_tiny_potentials_are_polished_and_compared_in_their_own_unit():
    """Two simplices in perpendicular spaces, s = 50: potentials of 1e-5, 36 of them tied."""
    simplex = construct("simplex_5")
    points = np.block([[simplex, np.zeros_like(simplex)], [np.zeros_like(simplex), simplex]])
    task = resolve("polarization", 12, 10, 50.0, metric="chordal", kernel=None, antipodal=False)
    value = task.value(points)
    assert value < 2e-5
    certificate = task.certify(points)
    assert len(certificate.places) == 36
    assert certificate.multipliers == pytest.approx(1 / 36, rel=1e-6)
    moved = sphuni.normalize(points + 1e-6 * random_points(12, 10, rng=0))
    assert task.certify(moved).spread <= 1e-8 * value
    polished = task.refine(moved)
    assert task.value(polished) == pytest.approx(value, rel=1e-14)
    assert task.resolution * task.scale(value) <= 1e-9 * value


def test_polarization_of_five_points_beats_the_three_plus_two():
    triangle = np.column_stack([construct("polygon_3"), np.zeros(3)])
    bipyramid = np.concatenate([triangle, [[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]])
    least = float(sphuni.polarization(bipyramid, s=1.0).value)
    assert optimize("polarization", n=5, s=1.0, restarts=2).value > least + 1e-3


@pytest.mark.parametrize("problem", ["tammes", "covering", "polarization"])
def test_polishing_ends_at_the_deadline(problem):
    task = resolve(
        problem, 20, 3, 1.0 if problem == "polarization" else None,
        metric="chordal", kernel=None, antipodal=False,
    )  # fmt: skip
    start = random_points(20, 3, rng=0)
    cut, whole = task.refine(start, 0.0), task.refine(start)
    values = [task.sign * task.value(points) for points in (start, cut, whole)]
    assert values[2] < values[1] <= values[0]


def test_pairs_that_do_not_fit_into_memory_are_refused():
    with pytest.raises(BudgetError, match="n = 60000 points needs"):
        optimize("tammes", n=60_000, d=9, time_limit=1.0)


@pytest.mark.parametrize("lines", [False, True])
def test_many_points_are_packed_without_a_matrix_of_all_pairs(lines):
    task = resolve("tammes", 60_000, 3, None, metric="chordal", kernel=None, antipodal=lines)
    assert task.working_bytes < 1 << 30


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("a", [8.0, 300.0])
def test_energy_of_neighbours_is_that_of_all_pairs(a, lines):
    points = np.asarray(fibonacci_sphere(600))
    points = points[points[:, 2] > 0] if lines else points
    p0 = 2 * smallest_half_square(points, lines=lines)
    planes = torch.from_numpy(points).T[:, :, None].contiguous()
    numbers = [torch.tensor([number], dtype=torch.float64) for number in (a, p0)]
    near = NeighbourEnergy(lines)
    for _ in range(3):
        value, gradient = near(planes, *numbers, torch.zeros(1))
        expected, slope = packing_energy(lines, compiled=False)(planes, *numbers)
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-6)
        torch.testing.assert_close(gradient, slope, rtol=0, atol=1e-5 * float(slope.abs().max()))
        moved = planes + 0.02 * torch.roll(planes, 1, 1)  # within the margin, and then beyond
        planes = moved / torch.linalg.vector_norm(moved, dim=0)


@pytest.mark.parametrize("problem", ["tammes", "covering"])
def test_starts_that_the_clock_cuts_short_are_compared_within_the_grace(problem, monkeypatch):
    for module in (_packings, _worst_places):
        monkeypatch.setattr(module, "over", lambda end: math.inf)
    task = resolve(problem, 12, 3, None, metric="chordal", kernel=None, antipodal=False)
    starts = random_points(12, 3, batch=5, rng=0)
    found = task.relax(starts, list(range(5)), "blockwise", 0.0)
    assert np.isfinite(found.scores).all()
    values = [-task.sign * task.value(points) for points in found.points]
    assert found.scores.argmin() == np.argmax(values)


def test_points_too_many_for_dense_matrices_end_without_multipliers(monkeypatch):
    monkeypatch.setattr(_tied, "_LARGEST_DENSE", 100)
    result = optimize("tammes", n=30, restarts=2)
    assert result.status == "finished"
    assert result.certificate.multipliers is None
    assert math.isnan(result.certificate.residual)
    assert 0.9 * result.record.value < result.value <= result.record.value + 1e-12


@pytest.mark.parametrize("antipodal", [False, True])
@pytest.mark.parametrize(("n", "d"), [(n, d) for d in (2, 3, 4, 6) for n in range(1, d + 1)])
def test_few_points_are_placed_by_a_theorem(n, d, antipodal):
    covered = optimize("covering", n=n, d=d, antipodal=antipodal)
    assert covered.status == "closed form"
    assert covered.advice.startswith("optimal")
    exact = sphuni.covering_radius(covered.points, antipodal=antipodal)
    assert exact.exact
    assert covered.value == pytest.approx(sphuni.covering_bound(n, d, antipodal=antipodal).value)
    assert covered.value == pytest.approx(float(exact.radius), abs=1e-9)


@pytest.mark.parametrize("s", [pytest.param(-1.0, marks=pytest.mark.slow), 1.0])
@pytest.mark.parametrize("antipodal", [False, True])
@pytest.mark.parametrize(
    ("n", "d"), [(1, 3), pytest.param(2, 3, marks=pytest.mark.slow), (3, 3), (3, 6)]
)
def test_few_points_polarize_as_well_as_any(n, d, antipodal, s):
    found = optimize("polarization", n=n, d=d, s=s, antipodal=antipodal, restarts=1)
    bound = sphuni.polarization_bound(n, d, s=s, antipodal=antipodal)
    assert bound.attained
    assert found.value == pytest.approx(bound.value, abs=1e-9)
    others = [random_points(n, d, rng=k) for k in range(2)]
    for one in others:
        rival = sphuni.polarization(one, s=s, antipodal=antipodal)
        assert float(rival.lower) <= found.value + 1e-9


def test_a_late_search_for_coverings_looks_at_one_hull():
    problem = resolve("covering", 12, 3, None, metric="chordal", kernel=None, antipodal=False)
    starts = random_points(12, 3, batch=16, rng=0)
    assert np.isfinite(problem.relax(starts, list(range(16)), "blockwise", 0.0).scores).sum() == 1
    later = problem.relax(starts, list(range(16)), "blockwise", np.inf)
    assert np.isfinite(later.scores).all()


def test_descents_end_at_the_deadline(monkeypatch):
    monkeypatch.setattr(_poles, "_TERMS_TOGETHER", 1)
    points = random_points(12, 4, rng=0)
    rows, kernel = torch.from_numpy(points), Riesz(2.0)
    least = _poles.least_potential(rows, kernel)
    with pytest.raises(OutOfTimeError) as stopped:
        pole_values(points, 0.0, kernel=kernel, deadline=0.0)
    assert stopped.value.value >= least
    with pytest.raises(OutOfTimeError) as stopped:
        climb(
            lambda x, margin: pole_values(x, margin, kernel=kernel, deadline=0.0),
            points,
            radius=0.1,
        )
    assert np.array_equal(stopped.value.points, points)


def test_programmes_of_many_unknowns_and_few_members_are_not_begun_late(monkeypatch):
    """Their matrices are those of the unknowns: 4,508 of 196 points in R^24 take minutes."""
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    monkeypatch.setattr(_sqp, "best_rise", None)
    points, family = random_points(12, 8, rng=0), functools.partial(pole_values, kernel=Riesz(2.0))
    members = family(points, 0.0)
    assert members.jacobian.shape == (1, 84)
    monkeypatch.setattr(_sqp, "_SECONDS", 10 / 84**3)
    with pytest.raises(OutOfTimeError) as stopped:
        climb(family, points, radius=1e-9, deadline=8.0)
    assert np.array_equal(stopped.value.points, points)


def test_settling_is_not_begun_without_time_for_it(monkeypatch):
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    monkeypatch.setattr(_sqp, "settle", None)
    monkeypatch.setattr(_sqp, "tied_seconds", lambda points: 10.0)
    family = functools.partial(pole_values, kernel=Riesz(2.0))
    with pytest.raises(OutOfTimeError) as stopped:
        climb(family, construct("icosahedron"), radius=0.1, deadline=8.0)
    assert np.linalg.norm(stopped.value.points, axis=1) == pytest.approx(1)


@pytest.mark.parametrize("lines", [False, True])
def test_descents_and_comparisons_in_parts_change_nothing(lines, monkeypatch):
    rows = torch.from_numpy(random_points(20, 3, rng=1))
    kernel = Riesz(4.0).antipodal() if lines else Riesz(4.0)
    whole = lowest_poles(rows, kernel, np.inf)
    monkeypatch.setattr(_poles, "_TERMS_TOGETHER", 2_000)
    monkeypatch.setattr(_poles, "_PAIRS_TOGETHER", 500)
    parts = lowest_poles(rows, kernel, np.inf)
    assert len(whole) > 3
    assert parts.numpy() == pytest.approx(whole.numpy(), abs=1e-12)


@pytest.mark.parametrize("n", [30, 60])
def test_poles_in_high_dimension_do_without_the_hull(n, monkeypatch):
    def refuse(points, **options):
        raise AssertionError("a hull of up to ten thousand million facets")

    monkeypatch.setattr(_poles, "facets", refuse)
    points = torch.from_numpy(random_points(n, 20, rng=0))
    poles = lowest_poles(points, Riesz(2.0), 0.0)
    value = float(Riesz(2.0).value((poles[:1] - points).square().sum(1), None).sum())
    assert value == pytest.approx(float(sphuni.polarization(points, s=2.0).value), rel=1e-2)
    assert can_be_listed(11, 9)
    assert not can_be_listed(n, 20)


@pytest.mark.parametrize(("n", "d"), [(1, 2), (2, 3), (5, 3), (4, 7), (20, 6)])
@pytest.mark.parametrize("kind", ["generic", "flat", "coincident"])
def test_rotations_are_the_moves_that_antisymmetric_matrices_make(n, d, kind):
    points = random_points(n, d, rng=n)
    if kind == "flat":
        points[:, -1] = 0.0
        points = sphuni.normalize(points + 1e-3 * np.eye(d)[0])
    if kind == "coincident":
        points[:] = points[0]
    made = []
    for a, b in zip(*np.triu_indices(d, 1), strict=True):
        turn = np.zeros((d, d))
        turn[a, b], turn[b, a] = 1.0, -1.0
        made.append(np.einsum("nd,nde->ne", points @ turn, tangents(points)).ravel())
    u, lengths, _ = np.linalg.svd(np.array(made).T, full_matrices=False)
    u = u[:, lengths > 1e-6 * lengths.max()]
    found = rotations(points)
    assert found.shape == u.shape
    assert found.T @ found == pytest.approx(np.eye(u.shape[1]), abs=1e-13)
    assert found @ found.T == pytest.approx(u @ u.T, abs=1e-13)
    move = np.random.default_rng(0).standard_normal((n, d - 1))
    left = move.ravel() - u @ (u.T @ move.ravel())
    assert unturned(points, move) == pytest.approx(left.reshape(n, -1), abs=1e-13)


def test_rotations_of_few_points_in_high_dimension_are_few():
    """Those that leave every point alone are not gone over."""
    assert rotations(random_points(3, 400, rng=0)).shape == (3 * 399, 3 + 3 * 397)


@pytest.mark.parametrize(("n", "d", "s"), [(6, 3, 1.0), (8, 3, -0.5), (7, 4, 2.0)])
def test_no_pole_of_lines_is_overlooked(n, d, s):
    field = random_points(20_000, d, rng=99)
    for seed in range(4):
        lines = random_points(n, d, rng=seed)
        both = np.vstack([lines, -lines])
        chords = np.linalg.norm(field[:, None] - both, axis=-1)
        lowest = (np.sign(s) * chords**-s).sum(1).min()
        members = pole_values(lines, 0.0, kernel=Riesz(s).antipodal())
        assert members.values.min() <= lowest + 1e-12
        assert members.values.min() == pytest.approx(
            float(sphuni.polarization(lines, s=s, antipodal=True).value), rel=1e-9
        )


def test_the_six_lines_of_the_icosahedron_polarize_best():
    result = optimize("polarization", n=6, s=1.0, antipodal=True, restarts=2)
    icosahedron = sphuni.polarization(construct("icosahedron"), s=1.0)
    assert result.value == pytest.approx(float(icosahedron.value), abs=1e-12)
    assert result.certificate.residual < 1e-12
    assert len(result.certificate.places) == 10


def test_a_start_that_is_a_code_is_not_given_away():
    task = resolve("tammes", 24, 4, None, metric="chordal", kernel=None, antipodal=False)
    found = _relax_starts(Batch(task, 0, [0, 1], "blockwise", math.inf))
    assert task.value(found.points[0]) == pytest.approx(math.pi / 3, abs=1e-15)
    assert found.scores[0] == pytest.approx(-0.5, abs=1e-15)


@pytest.mark.parametrize(
    ("problem", "s", "n", "d", "antipodal"),
    [
        ("covering", None, 24, 4, False),
        ("covering", None, 6, 3, True),
        ("polarization", 2.0, 24, 4, False),
        ("polarization", 50.0, 12, 3, False),
    ],
)
def test_an_exact_code_is_looked_at_before_it_is_shaken(problem, s, n, d, antipodal):
    task = resolve(problem, n, d, s, metric="chordal", kernel=None, antipodal=antipodal)
    starts = random_starts(n, d, 0, [0, 1], exact="lines" if antipodal else "points")
    found = _relax_starts(Batch(task, 0, [0, 1], "blockwise", math.inf))
    assert len(found.points) == 2
    assert np.array_equal(found.points[0], starts[0])
    assert found.scores.argmin() == 0


def test_a_covering_by_the_600_cell_is_not_given_away():
    result = optimize("covering", n=120, d=4, time_limit=1e-3)
    hole = math.acos((3 + math.sqrt(5)) / math.sqrt(32))
    assert result.value <= hole + 1e-12


@pytest.mark.parametrize(("n", "d"), [(5, 3), (6, 3), (27, 25), (14, 7)])
def test_few_more_points_than_a_simplex_are_at_right_angles(n, d):
    """Rankin: no n > d + 1 points are farther apart, and 2 d are not needed."""
    result = optimize("tammes", n=n, d=d)
    assert result.status == "closed form"
    assert result.points.shape == (n, d)
    assert result.value == pytest.approx(math.pi / 2, abs=1e-15)
    assert result.certificate.bound_attained
    assert result.certificate.residual < 1e-12


def test_a_lagrangian_away_from_stationary_points_tells_of_no_saddle():
    task = resolve("polarization", 10, 3, -1.5, metric="chordal", kernel=None, antipodal=False)
    evidence = Certificate(
        kind="max-min",
        residual=1.6,
        smallest_eigenvalue=-1.6,
        multipliers=np.ones(1),
        bound=math.nan,
        bound_method="none",
        bound_attained=None,
    )
    assert "not stationary" in _advice(task, "finished", None, -16.3, evidence, 1)
    stationary = dataclasses.replace(evidence, residual=1e-12)
    assert "saddle" in _advice(task, "finished", None, -16.3, stationary, 1)
    assert "saddle; give it more time" in _advice(task, "time limit", None, -16.3, stationary, 1)


@pytest.mark.parametrize(
    ("name", "problem", "s", "n", "d"),
    [
        ("polarization_d4_s1_n12", "polarization", 1.0, 12, 4),
        ("polarization_d3_s2_n43", "polarization", 2.0, 43, 3),
        ("covering_d3_n49", "covering", None, 49, 3),
    ],
)
def test_polishing_does_not_stop_where_a_newton_step_unties_the_members(name, problem, s, n, d):
    """Along the tie the value changes to second order only, by less than the step unties."""
    task = resolve(problem, n, d, s, metric="chordal", kernel=None, antipodal=False)
    optimum, family = _stored(name), task.family()
    members = family(optimum, 1e-7)
    weights, _ = multipliers(members)
    carrying = weights > 0
    gradients, values = members.jacobian[carrying].toarray(), members.values[carrying]
    _, along = _tied._split(optimum, gradients, values)
    curve, axes = np.linalg.eigh(along.T @ members.curvature(weights) @ along)
    move = along @ axes[:, np.abs(curve).argmax()]
    points = step_along(optimum, (1e-6 * move / np.abs(move).max()).reshape(n, d - 1))
    for _ in range(3):
        members = family(points, 1e-7)
        level, _ = _tied._split(points, members.jacobian.toarray(), members.values)
        points = step_along(points, level.reshape(n, d - 1))
    assert multipliers(family(points, 1e-9))[1] > 1e-8
    polished = task.refine(points)
    assert multipliers(family(polished, 1e-9))[1] < 1e-12
    assert family(polished, 0.0).values.min() >= family(points, 0.0).values.min()


@pytest.mark.parametrize("s", [1.0, -1.0])
def test_the_worst_places_beside_saddles_are_found(s):
    """Descents from the hull's facets end, by symmetry, at saddles between the ten minima."""
    lines = construct("simplex_4")
    task = resolve("polarization", 5, 4, s, metric="chordal", kernel=None, antipodal=True)
    members = task.family()(lines, 1e-9)
    assert len(members.values) == 10
    assert task.value(task.refine(lines)) >= task.value(lines) - 1e-13
    found = optimize("polarization", n=5, d=4, s=s, antipodal=True, restarts=2)
    assert found.value >= float(sphuni.polarization(lines, s=s, antipodal=True).value) - 1e-12


def test_a_corrected_move_keeps_the_members_together():
    points = np.asarray(fibonacci_sphere(20))
    members = in_units(functools.partial(pole_values, kernel=Riesz(1.0)), 4.0)(points, np.inf)
    weights = np.ones(len(members.values))
    move = 1e-3 * np.random.default_rng(0).standard_normal((20, 2))
    foreseen = members.values + members.jacobian @ move.ravel()
    trial = step_along(points, move)
    again = step_along(points, corrected(members, weights, move, trial))
    assert members.elsewhere(points) == pytest.approx(members.values, rel=1e-14)
    untied, tied = (np.ptp(members.elsewhere(one) - foreseen) for one in (trial, again))
    assert untied > 1e-7
    assert tied < 0.01 * untied


@pytest.mark.parametrize(("n", "s"), [(8, -1.99), (7, -1.999)])
def test_potentials_that_are_nearly_linear_in_the_sum_converge(n, s):
    """Near -r^2 the sum of the points must stay zero, so that straight steps are tiny."""
    result = optimize("polarization", n=n, s=s, restarts=16, engine="blockwise")
    assert result.certificate.residual < 1e-6
    assert result.certificate.spread < 1e-12
    assert len(result.certificate.places) > 3


@pytest.mark.parametrize(
    ("gap", "status", "remedy"),
    [
        (None, "finished", "found once: raise restarts"),
        (None, "time limit", "found once: give it more time"),
        (None, "interrupted", "found once: give it more time"),
        (0.1, "finished", "worse than the record: raise restarts or change the seed"),
        (0.1, "time limit", "worse than the record: give it more time"),
    ],
)
def test_a_search_that_was_cut_short_needs_time_rather_than_restarts(gap, status, remedy):
    task = resolve("thomson", 7, 3, None, metric="chordal", kernel=None, antipodal=False)
    settled = Certificate(
        kind="smooth", residual=1e-15, bound=14.0, bound_method="", bound_attained=None
    )
    assert remedy in _advice(task, status, gap, 14.5, settled, 1)


def test_the_doubled_set_decides_whether_a_late_polarization_is_certified(monkeypatch):
    methods = []

    def noted(points, *, s, method, antipodal):
        methods.append(method)
        return polarization(points, s=s, method="bounds", antipodal=antipodal)

    monkeypatch.setattr(_worst_places, "polarization", noted)
    for lines, n in ((True, 60), (True, 40), (False, 60)):
        task = resolve("polarization", n, 4, 2.0, metric="chordal", kernel=None, antipodal=lines)
        points = sphuni.random_points(n, 4, rng=0)
        task.verify(points, 1.0)
        task.verify(points)
    assert methods == ["bounds", "auto", "auto", "auto", "auto", "auto"]
