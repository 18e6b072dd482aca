"""Arrays of numpy: no pickles, and every header is compared with what the file holds."""

import io
import math
import tokenize
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from sphuni._errors import RefusedFileError, UnreadableFileError
from sphuni.analysis.readers._archive import checked_archive
from sphuni.analysis.readers._model import (
    LeftOut,
    LoadedModel,
    ReadLimits,
    checked_name,
    first_line,
    located,
    shown,
)

__all__ = ["read_npy", "read_npz"]


def read_npy(path: Path, limits: ReadLimits) -> LoadedModel:
    """Read one array as a window into the file; the name of the tensor is that of the file."""
    with path.open("rb") as stream:
        shape, fortran, dtype = _header(path, path.name, stream, path.stat().st_size, limits)
        offset = stream.tell()
    with located(path):
        name = checked_name(path.stem, limits)
    reason = _not_numbers(dtype)
    if reason is not None:
        return LoadedModel(path, "npy", {}, (LeftOut(name, reason),))
    order: Any = "F" if fortran else "C"
    if math.prod(shape) == 0:
        array = np.empty(shape, dtype)
    else:
        array = np.memmap(path, dtype=dtype, mode="c", offset=offset, shape=shape, order=order)
    return LoadedModel(path, "npy", {name: _tensor(array)})


def read_npz(path: Path, limits: ReadLimits) -> LoadedModel:
    """Read every array of an archive."""
    tensors: dict[str, Tensor] = {}
    skipped: list[LeftOut] = []
    with checked_archive(path, limits) as archive:
        for member in archive.infolist():
            if member.is_dir():
                continue
            with located(path):
                name = checked_name(member.filename.removesuffix(".npy"), limits)
            if name in tensors or any(name == other for other, _ in skipped):
                raise RefusedFileError(f"{shown(path)} holds two arrays named {shown(name)}")
            value = _member(path, archive, member, limits)
            if isinstance(value, str):
                skipped.append(LeftOut(name, value))
            else:
                tensors[name] = value
    return LoadedModel(path, "npz", tensors, tuple(skipped))


def _member(
    path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, limits: ReadLimits
) -> Tensor | str:
    """Read one member, or say why it is no array of numbers."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise RefusedFileError(f"{shown(path)} is compressed in a way numpy does not use")
    if not member.filename.endswith(".npy"):
        return "not an array"
    with archive.open(member) as stream:
        shape, fortran, dtype = _header(path, member.filename, stream, member.file_size, limits)
        reason = _not_numbers(dtype)
        if reason is not None:
            return reason
        content = stream.read()
    if len(content) != math.prod(shape) * dtype.itemsize:
        raise UnreadableFileError(
            f"{shown(path)} is not whole: {shown(member.filename)} is cut short"
        )
    flat = np.frombuffer(bytearray(content), dtype=dtype)
    return _tensor(flat.reshape(shape, order="F" if fortran else "C"))


def _header(
    path: Path, name: str, stream: Any, size: int, limits: ReadLimits
) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the header of an array and compare its claim with the bytes that are there."""
    where = f"{shown(path)}: the array {shown(name)}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shape, fortran, dtype, length = _parsed(stream)
    except tokenize.TokenError as error:  # its text is that of a tuple
        raise UnreadableFileError(f"{where} has no valid header: {error.args[0]}") from error
    except (ValueError, SyntaxError, KeyError, TypeError, EOFError, OverflowError) as error:
        raise UnreadableFileError(f"{where} has no valid header: {first_line(error)}") from error
    if len(shape) > limits.max_rank:
        raise RefusedFileError(f"{where} has {len(shape)} axes; max_rank is {limits.max_rank}")
    if dtype.hasobject:
        return shape, fortran, dtype
    claimed = math.prod(shape) * dtype.itemsize
    if claimed > limits.max_bytes:
        raise RefusedFileError(f"{where} claims {claimed} bytes; max_bytes is {limits.max_bytes}")
    if any(side < 0 for side in shape) or claimed > size - length:
        raise UnreadableFileError(
            f"{where} claims {claimed} bytes and the file holds {size - length}: it is cut short"
        )
    return shape, fortran, dtype


def _parsed(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    version = npy.read_magic(stream)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"format version {version} is not known")
    length_bytes = stream.read(2 if version == (1, 0) else 4)
    length = int.from_bytes(length_bytes, "little")
    if length > _MAX_HEADER:
        raise ValueError(f"a header of {length} bytes")
    text = length_bytes + stream.read(length)
    # numpy parses version 3 like 2 with another encoding, which only names of fields notice.
    reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = reader(io.BytesIO(text))
    return shape, fortran, dtype, 8 + len(text)


_MAX_HEADER = 10_000


def _not_numbers(dtype: np.dtype[Any]) -> str | None:
    if dtype.hasobject:
        return "Python objects stored as a pickle; they are never loaded"
    if dtype.kind not in "biufc" or dtype.itemsize > 16 or dtype == np.longdouble:
        return f"values of type {first_line(ValueError(str(dtype)))[:40]}, not numbers torch knows"
    return None


def _tensor(array: np.ndarray[Any, np.dtype[Any]]) -> Tensor:
    """Hand an array to torch; the byte order and strides torch cannot express are copied."""
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return torch.from_numpy(np.asarray(array))
