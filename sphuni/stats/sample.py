"""A look at a sample before it is tested."""

import dataclasses

import numpy as np
import torch
from torch import Tensor

from sphuni._arrays import result_function, unit_tolerance
from sphuni._result import Result

__all__ = ["SampleCheck", "check"]


@dataclasses.dataclass(frozen=True, repr=True)
class SampleCheck(Result):
    """What a sample looks like.

    Attributes
    ----------
    n, d : int
        Rows and columns.
    not_finite : int
        Rows with NaN or infinite entries.
    not_unit : int
        Finite rows that no test would take as unit vectors.
    worst_norm : float
        The norm furthest from 1 among finite rows; NaN if there are none.
    ties : int
        Rows that repeat an earlier one exactly.
    first_tie : int or None
        The first row that is repeated later.
    fit : bool
        Whether the tests take the sample as it is; ties are taken.
    notes : tuple of str
        The same in words, with what to do.
    """

    n: int
    d: int
    not_finite: int
    not_unit: int
    worst_norm: float
    ties: int
    first_tie: int | None
    fit: bool
    notes: tuple[str, ...]


@result_function()
def check(points: Tensor, /) -> SampleCheck:
    """Report what in a sample would be refused or misread; nothing is changed or refused.

    Parameters
    ----------
    points : array of shape (n, d)
        Points as rows, n >= 1, d >= 2.

    Returns
    -------
    SampleCheck

    Raises
    ------
    ValueError
        If the array does not have that shape.

    Notes
    -----
    Ties are exact. Continuous data have none; rounded data do, and then tests of small distances
    (packing, pycke, stereo, ...) say that the data were rounded, and no more. O(n d log n).

    Examples
    --------
    >>> import numpy as np
    >>> found = check(np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 0.0]]))
    >>> found.fit, found.not_unit, found.worst_norm, found.ties, found.first_tie
    (False, 1, 2.0, 1, 0)
    """
    if points.ndim != 2 or points.shape[0] < 1 or points.shape[1] < 2:
        raise ValueError(f"points must have shape (n, d), d >= 2; got {tuple(points.shape)}")
    n, d = points.shape
    finite = torch.isfinite(points.detach()).all(-1)
    rows = points.detach().double()[finite]
    norms = torch.linalg.vector_norm(rows, dim=-1)
    tolerance = unit_tolerance(points)
    wrong = int(((norms - 1.0).abs() > tolerance).sum())
    worst = float(norms[(norms - 1.0).abs().argmax()]) if len(norms) else float("nan")
    ties, first = _ties(rows.cpu().numpy(), torch.nonzero(finite)[:, 0].cpu().numpy())
    lost = n - len(norms)
    notes = []
    if lost:
        notes.append(f"{lost} of {n} rows are not finite: drop or repair them")
    if wrong:
        notes.append(
            f"{wrong} of {n} rows are not of length 1 to within {tolerance:.2g} (one has "
            f"{worst:.6g}): sphuni.normalize(points) keeps their directions"
        )
    if ties:
        notes.append(
            f"{ties} of {n} rows repeat an earlier one exactly (row {first} is the first "
            "repeated): tests of small distances see nothing else"
        )
    return SampleCheck(n, d, lost, wrong, worst, ties, first, not (lost or wrong), tuple(notes))


def _ties(rows: np.ndarray, numbers: np.ndarray) -> tuple[int, int | None]:
    """How many rows repeat an earlier one, and the number of the first that is repeated."""
    if not len(rows):
        return 0, None
    _, first, counts = np.unique(rows, axis=0, return_index=True, return_counts=True)
    repeated = first[counts > 1]
    return len(rows) - len(counts), int(numbers[repeated.min()]) if repeated.size else None
