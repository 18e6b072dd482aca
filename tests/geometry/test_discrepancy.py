"""Cap discrepancy, worst-case error and design residual."""

import numpy as np
import pytest
import torch
from exact_codes import ROWS, code, moved, name

import sphuni
from sphuni.configurations import fibonacci_sphere
from sphuni.kernels import Riesz
from sphuni.pairwise import degree_sums
from sphuni.special import cosine_quadrature


def caps(points, *, count=4000, seed=0):
    """The integral of the squared error over caps: heights exactly, centres by Monte-Carlo."""
    centres = sphuni.random_points(count, 3, rng=seed)
    cosines = np.sort(centres @ points.T, axis=1)
    edges = np.concatenate([-np.ones((count, 1)), cosines, np.ones((count, 1))], axis=1)
    share = 1 - np.arange(points.shape[0] + 1) / points.shape[0]
    low, high = edges[:, :-1], edges[:, 1:]  # on each piece the counted share is constant
    left, right = share - (1 - low) / 2, share - (1 - high) / 2
    return np.sum((high - low) * (left**2 + left * right + right**2) / 3, axis=1).mean()


@pytest.mark.parametrize("n", [1, 5, 40])
def test_stolarsky_against_direct_integration_over_caps(n, rng):
    points = sphuni.random_points(n, 3, rng=rng)
    squared = sphuni.cap_discrepancy(points) ** 2
    assert caps(points) == pytest.approx(squared, rel=2e-2)
    total = np.linalg.norm(points[:, None] - points, axis=-1).mean()
    assert squared == pytest.approx((4 / 3 - total) / 4, rel=1e-10)


@pytest.mark.parametrize("d", [2, 3, 5, 20])
def test_the_constant_in_other_dimensions(d, rng):
    """One point: D^2 = c_d E|x - y|; the caps of one point integrate F(1 - F) over heights."""
    nodes, weights = cosine_quadrature(d, 400)
    order = np.argsort(nodes)
    below = np.cumsum(weights[order])
    t = nodes[order]
    inside = below[:-1]
    integral = np.sum(np.diff(t) * inside * (1 - inside))
    point = np.eye(d)[:1]
    assert sphuni.cap_discrepancy(point) ** 2 == pytest.approx(integral, rel=2e-3)


@pytest.mark.parametrize("sigma", [1.1, 1.5, 1.9])
def test_worst_case_error_is_the_energy_gap(sigma, rng):
    points = sphuni.random_points(12, 3, batch=2, rng=rng)
    s = 2 - 2 * sigma
    total = np.linalg.norm(points[:, :, None] - points[:, None], axis=-1) ** -s
    expected = -Riesz(s).mean(3) - total.mean(axis=(1, 2))
    found = sphuni.worst_case_error(points, smoothness=sigma)
    np.testing.assert_allclose(found**2, expected, rtol=1e-9)
    if sigma == 1.5:
        np.testing.assert_allclose(found / 2, sphuni.cap_discrepancy(points), rtol=1e-12)


@pytest.mark.parametrize("sigma", [1.0, 2.0, -1.0, float("nan")])
def test_smoothness_outside_its_range_is_refused(sigma):
    with pytest.raises(ValueError, match=r"strictly between 1 and 2 for d = 3; got"):
        sphuni.worst_case_error(np.eye(3), smoothness=sigma)


def few(row):
    return int(row["n"]) < 100 and int(row["d"]) < 20


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, marks=() if few(row) else pytest.mark.slow, id=name(row))
        for row in ROWS
        if int(row["n"]) < 300
    ],
)
def test_codes_are_designs_of_their_strength_and_no_more(row):
    strength = int(row["design_strength"])
    points = code(row)
    assert sphuni.design_residual(points, t=strength) < 1e-7
    assert sphuni.design_residual(points, t=strength + 1) > 1e-3


def test_design_residual_is_the_largest_moment(rng):
    points = sphuni.random_points(9, 3, rng=rng)
    gram = points @ points.T
    means = [gram.mean(), (1.5 * gram**2 - 0.5).mean(), (2.5 * gram**3 - 1.5 * gram).mean()]
    assert sphuni.design_residual(points, t=3) == pytest.approx(np.sqrt(max(means)), rel=1e-12)
    assert sphuni.design_residual(points[:1], t=5) == pytest.approx(1.0, rel=1e-12)
    with pytest.raises(ValueError, match="t must be at least 1; got 0"):
        sphuni.design_residual(points, t=0)
    with pytest.raises(TypeError, match=r"t must be a whole number; got 2\.0"):
        sphuni.design_residual(points, t=2.0)


@pytest.mark.parametrize(("n", "d"), [(6, 2), (300, 3), (20, 30)])
def test_design_residual_takes_every_degree(n, d):
    points = sphuni.random_points(n, d, batch=(3,), rng=0)
    means = sphuni.special.gegenbauer(12, points @ points.mT, d)[1:].mean((-2, -1))
    residual = sphuni.design_residual(points, t=12)
    np.testing.assert_allclose(residual, np.sqrt(means.max(0)), rtol=1e-9)


@pytest.mark.parametrize("highest", [1, 2, 40])
def test_degree_sums_of_many_points_are_those_of_their_pairs(highest):
    """Poles, and points beside them, have no longitude and hardly a sine."""
    points = sphuni.random_points(330, 3, batch=(2,), rng=1)
    beside = sphuni.normalize([[1e-9, 0.0, 1.0], [0.0, -1e-200, -1.0], [1e-5, 1e-3, 1.0]])
    points[0, :5] = [[0.0, 0.0, 1.0], [0.0, 0.0, -1.0], *beside]
    values = sphuni.special.gegenbauer(highest, points @ points.mT, 3)[1:]
    pairs = (values.sum((-2, -1)) - 330).T / 2
    found = degree_sums(torch.from_numpy(points), highest).numpy()
    np.testing.assert_allclose(found, pairs, rtol=0, atol=1e-9)


def test_each_set_of_a_batch_has_the_gradient_of_its_own_degree():
    x = torch.from_numpy(sphuni.random_points(5, 3, batch=(2, 4), rng=2)).requires_grad_()
    sphuni.design_residual(x, t=6).sum().backward()
    for place in np.ndindex(2, 4):
        y = x.detach()[place].requires_grad_()
        sphuni.design_residual(y, t=6).backward()
        torch.testing.assert_close(y.grad, x.grad[place])


MEASURES = [
    sphuni.cap_discrepancy,
    lambda x: sphuni.worst_case_error(x, smoothness=1.3),
    lambda x: sphuni.design_residual(x, t=3),
]


@pytest.mark.parametrize("measure", MEASURES)
def test_invariance_gradients_and_precision(measure, rng):
    points = sphuni.random_points(7, 3, rng=rng)
    value = measure(points)
    assert measure(moved(points, rng)) == pytest.approx(value, rel=1e-10)
    assert measure(points.astype(np.float32)) == pytest.approx(value, rel=1e-4)
    x = torch.tensor(points * 1.2, requires_grad=True)
    assert torch.autograd.gradcheck(lambda r: measure(sphuni.normalize(r)), x)


@pytest.mark.parametrize("measure", MEASURES[::2])
def test_many_points_do_not_overflow_in_half(measure):
    points = sphuni.random_points(1000, 3, rng=0)
    exact = measure(
        torch.tensor(points).half().double().numpy()
        / np.linalg.norm(torch.tensor(points).half().double().numpy(), axis=1, keepdims=True)
    )
    assert measure(points.astype(np.float16)) == pytest.approx(exact, rel=2e-2)


def test_a_perfect_value_has_a_zero_gradient():
    x = torch.tensor(np.vstack([np.eye(3), -np.eye(3)])).requires_grad_()
    sphuni.design_residual(x, t=3).backward()
    assert bool(torch.isfinite(x.grad).all())


def test_float32_keeps_what_is_left_of_sums_that_cancel():
    narrow = torch.from_numpy(fibonacci_sphere(2000)).float()
    wide = sphuni.normalize(narrow.double())
    for measure, given in (
        (sphuni.cap_discrepancy, {}),
        (sphuni.worst_case_error, {"smoothness": 1.7}),
        (sphuni.design_residual, {"t": 3}),
    ):
        found = measure(narrow, **given)
        assert found.dtype == torch.float32
        assert float(found) == pytest.approx(float(measure(wide, **given)), rel=1e-6)


@pytest.mark.parametrize("bad", ["2", None, np.ones(2), True])
def test_a_smoothness_that_is_no_number_is_refused_by_name(bad):
    with pytest.raises(TypeError, match="smoothness must be a real number; got"):
        sphuni.worst_case_error(np.eye(3), smoothness=bad)
