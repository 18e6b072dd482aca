"""Null quantiles against those that sphunif simulated, and against its asymptotic ones."""

import functools
import gzip
import json
import math
import pathlib

import numpy as np
import pytest
from reference_cases import test_of

from sphuni.stats import build_test
from sphuni.stats.nulls._simulate import simulate_tests

_FILE = pathlib.Path(__file__).parents[1] / "data" / "sphunif_quantiles.json.gz"
STORED = json.loads(gzip.decompress(_FILE.read_bytes()))
_DEFAULTS = {
    "Cressie": "Cressie[Cressie_t=0.3333333333]",
    "Max_uncover": "Max_uncover[cov_a=6.283185307]",
    "Num_uncover": "Num_uncover[cov_a=6.283185307]",
    "Vacancy": "Vacancy[cov_a=6.283185307]",
}
_LEFT_OUT = {"CJ12"}
"""Another statistic of the closest pair than our `packing`."""


@functools.cache
def build(label, d):
    if label == "CCF09":
        return build_test("ccf09", directions=np.array(STORED["directions"][f"p{d}"]))
    if label == "Rayleigh_HD":
        return build_test("rayleigh")
    if label in _DEFAULTS:
        return test_of(_DEFAULTS[label])
    return build_test(label.lower())


def quantiles(case, label):
    """Stored quantiles of our statistic."""
    found, d = np.array(case["quantiles"][label]), case["p"]
    return found * math.sqrt(2 * d) + d if label == "Rayleigh_HD" else found


@pytest.mark.parametrize(
    ("case", "sets"),
    [
        pytest.param(case, case["M"], id=f"d{case['p']}-n{case['n']}", marks=marks)
        for case in STORED["monte_carlo"]
        for marks in [() if case["n"] == 10 and case["p"] == 3 else (pytest.mark.slow,)]
    ],
)
def test_simulated_quantiles_agree_within_four_standard_errors(case, sets):
    d, n, probs = case["p"], case["n"], np.array(case["probs"])
    labels = [label for label in case["quantiles"] if label not in _LEFT_OUT]
    for invariant in (True, False):
        chosen = [label for label in labels if build(label, d).invariant is invariant]
        if not chosen:
            continue
        sample = simulate_tests([build(label, d) for label in chosen], n, d, sets, rng=7)
        for label, column in zip(chosen, np.sort(sample, axis=0).T, strict=True):
            wanted = quantiles(case, label)
            slack = 1e-9 * np.abs(wanted)
            below = np.searchsorted(column, wanted - slack, side="left") / sets
            upto = np.searchsorted(column, wanted + slack, side="right") / sets
            error = 4 * np.sqrt(probs * (1 - probs) * (1 / sets + 1 / case["M"]))
            assert (below - error <= probs).all(), (label, below, probs)
            assert (upto + error >= probs).all(), (label, upto, probs)


@pytest.mark.parametrize("d", [2, 3, 4, 10])
def test_asymptotic_quantiles(d):
    probs = np.array(STORED["asymptotic"]["u"])
    for label, wanted in STORED["asymptotic"][f"p{d}"].items():
        law = build_test(label.lower()).asymptotic_law(10**6, d).law
        step = 3e-4  # to which the stored root-finding repeats itself
        lower = law.tails(np.array(wanted) - step).lower
        upper = law.tails(np.array(wanted) + step).lower
        assert ((lower <= probs) & (probs <= upper)).all(), label
