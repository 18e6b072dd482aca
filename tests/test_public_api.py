"""The curated surface: lazy, complete, documented, and called in one way."""

import ast
import importlib
import inspect
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import sphuni

PUBLIC = sorted(set(sphuni.__all__) - set(sphuni._ROOMS) - {"__version__"})
HEAVY = ("torch", "numpy", "scipy", "matplotlib", "sklearn")


def test_importing_the_package_loads_nothing_heavy():
    program = f"import sys, sphuni; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_importing_the_measures_loads_nothing_that_only_some_of_them_need():
    program = (
        "import sys, sphuni; sphuni.riesz_energy; sphuni.covering_radius; sphuni.stats.check; "
        "rooms = 'integrate', 'interpolate', 'optimize', 'spatial', 'stats'; "
        "heavy = 'matplotlib', 'sklearn', 'numba', *(f'scipy.{room}' for room in rooms); "
        "print([module for module in heavy if module in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_stubs_and_names_agree():
    stub = ast.parse(Path(sphuni.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    named = {
        alias.asname: (node.module, alias.name)
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert sorted(named) == sorted(set(sphuni.__all__) - {"__version__"})
    for shown, (module, original) in named.items():
        assert shown == original
        assert module == ("sphuni" if shown in sphuni._ROOMS else f"sphuni.{sphuni._HOME[shown]}")


def test_every_name_loads_and_is_listed():
    for name in sphuni.__all__:
        assert getattr(sphuni, name) is not None
    assert set(dir(sphuni)) >= set(sphuni.__all__)
    with pytest.raises(AttributeError, match="module 'sphuni' has no attribute 'nothing'"):
        sphuni.nothing


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_object_is_documented(name):
    lines = (inspect.getdoc(getattr(sphuni, name)) or "").splitlines()
    assert lines
    assert lines[0].endswith(".")
    assert len(lines) == 1 or lines[1] == ""


NO_ARRAYS = {"limit_memory"}


@pytest.mark.parametrize(
    "name", [n for n in PUBLIC if inspect.isfunction(getattr(sphuni, n)) and n not in NO_ARRAYS]
)
def test_arrays_come_first_and_options_by_name(name):
    """Functions of arrays take them by position only; what follows is keyword-only."""
    parameters = list(inspect.signature(getattr(sphuni, name)).parameters.values())
    sizes = ("n", "d")  # functions of two numbers, not of points
    kinds = {p.name: p.kind for p in parameters}
    leading = [p for p in parameters if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    if parameters[0].name == "n":
        assert tuple(p.name for p in leading) == sizes
        return
    assert leading
    assert all(kinds[p.name] is inspect.Parameter.POSITIONAL_ONLY for p in leading)
    assert {p.name for p in leading} <= {"points", "field_points", "x", "y"}
    assert all(p.default is inspect.Parameter.empty for p in leading)


@pytest.mark.parametrize("room", ["geometry", "kernels", "pairwise", "sphere", "distributions"])
def test_everything_a_room_exports_is_documented(room):
    module = importlib.import_module(f"sphuni.{room}")
    assert inspect.getdoc(module)
    for name, value in vars(module).items():
        ours = getattr(value, "__module__", "") or ""
        if name.startswith("_") or not ours.startswith("sphuni") or not callable(value):
            continue
        assert inspect.getdoc(value), name
        if inspect.isclass(value):
            for method, member in vars(value).items():
                if not method.startswith("_") and inspect.isfunction(member):
                    assert inspect.getdoc(member), f"{name}.{method}"


SHOWN = """
import importlib, re, runpy, sys

runpy.run_path("conf.py")
page = open("api.md", encoding="utf-8").read()
shown = set(re.findall(r":: sphuni\\.(\\w+)$", page, re.M))
for names in re.findall(r":members: (.+)", page):
    shown.update(names.split(", "))
for room in re.findall(r"automodule:: (\\S+)\\n   :members:$", page, re.M):
    module = importlib.import_module(room)
    shown.update(vars(module))
    assert set(getattr(module, "__all__", ())) <= vars(module).keys(), room
print(sorted(set(sys.argv[1:]) - shown))
"""


def test_the_api_page_shows_every_public_name():
    docs = Path(__file__).parents[1] / "docs"
    command = [sys.executable, "-c", SHOWN, *PUBLIC]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=docs)
    assert done.stdout.strip() == "[]"


def test_the_source_distribution_holds_what_its_tests_read():
    project = Path(__file__).parents[1] / "pyproject.toml"
    build = tomllib.loads(project.read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    included = set(build["targets"]["sdist"]["include"])
    assert included >= {"sphuni", "tests", "conftest.py", "benchmarks", "docs", "README.md"}
    assert all((project.parent / name).exists() for name in included)
