import math

import numpy as np
import pytest
from scipy import stats

from sphuni.training import tables
from sphuni.training.statistics import holm, lower_is_better, mean_ranks, paired, verdict


def test_paired_agrees_with_scipy(rng):
    first, second = rng.normal(size=(2, 12))
    found = paired(first, second)
    reference = stats.ttest_rel(first, second)
    interval = reference.confidence_interval(0.95)
    assert found.p == pytest.approx(reference.pvalue, rel=1e-12)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-12)
    wider = reference.confidence_interval(0.99)
    assert found.interval(0.99) == pytest.approx((wider.low, wider.high), rel=1e-12)


def test_a_failed_run_takes_its_pair_out():
    found = paired([1.0, math.nan, 3.0, 5.0], [0.0, 0.0, math.nan, 3.0])
    assert (found.pairs, found.mean) == (2, 1.5)
    nothing = paired([math.nan], [1.0])
    assert nothing.pairs == 0
    assert math.isnan(nothing.p)


def test_equal_results_prove_nothing_and_constant_shifts_prove_all():
    assert paired([1.0, 2.0], [1.0, 2.0]).p == 1.0
    assert paired([2.0, 3.0], [1.0, 2.0]).p == 0.0
    assert math.isinf(paired([1.0], [0.0]).high)


def test_holm_keeps_what_was_not_compared():
    adjusted = holm([0.04, math.nan, 0.01])
    assert adjusted[0] == pytest.approx(0.04)
    assert adjusted[2] == pytest.approx(0.02)
    assert math.isnan(adjusted[1])
    assert holm([]) == []


def test_verdicts():
    lower = paired([1.0, 1.1, 0.9, 1.0], [2.0, 2.0, 2.1, 1.9])
    assert verdict(lower, 0.001, lower=True) == "confirmed"
    assert verdict(lower, 0.06, lower=True) == "not contradicted"
    assert verdict(lower, 0.001, lower=False) == "not reproduced"
    assert verdict(paired([1.0, 2.0], [1.0, 2.0]), 1.0, lower=True) == "not reproduced"
    tie = paired([1.0, 2.0, 3.0 - 1e-6], [2.0, 1.0, 3.0])
    assert verdict(tie, 1.0, lower=True) == "not reproduced"
    assert verdict(paired([1.0], [2.0]), math.nan, lower=True) == "one seed"
    equal = paired([14.44, 14.68], [14.52, 14.76])  # by chance: no deviation, p = 0
    assert verdict(equal, 0.0, lower=True) == "not contradicted"
    assert verdict(paired([1.0, 1.1, 0.9], [2.0, 2.0, 2.1]), 0.01, lower=True) == "confirmed"


def test_ranks_agree_with_friedman_and_with_demsars_table(rng):
    values = rng.normal(size=(9, 4))
    found = mean_ranks(values)
    assert found.p == pytest.approx(stats.friedmanchisquare(*values.T).pvalue, rel=1e-10)
    assert sum(found.mean) == pytest.approx(10.0)
    assert mean_ranks(-values, lower=False).mean == found.mean
    # q(0.05) for four methods is 2.569 in Demsar's table
    assert found.critical == pytest.approx(2.569 * math.sqrt(4 * 5 / 54), rel=2e-4)


def test_ranks_with_ties_and_missing_blocks():
    found = mean_ranks([[1.0, 1.0], [1.0, 2.0], [math.nan, 0.0]])
    assert found.mean == (1.25, 1.75)
    assert found.blocks == 2
    assert math.isnan(mean_ranks(np.full((2, 2), np.nan)).p)


def test_a_metric_knows_its_direction():
    assert lower_is_better("test.loss")
    assert not lower_is_better("test.accuracy")


def test_small_differences_are_shown_with_more_decimals():
    small = paired([0.5201, 0.5203, 0.5202], [0.5211, 0.5212, 0.5213])
    assert tables._difference(small) == "-0.0010 [-0.0012, -0.0008]"
    assert tables._difference(paired([5.0, 6.0, 7.0], [6.0, 8.0, 8.0])) == "-1.33 [-2.77, +0.10]"
    assert tables._difference(paired([1.0, 1.0], [2.0, 2.0])) == "-1.00 [-1.00, -1.00]"
