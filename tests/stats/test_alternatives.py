"""Samplers of departures from uniformity: unit rows, seeds, moments."""

import numpy as np
import pytest
from scipy import integrate

from sphuni.stats import power, power_table
from sphuni.stats.alternatives import (
    ALTERNATIVES,
    antipodal_dependent,
    bingham,
    local_alternative,
    minimum_energy,
    von_mises_fisher_mixture,
)

PARAMETERS = {
    "von_mises_fisher": {"kappa": 1.0},
    "von_mises_fisher_mixture": {"kappa": 5.0, "means": np.eye(3)},
    "clusters": {"kappa": 5.0},
    "watson": {"kappa": 1.0},
    "angular_central_gaussian": {"scatter": [1.0, 1.0, 3.0]},
    "bingham": {"matrix": [0.0, 1.0, 2.0]},
    "small_circle": {"kappa": 3.0, "nu": 0.2},
    "spherical_cauchy": {"rho": 0.3},
    "uniform_cap": {"angle": 1.0},
    "local_alternative": {"strength": 0.5},
    "antipodal_dependent": {"kappa": 3.0},
    "minimum_energy": {"steps": 2},
}


@pytest.mark.parametrize("name", list(ALTERNATIVES))
def test_unit_rows_of_the_batch_shape_from_a_seed(name):
    extra = PARAMETERS.get(name, {})
    first = ALTERNATIVES[name](7, 3, batch=(2,), rng=5, **extra)
    assert first.shape == (2, 7, 3)
    assert np.allclose(np.linalg.norm(first, axis=-1), 1.0, atol=1e-12)
    assert np.array_equal(first, ALTERNATIVES[name](7, 3, batch=(2,), rng=5, **extra))
    assert not np.array_equal(first, ALTERNATIVES[name](7, 3, batch=(2,), rng=6, **extra))


def test_no_sets_of_bingham_points():
    assert bingham(5, 3, matrix=[0.0, 1.0, 2.0], batch=(2, 0), rng=0).shape == (2, 0, 5, 3)


def test_bingham_moments_by_quadrature():
    kappa = 4.0
    x = bingham(200_000, 3, matrix=[0.0, 0.0, kappa], rng=1)
    weight, second = (
        integrate.quad(lambda t, k=k: t**k * np.exp(kappa * t * t), -1, 1)[0] for k in (0, 2)
    )
    assert (x[:, 2] ** 2).mean() == pytest.approx(second / weight, abs=3e-3)
    assert np.abs(x.mean(axis=0)).max() < 0.01
    turned = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    y = bingham(100_000, 3, matrix=turned @ np.diag([0.0, 0.0, kappa]) @ turned.T, rng=1)
    assert ((y @ turned)[:, 2] ** 2).mean() == pytest.approx(second / weight, abs=5e-3)
    plain = bingham(50_000, 3, matrix=np.zeros(3), rng=1)
    assert (plain**2).mean(axis=0) == pytest.approx(np.full(3, 1 / 3), abs=0.01)


def test_local_alternative_moments():
    x = local_alternative(200_000, 4, strength=0.8, weights=[0.0, 1.0], mu=[1, 0, 0, 0], rng=2)
    # E P_2 = strength / d_2 with d_2 = 9 in R^4, P_2 = (4 t^2 - 1) / 3
    assert ((4 * x[:, 0] ** 2 - 1) / 3).mean() == pytest.approx(0.8 / 9, abs=3e-3)
    with pytest.raises(ValueError, match="makes the density negative"):
        local_alternative(5, 3, strength=1.5)


def test_antipodal_pairs_are_uniform_one_by_one():
    x = antipodal_dependent(2001, 3, kappa=50.0, rng=0)
    assert x.shape == (2001, 3)
    cosines = (x[0:2000:2] * x[1:2000:2]).sum(axis=1)
    assert cosines.max() < -0.5
    assert (x[::2] ** 2).mean(axis=0) == pytest.approx(np.full(3, 1 / 3), abs=0.05)
    with pytest.raises(ValueError, match="kappa must be"):
        antipodal_dependent(4, 3, kappa=-1.0)


def test_mixture_has_its_shares():
    x = von_mises_fisher_mixture(
        4000, 3, kappa=[80.0, 200.0], means=[[0, 0, 2], [1, 0, 0]], weights=[3, 1], rng=0
    )
    assert (x[:, 2] > 0.7).mean() == pytest.approx(0.75, abs=0.03)
    for bad in ({"means": np.zeros((1, 3))}, {"means": np.eye(2)}):
        with pytest.raises(ValueError, match="means must have shape"):
            von_mises_fisher_mixture(4, 3, kappa=1.0, **bad)
    with pytest.raises(ValueError, match="weights must be 3 shares"):
        von_mises_fisher_mixture(4, 3, kappa=1.0, means=np.eye(3), weights=[1.0, -1.0, 1.0])
    with pytest.raises(ValueError, match="matrix must be symmetric"):
        bingham(4, 3, matrix=np.triu(np.ones((3, 3))))


def test_repulsion_lowers_the_energy_step_by_step():
    def energy(steps):
        x = minimum_energy(30, 3, steps=steps, rng=3)
        gap = np.linalg.norm(x[:, None] - x[None], axis=-1)[np.triu_indices(30, 1)]
        return float((1 / gap).sum())

    energies = [energy(steps) for steps in (0, 1, 4, 60)]
    assert energies == sorted(energies, reverse=True)
    assert energies[-1] < 360.5  # the Thomson record is 359.603945904
    with pytest.raises(ValueError, match="n must be at least 2"):
        minimum_energy(1, 3)
    with pytest.raises(ValueError, match="s = 300 is so steep"):
        minimum_energy(100, 3, s=300.0, rng=0)


def test_power_table_shares_sets_and_equals_power():
    options = {"n": 30, "d": 3, "kappa": 1.0, "n_sets": 150, "rng": 5}
    table = power_table(["rayleigh", "pad"], "von_mises_fisher", alphas=(0.05, 0.01), **options)
    assert [(r.test, r.alpha) for r in table] == [
        ("rayleigh", 0.05), ("rayleigh", 0.01), ("pad", 0.05), ("pad", 0.01),
    ]  # fmt: skip
    assert table.results[0] == power("rayleigh", "von_mises_fisher", **options)
    assert table.results[1].upper <= table.results[0].upper
    everything = power_table(n=12, d=64, n_sets=3, n_resamples=99, rng=0)
    assert "kuiper" in everything.skipped
    assert len(everything) > 10
    with pytest.raises(TypeError, match="tests must be 'all'"):
        power_table("rayleigh", n=5, d=3)


def test_decisions_from_sorted_statistics_equal_those_of_every_p_value():
    from sphuni import random_points
    from sphuni.stats import uniformity_tests

    x = np.concatenate(
        [
            random_points(25, 2, batch=120, rng=1),
            ALTERNATIVES["watson"](25, 2, kappa=1.0, batch=120, rng=2),
        ]
    )
    names = ["rayleigh", "gine_fn", "hodges_ajne", "range", "packing", "kuiper"]
    table = power_table(names, lambda n, d, batch, rng: x, n=25, d=2, n_sets=240, rng=0)
    for result, full in zip(table, uniformity_tests(x, names), strict=True):
        assert result.upper * 240 == pytest.approx((full.pvalue <= 0.05).sum())
        assert result.lower * 240 == pytest.approx((full.pvalue_lower <= 0.05).sum())
        assert result.two_sided * 240 == pytest.approx((full.pvalue_two_sided <= 0.05).sum())


def test_names_and_samplers_are_checked():
    with pytest.raises(ValueError, match="Did you mean 'watson'"):
        power("ajne", "watsen", n=30, d=3)
    with pytest.raises(TypeError, match="importable by name"):
        power("ajne", lambda n, d, batch, rng: None, n=30, d=3, n_sets=10, workers=2)


@pytest.mark.parametrize(
    ("sampler", "parameters", "text"),
    [
        (von_mises_fisher_mixture, {"kappa": 1.0, "means": [[1, np.nan]]}, "means must be finite"),
        (von_mises_fisher_mixture, {"kappa": [1, 2, 3], "means": np.eye(2)}, "one number or 2"),
        (von_mises_fisher_mixture,
         {"kappa": 1.0, "means": np.eye(2), "weights": [np.inf, 1]}, "weights must be 2 shares"),
        (bingham, {"matrix": [np.inf, 0.0]}, "matrix must be finite"),
        (bingham, {"matrix": [np.nan, 0.0]}, "matrix must be finite"),
        (local_alternative, {"strength": np.nan}, "strength must be finite"),
        (local_alternative, {"strength": 0.1, "weights": [np.nan]}, "weights must be finite"),
        (local_alternative, {"strength": 0.1, "weights": 5.0}, "weights must be finite"),
        (local_alternative, {"strength": 0.1, "weights": ()}, "weights must be finite"),
    ],
)  # fmt: skip
def test_parameters_that_are_no_law_are_refused(sampler, parameters, text):
    with pytest.raises(ValueError, match=text):
        sampler(10, 2, rng=0, **parameters)


def test_means_of_any_length_are_directions():
    far, near = (
        von_mises_fisher_mixture(50, 2, kappa=9.0, means=np.eye(2) * size, rng=0)
        for size in (1e200, 1e-200)
    )
    assert far == pytest.approx(near, abs=1e-12)


@pytest.mark.parametrize("d", [20, 47, 300])
def test_bingham_of_a_matrix_that_is_constant_but_for_rounding(d):
    diagonal = np.zeros(d)
    diagonal[-1] = -1e-15
    x = bingham(200, d, matrix=diagonal, rng=0)
    assert np.linalg.norm(x, axis=1) == pytest.approx(1.0)
    assert float((x[:, -1] ** 2).mean()) == pytest.approx(1 / d, rel=0.3)
