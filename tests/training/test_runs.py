import dataclasses
import gzip
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from sphuni._errors import UnreadableFileError
from sphuni.training import data, schema
from sphuni.training.archive import Results, pack, read_results
from sphuni.training.checkpoint import read_checkpoint, write_checkpoint
from sphuni.training.compare import compare
from sphuni.training.config import ModelConfig
from sphuni.training.curves import draw
from sphuni.training.loop import train
from sphuni.training.own import compare_methods
from sphuni.training.plan import missing_data, run_experiment
from sphuni.training.runner import CHECKPOINT, LOG, Task, read_result, run_folder, run_task
from sphuni.training.tables import as_dict, insert, markdown, overview, text, verdicts


def chosen_in(folder):
    return json.loads((folder / "chosen.json").read_text(encoding="utf-8"))


def task_of(experiment, folder, **changes):
    settings = dataclasses.replace(experiment.base, **changes)
    return Task(
        experiment="tiny", case="c", arm="a", seed=0, stage="final", candidate={},
        settings=settings, folder=folder,
    )  # fmt: skip


def log_without_times(folder):
    rows = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def start(task) -> int:
    """Run a task in a process of its own; its number."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            torch.set_num_threads(1)
            run_task(task)
            code = 0
        finally:
            os._exit(code)
    return child


def kill_repeatedly(task, kills, rng):
    """Kill the run that often, each time after it has got a little further; then let it end."""
    for _ in range(kills):
        child = start(task)
        epochs = len(log_without_times(task.folder)) if (task.folder / LOG).exists() else 0
        limit = time.monotonic() + 20
        while time.monotonic() < limit and os.waitpid(child, os.WNOHANG)[0] == 0:
            if (task.folder / LOG).exists() and len(
                (task.folder / LOG).read_text().splitlines()
            ) > epochs:
                break
            time.sleep(0.002)
        time.sleep(rng.random() * 0.03)
        try:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        except (ProcessLookupError, ChildProcessError):
            return
    child = start(task)
    assert os.waitpid(child, 0)[1] == 0


def check_killed_equals_whole(tiny, tmp_path, *, kills, epochs, seed):
    training = dataclasses.replace(tiny.base.training, epochs=epochs)
    regularizer = schema.settings_of(tiny, tiny.cases[0], tiny.arm("rp-comhe")).regularizer
    changes = {"training": training, "regularizer": regularizer}
    whole, killed = (
        task_of(tiny, tmp_path / name, **changes) for name in ("whole", f"killed-{seed}")
    )
    kill_repeatedly(whole, 0, random.Random(seed))  # in a process of one thread, as the others
    kill_repeatedly(killed, kills, random.Random(seed))
    assert log_without_times(killed.folder) == log_without_times(whole.folder)
    assert read_result(killed.folder).status == "done"
    assert not (killed.folder / CHECKPOINT).exists()
    assert [p.name for p in killed.folder.iterdir() if p.name.startswith(".")] == []


def test_a_run_that_is_killed_twice_goes_on_as_if_it_was_not(tiny, tmp_path):
    check_killed_equals_whole(tiny, tmp_path, kills=2, epochs=6, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_runs_killed_at_random_moments(tiny, tmp_path, seed):
    check_killed_equals_whole(tiny, tmp_path, kills=3, epochs=10, seed=seed)


def test_a_finished_run_is_not_repeated_and_other_settings_are_refused(tiny, tmp_path):
    task = task_of(tiny, tmp_path / "run")
    first = run_task(task)
    before = (tmp_path / "run" / "result.json").stat().st_mtime_ns
    assert run_task(task) == first
    assert (tmp_path / "run" / "result.json").stat().st_mtime_ns == before
    longer = dataclasses.replace(tiny.base.training, epochs=9)
    with pytest.raises(ValueError, match=r"training.epochs was 3 and is now 9.*--out"):
        run_task(task_of(tiny, tmp_path / "run", training=longer))


SELECT = """
[select]
seeds = 2
first = "baseline"
"""


def test_selection_sees_no_test_data_and_all_start_from_the_baseline(tiny_text, tmp_path):
    source = tiny_text + SELECT
    source = source.replace(
        '[[arm]]\nname = "baseline"\n',
        '[[arm]]\nname = "baseline"\n[arm.select]\n"optimizer.lr" = [0.05, 1e-6]\n',
    ).replace("C = 2 }\n", 'C = 2 }\n[arm.select]\n"regularizer.scale" = [0.5, 1.0]\n')
    experiment, seen = schema.parse(source), []
    finals = run_experiment(experiment, tmp_path, on_step=seen.append, source=source)
    assert [step.done for step in seen] == list(range(1, 13))
    assert {step.total for step in seen} == {12}
    selecting = [step.outcome for step in seen if step.outcome.stage == "select"]
    assert len(selecting) == 8
    assert all("test.error" not in row for outcome in selecting for row in outcome.rows)
    assert not {o.seed for o in selecting} & {o.seed for o in finals}
    chosen = chosen_in(tmp_path / "tiny")
    assert chosen["blobs/baseline"] == {"optimizer.lr": 0.05}
    assert chosen["blobs/rp-comhe"]["optimizer.lr"] == 0.05
    assert [(o.seed, o.arm) for o in finals][:2] == [(0, "baseline"), (0, "rp-comhe")]
    again = []
    run_experiment(experiment, tmp_path, on_step=again.append)
    assert not any(step.trained for step in again)


def test_the_record_of_old_results_is_kept_where_other_settings_are_refused(tiny_text, tmp_path):
    source = (tiny_text + SELECT).replace(
        '[[arm]]\nname = "baseline"\n',
        '[[arm]]\nname = "baseline"\n[arm.select]\n"optimizer.weight_decay" = [0.0, 0.01]\n',
    )

    folder, names = tmp_path / "tiny", ("experiment.toml", "chosen.json")

    def run(text):
        run_experiment(schema.parse(text), tmp_path, seeds=1, source=text)

    run(source)
    before = [(folder / name).read_bytes() for name in names]
    # the first is refused as selection begins, the second with the runs that count
    for change in (("lr = 0.05", "lr = 0.04"), ("[0.0, 0.01]", "[0.02]")):
        with pytest.raises(ValueError, match=r"optimizer\.\w+ was .* and is now"):
            run(source.replace(*change))
        assert [(folder / name).read_bytes() for name in names] == before
    run(source.replace("it helps", "it may help"))
    assert "it may help" in (folder / "experiment.toml").read_text()


def test_results_do_not_depend_on_the_number_of_seeds_asked_for(tiny, tmp_path):
    few = run_experiment(tiny, tmp_path, seeds=1)
    more = run_experiment(tiny, tmp_path, seeds=2)
    assert more[:2] == few
    assert len(more) == 4


def test_a_run_that_diverges_is_marked_and_the_others_go_on(tiny_text, tmp_path):
    source = tiny_text.replace("C = 2 }\n", "C = 2 }\n[arm.optimizer]\nlr = 1e38\n")
    experiment = schema.parse(source)
    run_experiment(experiment, tmp_path, source=source)
    (results,) = read_results(tmp_path)
    failed = [o for o in results.outcomes if o.status == "failed"]
    assert [o.arm for o in failed] == ["rp-comhe"] * 2
    assert "step" in failed[0].reason
    assert "layer" in failed[0].reason
    comparison = compare(results)
    assert comparison.failed == 2
    assert comparison.claims[0].verdict == "not run"
    assert "0 (2 diverged)" in text(comparison)


def test_two_processes_do_not_share_a_folder(tiny, tmp_path):
    import fcntl

    (tmp_path / "tiny").mkdir()
    with (tmp_path / "tiny" / ".lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="another process is at work"):
            run_experiment(tiny, tmp_path)


def test_cases_without_data_are_left_out(tiny_text, tmp_path, monkeypatch):
    monkeypatch.delenv("SPHUNI_DATA", raising=False)
    source = tiny_text + (
        "[[case]]\nname = 'here'\n[[case]]\nname = 'absent'\n[case.data]\nname = 'cora'\n"
    )
    experiment = schema.parse(source)
    assert list(missing_data(experiment, None)) == ["absent"]
    outcomes = run_experiment(experiment, tmp_path, seeds=1, source=source)
    assert {outcome.case for outcome in outcomes} == {"here"}
    (results,) = read_results(tmp_path)
    assert [row.verdict for row in compare(results).claims] == ["one seed", "not run"]


@pytest.fixture(scope="module")
def results(tiny_text, tmp_path_factory) -> Results:
    folder = tmp_path_factory.mktemp("runs")
    source = tiny_text.replace('track = "none"', 'track = "ends"')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sphuni.stats.nulls._null._MANY", 1_999)
        run_experiment(schema.parse(source), folder, source=source)
    (found,) = read_results(folder)
    return found


def test_packed_results_give_the_same_tables(results, tmp_path):
    path = pack(results, tmp_path)
    assert path.stat().st_size < 12_000
    assert path.read_bytes() == pack(results, tmp_path).read_bytes()
    (again,) = read_results(tmp_path)
    assert markdown(compare(again)) == markdown(compare(results))
    assert text(compare(again)) == text(compare(results))
    assert json.loads(json.dumps(as_dict(compare(again)), allow_nan=False))["runs"] == 4
    starts = [o.arm for o in again.outcomes for row in o.rows if row["epoch"] == 0]
    assert starts == ["baseline"] * 2


def test_damaged_logs_are_refused(results, tmp_path):
    path = pack(results, tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UnreadableFileError, match="is not a log of experiments"):
        read_results(path)
    path.write_bytes(gzip.compress(b'{"schema": "x"}\n'))
    with pytest.raises(UnreadableFileError, match="schema 'x'"):
        read_results(path)
    with pytest.raises(UnreadableFileError, match="holds no results"):
        read_results(tmp_path / "nothing")


def test_tables_say_what_the_runs_say(results):
    comparison = compare(results)
    baseline, method = comparison.cases[0].rows
    errors = {o.arm: [] for o in results.finals}
    for outcome in results.finals:
        errors[outcome.arm].append(outcome.last("test.error"))
    expected = [a - b for a, b in zip(errors["rp-comhe"], errors["baseline"], strict=True)]
    assert method.difference.mean == pytest.approx(sum(expected) / 2)
    assert baseline.mean == pytest.approx(sum(errors["baseline"]) / 2)
    claim = comparison.claims[0]
    assert claim.difference == method.difference
    assert claim.adjusted == pytest.approx(claim.difference.p, nan_ok=True)
    assert results.finals[0].last("test.accuracy") == 100 - results.finals[0].last("test.error")


def test_sources_are_numbered_and_missing_seeds_said(results):
    claim = dataclasses.replace(
        results.experiment.claims[0], source="a paper, table 1", paper_worse=9.0, paper_better=8.0
    )
    experiment = dataclasses.replace(results.experiment, claims=(claim,))
    shown = text(compare(dataclasses.replace(results, experiment=experiment)))
    assert "9 → 8 [1]" in shown
    assert "[1] a paper, table 1" in shown
    assert "Unfinished" not in shown
    longer = dataclasses.replace(results, experiment=dataclasses.replace(experiment, seeds=7))
    assert "Unfinished: 2 of 7 seeds" in text(compare(longer))
    begun = tuple(run for run in results.outcomes if run.arm == "baseline")
    assert "Unfinished: 0 of 2 seeds" in text(compare(dataclasses.replace(results, outcomes=begun)))


def test_tables_are_inserted_between_marks(results):
    comparison = compare(results)
    page = "# T\n<!-- sphuni train: tiny -->\nold\n<!-- end -->\nrest\n"
    once = insert(page, [comparison])
    assert "old" not in once
    assert once.startswith("# T\n")
    assert once.endswith("<!-- end -->\nrest\n")
    assert insert(once, [comparison]) == once
    assert "[tiny](docs/tiny.md)" in verdicts([comparison], links="docs/")
    assert "| [tiny](tiny.md) | blobs | 2 |" in overview([comparison])


def test_further_metrics_are_shown_with_their_rank_correlation(results):
    experiment = dataclasses.replace(results.experiment, further=("test.loss", "train.accuracy"))
    comparison = compare(dataclasses.replace(results, experiment=experiment))
    losses = [o.last("test.loss") for o in results.finals if o.arm == "rp-comhe"]
    assert comparison.cases[0].further[0].means[1] == pytest.approx(sum(losses) / 2)
    assert "| method | test.loss | train.accuracy |" in markdown(comparison)


def test_scalars_for_tensorboard(tiny, tmp_path, monkeypatch):
    written = []

    class Writer:
        def __init__(self, folder):
            self.folder = folder

        def add_scalar(self, name, value, step):
            written.append((name, step))

        def flush(self):
            pass

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    run_task(dataclasses.replace(task_of(tiny, tmp_path / "run"), board=True))
    assert [step for name, step in written if name == "test/error"] == [1, 2, 3]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match="needs the package tensorboard"):
        run_task(dataclasses.replace(task_of(tiny, tmp_path / "other"), board=True))


def test_pictures_are_drawn(results, tmp_path):
    from sphuni.training.curves import draw

    (path,) = draw(results, tmp_path)
    assert path.name == "tiny-blobs.png"
    assert path.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("excess", "shown", "most"),
    [(5.5, ["1", "2", "3", "5"], 7.0), (4e7, ["0", "1", "100", "10000", "1e+06"], 1e9)],
)
def test_the_axis_of_excesses_suits_a_layer_that_collapsed(results, excess, shown, most):
    """Limits of a linear axis left half of it below zero, and steps about 1 overlapped."""
    import matplotlib.pyplot as plt

    from sphuni.training.curves import _excess

    layers = [{"excess": {"half:2": value}} for value in (0.8, excess)]
    rows = [{"event": "layers", "epoch": 1, "layers": layers}]
    run = dataclasses.replace(results.finals[0], rows=rows)
    figure, axes = plt.subplots()
    _excess(axes, {"a": [run]}, {"a": "a"}, "a")
    low, high = axes.get_ylim()
    assert -1.0 < low < 0.8
    assert excess < high < most
    assert set(shown) <= {label.get_text() for label in axes.get_yticklabels()}
    assert len(axes.get_yticks()) <= 8
    plt.close(figure)


@pytest.mark.parametrize("epochs", [2, 5, 300])
def test_ticks_of_learning_curves_are_epochs(results, epochs):
    import matplotlib.pyplot as plt

    from sphuni.training.curves import _curves

    (table,) = compare(results).cases
    rows = [{"event": "epoch", "epoch": k + 1, table.metric: 9.0 - k} for k in range(epochs)]
    run = dataclasses.replace(results.finals[0], rows=rows)
    figure, axes = plt.subplots()
    _curves(axes, {"a": [run]}, {"a": "a"}, table)
    assert all(float(tick).is_integer() for tick in axes.get_xticks())
    plt.close(figure)


def test_a_network_and_data_of_ones_own(tiny, tmp_path):
    task = task_of(tiny, tmp_path / "own", model=ModelConfig(name="test_loop:dropping"))
    assert run_task(task).last("test.error") <= 100.0


@pytest.mark.slow
def test_results_do_not_depend_on_the_number_of_workers(tiny, tmp_path):
    one = run_experiment(tiny, tmp_path / "one")
    two = run_experiment(tiny, tmp_path / "two", workers=2)
    for first, second in zip(one, two, strict=True):
        assert (first.arm, first.seed) == (second.arm, second.seed)
        assert first.last("train.loss") == second.last("train.loss")


def plain(*, inputs, classes, width):
    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(inputs), 8), nn.Linear(8, classes))


def on_one_and_on_two_ranks(source, folder, *, check, timeout):
    """Pairs of the same run by one process and by two."""
    (folder / "tiny.toml").write_text(source)
    run_experiment(schema.parse(source), folder / "one", source=source)
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
        "-m", "sphuni.cli", "train", str(folder / "tiny.toml"), "--quiet", "--device", "cpu",
        "--out", str(folder / "two"),
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(
        command, check=check, cwd=Path(__file__).parent, env=environment, timeout=timeout
    )
    one, two = (read_results(folder / name)[0].finals for name in ("one", "two"))
    assert len(one) == len(two) == 4
    return list(zip(one, two, strict=True))


@pytest.mark.slow
def test_two_ranks_train_as_one(tiny_text, tmp_path):
    source = tiny_text.replace('"small-cnn"\nwidth = 0.125', f'"{__name__}:plain"')
    for first, second in on_one_and_on_two_ranks(source, tmp_path, check=True, timeout=300):
        assert second.last("train.loss") == pytest.approx(first.last("train.loss"), rel=1e-5)
        assert second.last("test.error") == first.last("test.error")


def test_selection_needs_a_number_to_choose_by(tiny_text, tmp_path):
    text = tiny_text.replace("validation = 12", "validation = 0")
    text = text.replace(
        'name = "baseline"', 'name = "baseline"\n[arm.select]\n"optimizer.lr" = [0.1, 0.2]'
    )
    experiment = schema.parse(text + "[select]\nseeds = 1\n")
    with pytest.raises(ValueError, match=r"no run logged 'validation\.error'\. Set data"):
        run_experiment(experiment, tmp_path)


def test_a_metric_that_no_log_has_is_refused(results):
    experiment = dataclasses.replace(results.experiment, metric="test.eror")
    with pytest.raises(ValueError, match=r"'test.eror' is in no log; .* mean 'test.error'"):
        compare(dataclasses.replace(results, experiment=experiment))
    further = dataclasses.replace(results.experiment, further=("train.loss", "nothing"))
    with pytest.raises(ValueError, match="'nothing' is in no log"):
        compare(dataclasses.replace(results, experiment=further))


def test_nothing_is_confirmed_by_the_seeds_that_survived(results):
    def outcomes(seeds, error):
        first = results.finals[0]
        for seed in range(seeds):
            for arm, value in (("baseline", 20.0 + seed), ("rp-comhe", error + seed)):
                failed = arm == "rp-comhe" and seed >= 4
                rows = [{"event": "epoch", "epoch": 1, "test.error": value}]
                status = "failed" if failed else "done"
                yield dataclasses.replace(first, arm=arm, seed=seed, rows=rows, status=status)

    four, ten = (
        compare(Results(results.experiment, "", tuple(outcomes(seeds, 10.0)))) for seeds in (4, 10)
    )
    assert [four.claims[0].verdict, ten.claims[0].verdict] == ["confirmed", "not contradicted"]
    assert "4 (6 diverged)" in verdicts([ten])
    assert ten.cases[0].ranks.blocks == 10
    assert [row.rank for row in ten.cases[0].rows] == [1.4, 1.6]


def test_misuse_of_a_comparison_of_ones_own():
    x, y = np.eye(4, dtype=np.float32).repeat(4, axis=0), np.arange(4).repeat(4)
    quick = {"training": {"epochs": 1}, "evaluation": {"track": "none"}}
    network = torch.nn.Linear(4, 4)

    def own(make=lambda: torch.nn.Linear(4, 4), labels=y, **options):
        options = {"seeds": 2, "settings": quick, **options}
        return compare_methods(make, (x, labels), (x, y), **options)

    for labels in (y, y.astype(np.uint16)):
        assert [row.seeds for row in own(labels=labels).table.cases[0].rows] == [2, 2]
    for message, options in (
        ("network must return a new module at every call", {"make": lambda: network}),
        ("train_data must hold class numbers", {"labels": y - 1}),
        ("train_data must hold class numbers", {"labels": y + 0.5}),
        ("methods must be names, each once", {"methods": ["none", "none"]}),
        ("regularizer.method must be one of .* 'hs-mhe'", {"methods": ["none", "hs-mheh"]}),
        ("schedule.milestones", {"settings": {"schedule": {"name": "multistep"}}}),
        (
            r"each of the 4 classes of every sample; it gave a tensor of shape \(16, 3\)",
            {"make": lambda: torch.nn.Linear(4, 3)},
        ),
        ("seeds must be at least 1; got 0", {"seeds": 0}),
        ("^device must be cpu, cuda, cuda:1, ...; got 'gpu'$", {"device": "gpu"}),
        ("^device meta is not here: .* This machine has cpu", {"device": "meta"}),
        ("settings must not hold 'model'", {"settings": {"model": {"name": "small-cnn"}}}),
        ("settings must not hold of 'data' anything", {"settings": {"data": {"train": 5}}}),
    ):
        with pytest.raises(ValueError, match=message):
            own(**options)


def test_names_and_near_values_are_selected_from(tiny_text, tmp_path):
    tried = '[arm.select]\n"regularizer.method" = ["mhe", "hs-mhe"]\n'
    tried += '"regularizer.scale" = [0.1234567, 0.12345671]\n'
    source = tiny_text.replace("epochs = 3", "epochs = 1")
    source = source.replace('name = "baseline"\n', f'name = "baseline"\n{tried}', 1)
    experiment = schema.parse(source + "[select]\nseeds = 1\n")
    run_experiment(experiment, tmp_path, seeds=1, source=source)
    assert len(list((tmp_path / "tiny").rglob("select-*"))) == 4
    chosen = chosen_in(tmp_path / "tiny")["blobs/baseline"]
    (results,) = read_results(tmp_path)
    assert f"method {chosen['regularizer.method']}" in text(compare(results))


def test_folders_of_candidates_differ_as_the_candidates_do():
    values = [0.5, 1, 1234567, 1234568, 0.1 + 0.2, 0.3, "a", "../a", "a/b", "", [1, 2], [1, 3]]
    folders = [run_folder("c", "a", "select", {"x.y": value}, 0) for value in values]
    assert len(set(folders)) == len(values)
    assert {len(folder.parts) for folder in folders} == {4}
    assert folders[:3] == [Path("c/a", f"select-y={v}", "seed-0") for v in ("0.5", "1", "1234567")]


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"schema": "x"', "\x00"])
def test_a_damaged_result_is_named(tmp_path, content):
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(UnreadableFileError, match=r"result.json' is not a whole result.*Remove it"):
        read_result(tmp_path)


def with_claims(results, *claims):
    experiment = dataclasses.replace(results.experiment, claims=claims)
    return dataclasses.replace(results, experiment=experiment)


def test_a_metric_of_a_claim_that_no_log_has_is_refused(results):
    claim = dataclasses.replace(results.experiment.claims[0], metric="test.recall@1")
    with pytest.raises(ValueError, match=r"metric 'test.recall@1' is in no log"):
        compare(with_claims(results, claim))


def test_packed_results_keep_the_epochs_of_claims(results, tmp_path):
    rows = [{"event": "epoch", "epoch": k, "test.error": 100.0 - k} for k in range(1, 101)]
    outcomes = tuple(dataclasses.replace(run, rows=rows) for run in results.finals)
    claim = dataclasses.replace(results.experiment.claims[0], epoch=3)
    long = dataclasses.replace(with_claims(results, claim), outcomes=outcomes)
    pack(dataclasses.replace(long, source=f"{results.source}epoch = 3\n"), tmp_path)
    (again,) = read_results(tmp_path)
    assert compare(again).claims[0].better == compare(long).claims[0].better == 97.0


def test_a_number_that_was_not_finite_is_none_in_a_packed_log(results, tmp_path):
    rows = [{"event": "epoch", "epoch": 1, "test.error": 1.0, "train.loss": math.inf}]
    outcomes = tuple(dataclasses.replace(run, rows=rows) for run in results.finals)
    pack(dataclasses.replace(results, outcomes=outcomes), tmp_path)
    (again,) = read_results(tmp_path)
    assert math.isnan(again.finals[0].last("train.loss"))
    assert again.finals[0].last("test.error") == 1.0


@pytest.mark.parametrize(
    "head", [b"[1]", b"3", b'{"schema": "sphuni.training.archive", "version": 1}']
)
def test_logs_with_another_head_are_refused(tmp_path, head):
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(head + b"\n"))
    with pytest.raises(UnreadableFileError, match="is not a log of experiments"):
        read_results(tmp_path)


def test_an_adjusted_interval_excludes_zero_where_the_claim_is_confirmed(results):
    """Two claims with p = 0.03 and 0.04: Holm's method stops at the first, so neither holds."""
    spread = np.array([-1.0, 0.0, 1.0, -0.5, 0.5])
    shifts = {0: 1.142, 1: 1.036}  # t = 3.23 and 2.93 of four degrees of freedom
    base = results.finals[0]
    outcomes = []
    for seed, noise in enumerate(spread):
        for arm, sign in (("baseline", 0.0), ("rp-comhe", 1.0)):
            metrics = {f"test.{k}": 20.0 - sign * (shift + noise) for k, shift in shifts.items()}
            rows = [{"event": "epoch", "epoch": 1, "test.error": 20.0, **metrics}]
            outcomes.append(dataclasses.replace(base, arm=arm, seed=seed, rows=rows))
    claim = results.experiment.claims[0]
    claims = [dataclasses.replace(claim, metric=f"test.{k}") for k in shifts]
    wanted = dataclasses.replace(with_claims(results, *claims), outcomes=tuple(outcomes))
    first, second = compare(wanted).claims
    assert 0.025 < first.difference.p < second.difference.p < 0.05
    assert [row.verdict for row in (first, second)] == ["not contradicted"] * 2
    for row in (first, second):
        assert row.adjusted_low < 0 < row.adjusted_high
    (alone,) = compare(
        dataclasses.replace(wanted, experiment=with_claims(results, claims[1]).experiment)
    ).claims
    assert alone.verdict == "confirmed"
    assert alone.adjusted_high < 0


def test_pictures_of_cases_that_are_paths(results, tmp_path):
    case = dataclasses.replace(results.experiment.cases[0], name="a/b")
    experiment = dataclasses.replace(results.experiment, cases=(case,))
    outcomes = tuple(dataclasses.replace(run, case="a/b") for run in results.outcomes)
    found = Results(experiment, "", outcomes)
    assert [path.name for path in draw(found, tmp_path)] == ["tiny-a-b.png"]


def test_no_two_cases_share_a_picture(results, tmp_path):
    names = ("a/b", "a-b")
    cases = tuple(dataclasses.replace(results.experiment.cases[0], name=name) for name in names)
    runs = tuple(dataclasses.replace(run, case=name) for name in names for run in results.outcomes)
    experiment = dataclasses.replace(results.experiment, cases=cases, claims=())
    first = draw(Results(experiment, "", runs), tmp_path)
    assert [path.name for path in first] == ["tiny-a-b.png", "tiny-a-b-2.png"]
    inner = dataclasses.replace(experiment, name="tiny-a", cases=(cases[0],))
    case = dataclasses.replace(cases[0], name="b")
    inner = dataclasses.replace(inner, cases=(case,))
    runs = tuple(dataclasses.replace(run, case="b") for run in results.outcomes)
    (other,) = draw(Results(inner, "", runs), tmp_path, taken=first)
    assert other.name == "tiny-a-b-3.png"


def test_a_result_that_was_edited_is_named(tiny, tmp_path):
    task = task_of(tiny, tmp_path / "run")
    path = task.folder / "result.json"
    run_task(task)
    whole = json.loads(path.read_text(encoding="utf-8"))
    row = whole["rows"][0]
    for changes, found in (
        ({"rows": 5}, "rows is 5"),
        ({"rows": ["x"]}, r"rows\[0\] is 'x'"),
        ({"rows": [{**row, "epoch": None}]}, r"rows\[0\]\['epoch'\] is None"),
        ({"rows": [{**row, "train.loss": "low"}]}, r"rows\[0\]\['train.loss'\] is 'low'"),
        ({"status": "ok"}, "status is 'ok'"),
        ({"seed": "0"}, "seed is '0'"),
        ({"settings": None}, "settings is None"),
    ):
        path.write_text(json.dumps({**whole, **changes}), encoding="utf-8")
        with pytest.raises(UnreadableFileError, match=f"is not a whole result: {found}. Remove it"):
            run_task(task)
    path.write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(UnreadableFileError, match="is not a whole result"):
        run_task(task)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["uneven", "diverging"])
def test_two_ranks_share_uneven_batches_and_stop_together(tiny_text, blobs, tmp_path, case):
    """Batches of 7 and mirrored images; or one sample that only one process sees."""
    source = tiny_text.replace('"small-cnn"\nwidth = 0.125', f'"{__name__}:plain"')
    source = source.replace("batch_size = 8", "batch_size = 7")
    source = source.replace("validation = 12", 'validation = 12\naugment = ["flip"]')
    if case == "diverging":
        arrays = dict(np.load(blobs))
        arrays["images"][::9] = np.inf
        np.savez(tmp_path / "bad.npz", **arrays)
        source = source.replace(blobs, str(tmp_path / "bad.npz")).replace(
            "train = 24", "train = 60"
        )
    pairs = on_one_and_on_two_ranks(source, tmp_path, check=case == "uneven", timeout=120)
    for first, second in pairs:
        assert second.status == first.status == ("failed" if case == "diverging" else "done")
        assert second.reason == first.reason
        if case == "uneven":
            assert second.last("train.loss") == pytest.approx(first.last("train.loss"), rel=1e-5)


def checkpointed(tiny, folder, epochs):
    """A run of three epochs that was killed after the checkpoint of one of them, before its log."""
    task = task_of(tiny, folder)
    folder.mkdir()
    splits = data.draw(data.load(task.settings.data.name), task.settings.data, seed=task.seed)
    shorter = dataclasses.replace(task.settings.training, epochs=epochs)
    begun = dataclasses.replace(task.settings, training=shorter)
    train(begun, splits, seed=task.seed, checkpoint=folder / CHECKPOINT)
    rewritten(folder / CHECKPOINT, begun, task.settings)
    return task


def rewritten(path, before, after, change=lambda state: None):
    """Write a checkpoint anew as one of other settings, with its state changed."""
    state = read_checkpoint(path, before)
    change(state)
    about = ("schema", "version", "settings")
    write_checkpoint(path, {k: v for k, v in state.items() if k not in about}, after)


def poison(state):
    for value in state["learner"].values():
        if value.is_floating_point():
            value.fill_(torch.nan)


def test_a_log_is_whole_after_a_kill_between_the_last_checkpoint_and_the_log(tiny, tmp_path):
    whole = task_of(tiny, tmp_path / "whole")
    run_task(whole)
    killed = checkpointed(tiny, tmp_path / "killed", 3)
    run_task(killed)
    assert log_without_times(killed.folder) == log_without_times(whole.folder)


def test_a_run_that_diverges_after_it_was_resumed_keeps_its_epochs(tiny, tmp_path):
    task = checkpointed(tiny, tmp_path / "run", 2)
    rewritten(task.folder / CHECKPOINT, task.settings, task.settings, poison)
    outcome = run_task(task)
    assert outcome.status == "failed"
    assert [row["epoch"] for row in outcome.rows] == [1, 2]
    assert outcome.seconds == pytest.approx(sum(row["seconds"] for row in outcome.rows), abs=1e-3)


def test_results_of_other_options_or_of_another_kind_are_refused(tmp_path):
    text = schema.source("conditioning").replace('"conditioning"', '"mine"', 1)
    first = schema.parse(text)
    run_experiment(first, tmp_path, seeds=1)
    assert len(run_experiment(first, tmp_path, seeds=1)) == 9
    other = schema.parse(text.replace("scales = [1, 2, 4, 8, 16]", "scales = [1, 3]"))
    with pytest.raises(ValueError, match=r"options.scales was \[1, .* is now \[1, 3\]"):
        run_experiment(other, tmp_path, seeds=1)
    kind = dataclasses.replace(first, kind="classification")
    with pytest.raises(ValueError, match=r"kind was 'conditioning' and is now 'classification'"):
        run_experiment(kind, tmp_path, seeds=1)


def test_an_interruption_while_layers_are_measured_ends_the_run(tiny, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    evaluation = dataclasses.replace(tiny.base.evaluation, track="ends")
    task = task_of(tiny, tmp_path / "run", evaluation=evaluation)
    with monkeypatch.context() as patch:
        patch.setattr("sphuni.analysis._analyze._measure", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_task(task)
    assert read_result(task.folder) is None
    rows = run_task(task).rows
    assert [len(row["layers"]) for row in rows if row["event"] == "layers"] == [5, 5]


def test_what_a_kind_adds_at_the_end_is_in_the_log(tiny, tmp_path):
    evaluation = dataclasses.replace(tiny.base.evaluation, track="ends")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sphuni.stats.nulls._null._MANY", 1_999)
        task = task_of(tiny, tmp_path / "run", evaluation=evaluation)
        outcome = run_task(dataclasses.replace(task, kind="trained-uniformity"))
    logged = [json.loads(line) for line in (task.folder / LOG).read_text().splitlines()]
    assert logged == outcome.rows
    assert any("layers.rank" in row for row in logged)


@pytest.mark.parametrize("device", ["cpu:0", torch.device("cpu")])
def test_the_processor_is_one_device_by_every_name(device):
    part = np.eye(4, dtype=np.float32), np.arange(4)
    settings = {"training": {"epochs": 2}, "evaluation": {"track": "none"}}
    named, plain = (
        compare_methods(
            lambda: torch.nn.Linear(4, 4), part, part, seeds=1, settings=settings, device=where
        )
        for where in (device, "cpu")
    )
    for one, other in zip(named.results.outcomes, plain.results.outcomes, strict=True):
        assert [one.last("train.loss", k) for k in (1, 2)] == [
            other.last("train.loss", k) for k in (1, 2)
        ]


def test_a_network_of_ones_own_is_made_by_a_function():
    part = np.eye(4, dtype=np.float32), np.arange(4)
    with pytest.raises(TypeError, match=r"must be a function without arguments .* got a Linear"):
        compare_methods(torch.nn.Linear(4, 4), part, part)
    with pytest.raises(ValueError, match="must return a tensor; it returned a tuple"):
        compare_methods(lambda: torch.nn.LSTM(4, 4), part, part, seeds=1)
    with pytest.raises(TypeError, match="network must return a module; it returned a NoneType"):
        compare_methods(lambda: None, part, part)
    with pytest.raises(TypeError, match="methods must be a list of names, not one; got 'mhe'"):
        compare_methods(lambda: torch.nn.Linear(4, 4), part, part, methods="mhe")


def test_inputs_of_another_type_than_the_network_are_named():
    x, y = np.eye(4).repeat(4, axis=0), np.arange(4).repeat(4)
    settings = {"training": {"epochs": 1, "batch_size": 8}, "evaluation": {"track": "none"}}
    single, arguments = (x.astype("float32"), y), {"seeds": 1, "settings": settings}
    for train_part, test_part, name in [((x, y), single, "train"), (single, (x, y), "test")]:
        with pytest.raises(
            TypeError,
            match=rf"{name}_data holds torch.float64 and the parameters of the network are "
            r"torch.float32: mat1 .*Convert the inputs, as by \.float\(\)",
        ):
            compare_methods(lambda: torch.nn.Linear(4, 4), train_part, test_part, **arguments)
    whole = (x.astype("uint8"), y)
    with pytest.raises(TypeError, match=r"train_data holds torch.uint8 and the parameters"):
        compare_methods(lambda: torch.nn.Linear(4, 4), whole, whole, **arguments)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        compare_methods(lambda: torch.nn.Linear(5, 4), single, single, **arguments)
    with pytest.raises(ValueError, match="test_data must be two, inputs and class numbers; got 16"):
        compare_methods(lambda: torch.nn.Linear(4, 4), single, single[0], **arguments)
    double = compare_methods(lambda: torch.nn.Linear(4, 4).double(), (x, y), (x, y), **arguments)
    assert [row.seeds for row in double.table.cases[0].rows] == [1, 1]


def test_experiments_that_are_named_by_a_path(tiny_text, tmp_path):
    for name in ("a", "a/b c"):
        source = tiny_text.replace('name = "tiny"', f'name = "{name}"')
        run_experiment(schema.parse(source), tmp_path / "out", seeds=1, source=source)
    outer, inner = read_results(tmp_path / "out")
    assert [results.experiment.name for results in (outer, inner)] == ["a", "a/b c"]
    assert [len(results.outcomes) for results in (outer, inner)] == [2, 2]
    packed = tmp_path / "packed"
    packed.mkdir()
    assert pack(inner, packed).name == "a-b c.jsonl.gz"
    (again,) = read_results(packed)
    assert text(compare(again)) == text(compare(inner))
    assert [path.name for path in draw(inner, packed)] == ["a-b c-blobs.png"]
    page = "<!-- sphuni train: a/b c -->\nold\n<!-- end -->\n"
    assert "| method |" in insert(page, [compare(inner)])


def test_an_experiment_in_a_folder_may_end_like_a_packaged_one(tiny_text, tmp_path):
    """Its folder is called gan, and its table was that of the packaged gan, without a run."""
    source = tiny_text.replace('name = "tiny"', 'name = "mine/gan"')
    run_experiment(schema.parse(source), tmp_path / "out", seeds=1, source=source)
    (found,) = read_results(tmp_path / "out" / "mine" / "gan")
    assert found.experiment.name == "mine/gan"
    assert [run.arm for run in found.outcomes] == ["baseline", "rp-comhe"]


def test_the_log_of_one_experiment_does_not_replace_that_of_another(results, tmp_path):
    def named(name):
        experiment = dataclasses.replace(results.experiment, name=name)
        source = results.source.replace('name = "tiny"', f'name = "{name}"')
        return dataclasses.replace(results, experiment=experiment, source=source)

    path = pack(named("a/b"), tmp_path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"a-b.jsonl.gz' is the log of the experiment 'a/b' and"):
        pack(named("a-b"), tmp_path)
    assert path.read_bytes() == before
    assert pack(named("a/b"), tmp_path) == path
    path.write_bytes(b"no log")
    assert pack(named("a-b"), tmp_path) == path


def test_what_killed_writers_left_is_removed(tiny, tmp_path):
    folder = tmp_path / "tiny"
    folder.mkdir()
    for name in ("experiment.toml", "chosen.json"):
        (folder / f".{name}.x1.tmp").write_text("half")
    run_experiment(tiny, tmp_path, seeds=1)
    assert not list(folder.glob(".*.tmp"))
