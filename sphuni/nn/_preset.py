"""Two readings of every method: its definition, and what the authors' code computes."""

from typing import Any, Literal, TypeAlias

__all__ = ["Preset", "check_preset", "fixed_by_reference"]

Preset: TypeAlias = Literal["paper", "reference"]


def check_preset(preset: str) -> str:
    """Return `preset` if it is known."""
    if preset not in ("paper", "reference"):
        raise ValueError(f"preset must be 'paper' or 'reference'; got {preset!r}")
    return preset


def fixed_by_reference(**options: tuple[Any, Any]) -> None:
    """Refuse options, given as (value, default), that the authors' code does not have."""
    for name, (value, default) in options.items():
        if hasattr(value, "shape") or value != default:
            raise ValueError(
                f"{name} must be left at {default!r} with preset='reference', which has no other; "
                f"got {value!r}"
            )
