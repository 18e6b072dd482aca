"""The hook on every kind of model and training loop."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import sphuni.nn as snn
from sphuni.nn import functional as F
from sphuni.nn.hook._layers import find_layers, read_rows
from sphuni.nn.neurons import NeuronView, module_neurons


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3)
        self.bn = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 12, 3)
        self.shortcut = nn.Conv2d(3, 12, 1)
        self.embed = nn.Embedding(5, 12)
        self.fc = nn.Linear(12, 4)

    def forward(self, x):
        y = self.conv2(self.bn(self.conv1(x)).relu())
        y = y + self.shortcut(x)[..., 2:-2, 2:-2]
        return self.fc(y.mean((-2, -1)) + self.embed.weight[0])


def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net()


def gradients(model):
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


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
        ("fc.weight", "first"),
    ]


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
        snn.regularize(model, "mhe", s=float("nan"))()


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
    layers, _ = find_layers(model)
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


def test_every_leaves_out_calls_and_keeps_the_mean():
    model = net()
    once = snn.regularize(model, "hs-mhe")().item()
    reg = snn.regularize(model, "hs-mhe", every=3, schedule=lambda call: 1.0 + call)
    values = [reg().item() for _ in range(6)]
    assert values == pytest.approx([3 * once, 0, 0, 12 * once, 0, 0], rel=1e-6)
    reg()
    reg.eval()
    assert [reg().item() for _ in range(2)] == pytest.approx([8 * once] * 2, rel=1e-6)
    assert reg.calls == 7


def test_random_rows_are_unbiased_and_seeded():
    model = nn.Sequential(nn.Linear(4, 12), nn.Linear(12, 3))
    full = snn.regularize(model, "hs-mhe", output_weight=0.0)().item()
    reg = snn.regularize(model, "hs-mhe", output_weight=0.0, rows=4)
    values = torch.stack([reg().detach() for _ in range(300)])
    assert abs(values.mean().item() - full) < 5 * values.std().item() / 300**0.5
    again = snn.regularize(model, "hs-mhe", output_weight=0.0, rows=4)
    assert torch.equal(values[:5], torch.stack([again().detach() for _ in range(5)]))
    other = snn.regularize(model, "hs-mhe", output_weight=0.0, rows=4, seed=1)
    assert not torch.equal(values[:5], torch.stack([other().detach() for _ in range(5)]))


def test_decoupled_gradients_equal_those_in_the_graph():
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    model, twin = net(), net()
    (model(x).square().mean() + snn.regularize(model, "rp-comhe", k=5)()).backward()
    reg = snn.regularize(twin, "rp-comhe", k=5, mode="decoupled")
    twin(x).square().mean().backward()
    reg.add_gradients()
    expected, got = gradients(model), gradients(twin)
    assert set(got) == set(expected)
    for name, value in got.items():
        torch.testing.assert_close(value, expected[name])
    with pytest.raises(RuntimeError, match=r"call reg.add_gradients\(\)"):
        reg()


def test_attach_adds_once_per_step_and_remove_leaves_no_trace():
    model = net()
    hooks = sum(len(m._forward_hooks) + len(m._backward_hooks) for m in model.modules())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    reg = snn.regularize(model, "mhe", mode="decoupled")
    reg.attach(optimizer)
    optimizer.step()
    assert gradients(model)["fc.weight"].abs().max() > 0
    reg.remove()
    optimizer.zero_grad()
    optimizer.step()
    assert gradients(model) == {}
    assert not optimizer._optimizer_step_pre_hooks
    assert hooks == sum(len(m._forward_hooks) + len(m._backward_hooks) for m in model.modules())
    with pytest.raises(RuntimeError, match="was removed"):
        reg.add_gradients()
    with pytest.raises(RuntimeError, match="attach needs mode='decoupled'"):
        snn.regularize(model).attach(optimizer)


def test_nothing_is_a_parameter_and_the_model_is_not_inside():
    model = net()
    before = set(model.state_dict())
    reg = snn.regularize(model, "mhp")
    assert list(reg.parameters()) == []
    assert set(model.state_dict()) == before
    assert not any("conv1" in key for key in reg.state_dict())
    assert any(key.endswith("poles") for key in reg.state_dict())


@pytest.mark.parametrize("method", ["hs-mhp", "mhc", "adv-comhe", "ap-comhe", "rp-comhe"])
def test_state_dict_continues_the_inner_problem(method):
    def one():
        model = net()
        return (
            snn.regularize(model, method, k=6) if "co" in method else snn.regularize(model, method)
        )

    reg = one()
    for _ in range(3):
        reg()
    state = copy.deepcopy(reg.state_dict())
    expected = [reg().item() for _ in range(2)]
    fresh = one()
    fresh.load_state_dict(state)
    assert [fresh().item() for _ in range(2)] == expected


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_belong_to_the_copied_model(copier):
    model = net()
    reg = snn.regularize(model, "hs-mhp")
    reg()
    twin, twin_reg = copier((model, reg))
    assert twin_reg.model is twin
    assert twin_reg().item() == reg().item()


def test_weight_averaging_and_weight_decay_never_touch_the_inner_problem():
    model = net()
    reg = snn.regularize(model, "hs-mhp")
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.5)
    averaged = torch.optim.swa_utils.AveragedModel(model, use_buffers=True)
    for _ in range(2):
        optimizer.zero_grad()
        reg().backward()
        poles = {key: value.clone() for key, value in reg.state_dict().items()}
        optimizer.step()
        averaged.update_parameters(model)
        for key, value in reg.state_dict().items():
            assert torch.equal(value, poles[key])
    assert {key.removeprefix("module.") for key in averaged.state_dict()} == {
        *model.state_dict(),
        "n_averaged",
    }
    snn.regularize(averaged.module, "hs-mhp")().backward()


def test_evaluation_mode_changes_nothing():
    reg = snn.regularize(net(), "adv-comhe", k=5).eval()
    state = copy.deepcopy(reg.state_dict())
    assert reg().item() == reg().item()
    for key, value in reg.state_dict().items():
        assert torch.equal(value, state[key])


def test_autocast_is_a_float32_island():
    model = net()
    for method in ("hs-mhe", "rp-comhe", "ap-comhe", "mgd", "mhp", "so"):
        plain = snn.regularize(model, method)()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inside = snn.regularize(model, method)()
        assert inside.dtype == torch.float32
        assert inside.item() == plain.item()


def test_half_precision_models():
    model = net().to(torch.bfloat16)
    value = snn.regularize(model, "hs-mhe")()
    value.backward()
    assert value.dtype == torch.float32
    assert model.fc.weight.grad.dtype == torch.bfloat16


def test_summary_gives_excess_over_the_certified_bound():
    model = nn.Sequential(nn.Linear(6, 4, bias=False), nn.Linear(8, 5, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(4, 6))
    summary = snn.regularize(model, "hs-mhe").summary()
    first, last = summary.rows
    assert first.half_space
    assert not last.half_space
    assert first.excess == pytest.approx(0.0, abs=1e-9)
    assert first.attained
    assert first.min_angle == pytest.approx(90.0)
    assert last.excess > 0.05
    assert "excess" in str(summary)
    assert "0.weight" in str(summary)


def test_training_with_the_hook_lowers_the_energy():
    model = nn.Sequential(nn.Linear(6, 10), nn.Linear(10, 4))
    reg = snn.regularize(model, "hs-mhe")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = reg().item()
    for _ in range(30):
        optimizer.zero_grad()
        reg().backward()
        optimizer.step()
    assert reg().item() < before


def test_gradient_scaling_and_accumulation_give_the_plain_gradient():
    model = net()
    snn.regularize(model, "hs-mhe")().backward()
    expected = gradients(model)
    model.zero_grad()
    reg = snn.regularize(model, "hs-mhe")
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    for _ in range(4):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = reg() / 4
        scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    for name, value in gradients(model).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-8)
    model.zero_grad()
    decoupled = snn.regularize(model, "hs-mhe", mode="decoupled")
    decoupled.add_gradients(scale=scaler.get_scale())
    torch.testing.assert_close(gradients(model)["fc.weight"], 64 * expected["fc.weight"])
