"""Laws that depend on the angle to one axis."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from sphuni._arrays import like_caller
from sphuni._rng import numpy_generator
from sphuni._typing import Seed
from sphuni.distributions._sampling import (
    about_axis,
    angles,
    number,
    shape_of,
    tangent_normal,
    turned,
    uniform_rows,
)

__all__ = ["small_circle", "spherical_cauchy", "uniform_cap", "von_mises_fisher", "watson"]

_MOST_CONCENTRATED = 1e14


def von_mises_fisher(
    n: int,
    d: int,
    *,
    kappa: float,
    mu: ArrayLike | None = None,
    batch: int | tuple[int, ...] = (),
    rng: Seed = None,
    like: Tensor | None = None,
) -> Any:
    r"""Draw from the von Mises-Fisher law, density proportional to :math:`e^{\kappa \mu \cdot x}`.

    Parameters
    ----------
    n, d, batch, rng, like
        As in `random_points`.
    kappa : float
        Concentration, from 0 to 1e14; in R^d the mean cosine is about kappa / d for small kappa.
    mu : array_like of shape (d,), optional
        Mean direction, the last axis by default.

    Returns
    -------
    array of shape (..., n, d)

    Notes
    -----
    The angle to mu is drawn by inverting its distribution function, tabulated at 20,001 angles
    where it has mass: no rejection, and nothing underflows in any dimension.

    References
    ----------
    K. V. Mardia, P. E. Jupp, "Directional Statistics", Wiley, 1999, doi:10.1002/9780470316979.

    Examples
    --------
    >>> float(von_mises_fisher(2000, 3, kappa=50.0, rng=0)[:, 2].mean())  # coth(50) - 1/50
    0.98
    """
    kappa = _concentration(kappa)
    return about_axis(n, d, lambda t: kappa * t, mu=mu, fold=False, batch=batch, rng=rng, like=like)


def watson(
    n: int,
    d: int,
    *,
    kappa: float,
    mu: ArrayLike | None = None,
    batch: int | tuple[int, ...] = (),
    rng: Seed = None,
    like: Tensor | None = None,
) -> Any:
    r"""Draw from Watson's law, density proportional to :math:`e^{\kappa (\mu \cdot x)^2}`.

    Parameters
    ----------
    n, d, batch, rng, like
        As in `random_points`.
    kappa : float
        From -1e14 to 1e14. Positive: two opposite poles; negative: a girdle around the equator.
    mu : array_like of shape (d,), optional
        Axis, the last one by default.

    Returns
    -------
    array of shape (..., n, d)

    References
    ----------
    G. S. Watson, "Equatorial distributions on a sphere", Biometrika 52 (1965) 193-201,
    doi:10.1093/biomet/52.1-2.193.

    Examples
    --------
    >>> x = watson(1000, 3, kappa=100.0, rng=0)
    >>> float(abs(x[:, 2]).min()) > 0.9
    True
    """
    kappa = number("kappa", kappa)
    if not abs(kappa) <= _MOST_CONCENTRATED:
        raise ValueError(
            f"kappa must be a finite number, from {-_MOST_CONCENTRATED:g} to "
            f"{_MOST_CONCENTRATED:g}, beyond which cosines have too few digits; got {kappa}"
        )
    return about_axis(
        n, d, lambda t: kappa * t * t, mu=mu, fold=True, batch=batch, rng=rng, like=like
    )


def small_circle(
    n: int,
    d: int,
    *,
    kappa: float,
    nu: float,
    mu: ArrayLike | None = None,
    batch: int | tuple[int, ...] = (),
    rng: Seed = None,
    like: Tensor | None = None,
) -> Any:
    r"""Draw from the small-circle law, :math:`f \propto e^{-\kappa (\mu \cdot x - \nu)^2}`.

    Parameters
    ----------
    n, d, batch, rng, like
        As in `random_points`.
    kappa : float
        Concentration about the circle, from 0 to 1e14.
    nu : float
        Cosine of the circle's angle to mu, in [-1, 1].
    mu : array_like of shape (d,), optional
        Axis, the last one by default.

    Returns
    -------
    array of shape (..., n, d)

    References
    ----------
    C. Bingham, K. V. Mardia, "A small circle distribution on the sphere", Biometrika 65 (1978)
    379-389, doi:10.1093/biomet/65.2.379.

    Examples
    --------
    >>> float(small_circle(2000, 3, kappa=5000.0, nu=0.4, rng=0)[:, 2].mean())
    0.40
    """
    kappa, nu = _concentration(kappa), number("nu", nu)
    if not -1 <= nu <= 1:
        raise ValueError(f"nu must be a cosine in [-1, 1]; got {nu}")
    return about_axis(
        n, d, lambda t: -kappa * (t - nu) ** 2, mu=mu, fold=False, batch=batch, rng=rng, like=like
    )


def spherical_cauchy(
    n: int,
    d: int,
    *,
    rho: float,
    mu: ArrayLike | None = None,
    batch: int | tuple[int, ...] = (),
    rng: Seed = None,
    like: Tensor | None = None,
) -> Any:
    r"""Draw from the spherical Cauchy law, a heavy-tailed mode.

    The density is :math:`((1-\rho^2) / (1+\rho^2-2\rho\mu\cdot x))^{d-1}`.

    Parameters
    ----------
    n, d, batch, rng, like
        As in `random_points`.
    rho : float
        Concentration in [0, 1).
    mu : array_like of shape (d,), optional
        Mode, the last axis by default.

    Returns
    -------
    array of shape (..., n, d)

    Notes
    -----
    The image of uniform points under a Möbius map of the sphere, exactly.

    References
    ----------
    S. Kato, P. McCullagh, "Some properties of a Cauchy family on the sphere derived from the
    Möbius transformations", Bernoulli 26 (2020) 3224-3248, doi:10.3150/20-BEJ1222.
    """
    rho = number("rho", rho)
    if not 0 <= rho < 1:
        raise ValueError(f"rho must lie in [0, 1); got {rho}")
    rows = uniform_rows(shape_of(n, d, batch), numpy_generator(rng))
    centre = np.zeros(d)
    centre[-1] = rho
    moved = rows + centre
    moved *= (1.0 - rho**2) / np.sum(moved**2, axis=-1, keepdims=True)
    moved += centre
    # points from near -mu come through a difference that has few digits, also of their length
    moved /= np.linalg.norm(moved, axis=-1, keepdims=True)
    return like_caller(turned(moved, mu, d), like)


def uniform_cap(
    n: int,
    d: int,
    *,
    angle: float,
    mu: ArrayLike | None = None,
    batch: int | tuple[int, ...] = (),
    rng: Seed = None,
    like: Tensor | None = None,
) -> Any:
    """Draw uniform points of a spherical cap.

    Parameters
    ----------
    n, d, batch, rng, like
        As in `random_points`.
    angle : float
        Angular radius in radians, in (0, pi].
    mu : array_like of shape (d,), optional
        Centre, the last axis by default.

    Returns
    -------
    array of shape (..., n, d)

    Examples
    --------
    >>> bool((uniform_cap(100, 5, angle=0.3, rng=0)[:, 4] >= np.cos(0.3)).all())
    True
    """
    angle = number("angle", angle)
    if not 0 < angle <= np.pi:
        raise ValueError(f"angle must be a radius in (0, pi] radians; got {angle}")
    shape = shape_of(n, d, batch)
    generator = numpy_generator(rng)
    # through logarithms of the density: the measure of a cap underflows in moderate dimension
    theta = angles(np.zeros_like, d, generator.random(shape[:-1]), angle)
    return like_caller(turned(tangent_normal(theta, shape, generator), mu, d), like)


def _concentration(kappa: float) -> float:
    kappa = number("kappa", kappa)
    if not 0 <= kappa <= _MOST_CONCENTRATED:
        raise ValueError(
            f"kappa must be a concentration, from 0 to {_MOST_CONCENTRATED:g}, beyond which "
            f"cosines have too few digits; got {kappa}"
        )
    return kappa
