"""Readers of image sets: IDX files, CIFAR-10 in binary form, folders or tars of class folders."""

import gzip
import io
import math
import struct
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sphuni._errors import UnreadableFileError
from sphuni.training.data._records import Samples

__all__ = ["read_cifar_binary", "read_class_folders", "read_class_tar", "read_idx"]

_IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")


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
    except (OSError, EOFError, struct.error, KeyError, ValueError) as error:
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
        parts.append(raw.reshape(-1, 3073))
    records = torch.from_numpy(np.concatenate(parts))
    return Samples(records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].long())


def read_class_folders(folder: Path) -> Samples:
    """Read images from one sub-folder per class; classes are numbered in alphabetical order."""
    files = sorted(p for p in folder.glob("*/*") if p.suffix.lower() in _SUFFIXES)
    return _decode(((path.parent.name, path.read_bytes()) for path in files), str(folder))


def read_class_tar(path: Path, part: str) -> Samples:
    """Read the members ``part/class/file`` of a tar, compressed or not."""
    return _decode(_tar_members(path, part), f"{path} ({part})")


def _tar_members(path: Path, part: str) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                pieces = Path(member.name).parts
                if len(pieces) < 3 or pieces[-3] != part or not member.isfile():
                    continue
                stream = archive.extractfile(member)
                if stream is not None and pieces[-1].lower().endswith(_SUFFIXES):
                    yield pieces[-2], stream.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UnreadableFileError(f"{str(path)!r} cannot be read as a tar: {error}") from None


def _decode(files: Iterable[tuple[str, bytes]], origin: str) -> Samples:
    """Decode images of one size; grey ones have one channel."""
    from PIL import Image

    names, images = [], []
    for name, content in files:
        pixels = np.asarray(Image.open(io.BytesIO(content)))
        names.append(name)
        images.append(pixels[None] if pixels.ndim == 2 else pixels[..., :3].transpose(2, 0, 1))
    if not images:
        raise UnreadableFileError(f"{origin!r} holds no images in class folders")
    if len({image.shape for image in images}) > 1:
        raise UnreadableFileError(f"the images of {origin!r} differ in size; bring them to one")
    number = {name: k for k, name in enumerate(sorted(set(names)))}
    targets = torch.tensor([number[name] for name in names])
    return Samples(torch.from_numpy(np.stack(images)), targets)
