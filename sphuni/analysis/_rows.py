"""From a weight matrix to points on the sphere: norms, dead neurons, centring."""

from typing import NamedTuple

import torch
from torch import Tensor

from sphuni._budget import describe_bytes, memory_budget
from sphuni.analysis._options import Options

__all__ = ["NotMeasurable", "Rows", "prepare"]

_DEAD = 1e-6
_DOUBLE_WORK = 2e10
_COPIES = 4
_PAIR_COPIES = 4


class NotMeasurable(Exception):
    """A matrix whose rows cannot be read as points; the message is the reason in the report."""


class Rows(NamedTuple):
    """The live rows of a matrix as unit vectors.

    `live` maps them to the matrix's own rows, `dead` are the rows left out.
    """

    points: Tensor
    live: Tensor
    dead: tuple[int, ...]
    norm_min: float
    norm_max: float
    notes: tuple[str, ...]


def prepare(matrix: Tensor, options: Options) -> Rows:
    """Normalise the rows of `matrix`, in float64 unless the work or the budget forbids.

    Raises
    ------
    NotMeasurable
        If an entry is not finite, all rows are zero, or the budget is too small.
    """
    weights = matrix.to(_working_type(matrix, options), copy=True)
    _refuse_infinite(weights)
    notes = _transform(weights, options)
    low, high = torch.aminmax(weights, dim=1, keepdim=True)
    largest = torch.maximum(-low, high)
    weights /= torch.where(largest == 0, 1.0, largest)
    norms = torch.linalg.vector_norm(weights, dim=1) * largest[:, 0]
    alive = norms > _DEAD * norms.median()
    if not bool(alive.any()):
        raise NotMeasurable("every row is zero: there are no directions")
    dead = tuple(torch.nonzero(~alive)[:, 0].tolist())
    points = weights if not dead else weights[alive]
    points /= torch.linalg.vector_norm(points, dim=1, keepdim=True)
    live = torch.nonzero(alive)[:, 0]
    return Rows(points, live, dead, float(norms.min()), float(norms.max()), notes)


def _working_type(matrix: Tensor, options: Options) -> torch.dtype:
    n, d = matrix.shape
    allowed = memory_budget(options.max_bytes)
    for dtype in (torch.float64, torch.float32):
        heavy = dtype == torch.float64 and float(n) * n * d > _DOUBLE_WORK
        if _needed(n, d, dtype, options) <= allowed and not heavy:
            return dtype
    needed = _needed(n, d, torch.float32, options)
    if needed <= allowed:
        return torch.float32
    raise NotMeasurable(
        f"needs {describe_bytes(needed)} but max_bytes allows {describe_bytes(allowed)}"
    )


def _needed(n: int, d: int, dtype: torch.dtype, options: Options) -> int:
    """Bytes for a copy of the matrix, and for the float64 copies of the rows that are compared."""
    compared = min(n, options.most_rows(d))
    whole = int(1.1 * n * d * dtype.itemsize) + _PAIR_COPIES * compared * d * 8
    return min(whole, _COPIES * n * d * dtype.itemsize)


def _refuse_infinite(weights: Tensor) -> None:
    low, high = torch.aminmax(weights)
    if bool(torch.isfinite(low) & torch.isfinite(high)):
        return
    finite = torch.isfinite(weights)
    if not bool(finite.all()):
        rows = torch.nonzero(~finite.all(dim=1))[:, 0]
        count = len(rows)
        more = f" and {count - 1} more" if count > 1 else ""
        raise NotMeasurable(f"row {int(rows[0])}{more} holds NaN or infinite weights")


def _transform(weights: Tensor, options: Options) -> tuple[str, ...]:
    """Centre the rows and remove leading components, in place, as asked for."""
    notes = []
    if options.center:
        weights -= weights.mean(dim=0)
        notes.append("the mean row was subtracted")
    if options.remove_top:
        if options.remove_top >= weights.shape[1]:
            raise NotMeasurable(
                f"remove_top = {options.remove_top} leaves nothing of d = {weights.shape[1]} "
                "dimensions"
            )
        top = min(options.remove_top, weights.shape[0] - 1)
        second = weights.T @ weights
        basis = torch.linalg.eigh(second).eigenvectors[:, -top:] if top else second[:, :0]
        weights -= (weights @ basis) @ basis.T
        notes.append(f"the {top} leading principal components were removed")
    return tuple(notes)
