"""The closest and the most opposite pair: indices by search, chords by differences."""

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from sphuni.pairwise import nearest
from sphuni.sphere import root
from sphuni.stats._sorted import turns_of

__all__ = ["smallest_chord", "smallest_sum"]

_DENSE_UP_TO = 512
_TREE_DIMENSION = 7
_ROWS = 1024


def smallest_chord(points: Tensor, *, antipodal: bool) -> Tensor:
    """The smallest |x_i - x_j| over i < j (...,); with `antipodal` of the closer of y and -y."""
    n, d = points.shape[-2:]
    if n <= _DENSE_UP_TO:
        first, second = _dense(points, antipodal=antipodal)
    elif d == 2:
        first, second = _neighbours(points, antipodal=antipodal)
    else:
        return nearest(points, antipodal=antipodal).distance.amin((-2, -1))
    if antipodal:
        second = torch.where((first * second).sum(-1, keepdim=True).detach() < 0, -second, second)
    return root((first - second).square().sum(-1)).amin(-1)


def smallest_sum(points: Tensor) -> Tensor:
    """The smallest |x_i + x_j| over i < j (...,)."""
    n, d = points.shape[-2:]
    searched = n > _DENSE_UP_TO and d <= _TREE_DIMENSION and points.device.type == "cpu"
    find = _tree_opposite if searched else _blockwise_opposite
    first, second = _rows(points.double(), *find(points.detach().double()))
    return root((first + second).square().sum(-1)).amin(-1)


def _rows(points: Tensor, i: Tensor, j: Tensor) -> tuple[Tensor, Tensor]:
    """The rows (..., k, d) of indices (..., k)."""
    width = points.shape[-1]
    first, second = (
        points.gather(-2, index[..., None].expand(*index.shape, width)) for index in (i, j)
    )
    return first, second


def _dense(points: Tensor, *, antipodal: bool) -> tuple[Tensor, Tensor]:
    """The rows (..., 1, d) of the pair of largest cosine of small sets."""
    rows = points.detach().double()
    n = rows.shape[-2]
    gram = rows @ rows.mT
    gram = gram.abs_() if antipodal else gram
    gram.diagonal(dim1=-2, dim2=-1).fill_(-torch.inf)
    place = gram.flatten(-2).argmax(-1)[..., None]
    return _rows(points.double(), place // n, place % n)


def _neighbours(points: Tensor, *, antipodal: bool) -> tuple[Tensor, Tensor]:
    """All pairs of neighbours on the circle, or of neighbouring lines of the plane."""
    x = points.detach().double()
    turns = turns_of(x[..., 0].contiguous(), x[..., 1].contiguous())
    order = (turns % 0.5 if antipodal else turns).argsort(-1)
    return _rows(points.double(), order, order.roll(1, -1))


def _tree_opposite(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Every point and the other one nearest to its antipode, by a tree of each set."""
    n = rows.shape[-2]
    found = [
        torch.from_numpy(cKDTree(-one, balanced_tree=False).query(one)[1])
        for one in rows.reshape(-1, *rows.shape[-2:]).numpy()
    ]
    index = torch.stack(found).reshape(rows.shape[:-1])
    return torch.arange(n).expand(index.shape), index


def _blockwise_opposite(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The pair of smallest cosine, from blocks of the Gram matrix."""
    n = rows.shape[-2]
    lowest = torch.full(rows.shape[:-2], torch.inf, dtype=torch.float64, device=rows.device)
    place = torch.zeros(rows.shape[:-2], dtype=torch.long, device=rows.device)
    for start in range(0, n, _ROWS):
        gram = rows[..., start : start + _ROWS, :] @ rows.mT
        value, index = gram.flatten(-2).min(-1)
        place = torch.where(value < lowest, index + start * n, place)
        lowest = torch.minimum(lowest, value)
    return (place // n)[..., None], (place % n)[..., None]
