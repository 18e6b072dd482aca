import dataclasses
import functools
import json
import os
import pty
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import sphuni.analysis
from sphuni._errors import BudgetError, RefusedFileError
from sphuni.analysis.report import ModelReport, Progress
from sphuni.cli import __main__, _output
from sphuni.cli.__main__ import main

sys.path.append(str(Path(__file__).parents[1] / "analysis"))
import sample_reports


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("reports") / "report.json"
    sample_reports.small().to_json(path)
    return str(path)


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("reports") / "good.json"
    sample_reports.model((sample_reports.layer("fine.weight"),)).to_json(path)
    return str(path)


@pytest.fixture
def analyse(monkeypatch):
    """Replace the analysis by a function of the test's choice; returns the calls made."""
    calls = []

    def install(result):
        def analyze(path, **options):
            calls.append((path, options))
            if isinstance(result, BaseException):
                raise result
            return result

        monkeypatch.setattr(sphuni.analysis, "analyze", analyze, raising=False)
        return calls

    return install


def run(*arguments: str, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "sphuni.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


@pytest.mark.parametrize("command", [[], ["analyze"], ["compare"], ["doctor"]])
def test_help_loads_nothing_heavy(command):
    code = (
        "import sys\nfrom sphuni.cli.__main__ import main\n"
        f"code = main({[*command, '--help']!r})\n"
        "heavy = {'torch', 'numpy', 'scipy', 'matplotlib', 'rich', 'jinja2'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "usage: sphuni" in done.stdout


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("sphuni 0.")


@pytest.mark.parametrize("arguments", [[], ["fly"], ["analyze"], ["analyze", "a", "--nope"]])
def test_bad_usage_exits_with_2(arguments, capsys):
    assert main(arguments) == 2
    assert "usage: sphuni" in capsys.readouterr().err


def test_table_goes_to_stdout_and_nothing_else(good, capsys):
    assert main(["analyze", good]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{ModelReport.from_json(good)}\n"
    assert captured.err == ""


def test_failed_layers_exit_with_4(saved, capsys):
    assert main(["analyze", saved]) == 4
    assert "failed head.weight: row 3 holds NaN" in capsys.readouterr().out


def test_all_outputs_are_written(good, tmp_path, capsys):
    files = [tmp_path / name for name in ("a.html", "a.json", "a.csv")]
    options = [f"--{path.suffix[1:]}={path}" for path in files]
    assert main(["analyze", good, *options]) == 0
    report = ModelReport.from_json(good)
    texts = [path.read_text() for path in files]
    assert texts == [report.to_html(), report.to_json(), report.to_csv()]
    assert capsys.readouterr().out.startswith("model.safetensors")


def test_dash_prints_only_json(good, capsys):
    assert main(["analyze", good, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == "sphuni.report"


def test_dash_prints_only_csv(good, capsys):
    assert main(["analyze", good, "--csv", "-"]) == 0
    assert capsys.readouterr().out == ModelReport.from_json(good).to_csv()


def test_two_dashes_are_refused(good, capsys):
    assert main(["analyze", good, "--csv", "-", "--json", "-"]) == 2
    assert "only one of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--json", "{}"], "--json and the input"),
        (["--csv", "./{}"], "--csv and the input"),
        (["--html", "a.x", "--csv", "a.x"], "--csv and --html"),
    ],
)
def test_no_file_is_written_over_another(good, options, names, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("model.json").write_text(Path(good).read_text())
    before = Path("model.json").read_bytes()
    given = [option.format("model.json") for option in options]
    assert main(["analyze", "model.json", *given]) == 2
    assert f"{names} name the same file" in capsys.readouterr().err
    assert Path("model.json").read_bytes() == before


def sharded(folder: Path) -> Path:
    """A hub's cache of one model in two shards, whose files are links to blobs."""
    snapshot = folder / "models--a--b" / "snapshots" / "c"
    blobs = folder / "models--a--b" / "blobs"
    for made in (snapshot, blobs):
        made.mkdir(parents=True)
    names = ["m-1.safetensors", "m-2.safetensors"]
    table = {f"{name}.weight": name for name in names}
    for key, name in table.items():
        save_file({key: np.random.default_rng(0).standard_normal((8, 4))}, blobs / name[:3])
        (snapshot / name).symlink_to(f"../../blobs/{name[:3]}")
    index = snapshot / "m.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": table}))
    return snapshot


@pytest.mark.parametrize("given", ["repository", "snapshot", "index"])
@pytest.mark.parametrize("target", ["shard", "index", "blob", "soft link", "hard link", "old.bin"])
def test_no_file_that_a_folder_or_an_index_leads_to_is_written_over(
    given, target, tmp_path, capsys
):
    snapshot = sharded(tmp_path)
    blob = snapshot.parents[1] / "blobs" / "m-1"
    index = snapshot / "m.safetensors.index.json"
    (tmp_path / "soft.json").symlink_to(snapshot / "m-1.safetensors")
    (tmp_path / "hard.json").hardlink_to(blob)
    (snapshot / "old.bin").write_bytes(b"other weights")
    path = {
        "shard": snapshot / "m-2.safetensors", "index": index, "blob": blob,
        "soft link": tmp_path / "soft.json", "hard link": tmp_path / "hard.json",
        "old.bin": snapshot / "old.bin",
    }[target]  # fmt: skip
    before = path.read_bytes()
    model = {"repository": snapshot.parents[1], "snapshot": snapshot, "index": index}[given]
    for command in (["analyze", str(model)], ["compare", str(model), str(model)]):
        assert main([*command, "--json", str(path)]) == 2
        assert "--json and the input name the same file" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_reports_may_be_written_again_into_the_folder_of_the_model(tmp_path, capsys):
    snapshot = sharded(tmp_path)
    for _ in range(2):
        files = [f"--{kind}={snapshot / f'report.{kind}'}" for kind in ("json", "html", "csv")]
        assert main(["analyze", str(snapshot), *files]) == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    "command",
    [
        ["analyze", "m.pt", "--html", "-"],
        ["compare", "a.pt", "b.pt", "--html", "-"],
        ["optimize", "log", "-n", "5", "--formats", "none", "--checkpoint", "-"],
    ],
)
def test_a_dash_is_no_file_name(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(command) == 2
    assert "cannot go to standard output; name a file" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["analyze", ""], "the path of the input is empty"),
        (["compare", "m.pt", ""], "the path of the input is empty"),
        (["test", ""], "the path of the input is empty"),
        (["analyze", "m.pt", "--html", ""], "--html is empty"),
        (["optimize", "log", "-n", "5", "--out", ""], "--out must be the name of the files"),
        (["optimize", "log", "-n", "5", "--out", "a/"], "--out must be the name of the files"),
    ],
)
def test_an_empty_name_is_no_folder(command, message, good, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("model.json").write_text(Path(good).read_text())
    Path("a").mkdir()
    assert main(command) == 2
    assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "model.json"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
def test_a_full_disk_costs_no_other_output(good, tmp_path, capsys):
    table = tmp_path / "a.csv"
    assert main(["analyze", good, "--html", "/dev/full", "--csv", str(table)]) == 3
    captured = capsys.readouterr()
    assert captured.out.startswith("model.safetensors")
    assert captured.err == "sphuni: error: cannot write '/dev/full': No space left on device\n"
    assert table.read_text() == ModelReport.from_json(good).to_csv()
    assert main(["compare", good, good, "--html", "/dev/full"]) == 3
    assert "1 the same" in capsys.readouterr().out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
def test_a_full_standard_output_is_named(good):
    command = [sys.executable, "-m", "sphuni.cli", "analyze", good]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 3
    assert "cannot write to standard output: No space left on device" in done.stderr


def test_models_without_a_common_layer_are_said_to_have_none(tmp_path, capsys):
    paths = [str(tmp_path / f"{name}.safetensors") for name in "ab"]
    for name, path in zip("ab", paths, strict=True):
        save_file({f"{name}.weight": np.eye(3, 5)}, path)
    assert main(["compare", *paths]) == 0
    assert "no layer of the one has the name of a layer of the other" in capsys.readouterr().err
    assert main(["compare", paths[0], paths[0]]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "option",
    [
        ["--layers", "a*"], ["--baseline", "init"], ["--center"], ["--remove-top", "2"],
        ["--seed", "3"],
    ],
)  # fmt: skip
def test_what_a_saved_report_cannot_do_is_refused(good, option, capsys):
    for command in (["analyze", good], ["compare", good, good]):
        assert main([*command, *option]) == 2
        message = capsys.readouterr().err
        assert f"is a saved report, which {option[0]} cannot change" in message


def test_a_model_is_compared_as_the_saved_report_was_made(good, analyse, tmp_path, capsys):
    centred = tmp_path / "centred.json"
    report = ModelReport.from_json(good)
    dataclasses.replace(report, settings={"center": True, "heads": {"*": 2}}).to_json(centred)
    calls = analyse(dataclasses.replace(report, settings={"center": True, "heads": {"*": 2}}))
    for command in (["m.pt", good, "--center"], [str(centred), "m.pt"]):
        assert main(["compare", *command]) == 2
        assert "so their numbers cannot be compared" in capsys.readouterr().err
    assert main(["compare", str(centred), "m.pt", "--center"]) == 2
    assert "heads={'*': 2} but this command has heads=None" in capsys.readouterr().err
    assert calls == []
    assert main(["compare", str(centred), "m.pt", "--center", "--heads", "2"]) == 0
    assert main(["compare", str(centred), good]) == 2
    assert "before has center=True but after has center=False" in capsys.readouterr().err


def test_of_a_saved_report_the_layers_asked_for_are_compared(analyse, tmp_path, capsys):
    layers = [sample_reports.layer(name) for name in ("a.weight", "b.weight")]
    whole, part = (sample_reports.model(tuple(layers[:count])) for count in (2, 1))
    path = tmp_path / "whole.json"
    whole.to_json(path)
    analyse(part)
    assert main(["compare", "m.pt", str(path), "--layers", "a*"]) == 0
    shown = capsys.readouterr().out
    assert "b.weight" not in shown
    assert "1 the same" in shown
    assert main(["compare", "m.pt", str(path), "--exclude", "*"]) == 2
    assert "leave no layer that the report" in capsys.readouterr().err


@pytest.mark.parametrize("names", [("stdout",), ("stderr",), ("stdin", "stdout", "stderr")])
def test_closed_streams_are_no_error(good, names, monkeypatch):
    for name in names:
        monkeypatch.setattr(sys, name, None)
    assert main(["analyze", good]) == 0
    assert main(["analyze", good, "--fail-on", "n > 10"]) == 1
    assert main(["analyze", "missing.pt"]) == 3
    assert main(["fly"]) == 2
    if "stdin" in names:
        assert main(["test", "-"]) == 3
    for name in names:
        getattr(sys, name).close()


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_a_process_with_closed_streams_ends_as_ever(good, closed, tmp_path):
    page = tmp_path / "a.html"
    command = f"{sys.executable} -m sphuni.cli analyze {good} --html {page} {closed}"
    assert subprocess.run(["bash", "-c", command], timeout=60).returncode == 0
    assert page.read_text() == ModelReport.from_json(good).to_html()


def test_top_limits_the_table(saved, capsys):
    main(["analyze", saved, "--top", "1"])
    assert "7 more layers not shown" in capsys.readouterr().out


def test_rule_that_fires_exits_with_1_and_names_the_layers(good, capsys):
    assert main(["analyze", good, "--fail-on", "n > 10"]) == 1
    assert "rule fired: n > 10: fine.weight" in capsys.readouterr().err


def test_rule_that_does_not_fire_exits_with_0(good):
    assert main(["analyze", good, "--fail-on", "n > 1e6", "--fail-on", "d < 2"]) == 0


def test_any_of_several_rules_fires(good):
    assert main(["analyze", good, "--fail-on", "n > 1e6", "--fail-on", "d > 2"]) == 1


def test_ctrl_c_before_a_subcommand_has_begun_shows_no_traceback(monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(__main__, "main", interrupted)
    monkeypatch.setattr(__main__.gc, "set_threshold", lambda *_: None)
    monkeypatch.setattr(__main__.atexit, "register", lambda *_: None)
    assert __main__.command() == 130


def test_a_rule_does_not_pass_where_there_is_no_layer_to_judge(tmp_path, capsys):
    path = tmp_path / "counts.safetensors"
    save_file({"counts": np.arange(12).reshape(3, 4)}, path)
    assert main(["analyze", str(path)]) == 0
    assert main(["analyze", str(path), "--fail-on", "max_cosine > 0.99"]) == 4
    assert "no layer was analysed, so --fail-on had nothing to judge" in capsys.readouterr().err


def test_bad_rule_is_found_before_the_analysis(analyse, capsys):
    calls = analyse(sample_reports.model(()))
    assert main(["analyze", "m.pt", "--fail-on", "max_cosin > 1"]) == 2
    assert "did you mean 'max_cosine'" in capsys.readouterr().err
    assert calls == []


@pytest.mark.parametrize("option", ["--html", "--json", "--csv"])
def test_bad_output_path_is_found_before_the_analysis(analyse, option, tmp_path, capsys):
    calls = analyse(sample_reports.model(()))
    assert main(["analyze", "m.pt", option, str(tmp_path / "no" / "a")]) == 2
    assert main(["analyze", "m.pt", option, str(tmp_path)]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert calls == []


def test_options_reach_the_analysis(analyse):
    calls = analyse(sample_reports.model((sample_reports.layer("a"),)))
    options = (
        "--layers a* --layers b* --exclude c --baseline init --center --remove-top 2 "
        "--heads vision*=16 --heads text*=32,8 --heads 12 --split-qkv"
    )
    assert main(["analyze", "m.pt", *options.split(), "--max-bytes", "1.5GiB", "--seed", "7"]) == 0
    assert main(["analyze", "m.pt", "--max-seconds", "2.5"]) == 0
    assert calls.pop()[1]["max_seconds"] == 2.5
    assert calls == [
        (
            "m.pt",
            {
                "layers": ["a*", "b*"],
                "exclude": ["c"],
                "baseline": "init",
                "center": True,
                "remove_top": 2,
                "heads": {"vision*": 16, "text*": [32, 8], "*": 12},
                "split_qkv": True,
                "max_bytes": 3 << 29,
                "max_seconds": 120.0,
                "rng": 7,
                "progress": None,
            },
        )
    ]


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (RefusedFileError("m.pt would run code"), 3, "error: m.pt would run code"),
        (BudgetError("needs 64 GiB"), 3, "error: needs 64 GiB"),
        (FileNotFoundError(2, "No such file", "m.pt"), 3, "No such file"),
        (ValueError("layers matched nothing"), 2, "error: layers matched nothing"),
        (ZeroDivisionError("oops"), 3, "unexpected ZeroDivisionError: oops"),
        (MemoryError(), 3, "error: MemoryError"),
        (RefusedFileError("\x1b[31mred\nnext"), 3, "\\x1b[31mred"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_errors_are_one_message_and_a_code(analyse, capsys, error, code, message):
    analyse(error)
    assert main(["analyze", "m.pt"]) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert "\x1b" not in captured.err
    assert captured.out == ""


def test_debug_shows_the_traceback(analyse, capsys):
    analyse(ZeroDivisionError("oops"))
    assert main(["analyze", "m.pt", "--debug"]) == 3
    assert "Traceback" in capsys.readouterr().err


def test_interrupted_analysis_writes_what_it_has(analyse, tmp_path, capsys):
    report = sample_reports.small()
    analyse(dataclasses.replace(report, partial=True, reason="interrupted after 3 layers"))
    path = tmp_path / "a.json"
    assert main(["analyze", "m.pt", "--json", str(path), "--fail-on", "n > 1"]) == 130
    captured = capsys.readouterr()
    assert ModelReport.from_json(path).partial
    assert "PARTIAL REPORT: interrupted after 3 layers" in captured.out
    assert "partial report" in captured.err


def test_warnings_are_short_remarks(monkeypatch, capsys):
    def analyze(path, **options):
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("jitter acted", stacklevel=1)
            warnings.warn("jitter acted", stacklevel=1)
        return sample_reports.model(())

    monkeypatch.setattr(sphuni.analysis, "analyze", analyze, raising=False)
    main(["analyze", "m.pt"])
    assert capsys.readouterr().err == "sphuni: note: jitter acted\n"
    main(["analyze", "m.pt", "--quiet"])
    assert capsys.readouterr().err == ""


def test_compare_prints_the_table(saved, good, capsys):
    assert main(["compare", saved, good]) == 4
    assert "before: model.safetensors" in capsys.readouterr().out


def test_compare_writes_its_files(good, tmp_path):
    page, data = tmp_path / "a.html", tmp_path / "a.json"
    assert main(["compare", good, good, "--html", str(page), "--json", str(data)]) == 0
    assert "0 got a better verdict" in page.read_text()
    assert json.loads(data.read_text())["schema"] == "sphuni.comparison"


def test_compare_json_alone_is_json(good, capsys):
    assert main(["compare", good, good, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["summary"]["same"] == 1


def test_compare_stops_at_an_interrupted_first_model(analyse, capsys):
    calls = analyse(dataclasses.replace(sample_reports.small(), partial=True))
    assert main(["compare", "a.pt", "b.pt"]) == 130
    assert len(calls) == 1
    assert "nothing to compare" in capsys.readouterr().err


def test_doctor_names_versions_and_engines(capsys):
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["missing"] == []
    assert found["engines"]["reference"] == "available"
    assert main(["doctor"]) == 0
    assert found["versions"]["torch"] in capsys.readouterr().out


def test_doctor_looks_for_all_that_is_required():
    from importlib import metadata

    from sphuni.cli import doctor

    required = [text for text in metadata.requires("sphuni") or () if "extra ==" not in text]
    names = {re.match(r"[\w-]+", text)[0] for text in required}
    assert names == set(doctor._REQUIRED)


def test_doctor_reports_what_is_missing(monkeypatch, capsys):
    from sphuni.cli import doctor

    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "scipy" else "1")
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    assert main(["doctor"]) == 4
    out = capsys.readouterr().out
    assert "MISSING: pip install scipy" in out
    assert "install g++ or set CXX" in out


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("500M", 500 << 20), ("2GiB", 2 << 30), ("1.5 kb", 1536), ("1T", 1 << 40)],
)
def test_sizes(text, size):
    assert _output.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1", "x", "1 Q", "nan", "9" * 400, "1e9"])
def test_bad_sizes(text, capsys):
    assert main(["analyze", "m.pt", f"--max-bytes={text}"]) == 2
    assert "expected a number of bytes" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "0", "-1", "x", "inf", "nan"])
def test_bad_seconds(text, capsys):
    assert main(["analyze", "m.pt", f"--max-seconds={text}"]) == 2
    assert "expected a positive number of seconds" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "0", "x", "a=", "a=-1", "1.5", "4,", "4,0", "4,2,2"])
def test_bad_heads(text, capsys):
    assert main(["analyze", "m.pt", f"--heads={text}"]) == 2
    assert "expected a number of heads such as 12" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["-1", "1.5", "x", "9" * 30])
def test_bad_counts(text, capsys):
    assert main(["analyze", "m.pt", f"--remove-top={text}"]) == 2
    assert "expected a whole number" in capsys.readouterr().err


def test_progress_line_shows_bar_time_left_and_layer():
    progress = Progress(done=3, total=12, name="a" * 500 + "\x1b", fraction=0.25, seconds=30.0)
    line = _output.ProgressLine.render(progress, 80)
    assert "█████░" in line
    assert "3/12  1:30 left" in line
    assert len(line) < 80
    assert "\x1b" not in line
    assert "estimating" in _output.ProgressLine.render(Progress(done=0, total=2), 80)
    slow = Progress(done=1, total=2, fraction=0.5, seconds=7322.0)
    assert "2:02:02 left" in _output.ProgressLine.render(slow, 80)


@pytest.mark.parametrize("width", [1, 10, 20, 30, 40, 50, 60, 79])
def test_progress_line_never_reaches_the_edge_where_it_would_break(width):
    progress = Progress(done=1234, total=5678, name="layer" * 9, fraction=0.5, seconds=7322.0)
    line = _output.ProgressLine.render(progress, width)
    assert len(line) < width
    assert "1234/5678" in line or width < 12


def test_progress_is_drawn_and_removed_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)

    def analyze(path, *, progress, **options):
        progress(Progress(done=1, total=2, name="layer.one", fraction=0.5, seconds=1.0))
        return sample_reports.model(())

    monkeypatch.setattr(sphuni.analysis, "analyze", analyze, raising=False)
    assert main(["analyze", "m.pt"]) == 0
    err = capsys.readouterr().err
    assert "1/2" in err
    assert "layer.one" in err
    assert err.endswith("\r\x1b[K")
    assert main(["analyze", "m.pt", "--debug"]) == 0


def test_closed_pipe_is_no_error(saved):
    command = f"{sys.executable} -m sphuni.cli analyze {saved} --json -"
    code = f"{command} | head -c 10; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.endswith("4\n")


def test_ascii_terminal_gets_escapes_not_a_crash(good):
    done = run("analyze", good, env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert done.returncode == 0
    assert "\\xd7" in done.stdout


def test_colour_only_on_a_terminal_and_never_with_no_color(good):
    outputs = {}
    for value in ("", "1"):
        env = {**os.environ, "TERM": "xterm-256color", "NO_COLOR": value, "COLUMNS": "120"}
        leader, follower = pty.openpty()
        command = [sys.executable, "-m", "sphuni.cli", "analyze", good]
        process = subprocess.Popen(command, stdout=follower, stderr=follower, env=env)
        os.close(follower)
        outputs[value] = b""
        while chunk := read_terminal(leader):
            outputs[value] += chunk
        assert process.wait(timeout=60) == 0
        os.close(leader)
    assert b"\x1b[32m" in outputs[""]
    assert b"\x1b[3" not in outputs["1"]
    assert b"fine.weight" in outputs["1"]


def read_terminal(leader: int) -> bytes:
    """Read from a pseudo-terminal; its end is an error on Linux."""
    try:
        return os.read(leader, 65536)
    except OSError:
        return b""


def test_ctrl_c_ends_with_130(tmp_path):
    fifo = tmp_path / "slow.json"
    os.mkfifo(fifo)
    command = [sys.executable, "-m", "sphuni.cli", "analyze", str(fifo)]
    # a job in the background of a shell ignores Ctrl-C, and so would what it starts
    heeds = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heeds)
    writer = os.open(fifo, os.O_WRONLY)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    os.close(writer)
    assert process.returncode == 130
    assert err == "sphuni: interrupted; nothing was written\n"


def test_a_search_that_is_to_go_on_says_where_there_is_no_checkpoint(tmp_path, capsys):
    kept = tmp_path / "kept.npz"
    words = ["optimize", "thomson", "-n", "7", "--restarts", "1", "--formats", "none", "--resume"]
    words += ["--checkpoint", str(kept)]
    assert main([*words, "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    assert main(words) == 0
    assert capsys.readouterr().err == ""
    kept.unlink(missing_ok=True)
    assert main(words) == 0
    said = capsys.readouterr().err
    assert said == f"sphuni: note: there is no {str(kept)!r} to go on from\n"


@pytest.mark.parametrize("option", ["-n=-1", "-n=0", "-d=-3", "-d=x"])
def test_records_of_sizes_that_cannot_be_are_refused(option, capsys):
    assert main(["records", "thomson", option]) == 2
    assert "expected a whole number, 1 or more" in capsys.readouterr().err


def test_one_point_is_no_plural(capsys):
    for option, what in ((), "1 point"), (("--antipodal",), "1 line"):
        assert main(["optimize", "thomson", "-n", "1", "--formats", "none", *option]) == 0
        assert capsys.readouterr().out.startswith(f"thomson: {what} in R^3\n")


def test_optimize_says_what_it_could_not_write(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["optimize", "thomson", "-n", "5", "-d", "4", "--restarts", "1"]
    assert main([*words, "--formats", "png,html,npz,npz"]) == 0
    captured = capsys.readouterr()
    stem = "thomson-n5-d4"
    assert captured.err == "".join(
        f"sphuni: note: {stem}.{suffix} was not written: pictures are drawn for d = 3\n"
        for suffix in ("png", "html")
    )
    assert f"files            {stem}.npz\n" in captured.out
    assert [path.name for path in tmp_path.iterdir()] == [f"{stem}.npz"]
    assert main([*words, "--formats", "png", "--quiet"]) == 0
    assert main(words) == 0
    assert capsys.readouterr().err == ""
    assert main(["optimize", "thomson", "-n", "3", "--formats", "svg,obj"]) == 0
    said = capsys.readouterr().err
    assert "svg was not written: pictures are drawn of 4 points or more" in said
    assert "obj was not written: a mesh needs at least 4 points" in said


def test_optimize_shows_what_it_found_though_a_file_fails(tmp_path, monkeypatch, capsys):
    from sphuni.cli import optimize as command

    monkeypatch.chdir(tmp_path)
    write = command._write

    def full(result, path):
        if path.suffix == ".csv":
            raise OSError(28, "No space left on device")
        return write(result, path)

    monkeypatch.setattr(command, "_write", full)
    words = ["optimize", "thomson", "-n", "5", "--restarts", "1", "--formats", "csv,npz"]
    assert main([*words, "--json"]) == 3
    captured = capsys.readouterr()
    assert json.loads(captured.out)["files"] == ["thomson-n5-d3.npz"]
    assert "cannot write 'thomson-n5-d3.csv': No space left" in captured.err
    assert [path.name for path in tmp_path.iterdir()] == ["thomson-n5-d3.npz"]


@pytest.mark.parametrize("name", ["", "file", "file/deeper"])
def test_train_refuses_a_file_for_a_folder(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("kept")
    assert main(["train", "conditioning", "--seeds", "1", "--out", name]) == 2
    assert f"--out must name a folder; got {name!r}" in capsys.readouterr().err
    assert Path("file").read_text() == "kept"


def test_train_refuses_a_page_without_a_marked_place(tmp_path, monkeypatch, capsys):
    from sphuni.training import archive

    monkeypatch.setattr(archive, "read_results", lambda path: [])
    page = tmp_path / "page.md"
    page.write_text("# A page\n")
    assert main(["train", "--table", str(tmp_path), "--write", str(page)]) == 2
    assert "has no place marked <!-- sphuni train:" in capsys.readouterr().err
    assert page.read_text() == "# A page\n"
    place = tmp_path / "place.md"
    place.write_text("<!-- sphuni train: digits -->\n<!-- end -->\n")
    pages = [str(page), str(place)]
    assert main(["train", "--table", str(tmp_path), "--write", *pages]) == 0
    assert f"{page}: no place marked" in capsys.readouterr().err
    assert page.read_text() == "# A page\n"


def test_entry_point_is_installed():
    script = Path(sys.executable).parent / "sphuni"
    done = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("sphuni 0.")


def test_files_of_a_model_folder_are_not_written_over(tmp_path, capsys):
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({"w": np.random.default_rng(0).standard_normal((9, 4))}, folder / "model.safetensors")
    config, report = folder / "config.json", folder / "report.json"
    config.write_text('{"hidden_size": 4}')
    for command in (["analyze", str(folder)], ["compare", str(folder), str(folder)]):
        assert main([*command, "--json", str(config)]) == 2
        assert "--json and the input name the same file" in capsys.readouterr().err
        assert main([*command, "--json", str(report), "--quiet"]) == 0
        assert main([*command, "--json", str(report), "--quiet"]) == 0
    assert config.read_text() == '{"hidden_size": 4}'


def test_options_are_not_guessed_from_their_first_letters(capsys):
    assert main(["analyze", "nosuch.npz", "--cent"]) == 2
    assert "unrecognized arguments: --cent" in capsys.readouterr().err
    assert main(["records", "riesz", "--s", "x"]) == 2
    assert "argument -s/--s: invalid float value: 'x'" in capsys.readouterr().err


def test_the_entry_imports_next_to_nothing_before_it_can_be_interrupted():
    code = "import sys; import sphuni.cli.__main__; print('argparse' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_help_tells_when_there_was_nothing_to_judge(capsys):
    assert main(["--help"]) == 0
    assert "no layer for a rule to judge" in " ".join(capsys.readouterr().out.split())
