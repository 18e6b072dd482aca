"""Gradients of every statistic and of its p-value; single precision."""

import numpy as np
import pytest
import torch

import sphuni.stats as st
from sphuni.distributions import random_points
from sphuni.stats.nulls._sets import exact_statistics

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


@pytest.mark.parametrize("d", [2, 3, 5])
def test_gradients_of_statistics_and_p_values_are_tangent(d):
    points = torch.tensor(random_points(20, d, rng=7), requires_grad=True)
    for name in ("rayleigh", "bingham", "gine_fn", "ccf09"):
        result = st.uniformity_test(points, name, n_resamples=199)
        for value in (result.statistic, result.pvalue):
            (gradient,) = torch.autograd.grad(value, points, retain_graph=True)
            radial = (gradient * points.detach()).sum(-1)
            assert float(radial.abs().max()) < 1e-12


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
    wide = torch.nn.functional.normalize(rows.double(), dim=-1)
    # the nearest are as close as norms are off in float32
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


def slopes(rows, name, **options):
    x = torch.tensor(rows, requires_grad=True)
    r = st.uniformity_test(x, name, **options)
    (base,) = torch.autograd.grad(r.statistic, x, retain_graph=True)
    place = base.abs().argmax()
    sides = ("log_pvalue", "log_pvalue_lower", "pvalue", "pvalue_lower")
    found = [torch.autograd.grad(getattr(r, side), x, retain_graph=True)[0] for side in sides]
    assert all(bool(torch.isfinite(one).all()) for one in found)
    return r, [float(one.flatten()[place] / base.flatten()[place]) for one in found[:2]]


def test_slopes_of_a_known_tail_beside_a_simulated_one():
    """The step that suits the table leads past the end of the other tail."""
    rows = random_points(10, 3, rng=0)
    rows[1] = rows[0] + [1e-4, 0.0, 0.0]
    rows[1] /= np.linalg.norm(rows[1])
    r, (upper, _) = slopes(rows, "packing", n_resamples=999, rng=0)
    # P(min <= p) is p times a constant
    assert upper == pytest.approx(1.0 / float(r.statistic.detach()), rel=1e-3)


@pytest.mark.parametrize("noise", [1e-3, 1e-5])
def test_slopes_near_the_end_of_the_support(noise):
    """Rayleigh's statistic S of antipodal pairs is nearly 0: P(S <= s) is s^(d/2) there."""
    half = random_points(50, 3, rng=1)
    rows = np.concatenate([half, -half]) + noise * random_points(100, 3, rng=2)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    r, (_, lower) = slopes(rows, "rayleigh")
    assert lower == pytest.approx(1.5 / float(r.statistic.detach()), rel=1e-3)


def test_slopes_at_the_longest_sum():
    rows = np.tile([0.0, 0.0, 1.0], (10, 1)) + 1e-5 * random_points(10, 3, rng=2)
    slopes(rows / np.linalg.norm(rows, axis=1, keepdims=True), "rayleigh")


def test_a_point_at_the_origin_of_angles_has_no_say_in_the_gradient():
    rows = random_points(5, 2, rng=0)
    rows[2] = [1.0, 0.0]
    x = torch.tensor(rows, requires_grad=True)
    statistic = st.build_test("ad").statistic(x)
    assert float(statistic.detach()) == np.inf
    (slope,) = torch.autograd.grad(statistic, x)
    assert bool(torch.isfinite(slope).all())
