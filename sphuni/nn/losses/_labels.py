"""What losses ask of class labels."""

from torch import Tensor

from sphuni._transforms import has_values
from sphuni.nn._precision import check_tensor

__all__ = ["check_labels"]


def check_labels(labels: Tensor, rows: int, classes: int) -> None:
    """Refuse anything but one whole number from 0 to classes - 1 per row."""
    check_tensor("labels", labels)
    if labels.shape != (rows,):
        raise ValueError(
            f"labels must have shape ({rows},), one class per row; got {tuple(labels.shape)}"
        )
    if labels.is_floating_point() or labels.is_complex():
        raise TypeError(f"labels must be whole numbers of classes; got {labels.dtype}")
    # on a GPU the answer would have to be waited for
    if labels.device.type == "cpu" and has_values(labels):
        whole = labels.long()  # torch compares few of the unsigned types
        out = whole[(whole < 0) | (whole >= classes)]
        if len(out):
            raise ValueError(f"labels must lie in 0 to {classes - 1}; got {int(out[0])}")
