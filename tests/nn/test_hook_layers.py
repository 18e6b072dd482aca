"""Which layers the hook finds, the roles they have, and how their rows are read."""

import itertools

import pytest
import torch
from nn_networks import gradients
from torch import nn
from torch.nn.utils import parametrize

import sphuni.nn as snn
from sphuni.nn import functional as F
from sphuni.nn.hook import _layers
from sphuni.nn.hook._layers import find_layers, read_rows
from sphuni.nn.neurons import NeuronView, module_neurons


def test_of_two_usual_names_the_last_is_the_classifier():
    model = nn.ModuleDict({"fc": nn.Linear(6, 5), "classifier": nn.Linear(5, 3)})
    model["up"] = nn.ConvTranspose2d(4, 3, 2)
    roles = {layer.module: layer.role for layer in snn.regularize(model, "mhe").layers}
    assert roles == {"fc": "first", "classifier": "output", "up": "hidden"}


def test_a_compiled_model_stands_for_the_module_that_it_was_made_of():
    model = perceptron(6, 5, 3)
    compiled = torch.compile(model, backend="eager")
    reg = snn.regularize(compiled, "hs-mhe", include=r"^[01]\.")
    assert reg.describe().rows == snn.regularize(model, "hs-mhe").describe().rows
    assert reg.model is model
    assert reg.holds(compiled)


def roles_of(model, **options):
    reg = snn.regularize(model, "so", **options)
    return {row.name.removesuffix(".weight"): (row.role, row.weight) for row in reg.describe().rows}


def perceptron(*sizes):
    return nn.Sequential(*[nn.Linear(a, b) for a, b in itertools.pairwise(sizes)])


@pytest.mark.parametrize(
    "name",
    ["base_layer", "original_module", "modules_to_save.default", "_orig_mod.base_layer"],
)
def test_a_classifier_keeps_its_name_inside_a_wrapper(name):
    inner = nn.Linear(5, 3)
    for part in reversed(name.split(".")):
        inner = nn.ModuleDict({part: inner})
    model = nn.ModuleDict({"head": inner, "body": nn.Linear(6, 5), "last": nn.Linear(5, 5)})
    roles = {layer.module: layer.role for layer in snn.regularize(model, "mhe").layers}
    assert roles == {f"head.{name}": "output", "body": "first", "last": "hidden"}


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
    add_penalty(reg, mode)
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


class Adapted(nn.Module):
    """A layer with an adapter, by the parts of peft's interface that are used."""

    active_adapters = ("default",)
    disable_adapters = False

    def __init__(self, base, factor, dtype=torch.float32):
        super().__init__()
        self.base_layer = base.requires_grad_(False)
        change = torch.linspace(-1e-3, 1e-3, base.weight.numel(), dtype=dtype)
        setattr(self, factor, nn.ParameterDict({"default": change.reshape(base.weight.shape)}))
        self.factor = factor

    def get_delta_weight(self, adapter):
        return getattr(self, self.factor)[adapter]


FACTORS = ["lora_A", "lora_embedding_A", "hada_w1_a", "lokr_w1", "lokr_w1_a", "vera_lambda_b"]


@pytest.mark.parametrize("mode", ["graph", "decoupled"])
@pytest.mark.parametrize("factor", FACTORS)
def test_adapters_that_add_to_a_weight_are_part_of_it(factor, mode):
    base = nn.Embedding(5, 6) if "embedding" in factor else nn.Linear(6, 5)
    model = nn.Sequential(Adapted(base, factor))
    options = {"weight": 1.0, "output_layer": None, "mode": mode}
    reg = snn.regularize(model, "so", include="base_layer", **options)
    (row,) = reg.describe().rows
    assert (row.name, row.trainable) == ("0.base_layer.weight", True)
    assert not any("not selected" in reason for _, reason in reg.left_out)
    change = model[0].get_delta_weight("default")
    (expected,) = torch.autograd.grad(F.so(base.weight + change), change)
    if mode == "graph":
        reg().backward()
    else:
        optimizer = torch.optim.SGD([change], lr=0.0)
        reg.attach(optimizer)
        optimizer.step()
    torch.testing.assert_close(change.grad, expected)
    model[0].disable_adapters = True
    assert torch.equal(read_rows(model, reg.layers[0]), base.weight)


def test_adapters_keep_their_digits_beside_a_base_in_half_precision():
    base = nn.Linear(6, 5).to(torch.bfloat16)
    model = nn.Sequential(Adapted(base, "lora_A"))
    reg = snn.regularize(model, "mhe")
    exact = base.weight.double() + model[0].get_delta_weight("default").double()
    assert reg().item() == pytest.approx(F.mhe(exact).item(), rel=1e-6)


def add_penalty(reg, mode):
    """Add the gradients of the penalty, by the loss or after it."""
    if mode == "graph":
        reg().backward()
    else:
        reg.add_gradients()


def used_weight(adapted):
    """The weight that merging gives, from a base and the parameters of an adapter."""
    base, change = adapted.base_layer.weight, getattr(adapted, adapted.factor)["default"]
    if adapted.fan_in_fan_out:
        base = base.t()
    if adapted.factor == "ia3_l":
        return base * change
    whole = base + (change.t() if adapted.fan_in_fan_out else change)
    lengths = adapted.lora_magnitude_vector["default"].weight
    return lengths[:, None] * whole / whole.norm(dim=1, keepdim=True)


class Conv1D(nn.Module):
    """As the one of transformers, which stores (in, out)."""

    def __init__(self, nx, nf):
        super().__init__()
        self.nf, self.weight = nf, nn.Parameter(torch.randn(nx, nf))


@pytest.mark.parametrize("mode", ["graph", "decoupled"])
@pytest.mark.parametrize("base", [lambda: nn.Linear(6, 5), lambda: Conv1D(6, 5)])
@pytest.mark.parametrize("kind", ["dora", "ia3 rows", "ia3 inputs"])
def test_adapters_that_scale_a_weight_are_part_of_it(kind, base, mode):
    model = nn.Sequential(Adapted(base(), "lora_A" if kind == "dora" else "ia3_l"))
    adapted = model[0]
    adapted.fan_in_fan_out = isinstance(adapted.base_layer, Conv1D)
    n, d = 5, 6
    if kind == "dora":
        learned = nn.Module()
        learned.weight = nn.Parameter(torch.linspace(0.5, 2.0, n))
        adapted.lora_magnitude_vector = nn.ModuleDict({"default": learned})
        trained = [adapted.lora_A["default"], learned.weight]
    else:
        shape = (n, 1) if kind == "ia3 rows" else (1, d)
        adapted.ia3_l["default"] = nn.Parameter(torch.linspace(0.5, 2.0, max(shape)).view(shape))
        trained = [adapted.ia3_l["default"]]
    model.double()  # two orders of the same sums, which in float32 differ by what the seed gives
    reg = snn.regularize(model, "so", weight=1.0, output_layer=None, mode=mode)
    assert [row.name for row in reg.describe().rows] == ["0.base_layer.weight"]
    rows = used_weight(adapted)
    torch.testing.assert_close(read_rows(model, reg.layers[0]), rows)
    expected = torch.autograd.grad(F.so(rows), trained)
    add_penalty(reg, mode)
    for parameter, gradient in zip(trained, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_lengths_of_dora_on_a_convolution():
    model = nn.Sequential(Adapted(nn.Conv2d(3, 4, 2), "lora_A"))
    learned = nn.Module()
    learned.weight = nn.Parameter(torch.linspace(0.5, 2.0, 4).view(1, 4, 1, 1))
    model[0].lora_magnitude_vector = nn.ModuleDict({"default": learned})
    (layer,) = snn.regularize(model, "so", include="base_layer").layers
    lengths = read_rows(model, layer).norm(dim=1)
    torch.testing.assert_close(lengths, learned.weight.flatten())


@pytest.mark.parametrize("factor", ["oft_R", "boft_R", "hra_u"])
def test_adapters_that_turn_all_rows_are_left_out(factor):
    model = nn.Sequential(Adapted(nn.Linear(6, 5), factor))
    reg = snn.regularize(model, "mhe", include="0")
    assert [layer.name for layer in reg.layers] == ["0.base_layer.weight"]
    assert torch.equal(read_rows(model, reg.layers[0]), model[0].base_layer.weight)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize(
    "scripted", [torch.jit.script, lambda model: torch.jit.trace(model, torch.ones(2, 4))]
)
def test_script_modules_are_refused_with_what_to_do(scripted):
    model = perceptron(4, 5, 3)
    other = scripted(model)
    with pytest.raises(TypeError, match=r"model is a ScriptModule.*give the module that it was"):
        snn.regularize(other, "mhe")
    snn.regularize(model, "mhe")().backward()
    assert next(other.parameters()).grad.abs().max() > 0


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("axis", [0, 1])
def test_weights_of_older_spectral_normalisation_are_read_along_their_own_axis(axis):
    model = nn.utils.spectral_norm(nn.ConvTranspose2d(4, 4, 3), dim=axis)
    model.eval()(torch.ones(1, 4, 5, 5))
    (layer,) = find_layers(model).layers
    used = model.weight.transpose(0, 1).flatten(1)
    torch.testing.assert_close(read_rows(model, layer), used)


class LowRank(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.ones(2, 6) / 3), nn.Parameter(torch.ones(5, 2) / 7)

    def forward(self, weight):
        return weight + self.b @ self.a


@pytest.mark.parametrize("mode", ["graph", "decoupled"])
def test_weights_that_are_computed_are_read_outside_autocast(mode):
    model = nn.Sequential(nn.Linear(6, 5))
    nn.utils.parametrize.register_parametrization(model[0], "weight", LowRank())
    found = []
    for inside in (False, True):
        model.zero_grad()
        reg = snn.regularize(model, "so", mode=mode)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=inside):
            if mode == "decoupled":
                reg.add_gradients()
            else:
                penalty = reg()
        if mode == "graph":
            penalty.backward()
        found.append(gradients(model))
    plain, inside = found
    assert set(plain) == set(inside)
    assert all(torch.equal(plain[name], inside[name]) for name in plain)


def test_weights_of_bytes_are_left_out():
    model = perceptron(6, 5, 4)
    model[0].weight = nn.Parameter(model[0].weight.detach().to(torch.float8_e4m3fn))
    reg = snn.regularize(model, "mhe")
    assert reg.left_out == (("0.weight", "linear: its rows cannot be read with a gradient"),)
    assert float(reg().detach()) > 0


def test_layers_without_a_shape_yet_are_left_out_which_is_said():
    model = nn.Sequential(nn.LazyLinear(5), nn.Linear(5, 4), nn.Linear(4, 3))
    assert snn.regularize(model, "mhe").left_out == (
        ("0.weight", "not initialised yet: run one batch through the lazy module first"),
    )


class Attention(nn.Module):
    """Attention of 2 heads in every form: fused, one for each, stored (in, out), by experts."""

    def __init__(self):
        super().__init__()
        self.qkv, self.c_attn = nn.Linear(6, 18), Conv1D(6, 18)
        self.q_proj, self.k_proj = nn.Linear(6, 8), nn.Linear(6, 4)
        self.gate_up_proj = nn.Parameter(torch.randn(3, 6, 10))
        self.down_proj = nn.Parameter(torch.randn(3, 5, 6))
        self.proj = nn.Linear(6, 6)


def parts_of(model):
    """The sets of neurons of `Attention` with 2 heads of queries and 1 of keys, by hand."""
    found = {}
    names = ["q head 0", "q head 1", "k head 0", "k head 1", "v head 0", "v head 1"]
    for owner, weight in [("qkv", model.qkv.weight), ("c_attn", model.c_attn.weight.t())]:
        for name, part in zip(names, weight.chunk(6), strict=True):
            found[f"{owner}.weight[{name}]"] = part
    for i, part in enumerate(model.q_proj.weight.chunk(2)):
        found[f"q_proj.weight[head {i}]"] = part
    found["k_proj.weight[head 0]"] = model.k_proj.weight
    for name in ("gate_up_proj", "down_proj"):
        for i, stored in enumerate(getattr(model, name)):
            found[f"{name}[expert {i}]"] = stored.t()
    found["proj.weight"] = model.proj.weight
    return found


HEADS = {"?_proj.weight": (2, 1), "*": 2}


@pytest.mark.parametrize("mode", ["graph", "decoupled"])
@pytest.mark.parametrize("method", ["mhe", "mhp"])
def test_heads_and_experts_are_sets_of_their_own(method, mode):
    torch.manual_seed(0)
    model = Attention()
    parts = parts_of(model)
    reg = snn.regularize(model, method, heads=HEADS, mode=mode, output_layer=None)
    rows = {row.name: (row.n, row.d) for row in reg.describe().rows}
    assert rows == {name: tuple(part.shape) for name, part in parts.items()}
    assert set(rows) == {row.name for row in reg.summary().rows}
    twin = snn.regularize(model, method, heads=HEADS, output_layer=None)
    total = sum(
        twin.weights[0] * objective(parts[layer.name])
        for layer, objective in zip(twin.layers, twin.objectives, strict=True)
    )
    trained = [p for name, p in model.named_parameters() if "bias" not in name]
    expected = torch.autograd.grad(total, trained)
    add_penalty(reg, mode)
    for parameter, gradient in zip(trained, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_heads_resume_where_they_were_saved():
    model, options = Attention(), {"heads": HEADS, "k": 2, "C": 2, "project_first": True}
    reg = snn.regularize(model, "rp-comhe", **options)
    for _ in range(3):
        reg()
    resumed = snn.regularize(model, "rp-comhe", **options)
    resumed.load_state_dict(reg.state_dict())
    assert torch.equal(resumed(), reg())


def test_fused_weights_are_split_in_three_where_that_is_asked_for():
    model = Attention()
    whole = {layer.name for layer in snn.regularize(model, "mhe").layers}
    assert {"qkv.weight", "c_attn.weight"} <= whole
    reg = snn.regularize(model, "mhe", split_qkv=True, include=["qkv", "c_attn"])
    names = [f"{owner}.weight[{part}]" for owner in ("qkv", "c_attn") for part in "qkv"]
    assert [row.name for row in reg.describe().rows] == names
    (k,) = (layer for layer in reg.layers if layer.name == "c_attn.weight[k]")
    assert torch.equal(read_rows(model, k), model.c_attn.weight.t()[6:12])
    with pytest.raises(ValueError, match=r"'qkv.weight' has 18 rows for 12 parts"):
        snn.regularize(model, "mhe", heads=4)


@pytest.mark.parametrize("output_layer", ["auto", "qkv", "qkv.weight"])
def test_all_parts_of_a_weight_have_one_role(output_layer):
    model = nn.ModuleDict({"c_attn": nn.Linear(6, 18), "mid": nn.Linear(6, 5)})
    model["qkv"] = nn.Linear(5, 12)
    reg = snn.regularize(model, "mhe", split_qkv=True, output_layer=output_layer)
    roles = [layer.role for layer in reg.layers]
    assert roles == ["first"] * 3 + ["hidden"] + ["output"] * 3
    alone = snn.regularize(nn.ModuleDict({"qkv": nn.Linear(6, 18)}), "mhe", split_qkv=True)
    assert [layer.role for layer in alone.layers] == ["first"] * 3


class Counted(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, weight):
        self.calls += 1
        return weight.sin()


@pytest.mark.parametrize("mode", ["graph", "decoupled"])
def test_a_weight_that_is_computed_is_so_once_for_all_its_parts(mode):
    model = nn.ModuleDict({"qkv": nn.Linear(6, 18)})
    parametrize.register_parametrization(model["qkv"], "weight", Counted())
    reg = snn.regularize(model, "mhe", heads=3, mode=mode)
    counted = model["qkv"].parametrizations.weight[0]
    counted.calls = 0
    add_penalty(reg, mode)
    assert counted.calls == 1
    weight = model["qkv"].parametrizations.weight.original
    total = sum(F.mhe(part) for part in weight.sin().chunk(9))
    (expected,) = torch.autograd.grad(total, weight)
    torch.testing.assert_close(weight.grad, expected)


@pytest.mark.parametrize("options", [{"heads": 2}, {"heads": {"q": 2}}, {"split_qkv": True}])
def test_a_split_of_nothing_is_said(options):
    (name,) = options
    with pytest.warns(UserWarning, match=rf"{name}=.* splits no layer.*Its layers are 0.weight"):
        snn.regularize(perceptron(4, 8, 6), "mhe", **options)
