"""Folders, shards and links: which file is meant, and that it lies where it says."""

import json
import os
import re
import stat
from pathlib import Path
from typing import Any

from sphuni._errors import RefusedFileError, UnreadableFileError
from sphuni.analysis.readers._model import ReadLimits, shown

__all__ = ["check_regular", "find_weights", "shards", "weights_beside"]

_PREFERENCE = (
    (".safetensors.index.json",),
    (".safetensors",),
    (".bin.index.json",),
    (".bin", ".pt", ".pth", ".ckpt", ".pth.tar"),
    (".npz",),
    (".onnx",),
)
_BESIDE = re.compile(r"(training_args|optimizer|scheduler|scaler|rng_state(_\d+)?)\.(bin|pt|pth)")
"""What a Trainer keeps beside the weights."""
_LISTED = 3


def check_regular(path: Path) -> None:
    """Raise unless the path is a file with something in it; nothing is opened."""
    try:
        status = path.stat()
    except FileNotFoundError:
        link = " is a link to nothing" if path.is_symlink() else " does not exist"
        raise UnreadableFileError(f"{shown(path)}{link}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreadableFileError(f"{shown(path)} cannot be read: {reason}") from error
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableFileError(f"{shown(path)} is {_what(status.st_mode)}, not a file")
    if status.st_size == 0:
        raise UnreadableFileError(f"{shown(path)} is empty")
    if not os.access(path, os.R_OK):
        raise UnreadableFileError(f"{shown(path)} may not be read by this user")


def _what(mode: int) -> str:
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISCHR, "a device"))
    for test, name in (*kinds, (stat.S_ISBLK, "a device"), (stat.S_ISSOCK, "a socket")):
        if test(mode):
            return name
    return "no regular file"


def find_weights(folder: Path) -> Path:
    """Return the one file or index of weights in a folder.

    Safetensors come before pickles and an index before its shards. The cache layout of the
    Hugging Face hub (`models--x--y/snapshots/<revision>`) is followed to its current revision.
    """
    home = _revision(folder)
    names = [name for name in _weights_in(home) if not _BESIDE.fullmatch(name)]
    for group in _PREFERENCE:
        fitting = sorted(name for name in names if name.endswith(group))
        if len(fitting) == 1:
            return _inside(home, fitting[0])
        if fitting:
            first = ", ".join(map(shown, fitting[:_LISTED]))
            more = f" and {len(fitting) - _LISTED} more" if len(fitting) > _LISTED else ""
            raise UnreadableFileError(
                f"the folder {shown(folder)} holds several files of weights ({first}{more}); "
                "name one"
            )
    raise UnreadableFileError(f"the folder {shown(folder)} holds no file of weights that is known")


def weights_beside(source: str | os.PathLike[str]) -> list[Path]:
    """Return every file of weights in a folder, or beside an index of shards, read or not."""
    path = Path(source)
    try:
        home = _revision(path) if path.is_dir() else path.parent
        return [home / name for name in _weights_in(home)]
    except (OSError, UnreadableFileError):
        return []  # to read it says what is wrong


def _weights_in(folder: Path) -> list[str]:
    suffixes = tuple(suffix for group in _PREFERENCE for suffix in group)
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if entry.name.endswith(suffixes)]


def _revision(folder: Path) -> Path:
    snapshots = folder / "snapshots"
    if not (folder.name.startswith("models--") and snapshots.is_dir()):
        return folder
    revisions = sorted(entry.name for entry in snapshots.iterdir())
    reference = folder / "refs" / "main"
    if reference.is_file() and reference.stat().st_size <= 256:
        current = reference.read_text(encoding="utf-8", errors="replace").strip()
        if current in revisions:
            return snapshots / current
    if len(revisions) == 1:
        return snapshots / revisions[0]
    raise UnreadableFileError(
        f"the folder {shown(folder)} holds {len(revisions)} snapshots and none is marked as main"
    )


def _inside(folder: Path, name: str) -> Path:
    """Return the file of that name, refusing a link that leads out of the folder."""
    path = folder / name
    home = folder.resolve()
    target = path.resolve()
    roots = [home]
    if home.parent.name == "snapshots":
        roots.append(home.parent.parent / "blobs")
    if not any(target.is_relative_to(root) for root in roots):
        raise RefusedFileError(
            f"{shown(name)} in {shown(folder)} is a link to a file outside the folder; name that "
            "file yourself if you mean it"
        )
    return path


def shards(index: Path, limits: ReadLimits) -> list[tuple[Path, set[str]]]:
    """Read an index of shards: each file with the names of the tensors it answers for."""
    size = index.stat().st_size
    if size > limits.max_header:
        raise RefusedFileError(
            f"{shown(index)} has {size} bytes; max_header is {limits.max_header}"
        )
    try:
        content = json.loads(index.read_bytes().decode("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UnreadableFileError(f"{shown(index)} is not JSON") from error
    table = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(table, dict) or not table or len(table) > limits.max_tensors:
        raise UnreadableFileError(
            f"{shown(index)} is no index of shards: it needs a weight_map of at most "
            f"{limits.max_tensors} names"
        )
    wanted: dict[str, set[str]] = {}
    for name, file in table.items():
        wanted.setdefault(_basename(index, file), set()).add(name)
    return [(_inside(index.parent, file), names) for file, names in sorted(wanted.items())]


def _basename(index: Path, file: Any) -> str:
    suspicious = (
        not isinstance(file, str)
        or file in ("", ".", "..")
        or any(c in file for c in "/\\\0")
        or not file.endswith((".safetensors", ".bin"))
    )
    if suspicious:
        raise RefusedFileError(
            f"{shown(index)} names the shard {shown(str(file))}; a shard must be a plain "
            ".safetensors or .bin file beside its index"
        )
    return str(file)
