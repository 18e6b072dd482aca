"""Sobolev tests that are sums of a closed-form kernel over pairs."""

import dataclasses
import math
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import special

from sphuni.kernels import Gaussian, Poisson, Riesz
from sphuni.stats._base import Term
from sphuni.stats.classical import gine_coefficients
from sphuni.stats.kernels import _coefficients as co
from sphuni.stats.kernels._angular import HalfTangent, arcs_have_atom
from sphuni.stats.kernels._zonal import Centred, Latitude, OneMinusSine
from sphuni.stats.sobolev import SobolevTest

__all__ = [
    "Ajne",
    "Bakshaev",
    "GineFn",
    "PoissonTest",
    "RieszTest",
    "Softmax",
    "Stereographic",
]

_FLOAT = NDArray[np.float64]
_LEAST_VALUE = 1e-10


@dataclasses.dataclass(frozen=True)
class Ajne(SobolevTest):
    r"""Ajne's test, :math:`S = \frac n4 - \frac1{n\pi} \sum_{i<j} \theta_{ij}`, odd harmonics.

    References
    ----------
    B. Ajne, "A simple test for uniformity of a circular distribution", Biometrika 55 (1968)
    343-354, doi:10.1093/biomet/55.2.343.
    """

    name: ClassVar[str] = "ajne"
    detects: ClassVar[str] = "a hemisphere that holds more than its half"
    reference: ClassVar[str] = "Ajne 1968, doi:10.1093/biomet/55.2.343"

    def pair_terms(self, d: int) -> tuple[Term, ...]:
        """(pi/2 - theta) / pi."""
        return (Term(1.0 / math.pi, Latitude()),)

    def has_atoms(self, n: int, d: int) -> bool:
        """Few points of the circle often have as even counts in half circles as there can be."""
        return d == 2 and arcs_have_atom(n, 0.5)

    def coefficients(self, d: int, count: int) -> _FLOAT:
        """Squares of the hemisphere's eigenvalues."""
        return co.hemisphere(d, count) ** 2 * co.dimensions(d, count)

    def at_one(self, d: int) -> float:
        """1/4."""
        return 0.25


@dataclasses.dataclass(frozen=True)
class GineFn(SobolevTest):
    r"""Giné's F_n = 4 Ajne + G_n: every harmonic, consistent against all alternatives.

    References
    ----------
    E. M. Giné, "Invariant tests for uniformity on compact Riemannian manifolds based on Sobolev
    norms", Annals of Statistics 3 (1975) 1243-1266, doi:10.1214/aos/1176343283.
    """

    name: ClassVar[str] = "gine_fn"
    detects: ClassVar[str] = "every departure"
    reference: ClassVar[str] = "Giné 1975, doi:10.1214/aos/1176343283"

    def pair_terms(self, d: int) -> tuple[Term, ...]:
        """Those of Ajne, four times, and of G_n."""
        return (
            Term(4.0 / math.pi, Latitude()),
            Term(1.0 / OneMinusSine.mean_sine(d), OneMinusSine()),
        )

    def coefficients(self, d: int, count: int) -> _FLOAT:
        """Odd degrees from Ajne, even ones from G_n."""
        odd = co.hemisphere(d, count) ** 2 * co.dimensions(d, count)
        return 4.0 * odd + gine_coefficients(d, count)

    def at_one(self, d: int) -> float:
        """3/2."""
        return 1.5


@dataclasses.dataclass(frozen=True)
class RieszTest(SobolevTest):
    r"""Riesz test, :math:`S = n E|x-y|^s - \frac2n \sum_{i<j} |x_i - x_j|^s`.

    Parameters
    ----------
    s : float, default 1
        Power of the *distance*, s <= 2: 1 is Bakshaev's test, 2 Rayleigh's, 0 the logarithm
        :math:`n E\log|x-y| - \frac2n \sum \log |x_i - x_j|`. For s < 0 the sign is turned, so that
        large values mean clustering for every s. The limit law needs -2 s < d - 1.

    References
    ----------
    E. García-Portugués, P. Navarro-Esteban, J. A. Cuesta-Albertos, "On a projection-based class
    of uniformity tests on the hypersphere", Bernoulli 29 (2023) 181-204, doi:10.3150/21-BEJ1454.
    """

    name: ClassVar[str] = "riesz"
    aliases: ClassVar[tuple[str, ...]] = ("energy",)
    detects: ClassVar[str] = "every departure; fine structure as s falls"
    reference: ClassVar[str] = "García-Portugués et al. 2023, doi:10.3150/21-BEJ1454"
    s: float = 1.0

    def __post_init__(self) -> None:
        if not self.s <= 2 or not math.isfinite(self.s):
            raise ValueError(f"s must be a power of the distance, at most 2; got {self.s}")

    @property
    def form(self) -> str:  # type: ignore[override]
        """V-form where the kernel is bounded."""
        return "V" if self.s > 0 else "U"

    def check(self, n: int, d: int) -> None:
        """Refuse s for which the kernel has no mean."""
        super().check(n, d)
        if -self.s >= d - 1:
            raise ValueError(
                f"s must exceed {1 - d} in R^{d}, or the mean is infinite; got {self.s}"
            )

    def pair_terms(self, d: int) -> tuple[Term, ...]:
        """Twice the centred Riesz kernel."""
        kernel = Riesz(-self.s)
        return (Term(2.0, Centred(kernel, kernel.mean(d), d)),)

    def coefficients(self, d: int, count: int) -> _FLOAT:
        """Closed form of Funk and Hecke."""
        if self.s == 0:
            return co.log_chord(d, count) * co.dimensions(d, count)
        sign = -1.0 if self.s > 0 else 1.0
        return sign * co.chord_power(self.s, d, count)[1:] * co.dimensions(d, count)

    def at_one(self, d: int) -> float:
        """E |x - y|^s for s > 0, else infinite."""
        return float(co.chord_power(self.s, d, 0)[0]) if self.s > 0 else math.inf

    def second_moment(self, d: int) -> float:
        """The variance of the kernel."""
        if self.s <= -0.5 * (d - 1):
            return math.inf
        if self.s == 0:
            return Riesz(0.0).variance(d)
        square, mean = co.chord_power(2 * self.s, d, 0)[0], co.chord_power(self.s, d, 0)[0]
        direct = float(square - mean**2)
        return direct if direct > 1e-4 * mean**2 else super().second_moment(d)

    def affine(self, n: int, d: int) -> tuple[float, float]:
        """For s <= 0 custom centres by n and not by n - 1."""
        return 1.0, 0.0 if self.s > 0 else -Riesz(-self.s).mean(d)


@dataclasses.dataclass(frozen=True)
class Bakshaev(RieszTest):
    """The energy test of mean distances: `riesz` with s = 1.

    References
    ----------
    A. Bakshaev, "N-distance tests of uniformity on the hypersphere", Nonlinear Analysis: Modelling
    and Control 15 (2010) 15-28, doi:10.15388/NA.2010.15.1.14361.
    """

    name: ClassVar[str] = "bakshaev"
    aliases: ClassVar[tuple[str, ...]] = ()
    detects: ClassVar[str] = "every departure"
    reference: ClassVar[str] = "Bakshaev 2010, doi:10.15388/NA.2010.15.1.14361"
    s: float = dataclasses.field(default=1.0, init=False)


@dataclasses.dataclass(frozen=True)
class PoissonTest(SobolevTest):
    r"""U-form of the Poisson kernel :math:`((1-\rho)/\sqrt{1-2\rho t+\rho^2})^d`.

    Parameters
    ----------
    rho : float, default 0.5
        In (0, 1). A fixed rho is a spike in high dimension: let 1 - rho grow with d.

    References
    ----------
    Y. Ding, M. Markatou, G. Saraceno, "Poisson kernel-based tests for uniformity on the
    d-dimensional sphere", Statistica Sinica 35 (2025) 1947-1969, doi:10.5705/ss.202022.0347.
    """

    form: ClassVar[str] = "U"
    name: ClassVar[str] = "poisson"
    detects: ClassVar[str] = "clusters of a size set by rho"
    reference: ClassVar[str] = "Ding, Markatou & Saraceno 2025, doi:10.5705/ss.202022.0347"
    rho: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.rho < 1:
            raise ValueError(f"rho must lie strictly between 0 and 1; got {self.rho}")

    def check(self, n: int, d: int) -> None:
        """Refuse dimensions in which the kernel of all but the closest pairs vanishes."""
        usual = (1.0 - self.rho**2) * (1.0 + self.rho**2) ** (-d / 2)
        if usual < _LEAST_VALUE:
            raise ValueError(
                f"test 'poisson' at rho = {self.rho:g} in R^{d} is a constant: an orthogonal pair "
                f"has {usual:.0e} of the mean of the kernel. Take rho near {d**-0.5:.2g} = d^(-1/2)"
            )
        super().check(n, d)

    def pair_terms(self, d: int) -> tuple[Term, ...]:
        """Twice the kernel."""
        return (Term(2.0, Centred(Poisson(self.rho, d), self._mean(d), d)),)

    def coefficients(self, d: int, count: int) -> _FLOAT:
        """d_k rho^k times the mean."""
        k = np.arange(1.0, count + 1)
        return self._mean(d) * self.rho**k * co.dimensions(d, count)

    def at_one(self, d: int) -> float:
        """1 less the mean."""
        return 1.0 - self._mean(d)

    def second_moment(self, d: int) -> float:
        """Closed form."""
        ratio = math.log1p(self.rho**2) - (d - 1) * math.log1p(-(self.rho**2))
        return self._mean(d) ** 2 * math.expm1(min(ratio, 700.0))

    def _mean(self, d: int) -> float:
        return (1.0 - self.rho) ** d / (1.0 - self.rho**2)


@dataclasses.dataclass(frozen=True)
class Softmax(SobolevTest):
    r"""U-form of :math:`e^{\kappa (t - 1)}`, the Gaussian potential of the uniformity loss.

    Parameters
    ----------
    kappa : float, default 1
        Positive; with t of Wang and Isola's loss, kappa = 2 t.

    References
    ----------
    A. Fernández-de-Marcos, E. García-Portugués, "On new omnibus tests of uniformity on the
    hypersphere", TEST 32 (2023) 1508-1529, doi:10.1007/s11749-023-00882-x.
    """

    form: ClassVar[str] = "U"
    name: ClassVar[str] = "softmax"
    detects: ClassVar[str] = "concentration of a width set by kappa"
    reference: ClassVar[str] = (
        "Fernández-de-Marcos & García-Portugués 2023, doi:10.1007/s11749-023-00882-x"
    )
    kappa: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.kappa < math.inf:
            raise ValueError(f"kappa must be a positive number; got {self.kappa}")

    def pair_terms(self, d: int) -> tuple[Term, ...]:
        """Twice the kernel."""
        kernel = Gaussian(math.sqrt(0.5 * self.kappa))
        return (Term(2.0, Centred(kernel, self._mean(d), d)),)

    def coefficients(self, d: int, count: int) -> _FLOAT:
        """Ratios of Bessel functions."""
        ratios = co.bessel_ratios(self.kappa, d, count)
        return self._mean(d) * ratios * co.dimensions(d, count)

    def at_one(self, d: int) -> float:
        """1 less the mean."""
        return 1.0 - self._mean(d)

    def second_moment(self, d: int) -> float:
        """From the mean at 2 kappa where that does not cancel."""
        square = _softmax_mean(2.0 * self.kappa, d)
        direct = square - self._mean(d) ** 2
        return direct if direct > 1e-3 * square else super().second_moment(d)

    def _mean(self, d: int) -> float:
        return _softmax_mean(self.kappa, d)


@dataclasses.dataclass(frozen=True)
class Stereographic(SobolevTest):
    r"""U-form of :math:`\cot(\theta/2) + a \tan(\theta/2)`.

    Parameters
    ----------
    a : float, default 0
        In [-1, 1]; -1 keeps odd harmonics only, 1 even ones.

    References
    ----------
    A. Fernández-de-Marcos, E. García-Portugués, "A stereographic test of spherical uniformity",
    Statistics & Probability Letters 215 (2024) 110218, doi:10.1016/j.spl.2024.110218.
    """

    form: ClassVar[str] = "U"
    name: ClassVar[str] = "stereo"
    aliases: ClassVar[tuple[str, ...]] = ("stereographic",)
    detects: ClassVar[str] = "close pairs, heavy local structure"
    reference: ClassVar[str] = (
        "Fernández-de-Marcos & García-Portugués 2024, doi:10.1016/j.spl.2024.110218"
    )
    a: float = 0.0

    def __post_init__(self) -> None:
        if not -1 <= self.a <= 1:
            raise ValueError(f"a must lie in [-1, 1]; got {self.a}")

    @classmethod
    def defined(cls, d: int) -> bool:
        """From d = 3 on; the limit law from d = 4 on."""
        return d >= 3

    def pair_terms(self, d: int) -> tuple[Term, ...]:
        """Twice the kernel, whose mean is (1 + a) E[1 / sin]."""
        mean = (1.0 + self.a) * float(co.sine_power(-0.5, d, 0)[0])
        return (Term(2.0, Centred(HalfTangent(self.a), mean, d)),)

    def coefficients(self, d: int, count: int) -> _FLOAT:
        """(1 + a) / sin at even degrees and (1 - a) t / sin at odd ones."""
        even = co.sine_power(-0.5, d, count + 1)
        odd = co.times_cosine(even, d)
        values = (1.0 + self.a) * even[:-1] + (1.0 - self.a) * odd
        return values[1:] * co.dimensions(d, count)

    def at_one(self, d: int) -> float:
        """Infinite."""
        return math.inf

    def second_moment(self, d: int) -> float:
        """Closed form; infinite on S^2."""
        if d <= 3:
            return math.inf
        inverse = float(co.sine_power(-1.0, d, 0)[0])
        mean = (1.0 + self.a) * float(co.sine_power(-0.5, d, 0)[0])
        # cot^2 + a^2 tan^2 + 2 a, with E cot^2(theta/2) = E[(1 + t^2) / sin^2] = 2 E[1/sin^2] - 1
        return (1.0 + self.a**2) * (2.0 * inverse - 1.0) + 2.0 * self.a - mean**2


def _softmax_mean(kappa: float, d: int) -> float:
    """E e^(kappa (t - 1)) in R^d."""
    nu = 0.5 * d - 1.0
    scaled = float(special.ive(nu, kappa))
    if scaled > 1e-200:
        return scaled * math.exp(special.gammaln(0.5 * d) + nu * (math.log(2.0) - math.log(kappa)))
    return float(special.hyp0f1(0.5 * d, 0.25 * kappa * kappa)) * math.exp(-kappa)
