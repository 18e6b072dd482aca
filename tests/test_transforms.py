"""Functions of one set under torch.func: mapped over sets, and differentiated."""

import subprocess
import sys

import pytest
import torch
from torch.func import grad, jacfwd, jacrev, jvp, vmap

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


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # which torch calls here
def test_forward_mode_is_the_gradient_along_a_tangent(sets):
    leaf, tangent = sets.clone().requires_grad_(), torch.randn_like(sets)
    (gradient,) = torch.autograd.grad(energy(leaf).sum(), leaf)
    value, along = jvp(energy, (sets,), (tangent,))
    torch.testing.assert_close(value, energy(sets))
    torch.testing.assert_close(along, (gradient * tangent).sum((-2, -1)))
    torch.testing.assert_close(vmap(jacfwd(energy))(sets), gradient)
    torch.testing.assert_close(jacfwd(energy)(sets), jacrev(energy)(sets))
    with pytest.raises(NotImplementedError, match="have first derivatives only"):
        jvp(grad(energy), (sets[0],), (tangent[0],))


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_forward_mode_of_half_types_has_the_digits_of_the_value():
    weight = 1e-3 * torch.randn(6, 30, generator=torch.Generator().manual_seed(0))
    half, tangent = weight.half(), torch.ones(6, 30)
    value, along = jvp(sphuni.nn.mhe, (half,), (1e3 * tangent.half(),))
    _, expected = jvp(sphuni.nn.mhe, (half.float(),), (1e3 * tangent,))
    assert value.dtype == along.dtype == torch.float32
    torch.testing.assert_close(along, expected, rtol=1e-2, atol=1.0)


def test_what_cannot_be_mapped_says_so(sets):
    with pytest.raises(NotImplementedError, match="functions that give one number per set"):
        vmap(sphuni.normalize)(sets)
    with pytest.raises(NotImplementedError, match="weights cannot be given to riesz_energy under"):
        vmap(lambda x: sphuni.riesz_energy(x, weights=torch.ones(12, dtype=x.dtype)))(sets)


# in a process of its own, where no loops are compiled yet and types are not checked at run time
_COMPILED = """
import torch, sphuni
from sphuni.nn.regularizers import build

def measures(x):
    return sphuni.riesz_energy(x, s=2.0) + sphuni.separation(x).distance

def losses(x):
    return sphuni.nn.functional.mhe(2 * x) + sphuni.nn.functional.koleo(x)

def objectives():
    srip, mhc = build("srip"), build("mhc")
    return lambda x: srip(x) + mhc(x)

points = torch.from_numpy(sphuni.random_points(300, 3, rng=0))
for make in (lambda: measures, lambda: losses, objectives):
    answers = []
    for call in (torch.compile(make(), backend="aot_eager"), make()):
        leaf = points.clone().requires_grad_()
        value = call(leaf)
        value.backward()
        answers.append((value.detach(), leaf.grad))
    torch.testing.assert_close(*answers)
assert sum(torch._dynamo.utils.counters["graph_break"].values()) < 20  # two a call
"""


def test_compiled_functions_of_a_user_call_ours_as_they_are():
    subprocess.run([sys.executable, "-W", "ignore", "-c", _COMPILED], check=True)
