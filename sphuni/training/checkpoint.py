"""Checkpoints: one file that appears whole or not at all."""

import io
import pickle
from pathlib import Path
from typing import Any

import torch

from sphuni._errors import UnreadableFileError
from sphuni._files import write_bytes

__all__ = ["read_checkpoint", "write_checkpoint"]

_SCHEMA = "sphuni.training.checkpoint"
_VERSION = 1


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write the state of a run."""
    stream = io.BytesIO()
    torch.save({"schema": _SCHEMA, "version": _VERSION, **state}, stream)
    write_bytes(path, stream.getvalue())


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read the state of a run; nothing but tensors and plain values is loaded.

    Raises
    ------
    UnreadableFileError
        If the file is damaged or of another kind.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError) as error:
        raise UnreadableFileError(f"{str(path)!r} cannot be read: {error}") from None
    if not isinstance(state, dict) or state.get("schema") != _SCHEMA:
        raise UnreadableFileError(f"{str(path)!r} is not a checkpoint of a training run")
    if state["version"] != _VERSION:
        raise UnreadableFileError(
            f"{str(path)!r} has version {state['version']}; this sphuni reads {_VERSION}"
        )
    return state
