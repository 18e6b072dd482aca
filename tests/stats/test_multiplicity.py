"""Adjusted and combined p-values against definitions."""

import numpy as np
import pytest
import torch
from scipy import stats

from sphuni.stats import adjust_pvalues, combine_pvalues


@pytest.fixture
def p():
    return np.array([0.001, 0.8, 0.013, 0.04, 0.02, 0.5])


def test_false_discovery_rate_matches_scipy(p):
    assert adjust_pvalues(p, method="bh") == pytest.approx(stats.false_discovery_control(p))
    by = stats.false_discovery_control(p, method="by")
    assert adjust_pvalues(p, method="by") == pytest.approx(by)


def test_holm_and_hochberg_by_hand():
    p = [0.01, 0.04, 0.03]
    assert adjust_pvalues(p, method="holm") == pytest.approx([0.03, 0.06, 0.06])
    assert adjust_pvalues(p, method="hochberg") == pytest.approx([0.03, 0.04, 0.04])
    assert adjust_pvalues(p, method="bonferroni") == pytest.approx([0.03, 0.12, 0.09])
    assert adjust_pvalues(p, method="none") == pytest.approx(p)


@pytest.mark.parametrize("method", ["bh", "by", "holm", "hochberg", "bonferroni"])
def test_missing_tests_are_left_out(p, method):
    holed = np.insert(p, 2, np.nan)
    ours = adjust_pvalues(holed, method=method)
    assert np.isnan(ours[2])
    assert np.delete(ours, 2) == pytest.approx(adjust_pvalues(p, method=method))


def test_batches_are_adjusted_one_by_one(p):
    both = np.stack([p, p[::-1]])
    assert adjust_pvalues(both)[1] == pytest.approx(adjust_pvalues(p[::-1].copy()))


@pytest.mark.parametrize("method", ["fisher", "stouffer"])
def test_combinations_match_scipy(p, method):
    wanted = stats.combine_pvalues(p, method=method).pvalue
    assert float(combine_pvalues(p, method=method)) == pytest.approx(wanted)


@pytest.mark.parametrize("method", ["fisher", "stouffer", "cauchy", "simes", "harmonic"])
def test_combined_pvalues_of_independent_tests_are_level(method):
    draws = np.random.default_rng(0).random((20_000, 8))
    combined = combine_pvalues(draws, method=method)
    assert np.mean(combined <= 0.05) == pytest.approx(0.05, abs=0.007)


def test_one_certain_null_does_not_outvote_the_others():
    assert float(combine_pvalues([1.0, 1e-10], method="cauchy")) == pytest.approx(2e-10)
    assert float(combine_pvalues([1.0], method="cauchy")) == pytest.approx(1.0)


@pytest.mark.parametrize("method", ["fisher", "stouffer", "cauchy", "simes", "harmonic"])
def test_combined_pvalues_are_differentiable(method):
    p = torch.tensor([[0.1, 0.2, 0.6], [0.01, 0.5, 0.9]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p: combine_pvalues(p, method=method), (p,))


def test_cauchy_keeps_tiny_values():
    assert float(combine_pvalues([1e-200, 0.5], method="cauchy")) == pytest.approx(2e-200)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: adjust_pvalues([0.1], method="x"), "method must be one of"),
        (lambda: adjust_pvalues([0.2, 1.1]), r"must lie in \[0, 1\]; got 1\.1"),
        (lambda: combine_pvalues([0.1], method="x"), "method must be one of"),
        (lambda: combine_pvalues([np.nan]), "no NaN"),
        (lambda: adjust_pvalues(0.1), "must have shape"),
    ],
)
def test_refusals(call, match):
    with pytest.raises(ValueError, match=match):
        call()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("p", [1e-6, 1e-8, 1e-12, 1.1e-15, 1e-30])
def test_small_p_values_combine_in_any_precision(p, dtype):
    """The cotangent of a small p keeps its digits: 1/2 - p would lose them, and then its sign."""
    narrow = np.array([p, 0.5], dtype=dtype)
    assert combine_pvalues(narrow) == pytest.approx(2 * p, rel=1e-5)
    assert combine_pvalues(np.array([p, p], dtype=dtype)) == pytest.approx(p, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("method", ["fisher", "stouffer", "cauchy", "simes", "harmonic"])
def test_p_values_of_half_precision_combine_in_double(method, dtype):
    many = torch.from_numpy(np.random.default_rng(0).random((3, 500))).to(dtype)
    ours = combine_pvalues(many, method=method)
    wanted = combine_pvalues(many.double(), method=method)
    assert ours.dtype == dtype
    assert ours.double().numpy() == pytest.approx(wanted.numpy(), rel=torch.finfo(dtype).eps)


def test_p_values_of_half_precision_adjust_in_double():
    many = torch.from_numpy(np.random.default_rng(0).random(1001)).bfloat16()
    for method in ("bh", "by", "holm", "hochberg"):
        ours, wanted = adjust_pvalues(many, method=method), adjust_pvalues(many.double(), method)
        assert ours.dtype == torch.bfloat16
        assert torch.equal(ours, wanted.bfloat16())


@pytest.mark.parametrize(
    ("method", "pvalues", "wanted"),
    [
        ("cauchy", [1e-320, 0.5], 2e-320),
        ("harmonic", [1e-320, 0.5], 2e-320),
        ("cauchy", [3e-310, 6e-310, 1.0], 6e-310),
        ("harmonic", [3e-310, 6e-310, 1.0], 6e-310),
        ("fisher", [1e-300, 1e-14], 7.24011719200162e-312),  # e^-x (1 + x), by mpmath
        ("fisher", [1e-320, 0.5], 3.69256e-318),
        ("fisher", [0.0, 0.5], 0.0),
        ("cauchy", [0.0, 0.5], 0.0),
        ("harmonic", [0.0, 0.5], 0.0),
    ],
)
def test_p_values_next_to_the_smallest_float_combine(method, pvalues, wanted):
    """The inverse of a subnormal number is infinite, and its combined p-value was 0."""
    assert float(combine_pvalues(pvalues, method=method)) == pytest.approx(wanted, rel=1e-3, abs=0)


@pytest.mark.parametrize("method", ["fisher", "cauchy", "harmonic"])
def test_gradients_next_to_the_smallest_float(method):
    p = torch.tensor([1e-320, 0.5], dtype=torch.float64, requires_grad=True)
    combine_pvalues(p, method=method).backward()
    assert bool(p.grad.isfinite().all())
    assert float(p.grad[0]) > 1.0


def test_harmonic_p_values_refuse_second_derivatives():
    pvalues = torch.tensor([0.05, 0.2, 0.4], dtype=torch.float64, requires_grad=True)
    value = combine_pvalues(pvalues, method="harmonic")
    with pytest.raises(NotImplementedError, match="first derivatives only"):
        torch.autograd.grad(value, pvalues, create_graph=True)
