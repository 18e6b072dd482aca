"""Many points and draws: moments, sorted angles, a part of the pairs, early stopping, caches."""

import math

import numpy as np
import pytest
import torch

import sphuni.stats as st
from sphuni.distributions import random_points, von_mises_fisher
from sphuni.pairwise import pair_reduce
from sphuni.stats.kernels._angular import CircleCap, CircleQuartic, CircleSquare
from sphuni.stats.kernels._zonal import Latitude, OneMinusSine
from sphuni.stats.laws import WeightedChi2
from sphuni.stats.laws.monte_carlo import SequentialTable
from sphuni.stats.nulls import _tables
from sphuni.stats.nulls._null import Null, affordable, choose
from sphuni.stats.nulls._simulate import simulate_tests
from sphuni.stats.sums import _incomplete
from sphuni.stats.sums._incomplete import sampled_sums
from sphuni.stats.sums._moments import gegenbauer_pair_sum, rounding
from sphuni.stats.sums._sorted import sorted_pair_sum, sorted_turns


@pytest.mark.parametrize(
    "kernel",
    [CircleSquare(), CircleQuartic(), CircleCap(1 / 3), CircleCap(0.1), Latitude(), OneMinusSine()],
    ids=lambda kernel: kernel.label,
)
def test_sorted_angles_give_the_pair_sum(kernel):
    x = torch.from_numpy(random_points(301, 2, batch=(2,), rng=0))
    x[1, 1], x[1, 3], x[1, 7] = x[1, 0], -x[1, 4], -x[1, 8]
    ours = sorted_pair_sum(sorted_turns(x), kernel)
    assert ours.numpy() == pytest.approx(pair_reduce(x, kernel=kernel).numpy(), rel=1e-9, abs=1e-8)


@pytest.mark.parametrize("name", ["ajne", "gine_fn", "prt", "hermans_rasson", "fg01", "pcvm"])
def test_large_circles_are_sorted_and_differentiable(name):
    test = st.build_test(name)
    assert not test.needs_pairs(600, 2)
    x = torch.from_numpy(random_points(600, 2, rng=0)).requires_grad_()
    sums = [pair_reduce(x, kernel=kernel) for kernel in test.kernels(2)]
    direct = test.from_summary(tuple(sums), 600, 2)
    ours = test.statistic(x)
    assert float(ours.detach()) == pytest.approx(float(direct.detach()), rel=1e-9)
    (slope,) = torch.autograd.grad(ours, x)
    (wanted,) = torch.autograd.grad(direct, x)
    tangent = slope - (slope * x).sum(-1, keepdim=True) * x
    assert tangent.detach().numpy() == pytest.approx(wanted.detach().numpy(), abs=1e-7)


@pytest.mark.parametrize(
    ("d", "parameters"),
    [
        (2, {"weights": (0.5, 0.0, 1.0)}),
        (3, {"weights": (1.0, 0.5, 0.25, 0.125)}),
        (3, {"weights": (0.0, 0.5, 0.0, 0.1), "antipodal": True}),
        (6, {}),
    ],
)
def test_moments_give_the_finite_sobolev_statistic(d, parameters):
    test = st.build_test("sobolev", **parameters)
    x = torch.from_numpy(random_points(700, d, rng=1))
    assert not test.needs_pairs(700, d)
    direct = test.from_summary((pair_reduce(x, kernel=test.kernels(d)[0]),), 700, d)
    assert float(test.statistic(x)) == pytest.approx(float(direct), rel=1e-10)


def test_moment_sums_of_points_that_span_fewer_dimensions():
    x = torch.zeros(30, 5, dtype=torch.float64)
    x[:, :3] = torch.from_numpy(random_points(30, 3, rng=0))
    coefficients = np.array([0.3, 1.0, 0.2, 0.7])
    wide = gegenbauer_pair_sum(x, coefficients, 5)
    assert float(gegenbauer_pair_sum(x[:, :3], coefficients, 5)) == pytest.approx(float(wide))


def test_part_of_the_pairs_has_the_law_that_is_claimed():
    x = random_points(200, 3, batch=(400,), rng=2)
    pvalues = [
        st.uniformity_test(part, "gine_fn", max_pairs=2000, rng=k).pvalue
        for k, part in enumerate(np.array_split(x, 40))
    ]
    p = np.concatenate(pvalues)
    assert 0.02 < np.mean(p < 0.05) < 0.09
    assert 0.4 < np.mean(p < 0.5) < 0.6
    clustered = von_mises_fisher(3000, 3, kappa=1.0, rng=0)
    r = st.uniformity_test(clustered, "bakshaev", max_pairs=50_000)
    assert r.pvalue < 1e-6
    assert "incomplete" in r.null_description


@pytest.mark.parametrize("name", ["gine_fn", "gine_gn", "pad", "poisson", "quadratik_u"])
@pytest.mark.parametrize("d", [2, 3])
def test_laws_of_a_part_of_the_pairs_fall_steadily(name, d):
    law = _incomplete.incomplete_law(st.build_test(name), 100, d, 2000).law
    x = law.mean + math.sqrt(law.variance) * np.linspace(-3.0, 8.0, 45)
    upper = law.tails(x).upper
    assert np.all(np.diff(upper) < 0)
    assert upper[0] < 1.0
    assert upper[-1] > 0.0


@pytest.mark.parametrize(
    ("name", "n", "d"),
    [
        ("poisson", 60, 10),  # most pairs are drawn, some twice
        ("riesz:s=-0.4", 200, 2),  # the third moment of the kernel is infinite
        ("riesz:s=-0.999", 200, 3),  # pairs too close to be met have most of the variance
    ],
)
def test_part_of_the_pairs_of_a_steep_kernel_has_the_law_that_is_claimed(name, n, d):
    parts = [
        st.uniformity_test(random_points(n, d, batch=250, rng=k), name, max_pairs=1000, rng=k)
        for k in range(12)
    ]
    for tail in ("pvalue", "pvalue_lower"):
        p = np.concatenate([getattr(part, tail) for part in parts])
        assert np.mean(p <= 0.05) == pytest.approx(0.05, abs=0.016)
        assert np.mean(p <= 0.01) < 0.0165


def test_part_of_the_pairs_whose_noise_is_very_skewed_has_the_law_that_is_claimed():
    """One chi-square with the right skewness would have less than a degree of freedom here."""
    name, n, d = "poisson:rho=0.85", 47, 4
    parts = [
        st.uniformity_test(random_points(n, d, batch=250, rng=k), name, max_pairs=1000, rng=k)
        for k in range(12)
    ]
    p = np.concatenate([part.pvalue for part in parts])
    assert np.mean(p <= 0.1) == pytest.approx(0.1, abs=0.012)
    assert np.mean(p <= 0.2) == pytest.approx(0.2, abs=0.014)


def test_part_of_the_pairs_where_few_of_them_rule():
    x = random_points(400, 10, rng=0)
    (note,) = st.uniformity_test(x, "softmax", kappa=20.0, max_pairs=5000).notes
    assert "few pairs rule" in note
    assert st.uniformity_test(x, "softmax", kappa=1.0, max_pairs=5000).notes == ()
    with pytest.raises(ValueError, match="a few of 5000 random pairs rule test 'softmax'"):
        st.uniformity_test(x, "softmax", kappa=1000.0, max_pairs=5000)


def test_part_of_the_pairs_has_the_lower_tail_of_few_close_ones():
    """At the 1 % and 5 % points of 7,000 simulated sets; one chi-square gave 1.4 % at the first."""
    test = st.build_test("softmax:kappa=300")
    choice = _incomplete.incomplete_law(test, 1000, 4, 10_000)
    places = np.array([-0.12638, -0.10453])
    assert choice.law.tails(places).lower == pytest.approx([0.01, 0.05], rel=0.15)
    assert "few pairs rule" in choice.caution


def test_part_of_the_pairs_that_cannot_be_counted_is_read_with_a_caution(monkeypatch):
    """Where the chi-square is not too skewed and there is no law by pairs, it serves."""
    monkeypatch.setattr(_incomplete, "_counted", lambda *_: None)
    law, _, _, caution = _incomplete.incomplete_law(
        st.build_test("softmax:kappa=300"), 1000, 4, 10_000
    )
    assert isinstance(law, WeightedChi2)
    assert "few pairs rule" in caution


def test_tables_leave_out_what_has_no_law_for_a_part_of_the_pairs():
    x = random_points(100, 3, rng=0)
    table = st.uniformity_tests(x, n_resamples=199, max_pairs=1000)
    assert "no limit law" in table.skipped["stereo"]
    assert "incomplete" in table["softmax"].null_description
    with pytest.raises(ValueError, match="'stereo' has no limit law"):
        st.uniformity_tests(x, ["ajne", "stereo"], max_pairs=1000)


def test_a_number_of_pairs_is_whole():
    with pytest.raises(TypeError, match="max_pairs must be a whole number"):
        st.uniformity_test(random_points(100, 3, rng=0), "gine_fn", max_pairs=True)


def test_tables_of_a_part_of_the_pairs_share_them():
    x = random_points(300, 3, rng=2)
    table = st.uniformity_tests(x, ["ajne", "gine_gn", "rayleigh"], max_pairs=5000)
    one = st.uniformity_test(x, "ajne", max_pairs=5000)
    assert table["ajne"].statistic == pytest.approx(one.statistic, rel=1e-12)
    assert table["rayleigh"].pvalue == st.uniformity_test(x, "rayleigh").pvalue


def test_sequential_p_values_stop_early_and_are_right():
    x = random_points(20, 3, rng=0)
    full = st.uniformity_test(x, "pad", null="monte-carlo", rng=1, n_resamples=4000)
    short = st.uniformity_test(x, "pad", null="monte-carlo", rng=1, n_resamples=4000, stop_after=50)
    assert short.n_resamples < 4000
    assert short.pvalue == pytest.approx(full.pvalue, rel=0.5)
    law = SequentialTable(np.array([5.0, 1.0, 7.0, 2.0, 9.0]), 2)
    tails = law.tails(np.array([4.0, 8.0]))
    assert tails.upper == pytest.approx([2 / 3, 2 / 6])
    assert law.decided(np.array([4.0]))
    assert not law.decided(np.array([8.0]))


def test_simulated_tables_are_stored_and_found(tmp_path, monkeypatch):
    monkeypatch.setenv("SPHUNI_CACHE", str(tmp_path))
    test = st.build_test("pad")
    (first,) = _tables.tables([test], 60, 3, 500, 12345)
    files = list(tmp_path.glob("pad-*.npy"))
    assert len(files) == 1
    monkeypatch.setattr(_tables, "_memory", type(_tables._memory)())
    monkeypatch.setattr(_tables, "simulate_tests", None)  # found, not made again
    (again,) = _tables.tables([test], 60, 3, 500, 12345)
    assert np.array_equal(first, again)


def test_damaged_tables_are_made_again(tmp_path, monkeypatch):
    monkeypatch.setenv("SPHUNI_CACHE", str(tmp_path))
    test = st.build_test("pad")
    (first,) = _tables.tables([test], 60, 3, 500, 54321)
    (file,) = tmp_path.glob("pad-*.npy")
    file.write_bytes(b"not a table")
    monkeypatch.setattr(_tables, "_memory", type(_tables._memory)())
    (again,) = _tables.tables([test], 60, 3, 500, 54321)
    assert np.array_equal(first, again)


def test_store_can_be_turned_off(monkeypatch):
    monkeypatch.setenv("SPHUNI_CACHE", "off")
    assert _tables.cache_folder() is None
    monkeypatch.setenv("SPHUNI_CACHE", "")
    assert _tables.cache_folder() is None
    monkeypatch.setenv("SPHUNI_CACHE", "~nobody_of_that_name/cache")
    assert _tables.cache_folder() is None


@pytest.mark.parametrize(
    ("n", "d", "names"),
    [
        (15, 2, ("rayleigh", "kuiper", "packing")),
        (120, 3, ("riesz", "prt", "poisson", "gine_fn")),
    ],
)
def test_tests_simulated_together_have_the_tables_they_have_alone(n, d, names):
    tests = [st.build_test(name) for name in names]
    together = simulate_tests(tests, n, d, 300, rng=4)
    alone = np.stack([simulate_tests([t], n, d, 300, rng=4)[:, 0] for t in tests], axis=1)
    assert together == pytest.approx(alone, rel=1e-12)


@pytest.mark.parametrize("degree", [6, 12])
def test_laws_of_high_harmonics_do_not_depend_on_the_size_of_the_weights(degree):
    """A weight of 1 on a degree of many harmonics makes a kernel of order 10^4 and more."""
    tails = []
    for weight in (1e-8, 1.0, 1e8):
        test = st.build_test("sobolev", weights=(0.0,) * (degree - 1) + (weight,))
        law = test.pair_law(220, 64)
        tails.append(law.tails(law.mean + law.variance**0.5 * np.array([-1.5, 1.5, 3.5])))
    for other in tails:
        assert other.log_upper == pytest.approx(tails[0].log_upper, rel=1e-6)
    sample = simulate_tests([test], 220, 64, 1000, rng=1)[:, 0]
    assert 0.03 < np.mean(law.tails(sample).upper <= 0.05) < 0.072
    assert 0.03 < np.mean(law.tails(sample).lower <= 0.05) < 0.072


@pytest.mark.parametrize(
    ("name", "n", "d"),
    [("poisson:rho=0.95", 700, 4), ("poisson:rho=0.8", 501, 6), ("softmax:kappa=2000", 2000, 4)],
)
def test_the_law_by_pairs_has_the_skewness_of_the_statistic(name, n, d):
    """Close pairs add to low and to high harmonics, which are not independent therefore."""
    test = st.build_test(name)
    law, moments = test.pair_law(n, d), test.moments(d)
    mass = np.diff(np.exp(law.log_lower))
    middle = 0.5 * (law.places[1:] + law.places[:-1])
    mean = mass @ middle / mass.sum()
    variance, third = (mass @ (middle - mean) ** k / mass.sum() for k in (2, 3))
    pairs, triangles = 4 * (n - 1) / n**2, 8 * (n - 1) * (n - 2) / n**2
    wanted = pairs * moments.third + triangles * moments.triangle
    assert mean == pytest.approx(law.mean, abs=0.01 * law.variance**0.5)
    assert variance == pytest.approx(law.variance, rel=0.02)
    assert third / wanted == pytest.approx(1.0, abs=0.12)


@pytest.mark.parametrize(
    ("name", "d"), [("poisson:rho=0.95", 4), ("stereo", 3), ("riesz:s=-0.5", 2)]
)
def test_the_law_by_pairs_falls_steadily_to_both_sides(name, d):
    law = st.build_test(name).pair_law(600, d)
    assert np.all(np.diff(law.places) > 0)
    assert np.all(np.diff(law.log_upper) <= 0)
    assert np.all(np.diff(law.log_lower) >= 0)
    # no step in the lower tail: its slope changes slowly
    low = np.linspace(law.places[0], law.places[-1], 4001)
    low = low[(low > law.places[0]) & (law.tails(low).log_lower < -3.0)]
    slopes = np.diff(law.tails(low).log_lower)
    assert np.all(slopes[1:] < 1.2 * slopes[:-1])


@pytest.mark.parametrize("name", ["poisson:rho=0.9", "softmax:kappa=100"])
def test_spikes_that_no_grid_resolves_have_no_law_in_formulas(name):
    assert st.build_test(name).best_law(220, 64) is None


@pytest.mark.slow
def test_close_pairs_are_counted_one_by_one():
    """On S^2 the stereographic kernel has no variance; its law beyond n = 500 is still right."""
    test = st.build_test("stereo")
    assert test.best_law(300, 3) is None  # a table serves, as the lower tail is not right yet
    choice = test.asymptotic_law(300, 3)
    assert "compound Poisson" in choice.description
    sample = simulate_tests([test], 300, 3, 1500, rng=8)[:, 0]
    tails = choice.law.tails(sample)
    assert 0.03 < np.mean(tails.upper < 0.05) < 0.07
    assert 0.02 < np.mean(tails.lower < 0.05) < 0.07
    far = choice.law.tails(np.array([1e3, 1e4])).log_upper
    # one close pair: P ~ theta^2
    assert far[0] - far[1] == pytest.approx(2 * np.log(10), rel=0.05)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"max_pairs": 10}, "max_pairs must be at least 1000"),
        ({"max_pairs": 1000, "null": "monte-carlo"}, "max_pairs goes with"),
        ({"max_pairs": 1000, "stop_after": 5}, "stop_after ends a simulation"),
        ({"stop_after": 5}, "stop_after goes with null='monte-carlo'"),
        ({"stop_after": 0, "null": "monte-carlo"}, "stop_after must be at least 1"),
    ],
)
def test_refusals(options, match):
    with pytest.raises(ValueError, match=match):
        st.uniformity_test(random_points(60, 3, rng=0), "pad", **options)


@pytest.mark.slow
def test_a_stretched_table_of_scans_is_right_for_more_points():
    test, n = st.build_test("cressie"), 20_000
    law = choose(test, n, 2, Null(rng=0, n_resamples=1999)).law
    rng = np.random.default_rng(3)
    turns = torch.from_numpy(np.sort(rng.random((60, n)), axis=1))
    found = test.of_turns(turns, n).numpy()
    assert found.mean() == pytest.approx(law.mean, abs=4 * found.std() / 60**0.5)
    assert found.std() == pytest.approx(law.variance**0.5, rel=0.35)
    assert law.sample.size == 1999


def test_the_table_of_large_scans_has_as_many_sets_as_there_is_time_for():
    """A hundred thousand of 2000 points took a minute and a half at the first call."""
    test = st.build_test("cressie")
    assert affordable(test, 2000, 2, Null()) == 9_999
    assert affordable(test, 500, 2, Null()) == 99_999


def test_a_sequential_simulation_says_how_far_it_went():
    seen = []
    points = random_points(30, 3, rng=0)
    result = st.uniformity_test(
        points, null="monte-carlo", stop_after=5, n_resamples=999, rng=0,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert seen == [(100, 999)]
    assert result.n_resamples == 100
    clustered = np.repeat(points[:1], 30, axis=0)
    result = st.uniformity_test(clustered, null="monte-carlo", stop_after=5, n_resamples=399, rng=0)
    assert result.n_resamples == 399


@pytest.mark.parametrize("name", ["hodges_ajne", "cressie", "num_uncover"])
def test_rounded_angles_may_be_rotated(name):
    rng = np.random.default_rng(0)
    for step in (1, 10):
        turns = np.radians(step * rng.integers(360 // step, size=(20, 40)))
        values = [
            st.build_test(name).statistic(torch.from_numpy(circle(turns + turn)), 2)
            for turn in np.radians([0.0, 10.0, 47.0, 123.456])
        ]
        for value in values[1:]:
            torch.testing.assert_close(value, values[0], rtol=1e-12, atol=0)


def circle(angles):
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def test_moments_are_left_where_they_would_leave_no_digits():
    """P_40 in powers of t has coefficients of 1e14 of both signs: pairs serve instead."""
    test = st.build_test("sobolev", weights=(0.0,) * 39 + (1.0,))
    assert test.needs_pairs(50_000, 3)
    assert not st.build_test("sobolev", weights=(0.0,) * 19 + (1.0,)).needs_pairs(12_000, 3)
    assert not st.build_test("stein").needs_pairs(1_000_000, 3)
    assert not test.needs_pairs(1_000_000, 2)


def test_rounding_of_moments_is_as_large_as_claimed():
    n, d, degree = 600, 3, 30
    x = torch.from_numpy(random_points(n, d, rng=1))
    series = np.eye(degree + 1)[degree]
    kernel = st.pair_kernels("sobolev", d, weights=(0.0,) * (degree - 1) + (1.0,))[0]
    off = float(gegenbauer_pair_sum(x, series, d) - pair_reduce(x, kernel=kernel))
    claimed = n * rounding(series, d) * np.sqrt(2.0 / (2 * degree + 1)) * n / 2
    assert 1e-3 * claimed < abs(off) < claimed


def test_random_pairs_are_looked_at_part_by_part(monkeypatch):
    """As many coordinates at a time as fit, whatever the dimension and the number of sets."""
    kernel = st.pair_kernels("bakshaev", 40)[0]
    x = torch.from_numpy(random_points(50, 40, batch=(3,), rng=0))
    seen = []

    class Watched(type(kernel)):
        def value(self, p, q):
            seen.append(p.numel())
            return super().value(p, q)

    watched = Watched(kernel.base, kernel.constant, kernel.d)
    whole = sampled_sums(x, [watched], 5000, 1)[0]
    monkeypatch.setattr(_incomplete, "_CHUNK_NUMBERS", 1 << 15)
    parts = sampled_sums(x, [watched], 5000, 1)[0]
    assert parts.numpy() == pytest.approx(whole.numpy(), rel=1e-12)
    assert seen[0] == 15_000
    assert max(seen[1:]) * 40 <= 1 << 15
