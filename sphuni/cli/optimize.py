"""`sphuni optimize`: search for the best configuration of n points."""

import argparse
import json
import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sphuni.cli import _output

if TYPE_CHECKING:
    from sphuni.configurations.certificate import Certificate
    from sphuni.configurations.solver import OptimizeResult, Progress
    from sphuni.kernels import Kernel

__all__ = ["add_parser", "run"]

_FORMATS = ("npz", "csv", "xyz", "obj", "png", "svg", "pdf", "html")
_PICTURES = (".png", ".svg", ".pdf")
_NOT_SPACE = "pictures are drawn for d = 3"


def add_parser(commands: Any) -> None:
    """Add this subcommand."""
    parser = commands.add_parser(
        "optimize",
        help="best configurations: Thomson, Tammes, covering, ...",
        description=(
            "Search for the best configuration of n points on the unit sphere of R^d and compare "
            "it with the record. Problems: thomson, log, riesz, energy, tammes, covering, "
            "polarization, maxdet, design."
        ),
    )
    add = parser.add_argument
    add("problem", help="what is optimised")
    add("-n", "--n", type=int, required=True, help="number of points")
    add("-d", "--d", type=int, default=3, help="ambient dimension (default 3)")
    add("-s", "--s", type=float, help="exponent, or the strength of a design")
    add("--metric", choices=("chordal", "geodesic"), default="chordal", help="distance of riesz")
    add("--epsilon", type=float, metavar="E", help="Gaussian kernel of energy and maxdet")
    add("--antipodal", action="store_true", help="take points as lines")
    add(
        "--restarts",
        type=_output.parse_positive,
        metavar="K",
        help="number of starts (default: by size)",
    )
    add("--seed", type=_output.parse_count, default=0, help="seed of the starts (default 0)")
    add(
        "--time-limit",
        type=_output.parse_seconds,
        metavar="SECONDS",
        help="stop with the best so far",
    )
    add("--target", type=float, metavar="VALUE", help="stop at a value as good as this")
    add("--checkpoint", metavar="FILE", help="keep the state of the search in this file")
    add("--resume", action="store_true", help="go on from the checkpoint")
    add(
        "--workers",
        type=_output.parse_positive,
        default=1,
        metavar="K",
        help="processes (default 1)",
    )
    add("--engine", choices=("auto", "compiled", "blockwise"), default="auto", help="inner loop")
    _output.add_memory(parser)
    add(
        "--out",
        metavar="STEM",
        help="name of the files (default: by problem); with the suffix of a format, such as "
        "best.csv, that file is asked for",
    )
    add(
        "--formats",
        metavar="LIST",
        help=f"files to write, from {', '.join(_FORMATS)}, or none (default npz, and png where "
        "it can be drawn); html is a sphere to turn in a browser",
    )
    add("--json", action="store_true", help="print the result as JSON")
    _output.add_common(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Search, print the outcome, write coordinates and picture."""
    files = _files(arguments)
    outputs: list[tuple[str, str | Path | None]] = [("--out", path) for path in files]
    _output.check_outputs([*outputs, ("--checkpoint", arguments.checkpoint)])
    from sphuni.configurations.solver import optimize

    if arguments.resume and arguments.checkpoint and not Path(arguments.checkpoint).exists():
        _remark(arguments, f"there is no {arguments.checkpoint!r} to go on from")
    line = _output.progress_line(quiet=arguments.quiet)
    result = None
    try:
        result = optimize(
            arguments.problem,
            n=arguments.n,
            d=arguments.d,
            s=arguments.s,
            metric=arguments.metric,
            kernel=_kernel(arguments.epsilon),
            antipodal=arguments.antipodal,
            restarts=arguments.restarts,
            rng=arguments.seed,
            time_limit=arguments.time_limit,
            target=arguments.target,
            callback=None if line is None else lambda progress: line(_shown(progress)),
            checkpoint=arguments.checkpoint,
            resume=arguments.resume,
            workers=arguments.workers,
            engine=arguments.engine,
        )
    finally:
        if line is not None:
            line.clear()
    written: list[str] = []
    steps = [partial(_keep, result, path, written, arguments) for path in files]
    _output.take_all(*steps, partial(_show, result, written, arguments))
    if result.status == "interrupted":
        _output.say("interrupted; the best so far is shown")
        return _output.INTERRUPTED
    return 0


def _keep(
    result: "OptimizeResult", path: Path, written: list[str], arguments: argparse.Namespace
) -> None:
    """Write one file and add its name to `written`, or say why a file asked for cannot be."""
    reason = _output.save(partial(_write, result), path)
    if not reason:
        written.append(str(path))
    elif arguments.formats is not None:
        _remark(arguments, f"{path} was not written: {reason}")


def _remark(arguments: argparse.Namespace, text: str) -> None:
    if not arguments.quiet:
        _output.say(f"note: {text}")


def _show(result: "OptimizeResult", written: list[str], arguments: argparse.Namespace) -> None:
    text = _as_json(result, written) if arguments.json else _describe(result, written)
    _output.write(lambda: print(text))


def _shown(progress: "Progress") -> _output.Shown:
    """Translate the solver's progress."""
    fraction = progress.done / max(progress.total, 1)
    left = progress.seconds * (1 / fraction - 1) if fraction > 0 else math.nan
    often = "once" if progress.hits == 1 else f"{progress.hits} times"
    name = f"best {progress.value:.12g}, found {often}"
    return _output.Shown(progress.done, progress.total, fraction, left, name)


def _kernel(epsilon: float | None) -> "Kernel | None":
    if epsilon is None:
        return None
    from sphuni.kernels import Gaussian

    return Gaussian(epsilon)


def _files(arguments: argparse.Namespace) -> list[Path]:
    """Names of the files to write."""
    stem, named = _parted(arguments.out)
    wanted = (named or "npz,png") if arguments.formats is None else arguments.formats
    if wanted.strip().lower() == "none":
        return []
    parts = [part.strip().lower() for part in f"{named},{wanted}".split(",") if part.strip()]
    suffixes = list(dict.fromkeys(parts))
    unknown = [suffix for suffix in suffixes if suffix not in _FORMATS]
    if unknown:
        raise _output.UsageError(
            f"--formats must be taken from {', '.join(_FORMATS)}, or be none; got {unknown[0]!r}"
        )
    flat = [suffix for suffix in suffixes if suffix in ("xyz", "obj")]
    if flat and arguments.d != 3:
        raise _output.UsageError(f"--formats {flat[0]} needs d = 3; got {arguments.d}")
    if stem is None:
        exponent = "" if arguments.s is None else f"-s{arguments.s:g}"
        width = "" if arguments.epsilon is None else f"-epsilon{arguments.epsilon:g}"
        arcs = "-geodesic" if arguments.metric == "geodesic" else ""
        lines = "-lines" if arguments.antipodal else ""
        stem = f"{arguments.problem}-n{arguments.n}-d{arguments.d}{exponent}{width}{arcs}{lines}"
    elif stem == "" or stem.endswith("/"):
        raise _output.UsageError(
            f"--out must be the name of the files, such as best or best.csv; got {arguments.out!r}"
        )
    return [Path(f"{stem}.{suffix}") for suffix in suffixes]


def _parted(name: str | None) -> tuple[str | None, str]:
    """The name of files without the suffix of a format, and that suffix."""
    suffix = "" if name is None else Path(name).suffix
    if name is None or suffix[1:].lower() not in _FORMATS:
        return name, ""
    return name[: -len(suffix)], suffix[1:].lower()


def _write(result: "OptimizeResult", path: Path) -> str:
    """Write one file; return why it cannot be, or nothing."""
    if path.suffix in _PICTURES:
        return _draw(result, path)
    if path.suffix == ".html":
        if result.d != 3:
            return _NOT_SPACE
        from sphuni.plots import interactive

        interactive(result, path)
        return ""
    from sphuni.configurations.export import save_points

    try:
        save_points(result.points, path)
    except ValueError as error:  # points in one plane have no mesh
        if path.suffix != ".obj":
            raise
        return str(error)
    return ""


def _draw(result: "OptimizeResult", path: Path) -> str:
    """Draw one picture; points in one plane have no cells."""
    if result.d != 3:
        return _NOT_SPACE
    if result.n < 4:
        return "pictures are drawn of 4 points or more"
    from sphuni._files import atomic_writer
    from sphuni.plots.configurations import configuration

    try:
        figure = configuration(result)
    except ValueError as error:
        return str(error)
    with atomic_writer(path) as stream:
        figure.savefig(stream, format=path.suffix[1:], dpi=160)
    return ""


def _as_json(result: "OptimizeResult", written: list[str]) -> str:
    fields = {"schema": "sphuni.optimize.result", "version": 1, **result.to_dict()}
    return json.dumps({**fields, "files": written}, indent=1, allow_nan=False)


def _describe(result: "OptimizeResult", written: list[str]) -> str:
    """Lay out the outcome for reading."""
    from sphuni._text import plural

    certificate = result.certificate
    rows = [
        ("value", f"{result.value:.15g}  ({result.direction} is better)"),
        ("record", _record(result)),
        ("bound", f"{certificate.bound:.12g}  ({certificate.bound_method})"),
        ("residual", f"{certificate.residual:.2g}"),
    ]
    if certificate.smallest_eigenvalue is not None:
        rows.append(("least eigenvalue", f"{certificate.smallest_eigenvalue:.6g}"))
    if certificate.multipliers is not None:
        rows.append(("active", _active(certificate)))
    if certificate.symmetry_order is not None:
        rows.append(("symmetry order", str(certificate.symmetry_order)))
    rows += [
        ("hits", f"{result.hits} of {result.tried}"),
        ("status", f"{result.status}: {result.advice}"),
        ("time", f"{result.seconds:.1f} s, engine {result.engine}, seed {result.seed}"),
    ]
    if written:
        rows.append(("files", ", ".join(written)))
    count = plural(result.n, "line" if result.antipodal else "point")
    head = f"{result.problem}: {count} in R^{result.d}"
    return "\n".join([head, *(f"  {name:<17}{text}" for name, text in rows)])


def _active(certificate: "Certificate") -> str:
    """Count what is tied, and the freedom that the ties leave."""
    assert certificate.multipliers is not None
    parts = [str(len(certificate.multipliers)), f"spread {certificate.spread:.2g}"]
    if certificate.free_points is not None:
        parts.append(f"free points {certificate.free_points}")
    if certificate.tied_moves is not None:
        parts.append(f"moves that keep them tied {certificate.tied_moves}")
    return ", ".join(parts)


def _record(result: "OptimizeResult") -> str:
    if result.record is None or result.gap is None:
        return "none for this size"
    return f"{result.record.value:.15g}  ({result.record.status}); gap {result.gap:.2g}"
