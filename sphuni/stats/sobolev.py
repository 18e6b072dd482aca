"""Sobolev tests: one class, defined by the Gegenbauer weights of a zonal kernel."""

import abc
import dataclasses
import functools
import math
import sys
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sphuni._typing import Points
from sphuni.kernels import GegenbauerSeries
from sphuni.special import gegenbauer, harmonic_dimension
from sphuni.stats._base import LawChoice, Term, UniformityTest
from sphuni.stats.kernels._zonal import Centred
from sphuni.stats.laws import Affine, Corrected, Law, WeightedChi2, corrected
from sphuni.stats.laws.pair_sums import PairSums, pair_sums
from sphuni.stats.sums._binned import pair_rule
from sphuni.stats.sums._sorted import has_sorted_form, sorted_pair_sum, sorted_turns

__all__ = ["PairParts", "SobolevTest", "pair_parts"]

_FLOAT = NDArray[np.float64]
_TERMS = 128
_MOST_TERMS = 2048
_LARGEST_DIMENSION = 1e100
_SMALLEST_SQUARE = 1e-100
_NO_HARMONIC, _ROUNDING = 1e-24, 1e-13
_LEAST_SEEN = 0.99
_SERIES_SEES = 1e-6
_LEAST_SIGNAL = 100.0 * sys.float_info.epsilon
_ASYMPTOTIC_FROM = 20
_INFINITE = 1 << 60
_PAIRS_FROM, _TABLE_UP_TO = 200, 500
_LARGEST_CHANGE = 0.4
_HEAVIEST_PAIR = 0.1
_LARGEST_TRIANGLE = 0.005
_MOST_SHARED = 48
_SORTED_FROM = 500
_HEAVIEST = 0.04
_HEAVY_TABLE_UP_TO = 1000


@dataclasses.dataclass(frozen=True)
class SobolevTest(UniformityTest):
    r"""A test whose statistic is a sum of a positive-definite zonal kernel over pairs.

    .. math:: S = \psi(1) + \frac{2}{n} \sum_{i<j} \psi(t_{ij}), \quad
              \psi = \sum_{k \ge 1} v_k^2 d_k P_k,

    with d_k the `harmonic_dimension`. In the U-form, for kernels that are infinite at 1 or by
    custom, the constant :math:`\psi(1)` is left out. As n grows the law tends to that of
    :math:`\sum v_k^2 \chi^2_{d_k}`, in the U-form less its mean.

    Parameters
    ----------
    antipodal : bool, default False
        The statistic of the 2n points {x, -x}: psi is replaced by psi(t) + psi(-t).

    Notes
    -----
    A subclass gives `pair_terms` (the kernels, scaled so that their sum is 2 psi up to a constant),
    `coefficients` (the v_k^2 d_k), `at_one` (psi(1)) and `second_moment` (E psi^2).

    References
    ----------
    E. M. Giné, "Invariant tests for uniformity on compact Riemannian manifolds based on Sobolev
    norms", Annals of Statistics 3 (1975) 1243-1266, doi:10.1214/aos/1176343283.
    """

    form: ClassVar[str] = "V"
    antipodal: bool = False

    def check(self, n: int, d: int) -> None:
        """Refuse sizes that the test is not defined for, and lines where it sees only signs.

        Also kernels so narrow that their mean comes out as no number, and so flat that rounding
        takes the place of their variation.
        """
        super().check(n, d)
        if math.isnan(self.at_one(d)):
            raise ValueError(
                f"test {self.name!r} with {self._given()} in R^{d} has a kernel so narrow that its "
                "mean cannot be computed; take a wider one"
            )
        if self.antipodal and not _sees_lines(self, d):
            raise ValueError(
                f"test {self.name!r} sees odd harmonics only and is constant for points taken as "
                "lines; leave out antipodal=True or take test='bingham'"
            )
        if _is_flat(self, n, d):
            raise ValueError(
                f"test {self.name!r} with {self._given()} at n = {n} in R^{d} has a kernel so flat "
                "that its sum over pairs is lost in rounding; take a parameter farther from the "
                "one of a constant kernel, or the low harmonics: test='rayleigh' or 'bingham'"
            )

    @abc.abstractmethod
    def pair_terms(self, d: int) -> tuple[Term, ...]:
        """Kernels whose weighted sum is 2 psi plus a constant."""

    def psi_terms(self, d: int) -> tuple[Term, ...]:
        """The same, also of a test whose statistic needs no pairs."""
        if self.pair_terms(d):
            return self.pair_terms(d)
        series = GegenbauerSeries((0.0, *self.coefficients(d, _TERMS).tolist()), d)
        return (Term(2.0, series),)

    @abc.abstractmethod
    def coefficients(self, d: int, count: int) -> _FLOAT:
        """v_k^2 d_k for k = 1 .. count; fewer if the rest are zero."""

    @abc.abstractmethod
    def at_one(self, d: int) -> float:
        """psi(1), the statistic of one point; inf where the kernel is unbounded."""

    def second_moment(self, d: int) -> float:
        """E psi^2 of two independent uniform points: by default from the coefficients."""
        values, dimensions = _spectrum(self, d)
        return float(np.sum(values**2 / dimensions))

    def terms(self, d: int) -> tuple[Term, ...]:
        """Kernels whose pair sums the statistic is made of."""
        terms = self.pair_terms(d)
        if not self.antipodal:
            return terms
        return tuple(Term(term.factor, term.kernel.antipodal()) for term in terms)

    def needs_pairs(self, n: int, d: int) -> bool:
        """Not where there is a form without pairs, nor on a large circle that is sorted."""
        kernels = self.kernels(d)
        quick = d == 2 and n >= _SORTED_FROM and all(map(has_sorted_form, kernels))
        return bool(kernels) and not quick

    def summary(self, points: Points, d: int) -> Tensor | tuple[Tensor, ...]:
        """Pair sums of the kernels of `terms`, from sorted angles where that will do."""
        if self.needs_pairs(points.shape[-2], d):
            return super().summary(points, d)
        turns = sorted_turns(points)
        return tuple(sorted_pair_sum(turns, kernel) for kernel in self.kernels(d))

    def from_summary(self, summary: Any, n: int, d: int) -> Tensor:
        """Centre the pair sums of the kernels of `terms`, scale by n, shift as custom has it."""
        pairs = 0.5 * n * (n - 1)
        total = torch.zeros_like(summary[0])
        for term, value in zip(self.terms(d), summary, strict=True):
            total = total + term.factor * (value - pairs * term.kernel.mean(d))
        scale, offset = self.affine(n, d)
        return scale * (total / n + (self._constant(d) if self.form == "V" else 0.0)) + offset

    def affine(self, n: int, d: int) -> tuple[float, float]:
        """Scale and offset by which custom departs from the V- or U-form."""
        return 1.0, 0.0

    def effect_size(self, statistic: Tensor, n: int, d: int) -> Tensor:
        """The mean of psi over pairs, in its standard deviations; NaN where those are infinite."""
        scale, offset = self.affine(n, d)
        pairs = (statistic - offset) / scale - (self._constant(d) if self.form == "V" else 0.0)
        second = self.moments(d).second
        return pairs / (n - 1) / (math.sqrt(second) if math.isfinite(second) else math.nan)

    def asymptotic_law(self, n: int, d: int) -> LawChoice | None:
        """The weighted chi-square limit; without one the law by pairs, of many points."""
        law = _limit(self, d)
        if law is not None:
            return LawChoice(self.placed(law, _INFINITE, d), "asymptotic", _describe(law))
        return self._by_pairs(n, d) if n > _PAIRS_FROM else None

    def placed(self, law: Law, n: int, d: int) -> Law:
        """The law of the statistic from that of its V- or U-form."""
        scale, offset = self.affine(n, d)
        return law if (scale, offset) == (1.0, 0.0) else Affine(law, scale, offset)

    def best_law(self, n: int, d: int) -> LawChoice | None:
        """The limit corrected to the exact variance and skewness, where that is close.

        From n = 20 on, unless a spiked kernel makes single pairs rule the sum; then a table serves
        up to n = 500, and beyond that close pairs are counted one by one.
        """
        if n < _ASYMPTOTIC_FROM:
            return None
        law = _limit(self, d)
        if law is not None and self._close(self.corrected_law(n, d), n, d):
            words = f"{_describe(law)}, corrected to the exact variance and skewness at n = {n}"
            return LawChoice(self.placed(self.corrected_law(n, d), n, d), "asymptotic", words)
        return self._by_pairs(n, d) if n > _TABLE_UP_TO else None

    def _by_pairs(self, n: int, d: int) -> LawChoice | None:
        """The law that counts close pairs one by one, unless too few of them rule the sum."""
        if 2.0 * self._order(d) > d - 1:
            return None
        try:
            fine = self.pair_law(n, d)
        except ValueError:
            return None
        words = "low harmonics as chi-squares, the rest as a compound Poisson sum of pairs"
        if fine.heaviness > _HEAVIEST:
            if n <= _HEAVY_TABLE_UP_TO:
                return None
            words += "; the lower tail is approximate, because few pairs rule the sum"
        return LawChoice(fine, "asymptotic", words)

    def _given(self) -> str:
        """The parameters that a caller may set and their values."""
        fields = [field.name for field in dataclasses.fields(self) if field.init]
        return ", ".join(f"{name}={getattr(self, name)}" for name in fields if name != "antipodal")

    def _order(self, d: int) -> float:
        """Order of the kernel's worst pole."""
        kernels = [term.kernel for term in self.terms(d)]
        return max((max(k.order_at_one, k.order_at_minus_one) for k in kernels), default=0.0)

    def pair_law(self, n: int, d: int) -> PairSums:
        """The law with the lowest harmonics as chi-squares and the rest pair by pair."""
        return _pair_law(self, n, d)

    def _close(self, fixed: Corrected, n: int, d: int) -> bool:
        """Whether the corrected law is near the true one: small corrections, no heavy kernel."""
        moments = self.moments(d)
        weight = moments.fourth / moments.second**2 / (0.5 * n * (n - 1))
        return abs(fixed.skew_change) < _LARGEST_CHANGE and weight < _HEAVIEST_PAIR

    def corrected_law(self, n: int, d: int) -> Corrected:
        """The limit law with the statistic's exact first three moments at n."""
        return _corrected(self, n, d)

    def _constant(self, d: int) -> float:
        """psi(1) of the kernel in use."""
        return (2.0 if self.antipodal else 1.0) * self._even_share(d)

    def _even_share(self, d: int) -> float:
        """psi(1), or its even part (psi(1) + psi(-1)) / 2 for lines."""
        if not self.antipodal:
            return self.at_one(d)
        end = sum(
            term.factor * (term.kernel.at_minus_one - term.kernel.mean(d))
            for term in self.psi_terms(d)
        )
        return 0.5 * (self.at_one(d) + 0.5 * end)

    def values(self, t: _FLOAT, d: int) -> _FLOAT:
        """Psi at cosines; with `antipodal` still that of the points alone."""
        parts = [
            term.factor * (term.kernel(t) - term.kernel.mean(d)) for term in self.pair_terms(d)
        ]
        return np.asarray(0.5 * sum(parts))

    def at_pairs(self, d: int) -> _FLOAT:
        """The psi in use at the pairs of `pair_rule`."""
        places, _ = pair_rule(d)
        terms = self.terms(d)
        if terms:
            parts = [
                term.factor * (term.kernel.value(*places).numpy() - term.kernel.mean(d))
                for term in terms
            ]
            return np.asarray(0.5 * sum(parts))
        psi = self.values(0.25 * (places[1] - places[0]).numpy(), d)
        return psi + psi[::-1] if self.antipodal else psi

    def moments(self, d: int) -> "Moments":
        """Moments of psi."""
        return _moments(self, d)

    def limit_law(self, d: int) -> WeightedChi2 | None:
        """The limit law of the V- or U-form; None where psi has no variance."""
        return _limit(self, d)


class Moments(NamedTuple):
    """Moments of psi, and its product over a triangle of points."""

    second: float
    third: float
    fourth: float
    triangle: float


@functools.lru_cache(maxsize=512)
def _limit(test: SobolevTest, d: int) -> WeightedChi2 | None:
    """The limit law; what the listed degrees leave over has its exact mean and variance."""
    second = _moments(test, d).second
    if not _SMALLEST_SQUARE < second < math.inf:
        return None
    scale = 2.0 if test.antipodal else 1.0
    values, dimensions = (part[:_TERMS] for part in _spectrum(test, d))
    kept = scale**2 * values**2 / dimensions > 1e-17 * second
    weights, degrees = scale * values[kept] / dimensions[kept], dimensions[kept]
    square_left = second - float(np.sum(weights**2 * degrees))
    total = test._constant(d)
    mean = total if test.form == "V" else 0.0
    rest = total - float(weights @ degrees)
    none_left = math.isfinite(rest) and rest <= _ROUNDING * total
    if square_left > _ROUNDING * second and not none_left:
        # one more chi-square stands for the rest, with its variance and if finite its mean
        last = square_left / rest if math.isfinite(rest) else weights[-1]
        weights = np.append(weights, last)
        degrees = np.append(degrees, square_left / last / last)
    return WeightedChi2(weights, degrees, mean)


@functools.lru_cache(maxsize=512)
def _corrected(test: SobolevTest, n: int, d: int) -> Corrected:
    """The limit law with the statistic's exact first three moments at n."""
    law, moments = _limit(test, d), _moments(test, d)
    assert law is not None
    return corrected(
        law,
        n,
        second=moments.second,
        third=moments.third if math.isfinite(moments.third) else 0.0,
        triangle=moments.triangle,
        end=0.0 if test.form == "V" else -test._constant(d),
    )


@functools.lru_cache(maxsize=512)
def _spectrum(test: SobolevTest, d: int) -> tuple[_FLOAT, _FLOAT]:
    """v_k^2 d_k and d_k, as far as d_k is small enough for the degree to vary at random."""
    dimensions = []
    for k in range(1, _MOST_TERMS + 1):
        dimension = harmonic_dimension(k, d)
        if k > 2 and dimension > _LARGEST_DIMENSION:
            break
        dimensions.append(float(dimension))
    values = np.asarray(test.coefficients(d, len(dimensions)), dtype=np.float64)
    if test.antipodal:
        values = np.where(np.arange(values.size) % 2 == 1, values, 0.0)
    if values.size > len(dimensions):
        dimensions = [float(harmonic_dimension(k, d)) for k in range(1, values.size + 1)]
    return values, np.array(dimensions[: values.size])


@functools.lru_cache(maxsize=512)
def _moments(test: SobolevTest, d: int) -> Moments:
    """Moments of the kernel in use: from coefficients where they are, by quadrature the others."""
    values, dimensions = _spectrum(test, d)
    scale = 2.0 if test.antipodal else 1.0
    second = _second(test, d)
    psi, (_, shares) = test.at_pairs(d), pair_rule(d)
    # an infinite moment would come out finite and meaningless, and so would that of a spike
    # narrower than the closest pairs of the rule
    seen = float(shares @ psi**2) > _LEAST_SEEN * second
    order = test._order(d)
    third = float(shares @ psi**3) if seen and 3 * order < d - 1 else math.inf
    fourth = float(shares @ psi**4) if seen and 4 * order < d - 1 else math.inf
    return Moments(
        second, third, fourth, scale**3 * float(np.sum(values * (values / dimensions) ** 2))
    )


def _plain(test: SobolevTest) -> SobolevTest:
    """The test of points that are not taken as lines."""
    return dataclasses.replace(test, antipodal=False) if test.antipodal else test


def _sees_lines(test: SobolevTest, d: int) -> bool:
    """Whether there are even harmonics, beside which those of rounding are nothing."""
    values, _ = _spectrum(_plain(test), d)
    return bool(values[1::2].max(initial=0.0) > _NO_HARMONIC * values.max())


@functools.lru_cache(maxsize=512)
def _second(test: SobolevTest, d: int) -> float:
    """E psi^2 of the kernel in use."""
    whole = test.second_moment(d)
    if not test.antipodal or not math.isfinite(whole):
        return whole
    plain = _plain(test)
    values, dimensions = _spectrum(plain, d)
    squares = values**2 / dimensions
    if whole - float(squares.sum()) < _SERIES_SEES * whole:
        return 4.0 * float(squares[1::2].sum())
    # the degrees left out matter: psi(t) psi(-t), whose poles are half as steep, by quadrature
    psi, (_, shares) = plain.at_pairs(d), pair_rule(d)
    return 2.0 * (whole + float(shares @ (psi * psi[::-1])))


@functools.lru_cache(maxsize=512)
def _is_flat(test: SobolevTest, n: int, d: int) -> bool:
    """Whether the roundings of n values per point come near the variation of psi."""
    terms = test.pair_terms(d)
    constants = sum(
        abs(t.factor * t.kernel.constant) for t in terms if isinstance(t.kernel, Centred)
    )
    rounded = _LEAST_SIGNAL * n * (0.5 * constants + math.sqrt(test.second_moment(d)))
    return bool(math.sqrt(_second(test, d)) < rounded)


class PairParts(NamedTuple):
    """Psi at the pairs of `pair_rule`, the part of it in low harmonics, and their chi-squares."""

    psi: _FLOAT
    shared: _FLOAT
    weights: _FLOAT
    degrees: _FLOAT


def pair_parts(test: SobolevTest, n: int, d: int) -> PairParts:
    """Psi less the harmonics that pairs share is nearly independent from pair to pair."""
    values, dimensions = _spectrum(test, d)
    scale = 2.0 if test.antipodal else 1.0
    eigen = scale * values / dimensions
    places, _ = pair_rule(d)
    cosines = 0.25 * (places[1] - places[0]).numpy()
    psi = test.at_pairs(d)
    second = test.moments(d).second
    if not math.isfinite(second):  # of kernels of order 1: closer pairs than those are rare
        second = float(np.minimum(psi**2, n * n) @ pair_rule(d)[1])
    low = _shared_degrees(eigen, dimensions, second)
    shared = scale * values[:low] @ gegenbauer(max(low, 1), cosines, d)[1 : low + 1]
    kept = np.flatnonzero(eigen[:low] > 0)
    return PairParts(psi, shared, eigen[kept], dimensions[kept])


@functools.lru_cache(maxsize=64)
def _pair_law(test: SobolevTest, n: int, d: int) -> PairSums:
    psi, shared, weights, degrees = pair_parts(test, n, d)
    factor, offset = test.affine(n, d)
    constant = test._constant(d) if test.form == "V" else 0.0
    finite = math.isfinite(test._constant(d))
    return pair_sums(
        factor * 2.0 / n * (psi - shared),
        0.5 * n * (n - 1) * pair_rule(d)[1],
        factor * weights,
        degrees,
        offset=factor * constant + offset,
        mean=factor * constant + offset,
        variance=factor**2 * 2.0 * (1.0 - 1.0 / n) * test.moments(d).second,
        whole=factor * 2.0 / n * psi,
        far=test.placed(_limit(test, d), n, d) if finite and _limit(test, d) else None,  # type: ignore[arg-type]
    )


def _shared_degrees(eigen: _FLOAT, dimensions: _FLOAT, square: float) -> int:
    """How many low degrees must be kept out of the pairs: the rest adds little by triangles."""
    rest = np.cumsum((eigen**3 * dimensions)[::-1])[::-1]
    needed = int(np.sum(8.0 * rest > _LARGEST_TRIANGLE * (2.0 * square) ** 1.5))
    return min(needed, _MOST_SHARED)


def _describe(law: WeightedChi2) -> str:
    if law.weights.size == 1:
        return f"chi-square with {law.degrees[0]:.12g} degrees of freedom"
    return f"weighted sum of {law.weights.size} chi-squares"
