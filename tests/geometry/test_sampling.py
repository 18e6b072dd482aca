import math

import numpy as np
import pytest

import sphuni
from sphuni.geometry import sampled_energy
from sphuni.kernels import Gaussian, Riesz

SETS = {
    "uniform": lambda x: x,
    "one cluster": lambda x: np.vstack([x[0] + 0.3 * x[:120], x[120:]]),
    "clusters": lambda x: np.repeat(x[:30], 20, axis=0) + 0.05 * x,
    "shifted": lambda x: x + np.eye(1, x.shape[1]),
}


@pytest.mark.parametrize("pairs", [1, pytest.param(45_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(make, id=name, marks=() if name == "one cluster" else pytest.mark.slow)
        for name, make in SETS.items()
    ],
)
@pytest.mark.parametrize(
    ("kernel", "antipodal"),
    [
        pytest.param(Riesz(1.0), False, marks=pytest.mark.slow),
        pytest.param(Riesz(0.0), True, marks=pytest.mark.slow),
        (Gaussian(1.0), False),
    ],
)
def test_the_exact_energy_lies_within_the_error_bars(kernel, antipodal, make, pairs):
    """Over 40 choices of pairs deviations have mean 0 and, by Student's t, about one error."""
    points = make(sphuni.random_points(600, 6, rng=1))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    exact = sphuni.kernel_energy(points, kernel=kernel, antipodal=antipodal)
    deviations = []
    for seed in range(40):
        found = sampled_energy(points, kernel=kernel, pairs=pairs, antipodal=antipodal, rng=seed)
        deviations.append((found.value - exact) / found.standard_error)
    few = pairs == 1  # 8 blocks have the heavy tails of Student's t
    assert abs(np.mean(deviations)) < (4 if few else 3.5) / math.sqrt(40)
    assert 0.7 < np.std(deviations) < (1.7 if few else 1.3)


@pytest.mark.slow
def test_fewer_pairs_than_a_shuffle_has_leave_the_rows_parts_in(rng):
    points = sphuni.random_points(20_000, 3, rng=0) + np.eye(1, 3)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    kernel = Gaussian(1.0)
    exact = sphuni.kernel_energy(points, kernel=kernel)
    found = [sampled_energy(points, kernel=kernel, pairs=1, rng=seed) for seed in range(40)]
    deviations = [(one.value - exact) / one.standard_error for one in found]
    assert 0.7 < np.std(deviations) < 1.6
    whole = sampled_energy(points, kernel=kernel, pairs=20_000 * 256, rng=0)
    assert whole.standard_error < found[0].standard_error / 10


def test_the_error_falls_with_the_root_of_the_pairs():
    points = sphuni.random_points(3000, 5, rng=0)
    few = sampled_energy(points, kernel=Riesz(0.5), pairs=1, rng=0)
    many = sampled_energy(points, kernel=Riesz(0.5), pairs=16 * few.pairs, rng=0)
    runs = [len(run) for run in np.array_split(np.arange(3000), 32)]
    assert few.pairs == sum((a + b) * (c + d) for a, b, c, d in zip(*[iter(runs)] * 4, strict=True))
    assert many.pairs == 16 * few.pairs
    assert few.standard_error / many.standard_error == pytest.approx(4, rel=0.7)
    assert sampled_energy(points, kernel=Riesz(0.5), pairs=1, rng=0).value == few.value


def test_batches_dtype_and_library():
    points = sphuni.random_points(100, 4, batch=3, rng=0).astype(np.float32)
    found = sampled_energy(points, kernel=Riesz(1.0), rng=0, pairs=1000)
    assert found.value.shape == found.standard_error.shape == (3,)
    assert found.value.dtype == np.float32


def test_infinite_variance_is_refused():
    points = sphuni.random_points(100, 3, rng=0)
    with pytest.raises(ValueError, match=r"infinite variance .* in d = 3.*Riesz with s < 1\)"):
        sampled_energy(points, kernel=Riesz(1.0))
    assert math.isfinite(sampled_energy(points, kernel=Riesz(0.9), rng=0).value)


def test_too_few_points_or_pairs_are_refused():
    points = sphuni.random_points(31, 3, rng=0)
    with pytest.raises(ValueError, match=r"points must have at least 32 rows .*; got 31"):
        sampled_energy(points, kernel=Riesz(-1.0))
    with pytest.raises(ValueError, match="pairs must be at least 1; got 0"):
        sampled_energy(sphuni.random_points(40, 3, rng=0), kernel=Riesz(-1.0), pairs=0)
