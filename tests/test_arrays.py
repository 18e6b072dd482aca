"""The boundary: what goes in, what comes out, and what is refused by name."""

import dataclasses

import numpy as np
import pytest
import torch

import sphuni
from sphuni._arrays import array_function, result_function
from sphuni._result import Result

OCTAHEDRON = np.vstack([np.eye(3), -np.eye(3)])
MEASURES = {
    "riesz_energy": sphuni.riesz_energy,
    "frame_potential": sphuni.frame_potential,
    "cap_discrepancy": sphuni.cap_discrepancy,
    "mesh_ratio": sphuni.mesh_ratio,
    "gram_logdet": sphuni.gram_logdet,
    "design_residual": lambda x: sphuni.design_residual(x, t=4),
    "worst_case_error": lambda x: sphuni.worst_case_error(x, smoothness=1.35),
    "separation": lambda x: sphuni.separation(x).distance,
    "covering_radius": lambda x: sphuni.covering_radius(x).radius,
    "polarization": lambda x: sphuni.polarization(x, method="bounds").value,
}
every_measure = pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES.keys())


@array_function()
def identity(points: torch.Tensor, /) -> torch.Tensor:
    return points


@array_function()
def first_rows(points: torch.Tensor, /) -> torch.Tensor:
    return points[..., :1, :]


@dataclasses.dataclass(frozen=True)
class Pair(Result):
    left: object
    right: object
    name: str


@result_function()
def twice(points: torch.Tensor, /) -> Pair:
    return Pair(points, (points, points.sum()), "both")


@every_measure
def test_library_and_dtype_of_the_caller_come_back(measure):
    for dtype in (np.float64, np.float32, np.float16):
        value = measure(OCTAHEDRON.astype(dtype))
        assert isinstance(value, np.generic)
        assert value.dtype == dtype
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        value = measure(torch.tensor(OCTAHEDRON, dtype=dtype))
        assert isinstance(value, torch.Tensor)
        assert value.dtype == dtype
        assert value.shape == ()


@every_measure
def test_numpy_equals_torch_and_a_batch_equals_a_loop(measure):
    batch = sphuni.random_points(9, 3, batch=(2, 2), rng=3)
    values = measure(batch)
    assert values.shape == (2, 2)
    np.testing.assert_allclose(measure(torch.from_numpy(batch)).numpy(), values, rtol=0)
    loop = np.array([[measure(one) for one in row] for row in batch])
    np.testing.assert_allclose(values, loop, rtol=1e-12)


@every_measure
@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.astype(">f8"),
        lambda x: np.asfortranarray(x),
        lambda x: np.repeat(x, 2, axis=0)[::2],
        lambda x: x[::-1][::-1],
        lambda x: np.hstack([x, x])[:, :3],
        lambda x: x.tolist(),
        lambda x: x.astype(np.longdouble),
    ],
    ids=["big-endian", "fortran", "strided", "reversed", "slice", "list", "longdouble"],
)
def test_the_layout_of_an_array_does_not_matter(measure, change):
    points = sphuni.random_points(7, 3, rng=1)
    changed = change(points)
    assert measure(changed) == pytest.approx(float(measure(points)), rel=1e-14)


def test_strides_that_torch_cannot_hold_are_copied():
    packed = np.zeros(4, dtype=np.dtype([("flag", "i1"), ("row", "f8", 2)]))
    packed["row"] = [[1, 0], [0, 1], [-1, 0], [0, -1]]
    assert sphuni.riesz_energy(packed["row"], s=2.0, reduction="sum") == 2.5
    assert sphuni.riesz_energy(packed["row"][::-1], s=2.0, reduction="sum") == 2.5


def test_views_whose_sign_is_still_to_be_changed_are_accepted():
    """`imag` of a conjugate is one, which NumPy cannot hold."""
    points = sphuni.random_points(300, 3, rng=0, like=torch.empty(0, dtype=torch.float64))
    imaginary = torch.complex(torch.zeros_like(points), points).conj().imag
    assert imaginary.is_neg()
    found = sphuni.riesz_energy(imaginary)
    torch.testing.assert_close(found, sphuni.riesz_energy(points))


def test_read_only_arrays_are_accepted_and_stay_as_they_were():
    points = OCTAHEDRON.copy()
    points.flags.writeable = False
    assert sphuni.riesz_energy(points, s=2.0, reduction="sum") == pytest.approx(12 / 2 + 3 / 4)
    expanded = torch.tensor(OCTAHEDRON).expand(3, 6, 3)
    assert sphuni.riesz_energy(expanded, s=2.0, reduction="sum").tolist() == [6.75] * 3


def test_integers_become_float64():
    integers = OCTAHEDRON.astype(np.int8)
    assert sphuni.riesz_energy(integers, s=2.0, reduction="sum") == 6.75
    value = sphuni.riesz_energy(torch.tensor(integers), s=2.0, reduction="sum")
    assert (value.dtype, value.item()) == (torch.float64, 6.75)


@pytest.mark.parametrize("function", [identity, first_rows])
def test_an_output_never_shares_memory_with_the_input(function):
    array = OCTAHEDRON.copy()
    assert not np.shares_memory(function(array), array)
    tensor = torch.tensor(OCTAHEDRON)
    assert function(tensor).untyped_storage().data_ptr() != tensor.untyped_storage().data_ptr()


def test_fields_of_a_result_follow_the_caller_and_share_nothing():
    array = OCTAHEDRON.copy()
    result = twice(array)
    assert isinstance(result.left, np.ndarray)
    assert not np.shares_memory(result.left, array)
    assert not np.shares_memory(result.right[0], array)
    assert result.name == "both"
    assert isinstance(twice(torch.tensor(array)).right[1], torch.Tensor)


@every_measure
@pytest.mark.parametrize(
    ("points", "error", "message"),
    [
        (np.array([[1.0, 0.0], [np.nan, 0.0]]), ValueError, r"points\[1, 0\] is nan"),
        (np.array([[1.0, 0.0], [0.0, -np.inf]]), ValueError, r"points\[1, 1\] is -inf"),
        (np.array([[1.0, 0.0], [0.0, 1.3]]), ValueError, r"unit rows.*row 1 has norm 1\.3\. Call"),
        (np.zeros((2, 3)), ValueError, "row 0 has norm 0"),
        (np.ones((3, 1)), ValueError, "d >= 2; got d = 1"),
        (np.ones(3), ValueError, r"shape \(\.\.\., n, d\); got \(3,\)"),
        (np.float64(1.0), ValueError, r"got \(\)"),
        (np.ones((0, 3)), ValueError, r"at least one point; got shape \(0, 3\)"),
        (np.ones((0, 4, 3)), ValueError, r"at least one point; got shape \(0, 4, 3\)"),
        (np.ones((2, 2), dtype=bool), TypeError, "real numbers; got dtype bool"),
        (np.ones((2, 2), dtype=complex), TypeError, "real numbers; got dtype complex128"),
        (np.array([["a", "b"]]), TypeError, "real numbers; got dtype <U1"),
        (np.array([[None, 1.0]]), TypeError, "real numbers; got dtype object"),
        (torch.ones(2, 2, dtype=torch.bool), TypeError, "real numbers; got dtype torch.bool"),
        (torch.ones(2, 2, dtype=torch.complex64), TypeError, "got dtype torch.complex64"),
        (torch.ones(2, 2).to_sparse(), TypeError, r"dense tensor.*Call \.to_dense\(\)"),
        (torch.ones(2, 2, device="meta"), TypeError, "meta device"),
        (torch.ones(2, 2).to(torch.float8_e4m3fn), TypeError, r"float8_e4m3fn.*\.float\(\)"),
    ],
)
def test_bad_points_are_refused_by_name(measure, points, error, message):
    with pytest.raises(error, match=message):
        measure(points)


@pytest.mark.parametrize(
    ("points", "error", "message"),
    [
        (OCTAHEDRON * (1 + 1e-9), ValueError, r"row 0 has norm 1 \+ 1e-09\. Call sphuni"),
        (OCTAHEDRON * (1 - 4e-7), ValueError, r"row 0 has norm 1 - 4e-07\. Call sphuni"),
        (sphuni.random_points(5, 3, rng=0).T, ValueError, "norm .* transpose points$"),
        (np.array([[10.0, 20.0], [30.0, -40.0]]), ValueError, "latitudes are written"),
        ([[1.0, 0.0, 0.0], [0.0, 1.0]], ValueError, "points must be an array; its rows differ"),
        ((row for row in OCTAHEDRON), TypeError, "real numbers; got generator$"),
        ("points.npy", TypeError, "real numbers; got str$"),
        (np.exp(1j * np.arange(4)), TypeError, r"got dtype complex128\..* rows \(cos, sin\)"),
        (OCTAHEDRON.astype(object), TypeError, r"numpy\.asarray\(points, dtype=float\)$"),
        (
            [torch.ones(2, requires_grad=True)],
            TypeError,
            r"tensors require gradients; call torch\.stack\(points\)",
        ),
    ],
)
def test_the_remedy_fits_what_came(points, error, message):
    with pytest.raises(error, match=message):
        sphuni.riesz_energy(points)


def test_rows_that_only_look_unnormalised_are_not_said_to_be_columns():
    with pytest.raises(ValueError, match=r"Call sphuni\.normalize\(points\) first$"):
        sphuni.riesz_energy(2 * OCTAHEDRON)


def test_the_offending_row_of_a_batch_is_named():
    batch = np.broadcast_to(OCTAHEDRON, (2, 3, 6, 3)).copy()
    batch[1, 2, 4] *= 1.01
    with pytest.raises(ValueError, match=r"row 4 of batch 1, 2 has norm 1\.01"):
        sphuni.riesz_energy(batch)


def test_mixed_libraries_dtypes_and_shapes_name_the_remedy():
    points, weights = torch.tensor(OCTAHEDRON), np.ones(6)
    with pytest.raises(TypeError, match=r"convert it with torch\.as_tensor\(weights\)"):
        sphuni.riesz_energy(points, weights=weights)
    with pytest.raises(TypeError, match=r"convert it with torch\.as_tensor\(points\)"):
        sphuni.riesz_energy(OCTAHEDRON, weights=torch.ones(6))
    with pytest.raises(TypeError, match=r"call weights\.to\(points\.dtype\)"):
        sphuni.riesz_energy(points, weights=torch.ones(6, dtype=torch.float32))
    with pytest.raises(ValueError, match=r"one entry per point, shape \(6,\); got \(5,\)"):
        sphuni.riesz_energy(points, weights=torch.ones(5, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"weights\[2\] is nan"):
        sphuni.riesz_energy(OCTAHEDRON, weights=np.array([1, 1, np.nan, 1, 1, 1]))
    mixed = sphuni.riesz_energy(OCTAHEDRON.astype(np.float32), weights=np.ones(6))
    assert mixed.dtype == np.float32


def test_autocast_does_not_reach_a_measure():
    points = torch.tensor(sphuni.random_points(300, 16, rng=0), dtype=torch.float32)
    for name, measure in MEASURES.items():
        if name in ("covering_radius", "mesh_ratio", "worst_case_error"):
            continue  # a search of seconds in 16 dimensions; a smoothness for d = 3
        plain = measure(points[:40])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(measure(points[:40]), plain)


def test_a_result_of_half_precision_writes_itself_too():
    points = sphuni.normalize(torch.eye(3, dtype=torch.bfloat16) + 0.25)
    result = sphuni.separation(points)
    assert result.to_dict()["distance"] == pytest.approx(result.distance.item())
    assert "pair=[0, " in str(result)


def test_masked_entries_are_not_taken_for_numbers():
    rows = np.ma.masked_array(np.eye(3), mask=np.eye(3, dtype=bool))
    with pytest.raises(TypeError, match="points must not hold masked entries"):
        sphuni.riesz_energy(rows)


def test_a_result_writes_itself_as_plain_python():
    result = sphuni.separation(np.eye(2))
    right_angle = pytest.approx(np.pi / 2)
    expected = {"distance": right_angle, "pair": [0, 1], "mean_nearest": right_angle}
    assert result.to_dict() == expected
    assert repr(result) == (
        "SeparationResult(distance=1.570796327, pair=[0, 1], mean_nearest=1.570796327)"
    )
    assert "exact=True" in repr(sphuni.covering_radius(OCTAHEDRON))
    assert "<5x3 float64>" in repr(sphuni.covering_radius(sphuni.random_points(4, 3, batch=5)))
    with pytest.raises(dataclasses.FrozenInstanceError, match="distance"):
        result.distance = 0.0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("d", [2, 16, 512, 4096])
def test_half_precision_is_held_to_unit_rows(dtype, d):
    rows = torch.randn(50, d, generator=torch.Generator().manual_seed(0))
    for unit in (sphuni.normalize(rows).to(dtype), torch.nn.functional.normalize(rows.to(dtype))):
        sphuni.separation(unit)
        for wrong in (1.1, 0.9, 0.0):
            with pytest.raises(ValueError, match="points must have unit rows"):
                sphuni.separation(wrong * unit)


def test_arrays_that_are_none_or_empty_are_refused():
    with pytest.raises(TypeError, match="points must be an array; got None"):
        sphuni.potential(np.eye(3), None, kernel=sphuni.Riesz(1.0))
    with pytest.raises(TypeError, match="missing a required argument: 'points'"):
        sphuni.riesz_energy()
    with pytest.raises(TypeError, match=r"riesz_energy\(\) got an unexpected keyword argument 't'"):
        sphuni.riesz_energy(np.eye(3), t=1)
    with pytest.raises(TypeError, match="points must be an array; got None"):
        sphuni.stats.uniformity_test(None)
    with pytest.raises(ValueError, match=r"x must have shape \(..., d\) with d >= 1"):
        sphuni.normalize(np.zeros((5, 0)))


def test_a_single_row_is_not_taken_for_columns():
    with pytest.raises(ValueError, match=r"norm 1.41421. Call sphuni.normalize\(points\) first"):
        sphuni.riesz_energy([[1.0, 1.0]])
