"""The interactive page: self-contained, escaped, and alive in a browser."""

import base64
import hashlib
import html.parser
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

import sphuni
from sphuni.configurations import construct, optimize
from sphuni.distributions import uniform_cap
from sphuni.plots import page as module
from sphuni.plots.page import interactive, render_interactive

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
BROWSER = pytest.mark.skipif(
    CHROMIUM is None, reason="chromium is not installed: apt-get install chromium"
)
HOSTILE = "</script><img src=x onerror=alert(1)>\"'&\u202e{{ 7*7 }}<!--"


class Page(html.parser.HTMLParser):
    """Tags and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        key = self.tags[-1][1].get("id", self.tags[-1][0]) if self.tags else ""
        self.texts.setdefault(key, []).append(data)


def scene(text: str) -> dict:
    """The data of a page."""
    return json.loads("".join(Page(text).texts["scene"]))


@pytest.fixture(scope="module")
def packing():
    return optimize("tammes", n=12, restarts=2, engine="blockwise")


def test_page_holds_the_points_exactly_and_their_diagram(packing):
    data = scene(render_interactive(packing))
    assert np.array_equal(np.array(data["points"]), packing.points)
    assert len(data["corners"]) == len(data["facets"]) == len(data["depths"]) == 20
    assert {len(cell) for cell in data["cells"]} == {5}
    assert len(data["contacts"]) == 30
    assert data["angle"] == pytest.approx(np.arctan(2))
    assert np.linalg.det(data["view"]) == pytest.approx(1.0)


def test_page_says_what_was_found(packing):
    text = render_interactive(packing)
    assert "<title>Tammes problem: n = 12 points</title>" in text
    assert "equals the proven optimum" in text
    assert "symmetry <i>I</i><sub>h</sub> (order 120)" in text
    assert "12 pentagons" in text
    checked = set(re.findall(r'data-layer="(\w+)" checked', text))
    assert checked == {"points", "contacts", "caps"}


def test_page_allows_its_own_style_and_script_only(packing):
    text = render_interactive(packing)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    assert "default-src 'none'" in policy
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{rule} 'sha256-{digest}'" in policy
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\(", text)
    attributes = [name for _, attrs in Page(text).tags for name in attrs]
    assert not [name for name in attributes if name.startswith("on") or name == "style"]


def test_every_string_is_escaped(packing):
    object.__setattr__(
        hostile := optimize("tammes", n=6, restarts=2, engine="blockwise"), "problem", HOSTILE
    )
    object.__setattr__(hostile, "status", HOSTILE)
    for text in (render_interactive(hostile), render_interactive(packing, title=HOSTILE)):
        page = Page(text)
        assert [tag for tag, _ in page.tags].count("script") == 2
        assert "img" not in [tag for tag, _ in page.tags]
        assert "49" not in "".join(page.texts["title"])
        assert "{{ 7*7 }}" in "".join(page.texts["title"])


def test_same_result_same_page(packing, tmp_path):
    interactive(packing, tmp_path / "a.html")
    written = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert written == render_interactive(packing)
    assert len(written) < 40_000


@pytest.mark.parametrize(
    ("points", "layers"),
    [
        (np.eye(3)[:1], {"points"}),
        (np.eye(3)[:2], {"points", "contacts", "caps"}),
        (np.column_stack([construct("polygon_7"), np.zeros(7)]), {"points", "contacts", "caps"}),
        (construct("cube"), {"points", "cells", "facets", "holes", "contacts", "caps"}),
    ],
)
def test_layers_are_what_there_is(points, layers):
    text = render_interactive(points)
    found = set(re.findall(r'data-layer="(\w+)"', text))
    assert found == layers | {"glass", "spin"}


def test_facets_beyond_a_half_sphere_share_what_is_left():
    points = uniform_cap(12, 3, angle=1.2, mu=[0, 0, -1], rng=0)
    data = scene(render_interactive(points))
    assert data["beyond"]
    assert len(data["facets"]) == len(data["depths"]) < len(data["corners"])
    assert max(data["depths"]) < 1
    assert not scene(render_interactive(construct("cube")))["beyond"]


def test_worst_poles_are_marked():
    result = optimize("polarization", n=6, s=1.0, restarts=2, engine="blockwise")
    text = render_interactive(result)
    assert "worst poles (8)" in text
    holes = np.array(scene(text)["holes"])
    assert np.abs(holes @ result.points.T) == pytest.approx(np.full((8, 6), 3**-0.5), abs=1e-5)


def test_caps_without_force_are_left_out_as_in_the_picture():
    result = optimize("tammes", n=6, restarts=1, engine="blockwise")
    force = np.where((result.certificate.active == 0).any(axis=1), 0.0, 1.0)
    object.__setattr__(result.certificate, "multipliers", force)
    text = render_interactive(result)
    assert "closest pairs (8)" in text
    assert "symmetry <i>C</i><sub>4v</sub> (order 8)" in text


def test_both_ends_of_lines_and_tensors():
    lines = optimize("tammes", n=6, restarts=2, antipodal=True, engine="blockwise")
    assert len(scene(render_interactive(lines))["points"]) == 12
    tensor = sphuni.random_points(20, 3, rng=0)
    assert len(scene(render_interactive(tensor))["cells"]) == 20


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.eye(4), r"points must have shape \(n, 3\)"),
        (np.ones((5, 3)), "points must have unit rows; row 0 has norm 1.732"),
        (np.tile([1.0, 0, 0], (20_001, 1)), "points must be at most 20,000"),
    ],
)
def test_refusals_leave_no_file(points, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        interactive(points, tmp_path / "a.html")
    assert list(tmp_path.iterdir()) == []


def browse(text: str, folder, wait: int = 0) -> tuple[str, str]:
    """Return the DOM after scripts ran, some virtual ms later, and what the browser logged."""
    (folder / "page.html").write_text(text, encoding="utf-8")
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-extensions",
        "--disable-background-networking", "--disable-component-update", "--no-first-run",
        f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr", "--dump-dom",
        *([f"--virtual-time-budget={wait}"] if wait else []), (folder / "page.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    return done.stdout.decode(), done.stderr.decode(errors="replace")


FRAMES = "window.requestAnimationFrame = (draw) => setTimeout(draw, 16);"
"""A browser without a screen draws a frame or two and stops."""
PROBE = """
(() => {
  const canvas = document.getElementById("sphere");
  const results = [];
  const step = (name, act, then) => {
    const before = canvas.toDataURL();
    act();
    requestAnimationFrame(() => requestAnimationFrame(() => {
      results.push(name + "=" + (canvas.toDataURL() !== before));
      then();
    }));
  };
  const pointer = (kind, x, y) => canvas.dispatchEvent(
    new PointerEvent(kind, { pointerId: 7, clientX: x, clientY: y, bubbles: true }));
  const toggle = (layer) => {
    const box = document.querySelector(`[data-layer="${layer}"]`);
    box.checked = !box.checked;
    box.dispatchEvent(new Event("change"));
  };
  const steps = [
    ["nothing", () => {}],
    ["drag", () => {
      pointer("pointerdown", 200, 200);
      pointer("pointermove", 260, 230);
      pointer("pointerup", 260, 230);
    }],
    ["hover", () => { pointer("pointermove", 300, 300); }],
    ["wheel", () => canvas.dispatchEvent(
      new WheelEvent("wheel", { deltaY: -300, cancelable: true }))],
    ["key", () => canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft" }))],
    ...["points", "cells", "facets", "holes", "contacts", "caps", "glass"].map(
      (layer) => [layer, () => toggle(layer)]),
    ["reset", () => document.getElementById("reset").click()],
  ];
  const next = (k) => {
    if (k < steps.length) step(...steps[k], () => next(k + 1));
    else document.title = results.join(" ");
  };
  const first = canvas.toDataURL();
  const blank = document.createElement("canvas");
  [blank.width, blank.height] = [canvas.width, canvas.height];
  results.push("drawn=" + (first !== blank.toDataURL()));
  next(0);
})();
"""


@BROWSER
def test_browser_draws_turns_and_toggles(packing, tmp_path, monkeypatch):
    probed = tmp_path / "probed.js"
    script = (module._FOLDER / "sphere.js").read_text(encoding="utf-8")
    probed.write_text(f"{FRAMES}{script}{PROBE}", encoding="utf-8")
    render = module.render_page
    monkeypatch.setattr(
        module, "render_page", lambda *args, script, **rest: render(*args, script=probed, **rest)
    )
    dom, log = browse(render_interactive(packing), tmp_path, wait=10_000)
    assert "CONSOLE" not in log
    found = dict(pair.split("=") for pair in "".join(Page(dom).texts["title"]).split())
    quiet = {name for name, changed in found.items() if changed == "false"}
    assert quiet == {"nothing", "hover"}
    assert len(found) == 14


@BROWSER
@pytest.mark.parametrize("points", [np.eye(3)[:1], construct("tetrahedron")], ids=["one", "four"])
def test_browser_opens_small_sets_and_hostile_titles(points, tmp_path):
    dom, log = browse(render_interactive(points, title=HOSTILE), tmp_path)
    assert "CONSOLE" not in log
    assert "img" not in [tag for tag, _ in Page(dom).tags]


@BROWSER
def test_browser_would_report_a_foreign_script(packing, tmp_path):
    text = render_interactive(packing).replace(
        "</main>", "<script>document.title=1</script></main>"
    )
    _, log = browse(text, tmp_path)
    assert "CONSOLE" in log
