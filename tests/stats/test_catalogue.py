"""Tests that the stored output of sphunif covers only in part, against their definitions."""

import contextlib
import math

import numpy as np
import pytest
import torch
from reference_cases import load, points
from scipy import stats

import sphuni.stats as st
from sphuni.distributions import random_points, von_mises_fisher
from sphuni.stats.laws.line import KolmogorovLaw, anderson_law, cramer_law
from sphuni.stats.laws.rayleigh import RayleighLaw
from sphuni.stats.nulls._null import Null, choose
from sphuni.stats.nulls._simulate import evaluate, simulate_tests


@pytest.mark.parametrize(
    ("label", "name"),
    [("FG01", "fg01"), ("KS", "ks"), ("CvM", "cvm"), ("AD", "ad"), ("Rayleigh_HD", "rayleigh_hd")],
)
def test_statistics_of_stored_cases(label, name):
    test = st.build_test(name)
    seen = 0
    for case in load()["cases"]:
        if label in case["stat"]:
            ours = float(test.statistic(torch.from_numpy(points(case))))
            assert ours == pytest.approx(case["stat"][label], rel=1e-9), case["id"]
            seen += 1
    assert seen >= 15


def test_largest_projected_distance_of_stored_cases():
    for case in load()["cases"]:
        axes = load()["CCF09_dirs"][f"p{case['p']}"]
        test = st.build_test("ccf09", directions=axes)
        ours = float(test.statistic(torch.from_numpy(points(case))))
        assert ours == pytest.approx(case["stat"]["CCF09"], rel=1e-9), case["id"]


def test_packing_holds_the_stored_coherence_statistic():
    """sphunif's CJ12 is a function of the same largest cosine."""
    for case in load()["cases"]:
        if "CJ12" not in case["stat"]:
            continue
        n, d = case["n"], case["p"]
        s = st.uniformity_test(points(case), "cj12", antipodal=True, null="asymptotic").statistic
        largest = 1.0 + 0.5 * float(s)
        theirs = d * math.log(1 - largest**2) + 4 * d / (d - 2) * math.log(n) - math.log(d)
        digits = 4e-15 * d / (1 - largest**2)  # what 15 digits of coordinates leave of close pairs
        assert theirs == pytest.approx(case["stat"]["CJ12"], rel=1e-9, abs=digits)


def test_feltz_goldin_is_what_four_points_see():
    """Mean square of the excess in alternate arcs between 4 uniform points, over 4!."""
    u = np.array([0.1, 0.13, 0.4, 0.75, 0.76])
    x = np.stack([np.cos(2 * np.pi * u), np.sin(2 * np.pi * u)], 1)
    cuts = np.sort(np.random.default_rng(0).random((400_000, 4)), axis=1)
    inside = (u[None, :, None] > cuts[:, None, :]).sum(-1) % 2
    length = cuts[:, 1] - cuts[:, 0] + cuts[:, 3] - cuts[:, 2]
    square = 5 * (inside.mean(1) - length) ** 2 / 24
    ours = float(st.build_test("fg01").statistic(torch.from_numpy(x)))
    assert ours == pytest.approx(square.mean(), abs=5 * square.std() / 400_000**0.5)


def test_line_laws_against_scipy():
    u = np.random.default_rng(3).random(30)
    x = np.stack([np.cos(2 * np.pi * u), np.sin(2 * np.pi * u)], 1)
    ks = st.uniformity_test(x, "ks")
    assert ks.null == "exact"
    assert ks.pvalue == pytest.approx(stats.kstest(u, "uniform").pvalue, rel=1e-9)
    cvm = st.uniformity_test(x, "cvm")
    assert cvm.pvalue == pytest.approx(stats.cramervonmises(u, "uniform").pvalue, abs=2e-3)
    x = KolmogorovLaw(30).tails(np.array([0.8]))
    assert x.upper + x.lower == pytest.approx(1.0)


def test_line_laws_have_their_five_percent_points():
    """Stephens's asymptotic points of W^2 and A^2."""
    tails = cramer_law(10**7).tails(np.array([0.461, 0.743]))
    assert tails.upper == pytest.approx([0.05, 0.01], rel=0.01)
    tails = anderson_law(10**7).tails(np.array([2.492, 3.880]))
    assert tails.upper == pytest.approx([0.05, 0.01], rel=0.01)


def test_quadratik_statistics_from_the_kernel():
    x = random_points(30, 4, rng=0)
    rho, n, d = 0.6, 30, 4
    kernel = (1 - rho**2) / (1 + rho**2 - 2 * rho * x @ x.T) ** (d / 2) - 1
    off = kernel.sum() - np.trace(kernel)
    variance = 2 / (n * (n - 1)) * ((1 + rho**2) / (1 - rho**2) ** (d - 1) - 1)
    u = st.uniformity_test(x, "quadratik_u", rho=rho)
    assert u.statistic == pytest.approx(off / (n * (n - 1)) / math.sqrt(variance), rel=1e-9)
    v = st.uniformity_test(x, "quadratik_v", rho=rho)
    assert v.statistic == pytest.approx(kernel.sum() / n, rel=1e-9)
    assert u.pvalue == pytest.approx(v.pvalue, abs=0.01)
    with pytest.raises(ValueError, match="take 'quadratik_u'"):
        st.uniformity_test(random_points(10, 800, rng=0), "quadratik_v")


def test_the_poisson_kernel_is_refused_where_it_is_a_constant():
    with pytest.raises(ValueError, match=r"'poisson' at rho = 0.5 in R\^512 is a constant.*0.044"):
        st.uniformity_test(random_points(10, 512, rng=0), "poisson")
    assert 0 <= st.uniformity_test(random_points(10, 512, rng=0), "poisson", rho=0.05).pvalue <= 1


def test_mmd_is_the_v_form_of_softmax():
    x = random_points(25, 5, rng=1)
    t = x @ x.T
    kernel = np.exp(-(2 - 2 * t) / (2 * 0.7**2))
    from sphuni.kernels import Gaussian

    mean = Gaussian(1 / (math.sqrt(2) * 0.7)).mean(5)
    ours = st.uniformity_test(x, "mmd", bandwidth=0.7).statistic
    assert ours == pytest.approx((kernel - mean).sum() / 25, rel=1e-9)


@pytest.mark.slow
def test_max_angle_is_the_mirror_image_of_packing():
    x = random_points(40, 3, rng=2)
    gram = x @ x.T
    ours = st.uniformity_test(x, "max_angle")
    assert ours.statistic == pytest.approx(-(2 + 2 * gram.min()), rel=1e-9)
    both = st.uniformity_test(x, "packing", antipodal=True).statistic
    one = st.uniformity_test(x, "min_angle").statistic
    assert both == pytest.approx(max(one, ours.statistic), rel=1e-12)


def test_sliced_wasserstein_is_watson_in_each_plane():
    x = random_points(40, 2, rng=2)
    watson = st.uniformity_test(x, "watson")
    ours = st.uniformity_test(x, "sliced_wasserstein")
    assert ours.statistic == pytest.approx(watson.statistic, rel=1e-12)
    assert ours.pvalue == watson.pvalue
    y = random_points(30, 3, rng=2)
    plane = st.uniformity_test(y, "ssw", directions=[np.eye(3)[:2]], n_resamples=99)
    flat = y[:, :2] / np.linalg.norm(y[:, :2], axis=1, keepdims=True)
    assert plane.statistic == pytest.approx(st.uniformity_test(flat, "watson").statistic)


def test_wasserstein_distance_of_two_points_by_hand():
    """Opposite points: every arc of mass 1/4 is carried 0 .. 1/4 turns, so W^2 = 1/48."""
    x = np.array([[1.0, 0.0], [-1.0, 0.0]])
    ours = st.uniformity_test(x, "sliced_wasserstein", n_resamples=99).statistic
    assert ours == pytest.approx(2 / 48)


@pytest.mark.parametrize("d", [2, 3, 8, 40])
@pytest.mark.parametrize("name", ["ccf09", "sliced_wasserstein", "omnibus"])
def test_statistics_of_lines_do_not_see_signs(name, d):
    x = random_points(37, d, rng=1)
    signs = np.where(np.random.default_rng(0).random((37, 1)) < 0.5, -1.0, 1.0)
    test = st.build_test(name, antipodal=True)
    ours, flipped = (float(test.statistic(torch.from_numpy(y))) for y in (x, signs * x))
    assert flipped == pytest.approx(ours, rel=1e-9)
    assert float(st.build_test(name).statistic(torch.from_numpy(x))) != pytest.approx(ours)


@pytest.mark.parametrize("d", [2, 3, 5, 40])
def test_projections_of_lines_against_their_definition(d):
    x = random_points(37, d, rng=1)
    axes = random_points(7, d, rng=2)
    square = stats.beta(0.5, 0.5 * (d - 1))
    expected = max(
        math.sqrt(37) * stats.kstest(square.cdf((axis @ x.T) ** 2), "uniform").statistic
        for axis in axes
    )
    test = st.build_test("ccf09", directions=axes, antipodal=True)
    assert float(test.statistic(torch.from_numpy(x))) == pytest.approx(expected, rel=1e-9)
    planes = np.linalg.qr(np.random.default_rng(3).normal(size=(4, d, 2)))[0].swapaxes(1, 2)
    middle = (np.arange(37) + 0.5) / 37
    distances = []
    for plane in planes:
        u = np.sort(np.arctan2(*(plane[::-1] @ x.T)) / math.pi % 1)
        distances.append(((u - middle - (u - middle).mean()) ** 2).sum() + 1 / (12 * 37))
    test = st.build_test("ssw", directions=planes, antipodal=True)
    assert float(test.statistic(torch.from_numpy(x))) == pytest.approx(np.mean(distances), rel=1e-9)


def test_sliced_wasserstein_of_lines_of_the_circle_is_watson():
    x = random_points(40, 2, rng=2)
    ours, watson = (
        st.uniformity_test(x, name, antipodal=True) for name in ("sliced_wasserstein", "watson")
    )
    assert ours.statistic == pytest.approx(watson.statistic, rel=1e-12)
    assert ours.pvalue == pytest.approx(watson.pvalue, rel=1e-9)


def test_tests_that_are_constant_for_lines_are_left_out_with_the_reason():
    x = random_points(12, 3, rng=0)
    table = st.uniformity_tests(
        x, antipodal=True, null="monte-carlo", n_resamples=19, rng=0, correction="none"
    )
    names = [result.test for result in table]
    assert {"ccf09", "sliced_wasserstein", "omnibus", "packing", "bingham"} <= set(names)
    assert "test='packing'" in table.skipped["max_angle"]
    assert "odd harmonics only" in table.skipped["rayleigh"]
    assert all(result.parameters["antipodal"] is True for result in table)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "d"), [(8, 2), (10, 3), (50, 3), (60, 10)])
@pytest.mark.parametrize("name", ["ccf09", "sliced_wasserstein", "omnibus"])
def test_tests_of_lines_have_their_size(name, n, d):
    for alpha, slack in ((0.05, 0.007), (0.01, 0.0035)):  # of 10,000 sets: 3 standard errors
        r = st.size(name, n=n, d=d, antipodal=True, alpha=alpha, n_sets=10_000, rng=5)
        assert abs(r.upper - alpha) < slack
        assert abs(r.lower - alpha) < slack


@pytest.mark.parametrize("antipodal", [False, True])
def test_omnibus_combines_its_parts(antipodal):
    x = random_points(60, 3, rng=5)
    omnibus = st.build_test("omnibus", antipodal=antipodal)
    assert len(omnibus.parts) == (4 if antipodal else 5)
    p = [float(st.uniformity_test(x, part, null="auto").pvalue) for part in omnibus.parts]
    ours = st.uniformity_test(x, omnibus, null="asymptotic")
    combined = float(st.combine_pvalues(np.minimum(p, 0.99), method="cauchy"))
    assert ours.pvalue == pytest.approx(combined, rel=1e-2)
    axial = np.concatenate([von_mises_fisher(30, 3, kappa=9.0, rng=0), -x[:0]])
    far = st.uniformity_test(axial, "omnibus", null="asymptotic")
    assert far.log_pvalue < -30


@pytest.mark.parametrize(("n", "d"), [(2, 2), (3, 2), (4, 2), (7, 2), (2, 3), (6, 3), (30, 3)])
def test_exact_rayleigh_law(n, d):
    rayleigh = st.build_test("rayleigh")
    sample = simulate_tests([rayleigh], n, d, 20_000, rng=11)[:, 0]
    law = RayleighLaw(n, d)
    assert stats.kstest(law.tails(sample).upper, "uniform").pvalue > 1e-3
    x = np.linspace(0.0, d * n, 4001)
    assert np.trapezoid(law.tails(x).upper, x) == pytest.approx(d, rel=2e-3)
    few = law.tails(x[::100])
    assert law.tails(x).upper[::100] == pytest.approx(few.upper, abs=1e-5)
    assert st.uniformity_test(random_points(n, d, rng=0), "rayleigh").null == "exact"


def test_exact_rayleigh_law_of_two_and_three_vectors():
    assert RayleighLaw(2, 3).tails(np.array([1.5])).upper == pytest.approx(0.75)  # 1 - R^2 / 4
    assert RayleighLaw(2, 2).tails(np.array([2.0])).upper == pytest.approx(0.5)
    # a random walk of n + 1 unit steps in the plane ends within 1 of its start with 1 / (n + 1)
    for n in (3, 4, 7):
        lower = RayleighLaw(n, 2).tails(np.array([2.0 / n])).lower
        assert lower == pytest.approx(1 / (n + 1), abs=1e-6)


def test_binned_simulation_agrees_with_the_statistics():
    names = ["gine_fn", "pad", "riesz", "poisson", "softmax", "sobolev"]
    for d in (2, 4, 64):
        tests = [st.build_test(name) for name in names] + [st.build_test("riesz", s=0.0)]
        x = torch.from_numpy(random_points(40, d, batch=(100,), rng=0))
        ours = evaluate(x, tests, d)
        exact = np.stack([test.statistic(x).numpy() for test in tests], axis=1)
        assert np.abs((ours - exact) / exact.std(axis=0)).max() < 2e-3


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda x: st.uniformity_test(x, "ccf09", directions=0), "directions must be at least 1"),
        (lambda x: st.uniformity_test(x, "ccf09", directions=[[2.0, 0, 0]]), "unit vectors"),
        (lambda x: st.uniformity_test(x, "ccf09", directions=np.eye(2)), "must have shape"),
        (lambda x: st.uniformity_test(x, "ccf09", seed=-1), "seed must be at least 0; got -1"),
        (
            lambda x: st.uniformity_test(x, "ssw", directions=np.ones((1, 2, 3)) / 3**0.5),
            "orthogonal unit vectors, a plane each; those of plane 0 have the cosine 1",
        ),
        (lambda x: st.uniformity_test(x, "bingham", antipodal=2.5), "must be True or False"),
        (lambda x: st.uniformity_test(x, "mmd", bandwidth=0.0), "bandwidth must be a positive"),
        (lambda x: st.uniformity_test(x, "quadratik_u", rho=1.0), "rho must lie strictly"),
        (lambda x: st.uniformity_test(x, "ks"), "on the circle"),
        (lambda x: st.uniformity_test(x, "max_angle", antipodal=True), "take test='packing'"),
        (lambda x: st.uniformity_test(x, "sobolev", weights=np.eye(2)), "weights must be one row"),
        (lambda x: st.uniformity_test(x, "sobolev", weights=[[1], [0, 1]]), "must be one row"),
        (lambda x: st.uniformity_test(x, "sobolev", weights=["a", "b"]), "weights must be one row"),
        (lambda x: st.uniformity_test(x, "riesz", s=[0.5, 1.0]), "s must be one number"),
        (lambda x: st.uniformity_test(x, "softmax", kappa=np.ones(2)), "kappa must be one number"),
        (lambda x: st.uniformity_test(x, "riesz:s"), "as name:key=value; got 'riesz:s'"),
        (lambda x: st.uniformity_test(x, "riesz:s=a"), "parameter s must be a number, or several"),
        (lambda x: st.uniformity_test(x, "riesz:s=1:s=2"), "parameter s is given twice"),
        (lambda x: st.uniformity_test(x, "reisz:s=1"), "test 'reisz' is not known. Did you mean"),
        (lambda x: st.uniformity_test(x, "rayleigh", m=2), r"'rayleigh' with m = 2 .* the circle"),
        (lambda x: st.uniformity_test(x, "rayleigh", m=0), "m must be at least 1"),
    ],
)
def test_refusals(call, match):
    with pytest.raises(ValueError, match=match):
        call(random_points(10, 3, rng=0))


@pytest.mark.parametrize(
    ("name", "parameters", "match"),
    [
        ("riesz", {"s": None}, "s must be a number; got None"),
        ("prt", {"t": "half"}, "t must be a number; got 'half'"),
        ("bingham", {"antipodal": "no"}, "antipodal must be a number; got 'no'"),
        ("softmax", {"kappa": torch.tensor(1.0, requires_grad=True)}, r"Pass its .item\(\)"),
        ("ccf09", {"seed": 1.5}, "seed must be a whole number; got 1.5"),
        ("riesz:s=0.5", {"s": 1.0}, "test 'riesz:s=0.5' is given s = 1.0 besides"),
        (st.build_test("riesz"), {"rho": 1.0}, "'riesz' has no parameter 'rho'; it takes"),
    ],
)
def test_parameters_of_another_kind_are_refused(name, parameters, match):
    with pytest.raises(TypeError, match=match):
        st.uniformity_test(random_points(10, 3, rng=0), name, **parameters)


@pytest.mark.parametrize("number", [np.float32, np.float16, np.array, torch.tensor])
@pytest.mark.parametrize(
    ("name", "key", "d"),
    [("prt", "t", 2), ("prt", "t", 3), ("riesz", "s", 3), ("softmax", "kappa", 3),
     ("poisson", "rho", 3), ("quadratik_u", "rho", 3), ("stereo", "a", 3), ("pycke_q", "q", 2),
     ("vacancy", "a", 2)],
)  # fmt: skip
def test_a_parameter_of_any_library_and_precision_is_its_number(name, key, d, number):
    value = number(0.3)
    test = st.build_test(name, **{key: value})
    assert test == st.build_test(name, **{key: float(value)})
    assert type(test.parameters()[key]) is float
    assert st.build_test(st.build_test(name), **{key: value}) == test


@pytest.mark.parametrize(
    ("text", "name", "parameters"),
    [
        ("riesz:s=0.5", "riesz", {"s": 0.5}),
        ("Energy: s = 0.5", "riesz", {"s": 0.5}),
        ("sobolev:weights=1/0/2", "sobolev", {"weights": (1, 0, 2)}),
        ("stein:K=4:cf=true", "stein", {"K": 4, "cf": True}),
        ("bingham:antipodal=true", "bingham", {"antipodal": True}),
        ("rayleigh:m=3", "rayleigh_m", {"m": 3}),
    ],
)
def test_parameters_may_follow_the_name(text, name, parameters):
    assert st.build_test(text) == st.build_test(name, **parameters)
    assert st.build_test(text, **parameters) == st.build_test(name, **parameters)


def test_one_mode_is_rayleighs_test_in_every_dimension():
    for d in (2, 3, 5):
        x = random_points(20, d, rng=0)
        ours, plain = st.uniformity_test(x, "rayleigh", m=1), st.uniformity_test(x, "rayleigh")
        assert (ours.test, ours.pvalue) == ("rayleigh", plain.pvalue)
    modes = st.uniformity_test(random_points(20, 2, rng=0), "rayleigh_m", m=1)
    plain = st.uniformity_test(random_points(20, 2, rng=0), "rayleigh")
    assert modes.statistic == pytest.approx(plain.statistic, rel=1e-12)


@pytest.mark.parametrize("d", [2, 3, 4, 512])
def test_null_laws_of_the_catalogue_can_be_asked_for(d):
    for info in st.available_tests(d):
        test = st.build_test(info.name)
        try:
            test.check(1000, d)
        except ValueError:
            continue  # its default parameters do not suit this dimension
        for kind in ("exact", "asymptotic"):
            given = False
            for n in (10, 100, 1000):
                with contextlib.suppress(ValueError):
                    given |= choose(test, n, d, Null(kind)).kind == kind
            assert given == (kind in info.null_laws), (info.name, kind)
        assert info.null_laws[-1] == "monte-carlo"


def test_the_catalogue_of_a_dimension_lists_its_own_laws():
    laws = {info.name: info.null_laws for info in st.available_tests(3)}
    assert laws["sliced_wasserstein"] == ("monte-carlo",)
    everywhere = {info.name: info.null_laws for info in st.available_tests()}
    assert "asymptotic" in everywhere["sliced_wasserstein"]
    # on S^2 the stereographic kernel has no variance, but a law of single pairs from n = 201 on
    assert laws["stereo"] == ("asymptotic", "monte-carlo")
    x = random_points(600, 3, rng=0)
    for n, kind in ((600, "asymptotic"), (300, "monte-carlo")):  # a table up to n = 500
        asked, best = (st.uniformity_test(x[:n], "stereo", null=k) for k in ("asymptotic", "auto"))
        assert (asked.null, best.null) == ("asymptotic", kind)
        assert asked.pvalue == pytest.approx(best.pvalue, abs=0.0 if n == 600 else 0.02)
    with pytest.raises(ValueError, match="no asymptotic null law at n = 30, d = 3"):
        st.uniformity_test(x[:30], "stereo", null="asymptotic")


def test_the_catalogue_prints_as_a_table():
    tests = st.available_tests(d=512)
    assert str(tests) == repr(tests)
    assert "doi:10.1093/biomet/55.2.343" in str(tests)
    assert tests._repr_html_().count("<tr>") == len(tests) + 1
    where = {info.name: info.where for info in st.available_tests()}
    assert (where["bingham"], where["packing"], where["kuiper"]) == ("all d", "all d", "d = 2")
    assert (where["stereo"], where["pycke"]) == ("d >= 3", "d <= 3")


@pytest.mark.parametrize("name", ["poisson", "quadratik_v"])
def test_the_catalogue_says_where_a_default_parameter_ends(name):
    (info,) = (info for info in st.available_tests() if info.name == name)
    largest = int(info.where.removeprefix("d <= "))
    test = st.build_test(name)
    test.check(1000, largest)
    with pytest.raises(ValueError, match="is a constant"):
        test.check(1000, largest + 1)


def test_formulas_of_the_pages_are_those_of_the_code():
    n = 11
    x, y = random_points(n, 2, rng=5), random_points(n, 3, rng=1)
    u = np.sort(np.arctan2(x[:, 1], x[:, 0]) / (2 * math.pi) % 1)
    gap = np.diff(np.append(u, u[0] + 1))
    theta = np.arccos(np.clip(x @ x.T, -1, 1))
    np.fill_diagonal(theta, 0.0)
    chord = np.linalg.norm(y[:, None] - y, axis=-1)
    pairs, t, q = np.triu_indices(n, 1), 1 / 3, 0.5
    spread = np.abs(gap[:, None] - gap)[pairs].sum()
    logs = theta * np.log(np.where(theta > 0, theta, 1)) + (2 * math.pi - theta) * np.log(
        2 * math.pi - theta
    )
    for name, sample, formula in (
        ("gini", x, n**0.5 * (2 / (n - 1) * spread - 1)),
        ("gini_squared", x, n**0.5 * (2 * n / (n - 1) * (n * (gap**2).sum() - 1) - 2)),
        ("log_gaps", x, n**0.5 * abs(np.log(n * gap).mean() + np.euler_gamma)),
        ("max_uncover", x, n * gap.max() - math.log(n)),
        ("rothman", x, (t * (1 - t) - np.minimum(theta / (2 * math.pi), t)).sum() / n),
        ("pad", x, (logs / math.pi + 1 - 2 * math.log(2 * math.pi)).sum() / n),
        ("pcvm", y, (4 / 3 - chord).sum() / (8 * n)),
        ("pad", y, (1 - 2 * np.log(1 + chord / 2)).sum() / n),
        (
            "pycke_q",
            x,
            (2 * (np.cos(theta) - q) / (1 - 2 * q * np.cos(theta) + q * q)).sum() / n,
        ),
    ):
        found = float(st.build_test(name).statistic(torch.as_tensor(sample)))
        assert found == pytest.approx(formula, rel=1e-9), name
