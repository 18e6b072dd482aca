import csv
import dataclasses
import io
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import sample_reports

from sphuni._errors import UnreadableFileError
from sphuni.analysis.report import VERDICTS, Histogram, LayerReport, ModelReport, Progress

pytestmark = pytest.mark.usefixtures("small_tables")


@pytest.fixture(scope="module")
def report() -> ModelReport:
    return sample_reports.small()


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def same(a, b) -> bool:
    """Equality in which NaN equals NaN."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or (a != a and b != b)


def test_json_round_trip_keeps_every_value(tmp_path, report):
    path = tmp_path / "r.json"
    text = report.to_json(path)
    assert path.read_text() == text
    assert same(ModelReport.from_json(path).to_dict(), report.to_dict())


def test_json_round_trip_keeps_nan_and_infinities(tmp_path):
    odd = LayerReport(
        name="\ud800\x00",
        kind="",
        status="analysed",
        max_cosine=math.inf,
        energy={"0": -math.inf, "1": math.nan},
        cosine_histogram=Histogram(np.array([0, 2]), np.array([-1.0, 0.0, 1.0])),
    )
    before = sample_reports.model((odd,))
    before.to_json(tmp_path / "r.json")
    after = ModelReport.from_json(tmp_path / "r.json")
    assert same(after.to_dict(), before.to_dict())
    assert after.layers[0].energy["0"] == -math.inf
    assert math.isnan(after.layers[0].separation_deg)


def test_json_is_strict_and_versioned(report):
    def refuse(name):
        raise AssertionError(name)

    data = json.loads(report.to_json(), parse_constant=refuse)
    assert data["schema"] == "sphuni.report"
    assert data["version"] == 1
    assert data["layers"][-1]["max_cosine"] is None
    assert data["summary"] == report.summary()


def test_missing_json_is_called_missing(tmp_path):
    with pytest.raises(UnreadableFileError, match=r"none\.json' does not exist"):
        ModelReport.from_json(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "as JSON"),
        (b"{", "as JSON"),
        (b"\xff\xfe", "as JSON"),
        (b"[" * 100_000, "as JSON"),
        (b"[]", "not a sphuni.report file"),
        (b'{"schema": "other"}', "not a sphuni.report file"),
        (b'{"schema": "sphuni.report", "version": 99}', "version 99"),
        (b'{"schema": "sphuni.report", "version": 1}', "damaged"),
    ],
)
def test_foreign_json_is_refused_in_one_sentence(tmp_path, content, message):
    path = tmp_path / "r.json"
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match=message):
        ModelReport.from_json(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", "many"),
        ("n", True),
        ("max_cosine", [1]),
        ("energy", {"0": "x"}),
        ("energy", 3),
        ("pair", [1]),
        ("worst_pairs", [[1, 2]]),
        ("verdict", "splendid"),
        ("status", "perhaps"),
        ("cosine_histogram", {"counts": [1], "edges": [1]}),
        ("name", None),
        ("n", 10**30),
        ("norm_min", 10**400),
    ],
)
def test_damaged_layer_is_refused(tmp_path, report, field, value):
    data = json.loads(report.to_json())
    data["layers"][0][field] = value
    (tmp_path / "r.json").write_text(json.dumps(data))
    with pytest.raises(UnreadableFileError, match="damaged"):
        ModelReport.from_json(tmp_path / "r.json")


def test_missing_file_names_itself(tmp_path):
    with pytest.raises(UnreadableFileError, match=r"nothing\.json"):
        ModelReport.from_json(tmp_path / "nothing.json")


def test_csv_has_one_row_per_layer_and_keeps_numbers(tmp_path, report):
    path = tmp_path / "r.csv"
    text = report.to_csv(path)
    rows = rows_of(text)
    assert path.read_text() == text
    assert [row["name"] for row in rows] == [layer.name for layer in report.layers]
    first = report.layers[0]
    assert float(rows[0]["energy_0"]) == first.energy["0"] < 0
    assert float(rows[0]["excess_half_2"]) == first.excess["half:2"]
    assert rows[0]["excess_upper_half_2"] == ""
    assert float(rows[0]["p_adjusted_gine_gn"]) == first.p_adjusted["gine_gn"]
    assert (rows[0]["pair_i"], rows[0]["pair_j"]) == tuple(map(str, first.pair))
    assert rows[-1]["max_cosine"] == ""


def test_csv_excess_over_a_bound_has_its_own_column():
    layer = sample_reports.layer("a", n=40, d=20)
    row = rows_of(sample_reports.model((layer,)).to_csv())[0]
    assert row["excess_2"] == ""
    assert float(row["excess_upper_2"]) == layer.excess["2"]


def test_csv_of_hostile_names_starts_no_formula():
    report = sample_reports.hostile()
    rows = rows_of(report.to_csv())
    assert len(rows) == len(report.layers)
    for row in rows:
        for cell in (row["name"], row["kind"], row["why"], row["reason"], row["notes"]):
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
            assert not any(ord(c) < 32 or c in "\u202e\u2028\ud800\u200b" for c in cell)


def test_dataframe_has_the_csv_columns(report):
    frame = report.to_dataframe()
    assert list(frame.columns) == report.to_csv().splitlines()[0].split(",")
    assert frame["max_cosine"][0] == report.layers[0].max_cosine
    assert frame["name"][0] == report.layers[0].name


def test_dataframe_without_pandas_says_what_to_install(report, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        report.to_dataframe()


def test_summary_counts_worst_first(report):
    assert list(report.summary()) == [v for v in VERDICTS if v in report.summary()]
    assert sum(report.summary().values()) == len(report.layers)


def test_worst_first_orders_by_verdict_then_p(report):
    severities = [layer.severity for layer in report.worst_first()]
    assert severities == sorted(severities)
    a = sample_reports.layer("a", "clustered")
    b = dataclasses.replace(a, name="b", p_adjusted={"bingham": 1e-30})
    assert [x.name for x in sample_reports.model((a, b)).worst_first()] == ["b", "a"]


def test_layer_defaults_follow_the_status():
    assert sample_reports.skipped("a").verdict == "skipped"
    assert sample_reports.failed("a").verdict == "failed"
    assert math.isnan(sample_reports.failed("a").smallest_p)


def test_layer_refuses_unknown_words():
    with pytest.raises(ValueError, match="verdict must be one of"):
        LayerReport(name="a", kind="", status="analysed", verdict="fine")


def test_histogram_refuses_wrong_edges():
    with pytest.raises(ValueError, match="one number more"):
        Histogram(np.ones(3), np.ones(3))


def test_progress_estimates_the_time_left():
    assert Progress(done=1, total=4, fraction=0.25, seconds=10.0).seconds_left == 30.0
    assert math.isnan(Progress(done=0, total=4).seconds_left)


def test_saved_reports_are_shown_without_torch(tmp_path, report):
    report.to_json(tmp_path / "r.json")
    code = (
        "import sys\nfrom sphuni.analysis.report import ModelReport\n"
        f"r = ModelReport.from_json({str(tmp_path / 'r.json')!r})\n"
        "r.to_html(); str(r); r.to_csv()\n"
        "sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
