"""Reports as strict JSON and as CSV, and back."""

import contextlib
import csv
import dataclasses
import io
import json
import math
import os
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from sphuni._errors import UnreadableFileError
from sphuni._text import shorten, visible

__all__ = ["decode", "dump_csv", "dump_json", "load_json", "plain", "reading"]

_T = TypeVar("_T")
_LONGEST_CELL = 32_000  # spreadsheets cut cells at 32,767 characters
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def plain(value: Any) -> Any:
    """Turn numpy values, dataclasses and tuples into plain numbers, dicts and lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return str(value)


def dump_json(value: dict[str, Any]) -> str:
    """Write plain values as JSON that every parser accepts, one key or layer to a line."""
    lines = (f"{json.dumps(key)}: {_dump_value(item)}" for key, item in value.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _dump_value(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(_dump_value(item) for item in value) + "\n]"
    return json.dumps(_strict(value), allow_nan=False)


def _strict(value: Any) -> Any:
    """Replace what JSON lacks: NaN by null, infinities by the strings of their names."""
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_strict(item) for item in value]
    return value


def load_json(path: str | os.PathLike[str], schema: str, version: int) -> dict[str, Any]:
    """Read a JSON object and check that it is of the given schema."""
    shown = visible(str(path))
    if not os.path.exists(path):
        raise UnreadableFileError(f"{shown!r} does not exist")
    try:
        data = json.loads(Path(path).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UnreadableFileError(f"cannot read {shown} as JSON: {visible(str(error))}") from error
    if not isinstance(data, dict) or data.get("schema") != schema:
        raise UnreadableFileError(
            f"{shown} is not a {schema} file; write one with ModelReport.to_json or "
            "`sphuni analyze --json`"
        )
    if data.get("version") != version:
        raise UnreadableFileError(
            f"{shown} has version {data.get('version')!r} of {schema}; this sphuni reads "
            f"version {version}: analyse the model again"
        )
    return data


@contextlib.contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn every complaint about the content of a file into one that names the file."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UnreadableFileError(
            f"{visible(str(path))} is damaged: {type(error).__name__}: {visible(str(error))}"
        ) from error


def decode(cls: type[_T], data: dict[str, Any]) -> _T:
    """Build a dataclass from plain values by the types of its fields; unknown keys are ignored."""
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        if field.name not in data:
            continue
        convert = _DECODERS.get(typing.cast(Any, field.type), lambda value: value)
        try:
            fields[field.name] = convert(data[field.name])
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ValueError(f"field {field.name!r}: {error}") from error
    return cls(**fields)


def _number(value: Any) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool):
        raise TypeError(f"expected a number; got {value}")
    return float(value)


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"expected an integer; got {value!r}")
    if abs(value) >= 1 << 63:
        raise OverflowError("an integer of more than 64 bits")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text; got {value!r}")
    return value


def _numbers(value: Any) -> np.ndarray:
    return np.array([_number(item) for item in value], dtype=np.float64)


def _pair(value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    i, j = value
    return _integer(i), _integer(j)


_DECODERS: dict[Any, Any] = {
    float: _number,
    int: _integer,
    str: _text,
    np.ndarray: _numbers,
    dict[str, float]: lambda value: {str(k): _number(v) for k, v in value.items()},
    dict[str, bool]: lambda value: {str(k): bool(v) for k, v in value.items()},
    tuple[int, ...]: lambda value: tuple(_integer(item) for item in value),
    tuple[str, ...]: lambda value: tuple(_text(item) for item in value),
    tuple[int, int] | None: _pair,
    tuple[tuple[int, int, float], ...]: lambda value: tuple(
        (_integer(i), _integer(j), _number(t)) for i, j, t in value
    ),
}


def dump_csv(rows: list[dict[str, Any]]) -> str:
    """Write rows that share their columns."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    if rows:
        writer.writerow(rows[0])
        writer.writerows([_cell(value) for value in row.values()] for row in rows)
    return stream.getvalue()


def _cell(value: Any) -> str:
    """Write one cell; only text is guarded, so that negative numbers stay numbers."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if not isinstance(value, str):
        return str(value)
    guard = "'" if value.startswith(_FORMULA_STARTS) else ""
    return guard + shorten(value, _LONGEST_CELL)
