"""Effect sizes, dependent rows, chosen parameters, joint laws, detectable effects."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch

from sphuni import random_points
from sphuni.distributions import von_mises_fisher
from sphuni.stats import (
    available_tests,
    build_test,
    cluster_test,
    effect_size,
    effective_n,
    joint_tests,
    kfold_test,
    smallest_detectable,
    uniformity_test,
)
from sphuni.stats.dependence import _turned
from sphuni.stats.sobolev import SobolevTest


def brute_effect(x, name, groups):
    test, d = build_test(name), x.shape[1]
    scale = np.sqrt(test.second_moment(d))

    def mean(rows):
        pairs = [(i, j) for i, j in itertools.combinations(rows, 2) if groups[i] != groups[j]]
        return np.mean(test.values(np.array([x[i] @ x[j] for i, j in pairs]), d)) / scale

    left_out = np.array([mean(np.flatnonzero(groups != g)) for g in np.unique(groups)])
    count = len(left_out)
    error = np.sqrt((count - 1) / count * ((left_out - left_out.mean()) ** 2).sum())
    return mean(range(len(x))), error


@pytest.mark.parametrize("name", ["rayleigh", "bingham", "gine_fn", "pad", "poisson"])
def test_jackknife_is_leaving_groups_out(name, rng):
    x = von_mises_fisher(14, 3, kappa=1.0, rng=3)
    for groups in (np.arange(14), np.array([0, 0, 1, 1, 1, 2, 3, 3, 4, 5, 5, 6, 6, 6])):
        result = effect_size(x, name, clusters=groups)
        estimate, error = brute_effect(x, name, groups)
        assert result.estimate == pytest.approx(estimate, rel=1e-9)
        assert result.standard_error == pytest.approx(error, rel=1e-9)
        assert result.n_groups == len(np.unique(groups))
        assert result.low < result.estimate < result.high


@pytest.mark.parametrize("name", ["watson", "rayleigh_m", "fg01", "pycke_q"])
def test_jackknife_and_bootstrap_on_the_circle(name):
    x, groups = random_points(14, 2, rng=3), np.arange(14) // 2
    estimate, error = brute_effect(x, name, groups)
    result = effect_size(x, name, clusters=groups)
    assert result.estimate == pytest.approx(estimate, rel=1e-9)
    assert result.standard_error == pytest.approx(error, rel=1e-9)
    drawn = effect_size(x, name, clusters=groups, method="bootstrap", n_resamples=9, rng=0)
    assert drawn.estimate == pytest.approx(estimate, rel=1e-9)


def test_bootstrap_agrees_with_the_jackknife_on_the_estimate():
    x = von_mises_fisher(120, 3, kappa=1.5, rng=3)
    fast = effect_size(x, "gine_fn")
    slow = effect_size(x, "gine_fn", method="bootstrap", n_resamples=400, rng=0)
    assert slow.estimate == pytest.approx(fast.estimate, rel=1e-9)
    assert slow.standard_error == pytest.approx(fast.standard_error, rel=0.25)
    again = effect_size(x, "gine_fn", method="bootstrap", n_resamples=400, rng=0)
    assert again == slow


def test_interval_covers_the_known_distance():
    truth = np.sqrt(3) * (1 / np.tanh(1.0) - 1.0) ** 2
    results = [
        effect_size(von_mises_fisher(150, 3, kappa=1.0, rng=seed), "rayleigh") for seed in range(80)
    ]
    assert sum(r.low < truth < r.high for r in results) >= 68
    mean = np.mean([r.estimate for r in results])
    assert mean == pytest.approx(truth, abs=0.02)


def test_effect_does_not_grow_with_n():
    sizes = [effect_size(von_mises_fisher(n, 3, kappa=0.8, rng=1)).estimate for n in (300, 1200)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.4)
    statistics = [
        float(uniformity_test(von_mises_fisher(n, 3, kappa=0.8, rng=1), "gine_fn").statistic)
        for n in (300, 1200)
    ]
    assert statistics[1] > 2 * statistics[0]


@pytest.mark.parametrize("d", [2, 3, 7])
def test_a_result_has_the_effect_that_effect_size_estimates(d):
    """One name, one number: a ratio of the statistic to its null mean would grow with n."""
    x, compared = von_mises_fisher(60, d, kappa=0.7, rng=1), 0
    for info in available_tests(d):
        test = build_test(info.name)
        if isinstance(test, SobolevTest) and np.isfinite(test.second_moment(d)):
            result = uniformity_test(x, test, null="monte-carlo", n_resamples=9, rng=0)
            estimate = effect_size(x, info.name).estimate
            assert result.effect_size == pytest.approx(estimate, rel=1e-9), info.name
            compared += 1
    assert compared > 15


def test_the_effect_of_a_sliced_distance_is_that_of_watson_on_its_circles():
    x = random_points(30, 5, rng=0)
    planes = np.stack([np.eye(5)[:2], np.eye(5)[2:4]])
    circles = [plane @ x.T for plane in planes]
    effects = [effect_size((c / np.linalg.norm(c, axis=0)).T, "watson").estimate for c in circles]
    result = uniformity_test(
        x, "sliced_wasserstein", directions=planes, null="monte-carlo", n_resamples=9, rng=0
    )
    assert result.effect_size == pytest.approx(np.mean(effects), rel=1e-9)


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        ([0.0, 0.0, np.nan, 1.0, np.nan, 2.0], "nan"),
        (np.array(["a", "a", None, "b", "b", "c"], dtype=object), "None"),
        (np.array(["2001", "2001", "NaT", "2002", "2002", "2003"], dtype="M8[D]"), "NaT"),
        (pd.Series(["a", "a", None, "b", "b", "c"], dtype="string"), "<NA>"),
    ],
)
def test_missing_labels_are_no_group(labels, shown):
    """All rows without a label would be one group, or not be sorted among the others."""
    x = random_points(6, 3, rng=0)
    expected = rf"clusters must not hold missing labels; row 2 has {shown}\. Drop such rows"
    for take in (cluster_test, effect_size, effective_n):
        with pytest.raises(ValueError, match=expected):
            take(x, "rayleigh", clusters=labels)


def test_labels_of_every_kind_make_groups():
    x, groups = random_points(6, 3, rng=0), [0, 0, 1, 1, 2, 2]
    expected = effective_n(x, clusters=groups)
    for labels in (list("aabbcc"), pd.Series(list("aabbcc"), dtype="category"), np.array(groups)):
        assert effective_n(x, clusters=labels) == expected


def test_repeated_rows_count_once():
    x = np.repeat(random_points(30, 4, rng=2), 5, axis=0)
    groups = np.repeat(np.arange(30), 5)
    for name in ("rayleigh", "bingham", "gine_fn", "pad"):
        assert effective_n(x, name, clusters=groups) == pytest.approx(30.0)
        assert effective_n(x, name, block_length=5) == pytest.approx(30.0)
        assert effective_n(x, name) == pytest.approx(150.0)
    assert effective_n(np.array([[1.0, 0], [-1.0, 0]] * 3), block_length=2) == np.inf


def test_rotations_respect_dependence_and_keep_power():
    groups = np.repeat(np.arange(25), 4)
    naive = turned = 0
    for seed in range(40):
        x = np.repeat(random_points(25, 3, rng=seed), 4, axis=0)
        naive += uniformity_test(x, "rayleigh").pvalue <= 0.05
        turned += (
            cluster_test(x, "rayleigh", clusters=groups, n_resamples=99, rng=seed).pvalue <= 0.05
        )
    assert naive >= 10
    assert turned <= 7
    x = np.repeat(von_mises_fisher(25, 3, kappa=3.0, rng=1), 4, axis=0)
    result = cluster_test(x, "rayleigh", clusters=groups, n_resamples=99, rng=0)
    assert result.pvalue == 0.01
    assert result.pvalue_lower == 1.0


def test_rotating_keeps_what_lies_within_groups():
    x = random_points(12, 5, rng=0)
    one = cluster_test(x, "gine_fn", clusters=np.zeros(12), n_resamples=9, rng=0)
    # one group turned as a whole has the same statistic: everything ties
    assert (one.pvalue, one.pvalue_lower, one.n_groups) == (1.0, 1.0, 1)
    free = cluster_test(x, "packing", n_resamples=99, rng=0)
    assert np.isnan(free.effective_n)
    assert free.pvalue + free.pvalue_lower >= 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: effect_size(x, "packing"), "has no kernel"),
        (lambda x: effect_size(x, "gine_gn", antipodal=True), "lines have no effect size"),
        (lambda x: effect_size(x, level=1.5), "level must be a confidence"),
        (lambda x: effect_size(x, method="magic"), "method must be"),
        (lambda x: effect_size(x, clusters=np.zeros(8)), "at least 3 groups; got 1"),
        (lambda x: effect_size(x, clusters=np.zeros(3)), r"clusters must have shape \(8,\)"),
        (lambda x: effect_size(x, clusters=np.zeros(8), block_length=2), "not both"),
        (lambda x: effect_size(x, block_length=9), "block_length must lie in 1 .. n = 8"),
        (lambda x: effect_size(x[None]), "one set of shape"),
        (lambda x: cluster_test(x, n_resamples=0), "n_resamples"),
        (lambda x: effective_n(x, "riesz", s=0.0), "infinite kernel"),
        (lambda x: kfold_test(x, "riesz", parameter="s", values=[1.0], n_folds=5), "n_folds must"),
        (lambda x: kfold_test(x, "riesz", parameter="s", values=[], n_folds=2), "values must"),
        (lambda x: joint_tests(x, ["rayleigh"], tail="both"), "tail must be"),
        (lambda x: joint_tests(x, []), "at least one name"),
        (lambda x: joint_tests(x, ["kuiper"]), "circle"),
        (lambda x: joint_tests(x, ["rayleigh"], n_resamples=0), "n_resamples"),
    ],
)
def test_refusals(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call(random_points(8, 3, rng=0))


def test_joint_law_is_between_none_and_holm():
    names = ["rayleigh", "bakshaev", "pcvm", "pad"]
    x = von_mises_fisher(25, 3, kappa=0.8, rng=4)
    result = joint_tests(x, names, n_resamples=999, rng=0)
    assert (result.adjusted >= result.pvalues).all()
    assert (result.adjusted <= np.minimum(1.0, 4 * result.pvalues)).all()
    assert result.pvalue < 2.5 * result.pvalues.min()  # they are nearly one test
    again = joint_tests(x, names, n_resamples=999, rng=0)
    assert again.to_dict() == result.to_dict()
    for name, statistic in zip(names, result.statistics, strict=True):
        alone = uniformity_test(x, name).statistic
        assert statistic == pytest.approx(float(alone), rel=1e-9)


def test_one_test_alone_is_not_adjusted():
    x = random_points(15, 3, rng=4)
    for tail in ("upper", "lower", "two_sided"):
        result = joint_tests(x, ["bingham"], tail=tail, n_resamples=199, rng=0)
        assert result.adjusted[0] == pytest.approx(result.pvalues[0])
    lower = joint_tests(x, ["bingham"], tail="lower", n_resamples=199, rng=0).pvalues[0]
    upper = joint_tests(x, ["bingham"], n_resamples=199, rng=0).pvalues[0]
    assert lower + upper == pytest.approx(1.0 + 1 / 200)


def test_folds_choose_a_width_that_suits():
    x = np.vstack(
        [von_mises_fisher(30, 3, kappa=300.0, mu=m, rng=k) for k, m in enumerate(np.eye(3))]
    )
    x = np.vstack([x, -x])
    result = kfold_test(x, "softmax", parameter="kappa", values=[0.1, 30.0], n_folds=3, rng=0)
    assert result.pvalue < 1e-6
    assert result.chosen == (30.0, 30.0, 30.0)
    assert result.fold_pvalues.shape == (3,)
    head, *folds = repr(result).splitlines()
    assert head.startswith("KFoldResult(softmax; n=180, d=3) pvalue=")
    assert folds == [f"  kappa=30.0 p={p:.6g}" for p in result.fold_pvalues]


def test_smallest_detectable_falls_with_n():
    few = smallest_detectable("rayleigh", n=40, d=3, n_sets=300, rng=0)
    many = smallest_detectable("rayleigh", n=160, d=3, n_sets=300, rng=0)
    assert few.strength / many.strength == pytest.approx(2.0, rel=0.25)
    assert few.interval[0] <= few.strength <= few.interval[1]
    hidden = smallest_detectable("rayleigh", "watson", n=20, d=3, n_sets=100, high=2.0, rng=0)
    assert hidden.strength == np.inf
    with pytest.raises(ValueError, match="target must be a power"):
        smallest_detectable("rayleigh", n=20, d=3, target=0.01)
    with pytest.raises(ValueError, match="rtol must lie"):
        smallest_detectable("rayleigh", n=20, d=3, rtol=0.0)


def test_groups_are_turned_and_not_mirrored():
    x = random_points(6, 2, rng=0)
    groups = np.array([0, 0, 0, 1, 1, 2])
    turned = _turned(torch.from_numpy(x), groups, 50, np.random.default_rng(0)).numpy()
    for rows in ([0, 1], [1, 2], [3, 4]):
        sense = np.linalg.det(turned[:, rows])
        np.testing.assert_allclose(sense, np.linalg.det(x[rows]), atol=1e-12)


def test_joint_tests_take_names_not_one_name():
    with pytest.raises(TypeError, match="tests must be a sequence of names; got 'rayleigh'"):
        joint_tests(random_points(10, 3, rng=0), "rayleigh")


def test_simulated_folds_are_the_same_for_the_same_seed():
    x = random_points(40, 3, rng=0)
    settings = {"parameter": "kappa", "values": [1.0, 3.0], "n_folds": 2, "rng": 5}
    one, two = (
        kfold_test(x, "softmax", null="monte-carlo", n_resamples=49, **settings) for _ in range(2)
    )
    assert one.fold_pvalues == pytest.approx(two.fold_pvalues, abs=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rows_of_half_precision_are_put_right(dtype):
    """Norms off by their rounding would count n times, against simulated sets that have none."""
    x = torch.from_numpy(random_points(3000, 3, rng=3)).to(dtype)
    wide = torch.nn.functional.normalize(x.double(), dim=-1)
    exact = float(uniformity_test(wide, "bingham").statistic)
    joint = joint_tests(x, ["bingham"], n_resamples=1, rng=0)
    assert float(joint.statistics[0]) == pytest.approx(exact, rel=1e-9)
    assert cluster_test(x, "bingham", n_resamples=1, rng=0).statistic == pytest.approx(exact)
    assert effect_size(x, "bingham").estimate == pytest.approx(
        effect_size(wide, "bingham").estimate, rel=1e-9
    )


def test_the_search_for_the_detectable_ends_where_few_sets_tell_nothing():
    """The upper end of the interval is above the target at every strength: no halving for ever."""
    result = smallest_detectable("rayleigh", n=20, d=3, n_sets=10, target=0.2, rng=0)
    assert result.interval[0] < 1e-5
    assert len(result.tried) < 60


def test_numbers_of_sets_and_folds_are_whole():
    x = random_points(10, 3, rng=0)
    with pytest.raises(TypeError, match="n_resamples must be a whole number"):
        cluster_test(x, n_resamples=True)
    with pytest.raises(TypeError, match="n_folds must be a whole number"):
        kfold_test(x, "softmax", parameter="kappa", values=[1.0], n_folds=True)


def test_tiny_statistics_are_not_all_ties():
    """Of 2000 points of the circle the closest two lie 1e-6 apart: its square is 1e-12."""
    x = random_points(2000, 2, rng=2)
    upper, lower = (
        joint_tests(x, ["packing"], n_resamples=99, rng=0, tail=tail).pvalue
        for tail in ("upper", "lower")
    )
    assert upper + lower < 1.05
    rotated = cluster_test(x, "packing", n_resamples=99, rng=0)
    assert rotated.pvalue + rotated.pvalue_lower < 1.05
    x[1] = x[0]
    assert joint_tests(x, ["packing"], n_resamples=99, rng=0).pvalue == 0.01
    assert cluster_test(x, "packing", n_resamples=99, rng=0).pvalue == 0.01


@pytest.mark.parametrize("angle", [1e-6, 1e-3])
def test_a_close_pair_of_one_group_is_as_close_after_any_turn(angle):
    x = random_points(8, 3, rng=0)
    x[1] = np.cos(angle) * x[0] + np.sin(angle) * np.linalg.svd(x[:1])[2][1]
    result = cluster_test(x, "packing", clusters=np.arange(8) // 2, n_resamples=99, rng=0)
    assert result.pvalue == result.pvalue_lower == 1.0
