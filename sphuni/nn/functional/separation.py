"""Maximum hyperspherical separation."""

from typing import Literal

import torch
from torch import Tensor

from sphuni._numbers import finite, whole
from sphuni._typing import Metric
from sphuni.geometry.separation import nearest_distances
from sphuni.kernels import Kernel, Laplace
from sphuni.nn._directions import directions
from sphuni.nn._precision import in_full_precision, nothing
from sphuni.nn._preset import Preset, check_preset, fixed_by_reference
from sphuni.nn.functional import _reference
from sphuni.pairwise import pair_reduce

__all__ = ["mhs"]

Minimum = Literal["hard", "soft", "top-k", "row-mean"]
_K, _SHARPNESS, _SHARPEST = 8, 20.0, 300.0


@in_full_precision
def mhs(
    weight: Tensor,
    /,
    *,
    half_space: bool = False,
    metric: Metric = "chordal",
    minimum: Minimum = "hard",
    k: int = _K,
    sharpness: float = _SHARPNESS,
    preset: Preset = "paper",
) -> Tensor:
    r"""Minus the separation of the rows of a weight; lower is more uniform.

    .. math:: -\min_{i<j} \rho(\hat w_i, \hat w_j)

    Parameters
    ----------
    weight : Tensor of shape (..., n, d)
        One neuron per row, any scale.
    half_space : bool, default False
        Take rows as lines: the distance to the closer of w and -w.
    metric : {"chordal", "geodesic"}, default "chordal"
        Distance in [0, 2] or angle in radians.
    minimum : {"hard", "soft", "top-k", "row-mean"}, default "hard"
        "hard": the closest pair alone has a gradient. "soft": -(1/b) log sum exp(-b rho) over all
        pairs, b = `sharpness` (chordal only). "row-mean": the mean over rows of the distance to
        the nearest other row. "top-k": the mean of the k smallest of those.
    k : int, default 8
        For "top-k"; at most n is used.
    sharpness : float, default 20
        For "soft", in (0, 300].
    preset : {"paper", "reference"}, default "paper"
        "reference": minus the smallest squared distance, summed over the pairs that tie.

    Returns
    -------
    Tensor of shape (...)
        Zero for n = 1.

    Notes
    -----
    The optimum is the simplex for n <= d + 1, and any orthogonal set in half space for n <= d.
    O(n^2 d) time, O(n d) memory.

    References
    ----------
    W. Liu et al., "Learning with hyperspherical uniformity", AISTATS 2021. arXiv:2103.01649.
    Z. Wang et al., "MMA regularization: decorrelating weights of neural networks by maximizing
    the minimal angles", NeurIPS 2020. arXiv:2006.06527 (row-mean).

    Examples
    --------
    >>> import torch
    >>> round(float(mhs(torch.eye(3), metric="geodesic")), 6)
    -1.570796
    """
    n = weight.shape[-2]
    if n == 1:
        return nothing(weight)
    if check_preset(preset) == "reference":
        fixed_by_reference(
            metric=(metric, "chordal"),
            minimum=(minimum, "hard"),
            k=(k, _K),
            sharpness=(sharpness, _SHARPNESS),
        )
        return _reference.separation(weight, half_space=half_space)
    rows = directions(weight, half_space=half_space)
    if minimum == "soft":
        return _soft(rows, half_space, metric, sharpness)
    if metric not in ("chordal", "geodesic"):
        raise ValueError(f"metric must be 'chordal' or 'geodesic'; got {metric!r}")
    distance, _ = nearest_distances(rows, metric=metric, antipodal=half_space)
    if minimum == "hard":
        return -distance.amin(dim=-1)
    if minimum == "row-mean":
        return -distance.mean(dim=-1)
    if minimum != "top-k":
        raise ValueError(f"minimum must be 'hard', 'soft', 'top-k' or 'row-mean'; got {minimum!r}")
    kept = min(whole("k", k, 1), n)
    return -distance.topk(kept, dim=-1, largest=False).values.mean(dim=-1)


def _soft(rows: Tensor, half_space: bool, metric: Metric, sharpness: float) -> Tensor:
    """(1/b) log sum exp(-b rho) in float64, where exp(-600) still is a number."""
    if metric != "chordal":
        raise ValueError(f"minimum='soft' takes metric='chordal' only; got {metric!r}")
    sharpness = finite("sharpness", sharpness)
    if not 0 < sharpness <= _SHARPEST:
        raise ValueError(f"sharpness must lie in (0, {_SHARPEST:g}]; got {sharpness}")
    kernel: Kernel = Laplace(sharpness)
    total = pair_reduce(rows.double(), kernel=kernel.antipodal() if half_space else kernel)
    least = torch.finfo(torch.float64).tiny
    return (total.clamp_min(least).log() / sharpness).to(rows.dtype)
