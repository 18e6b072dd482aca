"""Energies and potentials: sums of a zonal kernel over pairs of points."""

import warnings

import torch
from torch import Tensor

from sphuni._arrays import array_function, check_finite, check_points, widen
from sphuni._errors import NumericalWarning
from sphuni._typing import Array, Metric, Reduction
from sphuni.kernels import Kernel, Riesz, check_kernel
from sphuni.pairwise import Engine, agree_on_rows, explain, is_sharded, pair_reduce
from sphuni.sphere import tangent_rows

__all__ = ["energy", "frame_potential", "kernel_energy", "potential", "riesz_energy"]


@array_function("weights")
def riesz_energy(
    points: Tensor,
    /,
    *,
    s: float = 1.0,
    metric: Metric = "chordal",
    reduction: Reduction = "mean",
    antipodal: bool = False,
    weights: Array | None = None,
    engine: Engine = "auto",
) -> Tensor:
    r"""Riesz s-energy of points on the sphere; lower is more uniform for every s.

    .. math:: E_s = \sum_{i<j} K_s(\rho_{ij}),\quad
              K_s = \rho^{-s}\ (s>0),\ -\log\rho\ (s=0),\ -\rho^{-s}\ (s<0)

    Parameters
    ----------
    points : array of shape (..., n, d)
        Unit rows.
    s : float, default 1
        Exponent: 1 is Thomson's problem on S^2, 0 the logarithmic energy, -1 minus the sum of
        distances; s to infinity tends to separation.
    metric : {"chordal", "geodesic"}, default "chordal"
        rho is the straight-line distance in [0, 2] or the angle in [0, pi].
    reduction : {"mean", "sum"}, default "mean"
        Over unordered pairs i < j. Tables of Thomson energies print the sum; the ordered sums of
        the hyperspherical-energy papers are twice the sum.
    antipodal : bool, default False
        The energy of the 2n points {x, -x}, the n constant pairs included, from the n x n pairs:
        the half-space energy of the papers.
    weights : array of shape (..., n), optional
        Weight w_i w_j per pair; "mean" divides by their sum. Weight 0 takes a point out.
    engine : str, default "auto"
        What does the sum: see `sphuni.pairwise.pair_reduce`. A DTensor that is sharded on its
        rows, or engine="ring" with the rows of this rank of torch.distributed, gives the energy
        of the points of all ranks, on every rank.

    Returns
    -------
    array of shape (...)
        In the caller's library and dtype.

    Raises
    ------
    ValueError
        If rows are not unit vectors, entries are not finite, or d < 2.

    Notes
    -----
    Coincident points give +inf for s >= 0, and a zero gradient from that pair; antipodal points
    likewise where the kernel is singular there. One point has sum 0 and mean nan (with a warning).
    The gradient is the tangent one. O(n^2 d) time, O(n d) memory. In float32 pairs closer than
    1/8 are computed by differences, so close pairs keep their digits.

    References
    ----------
    S. V. Borodachov, D. P. Hardin, E. B. Saff, "Discrete Energy on Rectifiable Sets", Springer,
    2019. doi:10.1007/978-0-387-84808-2.
    W. Liu et al., "Learning towards minimum hyperspherical energy", NeurIPS 2018.
    arXiv:1805.09298.

    Examples
    --------
    >>> import numpy as np, sphuni
    >>> octahedron = np.vstack([np.eye(3), -np.eye(3)])
    >>> round(float(sphuni.riesz_energy(octahedron, s=1, reduction="sum")), 12)
    9.985281374239
    """
    return energy(
        points,
        Riesz(s, metric),
        reduction=reduction,
        antipodal=antipodal,
        weights=weights,
        engine=engine,
    )


@array_function("weights")
def kernel_energy(
    points: Tensor,
    /,
    *,
    kernel: Kernel,
    reduction: Reduction = "mean",
    antipodal: bool = False,
    weights: Array | None = None,
    engine: Engine = "auto",
) -> Tensor:
    """Energy of points under any zonal kernel; see `riesz_energy` for the conventions.

    Parameters
    ----------
    points : array of shape (..., n, d)
        Unit rows.
    kernel : Kernel
        For example `Gaussian(1.0)`, `Riesz(2.0)` or `GegenbauerSeries(...)`.
    reduction, antipodal, weights, engine
        As in `riesz_energy`.

    Returns
    -------
    array of shape (...)
        Lower is more uniform for kernels that decrease with distance.

    Examples
    --------
    >>> import numpy as np, sphuni
    >>> square = np.array([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    >>> float(sphuni.kernel_energy(square, kernel=sphuni.Riesz(2.0), reduction="sum"))
    2.5
    """
    return energy(
        points, kernel, reduction=reduction, antipodal=antipodal, weights=weights, engine=engine
    )


@array_function("points", "weights")
def potential(
    field_points: Tensor,
    points: Array,
    /,
    *,
    kernel: Kernel,
    weights: Array | None = None,
    antipodal: bool = False,
    engine: Engine = "auto",
) -> Tensor:
    """Potential of `points` at each of `field_points`: the sum of the kernel over the points.

    Parameters
    ----------
    field_points : array of shape (..., m, d)
        Where to evaluate; unit rows.
    points : array of shape (..., n, d)
        The sources; unit rows, same batch shape.
    kernel : Kernel
        What a source of weight 1 adds, for example `Riesz(1.0)`.
    weights : array of shape (..., n), optional
        Weight of each source.
    antipodal : bool, default False
        Sources at {x, -x}.
    engine : str, default "auto"
        What does the sums: see `sphuni.pairwise.pair_reduce`.

    Returns
    -------
    array of shape (..., m)
        In the caller's library and dtype.

    Raises
    ------
    ValueError
        If the two sets differ in batch shape or d, or `weights` in shape from the points.

    Notes
    -----
    A field point on a source gives the kernel's value at coincidence, inf for Riesz s >= 0.
    O(m n d) time, O((m + n) d) memory.

    Examples
    --------
    >>> import numpy as np, sphuni
    >>> poles = np.array([[1.0, 0.0], [-1.0, 0.0]])
    >>> sphuni.potential([[0.0, 1.0]], poles, kernel=sphuni.Riesz(2.0))
    array([1.])
    """
    check_points(field_points, name="field_points")
    check_points(points)
    _check_weights(weights, points)
    check_kernel(kernel)
    if field_points.shape[:-2] != points.shape[:-2] or field_points.shape[-1] != points.shape[-1]:
        raise ValueError(
            "field_points and points must agree in batch shape and d; got "
            f"{tuple(field_points.shape)} and {tuple(points.shape)}"
        )
    used = kernel.antipodal() if antipodal else kernel
    return pair_reduce(field_points, points, kernel=used, op="rows", weights=weights, engine=engine)


@array_function()
def frame_potential(points: Tensor, /) -> Tensor:
    r"""Frame potential, the sum of squared cosines over all ordered pairs; lower is better.

    .. math:: FP = \sum_{i,j} \langle x_i, x_j\rangle^2 \ge \max(n, n^2/d)

    with equality for orthonormal sets (n <= d) and unit-norm tight frames (n >= d).

    Parameters
    ----------
    points : array of shape (..., n, d)
        Unit rows.

    Returns
    -------
    array of shape (...)

    References
    ----------
    J. J. Benedetto, M. Fickus, "Finite normalized tight frames", Adv. Comput. Math. 18, 2003,
    357-385. doi:10.1023/A:1021323312367.

    Examples
    --------
    >>> import numpy as np, sphuni
    >>> float(sphuni.frame_potential(np.eye(4)))
    4.0
    """
    check_points(points)
    n, d = points.shape[-2:]
    rows = tangent_rows(widen(points))
    gram = rows @ rows.mT if n <= d else rows.mT @ rows
    return gram.square().sum(dim=(-2, -1)).to(points.dtype)


def energy(
    points: Tensor,
    kernel: Kernel,
    *,
    reduction: Reduction,
    antipodal: bool,
    weights: Tensor | None,
    engine: Engine,
) -> Tensor:
    """Check the arguments and reduce: the body of the public energies."""
    if reduction not in ("sum", "mean"):
        raise ValueError(f"reduction must be 'sum' or 'mean'; got {reduction!r}")
    check_kernel(kernel)
    used = kernel.antipodal() if antipodal else kernel
    if engine == "ring" or is_sharded(points):
        if weights is not None:
            raise ValueError("weights must be None where the points are spread over processes")
        return _energy_of_shards(points, kernel, used, reduction=reduction, engine=engine)
    unit = check_points(points)
    _check_weights(weights, points)
    rows, own = widen(points), None if weights is None else widen(weights)
    if own is not None and reduction == "mean":
        own = own / _size(own)
    total = pair_reduce(rows, kernel=used, weights=own, unit=unit, engine=engine)
    if antipodal:
        opposite = rows.shape[-2] if own is None else own.square().sum(-1)
        total = 2 * total + kernel.at_minus_one * opposite
    if reduction == "mean":
        pairs = _count(rows.shape[-2], antipodal) if own is None else _weigh(own, antipodal)
        total = _mean(total, pairs, stacklevel=5)
    return total.to(points.dtype)


def _energy_of_shards(
    points: Tensor, kernel: Kernel, used: Kernel, *, reduction: Reduction, engine: Engine
) -> Tensor:
    """The energy of the points of all ranks, of which `points` holds some rows."""
    explain(points, kernel=used, engine=engine)  # refuses without a process group
    what = "lines" if used is not kernel else "points"
    n = agree_on_rows(points, check_points, f"the {reduction} of {kernel.label} over {what}")
    total = pair_reduce(points, kernel=used, engine=engine)
    lines = used is not kernel
    if lines:
        total = 2 * total + n * kernel.at_minus_one
    return total if reduction == "sum" else _mean(total, _count(n, lines), stacklevel=6)


def _mean(total: Tensor, pairs: Tensor | int, *, stacklevel: int) -> Tensor:
    """The total over the pairs that it was taken over; nan, with a warning, where they are none."""
    if bool((torch.as_tensor(pairs) == 0).any()):
        warnings.warn(
            "the mean energy is nan: the pairs of one point, or of these weights, have no weight",
            NumericalWarning,
            stacklevel=stacklevel,
        )
    return total / pairs


def _count(n: int, antipodal: bool) -> int:
    """The unordered pairs of n points, or of the 2n points {x, -x}."""
    return n * (2 * n - 1) if antipodal else n * (n - 1) // 2


def _size(weights: Tensor) -> Tensor:
    """The power of two (..., 1) at the largest weight: products of what is left stay in range."""
    largest = weights.detach().abs().amax(dim=-1, keepdim=True)
    part, _ = torch.frexp(largest)
    return torch.where(largest > 0, largest / (2 * part), 1.0)


def _weigh(weights: Tensor, antipodal: bool) -> Tensor:
    """The same by weight."""
    wide = weights.double()
    if antipodal:
        total = 2 * wide.sum(-1).square() - wide.square().sum(-1)
    else:  # each with those before it: squares that are subtracted would take the digits along
        total = (wide[..., 1:] * wide.cumsum(-1)[..., :-1]).sum(-1)
    return total.to(weights.dtype)


def _check_weights(weights: Tensor | None, points: Tensor) -> None:
    if weights is not None and weights.shape != points.shape[:-1]:
        raise ValueError(
            f"weights must have one entry per point, shape {tuple(points.shape[:-1])}; "
            f"got {tuple(weights.shape)}"
        )
    if weights is not None:
        check_finite(weights, name="weights")
