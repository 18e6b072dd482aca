"""How many sets the simulated tables of null="auto" hold."""

import pytest

import sphuni.stats as st
from sphuni.distributions import random_points
from sphuni.stats import _null
from sphuni.stats._null import QUICK, Null, affordable


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
