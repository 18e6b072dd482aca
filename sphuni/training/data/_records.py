"""What a data set is."""

import dataclasses

from torch import Tensor

from sphuni._errors import UnreadableFileError
from sphuni.training.sparse import Sparse

__all__ = ["Dataset", "Graph", "MissingDataError", "Samples", "Splits"]


class MissingDataError(UnreadableFileError):
    """The files of a data set are not in the folder that was named; the message says which."""


@dataclasses.dataclass(frozen=True, eq=False)
class Samples:
    """Inputs with their classes.

    Attributes
    ----------
    inputs : Tensor
        Images (n, channels, height, width), point clouds (n, points, 3), vectors (n, d), or node
        indices (n,) of a graph.
    targets : Tensor of shape (n,)
        Class numbers, int64.
    """

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, index: Tensor) -> "Samples":
        """Return the samples at `index`."""
        return Samples(self.inputs[index], self.targets[index])

    def to(self, device: str) -> "Samples":
        """Return the samples on a device."""
        return Samples(self.inputs.to(device), self.targets.to(device))


@dataclasses.dataclass(frozen=True, eq=False)
class Graph:
    """Nodes with features, and the matrix that spreads them.

    Attributes
    ----------
    features : Sparse of shape (nodes, width)
        Rows sum to 1.
    adjacency : Sparse of shape (nodes, nodes)
        Of A with self-loops, divided by the square roots of both degrees.
    width : int
        Features of a node.
    """

    features: Sparse
    adjacency: Sparse
    width: int

    def to(self, device: str) -> "Graph":
        """Return the graph on a device."""
        return Graph(self.features.to(device), self.adjacency.to(device), self.width)


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Everything that was read.

    Attributes
    ----------
    name : str
    classes : int
    pool : Samples
        Where training and validation samples are drawn from.
    test : Samples
    validation : Samples or None
        Where the data set fixes it (graphs).
    graph : Graph or None
    note : str
        What a reader of results should know: substitutes, lossy copies.
    """

    name: str
    classes: int
    pool: Samples
    test: Samples
    validation: Samples | None = None
    graph: Graph | None = None
    note: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Splits:
    """The samples of one run.

    Attributes
    ----------
    train, validation, test : Samples
        Float inputs; images are standardised by the training samples.
    classes : int
    shape : tuple of int
        Of one input: (channels, height, width), (points, 3), (d,).
    graph : Graph or None
    """

    train: Samples
    validation: Samples
    test: Samples
    classes: int
    shape: tuple[int, ...]
    graph: Graph | None = None
