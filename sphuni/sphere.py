"""Points on the sphere: normalising, distances, tangent maps, rotations."""

import torch
from torch import Tensor

from sphuni._arrays import array_function, check_finite, check_points, widen
from sphuni._numbers import whole
from sphuni._rng import torch_generator
from sphuni._typing import Array, Seed

__all__ = [
    "angles",
    "chordal_distance",
    "closer_side",
    "exponential_map",
    "float64_rows",
    "geodesic_distance",
    "normalize",
    "project_tangent",
    "random_rotation",
    "root",
    "tangent_rows",
    "unit_rows",
]


@array_function()
def normalize(x: Tensor, /) -> Tensor:
    """Scale every row of `x` to unit Euclidean norm.

    Parameters
    ----------
    x : array of shape (..., d)
        Any finite rows but zero ones. Rows are first divided by their largest entry, so norms
        from 1e-40 to 1e38 neither underflow nor overflow.

    Returns
    -------
    array of shape (..., d)
        Unit rows, same library and dtype.

    Raises
    ------
    ValueError
        If a row is zero or an entry is not finite; the row is named.

    Examples
    --------
    >>> import sphuni
    >>> sphuni.normalize([[3.0, 4.0]])
    array([[0.6, 0.8]])
    """
    check_finite(x, name="x")
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"x must have shape (..., d) with d >= 1; got {tuple(x.shape)}")
    largest = x.detach().abs().amax(dim=-1)
    if bool((largest == 0).any()):
        row = tuple(torch.nonzero(largest == 0)[0].tolist())
        raise ValueError(
            f"x[{', '.join(map(str, row))}] is a zero row and has no direction; drop it"
        )
    return unit_rows(x)


def unit_rows(x: Tensor) -> Tensor:
    """Normalise rows without checks; zero rows stay zero with a zero gradient."""
    wide = widen(x)
    largest = wide.detach().abs().amax(dim=-1, keepdim=True)
    zero = largest == 0
    scaled = wide / torch.where(zero, torch.ones_like(largest), largest)
    squared = scaled.square().sum(dim=-1, keepdim=True).masked_fill(zero, 1.0)
    return (scaled * squared.rsqrt().masked_fill(zero, 0.0)).to(x.dtype)


def float64_rows(x: Tensor) -> Tensor:
    """Unit rows in float64, of unit length to its precision.

    For sums that cancel and for close points: the norms of narrower rows are 1 only to their own
    roundings, which would count. Derivatives are tangent ones whatever the dtype of `x`.
    """
    return tangent_rows(x) if x.dtype == torch.float64 else unit_rows(x.double())


def tangent_rows(x: Tensor) -> Tensor:
    """Unit rows as they are, with the derivatives of x / |x|.

    Their own roundings are kept: to divide by the norms would cost close pairs their digits.
    """
    if not (x.requires_grad and torch.is_grad_enabled()):
        return x
    unit = unit_rows(x)
    return unit + (x - unit).detach()


@array_function("y")
def chordal_distance(x: Tensor, y: Array, /) -> Tensor:
    """Return the straight-line distance between points of the sphere, in [0, 2].

    Parameters
    ----------
    x, y : arrays of shape (..., d), broadcast against each other
        Unit vectors.

    Returns
    -------
    array of shape (...)

    Notes
    -----
    By differences, so it is accurate to a few units in the last place for close points too. The
    gradient is the tangent one, and zero at coincident points.
    """
    _check_rows(x, y)
    return _norm(tangent_rows(widen(x)) - tangent_rows(widen(y))).to(x.dtype)


@array_function("y")
def geodesic_distance(x: Tensor, y: Array, /) -> Tensor:
    r"""Return the angle between points of the sphere, in radians, in [0, pi].

    .. math:: \theta = 2\,\mathrm{atan2}(|x - y|, |x + y|)

    Parameters
    ----------
    x, y : arrays of shape (..., d), broadcast against each other
        Unit vectors.

    Returns
    -------
    array of shape (...)

    Notes
    -----
    Unlike arccos of the inner product this form is accurate at every angle, and its gradient is
    finite (zero) at coincident and at antipodal points.

    References
    ----------
    W. Kahan, "How futile are mindless assessments of roundoff in floating-point computation?",
    2006, section 12.

    Examples
    --------
    >>> import sphuni
    >>> float(sphuni.geodesic_distance([1.0, 0.0], [0.0, 1.0]))
    1.5707963267948966
    """
    _check_rows(x, y)
    for name, rows in (("x", x), ("y", y)):
        if rows.numel() > 0:
            check_points(torch.atleast_2d(rows), name=name)
    return angles(widen(x), widen(y)).to(x.dtype)


def angles(x: Tensor, y: Tensor) -> Tensor:
    """`geodesic_distance` for code that has tensors already."""
    return 2 * torch.atan2(_norm(x - y), _norm(x + y))


def closer_side(x: Tensor, y: Tensor) -> Tensor:
    """`y` or `-y` by row, whichever is closer to `x`; which of them it is has no gradient."""
    return torch.where((x * y).sum(dim=-1, keepdim=True).detach() < 0, -y, y)


@array_function("v")
def project_tangent(x: Tensor, v: Array, /) -> Tensor:
    """Remove from each row of `v` its component along the row of `x`: project on the tangent space.

    Parameters
    ----------
    x, v : arrays of shape (..., d), broadcast against each other
        Unit vectors, and any vectors.

    Returns
    -------
    array of shape (..., d)
        v - <v, x> x, orthogonal to x.

    Examples
    --------
    >>> import sphuni
    >>> sphuni.sphere.project_tangent([1.0, 0.0], [3.0, 4.0])
    array([0., 4.])
    """
    _check_rows(x, v, "v")
    at, along = widen(x), widen(v)
    return (along - (along * at).sum(dim=-1, keepdim=True) * at).to(x.dtype)


@array_function("v")
def exponential_map(x: Tensor, v: Array, /) -> Tensor:
    """Walk from each row of `x` along the great circle in direction `v`, |v| radians far.

    Parameters
    ----------
    x, v : arrays of shape (..., d), broadcast against each other
        Unit vectors, and vectors orthogonal to them, as `project_tangent` makes them.

    Returns
    -------
    array of shape (..., d)
        cos|v| x + sin|v| v/|v|: unit vectors, x itself where v is zero.

    Examples
    --------
    >>> import math, sphuni
    >>> sphuni.sphere.exponential_map([1.0, 0.0], [0.0, math.pi / 2]).round(12)
    array([0., 1.])
    """
    _check_rows(x, v, "v")
    at, along = widen(x), widen(v)
    length = _norm(along).unsqueeze(-1)
    return (torch.cos(length) * at + torch.sinc(length / torch.pi) * along).to(x.dtype)


def random_rotation(d: int, *, rng: Seed = None) -> Tensor:
    """Draw an orthogonal matrix from the Haar measure of O(d): half of them are reflections.

    Parameters
    ----------
    d : int
        Ambient dimension.
    rng : int, generator of NumPy or torch, or None
        The same seed gives the same matrix.

    Returns
    -------
    float64 tensor of shape (d, d)
        Rows of points are turned by ``points @ rotation.T``.

    References
    ----------
    F. Mezzadri, "How to generate random matrices from the classical compact groups", Notices of
    the AMS 54, 2007, 592-604. arXiv:math-ph/0609050.
    """
    d = whole("d", d, 1)
    generator = torch_generator(rng)
    where = generator.device
    gaussian = torch.randn(d, d, generator=generator, device=where, dtype=torch.float64)
    q, r = torch.linalg.qr(gaussian)
    return q * torch.sign(torch.diagonal(r))


def _check_rows(x: Tensor, y: Tensor, other: str = "y") -> None:
    """Refuse rows of different lengths, of which one would be broadcast against the other."""
    if x.ndim == 0 or y.ndim == 0 or x.shape[-1] != y.shape[-1]:
        raise ValueError(
            f"x and {other} must hold points of one space, shapes (..., d); "
            f"got {tuple(x.shape)} and {tuple(y.shape)}"
        )
    try:
        torch.broadcast_shapes(x.shape, y.shape)
    except RuntimeError as error:
        raise ValueError(
            f"x and {other} must have shapes that fit each other, row by row or one row against "
            f"all; got {tuple(x.shape)} and {tuple(y.shape)}"
        ) from error


def root(squared: Tensor) -> Tensor:
    """Square root of non-negative numbers whose gradient at zero is zero."""
    zero = squared == 0
    return torch.where(zero, squared, torch.where(zero, 1.0, squared).sqrt())


def _norm(v: Tensor) -> Tensor:
    """Euclidean norm over the last axis whose gradient at zero is zero."""
    return root(v.square().sum(dim=-1))
