import argparse
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sphuni import random_points
from sphuni.cli import _output
from sphuni.cli import optimize as command
from sphuni.cli import records as records_command
from sphuni.cli.__main__ import main
from sphuni.configurations import construct, optimize, save_points
from sphuni.distributions import uniform_cap


def shell(*words):
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    command.add_parser(commands)
    records_command.add_parser(commands)
    arguments = parser.parse_args(words)
    return _output.guarded(arguments.run, arguments)


def test_optimize_prints_and_writes(tmp_path, capsys):
    stem = str(tmp_path / "ico")
    code = shell(
        "optimize", "thomson", "-n", "12", "--restarts", "4", "--out", stem,
        "--formats", "npz,csv,xyz,obj,png",
    )  # fmt: skip
    out = capsys.readouterr().out
    assert code == 0
    assert "49.165253057628" in out
    assert "symmetry order   120" in out
    assert (tmp_path / "ico.png").read_bytes().startswith(b"\x89PNG")
    points = np.load(stem + ".npz")["points"]
    assert np.array_equal(np.loadtxt(stem + ".csv", delimiter=",", skiprows=1), points)


@pytest.mark.parametrize(
    ("options", "written"),
    [
        (["best.csv"], ["best.csv"]),
        (["best.CSV", "--formats", "xyz"], ["best.csv", "best.xyz"]),
        (["best.npz", "--formats", "npz,csv"], ["best.csv", "best.npz"]),
        (["s1.5", "--formats", "csv"], ["s1.5.csv"]),
    ],
)
def test_a_name_with_a_suffix_asks_for_that_file(options, written, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("optimize", "thomson", "-n", "4", "--restarts", "1", "--quiet")
    assert shell(*words, "--out", *options) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == written


def test_optimize_prints_json(capsys):
    words = ("tammes", "-n", "6", "--restarts", "2", "--json", "--formats", "none")
    assert shell("optimize", *words) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["value"] == pytest.approx(np.pi / 2)
    assert content["files"] == []
    assert len(content["certificate"]["active"]) == 12


def test_optimize_resumes(tmp_path, capsys):
    words = ("optimize", "log", "-n", "5", "--restarts", "2", "--formats", "none")
    keep = ("--checkpoint", str(tmp_path / "run.npz"))
    assert shell(*words, *keep) == 0
    assert shell(*words, *keep) == 2
    assert "exists already" in capsys.readouterr().err
    assert shell(*words, *keep, "--resume") == 0
    (tmp_path / "run.npz").write_bytes(b"no")
    assert shell(*words, *keep, "--resume") == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("tames", "-n", "5"), "Did you mean 'tammes'"),
        (("tammes", "-n", "5", "--formats", "gif"), "--formats must be taken from"),
        (("tammes", "-n", "5", "-d", "4", "--formats", "obj"), "--formats obj needs d = 3; got 4"),
        (("tammes", "-n", "5", "--out", "no/such/stem"), "does not exist"),
        (("thomson", "-n", "0"), "n must be at least 1"),
        (("maxdet", "-n", "9", "--epsilon", "-1"), "epsilon must be positive; got -1"),
    ],
)
def test_optimize_refuses_in_one_line(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shell("optimize", *words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_interrupted_shell_run_ends_with_130(monkeypatch, capsys):
    finished = optimize("thomson", n=5, restarts=2)
    object.__setattr__(finished, "status", "interrupted")
    monkeypatch.setattr("sphuni.configurations.solver.optimize", lambda *_, **__: finished)
    assert shell("optimize", "thomson", "-n", "5", "--formats", "none") == 130
    assert "6.47469149468816" in capsys.readouterr().out


def test_records_prints_the_table(capsys):
    assert shell("records", "tammes", "-d", "3") == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split()[:3] == ["n", "d", "s"]
    assert len(table) > 20
    assert shell("records", "thomson", "-n", "12", "-d", "3", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)["records"]
    assert row["value"] == pytest.approx(49.165253057629)
    assert shell("records", "tammes", "-n", "7777") == 0
    assert "nothing on record" in capsys.readouterr().err


def test_records_of_lines_are_asked_for_in_the_shell(capsys):
    words = ["records", "tammes", "-n", "6", "-d", "3", "--json"]
    assert shell(*words) == 0
    assert len(json.loads(capsys.readouterr().out)["records"]) == 2
    assert shell(*words, "--antipodal") == 0
    (row,) = json.loads(capsys.readouterr().out)["records"]
    assert row["antipodal"] is True
    assert row["value"] == pytest.approx(np.arctan(2))


def test_help_needs_no_torch():
    code = (
        "import argparse, sys; from sphuni.cli import optimize, records;"
        "c = argparse.ArgumentParser().add_subparsers();"
        "optimize.add_parser(c); records.add_parser(c); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_obj_is_a_closed_outward_mesh(tmp_path):
    path = tmp_path / "a.obj"
    points = random_points(30, 3, rng=0)
    save_points(points, path)
    lines = path.read_text().splitlines()
    corners = np.array([line.split()[1:] for line in lines if line[0] == "v"], dtype=float)
    sides = np.array([line.split()[1:] for line in lines if line[0] == "f"], dtype=int) - 1
    assert np.array_equal(corners, points)
    assert len(sides) == 2 * 30 - 4
    volume = np.linalg.det(corners[sides]).sum() / 6
    assert 2 < volume < 4 / 3 * np.pi


def test_xyz_has_a_count_and_all_digits(tmp_path):
    path = tmp_path / "a.xyz"
    points = construct("icosahedron")
    save_points(points, path)
    head, _, *rows = path.read_text().splitlines()
    assert head == "12"
    assert np.array_equal(np.loadtxt(io.StringIO("\n".join(rows)), usecols=(1, 2, 3)), points)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_tensors_that_require_a_gradient_are_saved(tmp_path, dtype):
    save_points(torch.eye(3, dtype=dtype, requires_grad=True), tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as file:
        assert np.array_equal(file["points"], np.eye(3))


@pytest.mark.parametrize(
    ("points", "name", "message"),
    [
        (np.eye(3), "a.txt", r"path must end in one of \.npz"),
        (np.eye(4), "a.xyz", "needs points in R"),
        (np.eye(3), "a.obj", "at least 4 points"),
        (np.ones(3), "a.csv", "points must have shape"),
        (
            np.diag([1.0, np.nan, 1.0]),
            "a.csv",
            r"points must be finite; row 1 is \[0.0, nan",
        ),
        (np.diag([1.0, 1.0, 1.0, np.inf])[:, 1:], "a.obj", "points must be finite; row 3 is"),
    ],
)
def test_save_points_refuses(tmp_path, points, name, message):
    with pytest.raises(ValueError, match=message):
        save_points(points, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("swapped", ["a.npz", Path("a.npz")])
def test_save_points_with_swapped_arguments_says_so(swapped):
    message = r"got the name 'a.npz'. The points come first: save_points\(points, path\)"
    with pytest.raises(TypeError, match=message):
        save_points(swapped, np.eye(3))


def test_a_checkpoint_is_not_overwritten_by_the_answer(tmp_path, capsys):
    stem = tmp_path / "run"
    words = ["optimize", "thomson", "-n", "5", "--restarts", "2", "--quiet"]
    assert main([*words, "--out", str(stem), "--checkpoint", f"{stem}.npz"]) == 2
    assert "--checkpoint and --out name the same file" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_names_of_files_tell_kernels_and_distances_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["optimize", "-n", "4", "--restarts", "1", "--quiet", "--formats", "csv"]
    for more in (["maxdet", "--epsilon", "1"], ["maxdet", "--epsilon", "2"], ["riesz", "-s", "1"]):
        assert main([*words, *more]) == 0
    assert main([*words, "riesz", "-s", "1", "--metric", "geodesic"]) == 0
    assert len(list(tmp_path.iterdir())) == 4


def test_meshes_face_outwards_wherever_the_origin_is(tmp_path):
    points = uniform_cap(12, 3, angle=0.5, rng=0)
    save_points(points, tmp_path / "cap.obj")
    lines = (tmp_path / "cap.obj").read_text().splitlines()
    sides = [[int(k) - 1 for k in line.split()[1:]] for line in lines if line.startswith("f")]
    assert len(sides) == 20
    for a, b, c in points[sides]:
        assert np.cross(b - a, c - a) @ (a - points.mean(axis=0)) > 0
    with pytest.raises(ValueError, match="points in one plane have no mesh"):
        save_points(np.eye(3)[[0, 1, 0, 1]], tmp_path / "flat.obj")
