"""Exact point sets by name: regular polytopes, root systems and the codes of the Leech lattice."""

import difflib
from typing import Any

import numpy as np

from sphuni._numbers import whole
from sphuni.configurations.codes import _catalogue, _polytopes
from sphuni.configurations.codes._catalogue import Construction

__all__ = [
    "Construction",
    "available_constructions",
    "construct",
    "construction_info",
    "fibonacci_sphere",
]

_FAMILY_EXAMPLES = {"polygon": 5, "simplex": 3, "cross": 4, "cube": 3}


def construct(name: str, *, like: Any = None) -> Any:
    r"""Build an exact configuration from its name.

    Parameters
    ----------
    name : str
        ``polygon_<n>``, ``simplex_<d>`` (d + 1 points in R^d), ``cross_<d>``, ``cube_<d>``,
        ``icosahedron``, ``dodecahedron``, ``24-cell``, ``120-cell``, ``600-cell``,
        ``E8_roots``, ``K56``, ``schlafli_27``, ``hemicube_16(clebsch)``, ``4600``, ``891``,
        ``552``, ``275_mclaughlin``, ``162``, ``112``, ``higman_sims_100`` or ``leech_196560``;
        ``tetrahedron``, ``octahedron`` and ``cube`` too.
    like : torch.Tensor, optional
        Return a tensor of its dtype, on its device; numpy float64 by default.

    Returns
    -------
    numpy.ndarray of float64 or torch.Tensor, shape (n, d)
        Unit rows, the same on every call.

    Raises
    ------
    ValueError
        If there is no such construction (the message names the nearest ones), or one too large
        to hold.
    TypeError
        If `like` is not a tensor of floating-point numbers.

    Notes
    -----
    The coordinates are integers, or integers and multiples of sqrt(5), scaled once; a code that
    is derived from a larger one is selected in integers and rotated onto its own space in
    float64. Norms are right to 1e-15 and inner products to 1e-14. All are distance-invariant:
    every point sees the same inner products, listed by `construction_info`. The Leech
    configuration takes well under a second and 38 MB.

    References
    ----------
    J. H. Conway and N. J. A. Sloane, "Sphere Packings, Lattices and Groups", 3rd edition (1999),
    doi:10.1007/978-1-4757-6568-7.
    H. Cohn and A. Kumar, "Universally optimal distribution of points on spheres", Journal of the
    American Mathematical Society 20 (2007) 99-148, doi:10.1090/S0894-0347-06-00546-7.

    Examples
    --------
    >>> construct("cross_2")
    array([[ 1.,  0.],
           [-1.,  0.],
           [ 0.,  1.],
           [ 0., -1.]])
    >>> construct("600-cell").shape
    (120, 4)
    """
    build, _ = _find(name)
    return _like(build(), like)


def construction_info(name: str) -> Construction:
    """Describe an exact configuration without building it.

    Parameters
    ----------
    name : str
        A name that `construct` takes.

    Returns
    -------
    Construction
        Frozen dataclass with ``name``, ``n``, ``d``, ``inner_products`` (ascending),
        ``multiplicities`` (seen from any one point) and ``design_strength``.

    Raises
    ------
    ValueError
        If there is no such construction.

    Notes
    -----
    A code with m inner products and design strength at least 2 m - 1 is sharp, hence universally
    optimal (Cohn and Kumar 2007, doi:10.1090/S0894-0347-06-00546-7).

    Examples
    --------
    >>> construction_info("hemicube_16(clebsch)")
    Construction(name='hemicube_16(clebsch)', n=16, d=5, inner_products=(-0.6, 0.2),
                 multiplicities=(5, 10), design_strength=3)
    """
    _, describe = _find(name)
    return describe()


def available_constructions() -> tuple[Construction, ...]:
    """List the exact configurations that `construct` knows.

    Returns
    -------
    tuple of Construction
        One entry per configuration, by dimension and then size; each family (``polygon_<n>``,
        ``simplex_<d>``, ``cross_<d>``, ``cube_<d>``) is shown by one small member.

    Examples
    --------
    >>> [entry.name for entry in available_constructions() if entry.d == 4]
    ['cross_4', '24-cell', '600-cell', '120-cell']
    """
    members = [construction_info(f"{prefix}_{k}") for prefix, k in _FAMILY_EXAMPLES.items()]
    fixed = [info for _, info in _catalogue.FIXED.values()]
    return tuple(sorted(members + fixed, key=lambda info: (info.d, info.n)))


def fibonacci_sphere(n: int, *, like: Any = None) -> Any:
    """Place n nearly even points on S^2 along a Fibonacci spiral.

    Parameters
    ----------
    n : int
        Number of points, at least 1.
    like : torch.Tensor, optional
        Return a tensor of its dtype, on its device; numpy float64 by default.

    Returns
    -------
    numpy.ndarray of float64 or torch.Tensor, shape (n, 3)
        Unit rows from the north pole's side to the south; a deterministic start, not an optimum.

    Notes
    -----
    Point k has height ``(n - 1 - 2 k)/n``, the middle of the k-th of n zones of equal area, and
    longitude k times the golden angle. O(n).

    References
    ----------
    Á. González, "Measurement of areas on a sphere using Fibonacci and latitude-longitude
    lattices", Mathematical Geosciences 42 (2010) 49-64, doi:10.1007/s11004-009-9257-x.

    Examples
    --------
    >>> fibonacci_sphere(4)[:, 2]
    array([ 0.75,  0.25, -0.25, -0.75])
    """
    return _like(_polytopes.fibonacci_points(whole("n", n, 1)), like)


def _find(name: str) -> tuple[_catalogue.Builder, _catalogue.Describer]:
    found = _catalogue.find(name)
    if found is None:
        known = [*_catalogue.FIXED, *_catalogue.ALIASES]
        known += [f"{prefix}_{k}" for prefix, k in _FAMILY_EXAMPLES.items()]
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.3)
        nearest = f" The nearest names are {', '.join(near)}." if near else ""
        families = ", ".join(family.pattern for family in _catalogue.FAMILIES)
        raise ValueError(
            f"name must be one of {', '.join(_catalogue.FIXED)}, or a member of {families}; "
            f"got {name!r}.{nearest}"
        )
    return found


def _like(points: np.ndarray, like: Any) -> Any:
    """Return `points` in the library of `like`; torch is loaded only by those who pass one."""
    if like is None:
        return points
    from sphuni._arrays import like_caller

    return like_caller(points, like)
