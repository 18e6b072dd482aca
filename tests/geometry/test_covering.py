"""Deepest holes: exact codes, hemispheres, bounds, gradients."""

import mpmath
import numpy as np
import pytest
import scipy
import torch
from exact_codes import ROWS, SMALL, code, moved, name
from hypothesis import given, settings
from hypothesis import strategies as st

import sphuni
from sphuni.geometry._hull import deepest_facet, facets
from sphuni.sphere import random_rotation

OCTAHEDRON = np.vstack([np.eye(3), -np.eye(3)])


def depth(points, pole):
    return float(sphuni.geodesic_distance(np.asarray(pole)[None], points).min())


@pytest.mark.parametrize("row", SMALL, ids=name)
def test_codes_have_the_radius_of_the_table(row):
    points = code(row)
    result = sphuni.covering_radius(points)
    assert bool(result.exact)
    assert result.lower == result.radius == result.upper
    assert np.degrees(result.radius) == pytest.approx(float(row["covering_radius_deg"]), abs=1e-9)
    assert depth(points, result.witness) == pytest.approx(result.radius, abs=1e-9)
    ratio = sphuni.mesh_ratio(points)
    assert ratio == pytest.approx(2 * result.radius / sphuni.separation(points).distance, rel=1e-12)
    assert ratio >= 1 - 1e-12
    assert sphuni.covering_bound(int(row["n"]), int(row["d"])).value <= result.radius + 1e-10


@pytest.mark.parametrize("angle", [1e-4, 1e-6, 1e-7, 1e-8, 1e-9, 1e-12])
@pytest.mark.parametrize("d", [3, 4, 7])
def test_small_caps_keep_their_radius(angle, d, rng):
    """Points on the rim of a cap, on all its sides, and points within it, in a chance order."""
    rim = np.vstack([np.eye(d - 1), -np.eye(d - 1)])
    within = 0.7 * sphuni.random_points(12, d - 1, rng=rng) if d > 3 else 0.6 * rim
    flat = rng.permutation(np.vstack([within, rim])) * np.tan(angle)
    points = sphuni.normalize(np.column_stack([flat, np.ones(len(flat))]))
    for rows in (points, moved(points, rng)):
        result = sphuni.covering_radius(rows)
        assert bool(result.exact)
        assert np.pi - result.radius == pytest.approx(angle, rel=1e-9, abs=2e-15)
        assert depth(rows, result.witness) == pytest.approx(result.radius, abs=2e-15)


@pytest.mark.parametrize("count", [7, 360])
def test_many_points_on_one_small_circle(count):
    turn = 2 * np.pi / count * np.arange(count)
    ring = 1e-7 * np.column_stack([np.cos(turn), np.sin(turn), np.full(count, 1e7)])
    rows = sphuni.normalize(ring) @ random_rotation(3, rng=0).numpy()
    assert np.pi - sphuni.covering_radius(rows).radius == pytest.approx(1e-7, abs=2e-15)


def test_a_small_cap_held_by_few_of_many_points(rng):
    """The least ball about points, by the law that its centre is a mean of those it touches."""
    offsets = 1e-8 * rng.standard_normal((200, 4))
    rows = sphuni.normalize(np.column_stack([offsets, np.ones(200)]))
    found = sphuni.covering_radius(rows)
    far = np.linalg.norm(rows + found.witness, axis=1)
    touching = rows[far > far.max() - 1e-14] + found.witness
    assert 2 <= len(touching) <= 5
    weights, residual = scipy.optimize.nnls(
        np.vstack([1e8 * touching.T, np.ones(len(touching))]), np.append(np.zeros(5), 1.0)
    )
    assert residual < 1e-6
    assert weights.sum() == pytest.approx(1.0)


@pytest.mark.slow
@pytest.mark.parametrize("row", [r for r in ROWS if r not in SMALL], ids=name)
def test_large_codes_bracket_the_radius_of_the_table(row):
    result = sphuni.covering_radius(code(row))
    listed = np.radians(float(row["covering_radius_deg"]))
    assert result.lower <= result.radius <= result.upper
    assert result.radius <= listed + 1e-9
    assert result.upper >= listed - 1e-9
    if bool(result.exact):
        assert result.radius == pytest.approx(listed, abs=1e-9)


@settings(max_examples=6, deadline=None)
@given(st.integers(2, 25), st.integers(2, 5), st.integers(0, 2**32), st.booleans())
def test_no_pole_is_deeper_and_the_witness_is_as_deep(n, d, seed, antipodal):
    rng = np.random.default_rng(seed)
    points = sphuni.random_points(n, d, rng=rng)
    both = np.vstack([points, -points]) if antipodal else points
    result = sphuni.covering_radius(points, antipodal=antipodal)
    poles = sphuni.random_points(3000, d, rng=rng)
    deepest = float(np.arccos(np.clip((poles @ both.T).max(axis=1), -1, 1)).max())
    assert bool(result.exact)
    assert deepest <= result.radius + 1e-7
    assert depth(both, result.witness) == pytest.approx(result.radius, abs=1e-7)
    again = sphuni.covering_radius(moved(points, rng), antipodal=antipodal)
    assert again.radius == pytest.approx(result.radius, abs=1e-8)


@pytest.mark.parametrize("d", [3, 6, 40])
def test_few_points_are_solved_by_the_hemisphere(d, rng):
    """n <= d points: R = pi - arccos |p|; for orthonormal ones |p| = n^-1/2."""
    for n in (1, 2, d):
        result = sphuni.covering_radius(np.eye(d)[:n])
        assert bool(result.exact)
        assert result.radius == pytest.approx(np.pi - np.arccos(n**-0.5), rel=1e-12)
    points = sphuni.random_points(d, d, rng=rng)
    result = sphuni.covering_radius(points)
    assert bool(result.exact)
    assert depth(points, result.witness) == pytest.approx(result.radius, abs=1e-9)
    assert result.radius == pytest.approx(
        sphuni.covering_radius(points, method="hemisphere").radius
    )


@pytest.mark.parametrize(
    "points",
    [
        np.vstack([np.eye(2), -np.eye(2)]) @ np.eye(2, 3),
        OCTAHEDRON[:5],
        np.array([[1.0, 0, 0], [-1, 0, 0]]),
        np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0]]),
        np.array([[1.0, 0, 0, 0], [-1, 0, 0, 0], [0, 1, 0, 0], [0, -1, 0, 0], [0, 0, 1, 0]]),
    ],
    ids=["equator", "all but one vertex", "antipodes", "three on a circle", "flat in R^4"],
)
def test_on_the_boundary_of_a_hemisphere_the_radius_is_a_right_angle(points, rng):
    rotation = random_rotation(points.shape[1], rng=rng).numpy()
    for used in (points, points @ rotation):
        result = sphuni.covering_radius(used)
        assert bool(result.exact)
        assert result.radius == pytest.approx(np.pi / 2, abs=1e-9)
        assert depth(used, result.witness) == pytest.approx(np.pi / 2, abs=1e-9)


def test_lines_of_low_rank_are_constant(rng):
    """Below rank d the doubled set leaves a right angle: exactly, and with no gradient."""
    x = torch.tensor(sphuni.random_points(3, 6, rng=rng)).requires_grad_()
    result = sphuni.covering_radius(x, antipodal=True)
    result.radius.backward()
    assert bool(result.exact)
    assert result.radius.item() == pytest.approx(np.pi / 2, abs=1e-12)
    assert float(x.grad.abs().max()) < 1e-15


@pytest.mark.parametrize("n", [1, 3])
def test_coincident_points_leave_their_antipode_with_a_finite_gradient(n):
    x = torch.tensor([[0.6, 0.0, 0.8]], dtype=torch.float64).repeat(n, 1).requires_grad_()
    result = sphuni.covering_radius(x)
    result.radius.backward()
    assert result.radius.item() == pytest.approx(np.pi, abs=1e-7)
    assert bool(torch.isfinite(x.grad).all())


@pytest.mark.parametrize(
    ("n", "d", "antipodal"),
    [(3, 3, False), (3, 5, False), (7, 2, False), (14, 3, False), (9, 3, True), (20, 4, False)],
)
def test_danskin_gradients(n, d, antipodal):
    x = torch.tensor(sphuni.random_points(n, d, rng=5) * 1.3, requires_grad=True)

    def radius(x):
        return sphuni.covering_radius(sphuni.normalize(x), antipodal=antipodal).radius

    assert torch.autograd.gradcheck(radius, x, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("n", "d"), [(30, 3), pytest.param(60, 6, marks=pytest.mark.slow)])
def test_bounds_hold_the_exact_radius(n, d, rng):
    points = sphuni.random_points(n, d, rng=rng)
    exact = sphuni.covering_radius(points, method="hull").radius
    result = sphuni.covering_radius(points, method="bounds")
    assert not bool(result.exact)
    assert result.lower <= exact + 1e-9 <= result.upper + 2e-9
    assert result.radius == pytest.approx(exact, abs=0.05)


def test_float32_and_batches(rng):
    points = sphuni.random_points(12, 3, batch=(2, 2), rng=rng)
    whole = sphuni.covering_radius(points)
    single = sphuni.covering_radius(points.astype(np.float32))
    np.testing.assert_allclose(single.radius, whole.radius, rtol=1e-5)
    assert whole.witness.shape == (2, 2, 3)
    for i in range(2):
        for j in range(2):
            assert sphuni.covering_radius(points[i, j]).radius == whole.radius[i, j]


def test_mesh_ratio_edge_cases():
    assert sphuni.mesh_ratio(np.array([[1.0, 0], [1.0, 0]])) == np.inf
    assert sphuni.mesh_ratio(np.eye(2), antipodal=True) == pytest.approx(1.0)
    assert sphuni.mesh_ratio(np.eye(3)[:2], antipodal=True) == pytest.approx(2.0)
    with pytest.raises(ValueError, match="at least two points"):
        sphuni.mesh_ratio(np.eye(2)[:1])


def test_methods_that_do_not_apply_say_why(rng):
    with pytest.raises(ValueError, match="needs points in a closed hemisphere"):
        sphuni.covering_radius(OCTAHEDRON, method="hemisphere")
    many = sphuni.random_points(400, 9, rng=rng)
    with pytest.raises(ValueError, match="would take too long for n = 400, d = 9; use 'auto'"):
        sphuni.covering_radius(many, method="hull")


@pytest.mark.parametrize("d", [2, 3, 5])
def test_methods_that_do_not_apply_say_so_and_bounds_hold(d):
    points = sphuni.distributions.uniform_cap(30, d, angle=0.5, rng=0)
    truth = float(sphuni.covering_radius(points).radius)
    assert truth > np.pi / 2
    with pytest.raises(ValueError, match="method='hull' does not apply to points in a closed"):
        sphuni.covering_radius(points, method="hull")
    bounds = sphuni.covering_radius(points, method="bounds")
    assert bounds.lower <= truth <= bounds.upper
    assert bool(bounds.exact) == (abs(float(bounds.radius) - truth) < 1e-9)


def test_mesh_ratio_of_coincident_points_has_a_finite_gradient():
    points = torch.from_numpy(sphuni.random_points(7, 3, rng=0))
    points[1] = points[0]
    points.requires_grad_()
    ratio = sphuni.mesh_ratio(points)
    ratio.backward()
    assert ratio.item() == np.inf
    assert torch.isfinite(points.grad).all()


def test_the_search_for_holes_works_in_inference_mode():
    points = torch.from_numpy(sphuni.random_points(40, 10, rng=0))
    plain = sphuni.covering_radius(points, method="bounds").radius
    with torch.inference_mode():
        assert sphuni.covering_radius(points.clone(), method="bounds").radius == plain


@pytest.mark.parametrize("gap", [1e-7, 1e-9, 1e-10, 1e-11, 1e-14])
def test_points_that_just_miss_a_hemisphere_are_not_taken_for_one(gap):
    """The origin is inside the hull by less than 1e-9."""
    arcs = np.array([0.0, np.pi - gap, 1.5 * np.pi])
    result = sphuni.covering_radius(np.stack([np.cos(arcs), np.sin(arcs)], axis=1))
    assert result.radius == pytest.approx((np.pi - gap) / 2, abs=1e-12)
    turns = 2 * np.pi * np.arange(5) / 5
    low = np.stack(
        [np.cos(turns) * np.cos(gap), np.sin(turns) * np.cos(gap), 0 * turns - np.sin(gap)]
    )
    result = sphuni.covering_radius(np.vstack([low.T, [0.0, 0.0, 1.0]]))
    assert result.radius == pytest.approx(np.pi / 2 - gap, abs=1e-12)
    assert bool(result.exact)


@pytest.mark.parametrize("gap", [1e-6, 1e-8, 1e-10, 1e-12])
@pytest.mark.parametrize("count", [3, 7, 10])
def test_points_just_within_a_hemisphere_have_a_witness_as_deep_as_the_radius(gap, count):
    """Their least combination is as short as the gap, so that little is left of its direction."""
    turns = 2 * np.pi * np.arange(count) / count + 0.1
    low = np.stack([np.cos(turns), np.sin(turns), 0 * turns + np.tan(gap)], axis=1)
    points = sphuni.normalize(low @ random_rotation(3, rng=count).numpy())
    result = sphuni.covering_radius(points)
    assert result.lower <= np.pi / 2 + gap + 1e-14
    assert result.upper >= np.pi / 2 + gap - 1e-14
    assert depth(points, result.witness) == pytest.approx(np.pi / 2 + gap, rel=0, abs=1e-11)
    assert depth(points, result.witness) >= result.radius - 2e-12


@pytest.mark.parametrize("gap", [1e-8, 1e-10, 1e-12])
def test_arcs_of_about_half_a_circle_leave_the_other_half(gap):
    arcs = 0.3 + np.array([0.0, 0.0, np.pi - 2 * gap, np.pi - 2 * gap])
    result = sphuni.covering_radius(np.stack([np.cos(arcs), np.sin(arcs)], axis=1))
    assert result.radius == pytest.approx(np.pi / 2 + gap, rel=0, abs=1e-14)


@pytest.mark.parametrize("seed", range(8))
def test_points_at_two_ends_of_a_circle_have_half_the_widest_gap_to_rounding(seed):
    """The origin may lie just within their hull, where no hemisphere holds them."""
    generator = np.random.default_rng(seed)
    turns = generator.uniform(0, 2 * np.pi) + np.pi * np.repeat([0, 1], 5)
    turns += 5e-13 * generator.standard_normal(10)
    points = sphuni.normalize(np.stack([np.cos(turns), np.sin(turns)], axis=1))
    with mpmath.workdps(40):
        found = sorted(mpmath.atan2(*map(mpmath.mpf, row[::-1].tolist())) for row in points)
        later = [*found[1:], found[0] + 2 * mpmath.pi]
        widest = float(max(b - a for a, b in zip(found, later, strict=True)))
    result = sphuni.covering_radius(points)
    assert bool(result.exact)
    assert result.radius == pytest.approx(widest / 2, rel=0, abs=4e-15)


@pytest.mark.parametrize("seed", range(30))
def test_what_is_exact_among_almost_opposite_points_is_a_depth(seed):
    """Whether a hemisphere holds them hangs on differences beyond the digits of inner products."""
    generator = np.random.default_rng(seed)
    n, d = int(generator.integers(4, 11)), int(generator.integers(3, 6))
    near = np.eye(d)[0] + 1e-8 * generator.standard_normal((n, d))
    points = sphuni.normalize(near * generator.choice([-1, 1], size=(n, 1)))
    result = sphuni.covering_radius(points)
    found = depth(points, result.witness)
    assert found >= result.lower - 2e-12
    assert found <= result.upper + 2e-12
    other = np.linalg.svd(points[1:] - points[0])[2][-1]
    assert max(depth(points, other), depth(points, -other)) <= result.upper + 2e-12


def test_the_bounds_hold_where_a_hemisphere_is_just_missed_and_no_hull_fits():
    d, gap = 12, 1e-10
    frame = np.eye(d)[:-1]
    low = np.concatenate([frame, -frame]) * np.cos(gap) - np.sin(gap) * np.eye(d)[-1]
    result = sphuni.covering_radius(np.vstack([low, np.eye(d)[-1]]))
    assert result.lower <= np.pi / 2 - gap + 1e-13
    assert result.upper >= np.pi / 2 - gap - 1e-13
    assert result.upper - result.lower < 1e-9


def test_a_mesh_ratio_that_is_a_bound_says_so():
    """It was given without a word, though only the covering radius has a field for that."""
    points = sphuni.random_points(60, 20, rng=0)
    found = sphuni.covering_radius(points)
    assert not bool(found.exact)
    closest = float(sphuni.separation(points).distance)
    low, high = (2 * float(bound) / closest for bound in (found.lower, found.upper))
    message = f"lower bound, as the covering radius is not exact: {low:.4g}, and at most {high:.4g}"
    with pytest.warns(sphuni.NumericalWarning, match=message) as caught:
        assert sphuni.mesh_ratio(points) == pytest.approx(low)
    assert caught[0].filename == __file__
    with pytest.warns(sphuni.NumericalWarning, match=message):
        sphuni.mesh_ratio(np.stack([points, np.vstack([points[:-1], points[:1]])]))
    with pytest.warns(sphuni.NumericalWarning, match=message) as caught:
        sphuni.mesh_ratio(torch.from_numpy(points).requires_grad_())
    assert len(caught) == 1


@pytest.mark.parametrize("apart", [1e-7, 1e-9, 1e-11])
def test_close_points_among_few_have_the_radius_of_one(apart):
    points = np.eye(5)[:3]
    points[1] = sphuni.normalize(points[0] + apart * points[1])
    result = sphuni.covering_radius(points)
    assert result.radius == pytest.approx(3 * np.pi / 4, abs=apart)
    assert depth(points, result.witness) == pytest.approx(result.radius, abs=apart)


def test_collapsed_points_have_a_covering_radius(rng):
    points = sphuni.normalize(np.ones(4) + 1e-8 * rng.standard_normal((4, 4)))
    result = sphuni.covering_radius(points)
    assert result.radius == pytest.approx(np.pi, abs=1e-7)


@pytest.mark.parametrize("spread", [1e-3, 1e-5, 1e-7])
@pytest.mark.parametrize(("n", "d"), [(3, 2), (4, 5), (9, 3)])
def test_witnesses_of_points_in_a_small_cap_are_as_deep_as_the_radius(n, d, spread, rng):
    flat = spread * rng.standard_normal((n, d))
    points = sphuni.normalize(sphuni.random_points(1, d, rng=rng) + flat)
    result = sphuni.covering_radius(points)
    assert depth(points, result.witness) == pytest.approx(result.radius, rel=0, abs=2e-14)


@pytest.mark.parametrize(
    ("n", "method"), [(3, "hemisphere"), (30, "bounds")], ids=["hemisphere", "bounds"]
)
def test_second_derivatives_that_would_hold_the_hole_fast_are_refused(n, method):
    x = torch.tensor(sphuni.random_points(n, 4, rng=1), requires_grad=True)
    radius = sphuni.covering_radius(x, method=method).radius
    (first,) = torch.autograd.grad(radius, x, create_graph=True)
    with pytest.raises(NotImplementedError, match=r"worst place moves .* first derivatives only"):
        torch.autograd.grad(first.square().sum(), x)


def test_second_derivatives_of_a_facet_are_exact():
    x = torch.tensor(sphuni.random_points(12, 3, rng=2) * 1.3, requires_grad=True)

    def radius(w):
        return sphuni.covering_radius(sphuni.normalize(w), method="hull").radius

    assert torch.autograd.gradgradcheck(radius, x, fast_mode=True)


@pytest.mark.parametrize("seed", range(40))
def test_hulls_of_turned_cross_polytopes_are_found(seed):
    """Qhull begins some of them with a simplex that is flat."""
    rng = np.random.default_rng(seed)
    frame = np.linalg.qr(rng.standard_normal((10, 10)))[0]
    points = np.concatenate([frame, -frame]) + 1e-13 * rng.standard_normal((20, 10))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    assert len(facets(points)) == 2**10
    assert np.linalg.matrix_rank(points[deepest_facet(points)]) == 10


@pytest.mark.parametrize("method", ["auto", "hull"])
def test_a_hull_beyond_the_limit_is_refused_with_its_size(method):
    """What takes less is done all the same."""
    points = sphuni.random_points(300, 7, rng=0)
    with sphuni.limit_memory("5M"):
        with pytest.raises(sphuni.BudgetError, match=r"n = 300 points in d = 7 needs \d.* 5 MiB"):
            sphuni.covering_radius(points, method=method)
        inexact = sphuni.covering_radius(points, method="bounds")
        assert sphuni.covering_radius(points[:6]).exact
    assert not inexact.exact
    assert inexact.lower <= sphuni.covering_radius(points).radius <= inexact.upper
