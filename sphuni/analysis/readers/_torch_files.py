"""Files of torch.save: followed on symbols first, then loaded with weights_only=True, or refused.

There is no fallback. A file that needs more than tensors and plain containers is refused with the
names it asks for.
"""

import math
import mmap
import os
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sphuni._errors import RefusedFileError, UnreadableFileError
from sphuni.analysis.readers._archive import checked_archive, end_records
from sphuni.analysis.readers._flatten import flatten
from sphuni.analysis.readers._model import (
    LeftOut,
    LoadedModel,
    ReadLimits,
    first_line,
    located,
    shown,
)
from sphuni.analysis.readers._pickle_scan import Programme, scan

__all__ = ["read_torch"]

_ADVICE = (
    "Where you trust the file, load it yourself and save the weights alone: "
    "torch.save(model.state_dict(), 'weights.pt')."
)
_SMALL = 1 << 24
_MAP_FROM = 1 << 26
_LEGACY_PICKLES = 5
_END_RECORD = 22


def read_torch(path: Path, limits: ReadLimits) -> LoadedModel:
    """Read what torch.save wrote."""
    with path.open("rb") as stream:
        start = stream.read(4)
    is_zip = start == b"PK\x03\x04"
    if is_zip:
        _check_zip(path, limits)
    elif start[:1] != b"\x80":
        raise UnreadableFileError(
            f"{shown(path)} is neither a zip archive nor a pickle, so it is no file of torch.save"
        )
    else:
        _check_legacy(path, limits)
    with located(path):
        tensors, left = flatten(_load(path, is_zip), limits)
    kept, unfit = _within_storage(path, tensors, limits)
    return LoadedModel(path, "torch", kept, (*left, *unfit))


def _check_zip(path: Path, limits: ReadLimits) -> None:
    with checked_archive(path, limits) as archive:
        members = {member.filename: member for member in archive.infolist()}
        _refuse_ambiguity(path, archive.infolist())
        _refuse_programs(path, members)
        if any(member.compress_type != zipfile.ZIP_STORED for member in members.values()):
            raise RefusedFileError(
                f"{shown(path)} is compressed, which torch.save never does; save it again"
            )
        programmes = [name for name in members if name.partition("/")[2] == "data.pkl"]
        if len(programmes) != 1:
            raise UnreadableFileError(f"{shown(path)} is a zip archive but not one of torch.save")
        size = members[programmes[0]].file_size
        if size > limits.max_header:
            raise RefusedFileError(
                f"{shown(path)} has a pickle programme of {size} bytes; max_header is "
                f"{limits.max_header}"
            )
        programme = _scanned(path, archive.read(programmes[0]), limits)
    root = programmes[0].partition("/")[0]
    for key, claimed in programme.storages.items():
        record = members.get(f"{root}/data/{key}")
        if record is None or record.file_size < claimed:
            raise UnreadableFileError(
                f"{shown(path)} is not whole: storage {shown(key)} claims {claimed} bytes and has "
                f"{0 if record is None else record.file_size}"
            )


def _refuse_ambiguity(path: Path, members: list[zipfile.ZipInfo]) -> None:
    """Refuse archives that this library's and torch's zip readers could see differently.

    What is checked here must be what torch loads. Its reader does not distinguish upper from
    lower case, nor does it shift offsets for bytes in front of the archive, and it follows the
    offsets of the end records where `zipfile` takes each part to lie right before the next.
    """
    with path.open("rb") as stream:
        stream.seek(-_END_RECORD, os.SEEK_END)
        end = stream.read()
    if not end.startswith(b"PK\x05\x06") or not end.endswith(b"\0\0"):
        raise UnreadableFileError(f"{shown(path)} is not a whole archive: it has more at its end")
    if min((member.header_offset for member in members), default=1) > 0:
        raise UnreadableFileError(f"{shown(path)} is not a whole archive: it has more at its start")
    if not end_records(path).straight:
        raise RefusedFileError(f"{shown(path)} has a directory elsewhere than its end says")
    if len({member.filename.casefold() for member in members}) < len(members):
        raise RefusedFileError(f"{shown(path)} holds two members of one name")
    if any(member.filename != member.orig_filename for member in members):
        raise RefusedFileError(f"{shown(path)} holds a member of an ambiguous name")


def _refuse_programs(path: Path, members: dict[str, zipfile.ZipInfo]) -> None:
    parts = {name.partition("/")[2].partition("/")[0] for name in members}
    if "code" in parts or "constants.pkl" in parts:
        raise RefusedFileError(
            f"{shown(path)} is a TorchScript program, which carries code; export its weights with "
            "torch.save(torch.jit.load(file).state_dict(), 'weights.pt') where you trust it"
        )
    if parts & {"archive_format", "models", "serialized_exported_program.json"}:
        raise RefusedFileError(
            f"{shown(path)} is an exported program; save the state dict of its model instead"
        )


def _check_legacy(path: Path, limits: ReadLimits) -> None:
    """Follow the five pickles that stand in front of the raw numbers of the old format."""
    size = path.stat().st_size
    claims: dict[str, int] = {}
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as view:
        for _ in range(_LEGACY_PICKLES):
            start = view.tell()
            claims.update(_scanned(path, view, limits).storages)
            if view.tell() - start > limits.max_header:
                raise RefusedFileError(
                    f"{shown(path)} has a pickle programme of more than max_header="
                    f"{limits.max_header} bytes"
                )
            if start == 0 and view[: view.tell()].find(_LEGACY_MAGIC) < 0:
                raise UnreadableFileError(f"{shown(path)} is not a file of torch.save. {_ADVICE}")
    if sum(claims.values()) > size:
        raise UnreadableFileError(
            f"{shown(path)} is not whole: it claims more than its {size} bytes"
        )


_LEGACY_MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")


def _scanned(path: Path, source: Any, limits: ReadLimits) -> Programme:
    """Follow a pickle programme and raise what it gives reason for."""
    with located(path):
        programme = scan(source, limits)
        if programme.unsafe:
            raise RefusedFileError(_unsafe(programme.unsafe))
        if programme.problem is not None:
            raise RefusedFileError(programme.problem)
        if programme.expanded > _SMALL:
            raise RefusedFileError(
                f"its tensors claim {programme.expanded} bytes that no storage holds"
            )
    return programme


def _unsafe(names: list[str]) -> str:
    # What the file is made of is of more use to its reader than the builtins it needs as well.
    ordered = sorted(names, key=lambda name: ("builtin" in name.partition(".")[0], name))
    listed = ", ".join(first_line(ValueError(name))[:80] for name in ordered[:6])
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return f"loading it would call {listed}{more}. {_ADVICE}"


def _load(path: Path, is_zip: bool) -> Any:
    mapped = is_zip and path.stat().st_size >= _MAP_FROM
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if mapped and _is_utf8(path):
                return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            with path.open("rb") as stream:
                return torch.load(stream, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise RefusedFileError(_unsafe(_refused_names(path))) from error


def _is_utf8(path: Path) -> bool:
    """Say whether torch, which maps files by name, can be given this one."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _refused_names(path: Path) -> list[str]:
    """Ask torch which names it refuses, where the scan knew them all."""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except (RuntimeError, ValueError, OSError, pickle.UnpicklingError):
        names = []
    return names or ["something other than tensors and containers"]


def _within_storage(
    path: Path, tensors: dict[str, Tensor], limits: ReadLimits
) -> tuple[dict[str, Tensor], list[LeftOut]]:
    """Keep the tensors whose numbers all exist; shapes are checked before any arithmetic."""
    kept: dict[str, Tensor] = {}
    left: list[LeftOut] = []
    expanded = 0
    for name, tensor in tensors.items():
        if tensor.dim() > limits.max_rank:
            raise RefusedFileError(
                f"{shown(path)}: {shown(name)} has {tensor.dim()} axes, more than max_rank="
                f"{limits.max_rank}"
            )
        if not _is_dense(tensor):
            kept[name] = tensor
            continue
        claimed = math.prod(tensor.shape) * tensor.element_size()
        if claimed <= tensor.untyped_storage().nbytes():
            kept[name] = tensor
            continue
        expanded += claimed
        left.append(LeftOut(name, "a view that repeats the same stored numbers"))
    total = expanded + sum(map(_dense_bytes, kept.values()))
    if expanded > _SMALL or total > limits.max_bytes:
        raise RefusedFileError(f"{shown(path)} is refused: its tensors claim {total} bytes")
    return kept, left


def _is_dense(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided and not tensor.is_nested and tensor.device.type == "cpu"


def _dense_bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size() if _is_dense(tensor) else 0
