"""Polarization: how low the potential of a point set can fall."""

import dataclasses
import numbers
from typing import ClassVar, Literal

import torch
from torch import Tensor

from sphuni._arrays import check_points, result_function, widen
from sphuni._result import Result
from sphuni._typing import Array
from sphuni.geometry._ascent import blocks, descend, potential_height, starting_poles
from sphuni.geometry._branch import lowest_potential
from sphuni.geometry._once import first_only
from sphuni.kernels import Kernel, Riesz
from sphuni.pairwise import pair_reduce
from sphuni.sphere import unit_rows

__all__ = ["PolarizationResult", "polarization"]

PolarizationMethod = Literal["auto", "bounds"]

_BRANCH_DIMENSION = 4
_BRANCH_POINTS = 2_000
_AGREE = 1e-9


@dataclasses.dataclass(frozen=True, repr=False)
class PolarizationResult(Result):
    """The lowest potential of a point set on the sphere, with certified bounds.

    Attributes
    ----------
    value : array (...)
        Potential at the worst pole found; higher is better.
    witness : array (..., d)
        That pole.
    lower, upper : array (...)
        lower <= polarization <= upper; `upper` is the value.
    exact : bool array (...)
        Whether the bounds agree to 1e-9 relative.
    """

    better: ClassVar[str | None] = "higher"

    value: Array
    witness: Array
    lower: Array
    upper: Array
    exact: Array


@result_function()
def polarization(
    points: Tensor,
    /,
    *,
    s: float = 2.0,
    method: PolarizationMethod = "auto",
    antipodal: bool = False,
) -> PolarizationResult:
    r"""Compute the Riesz polarization: the least potential over all poles, as a sum over points.

    .. math:: P_s = \min_{|z|=1} \sum_i K_s(|z - x_i|)

    Parameters
    ----------
    points : array of shape (..., n, d)
        Unit rows.
    s : float, default 2
        Riesz exponent of the chordal distance, at least -2.
    method : {"auto", "bounds"}, default "auto"
        "auto" encloses the minimum by branch and bound for d <= 4 or n <= 3 (n <= 2000); "bounds"
        gives the best pole of a local search and the convexity bound from below.
    antipodal : bool, default False
        The potential of the 2n points {x, -x}. It is constant (and exact) where the rank is
        below d.

    Returns
    -------
    PolarizationResult

    Raises
    ------
    ValueError
        If s is below -2, or there is no such method.

    Notes
    -----
    For s > -2 the kernel is convex in the cosine, so ``P >= n K(-|sum x|/n)`` (lines: 2n K(0) for
    the doubled set); s = -2 is solved in closed form, ``-(2n + 2|sum x|)``. The search runs on
    detached values, set by set; the value is recomputed at the pole it found, so the gradient is
    that of the worst pole (Danskin); second derivatives, in which it would move, are refused.
    Branch and bound takes some thousand to some ten thousand potentials of n points, for the 120 of
    the 600-cell with its hundreds of worst poles a million. It ends after 2 million of them, or
    half a billion kernels, and keeps the bound it has then: sets whose worst poles fill a curve may
    stay inexact. Plain search is a hundred gradient steps on 64 to 100 poles.

    References
    ----------
    S. V. Borodachov, D. P. Hardin, E. B. Saff, "Discrete Energy on Rectifiable Sets", Springer,
    2019, chapter 14. doi:10.1007/978-0-387-84808-2.

    Examples
    --------
    >>> import numpy as np, sphuni
    >>> octahedron = np.vstack([np.eye(3), -np.eye(3)])
    >>> result = sphuni.polarization(octahedron, s=2)
    >>> round(float(result.value), 9), bool(result.exact)
    (4.5, True)
    """
    check_points(points)
    if isinstance(s, bool) or not isinstance(s, numbers.Real):
        raise TypeError(f"s must be a real number; got {type(s).__name__}")
    if not s >= -2:
        raise ValueError(f"s must be at least -2, where the kernel is convex; got {s}")
    if method not in ("auto", "bounds"):
        raise ValueError(f"method must be 'auto' or 'bounds'; got {method!r}")
    kernel: Kernel = Riesz(s).antipodal() if antipodal else Riesz(s)
    wide = widen(points)
    flat = wide.reshape(-1, *points.shape[-2:])
    found = [_worst_pole(one.detach(), kernel, method, antipodal) for one in flat]
    poles = torch.stack([pole for pole, _ in found]).to(wide)
    value = pair_reduce(poles[:, None], first_only(flat), kernel=kernel, op="rows")[:, 0]
    upper = value.detach()
    certified = torch.tensor([low for _, low in found], dtype=torch.float64).to(upper)
    lower = torch.minimum(certified, upper)
    near = upper - lower <= _AGREE * upper.abs().clamp_min(1e-300)
    exact = near & torch.isfinite(upper)
    batch = points.shape[:-2]
    return PolarizationResult(
        value.reshape(batch).to(points.dtype),
        poles.reshape(*batch, -1).to(points.dtype),
        lower.reshape(batch).to(points.dtype),
        upper.reshape(batch).to(points.dtype),
        exact.reshape(batch),
    )


def _worst_pole(
    points: Tensor, kernel: Kernel, method: PolarizationMethod, antipodal: bool
) -> tuple[Tensor, float]:
    """The lowest pole found and a certified lower bound, in float64.

    Of fewer points than dimensions only their span and one more direction matter.
    """
    rows = unit_rows(points.double())
    n, d = rows.shape
    if n + 1 < d:
        further = torch.eye(1, d, dtype=rows.dtype, device=rows.device)
        axes = torch.linalg.qr(torch.cat([rows, further]).T).Q
        pole, lower = _worst_pole(rows @ axes, kernel, method, antipodal)
        return axes @ pole, lower
    total = rows.sum(dim=0)
    if antipodal:
        null = _orthogonal_pole(rows)
        convex = len(rows) * float(kernel(0.0))
        if null is not None or kernel(0.5) == kernel(0.0):
            pole = rows[0] if null is None else null
            return pole, potential_height(rows, kernel)(pole[None])[0].item()
    else:
        mean = float((total.norm() / len(rows)).clamp_max(1.0))
        convex = len(rows) * float(kernel(-mean))
        if isinstance(kernel, Riesz) and kernel.s == -2:
            pole = -unit_rows(total) if bool(total.norm() > 0) else rows[0]
            return pole, -2.0 * len(rows) - 2.0 * float(total.norm())
    pole = _search(rows, kernel, starting_poles(rows, antipodal=antipodal))
    if method == "bounds" or rows.shape[1] > _BRANCH_DIMENSION or len(rows) > _BRANCH_POINTS:
        return pole, convex
    best = potential_height(rows, kernel)(pole[None])[0].item()
    tolerance = 0.1 * _AGREE * max(abs(best), 1e-300)
    certified, lower_pole = lowest_potential(
        rows.cpu(), kernel, best=best, tolerance=tolerance, least=convex
    )
    if bool(lower_pole.any()):
        pole = _search(rows, kernel, lower_pole[None].to(rows))
    return pole, max(convex, certified)


def _search(rows: Tensor, kernel: Kernel, starts: Tensor) -> Tensor:
    """The lowest pole that local descent, then Newton, reaches from `starts`."""
    height = potential_height(rows, kernel)
    poles = descend(height, starts, steps=120, step=0.1)
    order = height(poles)[0].argsort()[:4]
    refined = torch.cat([poles[order], *(_newton(rows, kernel, poles[i]) for i in order)])
    return refined[height(refined)[0].argmin()]


def _newton(rows: Tensor, kernel: Kernel, pole: Tensor, steps: int = 8) -> Tensor:
    """Newton on the sphere from one pole; every iterate is returned and the best one counts."""
    iterates = [pole]
    d = rows.shape[1]
    for _ in range(steps):
        gradient, hessian = _derivatives(rows, kernel, pole)
        project = torch.eye(d).to(rows) - torch.outer(pole, pole)
        system = project @ hessian @ project + torch.outer(pole, pole)
        if not bool(torch.isfinite(system).all() & torch.isfinite(gradient).all()):
            break  # powers of steep kernels overflow
        step = torch.linalg.lstsq(system, -(project @ gradient)[:, None]).solution[:, 0]
        if not bool(torch.isfinite(step).all()):
            break  # the one method of a GPU takes the system for one of full rank
        pole = unit_rows((pole + step)[None])[0]
        iterates.append(pole)
    return torch.stack(iterates)


def _derivatives(rows: Tensor, kernel: Kernel, pole: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient (d,) and tangent Hessian (d, d) of the potential, by blocks of the rows."""
    d = rows.shape[1]
    gradient, hessian = rows.new_zeros(d), rows.new_zeros(d, d)
    for block in blocks(rows, d):
        p, q = (block - pole).square().sum(1), (block + pole).square().sum(1)
        p, q = p.clamp_min(1e-24), q.clamp_min(1e-24)
        slope, curvature = kernel.derivative(p, q), kernel.second(p, q)
        gradient += slope @ block
        hessian += (block * curvature[:, None]).T @ block
        hessian.diagonal().sub_(slope @ (block @ pole))
    return gradient, hessian


def _orthogonal_pole(rows: Tensor) -> Tensor | None:
    """A unit vector orthogonal to all rows, if there is one."""
    _, values, basis = torch.linalg.svd(rows, full_matrices=rows.shape[0] < rows.shape[1])
    if len(values) < rows.shape[1] or bool(values[-1] < 1e-12 * values[0]):
        return basis[-1]
    return None
