"""The only writer in the library: files appear whole or not at all.

A file is written under a temporary name in its final folder, flushed to disk and renamed, so a
process killed at any moment leaves either the old file or the new one.
"""

import contextlib
import glob
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

__all__ = ["atomic_writer", "remove_leftovers", "write_bytes", "write_text"]

_SUFFIX = ".tmp"
_OPEN_ALREADY = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/self/fd/")


@contextlib.contextmanager
def atomic_writer(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Yield a binary stream whose content replaces `path` when the block ends without an error.

    Parameters
    ----------
    path : path-like
        Destination. Its folder must exist; an existing file is replaced in one step, that which a
        link leads to where it is one. Devices and pipes are written to as they are.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    """
    if _is_stream(Path(path)):
        with Path(path).open("ab") as stream:
            yield stream
        return
    target = Path(path).resolve() if Path(path).is_symlink() else Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"cannot write {str(target)!r}: folder {str(target.parent)!r} does not exist; create it"
        )
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=_beside(target), suffix=_SUFFIX)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        _adopt_mode(temporary, target)
        temporary.replace(target)
        _sync_folder(target.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write `content` to `path` atomically."""
    with atomic_writer(path) as stream:
        stream.write(content)


def write_text(path: str | os.PathLike[str], content: str) -> None:
    """Write `content` to `path` atomically as UTF-8."""
    write_bytes(path, content.encode("utf-8"))


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Remove what killed writers of `path` left beside it, when no one writes there any more."""
    target = Path(path)
    for left in target.parent.glob(f"{glob.escape(_beside(target))}*{_SUFFIX}"):
        left.unlink(missing_ok=True)


def _beside(target: Path) -> str:
    """How the names of temporary files begin."""
    return f".{target.name[:64]}."


def _is_stream(path: Path) -> bool:
    """Whether it is a device or a pipe, or leads to what the process has open already."""
    if not path.exists() or path.is_dir():
        return False
    return not path.is_file() or str(path.absolute()).startswith(_OPEN_ALREADY)


def _adopt_mode(temporary: Path, target: Path) -> None:
    """Give the new file the mode of the one it replaces, or what the umask grants a new file."""
    if target.exists():
        temporary.chmod(target.stat().st_mode & 0o777)
    else:
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable where the system allows a folder to be synced."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
