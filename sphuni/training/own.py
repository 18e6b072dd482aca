"""A paired comparison of regularizers on a network and data of one's own."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sphuni.training import schema
from sphuni.training.archive import Results
from sphuni.training.compare import compare
from sphuni.training.config import Settings
from sphuni.training.data import Samples, Splits
from sphuni.training.diagnose import DivergedError
from sphuni.training.experiment import Arm, Case, Experiment
from sphuni.training.loop import Row, train
from sphuni.training.runner import Outcome
from sphuni.training.tables import text

__all__ = ["OwnComparison", "compare_methods"]

_CASE = "own data"


class OwnComparison:
    """The outcome of `compare_methods`; printing it shows the table.

    Attributes
    ----------
    results : Results
        All runs with their logs.
    table : Comparison
        Means, paired differences with intervals, adjusted p-values, ranks.
    """

    def __init__(self, results: Results) -> None:
        self.results = results
        self.table = compare(results)

    def __str__(self) -> str:
        return text(self.table)


def compare_methods(
    network: Callable[[], nn.Module],
    train_data: tuple[Tensor, Tensor],
    test_data: tuple[Tensor, Tensor],
    *,
    methods: Iterable[str] = ("none", "hs-mhe"),
    seeds: int = 10,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    device: str = "cpu",
) -> OwnComparison:
    """Train a classifier with several regularizers, seed by seed, and compare them.

    Parameters
    ----------
    network : callable
        Returns a new network; called once per run, with the same random numbers for all methods.
    train_data, test_data : tuple of two tensors
        Inputs as the network takes them, and class numbers.
    methods : iterable of str, default ("none", "hs-mhe")
        The first is what the others are compared with. `sphuni.nn.available_methods()` lists all.
    seeds : int, default 10
    settings : mapping of section to mapping, optional
        As in the file of an experiment, such as ``{"optimizer": {"lr": 0.1}, "training":
        {"epochs": 20}}``; see `sphuni.training.config`.
    device : str, default "cpu"

    Returns
    -------
    OwnComparison

    Notes
    -----
    Coefficients are those of the methods' authors; to choose them on validation data, write an
    experiment with ``[arm.select]`` and run `sphuni train`.

    Examples
    --------
    >>> x, y = torch.eye(4).repeat(8, 1), torch.arange(4).repeat(8)
    >>> result = compare_methods(
    ...     lambda: nn.Linear(4, 4), (x, y), (x, y), seeds=2,
    ...     settings={"training": {"epochs": 1, "batch_size": 8}, "evaluation": {"track": "none"}},
    ... )
    >>> [(row.arm, row.seeds) for row in result.table.cases[0].rows]
    [('none', 2), ('hs-mhe', 2)]
    """
    names = list(methods)
    arms = tuple(Arm(name=n, overrides={"regularizer": {"method": n}}) for n in names)
    experiment = Experiment(
        name="own",
        title="regularizers on a network of your own",
        seeds=seeds,
        base=schema.override(Settings(), settings or {}),
        arms=arms,
        cases=(Case(name=_CASE),),
    )
    splits = _splits(train_data, test_data)
    outcomes = []
    for seed in range(seeds):
        for arm in arms:
            chosen = schema.settings_of(experiment, experiment.cases[0], arm)
            outcomes.append(_run(arm.name, chosen, splits, seed, device, network))
    return OwnComparison(Results(experiment, "", tuple(outcomes)))


def _run(
    arm: str,
    settings: Settings,
    splits: Splits,
    seed: int,
    device: str,
    network: Callable[[], nn.Module],
) -> Outcome:
    rows: list[Row] = []
    reason = ""
    try:
        _, rows = train(settings, splits, seed=seed, device=device, network=network)
    except DivergedError as error:
        reason = str(error)
    return Outcome(
        experiment="own",
        case=_CASE,
        arm=arm,
        stage="final",
        seed=seed,
        candidate={},
        status="failed" if reason else "done",
        reason=reason,
        seconds=sum(row.get("seconds", 0.0) for row in rows),
        rows=rows,
    )


def _splits(train_data: tuple[Tensor, Tensor], test_data: tuple[Tensor, Tensor]) -> Splits:
    for name, (inputs, targets) in (("train_data", train_data), ("test_data", test_data)):
        if len(inputs) != len(targets) or len(inputs) == 0:
            raise ValueError(
                f"{name} must be inputs and as many class numbers, at least one; "
                f"got {len(inputs)} and {len(targets)}"
            )
    train_part, test_part = Samples(*train_data), Samples(*test_data)
    classes = int(torch.cat([train_part.targets, test_part.targets]).max()) + 1
    nothing = train_part.take(torch.arange(0))
    return Splits(train_part, nothing, test_part, classes, tuple(train_part.inputs.shape[1:]))
