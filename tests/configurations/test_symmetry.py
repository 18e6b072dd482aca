"""Point groups: known solids, made-up groups of every family, and the records' groups."""

import inspect
import itertools
import sys

import numpy as np
import pytest
import torch

from sphuni import random_points
from sphuni.configurations import construct, optimize, symmetry, symmetry_order
from sphuni.configurations.symmetry import point_group
from sphuni.distributions import von_mises_fisher


def turn(k: int) -> np.ndarray:
    """Rotation about the third axis by 1/k of a full turn."""
    c, s = np.cos(2 * np.pi / k), np.sin(2 * np.pi / k)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def orbit(generators: list[np.ndarray], *seeds: list[float]) -> np.ndarray:
    """All images of some points under the group of the generators."""
    points = [np.array(seed) / np.linalg.norm(seed) for seed in seeds]
    for point in points:
        for generator in generators:
            image = generator @ point
            if all(np.abs(image - other).max() > 1e-9 for other in points):
                points.append(image)
    return np.array(points)


HALF = np.diag([1.0, -1.0, -1.0])
ACROSS = np.diag([1.0, 1.0, -1.0])
ALONG = np.diag([1.0, -1.0, 1.0])
GENERIC = [0.3, 0.5, 0.7], [0.9, 0.1, -0.2], [-0.4, 0.8, 0.35]
PERMUTE = np.eye(3)[[1, 2, 0]]


@pytest.mark.parametrize(
    ("generators", "name", "order"),
    [
        ([], "C1", 1),
        ([ACROSS], "Cs", 2),
        ([-np.eye(3)], "Ci", 2),
        ([turn(5)], "C5", 5),
        ([turn(3), ACROSS], "C3h", 6),
        ([turn(4), ALONG], "C4v", 8),
        ([turn(8) @ ACROSS], "S8", 8),
        ([turn(2), ACROSS], "C2h", 4),
        ([turn(2), HALF], "D2", 4),
        ([turn(6), HALF], "D6", 12),
        ([turn(2), HALF, ACROSS], "D2h", 8),
        ([turn(4) @ ACROSS, HALF], "D2d", 8),
        ([turn(5), HALF, ACROSS], "D5h", 20),
        ([turn(5), HALF, -np.eye(3)], "D5d", 20),
        ([PERMUTE, HALF], "T", 12),
        ([PERMUTE, HALF, -np.eye(3)], "Th", 24),
        ([PERMUTE, HALF, np.eye(3)[[1, 0, 2]]], "Td", 24),
        ([PERMUTE, turn(4)], "O", 24),
        ([PERMUTE, turn(4), -np.eye(3)], "Oh", 48),
    ],
)
def test_names_of_generated_groups(generators, name, order):
    rows = orbit(generators, *GENERIC)
    turned = rows @ np.linalg.qr(np.random.default_rng(order).standard_normal((3, 3)))[0]
    group = point_group(turned)
    assert (group.name, group.order) == (name, order)
    assert symmetry_order(turned) == order
    assert group.rotations in (order, order // 2)


@pytest.mark.parametrize(
    ("solid", "name", "fold"),
    [
        ("tetrahedron", "Td", 3),
        ("cube_3", "Oh", 4),
        ("cross_3", "Oh", 4),
        ("dodecahedron", "Ih", 5),
    ],
)
def test_names_of_solids(solid, name, fold):
    group = point_group(construct(solid))
    assert (group.name, group.fold) == (name, fold)


def test_axis_is_that_of_the_finest_rotation():
    rows = orbit([turn(7), HALF], *GENERIC)
    assert np.abs(point_group(rows).axis) == pytest.approx([0.0, 0.0, 1.0], abs=1e-9)
    assert point_group(orbit([ACROSS], *GENERIC)).axis is None


@pytest.mark.parametrize(
    ("n", "name"),
    [(2, "D∞h"), (3, "D3h"), (7, "D5h"), (8, "D4d"), (11, "C2v"), (16, "T"), (20, "D3h"),
     (24, "O"), (25, "Cs"), (31, "C3v"), (72, "I")],
)  # fmt: skip
def test_groups_of_thomson_optima(n, name):
    result = optimize("thomson", n=n, restarts=16)
    group = point_group(result.points)
    assert group.name == name
    assert group.order == result.certificate.symmetry_order


@pytest.mark.parametrize(
    ("name", "order"),
    [("higman_sims_100", 88_704_000), ("schlafli_27", 51_840), ("24-cell", 1152)],
)
def test_orders_in_many_dimensions(name, order):
    assert symmetry_order(construct(name)) == order


def test_points_of_a_hyperplane_have_its_reflection():
    ring = np.column_stack([construct("polygon_5"), np.zeros(5)])
    assert symmetry_order(ring) == 20
    assert point_group(ring).name == "D5h"
    assert symmetry_order(np.eye(4)[:3]) == 12
    assert symmetry_order(np.eye(4)[:2]) is None


def ring(n: int, height: float) -> np.ndarray:
    """A regular polygon parallel to the equator."""
    flat = construct(f"polygon_{n}") * np.sqrt(1 - height**2)
    return np.column_stack([flat, np.full(n, height)])


@pytest.mark.parametrize(
    ("height", "tolerance", "name"),
    [(9e-4, 1e-7, "C5v"), (5e-4, 1e-7, "C5v"), (5e-4, 1e-6, "D5h"), (1e-5, 1e-7, "D5h"),
     (1e-5, 1e-12, "C5v"), (1e-10, 1e-15, "D5h")],
)  # fmt: skip
def test_rings_are_flat_up_to_the_tolerance(height, tolerance, name):
    group = point_group(ring(5, height), tolerance=tolerance)
    assert group.name == name
    assert symmetry_order(ring(5, height), tolerance=tolerance) == group.order


@pytest.mark.parametrize("tolerance", [1e-7, 1e-13])
def test_crowded_points_have_no_symmetry(tolerance):
    points = von_mises_fisher(8, 3, kappa=3e6, rng=0)
    assert point_group(points, tolerance=tolerance).name == "C1"
    assert symmetry_order(points, tolerance=tolerance) == 1


def test_crowded_points_that_the_tolerance_cannot_tell_apart_are_one():
    assert point_group(von_mises_fisher(8, 3, kappa=1e10, rng=0)).name == "C∞v"


def test_large_rings_are_searched_to_the_end():
    assert point_group(ring(1500, 0.3)).name == "C1500v"
    assert symmetry_order(ring(1500, 0.0)) == 6000


def test_searches_are_given_up_when_they_take_too_long(monkeypatch):
    assert point_group(ring(60, 0.3)).order == 120
    monkeypatch.setattr(symmetry, "monotonic", itertools.count().__next__)
    assert point_group(ring(60, 0.3)) is None
    assert symmetry_order(ring(60, 0.3)) is None
    assert point_group(np.eye(3)[:1]).name == "C∞v"


def test_rows_of_few_digits_are_all_looked_at():
    rounded = torch.from_numpy(construct("dodecahedron")).bfloat16()
    assert point_group(rounded).name == "Th"
    assert point_group(rounded, tolerance=1e-2).name == "Ih"


def test_order_is_the_number_of_permutations_that_keep_the_gram_matrix():
    rows = orbit([turn(3), HALF], [0.3, 0.5, 0.7])
    gram = rows @ rows.T
    kept = sum(
        np.allclose(gram[np.ix_(p, p)], gram) for p in itertools.permutations(range(len(rows)))
    )
    assert symmetry_order(rows) == kept


def test_shaking_leaves_the_identity():
    shaken = construct("icosahedron") + 1e-4 * random_points(12, 3, rng=0)
    shaken /= np.linalg.norm(shaken, axis=1, keepdims=True)
    assert point_group(shaken).name == "C1"
    assert point_group(shaken, tolerance=1e-2).name == "Ih"


def test_no_tolerance_is_that_of_rounding():
    assert point_group(construct("icosahedron"), tolerance=0.0).name == "Ih"
    assert point_group(random_points(20, 3, rng=0), tolerance=0.0).name == "C1"


def test_points_that_coincide_count_with_their_number():
    twice = construct("cross_3")
    assert point_group(np.vstack([twice, twice])).name == "Oh"
    assert point_group(np.vstack([twice, twice[:1]])).name == "C4v"
    assert symmetry_order(np.vstack([twice, twice[:1]])) == 8


def test_points_on_a_line():
    assert point_group(np.eye(3)[:1]).name == "C∞v"
    pair = point_group(np.array([[0.0, 0.6, 0.8], [0.0, -0.6, -0.8]]))
    assert (pair.name, pair.order) == ("D∞h", None)
    assert np.abs(pair.axis) == pytest.approx([0.0, 0.6, 0.8])


def test_tensors_that_require_a_gradient():
    assert point_group(torch.eye(3, requires_grad=True)).name == "C3v"


def test_refusals():
    with pytest.raises(ValueError, match=r"points must lie in R\^3 for a Schoenflies name"):
        point_group(construct("24-cell"))
    with pytest.raises(ValueError, match=r"points must have shape \(n, d\)"):
        symmetry_order(np.ones(3))
    for find in (point_group, symmetry_order):
        with pytest.raises(ValueError, match=r"points must have unit rows; row 2 has norm 3"):
            find(np.diag([1.0, 1.0, 3.0]))
        with pytest.raises(ValueError, match=r"points must have unit rows; row 0 has norm nan"):
            find(np.full((4, 3), np.nan))
        for tolerance in (-1e-7, 1.0, np.nan):
            with pytest.raises(ValueError, match=r"tolerance must be in \[0, 1\)"):
                find(np.eye(3), tolerance=tolerance)
    assert symmetry_order(random_points(4_001, 3, rng=0)) is None


def test_the_set_up_is_under_the_limit_too(monkeypatch):
    monkeypatch.setattr(symmetry._Search, "_choose_frame", lambda self: 1 / 0)
    points = random_points(1_000, 3, rng=0)
    assert symmetry_order(points, time_limit=0.01) is None
    assert symmetry_order(random_points(3_000, 1_500, rng=0)) is None
    with pytest.raises(ZeroDivisionError):
        symmetry_order(points)


def test_more_dimensions_than_calls_within_calls():
    depth = len(inspect.stack())
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(depth + 90)
    try:
        first = next(symmetry._Search(np.eye(150), 1e-7, 10.0).maps([]))
    finally:
        sys.setrecursionlimit(limit)
    assert first @ first.T == pytest.approx(np.eye(150))


@pytest.mark.parametrize(("n", "d"), [(40, 3), (60, 20), (300, 40)])
def test_a_map_that_the_labels_leave_alone_must_keep_every_product(n, d):
    generic = random_points(n, d, rng=1)
    assert symmetry_order(generic) == 1
    mirrored = np.vstack([generic, generic * np.append(-1.0, np.ones(d - 1))])
    assert symmetry_order(mirrored) == 2
