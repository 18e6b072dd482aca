"""Uniformity of features: losses on a batch of embeddings."""

import torch
from torch import Tensor

from sphuni._numbers import finite
from sphuni.geometry.separation import nearest_distances
from sphuni.kernels import Gaussian, Kernel
from sphuni.nn._directions import directions, unit
from sphuni.nn._options import check_at_least_one
from sphuni.nn._pair_mean import PairMean, pair_mean
from sphuni.nn._precision import check_weight, in_full_precision, nothing, widen
from sphuni.nn._preset import Preset, check_preset, fixed_by_reference
from sphuni.nn.functional import _reference
from sphuni.sphere import root

__all__ = ["alignment", "koleo", "uniformity", "uniformity_mean"]

_FLOOR = 1e-8


@in_full_precision
def uniformity(
    features: Tensor,
    /,
    *,
    t: float = 2.0,
    half_space: bool = False,
    preset: Preset = "paper",
) -> Tensor:
    r"""Uniformity loss of Wang and Isola; lower is more uniform.

    .. math:: \log \frac{2}{n(n-1)} \sum_{i<j} e^{-t |x_i - x_j|^2}

    Parameters
    ----------
    features : Tensor of shape (..., n, d)
        One embedding per row, any scale: rows are normalised.
    t : float, default 2
        In (0, 100].
    half_space : bool, default False
        Pairs of x and -x too: the kernel K(c) + K(-c), halved.
    preset : {"paper", "reference"}, default "paper"
        "reference": rows as they are, which the authors' code takes for normalised.

    Returns
    -------
    Tensor of shape (...)
        Between -4t and 0. Zero for n = 1.

    Notes
    -----
    O(n^2 d) time, O(n d) memory.

    References
    ----------
    T. Wang, P. Isola, "Understanding contrastive representation learning through alignment and
    uniformity on the hypersphere", ICML 2020. arXiv:2005.10242.

    Examples
    --------
    >>> import torch
    >>> float(uniformity(torch.eye(3), t=2.0))
    -4.0
    """
    n, t = features.shape[-2], finite("t", t)
    if not 0 < t <= 100:
        raise ValueError(f"t must lie in (0, 100]; got {t}")
    if n == 1:
        return nothing(features)
    if check_preset(preset) == "reference":
        fixed_by_reference(half_space=(half_space, False))
        return _reference.log_gaussian_mean(features.double(), t).to(features.dtype)
    return pair_mean(features, uniformity_mean(n, features.dtype, t=t, half_space=half_space))


def uniformity_mean(
    n: int, dtype: torch.dtype, *, t: float = 2.0, half_space: bool = False
) -> PairMean:
    """What `uniformity` takes of the pairs of n >= 2 rows of any type, in float64."""
    kernel: Kernel = Gaussian(t**0.5)
    used = kernel.antipodal() if half_space else kernel
    factor = 1 / (n * (n - 1) * (1.0 if half_space else 0.5))
    return PairMean(used, half_space, torch.float64, factor, logarithm=True)


def alignment(x: Tensor, y: Tensor, /, *, alpha: float = 2.0, preset: Preset = "paper") -> Tensor:
    r"""Alignment loss of Wang and Isola: mean of ``|x_i - y_i|^alpha``; lower is better.

    Parameters
    ----------
    x, y : Tensors of shape (..., n, d)
        Embeddings of positive pairs, row by row, any scale: rows are normalised.
    alpha : float, default 2
        At least 1.
    preset : {"paper", "reference"}, default "paper"
        "reference": rows as they are, which the authors' code takes for normalised.

    Returns
    -------
    Tensor of shape (...)

    References
    ----------
    T. Wang, P. Isola, "Understanding contrastive representation learning through alignment and
    uniformity on the hypersphere", ICML 2020. arXiv:2005.10242.

    Examples
    --------
    >>> import torch
    >>> float(alignment(torch.eye(2), -3 * torch.eye(2)))
    4.0
    """
    check_weight(x, "x")
    check_weight(y, "y")
    if x.shape != y.shape:
        raise ValueError(
            f"x and y must hold one pair per row; got {tuple(x.shape)} and {tuple(y.shape)}"
        )
    check_at_least_one("alpha", alpha)
    with torch.autocast(x.device.type, enabled=False):
        used = widen if check_preset(preset) == "reference" else unit
        difference = used(x) - used(y)
        squared = difference.square().sum(-1)
        return (squared if alpha == 2 else root(squared) ** alpha).mean(-1)


@in_full_precision
def koleo(features: Tensor, /, *, floor: float = _FLOOR, preset: Preset = "paper") -> Tensor:
    r"""Kozachenko-Leonenko entropy loss; lower is more spread out.

    .. math:: -\frac1n \sum_i \log \min_{j \ne i} |x_i - x_j|

    Parameters
    ----------
    features : Tensor of shape (..., n, d)
        One embedding per row, any scale: rows are normalised.
    floor : float, default 1e-8
        Added to the distances; at least 0.
    preset : {"paper", "reference"}, default "paper"
        "reference": as in the authors' code the logarithm is that of n times the distance, to
        the row of largest inner product, with rows as they are and `floor` fixed at 1e-6.

    Returns
    -------
    Tensor of shape (...)
        Zero for n = 1.

    Notes
    -----
    O(n^2 d) time, O(n d) memory. Equal rows are evaluated 1e-3 apart, as in `mhe`.

    References
    ----------
    A. Sablayrolles, M. Douze, C. Schmid, H. Jegou, "Spreading vectors for similarity search",
    ICLR 2019. arXiv:1806.03198.

    Examples
    --------
    >>> import torch
    >>> round(float(koleo(torch.cat([torch.eye(2), -torch.eye(2)]))), 6)
    -0.346574
    """
    finite("floor", floor, 0)
    if features.shape[-2] == 1:
        return nothing(features)
    if check_preset(preset) == "reference":
        fixed_by_reference(floor=(floor, _FLOOR))
        return _reference.entropy(features)
    distance, _ = nearest_distances(directions(features), metric="chordal")
    return -(distance + floor).log().mean(dim=-1)
