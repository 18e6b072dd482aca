"""Zip archives: their directory is checked before any member is read."""

import os
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sphuni._errors import RefusedFileError, UnreadableFileError
from sphuni.analysis.readers._model import ReadLimits, shown

__all__ = ["checked_archive"]

_TAIL = 65_557
_MEMBER = 46


@contextmanager
def checked_archive(path: Path, limits: ReadLimits) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive whose directory claims no more than the limits allow."""
    _check_directory_size(path, limits)
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise UnreadableFileError(f"{shown(path)} is not a whole zip archive") from error
    with archive:
        members = archive.infolist()
        if len(members) > limits.max_tensors:
            raise RefusedFileError(
                f"{shown(path)} has {len(members)} members; max_tensors is {limits.max_tensors}"
            )
        for member in members:
            if member.flag_bits & 1:
                raise UnreadableFileError(f"{shown(path)} is encrypted")
        _check_expansion(path, members, limits)
        yield archive


def _check_directory_size(path: Path, limits: ReadLimits) -> None:
    """Read the end record only: a long directory would be slow even to list."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(max(0, size - _TAIL))
        tail = stream.read()
    place = tail.rfind(b"PK\x05\x06")
    if place < 0 or place + 22 > len(tail):
        raise UnreadableFileError(f"{shown(path)} is not a whole zip archive")
    length = struct.unpack("<I", tail[place + 12 : place + 16])[0]
    if length == 0xFFFFFFFF:
        place64 = tail.rfind(b"PK\x06\x06")
        if place64 < 0 or place64 + 56 > len(tail):
            raise UnreadableFileError(f"{shown(path)} is not a whole zip archive")
        length = struct.unpack("<Q", tail[place64 + 40 : place64 + 48])[0]
    if length > min(limits.max_header, 512 * limits.max_tensors):
        raise RefusedFileError(
            f"{shown(path)} has a directory of {length} bytes; max_header is {limits.max_header}"
        )


def _check_expansion(path: Path, members: list[zipfile.ZipInfo], limits: ReadLimits) -> None:
    size = os.path.getsize(path)
    stored = sum(m.file_size for m in members if m.compress_type == zipfile.ZIP_STORED)
    if stored > size:
        raise RefusedFileError(
            f"{shown(path)} claims {stored} bytes of stored members in a file of {size} bytes"
        )
    total = sum(member.file_size for member in members)
    if total > limits.max_bytes:
        raise RefusedFileError(f"{shown(path)} expands to {total} bytes; see ReadLimits.max_bytes")
    if total > limits.free_expansion and total > limits.max_ratio * size:
        raise RefusedFileError(
            f"{shown(path)} expands from {size} to {total} bytes, more than "
            f"max_ratio={limits.max_ratio} times; decompress it yourself if you trust it"
        )
