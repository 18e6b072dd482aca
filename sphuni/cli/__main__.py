"""Entry point of the `sphuni` command and of ``python -m sphuni.cli``."""

import atexit
import gc
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

__all__ = ["command", "main"]

_OBJECTS_BEFORE_COLLECTION = 50_000
_INTERRUPTED = 130
_EPILOG = (
    "exit codes: 0 done; 1 a --fail-on rule fired, or an adjusted p fell below --alpha; 2 bad "
    "usage; 3 unreadable or refused input; 4 some layers failed and the rest is written, or there "
    "was no layer for a rule to judge; 130 interrupted, what was finished (or the checkpoint) is "
    "written"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program name. Default: those of the process.

    Returns
    -------
    int
        Exit code: 0 done, 1 a rule fired, 2 bad usage, 3 unreadable or refused input, 4 partial,
        130 interrupted.
    """
    from sphuni._ranks import run_on_ranks, under_torchrun
    from sphuni.cli import _output

    _output.prepare_streams()
    try:
        arguments = build_parser().parse_args(argv)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    if under_torchrun() and not arguments.on_every_rank:
        return run_on_ranks(lambda: _output.guarded(arguments.run, arguments))
    return _output.guarded(arguments.run, arguments)


def command() -> int:
    """Run `main` as a process of its own, which seldom looks for garbage and never at its end.

    The imports make a million objects that stay; looking through them again and again would take
    as long as a second. All but the lightest are made in `main`, as nothing would catch an
    interruption of those at the head of this file.
    """
    try:
        gc.set_threshold(_OBJECTS_BEFORE_COLLECTION)
        atexit.register(_keep_all)
        return main()
    except KeyboardInterrupt:  # before a subcommand has begun
        sys.stderr.write("sphuni: interrupted; nothing was written\n")
        return _INTERRUPTED


def _keep_all() -> None:
    """Leave the last search for garbage out, unless a library complains of what is never freed."""
    if "triton" not in sys.modules:
        gc.freeze()


def build_parser() -> "argparse.ArgumentParser":
    """Build the parser of the command line with all subcommands."""
    import argparse

    from sphuni import __version__
    from sphuni.cli import analyze, cite, compare, doctor, optimize, records, test, train

    class Whole(argparse.ArgumentParser):
        """One that guesses no option: `--sed 2` is not `--seed 2`, nor `--s 2` that."""

        def __init__(self, **options: Any) -> None:
            super().__init__(**{"allow_abbrev": False, **options})

    parser = Whole(
        prog="sphuni",
        description="Measure how evenly a network's neurons, or any points, cover the sphere.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"sphuni {__version__}")
    parser.set_defaults(on_every_rank=False)
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True, parser_class=Whole
    )
    for command in (analyze, compare, optimize, records, test, train, cite, doctor):
        command.add_parser(commands)
    return parser


if __name__ == "__main__":
    sys.exit(command())
