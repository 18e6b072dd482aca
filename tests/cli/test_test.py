"""`sphuni test` and `sphuni cite` as a user meets them."""

import io
import json
import zipfile

import numpy as np
import pytest

from sphuni import random_points
from sphuni.cli.__main__ import main
from sphuni.distributions import von_mises_fisher
from sphuni.stats import uniformity_test

FAST = "rayleigh,bingham"


def write_csv(path, rows, header=None):
    lines = [",".join(map(repr, map(float, row))) for row in rows]
    path.write_text("\n".join([*([header] if header else []), *lines]) + "\n")
    return str(path)


@pytest.fixture
def poles(tmp_path):
    """Longitudes and latitudes in degrees of 60 points about the north pole, and the points."""
    x = von_mises_fisher(60, 3, kappa=4.0, rng=1)
    lonlat = np.degrees(np.stack([np.arctan2(x[:, 1], x[:, 0]), np.arcsin(x[:, 2])], axis=1))
    return write_csv(tmp_path / "poles.csv", lonlat, "lon,lat"), lonlat, x


def answer(capsys, *arguments):
    code = main(["test", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def refused(capsys, *arguments):
    code = main(["test", *arguments])
    captured = capsys.readouterr()
    assert captured.out == ""
    return code, captured.err


def test_longitudes_and_latitudes_give_the_p_values_of_the_points(poles, capsys):
    path, _, x = poles
    code, content = answer(capsys, path, "--lonlat", "--tests", FAST)
    assert code == 0
    assert (content["n"], content["d"], content["rejected"]) == (60, 3, [])
    expected = uniformity_test(x, "rayleigh")
    assert content["tests"][0]["statistic"] == pytest.approx(float(expected.statistic), rel=1e-10)
    assert content["tests"][0]["pvalue"] == pytest.approx(float(expected.pvalue), rel=1e-8)


def test_every_layout_reads_the_same_points(poles, tmp_path, capsys):
    path, lonlat, x = poles
    radians = np.radians(lonlat)
    files = [
        (path, "--lonlat"),
        (write_csv(tmp_path / "r.csv", radians[:, ::-1], "lat,lon"), "--lonlat", "--radians"),
        (write_csv(tmp_path / "n.csv", lonlat[:, ::-1]), "--lonlat", "--columns", "2,1"),
        (
            write_csv(tmp_path / "c.csv", lonlat * [1, -1] + [0, 90], "node,inclination"),
            "--colatitude",
        ),
        (write_csv(tmp_path / "x.csv", x),),
        (write_csv(tmp_path / "s.csv", 7 * x), "--normalize"),
    ]
    tabs = tmp_path / "t.tsv"
    tabs.write_text(
        "name\tx\ty\tz\n" + "".join(f"p\t{a!r}\t{b!r}\t{c!r}\n" for a, b, c in x.tolist())
    )
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", other=np.ones(3), points=x)
    files += [(str(tabs),), (str(tmp_path / "x.npy"),)]
    files += [(str(tmp_path / "x.npz"), "--array", "points")]
    seen = [answer(capsys, *file, "--tests", FAST, "--quiet")[1]["tests"] for file in files]
    for tests in seen:
        for mine, first in zip(tests, seen[0], strict=True):
            assert mine["statistic"] == pytest.approx(first["statistic"], rel=1e-9)


def test_a_table_on_standard_input(poles, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("# a comment\n1 0\n0 1\n-1 0\n0 -1\n"))
    assert main(["test", "-", "--tests", "hodges_ajne"]) == 0
    capsys.readouterr()
    monkeypatch.setattr("sys.stdin", io.StringIO("0\n90\n180\n270\n"))
    code, content = answer(capsys, "-", "--angles", "--tests", "hodges_ajne")
    assert (code, content["d"]) == (0, 2)
    assert content["tests"][0]["statistic"] == 3.0


def test_messages_call_standard_input_by_its_name(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("1 0\n0\n"))
    assert refused(capsys, "-") == (
        3, "sphuni: error: row 2 of standard input has 1 cells; the first row has 2\n"
    )  # fmt: skip
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert refused(capsys, "-") == (3, "sphuni: error: standard input holds no rows\n")


def test_an_array_on_standard_input_is_no_table(capsys, monkeypatch):
    stream = io.BytesIO()
    np.save(stream, np.eye(3))
    text = io.TextIOWrapper(io.BytesIO(stream.getvalue()), "utf-8", errors="surrogateescape")
    monkeypatch.setattr("sys.stdin", text)
    code, said = refused(capsys, "-")
    assert code == 3
    assert "cannot read standard input as text" in said


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_an_array_without_numbers_is_refused(shape, tmp_path, capsys):
    path = tmp_path / "x.npy"
    np.save(path, np.zeros(shape))
    code, said = refused(capsys, str(path))
    assert code == 3
    assert f"got float64 of shape {shape}" in said


def test_a_norm_that_is_nearly_one_is_shown_with_its_distance_from_one(tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.eye(3) * [[1.0], [1.0 + 4e-6], [1.0]])
    code, said = refused(capsys, str(tmp_path / "x.npy"))
    assert code == 3
    assert "point 2 has norm 1 + 4e-06. If only directions matter" in said


def test_one_test_is_no_plural(poles, capsys):
    assert main(["test", poles[0], "--lonlat", "--tests", "rayleigh"]) == 0
    assert "holm over 1 test\n" in capsys.readouterr().out


def test_a_picture_that_cannot_be_written_does_not_take_the_table_with_it(
    poles, capsys, monkeypatch
):
    from sphuni.cli import test as command

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(command, "_draw", full)
    assert main(["test", poles[0], "--lonlat", "--tests", "rayleigh", "--picture", "a.png"]) == 3
    captured = capsys.readouterr()
    assert "smallest adjusted p" in captured.out
    assert captured.err == "sphuni: error: cannot write 'a.png': No space left on device\n"


def test_a_byte_order_mark_is_no_part_of_the_table(poles, tmp_path, capsys, monkeypatch):
    marked = "\ufeff1,0\n0,1\n-1,0\n"
    (tmp_path / "marked.csv").write_text(marked, "utf-8")
    for path in (str(tmp_path / "marked.csv"), "-"):
        monkeypatch.setattr("sys.stdin", io.StringIO(marked))
        code, content = answer(capsys, path, "--tests", "hodges_ajne")
        assert (code, content["n"]) == (0, 3)


def test_exit_code_follows_alpha_and_tail(poles, capsys):
    path = poles[0]
    base = (path, "--lonlat", "--tests", FAST)
    assert main(["test", *base, "--alpha", "0.01"]) == 1
    assert "below alpha = 0.01: rayleigh" in capsys.readouterr().out
    assert main(["test", *base, "--alpha", "0.01", "--tail", "lower"]) == 0
    assert "below alpha = 0.01: none" in capsys.readouterr().out


def test_corrections_multiply_and_parameters_reach_the_tests(poles, capsys):
    tests = "riesz:s=0.5,riesz:s=1,sobolev:weights=1/0/2,stein:cf=true"
    path = poles[0]
    _, content = answer(capsys, path, "--lonlat", "--tests", tests, "--correction", "bonferroni")
    labels = [test["label"] for test in content["tests"]]
    assert labels == ["riesz(s=0.5)", "riesz", "sobolev(weights=1/0/2)", "stein(cf=true)"]
    for test in content["tests"]:
        assert test["pvalue_adjusted"] == pytest.approx(min(1.0, 4 * test["pvalue"]))
    assert content["tests"][2]["parameters"]["weights"] == [1, 0, 2]


@pytest.mark.usefixtures("small_tables")
def test_lines_and_what_all_leaves_out(tmp_path, capsys):
    path = write_csv(tmp_path / "x.csv", random_points(30, 70, rng=0))
    code, content = answer(capsys, path, "--tests", "bingham,packing", "--antipodal")
    assert code == 0
    assert all(test["parameters"]["antipodal"] for test in content["tests"])
    flipped = write_csv(tmp_path / "y.csv", -random_points(30, 70, rng=0))
    again = answer(capsys, flipped, "--tests", "bingham,packing", "--antipodal")[1]
    assert again["tests"][1]["statistic"] == pytest.approx(content["tests"][1]["statistic"])
    code, content = answer(capsys, path, "--tests", "ccf09,bingham", "--antipodal")
    assert (code, [test["test"] for test in content["tests"]]) == (0, ["ccf09", "bingham"])
    assert all(test["parameters"]["antipodal"] for test in content["tests"])
    code, message = refused(capsys, path, "--tests", "max_angle,bingham", "--antipodal")
    assert (code, "take test='packing'" in message) == (2, True)
    code, message = refused(capsys, path, "--tests", "ajne", "--antipodal")
    assert code == 2
    assert "odd harmonics only" in message


def test_simulated_laws_repeat_and_obey_the_seed(tmp_path, capsys):
    path = write_csv(tmp_path / "x.csv", random_points(12, 3, rng=0))
    options = (path, "--tests", "rayleigh", "--null", "monte-carlo", "--resamples", "199")
    first = answer(capsys, *options)[1]["tests"]
    assert answer(capsys, *options)[1]["tests"] == first
    assert answer(capsys, *options, "--seed", "5")[1]["tests"] != first
    assert first[0]["n_resamples"] == 199


def test_ties_and_dropped_columns_are_told(tmp_path, capsys):
    x = random_points(20, 3, rng=0)
    x[7] = x[3]
    path = tmp_path / "x.csv"
    rows = (f"{a!r},{b!r},{c!r},crater\n" for a, b, c in x.tolist())
    path.write_text("x,y,z,name\n" + "".join(rows))
    assert main(["test", str(path), "--tests", "packing"]) == 0
    captured = capsys.readouterr()
    assert "note: left out column name" in captured.err
    assert "1 point repeats an earlier one exactly (the first repeated is point 4)" in captured.err
    assert main(["test", str(path), "--tests", "packing", "--quiet"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "header",
    [
        "lat_deg,lon_deg",
        "Latitude (deg),Longitude (deg)",
        "lat [°],lng [°]",
        "DEJ2000,RAJ2000",
        "dec (ICRS),ra (ICRS)",
    ],
)
def test_units_in_the_names_of_angles_do_not_hide_them(header, poles, tmp_path, capsys):
    _, lonlat, _ = poles
    # all longitudes within 90 degrees, where the other order would be possible too
    points = lonlat * [0.4, 1]
    swapped = write_csv(tmp_path / "swapped.csv", points[:, ::-1], header)
    plain = write_csv(tmp_path / "plain.csv", points, "lon,lat")
    (_, first), (_, second) = (
        answer(capsys, name, "--lonlat", "--tests", FAST) for name in (swapped, plain)
    )
    assert [t["pvalue"] for t in first["tests"]] == [t["pvalue"] for t in second["tests"]]


def test_angles_are_in_the_unit_that_their_names_end_with(poles, tmp_path, capsys):
    _, lonlat, _ = poles
    small = 0.05 * lonlat  # refused without a unit, as these may be radians
    degrees = write_csv(tmp_path / "degrees.csv", small, "lon (deg),lat (deg)")
    radians = write_csv(tmp_path / "radians.csv", np.radians(small), "lon_rad,lat_rad")
    plain = write_csv(tmp_path / "plain.csv", small, "lon,lat")
    options = ("--lonlat", "--tests", FAST)
    found = [answer(capsys, name, *options)[1]["tests"] for name in (degrees, radians)]
    found.append(answer(capsys, plain, *options, "--degrees")[1]["tests"])
    assert found[0] == found[2]
    statistics = [[test["statistic"] for test in tests] for tests in found]
    assert statistics[1] == pytest.approx(statistics[0], rel=1e-9)
    assert main(["test", radians, "--lonlat", "--degrees", "--tests", "rayleigh"]) == 0
    assert "took 'lon_rad' to be in degrees, as was asked" in capsys.readouterr().err
    mixed = write_csv(tmp_path / "mixed.csv", small, "lon_rad,lat_deg")
    assert main(["test", mixed, "--lonlat"]) == 2
    told = "columns 'lon_rad' (radians) and 'lat_deg' (degrees) differ in their units"
    assert told in capsys.readouterr().err


def test_columns_of_unknown_names_are_taken_in_their_order_and_told(poles, tmp_path, capsys):
    path = write_csv(tmp_path / "named.csv", poles[1], "east,north")
    assert main(["test", path, "--lonlat", "--tests", "rayleigh"]) == 0
    told = "note: took 'east' for the longitude and 'north' for the other angle"
    assert told in capsys.readouterr().err
    assert main(["test", poles[0], "--lonlat", "--tests", "rayleigh"]) == 0
    assert main(["test", path, "--lonlat", "--columns", "1,2", "--tests", "rayleigh"]) == 0
    assert "took" not in capsys.readouterr().err


def test_the_numbers_a_data_frame_gives_its_rows_are_no_coordinate(tmp_path, capsys):
    x = 2 * random_points(20, 3, rng=0)
    rows = np.column_stack([np.random.default_rng(0).permutation(20), x])
    path = write_csv(tmp_path / "frame.csv", rows, ",x,y,z")
    assert main(["test", path, "--normalize", "--tests", "rayleigh"]) == 0
    captured = capsys.readouterr()
    assert "20 points in R^3" in captured.out
    assert "note: left out column 1" in captured.err
    assert main(["test", path, "--normalize", "--columns", "1,2,3,4", "--tests", "rayleigh"]) == 0
    assert "20 points in R^4" in capsys.readouterr().out


@pytest.mark.parametrize("first", [",,", "NA,NA,NA"])
def test_a_first_row_without_numbers_or_names_is_a_point_that_is_missing(first, tmp_path, capsys):
    path = tmp_path / "points.csv"
    path.write_text(f"{first}\n1,0,0\n0,1,0\n0,0,1\n")
    code, message = refused(capsys, str(path), "--tests", "rayleigh")
    assert code == 3
    assert "1 of the 4 points" in message
    assert answer(capsys, str(path), "--tests", "rayleigh", "--drop-missing")[1]["n"] == 3


def test_missing_numbers_are_refused_or_dropped(tmp_path, capsys):
    path = tmp_path / "x.csv"
    path.write_text("lon,lat\n10,20\n,30\n40,NA\n300,-5\n120,60\n")
    code, message = refused(capsys, str(path), "--lonlat")
    assert code == 3
    assert "2 of the 5 points" in message
    assert "--drop-missing" in message
    code, content = answer(capsys, str(path), "--lonlat", "--drop-missing", "--tests", "rayleigh")
    assert (code, content["n"]) == (0, 3)


@pytest.mark.parametrize(
    ("text", "options", "code", "message"),
    [
        ("1,2\n3,4\n", (), 3, "points must have norm 1"),
        ("1,0\n0,0\n", (), 3, "point 2 is the zero vector"),
        ("1\n2\n", (), 2, "say --angles"),
        ("1,0,x\n0,1,0\n1,0,0\n", (), 3, "row 1 of"),
        ("x,y\n0,1\n1,zero\n", (), 3, "has 'zero' in column y"),
        ("lon,lat\n1,0.5\n", ("--lonlat",), 2, "may be radians. Say --radians or --degrees"),
        ("lon,lat\n10,95\n", ("--lonlat",), 3, "latitude must lie between -90 and 90"),
        ("lon,lat\n10,-5\n", ("--colatitude", "--columns", "lon,lat"), 3, "colatitude must lie"),
        ("a,b\n10,20\n", ("--lonlat", "--columns", "a,c"), 2, "no column 'c'; columns are a, b"),
        ("a,b,c\n10,20,3\n", ("--lonlat",), 2, "--lonlat takes 2 columns; got 3"),
        ("1,0\n0\n", (), 3, "row 2 of"),
        ("", (), 3, "holds no rows"),
        ("x,y\n", (), 3, "a header and no rows"),
        ("x,y\n1,0\n", (), 3, "holds one point"),
        ("x;y\n0,6;0,8\n1,0;0,0\n", (), 3, "holds no numbers; '0,6' is none: write a decimal"),
        ("a,b\nc,d\n", (), 3, "holds no numbers"),
        ("1,0\n0,1\n", ("--degrees",), 2, "--degrees is for --lonlat"),
        ("1,0\n0,1\n", ("--tests", "rayleig"), 2, "Did you mean 'rayleigh'"),
        ("1,0\n0,1\n", ("--tests", "riesz:t=1"), 2, "has no parameter 't'; it takes"),
        ("1,0\n0,1\n", ("--tests", "riesz:s"), 2, "as name:key=value"),
        ("1,0\n0,1\n", ("--tests", "riesz:s=a"), 2, "s must be a number"),
        ("1,0\n0,1\n", ("--tests", "all,rayleigh"), 2, "names or all, not both"),
        ("1,0,0\n0,1,0\n", ("--tests", "kuiper"), 2, "circle"),
        ("1,0\n0,1\n", ("--alpha", "5"), 2, "--alpha must lie strictly between 0 and 1"),
        ("1,0\n0,1\n", ("--picture", "a.gif"), 2, "--picture must end in .png"),
        ("1,0\n0,1\n", ("--picture", "no/such/a.png"), 2, "folder 'no/such' does not exist"),
        ("1,0\n0,1\n", ("--array", "x"), 2, "--array names an array of an .npz file"),
        ("1,0\n0,1\n", ("-d", "3"), 2, "-d goes with --list"),
        ("1,0\n0,1\n", ("--resamples", "0", "--tests", "rayleigh"), 2, "n_resamples"),
    ],
)
def test_bad_input_is_named(text, options, code, message, tmp_path, capsys):
    path = tmp_path / "x.csv"
    path.write_text(text)
    given, said = refused(capsys, str(path), *options)
    assert (given, message in said) == (code, True), said
    assert said.startswith("sphuni: error: ")


def test_bad_arrays_are_named(tmp_path, capsys):
    for name, value, message in (
        ("a", np.ones((2, 3, 2)), "must hold real numbers of shape"),
        ("b", np.array([["x"]]), "must hold real numbers of shape"),
        ("c", np.array([{}], dtype=object), "cannot read"),
    ):
        path = tmp_path / f"{name}.npy"
        np.save(path, value)
        assert refused(capsys, str(path))[0] == 3
        assert message in refused(capsys, str(path))[1]
    np.savez(tmp_path / "m.npz", u=np.eye(2), v=np.eye(2))
    assert "choose one by --array: u, v" in refused(capsys, str(tmp_path / "m.npz"))[1]
    assert "has no array 'w'" in refused(capsys, str(tmp_path / "m.npz"), "--array", "w")[1]
    (tmp_path / "bad.npy").write_bytes(b"nonsense")
    assert refused(capsys, str(tmp_path / "bad.npy"))[0] == 3
    whole = (tmp_path / "m.npz").read_bytes()
    for damaged in (whole[:-40], whole[:60], whole[:150] + b"x" + whole[151:]):
        (tmp_path / "cut.npz").write_bytes(damaged)
        code, message = refused(capsys, str(tmp_path / "cut.npz"), "--array", "u")
        assert (code, message[:42]) == (3, f"sphuni: error: cannot read '{tmp_path}"[:42])
    (tmp_path / "huge.csv").write_text(f"1,0\n0,{'1' * 200_000}\n")
    code, message = refused(capsys, str(tmp_path / "huge.csv"))
    assert code == 3
    assert "huge.csv' as a table: field larger than" in message
    (tmp_path / "bad.csv").write_bytes(b"\xff\xfe\x00")
    assert "as text" in refused(capsys, str(tmp_path / "bad.csv"))[1]
    assert refused(capsys, str(tmp_path / "missing.csv"))[0] == 3


def test_arrays_that_claim_more_than_their_file_holds_are_refused(tmp_path, capsys):
    header = io.BytesIO()
    layout = {"descr": "<f8", "fortran_order": False, "shape": (10**8, 500)}
    np.lib.format.write_array_header_1_0(header, layout)
    (tmp_path / "claim.npy").write_bytes(header.getvalue() + bytes(100))
    code, message = refused(capsys, str(tmp_path / "claim.npy"))
    assert (code, "claims 400000000000 bytes and the file holds 100" in message) == (3, True)
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", header.getvalue() + bytes(80 << 20))
    code, message = refused(capsys, str(path))
    assert (code, "more than max_ratio=100 times" in message) == (3, True)


@pytest.mark.parametrize("scale", [1e200, 1e-200])
def test_rows_are_scaled_to_length_one_from_any_length(scale, tmp_path, capsys):
    rows = random_points(20, 3, rng=0)
    np.save(tmp_path / "x.npy", rows)
    np.save(tmp_path / "y.npy", rows * scale)
    plain, scaled = (
        answer(capsys, str(tmp_path / name), "--tests", FAST, "--normalize")[1]
        for name in ("x.npy", "y.npy")
    )
    for a, b in zip(plain["tests"], scaled["tests"], strict=True):
        assert a["statistic"] == pytest.approx(b["statistic"], rel=1e-12)


def test_no_file_is_bad_usage(capsys):
    code, message = refused(capsys)
    assert code == 2
    assert "give a file of points, or --list" in message


def test_picture(poles, tmp_path, capsys):
    target = tmp_path / "p.png"
    options = ("--lonlat", "--tests", FAST, "--alpha", "0.05", "--picture", str(target))
    assert main(["test", poles[0], *options]) == 1
    assert target.read_bytes()[:4] == b"\x89PNG"
    capsys.readouterr()


def test_list_names_every_test(capsys):
    from sphuni.stats import available_tests

    assert main(["test", "--list", "-d", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    names = [info.name for info in available_tests(3)]
    assert [line.split()[0] for line in lines[::2]] == names
    about = dict(zip(names, zip(lines[::2], lines[1::2], strict=True), strict=True))
    assert "exact, asymptotic, monte-carlo" in about["rayleigh"][0]
    assert about["riesz"][1].startswith("    or energy; García-Portugués et al. 2023, doi:")
    assert main(["test", "--list", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert [test["name"] for test in content["tests"]] == [i.name for i in available_tests()]
    assert main(["test", "--list", "x.csv"]) == 2
    assert "--list takes no file" in capsys.readouterr().err


def test_cite(capsys):
    assert main(["cite", "bingham", "gine_fn"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("doi:10.1214/aos/1176343283" in line for line in lines) == 1
    assert main(["cite", "gine_fn", "--bibtex"]) == 0
    assert "author = {E. M. Gin{\\'{e}}}" in capsys.readouterr().out
    assert main(["cite", "kuiper", "--json"]) == 0
    entry = json.loads(capsys.readouterr().out)["tests"]["kuiper"][0]
    assert (entry["year"], entry["doi"]) == (1960, "10.1016/S1385-7258(60)50006-0")
    assert main(["cite", "nonsense"]) == 2
    assert "is not known" in capsys.readouterr().err
    assert main(["cite", "kuiper", "--json", "--bibtex"]) == 2
    assert "only one of" in capsys.readouterr().err
