"""What every subcommand shares: streams, messages, exit codes and the progress line."""

import argparse
import contextlib
import dataclasses
import math
import os
import re
import shutil
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from sphuni._budget import limited, read_bytes

if TYPE_CHECKING:
    from sphuni.analysis.report import Progress

__all__ = [
    "FAILED_RULE",
    "INTERRUPTED",
    "PARTIAL",
    "UNREADABLE",
    "USAGE",
    "Shown",
    "UsageError",
    "add_common",
    "add_memory",
    "check_inputs",
    "check_outputs",
    "guarded",
    "parse_count",
    "parse_positive",
    "parse_size",
    "prepare_streams",
    "progress_line",
    "save",
    "say",
    "take_all",
    "write",
]  # fmt: skip

T = TypeVar("T")

FAILED_RULE, USAGE, UNREADABLE, PARTIAL, INTERRUPTED = 1, 2, 3, 4, 130
_TABLES = (".html", ".csv")
"""What models do not keep in their folders."""
_HEAD = 256


class UsageError(Exception):
    """The command line is well formed but cannot be meant."""


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add the options that every subcommand has."""
    parser.add_argument("--quiet", action="store_true", help="no progress and no remarks on stderr")
    parser.add_argument("--debug", action="store_true", help="show a traceback on errors")


def add_memory(parser: Any) -> None:
    """Add the limit of working memory, which `guarded` sets for all that a subcommand calls."""
    parser.add_argument(
        "--max-bytes",
        type=parse_size,
        metavar="SIZE",
        help="working memory, such as 500M (default: a quarter of what is free)",
    )


def prepare_streams() -> None:
    """Make sure that neither a closed stream nor a character of a name can stop the output."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by whoever started the process
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def guarded(run: Callable[[argparse.Namespace], int], arguments: argparse.Namespace) -> int:
    """Run a subcommand and turn what goes wrong into a message and an exit code."""
    try:
        with warnings.catch_warnings():
            if not arguments.debug:
                warnings.showwarning = _Remarks(quiet=arguments.quiet)
            with limited(getattr(arguments, "max_bytes", None)):
                return run(arguments)
    except KeyboardInterrupt:
        say("interrupted; nothing was written")
        return INTERRUPTED
    except Exception as error:
        if arguments.debug:
            traceback.print_exc()
            return _code(error)
        say(_message(error))
        return _code(error)


def _code(error: Exception) -> int:
    return USAGE if isinstance(error, UsageError | ValueError) else UNREADABLE


def _message(error: Exception) -> str:
    """Describe an error in one line; one that nobody foresaw is marked as such."""
    from sphuni._errors import SphuniError

    foreseen = (UsageError, ValueError, OSError, MemoryError, ImportError, SphuniError)
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        place = "" if error.filename is None else f"{str(error.filename)!r}: "
        text = f"{place}{error.strerror}"
    if isinstance(error, foreseen):
        return f"error: {text}"
    return f"unexpected {type(error).__name__}: {text} (run again with --debug for the traceback)"


class _Remarks:
    """Show each distinct warning once, in one line."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self.seen: set[str] = set()

    def __call__(self, message: Any, *_: Any, **__: Any) -> None:
        text = str(message)
        if not self.quiet and text not in self.seen:
            self.seen.add(text)
            say(f"note: {text}")


def say(text: str) -> None:
    """Write a message to standard error, control characters as escapes."""
    from sphuni._text import visible

    with contextlib.suppress(OSError, ValueError):
        lines = (visible(line) for line in text.split("\n"))
        sys.stderr.write("sphuni: " + "\n".join(lines) + "\n")
        sys.stderr.flush()


def write(show: Callable[[], None]) -> None:
    """Write data to standard output; a reader that has gone away is not an error."""
    try:
        show()
        sys.stdout.flush()
    except BrokenPipeError:
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        raise OSError(f"cannot write to standard output: {error.strerror}") from error


def save(write_to: Callable[[Any], T], path: str | Path) -> T:
    """Write a file by `write_to(path)`; the error names it, as that of a full disk does not."""
    try:
        return write_to(path)
    except OSError as error:
        if error.strerror is None:
            raise
        raise OSError(f"cannot write {str(path)!r}: {error.strerror}") from error


def take_all(*steps: Callable[[], object]) -> None:
    """Take every step though one of them fails, then raise the first error.

    What took hours is still shown, and goes to the other files, where one cannot be written.
    """
    errors = []
    for step in steps:
        try:
            step()
        except OSError as error:
            errors.append(error)
    if errors:
        raise errors[0]


def check_inputs(*paths: str) -> None:
    """Refuse an empty path, which would be read as the current folder."""
    if not all(paths):
        raise UsageError("the path of the input is empty; name a file")


def check_outputs(
    outputs: Iterable[tuple[str, str | Path | None]],
    inputs: Iterable[str] = (),
    *,
    printed: Iterable[str] = (),
) -> None:
    """Refuse output paths, by option, before hours of work are spent for them.

    The options `printed` take "-" for standard output. In a folder among the inputs nothing may be
    replaced, such as the configuration of a model, but tables and earlier reports.
    """
    read = [path for path in inputs if path != "-"]
    taken = {_file(path): "the input" for path in read}
    folders = [path for path in read if os.path.isdir(path)]
    for option, path in outputs:
        if path is None or (str(path) == "-" and option in printed):
            continue
        _check_name(option, str(path))
        _check_folder(str(path))
        if any(_belongs_to(folder, str(path)) for folder in folders):
            taken.setdefault(_file(path), "the input")
        other = taken.setdefault(_file(path), option)
        if other != option:
            raise UsageError(f"{option} and {other} name the same file, {path}; choose another")


def _file(path: str | Path) -> object:
    """What all names of a file have in common, links of either kind included."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return os.path.realpath(path)
    return status.st_dev, status.st_ino


def _belongs_to(folder: str, path: str) -> bool:
    """Whether a file lies in a folder and is no table or report that was written there."""
    if not os.path.isfile(path) or path.lower().endswith(_TABLES):
        return False
    place, home = os.path.realpath(os.path.dirname(path)), os.path.realpath(folder)
    if os.path.commonpath((place, home)) != home:
        return False
    with open(path, "rb") as stream:
        return b'"schema": "sphuni.' not in stream.read(_HEAD)


def _check_name(option: str, path: str) -> None:
    if not path:
        raise UsageError(f"{option} is empty; name a file")
    if path == "-":
        raise UsageError(
            f"{option} cannot go to standard output; name a file, or ./- for that name"
        )


def _check_folder(path: str) -> None:
    target = Path(path)
    if target.is_dir():
        raise UsageError(f"cannot write to {path!r}: it is a folder")
    if not target.parent.is_dir():
        raise UsageError(f"cannot write {path!r}: folder {str(target.parent)!r} does not exist")
    if not os.access(target.parent, os.W_OK):
        raise UsageError(f"cannot write {path!r}: folder {str(target.parent)!r} is read-only")


def parse_size(text: str) -> int:
    """Read a number of bytes such as `500M` or `2GiB`."""
    try:
        return read_bytes(text)
    except ValueError as error:
        _refuse(str(error))


def parse_count(text: str) -> int:
    """Read a whole number that is not negative."""
    if not re.fullmatch(r"\d{1,18}", text):
        _refuse(f"expected a whole number, 0 or more; got {text!r}")
    return int(text)


def parse_positive(text: str) -> int:
    """Read a whole number that is at least 1."""
    if not re.fullmatch(r"0*[1-9]\d{0,17}", text):
        _refuse(f"expected a whole number, 1 or more; got {text!r}")
    return int(text)


def parse_seconds(text: str) -> float:
    """Read a positive number of seconds."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        _refuse(f"expected a positive number of seconds; got {text!r}")
    return seconds


def _refuse(text: str) -> NoReturn:
    raise argparse.ArgumentTypeError(text)


def progress_line(*, quiet: bool) -> "ProgressLine | None":
    """Return a progress display if standard error is a terminal, else None."""
    if quiet or not sys.stderr.isatty():
        return None
    return ProgressLine()


@dataclasses.dataclass(frozen=True)
class Shown:
    """What the progress line needs to know, where there is no report's own progress."""

    done: int
    total: int
    fraction: float
    seconds_left: float
    name: str


class ProgressLine:
    """One line at the bottom of a terminal: bar, count, time left, layer."""

    def __init__(self) -> None:
        self.last = 0.0

    def __call__(self, progress: "Progress | Shown") -> None:
        now = time.monotonic()
        if now - self.last < 0.1 and progress.done < progress.total:
            return
        self.last = now
        sys.stderr.write(
            "\r" + self.render(progress, shutil.get_terminal_size().columns) + "\x1b[K"
        )
        sys.stderr.flush()

    @staticmethod
    def render(progress: "Progress | Shown", width: int) -> str:
        """Lay out the line for a terminal of `width` columns."""
        from sphuni._text import shorten

        bar = min(20, max(0, width - 48))  # a line that is too long would not be drawn over
        full = round(bar * min(max(progress.fraction, 0.0), 1.0))
        left = progress.seconds_left
        remaining = f"{_clock(left)} left" if left == left else "estimating"
        head = f"{'█' * full}{'░' * (bar - full)} {progress.done}/{progress.total}  {remaining}  "
        room = width - len(head) - 1
        return head + shorten(progress.name, room) if room >= 8 else head[: max(width - 1, 0)]

    def clear(self) -> None:
        """Remove the line."""
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def _clock(seconds: float) -> str:
    """Write a time as m:ss or h:mm:ss."""
    whole = round(min(seconds, 1e6))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
