"""Departures from uniformity by name, for `power`: all samplers are thin and seeded."""

import difflib
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from sphuni import distributions
from sphuni._arrays import like_caller
from sphuni._numbers import finite, whole
from sphuni._rng import numpy_generator
from sphuni._typing import Seed
from sphuni.distributions._sampling import about_axis, number, reflect, shape_of, uniform_rows, unit
from sphuni.kernels import Riesz
from sphuni.pairwise import pair_reduce
from sphuni.special import gegenbauer
from sphuni.sphere import project_tangent, unit_rows

__all__ = [
    "ALTERNATIVES",
    "antipodal_dependent",
    "bingham",
    "local_alternative",
    "minimum_energy",
    "von_mises_fisher_mixture",
]


def von_mises_fisher_mixture(
    n: int,
    d: int,
    *,
    kappa: float | Sequence[float],
    means: ArrayLike,
    weights: Sequence[float] | None = None,
    batch: int | tuple[int, ...] = (),
    rng: Seed = None,
    like: Tensor | None = None,
) -> Any:
    """Draw from a mixture of von Mises-Fisher laws about given directions.

    Parameters
    ----------
    n, d, batch, rng, like
        As in `sphuni.distributions.random_points`.
    kappa : float or sequence of k floats
        Concentration of the components.
    means : array_like of shape (k, d)
        Mean directions, of any length.
    weights : sequence of k floats, optional
        Shares of the components, equal by default; they are divided by their sum.

    Returns
    -------
    array of shape (..., n, d)

    Examples
    --------
    >>> x = von_mises_fisher_mixture(500, 2, kappa=500.0, means=[[1, 0], [0, 1]], rng=0)
    >>> bool((x.max(axis=1) > 0.9).all())
    True
    """
    centres = np.asarray(means, dtype=np.float64)
    if centres.ndim != 2 or centres.shape[1] != d or not centres.any(axis=1).all():
        raise ValueError(f"means must have shape (k, {d}) and no zero row; got {centres.shape}")
    if not np.isfinite(centres).all():
        raise ValueError(f"means must be finite to be directions; got {means!r}")
    centres = unit(centres)
    count = len(centres)
    shares = np.full(count, 1.0) if weights is None else np.asarray(weights, dtype=np.float64)
    each = np.asarray(kappa, dtype=np.float64)
    if each.shape not in ((), (1,), (count,)):
        raise ValueError(
            f"kappa must be one number or {count}, one for each mean; got shape {each.shape}"
        )
    spread = np.broadcast_to(each, (count,))
    if shares.shape != (count,) or np.any(shares < 0) or not 0 < shares.sum() < np.inf:
        raise ValueError(f"weights must be {count} shares, at least 0 and not all 0; got {weights}")
    generator = numpy_generator(rng)
    shape = shape_of(n, d, batch)
    chosen = generator.choice(count, size=shape[:-1], p=shares / shares.sum())
    rows = np.empty(shape)
    for index in range(count):
        mine = chosen == index
        drawn = distributions.von_mises_fisher(
            max(int(mine.sum()), 1), d, kappa=float(spread[index]), rng=generator
        )
        rows[mine] = drawn[: int(mine.sum())]
    return like_caller(reflect(rows, centres[chosen]), like)


def bingham(
    n: int,
    d: int,
    *,
    matrix: ArrayLike,
    batch: int | tuple[int, ...] = (),
    rng: Seed = None,
    like: Tensor | None = None,
) -> Any:
    r"""Draw from the Bingham law, density proportional to :math:`e^{x^T A x}`.

    Parameters
    ----------
    n, d, batch, rng, like
        As in `sphuni.distributions.random_points`.
    matrix : array_like of shape (d,) or (d, d)
        The symmetric matrix A, or its diagonal.

    Returns
    -------
    array of shape (..., n, d)

    Notes
    -----
    Rejection from an angular central Gaussian law that dominates it; more than 0.4 of the draws
    are accepted in moderate dimensions.

    References
    ----------
    J. T. Kent, A. M. Ganeiber, K. V. Mardia, "A new unified approach for the simulation of a wide
    class of directional distributions", Journal of Computational and Graphical Statistics 27 (2018)
    291-301, doi:10.1080/10618600.2017.1390468.

    Examples
    --------
    >>> x = bingham(2000, 3, matrix=[0.0, 0.0, -400.0], rng=0)
    >>> bool((abs(x[:, 2]) < 0.3).all())
    True
    """
    given = np.asarray(matrix, dtype=np.float64)
    if not np.isfinite(given).all():
        raise ValueError(f"matrix must be finite; got {matrix!r}")
    full = np.diag(given) if given.ndim == 1 else given
    if full.shape != (d, d) or not np.allclose(full, full.T):
        raise ValueError(
            f"matrix must be symmetric, of shape ({d}, {d}) or ({d},); got {given.shape}"
        )
    values, axes = np.linalg.eigh(-full)
    values = values - values[0]
    b = _root_of_shares(values, d)
    scale = 1.0 / np.sqrt(1.0 + 2.0 * values / b)
    log_bound = 0.5 * d * np.log(d / b) - 0.5 * (d - b)
    generator = numpy_generator(rng)
    shape = shape_of(n, d, batch)
    wanted = int(np.prod(shape[:-1]))
    kept = [np.empty((0, d))]
    found = 0
    while found < wanted:
        rows = generator.standard_normal((max(2 * (wanted - found), 64), d)) * scale
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        square = rows**2
        log_ratio = -square @ values + 0.5 * d * np.log(square @ (1.0 + 2.0 * values / b))
        accepted = rows[np.log(generator.random(len(rows))) < log_ratio - log_bound]
        kept.append(accepted)
        found += len(accepted)
    rows = np.concatenate(kept)[:wanted] @ axes.T
    return like_caller(np.ascontiguousarray(rows).reshape(shape), like)


def _root_of_shares(values: np.ndarray, d: int) -> float:
    """Solve sum 1 / (b + 2 values) = 1 for b in (0, d]."""
    from scipy import optimize

    def excess(b: float) -> float:
        return float(np.sum(1.0 / (b + 2.0 * values)) - 1.0)

    if excess(d) >= 0.0:  # values that are zero but for rounding
        return float(d)
    return float(optimize.brentq(excess, 1e-12, d))


def local_alternative(
    n: int,
    d: int,
    *,
    strength: float,
    weights: Sequence[float] = (1.0,),
    mu: ArrayLike | None = None,
    batch: int | tuple[int, ...] = (),
    rng: Seed = None,
    like: Tensor | None = None,
) -> Any:
    r"""Draw from a density close to uniform, :math:`1 + \epsilon \sum_k w_k P_k(\mu \cdot x)`.

    P_k is the Gegenbauer polynomial with value 1 at 1. The finite Sobolev test with weight on one
    degree is the locally most powerful invariant test against that degree.

    Parameters
    ----------
    n, d, batch, rng, like
        As in `sphuni.distributions.random_points`.
    strength : float
        The factor epsilon; the density, relative to uniform, must not be negative anywhere.
    weights : sequence of float, default (1,)
        w_1, w_2, ...
    mu : array_like of shape (d,), optional
        Axis, the last one by default.

    Returns
    -------
    array of shape (..., n, d)

    References
    ----------
    E. García-Portugués, P. Navarro-Esteban, J. A. Cuesta-Albertos, "On a projection-based class of
    uniformity tests on the hypersphere", Bernoulli 29 (2023) 181-204, doi:10.3150/21-BEJ1454.

    Examples
    --------
    >>> x = local_alternative(200_000, 3, strength=0.6, rng=0)
    >>> round(float(x[:, 2].mean()), 1)  # strength / d
    0.2
    """
    factors, strength = np.asarray(weights, dtype=np.float64), finite("strength", strength)
    if factors.ndim != 1 or not factors.size or not np.isfinite(factors).all():
        raise ValueError(f"weights must be finite numbers w_1, w_2, ...; got {weights!r}")

    def density(t: np.ndarray) -> np.ndarray:
        degrees = gegenbauer(factors.size, t, d)
        return np.asarray(1.0 + strength * np.tensordot(factors, degrees[1:], axes=1))

    least = float(density(np.linspace(-1.0, 1.0, 2001)).min())
    if least < -1e-9:
        raise ValueError(
            f"strength {strength} makes the density negative ({least:.3g} at its least); "
            "take a strength closer to 0"
        )

    def log_density(t: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return np.log(np.maximum(density(t), 1e-300))

    return about_axis(n, d, log_density, mu=mu, fold=False, batch=batch, rng=rng, like=like)


def antipodal_dependent(
    n: int,
    d: int,
    *,
    kappa: float,
    batch: int | tuple[int, ...] = (),
    rng: Seed = None,
    like: Tensor | None = None,
) -> Any:
    """Draw uniform points of which every second one lies near the antipode of the one before.

    Parameters
    ----------
    n, d, batch, rng, like
        As in `sphuni.distributions.random_points`.
    kappa : float
        Concentration of the second point about the antipode: 0 for independence, inf for exact
        antipodes.

    Returns
    -------
    array of shape (..., n, d)

    Notes
    -----
    Each point by itself is uniform; only the pairs are not independent.

    Examples
    --------
    >>> x = antipodal_dependent(6, 3, kappa=np.inf, rng=0)
    >>> bool((x[::2] == -x[1::2]).all())
    True
    """
    if not number("kappa", kappa) >= 0:
        raise ValueError(f"kappa must be a concentration, at least 0; got {kappa}")
    generator = numpy_generator(rng)
    shape = shape_of(n, d, batch)
    half = (n + 1) // 2
    first = uniform_rows((*shape[:-2], half, d), generator)
    second = -first
    if np.isfinite(kappa):
        near = distributions.von_mises_fisher(half, d, kappa=kappa, batch=shape[:-2], rng=generator)
        second = reflect(near, second)
    rows = np.stack([first, second], axis=-2).reshape(*shape[:-2], 2 * half, d)
    return like_caller(np.ascontiguousarray(rows[..., :n, :]), like)


def minimum_energy(
    n: int,
    d: int,
    *,
    steps: int = 10,
    s: float = 1.0,
    batch: int | tuple[int, ...] = (),
    rng: Seed = None,
    like: Tensor | None = None,
) -> Any:
    """Draw uniform points and let them repel each other for a number of steps.

    Parameters
    ----------
    n, d, batch, rng, like
        As in `sphuni.distributions.random_points`; n at least 2.
    steps : int, default 10
        Steps of steepest descent of the Riesz energy: 0 leaves uniform points, many approach the
        minimum of the energy.
    s : float, default 1
        Exponent of the energy.

    Returns
    -------
    array of shape (..., n, d)

    Notes
    -----
    In each step the fastest point moves by a fifth of the mean distance between neighbours, less
    as the steps go on. This is what a minimum-energy regularizer does to the rows of a layer.

    References
    ----------
    W. Liu et al., "Learning towards minimum hyperspherical energy", Advances in Neural Information
    Processing Systems 31 (2018), arXiv:1805.09298.

    Examples
    --------
    >>> x = minimum_energy(4, 3, steps=200, rng=0)
    >>> round(float((x @ x.T)[0, 1:].mean()), 2)  # a tetrahedron
    -0.33
    """
    if n < 2 or whole("steps", steps) < 0:
        raise ValueError(f"n must be at least 2 and steps at least 0; got n = {n}, steps = {steps}")
    x = torch.from_numpy(distributions.random_points(n, d, batch=batch, rng=rng))
    kernel = Riesz(s)
    spacing = 2.0 * n ** (-1.0 / (d - 1))
    for step in range(steps):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            energy = pair_reduce(x, kernel=kernel).sum()
            (slope,) = torch.autograd.grad(energy, x)
        # slopes beyond the range of numbers end at the largest
        beyond = bool(slope.abs().max() >= torch.finfo(slope.dtype).max)
        if beyond or not math.isfinite(energy.detach()):
            raise ValueError(f"s = {s:g} is so steep that the energy of close points overflows")
        force = project_tangent(x.detach(), -slope)
        fastest = force.norm(dim=-1).amax(-1)[..., None, None].clamp(min=1e-300)
        x = unit_rows(x.detach() + 0.2 * spacing / (1.0 + 0.1 * step) * force / fastest)
    return like_caller(x.detach().numpy(), like)


ALTERNATIVES: dict[str, Callable[..., Any]] = {
    "uniform": distributions.random_points,
    "von_mises_fisher": distributions.von_mises_fisher,
    "von_mises_fisher_mixture": von_mises_fisher_mixture,
    "clusters": distributions.clusters,
    "watson": distributions.watson,
    "angular_central_gaussian": distributions.angular_central_gaussian,
    "bingham": bingham,
    "small_circle": distributions.small_circle,
    "spherical_cauchy": distributions.spherical_cauchy,
    "uniform_cap": distributions.uniform_cap,
    "local_alternative": local_alternative,
    "antipodal_dependent": antipodal_dependent,
    "spherical_ensemble": distributions.spherical_ensemble,
    "haar_blocks": distributions.haar_blocks,
    "minimum_energy": minimum_energy,
}
"""Samplers ``(n, d, *, batch, rng, **parameters)`` by the names that `power` takes."""


def find(alternative: str | Callable[..., Any]) -> tuple[Callable[..., Any], str]:
    """Return a sampler and its name, naming the nearest ones if there is none."""
    if not isinstance(alternative, str):
        return alternative, getattr(alternative, "__name__", type(alternative).__name__)
    if alternative not in ALTERNATIVES:
        near = difflib.get_close_matches(alternative, ALTERNATIVES, n=3, cutoff=0.4)
        hint = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
        raise ValueError(
            f"alternative must be one of {', '.join(ALTERNATIVES)}, or a function; "
            f"got {alternative!r}. {hint}".rstrip()
        )
    return ALTERNATIVES[alternative], alternative
