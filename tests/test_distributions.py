"""Samples have the moments and the laws they should, from the circle to R^4096."""

import numpy as np
import pytest
import torch
from scipy import special, stats

from sphuni import distributions as D

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


def test_clusters_sit_at_their_centres():
    x = D.clusters(300, 5, kappa=1000.0, centres=np.eye(5)[:2], rng=0)
    assert (x[:, :2].max(axis=1) > 0.9).all()


def test_uniform_cap_angle_law():
    theta = np.arccos(D.uniform_cap(20_000, 3, angle=1.0, rng=0)[:, 2])
    assert stats.kstest((1 - np.cos(theta)) / (1 - np.cos(1.0)), "uniform").pvalue > 1e-3


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
        (lambda: D.spherical_ensemble(5, 4), "lives in R\\^3"),
    ],
)
def test_bad_arguments_are_named(call, match):
    with pytest.raises(ValueError, match=match):
        call()
