"""Means over pairs of directions: their gradient in the weight, at first, again, and twice."""

import gc
import weakref

import pytest
import torch

from sphuni.kernels import Riesz
from sphuni.nn import _pair_mean
from sphuni.nn._pair_mean import PairMean, pair_mean, pair_means
from sphuni.pairwise import JointSums, pair_reduce
from sphuni.sphere import unit_rows

KERNEL = Riesz(2.0)


def pair_sum(weight, kernel, *, half_space=False):
    return pair_mean(weight, PairMean(kernel, half_space, torch.float64, 1.0))


def weight(*shape, scale=3.0):
    w = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return (scale * w).requires_grad_()


@pytest.mark.parametrize("half_space", [False, True])
@pytest.mark.parametrize("shape", [(6, 5), (2, 3, 6, 5)])
def test_gradients_are_those_of_the_composition(half_space, shape):
    w = weight(*shape)
    kernel = KERNEL.antipodal() if half_space else KERNEL
    factors = torch.arange(1.0, 1.0 + w[..., 0, 0].numel()).double().reshape(shape[:-2])
    expected_sum = pair_reduce(unit_rows(w), kernel=kernel)
    (expected,) = torch.autograd.grad((factors * expected_sum).sum(), w)
    total = pair_sum(w, kernel, half_space=half_space)
    torch.testing.assert_close(total, expected_sum)
    for _ in range(2):  # the second pass finds the gradient again
        (found,) = torch.autograd.grad((factors * total).sum(), w, retain_graph=True)
        torch.testing.assert_close(found, expected)


def test_second_derivatives():
    w = weight(4, 3)
    assert torch.autograd.gradgradcheck(lambda w: pair_sum(w, KERNEL), w)


def test_rows_in_need_of_a_kick_get_a_gradient_that_parts_them():
    w = weight(4, 3).detach()
    w[1] = 2 * w[0]
    w.requires_grad_()
    (gradient,) = torch.autograd.grad(pair_sum(w, KERNEL), w)
    moved = unit_rows(w.detach() - 1e-12 * gradient)
    assert bool(gradient.isfinite().all())
    assert (moved[0] - moved[1]).norm() > 0


@pytest.mark.parametrize("logarithm", [False, True])
def test_a_mean_is_made_of_the_sum(logarithm):
    w = weight(6, 5)
    mean = PairMean(KERNEL, False, torch.float64, 0.25, constant=3.0, logarithm=logarithm)
    expected = 0.25 * pair_sum(w, KERNEL) + 3
    torch.testing.assert_close(pair_mean(w, mean), expected.log() if logarithm else expected)


def test_joint_means_are_let_go_with_their_last_name(monkeypatch):
    held = []

    def joint_sums(*args, **options):
        made = JointSums(*args, **options)
        held.append(weakref.ref(made))
        return made

    monkeypatch.setattr(_pair_mean, "JointSums", joint_sums)
    gc.disable()  # matrices of a step must not wait for it
    try:
        w = weight(1, 6, 5)
        means, ranges = pair_means([w], [PairMean(KERNEL, False, torch.float64, 1.0)])
        means.sum().backward()
        torch.testing.assert_close(means, pair_sum(w.detach(), KERNEL))
        assert held[0]() is not None
        del means, ranges
        assert held[0]() is None
    finally:
        gc.enable()
