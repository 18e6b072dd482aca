"""Samples have the moments and the laws they should, from the circle to R^4096."""

import numpy as np
import pytest
import torch
from scipy import special, stats

from sphuni import distributions as D
from sphuni import geodesic_distance, normalize

CASES = [
    (D.random_points, {}),
    (D.von_mises_fisher, {"kappa": 20.0}),
    (D.watson, {"kappa": 20.0}),
    (D.watson, {"kappa": -20.0}),
    (D.small_circle, {"kappa": 30.0, "nu": 0.4}),
    (D.spherical_cauchy, {"rho": 0.7}),
    (D.uniform_cap, {"angle": 0.5}),
    (D.clusters, {"kappa": 50.0, "noise": 0.3}),
    (D.haar_blocks, {}),
]


@pytest.mark.parametrize("d", [2, 3, 4096])
@pytest.mark.parametrize(("draw", "parameters"), CASES)
def test_shape_unit_rows_and_seed(draw, parameters, d):
    rows = draw(7, d, batch=(2,), rng=3, **parameters)
    assert rows.shape == (2, 7, d)
    assert rows.dtype == np.float64
    assert np.linalg.norm(rows, axis=-1) == pytest.approx(1.0, abs=1e-12)
    assert np.array_equal(rows, draw(7, d, batch=(2,), rng=3, **parameters))
    as_torch = draw(7, d, rng=3, like=torch.zeros(1, dtype=torch.float32), **parameters)
    assert isinstance(as_torch, torch.Tensor)
    assert as_torch.dtype == torch.float32


@pytest.mark.parametrize("d", [2, 3, 10, 4096])
@pytest.mark.parametrize("kappa", [0.5, 30.0, 3000.0])
def test_von_mises_fisher_mean_cosine(d, kappa):
    n = 20_000 if d < 100 else 1_000
    t = D.von_mises_fisher(n, d, kappa=kappa, rng=1)[:, -1]
    # A_d(kappa) by the continued fraction of the ratio of Bessel functions
    ratio = 0.0
    for k in range(20_000, 0, -1):
        ratio = kappa / (2 * (d / 2 - 1 + k) + kappa * ratio)
    assert t.mean() == pytest.approx(ratio, abs=5 * t.std() / n**0.5)


def test_von_mises_fisher_cosines_have_the_law_of_the_sphere():
    kappa = 4.0
    t = D.von_mises_fisher(20_000, 3, kappa=kappa, rng=2)[:, 2]
    cdf = np.expm1(kappa * (t + 1)) / np.expm1(2 * kappa)
    assert stats.kstest(cdf, "uniform").pvalue > 1e-3


def test_watson_second_moment():
    t = D.watson(50_000, 3, kappa=3.0, rng=0)[:, 2]
    wanted = special.hyp1f1(1.5, 2.5, 3.0) / special.hyp1f1(0.5, 1.5, 3.0) / 3
    assert (t * t).mean() == pytest.approx(wanted, abs=5 * (t * t).std() / 50_000**0.5)
    assert abs(t.mean()) < 5 * t.std() / 50_000**0.5


def test_spherical_cauchy_on_the_circle_is_wrapped_cauchy():
    x = D.spherical_cauchy(50_000, 2, rho=0.6, rng=0)
    assert x[:, 1].mean() == pytest.approx(0.6, abs=0.02)
    assert abs(x[:, 0].mean()) < 0.02


def test_rows_of_a_narrow_spherical_cauchy_have_length_one():
    """Points from near the antipode of the mode come through a difference of few digits."""
    x = D.spherical_cauchy(100_000, 2, rho=0.999, rng=0)
    assert np.abs(np.linalg.norm(x, axis=1) - 1).max() < 1e-15


def test_angular_central_gaussian_scatter():
    x = D.angular_central_gaussian(50_000, 2, scatter=[1.0, 9.0], rng=0)
    # share of the second axis is sigma_2 / (sigma_1 + sigma_2)
    assert (x[:, 1] ** 2).mean() == pytest.approx(0.75, abs=0.01)
    y = D.angular_central_gaussian(50_000, 2, scatter=[[1.0, 0.0], [0.0, 9.0]], rng=0)
    assert (y[:, 1] ** 2).mean() == pytest.approx(0.75, abs=0.01)


def test_mean_direction_may_be_anywhere():
    mu = np.array([1.0, -2.0, 2.0]) / 3
    x = D.von_mises_fisher(500, 3, kappa=500.0, mu=3 * mu, rng=0)
    assert float((x @ mu).min()) > 0.95


@pytest.mark.parametrize("aside", [1e-4, 1e-9, 0.0])
def test_narrow_laws_sit_at_a_mean_direction_beside_the_last_axis(aside):
    mu = normalize([aside, 0.0, 1.0])
    rows = D.uniform_cap(100, 3, angle=1e-12, mu=mu, rng=0)
    assert geodesic_distance(rows, mu).max() <= 1e-12 + 4 * np.finfo(float).eps


def test_clusters_sit_at_their_centres():
    x = D.clusters(300, 5, kappa=1000.0, centres=np.eye(5)[:2], rng=0)
    assert (x[:, :2].max(axis=1) > 0.9).all()


def test_uniform_cap_angle_law():
    theta = np.arccos(D.uniform_cap(20_000, 3, angle=1.0, rng=0)[:, 2])
    assert stats.kstest((1 - np.cos(theta)) / (1 - np.cos(1.0)), "uniform").pvalue > 1e-3


@pytest.mark.parametrize(
    ("d", "angle"),
    [(64, 1e-5), (200, 0.01), (512, 0.2), (768, 0.3), (1000, 0.5), (4096, 0.98), (4096, 0.99)],
)
def test_uniform_caps_whose_measure_underflows(d, angle):
    """Near the rim log(sin theta / sin angle) is exponential with rate d - 1, but for cos^2."""
    x = D.uniform_cap(2000, d, angle=angle, rng=0)
    theta = np.arctan2(np.linalg.norm(x[:, :-1], axis=1), x[:, -1])
    assert (theta > 0).all()
    assert (theta <= angle * (1 + 1e-12)).all()
    depth = -(d - 1) * np.log(np.sin(theta) / np.sin(angle))
    assert depth.mean() == pytest.approx(1.0, abs=0.12)
    assert stats.kstest(depth, "expon").pvalue > 1e-4


@pytest.mark.parametrize("kappa", [1e8, 1e12, 1e14])
def test_narrow_small_circles_keep_both_sides(kappa):
    """A peak beside an edge of the table of angles had lost one side."""
    for nu in (np.cos(0.25 * np.pi), 0.5, np.cos(0.3 * np.pi), 0.0):
        t = D.small_circle(20_000, 3, kappa=kappa, nu=nu, rng=0)[:, -1]
        scaled = (t - nu) * np.sqrt(2 * kappa)
        assert abs(scaled.mean()) < 0.04
        assert scaled.std() == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("d", [2, 3, 10])
def test_watson_at_the_limit_of_concentration(d):
    x = D.watson(20_000, d, kappa=1e14, rng=0)
    square = np.sum(x[:, :-1] ** 2, axis=1).mean()
    assert square * 2e14 / (d - 1) == pytest.approx(1.0, abs=0.06)


def test_rows_of_the_spherical_ensemble_are_uniform_one_by_one():
    """In the order that LAPACK finds them the first rows lie near the poles of the projection."""
    height = D.spherical_ensemble(8, batch=2000, rng=0)[..., 2]
    for row in range(8):
        assert stats.kstest((height[:, row] + 1) / 2, "uniform").pvalue > 1e-4


def test_scatter_and_mean_direction_of_any_scale():
    plain = D.angular_central_gaussian(5, 2, scatter=[1.0, 3.0], rng=0)
    for scale in (4.0**500, 4.0**-500):
        scaled = D.angular_central_gaussian(5, 2, scatter=[scale, 3 * scale], rng=0)
        np.testing.assert_array_equal(scaled, plain)
    assert D.von_mises_fisher(1, 3, kappa=1e10, mu=[0, 1e200, 0], rng=0)[0, 1] > 0.999
    assert D.von_mises_fisher(1, 3, kappa=1e10, mu=[0, 1e-200, 0], rng=0)[0, 1] > 0.999
    for length in (1e200, 1e-200, 5.0):
        assert D.clusters(1, 3, kappa=1e10, centres=[[0, length, 0]], rng=0)[0, 1] > 0.999


def test_a_scatter_may_be_asymmetric_by_rounding():
    """Where an entry is nearly zero its rounding is no small part of it."""
    plain = D.angular_central_gaussian(5, 2, scatter=[[1.0, 0.0], [0.0, 4e-20]], rng=0)
    for noise in (1e-17, 1e-13):
        rounded = [[1.0, noise * 2e-10], [-noise * 1e-10, 4e-20]]
        found = D.angular_central_gaussian(5, 2, scatter=rounded, rng=0)
        np.testing.assert_allclose(found, plain, rtol=1e-9)
    with pytest.raises(ValueError, match="scatter must be symmetric"):
        D.angular_central_gaussian(5, 2, scatter=[[1.0, 1e-15], [0.0, 4e-20]], rng=0)


def test_spherical_ensemble_repels():
    x = D.spherical_ensemble(60, batch=20, rng=0)
    y = D.random_points(60, 3, batch=20, rng=0)

    def closest(rows):
        gram = rows @ np.swapaxes(rows, -1, -2) - 2 * np.eye(60)
        return np.arccos(gram.max(axis=(-2, -1)))

    assert closest(x).mean() > 1.5 * closest(y).mean()


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: D.random_points(0, 3), "n must be a number of points"),
        (lambda: D.random_points(3, 1), "d must be an ambient dimension"),
        (lambda: D.von_mises_fisher(3, 3, kappa=-1.0), "kappa must be a concentration"),
        (lambda: D.von_mises_fisher(3, 3, kappa=1e15), "from 0 to 1e.14, beyond which"),
        (lambda: D.von_mises_fisher(3, 3, kappa=1.0, mu=[1.0, 0.0]), "mu must be a direction"),
        (lambda: D.watson(3, 3, kappa=np.inf), "kappa must be a finite"),
        (lambda: D.small_circle(3, 3, kappa=1.0, nu=2.0), "nu must be a cosine"),
        (lambda: D.spherical_cauchy(3, 3, rho=1.0), "rho must lie in"),
        (lambda: D.uniform_cap(3, 3, angle=0.0), "angle must be a radius"),
        (lambda: D.angular_central_gaussian(3, 3, scatter=[1.0]), "scatter must have shape"),
        (lambda: D.clusters(3, 3, kappa=1.0, noise=2.0), "noise must be a share"),
        (lambda: D.von_mises_fisher(3, 3, kappa=1.0, mu=[np.inf, 0, 0]), "mu must be finite"),
        (lambda: D.von_mises_fisher(3, 3, kappa=1.0, mu=[0, 0, 0]), "mu must be finite and not"),
        (lambda: D.watson(3, 3, kappa=-1e15), "kappa must be a finite number, from -1e.14 to"),
        (lambda: D.small_circle(3, 3, kappa=1e15, nu=0.1), "from 0 to 1e.14, beyond which"),
        (lambda: D.angular_central_gaussian(3, 2, scatter=[1, np.inf]), "scatter must be finite"),
        (
            lambda: D.angular_central_gaussian(3, 2, scatter=[[1, 2], [2, 1]]),
            "positive definite; its least eigenvalue is -0.5",
        ),
        (lambda: D.angular_central_gaussian(3, 2, scatter=np.zeros((2, 2))), "entries are zero"),
        (lambda: D.clusters(3, 2, kappa=1.0, centres=[[0, 0]]), "centres must be finite and not"),
        (lambda: D.clusters(3, 3, kappa=1.0, centres=np.zeros((0, 3))), "with k >= 1; got .0, 3"),
        (lambda: D.random_points(3, 3, batch=-1), "batch must be at least 0; got -1"),
        (lambda: D.spherical_ensemble(5, 4), "lives in R\\^3"),
    ],
)
def test_bad_arguments_are_named(call, match):
    with pytest.raises(ValueError, match=match):
        call()


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: D.von_mises_fisher(5, 3, kappa="1"), "kappa must be a number; got '1'"),
        (lambda: D.watson(5, 3, kappa=None), "kappa must be a number; got None"),
        (lambda: D.small_circle(5, 3, kappa=1.0, nu=[0.1, 0.2]), "nu must be a number; got"),
        (lambda: D.clusters(5, 3, kappa=1.0, noise="0"), "noise must be a number; got '0'"),
    ],
)
def test_parameters_are_single_numbers(call, match):
    with pytest.raises(TypeError, match=match):
        call()


def test_numbers_of_any_library_are_parameters():
    plain = D.von_mises_fisher(5, 3, kappa=2.0, rng=0)
    for kappa in (np.float32(2.0), np.array(2.0), torch.tensor(2.0), 2):
        np.testing.assert_array_equal(D.von_mises_fisher(5, 3, kappa=kappa, rng=0), plain)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: D.random_points(5.0, 3), "n must be a whole number; got 5.0"),
        (lambda: D.random_points(5, 3.0), "d must be a whole number; got 3.0"),
        (lambda: D.random_points(5, 3, batch=2.0), "batch must be a whole number; got 2.0"),
        (lambda: D.uniform_cap(5, 3, angle=1.0, batch=(2, 1.5)), "batch must be a whole number"),
    ],
)
def test_sizes_are_whole_numbers(call, match):
    with pytest.raises(TypeError, match=match):
        call()
