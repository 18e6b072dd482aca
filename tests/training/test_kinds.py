"""Adversarial networks, trained uniformity, generated shapes, and what pages show besides."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from sphuni.training import schema
from sphuni.training.archive import Results
from sphuni.training.config import OptimizerConfig, ScheduleConfig, Settings
from sphuni.training.diagnose import DivergedError
from sphuni.training.extras import condition_numbers, histogram_of_k
from sphuni.training.kinds import gan, trained_uniformity
from sphuni.training.runner import CHECKPOINT, Outcome, Task
from sphuni.training.shapes import SHAPES, cloud, dataset


@pytest.fixture
def images(tmp_path: Path) -> str:
    """Squares in one of two corners, as a file."""
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 2
    pictures = rng.integers(0, 40, (80, 14, 14)).astype(np.uint8)
    pictures[labels == 0, :6, :6] = 250
    pictures[labels == 1, 8:, 8:] = 250
    path = tmp_path / "squares.npz"
    np.savez(path, images=pictures, labels=labels)
    return str(path)


def task(name: str, arm: str, folder: Path, images: str, epochs: int) -> Task:
    experiment = schema.load(name)
    settings = schema.settings_of(experiment, experiment.cases[-1], experiment.arm(arm))
    settings = dataclasses.replace(
        settings,
        data=dataclasses.replace(settings.data, name=images, train=48, test=0, pool=1),
        training=dataclasses.replace(settings.training, epochs=epochs, batch_size=16),
        model=dataclasses.replace(settings.model, width=0.1),
    )
    folder.mkdir(exist_ok=True)
    return Task(
        experiment=name,
        case=experiment.cases[-1].name,
        arm=arm,
        seed=0,
        stage="final",
        candidate={},
        settings=settings,
        folder=folder,
        kind=experiment.kind,
    )


@pytest.mark.parametrize("arm", ["baseline", pytest.param("sn-hs-mhe", marks=pytest.mark.slow)])
def test_gans_log_losses_score_and_energy_and_go_on_after_a_stop(arm, tmp_path, images):
    whole = gan.run(task("gan", arm, tmp_path / "whole", images, 2), report=lambda _: None)
    assert [row["epoch"] for row in whole] == [1, 2]
    assert 1 <= whole[-1]["test.score"] <= 2
    assert whole[-1]["objective.hs-mhe"] > 0
    first = task("gan", arm, tmp_path / "parts", images, 2)

    def stop(rows):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        gan.run(first, report=stop)
    assert (first.folder / CHECKPOINT).exists()
    parts = gan.run(task("gan", arm, tmp_path / "parts", images, 2), report=lambda _: None)
    assert parts[-1] == whole[-1]


def test_the_judge_knows_the_classes(images):
    config = dataclasses.replace(Settings().data, name=images, train=48)
    network = gan.judge(config)
    splits = gan._splits(config, None, 0)
    assert splits.shape == (1, 16, 16)
    with torch.no_grad():
        wrong = network(splits.train.inputs).argmax(dim=1) != splits.train.targets
    assert float(wrong.float().mean()) < 0.2
    assert gan.judge(config) is network


@pytest.mark.slow
def test_trained_uniformity_adds_numbers_of_layers_to_the_last_epoch(tmp_path, images):
    rows = trained_uniformity.run(
        task("trained-uniformity", "hs-mhe", tmp_path, images, 1), report=lambda _: None
    )
    last = [row for row in rows if row["event"] == "epoch"][-1]
    objectives = next(r for r in reversed(rows) if r["event"] == "layers")["objectives"]
    assert last["objective.hs-mhe"] == objectives["hs-mhe"]
    assert 0 <= last["rejected.bingham"] <= 100
    assert last["layers.separation"] > 0
    assert "test.error" in last


def test_a_log_without_layers_stays_as_it_is():
    rows = [{"event": "epoch", "epoch": 1, "test.error": 3.0}]
    assert trained_uniformity.summarised(rows) == rows


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_lie_in_the_unit_ball_and_differ_from_each_other(name):
    points = cloud(name, 200, np.random.default_rng(0))
    assert np.linalg.norm(points, axis=1).max() == pytest.approx(1.0)
    flat = np.linalg.svd(points - points.mean(0), compute_uv=False)
    assert (flat[2] < 0.1 * flat[0]) == (name == "disc")


def test_the_data_set_of_shapes_is_balanced_and_fixed():
    found = dataset()
    assert found.classes == len(SHAPES)
    assert found.test.targets.bincount().tolist() == [100] * 10
    assert found.pool.inputs.shape == (600, 128, 3)
    assert "substitute" in found.note
    with pytest.raises(ValueError, match="name must be one of ellipsoid"):
        cloud("teapot", 3, np.random.default_rng(0))


def outcome(case: str, arm: str, seed: int, rows: list[dict[str, object]]) -> Outcome:
    return Outcome(
        experiment="x",
        case=case,
        arm=arm,
        stage="final",
        seed=seed,
        candidate={},
        status="done",
        reason="",
        seconds=1.0,
        rows=rows,
    )


def test_condition_numbers_are_medians_over_seeds():
    experiment = schema.load("conditioning")
    outcomes = tuple(
        outcome("square", "plain", seed, [{"kappa": kappa}] * 5)
        for seed, kappa in enumerate((1.0, 50.0, 7.0))
    )
    text = condition_numbers(Results(experiment, "", outcomes))
    assert "| n = m = k = 4 | G | 7 | 7 | 7 | 7 | 7 |" in text


def test_histogram_of_k_adds_the_offset_and_counts_all_seeds():
    experiment = schema.load("learnable-k")
    case = experiment.cases[0].name
    rows = [{"event": "parameters", "parameters": {"stages.0.0.0.angular.k": [0.1, -0.5]}}]
    outcomes = tuple(outcome(case, "learnable", seed, rows) for seed in range(2))
    text = histogram_of_k(Results(experiment, "", outcomes))
    assert "| stages.0.0.0 | 50 | 0 | 0 | 50 | 0 | 0 | 0 | 0.350 |" in text


def test_all_layers_are_hidden_where_the_loss_holds_the_class_weights():
    layers = [
        {"excess": {"2": value}, "separation_deg": value, "effective_rank_ratio": value, "p": {}}
        for value in (1.0, 3.0)
    ]
    rows = [
        {"event": "epoch", "epoch": 1},
        {"event": "layers", "epoch": 1, "layers": layers, "objectives": {}},
    ]
    assert trained_uniformity.summarised(rows)[0]["excess.full"] == 1.0
    assert trained_uniformity.summarised(rows, has_classifier=False)[0]["excess.full"] == 2.0


@pytest.mark.parametrize("size", [0, 1000])
def test_a_gan_takes_a_batch_of_all_images_where_there_are_no_more(size, tmp_path, images):
    one = task("gan", "baseline", tmp_path / "one", images, 1)
    training = dataclasses.replace(one.settings.training, batch_size=size)
    settings = dataclasses.replace(one.settings, training=training)
    splits = gan._splits(settings.data, None, 0)
    game = gan._Game(settings, splits, 0)
    game.run_epoch()
    assert game.rows[-1]["generator.loss"] > 0
    other = dataclasses.replace(
        settings, model=dataclasses.replace(settings.model, name="lenet", options={})
    )
    with pytest.raises(ValueError, match=r"kind 'gan' needs .* got model.name = 'lenet'"):
        gan._Game(other, splits, 0)


def test_the_judge_sees_what_is_generated(images):
    plain = dataclasses.replace(Settings().data, name=images, train=48)
    phase = dataclasses.replace(plain, transform="phase")
    weights = [next(gan.judge(config).parameters()) for config in (plain, phase)]
    assert not torch.equal(*weights)


def game(settings: Settings) -> gan._Game:
    return gan._Game(settings, gan._splits(settings.data, None, 0), 0)


def weights(one: gan._Game) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in one.networks.parameters()])


def test_gans_follow_schedule_and_clipping(tmp_path, images):
    settings = task("gan", "baseline", tmp_path / "run", images, 2).settings
    stopping = ScheduleConfig(name="multistep", milestones=(0.5,), gamma=0.0)
    one = game(dataclasses.replace(settings, schedule=stopping))
    start = weights(one)
    one.run_epoch()
    half = weights(one)
    one.run_epoch()
    assert not torch.equal(start, half)
    assert torch.equal(half, weights(one))
    training = dataclasses.replace(settings.training, max_norm=1e-30)
    still = game(
        dataclasses.replace(settings, training=training, optimizer=OptimizerConfig(lr=1.0))
    )
    still.run_epoch()
    torch.testing.assert_close(weights(still), start, rtol=0.0, atol=1e-20)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("loss", "label_smoothing", 0.1),
        ("loss", "name", "w-softmax"),
        ("data", "augment", ("flip",)),
        ("training", "precision", "bfloat16"),
        ("evaluation", "recall", (1,)),
    ],
)
def test_gans_refuse_what_they_do_not_follow(section, key, value, tmp_path, images):
    one = task("gan", "baseline", tmp_path / "run", images, 1)
    changed = dataclasses.replace(getattr(one.settings, section), **{key: value})
    settings = dataclasses.replace(one.settings, **{section: changed})
    with pytest.raises(ValueError, match=rf"'gan' does not follow {section}\.{key}; got .*Leave"):
        gan.run(dataclasses.replace(one, settings=settings), report=lambda _: None)


def test_a_gan_that_diverges_names_the_step(tmp_path, images):
    one = game(task("gan", "baseline", tmp_path / "run", images, 2).settings)
    one.run_epoch()
    next(one.networks.discriminator.parameters()).data.fill_(torch.nan)
    with pytest.raises(DivergedError, match=r"step 3 \(epoch 2\): the loss of the discriminator"):
        one.run_epoch()


def test_spectral_normalisation_starts_a_game_from_the_same_weights(tmp_path, images):
    plain, spectral = (
        game(task("gan", arm, tmp_path / arm, images, 1).settings).networks.state_dict()
        for arm in ("baseline", "sn")
    )
    for name, value in plain.items():
        layer = name.removesuffix(".weight")
        other = spectral.get(name, spectral.get(f"{layer}.parametrizations.weight.original"))
        assert torch.equal(value, other), name
