import json

import pytest

from sphuni.cli.__main__ import main


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
    assert json.loads(capsys.readouterr().out)[0]["experiment"] == "tiny"


def test_the_list_names_what_is_missing(capsys, monkeypatch):
    monkeypatch.delenv("SPHUNI_DATA", raising=False)
    assert main(["train", "--list", "--json"]) == 0
    entries = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert entries["digits-regularizers"]["missing"] == {}
    assert main(["train", "--list"]) == 0
    assert "digits-regularizers: Twelve regularizers" in capsys.readouterr().out


def test_usage_errors(capsys, tmp_path):
    assert main(["train"]) == 2
    assert "name one experiment, or give --list" in capsys.readouterr().err
    assert main(["train", "digits-regulariser"]) == 2
    assert "did you mean 'digits-regularizers'" in capsys.readouterr().err
    assert main(["train", "--table", str(tmp_path)]) == 3
    assert "holds no results" in capsys.readouterr().err


def test_all_data_missing(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("SPHUNI_DATA", raising=False)
    path = tmp_path / "x.toml"
    path.write_text('name = "x"\n[data]\nname = "svhn"\n[[arm]]\nname = "a"\n')
    assert main(["train", str(path), "--out", str(tmp_path / "runs")]) == 3
    assert "needs svhn.npz" in capsys.readouterr().err
