"""Branch and bound for the least potential on the sphere, in low dimension."""

import dataclasses
import itertools
import math

import torch
from torch import Tensor

from sphuni._budget import room_for
from sphuni.kernels import Kernel
from sphuni.sphere import angles, unit_rows

__all__ = ["lowest_potential"]

_MOST_CELLS = 1 << 21
_MOST_VALUES = 1 << 29
"""How many cells are bounded, and how many kernels evaluated for that, before the search ends."""
_AT_ONCE = 1 << 12
_LEAST_HALF = 2.0**-40
_BLOCK, _BLOCK_BYTES = 1 << 18, 256  # of a stated limit for each, some copies of it
_NEAREST = 1e-12
_ABOVE = 4.0
_REACH = 2.5
"""Tangents start at least so many radii of the cell away from a point."""


@dataclasses.dataclass(frozen=True)
class _Cells:
    """Parts of the faces of a cube: face (m,), centre (m, d - 1), half width and bound (m,)."""

    face: Tensor
    centre: Tensor
    half: Tensor
    bound: Tensor

    def __len__(self) -> int:
        return len(self.face)

    def __getitem__(self, chosen: Tensor) -> "_Cells":
        return _Cells(self.face[chosen], self.centre[chosen], self.half[chosen], self.bound[chosen])

    def and_also(self, other: "_Cells") -> "_Cells":
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return _Cells(*(torch.cat(pair) for pair in pairs))

    def parts(self, corners: Tensor) -> "_Cells":
        """Cut each cell into 2^(d-1), which keep its bound until they have a better one."""
        half = self.half / 2
        centre = self.centre[:, None] + half[:, None, None] * corners
        count = len(corners)
        return _Cells(
            self.face.repeat_interleave(count),
            centre.reshape(-1, corners.shape[1]),
            half.repeat_interleave(count),
            self.bound.repeat_interleave(count),
        )


def lowest_potential(
    points: Tensor, kernel: Kernel, *, best: float, tolerance: float, least: float = -math.inf
) -> tuple[float, Tensor]:
    """Certified lower bound on min_z sum_i K(<z, x_i>), and the pole of the lowest cell centre.

    Parameters
    ----------
    points : float64 tensor (n, d)
        On the processor.
    kernel : Kernel
        Finite at cosines below 1 and greatest at the points: convex, with a second derivative that
        rises with the cosine, or the sum of such a kernel over a point and its antipode.
    best : float
        Potential at a known pole; cells that cannot go below it by `tolerance` are dropped.
    least : float, optional
        A lower bound that is known already.

    Returns
    -------
    float, tensor (d,)
        The bound, and a pole lower than `best`: zeros where none was met.

    Notes
    -----
    The sphere is cut into the images of the faces of a cube, and the cells of the lowest bounds
    into 2^(d-1) parts at a time, until none is low or 2^21 cells were bounded (fewer of many
    points): the bound of what is left then is the least of theirs. By convexity
    U(z) >= a + <g, z>, the sum of tangents of the kernels in the cosine, taken at the cell's
    centre. Its least value on the cell is that at a corner if <g, z> is negative at none, and
    never below that on the cap around the cell. The tangent of a point about as near as the cell
    is wide would be steep and fall far below the kernel on the cell's other side: it is taken some
    radii away from the point, and no nearer than where one kernel alone is above `best`, as powers
    of steep kernels would overflow. A cell whose bound is not a number nevertheless is kept. Around
    a minimum, where tangents alone would leave many cells, the second derivatives count too.
    """
    d = points.shape[1]
    nearest = _nearest(kernel, len(points), best)
    corners = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=d - 1)), dtype=torch.float64)
    floor, pole, settled = best, points.new_zeros(d), math.inf
    cells, rest = _faces(d, least), min(_MOST_CELLS, _MOST_VALUES // len(points))
    while True:
        low = (cells.bound < floor - tolerance) & (cells.half > _LEAST_HALF)
        settled = min([settled, *cells.bound[~low].tolist()])
        cells = cells[low]
        if len(cells) == 0:
            return min(settled, floor), pole
        rest -= len(corners) * min(len(cells), _AT_ONCE)
        if rest < 0:
            return min(settled, floor, float(cells.bound.amin())), pole
        order = cells.bound.argsort(stable=True)
        parts = cells[order[:_AT_ONCE]].parts(corners)
        bounds, values = _cell_bounds(points, kernel, parts, corners, nearest)
        lowest = int(values.argmin())
        if float(values[lowest]) < floor:
            floor, pole = float(values[lowest]), _poles(parts.face, parts.centre)[lowest]
        near = (bounds < floor - tolerance) & values.isfinite()
        curved = _curved_bounds(points, kernel, parts[near], corners)
        bounds[near] = torch.maximum(bounds[near], curved)
        better = dataclasses.replace(parts, bound=torch.maximum(parts.bound, bounds))
        cells = cells[order[_AT_ONCE:]].and_also(better)


def _nearest(kernel: Kernel, n: int, best: float) -> float:
    """Squared distance at which one kernel is well above all that a lowest potential can be."""
    p = torch.logspace(math.log10(_NEAREST), math.log10(4.0), 400, dtype=torch.float64)
    values = kernel.value(p, 4 - p)
    enough = _ABOVE * (abs(best) + n * abs(float(values.min())))
    high = p[(values >= enough) & (p <= 2)]  # beyond, a kernel of lines rises again
    return float(high[-1]) if len(high) else _NEAREST


def _faces(d: int, bound: float) -> _Cells:
    """The 2d faces of the cube."""
    half = torch.ones(2 * d, dtype=torch.float64)
    centre = torch.zeros(2 * d, d - 1, dtype=torch.float64)
    return _Cells(torch.arange(2 * d), centre, half, torch.full_like(half, bound))


def _poles(face: Tensor, local: Tensor) -> Tensor:
    """The unit vectors (..., d) of points (..., d - 1) of the cube's faces."""
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
    points: Tensor, kernel: Kernel, cells: _Cells, corners: Tensor, nearest: float
) -> tuple[Tensor, Tensor]:
    """Lower bound of the potential in each cell, and its value at each cell's centre."""
    blocks = _blocks(cells, corners, len(points))
    parts = [_convex_bound(points, kernel, *block, nearest) for block in blocks]
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


def _curved_bounds(points: Tensor, kernel: Kernel, cells: _Cells, corners: Tensor) -> Tensor:
    """Lower bounds in cells that have no point near by their curvature."""
    products = (points[:, :, None] * points[:, None, :]).flatten(1)
    blocks = _blocks(cells, corners, len(points))
    parts = [_curved_bound(points, products, kernel, z, r) for z, _, r in blocks]
    return torch.cat([cells.bound[:0], *parts])


def _blocks(cells: _Cells, corners: Tensor, n: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Centres, corners and radii of cells, few enough at a time for their cosines with n points."""
    poles = _poles(cells.face, cells.centre)
    edge = _poles(cells.face, cells.centre[:, None] + cells.half[:, None, None] * corners)
    radius = angles(poles[:, None], edge).amax(dim=1)
    size = max(1, room_for(_BLOCK, _BLOCK_BYTES) // n)
    return list(zip(poles.split(size), edge.split(size), radius.split(size), strict=True))


def _convex_bound(
    points: Tensor, kernel: Kernel, poles: Tensor, edge: Tensor, radius: Tensor, nearest: float
) -> tuple[Tensor, Tensor]:
    """Bounds by tangents, and values at the centres: inf where a point is too near for one."""
    cosines = poles @ points.T
    reach = torch.cos((_REACH * radius).clamp_max(math.pi / 2)).clamp_max(1 - nearest / 2)[:, None]
    start = torch.minimum(cosines, reach)
    if kernel.singular_opposite:
        start = torch.maximum(start, -reach)
    value, slope = kernel.value_and_derivative(2 - 2 * start, 2 + 2 * start)
    beyond = cosines - start
    total = (value + slope * beyond).sum(dim=1)
    gradient = slope @ points
    radial = (gradient * poles).sum(dim=1)
    tangent = (gradient - radial[:, None] * poles).norm(dim=1)
    drop = (1 - torch.cos(radius)) * radial.clamp_min(0) + torch.sin(radius) * tangent
    fall = -((edge - poles[:, None]) @ gradient[:, :, None])[..., 0].amin(dim=1)
    bound = total - torch.where(radial >= fall, torch.minimum(drop, fall), drop)
    met = (beyond == 0).all(dim=1) & torch.isfinite(total)
    return torch.where(torch.isfinite(bound), bound, -torch.inf), torch.where(met, total, torch.inf)


def _curved_bound(
    points: Tensor, products: Tensor, kernel: Kernel, poles: Tensor, radius: Tensor
) -> Tensor:
    """Bounds on caps, of less than a right angle, from the least second derivatives within them.

    With M = sum_i m_i x_i x_i', m_i the least K'' of x_i on the cap, U(z) is at least
    U(c) + <g, z - c> + <z - c, M(z - c)>/2. Of z = c cos(rho) + u sin(rho) with a = sin(rho) this
    is at least U(c) - a |tangent| + k a^2/2, k as in the code.
    """
    cosines = poles @ points.T
    p, q = (2 - 2 * cosines).clamp_min(0), (2 + 2 * cosines).clamp_min(0)
    value, slope = kernel.value_and_derivative(p, q)
    gradient = slope @ points
    radial = (gradient * poles).sum(dim=1)
    tangent = (gradient - radial[:, None] * poles).norm(dim=1)
    cos, sin = torch.cos(radius), torch.sin(radius)
    flattest = _flattest(kernel, cosines, cos[:, None], sin[:, None])
    least = kernel.second((2 - 2 * flattest).clamp_min(0), (2 + 2 * flattest).clamp_min(0))
    matrix = (least @ products).unflatten(1, (points.shape[1], points.shape[1]))
    along = (matrix @ poles[:, :, None])[..., 0]
    outward = (along * poles).sum(dim=1)
    mixed = along - outward[:, None] * poles
    # P M P plus a multiple of c c' that is no less than its other eigenvalues
    inner = matrix - mixed[:, :, None] * poles[:, None] - poles[:, :, None] * mixed[:, None]
    trace = matrix.diagonal(dim1=1, dim2=2).sum(dim=1)
    inner = inner + (trace - outward)[:, None, None] * poles[:, :, None] * poles[:, None]
    finite = torch.isfinite(inner).flatten(1).all(dim=1)
    curvature = torch.linalg.eigvalsh(torch.where(finite[:, None, None], inner, 0.0))[:, 0]
    k = curvature - 2 * (radial.clamp_min(0) + sin * mixed.norm(dim=1)) / (1 + cos)
    a = torch.where(k > 0, torch.minimum(tangent / k, sin), sin)
    bound = value.sum(dim=1) - a * (tangent - 0.5 * k * a)
    good = finite & torch.isfinite(bound) & (cos > 0)
    return torch.where(good, bound, -torch.inf)


def _flattest(kernel: Kernel, cosines: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Where on caps the second derivative is least: away from the point, for lines nearest to 0."""
    across = (1 - cosines.square()).clamp_min(0).sqrt() * sin
    low = torch.where(cosines > -cos, cosines * cos - across, -1.0)
    if not kernel.singular_opposite:
        return low
    high = torch.where(cosines < cos, cosines * cos + across, 1.0)
    return torch.zeros_like(low).clamp(low, high)
