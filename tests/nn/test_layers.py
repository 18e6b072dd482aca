"""Sphere layers against a naive unfold; the functions of the angle; inward scale."""

import functools
import math

import pytest
import torch
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


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize(
    "make",
    [
        lambda: [snn.SphereLinear(4, 6, bias=True), snn.SphereLinear(6, 3, kind="linear")],
        lambda: [snn.SphereConv2d(3, 4, 3), nn.BatchNorm2d(4), snn.SphereConvTranspose2d(4, 2, 3)],
        lambda: [snn.SphereNorm(3, 4, 3, rescale="learned"), snn.SphereConv2d(4, 2, 3)],
        lambda: [snn.SphereRNNCell(4, 6), snn.SphereRNNCell(6, 3)],
    ],
)
def test_networks_of_another_dtype_run_and_keep_it(make, dtype):
    model = nn.Sequential(*make()).to(dtype)
    sizes = (2, 3, 8, 8) if isinstance(model[0], nn.modules.conv._ConvNd) else (2, 4)
    out = model(torch.randn(*sizes, generator=GEN().manual_seed(0)).to(dtype))
    assert out.dtype == dtype
    out.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_learnable_k_per_filter_per_layer_or_shared():
    for make in (
        snn.shared_steepness,
        lambda k: snn.SphereLinear(3, 2, kind="learnable-sigmoid", k=k),
    ):
        for start in (0.02, 0.05):
            with pytest.raises(
                ValueError, match=rf"k must be above 0\.05 where it is learned.* got {start}"
            ):
                make(start)
    per_filter = snn.SphereConv2d(3, 5, 3, kind="learnable-sigmoid")
    assert per_filter.angular.k.shape == (5,)
    torch.testing.assert_close(per_filter.angular.k + 0.05, torch.full((5,), 0.5))
    assert snn.SphereLinear(3, 5, kind="learnable-sigmoid", share="layer").angular.k.shape == (1,)
    shared = snn.shared_steepness(0.4)
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


@pytest.mark.parametrize(
    ("cls", "conv"), [(snn.SphereNorm1d, snn.SphereConv1d), (snn.SphereNorm3d, snn.SphereConv3d)]
)
def test_sphere_norm_of_other_ranks(cls, conv):
    layer, plain = cls(2, 3, 2, rescale="learned", padding=1), conv(2, 3, 2, padding=1)
    plain.load_state_dict({"weight": layer.weight})
    x = rand(2, 2, *[4] * plain._rank).float()
    torch.testing.assert_close(layer(x), plain(x))
    with torch.no_grad():
        layer.gamma.copy_(torch.arange(3.0))
    shift = torch.arange(3.0).reshape(-1, *[1] * plain._rank)
    torch.testing.assert_close(layer(x), plain(x) + shift)


def test_the_recurrent_cell_answers_the_angle_of_input_and_state_together():
    cell = snn.SphereRNNCell(3, 4, bias=True, kind="sigmoid", dtype=F64)
    assert set(cell.state_dict()) == set(nn.RNNCell(3, 4).state_dict())
    x, h = rand(5, 3), rand(5, 4, seed=1)
    linear = snn.SphereLinear(7, 4, bias=True, kind="sigmoid", dtype=F64)
    with torch.no_grad():
        linear.weight.copy_(torch.cat([cell.weight_ih, cell.weight_hh], dim=1))
        linear.bias.copy_(cell.bias_ih + cell.bias_hh)
    torch.testing.assert_close(cell(x, h), linear(torch.cat([x, h], dim=1)))
    torch.testing.assert_close(cell(x), cell(x, torch.zeros(5, 4, dtype=F64)))
    torch.testing.assert_close(cell(x[0], h[0]), cell(x, h)[0])
    torch.autograd.gradcheck(cell, (x.requires_grad_(), h.requires_grad_()))
    reg = snn.regularize(cell, "hs-mhe")
    assert [(layer.name, layer.kind) for layer in reg.layers] == [
        ("weight_ih", "rnn"),
        ("weight_hh", "rnn"),
    ]
    with pytest.raises(ValueError, match=r"input must have shape \(\.\.\., 3\); got \(2, 5\)"):
        cell(torch.ones(2, 5))


def test_inward_scale():
    x = rand(4, 5)
    out = snn.InwardScale(100.0)(x)
    torch.testing.assert_close(out.norm(dim=-1), torch.full((4,), 0.01, dtype=F64))
    torch.testing.assert_close(out * 100, x / x.norm(dim=-1, keepdim=True))
    zero = torch.zeros(2, 3, dtype=torch.float16, requires_grad=True)
    snn.InwardScale(1.0)(zero).sum().backward()
    assert torch.isfinite(zero.grad).all()
    torch.autograd.gradcheck(snn.InwardScale(2.0, dim=1), rand(2, 3, 4).requires_grad_())
    for wrong in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="xi and eps must be positive"):
            snn.InwardScale(wrong)
    with pytest.raises(TypeError, match=r"x must be floating point; got torch.int64. Call x.flo"):
        snn.InwardScale(1.0)(torch.ones(2, 3, dtype=torch.long))


@pytest.mark.parametrize(
    "make",
    [
        lambda: snn.InwardScale(3.0),
        lambda: snn.SphereLinear(5, 4),
        lambda: snn.SphereRNNCell(5, 4),
    ],
)
def test_inputs_too_large_to_square_have_an_angle_too(make):
    layer, x = make(), rand(3, 5).float()
    for size in (1e20, 1e30, 1e37):
        large = (size * x).requires_grad_()
        answer = layer(large)
        torch.testing.assert_close(answer, layer(x))
        (gradient,) = torch.autograd.grad(answer.sum(), large)
        assert torch.isfinite(gradient).all()
    mixed = layer(torch.stack([1e30 * x[0], x[1]]))
    torch.testing.assert_close(mixed, layer(x[:2]))


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
    with pytest.raises(ValueError, match=r"input must have shape \(..., 3\); got \(2, 5\)"):
        snn.SphereLinear(3, 4)(torch.ones(2, 5))
    for wrong in (math.nan, math.inf, -1.0):
        with pytest.raises(ValueError, match="k must be"):
            snn.SphereLinear(3, 4, kind="sigmoid", k=wrong)
        with pytest.raises(ValueError, match="k must be"):
            angular(torch.zeros(1), "sigmoid", k=wrong)
    for option in ("a", "b"):
        with pytest.raises(ValueError, match=f"{option} must be finite; got nan"):
            snn.SphereLinear(3, 4, kind="linear", **{option: math.nan})
    with pytest.raises((TypeError, ValueError), match="share must be 'filter'"):
        snn.SphereConv2d(3, 4, 3, kind="learnable-sigmoid", share="channel")


@pytest.mark.parametrize("groups", [1, 3])
def test_empty_batches_give_empty_answers(groups):
    layer = snn.SphereConv2d(3, 6, 3, groups=groups)
    assert layer(torch.zeros(0, 3, 5, 5)).shape == (0, 6, 3, 3)
    assert snn.SphereLinear(3, 4)(torch.zeros(0, 3)).shape == (0, 4)


@pytest.mark.parametrize(("shape", "dim"), [((0,), 0), ((0, 4), 0), ((4, 0), -1), ((2, 0, 3), 1)])
def test_nothing_to_scale_stays_nothing(shape, dim):
    assert snn.InwardScale(dim=dim)(torch.zeros(shape)).shape == shape


LAYERS = [
    lambda: snn.SphereLinear(16, 3),
    lambda: snn.SphereConv2d(4, 3, 2),
    lambda: snn.SphereConvTranspose2d(4, 6, 2, groups=2),
    lambda: snn.SphereRNNCell(16, 3),
]


@pytest.mark.parametrize("make", LAYERS)
def test_half_precision_does_not_overflow(make):
    layer = make().half()
    shape = (2, 16) if isinstance(layer, snn.SphereLinear | snn.SphereRNNCell) else (2, 4, 5, 5)
    x = (10 * torch.randn(shape, generator=torch.Generator().manual_seed(0))).half()
    with torch.no_grad():
        for weight in layer.parameters():
            weight.mul_(3e4)
    answer = layer(x)
    answer.float().sum().backward()
    assert bool((answer.abs() <= 1).all())
    assert all(bool(weight.grad.isfinite().all()) for weight in layer.parameters())


@pytest.mark.parametrize("make", [*LAYERS, lambda: snn.InwardScale(3.0)])
def test_shapes_can_be_had_on_the_meta_device(make):
    layer = make()
    flat = isinstance(layer, snn.SphereLinear | snn.SphereRNNCell | snn.InwardScale)
    x = torch.ones((2, 16) if flat else (2, 4, 5, 5))
    found = make().to("meta")(x.to("meta"))
    assert found.is_meta
    assert found.shape == layer(x).shape


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("make", LAYERS)
def test_products_of_large_inputs_do_not_overflow_float16(make, autocast):
    layer = make()
    shape = (2, 16) if isinstance(layer, snn.SphereLinear | snn.SphereRNNCell) else (2, 4, 5, 5)
    x = torch.full(shape, 6e4, dtype=torch.float32 if autocast else torch.float16)
    with torch.no_grad():
        for weight in layer.parameters():
            weight.abs_()  # so that products add up
    expected = layer(x.float())
    x.requires_grad_()
    with torch.autocast("cpu", torch.float16, enabled=autocast):
        answer = (layer if autocast else layer.half())(x)
    torch.testing.assert_close(answer.float(), expected, atol=2e-3, rtol=0)
    (gradient,) = torch.autograd.grad(answer.float().sum(), x)
    assert bool(gradient.isfinite().all())


@pytest.mark.parametrize(
    "make",
    [
        functools.partial(snn.SphereLinear, 3, 4),
        functools.partial(snn.SphereConv2d, 3, 4, 3),
        functools.partial(snn.SphereConvTranspose1d, 3, 4, 3),
        functools.partial(snn.SphereRNNCell, 3, 4),
        functools.partial(snn.InwardScale, 1.0),
    ],
)
@pytest.mark.parametrize("eps", [0.0, -1e-6, math.nan])
def test_an_eps_that_is_not_positive_is_refused(make, eps):
    with pytest.raises(ValueError, match="eps must be"):
        make(eps=eps)


@pytest.mark.parametrize(
    ("kind", "option", "of"),
    [
        ("cosine", {"k": 0.3}, "'sigmoid' or 'learnable-sigmoid'"),
        ("cosine", {"a": -1.0}, "'linear'"),
        ("sigmoid", {"b": 2.0}, "'linear'"),
        ("cosine", {"share": "layer"}, "'learnable-sigmoid'"),
        ("sigmoid", {"share": snn.shared_steepness()}, "'learnable-sigmoid'"),
        ("linear", {"k": 0.3}, "'sigmoid' or 'learnable-sigmoid'"),
    ],
)
def test_options_of_another_kind_are_refused(kind, option, of):
    (name,) = option
    with pytest.raises(ValueError, match=f"{name} is for kind={of}, not for '{kind}'"):
        snn.SphereLinear(3, 4, kind=kind, **option)


@pytest.mark.parametrize("wrong", [[1.0], True, 1j], ids=str)
@pytest.mark.parametrize(
    ("option", "make"),
    [
        ("xi", snn.InwardScale),
        ("eps", lambda one: snn.InwardScale(1.0, eps=one)),
        ("k", snn.shared_steepness),
        ("rescale", lambda one: snn.SphereNorm(3, 4, 3, rescale=one)),
    ],
)
def test_options_that_are_no_numbers_are_named(option, make, wrong):
    with pytest.raises(TypeError, match=f"^{option} must be a number; got "):
        make(wrong)


def test_a_rescaling_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="rescale must be finite; got nan"):
        snn.SphereNorm(3, 4, 3, rescale=math.nan)
