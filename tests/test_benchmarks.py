"""The suite's own judgement: what is right, what is slower, and what the README then says."""

import csv
import ctypes
import itertools
import math
import sys

import numpy as np
import pytest
import torch

from benchmarks import __main__ as main
from benchmarks import entry, gpu, readme, scaling
from benchmarks.compare import earlier_rows, losses
from benchmarks.entry import Entry, Peer, rows_of
from benchmarks.measure import peak_memory
from sphuni.kernels import Riesz

EARLIER = (
    "case,ours_seconds,speed_ratio,ratio_gram\nsmall,1.0,10.0,\nlarge,2.0,3.0,4.0\ngone,1,1,1\n"
)


def test_a_loss_of_more_than_a_tenth_is_named(tmp_path):
    earlier = tmp_path / "engine.csv"
    earlier.write_text(EARLIER)
    now = [
        {"case": "small", "ours_seconds": 9.0, "speed_ratio": 9.5},
        {"case": "large", "ours_seconds": 1.0, "speed_ratio": 2.0, "ratio_gram": 4.5},
    ]
    rows = earlier_rows(tmp_path, "engine")
    assert losses(rows, now) == ["large: speed_ratio 3 -> 2.0", "gone: not run any more"]
    assert losses(earlier_rows(earlier, "engine", "small"), now) == []
    assert earlier_rows(tmp_path, "scaling") == []
    assert earlier_rows(earlier, "scaling") == rows  # a file is taken as it is named


def test_fractions_are_compared_and_iterations_are_not():
    old = [{"case": "a", "roofline_fraction": "0.9", "iterations": "100"}]
    now = [{"case": "a", "roofline_fraction": 0.3, "iterations": 10}]
    assert losses(old, now) == ["a: roofline_fraction 0.9 -> 0.3"]


def test_memory_of_work_that_keeps_the_interpreter_locked_is_seen():
    def work():
        libc = ctypes.PyDLL(None)  # calls of a PyDLL keep the lock
        libc.malloc.restype = ctypes.c_void_p
        libc.memset.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)
        libc.free.argtypes = (ctypes.c_void_p,)
        place = libc.malloc(100 << 20)
        libc.memset(place, 1, 100 << 20)
        libc.free(place)

    assert peak_memory(work) == pytest.approx(100 << 20, rel=0.05)


def test_rows_of_several_methods_are_kept_apart(tmp_path):
    earlier = tmp_path / "engine.csv"
    earlier.write_text("case,method,ratio\na,sphuni,\na,peer,4.0\na,other,2.0\n")
    now = [{"case": "a", "method": "peer", "ratio": 2.0}, {"case": "a", "method": "sphuni"}]
    rows = earlier_rows(earlier, "engine")
    assert losses(rows, now) == ["a, peer: ratio 4 -> 2.0", "a, other: not run any more"]


def double(data):
    return {"value": 2 * data, "gradient": np.full(3, 2.0)}


def wrong(data):
    return {"value": 2 * data, "gradient": np.full(3, 2.1)}


def value_only(data):
    return {"value": 2 * data}


ENTRIES = (
    Entry(
        name="right",
        setup=lambda: 3.0,
        run=double,
        reference=double,
        peers={
            "wrong": Peer(wrong),
            "value only": Peer(value_only),
            "absent": Peer(double, "no_such_package"),
        },
        repeats=1,
    ),
    Entry(name="wrong", setup=lambda: 3.0, run=wrong, reference=double, repeats=1),
)


def test_only_right_answers_of_ours_have_a_time(monkeypatch):
    monkeypatch.setattr(entry, "isolated", lambda task, *arguments: task(*arguments))
    monkeypatch.setattr(entry, "gemm_rate", lambda dtype: 1e9)
    rows = {(r["case"], r["method"]): r for r in rows_of(__name__, ENTRIES)}
    assert rows["right", "sphuni"]["status"] == "right"
    assert rows["right", "wrong"]["status"] == "wrong gradient"
    assert rows["right", "wrong"]["gradient_error"] == pytest.approx(0.05)
    assert rows["right", "wrong"]["ratio"] > 0
    assert rows["right", "value only"]["returns"] == "value"
    assert rows["right", "absent"]["note"] == "no_such_package is not installed"
    assert "seconds" not in rows["wrong", "sphuni"]


def test_a_wrong_turn_is_not_hidden_by_a_right_one(monkeypatch):
    turns = itertools.cycle([{"status": "right", "seconds": 1.0}, {"status": "wrong value"}])
    monkeypatch.setattr(entry, "isolated", lambda task, *arguments: next(turns))
    rows = list(rows_of(__name__, ENTRIES[1:]))
    assert rows == [{"case": "wrong", "method": "sphuni", "status": "wrong value"}]


def test_readme_tables_say_who_was_wrong_absent_or_faster(tmp_path, monkeypatch):
    lines = [
        "case,method,status,returns,seconds,ratio,memory_ratio,gradient_error,note,roofline_fraction",
        "c,sphuni,right,value and gradient,0.01,,,1e-9,,0.5",
        "c,cdist,wrong gradient,value and gradient,1.0,100.0,20.0,0.9,,",
        "c,tree,right,angle,0.005,0.5,1.0,,tree wins: it does less,",
        "c,gone,absent,,,,,,gone is not installed,",
    ]
    (tmp_path / "engine.csv").write_text("\n".join(lines))
    monkeypatch.setattr(readme, "RESULTS", tmp_path)
    row = readme.tables().splitlines()[2]
    assert row == (
        "| c | 10 ms | 50 % | cdist 100x, 20x memory, **wrong gradient** by 9e-01; "
        "tree 0.5x, 1x memory; tree wins: it does less; gone absent |"
    )
    text = f"before\n{readme.START}\nold\n{readme.END}\nafter\n"
    (tmp_path / "README.md").write_text(text)
    monkeypatch.setattr(readme, "README", tmp_path / "README.md")
    assert readme.main() == 0
    assert (tmp_path / "README.md").read_text().startswith(f"before\n{readme.START}\n| case")


def results(family):
    with (readme.RESULTS / f"{family}.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def page(name):
    return " ".join((readme.README.parent / name).read_text(encoding="utf-8").split())


def test_the_readme_holds_the_tables_of_the_results():
    text = readme.README.read_text(encoding="utf-8")
    assert f"{readme.START}\n{readme.tables()}{readme.END}" in text


@pytest.mark.parametrize("case", ["(4096, 1024)", "(20000, 128)", "(512, 576)"])
def test_the_readme_quotes_the_roofline_of_both_processors(case):
    first, second = (
        f"{100 * float(row['roofline_fraction']):.0f}"
        for family in ("engine", "engine_amd")
        for row in results(family)
        if row["case"] == f"{case} Riesz s=1, float32" and row["method"] == "sphuni"
    )
    text = page("README.md").replace(" (an earlier version)", "")
    assert f"{first} and {second} % at {case}" in text


@pytest.mark.parametrize(
    ("case", "line"),
    [
        ("all tests, n=1000, d=3", "all tests, n = 1000, d = 3, after the first call |"),
        ("null of all tests, M=10000, n=100, d=3", "10,000 sets of n = 100, d = 3 |"),
        ("astropy rayleightest, n=1000", "| rayleigh, n = 1000 |"),
        ("astropy kuiper, n=100", "| kuiper, n = 100 |"),
        ("QuadratiK PoissonKernelTest rho=0.5, n=1000, d=3", "U and V, n = 1000, d = 3 |"),
        ("all pairwise tests in one pass, n=1e5, d=64", "one pass, n = 100,000, d = 64 |"),
    ],
)
def test_the_page_of_tests_quotes_their_seconds(case, line):
    (row,) = (row for row in results("statistics") if row["case"] == case)
    assert f"{line} {float(row['seconds']):.2g}" in page("docs/stats.md")


def test_the_page_of_sizes_counts_the_cells_of_the_results():
    rows, text = results("calibration"), page("docs/stats_calibration.md")
    full = sum(row["sets"] == "100000" for row in rows)
    simulated = sum(row["null"] == "monte-carlo" for row in rows)
    assert f"has 100,000 sets in {full} cells" in text
    assert f"All {sum(row['pass'] == '1' for row in rows)} cells pass" in text
    assert f"of the {simulated} simulated cells" in text


def test_exponents_are_those_of_the_law():
    sizes = [1000, 10_000, 100_000]
    square, tree = scaling.LADDERS.values(), scaling.LADDERS["scipy cKDTree, d = 3"]
    plain = next(iter(square))
    assert scaling.exponent(sizes, [1e-9 * n**2 for n in sizes], plain) == pytest.approx(2)
    times = [1e-8 * n * math.log(n) for n in sizes]
    assert scaling.exponent(sizes, times, tree) == pytest.approx(1)


def test_without_a_gpu_its_benchmarks_say_so_and_give_no_rows(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert list(gpu.run()) == []
    assert "no CUDA device is present" in capsys.readouterr().out


def test_a_family_without_rows_leaves_earlier_results_alone(monkeypatch, tmp_path):
    (tmp_path / "gpu.csv").write_text("case,seconds\nsmall,1.0\n")
    monkeypatch.setattr(main, "RESULTS", tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "gpu"])
    assert main.main() == 0
    assert (tmp_path / "gpu.csv").read_text() == "case,seconds\nsmall,1.0\n"


def test_the_roofline_counts_a_cosine_and_two_forces_of_every_pair():
    case = gpu.Case(40, 10, Riesz(1.0), asked=(("asked_seconds", 1.0),))
    for row in gpu.measure(case, "cpu", 1e9):
        if row["status"] == "right":
            rate = row["roofline_fraction"] * 1e9 * row["seconds"]
            assert rate == pytest.approx(40 * 39 / 2 * (2 * 10 + 2 * 2 * 10))
            assert row["asked_seconds"] == 1.0
    small = next(gpu.measure(case._replace(d=3), "cpu", 1e9))
    assert small["status"] == "right"
    assert "roofline_fraction" not in small


def test_the_gpu_benchmarks_hold_every_method_to_float64():
    case = gpu.Case(60, 3, Riesz(1.0))
    ours, peer = gpu.measure(case, "cpu", 1e10)
    assert (ours["method"], ours["status"], ours["ratio"]) == ("blockwise", "right", 1.0)
    assert peer["method"] == "torch.cdist"
    assert next(gpu.measure(case._replace(tolerance=0.0), "cpu", 1e10))["status"] == "wrong"


@pytest.mark.parametrize("kind", [torch.OutOfMemoryError, RuntimeError])
def test_a_method_without_memory_for_a_later_call_is_a_row_and_the_rest_go_on(monkeypatch, kind):
    calls, whole = [], gpu._ours

    def fails(points, *, kernel, engine):
        calls.append(engine)
        if calls.count("blockwise") > 2 and engine == "blockwise":  # after the answer and its check
            raise kind("no memory: tried 16 GiB\nand where")
        return whole(points, kernel=kernel, engine=engine)

    monkeypatch.setattr(gpu, "_ours", fails)
    failed, *others = gpu.measure(gpu.Case(40, 10, Riesz(1.0)), "cpu", 1e9)
    assert failed["status"] == f"{kind.__name__}: no memory: tried 16 GiB"
    assert [row["method"] for row in others][-1] == "torch.cdist"
    assert others[-1]["status"] == "right"
    assert not any("ratio" in row for row in others)  # to nothing
