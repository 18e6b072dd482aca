import errno
import gzip
import json
import os
import re
from pathlib import Path

import pytest

from sphuni.cli.__main__ import main
from sphuni.training import plan, ranks


@pytest.fixture
def config(tiny_text, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(tiny_text)
    return str(path)


def test_an_experiment_of_ones_own_from_run_to_page(config, tmp_path, capsys):
    out, logs, page = tmp_path / "runs", tmp_path / "logs", tmp_path / "page.md"
    command = ["train", config, "--seeds", "1", "--out", str(out), "--quiet", "--device", "cpu"]
    assert main(command) == 0
    first = capsys.readouterr().out
    assert "it helps" in first
    assert main(command) == 0
    assert capsys.readouterr().out == first
    page.write_text("<!-- sphuni train: tiny -->\n<!-- end -->\n")
    table = ["train", "--table", str(out), "--pack", str(logs), "--write", str(page), "--quiet"]
    assert main(table) == 0
    assert capsys.readouterr().out == first
    assert "| method |" in page.read_text()
    assert main(["train", "--table", str(logs), "--json"]) == 0
    assert shown("comparisons", capsys)[0]["experiment"] == "tiny"


def shown(what, capsys):
    content = json.loads(capsys.readouterr().out)
    assert (content["schema"], content["version"]) == (f"sphuni.{what}", 1)
    return content[what]


def test_an_experiment_goes_on_from_its_packed_log(config, tmp_path, capsys, monkeypatch):
    here, there, logs = tmp_path / "here", tmp_path / "there", tmp_path / "logs"
    train = ["train", config, "--device", "cpu", "--quiet"]
    assert main([*train, "--seeds", "1", "--out", str(here)]) == 0
    assert main(["train", "--table", str(here), "--pack", str(logs), "--quiet"]) == 0
    capsys.readouterr()
    assert main(["train", "--unpack", str(logs), "--out", str(there)]) == 0
    assert "tiny: wrote 2 runs\n" in capsys.readouterr().err
    assert main(["train", "--unpack", str(logs), "--out", str(there)]) == 0
    assert "tiny: wrote 0 runs, 2 were there\n" in capsys.readouterr().err
    trained = []
    whole = plan.run_task
    monkeypatch.setattr(plan, "run_task", lambda task: trained.append(task) or whole(task))
    assert main([*train, "--seeds", "2", "--out", str(there)]) == 0
    assert [task.seed for task in trained if not (here / "tiny" / run_of(task)).exists()] == [1, 1]
    assert main([*train, "--seeds", "2", "--out", str(here)]) == 0
    capsys.readouterr()
    for folder in (here, there):
        assert main(["train", "--table", str(folder), "--pack", str(folder), "--quiet"]) == 0
    first, second = (without_seconds(folder / "tiny.jsonl.gz") for folder in (here, there))
    assert first == second


def run_of(task):
    return task.folder.relative_to(task.folder.parents[2])


def without_seconds(log):
    return re.sub(r'"seconds":[\d.e-]+', "", gzip.decompress(log.read_bytes()).decode())


def test_a_log_of_other_settings_is_not_gone_on_from(config, tmp_path, capsys):
    out, logs, there = tmp_path / "out", tmp_path / "logs", tmp_path / "there"
    assert main(["train", config, "--seeds", "1", "--out", str(out), "--quiet"]) == 0
    assert main(["train", "--table", str(out), "--pack", str(logs), "--quiet"]) == 0
    assert main(["train", "--unpack", str(logs), "--out", str(there), "--quiet"]) == 0
    path = Path(config)
    path.write_text(path.read_text().replace("epochs = 3", "epochs = 4"))
    capsys.readouterr()
    assert main(["train", config, "--seeds", "1", "--out", str(there), "--quiet"]) != 0
    assert "training.epochs was 3 and is now 4" in capsys.readouterr().err


def test_a_log_is_not_put_beside_runs_with_other_settings(config, tmp_path, capsys):
    out, logs, there = tmp_path / "out", tmp_path / "logs", tmp_path / "there"
    path = Path(config)
    assert main(["train", config, "--seeds", "2", "--out", str(out), "--quiet"]) == 0
    assert main(["train", "--table", str(out), "--pack", str(logs), "--quiet"]) == 0
    path.write_text(path.read_text().replace("epochs = 3", "epochs = 4"))
    assert main(["train", config, "--seeds", "1", "--out", str(there), "--quiet"]) == 0
    capsys.readouterr()
    assert main(["train", "--unpack", str(logs), "--out", str(there), "--quiet"]) == 2
    assert "training.epochs was 4 and is now 3" in capsys.readouterr().err
    assert not list(there.glob("tiny/*/*/seed-1"))
    for path in out.glob("tiny/*/*/seed-0/result.json"):  # as an older version wrote them
        older = json.loads(path.read_text())
        del older["settings"]["kind"], older["settings"]["evaluation"]["every"]
        path.write_text(json.dumps(older))
    assert main(["train", "--unpack", str(logs), "--out", str(out)]) == 0
    assert "wrote 0 runs, 4 were there" in capsys.readouterr().err


def test_one_run_is_no_plural(config, tmp_path, capsys):
    runs, logs = str(tmp_path / "runs"), str(tmp_path / "logs")
    text = Path(config).read_text(encoding="utf-8")
    Path(config).write_text(text.partition('[[arm]]\nname = "rp-comhe"')[0], encoding="utf-8")
    assert main(["train", config, "--seeds", "1", "--out", runs]) == 0
    assert "\n1 run, 0.00 hours" in capsys.readouterr().out
    assert main(["train", "--table", runs, "--pack", logs, "--quiet"]) == 0
    assert main(["train", "--unpack", logs, "--out", str(tmp_path / "again")]) == 0
    assert capsys.readouterr().err.endswith("wrote 1 run\n")


def test_no_seeds_are_no_run(config, tmp_path, capsys):
    assert main(["train", config, "--seeds", "0", "--out", str(tmp_path)]) == 2
    assert "expected a whole number, 1 or more; got '0'" in capsys.readouterr().err


def test_the_list_names_what_is_missing(capsys, monkeypatch):
    monkeypatch.delenv("SPHUNI_DATA", raising=False)
    assert main(["train", "--list", "--json"]) == 0
    entries = {entry["name"]: entry for entry in shown("experiments", capsys)}
    assert entries["digits-regularizers"]["missing"] == {}
    assert main(["train", "--list"]) == 0
    assert "digits-regularizers: Twelve regularizers" in capsys.readouterr().out


def test_usage_errors(capsys, tmp_path):
    assert main(["train"]) == 2
    assert (
        "name one experiment, or give --list, --table PATH or --unpack PATH"
        in capsys.readouterr().err
    )
    assert main(["train", "digits-regulariser"]) == 2
    assert "did you mean 'digits-regularizers'" in capsys.readouterr().err
    assert main(["train", "--table", str(tmp_path)]) == 3
    assert "holds no results" in capsys.readouterr().err


def of_conditioning(tmp_path):
    path = tmp_path / "lemma.toml"
    path.write_text(
        'name = "lemma"\nkind = "conditioning"\nmetric = "kappa.decades"\n'
        "[options]\nscales = [1, 2]\nshapes = { a = [4, 5, 3] }\n"
        '[[case]]\nname = "a"\n[[arm]]\nname = "plain"\n'
    )
    return ["train", str(path), "--seeds", "1", "--out", str(tmp_path / "runs")]


def test_runs_that_processes_do_not_share_are_said_to_be_so(tmp_path, capsys, monkeypatch):
    command = of_conditioning(tmp_path)
    assert main(command) == 0
    alone = capsys.readouterr()
    assert alone.err == ""
    monkeypatch.setattr(ranks, "count", lambda: 3)
    assert main(command) == 0
    together = capsys.readouterr()
    assert together.out == alone.out
    assert "each of the 3 processes does the whole of every run; one process with" in together.err
    monkeypatch.setattr(ranks, "is_first", lambda: False)
    assert main(command) == 0
    assert capsys.readouterr() == ("", "")


def test_processes_stay_on_the_cpu_where_that_is_asked_for(tmp_path, monkeypatch):
    joined = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.distributed.init_process_group", joined.append)
    assert main([*of_conditioning(tmp_path), "--device", "cpu"]) == 0
    assert joined == ["gloo"]


def test_all_data_missing(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("SPHUNI_DATA", raising=False)
    path = tmp_path / "x.toml"
    path.write_text('name = "x"\n[data]\nname = "svhn"\n[[arm]]\nname = "a"\n')
    assert main(["train", str(path), "--out", str(tmp_path / "runs")]) == 3
    assert "needs svhn.npz" in capsys.readouterr().err


def test_a_run_prints_its_tables_as_asked(config, tmp_path, capsys):
    command = ["train", config, "--seeds", "1", "--out", str(tmp_path / "runs"), "--quiet"]
    assert main([*command, "--json"]) == 0
    assert shown("comparisons", capsys)[0]["experiment"] == "tiny"
    assert main([*command, "--markdown"]) == 0
    assert "| method |" in capsys.readouterr().out


def test_every_experiment_is_named_above_its_tables(tmp_path, capsys):
    """The tables of several could not be told apart in Markdown."""
    text = (
        'kind = "conditioning"\nmetric = "kappa.decades"\nseeds = 2\n[options]\nscales = [1, 2]\n'
        "shapes.a = [3, 2, 2]\n[[case]]\nname = 'a'\n[[arm]]\nname = 'plain'\n"
    )
    for name, title in (("first", 'title = "A title"\n'), ("second", "")):
        path = tmp_path / f"{name}.toml"
        path.write_text(f'name = "{name}"\n{title}{text}')
        assert main(["train", str(path), "--out", str(tmp_path / "runs"), "--quiet"]) == 0
    capsys.readouterr()
    for option, before in (((), ""), (("--markdown",), "## ")):
        assert main(["train", "--table", str(tmp_path / "runs"), *option]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [f"{before}first: A title", f"{before}second"] == [
            line for line in lines if line.startswith((f"{before}first", f"{before}second"))
        ]


@pytest.mark.parametrize("option", ["--pack", "--plots", "--write"])
def test_options_of_tables_need_a_table(config, option, tmp_path, capsys):
    assert main(["train", config, "--out", str(tmp_path / "runs"), option, str(tmp_path)]) == 2
    assert f"{option} needs --table PATH" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [("--seeds", "1"), ("--workers", "2"), ("--threads", "2"), ("--device", "cpu"), ("--out", "x")],
)
def test_options_of_runs_need_an_experiment(config, option, value, capsys):
    assert main(["train", "--table", config, option, value]) == 2
    assert f"{option} is for the runs of an experiment" in capsys.readouterr().err


def test_tables_are_printed_in_one_form(config, tmp_path, capsys):
    command = ["train", config, "--out", str(tmp_path / "runs"), "--json", "--markdown"]
    assert main(command) == 2
    assert "only one of --markdown and --json" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_full_disk_is_said_to_be_that_of_the_folder(config, tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    out = tmp_path / "runs"
    monkeypatch.setattr("sphuni.training.checkpoint.write_bytes", full)
    assert main(["train", config, "--out", str(out), "--quiet"]) == 3
    assert capsys.readouterr().err == (
        f"sphuni: error: cannot write into {str(out)!r}: No space left on device; the same command "
        "goes on from the last checkpoint\n"
    )


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("foo", "must be auto, cpu, cuda, cuda:1, ...; got 'foo'"),
        ("cuda:99", "is not here"),
        ("meta", "is not here: "),
    ],
)
def test_a_device_that_is_not_here_is_bad_usage(config, device, message, tmp_path, capsys):
    assert main(["train", config, "--out", str(tmp_path), "--device", device]) == 2
    assert message in capsys.readouterr().err
