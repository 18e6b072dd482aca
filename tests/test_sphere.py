"""Normalising, distances, tangent maps, rotations."""

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sphuni
from sphuni import sphere


def pair_at(angle, d, rng):
    """Two unit vectors at an angle, to the last digits of float64."""
    q, _ = np.linalg.qr(rng.standard_normal((d, 2)))
    return q[:, 0], np.cos(angle) * q[:, 0] + np.sin(angle) * q[:, 1]


@pytest.mark.parametrize("scale", [1e-300, 1e-40, 1.0, 1e38, 1e300])
def test_normalize_does_not_underflow_or_overflow(scale, rng):
    rows = rng.standard_normal((5, 7))
    expected = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(sphuni.normalize(rows * scale), expected, rtol=1e-15)
    if 1e-38 < scale < 1e37:
        single = (rows * scale).astype(np.float32)
        np.testing.assert_allclose(sphuni.normalize(single), expected, rtol=1e-6)


def test_normalize_accepts_denormal_float32():
    rows = np.full((2, 3), 1e-40, dtype=np.float32)
    np.testing.assert_allclose(sphuni.normalize(rows), 3**-0.5, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_normalize_sums_half_precision_in_single(dtype):
    x = torch.ones(1, 65536, dtype=dtype, requires_grad=True)
    unit = sphuni.normalize(x)
    assert unit.dtype == dtype
    assert bool((unit == 1 / 256).all())
    unit.sum().backward()
    assert bool(torch.isfinite(x.grad).all())


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.ones((4, 1)), np.eye(3), r"points of one space.*got \(4, 1\) and \(3, 3\)"),
        (np.array(1.0), np.eye(3), r"points of one space.*got \(\) and \(3, 3\)"),
        ([[2.0, 0.0]], [[1.0, 0.0]], r"x must have unit rows.*norm 2. Call sphuni.normalize\(x\)"),
        ([1.0, 0.0], [0.0, 0.5], r"y must have unit rows.*norm 0.5. Call sphuni.normalize\(y\)"),
    ],
)
def test_angles_are_between_points_of_one_sphere(x, y, message):
    with pytest.raises(ValueError, match=message):
        sphuni.geodesic_distance(x, y)
    if "one space" in message:
        with pytest.raises(ValueError, match=message):
            sphuni.chordal_distance(x, y)


def test_no_points_have_no_angles():
    assert sphuni.geodesic_distance(np.zeros((0, 3)), np.eye(3)[:1]).shape == (0,)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1.0, 0.0], [0.0, -0.0]], r"x\[1\] is a zero row"),
        ([[1.0, np.nan]], r"x\[0, 1\] is nan"),
        ([[np.inf, 1.0]], r"x\[0, 0\] is inf"),
    ],
)
def test_normalize_names_the_row_it_cannot_use(rows, message):
    with pytest.raises(ValueError, match=message):
        sphuni.normalize(rows)


def test_normalize_has_exact_derivatives(rng):
    x = torch.tensor(rng.standard_normal((3, 4)) * 100, requires_grad=True)
    assert torch.autograd.gradcheck(sphuni.normalize, x)
    assert torch.autograd.gradgradcheck(sphuni.normalize, x)


def test_unit_rows_keep_zero_rows_with_a_zero_gradient():
    x = torch.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    unit = sphere.unit_rows(x)
    unit.sum().backward()
    assert unit[0].tolist() == [0.0, 0.0]
    assert x.grad[0].tolist() == [0.0, 0.0]
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("d", [2, 3, 16, 200])
@pytest.mark.parametrize("angle", [1e-12, 1e-8, 1e-4, 0.3, np.pi / 2, 3.0, np.pi - 1e-4])
def test_distances_are_accurate_at_every_angle(angle, d, rng):
    x, y = pair_at(angle, d, rng)
    with mpmath.workdps(40):
        difference = mpmath.sqrt(
            sum((mpmath.mpf(a) - mpmath.mpf(b)) ** 2 for a, b in zip(x, y, strict=True))
        )
        total = mpmath.sqrt(
            sum((mpmath.mpf(a) + mpmath.mpf(b)) ** 2 for a, b in zip(x, y, strict=True))
        )
        exact = float(2 * mpmath.atan2(difference, total))
    assert sphuni.geodesic_distance(x, y) == pytest.approx(exact, rel=1e-14)
    assert sphuni.chordal_distance(x, y) == pytest.approx(float(difference), rel=1e-14)


@settings(max_examples=25, deadline=None)
@given(st.floats(0, np.pi), st.integers(0, 2**32), st.integers(2, 9))
def test_chord_is_twice_the_sine_of_half_the_angle(angle, seed, d):
    x, y = pair_at(angle, d, np.random.default_rng(seed))
    theta = sphuni.geodesic_distance(x, y)
    assert theta == pytest.approx(angle, abs=1e-14)
    assert sphuni.chordal_distance(x, y) == pytest.approx(2 * np.sin(theta / 2), abs=1e-14)
    assert theta + sphuni.geodesic_distance(x, -y) == pytest.approx(np.pi, abs=1e-14)


@pytest.mark.parametrize("distance", [sphuni.geodesic_distance, sphuni.chordal_distance])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_gradients_are_finite_at_coincident_and_antipodal_points(distance, sign):
    x = torch.tensor([0.6, 0.8], requires_grad=True)
    distance(x, sign * x.detach()).backward()
    assert torch.isfinite(x.grad).all()
    if distance is sphuni.geodesic_distance:
        assert abs(float(x.grad @ torch.tensor([0.8, -0.6]))) < 1e-6


@pytest.mark.parametrize("distance", [sphuni.geodesic_distance, sphuni.chordal_distance])
def test_gradients_of_distances_are_those_of_the_directions(distance, rng):
    x, y = (torch.tensor(sphuni.random_points(5, 4, rng=rng), requires_grad=True) for _ in "xy")
    found = torch.autograd.grad(distance(x, y).sum(), (x, y))
    scaled = distance(sphuni.normalize(x), sphuni.normalize(y))
    for gradient, expected in zip(found, torch.autograd.grad(scaled.sum(), (x, y)), strict=True):
        torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_float64_rows_have_tangent_derivatives_in_any_dtype(dtype):
    x = sphuni.random_points(6, 5, rng=0, like=torch.empty(0, dtype=dtype)).requires_grad_()
    rows = sphere.float64_rows(x)
    if dtype == torch.float64:
        assert torch.equal(rows, x)
    (gradient,) = torch.autograd.grad(rows[:, 0].sum(), x)
    assert float((gradient * x).sum(-1).detach().abs().max()) < 4 * torch.finfo(dtype).eps


def test_distances_broadcast_and_keep_the_dtype(dtype_and_tolerance):
    dtype, tolerance = dtype_and_tolerance
    x, y = torch.eye(3, dtype=dtype), torch.tensor([[0.6, 0.8, 0.0]], dtype=dtype)
    angle = sphuni.geodesic_distance(x, y)
    assert (angle.dtype, angle.shape) == (dtype, (3,))
    expected = torch.tensor([np.arccos(0.6), np.arccos(0.8), np.pi / 2])
    torch.testing.assert_close(angle.double(), expected.double(), rtol=tolerance, atol=0)


def test_distance_gradients(rng):
    x, y = (torch.tensor(rng.standard_normal((4, 3)), requires_grad=True) for _ in range(2))

    def angle(a, b):
        return sphuni.geodesic_distance(sphuni.normalize(a), sphuni.normalize(b))

    assert torch.autograd.gradcheck(angle, (x, y))
    assert torch.autograd.gradgradcheck(angle, (x, y))


def test_the_exponential_map_walks_the_length_of_its_tangent(rng):
    x = sphuni.normalize(rng.standard_normal((6, 5)))
    v = sphere.project_tangent(x, rng.standard_normal((6, 5)))
    np.testing.assert_allclose((x * v).sum(-1), 0, atol=1e-15)
    length = np.linalg.norm(v, axis=1)
    v *= (rng.uniform(0.1, 3.0, 6) / length)[:, None]
    y = sphere.exponential_map(x, v)
    np.testing.assert_allclose(np.linalg.norm(y, axis=1), 1, rtol=1e-14)
    np.testing.assert_allclose(
        sphuni.geodesic_distance(x, y), np.linalg.norm(v, axis=1), rtol=1e-13
    )
    np.testing.assert_array_equal(sphere.exponential_map(x, 0 * v), x)


def test_the_exponential_map_has_the_identity_as_derivative_at_zero(rng):
    x = torch.tensor(sphuni.normalize(rng.standard_normal((1, 3))))
    v = torch.zeros(1, 3, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda u: sphere.exponential_map(x, u), v)
    tangent = torch.eye(3, dtype=torch.float64) - x.T @ x
    torch.testing.assert_close(tangent @ jacobian[0, :, 0] @ tangent, tangent)


@pytest.mark.parametrize("d", [2, 3, 10])
def test_rotations_are_orthogonal_and_have_mean_zero(d):
    rotation = sphere.random_rotation(d, rng=0)
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(d, dtype=torch.float64))
    generator = np.random.default_rng(0)
    many = torch.stack([sphere.random_rotation(d, rng=generator) for _ in range(400)])
    assert float(many.mean(dim=0).abs().max()) < 5 / (400 * d) ** 0.5
    dets = torch.linalg.det(many)
    assert 120 < int((dets > 0).sum()) < 280


def test_rotations_are_where_their_generator_is():
    with torch.device("meta"):
        rotation = sphere.random_rotation(3, rng=0)
    assert torch.equal(rotation, sphere.random_rotation(3, rng=0))


def test_random_points_are_unit_and_uniform_in_the_mean():
    points = sphuni.random_points(4000, 5, batch=2, rng=0)
    assert points.shape == (2, 4000, 5)
    np.testing.assert_allclose(np.linalg.norm(points, axis=-1), 1, rtol=1e-14)
    second = points[0].T @ points[0] / 4000
    np.testing.assert_allclose(second, np.eye(5) / 5, atol=0.02)
    like = torch.zeros(1, dtype=torch.float32)
    assert sphuni.random_points(3, 2, rng=0, like=like).dtype == torch.float32
    with pytest.raises(ValueError, match="n must be a number of points, at least 1; got 0"):
        sphuni.random_points(0, 3)
    with pytest.raises(ValueError, match="d must be an ambient dimension, at least 2"):
        sphuni.random_points(3, 1)


@pytest.mark.parametrize(
    "function",
    [
        sphere.project_tangent,
        sphere.exponential_map,
        sphere.chordal_distance,
        sphere.geodesic_distance,
    ],
)
def test_rows_that_do_not_fit_are_refused(function):
    """Those of other lengths were broadcast, or raised an error of torch's own."""
    other = "y" if "distance" in function.__name__ else "v"
    with pytest.raises(ValueError, match=rf"x and {other} must hold points of one space"):
        function(np.eye(3), np.ones((3, 1)))
    with pytest.raises(ValueError, match=rf"x and {other} must have shapes that fit .*\(2, 3\)"):
        function(np.eye(3), np.eye(3)[:2])
    assert function(np.eye(3)[:1], np.eye(3)).shape[0] == 3


@pytest.mark.parametrize(("d", "error"), [(0, ValueError), (-1, ValueError), (2.5, TypeError)])
def test_rotations_want_a_dimension(d, error):
    with pytest.raises(error, match="d must be"):
        sphere.random_rotation(d)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_distances_and_tangents_of_half_precision_are_rounded_once(dtype):
    generator = torch.Generator().manual_seed(0)
    x = sphuni.normalize(torch.randn(200, 512, generator=generator)).to(dtype)
    v = (x.float() * 8 + torch.randn(200, 512, generator=generator)).to(dtype)
    close = torch.tensor([[1.0, 0.0], [1.0, 1e-4]], dtype=dtype)
    moves = (sphuni.sphere.project_tangent, sphuni.sphere.exponential_map)
    calls = [(move, x, v) for move in moves]
    for distance in (sphuni.chordal_distance, sphuni.geodesic_distance):
        calls += [(distance, x, x.roll(1, 0)), (distance, close[:1], close[1:])]
    for function, first, second in calls:
        found = function(first, second)
        assert found.dtype == dtype
        # rows rounded to half precision are not unit rows of double precision
        inner = sphuni.sphere.angles if function is sphuni.geodesic_distance else function
        exact = inner(first.double(), second.double())
        torch.testing.assert_close(found.double(), exact, rtol=torch.finfo(dtype).eps, atol=1e-6)
