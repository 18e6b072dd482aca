import csv
import dataclasses
import itertools
import math
import re
from collections import Counter
from importlib import resources

import mpmath
import numpy as np
import pytest

import sphuni
from benchmarks.gaps import gaps
from benchmarks.verify import published
from sphuni.configurations import MissingRecordError, construct, construction_info, record, records
from sphuni.configurations.records import _HIGHER, _parse, _table

PROBLEMS = (
    *("thomson", "log", "riesz", "tammes", "covering", "polarization", "maxdet", "gaussian"),
    "design",
)
ALL = [entry for problem in PROBLEMS for entry in records(problem)]


def energy(points, kernel):
    distances = np.linalg.norm(points[:, None] - points, axis=-1)
    return kernel(distances[np.triu_indices(len(points), 1)]).sum()


DATA = resources.files("sphuni.configurations").joinpath("data")
PUBLISHED = [
    row
    for file in DATA.iterdir()
    if file.name.endswith(".csv")
    for row in csv.DictReader(file.read_text(encoding="utf-8").splitlines())
]


def test_the_tables_hold_what_they_should():
    counts = Counter((row["problem"], row["d"]) for row in PUBLISHED)
    assert counts["thomson", "3"] == 130
    assert counts["maxdet", "3"] == 27
    assert counts["design", "3"] == 70
    assert counts["covering", "3"] == 15
    assert sum(row["antipodal"] == "false" for row in PUBLISHED) == 503
    assert sum(row["antipodal"] == "true" for row in PUBLISHED) == 66
    assert len(ALL) == len(_table()) >= 503


def test_no_record_is_given_twice():
    columns = ("problem", "n", "d", "s", "antipodal")
    assert max(Counter(tuple(row[c] for c in columns) for row in PUBLISHED).values()) == 1


ATLAS = list(
    csv.DictReader(
        DATA.joinpath("atlas").joinpath("results.csv").read_text(encoding="utf-8").splitlines()
    )
)


@pytest.mark.parametrize("row", ATLAS, ids=lambda row: f"{row['problem']}{row['n']}d{row['d']}")
def test_rows_of_the_atlas_are_confirmed_by_the_second_evaluation(row):
    value = float(row["value"])
    if row["problem"] == "polarization":
        assert float(row["second_value"]) == pytest.approx(value, rel=1e-11)
        assert float(row["second_lower"]) <= value * (1 + 1e-12)
    if row["problem"] == "covering":
        assert float(row["second_lower"]) == pytest.approx(value, abs=1e-9)
    assert int(row["hits"]) >= 1


def test_the_atlas_fills_gaps_and_replaces_what_it_beats_but_nothing_proven():
    assert record("polarization", n=9, s=1).value == pytest.approx(7.600192863198, abs=1e-11)
    beaten = record("polarization", n=5, s=1)
    assert beaten.value == pytest.approx(3.928433513061, abs=1e-11)
    assert beaten.source.startswith("atlas")
    assert record("covering", n=6).status == "proven"


@pytest.mark.parametrize(
    ("problem", "n", "value", "beaten"),
    [
        ("maxdet", 121, 266.349711283454, "266.317837077 of extremal points"),
        ("thomson", 107, 5113.953547713823, "5113.953547724 of Thomson problem"),
    ],
)
def test_the_atlas_replaces_published_values_that_it_beats(problem, n, value, beaten):
    entry = record(problem, n=n)
    assert entry.value == pytest.approx(value, rel=1e-14)
    assert entry.status == "putative"
    assert entry.source.startswith("atlas of sphuni")
    assert beaten in entry.source


def test_no_row_of_the_atlas_beats_its_record_by_more_than_the_digits():
    for row in map(_parse, ATLAS):
        known = _table()[row.problem, row.n, row.d, row.s, row.antipodal]
        gain = (row.value - known.value) * (1 if row.problem in _HIGHER else -1)
        assert gain <= abs(known.value) * 10.0 ** (1 - known.digits), row


@pytest.mark.parametrize(
    ("problem", "bound"),
    [("tammes", sphuni.separation_bound), ("covering", sphuni.covering_bound)],
)
def test_values_of_the_atlas_are_proven_where_they_equal_a_bound_that_is_attained(problem, bound):
    rows = [row for row in map(_parse, ATLAS) if row.problem == problem]
    proven = {(row.n, row.d) for row in rows if row.status == "proven"}
    limits = {(row.n, row.d): bound(row.n, row.d) for row in rows}
    reached = {
        (row.n, row.d) for row in rows if abs(row.value - limits[row.n, row.d].value) < 1e-10
    }
    assert proven == {size for size in reached if limits[size].attained}


@pytest.mark.parametrize("n", [5, 8, 10])
def test_stored_coordinates_have_the_value_of_their_row(n):
    with resources.as_file(DATA.joinpath("atlas").joinpath("points.npz")) as path:
        points = np.load(path)[f"polarization_d3_s1_n{n}"]
    value = float(sphuni.polarization(points, s=1.0).value)
    assert value == pytest.approx(record("polarization", n=n, s=1).value, rel=1e-13)


@pytest.mark.parametrize(("n", "s"), [(10, 2.0), (24, 0.5), (48, 0.5)])
def test_gaussian_determinants_of_the_atlas_have_the_digits_they_say(n, s):
    """In double precision the matrix of 48 points for epsilon = 0.5 leaves eleven."""
    with resources.as_file(DATA.joinpath("atlas").joinpath("points.npz")) as path:
        points = np.load(path)[f"gaussian_d3_s{s:g}_n{n}"]
    with mpmath.workdps(40):
        rows = [[mpmath.mpf(float(x)) for x in row] for row in points]
        rows = [[x / mpmath.norm(row) for x in row] for row in rows]
        gram = mpmath.matrix(n, n)
        for i, j in itertools.combinations_with_replacement(range(n), 2):
            square = mpmath.fsum((x - y) ** 2 for x, y in zip(rows[i], rows[j], strict=True))
            gram[i, j] = gram[j, i] = mpmath.exp(-(mpmath.mpf(s) ** 2) * square)
        factor = mpmath.cholesky(gram)
        value = float(2 * mpmath.fsum(mpmath.log(factor[i, i]) for i in range(n)))
    known = record("gaussian", n=n, s=s)
    assert abs(known.value - value) <= abs(value) * 10.0 ** (1 - known.digits)


def test_every_record_is_finite_and_has_provenance():
    for entry in ALL:
        assert math.isfinite(entry.value), entry
        assert entry.status in {"proven", "best known", "putative"}, entry
        assert len(entry.source) > 10, entry
        assert 1 < entry.digits <= 17, entry
        assert entry.doi is None or re.fullmatch(r"10\.\d{4,5}/\S+", entry.doi), entry
        assert not re.search(r"\bhere\b|stored|memory|/work", entry.source), entry


@pytest.mark.parametrize(
    "entry",
    [e for e in ALL if e.doi == "10.1090/S0894-0347-06-00546-7" and not e.antipodal],
)
def test_records_of_exact_codes_are_those_of_the_construction(entry):
    name = entry.source.split(",")[0]
    info = construction_info(name)
    assert (entry.n, entry.d, entry.status) == (info.n, info.d, "proven")
    t, counts = np.array(info.inner_products), np.array(info.multiplicities)
    kernels = {
        "thomson": (2 - 2 * t) ** -0.5,
        "riesz": 1 / (2 - 2 * t),
        "log": -0.5 * np.log(2 - 2 * t),
    }
    if entry.problem == "tammes":
        assert entry.value == pytest.approx(math.acos(t.max()), rel=1e-14)
    else:
        assert entry.value == pytest.approx(
            0.5 * info.n * counts @ kernels[entry.problem], rel=1e-14
        )


def test_five_points_are_the_triangular_bipyramid():
    triangle = np.column_stack([construct("polygon_3"), np.zeros(3)])
    points = np.concatenate([triangle, [[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]])
    assert record("thomson", n=5).value == pytest.approx(energy(points, lambda r: 1 / r), rel=1e-14)
    assert record("riesz", n=5, s=2).value == pytest.approx(4.25, rel=1e-15)
    assert record("log", n=5).value == pytest.approx(energy(points, lambda r: -np.log(r)))


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        ({"problem": "thomson", "n": 12}, 49.165253057629),
        ({"problem": "thomson", "n": 470}, 104822.886324279),
        ({"problem": "tammes", "n": 4}, math.acos(-1 / 3)),
        ({"problem": "tammes", "n": 24, "d": 4}, math.pi / 3),
        ({"problem": "tammes", "n": 10, "d": 4}, math.acos(1 / 6)),
        ({"problem": "covering", "n": 12}, math.atan(3 - math.sqrt(5))),
        ({"problem": "polarization", "n": 4, "s": 2}, 2.5),
        ({"problem": "polarization", "n": 5, "d": 4, "s": 2}, 35 / 12),
    ],
)
def test_known_values(arguments, value):
    assert record(**arguments).value == pytest.approx(value, rel=1e-14)


def test_the_largest_cosine_of_tammes_records_satisfies_its_polynomial():
    seven, eight, snub_cube = (math.cos(record("tammes", n=n).value) for n in (7, 8, 24))
    assert 3 * seven**3 - 9 * seven**2 - 3 * seven + 1 == pytest.approx(0.0, abs=1e-14)
    assert 7 * eight**2 + 2 * eight - 1 == pytest.approx(0.0, abs=1e-14)
    assert 7 * snub_cube**3 + snub_cube**2 - 3 * snub_cube - 1 == pytest.approx(0.0, abs=1e-14)


def test_records_are_monotone_in_n_where_theory_says_so():
    for problem in ("tammes", "covering"):
        values = [entry.value for entry in records(problem, d=3, antipodal=False)]
        assert all(after <= before + 1e-12 for before, after in itertools.pairwise(values))
    thomson = [entry.value / (entry.n * (entry.n - 1)) for entry in records("thomson", d=3)]
    assert all(after > before for before, after in itertools.pairwise(thomson))


def test_riesz_with_a_named_exponent_is_the_named_problem():
    assert record("riesz", n=12, s=1) == record("thomson", n=12)
    assert record("riesz", n=12, s=0) == record("log", n=12)
    assert record("thomson", n=12, s=1) == record("thomson", n=12)
    assert records("riesz", s=0) == records("log")


def test_records_can_be_narrowed():
    assert {entry.d for entry in records("tammes", d=4)} == {4}
    assert {entry.s for entry in records("polarization", s=2)} == {2.0}
    assert records("tammes", d=99) == ()
    assert [entry.n for entry in records("covering")][:4] == [4, 5, 6, 7]
    lines, points = (records("tammes", d=3, antipodal=kind) for kind in (True, False))
    assert [entry.n for entry in lines] == [2, 3, 4, 5, 6, 7, 8]
    assert sorted(map(str, lines + points)) == sorted(map(str, records("tammes", d=3)))


def test_a_record_is_plain_data():
    entry = record("maxdet", n=25)
    assert entry.to_dict()["value"] == entry.value
    assert entry.s is None
    assert entry.antipodal is False


@pytest.mark.parametrize(
    "entry", records("tammes", antipodal=True), ids=lambda entry: f"{entry.n}d{entry.d}"
)
def test_records_of_lines_equal_a_bound_that_no_lines_exceed(entry):
    bound = sphuni.separation_bound(entry.n, entry.d, antipodal=True)
    assert entry.value == pytest.approx(bound.value, rel=1e-15)
    assert entry.status == "proven"
    assert bound.attained is True
    if (entry.n, entry.d) == (7, 3):
        cube = construct("cube_3")
        lines = np.vstack([np.eye(3), cube[cube[:, 0] > 0]])
        cosines = np.abs(lines @ lines.T)[np.triu_indices(7, 1)]
        assert math.acos(cosines.max()) == pytest.approx(entry.value, rel=1e-15)


@pytest.mark.parametrize(
    ("n", "d", "square"),
    [
        *((3, 2, 1 / 4), (6, 3, 1 / 5), (10, 5, 1 / 9), (16, 6, 1 / 9), (28, 7, 1 / 9)),
        *((276, 23, 1 / 25), (4, 4, 0.0), (12, 4, 1 / 4), (120, 8, 1 / 4)),
        *((5, 3, 1 / 5), (6, 4, 1 / 9), (9, 7, 1 / 25), (60, 4, (3 + 5**0.5) / 8)),
    ],
)
def test_lines_known_by_their_cosine(n, d, square):
    entry = record("tammes", n=n, d=d, antipodal=True)
    assert entry.antipodal is True
    assert math.cos(entry.value) ** 2 == pytest.approx(square, abs=1e-15)


def test_antipodal_rows_are_read():
    columns = [field.name for field in dataclasses.fields(record("thomson", n=12))]
    fields = ["riesz", "4", "3", "2", "true", "1.5", "16", "proven", "a source", ""]
    entry = _parse(dict(zip(columns, fields, strict=True)))
    assert entry.antipodal is True
    assert entry.doi is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"problem": "thomson", "n": 211},
            r"n = 211, d = 3.*the nearest n on record: 212, 214, 217",
        ),
        ({"problem": "thomson", "n": 10**6}, r"the nearest n on record: 448, 460, 470"),
        ({"problem": "tammes", "n": 9, "d": 99}, r"dimensions on record: 2, 3, 4, 5"),
        ({"problem": "thomson", "n": 12, "antipodal": True}, r"dimensions on record: none"),
        ({"problem": "riesz", "n": 12}, r"exponents on record for riesz, 2; got None"),
        ({"problem": "polarization", "n": 5, "s": 7.0}, r"for polarization, 1, 2; got 7.0"),
        ({"problem": "design", "n": 12}, r"strengths on record for design, 1, 2, 4"),
        ({"problem": "tammes", "n": 12, "s": 1.0}, r"s must be left out for tammes; got 1.0"),
    ],
)
def test_missing_records_say_what_there_is(arguments, message):
    with pytest.raises(MissingRecordError, match=message):
        record(**arguments)


def test_a_missing_record_is_a_lookup_error_and_a_value_error():
    assert issubclass(MissingRecordError, LookupError)
    assert issubclass(MissingRecordError, ValueError)


def test_wrong_problems_and_exponents_are_refused():
    with pytest.raises(ValueError, match=r"problem must be one of .*got 'tames'. Did you mean 'ta"):
        records("tames")
    with pytest.raises(ValueError, match=r"s must be left out or 1 for 'thomson'; got 2"):
        record("thomson", n=12, s=2)


def test_sizes_that_are_no_whole_numbers_are_named():
    with pytest.raises(TypeError, match="n must be a whole number; got '12'"):
        record("thomson", n="12")


def test_points_are_not_compared_with_as_many_lines():
    """The atlas has points only, of which 60 in R^4 are 36 degrees apart as lines."""
    rows = published()
    key = ("tammes", "60", "4", "")
    assert float(rows[(*key, "false")]["value"]) == pytest.approx(0.7542743186)
    assert float(rows[(*key, "true")]["value"]) == pytest.approx(math.pi / 5)
    (row,) = (r for r in gaps() if (r["problem"], r["n"], r["d"]) == ("tammes", "60", "4"))
    assert -1e-6 < row["gap"] < 0
