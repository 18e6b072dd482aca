"""Soft orthogonality and its relatives: penalties on the Gram matrix of the weight itself."""

import torch
from torch import Tensor

from sphuni._numbers import whole
from sphuni._rng import torch_generator
from sphuni._typing import Seed
from sphuni.nn._directions import directions, parted, unit
from sphuni.nn._precision import in_full_precision, nothing
from sphuni.nn._preset import Preset, check_preset, fixed_by_reference
from sphuni.nn.functional import _reference
from sphuni.pairwise import nearest, row_products
from sphuni.sphere import root, unit_rows

__all__ = ["dso", "mutual_coherence", "orthogonal", "so", "srip"]

_STEPS = 2


@in_full_precision
def so(weight: Tensor, /, *, normalize: bool = False, preset: Preset = "paper") -> Tensor:
    r"""Soft orthogonality, ``|W W^T - I|_F^2`` of the smaller Gram matrix.

    Parameters
    ----------
    weight : Tensor of shape (..., n, d)
        One neuron per row. For n > d the d x d matrix W^T W is used.
    normalize : bool, default False
        Use directions. Without it the penalty also drives every norm to one.
    preset : {"paper", "reference"}, default "paper"
        "reference": of the n x n matrix also for n > d, as in the code of SphereNet, which adds
        n - d and changes no gradient; rows as they are.

    Returns
    -------
    Tensor of shape (...)
        Zero exactly at orthonormal rows (columns, for n > d).

    References
    ----------
    N. Bansal, X. Chen, Z. Wang, "Can we gain more from orthogonality regularizations in training
    deep CNNs?", NeurIPS 2018. arXiv:1810.09102.

    Examples
    --------
    >>> import torch
    >>> float(so(2 * torch.eye(3)))
    27.0
    """
    if check_preset(preset) == "reference":
        fixed_by_reference(normalize=(normalize, False))
        n, d = weight.shape[-2:]
        return _residual(weight).square().sum(dim=(-2, -1)) + max(0, n - d)
    return _residual(_rows(weight, normalize)).square().sum(dim=(-2, -1))


@in_full_precision
def dso(weight: Tensor, /, *, normalize: bool = False, preset: Preset = "paper") -> Tensor:
    r"""Double soft orthogonality, ``|W W^T - I|_F^2 + |W^T W - I|_F^2``.

    Parameters
    ----------
    weight : Tensor of shape (..., n, d)
        One neuron per row.
    normalize : bool, default False
        Use directions.
    preset : {"paper", "reference"}, default "paper"
        The authors published no code of it; "reference" is the definition on rows as they are.

    Returns
    -------
    Tensor of shape (...)
        The larger Gram matrix is never formed: the two terms differ by ``|n - d|``.

    References
    ----------
    N. Bansal, X. Chen, Z. Wang, "Can we gain more from orthogonality regularizations in training
    deep CNNs?", NeurIPS 2018. arXiv:1810.09102.

    Examples
    --------
    >>> import torch
    >>> float(dso(torch.eye(2, 5)))
    3.0
    """
    if check_preset(preset) == "reference":
        fixed_by_reference(normalize=(normalize, False))
    rows = _rows(weight, normalize)
    n, d = rows.shape[-2:]
    return 2 * _residual(rows).square().sum(dim=(-2, -1)) + abs(n - d)


@in_full_precision
def orthogonal(weight: Tensor, /, *, preset: Preset = "paper") -> Tensor:
    """Mean squared cosine over the pairs of rows; zero exactly for orthogonal directions.

    Parameters
    ----------
    weight : Tensor of shape (..., n, d)
        One neuron per row, any scale.
    preset : {"paper", "reference"}, default "paper"
        This form is sphuni's own, so both are the same.

    Returns
    -------
    Tensor of shape (...)
        Lower is better; scale-free, so that one coefficient serves layers of any size. For n > d
        the least value is (n/d - 1)/(n - 1), at tight frames.

    Examples
    --------
    >>> import torch
    >>> float(orthogonal(torch.tensor([[1.0, 0.0], [3.0, 3.0]])))
    0.5
    """
    check_preset(preset)
    n, d = weight.shape[-2:]
    if n == 1:
        return nothing(weight)
    rows = unit(parted(weight))
    gram = row_products(rows if n <= d else rows.mT)
    own = rows.square().sum(-1).square().sum(-1)
    return (gram.square().sum(dim=(-2, -1)) - own).clamp_min(0) / (n * (n - 1))


@in_full_precision
def mutual_coherence(weight: Tensor, /, *, preset: Preset = "paper") -> Tensor:
    """Largest absolute cosine between two rows; lower is better.

    Parameters
    ----------
    weight : Tensor of shape (..., n, d)
        One neuron per row, any scale.
    preset : {"paper", "reference"}, default "paper"
        "reference": the largest entry of ``|W W^T - I|`` of the rows as they are.

    Returns
    -------
    Tensor of shape (...)
        Only the worst pair has a gradient. Zero for n = 1 ("paper").

    References
    ----------
    N. Bansal, X. Chen, Z. Wang, "Can we gain more from orthogonality regularizations in training
    deep CNNs?", NeurIPS 2018. arXiv:1810.09102.

    Examples
    --------
    >>> import torch
    >>> round(float(mutual_coherence(torch.tensor([[1.0, 0.0], [3.0, 4.0]]))), 6)
    0.6
    """
    if check_preset(preset) == "reference":
        return _reference.coherence(weight)
    if weight.shape[-2] == 1:
        return nothing(weight)
    rows = directions(weight, half_space=True)
    index = nearest(rows.detach(), k=1, antipodal=True).index[..., 0]
    other = rows.gather(-2, index[..., None].expand(rows.shape))
    return (rows * other).sum(-1).abs().amax(dim=-1)


@in_full_precision
def srip(
    weight: Tensor,
    /,
    *,
    n_power_iterations: int = _STEPS,
    exact: bool = False,
    normalize: bool = False,
    rng: Seed = 0,
    preset: Preset = "paper",
) -> Tensor:
    """Spectral restricted isometry penalty: the spectral norm of the smaller W W^T - I.

    Parameters
    ----------
    weight : Tensor of shape (..., n, d)
        One neuron per row.
    n_power_iterations : int, default 2
        Steps of the power method from a random start; the estimate is from below.
    exact : bool, default False
        The norm itself, by eigenvalues.
    normalize : bool, default False
        Use directions.
    rng : int, Generator or None, default 0
        For the random start.
    preset : {"paper", "reference"}, default "paper"
        "reference": one step from a positive start, squared, of rows as they are. That is about
        0.7 of the norm for a 64 x 576 layer at initialisation.

    Returns
    -------
    Tensor of shape (...)

    References
    ----------
    N. Bansal, X. Chen, Z. Wang, "Can we gain more from orthogonality regularizations in training
    deep CNNs?", NeurIPS 2018. arXiv:1810.09102.

    Examples
    --------
    >>> import torch
    >>> float(srip(torch.diag(torch.tensor([1.0, 2.0])), exact=True))
    3.0
    """
    reference = check_preset(preset) == "reference"
    if reference:
        fixed_by_reference(
            n_power_iterations=(n_power_iterations, _STEPS),
            exact=(exact, False),
            normalize=(normalize, False),
        )
    steps = whole("n_power_iterations", n_power_iterations, 1)
    residual = _residual(_rows(weight, normalize))
    if exact:
        return torch.linalg.eigvalsh(residual).abs().amax(dim=-1)
    size = residual.shape[-1]
    start = torch.rand(size, generator=torch_generator(rng), dtype=torch.float64, device="cpu")
    vector = (start if reference else start - 0.5).to(residual).expand(residual.shape[:-1])
    for _ in range(1 if reference else steps):
        vector = unit_rows((residual @ vector[..., None])[..., 0])
    squared = (residual @ vector[..., None]).square().sum(dim=(-2, -1))
    return squared if reference else root(squared)


def _rows(weight: Tensor, normalize: bool) -> Tensor:
    """Directions, or the rows as they are; either way equal lines are kicked apart."""
    return directions(weight, half_space=True) if normalize else parted(weight)


def _residual(rows: Tensor) -> Tensor:
    """The smaller Gram matrix minus the identity."""
    n, d = rows.shape[-2:]
    gram = row_products(rows if n <= d else rows.mT)
    return gram - torch.eye(gram.shape[-1], dtype=rows.dtype, device=rows.device)
