import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn

from sphuni._errors import UnreadableFileError
from sphuni.nn import SphereConv2d
from sphuni.training import build, data, ranks, schema
from sphuni.training.build import build_model, build_optimizer, rate_factor
from sphuni.training.checkpoint import read_checkpoint, write_checkpoint
from sphuni.training.config import (
    EvaluationConfig,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    RegularizerConfig,
    ScheduleConfig,
    Settings,
)
from sphuni.training.data.arrays import read_graph
from sphuni.training.diagnose import DivergedError, find_layer
from sphuni.training.evaluate import retrieval
from sphuni.training.learner import Learner
from sphuni.training.loop import Trainer, train


@pytest.fixture
def settings(tiny):
    return tiny.base


@pytest.fixture
def splits(tiny):
    return data.draw(data.load(tiny.base.data.name), tiny.base.data, seed=3)


class Dropping(nn.Sequential):
    """A network that draws random numbers in its forward pass."""


def dropping(*, inputs, classes, width):
    size = math.prod(inputs)
    layers = nn.Linear(size, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, classes)
    return Dropping(nn.Flatten(), *layers)


def without_times(rows):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def test_a_run_is_determined_by_its_seed(settings, splits):
    runs = [train(settings, splits, seed=seed) for seed in (5, 5, 6)]
    rows = [without_times(found) for _, found in runs]
    assert rows[0] == rows[1] != rows[2]
    states = [list(model.parameters()) for model, _ in runs]
    assert all(torch.equal(a, b) for a, b in zip(states[0], states[1], strict=True))
    assert [row["epoch"] for row in rows[0]] == [1, 2, 3]


def test_the_global_generator_is_left_alone(settings, splits):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    train(settings, splits, seed=5)
    assert torch.equal(torch.rand(3), expected)


def test_arms_share_initial_weights_and_batches(settings, splits, monkeypatch):
    seen = {}
    step = Trainer._step

    def watching(self, k, inputs, targets):
        seen.setdefault(self.settings.regularizer.method, []).append(inputs)
        return step(self, k, inputs, targets)

    monkeypatch.setattr(Trainer, "_step", watching)
    first = {}
    for method in ("none", "hs-mhe"):
        arm = dataclasses.replace(settings, regularizer=RegularizerConfig(method=method))
        trainer = Trainer(arm, splits, seed=2)
        first[method] = [p.clone() for p in trainer.learner.parameters()]
        trainer.run_epoch()
    assert all(torch.equal(a, b) for a, b in zip(first["none"], first["hs-mhe"], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(seen["none"], seen["hs-mhe"], strict=True))


@pytest.mark.parametrize(
    ("method", "loss", "optimizer"),
    [
        pytest.param("rp-comhe", "softmax", "sgd", marks=pytest.mark.slow),
        ("ap-comhe", "ga-softmax", "adam"),
        ("hs-mhp", "softmax", "adamw"),
    ],
)
def test_a_resumed_run_equals_an_uninterrupted_one(
    settings, splits, tmp_path, method, loss, optimizer
):
    path = tmp_path / "checkpoint.pt"
    options = {"anneal": {"base": 100.0}} if loss == "ga-softmax" else {}
    settings = dataclasses.replace(
        settings,
        model=ModelConfig(name=f"{__name__}:dropping"),
        data=dataclasses.replace(settings.data, augment=("flip", "crop")),
        optimizer=OptimizerConfig(name=optimizer, lr=0.01),
        schedule=ScheduleConfig(name="cosine", warmup=0.2),
        regularizer=RegularizerConfig(method=method),
        loss=LossConfig(name=loss, center=0.1, options=options),
        evaluation=EvaluationConfig(track="epochs" if method == "rp-comhe" else "none"),
    )
    whole, rows = train(settings, splits, seed=1)
    interrupted = Trainer(settings, splits, seed=1)
    interrupted.run_epoch()
    write_checkpoint(path, interrupted.state(), settings)
    resumed, again = train(settings, splits, seed=1, checkpoint=path)
    assert without_times(again) == without_times(rows)
    expected = whole.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in resumed.state_dict().items())
    assert read_checkpoint(path, settings)["epoch"] == 3


def test_a_checkpoint_of_other_settings_is_refused(settings, splits, tmp_path):
    path = tmp_path / "checkpoint.pt"
    train(settings, splits, seed=1, checkpoint=path)
    other = dataclasses.replace(settings, optimizer=OptimizerConfig(lr=1e-4, weight_decay=0.5))
    with pytest.raises(
        ValueError, match=r"other settings: optimizer.lr was 0.05 and is now 0.0001"
    ):
        train(other, splits, seed=1, checkpoint=path)


def test_a_run_that_diverges_in_its_last_step_has_failed(settings, splits):
    once = dataclasses.replace(settings.training, epochs=1, batch_size=0)
    wild = dataclasses.replace(settings, training=once, optimizer=OptimizerConfig(lr=1e38))
    with pytest.raises(DivergedError, match="the loss on test data after it"):
        train(wild, splits, seed=0)


def test_few_checkpoints_where_epochs_are_short(settings, splits, tmp_path):
    training = dataclasses.replace(settings.training, checkpoint_seconds=1000.0)
    path = tmp_path / "checkpoint.pt"
    train(dataclasses.replace(settings, training=training), splits, seed=0, checkpoint=path)
    assert not path.exists()


class Exploding(nn.Linear):
    """A layer that gives NaN from its third training call on."""

    calls = 0

    def forward(self, x):
        self.calls += self.training
        return super().forward(x) * (math.nan if self.calls > 2 else 1.0)


def exploding(*, inputs, classes, width):
    return nn.Sequential(nn.Flatten(), Exploding(math.prod(inputs), 8), nn.Linear(8, classes))


def test_a_nan_names_layer_and_step(settings, splits):
    broken = dataclasses.replace(settings, model=ModelConfig(name=f"{__name__}:exploding"))
    with pytest.raises(
        DivergedError, match=r"step 2 \(epoch 1\): the output of layer '1'"
    ) as found:
        train(broken, splits, seed=0)
    assert found.value.step == 2
    huge = dataclasses.replace(settings, optimizer=OptimizerConfig(lr=1e38))
    with pytest.raises(DivergedError, match=r"step 1 \(epoch 1\): the output of layer 'stages"):
        train(huge, splits, seed=0)
    network = build_model(settings.model, inputs=splits.shape, classes=3, seed=0)
    learner = Learner(network, LossConfig(), classes=3)
    batch = splits.train.inputs[:4], splits.train.targets[:4]
    assert find_layer(learner, None, *batch) == "all layers are finite, the loss itself is not"
    network.fc.weight.data[0, 0] = math.inf
    assert find_layer(learner, None, *batch).startswith("the weights 'fc.weight' are not finite")


def test_angular_losses_take_the_place_of_the_classifier(settings, splits):
    for name in ("w-softmax", "s-softmax", "a-softmax"):
        network = build_model(settings.model, inputs=splits.shape, classes=3, seed=0)
        learner = Learner(network, LossConfig(name=name), classes=3)
        assert isinstance(network.classifier, nn.Identity)
        loss, logits = learner(splits.train.inputs[:4], splits.train.targets[:4])
        assert logits.shape == (4, 3)
        assert not logits.requires_grad
        loss.backward()
        assert learner.angular.weight.grad.abs().sum() > 0
    with pytest.raises(ValueError, match=r"loss.options of 'w-softmax'.*'mm'"):
        Learner(network, LossConfig(name="w-softmax", options={"mm": 2}), classes=3)
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    wrong = LossConfig(name="a-softmax", options={"anneal": {"foo": 1}})
    with pytest.raises(ValueError, match=r"loss.options of 'a-softmax'.*'foo'"):
        Learner(network, wrong, classes=3)


def test_losses_on_features_see_what_enters_the_classifier(settings, splits):
    network = build_model(settings.model, inputs=splits.shape, classes=3, seed=0)
    plain = Learner(network, LossConfig(), classes=3)
    inputs, targets = splits.train.inputs[:8], splits.train.targets[:8]
    base, _ = plain(inputs, targets)
    learner = Learner(network, LossConfig(contrastive=1.0, triplet=1.0, center=1.0), classes=3)
    assert learner(inputs, targets)[0] > base
    _, features = learner.predict(inputs)
    torch.testing.assert_close(network.classifier(features), learner.predict(inputs)[0])


def test_recall_and_true_positives_are_logged(settings, splits):
    wanted = dataclasses.replace(settings, evaluation=EvaluationConfig(track="none", recall=(1, 3)))
    _, rows = train(wanted, splits, seed=0)
    assert rows[-1]["test.recall@1"] == rows[-1]["test.positives@1"]
    assert rows[-1]["test.recall@3"] >= rows[-1]["test.positives@3"]


def test_small_parameters_are_logged_at_the_end(settings, splits):
    evaluation = EvaluationConfig(track="none", parameters=("classifier.bias",))
    network, rows = train(dataclasses.replace(settings, evaluation=evaluation), splits, seed=0)
    assert rows[-1]["event"] == "parameters"
    expected = pytest.approx(network.classifier.bias.tolist(), rel=1e-4)
    assert rows[-1]["parameters"] == {"classifier.bias": expected}


def test_groups_of_the_optimizer():
    model = nn.Sequential(SphereConv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3))
    config = OptimizerConfig(
        weight_decay=0.1, lr=1.0, no_decay=("sphere", "vectors"), rates={"^2": 10}
    )
    groups = build_optimizer([model], config).param_groups
    shown = {(g["weight_decay"], g["base_lr"]): sum(p.numel() for p in g["params"]) for g in groups}
    # sphere filters and vectors; the last layer's weight; its bias
    assert shown == {(0.0, 1.0): 36 + 8, (0.1, 10.0): 144, (0.0, 10.0): 4}


def test_parameters_of_losses_are_found_by_name(settings, splits):
    loss = dataclasses.replace(settings.loss, name="w-softmax", center=0.1)
    optimizer = dataclasses.replace(
        settings.optimizer, weight_decay=0.1, no_decay=("^centers$", "^weight$")
    )
    trainer = Trainer(dataclasses.replace(settings, loss=loss, optimizer=optimizer), splits, seed=0)
    free = {
        id(p) for g in trainer.optimizer.param_groups if not g["weight_decay"] for p in g["params"]
    }
    own = [p for part in trainer.learner.loss_modules for p in part.parameters()]
    assert free == {id(p) for p in own}
    assert len(own) == 2


def test_schedules():
    assert rate_factor(ScheduleConfig(), 0.9) == 1.0
    assert rate_factor(ScheduleConfig(name="cosine"), 0.5) == pytest.approx(0.5, abs=1e-6)
    assert rate_factor(ScheduleConfig(warmup=0.1), 0.05) == pytest.approx(0.5)


def test_a_regularizer_is_scaled_and_takes_no_classifier_from_an_angular_loss(settings, splits):
    network = build_model(settings.model, inputs=splits.shape, classes=3, seed=0)
    config = RegularizerConfig(method="hs-mhe", scale=3.0)
    assert build.build_regularizer(network, config, seed=0).weights == (3.0, 30.0)
    angular = dataclasses.replace(settings, loss=LossConfig(name="w-softmax"), regularizer=config)
    trainer = Trainer(angular, splits, seed=0)
    assert {row.role for row in trainer.regularizer.describe().rows} == {"first", "hidden"}


def test_unknown_networks_are_refused(splits):
    with pytest.raises(ValueError, match="cannot be imported"):
        build_model(ModelConfig(name="nowhere:f"), inputs=(1, 8, 8), classes=2, seed=0)


def test_channels_last_on_a_cpu_differs_by_rounding(settings, splits):
    training = dataclasses.replace(settings.training, channels_last_cpu=True)
    network, rows = train(dataclasses.replace(settings, training=training), splits, seed=0)
    assert network.stages[1][0][0].weight.is_contiguous(memory_format=torch.channels_last)
    _, plain = train(settings, splits, seed=0)
    assert rows[-1]["train.loss"] == pytest.approx(plain[-1]["train.loss"], rel=1e-3)


def test_bfloat16_trains_with_float32_weights(settings, splits):
    training = dataclasses.replace(settings.training, precision="bfloat16")
    network, rows = train(dataclasses.replace(settings, training=training), splits, seed=0)
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    _, exact = train(settings, splits, seed=0)
    assert rows[-1]["train.loss"] != exact[-1]["train.loss"]
    assert rows[-1]["train.loss"] == pytest.approx(exact[-1]["train.loss"], rel=0.1)


def test_a_graph_is_trained_on_its_labelled_nodes(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(30) % 2
    odds = np.where(np.arange(8) < 4, 0.7, 0.3)
    words = [np.flatnonzero(rng.random(8) < (odds if k % 2 else odds[::-1])) for k in range(30)]
    same = [(i, j) for i in range(30) for j in range(i) if labels[i] == labels[j] and i - j < 5]
    np.savez(
        tmp_path / "g.npz",
        feat_indptr=np.cumsum([0, *map(len, words)]),
        feat_indices=np.concatenate(words),
        feat_shape=np.array([30, 8]),
        labels=labels,
        edges=np.array(same),
        train=np.arange(10),
        val=np.arange(10, 15),
        test=np.arange(15, 30),
    )
    tables = {
        "model": {"name": "gcn"},
        "optimizer": {"name": "adam", "lr": 0.05},
        "training": {"epochs": 40, "batch_size": 0},
        "evaluation": {"every": 40, "track": "none"},
        "regularizer": {"method": "hs-mhe", "scale": 0.01},
    }
    settings = schema.override(Settings(), tables)
    splits = data.draw(read_graph(tmp_path / "g.npz"), settings.data, seed=0)
    _, rows = train(settings, splits, seed=0, evaluate_on=("validation", "test"))
    assert [("test.error" in row) for row in rows] == [False] * 39 + [True]
    assert rows[-1]["test.error"] < 20
    assert rows[-1]["validation.error"] < 25


def test_initial_layers_are_those_of_the_network_with_as_many_classes(
    settings, splits, monkeypatch
):
    rows_of = lambda network, **_: [len(p) for p in network.parameters()]  # noqa: E731
    monkeypatch.setattr("sphuni.training.loop._START", {})
    monkeypatch.setattr("sphuni.training.loop.measure_layers", rows_of)
    monkeypatch.setattr("sphuni.training.loop.measure_objectives", rows_of)
    tracked = dataclasses.replace(settings, evaluation=EvaluationConfig(track="ends"))
    wider = dataclasses.replace(splits, classes=7)
    starts = [Trainer(tracked, one, seed=0).rows[0]["layers"][-1] for one in (splits, wider)]
    assert starts == [3, 7]


def test_options_that_do_not_exist_name_their_key(splits):
    wrong = ModelConfig(options={"foo": 1})
    with pytest.raises(ValueError, match=r"cannot be built with model.options = {'foo': 1}.*'foo'"):
        build_model(wrong, inputs=splits.shape, classes=3, seed=0)
    unknown = RegularizerConfig(method="mhe", options={"foo": 1})
    with pytest.raises(ValueError, match=r"regularizer.options of 'mhe': .*foo"):
        build.build_regularizer(nn.Sequential(nn.Linear(4, 4)), unknown, seed=0)


@pytest.mark.parametrize("content", [b"junk", b"}", b"", b"PK\x03\x04", b"l\n.", b"\x80\x02junk"])
def test_a_damaged_checkpoint_is_named(settings, tmp_path, content):
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match=r"checkpoint.pt' cannot be read.*Remove it"):
        read_checkpoint(path, settings)
    torch.save({"schema": "sphuni.training.checkpoint"}, path)
    with pytest.raises(UnreadableFileError, match="has version None"):
        read_checkpoint(path, settings)


def test_processes_together_see_what_one_would_see(settings, splits, monkeypatch):
    """Two processes after one another: rows, mirroring and weights of their parts of a batch."""
    flipped = dataclasses.replace(
        settings, data=dataclasses.replace(settings.data, augment=("flip",))
    )
    flipped = dataclasses.replace(
        flipped, training=dataclasses.replace(settings.training, batch_size=7)
    )
    seen, weights = {}, {}

    def step(self, k, inputs, targets):
        place = (ranks.count(), ranks.number())
        seen.setdefault(place, []).append(inputs)
        weights[place] = self._part(targets)
        return torch.zeros(()), torch.zeros(()), torch.zeros(len(targets), 3)

    monkeypatch.setattr(Trainer, "_step", step)
    trainer = Trainer(flipped, splits, seed=2)
    for count, number in ((1, 0), (2, 0), (2, 1)):
        monkeypatch.setattr(ranks, "count", lambda count=count: count)
        monkeypatch.setattr(ranks, "number", lambda number=number: number)
        monkeypatch.setattr(ranks, "share", lambda x, n=number, c=count: x[n::c])
        trainer.epoch = 0
        trainer._train_epoch()
    for whole, first, second in zip(seen[1, 0], seen[2, 0], seen[2, 1], strict=True):
        assert torch.equal(whole[::2], first)
        assert torch.equal(whole[1::2], second)
    assert weights == {(1, 0): 1.0, (2, 0): pytest.approx(8 / 7), (2, 1): pytest.approx(6 / 7)}


def test_a_batch_has_a_sample_for_every_process(settings, splits, monkeypatch):
    monkeypatch.setattr(ranks, "count", lambda: 9)
    with pytest.raises(ValueError, match=r"at least the number of processes, 9; got batches of 8"):
        Trainer(settings, splits, seed=2)


def test_retrieval_does_not_depend_on_where_the_features_are():
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(0, 4, (300,), generator=generator)
    near = torch.randn(300, 16, generator=generator, dtype=torch.float64)
    near += 1.5 * nn.functional.one_hot(targets, 16)
    far = (near + 3000).float()
    assert retrieval(far, targets, (1, 5)) == retrieval(near, targets, (1, 5))


def test_a_sample_is_none_of_its_own_neighbours(settings, splits):
    x, y = torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([0, 1, 2])
    assert retrieval(x, y, (2,))["recall@2"] == 0.0
    with pytest.raises(ValueError, match=r"recall must be .* less than the 3 samples .* got \[3\]"):
        retrieval(x, y, (3,))
    recall = EvaluationConfig(recall=(1, len(splits.test)))
    with pytest.raises(ValueError, match=f"less than the {len(splits.test)} samples"):
        Trainer(dataclasses.replace(settings, evaluation=recall), splits, seed=0)


@pytest.mark.parametrize("weight", [0.0, 0.001, 0.5])
def test_pointnet_keeps_the_matrix_of_its_features_near_an_orthogonal_one(weight):
    config = ModelConfig(name="pointnet-t", width=0.1, options={"orthogonality": weight})
    network = build_model(config, inputs=(20, 3), classes=4, seed=0)
    learner = Learner(network, LossConfig(), classes=4)
    generator = torch.Generator().manual_seed(0)
    clouds, targets = torch.randn(5, 20, 3, generator=generator), torch.arange(5) % 4
    network.eval()  # without dropout
    matrices = []
    network.align_features.register_forward_hook(lambda _m, _i, out: matrices.append(out))
    with torch.no_grad():
        network.align_features.matrix.weight.normal_(0.0, 0.1, generator=generator)
    loss, logits = learner(clouds, targets)
    plain = nn.functional.cross_entropy(logits, targets)
    a = matrices[0].detach().double().numpy()
    rest = np.eye(a.shape[1]) - a @ a.transpose(0, 2, 1)
    expected = weight * np.mean(np.linalg.norm(rest, axis=(1, 2)) ** 2)
    assert float(loss.detach()) == pytest.approx(float(plain) + expected, rel=1e-5)
    loss.backward()
    assert float(network.align_features.matrix.weight.grad.abs().sum()) > 0
    assert torch.equal(learner.predict(clouds)[0], logits)


def test_the_penalty_of_pointnet_is_of_the_features_alone_and_at_first_zero():
    network = build_model(
        ModelConfig(name="pointnet-t", width=0.1), inputs=(20, 3), classes=4, seed=0
    )
    assert network.align_input.orthogonality == 0.0
    assert network.align_features.orthogonality == 0.001
    learner = Learner(network, LossConfig(), classes=4).eval()
    clouds, targets = torch.randn(5, 20, 3), torch.arange(5) % 4
    loss, logits = learner(clouds, targets)
    assert torch.equal(loss, nn.functional.cross_entropy(logits, targets))


def test_a_resumed_run_reports_at_once_what_it_has(settings, splits, tmp_path):
    path, seen = tmp_path / "checkpoint.pt", []
    _, rows = train(settings, splits, seed=1, checkpoint=path)
    train(settings, splits, seed=1, checkpoint=path, on_row=lambda found: seen.append(list(found)))
    assert seen == [rows]


def test_adversaries_are_no_classifiers(settings, splits):
    wrong = dataclasses.replace(settings, model=ModelConfig(name="dcgan", width=0.1))
    with pytest.raises(ValueError, match="'dcgan' generates images; give the experiment kind = 'g"):
        Trainer(wrong, splits, seed=0)
