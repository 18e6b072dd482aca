"""Readers of image sets: IDX files, CIFAR-10 in binary form, folders or tars of class folders."""

import gzip
import io
import lzma
import math
import struct
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sphuni._errors import UnreadableFileError
from sphuni.training.data._records import Samples

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["read_cifar_binary", "read_class_folders", "read_class_tar", "read_idx"]

_IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
_CIFAR_CLASSES = 10
_DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError)
"""What the readers of compressed files raise."""
Named = tuple[str, str, bytes]
"""The class, the name and the content of a file."""


def read_idx(path: Path) -> Tensor:
    """Read one IDX file, gzipped or not.

    Raises
    ------
    UnreadableFileError
        If the header does not match the content.
    """
    raw = path.read_bytes()
    try:
        raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
        _, kind, rank = struct.unpack(">HBB", raw[:4])
        shape = struct.unpack(f">{rank}I", raw[4 : 4 + 4 * rank])
        dtype = np.dtype(_IDX_TYPES[kind])
        size = math.prod(shape)
        if len(raw) != 4 + 4 * rank + size * dtype.itemsize:
            raise ValueError(f"its header says {shape}")
        values = np.frombuffer(raw, dtype, size, 4 + 4 * rank).reshape(shape)
    except (*_DAMAGED, struct.error, KeyError, ValueError) as error:
        raise UnreadableFileError(f"{str(path)!r} is not a whole IDX file: {error}") from None
    return torch.from_numpy(values.astype(dtype.newbyteorder("=")))


def read_cifar_binary(paths: Iterable[Path]) -> Samples:
    """Read batches of CIFAR-10's binary version: records of one label and 3 x 32 x 32 bytes."""
    parts = []
    for path in paths:
        raw = np.frombuffer(path.read_bytes(), np.uint8)
        if raw.size == 0 or raw.size % 3073:
            raise UnreadableFileError(
                f"{str(path)!r} is not a batch of CIFAR-10: its {raw.size} bytes are not a "
                "multiple of 3073"
            )
        records = raw.reshape(-1, 3073)
        if records[:, 0].max() >= _CIFAR_CLASSES:
            raise UnreadableFileError(
                f"{str(path)!r} is not a batch of CIFAR-10: it has the class {records[:, 0].max()}"
            )
        parts.append(records)
    whole = torch.from_numpy(np.concatenate(parts))
    return Samples(whole[:, 1:].reshape(-1, 3, 32, 32), whole[:, 0].long())


def read_class_folders(folder: Path, parts: Sequence[str]) -> list[Samples]:
    """Read images from the folders ``part/class/file``."""
    return _decode({str(folder / part): _folder_files(folder / part) for part in parts})


def read_class_tar(path: Path, parts: Sequence[str]) -> list[Samples]:
    """Read the members ``part/class/file`` of a tar, compressed or not."""
    return _decode({f"{path} ({part})": _tar_members(path, part) for part in parts})


def _folder_files(folder: Path) -> Iterator[Named]:
    for path in sorted(p for p in folder.glob("*/*") if p.suffix.lower() in _SUFFIXES):
        yield path.parent.name, str(path), path.read_bytes()


def _tar_members(path: Path, part: str) -> Iterator[Named]:
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                pieces = Path(member.name).parts
                if len(pieces) < 3 or pieces[-3] != part or not member.isfile():
                    continue
                stream = archive.extractfile(member)
                if stream is not None and pieces[-1].lower().endswith(_SUFFIXES):
                    yield pieces[-2], f"{path}:{member.name}", stream.read()
    except (*_DAMAGED, tarfile.TarError) as error:
        raise UnreadableFileError(f"{str(path)!r} cannot be read as a tar: {error}") from None


def _decode(parts: Mapping[str, Iterable[Named]]) -> list[Samples]:
    """Decode images of one size; a class has the same number in every part.

    Classes are numbered in alphabetical order over all parts, as one of them may lack some.
    """
    found = {
        origin: [(kind, _pixels(name, content)) for kind, name, content in files]
        for origin, files in parts.items()
    }
    for origin, images in found.items():
        if not images:
            raise UnreadableFileError(f"{origin!r} holds no images in class folders")
        if len({pixels.shape for _, pixels in images}) > 1:
            raise UnreadableFileError(f"the images of {origin!r} differ in size; bring them to one")
    kinds = sorted({kind for images in found.values() for kind, _ in images})
    number = {kind: k for k, kind in enumerate(kinds)}
    return [
        Samples(
            torch.from_numpy(np.stack([pixels for _, pixels in images])),
            torch.tensor([number[kind] for kind, _ in images]),
        )
        for images in found.values()
    ]


def _pixels(name: str, content: bytes) -> NDArray[np.generic]:
    """An image as (channels, height, width): one channel of grey images, three of all others."""
    import PIL.Image

    try:
        with PIL.Image.open(io.BytesIO(content)) as image:
            values = np.array(_plain(image))
    except Exception as error:  # of a damaged file pillow raises whatever its bytes lead to
        raise UnreadableFileError(
            f"{name!r} cannot be read as an image ({type(error).__name__})"
        ) from None
    return values[None] if values.ndim == 2 else values.transpose(2, 0, 1)


def _plain(image: "Image") -> "Image":
    """Grey or red, green and blue: what a palette holds are numbers of colours, not colours."""
    if image.mode in ("1", "LA", "La"):
        return image.convert("L")
    grey = len(image.getbands()) == 1 and image.mode != "P"
    return image if grey else image.convert("RGB")
