"""Every number of every layer is viewed or skipped with a reason, and rows are neurons."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from sphuni.nn.neurons import (
    NeuronView,
    Skipped,
    module_neurons,
    tensor_neurons,
    transposed_rows,
)


def views(records):
    return {r.name: r for r in records if isinstance(r, NeuronView)}


def skipped(records):
    return {r.name: r for r in records if isinstance(r, Skipped)}


class Custom(nn.Module):
    """Parameters that no layer of torch owns."""

    def __init__(self):
        super().__init__()
        self.prototypes = nn.Parameter(torch.randn(7, 4))
        self.class_token = nn.Parameter(torch.randn(1, 1, 4))
        self.pos_embed = nn.Parameter(torch.randn(1, 9, 4))
        self.experts = nn.Parameter(torch.randn(3, 8, 4))
        self.temperature = nn.Parameter(torch.tensor(2.0))
        self.register_buffer("mask", torch.ones(5, 5, dtype=torch.bool))
        self.register_buffer("table", torch.randn(5, 5))


class Conv1D(nn.Module):
    """The Linear of transformers: its weight is (in, out)."""

    def __init__(self, nf, nx):
        super().__init__()
        self.nf = nf
        self.weight = nn.Parameter(torch.randn(nx, nf))
        self.bias = nn.Parameter(torch.zeros(nf))


class Doubled(nn.Module):
    """A parametrization with a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.full((1,), 2.0))

    def forward(self, weight):
        return self.gain * weight


def old_norms(kind, layer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(nn.utils, kind)(layer)


def tied():
    model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 9, bias=False))
    model[1].weight = model[0].weight
    return model


def shared():
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.ReLU(), layer)


def doubled():
    layer = nn.Linear(4, 3)
    parametrize.register_parametrization(layer, "weight", Doubled())
    return layer


ZOO = {
    "linear": lambda: nn.Linear(4, 6),
    "conv1d": lambda: nn.Conv1d(4, 6, 3),
    "conv2d": lambda: nn.Conv2d(3, 6, 3),
    "conv3d": lambda: nn.Conv3d(2, 5, 2),
    "grouped": lambda: nn.Conv2d(4, 8, 3, groups=2),
    "depthwise": lambda: nn.Conv2d(6, 6, 3, groups=6),
    "pointwise depthwise": lambda: nn.Conv2d(6, 6, 1, groups=6),
    "transposed1d": lambda: nn.ConvTranspose1d(4, 6, 3),
    "transposed2d": lambda: nn.ConvTranspose2d(6, 4, 3, groups=2),
    "transposed3d": lambda: nn.ConvTranspose3d(2, 4, 2),
    "embedding": lambda: nn.Embedding(9, 4, padding_idx=0),
    "bag": lambda: nn.EmbeddingBag(9, 4),
    "lstm": lambda: nn.LSTM(5, 4, num_layers=2, bidirectional=True),
    "lstm projected": lambda: nn.LSTM(5, 4, proj_size=3),
    "gru": lambda: nn.GRU(5, 4),
    "rnn": lambda: nn.RNN(5, 4),
    "lstm cell": lambda: nn.LSTMCell(5, 4),
    "gru cell": lambda: nn.GRUCell(5, 4),
    "attention": lambda: nn.MultiheadAttention(8, 2),
    "attention apart": lambda: nn.MultiheadAttention(8, 2, kdim=5, vdim=6, add_bias_kv=True),
    "bilinear": lambda: nn.Bilinear(3, 4, 5),
    "encoder": lambda: nn.TransformerEncoderLayer(8, 2, 16),
    "batch norm": lambda: nn.BatchNorm2d(3),
    "layer norm": lambda: nn.LayerNorm((3, 4)),
    "group norm": lambda: nn.GroupNorm(2, 4),
    "rms norm": lambda: nn.RMSNorm(4),
    "prelu": lambda: nn.PReLU(3),
    "one neuron": lambda: nn.Linear(4, 1),
    "one input": lambda: nn.Linear(1, 4),
    "empty": lambda: nn.Linear(4, 0),
    "custom": Custom,
    "Conv1D": lambda: Conv1D(6, 4),
    "half": lambda: nn.Linear(4, 6).half(),
    "complex": lambda: nn.Linear(4, 6).to(torch.complex64),
    "meta": lambda: nn.Linear(4, 6, device="meta"),
    "tied": tied,
    "shared": shared,
    "doubled": doubled,
    "new weight norm": lambda: parametrizations.weight_norm(nn.Conv1d(4, 6, 3)),
    "new spectral norm": lambda: parametrizations.spectral_norm(nn.Linear(4, 6)),
    "orthogonal": lambda: parametrizations.orthogonal(nn.Linear(6, 4)),
    "old weight norm": lambda: old_norms("weight_norm", nn.Conv1d(4, 6, 3)),
    "old spectral norm": lambda: old_norms("spectral_norm", nn.Linear(4, 6)),
    "pruned": lambda: prune.l1_unstructured(nn.Linear(4, 6), "weight", 0.5),
}
IGNORED = "ignore:(Complex modules|Initializing zero-element):UserWarning"


def stored(model):
    named = [
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ]
    return {name: tensor.numel() for name, tensor in named}


def check_account(records, sizes):
    """Each tensor is a source of some record, and no number is counted twice or lost."""
    assert {name for r in records for name in r.sources} == set(sizes)
    assert sum(r.parameters for r in records) == sum(sizes.values())
    for record in records:
        if isinstance(record, NeuronView):
            assert record.matrix.dim() == 2
            assert min(record.matrix.shape) >= 2
            assert not record.matrix.requires_grad
        else:
            assert len(record.reason) > 8
    names = [r.name for r in records]
    assert len(set(names)) == len(names)


@pytest.mark.filterwarnings(IGNORED)
@pytest.mark.parametrize("name", ZOO)
def test_every_number_of_a_module_is_accounted_for(name):
    model = ZOO[name]()
    check_account(list(module_neurons(model)), stored(model))


@pytest.mark.filterwarnings(IGNORED)
@pytest.mark.parametrize("name", ZOO)
def test_every_number_of_a_state_dict_is_accounted_for(name):
    state = ZOO[name]().state_dict()
    check_account(list(tensor_neurons(state)), {k: t.numel() for k, t in state.items()})


SAME = (
    "linear", "conv1d", "conv2d", "conv3d", "grouped", "depthwise", "transposed1d", "transposed2d",
    "embedding", "lstm", "lstm projected", "gru", "rnn", "lstm cell", "gru cell", "attention",
    "attention apart", "bilinear", "encoder", "layer norm", "one neuron", "one input", "Conv1D",
    "tied", "shared", "new weight norm", "new spectral norm", "old weight norm",
    "old spectral norm", "pruned",
)  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_a_state_dict_gives_the_matrices_of_its_module(name):
    model = ZOO[name]().eval()
    if "spectral" in name:
        model(torch.randn(2, 4))
    ours, theirs = views(module_neurons(model)), views(tensor_neurons(model.state_dict()))
    assert set(ours) == set(theirs)
    for key, view in ours.items():
        torch.testing.assert_close(view.matrix, theirs[key].matrix, rtol=1e-5, atol=1e-6)


def test_a_neuron_of_a_convolution_is_what_produces_one_channel():
    conv = nn.Conv2d(4, 6, 3, groups=2, bias=False)
    patch = torch.randn(1, 4, 3, 3)
    matrix = views(module_neurons(conv))["weight"].matrix
    inputs = patch.reshape(2, -1).repeat_interleave(3, dim=0)  # (neurons, inputs of its group)
    torch.testing.assert_close(conv(patch).flatten(), (matrix * inputs).sum(1))


@pytest.mark.parametrize("groups", [1, 2])
def test_a_neuron_of_a_transposed_convolution_is_what_writes_one_channel(groups):
    conv = nn.ConvTranspose2d(4, 6, 3, groups=groups, bias=False)
    matrix = views(module_neurons(conv))["weight"].matrix
    for channel in range(6):
        image = torch.zeros(1, 4, 1, 1, requires_grad=True)
        (written,) = torch.autograd.grad(conv(image)[0, channel].sum(), image)
        group = channel // (6 // groups)
        inputs = slice(group * 4 // groups, (group + 1) * 4 // groups)
        kernel = matrix[channel].reshape(4 // groups, 9)
        torch.testing.assert_close(written[0, inputs, 0, 0], kernel.sum(1))


def test_transposed_rows_refuse_groups_that_do_not_divide():
    with pytest.raises(ValueError, match="groups must divide the 6 input channels"):
        transposed_rows(torch.zeros(6, 2, 3), groups=4)


def test_gates_are_in_torch_order():
    lstm = nn.LSTM(5, 4)
    found = views(module_neurons(lstm))
    gates = [f"weight_ih_l0[{gate}]" for gate in "ifgo"]
    assert torch.equal(torch.cat([found[g].matrix for g in gates]), lstm.weight_ih_l0.detach())
    assert [n for n in views(module_neurons(nn.GRU(5, 4))) if "hh" in n] == [
        "weight_hh_l0[r]",
        "weight_hh_l0[z]",
        "weight_hh_l0[n]",
    ]


def test_parametrized_weights_are_read_as_used():
    layer = doubled()
    found = views(module_neurons(layer))["weight"]
    assert torch.equal(found.matrix, layer.weight.detach())
    assert found.sources == ("parametrizations.weight.original",)
    reason = skipped(module_neurons(layer))["parametrizations.weight.0.gain"].reason
    assert "belongs to a parametrization" in reason


def test_reading_does_not_change_the_model():
    model = parametrizations.spectral_norm(nn.Linear(4, 6)).train()
    before = copy.deepcopy(model.state_dict())
    list(module_neurons(model))
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(module.training for module in model.modules())


def test_pruned_weights_are_read_as_used():
    layer = prune.l1_unstructured(nn.Linear(4, 6), "weight", 0.5)
    matrix = views(module_neurons(layer))["weight"].matrix
    assert torch.equal(matrix, layer.weight.detach())
    assert (matrix == 0).sum() == 12


def test_tied_weights_are_counted_once():
    records = list(module_neurons(tied()))
    assert list(views(records)) == ["0.weight"]
    assert skipped(records)["1.weight"].reason == "tied to 0.weight, where it is counted"


def test_equal_but_separate_tensors_are_both_views():
    state = {"a": torch.ones(3, 2), "b": torch.ones(3, 2)}
    assert list(views(tensor_neurons(state))) == ["a", "b"]


def test_split_of_fused_and_separate_attention():
    state = {"attn.qkv.weight": torch.arange(72.0).reshape(12, 6), "attn.qkv.bias": torch.ones(12)}
    assert list(views(tensor_neurons(state))) == ["attn.qkv.weight"]
    parts = views(tensor_neurons(state, split_qkv=True))
    assert list(parts) == [f"attn.qkv.weight[{p}]" for p in "qkv"]
    assert torch.equal(parts["attn.qkv.weight[k]"].matrix, state["attn.qkv.weight"][4:8])
    heads = views(tensor_neurons(state, heads=2))
    assert torch.equal(heads["attn.qkv.weight[v head 1]"].matrix, state["attn.qkv.weight"][10:])


def test_heads_stored_interleaved():
    weight = torch.arange(72.0).reshape(12, 6)
    found = views(tensor_neurons({"attention.query_key_value.weight": weight}, heads=2))
    assert torch.equal(found["attention.query_key_value.weight[q head 1]"].matrix, weight[6:8])


def test_heads_of_multihead_attention_are_its_own():
    layer = nn.MultiheadAttention(8, 4)
    found = views(module_neurons(layer, heads=2))
    assert len([n for n in found if n.startswith("in_proj_weight[")]) == 12
    expected = layer.in_proj_weight.detach()[8 + 4 : 8 + 6]
    assert torch.equal(found["in_proj_weight[k head 2]"].matrix, expected)


def test_heads_by_pattern():
    state = {"q_proj.weight": torch.randn(8, 6), "k_proj.weight": torch.randn(4, 6)}
    found = views(tensor_neurons(state, heads={"q_*": 4, "k_*": 2}))
    assert [v.matrix.shape[0] for v in found.values()] == [2] * 6


def test_heads_that_do_not_divide():
    state = {"q_proj.weight": torch.randn(8, 6)}
    with pytest.raises(ValueError, match="heads must divide the rows of every query"):
        list(tensor_neurons(state, heads=3))


def test_keys_of_fewer_heads_have_a_number_of_their_own():
    state = {f"{name}.weight": torch.randn(n, 6) for name, n in [("wq", 8), ("to_k", 4), ("v", 4)]}
    found = views(tensor_neurons(state, heads=(4, 2)))
    assert [v.matrix.shape[0] for v in found.values()] == [2] * 8
    assert list(found)[-1] == "v.weight[head 1]"


def test_fused_weights_of_fewer_key_heads():
    weight = torch.arange(96.0).reshape(16, 6)
    pair = {"*": (4, 2)}
    found = views(tensor_neurons({"qkv_proj.weight": weight}, heads=pair))
    order = [*(f"q head {i}" for i in range(4)), "k head 0", "k head 1", "v head 0", "v head 1"]
    assert list(found) == [f"qkv_proj.weight[{part}]" for part in order]
    assert torch.equal(torch.cat([v.matrix for v in found.values()]), weight)
    grouped = views(tensor_neurons({"query_key_value.weight": weight}, heads=pair))
    order = ["q head 0", "q head 1", "k head 0", "v head 0"]
    order += ["q head 2", "q head 3", "k head 1", "v head 1"]
    assert list(grouped) == [f"query_key_value.weight[{part}]" for part in order]
    assert torch.equal(torch.cat([v.matrix for v in grouped.values()]), weight)
    one = views(tensor_neurons({"c_attn.weight": torch.randn(12, 8)}, heads=(4, 1)))
    assert [v.matrix.shape for v in one.values()] == [(2, 8)] * 6


@pytest.mark.parametrize(
    ("heads", "error", "message"),
    [
        (
            4,
            ValueError,
            r"'a.qkv.weight' has 16 rows for 12 parts.*heads={pattern: \(queries, keys",
        ),
        ((4, 3), ValueError, "so 4 heads of queries cannot have 3 of keys"),
        ((4, 2, 2), ValueError, r"heads must be a number, or one .*; got \(4, 2, 2\)"),
        (0, ValueError, "heads must be at least 1; got 0"),
        ("4", TypeError, "heads must be a whole number; got '4'"),
        ({"*": 2.5}, TypeError, "heads must be a whole number; got 2.5"),
    ],
)
def test_bad_numbers_of_heads(heads, error, message):
    with pytest.raises(error, match=message):
        list(tensor_neurons({"a.qkv.weight": torch.randn(16, 6)}, heads=heads))


def test_thirds_that_do_not_exist():
    state = {"a.qkv.weight": torch.randn(16, 6)}
    with pytest.raises(ValueError, match=r"split_qkv takes a third .*'a.qkv.weight' has"):
        list(tensor_neurons(state, split_qkv=True))
    assert len(list(tensor_neurons(state, split_qkv=True, heads={"a.*": (6, 1)}))) == 8


@pytest.mark.parametrize("name", ["in_proj", "c_attn"])
def test_projections_of_other_use_are_not_split(name):
    model = nn.ModuleDict({name: nn.Linear(6, 12, bias=False)})
    for options in ({"split_qkv": True}, {"heads": 3}):
        assert list(views(module_neurons(model, **options))) == [f"{name}.weight"]
    model[name] = nn.Linear(6, 18, bias=False)
    assert len(views(module_neurons(model, split_qkv=True))) == 3


@pytest.mark.parametrize("wrapper", ["base_layer", "_orig_mod", "modules_to_save.default"])
def test_wrapped_attention_weights_are_split(wrapper):
    inner = nn.Linear(6, 18, bias=False)
    for part in reversed(wrapper.split(".")):
        inner = nn.ModuleDict({part: inner})
    name = f"qkv.{wrapper}.weight"
    parts = [f"{name}[{part}]" for part in "qkv"]
    model = nn.ModuleDict({"qkv": inner})
    assert list(views(module_neurons(model, split_qkv=True))) == parts
    assert list(views(tensor_neurons(model.state_dict(), split_qkv=True))) == parts


@pytest.mark.parametrize(
    "make", [module_neurons, lambda m, **o: tensor_neurons(m.state_dict(), **o)]
)
def test_patterns_choose_among_layers_of_multihead_attention(make):
    model = nn.ModuleList([nn.MultiheadAttention(8, 4), nn.MultiheadAttention(8, 4, kdim=6)])
    only = views(make(model, heads={"0.in_proj_weight": 4}))
    assert [name for name in only if "head" in name] == [
        f"0.in_proj_weight[{part} head {i}]" for part in "qkv" for i in range(4)
    ]
    other = views(make(model, heads={"1.k_proj_weight": 4}))
    assert [name for name in other if "head" in name] == [
        f"1.k_proj_weight[head {i}]" for i in range(4)
    ]


class Experts(nn.Module):
    """Stacks as transformers keeps them, of 3 experts with 6 inputs and 5 hidden neurons."""

    def __init__(self, first, across, *, said=None):
        super().__init__()
        hidden = 10 if first == "gate_up_proj" else 5
        for name, n, d in [(first, hidden, 6), ("down_proj", 6, 5)]:
            shape = (3, d, n) if across else (3, n, d)
            self.register_parameter(name, nn.Parameter(torch.randn(shape)))
        if said is not None:
            self.is_transposed = said


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("make", [module_neurons, lambda m: tensor_neurons(m.state_dict())])
def test_every_expert_is_a_set_in_the_order_that_the_shapes_allow(make, across):
    model = nn.ModuleDict({"experts": Experts("gate_up_proj", across)})
    found = views(make(model))
    assert list(found) == [
        f"experts.{name}[expert {i}]" for name in ("gate_up_proj", "down_proj") for i in range(3)
    ]
    assert {v.kind for v in found.values()} == {"experts"}
    assert [v.matrix.shape for v in found.values()] == [(10, 6)] * 3 + [(6, 5)] * 3
    stack = model["experts"].down_proj.detach()
    expected = stack[1].t() if across else stack[1]
    assert torch.equal(found["experts.down_proj[expert 1]"].matrix, expected)


@pytest.mark.parametrize("across", [False, True])
def test_experts_without_gates_say_themselves_how_they_are_stored(across):
    found = views(module_neurons(Experts("up_proj", across, said=across)))
    assert [v.matrix.shape for v in found.values()] == [(5, 6)] * 3 + [(6, 5)] * 3
    silent = Experts("up_proj", across)
    assert not views(module_neurons(silent))
    records = skipped(tensor_neurons({f"experts.{k}": v for k, v in silent.state_dict().items()}))
    assert "which axis holds the neurons is not known" in records["experts.up_proj"].reason


def test_gpt2_weights_are_turned():
    state = {
        "h.0.attn.c_attn.weight": torch.randn(4, 12),
        "h.0.attn.c_attn.bias": torch.zeros(12),
        "h.0.attn.c_proj.weight": torch.randn(4, 4),
        "h.0.attn.c_proj.bias": torch.zeros(4),
    }
    found = views(tensor_neurons(state, split_qkv=True))
    turned = state["h.0.attn.c_proj.weight"].t()
    assert torch.equal(found["h.0.attn.c_proj.weight"].matrix, turned)
    assert found["h.0.attn.c_attn.weight[q]"].matrix.shape == (4, 4)


def test_transposed_convolutions_are_told_by_bias_or_name():
    weight = torch.randn(6, 4, 3)
    by_bias = tensor_neurons({"x.weight": weight, "x.bias": torch.zeros(4)})
    by_name = tensor_neurons({"ups.0.weight": weight})
    grouped = tensor_neurons({"x.weight": weight, "x.bias": torch.zeros(8)})
    conv = tensor_neurons({"ups.0.weight": weight, "ups.0.bias": torch.zeros(6)})
    shapes = [
        (v.kind, tuple(v.matrix.shape))
        for records in (by_bias, by_name, grouped, conv)
        for v in views(records).values()
    ]
    assert shapes == [
        ("conv_transpose1d", (4, 18)),
        ("conv_transpose1d", (4, 18)),
        ("conv_transpose1d", (8, 9)),
        ("conv1d", (6, 12)),
    ]


LORA = {
    "peft": ("q.lora_A.default.weight", "q.lora_B.default.weight", "q.lora.default"),
    "saved": ("q.lora_A.weight", "q.lora_B.weight", "q.lora"),
    "loralib": ("q.lora_A", "q.lora_B", "q.lora"),
    "kohya": ("te_q.lora_down.weight", "te_q.lora_up.weight", "te_q.lora"),
    "diffusers": ("q.lora.down.weight", "q.lora.up.weight", "q.lora"),
}


@pytest.mark.parametrize("layout", LORA)
def test_lora_pairs_are_their_product(layout):
    first, second, name = LORA[layout]
    a, b = torch.randn(2, 6), torch.randn(5, 2)
    records = list(tensor_neurons({first: a, second: b}))
    (view,) = records
    assert (view.name, view.kind, view.parameters) == (name, "lora", 22)
    torch.testing.assert_close(view.matrix, b @ a)
    assert view.sources == (first, second)


def test_lora_products_are_split_as_their_weights():
    def factors(name, rows):
        return {
            f"{name}.lora_A.default.weight": torch.randn(2, 12),
            f"{name}.lora_B.default.weight": torch.randn(rows, 2),
        }

    table = {**factors("h.q_proj", 8), **factors("h.k_proj", 4), **factors("h.mlp", 8)}
    found = views(tensor_neurons(table, heads={"*_proj.weight": (4, 2)}))
    assert [name for name in found if "head" not in name] == ["h.mlp.lora.default"]
    assert [len(view.matrix) for view in found.values()] == [2] * 4 + [2] * 2 + [8]
    whole = table["h.q_proj.lora_B.default.weight"] @ table["h.q_proj.lora_A.default.weight"]
    torch.testing.assert_close(found["h.q_proj.lora.default[head 1]"].matrix, whole[2:4])
    fused = views(tensor_neurons(factors("h.qkv", 9), split_qkv=True))
    assert list(fused) == [f"h.qkv.lora.default[{part}]" for part in "qkv"]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_tensors_are_left_out_with_a_reason():
    nested = torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(4, 3)])
    (record,) = tensor_neurons({"a": nested})
    assert (record.shape, record.reason) == ((), "a nested tensor of ragged rows")


def test_lora_of_an_embedding_and_of_a_convolution():
    a, b = torch.randn(2, 9), torch.randn(4, 2)
    table = {"e.lora_embedding_A.default": a, "e.lora_embedding_B.default": b}
    (view,) = tensor_neurons(table)
    torch.testing.assert_close(view.matrix, (b @ a).t())
    conv = {"c.lora_A.weight": torch.randn(2, 3, 3, 3), "c.lora_B.weight": torch.randn(5, 2, 1, 1)}
    (view,) = tensor_neurons(conv)
    assert view.matrix.shape == (5, 27)


def test_lora_modules_and_lonely_or_giant_factors():
    layer = nn.Module()
    layer.base_layer = nn.Linear(6, 5)
    layer.lora_A = nn.ModuleDict({"default": nn.Linear(6, 2, bias=False)})
    layer.lora_B = nn.ModuleDict({"default": nn.Linear(2, 5, bias=False)})
    assert list(views(module_neurons(layer))) == ["base_layer.weight", "lora.default"]
    lonely = skipped(tensor_neurons({"q.lora_A.weight": torch.randn(2, 6)}))
    assert "without its partner" in lonely["q.lora_A.weight"].reason
    wide = {"q.lora_A.weight": torch.randn(1, 64), "q.lora_B.weight": torch.randn(64, 1)}
    (record,) = tensor_neurons(wide, max_elements=1000)
    assert "4096 elements; max_elements is 1000" in record.reason
    (record,) = tensor_neurons({**wide, "q.lora_B.weight": torch.randn(64, 3)})
    assert "have no product" in record.reason


REASONS = {
    "n": (torch.arange(6).reshape(2, 3), "integers"),
    "s": (torch.eye(3).to_sparse(), "stored as sparse_coo"),
    "c": (torch.ones(2, 3, dtype=torch.complex64), "complex"),
    "m": (torch.empty(2, 3, device="meta"), "meta device"),
    "e": (torch.empty(0, 3), "empty"),
    "z": (torch.tensor(1.0), "a single number"),
    "o": (torch.ones(1, 3), "one neuron only"),
    "i": (torch.ones(3, 1), "one input per neuron"),
    "h": (torch.ones(2, 2, 2, 2, 2, 2), "of rank 6"),
    "b": (torch.ones(2, 3, dtype=torch.bool), "truth values"),
    "x.running_mean": (torch.ones(3), "running statistic"),
    "x.num_batches_tracked": (torch.tensor(3), "counter"),
    "x.position_ids": (torch.arange(6).reshape(1, 6), "indices of positions"),
    "x.bias": (torch.ones(3), "one-dimensional"),
    "x.relative_position_bias_table": (torch.ones(9, 2), "a bias"),
    "x.attn_mask": (torch.ones(4, 4), "a mask"),
    "x.weight_scale_inv": (torch.ones(4, 4), "a scale"),
    "x.parametrizations.weight.original": (torch.ones(4, 4), "part of a parametrization"),
    "experts.w1": (torch.ones(3, 4, 4), "stack of matrices of experts"),
}


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_quantised_tensors_are_skipped():
    quantised = torch.quantize_per_tensor(torch.ones(2, 3), 0.1, 0, torch.qint8)
    (record,) = tensor_neurons({"q": quantised})
    assert "quantised" in record.reason


@pytest.mark.parametrize("name", REASONS)
def test_what_is_no_set_of_neurons_says_why(name):
    tensor, reason = REASONS[name]
    (record,) = tensor_neurons({name: tensor})
    assert isinstance(record, Skipped)
    assert reason in record.reason
    assert record.shape == tuple(tensor.shape)


def test_lazy_layers_are_skipped():
    records = list(module_neurons(nn.Sequential(nn.LazyLinear(3), nn.Linear(3, 2))))
    assert "not initialised yet" in skipped(records)["0.weight"].reason
    assert list(views(records)) == ["1.weight"]


def test_bytes_of_floats_are_read():
    weight = torch.randn(4, 3)
    (view,) = tensor_neurons({"w": weight.to(torch.float8_e4m3fn)})
    assert view.matrix.dtype == torch.float32
    torch.testing.assert_close(view.matrix, weight, rtol=0.07, atol=0.01)


@pytest.mark.parametrize("suffix", ["_scale_inv", "_scale"])
@pytest.mark.parametrize(
    ("shape", "blocks"),
    [((200, 300), (2, 3)), ((6, 64), (6, 2)), ((5, 7), (5, 1)), ((5, 7), (1, 1)), ((5, 7), ())],
)
def test_bytes_of_floats_are_multiplied_by_the_scales_of_their_blocks(shape, blocks, suffix):
    stored = torch.randn(shape).to(torch.float8_e4m3fn)
    scale = torch.rand(blocks) + 0.5
    counts = blocks or (1, 1)
    i, j = (
        torch.arange(size) // (128 if size > 128 else size // count)
        for size, count in zip(shape, counts, strict=True)
    )
    expected = stored.float() * scale.reshape(counts)[i][:, j]
    (view,) = tensor_neurons({"up.weight": stored, f"up.weight{suffix}": scale})
    torch.testing.assert_close(view.matrix, expected)
    assert view.sources == ("up.weight", f"up.weight{suffix}")
    assert view.parameters == stored.numel() + scale.numel()


@pytest.mark.parametrize("scale", [torch.ones(3, 5), torch.ones(4, 2, dtype=torch.uint8)])
def test_bytes_of_floats_whose_scales_do_not_fit_are_skipped(scale):
    stored = torch.randn(4, 64).to(torch.float8_e4m3fn)
    (record,) = tensor_neurons({"w.weight": stored, "w.weight_scale": scale})
    assert isinstance(record, Skipped)
    assert f"in eight bits, with scales of type {str(scale.dtype)[6:]}" in record.reason


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_keep_their_type(dtype):
    (view,) = tensor_neurons({"w": torch.ones(4, 3, dtype=dtype)})
    assert view.matrix.dtype == dtype


def test_views_share_memory_where_they_can():
    weight = torch.randn(4, 3, 2, 2)
    (view,) = tensor_neurons({"w": weight})
    assert view.matrix.data_ptr() == weight.data_ptr()


def test_kinds_switch_guessing_off():
    (view,) = tensor_neurons(
        {"deconv.weight": torch.randn(4, 3, 2)}, kinds={"deconv.weight": "conv1d"}
    )
    assert (view.kind, view.matrix.shape) == ("conv1d", (4, 6))


def test_wrong_types_are_named():
    with pytest.raises(TypeError, match="model"):
        list(module_neurons({}))
    with pytest.raises(TypeError, match="tensors must map names to torch tensors; got an entry"):
        list(tensor_neurons(iter([("a", 3)])))


def test_a_parametrization_that_fails_is_a_reason():
    class Broken(nn.Module):
        def forward(self, weight):
            if self.armed:
                raise RuntimeError("no weight today")
            return weight

    broken = Broken()
    broken.armed = False
    layer = nn.Linear(4, 3)
    parametrize.register_parametrization(layer, "weight", broken)
    broken.armed = True
    assert "no weight today" in skipped(module_neurons(layer))["weight"].reason
