r"""Lemmas 1 and 2 of SphereNet, put to the test with exact Hessians in double precision.

For random U (n x k) and V (m x k) with unit rows and F = U V', the objectives are
:math:`G(U, V) = \frac12 |F - U V'|_F^2` and :math:`G_S(U, V) = \frac12 |F - D_U U V' D_V|_F^2`,
where D scales rows to unit length. Both are zero at (cU, V/c) for every c > 0. Lemma 1 says that
the condition number of the Hessian of G there, over its nonzero eigenvalues, grows at least like
c^2; Lemma 2 that the eigenvalues of G_S stay the same.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sphuni.training.runner import Task

__all__ = ["run", "spectrum"]

_ZERO = 1e-11
_ARMS = ("plain", "sphere", "renormalised")
Array = NDArray[np.float64]


def run(task: Task, *, report: Callable[[list[dict[str, Any]]], None]) -> list[dict[str, Any]]:
    """Return one row per scale c of ``options.scales``, for the shape of the case.

    Rows have the condition number and its logarithm to base 10, the extreme nonzero eigenvalues,
    and against c = 1: the exponent of growth of the condition number, and the largest change of an
    eigenvalue in decades.
    """
    if task.arm not in _ARMS:
        raise ValueError(f"arms of 'conditioning' are {', '.join(_ARMS)}; got {task.arm!r}")
    shapes, given = task.options.get("shapes", {}), task.options.get("scales", ())
    if not isinstance(shapes, dict) or task.case not in shapes or not given:
        raise ValueError(
            "options of 'conditioning' must hold scales, a list of numbers, and shapes, three "
            f"numbers for every case; those of {task.case!r} are missing"
        )
    u, v = _factors(_shape(shapes[task.case], task.case), task.seed)
    scales = _scales(given)
    first = spectrum(u, v, 1.0, task.arm)
    rows = []
    for number, c in enumerate(scales, 1):
        found = spectrum(u, v, c, task.arm)
        if len(found) != len(first):  # how many are not zero does not depend on c
            raise ValueError(
                f"options.scales must be nearer to 1: at c = {c:g} only {len(found)} of "
                f"{len(first)} nonzero eigenvalues are above the rounding of the largest"
            )
        rows.append({"event": "epoch", "epoch": number, "c": c, **_numbers(found, first, c)})
    report(rows)
    return rows


def spectrum(u: Tensor, v: Tensor, c: float, arm: str) -> Array:
    """Return the nonzero eigenvalues of the Hessian at (c u, v / c), ascending.

    Parameters
    ----------
    u, v : Tensor of shape (n, k), (m, k)
        With unit rows, in float64.
    c : float
    arm : {"plain", "sphere", "renormalised"}
        G; G_S at the scaled point; G_S after rows are scaled back to unit length.

    Examples
    --------
    >>> import torch
    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> spectrum(one, one, 2.0, "plain").round(6)  # (f - uv)^2 / 2 at (2, 1/2)
    array([4.25])
    """
    target = (u @ v.T).detach()
    point = torch.cat([(c * u).flatten(), (v / c).flatten()])
    if arm == "renormalised":
        point = torch.cat([_unit(part).flatten() for part in _split(point, u, v)])

    def objective(x: Tensor) -> Tensor:
        first, second = _split(x, u, v)
        if arm != "plain":
            first, second = _unit(first), _unit(second)
        return 0.5 * (target - first @ second.T).square().sum()

    hessian = torch.autograd.functional.hessian(objective, point)
    values: Array = np.linalg.eigvalsh(hessian.numpy())
    return values[np.abs(values) > _ZERO * np.abs(values).max()]


def _numbers(found: Array, first: Array, c: float) -> dict[str, float]:
    """What the log has of one spectrum, against that at c = 1."""
    kappa, before = (float(values[-1] / values[0]) for values in (found, first))
    numbers = {
        "kappa": kappa,
        "kappa.decades": float(np.log10(kappa)),
        "eigenvalue.largest": float(found[-1]),
        "eigenvalue.least": float(found[0]),
        "nonzero": len(found),
    }
    if c != 1:
        numbers["growth.score"] = float(np.log(kappa / before) / np.log(c))
        numbers["eigenvalue.change"] = float(np.abs(np.log10(found / first)).max())
    return numbers


def _shape(given: Any, case: str) -> Sequence[int]:
    listed = isinstance(given, list | tuple) and len(given) == len(("n", "m", "k"))
    if not listed or not all(isinstance(size, int) and size >= 1 for size in given):
        raise ValueError(
            f"options.shapes.{case} must be three whole numbers of at least 1, n, m, k; "
            f"got {given!r}"
        )
    return cast(Sequence[int], given)


def _scales(given: Any) -> list[float]:
    if not isinstance(given, list | tuple) or not all(
        isinstance(c, int | float) and 0 < c < np.inf for c in given
    ):
        raise ValueError(f"options.scales must be a list of positive numbers; got {given!r}")
    return [float(c) for c in given]


def _factors(shape: Sequence[int], seed: int) -> tuple[Tensor, Tensor]:
    n, m, k = shape
    rng = np.random.default_rng(seed)
    first, second = (torch.from_numpy(rng.standard_normal((rows, k))) for rows in (n, m))
    return _unit(first), _unit(second)


def _split(x: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    return x[: u.numel()].reshape(u.shape), x[u.numel() :].reshape(v.shape)


def _unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=1, keepdim=True)
