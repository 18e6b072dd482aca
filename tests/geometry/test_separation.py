"""Closest pairs."""

import numpy as np
import pytest
import torch
from exact_codes import ROWS, code, moved, name
from hypothesis import given, settings
from hypothesis import strategies as st

import sphuni


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_codes_have_the_angle_of_the_table(row):
    result = sphuni.separation(code(row))
    assert np.degrees(result.distance) == pytest.approx(float(row["min_angle_deg"]), abs=1e-8)
    assert result.mean_nearest == pytest.approx(result.distance, rel=1e-12)
    bound = sphuni.separation_bound(int(row["n"]), int(row["d"])).value
    assert result.distance <= bound + 1e-10


@settings(max_examples=8, deadline=None)
@given(st.integers(2, 40), st.integers(2, 12), st.booleans(), st.integers(0, 2**32))
def test_brute_force_and_invariance(n, d, antipodal, seed):
    rng = np.random.default_rng(seed)
    points = sphuni.random_points(n, d, rng=rng)
    angles = sphuni.geodesic_distance(points[:, None], points[None])
    angles = np.minimum(angles, np.pi - angles) if antipodal else angles
    np.fill_diagonal(angles, np.inf)
    result = sphuni.separation(points, antipodal=antipodal)
    assert result.distance == pytest.approx(angles.min(), rel=1e-12)
    assert result.mean_nearest == pytest.approx(angles.min(axis=1).mean(), rel=1e-12)
    i, j = result.pair
    assert i < j
    assert angles[i, j] == pytest.approx(angles.min(), rel=1e-12)
    again = sphuni.separation(moved(points, rng), antipodal=antipodal)
    assert again.distance == pytest.approx(result.distance, rel=1e-12)
    chord = sphuni.separation(points, metric="chordal", antipodal=antipodal).distance
    assert chord == pytest.approx(2 * np.sin(result.distance / 2), rel=1e-12)


@pytest.mark.parametrize("angle", [1e-3, 1e-5, 1e-8])
def test_close_pairs_keep_their_digits(angle):
    points = np.array([[1.0, 0, 0], [np.cos(angle), np.sin(angle), 0], [0, 0, 1]])
    assert sphuni.separation(points).distance == pytest.approx(angle, rel=1e-14)
    single = sphuni.separation(points.astype(np.float32)).distance
    assert single == pytest.approx(angle, rel=1e-6)
    points[1] *= -1
    assert sphuni.separation(points, antipodal=True).distance == pytest.approx(angle, rel=1e-14)


@pytest.mark.parametrize("antipodal", [False, True])
@pytest.mark.parametrize("metric", ["geodesic", "chordal"])
def test_the_gradient_is_that_of_the_closest_pair(metric, antipodal, rng):
    x = torch.tensor(rng.standard_normal((6, 4)), requires_grad=True)

    def distance(x):
        result = sphuni.separation(sphuni.normalize(x), metric=metric, antipodal=antipodal)
        return result.distance, result.mean_nearest

    assert torch.autograd.gradcheck(distance, x)
    result = sphuni.separation(sphuni.normalize(x), metric=metric, antipodal=antipodal)
    (gradient,) = torch.autograd.grad(result.distance, x)
    moved_rows = (gradient != 0).any(dim=1).nonzero()[:, 0]
    assert torch.equal(moved_rows, result.pair)


def test_duplicates_have_distance_zero_and_no_force():
    x = torch.eye(3).repeat(2, 1).requires_grad_()
    result = sphuni.separation(x)
    result.distance.backward()
    assert result.distance.item() == 0.0
    assert not x.grad.any()


def test_one_point_has_infinite_separation():
    for shape in ((1, 3), (2, 4, 1, 3)):
        points = np.broadcast_to([0.0, 0, 1], shape).copy()
        result = sphuni.separation(points)
        assert result.distance.shape == shape[:-2]
        assert np.all(result.distance == np.inf)
        assert np.all(result.mean_nearest == np.inf)
        assert np.all(result.pair == -1)


def test_batches_equal_loops(rng):
    points = sphuni.random_points(9, 4, batch=(2, 3), rng=rng)
    whole = sphuni.separation(points)
    assert whole.pair.shape == (2, 3, 2)
    for i in range(2):
        for j in range(3):
            one = sphuni.separation(points[i, j])
            assert whole.distance[i, j] == one.distance
            np.testing.assert_array_equal(whole.pair[i, j], one.pair)
