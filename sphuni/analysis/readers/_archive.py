"""Zip archives: their directory is checked before any member is read."""

import os
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from sphuni._errors import RefusedFileError, UnreadableFileError
from sphuni.analysis.readers._model import ReadLimits, shown

__all__ = ["checked_archive", "end_records"]

_END, _LOCATOR, _WIDE_END = 22, 20, 56
_TAIL = 65_535 + _END + _LOCATOR + _WIDE_END


class EndRecords(NamedTuple):
    """Where an archive's directory ends, its bytes, and whether offsets are those of the file."""

    place: int
    length: int
    straight: bool


@contextmanager
def checked_archive(path: Path, limits: ReadLimits) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive whose directory claims no more than the limits allow."""
    _check_directory(path, limits)
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise UnreadableFileError(f"{shown(path)} is not a whole zip archive") from error
    with archive:
        members = archive.infolist()
        for member in members:
            if member.flag_bits & 1:
                raise UnreadableFileError(f"{shown(path)} is encrypted")
        _check_expansion(path, members, limits)
        yield archive


def end_records(path: Path) -> EndRecords:
    """Read the end records only, as `zipfile` will: a long directory would be slow even to list."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(max(0, size - _TAIL))
        tail = stream.read()
    place = tail.rfind(b"PK\x05\x06")
    if place < 0 or place + _END > len(tail):
        raise UnreadableFileError(f"{shown(path)} is not a whole zip archive")
    before = size - len(tail)
    length, start = struct.unpack("<2I", tail[place + 12 : place + 20])
    located = before + place
    # what stands in a wide record counts, whatever the short one says
    if tail[:place][-_LOCATOR:].startswith(b"PK\x06\x07"):
        located = struct.unpack("<Q", tail[place - 12 : place - 4])[0]
        place -= _LOCATOR + _WIDE_END
        if place < 0 or not tail.startswith(b"PK\x06\x06", place):
            raise UnreadableFileError(f"{shown(path)} is not a whole zip archive")
        length, start = struct.unpack("<2Q", tail[place + 40 : place + 56])
    place += before
    return EndRecords(place, length, located == place == start + length)


def _check_directory(path: Path, limits: ReadLimits) -> None:
    """Raise where a directory would be slow to list: long, or with too many entries."""
    place, length, _ = end_records(path)
    if length > min(limits.max_header, 512 * limits.max_tensors):
        raise RefusedFileError(
            f"{shown(path)} has a directory of {length} bytes; max_header is {limits.max_header}"
        )
    with path.open("rb") as stream:
        stream.seek(max(0, place - length))
        members = stream.read(length).count(b"PK\x01\x02")
    if members > limits.max_tensors:
        raise RefusedFileError(
            f"{shown(path)} has {members} members; max_tensors is {limits.max_tensors}"
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
