"""Points of either library as plain rows, for what draws them, writes them or looks at them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["as_array", "not_real", "numpy_directions", "numpy_rows", "shown_norm"]

_SLACK, _SLACK_OF_BFLOAT16, _ROUNDING = 1e-3, 2.0**-5, 1e-12
_NOT_REAL = "cbSU"
"""Kinds of dtype that NumPy would turn into numbers without a word."""


def as_array(value: Any, name: str) -> NDArray[Any]:
    """Return `value` as NumPy takes it, whatever its dtype; what is no array is refused by name."""
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be an array; its rows differ in length") from error
    except RuntimeError as error:
        raise TypeError(
            f"{name} must be one tensor where tensors require gradients; call torch.stack({name})"
        ) from error


def not_real(array: NDArray[Any], value: Any, name: str) -> TypeError:
    """What to raise where `array`, made of `value`, does not hold real numbers."""
    whole = array.ndim == 0 and not isinstance(value, np.ndarray | np.generic)
    got = type(value).__name__ if whole else f"dtype {array.dtype}"
    remedy = ""
    if array.dtype.kind == "c":
        remedy = ". Points of the circle are rows (cos, sin): real and imaginary part"
    elif array.dtype.kind in "OSU" and not whole:
        remedy = f". Where all entries are numbers call numpy.asarray({name}, dtype=float)"
    return TypeError(f"{name} must be an array of real numbers; got {got}{remedy}")


def shown_norm(norm: float) -> str:
    """Write the norm of a row that is not of unit length so that it does not read 1.

    Examples
    --------
    >>> shown_norm(1.3), shown_norm(1 - 4e-9)
    ('1.3', '1 - 4e-09')
    """
    short = f"{norm:.6g}"
    return short if short != "1" else f"1 {'+' if norm > 1 else '-'} {abs(norm - 1):.2g}"


def numpy_rows(
    points: Any, *, d: int | None = None, least: int = 1, unit: bool = True
) -> NDArray[np.float64]:
    """Rows (n, d) as NumPy float64, as they are; of a result that has points, these.

    Raises
    ------
    TypeError
        If they are no array of real numbers, or some are masked.
    ValueError
        If there are fewer than `least`, they have another dimension than `d` or less than 2, or
        one is not of unit length to three digits (to its own digits, where these are bfloat16).
    """
    points = getattr(points, "points", points)
    if np.ma.is_masked(points):
        raise TypeError("points must not hold masked entries; drop those rows first")
    given = as_array(_off_torch(points), "points")
    if given.dtype.kind in _NOT_REAL:
        raise not_real(given, points, "points")
    try:
        rows = np.asarray(given, dtype=np.float64)
    except TypeError as error:
        raise TypeError(
            f"points must be an array of shape (n, {d or 'd'}); got {type(points).__name__}"
        ) from error
    except ValueError as error:
        raise TypeError(f"points must be an array of real numbers; {error}") from error
    of_rows = rows.ndim == 2 and len(rows) >= least
    if not of_rows or (rows.shape[1] < 2 if d is None else rows.shape[1] != d):
        wanted = f"(n, {d or 'd'}) with n >= {least}" + (", d >= 2" if d is None else "")
        raise ValueError(f"points must have shape {wanted}; got {rows.shape}")
    norms = np.linalg.norm(rows, axis=1)
    off = np.nan_to_num(np.abs(norms - 1), nan=np.inf)
    coarse = str(getattr(points, "dtype", "")) == "torch.bfloat16"
    if unit and off.max() > (_SLACK_OF_BFLOAT16 if coarse else _SLACK):
        worst = int(off.argmax())
        remedy = (
            "Call sphuni.normalize(points)" if np.isfinite(norms[worst]) else "Drop or repair it"
        )
        raise ValueError(
            f"points must have unit rows; row {worst} has norm {shown_norm(norms[worst])}. "
            f"{remedy} first"
        )
    return rows


def numpy_directions(points: Any, *, d: int | None = None, least: int = 1) -> NDArray[np.float64]:
    """`numpy_rows`, scaled to unit length where they are so to less than rounding."""
    rows = numpy_rows(points, d=d, least=least)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / lengths) if np.abs(lengths - 1).max() > _ROUNDING else rows


def _off_torch(points: Any) -> Any:
    """The values of a tensor, in float64 as NumPy has no bfloat16; others as they are."""
    if not hasattr(points, "detach"):
        return points
    values = points.detach().cpu()
    return values.double().numpy() if values.is_floating_point() else values.numpy()
