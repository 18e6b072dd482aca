"""The graph convolutional network for node classification."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sphuni.training.models.blocks import scaled
from sphuni.training.sparse import Sparse, dropout

__all__ = ["GraphNetwork", "graph"]


class GraphNetwork(nn.Module):
    """Two graph convolutions with ReLU and dropout.

    Parameters
    ----------
    features, neurons, classes : int
    dropout : float
    """

    def __init__(self, features: int, neurons: int, classes: int, *, dropout: float) -> None:
        super().__init__()
        self.hidden = nn.Linear(features, neurons)
        self.classifier = nn.Linear(neurons, classes)
        self.dropout = dropout
        for layer in (self.hidden, self.classifier):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Sparse, adjacency: Sparse) -> Tensor:
        """Return the logits of all nodes."""
        drops = self.training and self.dropout > 0
        if drops:
            x = x.dropout(self.dropout)
        hidden = adjacency @ (x @ self.hidden.weight.T.contiguous()) + self.hidden.bias
        hidden = torch.relu(hidden)
        if drops:
            hidden = dropout(hidden, self.dropout)
        return adjacency @ (hidden @ self.classifier.weight.T) + self.classifier.bias


def graph(
    inputs: Sequence[int],
    classes: int,
    width: float = 1.0,
    *,
    neurons: int = 16,
    dropout: float = 0.5,
) -> GraphNetwork:
    """Build the two-layer GCN.

    Parameters
    ----------
    inputs : (features,)
    classes : int
    width : float
        Multiplies `neurons`.
    neurons, dropout
        16 and 0.5 in the paper.

    References
    ----------
    T. N. Kipf, M. Welling, "Semi-supervised classification with graph convolutional networks",
    ICLR 2017. arXiv:1609.02907.
    """
    return GraphNetwork(inputs[0], scaled(neurons, width), classes, dropout=dropout)
