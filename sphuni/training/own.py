"""A paired comparison of regularizers on a network and data of one's own."""

import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from sphuni._numbers import whole
from sphuni._typing import Array
from sphuni.training import schema
from sphuni.training.archive import Results
from sphuni.training.checks import complaint_of_settings
from sphuni.training.compare import compare
from sphuni.training.config import Settings
from sphuni.training.data import Samples, Splits
from sphuni.training.devices import present_device
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
    train_data: tuple[Array, Array],
    test_data: tuple[Array, Array],
    *,
    methods: Iterable[str] = ("none", "hs-mhe"),
    seeds: int = 10,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    device: str | torch.device = "cpu",
) -> OwnComparison:
    """Train a classifier with several regularizers, seed by seed, and compare them.

    Parameters
    ----------
    network : callable
        Returns a new network; called once per run, with the same random numbers for all methods.
    train_data, test_data : tuple of two tensors or arrays
        Inputs as the network takes them, and class numbers.
    methods : iterable of str, default ("none", "hs-mhe")
        The first is what the others are compared with. `sphuni.nn.available_methods()` lists all.
    seeds : int, default 10
    settings : mapping of section to mapping, optional
        As in the file of an experiment, such as ``{"optimizer": {"lr": 0.1}, "training":
        {"epochs": 20}}``; see `sphuni.training.config`.
    device : str or torch.device, default "cpu"

    Returns
    -------
    OwnComparison

    Raises
    ------
    TypeError
        If the network fails on inputs whose type is not that of its parameters.

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
    if isinstance(methods, str):
        raise TypeError(f"methods must be a list of names, not one; got {methods!r}")
    names = list(methods)
    repeated = [name for name in names if names.count(name) > 1]
    if not names or repeated:
        raise ValueError(f"methods must be names, each once; got {names}")
    if "model" in (settings or {}):
        raise ValueError("settings must not hold 'model': the network is what `network` returns")
    if set((settings or {}).get("data", {})) - {"augment"}:
        raise ValueError(
            "settings must not hold of 'data' anything but 'augment': the samples are those of "
            "train_data and test_data"
        )
    arms = tuple(Arm(name=n, overrides={"regularizer": {"method": n}}) for n in names)
    experiment = Experiment(
        name="own",
        title="regularizers on a network of your own",
        seeds=whole("seeds", seeds, 1),
        base=schema.override(Settings(), settings or {}),
        arms=arms,
        cases=(Case(name=_CASE),),
    )
    for arm in arms:
        wrong = complaint_of_settings(schema.settings_of(experiment, experiment.cases[0], arm))
        if wrong:
            raise ValueError(f"settings: {wrong}")
    device = present_device(device)
    splits = _splits(train_data, test_data)
    make = _new_each_time(network)
    outcomes = []
    for seed in range(seeds):
        for arm in arms:
            chosen = schema.settings_of(experiment, experiment.cases[0], arm)
            try:
                outcomes.append(_run(arm.name, chosen, splits, seed, device, make))
            except RuntimeError as error:
                _check_types(splits, make(), error)
                raise
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


def _new_each_time(network: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """Refuse what is no new module: one that was trained in an earlier run, or none at all."""
    if isinstance(network, nn.Module):
        raise TypeError(
            f"network must be a function without arguments that returns a new module; got a "
            f"{type(network).__name__} itself"
        )
    seen: weakref.WeakSet[nn.Module] = weakref.WeakSet()

    def make() -> nn.Module:
        made = network()
        if not isinstance(made, nn.Module):
            raise TypeError(f"network must return a module; it returned a {type(made).__name__}")
        if made in seen:
            raise ValueError(
                "network must return a new module at every call; it returned one twice"
            )
        seen.add(made)
        return made

    return make


def _check_types(splits: Splits, network: nn.Module, error: RuntimeError) -> None:
    """Say that a network failed on inputs of another type, as NumPy's arrays usually are."""
    own = {one.dtype for one in network.parameters() if one.is_floating_point()}
    for name, part in (("train_data", splits.train), ("test_data", splits.test)):
        found = part.inputs.dtype
        if own and found not in own and "type" in str(error):
            kinds = " and ".join(sorted(map(str, own)))
            raise TypeError(
                f"{name} holds {found} and the parameters of the network are {kinds}: {error}. "
                "Convert the inputs, as by .float() or .astype('float32'), or the network"
            ) from error


def _samples(name: str, data: tuple[Array, Array]) -> Samples:
    if len(data) != 2:
        raise ValueError(f"{name} must be two, inputs and class numbers; got {len(data)}")
    inputs, targets = (torch.as_tensor(part) for part in data)
    if len(inputs) != len(targets) or len(inputs) == 0:
        raise ValueError(
            f"{name} must be inputs and as many class numbers, at least one; "
            f"got {len(inputs)} and {len(targets)}"
        )
    classes = targets.long()  # torch compares no unsigned numbers but bytes
    if targets.is_floating_point() or targets.ndim != 1 or int(classes.min()) < 0:
        raise ValueError(
            f"{name} must hold class numbers 0, 1, ... of shape (n,); got {targets.dtype} of shape "
            f"{tuple(targets.shape)} from {targets.double().min().item():g} on"
        )
    return Samples(inputs, classes)


def _splits(train_data: tuple[Array, Array], test_data: tuple[Array, Array]) -> Splits:
    train_part, test_part = _samples("train_data", train_data), _samples("test_data", test_data)
    classes = int(torch.cat([train_part.targets, test_part.targets]).max()) + 1
    nothing = train_part.take(torch.arange(0))
    return Splits(train_part, nothing, test_part, classes, tuple(train_part.inputs.shape[1:]))
