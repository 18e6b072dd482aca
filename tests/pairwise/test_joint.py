"""Sums of several sets at once, for GPUs: those of each set by itself, where that holds."""

import math

import pytest
import torch
from pretended_device import brought_back, counted, pretended_device, sent

import sphuni as su
from sphuni.pairwise import JointSums, joins, pair_reduce
from sphuni.sphere import unit_rows

COULOMB, GAUSSIAN = su.Riesz(1.0), su.Gaussian(1.0)
KERNELS = [COULOMB, COULOMB.antipodal(), su.Riesz(0.0), GAUSSIAN, su.Riesz(2.0, "geodesic")]
SHAPES = [(1, 5, 30), (3, 5, 12), (1, 8, 12), (1, 8, 9), (2, 20, 12)]


def sets():
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES]
    return [2.0**i * one for i, one in enumerate(rows)]


def hold(joint):
    """For each set, whether its numbers are in their ranges."""
    found = [
        [least <= number <= most for number in brought_back(numbers).tolist()]
        for numbers, least, most in joint.ranges
    ]
    return [all(each) for each in zip(*found, strict=True)]


def joint_sums(rows, kernel, monkeypatch, *, opposite=False):
    with pretended_device(monkeypatch):
        return JointSums([sent(one) for one in rows], kernel, opposite=opposite)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.label)
def test_sums_and_gradients_are_those_of_each_set(kernel, dtype, monkeypatch):
    rows = [one.requires_grad_() for one in sets()]
    expected = torch.cat([pair_reduce(unit_rows(one), kernel=kernel) for one in rows])
    go = torch.arange(1.0, 1.0 + len(expected), dtype=torch.float64)
    gradients = torch.autograd.grad(expected, rows, go)
    with pretended_device(monkeypatch), counted() as count:
        joint = JointSums([sent(one.to(dtype)) for one in rows], kernel, opposite=False)
        pulled = joint.gradients(sent(go.to(dtype)))
        again = joint.gradients(sent(go.to(dtype)))
    assert count.waits == 0
    assert all(hold(joint))
    digits = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {}
    torch.testing.assert_close(brought_back(joint.sums), expected.detach().to(dtype), **digits)
    for found, repeated, gradient in zip(pulled, again, gradients, strict=True):
        torch.testing.assert_close(brought_back(found), gradient.to(dtype), **digits)
        assert torch.equal(brought_back(found), brought_back(repeated))


@pytest.mark.parametrize(
    ("kernel", "opposite", "off", "apart"),
    [
        (COULOMB, False, 0.1, False),
        (COULOMB, False, 0.2, True),
        (COULOMB, True, -1e-3, False),
        (COULOMB, False, -1e-3, True),
        (COULOMB.antipodal(), False, -0.1, False),
        (GAUSSIAN, False, 0.1, True),
        (GAUSSIAN, False, 1e-6, False),
        (GAUSSIAN, True, -1e-6, False),
    ],
)
def test_sets_with_points_that_are_near_are_told_from_others(
    kernel, opposite, off, apart, monkeypatch
):
    near = torch.eye(9, 12, dtype=torch.float64)
    near[1] = math.copysign(1.0, off) * (near[0] + abs(off) * near[2])
    rows = [torch.eye(9, 12, dtype=torch.float64)[None], near[None]]
    assert hold(joint_sums(rows, kernel, monkeypatch, opposite=opposite)) == [True, apart]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("factor", [0.0, 1e-30, 1e-10, 1e10, 1e30, math.inf, math.nan])
def test_sets_with_extreme_norms_are_told_from_others(factor, dtype, monkeypatch):
    odd = torch.eye(9, 12, dtype=dtype)
    odd[3, 3] *= factor
    rows = [odd[None], 1e7 * torch.eye(9, 12, dtype=dtype)[None]]
    assert hold(joint_sums(rows, COULOMB, monkeypatch)) == [False, True]


def test_small_sets_in_many_dimensions_join_others_on_a_gpu(monkeypatch):
    def tried(*shape):
        with pretended_device(monkeypatch):
            return joins(torch.empty(shape, device="meta"))

    assert not joins(torch.empty(100, 12))
    assert tried(100, 12)
    assert tried(2, 100, 12)
    assert not tried(100, 8)
    assert not tried(1, 12)
    assert not tried(4096, 12)
    assert not tried(20, 1000, 12)
    with su.limit_memory("100K"):
        assert not tried(100, 12)
