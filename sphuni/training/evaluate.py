"""Loss, error, Recall@K and true positives on data that is not trained on."""

import torch
import torch.nn.functional as functional
from torch import Tensor

from sphuni.training.data import Samples
from sphuni.training.learner import Learner

__all__ = ["check_counts", "evaluate", "retrieval"]

_BATCH = 1000


@torch.no_grad()
def evaluate(
    learner: Learner, samples: Samples, *, recall: tuple[int, ...] = ()
) -> dict[str, float]:
    """Return loss, error in per cent, and retrieval by features if it is asked for.

    Parameters
    ----------
    learner : Learner
        Left in evaluation mode.
    samples : Samples
    recall : tuple of int
        See `retrieval`.
    """
    learner.eval()
    size = len(samples) if learner.graph is not None else _BATCH
    logits, features = [], []
    for inputs in samples.inputs.split(size):
        scores, seen = learner.predict(inputs)
        logits.append(scores)
        if seen is not None:
            features.append(seen)
    scores = torch.cat(logits)
    wrong = (scores.argmax(dim=1) != samples.targets).double().mean()
    result = {
        "loss": float(functional.cross_entropy(scores, samples.targets)),
        "error": 100.0 * float(wrong),
    }
    if recall:
        result |= retrieval(torch.cat(features), samples.targets, recall)
    return result


def check_counts(counts: tuple[int, ...], size: int) -> None:
    """Refuse K nearest of fewer others."""
    if counts and not 1 <= min(counts) <= max(counts) < size:
        raise ValueError(
            f"evaluation.recall must be at least 1 and less than the {size} samples it is measured "
            f"on; got {list(counts)}"
        )


def retrieval(features: Tensor, targets: Tensor, counts: tuple[int, ...]) -> dict[str, float]:
    """Return Recall@K and the share of true positives among the K nearest, in per cent.

    Parameters
    ----------
    features : Tensor of shape (n, d)
        Compared by Euclidean distance, each with all others.
    targets : Tensor of shape (n,)
    counts : tuple of int
        The values of K.

    Raises
    ------
    ValueError
        If there are no K others.

    Notes
    -----
    Recall@K is the share of samples that have one of their class among their K nearest; for K = 1
    both are equal by definition.

    Examples
    --------
    >>> import torch
    >>> x, y = torch.tensor([[0.0], [1.0], [2.0], [9.0]]), torch.tensor([0, 0, 1, 1])
    >>> retrieval(x, y, (1, 2))
    {'recall@1': 75.0, 'positives@1': 75.0, 'recall@2': 75.0, 'positives@2': 37.5}
    """
    check_counts(counts, len(features))
    most = max(counts)
    right = []
    features = features - features.mean(dim=0)  # far from 0 the differences of squares round
    square = features.square().sum(dim=1)
    for start in range(0, len(features), _BATCH):
        block = features[start : start + _BATCH]
        distance = square - 2 * block @ features.T
        rows = torch.arange(len(block), device=features.device)
        distance[rows, rows + start] = torch.inf
        nearest = distance.topk(most, largest=False).indices
        right.append(targets[nearest] == targets[start : start + _BATCH, None])
    hits = torch.cat(right)
    result = {}
    for count in counts:
        part = hits[:, :count]
        result[f"recall@{count}"] = 100.0 * float(part.any(dim=1).double().mean())
        result[f"positives@{count}"] = 100.0 * float(part.double().mean())
    return result
