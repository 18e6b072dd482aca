"""Nearest neighbours on the sphere: indices by search, values by differences."""

import dataclasses
import math

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from sphuni._arrays import widen
from sphuni.pairwise._schedule import Task, run_tiles
from sphuni.sphere import root, unit_rows

__all__ = ["Nearest", "nearest"]

_TREE_DIMENSION = 7
_SMALL = 2_000


@dataclasses.dataclass(frozen=True)
class Nearest:
    """The `k` nearest other points of each point.

    Attributes
    ----------
    index : integer tensor (..., n, k)
        Nearest first. With `antipodal` an index stands for the closer of the two opposite points.
    distance : tensor (..., n, k)
        Chordal distance, from differences of coordinates; differentiable.
    """

    index: Tensor
    distance: Tensor


def nearest(points: Tensor, /, *, k: int = 1, antipodal: bool = False) -> Nearest:
    """Find the k nearest other points of every point.

    Parameters
    ----------
    points : tensor of shape (..., n, d)
        Unit rows (not checked here), n > k.
    k : int, default 1
        Neighbours per point.
    antipodal : bool, default False
        Take points as lines: the distance to the closer of y and -y.

    Returns
    -------
    Nearest

    Notes
    -----
    Sorted angles for d = 2, a KD-tree up to d = 7, else tiles of inner products; the searches run
    on detached values and return indices with a spare candidate, whose distances are then taken by
    differences in float64, so ties and the float32 loss of digits near coincidence do not decide
    the order.
    Cost O(n log n) or O(n^2 d), memory O(n k + tile).
    """
    n = points.shape[-2]
    if not 1 <= k < n:
        raise ValueError(f"k must lie between 1 and n - 1 = {n - 1}; got {k}")
    flat = points.reshape(-1, *points.shape[-2:])
    index = torch.stack([_search(one.detach(), k, antipodal) for one in flat])
    distance = torch.stack(
        [_distance(one, i, antipodal) for one, i in zip(widen(flat), index, strict=True)]
    ).to(points.dtype)
    shape = (*points.shape[:-1], k)
    return Nearest(index.reshape(shape), distance.reshape(shape))


def _search(points: Tensor, k: int, antipodal: bool) -> Tensor:
    spare = min(k + 1, points.shape[0] - 1)
    rows = unit_rows(points.double() if points.dtype != torch.float64 else points)
    tree = points.device.type == "cpu" and points.shape[1] <= _TREE_DIMENSION
    exact = rows if rows.shape[0] <= _SMALL else widen(points)
    if points.shape[1] == 2:
        found = _circle_search(rows, spare, antipodal)
    elif tree:
        found = _tree_search(rows, spare, antipodal)
    else:
        found = _tile_search(exact, spare, antipodal)
    order = _distance(rows, found, antipodal).argsort(dim=-1, stable=True)[:, :k]
    return found.gather(1, order)


def _circle_search(points: Tensor, k: int, antipodal: bool) -> Tensor:
    """The k next points on either side in the order of the angles; the caller sorts them."""
    n = points.shape[0]
    angle = torch.atan2(points[:, 1], points[:, 0])
    order = torch.argsort(torch.remainder(angle, math.pi) if antipodal else angle)
    place = torch.empty_like(order)
    place[order] = torch.arange(n, device=points.device)
    steps = [sign * step for step in range(1, k + 1) for sign in (1, -1)]
    if 2 * k > n - 1:
        steps = list(range(1, n))
    return torch.stack([order[(place + step) % n] for step in steps], dim=1)


def _tree_search(points: Tensor, k: int, antipodal: bool) -> Tensor:
    rows = points.numpy()
    n = rows.shape[0]
    both = np.concatenate([rows, -rows]) if antipodal else rows
    _, found = cKDTree(both, balanced_tree=False).query(rows, k=min(k + 2, len(both)), workers=1)
    own = np.arange(n)[:, None]
    others = np.where(found % n == own, -1, found % n)
    # the point itself (and its own antipode) may come at any place among equal distances
    order = np.argsort(others == -1, axis=1, kind="stable")[:, :k]
    return torch.from_numpy(np.take_along_axis(others, order, axis=1))


def _tile_search(points: Tensor, k: int, antipodal: bool) -> Tensor:
    """The k largest cosines per row over all tiles, as indices."""
    n = points.shape[0]
    score = points.new_full((n, k), -torch.inf)
    index = torch.zeros(n, k, dtype=torch.long, device=points.device)

    def work(task: Task) -> None:
        gram = points[task.left] @ points[task.right].T
        gram = gram.abs_() if antipodal else gram
        if task.own:
            gram.fill_diagonal_(-torch.inf)
        _keep(score, index, gram, task.left, task.right)
        if not task.own:
            _keep(score, index, gram.T, task.right, task.left)

    run_tiles(work, points[None], None)
    return index


def _keep(score: Tensor, index: Tensor, gram: Tensor, rows: slice, columns: slice) -> None:
    """Merge one tile's best columns into the running best of its rows.

    Few rows find anything better once some tiles have passed, and finding out is cheap.
    """
    k = score.shape[1]
    better = torch.nonzero(gram.amax(1) > score[rows, -1])[:, 0]
    if len(better) == 0:
        return
    value, place = gram[better].topk(min(k, gram.shape[1]), dim=1)
    better = better + rows.start
    value = torch.cat([score[better], value], 1)
    place = torch.cat([index[better], place + columns.start], 1)
    top, order = value.topk(k, dim=1)
    score[better], index[better] = top, place.gather(1, order)


def _distance(points: Tensor, index: Tensor, antipodal: bool) -> Tensor:
    """Chordal distances to the indexed points, one neighbour column at a time."""
    columns = []
    for neighbour in index.T:
        other = points[neighbour]
        if antipodal:
            flip = (points * other).sum(-1, keepdim=True).detach() < 0
            other = torch.where(flip, -other, other)
        squared = (points - other).square().sum(-1)
        columns.append(root(squared))
    return torch.stack(columns, dim=-1)
