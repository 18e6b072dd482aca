import dataclasses
import math

import pytest
import sample_reports

from sphuni.analysis.report import LayerReport
from sphuni.analysis.rules import parse_rule

LAYER = LayerReport(
    name="head",
    kind="Linear",
    status="analysed",
    n=10,
    d=64,
    max_cosine=0.5,
    energy={"0": -0.3},
    excess={"half:2": 1.6, "2": 1.2},
    excess_is_upper={"half:2": True, "2": False},
    p_adjusted={"rayleigh": 1e-3},
    verdict="clustered",
    dead=(1, 2),
)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("max_cosine > 0.4", True),
        ("max_cosine > 0.5", False),
        ("max_cosine >= .5", True),
        ("max_cosine == 5e-1", True),
        ("max_cosine != 0.5", False),
        ("n<11", True),
        ("n <= 9", False),
        ("energy[0] < -0.2", True),
        ("energy[0]>-.2", False),
        ("excess[half:2] > 1.5", True),
        ("excess['half:2'] > 1.5", True),
        ("excess_upper[half:2] > 1.5", True),
        ("excess_upper[2] > 1", False),
        ("excess[2] > 1", True),
        ("p_adjusted[rayleigh] < 0.01", True),
        ("smallest_p < 1e-2", True),
        ("dead > 1", True),
        ("max_cosine < inf", True),
        ('verdict == "clustered"', True),
        ("verdict != 'clustered'", False),
        ("name == 'head' and kind == 'Linear'", True),
        ("n > 5 and d > 100", False),
        ("n > 5 or d > 100", True),
        ("n > 5 or n > 50 and n > 500", True),
        ("(n > 5 or n > 50) and n > 500", False),
        ("n > 50 and n > 500 or n > 5", True),
        ("((n > 5)) and (d > 5 and (d < 100))", True),
    ],
)
def test_rules_say_what_python_would(rule, expected):
    assert parse_rule(rule).matches(LAYER) is expected


@pytest.mark.parametrize("sign", ["<", "<=", ">", ">=", "==", "!="])
def test_missing_numbers_match_nothing(sign):
    assert not parse_rule(f"separation_deg {sign} 1").matches(LAYER)
    assert not parse_rule(f"z[2] {sign} 1").matches(LAYER)


def test_layers_that_were_not_analysed_match_only_words():
    skipped = sample_reports.skipped("b")
    assert not parse_rule("n < 100").matches(skipped)
    assert not parse_rule("dead == 0").matches(skipped)
    assert not parse_rule("verdict != 'uniform'").matches(skipped)
    assert parse_rule("status == 'skipped'").matches(skipped)
    assert parse_rule("verdict == 'failed'").matches(sample_reports.failed("c"))


def test_and_binds_tighter_for_every_truth_value():
    for bits in range(8):
        a, b, c = (bool(bits >> k & 1) for k in range(3))
        layer = dataclasses.replace(
            LAYER, max_cosine=float(a), norm_min=float(b), norm_max=float(c)
        )
        atoms = ("max_cosine == 1", "norm_min == 1", "norm_max == 1")
        assert parse_rule("{} or {} and {}".format(*atoms)).matches(layer) is (a or (b and c))
        assert parse_rule("({} or {}) and {}".format(*atoms)).matches(layer) is ((a or b) and c)


def test_fired_lists_layers_in_order_of_the_model():
    report = sample_reports.small()
    fired = parse_rule("max_cosine > 0.8").fired(report)
    assert [x.name for x in fired] == [
        x.name for x in report.layers if not math.isnan(x.max_cosine) and x.max_cosine > 0.8
    ]
    assert fired


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("", "expected a key"),
        ("   ", "expected a key"),
        ("max_cosin > 1", "did you mean 'max_cosine'"),
        ("maximum_cosine > 1", "did you mean 'max_cosine'"),
        ("qqqq > 1", "the keys are n, d"),
        ("__class__ > 1", "unknown key '__class__'"),
        ("excess > 1", r"needs an index; write excess\[0\]"),
        ("excess[3] > 1", "unknown index '3'"),
        ("p_adjusted[raileigh] > 1", "unknown index 'raileigh'"),
        ("n[0] > 1", "takes no index"),
        ("max_cosine", "expected one of < <= >"),
        ("max_cosine >", "expected a number"),
        ("max_cosine > high", "expected a number"),
        ("max_cosine = 1", "cannot read '= 1'"),
        ("max_cosine > 1 and", "expected a key"),
        ("max_cosine > 1 n > 1", "expected 'and', 'or' or the end"),
        ("(max_cosine > 1", "closing parenthesis"),
        ("max_cosine > 1)", "expected 'and', 'or' or the end"),
        ("0.5 < max_cosine", "expected a key"),
        ("verdict == collapsed", "expected quoted text"),
        ("verdict == 'collapsed pairs'", "did you mean 'collapsed pair'"),
        ("verdict > 'uniform'", "compare it with == or !="),
        ("n > 1; import os", "cannot read"),
        ("(" * 60 + "n > 1" + ")" * 60, "50 deep"),
        ("n > 1 and " * 1000 + "n > 1", "4096 characters"),
        ("n > 1 \x1b[31m", r"\\x1b"),
    ],
)
def test_mistakes_are_named(rule, message):
    with pytest.raises(ValueError, match=message):
        parse_rule(rule)


def test_side_by_side_parentheses_are_not_deep():
    assert parse_rule(" or ".join(["(n > 1)"] * 100)).matches(LAYER)
