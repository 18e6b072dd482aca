"""`uniformity_test` and its siblings: shapes, tails, identities, gradients, refusals."""

import dataclasses

import numpy as np
import pytest
import torch

import sphuni.stats as st
from sphuni._errors import NumericalWarning
from sphuni.configurations import construct
from sphuni.distributions import haar_blocks, random_points, von_mises_fisher
from sphuni.stats.laws.monte_carlo import simulate

PAIRWISE = ["ajne", "gine_gn", "gine_fn", "bakshaev", "pcvm", "pad", "prt", "softmax", "poisson"]
SMOOTH = ["rayleigh", "bingham", *PAIRWISE, "sobolev", "stein", "packing"]


@pytest.fixture
def points():
    return random_points(40, 4, rng=0)


def stat(points, name, **parameters):
    return float(st.uniformity_test(points, name, **parameters).statistic)


def test_result_is_in_the_callers_library_and_of_the_batch_shape():
    x = random_points(30, 3, batch=(2, 5), rng=0)
    ours = st.uniformity_test(x, "gine_gn")
    assert isinstance(ours.pvalue, np.ndarray)
    assert ours.pvalue.shape == ours.statistic.shape == (2, 5)
    theirs = st.uniformity_test(torch.from_numpy(x), "gine_gn")
    assert isinstance(theirs.pvalue, torch.Tensor)
    assert theirs.pvalue.numpy() == pytest.approx(ours.pvalue, rel=1e-12)
    one = st.uniformity_test(x[1, 3], "gine_gn")
    assert one.pvalue == pytest.approx(ours.pvalue[1, 3], rel=1e-9)
    assert one.to_dict()["n"] == 30
    assert "gine_gn" in one._repr_html_()


@pytest.mark.parametrize("name", ["rayleigh", "bingham", "gine_gn", "packing"])
def test_tails_are_complements_and_the_two_sided_is_twice_the_smaller(points, name):
    r = st.uniformity_test(points, name, null="asymptotic")
    assert r.pvalue + r.pvalue_lower == pytest.approx(1.0, abs=1e-9)
    assert r.pvalue_two_sided == pytest.approx(2 * min(r.pvalue, r.pvalue_lower))
    assert np.exp(r.log_pvalue) == pytest.approx(r.pvalue)


def test_table_shares_one_pass_and_agrees_with_single_tests(points):
    table = st.uniformity_tests(points, n_resamples=999)
    assert len(table) + len(table.skipped) == len(st.available_tests())
    for r in table:
        single = st.uniformity_test(points, r.test, n_resamples=999)
        assert r.statistic == pytest.approx(single.statistic, rel=1e-9, abs=1e-12)
        assert r.pvalue == pytest.approx(single.pvalue, rel=1e-6)
    assert table["rayleigh"].test == "rayleigh"
    assert "kuiper" in table.skipped
    assert "rayleigh" in repr(table)
    with pytest.raises(KeyError, match="not among"):
        table["kuiper"]


def test_tables_are_read_by_place_and_asked_for_names(points):
    table = st.uniformity_tests(points, ["rayleigh", "riesz:s=0.5"], n_resamples=99)
    assert table[0] is table["rayleigh"]
    assert table[-1] is table["riesz"]
    assert "rayleigh" in table
    assert "riesz:s=0.5" in table
    assert "riesz:s=1" not in table
    assert "no such test" not in table
    assert table[1] in table
    assert 3 not in table
    with pytest.raises(IndexError):
        table[2]


def test_every_test_of_the_circle_runs():
    x = random_points(25, 2, rng=1)
    table = st.uniformity_tests(x, n_resamples=199)
    assert len(table) >= 30
    for r in table:
        assert 0 < r.pvalue <= 1, r.test
        assert 0 < r.pvalue_lower <= 1, r.test


def test_clustered_upper_regular_lower():
    clustered = von_mises_fisher(200, 8, kappa=6.0, rng=0)
    regular = haar_blocks(200, 8, rng=0)
    for name in ("rayleigh", "gine_fn", "bakshaev"):
        assert st.uniformity_test(clustered, name).pvalue < 1e-6
    assert st.uniformity_test(regular, "gine_gn").pvalue_lower < 1e-6
    assert st.uniformity_test(regular, "bingham").pvalue_lower < 1e-10


def test_tiny_pvalues_keep_their_logarithm():
    x = von_mises_fisher(5000, 3, kappa=20.0, rng=0)
    r = st.uniformity_test(x, "rayleigh")
    assert r.pvalue == 0.0
    assert np.isfinite(r.log_pvalue)
    assert r.log_pvalue < -2000
    assert any("log_pvalue" in note for note in r.notes)


def test_summaries_give_the_same_answers(points):
    n, d = points.shape
    values = np.linalg.svd(points, compute_uv=False)
    cosines = (points @ points.T)[np.triu_indices(n, 1)]
    (kernel,) = st.pair_kernels("gine_gn", d)
    summaries = {
        "rayleigh": np.linalg.norm(points.sum(0)),
        "bingham": (values**4).sum(),
        "gine_gn": kernel(cosines).sum(),
        "packing": np.sqrt(2 - 2 * cosines.max()),
    }
    for name, value in summaries.items():
        full = st.uniformity_test(points, name)
        short = st.test_from_summary(float(value), name, n=n, d=d)
        assert short.statistic == pytest.approx(full.statistic, rel=1e-9)
        assert short.pvalue == pytest.approx(full.pvalue, rel=1e-6)


def test_identities(points):
    d = points.shape[1]
    assert stat(points, "prt", t=0.5) == pytest.approx(stat(points, "ajne"), rel=1e-12)
    assert stat(points, "gine_fn") == pytest.approx(
        4 * stat(points, "ajne") + stat(points, "gine_gn"), rel=1e-12
    )
    assert stat(points, "riesz", s=2.0) == pytest.approx(2 / d * stat(points, "rayleigh"), rel=1e-9)
    assert stat(points, "sobolev", weights=(1.0,)) == pytest.approx(stat(points, "rayleigh"))
    assert stat(points, "sobolev", weights=(0.0, 1.0)) == pytest.approx(stat(points, "bingham"))
    assert stat(points, "riesz") == stat(points, "bakshaev")
    sphere = random_points(40, 3, rng=1)
    assert stat(sphere, "pcvm") == pytest.approx(stat(sphere, "bakshaev") / 8, rel=1e-12)
    circle = random_points(40, 2, rng=1)
    assert stat(circle, "pcvm") == pytest.approx(2 * stat(circle, "watson"), rel=1e-9)
    shifted = stat(circle, "poisson", rho=0.5) + 1 - 0.5**2 / 0.75
    assert shifted == pytest.approx(stat(circle, "pycke_q", q=0.5) / 6, rel=1e-9)


@pytest.mark.parametrize("name", SMOOTH)
def test_rotation_permutation_and_one_point(points, name):
    q = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0]
    moved = (points @ q)[::-1]
    assert stat(moved, name) == pytest.approx(stat(points, name), rel=1e-8, abs=1e-10)


@pytest.mark.parametrize("name", ["ajne", "gine_fn", "bakshaev", "pcvm", "pad", "prt", "stein"])
def test_v_forms_have_their_exact_mean_and_variance(name):
    test = st.build_test(name)
    n, d = 12, 3
    sample = simulate(lambda x: test.statistic(x, d), n, d, 20_000, rng=0)
    law = test.corrected_law(n, d)
    error = np.sqrt(law.variance / sample.size)
    assert sample.mean() == pytest.approx(test.at_one(d), abs=5 * error)
    assert sample.var() == pytest.approx(law.variance, rel=0.06)


@pytest.mark.parametrize("name", ["bingham", "gine_gn", "gine_fn", "bakshaev", "pad", "softmax"])
def test_lines_are_the_doubled_set(points, name):
    test = st.build_test(name)
    both = np.concatenate([points, -points])
    ours = stat(points, name, antipodal=True)
    doubled = stat(both, name)
    if test.form == "U":
        # the doubled set has the n constant pairs of antipodes, which the U-form leaves out
        kernel = test.pair_terms(4)[0].kernel
        doubled -= 2 * 40 * (kernel.at_minus_one - kernel.mean(4)) / (2 * 40)
    assert ours == pytest.approx(doubled, rel=1e-8)


def test_pvalue_gradient_is_minus_the_density():
    x = torch.tensor(random_points(50, 4, rng=0), requires_grad=True)
    r = st.uniformity_test(x, "rayleigh", null="asymptotic")
    (slope,) = torch.autograd.grad(r.pvalue, x, retain_graph=True)
    (base,) = torch.autograd.grad(r.statistic, x)
    s = float(r.statistic.detach())
    density = s * np.exp(-s / 2) / 4  # chi-square with 4 degrees of freedom
    assert slope.numpy() == pytest.approx(-density * base.numpy(), rel=1e-6)


@pytest.mark.parametrize(
    ("d", "n", "names"),
    [
        # ten thousand points, and every test: `test_gradients.py`
        (3, 2_000, ("ajne", "pcvm", "softmax", "rayleigh", "bingham", "stein")),
        pytest.param(16, 10_000, ("gine_fn", "bakshaev", "bingham"), marks=pytest.mark.slow),
    ],
)
def test_single_precision_statistics(d, n, names):
    rows = random_points(n, d, rng=0)
    for name in names:
        wide = stat(rows, name)
        narrow = st.uniformity_test(rows.astype(np.float32), name).statistic
        assert narrow.dtype == np.float32
        assert narrow == pytest.approx(wide, rel=1e-5), name


def test_kernels_without_a_value_at_antipodes_say_so():
    up, side = [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]
    down = [0.0, 0.0, -1.0]
    with pytest.warns(NumericalWarning, match="-infinite and the lower p-value 0"):
        r = st.uniformity_test(np.array([up, down, side]), "stereo", a=-1.0)
    assert (r.statistic, r.pvalue, r.pvalue_lower) == (-np.inf, 1.0, 0.0)
    with pytest.warns(NumericalWarning, match="infinities of both signs"):
        r = st.uniformity_test(np.array([up, up, down]), "stereo", a=-1.0)
    assert np.isnan([r.statistic, r.pvalue, r.pvalue_lower]).all()


CIRCULAR = [info.name for info in st.available_tests(2) if info.where == "d = 2"]


@pytest.mark.parametrize("name", CIRCULAR)
def test_circle_tests_take_lines(name):
    rows = random_points(30, 2, rng=3)
    flipped = rows * np.where(np.arange(30) % 3 == 0, -1.0, 1.0)[:, None]
    test = st.build_test(name, antipodal=True)
    found = [float(test.statistic(torch.as_tensor(x))) for x in (rows, flipped)]
    assert found[0] == pytest.approx(found[1], rel=1e-9)


def test_exact_codes_are_more_regular_than_chance():
    for name, least in (("24-cell", 1.01e-4), ("600-cell", 1e-12)):
        x = np.asarray(construct(name))
        assert st.uniformity_test(x, "bingham").pvalue_lower < 1e-6
        assert st.uniformity_test(x, "packing").pvalue_lower < least


def test_small_sets_keep_tiny_packing_pvalues():
    x = random_points(10, 64, rng=0)
    x[1] = x[0] + 1e-4 * x[2]
    x[1] /= np.linalg.norm(x[1])
    r = st.uniformity_test(x, "packing")
    assert r.log_pvalue < -200
    assert r.pvalue_lower > 0.99
    assert not any("floor" in note for note in r.notes)


@pytest.mark.parametrize("d", [512, pytest.param(4096, marks=pytest.mark.slow)])
def test_high_dimension(d):
    x = random_points(60, d, rng=0)
    for name in [*SMOOTH, "stereo"]:
        if name == "poisson":
            continue
        r = st.uniformity_test(x, name, null="asymptotic")
        assert 1e-3 < r.pvalue < 1 - 1e-3, name


def test_available_tests_know_their_dimension():
    names = {info.name for info in st.available_tests(3)}
    assert {"rayleigh", "pad", "stereo", "pycke"} <= names
    assert "kuiper" not in names
    assert len(st.available_tests(2)) > 30
    assert all(info.reference and info.detects for info in st.available_tests())
    with pytest.raises(ValueError, match="ambient dimension"):
        st.available_tests(1)


def test_monte_carlo_is_reproducible(points):
    first = st.uniformity_test(points, "packing", null="monte-carlo", rng=1, n_resamples=499)
    again = st.uniformity_test(
        points, "packing", null="monte-carlo", rng=1, n_resamples=499, workers=2
    )
    assert first.pvalue == again.pvalue
    assert first.null == "monte-carlo"
    assert first.n_resamples == 499
    assert first.mc_standard_error < 0.03


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda x: st.uniformity_test(x, "giné_fn"), ValueError, "Did you mean .*gine_fn"),
        (lambda x: st.uniformity_test(x, "kuiper"), ValueError, "on the circle"),
        (lambda x: st.uniformity_test(x[:1], "gine_gn"), ValueError, "needs n >= 2"),
        (lambda x: st.uniformity_test(x[:1], "rayleigh"), ValueError, "needs n >= 2"),
        (lambda x: st.uniformity_test(x, "riesz", rho=1.0), TypeError, "has no parameter 'rho'"),
        (lambda x: st.uniformity_test(x, "riesz", s=3.0), ValueError, "s must be a power"),
        (lambda x: st.uniformity_test(x, "riesz", s=-3.5), ValueError, "s must exceed"),
        (lambda x: st.uniformity_test(x, null="exact"), ValueError, "no exact null law"),
        (lambda x: st.uniformity_test(x, null="bootstrap"), ValueError, "null must be one of"),
        (lambda x: st.uniformity_test(x, n_resamples=0), ValueError, "n_resamples"),
        (lambda x: st.uniformity_tests(x, "rayleigh"), TypeError, "'all' or a sequence"),
        (lambda x: st.uniformity_test(x, "rayleigh", antipodal=True), ValueError, "odd harmonics"),
        (lambda x: st.uniformity_test(x, "prt", t=1.0), ValueError, "t must lie strictly"),
        (
            lambda x: st.uniformity_test(x, "prt", t=1e-12),
            ValueError,
            "between 1e-09 and 1 - 1e-09",
        ),
        (lambda x: st.uniformity_test(x[None, :0]), ValueError, r"shape \(1, 0, 4\)$"),
        (lambda x: st.uniformity_test(x[None][:0]), ValueError, ", a batch of no sets"),
        (lambda x: st.uniformity_test(x, "sobolev", weights=()), ValueError, "weights must be"),
        (lambda x: st.test_from_summary(1.0, "gine_fn", n=9, d=3), ValueError, "2 pair sums"),
    ],
)
def test_refusals(points, call, error, match):
    with pytest.raises(error, match=match):
        call(points)


def test_results_unpack_as_those_of_scipy(points):
    result = st.uniformity_test(points, "gine_fn")
    statistic, pvalue = result
    assert (statistic, pvalue) == (result.statistic, result.pvalue)


@pytest.mark.parametrize("correction", ["holm", "bh", "none"])
def test_a_table_adjusts_its_p_values(points, correction):
    table = st.uniformity_tests(points, ["rayleigh", "bingham", "pad"], correction=correction)
    for ours, tail in (
        (table.adjusted, "pvalue"),
        (table.adjusted_lower, "pvalue_lower"),
        (table.adjusted_two_sided, "pvalue_two_sided"),
    ):
        plain = [float(getattr(result, tail)) for result in table]
        assert ours.tolist() == st.adjust_pvalues(plain, method=correction).tolist()
    content = table.to_dict()
    assert (content["adjusted"], content["correction"]) == (table.adjusted.tolist(), correction)
    assert f"p_{correction}={table.adjusted[1]:.6g}" in repr(table)
    assert f"<th>p, {correction}</th>" in table._repr_html_()


def test_a_batch_is_adjusted_set_by_set():
    x = torch.from_numpy(random_points(20, 3, batch=(2, 3), rng=0)).float().requires_grad_()
    names = ["rayleigh", "bingham"]
    table = st.uniformity_tests(x, names)
    assert (table.adjusted.shape, table.adjusted.dtype) == ((2, 3, 2), torch.float32)
    alone = st.uniformity_tests(x[1, 2], names)
    torch.testing.assert_close(table.adjusted[1, 2], alone.adjusted)
    (slope,) = torch.autograd.grad(table.adjusted.sum(), x)
    assert bool(torch.isfinite(slope).all())
    assert st.uniformity_tests(x, []).adjusted.shape == (2, 3, 0)
    with pytest.raises(ValueError, match=r"correction must be one of .*; got 'holmes'"):
        st.uniformity_tests(x, names, correction="holmes")


def test_a_table_is_read_by_name_and_by_parameters(points):
    table = st.uniformity_tests(points, ["riesz:s=0.5", "riesz", "sobolev:weights=1/0/2"])
    assert [r.label for r in table] == ["riesz(s=0.5)", "riesz", "sobolev(weights=1/0/2)"]
    assert table["riesz"].parameters["s"] == 0.5  # the first of that name
    assert table["riesz:s=1"].parameters["s"] == 1.0
    assert table["energy:s=0.50"] is table["riesz(s=0.5)"] is table["riesz"]
    assert table["sobolev:weights=1/0/2"].test == "sobolev"
    for name in ("riesz:s=0.7", "pad", "none", "riesz:q=1"):
        with pytest.raises(KeyError, match="is not among"):
            table[name]
    alone = st.uniformity_test(points, "riesz:s=0.5")
    assert table["riesz"].statistic == pytest.approx(alone.statistic, rel=1e-12)


def test_result_is_frozen(points):
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign"):
        st.uniformity_test(points).pvalue = 0.0


def test_logarithm_with_duplicates_is_infinite_and_said_so(points):
    rows = np.concatenate([points, points[:1]])
    with pytest.warns(NumericalWarning, match="the statistic is infinite and the p-value 0"):
        r = st.uniformity_test(rows, "riesz", s=0.0)
    assert r.statistic == np.inf
    assert r.pvalue == 0.0
    assert r.log_pvalue == -np.inf
