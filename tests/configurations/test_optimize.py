import dataclasses
import errno
import json
import math
import os
import signal
import stat
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

import sphuni
from sphuni import _files
from sphuni._errors import BudgetError, UnreadableFileError
from sphuni._rng import seeds
from sphuni.configurations import construct, optimize, record, symmetry_order
from sphuni.configurations.descent import polish
from sphuni.configurations.maxmin import _holes, _poles, _tied
from sphuni.configurations.maxmin._holes import holes
from sphuni.configurations.maxmin._members import step_along, tangents
from sphuni.configurations.problems import _worst_places
from sphuni.configurations.problems._base import Relaxed
from sphuni.configurations.problems._determinants import _logdet_derivatives
from sphuni.configurations.problems._resolve import resolve
from sphuni.configurations.search import _batch, _checkpoint, _search
from sphuni.configurations.search._batch import Batch, _distinct, run_batch
from sphuni.configurations.search._checkpoint import State
from sphuni.configurations.starts._random import random_starts
from sphuni.kernels import Dirichlet, Gaussian, GegenbauerSeries, Laplace, Riesz


@pytest.fixture(scope="module")
def thomson12():
    return optimize("thomson", n=12, restarts=8)


def test_thomson_12_is_certified(thomson12):
    assert thomson12.value == pytest.approx(49.16525305762880, abs=1e-12)
    assert abs(thomson12.gap) < 1e-11
    certificate = thomson12.certificate
    assert certificate.residual < 1e-14
    assert certificate.smallest_eigenvalue == pytest.approx(0.9071638901, abs=1e-8)
    assert certificate.flat_modes == 0
    assert certificate.bound == pytest.approx(thomson12.value, abs=1e-10)
    assert certificate.symmetry_order == 120
    assert (thomson12.hits, thomson12.tried, thomson12.starts) == (8, 8, 8)
    assert "optimal" in thomson12.advice


def test_the_value_is_that_of_the_measure(thomson12):
    energy = sphuni.riesz_energy(thomson12.points, s=1, reduction="sum")
    assert thomson12.value == pytest.approx(float(energy), rel=1e-14)


def test_same_seed_same_bits_and_seeds_matter():
    first, again, other = (optimize("thomson", n=11, restarts=8, rng=seed) for seed in (0, 0, 1))
    assert np.array_equal(again.points, first.points)
    assert again.value == first.value
    assert not np.array_equal(other.points, first.points)
    assert optimize("thomson", n=12, restarts=1, rng=np.random.default_rng(0)).seed > 0


def test_to_dict_is_json(thomson12):
    content = json.loads(json.dumps(thomson12.to_dict(), allow_nan=False))
    assert content["certificate"]["kind"] == "smooth"
    assert content["record"]["status"] == "proven"
    assert len(content["points"]) == 12


@pytest.mark.parametrize("n", [5, 7, 11, 20])
def test_thomson_reaches_the_record(n):
    result = optimize("thomson", n=n, restarts=16)
    assert abs(result.gap) < 5e-10
    assert result.certificate.residual < 1e-12
    assert result.certificate.smallest_eigenvalue > 0


@pytest.mark.parametrize(
    ("problem", "n", "d", "options", "value"),
    [
        ("log", 12, 3, {}, None),
        ("riesz", 8, 4, {"s": 1.0}, 18.9705627484771),
        ("riesz", 16, 5, {"s": 1.0}, 85.6062329783655),
        ("riesz", 9, 8, {"s": 1.0}, 24.0),
    ],
)
def test_sharp_codes_attain_their_bounds(problem, n, d, options, value):
    result = optimize(problem, n=n, d=d, restarts=8, **options)
    assert result.certificate.bound_attained
    assert result.value == pytest.approx(result.certificate.bound, rel=1e-12)
    if value is not None:
        assert result.value == pytest.approx(value, abs=1e-10)


def test_lines_have_the_energy_of_the_doubled_set():
    result = optimize("thomson", n=6, restarts=8, antipodal=True)
    both = np.vstack([result.points, -result.points])
    assert result.value == pytest.approx(49.16525305762880, abs=1e-11)
    assert float(sphuni.riesz_energy(both, s=1, reduction="sum")) == pytest.approx(result.value)


def test_any_kernel():
    result = optimize("energy", n=6, kernel=Gaussian(1.0), restarts=4)
    octahedron = construct("cross_3")
    energy = sphuni.kernel_energy(octahedron, kernel=Gaussian(1.0), reduction="sum")
    assert result.value == pytest.approx(float(energy), abs=1e-13)


@pytest.mark.parametrize(
    ("n", "epsilon", "packing"), [(7, 7.0, 2.8973e-33), (9, 10.0, 2.2354e-57), (20, 8.0, 4.531e-17)]
)
def test_tiny_energies_converge_and_beat_the_packing_of_that_size(n, epsilon, packing):
    result = optimize("energy", n=n, kernel=Gaussian(epsilon), restarts=16)
    assert result.value < packing
    assert result.certificate.residual < 1e-9 * result.value
    assert result.hits > 8
    assert result.advice == "found repeatedly"


def test_steep_kernels_of_lines_and_of_their_own_kind():
    lines = optimize("energy", n=6, kernel=Gaussian(9.0), antipodal=True, restarts=8)
    assert lines.certificate.symmetry_order == 120
    riesz, same = (
        optimize(name, n=7, restarts=4, **options)
        for name, options in [("riesz", {"s": 90.0}), ("energy", {"kernel": Riesz(90.0)})]
    )
    assert same.value == pytest.approx(riesz.value, rel=1e-12)


def test_tiny_energies_are_compared_with_themselves():
    task = resolve("energy", 9, 3, None, metric="chordal", kernel=Gaussian(10.0), antipodal=False)
    assert task.scale(2e-57) == 2e-57
    assert 1e-59 < task.slope(2e-57) < 2e-57


@pytest.mark.parametrize("epsilon", [pytest.param(22.0, marks=pytest.mark.slow), 100.0])
def test_energies_that_underflow_are_refused(epsilon):
    with pytest.raises(ValueError, match=f"kernel must not underflow.*epsilon={epsilon:g}"):
        optimize("energy", n=7, kernel=Gaussian(epsilon), restarts=2)


TAMMES = {
    5: 0.0, 7: 0.21013831, 8: 0.26120387, 9: 1 / 3, 10: 0.40439433, 11: 5**-0.5, 12: 5**-0.5,
    14: 0.56395030,
}  # fmt: skip


@pytest.mark.parametrize(
    "n", [7, *(pytest.param(n, marks=pytest.mark.slow) for n in (5, 8, 9, 10, 11, 12, 14))]
)
def test_tammes_in_space(n):
    result = optimize("tammes", n=n, restarts=12)
    assert math.cos(result.value) == pytest.approx(TAMMES[n], abs=1e-8)
    if result.record is not None:
        assert math.cos(result.value) - math.cos(result.record.value) <= 5e-15
    assert result.certificate.residual < 1e-12
    assert result.certificate.spread < 1e-11


@pytest.mark.slow
def test_tammes_in_four_dimensions():
    ten = optimize("tammes", n=10, d=4, restarts=8)
    assert math.cos(ten.value) == pytest.approx(1 / 6, abs=2e-15)
    cell = optimize("tammes", n=24, d=4, restarts=4)
    assert cell.value == pytest.approx(math.pi / 3, abs=2e-15)
    assert cell.certificate.symmetry_order == 1152
    assert len(cell.certificate.active) == 96
    assert cell.certificate.free_points == 0


def test_varying_a_packing_moves_one_point_far():
    task = resolve("tammes", 9, 3, None, metric="chordal", kernel=None, antipodal=False)
    points = optimize("tammes", n=9, restarts=2).points
    stayed = []
    for seed in range(8):
        varied = task.vary(points, np.random.default_rng(seed))
        assert varied.shape == (9, 3)
        assert np.linalg.norm(varied, axis=1) == pytest.approx(1)
        nearest = np.linalg.norm(points[:, None] - varied, axis=-1).min(axis=0)
        stayed.append(int((nearest < 0.5).sum()))
    assert set(stayed) == {8, 9}  # the deepest hole may be the place that was left


def test_lines_are_compared_with_the_lines_on_record():
    found = optimize("tammes", n=6, antipodal=True, restarts=4)
    assert found.record.antipodal is True
    assert found.gap == pytest.approx(0.0, abs=1e-14)
    assert optimize("tammes", n=3, antipodal=True).gap == pytest.approx(0.0, abs=1e-15)


def test_determinant_of_lines_is_that_of_the_doubled_set():
    result = optimize("maxdet", n=6, kernel=Gaussian(1.0), antipodal=True, restarts=4)
    both = np.vstack([result.points, -result.points])
    assert result.value == pytest.approx(float(sphuni.gram_logdet(both)), abs=1e-13)
    icosahedron = float(sphuni.gram_logdet(construct("icosahedron")))
    assert result.value == pytest.approx(icosahedron, abs=1e-12)
    assert result.certificate.residual < 1e-13
    assert result.certificate.smallest_eigenvalue > 1
    assert result.certificate.symmetry_order == 120
    assert result.value <= result.certificate.bound
    assert result.record is None


@pytest.mark.parametrize("d", [2, 3, 5])
def test_lines_at_right_angles_have_the_greatest_determinant(d):
    result = optimize("maxdet", n=d, d=d, kernel=Laplace(1.0), antipodal=True, restarts=2)
    assert np.abs(result.points @ result.points.T) == pytest.approx(np.eye(d), abs=1e-7)
    assert result.value == pytest.approx(result.certificate.bound, abs=1e-12)
    assert "optimal" in result.advice


@pytest.mark.parametrize("kernel", [Gaussian(0.7), Laplace(1.0)])
def test_derivatives_of_the_determinant_of_lines(kernel):
    points = sphuni.random_points(5, 4, rng=1)
    move = np.random.default_rng(0).standard_normal((5, 3))
    h = 1e-4
    high, least, low = (
        -float(sphuni.gram_logdet(step_along(points, k * h * move), kernel=kernel, antipodal=True))
        for k in (1, 0, -1)
    )
    gradient, hessian = _logdet_derivatives(kernel, lines=True)(torch.from_numpy(points))
    along = np.einsum("nde,ne->nd", tangents(points), move)
    assert (gradient.numpy() * along).sum() == pytest.approx((high - low) / (2 * h), rel=1e-5)
    bend = (high - 2 * least + low) / h**2
    assert move.ravel() @ hessian.numpy() @ move.ravel() == pytest.approx(bend, rel=1e-4)


def test_a_lone_start_is_no_code_whose_points_are_opposite():
    for problem, options in (("riesz", {"s": 1.0}), ("maxdet", {"kernel": Gaussian(1.0)})):
        result = optimize(problem, n=6, antipodal=True, restarts=1, **options)
        cosines = np.abs(result.points @ result.points.T)[np.triu_indices(6, 1)]
        assert cosines == pytest.approx(5**-0.5, abs=1e-9)


@pytest.mark.parametrize(("n", "d", "s"), [(6, 3, 5), (6, 3, 4), (3, 3, 3), (12, 4, 5)])
def test_designs_of_lines(n, d, s):
    result = optimize("design", n=n, d=d, s=s, antipodal=True, restarts=2)
    both = np.vstack([result.points, -result.points])
    assert result.value == pytest.approx(float(sphuni.design_residual(both, t=s)), abs=1e-12)
    assert result.value < 1e-7


def test_lines_in_space():
    result = optimize("tammes", n=6, restarts=8, antipodal=True)
    assert math.cos(result.value) == pytest.approx(5**-0.5, abs=1e-14)
    assert result.certificate.bound_attained


@pytest.mark.parametrize(
    ("n", "d", "cosine"),
    [(6, 3, 3**-0.5), (4, 3, 1 / 3), pytest.param(8, 4, 0.5, marks=pytest.mark.slow)],
)
def test_covering_of_known_codes(n, d, cosine):
    result = optimize("covering", n=n, d=d, restarts=4)
    assert math.cos(result.value) == pytest.approx(cosine, abs=1e-12)
    assert float(sphuni.covering_radius(result.points).radius) == result.value
    assert result.certificate.residual < 1e-6


@pytest.mark.slow
def test_covering_with_13_points_reaches_the_record():
    result = optimize("covering", n=13, restarts=3)
    assert result.gap < 1e-12
    assert result.certificate.active.shape[1] == 3


def test_polarization_of_the_tetrahedron():
    result = optimize("polarization", n=4, s=1.0, restarts=1)
    assert result.value == pytest.approx(0.5 + 3 / math.sqrt(4 / 3), abs=1e-12)
    assert result.certificate.bound_attained


@pytest.mark.parametrize("n", [4, 9, 16])
def test_maxdet_reaches_the_extremal_points(n):
    result = optimize("maxdet", n=n, restarts=6)
    assert result.certificate.residual < 1e-12
    if result.record is not None:
        assert abs(result.gap) < 1e-12


def test_maxdet_of_a_gaussian():
    result = optimize("maxdet", n=5, d=4, kernel=Gaussian(1.0), restarts=2)
    simplex = construct("simplex_4")
    best = float(sphuni.gram_logdet(simplex, kernel=Gaussian(1.0)))
    assert result.value == pytest.approx(best, abs=1e-12)


def test_design_of_the_icosahedron():
    result = optimize("design", n=12, s=5, restarts=8)
    assert result.value < 1e-7
    assert result.certificate.bound == 0


@pytest.mark.parametrize("problem", ["thomson", "tammes", "log"])
def test_the_circle_is_closed_form(problem):
    result = optimize(problem, n=7, d=2)
    assert result.status == "closed form"
    assert abs(result.gap) < 1e-13
    assert result.certificate.symmetry_order == 14


@pytest.mark.parametrize(
    ("problem", "options", "known"),
    [
        ("riesz", {"s": 2.0, "metric": "geodesic"}, True),
        ("riesz", {"s": -1.0, "metric": "geodesic"}, True),
        ("polarization", {"s": -1.0}, True),
        ("polarization", {"s": -1.5}, False),
    ],
)
def test_the_circle_is_closed_form_where_theorems_reach(problem, options, known):
    result = optimize(problem, n=5, d=2, restarts=2, **options)
    assert (result.status == "closed form") == known


@pytest.mark.parametrize(
    ("problem", "options"),
    [("thomson", {}), ("log", {}), ("riesz", {"s": 2.5}), ("riesz", {"s": -0.5}), ("tammes", {})],
)
@pytest.mark.parametrize(("n", "d"), [(2, 3), (3, 3), (4, 3), (4, 6), (7, 6)])
def test_few_points_are_the_simplex(problem, options, n, d):
    result = optimize(problem, n=n, d=d, **options)
    assert result.status == "closed form"
    cosines = (result.points @ result.points.T)[np.triu_indices(n, 1)]
    assert cosines == pytest.approx(-1 / (n - 1), abs=1e-14)
    assert result.certificate.residual < 1e-12


@pytest.mark.parametrize(
    ("problem", "options"),
    [("riesz", {"s": -0.5}), ("riesz", {"s": -1.0, "metric": "geodesic"}), ("tammes", {})],
)
@pytest.mark.parametrize(("n", "d"), [(2, 3), (3, 3), (4, 6)])
def test_few_lines_are_at_right_angles(problem, options, n, d):
    result = optimize(problem, n=n, d=d, antipodal=True, **options)
    assert result.status == "closed form"
    assert result.points @ result.points.T == pytest.approx(np.eye(n))
    assert result.certificate.residual < 1e-12
    if problem == "tammes":
        assert result.value == pytest.approx(math.pi / 2, abs=1e-15)
        assert len(result.certificate.active) == n * (n - 1)
        assert result.certificate.bound_attained


@pytest.mark.parametrize(
    ("problem", "options", "value"),
    [
        ("thomson", {}, 0.0),
        ("log", {"d": 5}, 0.0),
        ("riesz", {"s": 3.0}, 0.0),
        ("design", {"s": 2}, 1.0),
        ("maxdet", {}, -math.log(4 * math.pi)),
    ],
)
def test_one_point(problem, options, value):
    result = optimize(problem, n=1, **options)
    assert result.status == "closed form"
    assert result.points.shape == (1, result.d)
    assert result.value == pytest.approx(value, abs=1e-14)
    assert "optimal" in result.advice
    json.dumps(result.to_dict(), allow_nan=False)


def test_target_ends_the_search():
    result = optimize("thomson", n=10, restarts=640, target=32.7169494601)
    assert result.status == "target reached"
    assert result.starts == 64


@pytest.mark.parametrize("n", [20, 60])
def test_a_time_limit_that_is_over_at_once_still_gives_a_configuration(n):
    result = optimize("thomson", n=n, restarts=640, time_limit=1e-9)
    assert result.status == "time limit"
    best = record("thomson", n=n).value
    assert best - 1e-9 < result.value < 1.05 * best
    assert "repeatedly" not in result.advice
    assert np.linalg.norm(result.points, axis=1) == pytest.approx(1)


def test_time_limit_returns_the_best_so_far():
    began = time.monotonic()
    result = optimize("thomson", n=60, restarts=6400, time_limit=0.3)
    assert time.monotonic() - began < 10
    assert result.status == "time limit"
    assert result.starts < 6400
    assert result.value < 1550
    assert np.linalg.norm(result.points, axis=1) == pytest.approx(1)


def test_an_exact_design_meets_the_target_zero():
    result = optimize("design", n=6, s=3, restarts=640, target=0.0)
    assert result.status == "target reached"
    assert result.starts == 64
    assert optimize("design", n=6, s=4, restarts=4, target=0.0).status == "finished"


def test_callback_sees_every_batch():
    seen = []
    optimize("thomson", n=6, restarts=130, callback=seen.append)
    assert [progress.done for progress in seen] == [64, 128, 130]
    assert seen[-1].total == 130
    assert seen[-1].hits == 130
    assert abs(seen[-1].gap) < 1e-12


def test_like_gives_torch():
    result = optimize("thomson", n=4, restarts=2, like=torch.zeros(1, dtype=torch.float32))
    assert result.points.dtype == torch.float32


def interrupt_after(count):
    seen = []

    def callback(progress):
        seen.append(progress)
        if len(seen) == count:
            raise KeyboardInterrupt

    return callback


def test_interrupted_and_resumed_ends_at_the_same_bits(tmp_path):
    path = tmp_path / "run.npz"
    whole = optimize("thomson", n=6, restarts=192)
    first = optimize("thomson", n=6, restarts=192, checkpoint=path, callback=interrupt_after(1))
    assert (first.status, first.starts) == ("interrupted", 64)
    second = optimize("thomson", n=6, restarts=192, checkpoint=path, resume=True)
    assert second.starts == 192
    assert np.array_equal(second.points, whole.points)
    assert dataclasses.replace(second, seconds=0.0, points=None).to_dict() == (
        dataclasses.replace(whole, seconds=0.0, points=None).to_dict()
    )


@pytest.mark.parametrize("problem", ["tammes", pytest.param("covering", marks=pytest.mark.slow)])
def test_a_batch_goes_on_where_it_was_killed(problem, tmp_path, monkeypatch):
    options = {"n": 7, "restarts": 3}
    whole = optimize(problem, **options)
    save, saved, dead = _checkpoint.save, [], []

    class Killed(BaseException):
        pass

    def save_and_die(path, key, state):
        if dead:
            return
        save(path, key, state)
        saved.append(state.stage)
        if len(saved) % 2 == 0:  # the first time, at the beginning, nothing is new
            dead.append(True)
            raise Killed

    monkeypatch.setattr(_checkpoint, "save", save_and_die)
    monkeypatch.setattr(_search, "_SAVE_EVERY", 0.0)
    path = tmp_path / "run.npz"
    for _ in range(4):
        dead.clear()
        with pytest.raises(Killed):
            optimize(problem, checkpoint=path, resume=path.exists(), **options)
    assert len({len(stage.polished) for stage in saved if stage is not None}) > 2
    monkeypatch.setattr(_checkpoint, "save", save)
    resumed = optimize(problem, checkpoint=path, resume=True, **options)
    assert resumed.value == whole.value
    assert np.array_equal(resumed.points, whole.points)
    assert (resumed.hits, resumed.tried) == (whole.hits, whole.tried)


@pytest.mark.parametrize(
    "limit", [0.03, *(pytest.param(limit, marks=pytest.mark.slow) for limit in (1e-3, 0.1))]
)
@pytest.mark.parametrize(
    ("problem", "n"), [("thomson", 30), pytest.param("tammes", 10, marks=pytest.mark.slow)]
)
def test_time_limits_within_a_batch_leave_no_trace(problem, n, limit, tmp_path):
    options = {"n": n, "restarts": 8, "checkpoint": tmp_path / "run.npz"}
    first = optimize(problem, time_limit=limit, **options)
    with np.load(options["checkpoint"]) as file:
        assert first.status == "finished" or np.array_equal(file["cut_points"], first.points)
    resumed = optimize(problem, resume=True, **options)
    whole = optimize(problem, n=n, restarts=8)
    assert np.array_equal(resumed.points, whole.points)
    assert (resumed.value, resumed.hits, resumed.tried) == (whole.value, whole.hits, whole.tried)


@pytest.mark.slow
def test_every_stage_of_a_batch_leads_to_the_same_end():
    task = resolve("tammes", 7, 3, None, metric="chordal", kernel=None, antipodal=False)
    stages = []
    batch = Batch(task, 0, seeds(0, 3), "blockwise", math.inf, keep=stages.append)
    whole = run_batch(batch)
    assert [stage.hops for stage in stages[-3:]] == [1, 2, 3]
    for stage in stages:
        again = run_batch(dataclasses.replace(batch, stage=stage))
        assert np.array_equal(again.points, whole.points)
        assert (again.polished, again.scores) == (whole.polished, whole.scores)


def check_workers_agree(problem, workers, **options):
    alone = optimize(problem, **options)
    shared = optimize(problem, workers=workers, **options)
    assert np.array_equal(shared.points, alone.points)
    assert dataclasses.replace(shared, seconds=0.0, points=None).to_dict() == (
        dataclasses.replace(alone, seconds=0.0, points=None).to_dict()
    )


def test_two_workers_give_the_answer_of_one():
    check_workers_agree("thomson", 2, n=5, restarts=128)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize(
    ("problem", "options"),
    [("thomson", {"n": 40, "restarts": 192}), ("covering", {"n": 9, "restarts": 40})],
)
def test_the_number_of_workers_does_not_matter(problem, options, workers):
    check_workers_agree(problem, workers, **options)


@pytest.mark.slow
def test_target_ends_the_search_of_several_workers_at_the_same_start():
    target = 32.7169494601
    result = optimize("thomson", n=10, restarts=256, target=target, workers=2)
    assert (result.status, result.starts) == ("target reached", 64)


def test_checkpoints_that_do_not_fit_are_refused_and_kept(tmp_path):
    path = tmp_path / "run.npz"
    optimize("thomson", n=6, restarts=2, checkpoint=path)
    content = path.read_bytes()
    with pytest.raises(ValueError, match="exists already; pass resume=True"):
        optimize("thomson", n=6, restarts=2, checkpoint=path)
    with pytest.raises(ValueError, match="differs: n = 6 there, 7 here"):
        optimize("thomson", n=7, restarts=2, checkpoint=path, resume=True)
    with pytest.raises(ValueError, match=r"detail = .*s=2\.0"):
        optimize("riesz", n=6, s=2.0, restarts=2, checkpoint=path, resume=True)
    with pytest.raises(ValueError, match="seed = 0 there, 1 here"):
        optimize("thomson", n=6, restarts=2, rng=1, checkpoint=path, resume=True)
    assert path.read_bytes() == content


@pytest.mark.parametrize("damage", ["cut", "text", "foreign", "pickle"])
def test_damaged_checkpoints_are_refused_and_kept(tmp_path, damage):
    path = tmp_path / "run.npz"
    optimize("thomson", n=6, restarts=2, checkpoint=path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-40])
    elif damage == "text":
        path.write_text("not a checkpoint")
    elif damage == "foreign":
        np.savez(path, points=np.eye(3))
    else:
        np.savez(path, schema=np.array([{"a": 1}], dtype=object))
    content = path.read_bytes()
    with pytest.raises(UnreadableFileError, match="damaged or of another kind"):
        optimize("thomson", n=6, restarts=2, checkpoint=path, resume=True)
    assert path.read_bytes() == content


@pytest.fixture(scope="module")
def half_done(tmp_path_factory):
    """A checkpoint's path and fields, the second batch of a packing varied once."""
    path = tmp_path_factory.mktemp("half") / "run.npz"
    task = resolve("tammes", 7, 3, None, metric="chordal", kernel=None, antipodal=False)
    stages = []
    first = run_batch(Batch(task, 0, seeds(0, 2), "blockwise", math.inf, keep=stages.append))
    state = _checkpoint.State(
        2, first.scores, first.polished, first.value, first.points, stage=stages[-1]
    )
    _checkpoint.save(path, task.key, state)
    with np.load(path) as file:
        return task, path, dict(file)


@pytest.mark.parametrize(
    "edit",
    [
        {"starts": "x"},
        {"starts": 0},
        {"starts": 3},
        {"generation": None},
        {"generation": 1},
        {"generation": -1},
        {"polished": "x"},
        {"polished": [[1.0]]},
        {"value": None},
        {"value": math.nan},
        {"hops": []},
        {"hops": -1},
        {"rng": 7},
        {"rng": {}},
        {"rng": "x"},
    ],
)
def test_stages_with_edited_numbers_are_refused(half_done, edit):
    task, path, fields = half_done
    numbers = json.loads(str(fields["stage"]))
    np.savez(path, **{**fields, "stage": np.array(json.dumps(numbers))})
    assert _checkpoint.load(path, task.key).stage.hops == 2
    np.savez(path, **{**fields, "stage": np.array(json.dumps(numbers | edit))})
    with pytest.raises(UnreadableFileError, match="damaged or of another kind"):
        _checkpoint.load(path, task.key)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("stage_found_converged", np.zeros(2)),
        ("stage_found_converged", np.zeros((1, 2), dtype=bool)),
        ("stage_found_converged", np.array(["a", "b"])),
        ("done", np.array(0)),
        ("value", np.array(math.inf)),
        ("polished", np.empty(0)),
    ],
)
def test_checkpoints_with_edited_fields_are_refused(half_done, name, array):
    task, path, fields = half_done
    np.savez(path, **{**fields, name: array})
    with pytest.raises(UnreadableFileError, match="damaged or of another kind"):
        _checkpoint.load(path, task.key)


@pytest.fixture
def full_disk(monkeypatch):
    """Let so many checkpoints be written, and no more."""

    def after(count):
        real, left = _files.os.fsync, iter(range(count))

        def synced(descriptor):
            if stat.S_ISREG(os.fstat(descriptor).st_mode) and next(left, None) is None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(descriptor)

        monkeypatch.setattr(_files.os, "fsync", synced)

    return after


def test_a_full_disk_costs_no_answer(full_disk, tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    options = {"n": 6, "restarts": 128, "engine": "blockwise"}
    whole = optimize("thomson", **options)
    full_disk(1)
    with pytest.warns(UserWarning, match=r"checkpoint .*run\.npz' cannot be written: No space"):
        found = optimize("thomson", checkpoint=path, **options)
    assert (found.status, found.starts) == ("finished", 128)
    assert np.array_equal(found.points, whole.points)
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.npz"]
    monkeypatch.undo()
    resumed = optimize("thomson", checkpoint=path, resume=True, **options)
    assert np.array_equal(resumed.points, whole.points)


def test_a_full_disk_hides_no_error_of_a_callback(full_disk, tmp_path):
    full_disk(1)

    def callback(progress):
        raise RuntimeError("mine")

    with (
        pytest.warns(UserWarning, match="cannot be written"),
        pytest.raises(RuntimeError, match="mine"),
    ):
        optimize("thomson", n=6, restarts=4, checkpoint=tmp_path / "run.npz", callback=callback)


def test_a_disk_that_is_full_at_once_is_said_before_the_search(full_disk, tmp_path):
    full_disk(0)
    with pytest.raises(
        OSError, match=r"checkpoint .*run\.npz' cannot be written: No space"
    ) as error:
        optimize("thomson", n=6, restarts=4, checkpoint=tmp_path / "run.npz")
    assert error.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_resume_needs_a_checkpoint():
    with pytest.raises(ValueError, match="checkpoint must be given with resume=True"):
        optimize("thomson", n=6, resume=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"problem": "tames", "n": 5}, "Did you mean 'tammes'"),
        ({"problem": "thomson", "n": 0}, "n must be at least 1"),
        ({"problem": "thomson", "n": -3}, "n must be at least 1"),
        ({"problem": "tammes", "n": 1}, "n must be at least 2 for 'tammes'"),
        ({"problem": "thomson", "n": 5, "d": 1}, "d must be at least 2"),
        ({"problem": "thomson", "n": 5, "s": 2.0}, "s must be left out or 1 for 'thomson'"),
        ({"problem": "riesz", "n": 5}, "s must be given"),
        ({"problem": "riesz", "n": 5, "s": -3.0}, r"s must lie in \(-2, 200\]"),
        ({"problem": "riesz", "n": 5, "s": math.nan}, r"s must lie in \(-2, 200\]"),
        ({"problem": "tammes", "n": 5, "s": 1.0}, "s must be left out for 'tammes'"),
        ({"problem": "tammes", "n": 5, "metric": "geodesic"}, "metric must be left out"),
        ({"problem": "tammes", "n": 5, "kernel": Riesz(1.0)}, "kernel must be left out"),
        ({"problem": "energy", "n": 5}, "kernel must be given"),
        ({"problem": "polarization", "n": 5}, "s must be given for 'polarization'"),
        ({"problem": "polarization", "n": 5, "s": -2.0}, r"in \(-2, 50\]; got -2"),
        ({"problem": "maxdet", "n": 5}, "n must be a square"),
        ({"problem": "maxdet", "n": 5, "kernel": Riesz(1.0)}, "kernel must be bounded"),
        ({"problem": "maxdet", "n": 9, "antipodal": True}, "kernel must be given for 'maxdet'"),
        (
            {"problem": "maxdet", "n": 6, "kernel": Dirichlet(2), "antipodal": True},
            "Gram matrix of 6 lines, with both their ends, in R.3 is singular",
        ),
        (
            {"problem": "design", "n": 6, "s": 1, "antipodal": True},
            "s must be at least 2 .* any lines, with both their ends, are a design of strength 1",
        ),
        ({"problem": "design", "n": 9, "s": 2.5}, "s must be the strength"),
        ({"problem": "thomson", "n": 5, "restarts": 0}, "restarts must be at least 1"),
        ({"problem": "thomson", "n": 5, "time_limit": 0.0}, "time_limit must be positive"),
        ({"problem": "thomson", "n": 5, "target": math.nan}, "target must be finite; got nan"),
        ({"problem": "design", "n": 5, "s": math.inf}, "s must be finite; got inf"),
        ({"problem": "thomson", "n": 5, "workers": 0}, "workers must be at least 1"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        optimize(**arguments)


def test_a_flag_is_not_a_number():
    with pytest.raises(TypeError, match="n must be a whole number"):
        optimize("thomson", n=True)


def test_too_large_for_memory_is_refused():
    with pytest.raises(MemoryError, match="lower n or d"):
        optimize("thomson", n=20_000_000, restarts=1)


@pytest.mark.parametrize(
    ("name", "order"),
    [("icosahedron", 120), ("24-cell", 1152), ("600-cell", 14400), ("E8_roots", 696729600)],
)
def test_symmetry_orders(name, order):
    assert symmetry_order(construct(name)) == order


def test_symmetry_of_other_sets():
    assert symmetry_order(construct("simplex_5")) == math.factorial(6)
    assert symmetry_order(sphuni.random_points(20, 3, rng=0)) == 1
    assert symmetry_order(np.eye(3)[:1]) is None


CHILD = """
import sys
from sphuni.configurations import optimize
from sphuni.configurations.search import _search
_search._SAVE_EVERY = 0.0
optimize("thomson", n=14, restarts=int(sys.argv[2]), checkpoint=sys.argv[1], resume=True)
"""


def check_kills(path, kills, restarts, seed):
    """Kill children at random moments of their work; whatever is on disk must be resumable."""
    rng = np.random.default_rng(seed)
    command = [sys.executable, "-c", CHILD, str(path), str(restarts)]
    for _ in range(kills):
        times = {path.stat().st_mtime_ns} if path.exists() else set()
        child = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})
        while child.poll() is None:  # a child that saved nothing new would make this test empty
            times |= {path.stat().st_mtime_ns} if path.exists() else set()
            if len(times) > 2:
                break
            time.sleep(0.01)
        time.sleep(float(rng.uniform(0.0, 0.3)))
        child.send_signal(signal.SIGKILL)
        child.wait()
    options = {"n": 14, "restarts": restarts}
    resumed = optimize("thomson", checkpoint=path, resume=True, **options)
    whole = optimize("thomson", **options)
    assert np.array_equal(resumed.points, whole.points)
    assert (resumed.hits, resumed.tried, resumed.starts) == (whole.hits, whole.tried, whole.starts)


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_coordinates(tmp_path):
    check_kills(tmp_path / "run.npz", 1, 640, 0)


@pytest.mark.slow
def test_twenty_killed_runs_resume_to_the_same_coordinates(tmp_path):
    check_kills(tmp_path / "run.npz", 20, 6400, 1)


@pytest.mark.slow
@pytest.mark.parametrize("n", [50, 72, 100])
def test_larger_thomson_records(n):
    known = {50: 1055.182314726, 72: 2255.001190975, 100: 4448.350634331}
    result = optimize("thomson", n=n)
    assert result.value == pytest.approx(known[n], abs=1e-8)
    assert result.certificate.residual < 1e-12


@pytest.mark.slow
def test_two_hundred_points():
    result = optimize("thomson", n=200, target=18438.842717531)
    assert result.value == pytest.approx(18438.842717530, abs=5e-9)
    assert result.certificate.symmetry_order == 4


@pytest.mark.slow
@pytest.mark.parametrize("n", [13, 26, 28])
def test_hard_packings(n):
    result = optimize("tammes", n=n)
    assert math.cos(result.value) - math.cos(result.record.value) <= 5e-15


@pytest.mark.parametrize(
    ("problem", "options"),
    [
        ("riesz", {"n": 10, "s": 2.0, "metric": "geodesic"}),
        ("maxdet", {"n": 9, "kernel": Laplace(1.0)}),
    ],
)
def test_no_record_of_another_kernel_is_compared(problem, options):
    assert optimize(problem, restarts=1, **options).record is None


def test_determinants_of_kernels_with_a_kink_at_one():
    result = optimize("maxdet", n=6, kernel=Laplace(1.0), restarts=8)
    distances = np.linalg.norm(result.points[:, None] - result.points[None], axis=-1)
    assert result.value == pytest.approx(np.linalg.slogdet(np.exp(-distances))[1], abs=1e-12)
    assert result.certificate.symmetry_order == 48
    assert result.certificate.residual < 1e-12


def test_a_gram_matrix_without_an_inverse_is_refused():
    with pytest.raises(ValueError, match=r"n = 300 points in R\^3 has a finite value.*Gaussian"):
        optimize("maxdet", n=300, kernel=Gaussian(1.0), restarts=1)


def test_gaussian_determinants_are_compared_with_those_of_their_epsilon():
    result = optimize("maxdet", n=9, kernel=Gaussian(1.0), restarts=4)
    assert (result.record.problem, result.record.s) == ("gaussian", 1.0)
    assert result.gap == pytest.approx(0, abs=1e-10)


def test_the_certificate_of_lines_is_that_of_their_energy():
    """Two lines of the plane: the energy of the four points depends on the angle between them."""
    result = optimize("thomson", n=2, d=2, antipodal=True)

    def energy(t):
        lines = np.array([[math.cos(t), math.sin(t)], [0.0, 1.0]])
        points = np.concatenate([lines, -lines])
        chords = np.linalg.norm(points[:, None] - points, axis=-1)
        return (1 / chords[np.triu_indices(4, 1)]).sum()

    step = 1e-3
    curvature = (energy(step) - 2 * energy(0.0) + energy(-step)) / step**2
    assert curvature == pytest.approx(1.5 * 2**0.5, rel=1e-5)
    assert result.certificate.smallest_eigenvalue == pytest.approx(2 * curvature, rel=1e-5)


@pytest.mark.slow
def test_starts_that_are_run_again_are_not_counted_twice(tmp_path):
    path = tmp_path / "run.npz"
    whole = optimize("tammes", n=9, restarts=12)
    optimize("tammes", n=9, restarts=12, checkpoint=path, time_limit=0.05)
    resumed = optimize("tammes", n=9, restarts=12, checkpoint=path, resume=True)
    assert (resumed.hits, resumed.tried) == (whole.hits, whole.tried)
    assert np.array_equal(resumed.points, whole.points)


@pytest.mark.parametrize(
    "nonsense",
    [
        {"points": np.full((6, 3), np.nan)},
        {"points": np.eye(3)},
        {"points": np.zeros((6, 3))},
        {"done": np.array(-16)},
        {"done": np.array(np.inf)},
        {"done": np.array(1.5)},
        {"points": np.vstack([np.eye(3), -np.eye(3)]).astype(complex)},
        {"scores": np.array(3.0)},
        {"scores": np.zeros((3, 2))},
        {"polished": np.array([1j])},
        {"value": np.array(np.nan)},
        {"key": np.array("null")},
        {"key": np.array("3")},
    ],
)
def test_checkpoints_that_no_search_wrote_are_refused(tmp_path, nonsense):
    path = tmp_path / "run.npz"
    optimize("thomson", n=6, restarts=2, checkpoint=path)
    with np.load(path) as file:
        fields = {**file, **nonsense}
    np.savez(path, **fields)
    with pytest.raises(UnreadableFileError, match="is damaged or of another kind"):
        optimize("thomson", n=6, restarts=2, checkpoint=path, resume=True)


@pytest.mark.parametrize("problem", ["covering", "polarization"])
def test_hulls_that_nobody_could_wait_for_are_refused(problem):
    s = 2.0 if problem == "polarization" else None
    text = (
        r"n = 20000, d = 8: the hull has about 130,000,000 facets, .* takes about \d+ minutes and "
        r"132 GiB of memory. Lower n or d"
    )
    with pytest.raises(ValueError, match=text):
        optimize(problem, n=20_000, d=8, s=s, time_limit=10.0)
    with (
        sphuni.limit_memory(1 << 28),
        pytest.raises(BudgetError, match=r"R\^8, where the hull has about 580,000 facets, needs"),
    ):
        optimize(problem, n=300, d=8, s=s, time_limit=10.0)


def test_a_covering_is_no_better_than_its_deepest_hole():
    points = sphuni.random_points(250, 8, rng=0)
    deepest = math.acos(holes(points, 0.0).values.min())
    measured = sphuni.covering_radius(points)
    assert not measured.exact
    assert measured.radius < deepest - 1e-6
    task = resolve("covering", 250, 8, None, metric="chordal", kernel=None, antipodal=False)
    assert task.value(points) == pytest.approx(deepest, abs=1e-15)


def test_coverings_with_too_many_facets_are_refused():
    with pytest.raises(ValueError, match=r"points of R\^9 can have 682,110 facets"):
        optimize("covering", n=60, d=9)
    assert optimize("covering", n=10, d=9, restarts=1).value == pytest.approx(math.acos(1 / 9))


def test_what_points_are_wanted_like_is_checked_first():
    for like in (torch.zeros(1, dtype=torch.int64), np.zeros(1)):
        with pytest.raises(TypeError, match="like must be a torch tensor of floating-point"):
            optimize("thomson", n=200, like=like)


@pytest.mark.parametrize("native", [True, False])
def test_packings_need_no_compiler(native, monkeypatch):
    monkeypatch.setattr(torch, "compile", None)
    where = "sphuni.configurations.descent._packing_energy."
    monkeypatch.setattr(where + "compiler_missing", lambda: "no g++")
    if not native:
        monkeypatch.setattr(where + "native_jit", lambda: None)
    result = optimize("tammes", n=35, restarts=2, engine="compiled")
    assert 0.5 < result.value < 0.62


def test_searches_that_overlap_leave_the_threads_as_they_were(set_threads):
    from sphuni.configurations.search._batch import _one_thread

    set_threads(2)
    first, second = _one_thread(), _one_thread()
    first.__enter__()
    second.__enter__()
    assert torch.get_num_threads() == 1
    first.__exit__(None, None, None)
    assert torch.get_num_threads() == 1
    second.__exit__(None, None, None)
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(("n", "restarts"), [(6, 1), (7, 1), (7, 65)])
def test_steep_energies_of_a_batch_of_one_start(n, restarts):
    result = optimize("riesz", n=n, s=90.0, restarts=restarts, engine="blockwise")
    chords = np.linalg.norm(result.points[:, None] - result.points, axis=-1)
    assert result.starts == restarts
    assert result.value == pytest.approx((chords[np.triu_indices(n, 1)] ** -90.0).sum(), rel=1e-12)


@pytest.mark.parametrize("n", [7, pytest.param(10, marks=pytest.mark.slow)])
def test_steep_energies_end_below_those_of_the_best_packing(n):
    packing = optimize("tammes", n=n, restarts=4, rng=0).points
    result = optimize("riesz", n=n, s=200.0, restarts=16, rng=0)
    assert result.value < float(sphuni.riesz_energy(packing, s=200.0, reduction="sum"))
    assert result.hits > 4
    assert result.certificate.residual < 1e-9 * result.value
    assert "found repeatedly" in result.advice


def _tiny_problem():
    task = resolve("riesz", 7, 5, 200.0, metric="chordal", kernel=None, antipodal=False)
    assert task.unit < 1e-12
    return task


@pytest.mark.parametrize(("cut_value", "kept"), [(2e-12, "whole"), (0.5e-12, "cut")])
def test_tiny_values_are_compared_with_one_another(cut_value, kept):
    whole, cut = np.eye(3)[:1], np.eye(3)[1:2]
    state = _checkpoint.State(value=1e-12, points=whole, cut_value=cut_value, cut_points=cut)
    _, points = state.best(_tiny_problem())
    assert points is {"whole": whole, "cut": cut}[kept]


def test_tiny_optima_that_differ_are_told_apart():
    task = _tiny_problem()
    scores = task.unit * np.array([3.0, 1.0, 1.0 + 1e-13, math.inf, 2.0])
    assert _distinct(task, scores, 3) == [1, 4, 0]


class Clock:
    """A monotonic clock that moves by what the test says a step takes."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def charging(self, seconds, function):
        """The function, each call of which takes so many seconds and is counted."""

        def charged(*args, **options):
            self.now += seconds
            charged.calls += 1
            return function(*args, **options)

        charged.calls = 0
        return charged


def test_no_hull_but_one_is_begun_past_the_limit(monkeypatch):
    task = resolve("covering", 12, 4, None, metric="chordal", kernel=None, antipodal=False)
    clock = Clock(monkeypatch)
    counted = clock.charging(2.0, _worst_places.holes)
    monkeypatch.setattr(_worst_places, "holes", counted)
    found = run_batch(Batch(task, 0, seeds(0, 16), "blockwise", end=1.0))
    assert counted.calls <= 3  # the score of one start, and the shortest polish's look around
    assert not found.complete
    assert found.value == pytest.approx(float(sphuni.covering_radius(found.points).radius))


def test_dear_values_leave_no_time_to_polish(monkeypatch):
    task = resolve("covering", 12, 4, None, metric="chordal", kernel=None, antipodal=False)
    clock = Clock(monkeypatch)
    measure = clock.charging(2.0, _worst_places.covering_radius)
    ascents = clock.charging(0.0, _worst_places.ascend)
    monkeypatch.setattr(_worst_places, "covering_radius", measure)
    monkeypatch.setattr(_worst_places, "ascend", ascents)
    found = run_batch(Batch(task, 0, seeds(0, 16), "blockwise", end=-1.0))
    assert (measure.calls, ascents.calls) == (1, 0)
    assert not found.complete


def test_a_hull_that_does_not_fit_in_is_not_begun(monkeypatch):
    task = resolve("covering", 12, 4, None, metric="chordal", kernel=None, antipodal=False)
    clock = Clock(monkeypatch)
    counted = clock.charging(20.0, _holes.facets)
    monkeypatch.setattr(_holes, "facets", counted)
    monkeypatch.setattr(_holes, "hull_seconds", lambda n, d: 20.0)
    kept = []
    found = run_batch(Batch(task, 0, seeds(0, 16), "blockwise", 30.0, keep=kept.append))
    assert counted.calls == 1  # the second would end ten seconds too late
    assert (found.complete, found.bound, kept) == (False, False, [])
    assert found.value == pytest.approx(float(sphuni.covering_radius(found.points).radius))


def test_a_covering_without_time_for_another_hull_says_what_it_does_not_know(monkeypatch):
    monkeypatch.setattr(_worst_places, "hull_seconds", lambda n, d: 500.0)
    monkeypatch.setattr(_holes, "hull_seconds", lambda n, d: 500.0)
    result = optimize("covering", n=12, d=4, restarts=2, time_limit=100.0)
    assert result.status == "time limit"
    assert result.value == pytest.approx(float(sphuni.covering_radius(result.points).radius))
    assert math.isnan(result.certificate.residual)
    assert result.certificate.multipliers is None
    assert result.certificate.value_is_bound is False
    assert "cut short" in result.advice


def test_a_potential_that_was_not_searched_in_time_is_a_bound(monkeypatch, tmp_path):
    options = {"n": 12, "d": 5, "s": 2.0, "restarts": 2}
    path = tmp_path / "run.npz"
    whole = optimize("polarization", **options)
    with monkeypatch.context() as slow:
        slow.setattr(_poles, "hull_seconds", lambda n, d: 500.0)
        cut = optimize("polarization", time_limit=100.0, checkpoint=path, **options)
    assert cut.status == "time limit"
    assert cut.certificate.value_is_bound is True
    assert math.isnan(cut.certificate.residual)
    assert cut.certificate.places is None
    assert "the value is a bound" in cut.advice
    exact = _poles.least_potential(torch.from_numpy(cut.points), Riesz(2.0))
    assert cut.value >= exact - 1e-12
    resumed = optimize("polarization", checkpoint=path, resume=True, **options)
    # last digits are those of the linear algebra's library, which goes by where arrays lie
    assert resumed.points == pytest.approx(whole.points, abs=1e-6)
    assert resumed.value == pytest.approx(whole.value, rel=1e-12)
    assert resumed.certificate.value_is_bound is False


def test_a_bound_is_no_match_for_a_value():
    task = resolve("polarization", 4, 3, 2.0, metric="chordal", kernel=None, antipodal=False)
    points = construct("simplex_3")
    state = State(value=2.5, points=points, cut_value=9.0, cut_points=-points, cut_is_bound=True)
    assert state.best(task)[0] == 2.5
    assert dataclasses.replace(state, cut_is_bound=False).best(task)[0] == 9.0


def test_optima_are_not_varied_past_the_limit(monkeypatch):
    task = resolve("maxdet", 100, 3, None, metric="chordal", kernel=None, antipodal=False)
    clock = Clock(monkeypatch)
    varied = clock.charging(1.0, type(task).vary)
    monkeypatch.setattr(type(task), "vary", lambda *args: varied(*args))
    points = np.stack([sphuni.random_points(100, 3, rng=0)] * 2)
    found = Relaxed(points, np.array([0.0, 1.0]), np.array([True, True]))
    batch = Batch(task, 0, seeds(0, 16), "blockwise", end=2.5)
    assert _batch._descend_again(batch, found, 0) is None
    assert varied.calls == 3


@pytest.mark.parametrize(
    ("problem", "module"), [("thomson", polish), pytest.param("tammes", _tied)]
)
def test_a_polish_without_time_for_its_next_step_leaves_no_trace(
    problem, module, monkeypatch, tmp_path
):
    options = {"n": 17, "restarts": 4}
    path = tmp_path / "run.npz"
    whole = optimize(problem, **options)
    with monkeypatch.context() as slow:
        slow.setattr(module, "_SECONDS", 1e3)
        first = optimize(problem, time_limit=1e4, checkpoint=path, **options)
    assert first.status == "time limit"
    assert "cut short" in first.advice
    assert first.certificate.smallest_eigenvalue is None
    assert first.certificate.bound == whole.certificate.bound
    assert np.linalg.norm(first.points, axis=1) == pytest.approx(1)
    resumed = optimize(problem, checkpoint=path, resume=True, **options)
    assert np.array_equal(resumed.points, whole.points)
    assert (resumed.value, resumed.hits, resumed.tried) == (whole.value, whole.hits, whole.tried)


def test_a_limit_that_is_far_away_changes_nothing():
    for problem, n in (("thomson", 20), ("maxdet", 16), ("covering", 8)):
        whole, limited = (
            optimize(problem, n=n, restarts=2, time_limit=limit) for limit in (None, 1e6)
        )
        assert np.array_equal(whole.points, limited.points)
        assert limited.status == whole.status == "finished"


@pytest.mark.parametrize("s", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("n", [10, 12])
def test_an_energy_by_its_kernel_has_the_record_of_that_energy(n, s):
    spelled = [
        resolve(name, n, 3, given, metric="chordal", kernel=kernel, antipodal=False).best_known()
        for name, given, kernel in (("riesz", s, None), ("energy", None, Riesz(s)))
    ]
    assert spelled[0] == spelled[1]
    assert spelled[0] is not None
    assert optimize("energy", n=6, kernel=Riesz(1), restarts=2).gap == pytest.approx(0, abs=1e-11)


def test_an_arc_length_has_no_record_of_chords():
    for kernel in (Riesz(1.0, "geodesic"), Gaussian(1.0)):
        task = resolve("energy", 12, 3, None, metric="chordal", kernel=kernel, antipodal=False)
        assert task.best_known() is None


def test_determinants_have_the_record_of_their_kernel():
    def known(kernel):
        task = resolve("maxdet", 16, 3, None, metric="chordal", kernel=kernel, antipodal=False)
        return task.best_known()

    assert known(None) == known(Dirichlet(3)) == record("maxdet", n=16)
    assert known(GegenbauerSeries(Dirichlet(3).coefficients, d=3)) == record("maxdet", n=16)
    assert known(Dirichlet(5)) is None


def test_every_flipped_bit_is_harmless_or_damage(tmp_path):
    path = tmp_path / "run.npz"
    optimize("thomson", n=5, restarts=2, checkpoint=path)
    whole = path.read_bytes()
    key = _search.Search(
        resolve("thomson", 5, 3, None, metric="chordal", kernel=None, antipodal=False),
        2, 0, "blockwise", None, 0.0,
    )._key  # fmt: skip
    state = _checkpoint.load(path, key)
    methods = [at + 10 for at in range(len(whole)) if whole[at : at + 4] == b"PK\x01\x02"]
    places = {*range(0, len(whole), 37), *methods}
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        try:
            found = _checkpoint.load(path, key)
        except UnreadableFileError:
            continue
        assert np.array_equal(found.points, state.points)


def test_stages_that_no_search_wrote_are_refused(tmp_path):
    path = tmp_path / "run.npz"
    task = resolve("tammes", 7, 3, None, metric="chordal", kernel=None, antipodal=False)
    stages = []
    run_batch(Batch(task, 0, seeds(0, 2), "blockwise", math.inf, keep=stages.append))
    good = stages[-1]
    odd = dataclasses.replace(good.found, scores=good.found.scores[:1])
    for stage, fine in (
        (good, True),
        (dataclasses.replace(good, found=odd), False),
        (dataclasses.replace(good, polished=()), False),
        (dataclasses.replace(good, points=None), False),
    ):
        _checkpoint.save(path, task.key, _checkpoint.State(stage=stage))
        if fine:
            assert _checkpoint.load(path, task.key).stage.hops == good.hops
        else:
            with pytest.raises(UnreadableFileError, match="damaged"):
                _checkpoint.load(path, task.key)


@pytest.mark.parametrize(
    ("n", "d", "cosine"),
    [
        (6, 3, 0.2**0.5),
        (60, 4, (1 + 5**0.5) / 4),
        (120, 8, 0.5),
        (276, 23, 0.2),
        (16, 5, 0.6),
        (100, 22, 4 / 11),
    ],
)
def test_start_0_of_lines_has_those_of_an_exact_code(n, d, cosine):
    lines = random_starts(n, d, 0, [0], exact="lines")[0]
    assert lines.shape == (n, d)
    assert np.abs(lines @ lines.T - np.eye(n)).max() == pytest.approx(cosine, abs=1e-12)


def test_one_start_of_an_even_kernel_is_not_the_code_with_opposite_points():
    """The octahedron's matrix of an even kernel is singular, and one start is all there is."""
    even = GegenbauerSeries((1.0, 0.0, 1.0, 0.0, 1.0), d=3)
    result = optimize("maxdet", n=6, kernel=even, restarts=1)
    assert np.isfinite(result.value)
    assert np.abs(result.points @ result.points.T - np.eye(6)).max() < 0.99


@pytest.mark.parametrize("n", [6, 8, 12])
def test_no_two_lines_of_start_0_coincide(n):
    """The code of n points is antipodal: as lines it has half as many."""
    result = optimize("energy", n=n, kernel=Gaussian(1.0), antipodal=True, restarts=1)
    assert result.certificate.residual < 1e-9
    assert sphuni.separation(result.points, antipodal=True).distance > 0.1
