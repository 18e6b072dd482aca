"""Power against eight departures, n = 100 points of the sphere S^2."""

import csv
from pathlib import Path
from typing import Any

from sphuni.stats import PowerResult, power_table

__all__ = ["ALTERNATIVES", "TESTS", "read", "run"]

N, D, SETS, SEED = 100, 3, 1000, 7
TESTS = ("rayleigh", "bingham", "ajne", "gine_gn", "pad", "poisson", "packing")
ALTERNATIVES: dict[str, tuple[str, str, str, tuple[float, ...], dict[str, Any]]] = {
    "one mode (vMF)": (
        "von_mises_fisher", "kappa", "upper", (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.3), {},
    ),
    "two poles (Watson)": (
        "watson", "kappa", "upper", (0.0, 0.3, 0.6, 0.9, 1.2, 1.6, 2.0), {},
    ),
    "girdle (Watson)": (
        "watson", "kappa", "upper", (0.0, -0.4, -0.8, -1.2, -1.6, -2.2, -3.0), {},
    ),
    "small circle": (
        "small_circle", "kappa", "upper", (0.0, 0.2, 0.4, 0.7, 1.0, 1.5, 2.5), {"nu": 0.4},
    ),
    "heavy-tailed mode (Cauchy)": (
        "spherical_cauchy", "rho", "upper", (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.35), {},
    ),
    "twelve clusters": (
        "clusters", "kappa", "upper", (0.0, 2.0, 4.0, 6.0, 10.0, 16.0, 30.0), {"centres": 12},
    ),
    "antipodal pairs": (
        "antipodal_dependent", "kappa", "two_sided", (0.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0),
        {},
    ),
    "repulsion (steps of descent)": (
        "minimum_energy", "steps", "lower", (0, 1, 2, 3, 5, 8, 12), {},
    ),
}  # fmt: skip
"""Label: sampler, its strength, the tail that sees it, strengths, other parameters."""


def run(target: Path, *, workers: int = 1) -> None:
    """Estimate the curves that the file does not have yet, one row per point."""
    known = set(read(target)) if target.exists() else set()
    for label in ALTERNATIVES:
        if label in known:
            continue
        rows = _rows(label, workers)
        with target.open("a", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
            if stream.tell() == 0:
                writer.writeheader()
            writer.writerows(rows)
        print(label, flush=True)


def _rows(label: str, workers: int) -> list[dict[str, Any]]:
    """One row per strength and test."""
    sampler, parameter, tail, strengths, others = ALTERNATIVES[label]
    rows = []
    for strength in strengths:
        table = power_table(
            TESTS, sampler, n=N, d=D, n_sets=SETS, rng=SEED, workers=workers,
            **{parameter: strength}, **others,
        )  # fmt: skip
        for result in table:
            row = result.to_dict()
            for name in ("upper", "lower", "two_sided"):
                row[f"{name}_low"], row[f"{name}_high"] = row.pop(f"{name}_interval")
            head = {"label": label, "parameter": parameter, "tail": tail, "strength": strength}
            rows.append(head | row)
    return rows


def read(source: Path) -> dict[str, dict[str, list[PowerResult]]]:
    """Curves by alternative and test."""
    curves: dict[str, dict[str, list[PowerResult]]] = {}
    with source.open(newline="") as stream:
        for row in csv.DictReader(stream):
            shares = {name: float(row[name]) for name in ("upper", "lower", "two_sided")}
            intervals = {
                f"{name}_interval": (float(row[f"{name}_low"]), float(row[f"{name}_high"]))
                for name in shares
            }
            result = PowerResult(
                test=row["test"], alternative=row["alternative"], n=int(row["n"]), d=int(row["d"]),
                alpha=float(row["alpha"]), n_sets=int(row["n_sets"]), null=row["null"],
                **shares, **intervals,
            )  # fmt: skip
            curves.setdefault(row["label"], {}).setdefault(row["test"], []).append(result)
    return curves
