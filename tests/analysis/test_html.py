import base64
import dataclasses
import hashlib
import http.server
import itertools
import re
import shutil
import subprocess
import threading
from html.parser import HTMLParser

import numpy as np
import pytest
import sample_reports

from sphuni._text import shorten
from sphuni.analysis._charts import nearest_chart
from sphuni.analysis._svg import nice_ticks
from sphuni.analysis.comparison import compare_reports
from sphuni.analysis.report import Histogram, LayerReport

pytestmark = pytest.mark.usefixtures("small_tables")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
VOID = {"meta", "link", "br", "wbr", "img", "input", "hr"}


class Page(HTMLParser):
    """The elements of a page, and the text of every <code> within <summary>."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.stack: list[str] = []
        self.names: list[str] = []
        self.texts: dict[str, list[str]] = {"style": [], "script": [], "h1": []}
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)
        if tag == "code" and "summary" in self.stack:
            self.names.append("")
        if tag in self.texts:
            self.texts[tag].append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.stack.pop() == tag

    def handle_data(self, data):
        if self.stack[-2:-1] == ["summary"] and self.stack[-1] == "code":
            self.names[-1] += data
        if self.stack and self.stack[-1] in self.texts:
            self.texts[self.stack[-1]][-1] += data


@pytest.fixture(scope="module")
def small() -> str:
    return sample_reports.small().to_html()


@pytest.fixture(scope="module")
def hostile() -> str:
    return sample_reports.hostile().to_html()


def policy(page: Page) -> str:
    meta = [a for t, a in page.tags if t == "meta" and a.get("http-equiv")]
    assert len(meta) == 1
    return str(meta[0]["content"])


def hash_of(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def expected_names(report) -> list[str]:
    layers = [x for x in report.worst_first() if x.status != "skipped"]
    return [shorten(layer.name, 1000) for layer in layers]


@pytest.mark.parametrize("which", ["small", "hostile"])
def test_page_is_well_formed_and_allows_only_its_own_code(which, request):
    page = Page(request.getfixturevalue(which))
    (style,), (script,) = page.texts["style"], page.texts["script"]
    assert policy(page) == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{hash_of(style)}'; "
        f"script-src 'sha256-{hash_of(script)}'; base-uri 'none'; form-action 'none'"
    )
    for tag, attributes in page.tags:
        assert tag not in ("iframe", "img", "form", "input", "base", "object", "embed")
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name not in ("style", "src", "action", "srcset")
            if name == "href":
                assert re.fullmatch(r"#layer-\d+|data:,", str(value))


def test_hostile_names_are_text_and_nothing_else(hostile):
    page = Page(hostile)
    assert page.names == expected_names(sample_reports.hostile())
    assert "{{7*7}}" in page.names
    assert len(page.texts["h1"]) == 1
    assert not any(c in hostile for c in "\x00\x07\x1b\u202e\u2028\u200b\ufeff\ud800")
    assert "\\u202etfel" in hostile
    assert len(hostile) < 3_000_000


def test_page_is_the_same_every_time(small):
    assert sample_reports.small().to_html() == small


def test_page_shows_every_tensor_with_reason(small):
    for layer in sample_reports.small().layers:
        assert layer.name in small
    assert "row 3 holds NaN" in small
    assert "biases and scales have no directions" in small


def test_every_analysed_layer_has_three_charts(small):
    assert small.count('class="chart"') == 3 * 7
    assert small.count('class="spark"') == 7


def test_page_of_forty_layers_is_small():
    layers = sample_reports.small().layers[:6]
    many = tuple(dataclasses.replace(x, name=f"{x.name}.{k}") for x in layers for k in range(7))
    assert len(sample_reports.model(many).to_html()) < 800_000


@pytest.mark.slow
def test_very_large_models_get_charts_for_the_worst_layers_only():
    layer = sample_reports.layer("a", n=4, d=4)
    many = tuple(dataclasses.replace(layer, name=f"layer.{k}") for k in range(203))
    text = sample_reports.model(many).to_html()
    assert text.count('class="chart"') == 3 * 200
    assert "The last 3 layers are shown without charts" in text
    assert "layer.202" in text


def test_partial_report_says_so_at_the_top():
    report = dataclasses.replace(sample_reports.small(), partial=True, reason="Ctrl-C at layer 3")
    text = report.to_html()
    assert text.index("Partial report.") < text.index("Every layer at a glance")
    assert "Ctrl-C at layer 3" in text


def test_empty_model_has_a_page():
    assert "No layer could be analysed" in sample_reports.model(()).to_html()


@pytest.mark.parametrize("d", [1, 2, 3, 100_000])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_extreme_shapes_have_a_page(n, d):
    layer = LayerReport(
        name="a",
        kind="Linear",
        status="analysed",
        n=n,
        d=d,
        excess={"half:2": np.inf, "2": -np.inf},
        effective_rank_ratio=1.0,
        p_adjusted={"rayleigh": 0.0},
        cosine_histogram=Histogram(np.array([0.0, 1.0, 0.0]), np.array([-1.0, 0.999, 1.0, 1.5])),
        angle_histogram=Histogram(np.array([float(n)]), np.array([0.0, 1e-3])),
        singular_values=np.array([np.inf, 1.0, 0.0])[: min(n, d)],
        worst_pairs=((0, 1, 1.0),),
    )
    Page(sample_reports.model((layer,)).to_html())


def test_bare_analysed_layer_has_a_page():
    layer = LayerReport(name="a", kind="", status="analysed", cosine_histogram=None)
    empty = dataclasses.replace(
        layer, d=3, n=3, cosine_histogram=Histogram(np.zeros(2), np.arange(3.0))
    )
    Page(sample_reports.model((layer, empty)).to_html())


def test_neighbours_are_read_against_as_many_rows_as_were_compared():
    whole = sample_reports.layer("a", n=64)
    sample = dataclasses.replace(whole, n=64_000, sampled="64 random rows of 64,000")
    assert nearest_chart(sample) == nearest_chart(whole) != ""


def test_ticks_are_round_and_inside():
    assert nice_ticks(0.0, 1.0) == [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]
    assert nice_ticks(-0.13, 0.11) == [-0.1, -0.05, 0.0, 0.05, 0.1]
    assert nice_ticks(3.0, 3.0) == [3.0]


def run_chromium(url: str, folder) -> tuple[str, str]:
    """Return the DOM after scripts ran, and what the browser logged."""
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-extensions",
        "--disable-background-networking", "--disable-component-update", "--no-first-run",
        f"--user-data-dir={folder}", "--enable-logging=stderr", "--dump-dom", url,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    return done.stdout.decode(), done.stderr.decode(errors="replace")


@pytest.fixture
def server():
    """A web server that only counts what is asked of it."""

    class Counter(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    asked: list[str] = []
    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Counter)
    thread = threading.Thread(target=listener.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{listener.server_port}", asked
    listener.shutdown()
    thread.join()
    listener.server_close()


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")
def test_browser_runs_our_script_and_nothing_of_the_names(tmp_path, server):
    url, asked = server
    report = sample_reports.hostile(url)
    report.to_html(tmp_path / "report.html")
    dom, log = run_chromium((tmp_path / "report.html").as_uri(), tmp_path / "profile")
    page = Page(dom.replace("<!DOCTYPE html>", ""))
    assert page.names == expected_names(report)
    assert asked == []
    assert "CONSOLE" not in log
    assert any(a.get("data-kind") == "number" for _, a in page.tags)
    assert sum(tag == "button" for tag, _ in page.tags) > len(sample_reports.VERDICTS)
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    compare_reports(report, report).to_html(tmp_path / "compare.html")
    _, log = run_chromium((tmp_path / "compare.html").as_uri(), tmp_path / "profile")
    assert asked == []
    assert "CONSOLE" not in log


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")
@pytest.mark.parametrize("which", ["report", "comparison"])
def test_no_column_is_cut_off_where_the_page_is_printed(which, tmp_path):
    report = sample_reports.small()
    text = (report if which == "report" else compare_reports(report, report)).to_html()
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    # as printed on A4: its style, in a box of its width between the margins
    text = text.replace("@media print", "@media all").replace("<main", '<main style="width: 718px"')
    text += (
        "<script>for (const box of document.querySelectorAll('.scroll')) "
        "document.title = box.scrollWidth <= box.clientWidth ? 'fits' : 'is cut'</script>"
    )
    (tmp_path / "print.html").write_text(text)
    dom, _ = run_chromium((tmp_path / "print.html").as_uri(), tmp_path / "profile")
    assert "<title>fits</title>" in dom


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")
def test_a_telephone_shows_the_whole_map_and_no_page_beyond_its_edge(tmp_path):
    text = sample_reports.small().to_html()
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    text = text.replace("@media (max-width: 860px)", "@media all")
    text = text.replace("<main", '<main style="width: 400px; box-sizing: border-box"')
    text += (
        "<script>const wide = box => box.scrollWidth > box.clientWidth;"
        "for (const part of document.querySelectorAll('details')) part.open = true;"
        "const boxes = ['main', '.split figure'].filter(s => wide(document.querySelector(s)));"
        "document.title = boxes.length ? 'too wide: ' + boxes : 'fits'</script>"
    )
    (tmp_path / "narrow.html").write_text(text)
    dom, _ = run_chromium((tmp_path / "narrow.html").as_uri(), tmp_path / "profile")
    assert re.search("<title>(.*)</title>", dom)[1] == "fits"


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")
def test_the_browser_test_would_notice(tmp_path, server):
    url, asked = server
    (tmp_path / "bad.html").write_text(f"<img src={url}/x.png><script>console.error('no')</script>")
    _, log = run_chromium((tmp_path / "bad.html").as_uri(), tmp_path / "profile")
    assert asked == ["/x.png"]
    assert "CONSOLE" in log


def test_commands_in_advice_are_shown_as_code():
    from sphuni.analysis.html import _marked

    assert _marked("again (`--center`) <b>") == "again (<code>--center</code>) &lt;b&gt;"


def test_labels_of_layers_can_be_told_apart():
    stem = "module.transformer.encoder.layers."
    names = [f"{stem}{k}.attention.output.dense.weight" for k in range(3)]
    layers = tuple(
        sample_reports.layer(name, seed=k, n=16 + 8 * k, d=6 + k) for k, name in enumerate(names)
    )
    page = sample_reports.model(layers).to_html()
    drawn = re.findall(r'class="name halo"[^>]*>([^<]*)', page)
    assert len(set(drawn)) == len(drawn) > 1
    cards = re.findall(r'<a class="card.*?<code>(.*?)</code>', page)
    assert len(set(cards)) == len(cards) == 3


def test_ticks_of_the_map_do_not_overlap():
    from sphuni.analysis._overview import _TICK_HEIGHT, _map_axes, _squeeze
    from sphuni.analysis._svg import Frame

    frame = Frame(640, 400, 0.0, 1.15, _squeeze(-0.35), _squeeze(1e6), 40, 16, 26, 44)
    texts = [part for part in _map_axes(frame, 1e6) if 'text-anchor="end"' in part]
    rows = sorted(float(re.search(r' y="([\d.]+)"', part)[1]) for part in texts)
    assert len(rows) > 3
    assert min(b - a for a, b in itertools.pairwise(rows)) > _TICK_HEIGHT - 0.2
