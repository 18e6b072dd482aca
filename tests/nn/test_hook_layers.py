"""Which layers the hook finds: the roles they have, and rows that are not trained."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

import sphuni.nn as snn
from sphuni.nn import functional as F
from sphuni.nn.hook import _layers
from sphuni.nn.hook._layers import find_layers
from sphuni.nn.neurons import NeuronView, module_neurons


def test_of_two_usual_names_the_last_is_the_classifier():
    model = nn.ModuleDict({"fc": nn.Linear(6, 5), "classifier": nn.Linear(5, 3)})
    model["up"] = nn.ConvTranspose2d(4, 3, 2)
    roles = {layer.module: layer.role for layer in snn.regularize(model, "mhe").layers}
    assert roles == {"fc": "first", "classifier": "output", "up": "hidden"}


def roles_of(model, **options):
    reg = snn.regularize(model, "so", **options)
    return {row.name.removesuffix(".weight"): (row.role, row.weight) for row in reg.describe().rows}


def perceptron(*sizes):
    return nn.Sequential(*[nn.Linear(a, b) for a, b in itertools.pairwise(sizes)])


@pytest.mark.parametrize("output_layer", ["auto", "2", "2.weight"])
def test_a_classifier_of_one_row_leaves_its_role_to_no_other_layer(output_layer):
    expected = {"0": ("first", 1e-4), "1": ("hidden", 1e-4)}
    assert roles_of(perceptron(4, 8, 6, 1), output_layer=output_layer) == expected


def test_the_place_of_layers_with_nothing_to_regularise_counts():
    named = nn.ModuleDict({"head": nn.Linear(6, 1), "body": nn.Linear(4, 6)})
    assert roles_of(named) == {"body": ("first", 1e-4)}
    assert roles_of(perceptron(1, 8, 6, 3)) == {"1": ("hidden", 1e-4), "2": ("output", 0.0)}
    lazy = perceptron(4, 8, 6).append(nn.LazyLinear(3))
    assert roles_of(lazy) == {"0": ("first", 1e-4), "1": ("hidden", 1e-4)}
    patches = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 6), nn.Conv2d(6, 1, 1))
    assert roles_of(patches) == {"0": ("first", 1e-4), "1": ("hidden", 1e-4)}
    depthwise = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Linear(4, 3))
    assert roles_of(depthwise) == {"1": ("output", 0.0)}


def test_layers_inside_a_parametrization_have_no_place_in_the_network():
    model = perceptron(4, 8, 6)
    parametrize.register_parametrization(model[1], "weight", Mixed())
    assert roles_of(model) == {"0": ("first", 1e-4), "1": ("output", 0.0)}


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(8, 8, bias=False)

    def forward(self, weight):
        return self.inner(weight)


def test_the_work_of_looking_for_layers_is_in_proportion_to_their_number(monkeypatch):
    base, seen = _layers._base, []
    monkeypatch.setattr(_layers, "_base", lambda name: seen.append(name) or base(name))
    calls = []
    for number in (20, 40):
        seen.clear()
        find_layers(nn.ModuleList([nn.Linear(2, 2, bias=False) for _ in range(number)]))
        calls.append(len(seen))
    assert calls[1] == 2 * calls[0]


@pytest.mark.parametrize("padding", [0, 3, 8, -1, None])
@pytest.mark.parametrize("kind", [nn.Embedding, nn.EmbeddingBag])
@pytest.mark.parametrize("mode", ["graph", "decoupled"])
def test_the_row_for_padding_is_no_part_of_the_penalty(kind, padding, mode):
    torch.manual_seed(0)
    table = kind(9, 4, padding_idx=padding)
    reg = snn.regularize(table, "mhe", include=kind, mode=mode)
    used = [i for i in range(9) if i != table.padding_idx]
    (row,) = reg.describe().rows
    assert row.n == reg.summary().rows[0].n == len(used)
    if mode == "graph":
        reg().backward()
    else:
        reg.add_gradients()
    (expected,) = torch.autograd.grad(F.mhe(table.weight[used]), table.weight)
    torch.testing.assert_close(table.weight.grad, expected)
    if padding is not None:
        assert not table.weight.grad[table.padding_idx].any()
    (view,) = [v for v in module_neurons(table) if isinstance(v, NeuronView)]
    assert view.matrix.shape == (9, 4)


def test_a_table_of_one_row_beside_padding_is_left_out():
    model = nn.ModuleDict({"emb": nn.Embedding(2, 4, padding_idx=0), "fc": nn.Linear(4, 3)})
    reg = snn.regularize(model, "mhe")
    assert ("emb.weight", "one neuron only beside the row for padding") in reg.left_out


def test_a_classifier_tied_to_an_embedding_keeps_its_row_for_padding():
    model = nn.ModuleDict({"emb": nn.Embedding(9, 4, padding_idx=0), "fc": nn.Linear(4, 9)})
    model["fc"].weight = model["emb"].weight
    assert [row.n for row in snn.regularize(model, "mhe").describe().rows] == [9]
