"""Energies of exact codes, the antipodal and weighted forms, gradients, edge cases."""

import numpy as np
import pytest
import torch
from exact_codes import ROWS, code, moved, name
from hypothesis import given, settings
from hypothesis import strategies as st

import sphuni
from sphuni._errors import NumericalWarning
from sphuni.kernels import Gaussian, Laplace, Poisson, Riesz

KERNELS = [
    *(Riesz(s, metric) for s in (-1.0, 0.0, 1.0, 2.5) for metric in ("chordal", "geodesic")),
    Gaussian(1.0),
    Laplace(1.5),
    Poisson(0.4, 3),
]


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_codes_have_the_energies_of_the_table(row):
    points = code(row)
    for s, column in ((1.0, "E_riesz_1"), (2.0, "E_riesz_2"), (0.0, "E_log")):
        energy = sphuni.riesz_energy(points, s=s, reduction="sum")
        assert energy == pytest.approx(float(row[column]), rel=1e-9)
    distances = -sphuni.riesz_energy(points, s=-1.0, reduction="sum")
    assert distances == pytest.approx(float(row["E_sum_of_distances"]), rel=1e-9)


def full_precision(product):
    """The table's twelve digits as the number meant: rational, or of a square root of 2, 3, 5."""
    exact = [p / q for q in range(1, 34) for p in range(-q, q + 1)]
    for root in (2**0.5, 3**0.5, 5**0.5):
        exact += [root / 5, -root / 5]
        exact += [(a + b * root) / 4 for a in range(-6, 7) for b in range(-3, 4)]
    nearest = min(exact, key=lambda value: abs(value - float(product)))
    assert abs(nearest - float(product)) < 1e-10
    return nearest


@pytest.mark.parametrize("row", [r for r in ROWS if int(r["n"]) < 300], ids=name)
def test_codes_have_the_energies_of_their_inner_products(row):
    products = np.array([full_precision(t) for t in row["inner_products"].split(";")])
    counts = np.array(row["multiplicities"].split(";"), dtype=float)
    n = int(row["n"])
    points = code(row)
    for kernel in KERNELS:
        terms = 0.5 * n * counts * kernel(products)
        found = sphuni.kernel_energy(points, kernel=kernel, reduction="sum")
        assert found == pytest.approx(terms.sum(), rel=0, abs=1e-12 * np.abs(terms).sum())
        mean = sphuni.kernel_energy(points, kernel=kernel)
        assert mean == pytest.approx(found / (n * (n - 1) / 2), rel=1e-14)


@pytest.mark.parametrize("row", [r for r in ROWS if int(r["n"]) < 300], ids=name)
def test_no_code_beats_the_certified_bound(row):
    n, d = int(row["n"]), int(row["d"])
    for kernel in (Riesz(0.0), Riesz(1.0), Gaussian(1.0)):
        energy = sphuni.kernel_energy(code(row), kernel=kernel, reduction="sum")
        bound = sphuni.energy_bound(n, d, kernel=kernel).value
        assert bound <= energy + 1e-10 * abs(energy)


def test_s_minus_two_is_the_square_of_the_mean(rng):
    points = sphuni.random_points(50, 6, rng=rng)
    expected = np.sum(points.sum(0) ** 2) - 50**2
    assert sphuni.riesz_energy(points, s=-2, reduction="sum") == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.label)
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("weighted", [False, True])
def test_antipodal_is_the_energy_of_the_doubled_set(kernel, reduction, weighted, rng):
    points = sphuni.random_points(7, 5, batch=2, rng=rng)
    weights = rng.uniform(0.5, 2, (2, 7)) if weighted else None
    doubled = np.concatenate([points, -points], axis=-2)
    both = None if weights is None else np.concatenate([weights, weights], axis=-1)
    arguments = {"kernel": kernel, "reduction": reduction}
    found = sphuni.kernel_energy(points, antipodal=True, weights=weights, **arguments)
    expected = sphuni.kernel_energy(doubled, weights=both, **arguments)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("antipodal", [False, True])
@pytest.mark.parametrize(
    ("dtype", "scales"),
    [("float64", [5e-324, 1e-200, 1e-160, 1e200, 1e307]), ("float32", [1e-30, 1e-22, 1e25])],
)
def test_means_do_not_depend_on_the_scale_of_weights(dtype, scales, antipodal, rng):
    """Products of two weights are beyond the range of the type where their ratios are not."""
    points = sphuni.normalize(rng.standard_normal((7, 3)).astype(dtype))
    weights = np.array([1, 2, 0, 1, 4, 8, 1], dtype=dtype)
    expected = sphuni.riesz_energy(points, weights=weights, antipodal=antipodal)
    scaled = np.stack([weights * np.dtype(dtype).type(scale) for scale in scales])
    batch = np.broadcast_to(points, (len(scales), 7, 3))
    found = sphuni.riesz_energy(batch, weights=scaled, antipodal=antipodal)
    np.testing.assert_allclose(found, expected, rtol=8 * np.finfo(dtype).eps)


def test_weights_are_repetitions_and_zero_takes_a_point_out(rng):
    points = sphuni.random_points(5, 3, rng=rng)
    weights = np.array([1.0, 2.0, 0.0, 1.0, 3.0])
    i, j = np.triu_indices(5, 1)
    distance = np.linalg.norm(points[i] - points[j], axis=1)
    pairs = weights[i] * weights[j]
    expected = np.sum(pairs / distance)
    found = sphuni.riesz_energy(points, weights=weights, reduction="sum")
    assert found == pytest.approx(expected, rel=1e-13)
    mean = sphuni.riesz_energy(points, weights=weights)
    assert mean == pytest.approx(expected / pairs.sum(), rel=1e-13)
    points[2] = points[0]
    assert sphuni.riesz_energy(points, weights=weights, reduction="sum") == pytest.approx(expected)


@settings(max_examples=8, deadline=None)
@given(st.integers(2, 30), st.integers(2, 12), st.integers(0, 2**32), st.sampled_from(KERNELS))
def test_rotations_and_permutations_change_nothing(n, d, seed, kernel):
    rng = np.random.default_rng(seed)
    points = sphuni.random_points(n, d, rng=rng)
    for antipodal in (False, True):
        before = sphuni.kernel_energy(points, kernel=kernel, antipodal=antipodal)
        after = sphuni.kernel_energy(moved(points, rng), kernel=kernel, antipodal=antipodal)
        assert after == pytest.approx(before, rel=1e-9)


@pytest.mark.parametrize("antipodal", [False, True])
def test_gradients(antipodal, rng):
    x = torch.tensor(rng.standard_normal((5, 3)), requires_grad=True)
    w = torch.tensor(rng.uniform(0.5, 2, 5), requires_grad=True)

    def energy(x, w):
        return sphuni.riesz_energy(sphuni.normalize(x), s=1.0, weights=w, antipodal=antipodal)

    assert torch.autograd.gradcheck(energy, (x, w))
    assert torch.autograd.gradgradcheck(energy, (x, w), fast_mode=True)


MEASURES = {
    "riesz_energy": sphuni.riesz_energy,
    "geodesic energy": lambda x: sphuni.riesz_energy(x, metric="geodesic"),
    "potential": lambda x: sphuni.potential(x[:4], x[4:], kernel=Riesz(1.0)).sum(),
    "frame_potential": sphuni.frame_potential,
    "separation": lambda x: sphuni.separation(x).distance,
    "chordal separation": lambda x: sphuni.separation(x, metric="chordal").distance,
    "chordal nearest": lambda x: sphuni.separation(x, metric="chordal").mean_nearest,
    "covering by a facet": lambda x: sphuni.covering_radius(x, method="hull").radius,
    "covering of lines": lambda x: sphuni.covering_radius(x, antipodal=True).radius,
    "covering by a search": lambda x: sphuni.covering_radius(x, method="bounds").radius,
    "covering in a hemisphere": lambda x: sphuni.covering_radius(x[:2]).radius,
    "mesh_ratio": sphuni.mesh_ratio,
    "polarization": lambda x: sphuni.polarization(x).value,
    "gram_logdet": sphuni.gram_logdet,
    "cap_discrepancy": sphuni.cap_discrepancy,
    "design_residual": lambda x: sphuni.design_residual(x, t=3),
}


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_gradients_of_measures_are_tangent(measure):
    """They are those of x / |x|: a radial part would be a force at the best configuration too."""
    x = torch.tensor(sphuni.random_points(12, 3, rng=3), requires_grad=True)
    (gradient,) = torch.autograd.grad(measure(x), x)
    radial = (gradient * x.detach()).sum(dim=1).abs().max()
    assert float(gradient.abs().max()) > 1e-3
    assert float(radial / gradient.abs().max()) < 1e-12


def test_a_tight_frame_is_stationary():
    x = torch.tensor(sphuni.configurations.construct("cross_3"), requires_grad=True)
    (gradient,) = torch.autograd.grad(sphuni.frame_potential(x), x)
    assert float(gradient.abs().max()) < 1e-12


def test_coincident_points_are_infinite_with_no_force(rng):
    points = torch.tensor(sphuni.random_points(6, 3, rng=rng))
    points[3] = points[0]
    for s, infinite in ((2.0, True), (0.0, True), (-1.0, False)):
        leaf = points.clone().requires_grad_()
        energy = sphuni.riesz_energy(leaf, s=s)
        assert bool(torch.isinf(energy)) == infinite
        energy.backward()
        assert bool(torch.isfinite(leaf.grad).all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_mean_of_many_points_does_not_overflow_in_half(dtype):
    """The sum, 4e5, is beyond float16; the mean is not."""
    points = sphuni.random_points(1000, 16, rng=0)
    for antipodal in (False, True):
        exact = float(sphuni.riesz_energy(points, antipodal=antipodal))
        found = sphuni.riesz_energy(torch.tensor(points, dtype=dtype), antipodal=antipodal)
        assert found.dtype == dtype
        assert float(found) == pytest.approx(exact, rel=5e-3)


def test_one_point_and_two_points():
    one, two = np.array([[1.0, 0.0]]), np.array([[1.0, 0.0], [-1.0, 0.0]])
    with pytest.warns(NumericalWarning, match="mean energy is nan: the pairs of one point"):
        assert np.isnan(sphuni.riesz_energy(one))
    assert sphuni.riesz_energy(one, reduction="sum") == 0.0
    assert sphuni.riesz_energy(one, antipodal=True) == 0.5
    assert sphuni.riesz_energy(two) == 0.5
    assert sphuni.riesz_energy(two, metric="geodesic") == pytest.approx(1 / np.pi, rel=1e-15)


def test_potential_is_the_sum_over_the_sources(rng):
    z, x = sphuni.random_points(4, 3, rng=rng), sphuni.random_points(6, 3, rng=rng)
    w = rng.uniform(size=6)
    table = 1 / np.linalg.norm(z[:, None] - x, axis=-1)
    np.testing.assert_allclose(sphuni.potential(z, x, kernel=Riesz(1.0)), table.sum(1), rtol=1e-13)
    found = sphuni.potential(z, x, kernel=Riesz(1.0), weights=w)
    np.testing.assert_allclose(found, table @ w, rtol=1e-13)
    found = sphuni.potential(z, x, kernel=Riesz(1.0), antipodal=True)
    doubled = sphuni.potential(z, np.vstack([x, -x]), kernel=Riesz(1.0))
    np.testing.assert_allclose(found, doubled, rtol=1e-13)
    assert sphuni.potential(x[:1], x, kernel=Riesz(1.0))[0] == np.inf
    with pytest.raises(ValueError, match="must agree in batch shape and d; got"):
        sphuni.potential(z[None], x, kernel=Riesz(1.0))


@pytest.mark.parametrize(("n", "d"), [(3, 5), (5, 5), (12, 3), (200, 7)])
def test_frame_potential_and_its_lower_bound(n, d, rng):
    points = sphuni.random_points(n, d, rng=rng)
    expected = np.sum((points @ points.T) ** 2)
    assert sphuni.frame_potential(points) == pytest.approx(expected, rel=1e-13)
    assert expected >= max(n, n**2 / d)


def test_tight_frames_attain_the_bound():
    for codename, n, d in (("icosahedron", 12, 3), ("E8_roots", 240, 8)):
        points = sphuni.configurations.construct(codename)
        assert sphuni.frame_potential(points) == pytest.approx(n**2 / d, rel=1e-13)


def test_bad_options_are_refused_by_name():
    points = torch.eye(3)
    for arguments, message in (
        ({"metric": "taxi"}, "metric must be 'chordal' or 'geodesic'; got 'taxi'"),
        ({"s": float("nan")}, "s must be finite; got nan"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            sphuni.riesz_energy(points, **arguments)


@pytest.mark.parametrize("small", [1e-12, 1e-4])
def test_the_mean_over_one_pair_is_that_pair_whatever_the_weights(small):
    points = np.eye(2)
    for weights in ([1, small], [small, 1], [small, small]):
        for kind in (np.float64, np.float32):
            found = sphuni.riesz_energy(points.astype(kind), weights=np.array(weights, kind))
            assert found == pytest.approx(0.5**0.5, rel=float(4 * np.finfo(kind).eps))


def test_a_kernel_that_is_none_is_refused():
    with pytest.raises(TypeError, match=r"kernel must be a Kernel such as sphuni.Riesz\(1.0\)"):
        sphuni.kernel_energy(np.eye(2), kernel="riesz")
    assert sphuni.riesz_energy(np.eye(2), s=np.int64(2)) == pytest.approx(0.5)
