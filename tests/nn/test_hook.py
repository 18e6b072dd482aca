"""The hook on every kind of model: what it finds, reads and penalises."""

import contextlib
import copy
import math

import pytest
import torch
from nn_networks import gradients, net
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import sphuni as su
import sphuni.nn as snn
from sphuni.nn import functional as F
from sphuni.nn.hook._layers import find_layers, read_rows
from sphuni.nn.neurons import NeuronView, module_neurons


def test_the_penalty_is_the_weighted_sum_over_layers():
    model = net()
    reg = snn.regularize(model, "hs-mhe", exclude=r"shortcut|embed")
    expected = (
        F.mhe(model.conv1.weight.flatten(1), half_space=True)
        + F.mhe(model.conv2.weight.flatten(1), half_space=True)
        + 10 * F.mhe(model.fc.weight)
    )
    assert reg().item() == pytest.approx(expected.item(), rel=1e-6)
    assert set(reg.stats) == {"conv1.weight", "conv2.weight", "fc.weight"}
    assert not any(value.requires_grad for value in reg.stats.values())


def test_describe_lists_roles_weights_and_what_is_left_out():
    plan = snn.regularize(net(), "hs-mhe", exclude="shortcut").describe()
    assert [(r.name, r.role, r.n, r.d, r.weight) for r in plan.rows] == [
        ("conv1.weight", "first", 8, 27, 1.0),
        ("conv2.weight", "hidden", 12, 72, 1.0),
        ("fc.weight", "output", 4, 12, 10.0),
    ]
    text = str(plan)
    assert "hs-mhe: 3 layers" in text
    assert "left out: embed.weight: not selected" in text


@pytest.mark.parametrize(
    ("method", "options", "weights"),
    [
        ("mhe", {}, (1.0, 10.0)),
        ("hs-mhe", {"metric": "geodesic", "s": 1.0}, (0.1, 1.0)),
        ("mhe", {"metric": "geodesic", "s": 0.0}, (1.0, 10.0)),
        ("mhs", {}, (0.1, 1.0)),
        ("hs-mhp", {}, (1.0, 10.0)),
        ("r-mhp", {}, (0.01, 0.1)),
        ("mhc", {}, (0.01, 0.1)),
        ("hs-mgd", {}, (0.01, 0.1)),
        ("rp-comhe", {"objective": "hs-mgd"}, (0.01, 0.1)),
        ("so", {}, (1e-4, 0.0)),
        ("srip", {}, (1e-2, 1e-2)),
    ],
)
def test_default_coefficients_are_the_methods_own(method, options, weights):
    reg = snn.regularize(net(), method, **options)
    assert reg.weights == pytest.approx(weights)


@pytest.mark.parametrize("method", snn.available_methods())
def test_every_method_gives_finite_gradients_to_every_layer(method):
    model = net()
    reg = snn.regularize(model, method, output_weight=1.0)
    for _ in range(2):
        model.zero_grad()
        value = reg()
        value.backward()
        assert value.ndim == 0
        assert torch.isfinite(value)
    grads = gradients(model)
    assert set(grads) == {"conv1.weight", "conv2.weight", "shortcut.weight", "fc.weight"}
    for gradient in grads.values():
        assert torch.isfinite(gradient).all()
        assert gradient.abs().max() > 0


def test_selection_by_type_name_and_pattern():
    model = net()
    for include in ("Conv2d", nn.Conv2d):
        reg = snn.regularize(model, "mhe", include=include, exclude="shortcut")
        assert [layer.name for layer in reg.layers] == ["conv1.weight", "conv2.weight"]
    reg = snn.regularize(model, "mhe", include=("embed", r"^fc\."), output_layer="embed")
    assert [(layer.name, layer.role) for layer in reg.layers] == [
        ("embed.weight", "output"),
        ("fc.weight", "hidden"),
    ]


def test_a_class_means_its_subclasses_and_layers_that_are_parametrized():
    class Own(nn.Conv2d):
        pass

    model = nn.Sequential(
        parametrizations.spectral_norm(nn.Conv2d(3, 8, 3)), Own(8, 8, 3), nn.Linear(8, 4)
    )
    names = {
        request: [layer.name for layer in snn.regularize(model, "mhe", include=request).layers]
        for request in (nn.Conv2d, "Conv2d", Own, nn.Module)
    }
    assert names == {
        nn.Conv2d: ["0.weight", "1.weight"],
        "Conv2d": ["0.weight"],
        Own: ["1.weight"],
        nn.Module: ["0.weight", "1.weight", "2.weight"],
    }


def test_roles_are_those_in_the_network_whatever_is_chosen():
    def roles(model, **choice):
        return {layer.name: layer.role for layer in snn.regularize(model, "mhe", **choice).layers}

    deep = nn.Sequential(*[nn.Linear(5, 5) for _ in range(4)])
    assert roles(deep, exclude="^3") == {
        "0.weight": "first", "1.weight": "hidden", "2.weight": "hidden"
    }  # fmt: skip
    assert roles(deep, include=["^1", "^3"]) == {"1.weight": "hidden", "3.weight": "output"}
    recurrent = nn.ModuleDict({"lstm": nn.LSTM(4, 5), "fc": nn.Linear(5, 3)})
    first = {name for name, role in roles(recurrent).items() if role == "first"}
    assert first == {f"lstm.weight_ih_l0[{gate}]" for gate in "ifgo"}


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm`")
@pytest.mark.parametrize("kind", [nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Conv3d])
def test_weights_of_older_weight_normalisation_are_read(kind):
    sizes = (4, 6) if kind is nn.Linear else (4, 6, 3)
    model = nn.Sequential(nn.utils.weight_norm(kind(*sizes)), nn.Linear(6, 4))
    reg = snn.regularize(model, "mhe")
    assert reg.left_out == ()
    reg().backward()
    assert float(model[0].weight_v.grad.abs().max()) > 0


def test_a_constant_energy_has_no_excess():
    for shape in ((12, 10), (8, 27), (64, 32)):
        (row,) = snn.regularize(nn.Linear(*shape[::-1]), "hs-mhe", s=-2).summary().rows
        assert math.isnan(row.excess)
        assert row.energy == pytest.approx(row.bound)


def test_bad_requests_list_what_exists():
    model = net()
    with pytest.raises(
        ValueError, match=r"one of mhe, hs-mhe.*got 'hs-mhee'. Did you mean 'hs-mhe'"
    ):
        snn.regularize(model, "hs-mhee")
    with pytest.raises(
        ValueError, match=r"include='atention' matches no layer. Its layers are conv1"
    ):
        snn.regularize(model, include="atention")
    with pytest.warns(
        UserWarning, match=r"exclude='atention' matches no layer, so it excludes nothing"
    ):
        snn.regularize(model, exclude="atention")
    with pytest.raises(ValueError, match="no layer of the model is left"):
        snn.regularize(model, exclude=".")
    with pytest.raises(ValueError, match="no weight matrix"):
        snn.regularize(nn.ReLU())
    with pytest.raises(ValueError, match="regular expression"):
        snn.regularize(model, include="(")
    with pytest.raises(TypeError, match=r"'mhe' takes no option 'S'; its options are s, metric"):
        snn.regularize(model, "mhe", S=2)
    with pytest.raises(ValueError, match="output_layer must be 'auto', None or one of conv1"):
        snn.regularize(model, output_layer="head")
    with pytest.raises(ValueError, match="meta device"):
        snn.regularize(nn.Linear(3, 4, device="meta"))
    with pytest.raises(ValueError, match="every must be at least 1; got 0"):
        snn.regularize(model, every=0)
    with pytest.raises(ValueError, match="rows is for means over pairs"):
        snn.regularize(model, "mgd", rows=4)
    with pytest.raises(ValueError, match="must not be compressed itself"):
        snn.regularize(model, "rp-comhe", objective="ap-comhe")
    with pytest.raises(ValueError, match="s must be finite"):
        snn.regularize(model, "mhe", s=float("nan"))


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("mhe", {"include": 3}, "include must be a layer type, name or regular expression.*got 3"),
        ("mhe", {"s": "2"}, "s must be a number; got '2'"),
        ("mhe", {"weight": "a"}, "weight must be a number; got 'a'"),
        ("mhe", {"every": 1.5}, "every must be a whole number; got 1.5"),
        ("mhe", {"rows": 2.5}, "rows must be a whole number; got 2.5"),
        ("mhe", {"seed": "a"}, "seed must be a whole number; got 'a'"),
        ("mhp", {"s": -2.5}, "s must be at least -2, where the kernel is convex; got -2.5"),
        ("hs-mhp", {"s": -3}, "s must be at least -2, where the kernel is convex; got -3"),
        ("mgd", {"epsilon": "1"}, "epsilon must be a number; got '1'"),
        (["mhe"], {}, r"method must be one of mhe, .*; got \['mhe'\]"),
        ("mhs", {"minimum": "all"}, "minimum must be 'hard', 'soft'.*got 'all'"),
        ("mgd", {"epsilon": -1.0}, "epsilon must be positive.*got -1.0"),
        ("rp-comhe", {"k": 3.5}, "k must be a whole number; got 3.5"),
        ("rp-comhe", {"objective": "mhee"}, "objective must be one of.*Did you mean 'mhe'"),
        ("mhp", {"n_aux": 2.5}, "n_aux must be a whole number; got 2.5"),
        ("srip", {"n_power_iterations": "2"}, "'srip' cannot take n_power_iterations='2'"),
        ("hs-mhp", {"projection": 1}, "projection must be at least 2"),
    ],
)
def test_bad_options_are_refused_before_training(method, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        snn.regularize(net(), method, **options)


def test_a_schedule_without_a_number_is_refused():
    reg = snn.regularize(net(), "mhe", schedule=lambda call: float("nan"))
    with pytest.raises(ValueError, match="schedule must return finite numbers; got nan at call 0"):
        reg()
    reg = snn.regularize(net(), "mhe", schedule=lambda call: None)
    with pytest.raises(TypeError, match="what schedule returns must be a number; got None"):
        reg()


def test_a_factor_that_is_no_number_is_refused_before_the_call_counts():
    reg = snn.regularize(net(), "mhe", mode="decoupled")
    with pytest.raises(TypeError, match="scale must be a number; got '2'"):
        reg.add_gradients("2")
    assert reg.calls == 0


def test_half_space_poles_of_two_rows_are_constant_which_is_said():
    with pytest.warns(UserWarning, match="'hs-mhp' of n = 2 rows in d = 5 dimensions is constant"):
        snn.build("hs-mhp", shape=(2, 5))
    with pytest.raises(ValueError, match="shape must be given for 'hs-mhc', which is constant"):
        snn.build("hs-mhc")


@pytest.mark.parametrize("layer", [nn.Conv2d, nn.ConvTranspose2d])
@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (2, 4)])
def test_a_convolution_that_is_replaced_by_one_of_other_groups_is_refused(layer, before, after):
    model = nn.Sequential(layer(8, 8, 3, groups=before), nn.Conv2d(8, 8, 1))
    reg = snn.regularize(model, "hs-mhe")
    model[0] = layer(8, 16, 3, groups=before)
    assert torch.isfinite(reg())
    model[0] = layer(8, 8, 3, groups=after)
    message = rf"'0\.weight.*' was found .* groups={before}, which now has groups={after}; make"
    for call in (reg, reg.describe, reg.summary):
        with pytest.raises(RuntimeError, match=message):
            call()


@pytest.mark.parametrize("mode", ["graph", "decoupled"])
@pytest.mark.parametrize(
    ("layer", "options", "pruned", "message"),
    [
        (
            lambda: nn.Linear(8, 8),
            {"heads": 4},
            lambda: nn.Linear(8, 6),
            "of 8 rows that were split into heads, which now has 6; make a new",
        ),
        (
            lambda: nn.MultiheadAttention(8, 4),
            {"heads": 4},
            lambda: nn.MultiheadAttention(12, 4),
            "of 24 rows that were split into heads, which now has 36; make a new",
        ),
        (lambda: nn.GRU(4, 8), {}, lambda: nn.LSTM(4, 6), "of 3 gates, which now has 4; make"),
        (lambda: nn.RNN(4, 8), {}, lambda: nn.GRU(4, 8), "of 1 gates, which now has 3; make"),
    ],
)
def test_a_weight_that_no_longer_falls_into_its_parts_is_refused(
    mode, layer, options, pruned, message
):
    model = nn.ModuleDict({"q_proj": layer(), "rest": nn.Linear(8, 5)})
    reg = snn.regularize(model, "hs-mhe", mode=mode, **options)
    model["q_proj"] = pruned()
    with pytest.raises(RuntimeError, match=rf"layer 'q_proj\..*' was found in a weight {message}"):
        reg() if mode == "graph" else reg.add_gradients()


class Experts(nn.Module):
    def __init__(self, count):
        super().__init__()
        self.gate_up_proj = nn.Parameter(torch.randn(count, 12, 4))
        self.down_proj = nn.Parameter(torch.randn(count, 4, 6))


@pytest.mark.parametrize("now", [2, 4])
def test_a_stack_of_other_experts_is_refused(now):
    model = nn.ModuleDict({"moe": Experts(3), "rest": nn.Linear(8, 5)})
    reg = snn.regularize(model, "hs-mhe")
    model["moe"] = Experts(now)
    message = rf"'moe\.gate_up_proj\[expert 0\]' was found .* of 3 experts, which now has {now};"
    with pytest.raises(RuntimeError, match=message):
        reg()


def test_layers_that_grow_are_still_split_into_their_gates():
    model = nn.Sequential(nn.LSTM(4, 6), nn.Linear(6, 3))
    reg = snn.regularize(model, "hs-mhe")
    model[0] = nn.LSTM(4, 8, proj_size=2)
    rows = [row.n for row in reg.describe().rows if row.name.startswith("0.")]
    assert rows == [8] * 8
    assert torch.isfinite(reg())


def test_layers_that_are_replaced_later():
    model = nn.Sequential(nn.Linear(8, 6), nn.Linear(6, 5), nn.Linear(5, 3))
    reg = snn.regularize(model, "mhe")
    model[1] = nn.Linear(6, 9)
    assert torch.isfinite(reg())
    assert (reg.describe().rows[1].n, reg.summary().rows[1].n) == (9, 9)
    model[1] = nn.ReLU()
    with pytest.raises(RuntimeError, match=r"layer '1\.weight' is no longer in the model"):
        reg()


def test_reference_presets_reach_every_method():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 5), nn.Linear(5, 3))
    paper = snn.regularize(model, "so")().item()
    reference = snn.regularize(model, "so", preset="reference")().item()
    assert reference == pytest.approx(paper + 1e-4 * 2)


def test_classifier_is_recognised_by_name_or_place():
    named = nn.ModuleDict({"head": nn.Linear(6, 3), "body": nn.Linear(4, 6)})
    roles = {layer.name: layer.role for layer in snn.regularize(named, "mhe").layers}
    assert roles == {"head.weight": "output", "body.weight": "first"}
    plain = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3))
    assert [x.role for x in snn.regularize(plain, "mhe").layers] == ["first", "hidden", "output"]
    assert [x.role for x in snn.regularize(plain, "mhe", output_layer=None).layers] == [
        "first",
        "hidden",
        "hidden",
    ]
    assert snn.regularize(nn.Linear(4, 3), "mhe").layers[0].role == "first"


def test_neither_first_layer_nor_classifier_is_projected():
    model = nn.Sequential(nn.Linear(50, 9), nn.Linear(40, 9), nn.Linear(50, 9))
    reg = snn.regularize(model, "rp-comhe", k=4, C=2)
    kinds = [type(objective).__name__ for objective in reg.objectives]
    assert kinds == ["Plain", "RandomProjection", "Plain"]
    assert "half_space=False" in reg.describe().rows[2].objective


def test_the_first_layer_is_projected_if_that_is_asked_for():
    model = nn.Sequential(nn.Linear(50, 9), nn.Linear(50, 9))
    reg = snn.regularize(model, "rp-comhe", k=4, C=2, project_first=True)
    kinds = [type(objective).__name__ for objective in reg.objectives]
    assert kinds == ["RandomProjection", "Plain"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Conv1d(4, 6, 3, groups=2),
        lambda: nn.ConvTranspose2d(4, 6, 3, groups=2),
        lambda: nn.Bilinear(3, 4, 5),
        lambda: nn.LSTM(3, 4),
        lambda: nn.GRUCell(3, 4),
        lambda: nn.MultiheadAttention(8, 2),
        lambda: parametrizations.weight_norm(nn.Linear(5, 4)),
        lambda: parametrizations.spectral_norm(nn.Conv2d(2, 4, 3)),
        lambda: parametrizations.orthogonal(nn.Linear(5, 4)),
        lambda: prune.random_unstructured(nn.Linear(5, 4), "weight", 0.3),
    ],
)
def test_rows_are_those_of_the_analysis_with_a_gradient(make):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = make()
    before = copy.deepcopy(model.state_dict())
    views = {v.name: v.matrix for v in module_neurons(model) if isinstance(v, NeuronView)}
    layers = find_layers(model).layers
    if any("[group" in layer.name for layer in layers):
        (whole,) = views.values()
        views = dict(zip([x.name for x in layers], whole.split(layers[0].n), strict=True))
    assert {layer.name for layer in layers} == set(views)
    for layer in layers:
        rows = read_rows(model, layer)
        torch.testing.assert_close(rows.detach(), views[layer.name].to(rows))
        assert rows.requires_grad
        assert any(
            gradient is not None and gradient.abs().sum() > 0
            for gradient in torch.autograd.grad(
                rows.square().sum() + rows.sum(), list(model.parameters()), allow_unused=True
            )
        )
    snn.regularize(model, "mhe")().backward()
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_weight_norm_by_old_hooks_can_be_read_twice():
    model = nn.utils.weight_norm(nn.Linear(5, 4))
    reg = snn.regularize(model, "mhe")
    for _ in range(2):
        (model(torch.ones(2, 5)).sum() + reg()).backward()
    expected = F.mhe(model.weight_v)
    assert reg().item() == pytest.approx(expected.item(), rel=1e-5)


def test_groups_of_a_convolution_are_sets_of_their_own():
    model = nn.Sequential(nn.Conv2d(8, 12, 3, groups=4), nn.Conv2d(12, 12, 3, groups=12))
    reg = snn.regularize(model, "mhe")
    assert [layer.name for layer in reg.layers] == [f"0.weight[group {i}]" for i in range(4)]
    parts = model[0].weight.flatten(1).split(3)
    assert reg().item() == pytest.approx(sum(F.mhe(part).item() for part in parts), rel=1e-6)
    assert ("1.weight", "depthwise: each filter has its own input") in reg.left_out


def test_a_classifier_that_is_tied_to_an_embedding_is_a_linear_layer():
    model = nn.ModuleDict({"emb": nn.Embedding(9, 4), "h": nn.Linear(4, 4)})
    model["lm_head"] = nn.Linear(4, 9, bias=False)
    model["lm_head"].weight = model["emb"].weight
    layers = {x.name: (x.kind, x.role) for x in snn.regularize(model, "mhe").layers}
    assert layers == {"h.weight": ("linear", "first"), "lm_head.weight": ("linear", "output")}
    assert len(snn.regularize(model, "mhe", include="lm_head").layers) == 1


def test_of_tied_weights_those_are_left_out_that_the_plan_does_not_list():
    model = nn.ModuleDict({"emb": nn.Embedding(9, 4), "h": nn.Linear(4, 4)})
    for name in ("other", "lm_head"):
        model[name] = nn.Linear(4, 9, bias=False)
        model[name].weight = model["emb"].weight
    plan = snn.regularize(model, "mhe").describe()
    assert [row.name for row in plan.rows] == ["h.weight", "lm_head.weight"]
    reason = "tied to lm_head.weight, where it is counted"
    assert sorted(plan.left_out) == [("emb.weight", reason), ("other.weight", reason)]


def test_looking_for_layers_advances_no_parametrization():
    model = parametrizations.spectral_norm(nn.Linear(5, 4)).train()
    before = copy.deepcopy(model.state_dict())
    find_layers(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    "norm", [nn.utils.spectral_norm, parametrizations.spectral_norm], ids=["old", "new"]
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_penalty_may_be_taken_before_a_forward_pass_that_moves_buffers(norm):
    model = nn.Sequential(norm(nn.Linear(5, 4)), nn.Linear(4, 3))
    reg = snn.regularize(model, "mhe")
    (reg() + model(torch.ones(2, 5)).sum()).backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters())


@pytest.mark.parametrize("norm", ["weight_norm", "spectral_norm", "orthogonal"])
def test_parametrizations_that_are_cached_are_read_past_the_cache(norm):
    torch.manual_seed(0)
    # wide enough for power iterations not to have converged when the layer was made
    model = nn.Sequential(getattr(parametrizations, norm)(nn.Linear(50, 40)), nn.Linear(40, 3))
    plain, x = copy.deepcopy(model), torch.ones(2, 50)
    for network, context in ((plain, contextlib.nullcontext), (model, parametrize.cached)):
        decoupled = snn.regularize(network, "hs-mhe", mode="decoupled")
        graph = snn.regularize(network, "mhe")
        with context():
            graph().backward()
            network(x).sum().backward()
            decoupled.add_gradients()
    for (name, one), other in zip(plain.named_parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, msg=name)
    for one, other in zip(plain.buffers(), model.buffers(), strict=True):
        torch.testing.assert_close(one, other)


def test_usual_names_inside_blocks_are_no_classifiers():
    model = nn.ModuleDict()
    for i in range(2):
        model[f"b{i}"] = nn.ModuleDict({"q": nn.Linear(4, 4), "out": nn.Linear(4, 4)})
    model["cls"] = nn.Linear(4, 3)
    roles = {x.module: x.role for x in snn.regularize(model, "mhe").layers}
    assert [name for name, role in roles.items() if role == "output"] == ["cls"]


class LowRank(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.ones(2, 5)), nn.Parameter(torch.zeros(4, 2))

    def forward(self, weight):
        return weight + self.b @ self.a


def test_low_rank_adapters_get_the_gradient_of_the_effective_weight():
    layer = nn.Linear(5, 4)
    parametrize.register_parametrization(layer, "weight", LowRank())
    layer.parametrizations.weight.original.requires_grad_(False)
    snn.regularize(layer, "mhe")().backward()
    assert layer.parametrizations.weight[0].b.grad.abs().max() > 0
    assert layer.parametrizations.weight.original.grad is None


def test_tied_weights_count_once_and_frozen_ones_not_at_all():
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3))
    model[1].weight = model[0].weight
    reg = snn.regularize(model, "mhe")
    assert [layer.name for layer in reg.layers] == ["0.weight", "2.weight"]
    assert "1.weight: tied to 0.weight" in str(reg.describe())
    model[0].weight.requires_grad_(False)
    assert reg().item() == pytest.approx(10 * F.mhe(model[2].weight).item(), rel=1e-6)
    assert "frozen" in str(reg.describe())
    model[2].weight.requires_grad_(False)
    assert reg().item() == 0.0


def test_parameters_may_be_replaced_later():
    model = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3))
    reg = snn.regularize(model, "mhe")
    model[0].weight = nn.Parameter(torch.eye(5, 6))
    assert reg().item() == pytest.approx(0.5 + 10 * F.mhe(model[1].weight).item(), rel=1e-6)


@pytest.mark.parametrize(
    ("method", "options", "lines"),
    [
        ("mhe", {}, False),
        ("hs-mhe", {}, True),
        ("rp-comhe", {"k": 3, "objective": "mhe"}, False),
        ("rp-comhe", {"k": 3}, True),
        ("so", {}, True),
    ],
)
def test_the_summary_measures_the_space_of_the_objective(method, options, lines):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 6), nn.Linear(6, 6), nn.Linear(6, 3))
    reg = snn.regularize(model, method, **options)
    row = next(row for row in reg.summary().rows if row.name == "1.weight")
    rows = su.normalize(model[1].weight.detach().double())
    assert row.energy == pytest.approx(float(su.riesz_energy(rows, s=2, antipodal=lines)))


def test_a_schedule_may_turn_a_penalty_on_and_off():
    reg = snn.regularize(nn.Linear(6, 4), "hs-mhe", schedule=lambda call: call < 1)
    assert reg().item() > 0
    assert reg().item() == 0


def test_a_factor_that_is_not_finite_is_refused():
    reg = snn.regularize(nn.Linear(6, 4), "hs-mhe", mode="decoupled")
    with pytest.raises(ValueError, match="scale must be finite"):
        reg.add_gradients(float("nan"))
