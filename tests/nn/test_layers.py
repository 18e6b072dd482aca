"""Sphere layers against a naive unfold; the functions of the angle; inward scale."""

import copy
import math

import pytest
import torch
import torch.nn.functional as TF
from torch import nn

import sphuni.nn as snn
from sphuni.nn.layers import angular, safe_angle

F64 = torch.float64
GEN = torch.Generator


def rand(*shape, seed=0):
    return torch.randn(*shape, dtype=F64, generator=GEN().manual_seed(seed))


def test_sigmoid_is_the_quotient_of_exponentials_of_the_paper():
    theta = torch.linspace(0, math.pi, 101, dtype=F64)
    for k in (0.1, 0.3, 0.7, 2.0):
        e = math.exp(-math.pi / (2 * k))
        z = torch.exp(theta / k - math.pi / (2 * k))
        paper = (1 + e) / (1 - e) * (1 - z) / (1 + z)
        torch.testing.assert_close(angular(theta, "sigmoid", k=k), paper, atol=1e-13, rtol=0)
    linear = angular(theta, "linear")
    assert (angular(theta, "sigmoid", k=100.0) - linear).abs().max() < 1e-5
    step = angular(theta, "sigmoid", k=1e-4)
    assert step[:50].min() == 1.0
    assert step[51:].max() == -1.0
    for kind in ("linear", "cosine", "sigmoid"):
        ends = angular(theta[[0, -1]], kind)
        torch.testing.assert_close(ends, torch.tensor([1.0, -1.0], dtype=F64))
    half = angular(theta.half().float(), "sigmoid", k=0.05).half()
    assert torch.isfinite(half).all()


def test_the_angle_is_exact_inside_and_safe_at_the_ends():
    c = torch.tensor([-1.5, -1.0, -0.3, 0.0, 0.999, 1.0, 1.0000001], dtype=F64, requires_grad=True)
    theta = safe_angle(c)
    assert theta[0] == math.pi
    assert theta[5] == 0.0
    torch.testing.assert_close(theta[2:5], torch.acos(c[2:5]))
    (gradient,) = torch.autograd.grad(theta.sum(), c)
    assert torch.isfinite(gradient).all()
    assert gradient[1] == 0.0


def naive(layer, x):
    """Cosines by unfolding every patch of a 2-d layer."""
    if layer.padding_mode == "zeros":
        pad = layer.padding if not isinstance(layer.padding, str) else None
        sides = [pad[1], pad[1], pad[0], pad[0]] if pad else layer._reversed_padding_repeated_twice
        x = TF.pad(x, sides)
    else:
        x = TF.pad(x, layer._reversed_padding_repeated_twice, mode=layer.padding_mode)
    size = [
        (x.shape[2 + i] - layer.dilation[i] * (layer.kernel_size[i] - 1) - 1) // layer.stride[i] + 1
        for i in range(2)
    ]
    columns = TF.unfold(x, layer.kernel_size, layer.dilation, 0, layer.stride)
    groups = layer.groups
    patches = columns.reshape(x.shape[0], groups, -1, columns.shape[-1])
    filters = layer.weight.reshape(groups, layer.out_channels // groups, -1)
    products = torch.einsum("bgcl,gfc->bgfl", patches, filters)
    norms = (patches.square().sum(2) + layer.eps).sqrt()[:, :, None]
    lengths = (filters.square().sum(-1) + layer.eps).sqrt()[None, :, :, None]
    return (products / norms / lengths).reshape(x.shape[0], layer.out_channels, *size)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2, "padding": 1},
        {"dilation": 2, "padding": (2, 1)},
        {"groups": 2},
        {"groups": 4, "padding": 1, "stride": (2, 1)},
        {"padding": 1, "padding_mode": "reflect"},
        {"padding": 1, "padding_mode": "circular"},
        {"padding": (1, 0), "padding_mode": "replicate"},
        {"padding": "same"},
        {"padding": "same", "padding_mode": "reflect", "dilation": 2},
        {"padding": "valid"},
    ],
)
def test_sphere_convolution_equals_a_naive_unfold(options):
    kernel = (3, 5) if options.get("padding") == "same" else (3, 2)
    layer = snn.SphereConv2d(4, 8, kernel, dtype=F64, **options)
    x = rand(2, 4, 9, 8)
    torch.testing.assert_close(layer(x), naive(layer, x), atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize(("rank", "cls"), [(1, snn.SphereConv1d), (3, snn.SphereConv3d)])
def test_other_ranks_have_the_patch_norm_of_a_convolution_with_ones(rank, cls):
    layer = cls(4, 6, 2, stride=2, padding=1, groups=2, dtype=F64)
    x = rand(2, 4, *[5] * rank)
    conv = {1: TF.conv1d, 3: TF.conv3d}[rank]
    ones = torch.ones_like(layer.weight)
    norms = (conv(x.square(), ones, None, 2, 1, 1, 2) + layer.eps).sqrt()
    lengths = (layer.weight.flatten(1).square().sum(1) + layer.eps).sqrt()
    expected = conv(x, layer.weight, None, 2, 1, 1, 2) / norms
    expected = expected / lengths.reshape(-1, *[1] * rank)
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("kind", ["linear", "cosine", "sigmoid", "learnable-sigmoid"])
def test_answers_do_not_depend_on_scale_and_lie_within_one(kind):
    conv = snn.SphereConv2d(3, 5, 3, kind=kind, dtype=F64)
    linear = snn.SphereLinear(6, 4, kind=kind, dtype=F64)
    for layer, x in ((conv, rand(2, 3, 6, 6)), (linear, rand(7, 6))):
        out = layer(x)
        assert out.abs().max() <= 1
        torch.testing.assert_close(layer(100 * x), out, atol=1e-5, rtol=0)
        with torch.no_grad():
            layer.weight *= 50
        torch.testing.assert_close(layer(x), out, atol=1e-4, rtol=0)
        torch.autograd.gradcheck(layer, rand(*x.shape, seed=3).requires_grad_())


def test_zero_patches_and_half_precision_are_finite():
    layer = snn.SphereConv2d(3, 5, 3, kind="learnable-sigmoid", bias=True)
    x = torch.zeros(2, 3, 6, 6, requires_grad=True)
    layer(x).sum().backward()
    assert torch.isfinite(x.grad).all()
    torch.testing.assert_close(layer(x), torch.zeros(2, 5, 4, 4) + layer.bias[:, None, None])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = layer(torch.randn(2, 3, 6, 6, generator=GEN().manual_seed(0)))
    assert out.dtype == torch.float32
    assert torch.isfinite(out).all()
    single = layer(torch.ones(3, 6, 6))
    torch.testing.assert_close(single, layer(torch.ones(1, 3, 6, 6))[0])


def test_learnable_k_per_filter_per_layer_or_shared():
    per_filter = snn.SphereConv2d(3, 5, 3, kind="learnable-sigmoid")
    assert per_filter.angular.k.shape == (5,)
    torch.testing.assert_close(per_filter.angular.k + 0.05, torch.full((5,), 0.5))
    assert snn.SphereLinear(3, 5, kind="learnable-sigmoid", share="layer").angular.k.shape == (1,)
    shared = nn.Parameter(torch.tensor([0.4]))
    layers = [snn.SphereLinear(4, 4, kind="learnable-sigmoid", share=shared) for _ in range(2)]
    nn.Sequential(*layers)(torch.ones(2, 4)).square().sum().backward()
    assert shared.grad.abs().item() > 0


def test_sphere_norm_with_and_without_rescaling():
    torch_rng = GEN().manual_seed(0)
    x = torch.randn(2, 3, 5, 5, generator=torch_rng)
    plain = snn.SphereNorm(3, 4, 3)
    learned = snn.SphereNorm(3, 4, 3, rescale="learned")
    learned.load_state_dict({**plain.state_dict()}, strict=False)
    torch.testing.assert_close(learned(x), plain(x))
    with torch.no_grad():
        learned.beta.fill_(2.0)
        learned.gamma.fill_(0.5)
    torch.testing.assert_close(learned(x), 2 * plain(x) + 0.5)
    ten = snn.SphereNorm(3, 4, 3, rescale=10.0)
    ten.load_state_dict(plain.state_dict())
    torch.testing.assert_close(ten(x), 10 * plain(x))


def test_inward_scale():
    x = rand(4, 5)
    out = snn.InwardScale(100.0)(x)
    torch.testing.assert_close(out.norm(dim=-1), torch.full((4,), 0.01, dtype=F64))
    torch.testing.assert_close(out * 100, x / x.norm(dim=-1, keepdim=True))
    zero = torch.zeros(2, 3, dtype=torch.float16, requires_grad=True)
    snn.InwardScale(1.0)(zero).sum().backward()
    assert torch.isfinite(zero.grad).all()
    torch.autograd.gradcheck(snn.InwardScale(2.0, dim=1), rand(2, 3, 4).requires_grad_())
    with pytest.raises(ValueError, match="xi and eps must be positive"):
        snn.InwardScale(0.0)


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
    keys, parameters = list(model.state_dict()), [id(p) for p in model.parameters()]
    x = torch.randn(2, 3, 6, 6, generator=GEN().manual_seed(0))
    before = copy.deepcopy(model).eval()(x)
    conversion = snn.convert_to_sphere(model, kind="sigmoid", k=0.3)
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


def test_conversion_keeps_what_it_cannot_convert():
    model = nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), nn.Linear(4, 4), nn.Linear(4, 2)
    )
    model.append(model[1])
    conversion = snn.convert_to_sphere(model, kind="learnable-sigmoid", output_layer="2")
    assert dict(conversion.kept)["0"] == "its weight is parametrized"
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


def test_linear_kind_has_a_free_slope_and_offset():
    layer = snn.SphereLinear(4, 3, kind="linear", a=-1.0, b=2.0, dtype=F64)
    x = rand(5, 4)
    expected = 2.0 - safe_angle(cosine_twin(layer)(x))
    torch.testing.assert_close(layer(x), expected)


def cosine_twin(layer):
    twin = snn.SphereLinear(layer.in_features, layer.out_features, dtype=F64)
    twin.load_state_dict(layer.state_dict())
    return twin


def test_bad_layers_are_refused():
    with pytest.raises(ValueError, match=r"input must have shape \(batch, 3, size, size\)"):
        snn.SphereConv2d(3, 4, 3)(torch.ones(2, 4, 5, 5))
    with pytest.raises(ValueError, match="k must be positive; got 0"):
        snn.SphereLinear(3, 4, kind="sigmoid", k=0.0)
    with pytest.raises(ValueError, match="kind must be 'linear', 'cosine' or 'sigmoid'"):
        angular(torch.zeros(1), "tanh")
