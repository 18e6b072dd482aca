"""The order of all runs of an experiment: selection first, then seed by seed, all arms of each."""

import dataclasses
import fcntl
import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import Any

from sphuni._files import remove_leftovers, write_text
from sphuni._numbers import whole
from sphuni._workers import ordered_map
from sphuni.training import data, ranks
from sphuni.training.config import Settings
from sphuni.training.devices import present_device
from sphuni.training.experiment import Arm, Case, Experiment
from sphuni.training.runner import Outcome, Task, is_done, run_folder, run_task
from sphuni.training.schema import candidates, settings_of
from sphuni.training.statistics import lower_is_better

__all__ = ["Step", "locked", "missing_data", "run_experiment"]

_SOURCE, _CHOSEN = "experiment.toml", "chosen.json"
SELECT_SEED = 1_000_000
"""Seeds from here on select; those that count begin at 0."""


@dataclasses.dataclass(frozen=True)
class Step:
    """How far an experiment has come.

    Attributes
    ----------
    done, total : int
        Runs, those that select included.
    outcome : Outcome
        The run that has just ended, or was found finished.
    trained : bool
        False if it was found finished.
    """

    done: int
    total: int
    outcome: Outcome
    trained: bool


def run_experiment(
    experiment: Experiment,
    out: Path,
    *,
    seeds: int | None = None,
    data_folder: Path | None = None,
    device: str = "cpu",
    workers: int = 1,
    source: str = "",
    board: bool = False,
    on_step: Callable[[Step], None] | None = None,
) -> list[Outcome]:
    """Do all runs of an experiment that are not done yet.

    Parameters
    ----------
    experiment : Experiment
    out : Path
        Its results are kept in the sub-folder of its name.
    seeds : int, optional
        In place of the number in the experiment.
    data_folder : Path, optional
    device : str
    workers : int
        Processes; results do not depend on it.
    source : str
        Text of the experiment's file, kept beside the results so that tables can be made later.
    board : bool, default False
        Write TensorBoard scalars into the folders of runs.
    on_step : callable, optional
        Called with a `Step` after every run.

    Returns
    -------
    list of Outcome
        The runs that count. Cases whose data are missing are left out; see `missing_data`.

    Raises
    ------
    ValueError
        If the folder holds runs with other settings, or another process is at work in it; if seeds
        is below 1, or there is no such device.
    """
    device = present_device(device)
    folder = out / experiment.name
    folder.mkdir(parents=True, exist_ok=True)
    absent = missing_data(experiment, data_folder)
    pairs = [
        (case, arm)
        for case in experiment.cases
        if case.name not in absent
        for arm in experiment.arms
        if not arm.cases or case.name in arm.cases
    ]
    count = experiment.seeds if seeds is None else whole("seeds", seeds, 1)
    make = _Maker(experiment, folder, count, data_folder, device, board)
    with locked(folder):
        if ranks.is_first():
            for name in (_SOURCE, _CHOSEN):
                remove_leftovers(folder / name)
        if not (folder / _SOURCE).exists():
            _write_record(folder, source, {})
        counter = _Counter(make.count(pairs), on_step)
        chosen: dict[tuple[str, str], dict[str, Any]] = {}
        for stage in make.selection(pairs):
            tasks = stage(chosen)
            outcomes = _work(tasks, _found(tasks, counter), workers, counter)
            chosen |= _choose(experiment, outcomes)
        tasks = make.finals(pairs, chosen)
        found = _found(tasks, counter)  # refuses what the old record is of, so before the new one
        _write_record(folder, source, chosen)
        return _work(tasks, found, workers, counter)


def missing_data(experiment: Experiment, folder: Path | None) -> dict[str, str]:
    """Return the reason for every case whose data are not there."""
    reasons = {}
    for case in experiment.cases:
        if experiment.kind == "conditioning":
            continue
        name = case.overrides.get("data", {}).get("name", experiment.base.data.name)
        reason = data.reason_missing(name, folder)
        if reason:
            reasons[case.name] = reason
    return reasons


class _Maker:
    """Makes the tasks of an experiment."""

    def __init__(
        self,
        experiment: Experiment,
        folder: Path,
        seeds: int,
        data_folder: Path | None,
        device: str,
        board: bool,
    ) -> None:
        self.experiment, self.folder, self.seeds = experiment, folder, seeds
        self.data_folder, self.device, self.board = data_folder, device, board

    def count(self, pairs: Sequence[tuple[Case, Arm]]) -> int:
        """Number of all runs."""
        tried = sum(len(self._tried(arm)) for _, arm in pairs)
        return tried * self.experiment.select.seeds + sum(self._seeds(arm) for _, arm in pairs)

    def selection(
        self, pairs: Sequence[tuple[Case, Arm]]
    ) -> Iterator[Callable[[dict[tuple[str, str], dict[str, Any]]], list[Task]]]:
        """Tasks that select: first those of the arm that all others start from."""
        first = self.experiment.select.first
        for own in (True, False):
            part = [(case, arm) for case, arm in pairs if (arm.name == first) == own]
            yield lambda chosen, part=part: self._selecting(part, chosen)

    def finals(
        self,
        pairs: Sequence[tuple[Case, Arm]],
        chosen: dict[tuple[str, str], dict[str, Any]],
    ) -> list[Task]:
        """The runs that count, seed by seed, so that an unfinished experiment is paired too."""
        tasks = []
        for seed in range(self.seeds):
            for case, arm in pairs:
                if seed < self._seeds(arm):
                    values = {**self._start(case, arm, chosen), **_of(chosen, case, arm)}
                    tasks.append(self._task(case, arm, seed, values, "final"))
        return tasks

    def _selecting(
        self,
        pairs: Sequence[tuple[Case, Arm]],
        chosen: dict[tuple[str, str], dict[str, Any]],
    ) -> list[Task]:
        tasks = []
        for seed in range(SELECT_SEED, SELECT_SEED + self.experiment.select.seeds):
            for case, arm in pairs:
                start = self._start(case, arm, chosen)
                for values in self._tried(arm):
                    tasks.append(self._task(case, arm, seed, {**start, **values}, "select"))
        return tasks

    def _tried(self, arm: Arm) -> list[dict[str, Any]]:
        return candidates(arm) if arm.select and self.experiment.select.seeds else []

    def _start(
        self, case: Case, arm: Arm, chosen: dict[tuple[str, str], dict[str, Any]]
    ) -> dict[str, Any]:
        first = self.experiment.select.first
        return dict(chosen.get((case.name, first), {})) if arm.name != first else {}

    def _seeds(self, arm: Arm) -> int:
        return min(arm.seeds, self.seeds) if arm.seeds else self.seeds

    def _task(self, case: Case, arm: Arm, seed: int, values: dict[str, Any], stage: Any) -> Task:
        return Task(
            experiment=self.experiment.name,
            case=case.name,
            arm=arm.name,
            seed=seed,
            stage=stage,
            candidate=values,
            settings=_for_stage(settings_of(self.experiment, case, arm, values), stage),
            folder=self.folder / run_folder(case.name, arm.name, stage, values, seed),
            kind=self.experiment.kind,
            options=self.experiment.options,
            data=self.data_folder,
            device=self.device,
            board=self.board and stage == "final",
        )


def _for_stage(settings: Settings, stage: str) -> Settings:
    """Runs that select are judged by their last epoch only, so nothing else is measured."""
    if stage == "final":
        return settings
    epochs = settings.training.epochs
    evaluation = dataclasses.replace(settings.evaluation, track="none", every=epochs)
    return dataclasses.replace(settings, evaluation=evaluation)


class _Counter:
    def __init__(self, total: int, on_step: Callable[[Step], None] | None) -> None:
        self.done, self.total, self.on_step = 0, total, on_step

    def __call__(self, outcome: Outcome, *, trained: bool) -> None:
        self.done += 1
        if self.on_step is not None:
            self.on_step(Step(self.done, self.total, outcome, trained))


def _found(tasks: list[Task], counter: _Counter) -> dict[int, Outcome]:
    """The results that exist, by the number of the task; the time left is that of the others."""
    finished = {k: run_task(task) for k, task in enumerate(tasks) if is_done(task.folder)}
    for outcome in finished.values():
        counter(outcome, trained=False)
    return finished


def _work(
    tasks: list[Task], found: dict[int, Outcome], workers: int, counter: _Counter
) -> list[Outcome]:
    """Do the tasks that have no result yet."""
    finished = dict(found)
    left = [k for k in range(len(tasks)) if k not in finished]
    for position, outcome in ordered_map(run_task, [tasks[k] for k in left], workers=workers):
        finished[left[position]] = outcome
        counter(outcome, trained=True)
    return [finished[k] for k in range(len(tasks))]


def _choose(
    experiment: Experiment, outcomes: list[Outcome]
) -> dict[tuple[str, str], dict[str, Any]]:
    """The candidate with the best mean of every case and arm; one that ever failed is out."""
    metric = experiment.select.metric
    sign = 1.0 if lower_is_better(metric) else -1.0
    scores: dict[tuple[str, str], list[tuple[float, dict[str, Any]]]] = {}
    groups: dict[tuple[str, str, str], list[Outcome]] = {}
    for outcome in outcomes:
        key = (outcome.case, outcome.arm, json.dumps(outcome.candidate))
        groups.setdefault(key, []).append(outcome)
    for (case, arm, _), group in groups.items():
        value = sign * fmean(outcome.last(metric) for outcome in group)
        value = math.inf if math.isnan(value) else value
        scores.setdefault((case, arm), []).append((value, group[0].candidate))
    for (case, arm), found in scores.items():
        runs = [o for o in outcomes if (o.case, o.arm) == (case, arm)]
        if all(math.isinf(value) for value, _ in found) and any(o.status == "done" for o in runs):
            raise ValueError(
                f"selection for arm {arm!r} on {case!r} has no number to choose by: no run logged "
                f"{metric!r}. Set data.validation to a number of samples, or correct select.metric"
            )
    return {key: min(found, key=lambda one: one[0])[1] for key, found in scores.items()}


def _of(chosen: dict[tuple[str, str], dict[str, Any]], case: Case, arm: Arm) -> dict[str, Any]:
    return chosen.get((case.name, arm.name), {})


def _write_record(folder: Path, source: str, chosen: dict[tuple[str, str], dict[str, Any]]) -> None:
    """Say beside the results what they are of: the experiment's file and the chosen values."""
    if not ranks.is_first():
        return
    if source:
        write_text(folder / _SOURCE, source)
    if not chosen:
        return
    table = {f"{case}/{arm}": values for (case, arm), values in chosen.items()}
    write_text(folder / _CHOSEN, json.dumps(table, indent=1))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a second process out; the lock ends with the process, however that ends."""
    if not ranks.is_first():
        yield
        return
    with (folder / ".lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(
                f"another process is at work in {str(folder)!r}; wait for it, or name another "
                "folder with --out"
            ) from None
        yield
