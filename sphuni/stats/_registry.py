"""The tests by name."""

import dataclasses
import difflib
import functools
from typing import Any

from sphuni.stats._base import UniformityTest
from sphuni.stats.circle_pairs import (
    FeltzGoldin,
    HermansRasson,
    Pycke,
    PyckeQ,
    RayleighM,
    Rothman,
    Watson,
)
from sphuni.stats.circular import (
    Cressie,
    Gini,
    GiniSquared,
    Greenwood,
    HodgesAjne,
    Kuiper,
    LogGaps,
    Range,
    Rao,
    Watson1976,
)
from sphuni.stats.classical import Bingham, GineGn, Rayleigh, RayleighHD
from sphuni.stats.coverage import MaxUncover, NumUncover, Vacancy
from sphuni.stats.directions import CuestaAlbertos, SlicedWasserstein
from sphuni.stats.line import AndersonDarling, CramerVonMises, KolmogorovSmirnov
from sphuni.stats.omnibus import Omnibus
from sphuni.stats.packing import MaxAngle, Packing
from sphuni.stats.pairs import (
    Ajne,
    Bakshaev,
    GineFn,
    PoissonTest,
    RieszTest,
    Softmax,
    Stereographic,
)
from sphuni.stats.poisson_kernel import MMD, QuadratikU, QuadratikV
from sphuni.stats.projected import PAD, PCvM, PRt
from sphuni.stats.series import Sobolev, Stein

__all__ = ["TESTS", "TestInfo", "available_tests", "build", "build_test"]

_CLASSES: tuple[type[UniformityTest], ...] = (
    Rayleigh,
    Bingham,
    Ajne,
    GineGn,
    GineFn,
    Bakshaev,
    RieszTest,
    PCvM,
    PAD,
    PRt,
    PoissonTest,
    Softmax,
    Stereographic,
    Sobolev,
    Stein,
    MMD,
    QuadratikU,
    QuadratikV,
    RayleighHD,
    Packing,
    MaxAngle,
    CuestaAlbertos,
    SlicedWasserstein,
    Omnibus,
    RayleighM,
    Watson,
    Rothman,
    HermansRasson,
    Pycke,
    PyckeQ,
    FeltzGoldin,
    Kuiper,
    Watson1976,
    Range,
    Rao,
    Greenwood,
    LogGaps,
    Gini,
    GiniSquared,
    Vacancy,
    MaxUncover,
    NumUncover,
    HodgesAjne,
    Cressie,
    KolmogorovSmirnov,
    CramerVonMises,
    AndersonDarling,
)

TESTS: dict[str, type[UniformityTest]] = {test.name: test for test in _CLASSES}

_ALIASES = {alias: test.name for test in _CLASSES for alias in test.aliases}


@dataclasses.dataclass(frozen=True)
class TestInfo:
    """What there is to know about one test.

    Attributes
    ----------
    name : str
        Name for `uniformity_test`.
    aliases : tuple of str
        Other names it answers to.
    parameters : dict
        Keywords of `uniformity_test` with their defaults.
    detects : str
        What the upper tail is sensitive to.
    where : str
        Dimensions it is defined in.
    reference : str
        Paper, year, DOI.
    """

    __test__ = False

    name: str
    aliases: tuple[str, ...]
    parameters: dict[str, Any]
    detects: str
    where: str
    reference: str

    @property
    def null_laws(self) -> tuple[str, ...]:
        """Kinds of null law that the test has at some n and d; the last serves always."""
        test = _by_default(self.name)
        places = [(n, d) for n in (10, 100) for d in (2, 3, 4) if test.defined(d)]
        laws = [law(*place) for place in places for law in (test.best_law, test.asymptotic_law)]
        kinds = {law.kind for law in laws if law is not None}
        return (*(kind for kind in ("exact", "asymptotic") if kind in kinds), "monte-carlo")


def available_tests(d: int | None = None) -> tuple[TestInfo, ...]:
    """List the tests of uniformity.

    Parameters
    ----------
    d : int, optional
        Only those that are defined in R^d.

    Returns
    -------
    tuple of TestInfo

    Examples
    --------
    >>> [info.name for info in available_tests(3)][:3]
    ['rayleigh', 'bingham', 'ajne']
    """
    if d is not None and d < 2:
        raise ValueError(f"d must be an ambient dimension, at least 2; got {d}")
    return tuple(_info(test) for test in TESTS.values() if d is None or test.defined(d))


def build_test(test: str, **parameters: Any) -> UniformityTest:
    """Make a test from its name and parameters, for its statistic, coefficients and laws.

    Examples
    --------
    >>> build_test("riesz", s=0.5).at_one(3)
    1.131370849898476
    """
    return build(test, parameters)


def build(test: str | UniformityTest, parameters: dict[str, Any]) -> UniformityTest:
    """Make a test from its name and parameters, naming the nearest ones if there is none."""
    if isinstance(test, UniformityTest):
        return dataclasses.replace(test, **parameters) if parameters else test
    if not isinstance(test, str):
        raise TypeError(f"test must be a name or a UniformityTest; got {type(test).__name__}")
    key = test.lower().replace("-", "_").replace(" ", "_")
    name = _ALIASES.get(key, key)
    if name == "rayleigh" and "m" in parameters:
        name = "rayleigh_m"
    if name not in TESTS:
        near = difflib.get_close_matches(name, [*TESTS, *_ALIASES], n=3, cutoff=0.4)
        hint = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
        raise ValueError(f"test {test!r} is not known. {hint}Names: {', '.join(TESTS)}")
    if not parameters:
        return _by_default(name)
    known = _parameters(TESTS[name])
    for key in parameters:
        if key not in known:
            takes = ", ".join(known) or "no parameters"
            raise TypeError(f"test {name!r} has no parameter {key!r}; it takes {takes}")
    return TESTS[name](**parameters)


@functools.lru_cache(maxsize=len(TESTS))
def _by_default(name: str) -> UniformityTest:
    return TESTS[name]()


def _parameters(test: type[UniformityTest]) -> dict[str, Any]:
    return {field.name: field.default for field in dataclasses.fields(test) if field.init}


def _info(test: type[UniformityTest]) -> TestInfo:
    where = "circle (d = 2)" if test.circle_only else "d >= 3" if not test.defined(2) else "all d"
    return TestInfo(test.name, test.aliases, _parameters(test), test.detects, where, test.reference)
