"""Every packaged experiment can be built, and takes a step on data of its shape."""

import dataclasses
import functools

import pytest
import torch

from sphuni.training import schema
from sphuni.training.data import Graph, Samples, Splits
from sphuni.training.experiment import Arm, Case, Experiment
from sphuni.training.loop import Trainer
from sphuni.training.sparse import Sparse

SHAPES = {
    "digits": (1, 8, 8),
    "mnist": (1, 28, 28),
    "fashion-mnist": (1, 28, 28),
    "cifar10": (3, 32, 32),
    "cifar100": (3, 32, 32),
    "svhn": (3, 32, 32),
    "imagenet": (3, 64, 64),
    "shapes": (64, 3),
    "modelnet40": (64, 3),
}
GRAPHS = {"cora", "citeseer", "pubmed"}


@functools.cache
def experiments() -> list[Experiment]:
    return [
        found
        for found in map(schema.load, schema.available())
        if found.kind == "classification" and found.device != "cuda"
    ]


def combinations() -> list[tuple[Experiment, Case, Arm]]:
    return [
        (experiment, case, arm)
        for experiment in experiments()
        for case in experiment.cases
        for arm in experiment.arms
        if not arm.cases or case.name in arm.cases
    ]


def first_of_every_arm() -> list[tuple[Experiment, Case, Arm]]:
    found = {(e.name, arm.name): (e, case, arm) for e, case, arm in reversed(combinations())}
    return list(found.values())


def splits(name: str, pool: int, classes: int = 10) -> Splits:
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(16) % classes
    if name in GRAPHS:
        features = Sparse.of(torch.rand(40, 50, generator=generator))
        nodes = Samples(torch.arange(16), targets)
        graph = Graph(features, Sparse.of(torch.eye(40)), 50)
        return Splits(nodes, nodes, nodes, classes, (50,), graph)
    shape = SHAPES[name]
    shape = (shape[0], shape[1] // pool, shape[2] // pool) if len(shape) == 3 else shape
    samples = Samples(torch.randn(16, *shape, generator=generator), targets)
    return Splits(samples, samples, samples, classes, shape)


def trainer(experiment: Experiment, case: Case, arm: Arm) -> Trainer:
    settings = schema.settings_of(experiment, case, arm)
    settings = dataclasses.replace(
        settings,
        training=dataclasses.replace(settings.training, epochs=1, batch_size=16),
        evaluation=dataclasses.replace(settings.evaluation, track="none", recall=()),
        data=dataclasses.replace(settings.data, augment=()),
    )
    return Trainer(settings, splits(settings.data.name, settings.data.pool), seed=0)


def step(experiment: Experiment, case: Case, arm: Arm) -> None:
    run = trainer(experiment, case, arm)
    run.run_epoch()
    (row,) = (row for row in run.rows if row["event"] == "epoch")
    assert row["train.loss"] > 0
    assert "test.error" in row


def name_of(value: object) -> str:
    return getattr(value, "name", "")


@pytest.mark.parametrize(("experiment", "case", "arm"), first_of_every_arm(), ids=name_of)
def test_every_arm_takes_a_step(experiment, case, arm):
    step(experiment, case, arm)


@pytest.mark.slow
@pytest.mark.parametrize(("experiment", "case", "arm"), combinations(), ids=name_of)
def test_every_combination_takes_a_step(experiment, case, arm):
    step(experiment, case, arm)


def test_claims_name_runs_that_exist():
    for experiment in map(schema.load, schema.available()):
        arms = {arm.name: arm for arm in experiment.arms}
        for claim in experiment.claims:
            for case in claim.cases:
                for arm in (claim.better, claim.worse):
                    limited = arms[arm].cases if arm else ()
                    assert not limited or case in limited, (experiment.name, claim.text)


def test_every_experiment_states_its_cost():
    for experiment in map(schema.load, schema.available()):
        assert experiment.title
        assert experiment.device == "cuda" or experiment.budget_minutes > 0, experiment.name
