"""From a file to unit rows: tables of coordinates or angles, and NumPy arrays."""

import csv
import dataclasses
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sphuni.cli._output import UsageError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Layout", "Sample", "read_sample"]

_DELIMITERS = "\t;,"
_MISSING = {"", "na", "nan", "null", "none", "-"}
_UNIT = re.compile(
    r"[ _.]*[(\[]?(?:(?P<degrees>degs?|degrees?|°)|(?P<radians>rads?|radians?)|j2000|icrs)[)\]]?$"
)
"""What a column's name may end with besides the angle it is, such as `lat_deg` or `RAJ2000`."""
_NAMES = {
    "lonlat": (
        ("lon", "lng", "long", "longitude", "ra"),
        ("lat", "latitude", "dec", "de"),
    ),
    "colatitude": (
        ("lon", "long", "longitude", "phi", "azimuth", "node", "om"),
        ("colat", "colatitude", "theta", "inclination", "i"),
    ),
}
_UNIT_SLACK = 1e-6


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the numbers of a file are to be read."""

    kind: str = "xyz"
    columns: str | None = None
    unit: str | None = None
    array: str | None = None
    normalize: bool = False
    drop_missing: bool = False


@dataclasses.dataclass(frozen=True)
class Sample:
    """Unit rows (n, d) and what a careful reader should know about how they were read."""

    points: "np.ndarray"
    remarks: tuple[str, ...]


def read_sample(path: str, layout: Layout) -> Sample:
    """Read unit rows from .csv, .tsv, .txt, .npy or .npz, or a table from standard input ("-")."""
    from sphuni._errors import RefusedFileError

    suffix = "" if path == "-" else Path(path).suffix.lower()
    if suffix in (".npy", ".npz"):
        values, names = _array(path, layout.array)
    elif layout.array is not None:
        raise UsageError("--array names an array of an .npz file; this is none")
    else:
        values, names = _table(path)
    remarks: list[str] = []
    kept = _chosen(values, names, layout, remarks)
    values = _present(values[:, kept], path, layout, remarks)
    if layout.kind != "xyz" and names:
        layout = _with_unit([names[j] for j in kept], layout, remarks)
    points = _coordinates(values, layout) if layout.kind == "xyz" else _angles(values, layout)
    if len(points) < 2:
        raise RefusedFileError(f"{_named(path)} holds one point; a test needs two or more")
    return Sample(points, (*remarks, *_ties(points)))


def _array(path: str, wanted: str | None) -> "tuple[np.ndarray, list[str]]":
    import numpy as np

    from sphuni._errors import RefusedFileError, UnreadableFileError
    from sphuni.analysis.readers import read_tensors

    try:
        model = read_tensors(path)
    except UnreadableFileError as error:
        reason = str(error).removeprefix(repr(path)).lstrip(": ")
        raise type(error)(f"cannot read {path!r}: {reason}") from error
    arrays: dict[str, Any] = {**model.tensors, **dict(model.skipped)}
    if model.format == "npz":
        found = arrays[_key(path, list(arrays), wanted)]
    elif wanted is not None:
        raise UsageError("--array names an array of an .npz file; this is an .npy file")
    else:
        (found,) = arrays.values()
    expected = "must hold real numbers of shape (n, d), one point a row"
    if isinstance(found, str):
        raise RefusedFileError(f"cannot read {path!r}: it {expected}; it has {found}")
    loaded = found.numpy()
    if loaded.ndim == 1:
        loaded = loaded[:, None]
    if loaded.ndim != 2 or loaded.dtype.kind not in "fiu" or not loaded.size:
        raise RefusedFileError(f"{path!r} {expected}; got {loaded.dtype} of shape {loaded.shape}")
    return loaded.astype(np.float64), []


def _key(path: str, names: list[str], wanted: str | None) -> str:
    if wanted is None and len(names) == 1:
        return names[0]
    if wanted is None:
        raise UsageError(f"{path!r} holds several arrays; choose one by --array: {_list(names)}")
    if wanted not in names:
        raise UsageError(f"{path!r} has no array {wanted!r}; it has {_list(names)}")
    return wanted


def _table(path: str) -> "tuple[np.ndarray, list[str]]":
    """Read delimited text: cells that are no number become NaN, a column of them all NaN."""
    import numpy as np

    from sphuni._errors import RefusedFileError

    rows = list(_rows(path))
    if not rows:
        raise RefusedFileError(f"{_named(path)} holds no rows")
    first = rows[0]
    named = all(_number(cell) is None for cell in first)
    names = first if named and not all(_missing(cell) for cell in first) else []
    body = rows[1:] if names else rows
    width = len(first)
    for line, row in enumerate(body, start=2 if names else 1):
        if len(row) != width:
            raise RefusedFileError(
                f"row {line} of {_named(path)} has {len(row)} cells; the first row has {width}"
            )
    if not body:
        raise RefusedFileError(f"{_named(path)} holds a header and no rows")
    values = np.array([[_value(cell) for cell in row] for row in body])
    if np.isnan(values).all():
        found = f"; {body[0][0]!r} is none: write a decimal point" if _comma(body[0][0]) else ""
        raise RefusedFileError(f"{_named(path)} holds no numbers{found}")
    for column in np.flatnonzero(np.isnan(values).any(axis=0)):
        _check_column(path, body, names, int(column))
    return values, names


def _named(path: str) -> str:
    """A file as messages call it."""
    return "standard input" if path == "-" else repr(path)


def _comma(cell: str) -> bool:
    """Tell whether a cell is a number with a decimal comma."""
    return re.fullmatch(r"[+-]?\d*,\d+([eE][+-]?\d+)?", cell) is not None


def _missing(cell: str) -> bool:
    return cell.lower() in _MISSING


def _rows(path: str) -> Iterable[list[str]]:
    from sphuni._errors import UnreadableFileError

    try:
        content = _standard_input() if path == "-" else Path(path).read_text("utf-8")
    except UnicodeDecodeError as error:
        remedy = "give a .csv, .tsv, .npy or .npz file, tables in UTF-8"
        if path == "-":
            remedy = "it takes a table in UTF-8; name .npy and .npz files"
        raise UnreadableFileError(f"cannot read {_named(path)} as text; {remedy}") from error
    except OSError as error:
        raise UnreadableFileError(f"cannot read {_named(path)}: {error.strerror}") from error
    content = content.removeprefix("\ufeff")
    lines = [line for line in content.splitlines() if line.strip() and line.lstrip()[0] != "#"]
    mark = next((d for d in _DELIMITERS if lines and d in lines[0]), None)
    if mark is None:
        return (line.split() for line in lines)
    try:
        rows = list(csv.reader(lines, delimiter=mark))
    except csv.Error as error:
        raise UnreadableFileError(f"cannot read {_named(path)} as a table: {error}") from error
    return ([cell.strip() for cell in row] for row in rows)


def _standard_input() -> str:
    """Text of standard input: its bytes as UTF-8, as Python itself would let any byte pass."""
    binary = getattr(sys.stdin, "buffer", None)
    return sys.stdin.read() if binary is None else binary.read().decode("utf-8")


def _check_column(path: str, body: list[list[str]], names: list[str], column: int) -> None:
    """Refuse a column of numbers with a word in it; a column of words is left for later."""
    from sphuni._errors import RefusedFileError

    words = [
        line
        for line, row in enumerate(body)
        if _number(row[column]) is None and not _missing(row[column])
    ]
    if words and len(words) < len(body):
        line = words[0]
        raise RefusedFileError(
            f"row {line + (2 if names else 1)} of {_named(path)} has {body[line][column]!r} in "
            f"column {names[column] if names else column + 1}, where the others have numbers"
        )


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _value(cell: str) -> float:
    number = _number(cell)
    return float("nan") if number is None else number


def _chosen(
    values: "np.ndarray", names: list[str], layout: Layout, remarks: list[str]
) -> list[int]:
    """The columns asked for, or those that the layout needs."""
    import numpy as np

    from sphuni.analysis.readers import is_index

    numeric = [j for j in range(values.shape[1]) if not np.isnan(values[:, j]).all()]
    if layout.columns is None and names and not names[0] and is_index(values[:, 0]):
        numeric.remove(0)
    needed = {"lonlat": 2, "colatitude": 2, "angles": 1}.get(layout.kind)
    if layout.columns is not None:
        kept = [_column(text, names, values.shape[1]) for text in layout.columns.split(",")]
    else:
        named = _by_name(names, layout.kind)
        kept = named or numeric
        if names and not named and len(kept) == needed == 2:
            first, second = (names[j] for j in kept)
            remarks.append(f"took {first!r} for the longitude and {second!r} for the other angle")
        left = [
            (names[j] if names else "") or str(j + 1)
            for j in range(values.shape[1])
            if j not in kept
        ]
        if left and not (needed is not None and len(kept) != needed):
            remarks.append(f"left out column {_list(left)}")
    if needed is not None and len(kept) != needed:
        shown = _list([names[j] if names else str(j + 1) for j in range(values.shape[1])])
        raise UsageError(
            f"--{layout.kind} takes {needed} column{'s' if needed > 1 else ''}; got {len(kept)}. "
            f"Choose by --columns from: {shown}"
        )
    empty = [j for j in kept if j not in numeric]
    if empty or not kept:
        where = f"column {names[empty[0]] if names else empty[0] + 1}" if empty else "the file"
        raise UsageError(f"{where} holds no numbers")
    return kept


def _by_name(names: list[str], kind: str) -> list[int]:
    """Columns whose names say longitude and latitude."""
    lower = [_UNIT.sub("", name.lower()) for name in names]
    found = [[j for j, name in enumerate(lower) if name in one] for one in _NAMES.get(kind, ())]
    return [places[0] for places in found] if found and all(len(p) == 1 for p in found) else []


def _with_unit(names: list[str], layout: Layout, remarks: list[str]) -> Layout:
    """The layout with the unit that the names of the angles end with, if they do."""
    found = {name: match.lastgroup for name in names if (match := _UNIT.search(name.lower()))}
    named = {name: unit for name, unit in found.items() if unit is not None}
    if layout.unit is None and len(set(named.values())) > 1:
        shown = " and ".join(f"{name!r} ({there})" for name, there in named.items())
        raise UsageError(f"columns {shown} differ in their units; say --degrees or --radians")
    for name, there in named.items():
        if layout.unit not in (None, there):
            remarks.append(f"took {name!r} to be in {layout.unit}, as was asked")
    unit = next(iter(named.values()), None)
    return layout if unit is None or layout.unit else dataclasses.replace(layout, unit=unit)


def _column(text: str, names: list[str], width: int) -> int:
    text = text.strip()
    if text in names:
        return names.index(text)
    if re.fullmatch(r"\d{1,9}", text) and 1 <= int(text) <= width:
        return int(text) - 1
    shown = f"{_list(names)}, or numbers" if names else "numbers"
    raise UsageError(f"there is no column {text!r}; columns are {shown} 1 to {width}")


def _present(values: "np.ndarray", path: str, layout: Layout, remarks: list[str]) -> "np.ndarray":
    """Refuse rows with missing or infinite numbers, or drop them where that was asked for."""
    import numpy as np

    from sphuni._errors import RefusedFileError
    from sphuni._text import plural

    good = np.isfinite(values).all(axis=1)
    bad = np.flatnonzero(~good)
    if not bad.size:
        return values
    if not layout.drop_missing or bad.size == len(values):
        remedy = "" if layout.drop_missing else "; repair them or leave them out by --drop-missing"
        raise RefusedFileError(
            f"{bad.size} of the {len(values)} points of {_named(path)} have a missing or infinite "
            f"number, the first is point {bad[0] + 1}{remedy}"
        )
    remarks.append(f"dropped {plural(bad.size, 'point')} with missing numbers")
    return values[good]


def _coordinates(values: "np.ndarray", layout: Layout) -> "np.ndarray":
    import numpy as np

    from sphuni._errors import RefusedFileError
    from sphuni._rows import shown_norm

    if layout.unit is not None:
        raise UsageError(f"--{layout.unit} is for --lonlat, --colatitude and --angles")
    if values.shape[1] < 2:
        raise UsageError(
            "points need two or more coordinates; one column is one angle a point: say --angles"
        )
    # their squares could leave the range of numbers where the coordinates themselves do not
    largest = np.abs(values).max(axis=1, keepdims=True)
    directions = values / np.where(largest == 0, 1.0, largest)
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    norms = (largest * lengths)[:, 0]
    if np.any(largest == 0):
        row = int(np.flatnonzero(largest[:, 0] == 0)[0])
        raise RefusedFileError(
            f"point {row + 1} is the zero vector and has no direction. "
            "For angles say --lonlat, --colatitude or --angles"
        )
    worst = int(np.argmax(np.abs(norms - 1)))
    if not layout.normalize and abs(norms[worst] - 1) > _UNIT_SLACK:
        raise RefusedFileError(
            f"points must have norm 1 to within {_UNIT_SLACK:g}; point {worst + 1} has norm "
            f"{shown_norm(norms[worst])}. If only directions matter say --normalize; for angles "
            "say --lonlat, --colatitude or --angles; leave out other columns by --columns"
        )
    return np.asarray(directions / lengths)


def _angles(values: "np.ndarray", layout: Layout) -> "np.ndarray":
    import numpy as np

    turns = np.radians(values) if _unit(values, layout) == "degrees" else values
    if layout.kind == "angles":
        return np.concatenate([np.cos(turns), np.sin(turns)], axis=1)
    longitude, second = turns.T
    latitude = second if layout.kind == "lonlat" else 0.5 * np.pi - second
    _check_latitude(values[:, 1], latitude, layout)
    flat = np.cos(latitude)
    points = np.stack(
        [flat * np.cos(longitude), flat * np.sin(longitude), np.sin(latitude)], axis=1
    )
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True))


def _unit(values: "np.ndarray", layout: Layout) -> str:
    """Degrees unless told otherwise; refuse to guess where every number could be radians."""
    import numpy as np

    if layout.unit is not None:
        return layout.unit
    if np.abs(values[:, 0]).max() <= 2 * np.pi and np.abs(values).max() <= 2 * np.pi:
        raise UsageError(
            f"no angle exceeds {np.abs(values).max():.4g}: these may be radians. "
            "Say --radians or --degrees"
        )
    return "degrees"


def _check_latitude(given: "np.ndarray", latitude: "np.ndarray", layout: Layout) -> None:
    import numpy as np

    from sphuni._errors import RefusedFileError

    beyond = np.flatnonzero(np.abs(latitude) > 0.5 * np.pi + 1e-9)
    if beyond.size:
        name, low, high = ("latitude", "-90", "90")
        if layout.kind == "colatitude":
            name, low, high = ("colatitude", "0", "180")
        raise RefusedFileError(
            f"{name} must lie between {low} and {high} degrees; point {beyond[0] + 1} has "
            f"{given[beyond[0]]:g} ({layout.unit or 'degrees'}). "
            "If the columns are in another order say --columns"
        )


def _ties(points: "np.ndarray") -> list[str]:
    """Say how many points repeat an earlier one: tests of small distances see nothing else."""
    from sphuni.stats import check

    found = check(points)
    if found.first_tie is None:
        return []
    subject = "point repeats" if found.ties == 1 else "points repeat"
    return [
        f"{found.ties} {subject} an earlier one exactly (the first repeated is point "
        f"{found.first_tie + 1}); "
        "tests that are infinite at distance 0 (packing, pycke, stereo, omnibus, ...) see only this"
    ]


def _list(names: Iterable[str]) -> str:
    from sphuni._text import shorten

    names = list(names)
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return ", ".join(shorten(name, 40) for name in names[:12]) + more
