"""How many sets the simulated tables of null="auto" hold."""

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

import sphuni.stats as st
from sphuni.distributions import random_points
from sphuni.stats.laws.monte_carlo import simulate
from sphuni.stats.nulls import _null
from sphuni.stats.nulls._null import QUICK, Null, affordable
from sphuni.stats.nulls._simulate import job_chunks, simulate_tests
from sphuni.stats.nulls._tables import tables


@pytest.fixture
def counts(monkeypatch):
    """The numbers of sets that were asked for, with tables a hundred times smaller."""
    seen = []
    real = _null.tables

    def small(tests, n, d, count, seed, **options):
        seen.append(count)
        return real(tests, n, d, count // 100, seed, **options)

    monkeypatch.setattr(_null, "tables", small)
    return seen


def test_kept_tables_are_large_and_others_are_not(counts):
    x = random_points(12, 2, rng=0)
    st.uniformity_test(x, "rao")
    st.uniformity_test(x, "rao", null="monte-carlo", rng=0)
    st.uniformity_test(x, "rao", n_resamples=400)
    assert counts == [99_999, 9_999, 400]


@pytest.mark.parametrize("name", ["ajne", "rao", "ccf09", "sliced_wasserstein"])
def test_counts_fall_with_the_cost(name):
    test = st.build_test(name)
    d = 2 if name == "rao" else 3
    sizes = [affordable(test, n, d, Null()) for n in (5, 50, 100, 500, 5000, 10**6)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 99_999
    for n, size in zip((5, 50, 100, 500, 5000), sizes, strict=False):
        assert (size == 99_999) == (99_999 * test.cost(n, d) <= QUICK)


def test_a_test_asked_among_all_has_the_table_it_has_alone():
    for n in (10, 100, 400):
        for name in ("ajne", "pad", "ccf09"):
            test = st.build_test(name)
            alone, among = (
                affordable(test, n, 3, Null(most=most)) for most in (float("inf"), QUICK)
            )
            assert among in (alone, 0)


NARROW = [
    ("ccf09", 64, {}),
    ("ccf09", 3, {"directions": 1}),
    ("ccf09", 30, {"directions": np.eye(30)[[0, 0, 1]], "antipodal": True}),
    ("sliced_wasserstein", 130, {}),
    ("sliced_wasserstein", 4, {"directions": 1, "antipodal": True}),
]


@pytest.mark.parametrize(("name", "d", "parameters"), NARROW)
def test_few_directions_are_simulated_in_what_they_span(name, d, parameters):
    test = st.build_test(name, **parameters)
    narrowed, width = test.narrowed(d)
    assert width < d
    assert job_chunks([test], 12, d, 10, 0)[0].width == width
    basis = np.linalg.qr(test._drawn(d).reshape(-1, d).T)[0]
    x = torch.from_numpy(random_points(12, d, batch=5, rng=1))
    seen = narrowed.statistic(x @ torch.from_numpy(basis), d)
    assert seen.numpy() == pytest.approx(test.statistic(x, d).numpy(), rel=1e-9)
    sample = simulate_tests([test], 12, d, 3000, rng=2)[:, 0]
    whole = simulate(lambda points: test.statistic(points, d), 12, d, 3000, rng=3, full=True)
    assert ks_2samp(sample, whole).pvalue > 1e-3


def test_tables_of_few_directions_do_not_depend_on_the_others():
    group = [
        st.build_test("ccf09"),
        st.build_test("rayleigh"),
        st.build_test("sliced_wasserstein", directions=3),
        st.build_test("sliced_wasserstein", directions=45),
    ]
    seen = []
    together = tables(group, 7, 60, 50, 5, keep=False, progress=lambda *done: seen.append(done))
    for test, table in zip(group, together, strict=True):
        assert np.array_equal(table, tables([test], 7, 60, 50, 5, keep=False)[0])
    assert seen == sorted(seen)
    assert seen[-1] == (100, 100)


def test_directions_that_span_everything_keep_all_coordinates():
    assert st.build_test("ccf09").narrowed(50) is None
    assert st.build_test("sliced_wasserstein").narrowed(2) is None
    assert st.build_test("rayleigh").narrowed(1000) is None
