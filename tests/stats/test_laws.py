"""Null laws against closed forms."""

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import torch
from scipy import stats

from sphuni.distributions import random_points
from sphuni.special import harmonic_dimension
from sphuni.stats import build_test, uniformity_test
from sphuni.stats.laws import Empirical, SmallestDistance, WeightedChi2
from sphuni.stats.laws.circular import HodgesAjneLaw, KuiperLaw, LargestGap, Watson1976Law
from sphuni.stats.laws.line import KolmogorovLaw
from sphuni.stats.laws.monte_carlo import SequentialTable, gram_sample, simulate
from sphuni.stats.laws.packing import log_cap_tail
from sphuni.stats.laws.pair_sums import pair_sums
from sphuni.stats.laws.rayleigh import RayleighLaw
from sphuni.stats.nulls._null import Null, choose
from sphuni.stats.nulls._simulate import simulate_tests


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


def test_many_equal_values_have_the_tails_of_one():
    law = WeightedChi2(np.array([1e-40, 2e-40]), np.array([3.0, 4.0]))
    for value in (1e-40, 1.7e-39, 1e-37):
        one, many = law.tails(np.array([value])), law.tails(np.full(600, value))
        assert many.log_upper == pytest.approx(np.full(600, one.log_upper[0]), rel=1e-10)
        assert many.log_lower == pytest.approx(np.full(600, one.log_lower[0]), rel=1e-10)


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


def test_sums_of_very_many_degrees_far_below_their_mean():
    """The saddle is then narrow: P(a, x) by its series, which is geometric there."""
    degrees = 4e9
    law = WeightedChi2(np.ones(2), np.full(2, degrees / 2))
    a, x = degrees / 2, 0.45 * degrees
    series = np.cumprod(x / (a + np.arange(1.0, 400.0))).sum() + 1.0
    exact = a * (math.log(x / a) + 1.0 - x / a) - 0.5 * math.log(2 * math.pi * a) + math.log(series)
    assert float(law.tails(np.array(2 * x)).log_lower) == pytest.approx(exact, rel=1e-10)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("d", [3, 4, 16, 512])
@pytest.mark.parametrize("name", ["ajne", "bakshaev", "gine_fn", "softmax"])
def test_lower_tails_fall_down_to_the_end_of_the_support(name, d):
    law = build_test(name).limit_law(d)
    share = np.concatenate([10.0 ** np.arange(-15.0, 0.0, 0.5), [0.4, 0.7, 0.9, 1.0, 1.5]])
    lower = law.tails(law.lowest + share * (law.mean - law.lowest)).log_lower
    assert np.all(np.isfinite(lower))
    assert np.all(np.diff(lower) >= -1e-9 * np.abs(lower[1:]))


@pytest.mark.parametrize("n", [10, 20, 40])
def test_long_sums_on_the_sphere_have_their_exact_tail(n):
    """The piecewise polynomial in fractions."""
    for share in (Fraction(3, 5), Fraction(4, 5), Fraction(19, 20)):
        r = share * n
        above = [n - r - 2 * k for k in range(n) if n - r - 2 * k > 0]
        choose = [(-1) ** k * math.comb(n, k) for k in range(len(above))]
        tail = sum(c * gap**n for c, gap in zip(choose, above, strict=True))
        density = n * sum(c * gap ** (n - 1) for c, gap in zip(choose, above, strict=True))
        exact = (2 * r * density + 2 * tail) / Fraction(2**n * math.factorial(n))
        log = math.log(exact.numerator) - math.log(exact.denominator)
        ours = RayleighLaw(n, 3).tails(np.array(3.0 * float(r) ** 2 / n)).log_upper
        assert float(ours) == pytest.approx(log, rel=1e-7)


@pytest.mark.parametrize("d", [3, 30, 300])
def test_two_points_far_apart_have_a_lower_tail(d):
    """Further apart than p means in the cap about the antipode, however small that is."""
    p = np.array([3.5, 3.999])
    lower = SmallestDistance(2, d).tails(-p).log_lower
    assert lower == pytest.approx(log_cap_tail(1 - p / 4, d), rel=1e-9)


def test_kolmogorov_keeps_falling_where_the_probability_underflows():
    tails = KolmogorovLaw(3000).tails(np.sqrt(3000) * np.array([0.3, 0.34, 0.5, 0.9, 1.0]))
    assert np.all(np.isfinite(tails.log_upper[:4]))
    assert np.all(np.diff(tails.log_upper) < 0)
    one_side = stats.ksone.sf([0.3, 0.33], 3000)
    near = KolmogorovLaw(3000).tails(np.sqrt(3000) * np.array([0.3, 0.33])).log_upper
    assert near == pytest.approx(np.log(2 * one_side), rel=1e-9)


def test_a_covered_circle_is_no_evidence_of_an_empty_arc():
    """Arcs of 12 turns cover 5000 points' circle nearly always: that value has an atom."""
    x = random_points(5000, 2, rng=0, batch=(5,))
    assert np.all(uniformity_test(x, "max_uncover", a=24 * math.pi).pvalue == 1.0)


@pytest.mark.parametrize("name", ["vacancy", "num_uncover"])
@pytest.mark.parametrize("a", [0.01, 40.0])
def test_rare_uncovered_or_overlapping_arcs_have_no_normal_law(name, a):
    """Four of 2500 gaps are of the rarer kind: their number is a Poisson variable."""
    assert build_test(name).best_law(2500, 2).kind == "asymptotic"
    assert build_test(name, a=a).best_law(2500, 2) is None
    assert build_test(name, a=a).best_law(2_000_000, 2).kind == "asymptotic"
    result = uniformity_test(random_points(2500, 2, rng=0), name, a=a, null="asymptotic")
    assert any("arcs are too rare for the normal law" in note for note in result.notes)


def test_number_of_uncovered_arcs_has_its_level_where_it_is_small():
    """P(N >= 9) for the number of gaps above a / n is read off Fisher's moments, not the normal."""
    test, n, most = build_test("num_uncover", a=40.0), 2500, 9
    share = 40.0 / (2 * math.pi) / n
    factorial = [math.comb(n, k) * max(1 - k * share, 0.0) ** (n - 1) for k in range(60)]
    exact = sum(
        (-1) ** (k - most) * math.comb(k - 1, most - 1) * factorial[k] for k in range(most, 60)
    )
    law = choose(test, n, 2, Null(n_resamples=1999)).law
    turns = np.concatenate([np.linspace(0, 1, most + 1)[:-1], np.full(n - most, 1 - 1e-9)])
    value = float(test.of_turns(torch.from_numpy(turns), n))
    assert float(law.tails(value).upper) == pytest.approx(exact, abs=4 * math.sqrt(exact / 1999))


@pytest.mark.parametrize(("a", "n", "covered"), [(40.0, 20, True), (40.0, 4000, False)])
def test_a_circle_that_may_be_covered_is_an_atom(a, n, covered):
    for name in ("vacancy", "max_uncover"):
        assert build_test(name, a=a).has_atoms(n, 2) is covered
        result = uniformity_test(random_points(20, 2, rng=0), name, a=a, n_resamples=99)
        assert any("include its own value" in note for note in result.notes)
    assert build_test("vacancy", a=1.0).has_atoms(10, 2)  # no arcs overlap
    assert not build_test("max_uncover", a=1.0).has_atoms(10, 2)
    assert not build_test("vacancy").has_atoms(10, 2)


@pytest.mark.parametrize("a", [1e-5, 1e-3, 0.5, 6.28, 7.0, 40.0])
def test_arcs_of_any_length_are_standardised_with_all_digits(a):
    """A regular polygon, in 40 digits."""
    n, (polygon,) = 12, (torch.arange(12, dtype=torch.float64) / 12,)
    with mpmath.workdps(40):
        b = mpmath.mpf(a) / (2 * mpmath.pi)
        e, share, count = mpmath.exp(-b), max(1 - b, 0), int(b < 1)
        vacancy = (share - e) / mpmath.sqrt(2 * e - e**2 - (e * (1 + b)) ** 2)
        number = (count - e) / mpmath.sqrt(e - e**2 * (1 + b**2))
    for name, expected in (("vacancy", vacancy), ("num_uncover", number)):
        ours = float(build_test(name, a=a).of_turns(polygon, n)) / math.sqrt(n)
        assert ours == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize("t", [0.02, 0.1, 0.5, 0.9, 0.98])
def test_counts_of_fewer_points_are_stretched_with_their_skewness(t):
    """The counts in one arc are binomial at both numbers of points."""
    at, n = 10_000, 90_000
    probability = np.array([1e-6, 1e-3, 0.5, 0.999, 1 - 1e-6])
    few = stats.binom.ppf(probability, at, t) - at * t
    many = stats.binom.ppf(probability, n, t) - n * t
    excess = build_test("cressie", t=t)._stretched(few, at, n)
    assert np.abs(excess - many).max() < 3.0  # one unit of the fewer points is three of the more


def test_a_stretched_table_counts_points():
    """A value of its own stays within both tails."""
    sample = np.sort(np.random.default_rng(0).integers(700, 730, size=999)).astype(float)
    law = build_test("cressie").refine(Empirical(sample), 50_000, 2).law
    assert np.all(law.sample == np.rint(law.sample))
    tails = law.tails(law.sample[::50])
    assert np.all(tails.upper + tails.lower > 1.0)
    assert build_test("cressie").simulated_at(10**6) == 2000
    assert build_test("cressie", t=0.99).simulated_at(10**6) > 10_000


def test_ties_are_of_the_size_of_rounding_beside_a_large_constant():
    """A harmonic of degree 10 in R^500 has the mean 3e20 and the standard deviation 2e10."""
    z = np.sort(np.random.default_rng(0).standard_normal(4999))
    for law in (Empirical(3e20 + 2e10 * z), SequentialTable(3e20 + 2e10 * z, 5000)):
        tails = law.tails(np.array([3e20, 3e20 + 2e10]))
        assert np.abs(tails.upper - stats.norm.sf([0.0, 1.0])).max() < 0.03
        assert np.abs(tails.lower - stats.norm.cdf([0.0, 1.0])).max() < 0.03


@pytest.mark.parametrize(("rate", "log_lower"), [(20.0, -22.0664116919), (700.0, -2532.21974343)])
def test_gaps_of_many_points_that_are_too_even(rate, log_lower):
    """Fisher's sum in 2500 digits; the Poisson limit would say e^-rate."""
    share = -math.expm1(math.log(rate / 3000) / 2999)
    lower = LargestGap(3000).tails(np.array(2 * math.pi * share)).log_lower
    assert float(lower) == pytest.approx(log_lower, rel=1e-9)


@pytest.mark.parametrize("turns", [4.0, 2.0, 1.5, 1.05, 1 + 1e-9])
@pytest.mark.parametrize("n", [40, 99, 100])
def test_even_gaps_have_their_exact_probability(n, turns):
    """Fisher's sum in fractions."""
    x = 2 * math.pi * turns / n
    share = Fraction(x / (2 * math.pi))
    terms = range(min(n, math.floor(1 / share)) + 1)
    exact = sum((-1) ** k * math.comb(n, k) * (1 - k * share) ** (n - 1) for k in terms)
    log = math.log(exact.numerator) - math.log(exact.denominator)
    assert float(LargestGap(n).tails(np.array(x)).log_lower) == pytest.approx(log, rel=1e-8)


@pytest.mark.parametrize("n", [30, 1500, 1_000_000])
def test_gaps_that_are_nearly_those_of_a_polygon(n):
    """What is left of n gaps of the largest size is a simplex of its own: P = (n x - 1)^(n-1)."""
    over = 0.5 / n
    lower = LargestGap(n).tails(np.array(2 * math.pi * (1 + over) / n)).log_lower
    assert float(lower) == pytest.approx((n - 1) * math.log(over), rel=1e-8)


@pytest.mark.parametrize(("n", "over"), [(3, 1e-7), (10, 0.01), (17, 0.1), (21, 0.5)])
def test_few_nearly_equal_gaps_keep_the_digits_of_the_lower_tail(n, over):
    x = 2 * math.pi * (1 + over) / n
    with mpmath.workdps(200):
        share = mpmath.mpf(x / (2 * math.pi))
        terms = (mpmath.binomial(n, k) * (-1) ** k * (1 - k * share) ** (n - 1)
                 for k in range(n + 1) if k * share < 1)  # fmt: skip
        log = float(mpmath.log(mpmath.fsum(terms)))
    assert float(LargestGap(n).tails(np.array(x)).log_lower) == pytest.approx(log, rel=1e-8)


@pytest.mark.parametrize(
    ("weights", "degrees"), [([1.0, 0.01], [2.0, 1e4]), ([0.2, 0.05, 1e-3], [2.0, 4.0, 4e4])]
)
def test_few_degrees_of_freedom_beside_very_many(weights, degrees):
    """By quadrature of Gil-Pelaez's integral, whose integrand such laws make smooth and short."""
    law = WeightedChi2(np.array(weights), np.array(degrees))
    sd = math.sqrt(law.variance)
    u = (np.arange(4000) + 0.5) * (30.0 / sd / 4000)
    z = 2j * u[:, None] * law.weights
    log_phi = -0.5 * (np.log(1.0 - z) + z) @ law.degrees
    at = np.linspace(-2.5, 4.0, 14) * sd
    waves = np.exp(log_phi - 1j * u * at[:, None]).imag / u
    expected = 0.5 + waves.sum(-1) * u[0] * 2.0 / math.pi
    tails = law.tails(law.mean + at)
    assert tails.upper == pytest.approx(expected, abs=1e-8)
    far = law.tails(law.mean + sd * np.array([5.0, 10.0, 40.0, 200.0])).log_upper
    assert np.all(np.diff(far) < 0)
    assert np.isfinite(far).all()


def test_sums_of_squared_gaps_have_their_exact_moments():
    """Gaps are Dirichlet: E prod D_i^a_i = prod a_i! / (n (n + 1) ... (n + sum a - 1))."""
    n = 2001
    one = Fraction(2 * n, math.prod(range(n, n + 2)))
    two = Fraction(24 * n + 4 * n * (n - 1), math.prod(range(n, n + 4)))
    pairs, triples = n * (n - 1), n * (n - 1) * (n - 2)
    three = Fraction(720 * n + 144 * pairs + 8 * triples, math.prod(range(n, n + 6)))
    variance, third = two - one**2, three - 3 * one * two + 2 * one**3
    law = build_test("greenwood").best_law(n, 2).law
    assert law.mean == pytest.approx(n**0.5 * float(n * one - 2), rel=1e-12)
    assert law.variance == pytest.approx(float(n**3 * variance), rel=1e-12)
    assert law.cumulant(3) == pytest.approx(n**1.5 * float(n**3 * third), rel=1e-12)
    linear = build_test("gini_squared").best_law(n, 2).law
    factor = 2 * n / (n - 1)
    assert linear.mean == pytest.approx(n**0.5 * (factor * float(n * one - 1) - 2), rel=1e-9)
    assert linear.variance == pytest.approx(factor**2 * law.variance, rel=1e-12)


def test_sums_of_squared_gaps_are_skewed_at_two_thousand_points():
    n, rng = 2001, np.random.default_rng(0)
    gaps = rng.standard_exponential((10_000, n))
    gaps /= gaps.sum(1, keepdims=True)
    statistic = n**0.5 * (n * (gaps**2).sum(1) - 2)
    tails = build_test("greenwood").best_law(n, 2).law.tails(statistic)
    assert np.mean(tails.upper <= 0.01) == pytest.approx(0.01, abs=0.0025)
    assert np.mean(tails.lower <= 0.01) == pytest.approx(0.01, abs=0.0025)


@pytest.mark.parametrize("n", [2001, 10_000])
def test_the_excess_of_the_ecdf_over_its_mean_has_its_mean(n):
    """Angles have the mean 1/2 of a turn, so that is the mean of one side's Kolmogorov distance."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    end = 4.0 / n**0.5
    one_sided = 0.5 * end * weights @ stats.ksone.sf(0.5 * end * (nodes + 1.0), n)
    law = build_test("watson_1976").best_law(n, 2).law
    assert law.mean == pytest.approx(n**0.5 * one_sided, rel=1e-4)


def test_pairs_too_rare_for_the_grid_do_not_move_the_rest():
    """Without the one that adds 1000, which is in no sample, the sum is symmetric about 0."""
    ordinary = np.linspace(-0.02, 0.02, 401)
    y, rates = np.append(ordinary, 1000.0), np.append(np.full(401, 2.5), 1e-4)
    far = WeightedChi2(np.array([1.0]), np.array([1.0]), 0.0)
    law = pair_sums(
        y, rates, np.array([]), np.array([]),
        offset=0.0, mean=0.1, variance=float(rates @ y**2), whole=y, far=far,
    )  # fmt: skip
    places = math.sqrt(2.5 * float(np.sum(ordinary**2))) * np.array([-2.0, 0.0, 2.0])
    below = stats.norm.cdf([-2.0, 0.0, 2.0])
    assert law.tails(places).lower == pytest.approx(below, rel=0.01)
    assert law.tails(places).upper == pytest.approx(1.0 - below, rel=0.01)


def test_the_law_by_pairs_of_a_narrow_kernel_has_the_lower_quantiles_of_simulated_sets():
    """Half of uniform sets were below the 0.1 % point."""
    law = build_test("softmax:kappa=300").pair_law(1999, 10)
    lower = law.tails(np.array([-2.1059e-06, -1.89e-06, 7.49e-07])).lower
    assert lower == pytest.approx([0.1, 0.5, 0.9], rel=0.15)
