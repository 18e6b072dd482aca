"""One test for each defect of the R package that TESTS OF UNIFORMITY list: none is copied."""

import re

import numpy as np
import pytest
import torch

import sphuni.stats as st
from sphuni._errors import NumericalWarning
from sphuni.distributions import random_points, von_mises_fisher
from sphuni.stats.laws.circular import KuiperLaw
from sphuni.stats.laws.monte_carlo import Empirical, simulate
from sphuni.stats.nulls._simulate import evaluate, simulate_tests


def size(name, n, d, level=0.05, count=8000, **parameters):
    test = st.build_test(name, **parameters)
    sample = simulate(lambda x: test.statistic(x, d).double(), n, d, count, rng=7)
    law = (test.best_law(n, d) or test.asymptotic_law(n, d)).law
    tails = law.tails(sample)
    return float(np.mean(tails.upper <= level)), float(np.mean(tails.lower <= level))


def test_b1_decisions_are_the_right_way_round():
    assert st.uniformity_test(random_points(50, 3, rng=0)).pvalue > 0.05
    assert st.uniformity_test(von_mises_fisher(50, 3, kappa=5.0, rng=0)).pvalue < 1e-6


def test_b2_a_planted_pair_is_found_and_uniform_points_are_not():
    x = random_points(100, 50, rng=0)
    x[1] = x[0] + 0.01 * x[2]
    x[1] /= np.linalg.norm(x[1])
    assert st.uniformity_test(x, "packing").pvalue < 1e-12
    assert st.uniformity_test(x, "cj12", antipodal=True).pvalue < 1e-12
    for d in (3, 50):
        upper, _ = size("packing", 60, d, count=4000)
        assert 0.036 < upper < 0.064


def test_b3_stephens_multiplies_the_statistic():
    kuiper = st.build_test("kuiper")
    sample = simulate(lambda x: kuiper.statistic(x, 2), 10, 2, 20_000, rng=0)
    assert 0.042 < np.mean(KuiperLaw(10, "stephens").tails(sample).upper <= 0.05) < 0.06
    upper, _ = size("watson", 20, 2)
    assert 0.042 < upper < 0.058


def test_both_tails_of_kuiper_have_their_size_where_tables_end():
    lower, upper = size("kuiper", 100, 2, count=20_000)[::-1]
    assert 0.042 < lower < 0.058
    assert 0.042 < upper < 0.058


def test_b4_discrete_tails_include_the_value():
    upper, _ = size("hodges_ajne", 10, 2, count=20_000)
    assert upper <= 0.055
    theta = np.linspace(0, 0.1, 6)
    x = np.stack([np.cos(theta), np.sin(theta)], 1)
    r = st.uniformity_test(x, "hodges_ajne")
    assert r.statistic == 6
    assert r.pvalue == pytest.approx(6 / 2**5)


def test_b5_num_uncover_sees_clustering_in_its_lower_tail():
    x = von_mises_fisher(100, 2, kappa=3.0, rng=0)
    r = st.uniformity_test(x, "num_uncover", n_resamples=999)
    assert r.pvalue_lower < 0.01


@pytest.mark.parametrize("s", [0.0, pytest.param(-0.5, marks=pytest.mark.slow)])
def test_b6_u_forms_are_centred(s):
    upper, lower = size("riesz", 100, 3, count=4000, s=s)
    assert 0.036 < upper < 0.064
    assert 0.036 < lower < 0.064


def test_b7_simulated_p_is_never_zero():
    x = von_mises_fisher(50, 3, kappa=5.0, rng=0)
    r = st.uniformity_test(x, "pad", null="monte-carlo", rng=0, n_resamples=199)
    assert r.pvalue == pytest.approx(1 / 200)
    assert any("floor" in note for note in r.notes)


def test_b8_rows_must_be_unit():
    x = 5 * np.random.default_rng(0).standard_normal((100, 3))
    with pytest.raises(ValueError, match=r"must have unit rows.*sphuni\.normalize"):
        st.uniformity_test(x)
    x[3, 1] = np.nan
    with pytest.raises(ValueError, match="must be finite"):
        st.uniformity_test(x)


@pytest.mark.parametrize(("name", "d"), [("pycke", 2), ("pycke", 3), ("stereo", 4)])
@pytest.mark.filterwarnings("ignore:test .* is infinite at")
def test_b9_duplicates_are_not_dropped(name, d):
    x = random_points(30, d, rng=0)
    x[1] = x[0]
    assert st.uniformity_test(x, name, null="asymptotic").pvalue == 0.0


def test_b10_pycke_is_refused_where_it_does_not_exist():
    with pytest.raises(ValueError, match="test 'pycke' is defined"):
        st.uniformity_test(random_points(10, 4, rng=0), "pycke")


@pytest.mark.parametrize("d", [4, 5, 10])
@pytest.mark.parametrize("name", ["pcvm", "pad", "prt"])
def test_b11_projected_kernels_are_not_interpolated_coarsely(name, d):
    """The kernel on the table equals its own Gegenbauer series."""
    from sphuni.special import gegenbauer

    test = st.build_test(name)
    t = np.linspace(-0.95, 0.9, 7)
    values = test.coefficients(d, 500)
    series = values @ gegenbauer(values.size, t, d)[1:]
    assert test.values(t, d) == pytest.approx(series, abs=2e-5)
    kernel = test.pair_terms(d)[0].kernel
    p = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(kernel.value(p, 4 - p), p)
    ours = kernel.derivative(p, 4 - p).detach()
    assert float(ours) == pytest.approx(-2 * float(slope), rel=1e-6)


def test_b13_tails_keep_the_mean_of_the_terms_left_out():
    """Riesz s = 0.5: sphunif's truncated series is off by 0.05 at d = 3."""
    test = st.build_test("riesz", s=0.5)
    law = test.asymptotic_law(100, 3).law
    assert law.mean == pytest.approx(test.at_one(3), rel=1e-12)
    sample = simulate(lambda x: test.statistic(x, 3).double(), 100, 3, 4000, rng=3)
    assert sample.mean() == pytest.approx(law.mean, abs=5 * sample.std() / 4000**0.5)


def test_b14_weights_do_not_underflow_in_high_dimension():
    x = random_points(30, 4096, rng=0)
    for name in ("stein", "softmax", "quadratik_u"):
        r = st.uniformity_test(x, name, null="asymptotic")
        assert 1e-3 < r.pvalue < 1 - 1e-3, name


@pytest.mark.parametrize(
    ("n", "d"),
    [
        (20, 3),
        *(pytest.param(*shape, marks=pytest.mark.slow) for shape in [(20, 2), (50, 10), (50, 512)]),
    ],
)
@pytest.mark.parametrize("name", ["rayleigh", "bingham", "gine_fn", "pad"])
def test_sizes_in_both_tails(name, n, d):
    upper, lower = size(name, n, d, count=5000)
    assert 0.037 < upper < 0.063
    assert 0.037 < lower < 0.063


@pytest.mark.parametrize("null", ["auto", "monte-carlo"])
def test_coincident_points_give_p_zero_under_every_null(null):
    x = random_points(12, 3, rng=0)
    x[3] = x[2]
    with pytest.warns(NumericalWarning, match="the p-value 0"):
        r = st.uniformity_test(x, "riesz", s=0.0, null=null, n_resamples=99, rng=0)
    assert (r.pvalue, r.pvalue_lower) == (0.0, 1.0)
    assert any("exactly 0" in note for note in r.notes)


@pytest.mark.parametrize("d", [256, 300, 4096])
@pytest.mark.parametrize("cf", [False, True])
def test_stein_weights_in_high_dimension(d, cf):
    r = st.uniformity_test(random_points(20, d, rng=0), "stein", cf=cf, null="asymptotic")
    assert 1e-3 < r.pvalue < 1 - 1e-3


_NARROW = [
    ("softmax", {"kappa": 300.0}, 15, 10),
    ("softmax", {"kappa": 1e4}, 30, 5),
    ("mmd", {"bandwidth": 0.003}, 30, 3),
    ("poisson", {"rho": 0.5}, 12, 200),
]


@pytest.mark.parametrize(("name", "parameters", "n", "d"), _NARROW)
def test_simulated_tables_of_narrow_kernels_are_those_of_the_statistic(name, parameters, n, d):
    """Most sets hold no close pair: their statistics are nearly equal, and no longer if moved."""
    test = st.build_test(name, **parameters)
    sample = np.sort(simulate_tests([test], n, d, 2000, rng=1)[:, 0])
    x = torch.from_numpy(random_points(n, d, batch=(400,), rng=2))
    tails = Empirical(sample).tails(test.statistic(x).numpy())
    for level, most in ((0.01, 0.035), (0.05, 0.1), (0.5, 0.6)):
        assert np.mean(tails.upper <= level) <= most
        assert np.mean(tails.lower <= level) <= most


@pytest.mark.parametrize("null", ["auto", "monte-carlo"])
def test_p_values_of_narrow_kernels_are_not_all_small(null):
    p = [
        st.uniformity_test(
            random_points(15, 50, rng=i), "softmax", kappa=100.0, null=null, n_resamples=999, rng=0
        ).pvalue
        for i in range(8)
    ]
    assert max(p) > 0.1


def test_binned_sums_keep_the_ranks_of_a_spiky_statistic():
    test = st.build_test("softmax", kappa=1e4)
    x = torch.from_numpy(random_points(30, 3, batch=(1000,), rng=0))
    exact = test.statistic(x).numpy()
    order = np.argsort(exact)
    binned = evaluate(x, [test], 3)[order, 0]
    settled = np.maximum.accumulate(binned)
    assert np.all(settled - binned <= 1e-3 * np.abs(settled - exact[order[0]]) + 1e-14)


@pytest.mark.parametrize("antipodal", [False, True])
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("softmax", {"kappa": 1e6}),
        ("mmd", {"bandwidth": 0.001}),
        ("poisson", {"rho": 0.999}),
        ("poisson", {"rho": 0.9999}),
        ("quadratik_u", {"rho": 1 - 1e-9}),
    ],
)
def test_no_smooth_law_for_a_spike(name, parameters, antipodal):
    assert st.build_test(name, antipodal=antipodal, **parameters).best_law(30, 3) is None


@pytest.mark.parametrize(
    ("name", "parameters", "n"),
    [("softmax", {"kappa": 1e6}, 250), ("poisson", {"rho": 0.999999}, 1500)],
)
def test_no_compound_poisson_law_where_most_sets_have_one_value(name, parameters, n):
    assert st.build_test(name, **parameters).best_law(n, 3) is None


@pytest.mark.parametrize(
    ("name", "parameters", "d"),
    [("softmax", {"kappa": 50.0}, 3), ("softmax", {"kappa": 1e6}, 3), ("mmd", {}, 10)],
)
def test_moments_of_spikes_in_closed_form(name, parameters, d):
    test = st.build_test(name, **parameters)
    raw = [1.0, *(_raw_moment(test.kappa * k, d) for k in range(1, 5))]
    m = raw[1]
    fourth = raw[4] - 4 * m * raw[3] + 6 * m**2 * raw[2] - 3 * m**4
    assert test.moments(d).third == pytest.approx(raw[3] - 3 * m * raw[2] + 2 * m**3, rel=1e-6)
    assert test.moments(d).fourth == pytest.approx(fourth, rel=1e-6)


def _raw_moment(kappa, d):
    """E e^(kappa (t - 1))."""
    if d == 3:
        return -np.expm1(-2 * kappa) / (2 * kappa)
    t = np.linspace(-1, 1, 200_001)
    density = (1 - t * t) ** (0.5 * (d - 3))
    return np.trapezoid(density * np.exp(kappa * (t - 1)), t) / np.trapezoid(density, t)


@pytest.mark.parametrize(
    ("name", "parameter"), [("mmd", {"bandwidth": 1e-5}), ("softmax", {"kappa": 1e10})]
)
def test_a_kernel_without_a_mean_is_refused(name, parameter):
    ((key, value),) = parameter.items()
    words = rf"{key}={re.escape(str(value))} .* so narrow .*; take a wider one"
    with pytest.raises(ValueError, match=words):
        st.uniformity_test(random_points(30, 3, rng=0), name, **parameter)
