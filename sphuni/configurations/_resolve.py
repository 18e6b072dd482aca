"""From the arguments of `optimize` to a problem, with every refusal in one place."""

import difflib
import math

from sphuni._numbers import finite, whole
from sphuni._typing import Metric
from sphuni.configurations._determinants import DesignProblem, MaxdetProblem
from sphuni.configurations._energies import EnergyProblem
from sphuni.configurations._packings import TammesProblem
from sphuni.configurations._worst_places import CoveringProblem, PolarizationProblem
from sphuni.configurations.problems import Problem
from sphuni.geometry import logdet_bound
from sphuni.kernels import Dirichlet, GegenbauerSeries, Kernel, Riesz, check_kernel

__all__ = ["PROBLEMS", "resolve"]

PROBLEMS = (
    "thomson",
    "log",
    "riesz",
    "energy",
    "tammes",
    "covering",
    "polarization",
    "maxdet",
    "design",
)

_FIXED = {"thomson": 1.0, "log": 0.0}


def resolve(
    name: str,
    n: int,
    d: int,
    s: float | None,
    *,
    metric: Metric,
    kernel: Kernel | None,
    antipodal: bool,
) -> Problem:
    """Check the arguments together and build the problem they describe."""
    if name not in PROBLEMS:
        near = difflib.get_close_matches(str(name), PROBLEMS, n=1)
        hint = f". Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"problem must be one of {', '.join(PROBLEMS)}; got {name!r}{hint}")
    n, d = whole("n", n, 1, "points"), whole("d", d, 2, "dimensions, the circle")
    if metric != "chordal" and name != "riesz":
        raise ValueError(f"metric must be left out for {name!r}; it is for problem='riesz'")
    _check_kernel(name, kernel)
    if name in ("tammes", "covering", "maxdet", "energy") and s is not None:
        raise ValueError(f"s must be left out for {name!r}; got {s}")
    if name == "tammes":
        if n == 1:
            raise ValueError("n must be at least 2 for 'tammes': one point has no angle; got 1")
        return TammesProblem(name, n, d, None, antipodal)
    if name == "covering":
        return CoveringProblem(name, n, d, None, antipodal)
    if name == "polarization":
        return _polarization(name, n, d, s, antipodal=antipodal)
    if name in ("maxdet", "design"):
        if antipodal:
            raise ValueError(f"antipodal must be False for {name!r}")
        return _maxdet(name, n, d, kernel) if name == "maxdet" else _design(name, n, d, s)
    if kernel is not None:
        return _energy(name, n, d, None, kernel, antipodal=antipodal)
    exponent = _exponent(name, s)
    return _energy(name, n, d, exponent, Riesz(exponent, metric), antipodal=antipodal)


def _check_kernel(name: str, kernel: Kernel | None) -> None:
    if kernel is not None:
        check_kernel(kernel)
    if name == "energy" and kernel is None:
        raise ValueError(
            "kernel must be given for problem='energy', such as Gaussian(1.0), or --epsilon 1"
        )
    if name not in ("energy", "maxdet") and kernel is not None:
        raise ValueError(f"kernel must be left out for {name!r}; got {kernel.label}")


def _polarization(name: str, n: int, d: int, s: float | None, *, antipodal: bool) -> Problem:
    if s is None or not -2 < finite("s", s) <= 50:
        raise ValueError(f"s must be given for 'polarization', in (-2, 50]; got {s}")
    return PolarizationProblem(name, n, d, float(s), antipodal)


def _maxdet(name: str, n: int, d: int, kernel: Kernel | None) -> Problem:
    if kernel is None:
        degree = math.isqrt(n) - 1
        if d != 3 or (degree + 1) ** 2 != n:
            raise ValueError(
                f"n must be a square and d = 3 for 'maxdet' without a kernel; got n = {n}, "
                f"d = {d}. Pass kernel=Gaussian(epsilon), or --epsilon, for other sizes"
            )
        kernel = Dirichlet(degree=degree)
    if not math.isfinite(kernel.at_one):
        raise ValueError(f"kernel must be bounded at coincident points; {kernel.label} is not")
    if kernel.at_one > 0 and logdet_bound(n, d, kernel=kernel).value == -math.inf:
        raise ValueError(
            f"n must be smaller for {kernel.label}: the Gram matrix of n = {n} points in R^{d} is "
            "singular whatever the points. Lower n, or take a kernel of higher degree"
        )
    return MaxdetProblem(name, n, d, None, kernel=kernel)


def _design(name: str, n: int, d: int, s: float | None) -> Problem:
    if s is None or not 1 <= finite("s", s) <= 200 or s != int(s):
        raise ValueError(
            f"s must be the strength of the design, a whole number from 1 to 200; got {s}"
        )
    kernel = GegenbauerSeries((0.0, *[1.0] * int(s)), d=d)
    return DesignProblem(name, n, d, float(s), kernel=kernel)


def _energy(
    name: str, n: int, d: int, s: float | None, kernel: Kernel, *, antipodal: bool
) -> Problem:
    if antipodal and not math.isfinite(kernel.at_minus_one):
        raise ValueError(
            f"antipodal=True needs a kernel that is finite at cosine -1; {kernel.label} is not"
        )
    return EnergyProblem(name, n, d, s, antipodal, kernel=kernel)


def _exponent(name: str, s: float | None) -> float:
    if name in _FIXED:
        if s is not None and s != _FIXED[name]:
            raise ValueError(
                f"s must be left out or {_FIXED[name]:g} for {name!r}; got {s}. Use problem='riesz'"
            )
        return _FIXED[name]
    if s is None:
        raise ValueError("s must be given for problem='riesz': the exponent, such as s=2.0")
    if not isinstance(s, float):
        s = finite("s", s)
    if not (math.isfinite(s) and -2 < s <= 200):
        raise ValueError(
            f"s must lie in (-2, 200]; got {s}. At s <= -2 sets of few directions are optimal; "
            "for s to infinity use problem='tammes'"
        )
    return float(s)
