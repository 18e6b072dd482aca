"""The lowest potential: exact values, certificates, gradients."""

import numpy as np
import pytest
import torch
from exact_codes import moved
from torch.utils._python_dispatch import TorchDispatchMode

import sphuni
from sphuni.configurations import construct
from sphuni.geometry import _ascent, _branch
from sphuni.geometry._branch import lowest_potential
from sphuni.geometry.polarization import _newton
from sphuni.kernels import Riesz


@pytest.mark.parametrize(
    ("name", "s", "value"),
    [
        ("simplex_3", 2.0, 2.5),
        ("cross_3", 2.0, 4.5),
        ("icosahedron", 2.0, 11.25),
        ("simplex_3", 1.0, 3.098076211353),
        ("cross_3", 1.0, 4.952040371657),
        ("simplex_4", 2.0, 35 / 12),
    ],
)
def test_codes_have_their_exact_polarization(name, s, value):
    points = construct(name)
    result = sphuni.polarization(points, s=s)
    assert result.value == pytest.approx(value, rel=1e-11)
    assert bool(result.exact)
    assert result.lower <= value * (1 + 1e-11)
    assert result.lower == pytest.approx(value, rel=2e-9)
    potential = sphuni.potential(result.witness[None], points, kernel=Riesz(s))
    assert potential[0] == pytest.approx(result.value, rel=1e-12)


FAST = [(-1.0, 7, 2, True), (0.0, 8, 3, False), (3.5, 2, 3, False), (1.0, 12, 7, True)]
SLOW = [
    pytest.param(s, n, d, antipodal, marks=pytest.mark.slow)
    for s in (-2.0, -1.0, 0.0, 0.5, 1.0, 3.5)
    for n, d in ((1, 2), (2, 3), (7, 2), (8, 3), (6, 4), (12, 7))
    for antipodal in (False, True)
    if (s, n, d, antipodal) not in FAST
]


@pytest.mark.parametrize(("s", "n", "d", "antipodal"), FAST + SLOW)
def test_lower_and_upper_hold_against_dense_poles(s, n, d, antipodal):
    points = sphuni.random_points(n, d, rng=n + d)
    result = sphuni.polarization(points, s=s, method="bounds", antipodal=antipodal)
    assert result.lower <= result.value == result.upper
    poles = sphuni.random_points(20_000, d, rng=1)
    lowest = sphuni.potential(poles, points, kernel=Riesz(s), antipodal=antipodal).min()
    scale = abs(lowest) + n
    assert result.lower <= lowest + 1e-12 * scale
    assert result.value <= lowest + 1e-9 * scale
    if d <= 3:
        certified = sphuni.polarization(points, s=s, antipodal=antipodal)
        assert bool(certified.exact)
        assert result.lower <= certified.lower <= lowest + 1e-12 * scale
        assert certified.value <= result.value + 1e-9 * scale


@pytest.mark.parametrize(("n", "d"), [(5, 3), (9, 6), (4, 9)])
def test_s_minus_two_is_closed_form(n, d, rng):
    points = sphuni.random_points(n, d, rng=rng)
    expected = -2 * n - 2 * np.linalg.norm(points.sum(axis=0))
    result = sphuni.polarization(points, s=-2)
    assert result.value == pytest.approx(expected, rel=1e-13)
    assert bool(result.exact)
    lines = sphuni.polarization(points, s=-2, antipodal=True)
    assert lines.value == pytest.approx(-4 * n, rel=1e-13)
    assert bool(lines.exact)


@pytest.mark.parametrize(("s", "n"), [(1.0, 7), (0.0, 5)])
def test_antipodal_is_the_doubled_set(s, n, rng):
    points = sphuni.random_points(n, 3, rng=rng)
    found = sphuni.polarization(points, s=s, antipodal=True)
    doubled = sphuni.polarization(np.vstack([points, -points]), s=s)
    assert found.value == pytest.approx(doubled.value, rel=1e-8)
    assert bool(found.exact)


@pytest.mark.parametrize("s", [0.0, 1.0, 2.0])
def test_lines_of_low_rank_are_constant(s, rng):
    """A pole orthogonal to all: 2n K(sqrt 2), exactly, and with no gradient."""
    x = torch.tensor(sphuni.random_points(4, 7, rng=rng)).requires_grad_()
    result = sphuni.polarization(x, s=s, antipodal=True)
    result.value.backward()
    assert bool(result.exact)
    assert result.value.item() == pytest.approx(8 * Riesz(s)(0.0), rel=1e-12)
    assert float(x.grad.abs().max()) < 1e-12


def test_rotations_permutations_and_batches(rng):
    points = sphuni.random_points(6, 3, batch=(2, 1), rng=rng)
    whole = sphuni.polarization(points, s=1.0)
    assert whole.witness.shape == (2, 1, 3)
    for i in range(2):
        one = sphuni.polarization(moved(points[i, 0], rng), s=1.0)
        assert one.value == pytest.approx(whole.value[i, 0], rel=1e-9)
    single = sphuni.polarization(points.astype(np.float32), s=1.0)
    assert single.value.dtype == np.float32
    np.testing.assert_allclose(single.value, whole.value, rtol=1e-5)


@pytest.mark.parametrize("antipodal", [False, True])
def test_danskin_gradients(antipodal):
    x = torch.tensor(sphuni.random_points(7, 3, rng=3) * 1.2, requires_grad=True)

    def value(x):
        unit = sphuni.normalize(x)
        return sphuni.polarization(unit, s=1.0, method="bounds", antipodal=antipodal).value

    assert torch.autograd.gradcheck(value, x, rtol=1e-4, atol=1e-5, fast_mode=True)


def test_no_configuration_beats_the_mean_of_the_kernel():
    points = construct("icosahedron")
    assert sphuni.polarization(points, s=1.0).value <= sphuni.polarization_bound(12, 3, s=1.0).value


def test_bad_options_are_refused_by_name():
    with pytest.raises(
        ValueError, match="s must be at least -2, where the kernel is convex; got -3"
    ):
        sphuni.polarization(np.eye(3), s=-3.0)
    with pytest.raises(ValueError, match=r"s must be at least -2.*got nan"):
        sphuni.polarization(np.eye(3), s=float("nan"))
    for bad in ("2", np.ones(2), True, None):
        with pytest.raises(TypeError, match="s must be a real number; got"):
            sphuni.polarization(np.eye(3), s=bad)


@pytest.mark.parametrize("antipodal", [False, True])
@pytest.mark.parametrize("s", [1e3, 1e4])
def test_potentials_beyond_the_largest_number_are_infinite(s, antipodal):
    """Newton's equations then hold no numbers, which LAPACK refused; inf is not exact."""
    points = sphuni.random_points(500, 3, rng=0)
    result = sphuni.polarization(points, s=s, antipodal=antipodal)
    assert result.value == np.inf
    assert 0 <= result.lower < np.inf
    assert not bool(result.exact)


@pytest.mark.parametrize("antipodal", [False, True])
def test_dimensions_beyond_the_span_of_the_points_change_nothing(antipodal, rng):
    points = sphuni.random_points(3, 4, rng=rng)
    wide = np.hstack([points, np.zeros((3, 400))])
    small, large = (sphuni.polarization(x, s=1, antipodal=antipodal) for x in (points, wide))
    assert bool(large.exact)
    assert float(large.value) == pytest.approx(float(small.value), rel=1e-9)
    assert np.linalg.norm(large.witness) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("d", [3, 6])
@pytest.mark.parametrize("antipodal", [False, True])
def test_the_search_needs_no_graph(d, antipodal):
    points = torch.from_numpy(sphuni.random_points(12, d, rng=0))
    plain = sphuni.polarization(points, antipodal=antipodal)
    with torch.inference_mode():
        assert sphuni.polarization(points.clone(), antipodal=antipodal).value == plain.value


def test_slopes_of_the_heights_that_poles_descend_on():
    points, poles = (torch.from_numpy(sphuni.random_points(n, 4, rng=n)) for n in (50, 7))
    for height in (
        _ascent.potential_height(points, Riesz(3.0).antipodal()),
        _ascent.potential_height(points, Riesz(0.0)),
        _ascent.cosine_height(points, 20.0),
    ):
        leaf = poles.clone().requires_grad_()
        values, slopes = height(leaf)
        torch.testing.assert_close(torch.autograd.grad(values.sum(), leaf)[0], slopes)


def test_points_in_blocks_have_the_same_heights(monkeypatch):
    points, poles = (torch.from_numpy(sphuni.random_points(n, 4, rng=n)) for n in (50, 7))
    heights = _ascent.potential_height(points, Riesz(2.0)), _ascent.cosine_height(points, 2000.0)
    whole = [height(poles) for height in heights]
    monkeypatch.setattr(_ascent, "_BLOCK_ELEMENTS", 7 * 8)
    torch.testing.assert_close([height(poles) for height in heights], whole)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_exponentials_are_exact_where_they_are_normal_numbers_and_zero_below(dtype):
    powers = torch.linspace(-2000.0, 0.0, 5003, dtype=dtype)
    expected = powers.exp()
    tiny = torch.finfo(dtype).tiny
    expected[expected < 4 * tiny] = 0.0
    found = _ascent._exp(powers.clone())
    assert torch.equal(found.masked_fill(found < 4 * tiny, 0.0), expected)
    assert bool(((found == 0) | (found >= tiny)).all())


def test_blocks_of_cosines_fit_into_a_limit():
    points = torch.zeros(20_000, 3)
    with sphuni.limit_memory("4M"):
        blocks = _ascent.blocks(points, 100)
    assert sum(map(len, blocks)) == 20_000
    assert 8 * 8 * len(blocks[0]) * 100 <= 4 << 20


class Largest(TorchDispatchMode):
    """The size of the largest tensor that an operation makes, views left out."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **kwargs or {})
        if isinstance(found, torch.Tensor) and not function.is_view:
            self.numel = max(self.numel, found.numel())
        return found


@pytest.mark.parametrize("kernel", [Riesz(1.0), Riesz(3.0).antipodal()], ids=str)
def test_newton_steps_hold_no_copy_of_the_points_under_a_limit(kernel):
    points = torch.from_numpy(sphuni.random_points(4_000, 12, rng=0))
    pole = torch.from_numpy(sphuni.random_points(1, 12, rng=1))[0]
    whole = _newton(points, kernel, pole, steps=2)
    with sphuni.limit_memory(1 << 16), Largest() as largest:
        found = _newton(points, kernel, pole, steps=2)
    assert largest.numel <= 4_000
    torch.testing.assert_close(found, whole)


@pytest.mark.parametrize("antipodal", [False, True])
@pytest.mark.parametrize("s", [60.0, 200.0, 400.0])
def test_certificates_of_steep_kernels_do_not_rest_on_overflow(s, antipodal):
    """Points at the first cells' centres: powers overflow there, and nan is not a bound."""
    points = torch.from_numpy(
        np.concatenate([np.eye(3), -np.eye(3), sphuni.random_points(40, 3, rng=0)])
    )
    kernel = Riesz(s).antipodal() if antipodal else Riesz(s)
    low = float(sphuni.polarization(points, s=s, antipodal=antipodal).value)
    certified, _ = lowest_potential(points, kernel, best=100 * low, tolerance=1e-9 * low)
    assert certified <= low * (1 + 1e-9)


def test_steep_kernels_are_certified():
    points = sphuni.random_points(20, 3, rng=1)
    result = sphuni.polarization(points, s=20.0)
    assert bool(result.exact)
    assert result.lower == pytest.approx(8.835117406307342, rel=1e-9)


@pytest.mark.parametrize(
    ("n", "d", "s", "antipodal"),
    [(300, 4, 2.0, False), (300, 4, 6.0, False), (200, 4, 1.0, True), (2000, 3, 4.0, False)],
)
def test_many_points_are_certified(n, d, s, antipodal):
    result = sphuni.polarization(sphuni.random_points(n, d, rng=0), s=s, antipodal=antipodal)
    assert bool(result.exact)
    assert result.lower == pytest.approx(result.value, rel=1e-9)


@pytest.mark.parametrize("s", [-1.0, 2.0])
def test_flat_and_many_minima_take_few_cells(s, monkeypatch):
    """Tangents alone leave 70 cells around each minimum, and more around flat ones."""
    monkeypatch.setattr(_branch, "_MOST_CELLS", 1 << 16)
    assert bool(sphuni.polarization(construct("24-cell"), s=s).exact)


def test_worst_poles_on_a_circle_end_with_a_bound(monkeypatch):
    monkeypatch.setattr(_branch, "_MOST_CELLS", 1 << 16)
    turns = np.array([0.1, 1.3, 2.5, 3.8, 5.0])
    flat = np.column_stack([np.cos(turns), np.sin(turns), 0 * turns, 0 * turns])
    result = sphuni.polarization(flat, s=2.0)
    assert not bool(result.exact)
    expected = sphuni.polarization(flat[:, :3], s=2.0).value
    assert result.value == pytest.approx(expected, rel=1e-12)
    assert expected * (1 - 1e-4) < result.lower < expected


@pytest.mark.parametrize(
    ("s", "antipodal", "cells"), [(1.0, False, 2000), (2.0, False, 3000), (2.0, True, 8000)]
)
def test_a_search_that_ends_early_keeps_what_it_has_shown(s, antipodal, cells, monkeypatch):
    points = sphuni.random_points(150, 4, rng=1)
    whole = float(sphuni.polarization(points, s=s, antipodal=antipodal).value)
    lower = [float(sphuni.polarization(points, s=s, method="bounds", antipodal=antipodal).lower)]
    for most in (200, 800, cells):
        monkeypatch.setattr(_branch, "_MOST_CELLS", most)
        found = sphuni.polarization(points, s=s, antipodal=antipodal)
        assert not bool(found.exact)
        lower.append(float(found.lower))
    assert lower[0] <= lower[1] <= lower[2] < lower[3] < whole


@pytest.mark.parametrize("antipodal", [False, True])
@pytest.mark.parametrize("s", [-1.0, 0.0, 3.0])
@pytest.mark.parametrize("d", [2, 3, 4])
def test_bounds_of_cells_hold_within_them(d, s, antipodal):
    """Points at centres, corners and antipodes of cells included."""
    kernel = Riesz(s).antipodal() if antipodal else Riesz(s)
    special = np.eye(d)[:1] if antipodal else np.vstack([np.eye(d)[:1], -np.eye(d)[:1]])
    points = torch.from_numpy(np.vstack([special, sphuni.random_points(9, d, rng=d)]))
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * (d - 1))
    corners = corners.reshape(-1, d - 1)
    cells = _branch._faces(d, -np.inf)
    generator = torch.Generator().manual_seed(0)
    for _ in range({2: 8, 3: 5, 4: 3}[d]):
        cells = cells.parts(corners)
        bounds, values = _branch._cell_bounds(points, kernel, cells, corners, 1e-12)
        within = torch.rand(30, d - 1, generator=generator, dtype=torch.float64) * 2 - 1
        inside = torch.cat([torch.zeros_like(corners[:1]), corners, within])
        places = cells.centre[:, None] + cells.half[:, None, None] * inside
        cosines = _branch._poles(cells.face, places) @ points.T
        true = kernel.value((2 - 2 * cosines).clamp_min(0), (2 + 2 * cosines).clamp_min(0)).sum(-1)
        assert bool((bounds <= true.amin(dim=1) + 1e-12 * len(points)).all())
        met = values.isfinite()
        curved = _branch._curved_bounds(points, kernel, cells[met], corners)
        assert bool((curved <= true[met].amin(dim=1) + 1e-12 * len(points)).all())
        torch.testing.assert_close(values[met], true[met, 0])
    assert bool((curved > bounds[met]).any())


@pytest.mark.parametrize("antipodal", [False, True])
@pytest.mark.parametrize("s", [-2.0, 1.0])
def test_second_derivatives_that_would_hold_the_pole_fast_are_refused(s, antipodal):
    x = torch.tensor(sphuni.random_points(7, 3, rng=3), requires_grad=True)
    value = sphuni.polarization(x, s=s, method="bounds", antipodal=antipodal).value
    (first,) = torch.autograd.grad(value, x, create_graph=True)
    with pytest.raises(NotImplementedError, match=r"worst place moves .* first derivatives only"):
        torch.autograd.grad(first.square().sum(), x)
