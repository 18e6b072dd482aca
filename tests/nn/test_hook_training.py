"""The hook in training loops: schedules, precision, copies and state."""

import copy
import functools
import pickle

import pytest
import torch
from nn_networks import gradients, net
from torch import nn
from torch.utils.checkpoint import checkpoint

import sphuni.nn as snn
from sphuni.nn.hook import _opaque


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


def test_random_rows_of_the_reference_preset_are_unbiased():
    model = nn.Sequential(nn.Linear(4, 12), nn.Linear(12, 3))
    options = {"output_weight": 0.0, "preset": "reference"}
    full = snn.regularize(model, "hs-mhe", **options)().item()
    reg = snn.regularize(model, "hs-mhe", rows=4, **options)
    values = torch.stack([reg().detach() for _ in range(200)])
    assert abs(values.mean().item() - full) < 5 * values.std().item() / 200**0.5


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


def every_kind() -> nn.Module:
    """Rows that are views of a parameter, slices of one, copies, and computed ones."""
    torch.manual_seed(3)
    return nn.ModuleDict(
        {
            "conv": nn.Conv2d(4, 9, 3),
            "last": nn.Conv2d(4, 8, 3).to(memory_format=torch.channels_last),
            "back": nn.ConvTranspose2d(4, 8, 3),
            "normed": nn.utils.parametrizations.weight_norm(nn.Linear(9, 7)),
            "gru": nn.GRU(8, 6),
            "attention": nn.MultiheadAttention(8, 2),
            "short": nn.Linear(12, 6).bfloat16(),
            "fc": nn.Linear(9, 5, dtype=torch.float64),
        }
    )


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("hs-mhe", {}),
        ("mhe", {"rows": 5}),
        ("rp-comhe", {"k": 4, "C": 3}),
        ("rp-comhe", {"k": 4, "C": 2, "rows": 5}),
        ("group-comhe", {"k": 4, "C": 3, "size": 4}),
        ("ap-comhe", {"k": 4}),
        ("adv-comhe", {"k": 4, "unroll": True, "inner_steps": 2}),
        ("hs-mhp", {}),
        ("so", {}),
    ],
)
def test_gradients_added_straight_to_rows_are_those_of_autograd(method, options):
    model, twin = every_kind(), every_kind()
    graph = snn.regularize(model, method, output_layer="fc", **options)
    decoupled = snn.regularize(twin, method, output_layer="fc", mode="decoupled", **options)
    for _ in range(2):
        graph().backward()
        decoupled.add_gradients()
    expected, got = gradients(model), gradients(twin)
    assert set(got) == set(expected)
    for name, value in got.items():
        torch.testing.assert_close(value, expected[name], atol=1e-5, rtol=1e-5)
    assert decoupled.state_dict().keys() == graph.state_dict().keys()


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


@pytest.mark.parametrize("seed", [1 << 53, (1 << 63) - 1])
def test_a_large_seed_can_be_saved_and_goes_on(seed):
    model = net()
    reg = snn.regularize(model, "rp-comhe", k=4, seed=seed)
    reg()
    fresh = snn.regularize(model, "rp-comhe", k=4)
    fresh.load_state_dict(reg.state_dict())
    assert torch.equal(fresh(), reg())
    assert len({one.seed for one in reg.objectives}) == len(reg.objectives)


def test_a_seed_that_could_not_be_saved_is_refused():
    for build in (snn.build, functools.partial(snn.regularize, net())):
        with pytest.raises(ValueError, match=f"seed must be below 2.63; got {1 << 63}"):
            build("hs-mhe", seed=1 << 63)


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


def decoupled_step(optimizers, reg, model, x):
    model.zero_grad()
    model(x).square().mean().backward()
    for optimizer in optimizers:
        optimizer.step()


def test_several_optimizers_get_the_gradients_of_their_own_layers():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    twin, x = copy.deepcopy(model), torch.randn(4, 6)
    optimizers = [torch.optim.SGD(layer.parameters(), lr=0.1) for layer in (model[0], model[2])]
    reg = snn.regularize(model, "rp-comhe", every=2, mode="decoupled")
    for optimizer in optimizers:
        reg.attach(optimizer)
    alone = torch.optim.SGD(twin.parameters(), lr=0.1)
    reg_twin = snn.regularize(twin, "rp-comhe", every=2, mode="decoupled")
    reg_twin.attach(alone)
    for _ in range(3):
        decoupled_step(optimizers, reg, model, x)
        decoupled_step([alone], reg_twin, twin, x)
    assert reg.calls == reg_twin.calls == 3
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p, q)


@pytest.mark.parametrize("maximize", [(True, True), (True, False)])
def test_an_optimizer_that_maximises_lowers_the_penalty_too(maximize):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 3))
    twin = copy.deepcopy(model)
    groups = [
        {"params": layer.parameters(), "maximize": one}
        for layer, one in zip(model, maximize, strict=True)
    ]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    snn.regularize(model, "rp-comhe", k=3, mode="decoupled").attach(optimizer)
    plain = torch.optim.SGD(twin.parameters(), lr=0.1)
    snn.regularize(twin, "rp-comhe", k=3, mode="decoupled").attach(plain)
    for _ in range(3):
        optimizer.step()
        plain.step()
        optimizer.zero_grad()
        plain.zero_grad()
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p, q)


class TwoSteps(torch.optim.Optimizer):
    """SAM: a step up, gradients there, and back for the step of the optimizer that it holds."""

    def __init__(self, parameters, base):
        super().__init__(parameters, {})
        self.base_optimizer = base(self.param_groups)

    @torch.no_grad()
    def first_step(self):
        self.moved = [p.grad.clone() for group in self.param_groups for p in group["params"]]
        self.move(1.0)
        self.zero_grad()

    @torch.no_grad()
    def second_step(self):
        self.move(-1.0)
        self.base_optimizer.step()
        self.zero_grad()

    def move(self, sign):
        parameters = [p for group in self.param_groups for p in group["params"]]
        for p, moved in zip(parameters, self.moved, strict=True):
            p.add_(moved, alpha=0.1 * sign)


def test_of_an_optimizer_that_holds_another_the_one_that_steps_is_told():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 3)), torch.randn(4, 6)
    twin = copy.deepcopy(model)
    optimizer, plain = (
        TwoSteps(one.parameters(), lambda groups: torch.optim.SGD(groups, lr=0.1))
        for one in (model, twin)
    )
    reg = snn.regularize(model, "hs-mhe", mode="decoupled")
    reg.attach(optimizer)
    for _ in range(2):
        for one, steps in ((model, optimizer), (twin, plain)):
            one(x).square().mean().backward()
            steps.first_step()
            one(x).square().mean().backward()
        optimizer.second_step()
        before = copy.deepcopy(twin)  # at the place above, whose penalty is not meant
        with torch.no_grad():
            for p, moved in zip(before.parameters(), plain.moved, strict=True):
                p.sub_(moved, alpha=0.1)
        snn.regularize(before, "hs-mhe", mode="decoupled").add_gradients()
        for p, q in zip(twin.parameters(), before.parameters(), strict=True):
            p.grad = p.grad if q.grad is None else p.grad + q.grad
        plain.second_step()
    assert reg.calls == 2
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p, q)


def test_an_optimizer_of_nothing_that_is_regularised_is_named():
    model, other = nn.Linear(6, 8), nn.Linear(6, 8)
    optimizers = [torch.optim.SGD(part.parameters(), lr=0.1) for part in (other, model)]
    reg = snn.regularize(model, "mhe", mode="decoupled")
    reg.attach(optimizers[0])
    with pytest.warns(UserWarning, match=r"has a weight of its layers \(weight\), so nothing is"):
        optimizers[0].step()
    optimizers[0].step()
    # beside one that has the layers, others may have none; and what is frozen may come later
    reg.attach(optimizers[1])
    optimizers[0].step()
    reg = snn.regularize(model.requires_grad_(False), "mhe", mode="decoupled")
    reg.attach(optimizers[0])
    optimizers[0].step()


def test_several_optimizers_go_on_where_they_were_saved():
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    seen = []
    reg = snn.regularize(
        model, "mhe", mode="decoupled", schedule=lambda call: seen.append(call) or 1.0
    )
    reg.set_extra_state(torch.tensor(50))
    optimizers = [torch.optim.SGD(layer.parameters(), lr=0.1) for layer in (model[0], model[2])]
    for optimizer in optimizers:
        reg.attach(optimizer)
    for _ in range(2):
        decoupled_step(optimizers, reg, model, torch.ones(2, 6))
    assert seen == [50, 50, 51, 51]
    assert reg.calls == 52


def test_a_fused_optimizer_under_a_scaler_gets_scaled_gradients():
    change = []
    for fused in (False, True):
        torch.manual_seed(0)
        model = nn.Linear(6, 4)
        before = model.weight.detach().clone()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=fused)
        snn.regularize(model, "mhe", mode="decoupled").attach(optimizer)
        scaler = torch.amp.GradScaler("cpu")
        scaler.scale(0 * model(torch.ones(2, 6)).sum()).backward()
        if not fused:
            scaler.unscale_(optimizer)
        scaler.step(optimizer)
        change.append(model.weight.detach() - before)
    torch.testing.assert_close(change[0], change[1])
    assert change[0].abs().max() > 1e-3


def test_a_step_with_a_closure_is_refused():
    model = nn.Linear(6, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    snn.regularize(model, "mhe", mode="decoupled").attach(optimizer)
    with pytest.raises(RuntimeError, match=r"call reg.add_gradients\(\) at the end of the closure"):
        optimizer.step(lambda: 0.0)


def split(model, belongs_to_first):
    """Two optimizers that change nothing, over the parameters with and without a property."""
    named = list(model.named_parameters())
    parts = ([p for n, p in named if belongs_to_first(n) is wanted] for wanted in (True, False))
    return [torch.optim.SGD(part, lr=0.0) for part in parts]


def normed():
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 5)), nn.Linear(5, 3))


class Adapted(nn.Module):
    """A Linear with an adapter, by the parts of peft's interface that are used."""

    active_adapters = ("default",)

    def __init__(self):
        super().__init__()
        self.base_layer = nn.Linear(6, 5)
        self.lora_A = nn.ModuleDict({"default": nn.Linear(6, 2, bias=False)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(2, 5, bias=False)})
        self.base_layer.requires_grad_(False)

    def get_delta_weight(self, adapter):
        return self.lora_B[adapter].weight @ self.lora_A[adapter].weight


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("make", "first_has"),
    [
        (net, lambda name: "weight" in name),
        (lambda: nn.MultiheadAttention(8, 2), lambda name: name.startswith("in_proj")),
        (lambda: nn.LSTM(4, 5), lambda name: "weight_ih" in name),
        (normed, lambda name: name.endswith("original0")),
        (lambda: nn.Sequential(Adapted(), nn.Linear(5, 3)), lambda name: "lora_A" in name),
    ],
    ids=["biases apart", "attention", "lstm", "length apart", "factors apart"],
)
def test_two_optimizers_on_one_layer_get_one_penalty_a_step(make, first_has, turned):
    torch.manual_seed(0)
    model = make()
    twin = copy.deepcopy(model)
    options = {"k": 3, "C": 2, "project_first": True, "mode": "decoupled"}
    reg, alone = (snn.regularize(one, "rp-comhe", **options) for one in (model, twin))
    optimizers = split(model, first_has)[:: -1 if turned else 1]
    for optimizer in optimizers:
        reg.attach(optimizer)
    for _ in range(3):
        model.zero_grad()
        twin.zero_grad()
        alone.add_gradients()
        for optimizer in optimizers:
            optimizer.step()
        got, expected = gradients(model), gradients(twin)
        assert set(got) == set(expected)
        for name, value in got.items():
            torch.testing.assert_close(value, expected[name])
    assert reg.calls == alone.calls == 3
    assert [o.draws for o in reg.objectives] == [o.draws for o in alone.objectives]


def test_a_shared_layer_has_its_penalty_where_an_optimizer_leaves_out_a_step():
    model = normed()
    first, second = split(model, lambda name: name.endswith("original0"))
    reg = snn.regularize(model, "mhe", mode="decoupled")
    draws, steps = [], [first, second, second, second, first, second, first, second]
    for optimizer in steps:
        before = reg.objectives[0].draws
        reg.add_gradients(optimizer=optimizer)
        draws.append(reg.objectives[0].draws - before)
    assert draws == [1, 0, 1, 1, 1, 0, 1, 0]


seen = []


def remember(call):
    seen.append(call)
    return 1.0


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_that_are_attached_count_on(copier):
    model = net()
    reg = snn.regularize(model, "mhe", mode="decoupled", schedule=remember, every=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    reg.attach(optimizer)
    for _ in range(3):
        optimizer.step()
    twin, twin_reg = copier((model, reg))
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.0)
    twin_reg.attach(optimizer)
    seen.clear()
    for _ in range(3):
        optimizer.step()
    assert seen == [4]
    assert twin_reg.calls == 6


def test_an_optimizer_that_is_attached_late_counts_on():
    model = net()
    reg = snn.regularize(model, "mhe", mode="decoupled", schedule=remember)
    for _ in range(5):
        reg.add_gradients()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    reg.attach(optimizer)
    seen.clear()
    optimizer.step()
    assert seen == [5]


def test_sparse_gradients_become_dense_as_in_the_graph():
    found = []
    for mode in ("graph", "decoupled"):
        torch.manual_seed(0)
        table = nn.Embedding(9, 4, sparse=True)
        reg = snn.regularize(table, "mhe", include="Embedding", mode=mode)
        loss = table(torch.tensor([1, 2])).square().sum()
        (loss + reg() if mode == "graph" else loss).backward()
        if mode == "decoupled":
            reg.add_gradients()
        found.append(table.weight.grad)
    torch.testing.assert_close(found[1], found[0])


def test_half_precision_gradients_of_the_opaque_operation_are_clamped():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3)).half()
    reg = snn.regularize(model, "mhe")
    for factor in (2.0**17, 2.0**30):
        model.zero_grad()
        rows = [model[0].weight, model[1].weight]
        (factor * _opaque.penalty(rows, reg._token)).backward()
        got = gradients(model)
        model.zero_grad()
        (factor * reg()).backward()
        for name, value in gradients(model).items():
            assert got[name].isfinite().all()
            torch.testing.assert_close(got[name], value, rtol=5e-3, atol=6e-8 * factor)


def on_rank(monkeypatch, rank):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: rank)


@pytest.mark.parametrize(
    ("method", "options"),
    [("rp-comhe", {"k": 3, "C": 2}), ("group-comhe", {"k": 3, "C": 2}), ("hs-mhe", {"rows": 3})],
)
def test_ranks_draw_for_themselves_where_that_is_asked_for(method, options, monkeypatch):
    model, options = net(), {**options, "project_first": True}

    def penalty(rank, **more):
        on_rank(monkeypatch, rank)
        return snn.regularize(model, method, **options, **more)().item()

    assert penalty(0) == penalty(1)
    apart = [penalty(rank, rank_seeds=True) for rank in (0, 1, 1, 2)]
    assert apart[0] == penalty(0)
    assert apart[1] == apart[2]
    assert len(set(apart)) == 3


def test_a_state_of_another_rank_leaves_a_rank_its_own_draws(monkeypatch):
    model, options = net(), {"k": 3, "C": 2, "rank_seeds": True}
    on_rank(monkeypatch, 0)
    saved = snn.regularize(model, "rp-comhe", **options)
    saved()
    state = saved.state_dict()
    on_rank(monkeypatch, 1)
    gone_on, resumed = (snn.regularize(model, "rp-comhe", **options) for _ in range(2))
    gone_on()
    resumed.load_state_dict(state)
    assert resumed().item() == gone_on().item()


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("rp-comhe", {"mode": "decoupled"}, "rank_seeds needs mode='graph'"),
        ("hs-mhe", {}, r"for random projections .* and rows=.*'hs-mhe' with these layers"),
        ("ap-comhe", {"k": 3}, "without poles or learned projections; 'ap-comhe'"),
        ("rp-comhe", {"k": 3, "objective": "hs-mhp"}, "without poles or learned projections"),
    ],
)
def test_ranks_must_agree_where_their_draws_are_remembered(method, options, message):
    with pytest.raises(ValueError, match=message):
        snn.regularize(net(), method, rank_seeds=True, **options)


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("method", ["rp-comhe", "adv-comhe"])
def test_a_penalty_that_is_checkpointed_is_refused_in_training(method, reentrant):
    model, x = net(), torch.ones(2, 3, 9, 9, requires_grad=True)
    reg = snn.regularize(model, method, k=3, project_first=True)

    def backward():
        checkpoint(lambda x: x.sum() * 0 + reg(), x, use_reentrant=reentrant).backward()
        return gradients(model)

    with pytest.raises(RuntimeError, match=r"reg\(\) was called in a backward pass.*outside of"):
        backward()
    reg.eval()  # draws stay, so that both calls are alike
    model.zero_grad()
    found = backward()
    model.zero_grad()
    reg().backward()
    torch.testing.assert_close(found, gradients(model))
