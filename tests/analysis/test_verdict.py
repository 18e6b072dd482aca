"""Verdicts: each word on a matrix built to deserve it, and their order."""

import dataclasses

import numpy as np
import pytest
import torch

import sphuni
from sphuni.analysis.verdict import judge


def verdict(**matrices):
    report = sphuni.analysis.analyze({k: torch.as_tensor(v) for k, v in matrices.items()})
    return {layer.name: layer for layer in report.layers}


def clustered(rng, n=200, d=30):
    centres = rng.standard_normal((20, d))
    return centres[rng.integers(20, size=n)] * rng.choice([-1, 1], (n, 1)) + 0.7 * (
        rng.standard_normal((n, d))
    )


def test_every_word(rng):
    random = rng.standard_normal((100, 40))
    pair = random.copy()
    pair[17] = 1.01 * pair[3] + 1e-4 * random[5]
    dead = random.copy()
    dead[4] = 0
    orthogonal = np.linalg.qr(rng.standard_normal((64, 64)))[0]
    layers = verdict(
        random=random,
        pair=pair,
        dead=dead,
        low_rank=rng.standard_normal((60, 10)) @ rng.standard_normal((10, 64)),
        leaning=random + 0.6,
        clustered=clustered(rng),
        orthogonal=orthogonal,
    )
    assert {name: layer.verdict for name, layer in layers.items()} == {
        "random": "uniform",
        "pair": "collapsed pair",
        "dead": "dead neurons",
        "low_rank": "few directions",
        "leaning": "common direction",
        "clustered": "clustered",
        "orthogonal": "more regular than random",
    }
    assert "rows 3 and 17 have cosine" in layers["pair"].why
    assert "(4)" in layers["dead"].why
    assert "lower tail" in layers["orthogonal"].why


def test_a_sentence_names_the_milder_verdicts_that_hold_too(rng):
    random = rng.standard_normal((100, 40))
    layers = verdict(
        random=random,
        low=rng.standard_normal((128, 5)) @ rng.standard_normal((5, 64)),
        leaning=random + 1.5,
        same=np.ones((32, 16)),
    )
    expected = {
        "random": ("uniform", False, False),
        "low": ("collapsed pair", True, False),
        "leaning": ("few directions", True, True),
        "same": ("collapsed pair", True, True),
    }
    for name, (word, few, common) in expected.items():
        layer = layers[name]
        said = ["effective rank" in layer.why, "share a direction" in layer.why]
        assert [layer.verdict, *said] == [word, few, common]
    assert "rows 0 and 1 have cosine 1, closer than chance allows (packing p < 1e-300)" in (
        layers["same"].why
    )


def test_rows_that_lie_opposite_each_other_are_told(rng):
    matrix = rng.standard_normal((128, 64))
    assert "opposite" not in verdict(w=matrix)["w"].why
    matrix[1] = -matrix[0]
    assert "energy is infinite, as rows lie exactly opposite" in verdict(w=matrix)["w"].why


def test_opposite_rows_are_not_blamed(rng):
    direction = rng.standard_normal(64)
    (layer,) = verdict(binary=np.stack([direction, -direction])).values()
    assert layer.verdict != "collapsed pair"
    assert layer.max_cosine == pytest.approx(-1)


def test_adjusted_p_values_grow_with_the_number_of_layers(rng):
    many = verdict(**{f"w{k}": rng.standard_normal((30, 20)) for k in range(20)})
    for layer in many.values():
        for test, p in layer.p.items():
            assert layer.p_adjusted[test] >= p * (1 - 1e-12)
    wrong = sum(layer.verdict != "uniform" for layer in many.values())
    assert wrong <= 1


def test_the_first_verdict_that_holds_counts(rng):
    (layer,) = verdict(w=rng.standard_normal((50, 20))).values()
    certain = dict.fromkeys(layer.p_adjusted, 1e-9)
    unsure = dict.fromkeys(layer.p_adjusted, 0.5)
    everything = dataclasses.replace(
        layer,
        dead=(1,),
        max_cosine=0.99,
        effective_rank_ratio=0.1,
        mean_resultant_length=0.5,
        p_adjusted=certain,
        p_lower_adjusted=certain,
    )
    healed = [
        {},
        {"dead": ()},
        {"max_cosine": 0.2},
        {"effective_rank_ratio": 1.0},
        {"mean_resultant_length": 0.01},
        {"p_adjusted": unsure},
        {"p_lower_adjusted": unsure},
    ]
    words = []
    for change in healed:
        everything = dataclasses.replace(everything, **change)
        words.append(judge(everything)[0])
    assert words == list(sphuni.analysis.report.ANALYSED_VERDICTS)


def test_false_alarms_are_rare(rng):
    words = [
        layer.verdict
        for _ in range(5)
        for layer in verdict(**{f"w{k}": rng.standard_normal((60, 24)) for k in range(10)}).values()
    ]
    assert words.count("uniform") >= 48
