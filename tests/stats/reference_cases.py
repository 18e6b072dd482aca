"""Cases and labels of the stored reference output."""

import functools
import gzip
import json
import math
import pathlib
import re

import numpy as np

from sphuni.stats import build_test

_FILE = pathlib.Path(__file__).parents[1] / "data" / "sphunif_cases.json.gz"

_PLAIN = {
    "Ajne", "Bakshaev", "Bingham", "Gine_Fn", "Gine_Gn", "Hermans_Rasson", "PAD", "PCvM", "Pycke",
    "Rayleigh", "Watson", "Stein", "Kuiper", "Watson_1976", "Range", "Rao", "Greenwood",
    "Log_gaps", "Gini", "Gini_squared", "Hodges_Ajne",
}  # fmt: skip
_PARAMETERS = {
    "Poisson_rho": "rho", "Rothman_t": "t", "Pycke_q": "q", "Rayleigh_m": "m", "Riesz_s": "s",
    "vk2": "weights", "Softmax_kappa": "kappa", "Stereo_a": "a", "cov_a": "a", "Cressie_t": "t",
}  # fmt: skip


@functools.cache
def load():
    return json.loads(gzip.decompress(_FILE.read_bytes()))


def points(case):
    if "theta" in case:
        theta = np.array(case["theta"])
        return np.stack([np.cos(theta), np.sin(theta)], axis=1)
    rows = np.array(case["X"]).reshape(case["n"], case["p"])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_of(label):
    """The test a label stands for, or None where sphuni has no such test."""
    if label in _PLAIN:
        return build_test(label.lower())
    match = re.fullmatch(r"(\w+)\[(.*)\]", label)
    if match is None:
        return None
    name, argument = match[1].lower(), match[2]
    if argument == "cf":
        return build_test(name, cf=True)
    key, text = argument.split("=")
    if key == "vk2":
        return build_test(name, weights=tuple(float(w) for w in text.split(",")))
    value = float(text)
    if key == "Rayleigh_m":
        return build_test("rayleigh_m", m=int(value))
    for exact in (1 / 3, math.pi, 2 * math.pi):
        value = exact if abs(value - exact) < 1e-6 else value
    return build_test(name, **{_PARAMETERS[key]: value})


test_of.__test__ = False
