"""Branch and bound for the least potential on the sphere, in low dimension."""

import itertools
import math

import torch
from torch import Tensor

from sphuni.kernels import Kernel
from sphuni.sphere import angles, unit_rows

__all__ = ["lowest_potential"]

_MOST_CELLS = 60_000
_BLOCK = 1 << 18
_NEAREST = 1e-12
_ABOVE = 4.0


def lowest_potential(
    points: Tensor, kernel: Kernel, *, best: float, tolerance: float, depth: int = 40
) -> tuple[float, Tensor]:
    """Certified lower bound on min_z sum_i K(<z, x_i>), and the pole of the lowest cell centre.

    Parameters
    ----------
    points : float64 tensor (n, d)
        On the processor.
    kernel : Kernel
        Convex and finite at cosines below 1, and greatest at the points.
    best : float
        Potential at a known pole; cells that cannot go below it by `tolerance` are dropped.

    Notes
    -----
    The sphere is cut into the images of the faces of a cube and these into 2^(d-1) parts at a
    time. By convexity in the cosine, for z within the angle r of a cell's centre c,
    U(z) >= U(c) - (1 - cos r) max(<c, g>, 0) - sin(r) |g - <c, g> c|, g = sum_i K'(<c, x_i>) x_i.
    Nearer to a point than where one kernel alone is above `best` its tangent from there takes its
    place: that is below it too, and the powers of steep kernels would overflow. A cell whose bound
    is not a number nevertheless is kept.
    """
    d = points.shape[1]
    nearest = _nearest(kernel, len(points), best)
    centre, half = _faces(d)
    corners = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=d - 1)), dtype=torch.float64)
    floor, pole = best, points.new_zeros(d)
    certified = torch.inf
    for _ in range(depth):
        bounds, values = _cell_bounds(points, kernel, centre, half, corners, nearest)
        lowest = int(values.argmin())
        if float(values[lowest]) < floor:
            floor, pole = float(values[lowest]), _project(centre[1][lowest], int(centre[0][lowest]))
        keep = bounds < floor - tolerance
        dropped = bounds[~keep]
        if dropped.numel():
            certified = min(certified, float(dropped.min()))
        centre = (centre[0][keep], centre[1][keep])
        if centre[0].numel() == 0:
            return min(certified, floor), pole
        if centre[0].numel() * len(corners) > _MOST_CELLS:
            return min(certified, float(bounds[keep].min())), pole
        half /= 2
        children = (centre[1][:, None] + half * corners).reshape(-1, d - 1)
        centre = (centre[0].repeat_interleave(len(corners)), children)
    bounds, _ = _cell_bounds(points, kernel, centre, half, corners, nearest)
    return min(certified, float(bounds.min())), pole


def _nearest(kernel: Kernel, n: int, best: float) -> float:
    """Squared distance at which one kernel is well above all that a lowest potential can be."""
    p = torch.logspace(math.log10(_NEAREST), math.log10(4.0), 400, dtype=torch.float64)
    values = kernel.value(p, 4 - p)
    enough = _ABOVE * (abs(best) + n * abs(float(values.min())))
    high = p[(values >= enough) & (p <= 2)]  # beyond, a kernel of lines rises again
    return float(high[-1]) if len(high) else _NEAREST


def _faces(d: int) -> tuple[tuple[Tensor, Tensor], float]:
    """The 2d faces of the cube, as (face number, centre in the face), and their half width."""
    return (torch.arange(2 * d), torch.zeros(2 * d, d - 1, dtype=torch.float64)), 1.0


def _project(local: Tensor, face: int) -> Tensor:
    """The unit vector of a point of a cube's face."""
    return _poles(torch.tensor([face]), local[None])[0]


def _poles(face: Tensor, local: Tensor) -> Tensor:
    d = local.shape[-1] + 1
    axis, sign = face // 2, 1.0 - 2.0 * (face % 2).double()
    full = torch.empty(*local.shape[:-1], d, dtype=torch.float64)
    other = torch.arange(d - 1).expand(local.shape)
    shape = (-1,) + (1,) * (local.ndim - 1)
    place = other + (other >= axis.view(shape)).long()
    full.scatter_(-1, place, local)
    index = axis.view(shape).expand(*local.shape[:-1], 1)
    full.scatter_(-1, index, sign.view(shape).expand(*local.shape[:-1], 1))
    return unit_rows(full)


def _cell_bounds(
    points: Tensor,
    kernel: Kernel,
    centre: tuple[Tensor, Tensor],
    half: float,
    corners: Tensor,
    nearest: float,
) -> tuple[Tensor, Tensor]:
    """Lower bound of the potential in each cell, and its value at each cell's centre."""
    poles = _poles(*centre)
    edge = _poles(centre[0], centre[1][:, None] + half * corners)
    radius = angles(poles[:, None], edge).amax(dim=1)
    parts = [
        _convex_bound(points, kernel, z, r, nearest)
        for z, r in zip(
            poles.split(max(1, _BLOCK // len(points))),
            radius.split(max(1, _BLOCK // len(points))),
            strict=True,
        )
    ]
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


def _convex_bound(
    points: Tensor, kernel: Kernel, poles: Tensor, radius: Tensor, nearest: float
) -> tuple[Tensor, Tensor]:
    cosines = poles @ points.T
    p, q = (2 - 2 * cosines).clamp_min(nearest), (2 + 2 * cosines).clamp_min(nearest)
    value, slope = kernel.value_and_derivative(p, q)
    total = value.sum(dim=1)
    gradient = slope @ points
    radial = (gradient * poles).sum(dim=1)
    tangent = (gradient - radial[:, None] * poles).norm(dim=1)
    drop = (1 - torch.cos(radius)) * radial.clamp_min(0) + torch.sin(radius) * tangent
    bound = total - drop
    return torch.where(torch.isfinite(bound), bound, -torch.inf), total.nan_to_num(nan=torch.inf)
