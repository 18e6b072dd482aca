"""Nearest neighbours on the sphere: indices by search, values by differences."""

import dataclasses
import math
from typing import Literal

import numpy as np
import scipy
import torch
from torch import Tensor

from sphuni._arrays import widen
from sphuni._budget import room_for
from sphuni._devices import with_float64
from sphuni._transforms import untraced
from sphuni._typing import Points
from sphuni.pairwise.neighbours import _bands
from sphuni.pairwise.neighbours._best import keep_best
from sphuni.pairwise.tiles import _tiles
from sphuni.pairwise.tiles._schedule import Task, run_tiles
from sphuni.sphere import closer_side, float64_rows, root, tangent_rows, unit_rows

__all__ = ["Nearest", "nearest", "nearest_index"]

_TREE_DIMENSION = 7
_SMALL = 2_000
_WORTH_COMPILING = 512
_COSINES_TOGETHER, _MORE = 1 << 22, 30
_COSINE_BYTES = 64  # of a stated limit for each, some copies of it
_TOGETHER = 1e-5
_CLOSE = 1 - 2.0**-10  # farther apart, a rounding of the cosine is nothing to the distance
_COPIES = 8  # of a tile, that of which few are better among them
_NUMBERS_TOGETHER = 1 << 16  # of coordinates, which then stay in the cache

_Mode = Literal["points", "lines", "opposite"]


@dataclasses.dataclass(frozen=True)
class Nearest:
    """The `k` nearest other points of each point.

    Attributes
    ----------
    index : integer tensor (..., n, k)
        Nearest first. With `antipodal` an index stands for the closer of the two opposite points.
    distance : tensor (..., n, k)
        Chordal distance, from differences of coordinates; differentiable, with tangent gradients.
    """

    index: Tensor
    distance: Tensor


@untraced
@with_float64
def nearest(
    points: Points, /, *, k: int = 1, antipodal: bool = False, opposite: bool = False
) -> Nearest:
    """Find the k nearest other points of every point.

    Parameters
    ----------
    points : tensor of shape (..., n, d)
        Unit rows (not checked here), n > k.
    k : int, default 1
        Neighbours per point.
    antipodal : bool, default False
        Take points as lines: the distance to the closer of y and -y.
    opposite : bool, default False
        Find the other points y nearest to -x, those of smallest cosine; distances are |x + y|.

    Returns
    -------
    Nearest

    Notes
    -----
    Sorted angles for d = 2, cells of the sphere for many points in d = 3 and k = 1, a KD-tree up to
    d = 7, else tiles of inner products; the searches run on detached values and return indices,
    with a spare candidate from rounded cosines. Where that ties with the last one asked for, all
    that tie are looked at. Distances are taken by differences in float64, so neither ties nor the
    loss of digits near coincidence decide the order.
    Cost O(n log n) or O(n^2 d), memory O(n k + tile).
    """
    index = nearest_index(points, k=k, antipodal=antipodal, opposite=opposite)
    n, d = points.shape[-2:]
    flat = tangent_rows(widen(points)).reshape(-1, n, d)
    mode = _mode(antipodal, opposite)
    distance = _distances(flat, index.reshape(-1, n, k), mode).to(points.dtype)
    return Nearest(index, distance.reshape(index.shape))


def nearest_index(
    points: Points, /, *, k: int = 1, antipodal: bool = False, opposite: bool = False
) -> Tensor:
    """The index of `nearest` alone, an integer tensor (..., n, k)."""
    n, d = points.shape[-2:]
    if not 1 <= k < n:
        raise ValueError(f"k must lie between 1 and n - 1 = {n - 1}; got {k}")
    flat = points.detach().reshape(-1, n, d)
    return _search(flat, k, _mode(antipodal, opposite)).reshape(*points.shape[:-1], k)


def _mode(antipodal: bool, opposite: bool) -> _Mode:
    if antipodal and opposite:
        raise ValueError("give antipodal or opposite, not both: lines have no opposite sides")
    return "lines" if antipodal else "opposite" if opposite else "points"


def _search(sets: Tensor, k: int, mode: _Mode) -> Tensor:
    """Indices (b, n, k), nearest first."""
    searches = [_one_search(points, k, mode) for points in sets]
    found, distance = map(torch.stack, zip(*searches, strict=True))
    if found.shape[-1] == 1:
        return found
    own = torch.arange(sets.shape[1], device=sets.device)[:, None]
    others = (found != own) & ~_repeated(found)
    order = distance.masked_fill_(~others, torch.inf).argsort(dim=-1, stable=True)
    return found.gather(-1, order[..., :k])


def _one_search(points: Points, k: int, mode: _Mode) -> tuple[Tensor, Tensor]:
    """Candidates (n, k or more) in one set, the point itself perhaps among them, and their order.

    The order is that of the second tensor, exact distances wherever rounding could matter. A tree,
    which takes differences, needs no spare candidate.
    """
    n, d = points.shape
    spare = min(k + 1, n - 1)
    if k == 1 and _bands.repays(points):
        found = _band_search(float64_rows(points), mode)
        if found is not None:
            return found
    if d == 2:
        index = _circle_search(float64_rows(points), spare, mode)
    elif points.device.type == "cpu" and d <= _TREE_DIMENSION:
        index = _tree_search(float64_rows(points), k, mode)
    else:
        rows = unit_rows(points.double() if n <= _SMALL else widen(points))
        score, index = _tile_search(rows, spare, mode)
        _search_again(points, rows, score, index, k, mode)
        return index, _order(points, score, index, mode)
    return index, _exact_distances(points, index, mode)


def _circle_search(points: Points, k: int, mode: _Mode) -> Tensor:
    """The k next points on either side in the order of the angles; the caller sorts them."""
    n = points.shape[0]
    angle = torch.atan2(points[:, 1], points[:, 0])
    order = torch.argsort(torch.remainder(angle, math.pi) if mode == "lines" else angle)
    if mode == "opposite":
        place = torch.searchsorted(angle[order], torch.atan2(-points[:, 1], -points[:, 0]))
        steps = list(range(-k - 1, k + 1))  # the point itself may be among them
    else:
        place = torch.empty_like(order)
        place[order] = torch.arange(n, device=points.device)
        steps = [sign * step for step in range(1, k + 1) for sign in (1, -1)]
    if len(steps) >= n:
        steps = list(range(n))
    return torch.stack([order[(place + step) % n] for step in steps], dim=1)


def _tree_search(points: Points, k: int, mode: _Mode) -> Tensor:
    """The k nearest besides the point itself, and its own antipode, which may be among them.

    Queries in the order of the tree's leaves find its nodes in the cache.
    """
    rows = points.numpy()
    n = rows.shape[0]
    sides = {"points": [rows], "lines": [rows, -rows], "opposite": [-rows]}[mode]
    both = sides[0] if len(sides) == 1 else np.concatenate(sides)
    tree = scipy.spatial.cKDTree(both, balanced_tree=False)
    order = tree.indices[tree.indices < n]
    wanted = 2 * k + 2 if mode == "lines" else k + 1  # a line has two sides
    found = np.empty((n, min(wanted, len(both))), dtype=np.int64)
    found[order] = tree.query(rows[order], k=range(1, found.shape[1] + 1), workers=1)[1]
    return torch.from_numpy(found % n if mode == "lines" else found)


def _band_search(points: Points, mode: _Mode) -> tuple[Tensor, Tensor] | None:
    """The nearest and its distance, columns (n, 1), or None where points crowd."""
    sides = {"points": [False], "lines": [False, True], "opposite": [True]}[mode]
    searches = [_bands.nearest_in_bands(points, mirrored=side) for side in sides]
    found = [search for search in searches if search is not None]
    if len(found) < len(sides):
        return None
    index, squares = found[0]
    for other, apart in found[1:]:
        index = torch.where(apart < squares, other, index)
        squares = torch.minimum(apart, squares)
    return index[:, None], squares.sqrt()[:, None]


def _repeated(index: Tensor) -> Tensor:
    """Whether a candidate stands earlier in its row already, as the other side of the same line."""
    values, order = index.sort(dim=-1, stable=True)
    same = torch.zeros_like(values, dtype=torch.bool)
    same[..., 1:] = values[..., 1:] == values[..., :-1]
    return torch.zeros_like(same).scatter_(-1, order, same)


def _tile_search(points: Points, k: int, mode: _Mode) -> tuple[Tensor, Tensor]:
    """The k largest cosines per row over all tiles and their places; of opposite points, minus."""
    n = points.shape[0]
    score = points.new_full((n, k), -torch.inf)
    index = torch.zeros(n, k, dtype=torch.long, device=points.device)

    def work(task: Task) -> None:
        left, right = points[task.left], points[task.right]
        gram = _tiles.products(left[None], right[None], own=task.own)[0]
        if mode != "points":
            gram = gram.abs_() if mode == "lines" else gram.neg_()
        if task.own:
            gram.fill_diagonal_(-torch.inf)
        keep_best(score, index, gram, task.left, task.right, native=n > _WORTH_COMPILING)

    run_tiles(work, points[None], None, copies=_COPIES)
    return score, index


def _search_again(
    points: Points, rows: Points, score: Tensor, index: Tensor, k: int, mode: _Mode
) -> None:
    """Search again where the last of the k asked for ties with the spare candidate.

    What ties with it may have been dropped. `rows` are the points of which the scores were taken.
    In float32 a few more candidates settle that, or cosines in float64.
    """
    n, d = points.shape
    if score.shape[1] <= k:
        return
    single = score.dtype == torch.float32
    tied = torch.nonzero(_tied(score, k, d, near=not single))[:, 0]
    found = _exact_distances(points, index[tied, :k], mode, rows=tied)
    tied = tied[found.amax(dim=1) > 0]  # none is nearer than one that coincides
    together = room_for(_COSINES_TOGETHER, _COSINE_BYTES)
    parts = tied.split(max(1, together // n)) if len(tied) else ()
    if single:
        parts = [_look_further(points, rows, some, score, index, k, mode) for some in parts]
    wide = _rescaled(points) if any(map(len, parts)) else points
    for some in parts:
        if len(some):
            index[some] = _nearest_of_alike(wide, some, k, score.shape[1], mode)
            score[some] = 1.0  # all alike: their distances decide the order


def _tied(score: Tensor, k: int, d: int, *, near: bool) -> Tensor:
    """Whether the k-th best and the last score of a row differ by roundings; of `near` ones only.

    Distances of points farther apart have all their digits whichever of the candidates is taken.
    """
    tied = score[:, k - 1] - score[:, -1] <= _rounding(score, d)
    return tied & (score[:, k - 1] > _CLOSE) if near else tied


def _rounding(score: Tensor, d: int) -> float:
    return 4 * math.sqrt(d) * torch.finfo(score.dtype).eps


def _look_further(
    points: Points,
    rows: Points,
    some: Tensor,
    score: Tensor,
    index: Tensor,
    k: int,
    mode: _Mode,
) -> Tensor:
    """More candidates of `some` rows, the best in place; return the rows of which all tie."""
    n, kept = len(points), score.shape[1]
    best, found = _row_cosines(rows, some, mode).topk(min(kept + _MORE, n - 1), dim=1)
    first = _exact_distances(points, found, mode, rows=some).argsort(dim=1)[:, :kept]
    score[some], index[some] = best.gather(1, first), found.gather(1, first)
    return some[_tied(best, k, points.shape[1], near=False)]


def _nearest_of_alike(points: Points, some: Tensor, k: int, kept: int, mode: _Mode) -> Tensor:
    """The best of `some` rows by float64 cosines; of near ones that tie even so, by distances."""
    cosines = _row_cosines(points, some, mode)
    best, found = cosines.topk(kept, dim=1)
    alike = torch.nonzero(_tied(best, k, points.shape[1], near=True))[:, 0]
    if len(alike) == 0:
        return found
    least = best[alike, -1:] - _rounding(best, points.shape[1])
    table = cosines[alike]
    count = (table >= least).sum(1)
    few = count <= kept + _MORE
    if bool(few.any()):
        candidates = table[few].topk(int(count[few].max()), dim=1).indices
        exact = _exact_distances(points, candidates, mode, rows=some[alike[few]])
        found[alike[few]] = candidates.gather(1, exact.argsort(dim=1)[:, :kept])
    left = alike[~few]
    while len(left):
        there, within = _from_within(points, some[left], kept, mode)
        found[left[within]] = there
        left = left[~within]
    return found


def _from_within(points: Points, rows: Tensor, kept: int, mode: _Mode) -> tuple[Tensor, Tensor]:
    """The nearest of those `rows` that lie together with the first, and which ones these are.

    Products of coordinates that are taken from within a cluster have the digits of its size.
    """
    centre = points[rows[0]]
    others = closer_side(centre, points) if mode == "lines" else points
    here = others[rows] - centre
    there = (-others if mode == "opposite" else others) - centre
    within = here.square().sum(1) <= _TOGETHER**2
    here = here[within]
    squares = there.square().sum(1) - 2 * (here @ there.T)  # less those of the rows
    squares.scatter_(1, rows[within, None], torch.inf)
    return squares.topk(kept, dim=1, largest=False).indices, within


def _row_cosines(points: Tensor, rows: Tensor, mode: _Mode) -> Tensor:
    """Cosines of some rows with all, of opposite points minus; -inf with themselves."""
    cosines = points[rows] @ points.T
    if mode != "points":
        cosines = cosines.abs_() if mode == "lines" else cosines.neg_()
    return cosines.scatter_(1, rows[:, None], -torch.inf)


def _order(points: Points, score: Tensor, index: Tensor, mode: _Mode) -> Tensor:
    """Minus the cosines, but distances in the rows whose cosines differ by roundings only."""
    rounding = 4 * points.shape[1] * torch.finfo(score.dtype).eps
    apart = (score[:, :-1] - score[:, 1:] > rounding).all(dim=1)
    doubtful = torch.nonzero(~apart)[:, 0]
    order = -score.double()
    order[doubtful] = _exact_distances(points, index[doubtful], mode, rows=doubtful)
    return order


def _exact_distances(
    points: Points, index: Tensor, mode: _Mode, *, rows: Tensor | None = None
) -> Tensor:
    """Chordal distances (r, k) of rows to the indexed points in float64, some rows at a time."""
    n, d = points.shape
    rows = torch.arange(n, device=points.device) if rows is None else rows
    few = max(1, 2 * _NUMBERS_TOGETHER // (d * index.shape[1]))
    blocks = []
    for some, chosen in zip(rows.split(few), index.split(few), strict=True):
        here, there = _rescaled(points[some])[:, None], _rescaled(points[chosen])
        if mode == "lines":
            there = closer_side(here, there)
        apart = here + there if mode == "opposite" else here - there
        blocks.append(torch.linalg.vector_norm(apart, dim=-1))
    return torch.cat(blocks)


def _rescaled(rows: Tensor) -> Tensor:
    """Rows that are of unit length up to roundings of their own precision, in float64."""
    if rows.dtype == torch.float64:
        return rows  # dividing would move close points by as much as they may be apart
    wide = rows.double()
    norm = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
    return wide / norm.clamp_min_(torch.finfo(wide.dtype).tiny)


def _distances(sets: Tensor, index: Tensor, mode: _Mode) -> Tensor:
    """Chordal distances (b, n, k) to the indexed points, one neighbour column at a time."""
    b, n, d = sets.shape
    points = sets.reshape(b * n, d)
    start = n * torch.arange(b, device=sets.device)[:, None]
    columns = []
    for neighbour in index.unbind(-1):
        other = points[(neighbour + start).flatten()]
        if mode == "lines":
            other = closer_side(points, other)
        apart = points + other if mode == "opposite" else points - other
        columns.append(root(apart.square().sum(-1)).reshape(b, n))
    return torch.stack(columns, dim=-1)
