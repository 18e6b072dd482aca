"""Objectives under torch.func: ensembles of weights in one call."""

import pytest
import torch
from torch.func import functional_call, grad, stack_module_state, vmap

import sphuni.nn as snn
from sphuni.nn import functional as F

F64 = torch.float64
OBJECTIVES = {
    "mhe": F.mhe,
    "hs-mhe": lambda w: F.mhe(w, half_space=True),
    "mhs": F.mhs,
    "mhp": lambda w: F.mhp(w, poles=torch.eye(3, 5, dtype=F64)),
    "mgd": F.mgd,
    "so": F.so,
    "srip": F.srip,
    "r-mhp": F.r_mhp,
    "coherence": F.mutual_coherence,
    "koleo": F.koleo,
}


def weights(*shape, seed=0):
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_mapped_values_and_gradients_are_those_of_a_loop(name):
    f, batch = OBJECTIVES[name], weights(4, 6, 5)
    batch[1, 2] = batch[1, 0]
    torch.testing.assert_close(vmap(f)(batch), torch.stack([f(one) for one in batch]))
    expected = torch.stack([grad(f)(one) for one in batch])
    torch.testing.assert_close(vmap(grad(f))(batch), expected)
    inside = grad(lambda w: vmap(f, in_dims=1)(w).sum())(batch.movedim(0, 1))
    torch.testing.assert_close(inside.movedim(1, 0), expected)
    twice = vmap(vmap(f))(batch.reshape(2, 2, 6, 5))
    torch.testing.assert_close(twice.flatten(), vmap(f)(batch))


def test_second_derivatives_are_refused():
    w = weights(6, 5)
    with pytest.raises(NotImplementedError, match="first derivatives only"):
        grad(lambda v: grad(F.mhe)(v).square().sum())(w)


def test_an_ensemble_of_networks_is_regularised_together():
    models = [torch.nn.Linear(5, 6).double() for _ in range(3)]
    parameters, buffers = stack_module_state(models)
    x = weights(7, 5)

    def loss(parameters, buffers):
        answer = functional_call(models[0], (parameters, buffers), (x,))
        return answer.square().mean() + snn.mhe(parameters["weight"], half_space=True)

    together = vmap(grad(loss))(parameters, buffers)["weight"]
    for model, gradient in zip(models, together, strict=True):
        value = model(x).square().mean() + snn.mhe(model.weight, half_space=True)
        (expected,) = torch.autograd.grad(value, model.weight)
        torch.testing.assert_close(gradient, expected)


class Penalised(torch.nn.Module):
    """The penalty of a network with whatever parameters `functional_call` gives it."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.penalty = (snn.regularize(model, "hs-mhe", output_layer=None),)

    def forward(self):
        return self.penalty[0]()


def stacked_penalty():
    torch.manual_seed(0)
    network = Penalised(torch.nn.Sequential(torch.nn.Linear(5, 6), torch.nn.Linear(6, 4)).double())
    shapes = {name: p.shape for name, p in network.named_parameters() if p.ndim > 1}
    stacked = {name: weights(3, *shape) for name, shape in shapes.items()}
    return (lambda one: functional_call(network, one, ())), stacked


def test_the_penalty_of_a_mapped_network_is_differentiated_outside_of_the_map():
    penalty, stacked = stacked_penalty()
    for one in stacked.values():
        one.requires_grad_()
    expected = torch.stack([penalty({k: v[i] for k, v in stacked.items()}) for i in range(3)])
    found = vmap(penalty)(stacked)
    torch.testing.assert_close(found, expected)
    leaves = list(stacked.values())
    gradients = torch.autograd.grad(found.sum(), leaves)
    torch.testing.assert_close(gradients, torch.autograd.grad(expected.sum(), leaves))


def test_a_frozen_layer_of_a_mapped_network_has_no_penalty():
    penalty, stacked = stacked_penalty()
    _, trained = stacked
    stacked[trained].requires_grad_()
    expected = torch.stack([F.mhe(one, half_space=True) for one in stacked[trained]])
    torch.testing.assert_close(vmap(penalty)(stacked), expected)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_the_penalty_has_a_derivative_along_a_direction():
    penalty, stacked = stacked_penalty()
    here = {name: one[0] for name, one in stacked.items()}
    along = {name: one[1] for name, one in stacked.items()}
    value, slope = torch.func.jvp(penalty, (here,), (along,))
    gradients = grad(penalty)(here)
    torch.testing.assert_close(slope, sum((gradients[name] * along[name]).sum() for name in here))
    assert value > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, F64])
def test_losses_are_mapped_over_features_classes_and_labels(dtype):
    x, w = weights(3, 6, 4).to(dtype), weights(3, 5, 4, seed=1).to(dtype)
    y = torch.arange(18).reshape(3, 6) % 5
    losses = {
        "softmax": lambda x, w, y: snn.angular_softmax(x, w, y, m=2.0),
        "plain softmax": snn.angular_softmax,
        "triplet": lambda x, w, y: snn.triplet(x, y),
        "contrastive": lambda x, w, y: snn.contrastive(x, y),
        "center": lambda x, w, y: snn.center(x, y, w),
        "alignment": lambda x, w, y: F.alignment(x, x.flip(0)),
    }
    for name, loss in losses.items():
        expected = torch.stack([loss(*one) for one in zip(x, w, y, strict=True)])
        torch.testing.assert_close(vmap(loss)(x, w, y), expected, msg=name)
        gradients = torch.stack([grad(loss)(*one) for one in zip(x, w, y, strict=True)])
        torch.testing.assert_close(vmap(grad(loss))(x, w, y), gradients, msg=name)


def test_labels_are_checked_where_they_have_values():
    x, w, y = weights(3, 1, 4), weights(5, 4), torch.tensor([5])
    with pytest.raises(ValueError, match="labels must lie in 0 to 4; got 5"):
        vmap(lambda x: snn.angular_softmax(x, w, y))(x)
