"""The state of a search, and its file."""

import dataclasses
import io
import json
import math
import operator
import os
import tokenize
import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sphuni._errors import UnreadableFileError
from sphuni._files import write_bytes
from sphuni._rng import numpy_generator
from sphuni.configurations.problems._base import Problem, Relaxed
from sphuni.configurations.search._batch import Stage

__all__ = ["SAME_VALUE", "State", "load", "save"]

_SCHEMA = "sphuni.optimize"
_VERSION = 2
_RELAXED = ("points", "scores", "converged")
_SIGNS_OF_DAMAGE = (
    *(OSError, ValueError, KeyError, TypeError, EOFError, OverflowError, MemoryError),
    *(zipfile.BadZipFile, zlib.error),
    RuntimeError,  # of members that seem to be encrypted, or compressed in an unknown way
    *(SyntaxError, tokenize.TokenError),  # of the headers of arrays
)
SAME_VALUE = 1e-11
"""Values closer than this, relative to their scale, are one optimum's."""


@dataclasses.dataclass
class State:
    """What has been found so far; `done` starts have been run, in order.

    `stage` is how far the next batch has come. What belongs to a batch that the clock cut short is
    kept apart, so that a search that goes on ends where it would have ended: `cut` are its optima,
    which are not stored, `cut_value` and `cut_points` its best.
    """

    done: int = 0
    scores: list[float] = dataclasses.field(default_factory=list)
    polished: list[float] = dataclasses.field(default_factory=list)
    value: float | None = None
    points: NDArray[np.float64] | None = None
    cut: list[float] = dataclasses.field(default_factory=list)
    cut_value: float | None = None
    cut_points: NDArray[np.float64] | None = None
    cut_is_bound: bool = False
    """Whether `cut_value` is that of the worst place seen only. Then it is no match for a value,
    and is not stored."""
    stage: Stage | None = None

    def best(self, task: Problem) -> tuple[float, NDArray[np.float64]] | None:
        """Value and points of the best; whole batches come first."""
        bound = self.cut_is_bound and self.value is not None
        if bound or self.cut_value is None or self.cut_points is None:
            return None if self.value is None or self.points is None else (self.value, self.points)
        if self.value is not None and self.points is not None:
            gain = task.sign * (self.value - self.cut_value)
            if gain <= SAME_VALUE * task.scale(self.value):
                return self.value, self.points
        return self.cut_value, self.cut_points


def save(path: str | os.PathLike[str], key: dict[str, Any], state: State) -> None:
    """Write a checkpoint atomically: the previous file stays until the new one is whole."""
    stream = io.BytesIO()
    np.savez(
        stream,
        schema=np.array(_SCHEMA),
        version=np.array(_VERSION),
        key=np.array(json.dumps(key, sort_keys=True)),
        done=np.array(state.done),
        scores=np.array(state.scores, dtype=np.float64),
        polished=np.array(state.polished, dtype=np.float64),
        **_best_fields("", state.value, state.points),
        **_best_fields("cut_", *_stored_cut(state)),
        **_stage_fields(state.stage),
    )
    write_bytes(path, stream.getvalue())


def _stored_cut(state: State) -> tuple[float | None, NDArray[np.float64] | None]:
    return (None, None) if state.cut_is_bound else (state.cut_value, state.cut_points)


def _best_fields(
    prefix: str, value: float | None, points: NDArray[np.float64] | None
) -> dict[str, Any]:
    return {
        f"{prefix}value": np.array(np.nan if value is None else value),
        f"{prefix}points": np.empty((0, 0)) if points is None else points,
    }


def _read_best(
    prefix: str, fields: dict[str, Any]
) -> tuple[float | None, NDArray[np.float64] | None]:
    value, points = _numbers(fields, f"{prefix}value", 0), _numbers(fields, f"{prefix}points", 2)
    return None if np.isnan(value) else float(value), points if points.size else None


def _numbers(
    fields: dict[str, Any], name: str, dimensions: int, kind: type[np.generic] = np.float64
) -> NDArray[Any]:
    """A field of numbers of that kind, with so many dimensions."""
    array = fields[name]
    if array.dtype != kind or array.ndim != dimensions:
        raise ValueError(name)
    return np.asarray(array)


def _stage_fields(stage: Stage | None) -> dict[str, Any]:
    """A stage as arrays; its numbers as text, which keeps the digits of a generator's state."""
    if stage is None:
        return {}
    arrays = ("found", "points")
    numbers = {
        field.name: getattr(stage, field.name)
        for field in dataclasses.fields(stage)
        if field.name not in arrays
    }
    return {
        "stage": np.array(json.dumps(numbers)),
        "stage_points": np.empty((0, 0)) if stage.points is None else stage.points,
        **{f"stage_found_{key}": getattr(stage.found, key) for key in _RELAXED},
    }


def _read_stage(fields: dict[str, Any]) -> Stage | None:
    if "stage" not in fields:
        return None
    numbers = json.loads(str(fields["stage"]))
    found = Relaxed(
        _numbers(fields, "stage_found_points", 3),
        _numbers(fields, "stage_found_scores", 1),
        _numbers(fields, "stage_found_converged", 1, np.bool_),
    )
    points, rng = _numbers(fields, "stage_points", 2), numbers["rng"]
    if rng is not None:
        numpy_generator(0).bit_generator.state = rng  # is refused unless it is one's state
    return Stage(
        starts=operator.index(numbers["starts"]),
        found=found,
        generation=operator.index(numbers["generation"]),
        polished=tuple(map(float, numbers["polished"])),
        value=float(numbers["value"]),
        points=points if points.size else None,
        hops=operator.index(numbers["hops"]),
        rng=rng,
    )


def load(path: str | os.PathLike[str], key: dict[str, Any]) -> State:
    """Read a checkpoint of the same search.

    Raises
    ------
    UnreadableFileError
        If the file is damaged or is not a checkpoint.
    ValueError
        If it belongs to another search; the message names what differs.
    """
    name = str(path)
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            fields = {field: file[field] for field in file.files}
        if str(fields["schema"]) != _SCHEMA:
            raise KeyError("schema")
        version, found = int(fields["version"]), json.loads(str(fields["key"]))
        if version != _VERSION:
            raise UnreadableFileError(
                f"checkpoint must have version {_VERSION}; {name!r} has version {version}. "
                "Use the release of sphuni that wrote it"
            )
        value, points = _read_best("", fields)
        cut_value, cut_points = _read_best("cut_", fields)
        state = State(
            done=operator.index(fields["done"]),
            scores=_numbers(fields, "scores", 1).tolist(),
            polished=_numbers(fields, "polished", 1).tolist(),
            value=value,
            points=points,
            cut_value=cut_value,
            cut_points=cut_points,
            stage=_read_stage(fields),
        )
    except _SIGNS_OF_DAMAGE as error:
        raise _damaged(name) from error
    if not isinstance(found, dict):
        raise _damaged(name)
    _check_key(name, json.loads(json.dumps(key)), found)
    if not _is_possible(state, key):
        raise _damaged(name)
    return state


def _damaged(name: str) -> UnreadableFileError:
    return UnreadableFileError(
        f"checkpoint must be a file that optimize wrote; {name!r} is damaged or of another "
        "kind and was left as it is. Move it away or name another checkpoint"
    )


def _is_possible(state: State, key: dict[str, Any]) -> bool:
    """Whether a search could have written this."""
    begun, stage = state.done > 0, state.stage
    bests = [(state.value, state.points), (state.cut_value, state.cut_points)]
    if stage is not None:
        bests.append((stage.value if stage.polished else None, stage.points))
    sets = [points for _, points in bests if points is not None]
    sets += [] if stage is None else [*stage.found.points]
    return (
        state.done >= 0
        and begun == (state.value is not None) == bool(state.polished)
        and all((value is None) == (points is None) for value, points in bests)
        and all(value is None or math.isfinite(value) for value, _ in bests)
        and (stage is None or _has_its_size(stage))
        and all(points.shape == (key["n"], key["d"]) for points in sets)
        and all(np.allclose(np.linalg.norm(points, axis=-1), 1.0, atol=1e-9) for points in sets)
    )


def _has_its_size(stage: Stage) -> bool:
    """Whether there are as many optima as its starts and their variations are."""
    found, count = stage.found, stage.starts * (1 + stage.generation)
    same = len(found.points) == found.scores.size == found.converged.size == count
    return same and stage.starts > 0 and stage.generation >= 0 and stage.hops >= 0


def _check_key(name: str, wanted: dict[str, Any], found: dict[str, Any]) -> None:
    different = [k for k in sorted({*wanted, *found}) if wanted.get(k) != found.get(k)]
    if different:
        what = ", ".join(f"{k} = {found.get(k)} there, {wanted.get(k)} here" for k in different)
        raise ValueError(
            f"checkpoint must belong to the same search; {name!r} differs: {what}. "
            "Name another checkpoint"
        )
