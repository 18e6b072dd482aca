"""`sphuni test`: tests of uniformity of the points of a file."""

import argparse
import math
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from sphuni.cli import _output, _samples
from sphuni.cli._test_table import TAILS, Outcome, catalogue_as_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sphuni.stats import TestTable

__all__ = ["add_parser", "run"]

_CORRECTIONS = ("holm", "hochberg", "bonferroni", "bh", "by", "none")
_PICTURES = (".png", ".svg", ".pdf")


def add_parser(commands: Any) -> None:
    """Add this subcommand."""
    parser = commands.add_parser(
        "test",
        help="tests of uniformity of the points of a file",
        description=(
            "Test whether the points of a file (.csv, .tsv, .txt, .npy, .npz; - reads a table from "
            "standard input) are independent and uniform on the circle or sphere. The file holds "
            "one point a row: its unit coordinates, or angles in degrees."
        ),
        epilog="example: sphuni test comets.csv --colatitude --radians --tests all --alpha 0.05",
    )
    parser.add_argument("path", nargs="?", help="file of points")
    parser.add_argument("--list", action="store_true", help="list the tests and stop")
    parser.add_argument("-d", type=int, help="with --list: only tests for this ambient dimension")
    _add_layout(parser)
    _add_choice(parser)
    _output.add_common(parser)
    parser.set_defaults(run=run)


def _add_layout(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how the file is read")
    kind = group.add_mutually_exclusive_group()
    add = kind.add_argument
    for name, text in (
        ("lonlat", "two columns: longitude, latitude"),
        (
            "colatitude",
            "two columns: longitude, angle from the pole (an orbit's node, inclination)",
        ),
        ("angles", "one column: angles on the circle"),
    ):
        add(f"--{name}", dest="kind", action="store_const", const=name, default="xyz", help=text)
    unit = group.add_mutually_exclusive_group()
    for name in ("degrees", "radians"):
        shown = f"angles are in {name}" + (" (default)" if name == "degrees" else "")
        unit.add_argument(f"--{name}", dest="unit", action="store_const", const=name, help=shown)
    add = group.add_argument
    add("--columns", metavar="A,B,...", help="columns to read, by name or by number from 1")
    add("--array", metavar="NAME", help="which array of an .npz file")
    add("--normalize", action="store_true", help="scale rows to length 1 first")
    add("--drop-missing", action="store_true", help="leave out points with missing numbers")
    add("--antipodal", action="store_true", help="take points as lines: x and -x are the same")


def _add_choice(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is tested")
    add = group.add_argument
    add(
        "--tests",
        action="append",
        metavar="LIST",
        help=(
            "names with commas between them, parameters after colons, such as "
            "rayleigh,riesz:s=0.5,sobolev:weights=1/0/2; or all (default)"
        ),
    )
    add(
        "--null",
        choices=("auto", "exact", "asymptotic", "monte-carlo"),
        default="auto",
        help="law the statistics are read against (default: the one whose size is right)",
    )
    add(
        "--resamples",
        type=int,
        metavar="M",
        help="simulated sets (default 9999; 99999 for a kept table that takes under a minute)",
    )
    add("--seed", type=_output.parse_count, help="seed of the simulation")
    add(
        "--workers",
        type=_output.parse_positive,
        default=1,
        metavar="K",
        help="parallel work (default 1)",
    )
    add("--tail", choices=tuple(TAILS), default="upper", help="upper: clustered; lower: regular")
    add(
        "--correction",
        choices=_CORRECTIONS,
        default="holm",
        help="adjustment of the p-values for their number (default holm)",
    )
    _output.add_memory(group)
    add("--alpha", type=float, metavar="A", help="exit with 1 if an adjusted p is below A")
    add("--json", action="store_true", help="print JSON")
    add("--picture", metavar="FILE", help="draw the points and the p-values (.png, .svg, .pdf)")


def run(arguments: argparse.Namespace) -> int:
    """Read, test, print, draw, compare with alpha."""
    if arguments.list:
        return _list(arguments)
    _check(arguments)
    tests = _tests(arguments.tests or ["all"], antipodal=arguments.antipodal)
    layout = _samples.Layout(
        arguments.kind, arguments.columns, arguments.unit, arguments.array, arguments.normalize,
        arguments.drop_missing,
    )  # fmt: skip
    sample = _samples.read_sample(arguments.path, layout)
    if not arguments.quiet:
        for remark in sample.remarks:
            _output.say(f"note: {remark}")
    outcome = Outcome.of(_table(sample.points, tests, arguments), arguments)
    text = outcome.as_json(arguments) if arguments.json else outcome.as_text()
    draw = partial(_draw, sample.points, outcome, arguments)
    drawn = [] if arguments.picture is None else [partial(_output.save, draw, arguments.picture)]
    _output.take_all(*drawn, lambda: _output.write(lambda: print(text)))
    return _output.FAILED_RULE if outcome.rejected else 0


def _check(arguments: argparse.Namespace) -> None:
    """Refuse what cannot be meant before anything is read or computed."""
    if arguments.path is None:
        raise _output.UsageError("give a file of points, or --list for the names of the tests")
    _output.check_inputs(arguments.path)
    if arguments.d is not None:
        raise _output.UsageError("-d goes with --list; the dimension of points is that of the file")
    if arguments.alpha is not None and not 0 < arguments.alpha < 1:
        raise _output.UsageError(
            f"--alpha must lie strictly between 0 and 1; got {arguments.alpha}"
        )
    if arguments.unit is not None and arguments.kind == "xyz":
        raise _output.UsageError(f"--{arguments.unit} is for --lonlat, --colatitude and --angles")
    if arguments.picture is not None:
        if not arguments.picture.lower().endswith(_PICTURES):
            raise _output.UsageError(
                f"--picture must end in {', '.join(_PICTURES)}; got {arguments.picture!r}"
            )
        _output.check_outputs([("--picture", arguments.picture)], [arguments.path])


def _tests(lists: "Sequence[str]", *, antipodal: bool) -> Any:
    """Build the tests named, or return "all"."""
    from sphuni.stats import build_test

    names = [name.strip() for text in lists for name in text.split(",") if name.strip()]
    if "all" in names:
        if len(set(names)) > 1:
            raise _output.UsageError("--tests takes names or all, not both")
        return "all"
    if not names:
        raise _output.UsageError("--tests holds no name")
    lines = {"antipodal": True} if antipodal else {}
    try:
        return [build_test(name, **lines) for name in names]
    except TypeError as error:
        raise _output.UsageError(str(error)) from error


def _table(points: Any, tests: Any, arguments: argparse.Namespace) -> "TestTable":
    from sphuni.stats import uniformity_tests

    # without a seed "auto" takes its own fixed tables; "monte-carlo" would take fresh ones
    fixed = 0 if arguments.null == "monte-carlo" else None
    line = _output.progress_line(quiet=arguments.quiet)
    if line is not None:
        sys.stderr.write(f"testing {points.shape[0]} points in R^{points.shape[1]} ...")
        sys.stderr.flush()
    started = time.monotonic()

    def show(done: int, total: int) -> None:
        assert line is not None
        left = (time.monotonic() - started) * (total - done) / done if done else math.nan
        share = done / max(total, 1)
        line(_output.Shown(done, total, share, left, "simulated sets of the null laws"))

    try:
        return uniformity_tests(
            points,
            tests,
            null=arguments.null,
            n_resamples=arguments.resamples,
            rng=fixed if arguments.seed is None else arguments.seed,
            workers=arguments.workers,
            antipodal=arguments.antipodal and tests == "all",
            correction=arguments.correction,
            progress=None if line is None else show,
        )
    finally:
        if line is not None:
            line.clear()


def _draw(points: Any, outcome: Outcome, arguments: argparse.Namespace, path: str) -> None:
    from pathlib import Path

    from sphuni._files import atomic_writer
    from sphuni.plots import uniformity_report

    figure = uniformity_report(
        points,
        dict(zip(outcome.labels, outcome.adjusted, strict=True)),
        alpha=arguments.alpha,
        xlabel=f"adjusted p ({outcome.tail} tail, {outcome.correction})",
        antipodal=arguments.antipodal,
    )
    with atomic_writer(path) as stream:
        figure.savefig(stream, format=Path(path).suffix[1:].lower(), dpi=160)


def _list(arguments: argparse.Namespace) -> int:
    """Print the catalogue of tests."""
    if arguments.path is not None:
        raise _output.UsageError("--list takes no file")
    from sphuni.stats import available_tests

    tests = available_tests(arguments.d)
    text = catalogue_as_json(tests) if arguments.json else str(tests)
    _output.write(lambda: print(text))
    return 0
