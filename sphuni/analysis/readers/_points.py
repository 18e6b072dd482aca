"""Embeddings: one array of points in a file."""

import itertools
import os
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sphuni._errors import RefusedFileError, UnreadableFileError
from sphuni.analysis.readers._dispatch import read_tensors
from sphuni.analysis.readers._folders import check_regular
from sphuni.analysis.readers._model import ReadLimits, first_line, reading, shown

__all__ = ["is_index", "read_points"]

_TEXT = {".csv": ",", ".tsv": "\t", ".txt": None}
_ENCODING = "utf-8-sig"  # spreadsheets begin a file with a byte-order mark
_MAX_TEXT = 1 << 30
_LINE = 1 << 20
_NO_LIMITS = ReadLimits()


def read_points(
    source: str | os.PathLike[str], *, key: str | None = None, limits: ReadLimits = _NO_LIMITS
) -> Tensor:
    """Read one array of points of shape (n, d), such as embeddings.

    Parameters
    ----------
    source : path-like
        `.csv` (commas or semicolons), `.tsv` (tabs), `.txt` (blanks), with decimal points, with or
        without a line of column names, or any format of `read_tensors`. A first column without a
        name that numbers the rows, as data frames write it, is left out.
    key : str, optional
        Name of the array, where the file holds several of rank 2.
    limits : ReadLimits, optional
        As in `read_tensors`.

    Returns
    -------
    Tensor, shape (n, d)
        In the dtype of the file; text is read as float64. Nothing is normalised.

    Raises
    ------
    UnreadableFileError
        If the file holds no such array, or several and no `key`.
    RefusedFileError
        If it asks for more than the limits.
    """
    path = Path(source)
    with reading(path):
        if path.suffix.lower() in _TEXT:
            return _text(path, _TEXT[path.suffix.lower()], limits)
        tensors = read_tensors(path, limits=limits).tensors
        return _chosen(path, tensors, key)


def _chosen(path: Path, tensors: dict[str, Tensor], key: str | None) -> Tensor:
    fitting = {n: t for n, t in tensors.items() if t.dim() == 2 and t.is_floating_point()}
    if key is not None:
        if key not in fitting:
            listed = ", ".join(map(shown, list(fitting)[:5])) or "none"
            raise UnreadableFileError(
                f"{shown(path)} has no array of points named {shown(key)}; it has {listed}"
            )
        return fitting[key]
    if len(fitting) == 1:
        return next(iter(fitting.values()))
    if fitting:
        listed = ", ".join(map(shown, list(fitting)[:5]))
        raise UnreadableFileError(
            f"{shown(path)} holds {len(fitting)} arrays that could be points ({listed}, ...); "
            "choose one with key="
        )
    shapes = ", ".join(f"{tuple(t.shape)} of {t.dtype}" for t in list(tensors.values())[:3])
    raise UnreadableFileError(
        f"{shown(path)} holds no floating-point array of shape (n, d); it has {shapes or 'nothing'}"
    )


def _text(path: Path, delimiter: str | None, limits: ReadLimits) -> Tensor:
    check_regular(path)
    size = path.stat().st_size
    if size > min(_MAX_TEXT, limits.max_bytes):
        raise RefusedFileError(f"{shown(path)} is text of {size} bytes; save it with numpy.save")
    number, line = _first_line(path)
    if delimiter == "," and line.count(";") > line.count(","):
        delimiter = ";"  # as spreadsheets write where the comma is the decimal sign
    cells = [cell.strip(' "') for cell in line.split(delimiter)]
    named = bool(line) and not any(map(_is_number, cells))
    first_name = cells[0] if named else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            array = np.loadtxt(
                path,
                delimiter=delimiter,
                ndmin=2,
                skiprows=number if named else 0,
                encoding=_ENCODING,
                quotechar='"',
            )
        if first_name == "" and array.size and is_index(array[:, 0]):
            array = array[:, 1:]
    except (ValueError, UnicodeDecodeError) as error:
        advice = ". Numbers need a decimal point" if ";" in line else ""
        raise UnreadableFileError(
            f"{shown(path)} is not a table of numbers: {first_line(error).rstrip('.')}{advice}"
        ) from error
    if array.size == 0:
        raise UnreadableFileError(f"{shown(path)} holds no numbers")
    return torch.from_numpy(array)


def is_index(column: np.ndarray) -> bool:
    """Whether a column is whole numbers, each of them once, as data frames number their rows."""
    return bool((column == np.floor(column)).all()) and len(np.unique(column)) == len(column)


def _first_line(path: Path) -> tuple[int, str]:
    """The first line with content and its number; no text where there is none of a fair length."""
    with path.open("rb") as stream:
        for number in itertools.count(1):
            raw = stream.readline(_LINE)
            if not raw or len(raw) == _LINE:
                break
            line = raw.decode(_ENCODING, errors="replace").partition("#")[0].rstrip()
            if line:
                return number, line
    return 0, ""


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
