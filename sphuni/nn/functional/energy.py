"""Minimum hyperspherical energy."""

import torch
from torch import Tensor

from sphuni._numbers import whole
from sphuni._typing import Metric
from sphuni.nn._pair_mean import PairMean, pair_mean
from sphuni.nn._precision import in_full_precision, nothing
from sphuni.nn._preset import Preset, check_preset, fixed_by_reference
from sphuni.nn._tempered import FLOOR, tempered_riesz
from sphuni.nn.functional import _reference

__all__ = ["mhe", "mhe_mean"]


@in_full_precision
def mhe(
    weight: Tensor,
    /,
    *,
    s: float = 2.0,
    half_space: bool = False,
    metric: Metric = "chordal",
    preset: Preset = "paper",
    floor: float = FLOOR,
    population: int | None = None,
) -> Tensor:
    r"""Hyperspherical energy of the rows of a weight, averaged over pairs; lower is more uniform.

    .. math:: \frac{2}{n(n-1)}\sum_{i<j} K_s(\rho(\hat w_i, \hat w_j))

    with K_s = rho^-s (s > 0), -log rho (s = 0), -rho^-s (s < 0).

    Parameters
    ----------
    weight : Tensor of shape (..., n, d)
        One neuron per row, any scale; `weight.flatten(1)` of a convolution.
    s : float, default 2
        Exponent.
    half_space : bool, default False
        The energy of the 2n rows {w, -w}, from the n x n pairs. Its optimum for n <= d is any
        orthogonal set; without it, for n <= d + 1, the simplex.
    metric : {"chordal", "geodesic"}, default "chordal"
        rho is the straight-line distance or the angle in radians.
    preset : {"paper", "reference"}, default "paper"
        "reference" follows the authors' code: norms ``sqrt(|w|^2 + 1e-4)``, the angle divided by
        pi and shifted by 1e-4, -log rho^2 for s = 0; s in {0, 1, 2}, no `floor`; it forms the
        n x n matrix.
    floor : float, default 0.01
        Below this chordal distance the kernel continues along its tangent line in the cosine, so
        coincident rows have a finite energy. Raised for large s where the slope would overflow.
    population : int, optional
        Number of rows that `weight` was sampled from without replacement; the value is then an
        unbiased estimate of theirs.

    Returns
    -------
    Tensor of shape (...)
        float32 for half precision, else the dtype of `weight`. Zero for n = 1.

    Notes
    -----
    Equals `sphuni.riesz_energy(sphuni.normalize(weight), s=s, metric=metric,
    antipodal=half_space)` whenever all rows are at least `floor` apart. Rows that coincide (as
    lines in half space) are evaluated 1e-3 apart in fixed pseudo-random tangent directions, so
    that they separate, at s = 2 with a gradient that is some 10^5 times that of other rows; a
    larger `floor` makes it milder. O(n^2 d) time, O(n d) memory.

    References
    ----------
    W. Liu et al., "Learning towards minimum hyperspherical energy", NeurIPS 2018.
    arXiv:1805.09298.

    Examples
    --------
    >>> import torch
    >>> float(mhe(3.0 * torch.eye(4), s=2))
    0.5
    """
    if population is not None:
        whole("population", population, weight.shape[-2], "the rows that are here")
    if check_preset(preset) == "reference":
        fixed_by_reference(floor=(floor, FLOOR))
        return _reference.energy(
            weight, s=s, metric=metric, half_space=half_space, population=population
        )
    if weight.shape[-2] == 1:
        kernel = tempered_riesz(s, metric, floor, weight.dtype)
        return nothing(weight) + (kernel.at_minus_one if half_space else 0.0)
    return pair_mean(
        weight,
        mhe_mean(
            weight.shape[-2],
            weight.dtype,
            s=s,
            half_space=half_space,
            metric=metric,
            floor=floor,
            population=population,
        ),
    )


def mhe_mean(
    n: int,
    dtype: torch.dtype,
    *,
    s: float = 2.0,
    half_space: bool = False,
    metric: Metric = "chordal",
    floor: float = FLOOR,
    population: int | None = None,
) -> PairMean:
    """What `mhe` takes of the pairs of n >= 2 rows."""
    kernel, pairs = tempered_riesz(s, metric, floor, dtype), n * (n - 1) / 2
    if not half_space:
        return PairMean(kernel, False, dtype, 1 / pairs)
    among = n if population is None else population
    # of the lines that a row meets, itself among them, one is its own antipode
    factor, constant = (among - 1) / (2 * among - 1) / pairs, kernel.at_minus_one / (2 * among - 1)
    return PairMean(kernel.antipodal(), True, dtype, factor, constant)
