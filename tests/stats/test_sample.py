"""A report on a sample names what the tests would refuse or misread."""

import numpy as np
import pytest
import torch

from sphuni import random_points
from sphuni.stats import available_tests, check, uniformity_test


def test_a_good_sample_has_no_notes():
    found = check(random_points(50, 5, rng=0))
    assert (found.n, found.d, found.fit, found.notes) == (50, 5, True, ())
    assert found.worst_norm == pytest.approx(1.0, abs=1e-12)


def test_what_is_wrong_is_counted_and_said():
    x = random_points(20, 3, rng=1)
    x[4] = np.nan
    x[5] *= 1.5
    x[9], x[17] = x[7], x[7]
    found = check(torch.from_numpy(x))
    assert (found.not_finite, found.not_unit, found.ties, found.first_tie) == (1, 1, 2, 7)
    assert not found.fit
    assert found.worst_norm == pytest.approx(1.5)
    assert [words in note for words, note in zip(
        ("not finite", "sphuni.normalize", "row 7"), found.notes, strict=True
    )] == [True] * 3  # fmt: skip


def test_float32_rows_have_their_own_tolerance():
    x = torch.from_numpy(random_points(30, 40, rng=2))
    assert check(torch.nn.functional.normalize(x.float(), dim=1)).fit
    assert not check(x * (1 + 1e-6)).fit


def test_shape_is_checked():
    with pytest.raises(ValueError, match=r"shape \(n, d\)"):
        check(np.ones(3))


def test_a_limit_law_asked_for_where_it_is_rough_says_so():
    x = random_points(6, 3, rng=3)
    rough = uniformity_test(x, "pad", null="asymptotic")
    assert any("may be far off at n = 6" in note for note in rough.notes)
    settled = uniformity_test(random_points(400, 3, rng=3), "pad", null="asymptotic")
    assert not settled.notes
    assert not uniformity_test(x, "pad", rng=0, n_resamples=99).notes[1:]


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("rayleigh", ("exact", "asymptotic", "monte-carlo")),
        ("range", ("exact", "monte-carlo")),
        ("cressie", ("monte-carlo",)),
    ],
)
def test_tests_list_their_null_laws(name, kinds):
    (info,) = (info for info in available_tests() if info.name == name)
    assert info.null_laws == kinds
