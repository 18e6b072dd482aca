import dataclasses
import json
import re

import pytest
import sample_reports

from sphuni.analysis.comparison import compare_reports

pytestmark = pytest.mark.usefixtures("small_tables")


@pytest.fixture(scope="module")
def comparison():
    before = sample_reports.small()
    layers = list(before.layers)
    layers[0] = dataclasses.replace(layers[0], verdict="uniform", max_cosine=0.1)
    layers[1] = dataclasses.replace(layers[1], verdict="clustered")
    del layers[3]
    layers.append(sample_reports.layer("new.weight"))
    return compare_reports(before, sample_reports.model(tuple(layers), "after.pt"))


def change(comparison, name):
    return next(c for c in comparison.changes if c.name == name)


def test_layers_are_matched_by_name(comparison):
    sides = {c.name: c.side for c in comparison.changes}
    assert sides.pop("new.weight") == "after"
    assert sides.pop("encoder.3.weight") == "before"
    assert set(sides.values()) == {"both"}


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize("swapped", [False, True])
def test_layers_of_a_wrapped_model_are_those_of_the_model(wrapper, swapped):
    plain = sample_reports.model(tuple(sample_reports.layer(name) for name in "ab"))
    wrapped = sample_reports.model(tuple(sample_reports.layer(wrapper + name) for name in "ab"))
    sides = (wrapped, plain) if swapped else (plain, wrapped)
    assert [(c.name, c.side) for c in compare_reports(*sides).changes] == [
        ("a", "both"),
        ("b", "both"),
    ]
    assert compare_reports(wrapped, wrapped).changes[0].name == f"{wrapper}a"


PLAIN = ["enc.q.weight", "enc.q.bias", "module.weight"]
WRAPPED = {
    "peft": ["enc.q.base_layer.weight", "enc.q.base_layer.bias", "module.weight"],
    "peft model": [
        "base_model.model.enc.q.base_layer.weight",
        "base_model.model.enc.q.base_layer.bias",
        "base_model.model.module.weight",
    ],
    "peft in DDP": [f"module.base_model.model.{name}" for name in PLAIN],
    "fsdp": ["_fsdp_wrapped_module.enc._fsdp_wrapped_module.q.weight", *PLAIN[1:]],
    "checkpointing": ["enc._checkpoint_wrapped_module.q.weight", *PLAIN[1:]],
    "compiled part": ["enc._orig_mod.q.weight", *PLAIN[1:]],
}


@pytest.mark.parametrize("wrapper", WRAPPED)
def test_layers_are_matched_whatever_was_put_into_their_names(wrapper):
    """The weights that adapters of PEFT are put on were listed as of one side only."""
    plain = sample_reports.model(tuple(map(sample_reports.layer, PLAIN)))
    adapter = "base_model.model.enc.q.lora.default" if wrapper == "peft model" else ""
    names = [*WRAPPED[wrapper], *([adapter] if adapter else [])]
    wrapped = sample_reports.model(tuple(map(sample_reports.layer, names)))
    expected = [(name, "both") for name in PLAIN]
    there = [("enc.q.lora.default", "after")] if adapter else []
    found = compare_reports(plain, wrapped).changes
    assert [(c.name, c.side) for c in found] == [*expected, *there]
    found = compare_reports(wrapped, wrapped).changes
    assert [(c.name, c.side) for c in found] == [(name, "both") for name in names]


def test_directions_follow_the_verdicts(comparison):
    assert change(comparison, "encoder.0.weight").direction == "better"
    assert change(comparison, "encoder.1.weight").direction == "worse"
    assert change(comparison, "encoder.2.weight").direction == "same"
    assert change(comparison, "head.weight").direction == ""
    assert comparison.summary() == {
        "better": 1, "worse": 1, "same": 4, "only_before": 1, "only_after": 1,
    }  # fmt: skip


def test_more_regular_than_random_is_better_than_uniform():
    a = sample_reports.model((sample_reports.layer("a"),))
    b = sample_reports.model((sample_reports.layer("a", "more regular than random"),))
    assert compare_reports(a, b).changes[0].direction == "better"


def test_deltas_are_after_minus_before(comparison):
    c = change(comparison, "encoder.0.weight")
    assert c.delta["max_cosine"] == 0.1 - c.before.max_cosine
    assert c.delta["excess[half:2]"] == 0.0
    assert change(comparison, "new.weight").delta == {}


def test_a_report_against_itself_changes_nothing():
    report = sample_reports.small()
    comparison = compare_reports(report, report)
    assert all(v == 0 for c in comparison.changes for v in c.delta.values())
    assert all(c.direction in ("same", "") for c in comparison.changes)


def test_repeated_names_are_matched_in_order():
    a, b, c = (sample_reports.layer("twin", seed=k) for k in range(3))
    changes = compare_reports(sample_reports.model((a, b)), sample_reports.model((a, b, c))).changes
    assert [(x.before, x.after) for x in changes] == [(a, a), (b, b), (None, c)]


def test_json_is_strict(comparison, tmp_path):
    text = comparison.to_json(tmp_path / "c.json")
    data = json.loads((tmp_path / "c.json").read_text(), parse_constant=lambda name: 1 / 0)
    assert (tmp_path / "c.json").read_text() == text
    assert data["schema"] == "sphuni.comparison"
    first = next(x for x in data["layers"] if x["name"] == "encoder.0.weight")
    assert (first["verdict_before"], first["verdict_after"]) == ("clustered", "uniform")


def test_table_shows_both_sides(comparison):
    text = str(comparison)
    assert "clustered → uniform" in text
    assert "1 better, 1 worse, 4 the same; 1 only before, 1 only after." in text


def test_page_shows_both_sides(comparison, tmp_path):
    text = comparison.to_html(tmp_path / "c.html")
    assert (tmp_path / "c.html").read_text() == text
    assert "1 got a better verdict" in text
    assert "new.weight" in text


def test_nothing_in_common_has_a_page_too():
    empty = compare_reports(sample_reports.model(()), sample_reports.model(()))
    assert "No layer was analysed on both sides" in empty.to_html()
    assert "0 better" in str(empty)


@pytest.mark.parametrize(
    ("option", "old", "new"),
    [
        ("center", False, True),
        ("remove_top", 0, 2),
        ("baseline", "uniform", "init"),
        ("split_qkv", False, True),
        ("heads", None, {"*": 4}),
    ],
)
def test_reports_of_other_options_are_not_compared(option, old, new):
    report = sample_reports.model((sample_reports.layer("a"),))
    before, after = (
        dataclasses.replace(report, settings={**report.settings, option: value})
        for value in (old, new)
    )
    message = f"before has {option}={old!r} but after has {option}={new!r}"
    with pytest.raises(ValueError, match=re.escape(message)):
        compare_reports(before, after)
    unknown = dataclasses.replace(report, settings={})
    assert compare_reports(unknown, after).summary()["same"] == 1


def test_layers_without_numbers_on_one_side_are_told():
    layers = {name: sample_reports.layer(name) for name in "abc"}
    skipped, lost = sample_reports.skipped, sample_reports.failed("b")
    before = sample_reports.model((layers["a"], layers["b"], layers["c"], skipped("d")))
    after = sample_reports.model((layers["a"], lost, skipped("c"), skipped("d")))
    found = compare_reports(before, after)
    assert [change.name for change in found.not_compared] == ["b", "c"]
    assert "not compared b: uniform → failed (row 3 holds NaN)" in str(found)
    assert "kept theirs. 2 layers could not be compared." in found.to_html()
    assert "<td>failed</td><td>row 3 holds NaN</td>" in found.to_html()
    alone = compare_reports(sample_reports.model((lost,)), sample_reports.model((lost,)))
    assert "both sides. 1 layer could not be compared." in alone.to_html()
    assert compare_reports(before, before).not_compared == ()
