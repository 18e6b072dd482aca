"""Functions of one set under torch.func: mapped over sets, and differentiated."""

import pytest
import torch
from torch.func import grad, jacrev, vmap

import sphuni


@pytest.fixture
def sets():
    return torch.stack([torch.as_tensor(sphuni.random_points(12, 9, rng=k)) for k in range(4)])


def energy(points):
    return sphuni.riesz_energy(points, s=1.0, antipodal=True)


@pytest.mark.parametrize("function", [energy, sphuni.frame_potential])
def test_mapping_over_sets_is_a_batch(sets, function):
    torch.testing.assert_close(vmap(function)(sets), function(sets))
    torch.testing.assert_close(vmap(function, in_dims=1)(sets.movedim(0, 1)), function(sets))


def test_derivatives_are_those_of_autograd(sets):
    leaf = sets.clone().requires_grad_()
    (expected,) = torch.autograd.grad(energy(leaf).sum(), leaf)
    torch.testing.assert_close(vmap(grad(energy))(sets), expected)
    jacobian = jacrev(energy)(sets)
    torch.testing.assert_close(jacobian[1, 1], expected[1])
    assert float(jacobian[0, 1].abs().max()) == 0.0


def test_what_cannot_be_mapped_says_so(sets):
    with pytest.raises(NotImplementedError, match="functions that give one number per set"):
        vmap(sphuni.normalize)(sets)
    with pytest.raises(NotImplementedError, match="weights cannot be given to riesz_energy under"):
        vmap(lambda x: sphuni.riesz_energy(x, weights=torch.ones(12, dtype=x.dtype)))(sets)
