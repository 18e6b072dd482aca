"""Null laws against closed forms."""

import math

import numpy as np
import pytest
from scipy import stats

from sphuni.special import harmonic_dimension
from sphuni.stats import build_test
from sphuni.stats._simulate import simulate_tests
from sphuni.stats.laws import Empirical, SmallestDistance, WeightedChi2
from sphuni.stats.laws.circular import HodgesAjneLaw, KuiperLaw, LargestGap, Watson1976Law
from sphuni.stats.laws.monte_carlo import gram_sample, simulate
from sphuni.stats.laws.packing import log_cap_tail


@pytest.mark.parametrize("degrees", [1, 2, 3, 7.5, 60, 1e5])
def test_single_chi_square(degrees):
    law = WeightedChi2(np.array([1.0]), np.array([float(degrees)]))
    x = degrees * np.array([0.05, 0.5, 0.9, 1.0, 1.1, 2.0, 3.0])
    tails = law.tails(x)
    sf, cdf = stats.chi2.sf(x, degrees), stats.chi2.cdf(x, degrees)
    held = sf > 1e-280
    assert tails.upper[held] == pytest.approx(sf[held], rel=1e-10)
    held = cdf > 1e-280
    assert tails.lower[held] == pytest.approx(cdf[held], rel=1e-10)


def test_tail_far_below_the_smallest_float():
    law = WeightedChi2(np.array([2.0]), np.array([2.0]))
    assert law.tails(np.array(8000.0)).log_upper == pytest.approx(-2000.0, rel=1e-12)


def test_weights_of_equal_size_add_their_degrees():
    x = np.array([0.2, 3.0, 40.0])
    one = WeightedChi2(np.array([0.3]), np.array([9.0])).tails(x)
    three = WeightedChi2(np.full(3, 0.3), np.array([2.0, 3.0, 4.0])).tails(x)
    assert three.log_upper == pytest.approx(one.log_upper, rel=1e-11)
    assert three.log_lower == pytest.approx(one.log_lower, rel=1e-11)


def test_ajne_and_watson_on_the_circle():
    x = np.array([0.05, 0.1, 0.3, 0.656, 1.5, 3.0])
    m = np.arange(1, 200)
    odd = (2 * m - 1) ** 2
    ajne = [
        4 / math.pi * np.sum((-1.0) ** (m - 1) * np.exp(-v * math.pi**2 * odd / 2) / (2 * m - 1))
        for v in x
    ]
    law = build_test("ajne").asymptotic_law(10, 2).law
    assert law.tails(x).upper == pytest.approx(np.array(ajne), rel=1e-10)
    y = x / 4
    watson = [2 * np.sum((-1.0) ** (m - 1) * np.exp(-2 * (m * math.pi) ** 2 * v)) for v in y]
    law = build_test("watson").asymptotic_law(10, 2).law
    assert law.tails(y).upper == pytest.approx(np.array(watson), rel=1e-10)


def test_many_values_are_interpolated_closely():
    law = WeightedChi2(np.array([0.3, 0.05, 0.01]), np.array([2.0, 2.0, 5.0]))
    x = np.linspace(0.02, 4.0, 1000)
    many = law.tails(x)
    few = law.tails(x[::10])
    assert many.log_upper[::10] == pytest.approx(few.log_upper, abs=1e-6)
    assert many.log_lower[::10] == pytest.approx(few.log_lower, abs=1e-6)


@pytest.mark.parametrize("d", [2, 3, 4, 10, 64, 512])
@pytest.mark.parametrize("name", ["ajne", "gine_gn", "gine_fn", "bakshaev", "pcvm", "pad", "prt"])
def test_weights_add_up_to_the_statistic_of_one_point(name, d):
    """The trace of the kernel; its even part is that of the doubled set."""
    test = build_test(name)
    law = test.asymptotic_law(10, d).law
    assert law.mean == pytest.approx(test.at_one(d), rel=1e-12)
    assert float(law.weights @ law.degrees) <= law.mean * (1 + 1e-9)


@pytest.mark.parametrize("d", [2, 3, 4, 7, 64])
@pytest.mark.parametrize(
    ("name", "parameters"),
    [("ajne", {}), ("gine_gn", {}), ("riesz", {"s": 1.5}), ("pcvm", {}), ("pad", {}),
     ("prt", {"t": 0.2}), ("poisson", {"rho": 0.3}), ("softmax", {"kappa": 3.0}),
     ("sobolev", {}), ("stein", {})],
)  # fmt: skip
def test_coefficients_are_those_of_the_kernel(name, parameters, d):
    from sphuni.special import cosine_quadrature, gegenbauer

    test = build_test(name, **parameters)
    nodes, weights = cosine_quadrature(d, 1500)
    psi = test.values(nodes, d)
    share = gegenbauer(6, nodes, d) @ (weights * psi)
    dims = np.array([harmonic_dimension(k, d) for k in range(7)])
    ours = np.zeros(6)
    listed = test.coefficients(d, 6)[:6]
    ours[: listed.size] = listed
    assert share[0] == pytest.approx(0.0, abs=1e-6)
    assert (share * dims)[1:] == pytest.approx(ours, abs=2e-5 * max(1.0, ours.max()))


def test_smallest_distance_on_the_circle_is_exact():
    n = 7
    law = SmallestDistance(n, 2)
    gap = 0.2
    p = (2 * math.sin(gap / 2)) ** 2
    assert float(law.tails(np.array(-p)).lower) == pytest.approx(
        (1 - n * gap / (2 * math.pi)) ** (n - 1)
    )


def test_smallest_distance_of_two_points():
    law = SmallestDistance(2, 3)
    assert float(law.tails(np.array(-1.0)).upper) == pytest.approx(0.25)


@pytest.mark.parametrize("d", [3, 384, 4096])
def test_cap_tail_in_logarithms(d):
    u = np.array([1e-12, 1e-3, 0.3])
    ours = log_cap_tail(u, d)
    exact = stats.beta.logcdf(u, (d - 1) / 2, (d - 1) / 2)
    known = np.isfinite(exact) & (exact > -600)
    assert np.all(np.isfinite(ours))
    assert ours[known] == pytest.approx(exact[known], rel=1e-9)


def test_largest_gap():
    law = LargestGap(5)
    x = np.array([0.5, 1.4, 2.0, 4.271])
    share = x / (2 * math.pi)
    exact = [
        math.fsum((-1) ** (k - 1) * math.comb(5, k) * max(1 - k * s, 0) ** 4 for k in range(1, 6))
        for s in share
    ]
    assert law.tails(x).upper == pytest.approx(np.array(exact), abs=1e-12)


def test_largest_gap_in_its_lower_tail_keeps_digits():
    from fractions import Fraction

    n, share = 30, Fraction(1, 20)
    exact = sum((-1) ** k * math.comb(n, k) * (1 - k * share) ** (n - 1) for k in range(20))
    x = np.array(2 * math.pi * float(share))
    assert float(LargestGap(n).tails(x).lower) == pytest.approx(float(exact), rel=1e-6)


def test_hodges_ajne_counts_all_outcomes():
    law = HodgesAjneLaw(9)
    tails = law.tails(np.arange(5.0, 10.0))
    mass = tails.upper - np.append(tails.upper[1:], 0.0)
    assert tails.upper[0] == 1.0
    assert np.all(mass > 0)
    assert tails.lower == pytest.approx(np.cumsum(mass), abs=1e-12)


def test_kuiper_series_agree_where_they_meet():
    law = KuiperLaw(10**9)
    tails = law.tails(np.array([1.19999, 1.20001, 1.747, 2.001]))
    assert tails.upper[0] == pytest.approx(tails.upper[1], rel=1e-4)
    assert tails.upper[2:] == pytest.approx([0.05, 0.01], rel=0.01)


def test_excursion_area_has_its_mean():
    law = Watson1976Law()
    x = np.linspace(0.02, 3.0, 4000)
    assert float(np.trapezoid(law.tails(x).upper, x)) + 0.02 == pytest.approx(law.mean, abs=1e-5)


def test_monte_carlo_pvalue_is_never_zero():
    law = Empirical(np.sort(np.arange(99.0)))
    tails = law.tails(np.array([1e9, -1e9, 98.0]))
    assert tails.upper == pytest.approx([0.01, 1.0, 0.02])
    assert tails.lower == pytest.approx([1.0, 0.01, 1.0])


def test_simulation_does_not_depend_on_workers():
    tests = [build_test("rayleigh"), build_test("pad")]
    one = simulate_tests(tests, 40, 5, 1200, rng=3)
    two = simulate_tests(tests, 40, 5, 1200, rng=3, workers=2)
    assert np.array_equal(one, two)
    statistic = build_test("rayleigh").statistic
    assert np.array_equal(one[:, 0], simulate(lambda x: statistic(x, 5), 40, 5, 1200, rng=3))


def test_gram_sample_has_the_law_of_cosines():
    rows = gram_sample(4, 200, 4000, np.random.default_rng(0))
    assert rows.shape == (4000, 4, 4)
    cosines = (rows @ rows.mT)[:, 0, 1].numpy()
    assert cosines.var() == pytest.approx(1 / 200, rel=0.1)
    assert stats.kstest((1 + cosines) / 2, stats.beta(99.5, 99.5).cdf).pvalue > 1e-3
