"""Tests from projections on a few fixed directions or planes; not invariant under rotations."""

import abc
import dataclasses
import functools
import math
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sphuni._numbers import whole
from sphuni._typing import Points
from sphuni.special import cosine_cdf, cosine_density
from sphuni.stats._base import LawChoice, UniformityTest
from sphuni.stats.circle_pairs import Watson, watson_of_turns
from sphuni.stats.line import ecdf_distance
from sphuni.stats.sums._sorted import ascending, doubled, turns_of

__all__ = ["CuestaAlbertos", "SlicedWasserstein"]

_FLOAT = NDArray[np.float64]
_CELLS = 8192
_ORTHOGONAL = 1e-6
_LIMIT_AT = 500


@dataclasses.dataclass(frozen=True)
class _Directional(UniformityTest):
    """Directions are part of the test: fixed by `seed`, or given.

    With `antipodal` projections are taken so that they are the same for x and -x.
    """

    invariant: ClassVar[bool] = False
    pairwise: ClassVar[bool] = False
    in_all: ClassVar[bool] = False
    directions: Any = 50
    seed: int = 0
    antipodal: bool = False

    def __post_init__(self) -> None:
        whole("seed", self.seed, 0)
        if isinstance(self.directions, int | np.integer):
            object.__setattr__(self, "directions", whole("directions", self.directions, 1))
            return
        given = np.asarray(self.directions, dtype=np.float64)
        if given.ndim < 2 or not np.allclose(np.linalg.norm(given, axis=-1), 1.0, atol=1e-6):
            raise ValueError(
                "directions must be a number, or unit vectors of shape (k, d) (planes: (k, 2, d)); "
                f"got an array of shape {given.shape}"
            )
        self._check_given(given)
        object.__setattr__(self, "directions", _nested(given))

    def _check_given(self, given: _FLOAT) -> None:
        """Refuse unit vectors that do not make up what the points are projected on."""

    def narrowed(self, d: int) -> tuple[UniformityTest, int] | None:
        """The directions in a basis of what they span, where they are fewer than d."""
        given = self._drawn(d)
        vectors = given.reshape(-1, d)
        if len(vectors) >= d:
            return None
        triangle = np.asarray(np.linalg.qr(vectors.T, mode="r"))
        directions = triangle.T.reshape(*given.shape[:-1], len(vectors))
        return dataclasses.replace(self, directions=directions), len(vectors)

    @abc.abstractmethod
    def _drawn(self, d: int) -> _FLOAT:
        """The directions in R^d."""

    def simulated_at(self, n: int) -> int:
        """Beyond n = 500 the law hardly moves: it is simulated there."""
        return min(n, _LIMIT_AT)

    def cost(self, n: int, d: int) -> float:
        """Projections, and a sort of each."""
        count = self.directions if isinstance(self.directions, int) else len(self.directions)
        return float(n) * count * (2 * d + 60)

    def asymptotic_law(self, n: int, d: int) -> LawChoice | None:
        """None in closed form."""
        return None


@dataclasses.dataclass(frozen=True)
class CuestaAlbertos(_Directional):
    r"""Largest Kolmogorov distance :math:`\sqrt n \max_g |F_{n,g} - F|` over k directions g.

    With `antipodal` the laws are those of the absolute values of the projections.

    Parameters
    ----------
    directions : int or array of shape (k, d), default 50
        How many directions are drawn uniformly from `seed`, or the directions themselves.
    seed : int, default 0
        Seed of the directions.
    antipodal : bool, default False
        Take points as lines.

    Notes
    -----
    The law is simulated with the same directions, so the p-value is exact for any choice of
    them. O(k n (d + log n)).

    References
    ----------
    J. A. Cuesta-Albertos, A. Cuevas, R. Fraiman, "On projection-based tests for directional and
    compositional data", Statistics and Computing 19 (2009) 367-380,
    doi:10.1007/s11222-008-9098-3.
    """

    name: ClassVar[str] = "ccf09"
    aliases: ClassVar[tuple[str, ...]] = ("cuesta_albertos", "random_projections")
    detects: ClassVar[str] = "departures that show in one of the projections"
    reference: ClassVar[str] = (
        "Cuesta-Albertos, Cuevas & Fraiman 2009, doi:10.1007/s11222-008-9098-3"
    )

    def _drawn(self, d: int) -> _FLOAT:
        """Axes of shape (k, d)."""
        return _axes(self.directions, self.seed, d)

    def summary(self, points: Points, d: int) -> Tensor:
        """The largest distance."""
        axes = torch.as_tensor(self._drawn(points.shape[-1]), device=points.device)
        projections = axes @ points.double().mT
        if self.antipodal:
            share = 2.0 * projection_cdf(projections.abs(), d) - 1.0
        else:
            share = projection_cdf(projections, d)
        return ecdf_distance(ascending(share)).amax(-1)

    def from_summary(self, summary: Any, n: int, d: int) -> Tensor:
        """Scaled by sqrt(n)."""
        return math.sqrt(n) * torch.as_tensor(summary)


@dataclasses.dataclass(frozen=True)
class SlicedWasserstein(_Directional):
    r"""Sliced spherical Wasserstein distance to uniformity, squared and times n.

    The points are projected on k planes through the origin and, in each, radially on the circle;
    the statistic is n times the mean of the squared 2-Wasserstein distances of these circles from
    uniformity. In one plane that is Watson's :math:`U^2`. With `antipodal` the angles are doubled,
    which makes lines into points.

    Parameters
    ----------
    directions : int or array of shape (k, 2, d), default 50
        How many planes are drawn uniformly from `seed`, or orthonormal pairs that span them.
    seed : int, default 0
        Seed of the planes.
    antipodal : bool, default False
        Take points as lines.

    References
    ----------
    C. Bonet, P. Berg, N. Courty, F. Septier, L. Drumetz, M.-T. Pham, "Spherical
    sliced-Wasserstein", ICLR 2023, arXiv:2206.08780.
    """

    name: ClassVar[str] = "sliced_wasserstein"
    aliases: ClassVar[tuple[str, ...]] = ("ssw", "projected_wasserstein")
    detects: ClassVar[str] = "every departure, low harmonics most"
    reference: ClassVar[str] = "Bonet et al. 2023, arXiv:2206.08780"

    def _check_given(self, given: _FLOAT) -> None:
        """Refuse pairs that are not orthogonal: points would be projected obliquely."""
        if given.ndim != 3 or given.shape[1] != 2:
            return  # refused with the dimension of the points
        cosines = np.abs((given[:, 0] * given[:, 1]).sum(-1))
        if cosines.max(initial=0.0) > _ORTHOGONAL:
            worst = int(cosines.argmax())
            raise ValueError(
                "directions must be pairs of orthogonal unit vectors, a plane each; those of "
                f"plane {worst} have the cosine {cosines[worst]:.3g}. Take numpy.linalg.qr of them"
            )

    def _drawn(self, d: int) -> _FLOAT:
        """Planes of shape (k, 2, d)."""
        return _planes(self.directions, self.seed, d)

    def summary(self, points: Points, d: int) -> Tensor:
        """Watson's statistic of every plane, averaged."""
        planes = torch.as_tensor(self._drawn(points.shape[-1]), device=points.device)
        x, y = (planes[:, side] @ points.double().mT for side in (0, 1))
        turns = turns_of(x, y)
        u = doubled(turns) if self.antipodal else ascending(turns)
        return watson_of_turns(u).mean(-1)

    def from_summary(self, summary: Any, n: int, d: int) -> Tensor:
        """As it is."""
        return torch.as_tensor(summary)

    def asymptotic_law(self, n: int, d: int) -> LawChoice | None:
        """Watson's on the circle."""
        return Watson().asymptotic_law(n, d) if d == 2 else None

    def best_law(self, n: int, d: int) -> LawChoice | None:
        """Watson's on the circle."""
        return Watson().best_law(n, d) if d == 2 else None

    def effect_size(self, statistic: Tensor, n: int, d: int) -> Tensor:
        """The mean of Watson's kernel over pairs and planes, in its standard deviations on one."""
        return Watson().effect_size(statistic, n, 2)


def projection_cdf(t: Tensor, d: int) -> Tensor:
    """P(T <= t) for the projection T of a uniform point of S^(d-1), differentiable."""
    if d == 3:
        return 0.5 * (1.0 + t)
    inside = t.abs() < 1.0
    angle = torch.where(inside, torch.acos(torch.where(inside, t, 0.0)), 0.0)
    angle = torch.where(t <= -1.0, math.pi, angle)
    if d == 2:
        return 1.0 - angle / math.pi
    values, slopes = (torch.as_tensor(part, device=t.device) for part in _cdf_table(d))
    cells = values.numel() - 1
    width = math.pi / cells
    place = angle / width
    index = place.detach().long().clamp(0, cells - 1)
    w = place - index
    f0, f1 = values[index], values[index + 1]
    g0, g1 = width * slopes[index], width * slopes[index + 1]
    square = 3.0 * (f1 - f0) - 2.0 * g0 - g1
    return f0 + w * (g0 + w * (square + w * (2.0 * (f0 - f1) + g0 + g1)))


@functools.lru_cache(maxsize=16)
def _cdf_table(d: int) -> tuple[_FLOAT, _FLOAT]:
    """The law of the angle and minus its density on a grid fine enough for its width."""
    angle = np.linspace(0.0, math.pi, _CELLS * max(1, round(math.sqrt(d / 64.0))) + 1)
    cosine = np.cos(angle)
    slopes = np.zeros_like(angle)
    inner = cosine[1:-1]
    slopes[1:-1] = -np.asarray(cosine_density(inner, d)) * np.sin(angle[1:-1])
    return np.asarray(cosine_cdf(cosine, d)), slopes


@functools.lru_cache(maxsize=16)
def _axes(directions: Any, seed: int, d: int) -> _FLOAT:
    """Unit vectors of shape (k, d)."""
    if not isinstance(directions, int):
        return _given(directions, (d,))
    rows = _generator(seed).standard_normal((directions, d))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


@functools.lru_cache(maxsize=16)
def _planes(directions: Any, seed: int, d: int) -> _FLOAT:
    """Orthonormal pairs of shape (k, 2, d); on the circle the only plane there is."""
    if not isinstance(directions, int):
        return _given(directions, (2, d))
    if d == 2:
        return np.eye(2)[None]
    pairs = _generator(seed).standard_normal((directions, d, 2))
    return np.ascontiguousarray(np.linalg.qr(pairs)[0].swapaxes(1, 2))


def _generator(seed: int) -> np.random.Generator:
    """A stream of its own: points drawn from the same seed must not be the directions."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))


def _given(directions: Any, shape: tuple[int, ...]) -> _FLOAT:
    array = np.array(directions)
    if array.shape[1:] != shape:
        raise ValueError(
            f"directions must have shape (k, {', '.join(map(str, shape))}) for these points; "
            f"got {array.shape}"
        )
    return array


def _nested(array: _FLOAT) -> tuple[Any, ...]:
    """Nested tuples, which hash."""
    return tuple(tuple(map(float, row)) if row.ndim == 1 else _nested(row) for row in array)
