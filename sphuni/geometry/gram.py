"""Log-determinants of kernel Gram matrices, and the one safe Cholesky factorisation."""

import warnings

import torch
from torch import Tensor

from sphuni._arrays import array_function, check_points, widen
from sphuni._budget import require
from sphuni._errors import NotPositiveDefiniteError, NumericalWarning
from sphuni._numbers import finite
from sphuni.kernels import Gaussian, GegenbauerSeries, Kernel, check_kernel
from sphuni.pairwise import gram_bytes, gram_matrix

__all__ = ["cholesky_logdet", "gram_logdet", "safe_factor", "terms_of"]

_TRIES = 4
_ROUNDING = 16
_ITERATIONS = 3


@array_function()
def gram_logdet(
    points: Tensor,
    /,
    *,
    kernel: Kernel = Gaussian(1.0),  # noqa: B008  (frozen, so it cannot be changed by a call)
    jitter: float = 0.0,
    antipodal: bool = False,
    max_bytes: int | str | None = None,
) -> Tensor:
    """Log-determinant of the kernel Gram matrix; higher is more uniform.

    Parameters
    ----------
    points : array of shape (..., n, d)
        Unit rows.
    kernel : Kernel, default Gaussian(1.0)
        Bounded and positive definite; `Dirichlet(degree)` gives Womersley's extremal points.
    jitter : float, default 0
        Where the factorisation fails, this multiple of K(1) is added to the diagonal, then ten
        times as much, three times at most; a `NumericalWarning` states the amount. With 0 nothing
        is added: a numerically singular Gram matrix (coincident points, more points than a
        polynomial kernel has dimensions) has log-determinant -inf.
    antipodal : bool, default False
        The Gram matrix of the 2n points {x, -x}, by two n x n factorisations.
    max_bytes : int or str, optional
        Memory limit: at least 8 n x n matrices, twice that for `antipodal` and about three times
        where a gradient is wanted, must fit at once. The refusal names the size.

    Returns
    -------
    array of shape (...)

    Raises
    ------
    ValueError
        If the kernel is unbounded at coincident points.
    BudgetError
        If the matrices do not fit.
    NotPositiveDefiniteError
        If the largest jitter did not suffice.

    Notes
    -----
    logdet of the 2n points = logdet(K(G) + K(-G)) + logdet(K(G) - K(-G)) with G the n x n matrix
    of inner products. O(n^2 d + n^3) time, O(n^2) memory. Sets with -inf have a zero gradient.

    References
    ----------
    W. Liu et al., "Learning with hyperspherical uniformity", AISTATS 2021. arXiv:2103.01649.
    I. H. Sloan, R. S. Womersley, "Extremal systems of points and numerical integration on the
    sphere", Adv. Comput. Math. 21, 2004, 107-125. doi:10.1023/B:ACOM.0000016428.25905.da.

    Examples
    --------
    >>> import numpy as np, sphuni
    >>> float(sphuni.gram_logdet(np.eye(2), kernel=sphuni.GegenbauerSeries((0.0, 1.0), d=2)))
    0.0
    """
    check_points(points)
    check_kernel(kernel)
    finite("jitter", jitter, 0.0)
    if kernel.at_one == float("inf"):
        raise ValueError(f"kernel must be bounded at coincident points; {kernel.label} is not")
    wide = widen(points)
    require(
        (2 if antipodal else 1) * gram_bytes(wide, kernel),
        max_bytes,
        what=f"the Gram matrix of n = {points.shape[-2]} points",
        remedy="use a subset of the points or raise max_bytes",
    )
    near = gram_matrix(wide, kernel)
    terms = terms_of(kernel)
    if not antipodal:
        return cholesky_logdet(near, jitter=jitter, terms=terms).to(points.dtype)
    far = gram_matrix(wide, kernel, opposite=True)
    parts = (near + far, near - far)
    halves = (cholesky_logdet(part, jitter=jitter, terms=terms) for part in parts)
    return sum(halves, start=wide.new_zeros(())).to(points.dtype)


def cholesky_logdet(matrix: Tensor, *, jitter: float, terms: int = 1) -> Tensor:
    """Log-determinant of symmetric positive definite matrices (..., n, n).

    The only Cholesky factorisation of the library: `jitter`, relative to the mean diagonal, acts
    only where the plain factorisation fails and never silently; see `gram_logdet`. Entries are
    sums of so many `terms`, each of which has its rounding.
    """
    factor, failed = safe_factor(matrix, terms)
    if bool(failed.any()):
        if jitter == 0:
            return _logdet_or_minus_infinity(matrix, failed)
        factor = _factor_with_jitter(matrix, failed, jitter, terms)
    return 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)


def terms_of(kernel: Kernel) -> int:
    """How many terms a kernel's value is the sum of."""
    return len(kernel.coefficients) if isinstance(kernel, GegenbauerSeries) else 1


def safe_factor(matrix: Tensor, terms: int = 1) -> tuple[Tensor, Tensor]:
    """Cholesky factors, and which matrices have none or an eigenvalue that is all rounding.

    The pivots do not tell: the last one of a singular matrix is rounding times the condition
    number of the others.
    """
    factor, info = torch.linalg.cholesky_ex(matrix)
    scale = matrix.detach().diagonal(dim1=-2, dim2=-1).mean(dim=-1)
    limit = _ROUNDING * terms * torch.finfo(matrix.dtype).eps * scale
    return factor, (info > 0) | ~(_least_eigenvalue(factor.detach()) >= limit)


def _least_eigenvalue(factor: Tensor) -> Tensor:
    """The least eigenvalue of L L^T, from above, by inverse iteration from the smallest pivot."""
    least = factor.diagonal(dim1=-2, dim2=-1).argmin(dim=-1)
    vector = torch.nn.functional.one_hot(least, factor.shape[-1]).to(factor)[..., None]
    size = torch.ones_like(vector[..., :1, :])
    for _ in range(_ITERATIONS):
        vector = torch.cholesky_solve(vector / size, factor)
        size = torch.linalg.vector_norm(vector, dim=-2, keepdim=True)
    return 1 / size[..., 0, 0]


def _logdet_or_minus_infinity(matrix: Tensor, failed: Tensor) -> Tensor:
    warnings.warn(
        "the Gram matrix is numerically singular (coincident points, or a kernel too flat for "
        "this precision): its log-determinant is -inf; pass jitter > 0 for a finite value",
        NumericalWarning,
        stacklevel=6,
    )
    identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    factor, _ = torch.linalg.cholesky_ex(torch.where(failed[..., None, None], identity, matrix))
    value = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
    return value.masked_fill(failed, -torch.inf)


def _factor_with_jitter(matrix: Tensor, failed: Tensor, jitter: float, terms: int) -> Tensor:
    identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    scale = matrix.detach().diagonal(dim1=-2, dim2=-1).mean(dim=-1)
    added = torch.zeros_like(scale)
    for attempt in range(_TRIES):
        added = torch.where(failed, scale * jitter * 10**attempt, added)
        factor, failed = safe_factor(matrix + added[..., None, None] * identity, terms)
        if not bool(failed.any()):
            warnings.warn(
                f"added up to {added.max().item():.3g} to the diagonal of a Gram matrix that was "
                "not positive definite; its log-determinant is changed by that",
                NumericalWarning,
                stacklevel=6,
            )
            return factor
    raise NotPositiveDefiniteError(
        f"a Gram matrix is not positive definite even with {added.max().item():.3g} added to its "
        "diagonal; the kernel may not be positive definite on this sphere, or raise jitter"
    )
