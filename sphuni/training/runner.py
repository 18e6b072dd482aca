"""One run of an experiment from its settings to its files, and why a run may be skipped.

A run has a folder with `log.jsonl` (one line per epoch), `checkpoint.pt` while it is unfinished,
and `result.json` once it is done or has failed. All are written atomically, so a run that is killed
goes on from its last checkpoint.
"""

import dataclasses
import hashlib
import importlib
import json
import re
import reprlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, cast, get_args, get_origin

from sphuni._devices import on_cpu
from sphuni._errors import UnreadableFileError
from sphuni._files import remove_leftovers, write_text
from sphuni.training import data, ranks, schema
from sphuni.training.board import open_board
from sphuni.training.config import Settings
from sphuni.training.diagnose import DivergedError
from sphuni.training.loop import Row, train

__all__ = [
    "Outcome",
    "Task",
    "is_done",
    "outcome_of",
    "read_result",
    "run_folder",
    "run_task",
    "shares_batches",
    "train_classifier",
    "write_result",
]

Status = Literal["done", "failed"]
RESULT, LOG, CHECKPOINT = "result.json", "log.jsonl", "checkpoint.pt"
_SCHEMA, _VERSION = "sphuni.training.result", 1
_SHARED = ("classification", "trained-uniformity")  # the kinds that `train_classifier` does
_PLAIN_NAME = re.compile(r"[\w.+-]{1,40}", re.ASCII)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """One run that is to be done.

    Attributes
    ----------
    experiment, case, arm : str
    seed : int
    stage : {"select", "final"}
        Runs that select see validation data and no test data.
    candidate : dict
        Values by dotted key: those tried, or those chosen.
    settings : Settings
    kind : str
    options : dict
        Of the experiment.
    folder : Path
        Of this run.
    data : Path or None
    device : str
    board : bool
        Write TensorBoard scalars too.
    """

    experiment: str
    case: str
    arm: str
    seed: int
    stage: Literal["select", "final"]
    candidate: dict[str, Any]
    settings: Settings
    folder: Path
    kind: str = "classification"
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    data: Path | None = None
    device: str = "cpu"
    board: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a run.

    Attributes
    ----------
    experiment, case, arm, stage, seed, candidate
        As in `Task`.
    status : {"done", "failed"}
    reason : str
        Why it failed: the step and the layer.
    seconds : float
        Of training, over all processes that worked on it.
    rows : list of dict
        The log.
    settings : dict
        With the kind and the options of the experiment.
    """

    experiment: str
    case: str
    arm: str
    stage: str
    seed: int
    candidate: dict[str, Any]
    status: str
    reason: str
    seconds: float
    rows: list[Row]
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)

    def last(self, metric: str, epoch: int = 0) -> float:
        """Return a number of the log at an epoch, 0 for the last; NaN where there is none."""
        found = [
            row for row in self.rows if row.get("event") == "epoch" and epoch in (0, row["epoch"])
        ]
        if self.status != "done" or not found:
            return float("nan")
        return _number(found[-1], metric)


class Kind(Protocol):
    """A module of runs of another sort."""

    def run(self, task: Task, *, report: Callable[[list[Row]], None]) -> list[Row]:
        """Do one run and return its log; `report` may be called with the rows so far."""


@on_cpu()
def run_task(task: Task) -> Outcome:
    """Do one run, or read its result if it is done already.

    Raises
    ------
    ValueError
        If the folder holds the result of a run with other settings, kind or options; the first
        difference is named.
    MissingDataError
        If its data are not there.
    """
    done = read_result(task.folder)
    others = {"kind": task.kind, "options": task.options}
    if done is not None:
        what = f"{str(task.folder)!r} holds"
        schema.check_same(task.settings, done.settings, what, others=others)
        return done
    if ranks.is_first():
        task.folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    rows: list[Row] = []
    status, reason = "done", ""

    log = _Log(task.folder / LOG)

    board = open_board(task.folder) if task.board and ranks.is_first() else None

    def report(found: list[Row]) -> None:
        rows[:] = found
        if not ranks.is_first():
            return
        log.update(found)
        if board is not None:
            board(found)

    try:
        rows[:] = _rows(task, report)
    except DivergedError as error:
        status, reason = "failed", str(error)
    spent = sum(row.get("seconds", 0.0) for row in rows) or time.perf_counter() - started
    outcome = Outcome(
        **_identity(task),
        status=status,
        reason=reason,
        seconds=round(spent, 3),
        rows=rows,
        settings={**schema.to_table(task.settings), **schema.to_table(others)},
    )
    outcome = ranks.agree(outcome)
    if ranks.is_first():
        log.finish(outcome.rows)
        write_result(task.folder, outcome)
        (task.folder / CHECKPOINT).unlink(missing_ok=True)
        for name in (RESULT, LOG, CHECKPOINT):
            remove_leftovers(task.folder / name)
    return outcome


def run_folder(case: str, arm: str, stage: str, candidate: Mapping[str, Any], seed: int) -> Path:
    """Return where a run is kept, within the folder of its experiment.

    Examples
    --------
    >>> str(run_folder("digits", "so", "select", {"regularizer.scale": 0.5}, 3))
    'digits/so/select-scale=0.5/seed-3'
    """
    tried = ",".join(
        f"{_in_a_name(key.rpartition('.')[2])}={_in_a_name(value)}"
        for key, value in candidate.items()
    )
    return Path(case, arm, *([f"select-{tried}"] if stage == "select" else []), f"seed-{seed}")


def _in_a_name(value: Any) -> str:
    """Write a value as part of a file name, different values differently."""
    if isinstance(value, int | float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    if isinstance(value, str) and _PLAIN_NAME.fullmatch(value):
        return value
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:12]


def is_done(folder: Path) -> bool:
    """Return whether a run has ended."""
    return (folder / RESULT).exists()


def read_result(folder: Path) -> Outcome | None:
    """Read the result of a run, or return None if it is not finished.

    Raises
    ------
    UnreadableFileError
        If the file is damaged.
    ValueError
        If another version wrote it.
    """
    path = folder / RESULT
    if not path.exists():
        return None
    try:
        table = dict(json.loads(path.read_text(encoding="utf-8")))
        known = (table.pop("schema", None), table.pop("version", None)) == (_SCHEMA, _VERSION)
        outcome = outcome_of(table) if known else None
    except (ValueError, TypeError, RecursionError) as error:
        raise UnreadableFileError(
            f"{str(path)!r} is not a whole result: {error}. Remove it, and the run is done again"
        ) from None
    if outcome is None:
        raise ValueError(
            f"{str(path)!r} was not written by this version of sphuni. Name another folder with "
            "--out, or remove that one."
        )
    return outcome


def outcome_of(table: Mapping[str, Any]) -> Outcome:
    """The outcome that a table describes.

    Raises
    ------
    TypeError
        If a key is missing or unknown, or a value is of another type: the first such is named.
    """
    outcome = Outcome(**table)
    for field in dataclasses.fields(Outcome):
        value, kind = getattr(outcome, field.name), get_origin(field.type) or field.type
        if not isinstance(value, (int, float) if kind is float else cast("type[Any]", kind)):
            raise TypeError(f"{field.name} is {reprlib.repr(value)}")
    if outcome.status not in get_args(Status):
        raise TypeError(f"status is {reprlib.repr(outcome.status)}")
    for place, row in enumerate(outcome.rows):
        wrong = _complaint_of_row(row)
        if wrong:
            raise TypeError(f"rows[{place}]{wrong}")
    return outcome


def _complaint_of_row(row: Any) -> str:
    """What is wrong with a line of a log: the events of an epoch are numbers, or None."""
    if not isinstance(row, dict):
        return f" is {reprlib.repr(row)}"
    if not isinstance(row.get("epoch"), int):
        return f"['epoch'] is {reprlib.repr(row.get('epoch'))}"
    if row.get("event") != "epoch":
        return ""
    wrong = (
        f"[{key!r}] is {reprlib.repr(value)}"
        for key, value in row.items()
        if key != "event" and not isinstance(value, int | float | None)
    )
    return next(wrong, "")


def write_result(folder: Path, outcome: Outcome) -> None:
    """Write the result of a run, which marks it as done."""
    table = {"schema": _SCHEMA, "version": _VERSION, **dataclasses.asdict(outcome)}
    write_text(folder / RESULT, json.dumps(table))


def _rows(task: Task, report: Callable[[list[Row]], None]) -> list[Row]:
    if task.kind != "classification":
        name = f"sphuni.training.kinds.{task.kind.replace('-', '_')}"
        return cast(Kind, importlib.import_module(name)).run(task, report=report)
    return train_classifier(task, report=report)


def shares_batches(kind: str) -> bool:
    """Whether several processes do one run of this kind together, or each of them the whole."""
    return kind in _SHARED


def train_classifier(task: Task, *, report: Callable[[list[Row]], None]) -> list[Row]:
    """Train one network on its splits of the data, from its checkpoint if there is one."""
    dataset = data.load(task.settings.data.name, task.data)
    splits = data.draw(dataset, task.settings.data, seed=task.seed)
    _, rows = train(
        task.settings,
        splits,
        seed=task.seed,
        evaluate_on=("validation",) if task.stage == "select" else ("test",),
        device=task.device,
        checkpoint=task.folder / CHECKPOINT,
        on_row=report,
    )
    return rows


class _Log:
    """The log of a run: written whole at first (it may go on from a checkpoint), then appended.

    At the end it is written whole again, as a kind of run may add to its last row.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.lines = path, -1

    def update(self, rows: list[Row]) -> None:
        """Bring the file up to date."""
        text = "".join(f"{json.dumps(row)}\n" for row in rows[max(self.lines, 0) :])
        if self.lines < 0:
            write_text(self.path, text)
        else:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(text)
        self.lines = len(rows)

    def finish(self, rows: list[Row]) -> None:
        """Leave the file with these rows."""
        self.lines = -1
        self.update(rows)


def _identity(task: Task) -> dict[str, Any]:
    names = ("experiment", "case", "arm", "stage", "seed", "candidate")
    return {name: getattr(task, name) for name in names}


def _number(row: Row, metric: str) -> float:
    """A number of a row; accuracy is what is left of the error."""
    if metric in row:  # compressed logs have None where a number was not finite
        return float("nan") if row[metric] is None else float(row[metric])
    part, _, name = metric.rpartition(".")
    if name == "accuracy" and f"{part}.error" in row:
        return 100.0 - float(row[f"{part}.error"])
    return float("nan")
