"""Argument checks shared by the special functions."""

from sphuni._numbers import whole


def check_dimension(d: int) -> int:
    """Return `d` as a plain int, or refuse what is no ambient dimension."""
    value = whole("d", d)
    if value < 2:
        raise ValueError(
            f"d must be an ambient dimension of at least 2 (the circle); got {value}. "
            "For the sphere S^k pass d = k + 1."
        )
    return value


def check_count(value: int, name: str, least: int) -> int:
    """Return `value` as a plain int, or refuse one below `least`."""
    count = whole(name, value)
    if count < least:
        raise ValueError(f"{name} must be an integer of at least {least}; got {count}.")
    return count
