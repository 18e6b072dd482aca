"""The real Lightning, transformers and torchmetrics, where they are installed."""

import copy
import types

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import sphuni.nn as snn
from sphuni.nn.integrations import (
    FeatureUniformity,
    lightning_callback,
    trainer_callback,
    with_regularizer,
)

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]
STEPS, BATCH = 3, 4


class Rows(Dataset):
    def __init__(self):
        self.x = torch.randn(
            STEPS * BATCH, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float32
        )

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return {"x": self.x[i]}


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))

    def forward(self, x):
        return types.SimpleNamespace(loss=self.net(x).square().mean())


def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Model()


def trained_by_hand(steps=STEPS, accumulate=1, clip=None):
    """SGD on the loss plus hs-mhe, once per `accumulate` batches; what is clipped is the loss."""
    expected, batches = model(), Rows().x.split(BATCH)
    reg = snn.regularize(expected, "hs-mhe", mode="decoupled")
    optimizer = torch.optim.SGD(expected.parameters(), lr=0.1)
    for step in range(steps // accumulate):
        optimizer.zero_grad()
        for x in batches[step * accumulate : (step + 1) * accumulate]:
            (expected(x).loss / accumulate).backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(expected.parameters(), clip)
        reg.add_gradients()
        optimizer.step()
    return expected


def compare(got, expected):
    for (name, p), q in zip(got.named_parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(p, q, msg=name)


def test_lightning_trains_as_a_plain_loop():
    lightning = pytest.importorskip("pytorch_lightning")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.inner = model()

        def training_step(self, batch, index):
            return self.inner(batch["x"]).loss

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    module, callback = Module(), lightning_callback("hs-mhe")
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        callbacks=[callback],
    )
    trainer.fit(module, DataLoader(Rows(), BATCH))
    compare(module.inner, trained_by_hand())
    assert callback.regularizer.calls == STEPS
    logged = {name for name in trainer.logged_metrics if name.startswith("sphuni/")}
    assert logged == {"sphuni/inner.net.0.weight", "sphuni/inner.net.2.weight"}


class InOrder:
    """Batches in the order of the data, as the loop by hand has them."""

    def get_train_dataloader(self):
        return DataLoader(Rows(), BATCH)


def arguments(tmp_path, **options):
    transformers = pytest.importorskip("transformers")
    options = {"save_strategy": "no", **options}
    return transformers.TrainingArguments(
        output_dir=str(tmp_path),
        max_steps=options.pop("max_steps", STEPS),
        learning_rate=0.1,
        lr_scheduler_type="constant",
        optim="sgd",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        remove_unused_columns=False,
        **options,
    )


@pytest.mark.parametrize("accumulate", [1, 3])
def test_trainer_with_the_penalty_in_its_loss(tmp_path, accumulate):
    transformers = pytest.importorskip("transformers")
    inner = model()
    reg = snn.regularize(inner, "hs-mhe")
    cls = with_regularizer(type("Ordered", (InOrder, transformers.Trainer), {}))
    options = {
        "max_grad_norm": 0.0,
        "gradient_accumulation_steps": accumulate,
        "max_steps": STEPS // accumulate,
    }
    args = arguments(tmp_path, **options)
    trainer = cls(model=Dictionary(inner), args=args, train_dataset=Rows(), regularizer=reg)
    trainer.train()
    compare(inner, trained_by_hand(accumulate=accumulate))
    assert reg.calls == STEPS


def test_trainer_with_a_callback_that_clipping_spares(tmp_path):
    transformers = pytest.importorskip("transformers")
    inner, callback = model(), trainer_callback("hs-mhe")
    cls = type("Ordered", (InOrder, transformers.Trainer), {})
    args = arguments(tmp_path, max_grad_norm=0.01)
    trainer = cls(model=Dictionary(inner), args=args, train_dataset=Rows(), callbacks=[callback])
    trainer.train()
    compare(inner, trained_by_hand(clip=0.01))
    assert callback.regularizer.calls == STEPS


@pytest.mark.parametrize("form", ["callback", "loss"])
def test_a_trainer_that_resumes_goes_on_with_the_same_projections(tmp_path, form):
    transformers = pytest.importorskip("transformers")
    cls = type("Ordered", (InOrder, transformers.Trainer), {})

    def trained(folder, steps, resume=None):
        inner = model()
        options = {"save_strategy": "steps", "save_steps": 2, "max_steps": steps}
        args = arguments(folder, **options)
        if form == "callback":
            callback = trainer_callback("rp-comhe", k=2, C=2, project_first=True)
            trainer = cls(Dictionary(inner), args, train_dataset=Rows(), callbacks=[callback])
        else:
            reg = snn.regularize(inner, "rp-comhe", k=2, C=2, project_first=True)
            trainer = with_regularizer(cls)(
                Dictionary(inner), args, train_dataset=Rows(), regularizer=reg
            )
        trainer.train(resume_from_checkpoint=resume)
        return inner

    whole = trained(tmp_path / "whole", 3)
    trained(tmp_path / "cut", 2)
    resumed = trained(tmp_path / "cut", 3, str(tmp_path / "cut" / "checkpoint-2"))
    compare(resumed, whole)


class Dictionary(nn.Module):
    """The model with the answer that a Trainer reads."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return {"loss": self.inner(x).loss}


def test_the_metric_has_the_methods_of_torchmetrics():
    torchmetrics = pytest.importorskip("torchmetrics")
    metric, x = FeatureUniformity(), torch.randn(6, 3)
    for name in ("update", "compute", "reset", "forward"):
        assert callable(getattr(torchmetrics.Metric, name))
        assert callable(getattr(metric, name))
    mean = torchmetrics.MeanMetric()
    assert (mean.higher_is_better, metric.higher_is_better) == (None, False)
    metric(x)
    clone = copy.deepcopy(metric)
    assert clone.compute().item() == pytest.approx(snn.uniformity(x).item(), rel=1e-6)


def test_adapters_of_peft_are_part_of_the_weight_as_used():
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    model = peft.get_peft_model(
        nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)),
        peft.LoraConfig(target_modules=["0"], r=2, init_lora_weights=False),
    )
    for mode in ("graph", "decoupled"):
        model.zero_grad()
        reg = snn.regularize(model, "mhe", mode=mode, weight=1.0, output_layer=None)
        rows = {row.name: row.trainable for row in reg.describe().rows}
        assert rows == {
            "base_model.model.0.base_layer.weight": True,
            "base_model.model.2.weight": False,
        }
        if mode == "graph":
            reg().backward()
        else:
            reg.add_gradients()
        layer = model.base_model.model[0]
        used = layer.base_layer.weight + layer.get_delta_weight("default")
        expected = torch.autograd.grad(snn.mhe(used), layer.lora_B["default"].weight)[0]
        torch.testing.assert_close(layer.lora_B["default"].weight.grad, expected)
        assert layer.base_layer.weight.grad is None


@pytest.mark.parametrize("kind", ["dora", "ia3 rows", "ia3 inputs", "hra"])
def test_the_weight_as_used_is_the_one_that_peft_merges(kind):
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    configs = {
        "dora": lambda: peft.LoraConfig(
            target_modules=["0"], r=2, use_dora=True, init_lora_weights=False
        ),
        "ia3 rows": lambda: peft.IA3Config(target_modules=["0"], feedforward_modules=[]),
        "ia3 inputs": lambda: peft.IA3Config(target_modules=["0"], feedforward_modules=["0"]),
        "hra": lambda: peft.HRAConfig(target_modules=["0"], r=2, init_weights=False),
    }
    plain = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    model = peft.get_peft_model(plain, configs[kind]())
    for name, parameter in model.named_parameters():
        if "ia3_l" in name or "magnitude" in name:
            nn.init.uniform_(parameter, 0.5, 2.0)
    reg = snn.regularize(model, "so" if kind != "hra" else "mhe", include="0", output_layer=None)
    (layer,) = reg.layers
    with torch.no_grad():  # a frozen layer has no penalty beside others that are trained
        reg()
    value = reg.stats[layer.name]
    merged = model.merge_and_unload()[0].weight
    expected = snn.so(merged) if kind != "hra" else snn.mhe(merged)
    torch.testing.assert_close(value, expected.detach())


def test_heads_and_experts_of_transformers():
    transformers = pytest.importorskip("transformers", minversion="5.0")
    sizes = {"hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 1, "vocab_size": 20}
    sizes |= {"num_attention_heads": 4, "num_key_value_heads": 2}
    config = transformers.MixtralConfig(**sizes, num_local_experts=3)
    model = transformers.MixtralForCausalLM(config)
    reg = snn.regularize(model, "mhe", heads=(4, 2))
    shapes = {r.name.removeprefix("model.layers.0."): (r.n, r.d) for r in reg.describe().rows}
    assert shapes["self_attn.q_proj.weight[head 3]"] == (4, 16)
    assert shapes["self_attn.v_proj.weight[head 1]"] == (4, 16)
    assert shapes["mlp.experts.gate_up_proj[expert 2]"] == (40, 16)
    assert shapes["mlp.experts.down_proj[expert 2]"] == (16, 20)
    config = transformers.GPT2Config(n_embd=12, n_layer=1, n_head=3, vocab_size=20, n_positions=8)
    reg = snn.regularize(transformers.GPT2Model(config), "mhe", heads=3, include="c_attn")
    assert [(row.n, row.d) for row in reg.describe().rows] == [(4, 12)] * 9
