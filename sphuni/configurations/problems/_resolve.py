"""From the arguments of `optimize` to a problem, with every refusal in one place."""

import difflib
import math

from sphuni._numbers import finite, whole
from sphuni._typing import Metric
from sphuni.configurations.problems._base import Problem
from sphuni.configurations.problems._determinants import DesignProblem, MaxdetProblem
from sphuni.configurations.problems._energies import EnergyProblem
from sphuni.configurations.problems._packings import TammesProblem
from sphuni.configurations.problems._worst_places import CoveringProblem, PolarizationProblem
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
    if name == "maxdet":
        return _maxdet(name, n, d, kernel, antipodal=antipodal)
    if name == "design":
        return _design(name, n, d, s, antipodal=antipodal)
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


def _maxdet(name: str, n: int, d: int, kernel: Kernel | None, *, antipodal: bool) -> Problem:
    if kernel is None:
        if antipodal:
            raise ValueError(
                "kernel must be given for 'maxdet' with antipodal=True, such as Gaussian(1.0), or "
                "--epsilon 1: the Dirichlet kernel of n points has too few functions for 2n"
            )
        degree = math.isqrt(n) - 1
        if d != 3 or (degree + 1) ** 2 != n:
            raise ValueError(
                f"n must be a square and d = 3 for 'maxdet' without a kernel; got n = {n}, "
                f"d = {d}. Pass kernel=Gaussian(epsilon), or --epsilon, for other sizes"
            )
        kernel = Dirichlet(degree=degree)
    if not math.isfinite(kernel.at_one):
        raise ValueError(f"kernel must be bounded at coincident points; {kernel.label} is not")
    highest = kernel.at_one > 0 and logdet_bound(n, d, kernel=kernel, antipodal=antipodal).value
    if highest == -math.inf:
        things = f"{n} lines, with both their ends," if antipodal else f"n = {n} points"
        raise ValueError(
            f"n must be smaller for {kernel.label}: the Gram matrix of {things} in R^{d} is "
            "singular whatever the points. Lower n, or take a kernel of higher degree"
        )
    return MaxdetProblem(name, n, d, None, antipodal, kernel=kernel)


def _design(name: str, n: int, d: int, s: float | None, *, antipodal: bool) -> Problem:
    if s is None or not 1 <= finite("s", s) <= 200 or s != int(s):
        raise ValueError(
            f"s must be the strength of the design, a whole number from 1 to 200; got {s}"
        )
    if antipodal and s < 2:
        raise ValueError(
            "s must be at least 2 for 'design' with antipodal=True: any lines, with both their "
            f"ends, are a design of strength 1; got {s}"
        )
    degrees = range(1, int(s) + 1)
    coefficients = [0.0 if antipodal and degree % 2 else 1.0 for degree in degrees]
    kernel = GegenbauerSeries((0.0, *coefficients), d=d)
    return DesignProblem(name, n, d, float(s), antipodal, kernel=kernel)


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
