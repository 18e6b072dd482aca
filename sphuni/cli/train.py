"""`sphuni train`: experiments with paired seeds, and the tables of their results."""

import argparse
import contextlib
import json
import math
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sphuni.cli import _output

if TYPE_CHECKING:
    from sphuni.training.archive import Results
    from sphuni.training.compare import Comparison
    from sphuni.training.experiment import Experiment
    from sphuni.training.plan import Step

__all__ = ["add_parser", "run"]

_SECONDS_BETWEEN_LINES = 60.0


def add_parser(commands: Any) -> None:
    """Add this subcommand."""
    parser = commands.add_parser(
        "train",
        help="put the papers to the test: paired seeds, error bars, verdicts",
        description=(
            "Run an experiment, by name or from a TOML file of your own, or print the tables of "
            "results. A run that was stopped goes on where it was when the same command is given "
            "again. Nothing is downloaded."
        ),
    )
    add = parser.add_argument
    add("experiment", nargs="?", help="name (see --list), or a file that ends with .toml")
    add("--list", action="store_true", help="show experiments, the data they need, their time")
    add("--table", metavar="PATH", help="tables from a folder of runs or of compressed logs")
    add("--unpack", metavar="PATH", help="turn compressed logs into runs in --out, to go on there")
    add("--out", metavar="DIR", default="runs", help="folder of results (default runs)")
    add(
        "--seeds", type=_output.parse_positive, metavar="N", help="in place of the experiment's own"
    )
    add("--data", metavar="DIR", help="folder of data (default: the variable SPHUNI_DATA)")
    add(
        "--workers",
        type=_output.parse_positive,
        default=1,
        metavar="N",
        help="runs at a time (default 1)",
    )
    add(
        "--threads",
        type=_output.parse_positive,
        default=1,
        metavar="N",
        help="threads of each run (default 1)",
    )
    add("--device", default="auto", help="auto, cpu, cuda, ... (default auto)")
    add("--tensorboard", action="store_true", help="write TensorBoard scalars beside the logs")
    add("--pack", metavar="DIR", help="with --table: write compressed logs into this folder")
    add("--plots", metavar="DIR", help="with --table: write pictures into this folder")
    add("--write", metavar="PAGE", nargs="+", help="with --table: fill the marked places of pages")
    add("--markdown", action="store_true", help="print tables as Markdown")
    add("--json", action="store_true", help="print tables as JSON")
    _output.add_common(parser)
    parser.set_defaults(run=run, on_every_rank=True)


def run(arguments: argparse.Namespace) -> int:
    """List, print tables, unpack logs, or run an experiment."""
    wanted = (arguments.experiment, arguments.list, arguments.table, arguments.unpack)
    if sum(map(bool, wanted)) != 1:
        raise _output.UsageError(
            "name one experiment, or give --list, --table PATH or --unpack PATH"
        )
    _refuse_idle_options(arguments)
    if arguments.list:
        return _list(arguments)
    if arguments.table:
        return _tables(arguments)
    if arguments.unpack:
        return _unpack(arguments)
    return _train(arguments)


def _refuse_idle_options(arguments: argparse.Namespace) -> None:
    """Refuse what would change nothing: tables of some seeds only, say, are not made."""
    if not arguments.table:
        given = _given(arguments, "pack", "plots", "write")
        if given:
            raise _output.UsageError(
                f"{given} needs --table PATH, which reads the results of runs that are done"
            )
    if not arguments.experiment:
        out = () if arguments.unpack else ("out",)
        given = _given(arguments, "seeds", "workers", "threads", "device", "tensorboard", *out)
        if given:
            raise _output.UsageError(f"{given} is for the runs of an experiment; name one")
    if arguments.markdown and arguments.json:
        raise _output.UsageError("only one of --markdown and --json can be printed")


def _given(arguments: argparse.Namespace, *names: str) -> str:
    """Those of some options that differ from their defaults."""
    usual = {"workers": 1, "threads": 1, "device": "auto", "out": "runs"}
    different = (n for n in names if getattr(arguments, n) not in (None, False, usual.get(n)))
    return ", ".join(f"--{name}" for name in different)


def _unpack(arguments: argparse.Namespace) -> int:
    """Write the runs of compressed logs into folders."""
    from sphuni._text import plural
    from sphuni.training.unpack import unpack

    out = _made("--out", arguments.out)
    with _writing_into(out):
        logs = unpack(Path(arguments.unpack), out)
    for log in logs:
        there = f", {log.kept} were there" if log.kept else ""
        _tell(arguments, [f"{log.name}: wrote {plural(log.written, 'run')}{there}"])
    return 0


def _list(arguments: argparse.Namespace) -> int:
    """Show every packaged experiment."""
    from sphuni.training import schema
    from sphuni.training.data import data_folder
    from sphuni.training.plan import missing_data

    folder = data_folder(arguments.data)
    entries = []
    for name in schema.available():
        experiment = schema.load(name)
        absent = missing_data(experiment, folder)
        entries.append(
            {
                "name": name,
                "title": experiment.title,
                "minutes": experiment.budget_minutes,
                "device": experiment.device,
                "seeds": experiment.seeds,
                "arms": len(experiment.arms),
                "cases": [case.name for case in experiment.cases],
                "missing": absent,
                "note": experiment.note,
            }
        )
    if arguments.json:
        _output.write(lambda: print(_as_json("experiments", entries)))
        return 0
    _output.write(lambda: print("\n".join(_entry(entry) for entry in entries)))
    return 0


def _entry(entry: dict[str, Any]) -> str:
    place = " on a GPU" if entry["device"] == "cuda" else ""
    size = f"{len(entry['cases'])} data x {entry['arms']} methods x {entry['seeds']} seeds"
    lines = [
        f"{entry['name']}: {entry['title']}",
        f"    {size}, about {entry['minutes']:g} minutes{place}",
    ]
    if entry["note"]:
        lines.append(f"    {entry['note']}")
    lines += [f"    skipped: {case}: {reason}" for case, reason in entry["missing"].items()]
    return "\n".join(lines)


def _tables(arguments: argparse.Namespace) -> int:
    """Print the tables of results; pack them, draw them, put them into pages."""
    from sphuni._files import write_text
    from sphuni.training import tables
    from sphuni.training.archive import pack, read_results
    from sphuni.training.compare import compare

    found = read_results(Path(arguments.table))
    if arguments.pack:
        folder = _made("--pack", arguments.pack)
        with _writing_into(folder):
            _tell(arguments, [f"wrote {pack(results, folder)}" for results in found])
    comparisons = [compare(results) for results in found]
    pages = {name: Path(name).read_text(encoding="utf-8") for name in arguments.write or ()}
    marked = {name: text for name, text in pages.items() if "<!-- sphuni train:" in text}
    if pages and not marked:
        raise _output.UsageError(
            f"--write: {next(iter(pages))!r} has no place marked <!-- sphuni train: ..."
        )
    for name, text in marked.items():
        page = Path(name)
        links = "" if page.parent.name == "experiments" else "docs/experiments/"
        filled = tables.insert(text, comparisons, links=links)
        _output.save(partial(write_text, content=filled), page)
    _tell(arguments, [f"{name}: no place marked" for name in pages if name not in marked])
    if arguments.plots:
        _draw(arguments, found)
    _print(arguments, comparisons)
    return 0


def _print(arguments: argparse.Namespace, comparisons: "list[Comparison]") -> None:
    """Print tables in the form that was asked for."""
    from sphuni.training import tables

    if arguments.json:
        shown = _as_json("comparisons", [tables.as_dict(one) for one in comparisons])
    elif arguments.markdown:
        pages = (f"## {tables.headline(one)}\n\n{tables.markdown(one)}" for one in comparisons)
        shown = "\n\n\n".join(pages)
    else:
        shown = "\n\n\n".join(map(tables.text, comparisons))
    _output.write(lambda: print(shown))


def _as_json(what: str, entries: list[dict[str, Any]]) -> str:
    content = {"schema": f"sphuni.{what}", "version": 1, what: entries}
    return json.dumps(content, indent=1, allow_nan=False)


def _draw(arguments: argparse.Namespace, found: "list[Results]") -> None:
    from sphuni.training.curves import draw

    folder = _made("--plots", arguments.plots)
    drawn: list[Path] = []
    with _writing_into(folder):
        for results in found:
            paths = draw(results, folder, taken=drawn)
            _tell(arguments, [f"wrote {path}" for path in paths])
            drawn += paths


def _train(arguments: argparse.Namespace) -> int:
    """Do the runs of an experiment, then print its tables."""
    from sphuni.training import ranks, schema
    from sphuni.training.archive import read_results
    from sphuni.training.compare import compare
    from sphuni.training.data import data_folder
    from sphuni.training.plan import missing_data, run_experiment
    from sphuni.training.runner import shares_batches

    sys.path.insert(0, str(Path.cwd()))  # so that model.name may name a module of the user's
    source = schema.source(arguments.experiment)
    experiment = schema.load(arguments.experiment)
    folder = data_folder(arguments.data)
    device = _device(arguments, experiment)
    arguments.quiet = arguments.quiet or not ranks.is_first()
    if ranks.count() > 1 and not shares_batches(experiment.kind):
        _tell(arguments, [_unshared(experiment.kind, ranks.count())])
    absent = missing_data(experiment, folder)
    _tell(arguments, [f"skipped: {case}: {reason}" for case, reason in absent.items()])
    if len(absent) == len(experiment.cases):
        _output.say(f"nothing to do: all data of {experiment.name!r} are missing")
        return _output.UNREADABLE
    progress = _Progress(quiet=arguments.quiet)
    out = _made("--out", arguments.out)
    try:
        with _writing_into(out, "; the same command goes on from the last checkpoint"):
            outcomes = run_experiment(
                experiment,
                out,
                seeds=arguments.seeds,
                data_folder=folder,
                device=device,
                workers=arguments.workers,
                source=source,
                board=arguments.tensorboard,
                on_step=progress,
            )
    except KeyboardInterrupt:
        _output.say("interrupted; the same command goes on from the last checkpoint")
        return _output.INTERRUPTED
    finally:
        progress.clear()
    if not ranks.is_first():
        return 0
    (results,) = read_results(Path(arguments.out) / experiment.name)
    _print(arguments, [compare(results)])
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    _tell(arguments, [f"{o.case}/{o.arm}, seed {o.seed} diverged: {o.reason}" for o in failed])
    return _output.PARTIAL if failed else 0


def _unshared(kind: str, processes: int) -> str:
    return (
        f"note: runs of kind {kind!r} are not shared, so each of the {processes} processes does "
        f"the whole of every run; one process with --workers {processes} does {processes} runs at "
        "a time"
    )


class _Progress:
    """A line on a terminal, or one now and then in a file."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self.line = _output.progress_line(quiet=quiet)
        self.started = self.last = time.monotonic()
        self.found = 0

    def __call__(self, step: "Step") -> None:
        """Show a step; runs that were done before tell nothing about the time left."""
        now = time.monotonic()
        if not step.trained:
            self.found += 1
        outcome = step.outcome
        name = f"{outcome.stage} {outcome.case} {outcome.arm} seed {outcome.seed}"
        left = self._left(step, now - self.started)
        if self.line is not None:
            fraction = step.done / step.total
            self.line(_output.Shown(step.done, step.total, fraction, left, name))
        elif not self.quiet and now - self.last >= _SECONDS_BETWEEN_LINES:
            self.last = now
            time_left = "" if math.isnan(left) else f", {left / 60:.0f} minutes left"
            _output.say(f"{step.done}/{step.total} runs{time_left}, {name}")

    def _left(self, step: "Step", seconds: float) -> float:
        trained = step.done - self.found
        return seconds / trained * (step.total - step.done) if trained else math.nan

    def clear(self) -> None:
        """Remove the line."""
        if self.line is not None:
            self.line.clear()


def _device(arguments: argparse.Namespace, experiment: "Experiment") -> str:
    """The device to train on; torch takes as many threads as were asked for."""
    import torch

    from sphuni.training import ranks
    from sphuni.training.devices import present_device

    torch.set_num_threads(arguments.threads)
    joined = ranks.join(gpu=arguments.device != "cpu")
    if joined is not None:
        return joined
    if arguments.device != "auto":
        return present_device(arguments.device, option="--device", others="auto, ")
    found = "cuda" if torch.cuda.is_available() else "cpu"
    if experiment.device == "cuda" and found == "cpu":
        _output.say(f"note: {experiment.name!r} is sized for a GPU; on a CPU it takes very long")
    return found


def _made(option: str, name: str) -> Path:
    """Make the folder that an option names, if need be."""
    folder = Path(name)
    if not name or any(part.exists() and not part.is_dir() for part in (folder, *folder.parents)):
        raise _output.UsageError(f"{option} must name a folder; got {name!r}")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def _writing_into(folder: Path, advice: str = "") -> Iterator[None]:
    """Name the folder in an error that names no file, as that of a full disk does not."""
    try:
        yield
    except OSError as error:
        if error.strerror is None or error.filename is not None:
            raise
        raise OSError(f"cannot write into {str(folder)!r}: {error.strerror}{advice}") from error


def _tell(arguments: argparse.Namespace, lines: list[str]) -> None:
    if not arguments.quiet:
        for line in lines:
            _output.say(line)
