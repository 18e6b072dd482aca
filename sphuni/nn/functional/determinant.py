"""Maximum Gram determinant."""

import torch
from torch import Tensor

from sphuni._budget import require
from sphuni._numbers import finite
from sphuni.geometry.gram import cholesky_logdet
from sphuni.nn._directions import directions
from sphuni.nn._options import check_number
from sphuni.nn._precision import in_full_precision
from sphuni.nn._preset import Preset, check_preset, fixed_by_reference
from sphuni.nn.functional import _reference
from sphuni.pairwise import row_products

__all__ = ["mgd"]


@in_full_precision
def mgd(
    weight: Tensor,
    /,
    *,
    epsilon: float | Tensor = 1.0,
    half_space: bool = False,
    jitter: float = 1e-6,
    preset: Preset = "paper",
) -> Tensor:
    r"""Minus the log-determinant of the Gaussian Gram matrix; lower is more uniform.

    .. math:: -\log\det\big(\exp(-\textstyle\sum_c \epsilon_c^2
              (\hat w_{ic} - \hat w_{jc})^2) + \text{jitter}\; I\big)

    Parameters
    ----------
    weight : Tensor of shape (..., n, d)
        One neuron per row, any scale.
    epsilon : float or Tensor of shape (d,), default 1
        One width, or one per coordinate.
    half_space : bool, default False
        The matrix of the 2n rows {w, -w}, by two n x n factorisations.
    jitter : float, default 1e-6
        Added to the diagonal, always. With 0 a matrix that is singular to rounding gives +inf and
        a warning; a pair of equal rows does not make it so, since it is evaluated 1e-3 apart.
    preset : {"paper", "reference"}, default "paper"
        "reference" softens the norms by 1e-4 and fixes epsilon = 1, jitter = 1e-6.

    Returns
    -------
    Tensor of shape (...)

    Notes
    -----
    logdet of the 2n rows = logdet(K(G) + K(-G)) + logdet(K(G) - K(-G)). Computed in float64
    whatever the dtype; O(n^2 d + n^3) time, O(n^2) memory. Equals minus `sphuni.gram_logdet` of
    the directions for jitter 0. The optimum is the simplex for n <= d + 1, and any orthogonal set
    in half space for n <= d.

    References
    ----------
    W. Liu et al., "Learning with hyperspherical uniformity", AISTATS 2021. arXiv:2103.01649.

    Examples
    --------
    >>> import torch
    >>> float(mgd(5 * torch.eye(2), epsilon=30.0, jitter=0.0))
    -0.0
    """
    n, d = weight.shape[-2:]
    finite("jitter", jitter, 0.0)
    graph = torch.is_grad_enabled() and weight.requires_grad
    matrices = (17 if half_space else 11) if graph else 8  # at once, as measured
    require(
        8 * matrices * n * n * max(1, weight[..., 0, 0].numel()),
        None,
        what=f"the Gram matrix of n = {n} rows",
        remedy="pass a random part of the rows",
    )
    if check_preset(preset) == "reference":
        fixed_by_reference(epsilon=(epsilon, 1.0), jitter=(jitter, 1e-6))
        rows, jitter = _reference.softened(weight).double(), 1e-6
    else:
        if isinstance(epsilon, str) or not hasattr(epsilon, "__len__"):
            check_number("epsilon", epsilon)
        width = torch.as_tensor(epsilon, dtype=torch.float64, device=weight.device)
        if width.shape not in ((), (d,)) or not bool(((width > 0) & width.isfinite()).all()):
            raise ValueError(
                f"epsilon must be positive and finite, one number or one per coordinate (d = {d}); "
                f"got {epsilon}"
            )
        rows = directions(weight, half_space=half_space).double() * width
    diagonal = jitter * torch.eye(n, dtype=torch.float64, device=weight.device)
    gram = row_products(rows)
    own = rows.square().sum(-1)
    squares = own[..., :, None] + own[..., None, :]
    near = torch.exp(-(squares - 2 * gram).clamp_min(0))
    if not half_space:
        return -cholesky_logdet(near + diagonal, jitter=0.0).to(weight.dtype)
    far = torch.exp(-(squares + 2 * gram).clamp_min(0))
    even = cholesky_logdet(near + far + diagonal, jitter=0.0)
    odd = cholesky_logdet(near - far + diagonal, jitter=0.0)
    return -(even + odd).to(weight.dtype)
