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

__all__ = ["read_any", "read_graph", "read_npz", "read_points", "split_by_class"]

_INPUTS = ("images", "inputs", "x", "points")
_TARGETS = ("labels", "targets", "y")
_PARTS = ("train", "val", "test")
_GRAPH = ("feat_indptr", "feat_indices", "feat_shape", "labels", "edges", *_PARTS)
_CLOUD_RANK, _COORDINATES, _EDGES_RANK = 3, 3, 2
Content = dict[str, NDArray[Any]]


def read_any(path: Path) -> Dataset:
    """Read a graph or other arrays, by what the file holds."""
    content = _open(path)
    return _graph(content, path) if _GRAPH[0] in content else _arrays(content, path)


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
    return _arrays(_open(path), path, test_fraction)


def _arrays(content: Content, path: Path, test_fraction: float = 0.2) -> Dataset:
    if _key(content, _INPUTS, "train_"):
        pool, test = (_samples(content, prefix, path) for prefix in ("train_", "test_"))
        if pool.inputs.shape[1:] != test.inputs.shape[1:]:
            shapes = " and ".join(str(tuple(part.inputs.shape[1:])) for part in (pool, test))
            raise UnreadableFileError(
                f"{str(path)!r} must hold train and test inputs of one shape; it holds {shapes}"
            )
    else:
        pool, test = split_by_class(_samples(content, "", path), test_fraction)
        if len(test) == 0 or len(pool) == 0:
            raise UnreadableFileError(
                f"{str(path)!r} has too few samples of each class to put {100 * test_fraction:g} % "
                "aside for tests; add some, or give train_... and test_... arrays"
            )
    classes = int(max(pool.targets.max(), test.targets.max())) + 1
    return Dataset(path.stem, classes, pool, test)


def read_points(path: Path) -> Dataset:
    """Read point clouds: `points` (n, m, 3) and `labels`, split as `read_npz` does."""
    data = read_npz(path)
    shape = tuple(data.pool.inputs.shape)
    if len(shape) != _CLOUD_RANK or shape[-1] != _COORDINATES:
        raise UnreadableFileError(
            f"{str(path)!r} must hold clouds of shape (n, points, 3); got {shape}"
        )
    return data


def read_graph(path: Path) -> Dataset:
    """Read a citation graph with the public split.

    Parameters
    ----------
    path : Path
        Arrays `feat_indptr`, `feat_indices`, `feat_shape` (binary features, by rows), `labels`
        (-1 for none), `edges` (m, 2), and node numbers `train`, `val`, `test`.
    """
    return _graph(_open(path), path)


def _graph(content: Content, path: Path) -> Dataset:
    missing = [key for key in _GRAPH if key not in content]
    if missing:
        raise UnreadableFileError(f"{str(path)!r} lacks the array {missing[0]!r} of a graph")
    wrong = _complaint_of_graph(content)
    if wrong:
        raise UnreadableFileError(f"{str(path)!r} is not a whole graph: {wrong}")
    nodes, width = (int(size) for size in content["feat_shape"])
    counts = np.diff(content["feat_indptr"])
    values = np.repeat(1.0 / np.maximum(counts, 1), counts)
    parts: Any = (values, content["feat_indices"], content["feat_indptr"])
    features = scipy.sparse.csr_array(parts, shape=(nodes, width))
    labels = torch.from_numpy(content["labels"].astype(np.int64))
    train, validation, test = (
        Samples(index, labels[index])
        for index in (torch.from_numpy(content[key].astype(np.int64)) for key in _PARTS)
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


def _complaint_of_graph(content: Content) -> str:
    """Say what is wrong; a number out of range would lead the products of matrices astray."""
    for key in _GRAPH:
        if content[key].size and content[key].dtype.kind not in "iu":
            return f"{key} must hold whole numbers; it holds {content[key].dtype}"
    if content["feat_shape"].shape != (2,):
        return f"feat_shape must be two numbers; it has the shape {content['feat_shape'].shape}"
    nodes, width = (int(size) for size in content["feat_shape"])
    starts, edges = content["feat_indptr"].astype(np.int64), content["edges"]
    if starts.shape != (nodes + 1,) or starts[0] != 0 or (np.diff(starts) < 0).any():
        return f"feat_indptr must be {nodes + 1} increasing numbers from 0 on"
    if content["feat_indices"].shape != (starts[-1],):
        return f"feat_indices must be {starts[-1]} numbers, the last of feat_indptr"
    if edges.ndim != _EDGES_RANK or edges.shape[1] != 2:
        return f"edges must have the shape (m, 2); it has {edges.shape}"
    if content["labels"].shape != (nodes,):
        return f"labels must be {nodes} numbers, one a node; it has {content['labels'].shape}"
    limits = {"feat_indices": width, **dict.fromkeys(("edges", *_PARTS), nodes)}
    for key, limit in limits.items():
        values = content[key]
        if values.size and not 0 <= int(values.min()) <= int(values.max()) < limit:
            return f"{key} must hold numbers from 0 to {limit - 1}"
    for key in _PARTS:
        chosen = content[key].astype(np.int64)
        if chosen.ndim != 1 or (content["labels"][chosen] < 0).any():
            return f"{key} must be a list of nodes that have a label"
    empty = [key for key in ("train", "test") if not content[key].size]
    return f"{empty[0]} must name nodes" if empty else ""


def _open(path: Path) -> Content:
    try:
        # opened here, as numpy leaves a damaged file open
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except Exception as error:  # of a damaged file zipfile, zlib, tokenize, ... raise their own
        raise UnreadableFileError(f"{str(path)!r} cannot be read as npz: {error}") from None


def _key(content: Content, names: tuple[str, ...], prefix: str) -> str:
    return next((prefix + name for name in names if prefix + name in content), "")


def _samples(content: Content, prefix: str, path: Path) -> Samples:
    keys = [_key(content, names, prefix) for names in (_INPUTS, _TARGETS)]
    if not all(keys):
        raise UnreadableFileError(
            f"{str(path)!r} must hold {prefix}images (or inputs, x, points) and {prefix}labels "
            f"(or targets, y); it holds {', '.join(content) or 'nothing'}"
        )
    given = {key: content[key] for key in keys}
    for key, values in given.items():
        if values.dtype.kind not in "biuf":
            raise UnreadableFileError(
                f"{str(path)!r} must hold real numbers in {key}; it holds {values.dtype}"
            )
    if any(values.ndim == 0 or len(values) == 0 for values in given.values()):
        raise UnreadableFileError(f"{str(path)!r} holds no samples in {keys[0]} and {keys[1]}")
    sizes = [len(values) for values in given.values()]
    if sizes[0] != sizes[1]:
        raise UnreadableFileError(
            f"{str(path)!r} has {sizes[0]} {keys[0]} but {sizes[1]} {keys[1]}"
        )
    classes = given[keys[1]]
    if classes.ndim != 1 or classes.dtype.kind not in "biu" or int(classes.min()) < 0:
        raise UnreadableFileError(
            f"{str(path)!r} must hold class numbers 0, 1, ... in {keys[1]}; it holds "
            f"{classes.dtype} of shape {classes.shape} from {classes.min()} on"
        )
    # a copy of one's own, in the order of bytes of this machine
    native = given[keys[0]].dtype.newbyteorder("=")
    inputs = torch.from_numpy(given[keys[0]].astype(native))
    targets = torch.from_numpy(classes.astype(np.int64))
    if keys[0].endswith("images"):
        if inputs.ndim == 3:
            inputs = inputs[:, None]
        elif inputs.ndim == 4 and inputs.shape[-1] == 3 and inputs.shape[1] != 3:
            inputs = inputs.movedim(-1, 1).contiguous()
    return Samples(inputs, targets)


def _spread(edges: NDArray[np.int64], nodes: int) -> Any:
    """Adjacency with self-loops, divided on both sides by the square root of the degrees."""
    rows, columns = np.concatenate([edges, edges[:, ::-1]]).T
    links = scipy.sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(nodes, nodes))
    links = ((links + scipy.sparse.eye_array(nodes)) > 0).astype(np.float64)
    scale = scipy.sparse.diags_array(1.0 / np.sqrt(links.sum(axis=1)))
    return scale @ links @ scale
