"""Two readings of every method: its definition, and what the authors' code computes."""

from typing import Literal, TypeAlias

__all__ = ["Preset", "check_preset"]

Preset: TypeAlias = Literal["paper", "reference"]


def check_preset(preset: str) -> str:
    """Return `preset` if it is known."""
    if preset not in ("paper", "reference"):
        raise ValueError(f"preset must be 'paper' or 'reference'; got {preset!r}")
    return preset
