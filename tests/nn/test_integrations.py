"""Callbacks and trainers of other frameworks, by the parts of their interfaces that are used."""

import sys
import types

import pytest
import torch
from torch import nn

import sphuni.nn as snn
from sphuni.nn.integrations import FeatureUniformity, lightning_callback, with_regularizer


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
    with pytest.raises(ValueError, match=r"features must have shape \(n, d\)"):
        metric.update(torch.ones(3))
