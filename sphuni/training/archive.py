"""Results of many runs: read from their folders, or from one compressed file per experiment.

The compressed form, ``<experiment>.jsonl.gz``, is small enough to be kept with the source. Its
first line holds the experiment's file and the settings that occur, each further line one run: the
number of its settings, curves thinned out, the measurements of layers reduced to what tables need.
"""

import dataclasses
import gzip
import io
import json
import math
import tomllib
import zlib
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

from sphuni._errors import UnreadableFileError
from sphuni._files import write_bytes
from sphuni.training import schema
from sphuni.training.experiment import Experiment
from sphuni.training.runner import RESULT, Outcome, outcome_of, read_result

__all__ = ["Results", "pack", "read_results"]

_SCHEMA, _VERSION = "sphuni.training.archive", 1
_SOURCE = "experiment.toml"
_EPOCHS, _SPECTRUM = 25, 12
_DIGITS, _LAYER_DIGITS = 7, 5
_LAYER_TABLES = {"energy": ("2", "half:2"), "excess": ("0", "2", "half:0", "half:2")}


@dataclasses.dataclass(frozen=True)
class Results:
    """One experiment with the runs that are done.

    Attributes
    ----------
    experiment : Experiment
    source : str
        Text of its file.
    outcomes : tuple of Outcome
        Those that select included.
    """

    experiment: Experiment
    source: str
    outcomes: tuple[Outcome, ...]

    @property
    def finals(self) -> list[Outcome]:
        """The runs that count."""
        return [outcome for outcome in self.outcomes if outcome.stage == "final"]


def read_results(path: Path) -> list[Results]:
    """Read all experiments in a folder of runs, a folder of compressed logs, or one such file.

    Raises
    ------
    UnreadableFileError
        If nothing is there, or a file is damaged.
    """
    if path.is_file():
        return [_unpack(path)]
    found = [_unpack(file) for file in sorted(path.glob("*.jsonl.gz"))]
    inner = {file.parent for place in ("*", "**") for file in path.glob(f"{place}/{_SOURCE}")}
    folders = [path] if (path / _SOURCE).exists() else sorted(inner)
    found += [_read_folder(folder) for folder in folders]
    if not found:
        raise UnreadableFileError(
            f"{str(path)!r} holds no results: neither folders of runs nor *.jsonl.gz"
        )
    return found


def pack(results: Results, folder: Path) -> Path:
    """Write the compressed form of an experiment; the same results give the same bytes.

    Raises
    ------
    ValueError
        If the file is the log of another experiment, such as that of ``a-b`` for ``a/b``.
    """
    path = folder / f"{results.experiment.name.replace('/', '-')}.jsonl.gz"
    _check_owner(path, results.experiment.name)
    head: dict[str, Any] = {"schema": _SCHEMA, "version": _VERSION, "source": results.source}
    reference = results.experiment.reference or results.experiment.arms[0].name
    ordered = sorted(
        results.outcomes, key=lambda o: (o.stage, o.case, o.arm, o.seed, json.dumps(o.candidate))
    )
    epochs = {claim.epoch for claim in results.experiment.claims}
    runs = [_slim(outcome, outcome.arm == reference, epochs) for outcome in ordered]
    head["settings"] = _numbered(runs)
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in (head, *runs))
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb", mtime=0, filename="") as packed:
        packed.write(text.encode())
    write_bytes(path, stream.getvalue())
    return path


def _read_folder(folder: Path) -> Results:
    source = (folder / _SOURCE).read_text(encoding="utf-8")
    found = (read_result(path.parent) for path in sorted(folder.rglob(RESULT)))
    origin = f"{folder.name}.toml"
    results = _results(source, origin, tuple(o for o in found if o is not None))
    name = results.experiment.name  # another may have its folder within, as names may be paths
    own = tuple(outcome for outcome in results.outcomes if outcome.experiment == name)
    return dataclasses.replace(results, outcomes=own)


def _check_owner(path: Path, name: str) -> None:
    """Refuse to replace the log of another experiment; what is no log may be replaced."""
    if not path.exists():
        return
    try:
        owner = _name_of(_lines(path)[0]["source"])
    except _NO_LOG:
        return
    if owner not in ("", name):
        raise ValueError(
            f"{str(path)!r} is the log of the experiment {owner!r} and would be that of {name!r} "
            "too; pack one of them into another folder"
        )


_NO_LOG = (OSError, EOFError, zlib.error, LookupError, ValueError, TypeError, AttributeError)


def _lines(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The first line of a log, read, and the others as they are."""
    head, *lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    first = json.loads(head)
    if first.get("schema") != _SCHEMA or first.get("version") != _VERSION:
        raise ValueError(f"schema {first.get('schema')!r}, version {first.get('version')!r}")
    return first, lines


def _unpack(path: Path) -> Results:
    try:
        first, lines = _lines(path)
        source = str(first["source"])
        outcomes = tuple(_outcome(json.loads(line), first) for line in lines)
    except _NO_LOG as error:
        raise UnreadableFileError(f"{str(path)!r} is not a log of experiments: {error}") from None
    return _results(source, f"{path.name.removesuffix('.jsonl.gz')}.toml", outcomes)


def _outcome(table: dict[str, Any], head: dict[str, Any]) -> Outcome:
    """A run with its settings; logs of before these were kept hold empty ones."""
    number = table["settings"]
    settings = head["settings"][number] if isinstance(number, int) else {}
    return outcome_of({**table, "settings": settings})


def _numbered(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Replace the settings of runs by their numbers in the list that is returned."""
    found: dict[str, dict[str, Any]] = {}
    for run in runs:
        found.setdefault(json.dumps(run["settings"]), run["settings"])
    numbers = {key: number for number, key in enumerate(found)}
    for run in runs:
        run["settings"] = numbers[json.dumps(run["settings"])]
    return list(found.values())


def _results(source: str, origin: str, outcomes: tuple[Outcome, ...]) -> Results:
    """Claims and labels come from the packaged file where there is one: it may be newer."""
    name = _name_of(source)
    if name in schema.available():
        source = schema.source(name)
    return Results(schema.parse(source, origin=origin), source, outcomes)


def _name_of(source: str) -> str:
    """The name in an experiment's file, of which nothing else need be understood."""
    try:
        return str(tomllib.loads(source).get("name", ""))
    except tomllib.TOMLDecodeError:
        return ""


def _slim(outcome: Outcome, with_start: bool, needed: Container[int]) -> dict[str, Any]:
    """What tables and curves need of a run; the start is the same for all arms of a seed."""
    epochs = [row for row in outcome.rows if row.get("event") == "epoch"]
    others = [row for row in outcome.rows if row.get("event") != "epoch"]
    if outcome.stage == "select":
        rows = epochs[-1:]
    else:
        last = max((row.get("epoch", 0) for row in others), default=0)
        others = [row for row in others if with_start or row.get("epoch", last) > 0]
        rows = [*_thin(epochs, needed), *(_slim_layers(row) for row in others)]
    return {**dataclasses.asdict(outcome), "rows": [_rounded(row, _digits(row)) for row in rows]}


def _thin(rows: list[dict[str, Any]], needed: Container[int]) -> list[dict[str, Any]]:
    """Every k-th row from the end, so that the last stays; rows with test numbers go first.

    Epochs that claims are about stay, too.
    """
    tested = [row for row in rows if any(key.startswith("test.") for key in row)]
    if tested and len(tested) < len(rows) and len(tested) <= _EPOCHS:
        chosen = tested
    else:
        chosen = rows[::-1][:: max(-(-len(rows) // _EPOCHS), 1)]
    kept = {row["epoch"] for row in chosen}
    return [row for row in rows if row["epoch"] in kept or row["epoch"] in needed]


def _slim_layers(row: dict[str, Any]) -> dict[str, Any]:
    if row.get("event") != "layers":
        return row
    return {**row, "layers": [_slim_layer(layer) for layer in row["layers"]]}


def _slim_layer(layer: dict[str, Any]) -> dict[str, Any]:
    slim = {key: value for key, value in layer.items() if key not in ("optimum", "z")}
    for key, names in _LAYER_TABLES.items():
        slim[key] = {name: layer[key][name] for name in names if name in layer[key]}
    spectrum = layer["spectrum"]
    slim["spectrum"] = [spectrum[k] for k in _evenly(len(spectrum), _SPECTRUM)]
    return slim


def _evenly(size: int, most: int) -> Iterator[int]:
    count = min(size, most)
    for k in range(count):
        yield round(k * (size - 1) / max(count - 1, 1))


def _digits(row: dict[str, Any]) -> int:
    """Metrics keep all digits of the log, so that tables from it are the same."""
    return _DIGITS if row.get("event") == "epoch" else _LAYER_DIGITS


def _rounded(value: Any, digits: int) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _rounded(item, digits) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item, digits) for item in value]
    return value
