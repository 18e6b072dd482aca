"""Power and size: the expected zeros and ones, and reproducibility."""

import numpy as np
import pytest
import torch

from sphuni import random_points
from sphuni.stats import power, power_table, size


@pytest.mark.slow
def test_same_numbers_for_any_number_of_workers():
    seen = []
    one = power("rayleigh", "von_mises_fisher", n=100, d=20, kappa=2.0, n_sets=1200, rng=4)
    two = power(
        "rayleigh", "von_mises_fisher", n=100, d=20, kappa=2.0, n_sets=1200, rng=4, workers=2,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert one == two
    assert seen[-1] == (1200, 1200)
    assert len(seen) > 1


def test_rayleigh_is_blind_to_axes_and_bingham_is_not():
    axial = {"n": 60, "d": 3, "kappa": 3.0, "n_sets": 500, "rng": 0}
    assert power("rayleigh", "watson", **axial).upper < 0.3
    assert power("bingham", "watson", **axial).upper > 0.95
    assert power("gine_gn", "watson", **axial).upper > 0.95


def test_repulsive_points_show_in_the_lower_tail():
    result = power("gine_fn", "spherical_ensemble", n=40, d=3, n_sets=200, rng=0)
    assert result.lower > 0.8
    assert result.upper == 0.0
    assert result.upper_interval[0] == 0.0
    assert result.upper_interval[1] == pytest.approx(0.018, abs=0.002)


def test_size_at_small_n_uses_a_table():
    result = size("bakshaev", n=5, d=3, n_sets=4000, rng=0)
    assert result.null == "monte-carlo"
    assert 0.04 < result.upper < 0.06
    assert 0.04 < result.lower < 0.06


def test_own_sampler_and_refusals():
    from sphuni.distributions import random_points

    assert power("ajne", random_points, n=30, d=3, n_sets=50, rng=0).alternative == "random_points"
    with pytest.raises(ValueError, match="alternative must be one of"):
        power("ajne", "nope", n=30, d=3)
    with pytest.raises(ValueError, match="alpha must be a level"):
        size("ajne", n=30, d=3, alpha=0.0)
    with pytest.raises(ValueError, match="n_sets"):
        size("ajne", n=30, d=3, n_sets=0)


def test_descent_works_where_gradients_are_off():
    result = power("packing", "minimum_energy", n=30, d=3, steps=8, n_sets=20, rng=0)
    assert result.lower == 1.0


def test_simulated_nulls_have_seeds_of_their_own():
    sizes = {
        size(
            "kuiper", n=9, d=2, n_sets=300, null="monte-carlo", n_resamples=199, rng=3, workers=w
        ).upper
        for w in (1, 1, 2)
    }
    assert len(sizes) == 1


def test_parameters_that_an_alternative_does_not_have_are_refused():
    with pytest.raises(TypeError, match="'watson' has no parameter 'kapa'; it takes kappa, mu"):
        power("bingham", "watson", n=20, d=3, kapa=1.0, kappa=1.0, n_sets=10, rng=0)


def test_parameters_that_an_alternative_cannot_do_without_are_named():
    with pytest.raises(TypeError, match="alternative 'small_circle' needs kappa=, nu="):
        power("bingham", "small_circle", n=20, d=3, n_sets=10, rng=0)


def test_results_say_what_they_are_of():
    (one,) = power_table(["riesz:s=1"], "watson", n=20, d=3, kappa=2.0, n_sets=10, rng=0)
    assert (one.test, one.parameters["s"]) == ("riesz", 1)
    assert (one.alternative, one.alternative_parameters) == ("watson", {"kappa": 2.0})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": [20, 30]}, "n must be a whole number"),
        ({"d": 1}, "d must be at least 2"),
        ({"alpha": [0.05, 0.1]}, "alpha must be a number"),
        ({"n_sets": 1.5}, "n_sets must be a whole number"),
        ({"alternative": "watson", "kappa": [0.0, 1.0]}, "kappa must be a number"),
        ({"alternative": "antipodal_dependent", "kappa": [1.0]}, "kappa must be a number"),
        ({"alternative": "local_alternative", "strength": [0.1, 0.2]}, "strength must be a number"),
        ({"alternative": "minimum_energy", "steps": [1, 2]}, "steps must be a whole number"),
    ],
)
def test_several_values_where_one_is_wanted_are_refused(options, message):
    given = {"alternative": "uniform", "n": 20, "d": 3, "n_sets": 10, "rng": 0} | options
    with pytest.raises((TypeError, ValueError), match=message):
        power("rayleigh", **given)


def test_every_set_has_clusters_of_its_own():
    """One draw of the centres for all sets would make each run's power another number."""
    given = {"n": 30, "d": 3, "kappa": 20.0, "n_sets": 1000}
    found = [power("rayleigh", "clusters", **given, rng=seed).upper for seed in range(3)]
    assert max(found) - min(found) < 0.08


def test_a_table_of_powers_prints_a_line_a_test_and_level():
    table = power_table(
        ["rayleigh", "riesz:s=0.5"], "watson", n=30, d=3, alphas=(0.05, 0.01), n_sets=50, kappa=2.0,
        rng=0,
    )  # fmt: skip
    head, *lines = str(table).splitlines()
    assert head == "PowerTable(watson, kappa=2; n=30, d=3, n_sets=50)"
    assert [line.split()[:2] for line in lines] == [
        ["rayleigh", "alpha=0.05"],
        ["rayleigh", "alpha=0.01"],
        ["riesz(s=0.5)", "alpha=0.05"],
        ["riesz(s=0.5)", "alpha=0.01"],
    ]
    assert f"upper={table.results[2].upper:.4g} [" in lines[2]


@pytest.mark.parametrize("convert", [np.float32, torch.from_numpy, torch.FloatTensor])
def test_samplers_may_be_of_any_precision_and_library(convert):
    def sampler(n, d, *, batch, rng):
        return convert(random_points(n, d, batch=batch, rng=rng))

    plain = power("rayleigh", "uniform", n=20, d=3, n_sets=200, rng=0)
    assert abs(power("rayleigh", sampler, n=20, d=3, n_sets=200, rng=0).upper - plain.upper) < 0.1


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        (lambda n, d, batch: random_points(n, d), r"must give shape \(50, 20, 3\)"),
        (lambda n, d, batch: random_points(n, d + 1, batch=batch), "must give shape"),
        (lambda n, d, batch: 2 * random_points(n, d, batch=batch), "must have unit rows"),
    ],
)
def test_samplers_that_give_something_else_are_refused(sampler, message):
    with pytest.raises(ValueError, match=message):
        power("rayleigh", lambda n, d, *, batch, rng: sampler(n, d, batch), n=20, d=3, n_sets=50)
