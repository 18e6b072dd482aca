"""Best known values of the optimal-configuration problems, each with its source."""

import csv
import dataclasses
import difflib
import functools
from importlib import resources
from importlib.resources.abc import Traversable

from sphuni._numbers import whole
from sphuni._result import Result

__all__ = ["MissingRecordError", "Record", "record", "records"]

_HIGHER = ("tammes", "polarization", "maxdet", "gaussian")
_FIXED_EXPONENTS = {"thomson": 1.0, "log": 0.0}


class MissingRecordError(LookupError, ValueError):
    """No value is on record for the size, dimension or exponent that was asked for."""


@dataclasses.dataclass(frozen=True, repr=False)
class Record(Result):
    """One best known value; see `record` for its meaning in each problem."""

    problem: str
    n: int
    d: int
    s: float | None
    antipodal: bool
    value: float
    digits: int
    """How many significant digits of the value are to be trusted."""
    status: str
    """"proven", "best known" (a published optimum, unproven) or "putative" (own search)."""
    source: str
    doi: str | None


def record(
    problem: str, *, n: int, d: int = 3, s: float | None = None, antipodal: bool = False
) -> Record:
    r"""Look up the best known value of a problem for n points on S^(d-1).

    Parameters
    ----------
    problem : str
        What is optimised, and what the value is:

        ``"thomson"``, ``"log"``, ``"riesz"``
            least energy, the sum over i < j of 1/r, of -log r, or of r^-s with the given `s`,
            r the chordal distance (``"riesz"`` with s = 1 or 0 is the same as the first two);
        ``"tammes"``
            greatest separation, the smallest angle between two points, in radians;
        ``"covering"``
            least covering radius, in radians;
        ``"polarization"``
            greatest minimum over the sphere of the sum of r^-s;
        ``"maxdet"``
            greatest log-determinant of the Gram matrix of the Dirichlet kernel
            :math:`\sum_{l \le L} (2l+1) P_l / (4\pi)`, n = (L+1)^2;
        ``"gaussian"``
            the same of the kernel exp(-epsilon^2 r^2), epsilon given as `s`;
        ``"design"``
            residual of a spherical t-design (t is given as `s`): the root of the largest mean
            of P_l over all ordered pairs, l = 1..t; 0 for an exact design.
    n : int
        Number of points.
    d : int, default 3
        Ambient dimension.
    s : float, optional
        Riesz exponent, or the strength of a design; not needed where the problem fixes it.
    antipodal : bool, default False
        Whether the n points stand for the 2n points {x, -x}.

    Returns
    -------
    Record
        Frozen dataclass with the arguments, ``value``, ``digits``, ``status``, ``source`` and
        ``doi``.

    Raises
    ------
    MissingRecordError
        A `LookupError` and `ValueError`, if nothing is on record there; it names the nearest
        sizes.
    ValueError
        If there is no such problem, or an exponent contradicts it.

    Notes
    -----
    ``status="putative"`` means "at least this good": the best of a search, not a theorem.

    References
    ----------
    Each record carries its own.

    Examples
    --------
    >>> record("thomson", n=12).value
    49.165253057629
    >>> record("tammes", n=24, d=4).status
    'proven'
    >>> round(record("tammes", n=6, d=3, antipodal=True).value, 12)  # diagonals of the icosahedron
    1.107148717794
    """
    problem, s = _canonical(problem, s)
    n, d = whole("n", n), whole("d", d)
    table = _table()
    found = table.get((problem, n, d, s, antipodal))
    if found is None:
        raise MissingRecordError(_explain_missing(problem, n, d, s, antipodal))
    return found


def records(
    problem: str,
    *,
    d: int | None = None,
    s: float | None = None,
    antipodal: bool | None = None,
) -> tuple[Record, ...]:
    """List every record of a problem.

    Parameters
    ----------
    problem : str
        As for `record`.
    d : int, optional
        Keep one ambient dimension only.
    s : float, optional
        Keep one exponent (or strength of a design) only.
    antipodal : bool, optional
        Keep records of lines {x, -x} only, or those of points only.

    Returns
    -------
    tuple of Record
        Ordered by dimension, exponent and number of points; empty if none fits.

    Raises
    ------
    ValueError
        If there is no such problem, or an exponent contradicts it.

    Examples
    --------
    >>> [entry.n for entry in records("covering", d=3)][:5]
    [4, 5, 6, 7, 8]
    """
    problem, s = _canonical(problem, s)
    rows = [
        row
        for row in _table().values()
        if row.problem == problem
        and d in (None, row.d)
        and s in (None, row.s)
        and antipodal in (None, row.antipodal)
    ]
    return tuple(sorted(rows, key=lambda row: (row.d, row.s or 0.0, row.n, row.antipodal)))


def _canonical(problem: str, s: float | None) -> tuple[str, float | None]:
    """Name a problem and its exponent as the tables do."""
    known = sorted({key[0] for key in _table()})
    if problem not in known:
        near = difflib.get_close_matches(problem, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"problem must be one of {', '.join(known)}; got {problem!r}.{hint}")
    if problem in _FIXED_EXPONENTS:
        fixed = _FIXED_EXPONENTS[problem]
        if s is not None and s != fixed:
            raise ValueError(
                f"s must be left out or {fixed:g} for {problem!r}; got {s:g}. "
                "Ask for problem='riesz' with that exponent."
            )
        return problem, fixed
    if problem == "riesz" and s is not None:
        for name, fixed in _FIXED_EXPONENTS.items():
            if s == fixed:
                return name, fixed
    return problem, None if s is None else float(s)


def _explain_missing(problem: str, n: int, d: int, s: float | None, antipodal: bool) -> str:
    rows = [row for row in _table().values() if row.problem == problem]
    asked = f"{problem} with n = {n}, d = {d}, s = {s}, antipodal = {antipodal}"
    exponents = sorted({row.s for row in rows if row.s is not None})
    if exponents and s not in exponents:
        name = "strengths" if problem == "design" else "exponents"
        return f"s must be one of the {name} on record for {problem}, {_list(exponents)}; got {s}."
    if not exponents and s is not None:
        return f"s must be left out for {problem}; got {s}."
    dimensions = sorted({row.d for row in rows if row.s == s and row.antipodal == antipodal})
    if d not in dimensions:
        return f"no record of {asked}; dimensions on record: {_list(dimensions) or 'none'}."
    sizes = [row.n for row in rows if (row.d, row.s, row.antipodal) == (d, s, antipodal)]
    nearest = sorted(sorted(sizes, key=lambda size: (abs(size - n), size))[:3])
    return f"no record of {asked}; the nearest n on record: {_list(nearest)}."


def _list(values: list[float] | list[int]) -> str:
    return ", ".join(f"{value:g}" for value in values)


@functools.cache
def _table() -> dict[tuple[str, int, int, float | None, bool], Record]:
    """Every record of the package's tables by its key, the atlas where it knows more."""
    folder = resources.files("sphuni.configurations").joinpath("data")
    table = {}
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".csv"):
            for row in map(_parse, _read(file)):
                table[row.problem, row.n, row.d, row.s, row.antipodal] = row
    atlas = folder.joinpath("atlas").joinpath("results.csv")
    for fields in _read(atlas) if atlas.is_file() else []:
        row = _parse(fields | {"source": _atlas_source(fields)})
        key = (row.problem, row.n, row.d, row.s, row.antipodal)
        if key not in table:
            table[key] = row
        elif _improves(row, table[key]):
            table[key] = _succeeding(row, table[key])
    return table


def _read(file: Traversable) -> list[dict[str, str]]:
    return list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))


def _atlas_source(fields: dict[str, str]) -> str:
    proven = "; it equals a certified bound" if fields["status"] == "proven" else ""
    often = "once" if fields["hits"] == "1" else f"{fields['hits']} times"
    return (
        f"atlas of sphuni (this package): best of {fields['tried']} polished optima, "
        f"found {often}{proven}"
    )


def _improves(new: Record, old: Record) -> bool:
    """Whether a value of the atlas beats an unproven one by more than the latter's digits."""
    gain = (new.value - old.value) * (1 if new.problem in _HIGHER else -1)
    return old.status != "proven" and gain > abs(old.value) * 10.0 ** (1 - old.digits)


def _succeeding(new: Record, old: Record) -> Record:
    """Name the published value that a new one beats."""
    if old.status != "best known":
        return new
    return dataclasses.replace(
        new, source=f"{new.source}; better than {old.value:.{old.digits}g} of {old.source}"
    )


def _parse(row: dict[str, str]) -> Record:
    return Record(
        problem=row["problem"],
        n=int(row["n"]),
        d=int(row["d"]),
        s=float(row["s"]) if row["s"] else None,
        antipodal=row["antipodal"] == "true",
        value=float(row["value"]),
        digits=int(row["digits"]),
        status=row["status"],
        source=row["source"],
        doi=row["doi"] or None,
    )
