"""One tile of the pair matrix: distances that are right for near pairs, kernels, gradients.

The rule for near pairs. In Gram form the squared distance p = 2 - 2t has an absolute error of a
few units of rounding, so its relative error is unbounded as p -> 0, and the tangent part of the
gradient loses as much again. Where the kernel is singular or steep there, pairs with p (or
q = 4 - p) below 2^-6 are therefore taken out of the tile and computed by differences of
coordinates, value and gradient. For d <= 8 the whole tile is computed by differences.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sphuni._typing import Points, Weights
from sphuni.kernels import Kernel
from sphuni.pairwise.tiles._near import Where, pair_squares, parts
from sphuni.pairwise.tiles._products import add_product, matmul, own_products, row_products

__all__ = [
    "DIRECT_DIMENSION",
    "NEAR_COSINE",
    "Near",
    "Tile",
    "accumulate",
    "accumulate_near",
    "degree_zero",
    "distances",
    "evaluate",
    "evaluate_both",
    "from_cosines",
    "kernel_tile",
    "met",
    "mirror",
    "near_slopes",
    "near_values",
    "products",
    "sensitive",
    "set_apart",
    "tangent",
]

DIRECT_DIMENSION = 8
NEAR_COSINE = 1 - 2.0**-7
_STEEP = 32.0


class Near(NamedTuple):
    """The pairs of a tile that were computed by differences: (batch, row, column) indices."""

    where: Where
    p: Tensor
    q: Tensor


class Tile(NamedTuple):
    """Distances of one tile; pairs in `near` and on the diagonal hold neutral values.

    Where no kernel reads q it is p itself, so that no work is spent on it.
    """

    p: Tensor
    q: Tensor
    near: Near | None
    own: bool
    direct: bool


def met(p: Tensor) -> Tensor:
    """Whether points coincide: subnormal squared distances have no digits to go by."""
    return p < torch.finfo(p.dtype).tiny


def sensitive(kernels: Sequence[Kernel]) -> tuple[bool, bool]:
    """Whether any kernel needs accurate distances near coincidence, and near the antipode."""
    close = any(k.singular or _steep(k, opposite=False) for k in kernels)
    return close, any(k.singular_opposite or _steep(k, opposite=True) for k in kernels)


@functools.lru_cache(maxsize=256)
def _steep(kernel: Kernel, *, opposite: bool) -> bool:
    """Whether a smooth kernel magnifies a rounding of the cosine of near pairs by much."""
    near = torch.linspace(0.0, 2 - 2 * NEAR_COSINE, 9, dtype=torch.float64, device="cpu")
    wide = torch.linspace(0.25, 3.75, 8, dtype=torch.float64, device="cpu")
    slope = kernel.derivative(4 - near, near) if opposite else kernel.derivative(near, 4 - near)
    ends = max(abs(kernel.at_one), abs(kernel.at_minus_one))
    size = max(ends, float(kernel.value(wide, 4 - wide).abs().max()))
    return float(slope.abs().max()) > _STEEP * size


def distances(x: Tensor, y: Tensor, kernels: Sequence[Kernel], *, own: bool) -> Tile:
    """Squared distances (b, r, c) between the rows of `x` and of `y`.

    `own` says that row i and column i are the same point, which is not a pair.
    """
    if x.shape[-1] <= DIRECT_DIMENSION:
        p, q = _direct(x, y, exact_q=sensitive(kernels)[1])
        if own:
            p.diagonal(dim1=-2, dim2=-1).fill_(2.0)
            q.diagonal(dim1=-2, dim2=-1).fill_(2.0)
        return Tile(p, q, None, own, direct=True)
    gram = products(x, y, own=own)
    near = set_apart(gram, x, y, kernels, own=own, neutral=0.0)
    return from_cosines(gram, near, kernels, own=own)


def from_cosines(gram: Tensor, near: Near | None, kernels: Sequence[Kernel], *, own: bool) -> Tile:
    """The tile of cosines whose near pairs were set apart; their memory becomes that of p."""
    wanted = 2 + 2 * gram if any(k.reads_q for k in kernels) else None
    p = gram.mul_(-2).add_(2)
    return Tile(p, p if wanted is None else wanted, near, own, direct=False)


def set_apart(
    gram: Tensor,
    x: Tensor,
    y: Tensor,
    kernels: Sequence[Kernel],
    *,
    own: bool,
    neutral: float,
) -> Near | None:
    """Write `neutral` on the diagonal of `gram` and at its near pairs; return those pairs."""
    if own:
        gram.diagonal(dim1=-2, dim2=-1).fill_(0.0)
    near = _find_near(gram, x, y, kernels)
    if near is not None:
        gram[near.where] = neutral
    if own and neutral != 0.0:
        gram.diagonal(dim1=-2, dim2=-1).fill_(neutral)
    return near


def mirror(tile: Tile) -> Tile:
    """Return the tile of the same points with the columns replaced by their antipodes."""
    near = None if tile.near is None else tile.near._replace(p=tile.near.q, q=tile.near.p)
    return tile._replace(p=tile.q, q=tile.p, near=near)


def evaluate(tile: Tile, kernel: Kernel) -> Tensor:
    """The (b, r, c) kernel matrix of a tile, zero on the diagonal."""
    return _finish(tile, kernel, kernel.value(tile.p, tile.q))


def evaluate_both(tile: Tile, kernel: Kernel) -> tuple[Tensor, Tensor, Tensor | None]:
    """Kernel matrix, dK/dt (zero at near pairs), and dK/dt of the near pairs."""
    value, slope = kernel.value_and_derivative(tile.p, tile.q)
    value = _finish(tile, kernel, value)
    slope = _clear_singular(tile, kernel, slope)
    if tile.near is None:
        return value, slope, None
    slope[tile.near.where] = 0
    return value, slope, near_slopes(tile.near, kernel)


def accumulate(
    tile: Tile,
    weights: Weights,
    near_weights: Tensor | None,
    x: Tensor,
    y: Tensor,
    into: tuple[Tensor, Tensor | None],
) -> None:
    """Add the gradients at the rows of `x` and of `y` of sum_ij weights_ij t_ij, in place.

    Moving x along the tangent changes t_ij by <y_j, dx> = <y_j -+ x_i, dx>: for near (opposite)
    pairs the difference (sum) is used, which is small and exact. Radial parts are arbitrary. With
    no buffer for `y` its gradients are left out: its rows hold every pair in both orders anyway.
    """
    if tile.direct:
        _accumulate_direct(tile, weights, x, y, into)
        return
    add_product(into[0], weights, y)
    if into[1] is not None:
        add_product(into[1], weights.mT, x)
    if tile.near is not None and near_weights is not None:
        accumulate_near(tile.near, near_weights, x, y, into)


def degree_zero(x: Tensor) -> Tensor:
    """Return unit rows `x` unchanged, with the first two derivatives of x / |x|.

    Dividing by the norm would move close points by a rounding error, which near pairs feel.
    """
    squared = x.square().sum(dim=-1, keepdim=True)
    excess = squared - squared.detach()
    return x * (1 - 0.5 * excess + 0.375 * excess * excess)


def tangent(x: Tensor, gradient: Tensor) -> Tensor:
    """Remove, in place, the radial part of a gradient (..., b, n, d) at unit rows x."""
    radial = torch.einsum("...bnd,bnd->...bn", gradient, x)
    return gradient.addcmul_(radial[..., None], x, value=-1)


def kernel_tile(x: Tensor, y: Tensor, kernel: Kernel, *, own: bool) -> Tensor:
    """The kernel matrix of a tile in plain differentiable operations, for higher derivatives."""
    if x.shape[-1] <= DIRECT_DIMENSION:
        p = _planes(x, y, -1)
        value = _masked_value(kernel, p, _planes(x, y, 1) if kernel.reads_q else p)
        return value.masked_fill(_diagonal(value), 0.0) if own else value
    gram = row_products(x) if x is y else torch.matmul(x, y.mT)
    apart = _diagonal(gram) if own else None
    with torch.no_grad():
        others = gram if apart is None else gram.masked_fill(apart, 0.0)
        near = _near_places(others, (kernel,))
        del others
    if near is not None:
        apart = torch.zeros_like(gram, dtype=torch.bool) if apart is None else apart.clone()
        apart[near] = True
    gram = gram if apart is None else gram.masked_fill(apart, 0.0)
    p = 2 - 2 * gram
    value = kernel.value(p, 2 + 2 * gram if kernel.reads_q else p)
    value = value if apart is None else value.masked_fill(apart, 0.0)
    if near is None:
        return value
    p = pair_squares(x, y, near, -1)
    q = pair_squares(x, y, near, 1) if kernel.reads_q or kernel.singular_opposite else p
    return value.index_put(near, _masked_value(kernel, p, q))


def _diagonal(matrix: Tensor) -> Tensor:
    """Where a batch of square matrices has its diagonals."""
    n = matrix.shape[-1]
    eye = torch.eye(n, dtype=torch.bool, device=matrix.device)
    return eye.expand_as(matrix)


def _direct(x: Tensor, y: Tensor, *, exact_q: bool) -> tuple[Tensor, Tensor]:
    """Both distances plane by plane: p by differences, q by sums or as 4 - p."""
    p = _planes(x, y, -1)
    return p, _planes(x, y, 1) if exact_q else 4 - p


def _planes(x: Tensor, y: Tensor, sign: int) -> Tensor:
    total: Tensor | None = None
    for c in range(x.shape[-1]):
        plane = torch.add(x[..., c, None], y[..., None, :, c], alpha=sign)
        total = plane.square() if total is None else total.addcmul_(plane, plane)
    assert total is not None
    return total


def products(x: Tensor, y: Tensor, *, own: bool) -> Tensor:
    """Products x y^T (b, r, c); `own` says that both are the same rows."""
    return own_products(x) if own else matmul(x, y)


def _find_near(gram: Tensor, x: Tensor, y: Tensor, kernels: Sequence[Kernel]) -> Near | None:
    """The near pairs of a tile, their distances taken by differences."""
    places = _near_places(gram, kernels)
    if places is None:
        return None
    b, i, j = places
    p, q = gram.new_empty(b.shape), gram.new_empty(b.shape)
    for part in parts(b.numel(), x.shape[-1]):
        left, right = x[b[part], i[part]], y[b[part], j[part]]
        p[part] = (left - right).square().sum(-1)
        q[part] = (left + right).square().sum(-1)
    return Near(places, p, q)


def _near_places(gram: Tensor, kernels: Sequence[Kernel]) -> Where | None:
    """Where a tile of cosines has near pairs, if it has any that matter."""
    close, opposite = sensitive(kernels)
    if not (close or opposite):
        return None
    # two passes, of which most kernels need one, are faster than one of torch.aminmax
    close = close and float(gram.amax()) > NEAR_COSINE
    opposite = opposite and float(gram.amin()) < -NEAR_COSINE
    if not (close or opposite):
        return None
    size = gram.abs() if close and opposite else gram if close else -gram
    b, i, j = torch.nonzero(size > NEAR_COSINE, as_tuple=True)
    return b, i, j


def _finish(tile: Tile, kernel: Kernel, value: Tensor) -> Tensor:
    """Put the near pairs, the coincident pairs and the diagonal into a kernel matrix."""
    if tile.near is not None:
        value[tile.near.where] = near_values(tile.near, kernel)
    elif tile.direct:
        value = _replace_exact(value, kernel, tile.p, tile.q)
    if tile.own:
        value.diagonal(dim1=-2, dim2=-1).fill_(0.0)
    return value


def _clear_singular(tile: Tile, kernel: Kernel, slope: Tensor) -> Tensor:
    """Zero the slope on the diagonal and, in a direct tile, where it is infinite."""
    if tile.direct:
        if kernel.singular:
            slope.masked_fill_(met(tile.p), 0.0)
        if kernel.singular_opposite:
            slope.masked_fill_(met(tile.q), 0.0)
    if tile.own:
        slope.diagonal(dim1=-2, dim2=-1).fill_(0.0)
    return slope


def near_values(near: Near, kernel: Kernel) -> Tensor:
    """K of the near pairs, with its limits at singular points."""
    return _masked_value(kernel, near.p, near.q)


def near_slopes(near: Near, kernel: Kernel) -> Tensor:
    """dK/dt of the near pairs, 0 where it is infinite."""
    slope = kernel.derivative(near.p, near.q)
    if kernel.singular:
        slope = slope.masked_fill(met(near.p), 0.0)
    if kernel.singular_opposite:
        slope = slope.masked_fill(met(near.q), 0.0)
    return slope


def _masked_value(kernel: Kernel, p: Tensor, q: Tensor) -> Tensor:
    """K with its limits, and zero gradient, at singular points."""
    if not (kernel.singular or kernel.singular_opposite):
        return kernel.value(p, q)
    singular = torch.zeros_like(p, dtype=torch.bool)
    if kernel.singular:
        singular |= met(p)
    if kernel.singular_opposite:
        singular |= met(q)
    value = kernel.value(p.masked_fill(singular, 2.0), q.masked_fill(singular, 2.0))
    return _replace_exact(value, kernel, p, q)


def _replace_exact(value: Tensor, kernel: Kernel, p: Tensor, q: Tensor) -> Tensor:
    if kernel.singular:
        value = value.masked_fill(met(p), kernel.at_one)
    if kernel.singular_opposite:
        value = value.masked_fill(met(q), kernel.at_minus_one)
    return value


def _accumulate_direct(
    tile: Tile, weights: Weights, x: Tensor, y: Tensor, into: tuple[Tensor, Tensor | None]
) -> None:
    """The contraction by differences, plane by plane; opposite pairs by sums.

    One plane's memory serves all: what is freed and asked for again may have to be cleared again.
    """
    sign = torch.where(tile.q < tile.p, -1.0, 1.0).to(x.dtype)
    change = torch.empty_like(sign)
    for c in range(x.shape[-1]):
        torch.mul(sign, x[..., c, None], out=change)
        torch.sub(y[..., None, :, c], change, out=change).mul_(weights)
        into[0][..., c] += change.sum(-1)
        # w (x -+ y) = -+ w (y -+ x): the same differences serve both ends of a pair
        if into[1] is not None:
            into[1][..., c] -= change.mul_(sign).sum(-2)


def accumulate_near(
    near: Near, weights: Weights, x: Tensor, y: Tensor, into: tuple[Tensor, Tensor | None]
) -> None:
    """Add the tangent gradients of near pairs, by differences.

    Each is made tangent by itself: beside its small tangent part the radial one, which feels that
    norms are 1 only to rounding, is not small.
    """
    b, i, j = near.where
    for part in parts(b.numel(), x.shape[-1]):
        sign = torch.where(near.q[part] < near.p[part], -1.0, 1.0).to(x.dtype)[:, None]
        left, right = x[b[part], i[part]], y[b[part], j[part]]
        difference, weight = right - sign * left, weights[part, None]
        change = weight * _orthogonal(difference, left)
        into[0].index_put_((b[part], i[part]), change, accumulate=True)
        if into[1] is not None:
            change = -sign * weight * _orthogonal(difference, right)
            into[1].index_put_((b[part], j[part]), change, accumulate=True)


def _orthogonal(vectors: Tensor, points: Points) -> Tensor:
    return vectors - (vectors * points).sum(-1, keepdim=True) * points
