"""Laws, p-values and moments at the edges: lines, infinite statistics, tails, sizes of tables."""

import math

import numpy as np
import pytest
import torch

import sphuni.stats as st
from sphuni._errors import NumericalWarning
from sphuni.distributions import angular_central_gaussian, clusters, random_points
from sphuni.stats.kernels._coefficients import bessel_ratios
from sphuni.stats.laws.line import KolmogorovLaw
from sphuni.stats.laws.monte_carlo import simulate


def of_lines():
    """Every test that takes lines, in two dimensions in which it does."""
    for info in st.available_tests():
        for d in (2, 3, 6):
            try:
                test = st.build_test(info.name, antipodal=True)
                test.check(30, d)
            except (TypeError, ValueError):
                continue
            yield pytest.param(info.name, d, id=f"{info.name}-{d}")


@pytest.mark.parametrize(("name", "d"), list(of_lines()))
def test_the_laws_of_lines_have_the_mean_of_simulated_ones(name, d):
    test = st.build_test(name, antipodal=True)
    choice = test.best_law(30, d)
    if choice is None or not math.isfinite(choice.law.mean):
        return  # a table serves, or the statistic has no mean
    sample = simulate(lambda x: test.statistic(x, d).double(), 30, d, 600, rng=3)
    error = float(np.std(sample)) / math.sqrt(600)
    assert choice.law.mean == pytest.approx(float(np.mean(sample)), abs=5 * error)


@pytest.mark.parametrize(("name", "parameters"), [("bingham", {}), ("rayleigh_m", {"m": 4})])
def test_what_sees_even_harmonics_only_says_the_same_of_lines(name, parameters):
    x = random_points(40, 2, batch=20, rng=0)
    points, lines = (
        st.uniformity_test(x, name, **parameters, **extra) for extra in ({}, {"antipodal": True})
    )
    assert lines.statistic == pytest.approx(2 * points.statistic, rel=1e-12)
    assert lines.pvalue == pytest.approx(points.pvalue, rel=1e-9)
    assert lines.effect_size == pytest.approx(points.effect_size, rel=1e-12)
    assert lines.null_mean == pytest.approx(2 * points.null_mean)


def test_a_statistic_that_is_not_a_number_has_no_p_value():
    x = random_points(20, 3, rng=0)
    y = np.vstack([x, x[:1], -x[1:2]])
    both_ways = st.build_test("stereo", a=-1.0)
    with pytest.warns(NumericalWarning, match="infinities of both signs"):
        one = st.cluster_test(y, both_ways, rng=0, n_resamples=19)
    assert np.isnan([one.pvalue, one.pvalue_lower, one.pvalue_two_sided]).all()
    with pytest.warns(NumericalWarning, match="infinities of both signs"):
        several = st.joint_tests(y, [both_ways, "rayleigh"], rng=0, n_resamples=99)
    alone = st.joint_tests(y, ["rayleigh"], rng=0, n_resamples=99)
    assert np.isnan([several.pvalues[0], several.adjusted[0]]).all()
    assert several.adjusted[1] == several.pvalue == alone.pvalue


@pytest.mark.parametrize("d", [26, 512, 768])
def test_the_square_distance_is_rayleigh_in_every_dimension(d):
    x = random_points(50, d, rng=0)
    ours = st.uniformity_test(x, "riesz", s=2).pvalue
    assert ours == pytest.approx(st.uniformity_test(x, "rayleigh").pvalue, rel=1e-8)


def test_tests_without_a_law_are_refused():
    x = random_points(50, 2, rng=0)
    for name in ("prt", "rothman"):
        with pytest.raises(ValueError, match="sees odd harmonics only"):
            st.uniformity_test(x, name, t=0.5, antipodal=True)
    with pytest.raises(ValueError, match="sees nothing but coincident points"):
        st.uniformity_test(random_points(5, 20_000, rng=0), "quadratik_u", rho=0.1)
    for name, parameters in (("rayleigh_m", {"m": 1.5}), ("stein", {"K": 2.5})):
        with pytest.raises(TypeError, match=r"must be a whole number|Type-check error"):
            st.uniformity_test(x, name, **parameters)


def test_stouffer_keeps_the_digits_of_the_tail():
    for p in (1e-16, 1e-100, 0.3, 1 - 1e-10):
        assert st.combine_pvalues([p], "stouffer") == pytest.approx(p, rel=1e-12)
    assert st.combine_pvalues([1e-10, 1e-10], "stouffer") == pytest.approx(1.1673215e-19, rel=1e-6)
    with pytest.raises(ValueError, match="hold 0 and 1"):
        st.combine_pvalues([0.0, 1.0], "stouffer")


def test_kernels_without_variance_have_no_effect_size():
    x = random_points(30, 3, rng=0)
    with pytest.raises(ValueError, match=r"'stereo' has no effect size in R\^3"):
        st.effect_size(x, "stereo")
    result = st.uniformity_test(x, "stereo", null="monte-carlo", n_resamples=19, rng=0)
    assert np.isnan(result.effect_size)


def test_bootstraps_of_few_groups_are_finite():
    x = random_points(9, 3, rng=0)
    groups = np.repeat(np.arange(3), 3)
    result = st.effect_size(x, "pad", method="bootstrap", clusters=groups, n_resamples=500, rng=1)
    assert result.low <= result.high


def test_the_standard_error_of_a_stopped_simulation_counts_what_was_drawn():
    x = random_points(30, 3, rng=1)
    found = [
        st.uniformity_test(
            x, "gine_fn", null="monte-carlo", stop_after=10, n_resamples=500, rng=seed
        )
        for seed in range(60)
    ]
    spread = np.std([float(one.pvalue) for one in found])
    assert np.sqrt(np.mean([one.mc_standard_error**2 for one in found])) == pytest.approx(
        spread, rel=0.5
    )


def test_p_values_are_differentiable_once():
    x = torch.tensor(random_points(20, 3, rng=0), requires_grad=True)
    p = st.uniformity_test(x, "rayleigh").log_pvalue
    (slope,) = torch.autograd.grad(p, x, create_graph=True)
    with pytest.raises(RuntimeError, match="p-values are differentiable once"):
        slope.square().sum().backward()


def test_slopes_of_simulated_tables_are_those_of_the_law():
    for seed in range(8):
        x = torch.tensor(random_points(10, 3, rng=seed), requires_grad=True)
        slopes = []
        for options in ({}, {"null": "monte-carlo", "n_resamples": 9_999, "rng": seed}):
            r = st.uniformity_test(x, "rayleigh", **options)
            slopes.append(float(torch.autograd.grad(r.log_pvalue, r.statistic)[0]))
        if float(r.pvalue.detach()) > 0.01:
            assert slopes[1] == pytest.approx(slopes[0], rel=0.3)


@pytest.mark.parametrize("a", [0.0, -1.0, 0.5])
def test_second_derivatives_of_the_stereographic_kernel(a):
    (kernel,) = st.pair_kernels(st.build_test("stereo", a=a), 4)
    t = torch.tensor([-0.5, 0.0, 0.5], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(kernel.derivative(2 - 2 * t, 2 + 2 * t).sum(), t)
    torch.testing.assert_close(kernel.second(2 - 2 * t, 2 + 2 * t), slope)


@pytest.mark.parametrize(
    ("name", "n"), [("ks", 2), ("ks", 5), ("ks", 300), ("kuiper", 100), ("range", 2), ("range", 50)]
)
def test_moments_of_circular_nulls(name, n):
    x = random_points(n, 2, batch=4_000, rng=0)
    r = st.uniformity_test(x, name)
    error = float(np.std(r.statistic)) / math.sqrt(4_000)
    assert r.null_mean == pytest.approx(float(r.statistic.mean()), abs=4 * error + 0.005)
    if math.isfinite(r.null_variance):
        assert r.null_variance == pytest.approx(float(r.statistic.var()), rel=0.1)


@pytest.mark.parametrize("n", [10**4, 10**5, 10**6])
def test_moments_of_kolmogorov_are_those_of_the_limit_and_a_shift(n):
    law = KolmogorovLaw(n)
    assert law.mean == pytest.approx(
        math.sqrt(math.pi / 2) * math.log(2) - 1 / (6 * math.sqrt(n)), abs=0.1 / n
    )
    limit = math.pi**2 / 12 - math.pi / 2 * math.log(2) ** 2
    assert law.variance == pytest.approx(limit, abs=0.2 / n)


def test_numpy_integers_are_integers():
    x = random_points(12, 3, rng=0)
    options = {"null": "monte-carlo", "n_resamples": 99}
    mine, theirs = (st.uniformity_test(x, "pad", rng=s, **options) for s in (5, np.int64(5)))
    assert mine.pvalue == theirs.pvalue
    some = {"directions": np.int64(20), **options, "rng": 0}
    assert 0 < st.uniformity_test(x, "ccf09", **some).pvalue <= 1
    assert random_points(5, 3, batch=np.int64(2)).shape == (2, 5, 3)
    assert clusters(7, 3, kappa=1.0, centres=np.int64(2)).shape == (7, 3)


def test_alternatives_that_are_none_are_refused():
    with pytest.raises(ValueError, match="centres must be finite and not zero"):
        clusters(9, 3, kappa=1.0, centres=[[0, 0, 0], [1, 0, 0]])
    with pytest.raises(ValueError, match="centres must be at least 1"):
        clusters(9, 3, kappa=1.0, centres=0)
    with pytest.raises(ValueError, match="scatter must be symmetric"):
        angular_central_gaussian(9, 2, scatter=[[1, 0.9], [0, 1]])
    for options, message in (
        ({"low": 5.0, "high": 1.0}, "low must be below high"),
        ({"low": 5.0, "high": 10.0}, "low = 5 has the power 0.8 already"),
        ({"tail": "both"}, "tail must be 'upper'"),
    ):
        with pytest.raises(ValueError, match=message):
            st.smallest_detectable("rayleigh", n=50, d=3, n_sets=50, rng=0, **options)


def test_what_is_too_small_for_the_callers_numbers_is_said():
    x = np.tile(np.eye(3, dtype=np.float32)[0], (100, 1))
    notes = st.uniformity_test(x, "rayleigh").notes
    assert "pvalue is below the smallest float32; read log_pvalue" in notes
    with pytest.warns(NumericalWarning, match="'ad' is infinite at a point at angle 0"):
        st.uniformity_test(np.eye(2), "ad")


@pytest.mark.parametrize("name", ["dodecahedron", "24-cell", "E8_roots"])
def test_what_can_be_reached_has_a_probability(name):
    """Softmax is MMD less a constant: the far lower tails are the same."""
    from sphuni.configurations import construct

    x = construct(name)
    softmax, mmd = (st.uniformity_test(x, test) for test in ("softmax", "mmd"))
    assert float(softmax.log_pvalue_lower) == pytest.approx(float(mmd.log_pvalue_lower), rel=1e-6)
    assert not any("exactly 0" in note for note in softmax.notes)


def test_lower_tails_fall_without_a_step():
    law = st.build_test("poisson").best_law(20, 3).law
    x = np.linspace(law.base.lowest, law.mean, 2001)[1:]
    tails = law.tails(x)
    assert np.all(np.isfinite(tails.log_lower))
    assert np.all(np.diff(tails.log_lower) > 0)
    assert np.all(np.diff(tails.log_upper) <= 0)
    steps = np.diff(tails.log_lower[(tails.log_lower > -14.0) & (tails.log_lower < -10.0)])
    assert np.all(np.abs(steps[1:] / steps[:-1] - 1.0) < 0.3)


def test_antipodal_sets_have_a_p_value_by_ajnes_test():
    """Their statistic is 0 up to rounding, which is below what the law can resolve."""
    from sphuni.configurations import construct

    r = st.uniformity_test(construct("dodecahedron"), "ajne")
    assert abs(float(r.statistic)) < 1e-15
    assert float(r.pvalue) == 1.0
    assert float(r.pvalue_lower) == 0.0


@pytest.mark.parametrize("name", ["omnibus", "kuiper", "ks", "range"])
def test_summaries_that_are_no_number_are_refused(name):
    d = 2 if st.build_test(name).circle_only else 3
    with pytest.raises(ValueError, match="not made of one number"):
        st.test_from_summary(0.3, name, n=60, d=d)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("softmax", {"kappa": 1e-16}),
        ("softmax", {"kappa": 1e-320}),
        ("mmd", {"bandwidth": 1e8}),
        ("poisson", {"rho": 1e-16}),
        ("quadratik_u", {"rho": 1e-300}),
        ("quadratik_v", {"rho": 1e-16}),
        ("riesz", {"s": 1e-16}),
        ("riesz", {"s": -1e-16}),
        ("riesz", {"s": 2.0 - 2.0**-51, "antipodal": True}),
    ],
)
@pytest.mark.parametrize("d", [2, 3, 100])
def test_kernels_that_rounding_makes_constant_are_refused(name, parameters, d):
    with pytest.raises(ValueError, match=f"'{name}' with .* so flat that its sum over pairs is"):
        st.uniformity_test(random_points(30, d, rng=0), name, **parameters)


@pytest.mark.parametrize("d", [2, 3, 100])
def test_kernels_are_flat_by_their_share_and_not_by_their_size(d):
    x = random_points(30, d, rng=0)
    small, large = (
        st.build_test("sobolev", weights=(0, size), antipodal=True) for size in (1e-200, 1)
    )
    small.check(30, d)
    ratio = small.statistic(torch.from_numpy(x)) / large.statistic(torch.from_numpy(x))
    assert float(ratio) == pytest.approx(1e-200, rel=1e-9)


@pytest.mark.parametrize("d", [2, 3, 100])
def test_kernels_too_narrow_for_numbers_are_refused(d):
    x = random_points(30, d, rng=0)
    for name, parameters in (("softmax", {"kappa": 1e300}), ("mmd", {"bandwidth": 1e-100})):
        with pytest.raises(ValueError, match=f"'{name}' with .* so narrow that its mean cannot be"):
            st.uniformity_test(x, name, **parameters)
    for bandwidth in (1e-300, 1e300):
        with pytest.raises(ValueError, match=r"bandwidth must be .* from 1e-100 to 1e\+100; got"):
            st.uniformity_test(x, "mmd", bandwidth=bandwidth)


def test_the_spike_of_high_dimension_is_named_for_lines_too():
    with pytest.raises(ValueError, match=r"at rho = 0.5 in R\^1000 is a constant"):
        st.uniformity_test(random_points(30, 1000, rng=0), "poisson", antipodal=True)


@pytest.mark.parametrize("kappa", [1e4, 1e6, 1e12])
def test_eigenvalues_of_narrow_kernels_in_closed_form(kappa):
    """On S^2 Bessel functions of half a whole order are elementary."""
    first, second = bessel_ratios(kappa, 3, 2)
    assert 1.0 - first == pytest.approx(1.0 / kappa, rel=1e-4, abs=1e-15)
    assert 1.0 - second == pytest.approx(3.0 / kappa * first, rel=1e-4, abs=1e-15)
    assert np.all(np.diff(bessel_ratios(kappa, 3, 500)) < 0)


@pytest.mark.parametrize("s", [-0.3, -0.45])
def test_variance_of_lines_where_high_degrees_matter(s):
    """From E |2 sin|^a, as |x - y| |x + y| = 2 sin(angle)."""

    def mean(a):
        return 2.0**a * math.gamma(0.5 + 0.5 * a) / math.gamma(1.0 + 0.5 * a) / math.sqrt(math.pi)

    exact = 2.0 * (mean(2.0 * s) + mean(s) - 2.0 * mean(s) ** 2)
    found = st.build_test("riesz", s=s, antipodal=True).moments(2).second
    assert found == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "parameters", "d"),
    [("stereo", {}, 3), ("riesz", {"s": -0.9}, 2), ("riesz", {"s": 1e-12 - 99.0}, 100)],
)
def test_lines_have_no_variance_where_points_have_none(name, parameters, d):
    test = st.build_test(name, antipodal=True, **parameters)
    assert test.moments(d).second == math.inf
    assert test.limit_law(d) is None
    result = st.uniformity_test(random_points(30, d, rng=0), test, n_resamples=199, rng=0)
    assert math.isnan(result.effect_size)


@pytest.mark.parametrize(("d", "n", "kappa"), [(2, 20, 0.01), (2, 40, 5.0), (3, 30, 5.0)])
def test_forms_of_one_statistic_have_one_law(d, n, kappa):
    """Softmax is MMD less a constant: both keep the lowest value that there can be."""
    u, v = st.build_test("softmax", kappa=kappa), st.build_test("mmd", bandwidth=kappa**-0.5)
    of_u, of_v = (test.best_law(n, d).law for test in (u, v))
    shift = v.at_one(d)
    x = np.linspace(0.01, 4.0, 50) * shift
    of_u, of_v = of_u.tails(x - shift), of_v.tails(x)
    np.testing.assert_allclose(of_u.log_upper, of_v.log_upper, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(of_u.log_lower, of_v.log_lower, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("t", [1.0 - 1e-13, 1.0 - 2.0**-53])
def test_no_arc_holds_more_points_than_there_are(t):
    result = st.uniformity_test(random_points(10, 2, rng=0), "cressie", t=t)
    assert result.statistic == 10
    assert result.pvalue == 1.0
