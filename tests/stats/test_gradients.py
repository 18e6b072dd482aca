"""Gradients of every statistic and of its p-value; single precision."""

import numpy as np
import pytest
import torch

import sphuni.stats as st
from sphuni.distributions import random_points
from sphuni.stats._sets import exact_statistics

STEPS = {
    "hodges_ajne": "counts points",
    "cressie": "counts points",
    "num_uncover": "counts gaps",
}
"""Tests whose statistic is constant almost everywhere, so that its gradient is 0."""

NAMES = [info.name for info in st.available_tests()]
SLOW_LAW = {"cressie", "ccf09", "sliced_wasserstein"}
"""Tests without a limit law."""

SMOOTH = [name for name in NAMES if name not in STEPS]
INFINITE = {"stereo", "pycke", "log_gaps", "omnibus"}
"""Tests whose statistic is infinite at coincident points."""


def dimension(name):
    """A dimension in which the general form of the test is used."""
    test = st.build_test(name)
    return next(d for d in (4, 3, 2) if test.defined(d))


def unit(z):
    return z / z.norm(dim=-1, keepdim=True)


@pytest.mark.parametrize("name", SMOOTH)
def test_gradient_of_every_statistic(name):
    d = dimension(name)
    x = torch.tensor(random_points(7, d, rng=5), requires_grad=True)
    test = st.build_test(name)
    assert torch.autograd.gradcheck(
        lambda z: test.statistic(unit(z)), (x,), eps=1e-6, atol=1e-6, rtol=1e-5
    )


CLOSED = [
    pytest.param(name, d, marks=() if d == 3 else pytest.mark.slow)
    for name in SMOOTH
    for d in (2, 3)
    if st.build_test(name).defined(d) and not st.build_test(name).circle_only
]


@pytest.mark.parametrize(("name", "d"), CLOSED)
def test_gradient_of_the_closed_forms_of_circle_and_sphere(name, d):
    test = st.build_test(name)
    x = torch.tensor(random_points(6, d, rng=6), requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda z: test.statistic(unit(z)), (x,), eps=1e-6, atol=1e-6, rtol=1e-5
    )


@pytest.mark.parametrize("name", sorted(STEPS))
def test_counts_have_gradient_zero(name):
    x = torch.tensor(random_points(9, 2, rng=5), requires_grad=True)
    value = st.build_test(name).statistic(x)
    assert not value.requires_grad or float(torch.autograd.grad(value, x)[0].abs().max()) == 0.0


@pytest.mark.parametrize("name", [name for name in SMOOTH if name not in SLOW_LAW])
def test_gradient_of_every_limit_pvalue(name):
    x = torch.tensor(random_points(60, dimension(name), rng=7), requires_grad=True)
    r = st.uniformity_test(x, name, null="asymptotic")
    (slope,) = torch.autograd.grad(r.log_pvalue, x, retain_graph=True)
    (base,) = torch.autograd.grad(r.statistic, x)
    law = st.build_test(name).asymptotic_law(60, dimension(name)).law
    at = float(r.statistic.detach())
    step = 1e-3 * np.sqrt(law.variance) if np.isfinite(law.variance) else 1e-3 * abs(at)
    sides = [float(law.tails(np.array([at + sign * step])).log_upper[0]) for sign in (1, -1)]
    rate = (sides[0] - sides[1]) / (2 * step)
    assert np.isfinite(rate)
    assert rate < 0
    assert slope.numpy() == pytest.approx(rate * base.numpy(), rel=1e-4, abs=1e-12)


def test_every_test_without_a_limit_pvalue_is_named():
    laws = {name: st.build_test(name).asymptotic_law(60, dimension(name)) for name in NAMES}
    assert {name for name, law in laws.items() if law is None} == SLOW_LAW


@pytest.mark.parametrize(
    ("name", "d"),
    [
        (name, d)
        for name in SMOOTH
        for d in sorted({3, dimension(name)})
        if st.build_test(name).defined(d)
    ],
)
def test_gradients_stay_finite_at_duplicates_and_antipodes(name, d):
    rows = random_points(10, d, rng=0)
    rows[1], rows[2] = rows[0], -rows[0]
    x = torch.tensor(rows, requires_grad=True)
    statistic = st.build_test(name).statistic(x)
    assert bool(statistic.isfinite()) or name in INFINITE
    if not statistic.requires_grad:
        pytest.fail(f"{name} has no gradient")
    statistic.backward()
    assert bool(torch.isfinite(x.grad).all())


@pytest.mark.slow
@pytest.mark.parametrize("d", [2, 3])
def test_single_precision_of_ten_thousand_points(d):
    rows = torch.from_numpy(random_points(10_000, d, rng=1)).float()
    wide = rows.double()
    tests = [st.build_test(name) for name in NAMES if st.build_test(name).defined(d)]
    narrow, truth = (exact_statistics(x[None], tests, d)[0] for x in (rows, wide))
    for test, ours, theirs in zip(tests, narrow, truth, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-4), test.name


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [n for n in NAMES if st.build_test(n).defined(10) and st.build_test(n).kernels(10)]
)
def test_single_precision_where_a_gradient_is_asked_for(name):
    rows = torch.from_numpy(random_points(10_000, 10, rng=1)).float()
    test = st.build_test(name)
    wide = torch.nn.functional.normalize(rows.double(), dim=-1)
    values = [float(test.statistic(x.requires_grad_()).detach()) for x in (rows, wide)]
    assert values[0] == pytest.approx(values[1], rel=1e-4, abs=1e-4)
