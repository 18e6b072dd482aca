"""Callbacks and trainers of other frameworks, by the parts of their interfaces that are used."""

import copy
import pickle
import sys
import types

import pytest
import torch
from torch import nn

import sphuni.nn as snn
from sphuni.nn.integrations import (
    FeatureUniformity,
    lightning_callback,
    trainer_callback,
    with_regularizer,
)


class Module(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 3))
        self.logged = {}

    def log(self, name, value):
        self.logged[name] = value


@pytest.fixture
def lightning(monkeypatch):
    package, inner = types.ModuleType("lightning"), types.ModuleType("lightning.pytorch")
    inner.Callback = type("Callback", (), {})
    package.pytorch = inner
    monkeypatch.setitem(sys.modules, "lightning", package)
    monkeypatch.setitem(sys.modules, "lightning.pytorch", inner)


@pytest.mark.usefixtures("lightning")
def test_lightning_callback_adds_gradients_logs_and_resumes():
    module, trainer = Module(), types.SimpleNamespace(global_step=0, log_every_n_steps=5)
    callback = lightning_callback("mhp")
    callback.on_before_optimizer_step(trainer, module, None)
    assert module.net[0].weight.grad is None
    callback.on_fit_start(trainer, module)
    callback.on_before_optimizer_step(trainer, module, None)
    assert module.net[0].weight.grad.abs().max() > 0
    assert set(module.logged) == {"sphuni/net.0.weight", "sphuni/net.1.weight"}
    trainer.global_step = 1
    module.logged.clear()
    callback.on_before_optimizer_step(trainer, module, None)
    assert module.logged == {}
    fresh = lightning_callback("mhp")
    fresh.load_state_dict(callback.state_dict())
    fresh.on_fit_start(trainer, module)
    assert fresh.regularizer.calls == 2
    assert torch.equal(
        fresh.regularizer.objectives[0].poles, callback.regularizer.objectives[0].poles
    )


def at(step, **options):
    return types.SimpleNamespace(global_step=step, log_every_n_steps=5, ckpt_path=None, **options)


def fit(callback, module, first, last):
    """Steps first to last, as a trainer takes them."""
    callback.on_fit_start(at(first), module)
    callback.on_train_start(at(first), module)
    for step in range(first, last):
        callback.on_before_optimizer_step(at(step), module, None)
    return callback


@pytest.mark.usefixtures("lightning")
@pytest.mark.parametrize("resumed", [False, True])
def test_a_lightning_trainer_that_fits_again_goes_on_with_the_regularizer(resumed):
    seen = []
    options = {"schedule": lambda call: seen.append(call) or 1.0}
    module, callback = Module(), lightning_callback("mhp", **options)
    if resumed:
        callback.load_state_dict(fit(lightning_callback("mhp"), module, 0, 2).state_dict())
    start = 2 if resumed else 0
    fit(callback, module, start, start + 3)
    poles = callback.regularizer.objectives[0].poles.clone()
    callback.on_fit_start(at(start + 3), module)
    assert torch.equal(callback.regularizer.objectives[0].poles, poles)
    fit(callback, module, start + 3, start + 5)
    assert seen == list(range(start, start + 5))
    # another trainer begins, and another module has a regularizer of its own
    assert fit(callback, module, 0, 1).regularizer.calls == 1
    assert fit(callback, Module(), 1, 2).regularizer.calls == 1


@pytest.mark.usefixtures("lightning")
def test_a_lightning_state_that_is_restored_after_the_start_of_the_fit_is_taken():
    module = Module()
    state = fit(lightning_callback("mhp"), module, 0, 3).state_dict()
    callback, trainer = lightning_callback("mhp"), at(3)
    callback.on_fit_start(trainer, module)
    callback.load_state_dict(state)
    callback.on_train_start(trainer, module)
    assert callback.regularizer.calls == 3


@pytest.mark.usefixtures("lightning")
def test_a_lightning_checkpoint_without_the_state_is_named():
    module, trainer = Module(), at(3)
    trainer.ckpt_path = "last.ckpt"
    callback = lightning_callback("mhp", s=1.0)
    callback.on_fit_start(trainer, module)
    with pytest.warns(
        UserWarning, match=r"from last.ckpt, which has no state of Hyper.*'mhp', s=1.0\), so 'mhp'"
    ):
        callback.on_train_start(trainer, module)
    callback.load_state_dict(callback.state_dict())
    callback.on_fit_start(trainer, module)
    callback.on_train_start(trainer, module)


@pytest.mark.usefixtures("lightning")
def test_a_lightning_callback_can_be_sent_to_other_processes():
    callback = lightning_callback("mhp", name="a", include="net.0", s=1.0)
    sent = pickle.loads(pickle.dumps(callback))
    assert sent.state_key == callback.state_key
    module = Module()
    fit(sent, module, 0, 2)
    again, its_module = pickle.loads(pickle.dumps((sent, module)))
    assert again.regularizer.calls == 2
    assert again.regularizer.model is its_module


@pytest.mark.usefixtures("lightning")
def test_lightning_callbacks_have_keys_of_their_own_which_last():
    def key(method="mhe", **options):
        return lightning_callback(method, **options).state_key

    assert key(include=nn.Linear, s=1.0, weight=2.0) == (
        "HypersphericalCallback('mhe', include=<class 'torch.nn.modules.linear.Linear'>, s=1.0)"
    )
    assert len({key(), key("mhs"), key(s=0), key(include="0"), key(name="a")}) == 5
    assert key(name="a", weight=1.0) == key(name="a") != key(name="b")
    assert key(schedule=lambda call: 1.0, weight=1.0) == key(output_weight=2.0)


@pytest.mark.usefixtures("lightning")
def test_lightning_callbacks_with_a_name_log_under_it():
    module, trainer = Module(), types.SimpleNamespace(global_step=0, log_every_n_steps=1)
    for name in (None, "late"):
        callback = lightning_callback("mhe", name=name, include="net.0")
        callback.on_fit_start(trainer, module)
        callback.on_before_optimizer_step(trainer, module, None)
    assert set(module.logged) == {"sphuni/net.0.weight", "sphuni/late/net.0.weight"}


def test_lightning_is_named_where_it_is_missing(monkeypatch):
    for name in ("lightning", "lightning.pytorch", "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match="pip install lightning"):
        lightning_callback()


class Trainer:
    current_gradient_accumulation_steps = 4
    model_accepts_loss_kwargs = True

    def __init__(self, name):
        self.name = name

    def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
        loss = model(inputs).square().mean()
        return (loss, "outputs") if return_outputs else loss


def test_trainer_adds_the_penalty_to_training_losses_only():
    model = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 3))
    reg = snn.regularize(model, "hs-mhe")
    trainer = with_regularizer(Trainer)("t", regularizer=reg)
    assert trainer.name == "t"
    x = torch.ones(2, 6)
    plain = model(x).square().mean()
    torch.testing.assert_close(trainer.compute_loss(model, x), plain + reg())
    loss, outputs = trainer.compute_loss(model, x, return_outputs=True, num_items_in_batch=8)
    torch.testing.assert_close(loss, plain + reg() / 4)
    assert outputs == "outputs"
    trainer.model_accepts_loss_kwargs = False
    loss = trainer.compute_loss(model, x, num_items_in_batch=8)
    torch.testing.assert_close(loss, plain + reg())
    trainer.loss_is_scaled_for_ga = True
    torch.testing.assert_close(trainer.compute_loss(model, x), plain + reg() / 4)
    model.eval()
    torch.testing.assert_close(trainer.compute_loss(model, x), plain)


@pytest.fixture
def transformers(monkeypatch):
    package = types.ModuleType("transformers")
    package.TrainerCallback = type("TrainerCallback", (), {})
    monkeypatch.setitem(sys.modules, "transformers", package)


class Handler(Trainer):
    """As a Trainer that trains `model` by an optimizer, and tells its callbacks."""

    def add_callback(self, callback):
        self.callback = callback

    def begin(self, model, **options):
        self.callback.on_train_begin(None, at_step(0), None, model=model, **options)


@pytest.mark.usefixtures("transformers")
def test_a_trainer_of_another_model_than_the_regularizers_is_refused():
    model = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 3))
    trainer = with_regularizer(Handler)("t", regularizer=snn.regularize(model, "hs-mhe"))
    trainer.begin(model)
    trainer.begin(nn.ModuleDict({"wrapped": model}))
    other = copy.deepcopy(model)
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"of another Sequential, .*take callbacks=\[trainer_call"):
        trainer.begin(other, optimizer=optimizer)
    # a part outside of the model, which the optimizer knows
    optimizer.add_param_group({"params": model.parameters()})
    trainer.begin(other, optimizer=optimizer)


def at_step(step):
    return types.SimpleNamespace(global_step=step, is_world_process_zero=True)


def begun(method, args, step, model, **options):
    callback = trainer_callback(method, **options)
    callback.on_train_begin(args, at_step(step), None, model=model)
    return callback


KINDS = {
    "mhp": {"include": "Linear"},
    "koleo": {"include": "Embedding"},
    "mhe": {"include": "^body"},
    # the same method on other layers
    "mhe ": {"include": "^head"},
    # the same method on the same layers, with other options
    "mhe  ": {"include": "^head", "s": 0.0},
    "mhe   ": {"include": "^head", "every": 2},
    # the same but for the weight, and a name
    "mhe    ": {"include": "^head", "weight": 2.0, "name": "strong"},
}


@pytest.mark.usefixtures("transformers")
def test_several_trainer_callbacks_resume_each_from_its_own_state(tmp_path):
    model = nn.ModuleDict({"table": nn.Embedding(9, 6), "body": nn.Linear(6, 8)})
    model["head"] = nn.Linear(8, 3)
    args = types.SimpleNamespace(output_dir=str(tmp_path))
    (tmp_path / "checkpoint-7").mkdir()
    before = [begun(k.strip(), args, 0, model, **options) for k, options in KINDS.items()]
    for steps, callback in enumerate(before):
        for _ in range(steps + 1):
            callback.on_pre_optimizer_step(args, at_step(0), None)
    for callback in before:
        callback.on_save(args, at_step(7), None)
    names = sorted(file.name for file in (tmp_path / "checkpoint-7").iterdir())
    assert len(names) == 7
    after = [begun(k.strip(), args, 7, model, **options) for k, options in KINDS.items()]
    assert [callback.regularizer.calls for callback in after] == [1, 2, 3, 4, 5, 6, 7]
    assert torch.equal(
        after[0].regularizer.objectives[0].poles, before[0].regularizer.objectives[0].poles
    )


@pytest.mark.usefixtures("transformers")
def test_trainings_may_go_on_with_other_weights(tmp_path):
    model = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 3))
    args = types.SimpleNamespace(output_dir=str(tmp_path))
    (tmp_path / "checkpoint-5").mkdir()
    callback = begun("mhe", args, 0, model, s=1.0, schedule=lambda call: 2.0)
    callback.on_pre_optimizer_step(args, at_step(0), None)
    callback.on_save(args, at_step(5), None)
    assert begun("mhe", args, 5, model, s=1.0, weight=3.0).regularizer.calls == 1


@pytest.mark.usefixtures("transformers")
def test_a_trainer_that_goes_on_without_the_state_says_so(tmp_path):
    model = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 3))
    old = types.SimpleNamespace(output_dir=str(tmp_path / "old"))
    folder = tmp_path / "old" / "checkpoint-5"
    folder.mkdir(parents=True)
    callback = begun("mhp", old, 0, model)
    for _ in range(5):
        callback.on_pre_optimizer_step(old, at_step(0), None)
    callback.on_save(old, at_step(5), None)
    new = types.SimpleNamespace(output_dir=str(tmp_path / "new"), resume_from_checkpoint=None)
    with pytest.warns(UserWarning, match=r"goes on at step 5, but sphuni_mhp_\w{8}.pt is not in"):
        assert begun("mhp", new, 5, model).regularizer.calls == 0
    new.resume_from_checkpoint = str(folder)
    assert begun("mhp", new, 5, model).regularizer.calls == 5
    with pytest.warns(UserWarning, match=r"old.checkpoint-5 or .*new.checkpoint-5.*'so' goes on"):
        begun("so", new, 5, model)


class Wrapper(torch.optim.Optimizer):
    """As the optimizer of accelerate: without hooks of its own."""

    def __init__(self, optimizer, name="optimizer"):
        setattr(self, name, optimizer)
        self.param_groups = optimizer.param_groups

    def step(self):
        self.optimizer.step()


def test_a_wrapped_optimizer_is_attached_as_the_one_inside():
    model = Module()
    inner = torch.optim.SGD(model.parameters(), lr=0.0)
    reg = snn.regularize(model, "mhe", mode="decoupled")
    reg.attach(Wrapper(Wrapper(inner)))
    Wrapper(inner).step()
    assert reg.calls == 1
    assert model.net[0].weight.grad.abs().max() > 0
    with pytest.raises(RuntimeError, match="attached to that optimizer already"):
        reg.attach(inner)
    with pytest.raises(TypeError, match=r"hold one as `.optimizer`; got Wrapper. Call reg.add"):
        reg.attach(Wrapper(inner, "base"))
    reg.remove()
    inner.step()
    assert reg.calls == 1


def test_feature_metric_accumulates_up_to_its_limit():
    x = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
    metric = FeatureUniformity(max_rows=7)
    first = metric(x[:5])
    assert first.item() == snn.uniformity(x[:5]).item()
    metric.update(x[5:])
    assert metric.compute().item() == pytest.approx(snn.uniformity(x[:7]).item(), rel=1e-6)
    metric.reset()
    with pytest.raises(RuntimeError, match=r"call update\(features\) first"):
        metric.compute()
    metric.update(x[:0])
    with pytest.raises(RuntimeError, match=r"call update\(features\) first"):
        metric.compute()
    metric.update(x[:5])
    assert metric.compute().item() == first.item()
    with pytest.raises(ValueError, match=r"features must have shape \(n, d\)"):
        metric.update(torch.ones(3))
