import csv
import dataclasses
import functools
import math
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from sphuni import special
from sphuni.configurations import (
    available_constructions,
    construct,
    construction_info,
    fibonacci_sphere,
)

DATA = Path(__file__).parents[1] / "data" / "universally_optimal_codes.csv"
with DATA.open(encoding="utf-8", newline="") as handle:
    CODES = {row["name"]: row for row in csv.DictReader(handle)}

FAMILY_MEMBERS = [
    *(f"polygon_{n}" for n in (3, 7, 8, 9, 30, 101)),
    *(f"simplex_{d}" for d in (2, 3, 10, 200)),
    *(f"cross_{d}" for d in (2, 6, 50)),
    *(f"cube_{d}" for d in (2, 3, 4, 9)),
]
NAMES = sorted({*CODES, *(info.name for info in available_constructions()), *FAMILY_MEMBERS})

ENERGIES = {
    "E_riesz_1": lambda t: (2.0 - 2.0 * t) ** -0.5,
    "E_riesz_2": lambda t: 1.0 / (2.0 - 2.0 * t),
    "E_log": lambda t: -0.5 * np.log(2.0 - 2.0 * t),
    "E_sum_of_distances": lambda t: np.sqrt(2.0 - 2.0 * t),
}


@dataclasses.dataclass(frozen=True)
class Measured:
    """What the coordinates of a construction show, collected in one pass over its Gram matrix."""

    shape: tuple[int, int]
    norm_error: float
    fewest: list[int]
    most: list[int]
    largest: float
    energies: dict[str, float]


@functools.cache
def measure(name):
    """Measure every row of the Gram matrix, or 40 of the Leech configuration's, block by block."""
    points = construct(name)
    info = construction_info(name)
    n = len(points)
    rows = np.arange(n) if n <= 5000 else np.arange(0, n, n // 39)
    targets = (*info.inner_products, 1.0)
    counts, largest, sums = [], -1.0, dict.fromkeys(ENERGIES, 0.0)
    for block in np.array_split(rows, max(1, len(rows) * n // 10**6)):
        gram = points[block] @ points.T
        counts.append([np.count_nonzero(np.abs(gram - t) < 1e-14, axis=1) for t in targets])
        cosines = gram[block[:, None] != np.arange(n)]
        largest = max(largest, cosines.max())
        for energy, function in ENERGIES.items():
            sums[energy] += function(cosines).sum()
    seen = np.concatenate(counts, axis=1)
    norms = np.sqrt(np.einsum("ij,ij->i", points.astype(np.longdouble), points))
    return Measured(
        shape=points.shape,
        norm_error=float(np.abs(norms - 1.0).max()),
        fewest=seen.min(axis=1).tolist(),
        most=seen.max(axis=1).tolist(),
        largest=largest,
        energies={energy: 0.5 * n / len(rows) * total for energy, total in sums.items()},
    )


def recognise(printed, name):
    """Return the algebraic number that a cosine printed to ten digits stands for."""
    if name.startswith("polygon"):
        n = int(name.split("_")[1])
        return min(
            (math.cos(2 * math.pi * k / n) for k in range(n)), key=lambda c: abs(c - printed)
        )
    rational = Fraction(printed).limit_denominator(40)
    if abs(rational - printed) < 1e-10:
        return float(rational)
    golden = [
        (a + b * math.sqrt(5)) / q for q in (4, 5) for a in range(-5, 6) for b in range(-5, 6)
    ]
    return min(golden, key=lambda value: abs(value - printed))


def exact_products(name):
    """Inner products and multiplicities of the reference table, in full precision."""
    row = CODES[name]
    products = [recognise(float(text), name) for text in row["inner_products"].split(";")]
    for exact, text in zip(products, row["inner_products"].split(";"), strict=True):
        assert exact == pytest.approx(float(text), abs=1e-10)
    return np.array(products), [int(text) for text in row["multiplicities"].split(";")]


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_unit_to_the_last_digits(name):
    info = construction_info(name)
    assert measure(name).shape == (info.n, info.d)
    assert measure(name).norm_error < 1e-15


@pytest.mark.parametrize("name", NAMES)
def test_every_point_sees_the_same_inner_products(name):
    info = construction_info(name)
    assert sum(info.multiplicities) == info.n - 1
    assert list(info.inner_products) == sorted(info.inner_products)
    assert measure(name).fewest == measure(name).most == [*info.multiplicities, 1]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "leech_196560"])
def test_points_span_their_space(name):
    points = construct(name)
    assert np.linalg.matrix_rank(points.T @ points) == points.shape[1]


@pytest.mark.parametrize("name", NAMES)
def test_design_strength_is_exact(name):
    info = construction_info(name)
    degree = info.design_strength + 1
    values = special.gegenbauer(degree, np.array([*info.inner_products, 1.0]), info.d)
    means = values @ np.array([*measure(name).fewest]) / info.n
    assert np.abs(means[1:degree]).max() < 1e-13
    assert means[degree] > 1e-9


@pytest.mark.parametrize("name", CODES)
def test_sizes_and_inner_products_are_those_of_the_reference_table(name):
    info = construction_info(name)
    row = CODES[name]
    products, multiplicities = exact_products(name)
    assert (info.name, info.n, info.d) == (name, int(row["n"]), int(row["d"]))
    np.testing.assert_allclose(info.inner_products, products, rtol=0, atol=3e-16)
    assert list(info.multiplicities) == multiplicities
    assert info.design_strength == int(row["design_strength"])


@pytest.mark.parametrize("name", CODES)
@pytest.mark.parametrize("energy", ENERGIES)
def test_energies_agree_with_the_closed_form_and_the_reference_table(name, energy):
    products, multiplicities = exact_products(name)
    terms = np.multiply(multiplicities, ENERGIES[energy](products))
    closed = 0.5 * construction_info(name).n * math.fsum(terms)
    assert measure(name).energies[energy] == pytest.approx(closed, rel=1e-12)
    assert measure(name).energies[energy] == pytest.approx(float(CODES[name][energy]), rel=1e-9)


@pytest.mark.parametrize("name", CODES)
def test_separation_is_that_of_the_reference_table(name):
    angle = math.degrees(math.acos(measure(name).largest))
    assert angle == pytest.approx(float(CODES[name]["min_angle_deg"]), abs=1e-8)


def test_derived_codes_are_the_neighbourhoods_they_are_named_after():
    e8 = construct("E8_roots")
    neighbours = e8[np.abs(e8 @ e8[0] - 0.5) < 1e-12]
    offsets = neighbours - 0.5 * e8[0]
    offsets /= np.linalg.norm(offsets, axis=1, keepdims=True)
    k56 = construct("K56")
    np.testing.assert_allclose(
        np.sort((offsets @ offsets.T).ravel()), np.sort((k56 @ k56.T).ravel()), atol=1e-14
    )


def test_every_call_returns_fresh_equal_points():
    first, second = construct("600-cell"), construct("600-cell")
    np.testing.assert_array_equal(first, second)
    first[0] = 0.0
    np.testing.assert_array_equal(construct("600-cell"), second)


@pytest.mark.parametrize("n", [4, 8, 12])
def test_polygons_keep_exact_zeros(n):
    points = construct(f"polygon_{n}")
    assert np.count_nonzero(points == 0.0) == 4
    assert np.count_nonzero(np.abs(points) == 1.0) == 4


def test_everyday_names_are_aliases():
    for alias, name in (
        ("tetrahedron", "simplex_3"),
        ("octahedron", "cross_3"),
        ("cube", "cube_3"),
        ("hemicube_16", "hemicube_16(clebsch)"),
    ):
        np.testing.assert_array_equal(construct(alias), construct(name))
        assert construction_info(alias).name == name


def test_available_constructions_are_ordered_and_constructible():
    entries = available_constructions()
    assert [(entry.d, entry.n) for entry in entries] == sorted((e.d, e.n) for e in entries)
    assert {"leech_196560", "120-cell", "dodecahedron", "891"} <= {entry.name for entry in entries}
    assert all(construction_info(entry.name) == entry for entry in entries)
    assert entries[0].to_dict()["inner_products"] == list(entries[0].inner_products)


def test_like_gives_torch_in_its_dtype():
    points = construct("icosahedron", like=torch.zeros(1, dtype=torch.float32))
    assert points.dtype == torch.float32
    np.testing.assert_allclose(points.numpy(), construct("icosahedron"), atol=1e-7)
    double = construct("icosahedron", like=torch.zeros(1, dtype=torch.float64))
    np.testing.assert_array_equal(double.numpy(), construct("icosahedron"))
    assert fibonacci_sphere(5, like=double).dtype == torch.float64


@pytest.mark.parametrize("like", [torch.zeros(1, dtype=torch.int64), np.zeros(1), "cpu"])
def test_like_must_be_a_floating_tensor(like):
    with pytest.raises(TypeError, match="like must be a torch tensor of floating-point numbers"):
        construct("icosahedron", like=like)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("600cell", "600-cell"),
        ("e8_roots", "E8_roots"),
        ("leech", "leech_196560"),
        ("simplex", "simplex_3"),
        ("higman_sims", "higman_sims_100"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(name, nearest):
    with pytest.raises(ValueError, match=f"got '{name}'. The nearest names are .*{nearest}"):
        construct(name)


def test_a_name_like_no_other_gets_the_list_only():
    with pytest.raises(ValueError, match=r"name must be one of icosahedron.*cube_<d>; got '\?'\.$"):
        construct("?")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("polygon_2", r"name must be polygon_<n> with n >= 3; got polygon_2"),
        ("simplex_1", r"name must be simplex_<d> with d >= 2; got simplex_1"),
        ("cube_0", r"name must be cube_<d> with d >= 2; got cube_0"),
        ("cube_23", r"at most 134217728 coordinates; cube_23 has more"),
        ("cube_999999999", r"at most 134217728 coordinates; cube_999999999 has more"),
        ("simplex_99999", r"at most 134217728 coordinates; simplex_99999 has more"),
        ("polygon_999999999", r"at most 134217728 coordinates; polygon_999999999 has more"),
    ],
)
def test_family_parameters_are_checked_before_anything_is_built(name, message):
    with pytest.raises(ValueError, match=message):
        construct(name)


@pytest.mark.parametrize("n", [1, 2, 10, 1000])
def test_fibonacci_points_are_unit_and_balanced(n):
    points = fibonacci_sphere(n)
    assert points.shape == (n, 3)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1.0, rtol=1e-15)
    assert points[:, 2].sum() == pytest.approx(0.0, abs=1e-12)


def test_fibonacci_points_are_well_separated():
    points = fibonacci_sphere(1000)
    gram = points @ points.T - 2.0 * np.eye(1000)
    nearest = np.arccos(gram.max(axis=1))
    assert nearest.min() * math.sqrt(1000) > 2.9


def test_fibonacci_needs_a_point():
    with pytest.raises(TypeError, match=r"n must be a whole number; got 2\.5"):
        fibonacci_sphere(2.5)
    with pytest.raises(ValueError, match="n must be at least 1; got 0"):
        fibonacci_sphere(0)


def test_constructions_need_no_torch():
    code = (
        "import sys; from sphuni.configurations import construct, record;"
        "construct('600-cell'); record('thomson', n=12); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
