"""Readers of `.npz` files: images or vectors, graphs, point clouds."""

from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray

from sphuni._errors import UnreadableFileError
from sphuni.training.data._records import Dataset, Graph, Samples
from sphuni.training.sparse import Sparse

__all__ = ["read_graph", "read_npz", "read_points", "split_by_class"]

_INPUTS = ("images", "inputs", "x", "points")
_TARGETS = ("labels", "targets", "y")


def read_npz(path: Path, *, test_fraction: float = 0.2) -> Dataset:
    """Read a user's arrays.

    Parameters
    ----------
    path : Path
        `images`, `inputs`, `x` or `points`, and `labels`, `targets` or `y`; either with the
        prefixes ``train_`` and ``test_``, or once. Images are (n, h, w), (n, h, w, 3) in uint8 or
        (n, channels, h, w); anything of rank two is taken as vectors.
    test_fraction : float
        Share of every class that becomes test data where the file does not split.
    """
    content = _open(path)
    if f"{_key(content, _INPUTS, 'train_')}" in content:
        pool, test = (_samples(content, prefix, path) for prefix in ("train_", "test_"))
    else:
        pool, test = split_by_class(_samples(content, "", path), test_fraction)
    classes = int(max(pool.targets.max(), test.targets.max())) + 1
    return Dataset(path.stem, classes, pool, test)


def read_points(path: Path) -> Dataset:
    """Read point clouds: `points` (n, m, 3) and `labels`, split as `read_npz` does."""
    data = read_npz(path)
    pool, test = (
        Samples(part.inputs.movedim(1, 2).contiguous(), part.targets)
        for part in (data.pool, data.test)
    )
    return Dataset(data.name, data.classes, pool, test)


def read_graph(path: Path) -> Dataset:
    """Read a citation graph with the public split.

    Parameters
    ----------
    path : Path
        Arrays `feat_indptr`, `feat_indices`, `feat_shape` (binary features, by rows), `labels`
        (-1 for none), `edges` (m, 2), and node numbers `train`, `val`, `test`.
    """
    content = _open(path)
    needed = ("feat_indptr", "feat_indices", "feat_shape", "labels", "edges", "train", "val")
    missing = [key for key in (*needed, "test") if key not in content]
    if missing:
        raise UnreadableFileError(f"{str(path)!r} lacks the array {missing[0]!r} of a graph")
    nodes, width = (int(size) for size in content["feat_shape"])
    counts = np.diff(content["feat_indptr"])
    values = np.repeat(1.0 / np.maximum(counts, 1), counts)
    parts: Any = (values, content["feat_indices"], content["feat_indptr"])
    features = scipy.sparse.csr_array(parts, shape=(nodes, width))
    labels = torch.from_numpy(content["labels"]).long()
    train, validation, test = (
        Samples(index, labels[index])
        for index in (torch.from_numpy(content[key]).long() for key in ("train", "val", "test"))
    )
    edges = np.asarray(content["edges"], dtype=np.int64)
    graph = Graph(Sparse.of(features), Sparse.of(_spread(edges, nodes)), width)
    return Dataset(path.stem, int(labels.max()) + 1, train, test, validation, graph)


def split_by_class(samples: Samples, fraction: float) -> tuple[Samples, Samples]:
    """Split off a fixed random part of every class; the same for everyone."""
    generator = np.random.default_rng(0)
    targets = samples.targets.numpy()
    chosen = np.zeros(len(targets), bool)
    for number in np.unique(targets):
        members = np.flatnonzero(targets == number)
        chosen[generator.permutation(members)[: round(fraction * len(members))]] = True
    kept, split = (torch.from_numpy(np.flatnonzero(mask)) for mask in (~chosen, chosen))
    return samples.take(kept), samples.take(split)


def _open(path: Path) -> dict[str, NDArray[np.generic]]:
    try:
        # opened here, as numpy leaves a damaged file open
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except Exception as error:  # of a damaged file zipfile, zlib, tokenize, ... raise their own
        raise UnreadableFileError(f"{str(path)!r} cannot be read as npz: {error}") from None


def _key(content: dict[str, NDArray[np.generic]], names: tuple[str, ...], prefix: str) -> str:
    return next((prefix + name for name in names if prefix + name in content), "")


def _samples(content: dict[str, NDArray[np.generic]], prefix: str, path: Path) -> Samples:
    keys = [_key(content, names, prefix) for names in (_INPUTS, _TARGETS)]
    if not all(keys):
        raise UnreadableFileError(
            f"{str(path)!r} must hold {prefix}images (or inputs, x, points) and {prefix}labels "
            f"(or targets, y); it holds {', '.join(content) or 'nothing'}"
        )
    inputs, targets = (torch.from_numpy(content[key].copy()) for key in keys)
    if keys[0].endswith("images"):
        if inputs.ndim == 3:
            inputs = inputs[:, None]
        elif inputs.ndim == 4 and inputs.shape[-1] == 3 and inputs.shape[1] != 3:
            inputs = inputs.movedim(-1, 1).contiguous()
    if len(inputs) != len(targets):
        raise UnreadableFileError(
            f"{str(path)!r} has {len(inputs)} {keys[0]} but {len(targets)} {keys[1]}"
        )
    if targets.ndim != 1 or targets.is_floating_point() or int(targets.min()) < 0:
        raise UnreadableFileError(
            f"{str(path)!r} must hold class numbers 0, 1, ... in {keys[1]}; it holds "
            f"{targets.dtype} of shape {tuple(targets.shape)} from {targets.min().item()} on"
        )
    return Samples(inputs, targets.long())


def _spread(edges: NDArray[np.int64], nodes: int) -> Any:
    """Adjacency with self-loops, divided on both sides by the square root of the degrees."""
    rows, columns = np.concatenate([edges, edges[:, ::-1]]).T
    links = scipy.sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(nodes, nodes))
    links = ((links + scipy.sparse.eye_array(nodes)) > 0).astype(np.float64)
    scale = scipy.sparse.diags_array(1.0 / np.sqrt(links.sum(axis=1)))
    return scale @ links @ scale
