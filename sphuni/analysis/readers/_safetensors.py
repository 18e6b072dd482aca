"""Safetensors: the header is checked here before any library opens the file."""

import json
import math
import struct
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import load
from torch import Tensor

from sphuni._errors import RefusedFileError, UnreadableFileError
from sphuni.analysis.readers._model import (
    LeftOut,
    LoadedModel,
    ReadLimits,
    checked_name,
    located,
    shown,
)

__all__ = ["read_safetensors"]

_ITEM_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64, "C64": 64,
}  # fmt: skip
_PACKED = {"F4", "F6_E2M3", "F6_E3M2"}
_COMMAS_PER_TENSOR = 16


def read_safetensors(path: Path, limits: ReadLimits) -> LoadedModel:
    """Read every tensor as a window into the mapped file."""
    header = _header(path, limits)
    packed = {name: entry["dtype"] for name, entry in header.items() if entry["dtype"] in _PACKED}
    names = [name for name in header if name not in packed]
    skipped = tuple(
        LeftOut(name, f"numbers packed as {dtype} are not read") for name, dtype in packed.items()
    )
    return LoadedModel(path, "safetensors", _tensors(path, names), skipped)


def _tensors(path: Path, names: list[str]) -> dict[str, Tensor]:
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        # The library maps files by name and knows names in UTF-8 only.
        content = load(path.read_bytes())
        return {name: content[name] for name in names}
    with safe_open(path, framework="pt", device="cpu") as file:
        return {name: file.get_tensor(name) for name in names}


def _header(path: Path, limits: ReadLimits) -> dict[str, Any]:
    """Read and check the header; nothing is allocated before its length is known to be sane."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        prefix = stream.read(8)
        if len(prefix) < 8:
            raise UnreadableFileError(f"{shown(path)} is too short for a safetensors file")
        length = struct.unpack("<Q", prefix)[0]
        if length > size - 8:
            raise UnreadableFileError(
                f"{shown(path)} is not a whole safetensors file: its header claims {length} bytes, "
                f"the file has {size}"
            )
        if length > limits.max_header:
            raise RefusedFileError(
                f"{shown(path)} has a header of {length} bytes; max_header is {limits.max_header}"
            )
        text = stream.read(length)
    entries = _parse(path, text, limits)
    _check_entries(path, entries, size - 8 - length, limits)
    return entries


def _parse(path: Path, text: bytes, limits: ReadLimits) -> dict[str, Any]:
    # Counting separators bounds what the parser can be made to build.
    allowed = limits.max_tensors * _COMMAS_PER_TENSOR
    if max(text.count(b","), text.count(b"["), text.count(b"{")) > allowed:
        raise RefusedFileError(f"{shown(path)} has a header of more than {allowed} entries")
    try:
        entries = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except RecursionError as error:
        raise UnreadableFileError(f"{shown(path)} has a header nested too deeply") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UnreadableFileError(f"{shown(path)} has a header that is not JSON") from error
    except _DuplicateError as error:
        raise RefusedFileError(f"{shown(path)} names {error} twice in its header") from error
    if not isinstance(entries, dict):
        raise UnreadableFileError(f"{shown(path)} has a header that is not a JSON object")
    entries.pop("__metadata__", None)
    return entries


class _DuplicateError(ValueError):
    """A JSON object holds one key twice."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _DuplicateError(shown(key))
            seen.add(key)
    return result


def _check_entries(path: Path, entries: dict[str, Any], room: int, limits: ReadLimits) -> None:
    if len(entries) > limits.max_tensors:
        raise RefusedFileError(
            f"{shown(path)} holds {len(entries)} tensors; max_tensors is {limits.max_tensors}"
        )
    with located(path):
        for name in entries:
            checked_name(name, limits)
    total = sum(_entry_bytes(path, name, entry, limits) for name, entry in entries.items())
    if total > room:
        raise RefusedFileError(
            f"{shown(path)} claims {total} bytes of tensors and holds {room}: it was cut short; "
            "copy or download it again"
        )
    if total > limits.max_bytes:
        raise RefusedFileError(
            f"{shown(path)} claims {total} bytes of tensors; max_bytes is {limits.max_bytes}"
        )


def _entry_bytes(path: Path, name: str, entry: Any, limits: ReadLimits) -> int:
    """Check one entry of the header and return the bytes its shape claims."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise UnreadableFileError(f"{shown(path)} describes {shown(name)} in an unknown way")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if dtype not in _PACKED and dtype not in _ITEM_BITS:
        raise RefusedFileError(
            f"{shown(path)}: {shown(name)} has the unknown dtype {shown(str(dtype))}"
        )
    if not _counts(shape) or not _counts(offsets) or len(offsets) != 2:
        raise UnreadableFileError(f"{shown(path)}: {shown(name)} has no valid shape and place")
    if len(shape) > limits.max_rank:
        raise RefusedFileError(
            f"{shown(path)}: {shown(name)} has {len(shape)} axes; max_rank is {limits.max_rank}"
        )
    if max(shape, default=0) >= 1 << 48:
        raise RefusedFileError(f"{shown(path)}: {shown(name)} has the impossible shape {shape}")
    stored = offsets[1] - offsets[0]
    if dtype in _PACKED:
        return max(int(stored), 0)
    claimed = int(math.prod(shape)) * _ITEM_BITS[dtype] // 8
    if claimed != stored:
        raise UnreadableFileError(
            f"{shown(path)}: {shown(name)} has {stored} bytes for a shape that needs {claimed}"
        )
    return claimed


def _counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(v) is int and 0 <= v < 1 << 63 for v in values)
