"""The atlas: best configurations found by this package's own solver, with their certificates.

python -m benchmarks.atlas [--minutes 55] [--pass K] [--single] [--to-record] [PIECE ...]

Writes results.csv and points.npz to the package's data folder after every size, so that a run can
be stopped at any moment; a later run goes on with the sizes that are missing. Pass K = 0, 1, ...
uses seed K: a later pass repeats every size with other starts and keeps the better outcome. With
--single only sizes are repeated whose best was found once.
"""

import argparse
import csv
import io
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import sphuni
from sphuni._files import write_bytes, write_text
from sphuni.configurations import OptimizeResult, optimize
from sphuni.configurations.problems._base import find_record
from sphuni.kernels import Gaussian

__all__ = ["PIECES", "Piece", "main"]

FOLDER = Path(sphuni.__file__).parent / "configurations" / "data" / "atlas"
COLUMNS = (
    *("problem", "n", "d", "s", "antipodal", "value", "digits", "status", "source", "doi"),
    *("hits", "tried", "starts", "passes", "residual", "smallest_eigenvalue", "tied_moves"),
    *("active", "free_points", "spread", "symmetry_order", "second_value", "second_lower"),
    *("seed", "seconds"),
)
LARGEST_STORED = 6_000


class Piece(NamedTuple):
    """Sizes of one problem, at most an hour of two cores together."""

    problem: str
    d: int
    s: float | None
    sizes: Sequence[int]
    restarts: int | None


GAUSSIAN_SIZES = (4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 20, 24, 32, 48, 64)
LARGE_THOMSON = (
    *(188, 190, 191, 193, 194, 196, 197, 199, 200, 202, 203, 212, 214, 217, 232, 256, 257, 272),
    *(292, 317, 334, 358, 382, 392, 400, 448, 460, 470),
)
PIECES = {
    "covering-d3": Piece("covering", 3, None, range(5, 61), 16),
    "polarization-d3-s1": Piece("polarization", 3, 1.0, range(5, 51), 16),
    "polarization-d3-s2": Piece("polarization", 3, 2.0, range(5, 51), 16),
    "covering-d4": Piece("covering", 4, None, range(6, 31), 16),
    "polarization-d4-s1": Piece("polarization", 4, 1.0, range(6, 31), 16),
    "polarization-d4-s2": Piece("polarization", 4, 2.0, range(6, 31), 16),
    "tammes-d3": Piece("tammes", 3, None, range(7, 131), 32),
    "tammes-d4": Piece("tammes", 4, None, range(6, 51), 16),
    "tammes-d5": Piece("tammes", 5, None, range(7, 51), 16),
    "tammes-d4-table": Piece("tammes", 4, None, (18, 19, 21, 22, 24, 25, 27, 30, 40, 48, 60), 32),
    "tammes-d5-table": Piece("tammes", 5, None, (20, 24), 32),
    "tammes-d6-table": Piece("tammes", 6, None, (20, 32, 86, 98), 32),
    "tammes-d7-table": Piece("tammes", 7, None, (24,), 32),
    "maxdet": Piece("maxdet", 3, None, [(k + 1) ** 2 for k in range(1, 16)], 16),
    "gaussian-0.5": Piece("gaussian", 3, 0.5, GAUSSIAN_SIZES, 16),
    "gaussian-1": Piece("gaussian", 3, 1.0, GAUSSIAN_SIZES, 16),
    "gaussian-2": Piece("gaussian", 3, 2.0, GAUSSIAN_SIZES, 16),
    "thomson": Piece("thomson", 3, None, range(2, 205), None),
    "thomson-large": Piece("thomson", 3, None, LARGE_THOMSON, None),
}
"""The exponent of "gaussian" is the kernel's epsilon."""


def main() -> int:
    """Compute the sizes that are missing, small ones of all pieces first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pieces", nargs="*", metavar="PIECE", help=f"from {', '.join(PIECES)}")
    parser.add_argument("--minutes", type=float, default=55.0, help="stop after so many (55)")
    parser.add_argument("--pass", dest="turn", type=int, default=0, metavar="K", help="seed (0)")
    parser.add_argument("--single", action="store_true", help="only sizes with a single hit")
    parser.add_argument("--largest", type=int, default=1000, metavar="N", help="largest size")
    parser.add_argument("--to-record", action="store_true", help="end a size at its record")
    parser.add_argument("--limit", type=float, help="seconds for one size")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.pieces if name not in PIECES]
    if unknown:
        parser.error(f"no piece {unknown[0]!r}; there are {', '.join(PIECES)}")
    end = time.monotonic() + 60 * arguments.minutes
    FOLDER.mkdir(exist_ok=True)
    pieces = [PIECES[name] for name in arguments.pieces or PIECES]
    sizes = {n for piece in pieces for n in piece.sizes if n <= arguments.largest}
    for n in sorted(sizes):
        for piece in pieces:
            if time.monotonic() > end:
                return 0
            if n in piece.sizes and not (arguments.single and settled(piece, n)):
                compute(piece, n, arguments.turn, arguments.limit, to_record=arguments.to_record)
    return 0


def settled(piece: Piece, n: int) -> bool:
    """Whether a size has not been run, or its best was found more than once."""
    row = read_rows().get(row_key(piece.problem, n, piece.d, piece.s))
    return row is None or int(row["hits"]) > 1 or int(row["tried"]) == 1


def compute(piece: Piece, n: int, turn: int, limit: float | None, *, to_record: bool) -> None:
    """Run one size in one pass, unless that has been done, and store the better outcome."""
    key = row_key(piece.problem, n, piece.d, piece.s)
    old = read_rows().get(key)
    if old is not None and int(old["passes"]) > turn:
        return
    began = time.process_time()
    target = None
    if to_record:
        known = find_record(piece.problem, n=n, d=piece.d, s=piece.s)
        target = None if known is None else known.value
    gaussian = piece.problem == "gaussian"
    result = optimize(
        "maxdet" if gaussian else piece.problem,
        n=n,
        d=piece.d,
        s=None if gaussian else piece.s,
        kernel=Gaussian(piece.s) if gaussian and piece.s else None,
        restarts=piece.restarts,
        rng=turn,
        time_limit=limit,
        target=target,
        engine="compiled" if piece.problem == "thomson" else "blockwise",
    )
    row = describe(piece, result, time.process_time() - began)
    better = True
    if old is not None:
        row, better = merge(row, old, 1.0 if result.direction == "lower" else -1.0)
    row["passes"] = turn + 1
    if better:  # first: a row without its points would never be repeated
        store_points(key, np.asarray(result.points))
    write_rows(read_rows() | {key: row})
    print(
        *(piece.problem, n, piece.d, piece.s, repr(result.value), result.gap),
        *(result.hits, result.tried, row["residual"], f"{row['seconds']} s"),
        flush=True,
    )


def merge(new: dict[str, Any], old: dict[str, Any], sign: float) -> tuple[dict[str, Any], bool]:
    """Keep the better of two outcomes, of equal ones the more settled, and add their counts."""
    change = sign * (float(new["value"]) - float(old["value"]))
    scale = max(1.0, abs(float(old["value"])))
    same = abs(change) <= 1e-10 * scale
    settled = float(new["residual"]) < 0.1 * float(old["residual"])
    better = change < -1e-12 * scale or (same and settled and change <= 1e-14 * scale)
    counted = [row for row in (new, old) if same or (row is new) == better]
    kept = dict(new if better else old)
    kept["hits"] = sum(int(row["hits"]) for row in counted)
    kept |= {name: int(new[name]) + int(old[name]) for name in ("tried", "starts")}
    return kept, better


def describe(piece: Piece, result: OptimizeResult, seconds: float) -> dict[str, Any]:
    """Lay out one outcome in the columns of the records, the certificate after them."""
    certificate = result.certificate
    second, lower = second_evaluation(result)
    return {
        "problem": piece.problem,
        "n": result.n,
        "d": result.d,
        "s": exponent(piece),
        "antipodal": "false",
        "value": repr(result.value),
        "digits": digits(piece, result, second),
        "status": status(result),
        "source": f"sphuni atlas, {result.starts} starts from seed {result.seed}",
        "doi": "",
        "hits": result.hits,
        "tried": result.tried,
        "starts": result.starts,
        "residual": f"{certificate.residual:.3g}",
        "smallest_eigenvalue": _number(certificate.smallest_eigenvalue),
        "tied_moves": _number(certificate.tied_moves),
        "active": "" if certificate.multipliers is None else len(certificate.multipliers),
        "free_points": _number(certificate.free_points),
        "spread": _number(certificate.spread),
        "symmetry_order": _number(certificate.symmetry_order),
        "second_value": "" if second is None else repr(second),
        "second_lower": "" if lower is None else repr(lower),
        "seed": result.seed,
        "seconds": f"{seconds:.1f}",
    }


def status(result: OptimizeResult) -> str:
    """Whether a value is proven, as it equals a certified bound that is attained, or putative."""
    certificate = result.certificate
    reached = abs(result.value - certificate.bound) <= 1e-10 * max(1.0, abs(result.value))
    return "proven" if certificate.bound_attained and reached else "putative"


def second_evaluation(result: OptimizeResult) -> tuple[float | None, float | None]:
    """Evaluate covering and polarization by another algorithm than the solver's.

    Polarization: branch and bound, value and certified lower bound. Covering: ascent to the
    deepest hole from random places, which knows no hull; its value is a certified lower bound.
    """
    if result.problem == "polarization":
        checked = sphuni.polarization(result.points, s=result.s)
        return float(checked.value), float(checked.lower)
    if result.problem == "covering":
        lower = float(sphuni.covering_radius(result.points, method="bounds").lower)
        return lower, lower
    return None, None


def digits(piece: Piece, result: OptimizeResult, second: float | None) -> int:
    """Significant digits on which the evaluations agree and the residual allows, at most 15."""
    scale = max(abs(result.value), 1e-300)
    doubt = 4e-16 if second is None else max(4e-16, abs(result.value - second) / scale)
    doubt = max(doubt, result.certificate.residual**2, result.certificate.spread or 0.0)
    if result.problem == "maxdet":  # near 0 a log-determinant keeps absolute digits only
        doubt = max(doubt, result.n * 2.2e-16 / scale, _rounding(piece, result.points) / scale)
    return max(2, min(15, int(-math.log10(doubt))))


def _rounding(piece: Piece, points: Any) -> float:
    """What rounding the entries of a wide Gaussian's matrix, nearly singular, does to log det."""
    if piece.problem != "gaussian" or piece.s is None:
        return 0.0
    gram = np.asarray(Gaussian(piece.s)(np.clip(points @ points.T, -1.0, 1.0)))
    return float(2.2e-16 * (np.abs(np.linalg.inv(gram)) * np.abs(gram)).sum())


def exponent(piece: Piece) -> str:
    """Write the exponent as the records do: Thomson's is 1."""
    return "1" if piece.problem == "thomson" else "" if piece.s is None else f"{piece.s:g}"


def row_key(problem: str, n: int, d: int, s: float | None) -> str:
    """Name a size in the files."""
    exponent = "" if s is None or problem in ("thomson", "log") else f"_s{s:g}"
    return f"{problem}_d{d}{exponent}_n{n}"


def read_rows() -> dict[str, dict[str, Any]]:
    """Read the table, by key."""
    path = FOLDER / "results.csv"
    if not path.exists():
        return {}
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {
        row_key(r["problem"], int(r["n"]), int(r["d"]), float(r["s"]) if r["s"] else None): r
        for r in rows
    }


def write_rows(rows: dict[str, dict[str, Any]]) -> None:
    """Write the table in order of problem, dimension, exponent and size."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        sorted(rows.values(), key=lambda r: (r["problem"], int(r["d"]), str(r["s"]), int(r["n"])))
    )
    write_text(FOLDER / "results.csv", stream.getvalue())


def store_points(key: str, points: np.ndarray) -> None:
    """Keep coordinates of sets that are not too large."""
    if points.size > LARGEST_STORED:
        return
    path = FOLDER / "points.npz"
    kept: dict[str, np.ndarray] = {}
    if path.exists():
        with np.load(path) as file:
            kept = dict(file)
    kept[key] = points
    stream = io.BytesIO()
    np.savez_compressed(stream, **{name: kept[name] for name in sorted(kept)})
    write_bytes(path, stream.getvalue())


def _number(value: float | int | None) -> str:
    return "" if value is None else f"{value:.6g}"


if __name__ == "__main__":
    sys.exit(main())
