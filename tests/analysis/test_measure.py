"""Numbers of a layer: against dense formulas, exact sets and bad input."""

import math
import time

import numpy as np
import pytest
import torch

import sphuni
from sphuni.analysis import _baseline, analyze
from sphuni.analysis._energies import ENERGIES
from sphuni.analysis._options import Options
from sphuni.analysis._passes import scan_rows, scan_slab, slabs
from sphuni.analysis._rows import prepare
from sphuni.analysis._shared import measure_shared, opening
from sphuni.analysis._spectrum import effective_rank, random_effective_rank
from sphuni.analysis.measure import measure_layer
from sphuni.analysis.sources import open_source
from sphuni.nn.neurons import NeuronView
from sphuni.pairwise import merge_scans

pytestmark = pytest.mark.usefixtures("small_tables")

SLOW = pytest.mark.slow


def layer(matrix, **options):
    matrix = torch.as_tensor(matrix)
    view = NeuronView("w", "linear", matrix, matrix.numel(), ("w",))
    return measure_layer(view, Options(**options))


@pytest.fixture
def weights(rng):
    return rng.standard_normal((40, 12)) * rng.uniform(0.5, 3, size=(40, 1))


def test_numbers_agree_with_the_public_measures(weights):
    report = layer(weights)
    points = sphuni.normalize(weights)
    separation = sphuni.separation(points)
    assert report.max_cosine == pytest.approx(math.cos(separation.distance), rel=1e-12)
    assert report.pair == tuple(separation.pair.tolist())
    assert report.separation_deg == pytest.approx(np.degrees(separation.distance))
    assert report.norm_max == pytest.approx(np.linalg.norm(weights, axis=1).max())
    for spec in ENERGIES:
        exact = sphuni.riesz_energy(points, s=spec.kernel.s, antipodal=spec.antipodal)
        assert report.energy[spec.key] == pytest.approx(exact, rel=1e-12)
    singular = np.linalg.svd(points, compute_uv=False)
    shares = singular**2 / (singular**2).sum()
    assert report.effective_rank == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
    assert report.stable_rank == pytest.approx(len(points) / singular[0] ** 2)
    assert report.mean_resultant_length == pytest.approx(np.linalg.norm(points.mean(axis=0)))
    assert report.cosine_histogram.counts.sum() == 40 * 39 / 2
    assert report.angle_histogram.counts.sum() == 40
    for test in ("rayleigh", "bingham", "gine_gn", "packing"):
        result = sphuni.stats.uniformity_test(points, test)
        assert report.statistic[test] == pytest.approx(result.statistic, rel=1e-9)
        assert report.p[test] == pytest.approx(result.pvalue, rel=1e-6)
        assert report.p_lower[test] == pytest.approx(result.pvalue_lower, rel=1e-6)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_scale_of_the_weights_does_not_matter(weights, scale):
    assert layer(weights * scale).energy == pytest.approx(layer(weights).energy, rel=1e-9)


def test_excess_is_zero_at_the_optimum_and_one_on_average_at_random(rng):
    assert layer(np.eye(8)).excess["half:2"] == pytest.approx(0, abs=1e-9)
    simplex = sphuni.configurations.construct("simplex_8")
    assert layer(simplex).excess["2"] == pytest.approx(0, abs=1e-9)
    assert not layer(simplex).excess_is_upper["2"]
    random = [layer(rng.standard_normal((60, 10))) for _ in range(30)]
    for key in ("1", "2", "half:1", "half:2"):
        assert np.mean([r.excess[key] for r in random]) == pytest.approx(1, abs=0.15)
        assert np.std([r.z[key] for r in random]) == pytest.approx(1, abs=0.35)
    assert random[0].excess_is_upper["half:2"]


def test_infinite_means_leave_excess_and_z_undefined(rng):
    report = layer(rng.standard_normal((20, 3)))
    assert math.isfinite(report.excess["1"])
    assert math.isnan(report.excess["2"])
    assert math.isnan(report.z["1"])
    assert math.isfinite(report.z["0"])


@pytest.mark.parametrize("d", [768, 1536, 4096, 14_336])
def test_layers_as_wide_as_those_of_language_models(d, rng):
    report = layer(rng.standard_normal((30, d)))
    for numbers in (report.z, report.excess, report.energy, report.p, report.effect_size):
        assert all(map(math.isfinite, numbers.values()))
    assert max(map(abs, report.z.values())) < 5
    assert report.verdict.startswith("uniform")


def test_rank_of_random_rows_is_that_of_random_rows(rng):
    for shape in ((200, 100), (100, 300), (20, 10)):
        assert layer(rng.standard_normal(shape)).effective_rank_ratio == pytest.approx(1, abs=0.05)
    low = rng.standard_normal((100, 3)) @ rng.standard_normal((3, 64))
    assert layer(low).effective_rank_ratio < 0.1
    assert random_effective_rank(5, 2) <= 2


def test_dead_rows_are_listed_and_left_out(weights):
    weights[[3, 7]] = 0
    weights[11] *= 1e-9
    report = layer(weights)
    assert report.dead == (3, 7, 11)
    assert report.cosine_histogram.counts.sum() == 37 * 36 / 2
    assert not {3, 7, 11} & set(report.pair)


@pytest.mark.parametrize("alive", [1, 5, 39])
@pytest.mark.parametrize("left", [0.0, 1e-9, 1e-200])
def test_dead_rows_may_be_most_rows(alive, left, weights):
    weights[alive:] *= left
    assert layer(weights).dead == tuple(range(alive, 40))


def test_pairs_are_named_by_the_rows_of_the_matrix(weights):
    weights[0] = 0
    weights[30] = 2 * weights[5]
    weights[31] = -weights[9]
    report = layer(weights)
    assert report.pair == (5, 30)
    assert {pair[:2] for pair in report.worst_pairs[:2]} == {(5, 30), (9, 31)}
    cosines = {pair[:2]: pair[2] for pair in report.worst_pairs}
    assert cosines[(9, 31)] == pytest.approx(-1)
    assert math.isinf(report.energy["2"])
    assert report.p["packing"] == 0


@pytest.mark.parametrize(
    ("matrix", "reason"),
    [
        (np.full((4, 3), np.nan), "row 0 and 3 more holds NaN"),
        (np.array([[1.0, 2], [np.inf, 1]]), "row 1 holds NaN or infinite"),
        (np.zeros((4, 3)), "every row is zero"),
    ],
)
def test_what_cannot_be_measured_becomes_a_status(matrix, reason):
    report = layer(matrix)
    assert report.status == "failed"
    assert reason in report.reason


def test_a_small_budget_is_a_reason_not_a_crash(weights):
    report = layer(np.tile(weights, (1000, 10)), max_bytes=1 << 20)
    assert report.status == "failed"
    assert "max_bytes allows 1 MiB" in report.reason


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_every_float_type_is_read(weights, dtype):
    matrix = torch.as_tensor(weights).to(dtype)
    assert layer(matrix).energy == pytest.approx(layer(matrix.double()).energy)


def test_one_live_row_is_reported_as_dead_neurons():
    report = layer(np.diag([1.0, 0, 0]))
    assert report.status == "analysed"
    assert report.dead == (1, 2)


def test_sampling_says_so_and_stays_near_the_exact_value(rng):
    matrix = rng.standard_normal((3000, 8))
    exact, sampled = layer(matrix), layer(matrix, max_seconds=2e-4)
    assert exact.sampled == ""
    assert "of 3,000" in sampled.sampled
    assert "standard error" in sampled.sampled
    assert sampled.energy["1"] == pytest.approx(exact.energy["1"], rel=0.02)


@pytest.mark.parametrize("seconds", [1e-12, math.inf])
def test_any_time_has_a_report(seconds, rng):
    report = layer(rng.standard_normal((100, 5)), max_seconds=seconds)
    assert report.status == "analysed"
    assert ("64 random rows of 100" in report.sampled) == (seconds < 1)


@pytest.mark.parametrize("options", [{"center": True}, {"center": True, "remove_top": 2}])
@pytest.mark.parametrize("seconds", [120, 1e-3])
def test_rows_too_many_to_draw_are_not_blamed_for_their_transformation(
    options, seconds, rng, monkeypatch
):
    if seconds > 1:
        monkeypatch.setattr(_baseline, "_WORK", 1.0)
    matrix = torch.from_numpy(rng.standard_normal((1500, 32)))
    (report,) = analyze(matrix, max_seconds=seconds, **options).layers
    assert bool(report.sampled) == (seconds < 1)
    assert report.verdict == "uniform"
    assert (report.z, report.p_lower) == ({}, {})
    assert "in the upper tails only" in report.notes[-1]
    own = layer(matrix.numpy(), baseline="init", max_seconds=1e-3)
    assert max(map(abs, own.z.values())) < 4


def test_draws_that_take_longer_than_the_pairs_are_left_out(rng):
    report = layer(rng.standard_normal((100, 64)), baseline="init", max_seconds=1e-4)
    assert not report.sampled
    assert "too large to draw its initialiser many times" in report.notes[-1]
    assert "99 draws" in layer(rng.standard_normal((100, 64)), baseline="init").notes[-1]


def test_long_rows_lose_components_in_no_time(rng):
    matrix = rng.standard_normal((20, 3000)) * np.r_[60.0, np.ones(2999)]
    started = time.perf_counter()
    rows = prepare(torch.from_numpy(matrix), Options(remove_top=1)).points
    assert time.perf_counter() - started < 1
    kept = matrix - (matrix @ (axis := np.linalg.svd(matrix)[2][0]))[:, None] * axis
    kept /= np.linalg.norm(kept, axis=1, keepdims=True)
    assert rows.shape == (20, 2999)
    assert (rows @ rows.T).numpy() == pytest.approx(kept @ kept.T, abs=1e-12)


@pytest.mark.parametrize("scale", [1e200, 1e-200])
def test_components_are_removed_at_any_scale(scale, rng):
    matrix = torch.from_numpy(rng.standard_normal((40, 10)))
    matrix[:, 0] *= 20
    rows, scaled = (prepare(m, Options(remove_top=1)).points for m in (matrix, matrix * scale))
    torch.testing.assert_close(rows @ rows.T, scaled @ scaled.T)


@pytest.mark.parametrize("shape", [(3, 3), (4, 4), (3, 10)])
def test_the_rank_of_small_random_sets_is_their_mean(shape, rng):
    sets = rng.standard_normal((20_000, *shape))
    sets /= np.linalg.norm(sets, axis=2, keepdims=True)
    mean = np.mean([effective_rank(values) for values in np.linalg.svd(sets, compute_uv=False)])
    assert random_effective_rank(*shape) == pytest.approx(mean, rel=0.015)


def test_the_rank_of_few_long_random_rows_takes_no_draws(rng):
    rows = rng.standard_normal((40, 20_000))
    values = np.linalg.svd(rows / np.linalg.norm(rows, axis=1, keepdims=True), compute_uv=False)
    started = time.perf_counter()
    assert random_effective_rank(40, 20_000) == pytest.approx(effective_rank(values), rel=1e-4)
    assert time.perf_counter() - started < 0.05


def test_centering_and_removing_components(rng):
    matrix = rng.standard_normal((300, 16)) + 5
    assert layer(matrix).mean_resultant_length > 0.9
    centred = layer(matrix, center=True)
    assert centred.mean_resultant_length < 0.1
    assert "mean row was subtracted" in centred.notes[0]
    spiked = rng.standard_normal((300, 16)) + 20 * np.outer(rng.standard_normal(300), np.eye(16)[0])
    assert layer(spiked).effective_rank < 4
    assert layer(spiked, remove_top=1).effective_rank > 10


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"center": True}, marks=SLOW),
        pytest.param({"remove_top": 1}, marks=SLOW),
        {"center": True, "remove_top": 3, "baseline": "init"},
    ],
)
@pytest.mark.parametrize(
    ("n", "d"), [(20, 32), pytest.param(60, 12, marks=SLOW), pytest.param(100, 5, marks=SLOW)]
)
def test_rows_of_no_structure_have_none_after_a_transformation(n, d, options):
    words = []
    for seed in range(4):
        matrix = np.random.default_rng(seed).standard_normal((n, d))
        if options.get("baseline"):
            matrix = np.random.default_rng(seed).uniform(-1, 1, (n, d))
        report = layer(matrix, **options)
        assert report.energy.keys() == report.z.keys()
        assert min(report.p.values()) >= 1e-3
        words.append(report)
    assert np.mean([r.p["bingham"] for r in words]) == pytest.approx(0.5, abs=0.45)
    assert np.mean([r.z["0"] for r in words]) == pytest.approx(0.0, abs=2.0)
    assert all("transformed likewise" in r.notes[-1] for r in words)


def test_ranks_are_read_against_rows_that_lost_as_many_directions(rng):
    report = layer(rng.standard_normal((30, 200)), center=True, remove_top=15)
    assert report.effective_rank_ratio == pytest.approx(1, abs=0.05)
    assert report.verdict == "uniform"


def test_draws_give_no_mean_to_energies_that_have_none(rng):
    report = layer(rng.uniform(-1, 1, (40, 3)), baseline="init")
    for numbers, infinite in ((report.excess, {"2", "half:2"}), (report.z, set("12"))):
        assert {key for key, value in numbers.items() if math.isnan(value)} >= infinite
        assert math.isfinite(numbers["0"])
    for seed in range(3):
        rows = np.random.default_rng(seed).standard_normal((40, 5))
        assert math.isnan(layer(rows, remove_top=3).excess["half:2"])


def test_removed_components_leave_the_other_coordinates(rng):
    matrix = rng.standard_normal((60, 6))
    matrix[:, 0] *= 50
    kept = layer(matrix, remove_top=1)
    assert kept.optimum == layer(matrix[:, 1:]).optimum
    assert kept.shape == (60, 6)
    assert "leaves 5 coordinates" in kept.notes[0]
    few = layer(matrix[:3], center=True, remove_top=1)
    assert few.status == "failed"
    assert "fewer than two of the 2 dimensions that 3 rows of R^6 span" in few.reason


def test_the_padding_row_of_an_embedding_is_not_a_dead_neuron(rng):
    matrix = torch.from_numpy(rng.standard_normal((30, 8)))
    table = torch.nn.Embedding.from_pretrained(matrix, freeze=True, padding_idx=4)
    with torch.no_grad():
        table.weight[4] = 0
    (report,) = analyze(table).layers
    assert report.verdict != "dead neurons"
    assert report.dead == ()
    assert report.notes == ("row 4 is zero: taken for the padding row and left out",)
    with torch.no_grad():
        table.weight[9] = 0
    (report,) = analyze(table).layers
    assert (report.verdict, report.dead) == ("dead neurons", (4, 9))
    (report,) = analyze({"up.weight": torch.cat([matrix[:4], torch.zeros(1, 8)])}).layers
    assert report.dead == (4,)
    assert "1 of 5 rows (4) has practically zero norm" in report.why


def test_weights_of_several_tensors_say_what_they_were_made_of():
    module = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(8, 8))
    found = analyze(torch.nn.ModuleDict({"a": module})).layers
    (report,) = [one for one in found if one.status == "analysed"]
    assert report.notes == (
        "computed from a.parametrizations.weight.original0, a.parametrizations.weight.original1",
    )


def test_two_centred_rows_are_opposite_and_so_are_the_draws():
    report = layer(np.array([[1.0, 2, 3], [3.0, 1, 1]]), center=True)
    assert report.max_cosine == pytest.approx(-1)
    assert set(report.p.values()) == {1.0}
    assert np.isnan(report.z["1"])


def test_the_initialiser_is_its_own_baseline(rng):
    cube = rng.uniform(-1, 1, size=(150, 3))
    uniform, own = layer(cube), layer(cube, baseline="init")
    assert uniform.z["0"] != own.z["0"]
    assert own.p["gine_gn"] > 0.01
    assert abs(own.z["0"]) < 4
    assert "99 draws of its initialiser" in own.notes[-1]
    beside = min(uniform.p["gine_gn"], uniform.p_lower["gine_gn"])
    assert "uniform rows: rayleigh" in own.notes[-2]
    assert f"gine_gn {beside:.2g} (" in own.notes[-2]
    collapsed = np.vstack([cube, cube[:1] * (1 + 1e-9)])
    assert layer(collapsed, baseline="init").p["packing"] < 1e-4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"baseline": "gauss"}, "baseline must be 'uniform' or 'init'; got 'gauss'"),
        ({"remove_top": -1}, "remove_top must not be negative"),
        ({"max_seconds": 0}, "max_seconds must be positive"),
        ({"max_bytes": 0}, "max_bytes must be a positive number"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        Options(**options)


@pytest.mark.parametrize(
    ("n", "count"),
    [(4_100, 16), pytest.param(12_000, 16, marks=SLOW), (700, 16), (2, 16), (900, 1)],
)
def test_slabs_of_rows_have_the_digits_of_the_whole(n, count):
    rows = torch.from_numpy(sphuni.random_points(n, 12, rng=0)).float()
    parts = [part for part in slabs(n, count) if part.start < part.stop]
    whole, merged = scan_rows(rows), merge_scans([scan_slab(rows, part) for part in parts])
    assert whole.sums.tolist() == merged.sums.tolist()
    assert torch.equal(whole.nearest, merged.nearest)
    assert whole.aligned == merged.aligned
    assert torch.equal(whole.counts, merged.counts)


@pytest.mark.parametrize("count", [1, 16])
def test_slabs_cover_every_row_once(count):
    for n in (*range(1, 3000, 7), 10_000, 10_240, 10_241, 20_481, 32_000):
        parts = slabs(n, count)
        assert len(parts) == count
        assert [k for part in parts for k in range(part.start, part.stop)] == list(range(n))


def test_ranks_see_the_pairs_of_a_layer_with_dead_rows(tmp_path):
    rows = sphuni.random_points(10_300, 4, rng=0)
    rows[:300] = 0
    np.save(tmp_path / "rows.npy", rows)
    opened = opening(str(tmp_path / "rows.npy"), None, False)
    (item,) = range(len(open_source(opened.path).items))
    options = Options()
    view = open_source(opened.path).items[item]
    shared = next(measure_shared({item: view}, opened, options, measure_layer))
    alone = measure_layer(view, options)
    assert shared.energy == alone.energy
    assert shared.p == alone.p


@pytest.mark.parametrize("d", [2, 3, 16, 64])
def test_rows_of_few_dimensions_are_sampled_for_what_their_pairs_cost(d):
    """Their products alone are soon made: 120 seconds let a million points of R^2 take hours."""
    work = Options(max_seconds=120).most_rows(d) ** 2 * (d + 130)
    assert work <= 120 * 2e10
    assert Options(max_seconds=120).most_rows(384) > 60_000


def test_draws_of_few_dimensions_are_counted_for_what_their_pairs_cost():
    points = torch.from_numpy(sphuni.random_points(3000, 2, rng=0))
    (found,) = sphuni.analysis.analyze(points, baseline="init", max_seconds=5.0).layers
    assert any("too large to draw" in note for note in found.notes)


def test_sampled_pairs_keep_to_the_seconds():
    from sphuni.analysis._options import Options

    few, usual = Options(max_seconds=1.0), Options()
    for d in (2, 3, 64, 1024):
        assert few.most_pairs(d) * 2 * few.pair_work(d) <= few.most_work
        assert usual.most_pairs(d) == 2**28
