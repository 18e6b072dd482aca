"""From a weight matrix to points on the sphere: norms, dead neurons, centring."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sphuni._budget import describe_bytes, memory_budget
from sphuni._typing import Points, Weights
from sphuni.analysis._options import Options
from sphuni.nn.neurons import NeuronView

__all__ = ["DEAD", "NotMeasurable", "ProductView", "Rows", "prepare", "transform"]

DEAD = 1e-6
"""Rows shorter than this share of the mean are dead."""
_DOUBLE_WORK = 2e10
_COPIES = 4
_PAIR_COPIES = 4


@dataclass(frozen=True, eq=False, kw_only=True)
class ProductView(NeuronView):
    """A product of low rank, its rows in coordinates of the space that they span.

    `width` is how many coordinates they have as weights.
    """

    width: int


class NotMeasurable(Exception):
    """A matrix whose rows cannot be read as points; the message is the reason in the report."""


class Rows(NamedTuple):
    """The live rows of a matrix as unit vectors.

    `live` maps them to the matrix's own rows, `dead` are the rows left out.
    """

    points: Points
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
    weights, notes = transform(weights, options)
    low, high = torch.aminmax(weights, dim=1, keepdim=True)
    largest = torch.maximum(-low, high)
    weights /= torch.where(largest == 0, 1.0, largest)
    norms = torch.linalg.vector_norm(weights, dim=1) * largest[:, 0]
    # against the mean, as most rows of a pruned layer may be dead
    shares = norms / norms.amax()
    alive = shares > DEAD * shares.mean()
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
    own = 2.1 if options.remove_top else 1.1
    whole = int(own * n * d * dtype.itemsize) + _PAIR_COPIES * compared * d * 8
    return min(whole, _COPIES * n * d * dtype.itemsize)


def _refuse_infinite(weights: Weights) -> None:
    low, high = torch.aminmax(weights)
    if bool(torch.isfinite(low) & torch.isfinite(high)):
        return
    finite = torch.isfinite(weights)
    if not bool(finite.all()):
        rows = torch.nonzero(~finite.all(dim=1))[:, 0]
        count = len(rows)
        more = f" and {count - 1} more" if count > 1 else ""
        raise NotMeasurable(f"row {int(rows[0])}{more} holds NaN or infinite weights")


def transform(weights: Weights, options: Options) -> tuple[Tensor, tuple[str, ...]]:
    """Centre the rows, in place, and take the coordinates that removed components leave.

    Rows of R^d without k components are points of R^(d - k): as points of R^d they would look
    gathered about a subspace.
    """
    notes = []
    if options.center:
        weights -= weights.mean(dim=0)
        notes.append("the mean row was subtracted")
    if options.remove_top:
        (n, d), top = weights.shape, options.remove_top
        spanned = min(n - int(options.center), d)
        if top > spanned - 2:
            raise NotMeasurable(
                f"remove_top = {top} leaves fewer than two of the {spanned} dimensions that "
                f"{n} rows of R^{d} span"
            )
        # the coordinates behind the first are those that reflections to the leading axes leave
        reflections = torch.geqrf(_leading(weights, top))
        weights = torch.ormqr(*reflections, weights, left=False)[:, top:]
        which = "leading component was" if top == 1 else f"{top} leading components were"
        notes.append(f"the {which} removed, which leaves {d - top} coordinates")
    return weights, tuple(notes)


def _leading(weights: Weights, top: int) -> Tensor:
    """Vectors (d, top) that span the leading components, from the smaller of the two Gram matrices.

    Scaled first, as squares of large or small weights would leave the range of their type.
    """
    n, d = weights.shape
    largest = torch.stack(torch.aminmax(weights)).abs().amax()
    scaled = weights / torch.where(largest == 0, 1.0, largest)
    if n >= d:
        return torch.linalg.eigh(scaled.T @ scaled).eigenvectors[:, d - top :]
    return scaled.T @ torch.linalg.eigh(scaled @ scaled.T).eigenvectors[:, n - top :]
