"""Polarization and covering: objectives with an inner search for the worst pole."""

import torch
from torch import Tensor

from sphuni._numbers import finite
from sphuni._typing import Metric
from sphuni.geometry import covering_radius, polarization
from sphuni.nn._directions import directions, unit
from sphuni.nn._precision import check_tensor, in_full_precision, nothing
from sphuni.nn._preset import Preset, check_preset, fixed_by_reference
from sphuni.nn._tempered import FLOOR, tempered_riesz
from sphuni.nn.functional import _reference
from sphuni.pairwise import pair_reduce
from sphuni.sphere import closer_side, root, unit_rows

__all__ = ["mhc", "mhp", "r_mhp"]

_GAMMA = 10.0


@in_full_precision
def mhp(
    weight: Tensor,
    /,
    *,
    s: float = 2.0,
    half_space: bool = False,
    poles: Tensor | None = None,
    preset: Preset = "paper",
) -> Tensor:
    r"""Minus the polarization per row of a weight; lower is more uniform.

    .. math:: -\min_v \frac1n \sum_i K_s(|v - \hat w_i|)

    Parameters
    ----------
    weight : Tensor of shape (..., n, d)
        One neuron per row, any scale.
    s : float, default 2
        Riesz exponent of the chordal distance, at least -2.
    half_space : bool, default False
        The potential of the 2n rows {w, -w}. It is the same for every weight of rank below d:
        project such a weight to fewer than n dimensions first, as "hs-mhp" does.
    poles : Tensor of shape (..., m, d), optional
        Candidate poles; the least potential over them is used. Default: a search for the worst
        pole, some thousand potentials.
    preset : {"paper", "reference"}, default "paper"
        "reference" softens the norms by 1e-4 and fixes s = 2; it needs `poles`.

    Returns
    -------
    Tensor of shape (...)
        The gradient is that of the worst pole (Danskin); poles get none.

    References
    ----------
    W. Liu et al., "Learning with hyperspherical uniformity", AISTATS 2021. arXiv:2103.01649.

    Examples
    --------
    >>> import torch
    >>> octahedron = torch.cat([torch.eye(3), -torch.eye(3)]).double()
    >>> round(float(mhp(octahedron)), 9)
    -0.75
    """
    n = weight.shape[-2]
    if check_preset(preset) == "reference":
        fixed_by_reference(s=(s, 2.0))
        return -_reference_distances(weight, poles, half_space).reciprocal().mean(-1).amin(-1)
    if finite("s", s) < -2:
        raise ValueError(f"s must be at least -2, where the kernel is convex; got {s}")
    rows = directions(weight, half_space=half_space)
    if poles is None:
        if weight.shape[-1] < 2:
            raise ValueError("weight must have d >= 2 for a search of poles; got d = 1")
        found = polarization(rows, s=s, method="bounds", antipodal=half_space)
        return -found.value / n
    kernel = tempered_riesz(s, "chordal", FLOOR, rows.dtype)
    used = kernel.antipodal() if half_space else kernel
    potentials = pair_reduce(_unit_poles(poles, rows), rows, kernel=used, op="rows")
    return -potentials.amin(dim=-1) / n


@in_full_precision
def r_mhp(weight: Tensor, /, *, preset: Preset = "paper") -> Tensor:
    r"""Relaxed maximum hyperspherical polarization: the length of the sum of directions.

    .. math:: \Big|\sum_i \hat w_i\Big| = -n - \tfrac12 P_{-2}

    with :math:`P_{-2}` the polarization of exponent -2, in closed form. Lower is more uniform; zero
    for every weight whose directions add up to zero, so it says nothing in half space.

    Parameters
    ----------
    weight : Tensor of shape (..., n, d)
        One neuron per row, any scale.
    preset : {"paper", "reference"}, default "paper"
        The reference code does not normalise the rows.

    Returns
    -------
    Tensor of shape (...)

    References
    ----------
    W. Liu et al., "Learning with hyperspherical uniformity", AISTATS 2021. arXiv:2103.01649.

    Examples
    --------
    >>> import torch
    >>> float(r_mhp(torch.tensor([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]])))
    1.0
    """
    rows = weight if check_preset(preset) == "reference" else unit(weight)
    return root(rows.sum(dim=-2).square().sum(dim=-1))


@in_full_precision
def mhc(
    weight: Tensor,
    /,
    *,
    half_space: bool = False,
    metric: Metric = "geodesic",
    poles: Tensor | None = None,
    preset: Preset = "paper",
) -> Tensor:
    r"""Covering radius of the rows of a weight; lower is more uniform.

    .. math:: \max_v \min_i \rho(v, \hat w_i)

    Parameters
    ----------
    weight : Tensor of shape (..., n, d)
        One neuron per row, any scale.
    half_space : bool, default False
        The covering radius of the 2n rows {w, -w}; pi/2 for every weight of rank below d, see
        `mhp`.
    metric : {"chordal", "geodesic"}, default "geodesic"
        Distance in [0, 2] or angle in radians.
    poles : Tensor of shape (..., m, d), optional
        Candidate poles; the deepest is used. Default: the exact radius where it can be had.
    preset : {"paper", "reference"}, default "paper"
        "reference": -(1/10) log mean exp(-10 rho^2) in place of the minimum, chordal; it needs
        `poles`.

    Returns
    -------
    Tensor of shape (...)
        The gradient is that of the deepest hole (Danskin); poles get none.

    References
    ----------
    W. Liu et al., "Learning with hyperspherical uniformity", AISTATS 2021. arXiv:2103.01649.

    Examples
    --------
    >>> import torch
    >>> round(float(mhc(torch.cat([torch.eye(3), -torch.eye(3)]).double())), 6)
    0.955317
    """
    if check_preset(preset) == "reference":
        fixed_by_reference(metric=(metric, "geodesic"))
        p = _reference_distances(weight, poles, half_space)
        soft = -(torch.logsumexp(-_GAMMA * p, dim=-1) - _log_count(p)) / _GAMMA
        return soft.amax(dim=-1)
    rows = directions(weight, half_space=half_space)
    if poles is not None:
        chord = _depth(_unit_poles(poles, rows), rows, half_space)
    else:
        if weight.shape[-1] < 2:
            raise ValueError("weight must have d >= 2 for a search of poles; got d = 1")
        radius = covering_radius(rows, antipodal=half_space).radius
        if weight.shape[-2] == 1:
            radius = radius.detach() + nothing(weight)  # one row covers as much wherever it points
        chord = 2 * torch.sin(radius / 2)
        if metric == "geodesic":
            return radius
    if metric == "chordal":
        return chord
    if metric != "geodesic":
        raise ValueError(f"metric must be 'chordal' or 'geodesic'; got {metric!r}")
    rest = (4 - chord.square()).clamp_min(_least_rest(chord)).sqrt()
    return 2 * torch.atan2(chord, rest)


def _depth(poles: Tensor, rows: Tensor, half_space: bool) -> Tensor:
    """Chordal distance of the deepest pole to its nearest row; that row is found by cosine."""
    cosines = poles @ rows.detach().mT
    index = (cosines.abs() if half_space else cosines).argmax(dim=-1)
    closest = rows.gather(-2, index[..., None].expand(*index.shape, rows.shape[-1]))
    if half_space:
        closest = closer_side(poles, closest)
    return root((poles - closest).square().sum(dim=-1)).amax(dim=-1)


def _unit_poles(poles: Tensor, rows: Tensor) -> Tensor:
    check_tensor("poles", poles)
    if poles.ndim < 2 or poles.shape[-1] != rows.shape[-1]:
        raise ValueError(
            f"poles must have shape (..., m, {rows.shape[-1]}), one pole of R^d per row; "
            f"got {tuple(poles.shape)}"
        )
    unit = unit_rows(poles.detach().to(rows))
    return unit.expand(*rows.shape[:-2], *unit.shape[-2:])


def _reference_distances(weight: Tensor, poles: Tensor | None, half_space: bool) -> Tensor:
    """Squared distances (..., m, n) of the poles to the rows, or to {w, -w}."""
    if poles is None:
        raise ValueError("poles must be given with preset='reference', which has no exact form")
    rows = _reference.softened(weight)
    both = torch.cat([rows, -rows], dim=-2) if half_space else rows
    return _reference.squared_distances(_unit_poles(poles, rows), both)


def _log_count(p: Tensor) -> float:
    return float(torch.tensor(p.shape[-1], dtype=torch.float64).log())


def _least_rest(chord: Tensor) -> float:
    return torch.finfo(chord.dtype).eps
