"""Checkpoints: one file that appears whole or not at all."""

import io
from pathlib import Path
from typing import Any

import torch

from sphuni._errors import UnreadableFileError, first_sentence
from sphuni._files import write_bytes
from sphuni.training import schema
from sphuni.training.config import Settings

__all__ = ["read_checkpoint", "write_checkpoint"]

_SCHEMA = "sphuni.training.checkpoint"
_VERSION = 1


def write_checkpoint(path: Path, state: dict[str, Any], settings: Settings) -> None:
    """Write the state of a run, and the settings that it has."""
    stream = io.BytesIO()
    about = {"schema": _SCHEMA, "version": _VERSION, "settings": schema.to_table(settings)}
    torch.save({**about, **state}, stream)
    write_bytes(path, stream.getvalue())


def read_checkpoint(path: Path, settings: Settings) -> dict[str, Any]:
    """Read the state of a run; nothing but tensors and plain values is loaded.

    Raises
    ------
    UnreadableFileError
        If the file is damaged or of another kind.
    ValueError
        If it is of a run with other settings; the first difference is named.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of a damaged file torch raises whatever its bytes lead to
        raise UnreadableFileError(
            f"{str(path)!r} cannot be read: {type(error).__name__}: {first_sentence(error)}. "
            "Remove it, and the run begins anew"
        ) from None
    if not isinstance(state, dict) or state.get("schema") != _SCHEMA:
        raise UnreadableFileError(f"{str(path)!r} is not a checkpoint of a training run")
    if state.get("version") != _VERSION:
        raise UnreadableFileError(
            f"{str(path)!r} has version {state.get('version')}; this sphuni reads {_VERSION}"
        )
    schema.check_same(settings, state.get("settings", {}), f"{str(path)!r} is of")
    return state
