"""Options and steps that `analyze` and `compare` share: from a path to a report."""

import argparse
import os
from typing import TYPE_CHECKING

from sphuni.cli import _output

if TYPE_CHECKING:
    from sphuni.analysis.report import ModelReport

__all__ = [
    "add_analysis_options",
    "files_of",
    "obtain_report",
    "refuse_options_of_saved",
    "refuse_other_options",
    "state_code",
]

_INDEX = ".index.json"


def add_analysis_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is analysed and how."""
    add = parser.add_argument
    deciding = (
        add("--layers", action="append", metavar="GLOB", help="analyse only layers of these names"),
        add("--exclude", action="append", metavar="GLOB", help="leave out layers of these names"),
        add(
            "--baseline",
            choices=("uniform", "init"),
            default="uniform",
            help="compare with uniform random rows, or with the layer's own initialiser",
        ),
        add("--center", action="store_true", help="subtract the mean row first (embeddings)"),
        add(
            "--remove-top",
            type=_output.parse_count,
            default=0,
            metavar="K",
            help="remove the K leading principal components first (embeddings)",
        ),
        add(
            "--heads",
            type=_heads,
            action="append",
            metavar="[GLOB=]Q[,K]",
            help="split query, key and value weights (of these names) into Q heads, "
            "or queries into Q and keys and values into K",
        ),
        add("--split-qkv", action="store_true", help="split fused query-key-value weights in 3"),
        add(
            "--max-seconds",
            type=_output.parse_seconds,
            default=120.0,
            metavar="S",
            help="sample layers whose pairs would take longer on one core (default 120)",
        ),
        add(
            "--seed", type=_output.parse_count, default=0, help="seed of what is random (default 0)"
        ),
    )
    parser.set_defaults(deciding=deciding)
    _output.add_memory(parser)


def _heads(text: str) -> tuple[str, int | list[int]]:
    """Read numbers of heads, with the layers they are for."""
    pattern, _, found = text.rpartition("=")
    counts = found.split(",")
    if len(counts) > 2 or not all(one.isdecimal() and int(one) > 0 for one in counts):
        raise argparse.ArgumentTypeError(
            "expected a number of heads such as 12, 32,8 for fewer heads of keys than of queries, "
            f"or GLOB=12; got {text!r}"
        )
    return pattern or "*", int(found) if len(counts) == 1 else [int(one) for one in counts]


def files_of(*paths: str) -> list[str]:
    """What of some models must not be written over.

    Of a folder or an index they are all files of weights, and the folder itself, where other files
    belong to the model too.
    """
    found = list(paths)
    for path in paths:
        if path.endswith(_INDEX) or os.path.isdir(path):
            from sphuni.analysis.readers import weights_beside

            found.append(path if os.path.isdir(path) else os.path.dirname(path) or ".")
            found += map(str, weights_beside(path))
    return found


def refuse_options_of_saved(arguments: argparse.Namespace, *paths: str) -> None:
    """Refuse options of the analysis where it has been made already, for every path."""
    given = [
        option.option_strings[0]
        for option in arguments.deciding
        if getattr(arguments, option.dest) != option.default
    ]
    if given and all(map(_saved, paths)):
        raise _output.UsageError(
            f"{paths[0]!r} is a saved report, which {', '.join(given)} cannot change; "
            "give the model itself"
        )


def refuse_other_options(arguments: argparse.Namespace, *paths: str) -> None:
    """Refuse to analyse a model otherwise than the saved report it is to be compared with."""
    if all(map(_saved, paths)):
        return
    from sphuni.analysis.comparison import check_same_options
    from sphuni.analysis.report import ModelReport

    given = {**vars(arguments), "heads": _by_name(arguments)}
    for path in filter(_saved, paths):
        names = f"the saved report {path!r}", "this command"
        check_same_options(ModelReport.from_json(path).settings, given, names=names)


def _by_name(arguments: argparse.Namespace) -> dict[str, int | list[int]] | None:
    return None if arguments.heads is None else dict(arguments.heads)


def _saved(path: str) -> bool:
    return path.endswith(".json") and not path.endswith(_INDEX)


def obtain_report(path: str, arguments: argparse.Namespace) -> "ModelReport":
    """Read a saved report, or analyse a model and show the progress."""
    if _saved(path):
        return _saved_report(path, arguments)
    from sphuni.analysis import analyze

    line = _output.progress_line(quiet=arguments.quiet)
    try:
        return analyze(
            path,
            layers=arguments.layers,
            exclude=arguments.exclude,
            baseline=arguments.baseline,
            center=arguments.center,
            remove_top=arguments.remove_top,
            heads=_by_name(arguments),
            split_qkv=arguments.split_qkv,
            max_bytes=arguments.max_bytes,
            max_seconds=arguments.max_seconds,
            rng=arguments.seed,
            progress=line,
        )
    finally:
        if line is not None:
            line.clear()


def _saved_report(path: str, arguments: argparse.Namespace) -> "ModelReport":
    """Read a saved report; beside a model of which some layers are chosen, only those."""
    from sphuni.analysis.report import ModelReport

    report = ModelReport.from_json(path)
    if arguments.layers is None and arguments.exclude is None:
        return report  # without the library of tests, which the other way needs
    from sphuni.analysis._analyze import restricted

    return restricted(report, layers=arguments.layers, exclude=arguments.exclude)


def state_code(*reports: "ModelReport") -> int:
    """Return the exit code that the completeness of reports calls for."""
    if any(report.partial for report in reports):
        return _output.INTERRUPTED
    failed = any(layer.status == "failed" for report in reports for layer in report.layers)
    return _output.PARTIAL if failed else 0
