"""Exact spectra: closed forms, the two lemmas, and the run of the experiment."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sphuni.training import schema
from sphuni.training.kinds import conditioning
from sphuni.training.kinds.conditioning import spectrum
from sphuni.training.runner import Task


def factors(n: int, m: int, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(5)
    rows = [torch.from_numpy(rng.standard_normal((size, k))) for size in (n, m)]
    return tuple(torch.nn.functional.normalize(x) for x in rows)


def test_the_spectrum_of_two_orthonormal_factors_is_known():
    """At U = V = I the map (dU, dV) -> dU + dV' has 2 as its only nonzero eigenvalue."""
    one = torch.eye(3, dtype=torch.float64)
    np.testing.assert_allclose(spectrum(one, one, 1.0, "plain"), np.full(9, 2.0), atol=1e-12)
    np.testing.assert_allclose(spectrum(one, one, 2.0, "plain"), np.full(9, 4 + 1 / 4), atol=1e-12)


def test_lemma_1_holds_for_more_samples_and_fails_for_square_factors():
    growth = {}
    for shape in ((8, 6, 3), (4, 4, 4)):
        values = [spectrum(*factors(*shape), c, "plain") for c in (8.0, 16.0)]
        first, second = (v[-1] / v[0] for v in values)
        growth[shape] = np.log2(second / first)
    assert growth[8, 6, 3] == pytest.approx(4, abs=0.02)
    assert abs(growth[4, 4, 4]) < 0.05


def test_lemma_2_needs_rows_of_unit_length():
    u, v = factors(8, 6, 3)
    before = spectrum(u, v, 1.0, "sphere")
    np.testing.assert_allclose(spectrum(u, v, 8.0, "renormalised"), before, rtol=1e-9)
    after = spectrum(u, v, 8.0, "sphere")
    assert after[-1] / after[0] > 100 * before[-1] / before[0]


def task_of(case, arm, folder, **options):
    experiment = schema.load("conditioning")
    return Task(
        experiment="conditioning",
        case=case,
        arm=arm,
        seed=0,
        stage="final",
        candidate={},
        settings=experiment.base,
        folder=folder,
        kind="conditioning",
        options={**experiment.options, **options},
    )


def test_runs_log_growth_and_refuse_other_arms(tmp_path: Path):
    task = task_of("square", "renormalised", tmp_path)
    rows = conditioning.run(task, report=lambda _: None)
    assert [row["c"] for row in rows] == [1, 2, 4, 8, 16]
    assert rows[-1]["eigenvalue.change"] < 1e-6
    assert "growth.score" not in rows[0]
    with pytest.raises(ValueError, match="arms of 'conditioning' are plain, sphere, renormalised"):
        conditioning.run(Task(**{**task.__dict__, "arm": "other"}), report=lambda _: None)


def test_scales_beyond_double_precision_are_refused(tmp_path: Path):
    task = task_of("more-samples", "plain", tmp_path, scales=[1, 1000])
    with pytest.raises(ValueError, match=r"at c = 1000 only 18 of 33 nonzero eigenvalues"):
        conditioning.run(task, report=lambda _: None)
    with pytest.raises(ValueError, match="those of 'more-samples' are missing"):
        conditioning.run(Task(**{**task.__dict__, "options": {}}), report=lambda _: None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": [1, 0]}, r"options.scales must be a list of positive numbers; got \[1, 0\]"),
        ({"scales": 3}, r"options.scales must be a list of positive numbers; got 3"),
        ({"shapes": {"square": [4, 4]}}, r"options.shapes.square must be three whole .*\[4, 4\]"),
        ({"shapes": {"square": [4, 4, 0]}}, r"options.shapes.square must be .* got \[4, 4, 0\]"),
        ({"shapes": 3}, r"must hold scales, .* those of 'square' are missing"),
    ],
)
def test_wrong_options_are_named(tmp_path: Path, options, message):
    with pytest.raises(ValueError, match=message):
        conditioning.run(task_of("square", "plain", tmp_path, **options), report=lambda _: None)
