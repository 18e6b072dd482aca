"""The tests by name."""

import bisect
import dataclasses
import difflib
import functools
import html
from typing import Any

import numpy as np

from sphuni._numbers import whole
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

__all__ = [
    "TESTS",
    "TestInfo",
    "available_tests",
    "build",
    "build_test",
    "label",
    "parameter_texts",
    "read",
]

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

_HIGH, _MANY = 4096, 1000  # a dimension and a number of points beyond which nothing changes
_SOME = (2, 3, 4)

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
        Dimensions it is defined in, with its default parameters.
    reference : str
        Paper, year, DOI.
    d : int or None
        Dimension that was asked for.
    """

    __test__ = False

    name: str
    aliases: tuple[str, ...]
    parameters: dict[str, Any]
    detects: str
    where: str
    reference: str
    d: int | None = None

    @property
    def null_laws(self) -> tuple[str, ...]:
        """Kinds of null law that the test has at some n, in R^d or at some d; the last always."""
        return _null_laws(self.name, self.d)


class TestCatalogue(tuple[TestInfo, ...]):
    """The tests in a tuple that prints as a table: two lines a test, the second its sources."""

    __slots__ = ()
    __test__ = False

    def __str__(self) -> str:
        heads = ("test", "where", "parameters", "null laws", "detects")
        rows = [
            (
                i.name,
                i.where,
                " ".join(parameter_texts(i.parameters)),
                ", ".join(i.null_laws),
                i.detects,
            )
            for i in self
        ]
        widths = [max(len(row[j]) for row in (heads, *rows)) for j in range(len(heads) - 1)]
        lines = [
            "  ".join([*(c.ljust(w) for c, w in zip(row[:-1], widths, strict=True)), row[-1]])
            for row in (heads, *rows)
        ]
        for place, info in enumerate(self, start=1):
            also = f"or {', '.join(info.aliases)}; " if info.aliases else ""
            lines[place] += f"\n    {also}{info.reference}"
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        heads = ("test", "aliases", "where", "parameters", "null laws", "detects", "reference")
        rows = [
            (
                i.name,
                ", ".join(i.aliases),
                i.where,
                " ".join(parameter_texts(i.parameters)),
                ", ".join(i.null_laws),
                i.detects,
                i.reference,
            )
            for i in self
        ]
        head = "".join(f"<th>{name}</th>" for name in heads)
        body = "".join(
            f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows
        )
        return f"<table><tr>{head}</tr>{body}</table>"


def available_tests(d: int | None = None) -> TestCatalogue:
    """List the tests of uniformity.

    Parameters
    ----------
    d : int, optional
        Only those that are defined in R^d.

    Returns
    -------
    TestCatalogue
        A tuple of TestInfo; printing it gives a table of names, aliases, dimensions, parameters,
        kinds of null law, what each detects, and references.

    Examples
    --------
    >>> [info.name for info in available_tests(3)][:3]
    ['rayleigh', 'bingham', 'ajne']
    """
    if d is not None and d < 2:
        raise ValueError(f"d must be an ambient dimension, at least 2; got {d}")
    return TestCatalogue(_info(test, d) for test in TESTS.values() if d is None or test.defined(d))


def build_test(test: str, **parameters: Any) -> UniformityTest:
    """Make a test from its name and parameters, for its statistic, coefficients and laws.

    Parameters may also follow the name after colons, numbers with slashes between them where there
    are several: ``"riesz:s=0.5"``, ``"sobolev:weights=1/0/2"``. All functions that take the name of
    a test read it so.

    Examples
    --------
    >>> build_test("riesz", s=0.5).at_one(3)
    1.131370849898476
    >>> build_test("riesz:s=0.5").at_one(3)
    1.131370849898476
    """
    return build(test, parameters)


def build(test: str | UniformityTest, parameters: dict[str, Any]) -> UniformityTest:
    """Make a test from its name and parameters, naming the nearest ones if there is none."""
    if isinstance(test, UniformityTest):
        parameters = _plain_parameters(test.name, type(test), parameters)
        return dataclasses.replace(test, **parameters) if parameters else test
    if not isinstance(test, str):
        raise TypeError(f"test must be a name or a UniformityTest; got {type(test).__name__}")
    name, written = read(test)
    for key in written.keys() & parameters.keys():
        if not _same(parameters[key], written[key]):
            raise TypeError(f"test {test!r} is given {key} = {parameters[key]!r} besides")
    parameters = parameters | written
    if name == Rayleigh.name and "m" in parameters:
        name, parameters = _with_modes(parameters)
    if not parameters:
        return _by_default(name)
    return TESTS[name](**_plain_parameters(name, TESTS[name], parameters))


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def _plain_parameters(
    name: str, test: type[UniformityTest], parameters: dict[str, Any]
) -> dict[str, Any]:
    """Numbers of any library as Python's own; refuses those a test has not, and several for one.

    A number of single or half precision would carry its precision into the statistic.
    """
    known = {field.name: field.type for field in dataclasses.fields(test) if field.init}
    plain = dict(parameters)
    for key, value in parameters.items():
        if key not in known:
            takes = ", ".join(known) or "no parameters"
            raise TypeError(f"test {name!r} has no parameter {key!r}; it takes {takes}")
        optional = known[key] == (float | None)
        if (optional and value is None) or not (optional or known[key] in (int, float, bool)):
            continue
        if np.ndim(value) > 0:
            raise ValueError(
                f"{key} must be one number; got {value!r}. Give each value to a test of its own: "
                f"uniformity_tests(points, ['{name}:{key}=...', ...])"
            )
        if isinstance(value, str) or not hasattr(value, "__float__"):
            raise TypeError(f"{key} must be a number; got {value!r}")
        plain[key] = _plain_number(key, value, known[key])
    return plain


def _plain_number(key: str, value: Any, kind: Any) -> int | float | bool:
    """A number, or what says yes or no, as one of Python's own."""
    if getattr(value, "requires_grad", False):
        raise TypeError(
            f"{key} must be a plain number, one that no gradient is asked of; got {value!r}. "
            "Pass its .item()"
        )
    if kind is int:
        return whole(key, value)
    if kind is not bool:
        return float(value)
    if value not in (0, 1):
        raise ValueError(f"{key} must be True or False; got {value!r}")
    return bool(value)


def read(text: str) -> tuple[str, dict[str, Any]]:
    """Name of a known test and its parameters, from `name:key=value:key=value`."""
    called, *settings = text.split(":")
    key = called.strip().lower().replace("-", "_").replace(" ", "_")
    name = _ALIASES.get(key, key)
    if name not in TESTS:
        near = difflib.get_close_matches(name, [*TESTS, *_ALIASES], n=3, cutoff=0.4)
        hint = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
        raise ValueError(f"test {called!r} is not known. {hint}Names: {', '.join(TESTS)}")
    parameters: dict[str, Any] = {}
    for setting in settings:
        key, value = _setting(text, setting)
        if key in parameters:
            raise ValueError(f"parameter {key} is given twice in {text!r}")
        parameters[key] = value
    return name, parameters


def _setting(text: str, part: str) -> tuple[str, Any]:
    """Read `key=value`: a number, true or false, or several numbers with slashes."""
    key, equals, value = (each.strip() for each in part.partition("="))
    if not equals or not key.isidentifier():
        raise ValueError(f"write a test's parameters as name:key=value; got {text!r}")
    if value.lower() in ("true", "false"):
        return key, value.lower() == "true"
    try:
        numbers = tuple(int(v) if v.lstrip("+-").isdigit() else float(v) for v in value.split("/"))
    except ValueError:
        raise ValueError(
            f"parameter {key} must be a number, or several with / between them; got {value!r}"
        ) from None
    return key, numbers if "/" in value else numbers[0]


def _with_modes(parameters: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Rayleigh's test of m modes: of one it is the plain test, in every dimension."""
    if whole("m", parameters["m"], 1, "a number of modes") > 1:
        return RayleighM.name, parameters
    return Rayleigh.name, {key: value for key, value in parameters.items() if key != "m"}


@functools.lru_cache(maxsize=len(TESTS))
def _by_default(name: str) -> UniformityTest:
    return TESTS[name]()


def _parameters(test: type[UniformityTest]) -> dict[str, Any]:
    return {field.name: field.default for field in dataclasses.fields(test) if field.init}


def _info(test: type[UniformityTest], d: int | None) -> TestInfo:
    parameters, where = _parameters(test), _where(test.name)
    return TestInfo(test.name, test.aliases, parameters, test.detects, where, test.reference, d)


@functools.cache
def _null_laws(name: str, d: int | None) -> tuple[str, ...]:
    test = _by_default(name)
    # where the default parameters do not suit, others have the laws of the lower dimensions
    asked = (d,) if d is not None and _takes(name, d) else _SOME
    places = [(n, each) for n in (10, 100, _MANY) for each in asked if _takes(name, each)]
    laws = [law(*place) for place in places for law in (test.best_law, test.asymptotic_law)]
    kinds = {law.kind for law in laws if law is not None}
    return (*(kind for kind in ("exact", "asymptotic") if kind in kinds), "monte-carlo")


@functools.cache
def _where(name: str) -> str:
    """Dimensions that a test takes with its default parameters."""
    least = 2 if _takes(name, 2) else 3
    if _takes(name, _HIGH):
        return "all d" if least == 2 else f"d >= {least}"
    largest = (
        bisect.bisect_left(range(_HIGH), True, lo=least, key=lambda d: not _takes(name, d)) - 1
    )
    return f"d = {least}" if largest == least else f"d <= {largest}"


def _takes(name: str, d: int) -> bool:
    try:
        _by_default(name).check(_MANY, d)
    except ValueError:
        return False
    return True


def label(test: str, parameters: dict[str, Any]) -> str:
    """Name of a test with the parameters that differ from their defaults."""
    usual = _by_default(test).parameters() if test in TESTS else {}
    given = parameter_texts({k: v for k, v in parameters.items() if v != usual.get(k)})
    return f"{test}({', '.join(given)})" if given else test


def parameter_texts(parameters: dict[str, Any]) -> list[str]:
    """Parameters in few characters, but for `antipodal`, which all tests have."""
    shown = {key: value for key, value in parameters.items() if key != "antipodal"}
    return [f"{key}={_brief(value)}" for key, value in shown.items()]


def _brief(value: Any) -> str:
    if isinstance(value, tuple | list):
        if value and isinstance(value[0], tuple | list):
            return f"<{len(value)}>"
        return "/".join(map(_brief, value))
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:g}" if number else str(value).lower()
