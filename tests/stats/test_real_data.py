"""Planets, comets and craters: statistics and p-values that sphunif found for the same data."""

import json
import pathlib

import numpy as np
import pytest

import sphuni.stats as st

_DATA = pathlib.Path(__file__).parents[1] / "data"
RESULTS = json.loads((_DATA / "sphunif_realdata.json").read_text())["results"]


def orbits(file):
    """Unit normals of orbits, from inclination and longitude of the ascending node."""
    i, om = np.loadtxt(_DATA / file, delimiter=",", skiprows=1, usecols=(-2, -1)).T
    return np.stack([np.sin(i) * np.sin(om), -np.sin(i) * np.cos(om), np.cos(i)], axis=1)


def craters():
    theta, phi = np.loadtxt(_DATA / "venus_craters.csv", delimiter=",", skiprows=1).T
    return np.stack([np.cos(phi) * np.cos(theta), np.cos(phi) * np.sin(theta), np.sin(phi)], axis=1)


SAMPLES = {
    "planets_with_pluto": lambda: orbits("planets.csv"),
    "planets_without_pluto": lambda: orbits("planets.csv")[:8],
    "comets_ccf09": lambda: orbits("comets_ccf09.csv"),
    "venus_craters": craters,
}


@pytest.mark.parametrize("name", SAMPLES)
def test_statistics_and_asymptotic_pvalues(name):
    points, case = SAMPLES[name](), RESULTS[name]
    assert points.shape == (case["n"], 3)
    for label, statistic in case["stat"].items():
        ours = st.uniformity_test(points, label.lower(), null="asymptotic")
        # stored values have 12 digits; PAD comes from a grid of angles
        assert ours.statistic == pytest.approx(statistic, rel=1e-3 if label == "PAD" else 1e-9)
        if label in case["asymp_p"]:
            # the stored p-values come from series cut off after 1000 terms
            assert ours.pvalue == pytest.approx(case["asymp_p"][label], abs=3e-3), label


@pytest.mark.parametrize("name", sorted(set(RESULTS) - set(SAMPLES)))
def test_asymptotic_pvalues_of_stored_statistics(name):
    for label, pvalue in RESULTS[name]["asymp_p"].items():
        law = st.build_test(label.lower()).asymptotic_law(RESULTS[name]["n"], 3).law
        ours = float(law.tails(np.array(RESULTS[name]["stat"][label])).upper)
        assert ours == pytest.approx(pvalue, abs=3e-3), label


@pytest.mark.parametrize(
    "name",
    ["planets_with_pluto", pytest.param("planets_without_pluto", marks=pytest.mark.slow)],
)
def test_no_simulated_sky_is_as_clustered_as_the_planets(name):
    tests = [label.lower() for label in RESULTS[name]["mc_p_plus1"]]
    table = st.uniformity_tests(
        SAMPLES[name](), tests, null="monte-carlo", n_resamples=20_000, rng=0
    )
    for result in table.results:
        assert result.pvalue == pytest.approx(1 / 20_001), result.test
