"""Turning a network into a SphereNet and back."""

import copy
import pickle

import pytest
import torch
from torch import nn

import sphuni.nn as snn
from sphuni.nn.neurons import transposed_rows

GEN = torch.Generator


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.bn = nn.BatchNorm2d(6)
        self.down = nn.Conv2d(3, 6, 1)
        self.hidden = nn.Linear(6, 5)
        self.fc = nn.Linear(5, 4)

    def forward(self, x):
        y = self.bn(self.conv(x)).relu() + self.down(x)
        return self.fc(self.hidden(y.mean((-2, -1))).relu())


def test_conversion_keeps_weights_and_keys_reports_and_reverts():
    model = Residual()
    nn.init.constant_(model.hidden.bias, 2.0)  # or its relus may all be dead, before and after
    keys, parameters = list(model.state_dict()), [id(p) for p in model.parameters()]
    x = torch.randn(2, 3, 6, 6, generator=GEN().manual_seed(0))
    before = copy.deepcopy(model).eval()(x)
    assert snn.convert_to_sphere(model, kind="sigmoid", k=0.3) is model
    conversion = snn.conversion_of(model)
    assert conversion.model is model
    assert isinstance(model.conv, snn.SphereConv2d)
    assert isinstance(model.hidden, snn.SphereLinear)
    assert type(model.fc) is nn.Linear
    assert dict(conversion.kept) == {
        "down": "a shortcut: its kernel has size 1",
        "fc": "the classifier",
    }
    assert list(model.state_dict()) == keys
    assert [id(p) for p in model.parameters()] == parameters
    assert not torch.allclose(model.eval()(x), before)
    expected = snn.SphereConv2d(3, 6, 3, padding=1, bias=True, kind="sigmoid", k=0.3)
    expected.load_state_dict(model.conv.state_dict())
    torch.testing.assert_close(model.conv(x), expected(x))
    conversion.revert()
    assert type(model.conv) is nn.Conv2d
    torch.testing.assert_close(model(x), before)
    assert "conv: Conv2d to SphereConv2d" in str(conversion)
    assert list(model.__dict__) == list(Residual().__dict__)
    with pytest.raises(ValueError, match="this Residual was not, or was reverted"):
        snn.conversion_of(model)


def test_conversion_keeps_what_it_cannot_convert():
    model = nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), nn.Linear(4, 4), nn.Linear(4, 2)
    )
    model.append(model[1])
    snn.convert_to_sphere(model, kind="learnable-sigmoid", output_layer="2")
    assert dict(snn.conversion_of(model).kept)["0"] == "its weight is parametrized"
    assert model[1] is model[3]
    assert model[1].angular.k.shape == (4,)
    with pytest.raises(ValueError, match=r"no convolution or linear layer is left.*matches '\.'"):
        snn.convert_to_sphere(nn.Sequential(nn.Linear(3, 2)), skip=".")


def test_sphere_layers_are_found_by_the_hook_and_spared_weight_decay():
    model = Residual()
    snn.convert_to_sphere(model)
    assert [layer.role for layer in snn.regularize(model, "hs-mhe").layers] == [
        "first",
        "hidden",
        "hidden",
        "output",
    ]
    decay, free = snn.no_decay_groups(model, 5e-4)
    assert {id(p) for p in decay["params"]} == {id(model.down.weight), id(model.fc.weight)}
    assert len(decay["params"]) + len(free["params"]) == len(list(model.parameters()))
    x = torch.randn(2, 3, 6, 6, generator=GEN().manual_seed(0))
    before = model.eval()(x)
    snn.project_(model)
    torch.testing.assert_close(
        model.conv.weight.flatten(1).norm(dim=1), torch.ones(6), rtol=1e-6, atol=0
    )
    torch.testing.assert_close(model(x), before, atol=1e-4, rtol=1e-4)


def test_losses_with_directions_or_centres_are_spared_weight_decay():
    linear = nn.Linear(3, 2)
    losses = snn.WSoftmaxLoss(2, 4), snn.SSoftmaxLoss(2, 4), snn.CenterLoss(2, 4)
    decay, free = snn.no_decay_groups(nn.ModuleList([linear, *losses]), 5e-4)
    assert [id(p) for p in decay["params"]] == [id(linear.weight)]
    assert len(free["params"]) == 4


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_of_a_converted_network_revert_by_themselves(copier):
    model = Residual()
    snn.convert_to_sphere(model)
    twin = copier(model)
    assert snn.conversion_of(twin).revert() is twin
    assert type(twin.conv) is nn.Conv2d
    assert isinstance(model.conv, snn.SphereConv2d)


def test_one_steepness_for_filter_layer_or_network():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 6, 6)
    for share, sizes in (("filter", [6, 5]), ("layer", [1, 1]), ("network", [1])):
        model = snn.convert_to_sphere(Residual(), kind="learnable-sigmoid", k=0.4, share=share)
        steepness = [p for name, p in model.named_parameters() if name.endswith("angular.k")]
        assert [p.numel() for p in steepness] == sizes
        model(x).square().sum().backward()
        for k in steepness:
            torch.testing.assert_close(k.detach() + 0.05, torch.full_like(k, 0.4))
            assert k.grad.abs().max() > 0
    with pytest.raises(ValueError, match="share must be 'filter', 'layer' or 'network'; got 'x'"):
        snn.convert_to_sphere(Residual(), share="x")
    with pytest.raises(ValueError, match="share is for kind='learnable-sigmoid', not for 'cosine'"):
        snn.convert_to_sphere(Residual(), kind="cosine", share="network")


def test_steps_of_a_conversion_are_reverted_together():
    model = snn.convert_to_sphere(Residual(), skip=("shortcut", "classifier", "hidden"))
    snn.convert_to_sphere(model, kind="linear")
    assert isinstance(model.hidden, snn.SphereLinear)
    assert [name for name, _ in snn.conversion_of(model).changed] == ["conv", "hidden"]
    snn.conversion_of(model).revert()
    assert [type(model.conv), type(model.hidden)] == [nn.Conv2d, nn.Linear]


@pytest.mark.parametrize("output_layer", ["auto", "2"])
def test_an_output_of_one_row_is_kept_and_no_other_layer(output_layer):
    model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 5), nn.Linear(5, 1))
    snn.convert_to_sphere(model, output_layer=output_layer)
    assert snn.conversion_of(model).kept == (("2", "the classifier"),)


def test_layers_whose_weight_is_computed_since_are_reverted_when_it_is_plain_again():
    model = snn.convert_to_sphere(nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(5, 2)))
    nn.utils.parametrizations.weight_norm(model[1])
    with pytest.raises(ValueError, match=r"'weight' of layer '1' is computed\. Make it"):
        snn.conversion_of(model).revert()
    assert isinstance(model[0], snn.SphereLinear)
    nn.utils.parametrize.remove_parametrizations(model[1], "weight")
    weight = model[1].weight
    snn.conversion_of(model).revert()
    assert [type(layer) for layer in model] == [nn.Linear] * 3
    assert model[1].weight is weight


def test_layers_that_were_exchanged_since_are_not_reverted():
    model = nn.Sequential(*[nn.Linear(4, 4) for _ in range(4)])
    weight = model[1].weight
    snn.convert_to_sphere(model)
    model[0] = own = nn.Linear(4, 4)
    model[1] = nn.Sequential(model[1], nn.ReLU())
    del model[2]
    snn.conversion_of(model).revert()
    assert model[0] is own
    assert type(model[1][0]) is nn.Linear
    assert model[1][0].weight is weight


def test_projection_scales_filters_under_weight_norm_and_refuses_others():
    model = nn.Sequential(snn.SphereLinear(4, 3), snn.SphereConvTranspose2d(2, 3, 2))
    for layer in model:
        nn.utils.parametrizations.weight_norm(layer)
        with torch.no_grad():
            layer.parametrizations.weight.original0 *= 7
    snn.project_(model)
    torch.testing.assert_close(model[0].weight.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(transposed_rows(model[1].weight).norm(dim=1), torch.ones(3))
    model.append(nn.utils.parametrizations.spectral_norm(snn.SphereLinear(4, 3)))
    with pytest.raises(ValueError, match=r"'weight' of layer '2' is computed by _SpectralNorm"):
        snn.project_(model)


def test_transposed_convolutions_are_converted_and_a_bare_layer_is_not():
    model = nn.Sequential(nn.Conv1d(2, 4, 3), nn.ConvTranspose1d(4, 2, 3, 2, output_padding=1))
    x = torch.randn(2, 2, 8, generator=GEN().manual_seed(0))
    shape = model(x).shape
    snn.convert_to_sphere(model, skip=())
    assert isinstance(model[1], snn.SphereConvTranspose1d)
    assert model(x).shape == shape
    with pytest.raises(ValueError, match="it is the whole model; build the sphere layer itself"):
        snn.convert_to_sphere(nn.Linear(3, 2), skip=())


@pytest.mark.parametrize("groups", [1, 2])
def test_projection_keeps_the_answers_of_transposed_and_recurrent_layers(groups):
    transposed = snn.SphereConvTranspose2d(4, 6, 3, groups=groups, stride=2)
    cell = snn.SphereRNNCell(3, 4)
    with torch.no_grad():
        transposed.weight *= torch.arange(1.0, 6 // groups + 1)[:, None, None]
        cell.weight_hh *= 3
    x = torch.randn(2, 4, 3, 3, generator=GEN().manual_seed(0))
    before = transposed(x), cell(x[:, 0, :, 0])
    snn.project_(nn.ModuleList([transposed, cell]))
    torch.testing.assert_close(transposed(x), before[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(cell(x[:, 0, :, 0]), before[1], atol=1e-4, rtol=1e-4)
    rows = transposed_rows(transposed.weight, groups=groups)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(6))
    joint = torch.cat([cell.weight_ih, cell.weight_hh], dim=1)
    torch.testing.assert_close(joint.norm(dim=1), torch.ones(4))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_projection_of_half_precision_leaves_empty_rows_and_lengthens_short_ones(dtype):
    layers = nn.ModuleList(
        [snn.SphereLinear(4, 3), snn.SphereConvTranspose2d(2, 3, 2), snn.SphereRNNCell(2, 3)]
    ).to(dtype)
    linear, transposed, cell = layers
    with torch.no_grad():
        linear.weight[0], linear.weight[1] = 0.0, 1e-6
        transposed.weight[:, 0] = 0.0
        cell.weight_ih[0], cell.weight_hh[0] = 0.0, 0.0
    snn.project_(layers)
    assert linear.weight.norm(dim=1).tolist() == pytest.approx([0, 1, 1], abs=1e-2)
    assert all(bool(p.isfinite().all()) for p in layers.parameters())


def test_hooks_of_the_layers_go_along_and_can_still_be_removed():
    model, seen = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), []
    forward = model[0].register_forward_hook(lambda *_: seen.append("forward"))
    model[0].register_full_backward_hook(lambda *_: seen.append("backward"))
    snn.convert_to_sphere(model)
    model(torch.ones(1, 4, requires_grad=True)).sum().backward()
    assert seen == ["forward", "backward"]
    forward.remove()
    model(torch.ones(1, 4))
    assert seen == ["forward", "backward"]
    snn.conversion_of(model).revert()
    with pytest.raises(ValueError, match=r"skip must hold names or regular expressions; '\('"):
        snn.convert_to_sphere(model, skip="(")
    with pytest.raises(TypeError, match=r"skip must be a name, .* or a list of them; got 3"):
        snn.convert_to_sphere(model, skip=3)


def test_layers_that_torch_evaluates_past_their_module_are_kept():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
    model = nn.Sequential(layer, nn.Linear(8, 8), nn.RNN(8, 4), nn.Linear(4, 3))
    kept = dict(snn.conversion_of(snn.convert_to_sphere(model)).kept)
    for name in ("0.linear1", "0.linear2"):
        assert "reads its weight without calling it in evaluation" in kept[name]
    assert "recurrent" in kept["2"]
    x = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    trained = model[:2](x)
    with torch.no_grad():
        torch.testing.assert_close(model[:2].eval()(x), trained)
