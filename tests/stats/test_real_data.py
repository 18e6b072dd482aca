"""P-values of planets, comets and craters, from the statistics that sphunif found for them."""

import json
import pathlib

import numpy as np
import pytest

import sphuni.stats as st

_FILE = pathlib.Path(__file__).parents[1] / "data" / "sphunif_realdata.json"
RESULTS = json.loads(_FILE.read_text())["results"]


@pytest.mark.parametrize("name", sorted(RESULTS))
def test_asymptotic_pvalues(name):
    case = RESULTS[name]
    for label, statistic in case["stat"].items():
        if label not in case["asymp_p"]:
            continue
        law = st.build_test(label.lower()).asymptotic_law(case["n"], 3).law
        ours = float(law.tails(np.array(statistic)).upper)
        # the stored values come from series cut off after 1000 terms
        assert ours == pytest.approx(case["asymp_p"][label], abs=3e-3), label
