"""One pass for all tests gives what each test gives alone."""

import numpy as np
import pytest
import torch

from sphuni import random_points, stats
from sphuni.pairwise import cell_sums, has_cells, pair_reduce
from sphuni.pairwise.summaries import _cells
from sphuni.stats.kernels._projected_kernels import ProjectedKernel
from sphuni.stats.nulls import _tables
from sphuni.stats.sums._binned import binned_sums
from sphuni.stats.sums._circle_sums import circle_sums, has_circle_form
from sphuni.stats.sums._sorted import ascending


def _kernels(n, d):
    found = {}
    for info in stats.available_tests(d):
        try:
            test = stats.build_test(info.name)
            test.check(n, d)
        except ValueError:
            continue
        for kernel in test.kernels(d):
            found.setdefault(kernel, test)
    return found


def _clustered(n, d):
    x = random_points(n, d, rng=3) + np.eye(d)[0] * 3.0
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def _with_duplicates(n, d):
    x = random_points(n, d, rng=4)
    return np.concatenate([x[: n // 2], x[: n - n // 2 - 4], -x[:4]])


@pytest.mark.parametrize("d", [2, 3, 4, 10, 64])
@pytest.mark.parametrize("draw", [random_points, _clustered, _with_duplicates])
def test_sums_in_cells_are_those_of_the_engine(d, draw):
    n = 300
    x = torch.from_numpy(draw(n, d))
    kernels = _kernels(n, d)
    assert all(map(has_cells, kernels))
    ours = cell_sums(x, list(kernels)) / n
    theirs = pair_reduce(x, kernel=list(kernels)) / n
    scale = torch.tensor([min(1.0, test.moments(d).second ** 0.5) for test in kernels.values()])
    assert torch.equal(ours.isinf(), theirs.isinf())
    gap = (ours - theirs).abs().nan_to_num(posinf=0.0)
    assert bool((gap <= 1e-9 * scale + 1e-12 * theirs.abs()).all())


@pytest.mark.parametrize("draw", [random_points, _clustered, _with_duplicates])
def test_native_cells_are_those_of_plain_operations(monkeypatch, draw):
    x = torch.from_numpy(draw(1300, 3))
    kernels = list(_kernels(300, 3))
    plain = cell_sums(x, kernels)
    _, *extremes = plain_sums = binned_sums(x[None, :90], kernels, 3)
    monkeypatch.setattr(_cells, "_NATIVE_FROM", 0)
    assert torch.allclose(cell_sums(x, kernels), plain, rtol=1e-12, atol=1e-9)
    sums, *ends = binned_sums(x[None, :90], kernels, 3)
    assert torch.allclose(sums, plain_sums[0], rtol=1e-12, atol=1e-10)
    assert all(map(torch.equal, ends, extremes))


def test_sums_in_cells_of_a_batch():
    x = torch.from_numpy(np.stack([random_points(600, 5, rng=k) for k in range(2)]))
    kernels = list(_kernels(600, 5))
    both = cell_sums(x, kernels)
    assert torch.equal(both[1], cell_sums(x[1], kernels))


def test_a_table_and_single_tests_agree():
    x = random_points(400, 3, rng=5)
    for result in stats.uniformity_tests(x, ["pad", "prt", "softmax", "packing", "stein"]):
        alone = stats.uniformity_test(x, result.test)
        assert result.statistic == pytest.approx(alone.statistic, rel=1e-9, abs=1e-12)


def test_float32_points_are_summed_in_double():
    x = torch.from_numpy(random_points(300, 4, rng=6)).float()
    kernels = list(_kernels(300, 4))
    exact = pair_reduce(torch.nn.functional.normalize(x.double(), dim=1), kernel=kernels)
    assert torch.allclose(cell_sums(x, kernels), exact, rtol=1e-9, atol=1e-7)


@pytest.mark.parametrize("tau", [0.2, 1.0 / 3.0, 0.9])
def test_caps_of_the_sphere_in_closed_form(tau):
    closed, table = ProjectedKernel("cap", 3, tau), ProjectedKernel("cap", 4, tau)
    t = np.linspace(-0.999, 0.999, 401)
    step = 1e-6
    slope = (closed(t + step) - closed(t - step)) / (2 * step)
    near, far = torch.from_numpy(2 - 2 * t), torch.from_numpy(2 + 2 * t)
    smooth = np.abs(0.5 * (1 + t) - tau**2) > 1e-3
    found = closed.derivative(near, far).numpy()
    assert np.allclose(found[smooth], slope[smooth], rtol=1e-6, atol=1e-9)
    assert closed.at_one == pytest.approx(0.25 * (1 - tau**2), rel=1e-15)
    assert closed(np.array([-1.0])) == pytest.approx(closed.at_minus_one, rel=1e-12)
    assert table.at_one > 0 > table.at_minus_one


def test_extreme_cosines_come_with_simulated_sums():
    x = torch.from_numpy(np.stack([random_points(40, 3, rng=k) for k in range(5)]))
    _, smallest, largest = binned_sums(x, list(_kernels(40, 3))[:2], 3)
    packing, opposite = stats.build_test("packing"), stats.build_test("max_angle")
    lines = stats.build_test("packing", antipodal=True)
    for test in (packing, opposite, lines):
        quick = test.from_summary(test.closest(smallest, largest), 40, 3)
        assert torch.allclose(quick, test.statistic(x), rtol=0, atol=1e-14)


def test_sorting_keeps_the_gradient():
    x = torch.tensor([[3.0, 1.0, 2.0]], dtype=torch.float64, requires_grad=True)
    (ascending(x) * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[3.0, 1.0, 2.0]]
    assert torch.equal(ascending(x.detach()), torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64))


def test_a_table_of_other_code_is_not_read(monkeypatch, tmp_path):
    monkeypatch.setenv("SPHUNI_CACHE", str(tmp_path))
    test = stats.build_test("gini")
    key = _tables._key(test, 10, 2, 99, 1)
    monkeypatch.setattr(_tables, "_definitions", lambda: "a later version of the statistics")
    assert _tables._key(test, 10, 2, 99, 1) != key


@pytest.mark.parametrize(
    ("t", "n", "d", "antipodal", "atom"),
    [(1 / 3, 2, 3, False, True), (1 / 3, 3, 3, False, False), (0.01, 12, 2, False, True),
     (0.01, 12, 2, True, True), (0.002, 8, 4, False, True), (0.002, 40, 4, False, False),
     (0.5, 5, 10, False, False)],
)  # fmt: skip
def test_points_that_share_no_cap_are_an_atom(t, n, d, antipodal, atom):
    test = stats.build_test("prt", t=t, antipodal=antipodal)
    values = test.statistic(torch.from_numpy(random_points(n, d, batch=2000, rng=1)))
    assert test.has_atoms(n, d) is atom
    assert (int((values < values.min() + 1e-9).sum()) > 10) is atom


@pytest.mark.parametrize(
    ("name", "n", "d", "atom"),
    [("ajne", 5, 2, True), ("ajne", 6, 2, False), ("ajne", 5, 3, False), ("prt", 5, 2, True),
     ("rothman", 6, 2, False), ("rothman", 4, 2, True), ("hodges_ajne", 60, 2, True)],
)  # fmt: skip
def test_atoms_of_few_points_on_the_circle(name, n, d, atom):
    test = stats.build_test(name)
    values = test.statistic(
        torch.from_numpy(np.stack([random_points(n, d, rng=k) for k in range(200)]))
    )
    tied = int((values < values.min() + 1e-9).sum())
    assert test.has_atoms(n, d) is atom
    assert (tied > 1) is atom
    result = stats.uniformity_test(random_points(n, d, rng=1), name)
    assert any("include its own value" in note for note in result.notes) is atom


@pytest.mark.slow
def test_all_leaves_out_what_takes_long_to_simulate():
    x = random_points(1000, 64, rng=0)
    table = stats.uniformity_tests(x, n_resamples=9999)
    assert "ask for it by name" in table.skipped["poisson"]


@pytest.mark.parametrize("draw", [random_points, _with_duplicates])
def test_circle_sums_are_those_of_the_engine(draw):
    n = 700
    x = torch.from_numpy(draw(n, 2))
    kernels = {k: t for k, t in _kernels(100, 2).items() if has_circle_form(k)}
    assert len(kernels) >= 8
    ours, theirs = circle_sums(x, list(kernels)), pair_reduce(x, kernel=list(kernels))
    assert ours is not None
    assert torch.equal(ours.isinf(), theirs.isinf())
    spread = torch.tensor([test.moments(2).second ** 0.5 for test in kernels.values()])
    assert bool(((ours - theirs).abs().nan_to_num() / n < 1e-11 * spread).all())


def test_circle_sums_decline_a_crowd():
    angle = np.random.default_rng(0).normal(0, 1e-6, 900)
    x = torch.from_numpy(np.stack([np.cos(angle), np.sin(angle)], axis=1))
    assert circle_sums(x, [k for k in _kernels(100, 2) if has_circle_form(k)]) is None


def test_large_circles_take_no_pairs():
    x = random_points(2000, 2, rng=8)
    for name in ("pycke", "pad"):
        quick = stats.uniformity_test(x, name).statistic
        test = stats.build_test(name)
        sums = pair_reduce(torch.from_numpy(x), kernel=list(test.kernels(2))).unbind(-1)
        assert quick == pytest.approx(float(test.from_summary(sums, 2000, 2)), rel=1e-9)


def test_progress_of_simulated_laws(monkeypatch):
    monkeypatch.setenv("SPHUNI_CACHE", "off")
    seen = []
    x = random_points(11, 4, rng=0)
    names = ["pad", "ccf09", "rayleigh"]
    stats.uniformity_tests(
        x, names, null="monte-carlo", n_resamples=5000, rng=77, progress=lambda *at: seen.append(at)
    )
    assert seen == sorted(seen)
    assert seen[-1] == (10_000, 10_000)
    assert len(seen) > 2


def test_progress_of_power_counts_tables_and_sets(monkeypatch):
    monkeypatch.setenv("SPHUNI_CACHE", "off")
    seen = []
    stats.size("pad", n=9, d=3, n_sets=300, rng=0, n_resamples=499,
               progress=lambda *at: seen.append(at))  # fmt: skip
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (2 * 499 + 300, 2 * 499 + 300)
