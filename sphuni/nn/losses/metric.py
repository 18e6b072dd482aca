"""Losses on distances between embeddings: alignment, contrastive, triplet and centre."""

import math

import torch
from torch import Tensor, nn

from sphuni._budget import require
from sphuni._numbers import whole
from sphuni.nn._options import check_at_least_one, check_number
from sphuni.nn._precision import check_tensor, widen
from sphuni.nn._preset import Preset, check_preset
from sphuni.nn.functional import alignment
from sphuni.nn.losses._labels import check_labels
from sphuni.sphere import root

__all__ = [
    "AlignmentLoss",
    "CenterLoss",
    "ContrastiveLoss",
    "TripletLoss",
    "center",
    "contrastive",
    "triplet",
]


_SURELY_FITS = 1_000
_DIFFERENCES, _TABLES = 3, 4  # differences and products of half the pairs; tables of all pairs


def contrastive(features: Tensor, labels: Tensor, *, margin: float = 1.0) -> Tensor:
    r"""Contrastive loss over all pairs of a batch.

    .. math:: \operatorname{mean}_{i<j}\ [y_i = y_j]\, d_{ij}^2
              + [y_i \ne y_j]\, \max(0, \text{margin} - d_{ij})^2

    Parameters
    ----------
    features : Tensor of shape (n, d)
        Used as they are; put them on a sphere first if that is wanted.
    labels : Tensor of shape (n,)
    margin : float, default 1

    Returns
    -------
    Tensor
        Zero for one row.

    References
    ----------
    R. Hadsell, S. Chopra, Y. LeCun, "Dimensionality reduction by learning an invariant mapping",
    CVPR 2006. doi:10.1109/CVPR.2006.100.

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([[0.0], [0.25], [0.5]])
    >>> float(contrastive(x, torch.tensor([0, 0, 1])))
    0.291666
    """
    wide = _checked(features, labels, margin)
    _check_room(wide, _DIFFERENCES * wide.shape[1])
    first, second = torch.triu_indices(len(wide), len(wide), 1, device=wide.device)
    if first.numel() == 0:
        return wide.sum() * 0
    distance = root((wide[first] - wide[second]).square().sum(-1))
    apart = (margin - distance).clamp_min(0).square()
    return torch.where(labels[first] == labels[second], distance.square(), apart).mean()


def triplet(features: Tensor, labels: Tensor, *, margin: float = 1.0) -> Tensor:
    r"""Triplet loss with the hardest positive and the hardest negative of every row.

    .. math:: \operatorname{mean}_i \max(0, \max_{y_j = y_i} d_{ij} - \min_{y_j \ne y_i} d_{ij}
              + \text{margin})

    Parameters
    ----------
    features : Tensor of shape (n, d)
        Used as they are.
    labels : Tensor of shape (n,)
    margin : float, default 1

    Returns
    -------
    Tensor
        Rows without a positive or a negative are left out; zero if none is left.

    References
    ----------
    F. Schroff, D. Kalenichenko, J. Philbin, "FaceNet: a unified embedding for face recognition
    and clustering", CVPR 2015. arXiv:1503.03832.
    A. Hermans, L. Beyer, B. Leibe, "In defense of the triplet loss for person re-identification",
    2017. arXiv:1703.07737.

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([[0.0], [1.0], [3.0]])
    >>> float(triplet(x, torch.tensor([0, 0, 1])))
    0.0
    """
    wide = _checked(features, labels, margin)
    if len(wide) == 0:
        return wide.sum()
    _check_room(wide, _TABLES)
    with torch.no_grad():
        found = wide.detach()  # of tangents too, of which the search takes none
        # by products, distances of rows far from the origin would lose their digits
        distance = torch.cdist(found, found, compute_mode="donot_use_mm_for_euclid_dist")
        same = labels[:, None] == labels[None, :]
        positive = same & ~torch.eye(len(wide), dtype=torch.bool, device=wide.device)
        farthest = distance.masked_fill(~positive, -torch.inf).argmax(dim=1)
        closest = distance.masked_fill(same, torch.inf).argmin(dim=1)
        used = positive.any(dim=1) & (~same).any(dim=1)
    pull = root((wide - wide[farthest]).square().sum(-1))
    push = root((wide - wide[closest]).square().sum(-1))
    loss = torch.where(used, (pull - push + margin).clamp_min(0), 0.0)
    return loss.sum() / used.sum().clamp_min(1)


def _check_room(wide: Tensor, numbers: int) -> None:
    """Refuse batches whose pairs, of so many numbers each, do not fit."""
    n = len(wide)
    if n <= _SURELY_FITS:
        return
    require(
        n * n * numbers * wide.element_size(),
        None,
        what=f"the pairs of a batch of {n} rows",
        remedy="take smaller batches",
    )


def center(features: Tensor, labels: Tensor, centers: Tensor) -> Tensor:
    r"""Half the mean squared distance of features to the centre of their class.

    .. math:: \frac1{2n} \sum_i |x_i - c_{y_i}|^2

    Parameters
    ----------
    features : Tensor of shape (n, d)
        Used as they are.
    labels : Tensor of shape (n,)
    centers : Tensor of shape (classes, d)

    Returns
    -------
    Tensor
        Least when all features of a class are equal, so it wants a softmax loss beside it.

    References
    ----------
    Y. Wen, K. Zhang, Z. Li, Y. Qiao, "A discriminative feature learning approach for deep face
    recognition", ECCV 2016. doi:10.1007/978-3-319-46478-7_31.

    Examples
    --------
    >>> import torch
    >>> float(center(torch.ones(4, 2), torch.zeros(4, dtype=torch.long), torch.zeros(3, 2)))
    1.0
    """
    wide = _checked(features, labels, 0.0)
    check_tensor("centers", centers)
    if centers.ndim != 2 or wide.shape[1] != centers.shape[1]:
        raise ValueError(
            "features and centers must have as many columns; got "
            f"{tuple(features.shape)} and {tuple(centers.shape)}"
        )
    check_labels(labels, len(wide), len(centers))
    own = widen(centers).to(wide.dtype)[labels.long()]  # bytes would be a mask
    return 0.5 * (wide - own).square().sum(dim=1).mean()


class AlignmentLoss(nn.Module):
    """`alignment` as a module: call it with two batches of embeddings, paired by row.

    Parameters
    ----------
    alpha : float, default 2
    preset : {"paper", "reference"}, default "paper"
    """

    def __init__(self, alpha: float = 2.0, *, preset: Preset = "paper") -> None:
        super().__init__()
        check_at_least_one("alpha", alpha)
        check_preset(preset)
        self.alpha, self.preset = alpha, preset

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the loss of x and y, both (n, d)."""
        return alignment(x, y, alpha=self.alpha, preset=self.preset)

    def extra_repr(self) -> str:
        """Name the exponent."""
        return f"alpha={self.alpha:g}"


class _MarginLoss(nn.Module):
    def __init__(self, margin: float = 1.0) -> None:
        super().__init__()
        _check_margin(margin)
        self.margin = margin

    def extra_repr(self) -> str:
        """Name the margin."""
        return f"margin={self.margin:g}"


class ContrastiveLoss(_MarginLoss):
    """`contrastive` as a module: call it with features (n, d) and labels (n,).

    Parameters
    ----------
    margin : float, default 1
    """

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return the loss."""
        return contrastive(features, labels, margin=self.margin)


class TripletLoss(_MarginLoss):
    """`triplet` as a module: call it with features (n, d) and labels (n,).

    Parameters
    ----------
    margin : float, default 1
    """

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return the loss."""
        return triplet(features, labels, margin=self.margin)


class CenterLoss(nn.Module):
    r"""`center` with centres that are learned: call it with features (n, d) and labels (n,).

    Parameters
    ----------
    in_features, num_classes : int

    Notes
    -----
    The centres are a parameter, `centers`, learned by the optimizer; the paper moves them by a
    rate of their own, for which give them a parameter group.

    Examples
    --------
    >>> import torch
    >>> loss = CenterLoss(2, 3)
    >>> _ = torch.nn.init.zeros_(loss.centers)
    >>> loss(torch.ones(4, 2), torch.zeros(4, dtype=torch.long)).item()
    1.0
    """

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        whole("in_features", in_features, 1)
        whole("num_classes", num_classes, 1)
        self.centers = nn.Parameter(torch.empty(num_classes, in_features))
        nn.init.normal_(self.centers)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of features (n, d) with labels (n,)."""
        return center(features, labels, self.centers)

    def extra_repr(self) -> str:
        """State the sizes."""
        classes, features = self.centers.shape
        return f"{features}, {classes}"


def _check_margin(margin: float) -> None:
    check_number("margin", margin)
    if not 0 <= margin < math.inf:
        raise ValueError(
            f"margin must {'be finite' if margin > 0 else 'not be negative'}; got {margin}"
        )


def _checked(features: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Check shapes and widen half precision."""
    check_tensor("features", features)
    check_tensor("labels", labels)
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise ValueError(
            "features must have shape (n, d) and labels (n,); got "
            f"{tuple(features.shape)} and {tuple(labels.shape)}"
        )
    _check_margin(margin)
    return widen(features)
