"""The gallery page and the example scripts: complete, small, and run."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("optimize_*.py"))
PROBLEMS = set(
    "thomson riesz log tammes covering polarization maxdet design antipodal".split()  # noqa: SIM905
)


def gallery():
    """The module of the gallery script."""
    spec = importlib.util.spec_from_file_location("gallery", ROOT / "examples" / "gallery.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_gallery_shows_every_entry_and_nothing_else():
    page = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    shown = re.findall(r"images/gallery_(\w+)\.png", page)
    assert sorted(shown) == sorted(gallery().ENTRIES)
    assert set(gallery().ENTRIES) >= PROBLEMS
    sizes = [(ROOT / "docs" / "images" / f"gallery_{name}.png").stat().st_size for name in shown]
    assert sum(sizes) < 1_500_000
    assert "images/gallery_thomson.html" in page
    assert (ROOT / "docs" / "images" / "gallery_thomson.html").is_file()


def test_gallery_draws_one_entry_the_same_twice(tmp_path):
    script = gallery()
    result = script.optimize("thomson", n=5, restarts=1, engine="blockwise")
    sizes = [script.draw(result, tmp_path / name) for name in ("a.png", "b.png")]
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert sizes[0] == (tmp_path / "a.png").stat().st_size
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (1056, 594)


def test_every_problem_has_a_short_script():
    names = {path.stem.removeprefix("optimize_") for path in EXAMPLES}
    assert names == PROBLEMS
    for path in EXAMPLES:
        text = path.read_text(encoding="utf-8")
        compile(text, str(path), "exec")
        assert text.count("\n") < 20
        assert ".value" in text
        assert ".gap" in text
        assert "certificate" in text


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_scripts_run(path, tmp_path):
    done = subprocess.run(
        [sys.executable, str(path)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    first, second, *_ = done.stdout.splitlines()
    found = re.search(r"gap to the record (None|[-+\d.e]+)", first)
    assert found is not None
    assert found[1] == "None" or abs(float(found[1])) < 1e-7
    assert "e-" in second
