"""What a reader returns, and the limits it keeps to."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from sphuni._errors import RefusedFileError, SphuniError, UnreadableFileError

__all__ = [
    "LeftOut",
    "LoadedModel",
    "ReadLimits",
    "checked_name",
    "first_line",
    "located",
    "reading",
    "shown",
]


@dataclass(frozen=True)
class ReadLimits:
    """How much a file may ask for before it is refused.

    A file of weights stays far below the defaults; raise one only for a file you trust.

    Attributes
    ----------
    max_bytes : int, default 2**40
        Bytes of all tensors together, as their shapes claim. Tensors stored as they are are also
        limited by the size of their file, whatever this says.
    max_tensors : int, default 100_000
        Number of tensors, and of members of an archive.
    max_rank : int, default 8
        Number of axes of one tensor.
    max_name : int, default 512
        Characters in one name, and at once the limit on the nesting of containers.
    max_header : int, default 2**24
        Bytes of structure: a safetensors header, an archive directory, a pickle programme.
    max_nodes : int, default 300_000
        Steps of a pickle programme (a tensor takes about 32), entries of nested containers; an
        ONNX graph may have twice as many fields.
    max_ratio : int, default 100
        Expansion of a compressed archive, once it expands to more than `free_expansion`.
    free_expansion : int, default 2**26
        Bytes any archive may expand to.
    """

    max_bytes: int = 1 << 40
    max_tensors: int = 100_000
    max_rank: int = 8
    max_name: int = 512
    max_header: int = 1 << 24
    max_nodes: int = 300_000
    max_ratio: int = 100
    free_expansion: int = 1 << 26


class LeftOut(NamedTuple):
    """A part of a file that is not handed on as weights, and why."""

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """The tensors of a file, in its own order.

    Attributes
    ----------
    path : Path
        What was read: a file, or the folder or index of several.
    format : str
        `safetensors`, `torch`, `npz`, `npy` or `onnx`.
    tensors : dict of str to Tensor
        Name and value, in the dtype of the file. Values may be windows into the file.
    skipped : tuple of LeftOut
        What the file holds besides, such as the state of an optimizer.
    kinds : mapping of str to str
        Kinds the file itself tells (ONNX): these tensors have their neurons along axis 0.
    """

    path: Path
    format: str
    tensors: dict[str, Tensor]
    skipped: tuple[LeftOut, ...] = ()
    kinds: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def located(path: Path) -> Iterator[None]:
    """Put the file's name in front of a refusal that speaks of "it"."""
    try:
        yield
    except RefusedFileError as error:
        raise RefusedFileError(f"{shown(path)} is refused: {error}") from error.__cause__
    except UnreadableFileError as error:
        raise UnreadableFileError(f"{shown(path)} cannot be read: {error}") from error.__cause__


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Let nothing but `UnreadableFileError` and its kin escape from reading `path`."""
    try:
        yield
    except SphuniError:
        raise
    except RecursionError as error:
        raise UnreadableFileError(f"{shown(path)} is nested too deeply to be read") from error
    except MemoryError as error:
        raise UnreadableFileError(f"{shown(path)} needs more memory than there is") from error
    except Exception as error:
        raise UnreadableFileError(f"{shown(path)} cannot be read: {first_line(error)}") from error


def shown(path: Path | str) -> str:
    """Write a path or name so that no control character of it reaches a terminal."""
    text = str(path)
    return repr(text if len(text) <= 200 else f"{text[:80]}...{text[-100:]}")


def first_line(error: BaseException) -> str:
    """Shorten a message from a library to one printable line."""
    lines = str(error).strip().splitlines()
    text = "".join(c if c.isprintable() else " " for c in (lines[0] if lines else ""))
    return (text or type(error).__name__)[:200]


def checked_name(name: str, limits: ReadLimits) -> str:
    """Return the name if it is of a length a report can show."""
    if len(name) > limits.max_name:
        raise RefusedFileError(
            f"it has a name of {len(name)} characters, starting {name[:40]!r}; max_name is "
            f"{limits.max_name}"
        )
    return name
