"""The limit law of the singular values of random directions."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["marchenko_pastur"]

_GRID = 4096


def marchenko_pastur(rank: NDArray[np.float64], n: int, d: int) -> NDArray[np.float64]:
    """Singular values of n uniform unit rows in R^d, in the limit of large n and d.

    Parameters
    ----------
    rank : array
        Where among the min(n, d) values: from 0 (the largest) to 1 (the smallest).
    n, d : int

    Returns
    -------
    array
        Same shape as `rank`.

    Notes
    -----
    With y = min(n/d, d/n) the eigenvalues are max(1, n/d) (1 + y + 2 sqrt(y) cos(phi)), where phi
    has density proportional to sin(phi)^2 / (1 + y + 2 sqrt(y) cos(phi)) on [0, pi].

    References
    ----------
    V. A. Marchenko, L. A. Pastur, "Distribution of eigenvalues for some sets of random matrices",
    Math. USSR Sbornik 1, 1967, 457-483. doi:10.1070/SM1967v001n04ABEH001994.

    Examples
    --------
    >>> import numpy as np
    >>> marchenko_pastur(np.array([0.0, 1.0]), 100, 400)
    array([1.5, 0.5])
    """
    y = min(n / d, d / n)
    phi = np.linspace(0.0, np.pi, _GRID + 1)
    middle = 0.5 * (phi[1:] + phi[:-1])
    weight = np.sin(middle) ** 2 / (1.0 + y + 2.0 * np.sqrt(y) * np.cos(middle))
    grid = np.concatenate([[0.0], np.cumsum(weight)])
    eigenvalues = np.maximum(1.0 + y + 2.0 * np.sqrt(y) * np.cos(phi), 0.0)
    values = np.sqrt(max(1.0, n / d) * eigenvalues)
    return np.asarray(np.interp(rank, grid / grid[-1], values))
