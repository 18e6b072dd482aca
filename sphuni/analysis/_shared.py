"""The layers of one model file measured by several processes, large layers slab by slab."""

import functools
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import torch

from sphuni._workers import ordered_map
from sphuni.analysis._layer import LayerReport
from sphuni.analysis._options import Options
from sphuni.analysis._passes import scan_slab, slab_count, slabs
from sphuni.analysis._rows import NotMeasurable, prepare
from sphuni.analysis._sampling import sample_rows
from sphuni.analysis.sources import Source, open_source
from sphuni.nn.neurons import Heads, NeuronView
from sphuni.pairwise import PairScan, ScanPart, merge_scans

__all__ = ["Opening", "measure_shared", "opening"]

Measure = Callable[[NeuronView, Options, PairScan | None], LayerReport]


class Opening(NamedTuple):
    """How a process opens the model for itself."""

    path: str
    heads: str
    split_qkv: bool


class _Piece(NamedTuple):
    """A layer, or one slab of its rows."""

    opening: Opening
    options: Options
    measure: Measure
    item: int
    slab: int | None = None


def opening(path: str, heads: Heads, split_qkv: bool) -> Opening:
    """Say how to open the model in a form that can be sent and compared."""
    return Opening(path, json.dumps(heads), split_qkv)


def measure_shared(
    todo: Mapping[int, NeuronView], opened: Opening, options: Options, measure: Measure
) -> Iterator[LayerReport]:
    """Measure these items of a model, in their order; the processes open it for themselves."""
    pieces = [_pieces(view, _Piece(opened, options, measure, k)) for k, view in todo.items()]
    answers = (answer for _, answer in ordered_map(_run, [p for some in pieces for p in some]))
    for view, some in zip(todo.values(), pieces, strict=True):
        found = list(itertools.islice(answers, len(some)))
        if isinstance(found[0], LayerReport):
            yield found[0]
            continue
        parts = [part for part in found if isinstance(part, ScanPart)]
        yield measure(view, options, merge_scans(parts) if parts else None)


def _pieces(view: NeuronView, whole: _Piece) -> list[_Piece]:
    count = slab_count(view.matrix.shape[0])
    return [whole] if count == 1 else [whole._replace(slab=k) for k in range(count)]


def _run(piece: _Piece) -> LayerReport | ScanPart | None:
    """Measure a layer, or a slab of it; None where the layer cannot be or the slab is empty."""
    if piece.slab is None:
        return piece.measure(_view(piece.opening, piece.item), piece.options, None)
    with torch.no_grad():
        points = _points(piece.opening, piece.item, piece.options)
        if points is None:
            return None
        count = slab_count(_view(piece.opening, piece.item).matrix.shape[0])
        rows = slabs(points.shape[0], count)[piece.slab]
        return scan_slab(points, rows) if rows.start < rows.stop else None


@functools.lru_cache(maxsize=1)
def _open(opening: Opening) -> Source:
    return open_source(opening.path, heads=json.loads(opening.heads), split_qkv=opening.split_qkv)


def _view(opening: Opening, item: int) -> NeuronView:
    view = _open(opening).items[item]
    assert isinstance(view, NeuronView)
    return view


@functools.lru_cache(maxsize=1)
def _points(opening: Opening, item: int, options: Options) -> torch.Tensor | None:
    """The rows that enter the pair sums, as `measure_layer` takes them."""
    try:
        rows = prepare(_view(opening, item).matrix, options)
    except NotMeasurable:
        return None
    return sample_rows(rows.points, options).points if rows.points.shape[0] >= 2 else None
