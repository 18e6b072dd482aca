import dataclasses
import io
import math
import re

import pytest
import sample_reports

from sphuni._text import shorten, visible
from sphuni.analysis._advice import excess_text, headline, number, pvalue
from sphuni.analysis.table import _HEADS, _rows, plain_table, print_table


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(scope="module")
def report():
    return sample_reports.small()


def test_str_is_the_plain_table(report):
    assert str(report) == plain_table(report)


def test_table_lists_every_layer_worst_first(report):
    text = plain_table(report)
    places = [text.index(x.name) for x in report.worst_first() if x.status != "skipped"]
    assert places == sorted(places)
    assert "skipped 1 tensor: 1-D" in text
    assert "failed head.weight: row 3 holds NaN" in text


def test_top_says_how_many_are_not_shown(report):
    assert "6 more layers not shown" in plain_table(report, top=2)


def test_partial_report_says_so(report):
    text = plain_table(dataclasses.replace(report, partial=True, reason="interrupted"))
    assert "PARTIAL REPORT: interrupted" in text


def test_sampled_layer_is_marked():
    text = plain_table(sample_reports.model((sample_reports.layer("a", n=320, d=8),)))
    assert "a ~" in text
    assert "were sampled" in text


def test_empty_model_has_a_table():
    assert "No layer could be analysed" in plain_table(sample_reports.model(()))


def test_bound_is_marked():
    assert "≤" in plain_table(sample_reports.model((sample_reports.layer("a", n=40, d=20),)))


def test_plain_stream_gets_no_escape_codes(report):
    stream = io.StringIO()
    print_table(report, stream)
    assert stream.getvalue() == plain_table(report) + "\n"


def test_terminal_gets_colour_and_the_same_names(report, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "140")
    stream = Terminal()
    print_table(report, stream)
    assert "\x1b[" in stream.getvalue()
    assert all(x.name in stream.getvalue() for x in report.layers if x.status != "skipped")


@pytest.mark.parametrize("columns", [200, 100, 80, 60, 40])
def test_narrow_terminals_do_without_columns_but_never_cut_a_cell(columns, report, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = Terminal()
    print_table(report, stream)
    text = re.sub("\x1b\\[[0-9;]*m", "", stream.getvalue())
    lines = text.splitlines()
    (rule,) = (k for k, line in enumerate(lines) if line.startswith("───"))
    heads = [head for head in _HEADS if head in lines[rule - 1]]
    assert (heads[0], heads[-1]) == ("layer", "verdict")
    assert max(map(len, lines)) <= columns
    missing = [head for head in _HEADS if head not in heads]
    if missing:
        assert f"No room for {', '.join(missing)}:" in " ".join(text.split())
    shown = _rows([layer for layer in report.worst_first() if layer.status != "skipped"])
    table = lines[rule + 1 : rule + 1 + lines[rule + 1 :].index("")]
    for row in shown:
        kept = [cell for head, cell in zip(_HEADS, row, strict=True) if head in heads[1:]]
        assert any(re.search(r"\s+".join(map(re.escape, kept)) + r"\s*$", line) for line in table)


def test_names_that_are_shortened_can_be_told_apart():
    ends = ".vision_model.encoder.layers.mixture.experts.gate_up_projection.weight"
    names = [f"model.embed_tower_{k}{ends}" for k in (1, 2)]
    report = sample_reports.model(tuple(map(sample_reports.layer, names)))
    first, second = plain_table(report).splitlines()[4:6]
    assert first.split()[0] != second.split()[0]


def test_no_color_is_honoured(report, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    print_table(report, stream)
    assert "\x1b[3" not in stream.getvalue()


@pytest.mark.parametrize("stream_class", [io.StringIO, Terminal])
def test_hostile_names_reach_no_terminal(stream_class, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "220")
    stream = stream_class()
    print_table(sample_reports.hostile(), stream)
    text = re.sub("\x1b\\[[012](;[012])*m", "", stream.getvalue())  # bold and dim are ours
    assert not any(c in text for c in "\x1b\x07\x00\r\t\u202e\u2028\ud800")
    assert "[bold red]markup" in text
    assert len(text) < 100_000


@pytest.mark.parametrize("name", sample_reports.HOSTILE)
def test_visible_text_has_nothing_hidden(name):
    assert all(c.isprintable() for c in visible(name))
    assert len(shorten(name, 40)) <= 40


def test_visible_keeps_harmless_text():
    assert visible("日本語 ümlaut 🦔 <b>") == "日本語 ümlaut 🦔 <b>"


def test_shorten_keeps_both_ends():
    assert shorten("begin" + "-" * 500 + "end", 20).startswith("begin")
    assert shorten("begin" + "-" * 500 + "end", 20).endswith("end")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.12345, "0.123"),
        (-1.5, "−1.50"),
        (1234.5, "1234"),
        (99999.0, "99999"),
        (1.5e7, "1.50e7"),
        (2e-5, "2.00e−5"),
        (float("nan"), "–"),
        (float("inf"), "∞"),
        (-float("inf"), "−∞"),
    ],
)
def test_numbers_are_short(value, text):
    assert number(value) == text


def test_pvalues_claim_no_more_than_they_know():
    assert pvalue(0.0) == "<1e−16"
    assert pvalue(0.0321) == "0.032"
    assert pvalue(float("nan")) == "–"


def test_headline_names_the_worst_layer(report):
    assert "dead neurons in encoder.6.weight" in headline(report)
    assert "5 of 7 layers" in headline(report)


def test_headline_of_a_good_model():
    layers = (sample_reports.layer("a"), sample_reports.layer("b", "more regular than random"))
    assert headline(sample_reports.model(layers)).startswith("All 2 analysed layers")


@pytest.mark.parametrize("good", [True, False])
def test_headline_tells_of_layers_that_failed(good):
    first = sample_reports.layer("a", "uniform" if good else "clustered")
    failed = sample_reports.failed("b"), sample_reports.failed("c")
    text = headline(sample_reports.model((first, *failed)))
    assert text.endswith(". 2 layers could not be analysed.")
    assert "could not" not in headline(sample_reports.model((first,)))


def test_a_bound_for_the_optimum_brings_an_excess_nearer_to_1():
    layer = sample_reports.layer("a")
    shown = [
        excess_text(
            dataclasses.replace(layer, excess={"half:2": value}, excess_is_upper={"half:2": True})
        )
        for value in (math.inf, 1.5, 0.5, math.nan)
    ]
    assert shown == ["∞", "≥1.50", "≤0.500", "–"]
