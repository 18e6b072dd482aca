"""The size of every test at 5 % and 1 %, both tails, over dimensions and numbers of points.

Counts are appended to a CSV part by part, so that a run can stop at any moment and go on later.
"""

import csv
import dataclasses
import resource
import time
import zlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from scipy import special

from sphuni.stats import available_tests, build_test, power_table

__all__ = ["DIMENSIONS", "NUMBERS", "Cell", "cells", "run", "write_table"]

DIMENSIONS = (2, 3, 4, 10, 64, 512)
NUMBERS = (5, 10, 20, 50, 100, 500)
ALPHAS = (0.05, 0.01)
BANDS = {0.05: (0.042, 0.058), 0.01: (0.006, 0.015)}
DISCRETE = {0.05: (0.0, 0.055), 0.01: (0.0, 0.015)}
CONFIDENCE = 0.999
MOST, FEWER = 100_000, 10_000
SECONDS_PER_CELL = 60.0
COLUMNS = (
    "test", "d", "n", "part", "sets", "null", "upper_05", "lower_05", "upper_01", "lower_01",
    "seconds",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Cell:
    """Counts of one test at one d and n."""

    test: str
    d: int
    n: int
    null: str
    sets: int
    counts: dict[tuple[str, float], int]

    def share(self, tail: str, alpha: float) -> float:
        """Share of sets rejected."""
        return self.counts[tail, alpha] / self.sets

    def interval(self, tail: str, alpha: float) -> tuple[float, float]:
        """Exact 99.9 % interval of that share."""
        count, rest = self.counts[tail, alpha], 0.5 * (1 - CONFIDENCE)
        low = special.betaincinv(count, self.sets - count + 1, rest) if count else 0.0
        full = count == self.sets
        high = 1.0 if full else special.betaincinv(count + 1, self.sets - count, 1 - rest)
        return float(low), float(high)

    def passed(self, tail: str, alpha: float) -> bool:
        """Whether the interval reaches the band; with atoms the band begins at 0."""
        atoms = build_test(self.test).has_atoms(self.n, self.d)
        low, high = (DISCRETE if atoms else BANDS)[alpha]
        least, most = self.interval(tail, alpha)
        return least <= high and most >= low


def run(counts: Path, *, minutes: float, workers: int = 1, only: tuple[str, ...] = ()) -> None:
    """Simulate the groups (d, n) with the fewest sets until the time is up."""
    started = time.monotonic()
    done, spent = _sets_done(counts), _seconds_spent(counts)
    speed = {group: spent[group] / done[group]["sets"] for group in spent}
    while time.monotonic() - started < 60 * minutes:
        group, tests = _next(done, speed, only)
        if group is None:
            return
        d, n = group
        part = done[group]["part"] + 1
        sets = _part_size(n, part, speed.get(group), done[group]["sets"])
        before = _processor_seconds()
        table = power_table(
            tests, "uniform", n=n, d=d, alphas=ALPHAS, n_sets=sets, workers=workers,
            rng=zlib.crc32(f"{d} {n} {part}".encode()),
        )  # fmt: skip
        seconds = _processor_seconds() - before
        rows: dict[str, dict[str, object]] = {}
        for result in table:
            row = rows.setdefault(
                result.test,
                {"test": result.test, "d": d, "n": n, "part": part, "sets": sets,
                 "null": result.null, "seconds": f"{seconds / len(tests):.3g}"},
            )  # fmt: skip
            for tail in ("upper", "lower"):
                row[f"{tail}_{round(100 * result.alpha):02}"] = round(getattr(result, tail) * sets)
        _append(counts, list(rows.values()))
        done[group] = {"part": part, "sets": done[group]["sets"] + sets}
        speed[group] = seconds / sets
        print(f"d={d} n={n} part={part} sets={done[group]['sets']} {seconds:.1f} s", flush=True)


def cells(counts: Path) -> Iterator[Cell]:
    """Add up the parts of every cell."""
    total: dict[tuple[str, int, int], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    null = {}
    with counts.open(newline="") as stream:
        for row in csv.DictReader(stream):
            key = row["test"], int(row["d"]), int(row["n"])
            null[key] = row["null"]
            for name in ("sets", "upper_05", "lower_05", "upper_01", "lower_01"):
                total[key][name] += int(row[name])
    for (test, d, n), sums in sorted(total.items()):
        found = {
            (tail, alpha): sums[f"{tail}_{round(100 * alpha):02}"]
            for tail in ("upper", "lower")
            for alpha in ALPHAS
        }
        yield Cell(test, d, n, null[test, d, n], sums["sets"], found)


def write_table(counts: Path, target: Path) -> tuple[int, int]:
    """Write shares, intervals and pass flags; return how many cells passed, and of how many."""
    passed = total = 0
    with target.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        names = [f"{tail}_{round(100 * a):02}" for a in ALPHAS for tail in ("upper", "lower")]
        extra = [f"{name}_{part}" for name in names for part in ("share", "low", "high", "pass")]
        writer.writerow(["test", "d", "n", "null", "sets", *extra, "pass"])
        for cell in cells(counts):
            fields: list[object] = []
            flags = []
            for alpha in ALPHAS:
                for tail in ("upper", "lower"):
                    low, high = cell.interval(tail, alpha)
                    flags.append(cell.passed(tail, alpha))
                    shares = (cell.share(tail, alpha), low, high)
                    fields += [*(f"{x:.5f}" for x in shares), int(flags[-1])]
            total += 1
            passed += all(flags)
            writer.writerow(
                [cell.test, cell.d, cell.n, cell.null, cell.sets, *fields, int(all(flags))]
            )
    return passed, total


def _next(
    done: dict[tuple[int, int], dict[str, int]],
    speed: dict[tuple[int, int], float],
    only: tuple[str, ...],
) -> tuple[tuple[int, int] | None, list[str]]:
    """The group with the fewest sets of those below their goal, and its tests."""
    left = []
    for n in NUMBERS:
        for d in DIMENSIONS:
            tests = _tests(d, n, only)
            cost = speed.get((d, n), 0.0) * MOST
            goal = MOST if cost < SECONDS_PER_CELL * len(tests) else FEWER
            sets = done[d, n]["sets"]
            if tests and sets < goal:
                left.append((sets, n, d, tests))
    if not left:
        return None, []
    _, n, d, tests = min(left)
    return (d, n), tests


def _tests(d: int, n: int, only: tuple[str, ...]) -> list[str]:
    """Tests that are defined at d and n and have a law there."""
    names = []
    for info in available_tests(d):
        if only and info.name not in only:
            continue
        try:
            build_test(info.name).check(n, d)
        except ValueError:
            continue
        names.append(info.name)
    return names


def _processor_seconds() -> float:
    """Processor time of this process and of its workers that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def _part_size(n: int, part: int, seconds_per_set: float | None, done: int) -> int:
    """Small first parts, so that every group has something; then about half a minute each."""
    first = {5: 10_000, 10: 10_000, 20: 4000, 50: 2000, 100: 1000, 500: 200}[n]
    if part == 1 or seconds_per_set is None:
        return first
    left = FEWER - done if done < FEWER else MOST - done
    return int(min(max(first, 30.0 / seconds_per_set), 20_000, left))


def _sets_done(counts: Path) -> dict[tuple[int, int], dict[str, int]]:
    done: dict[tuple[int, int], dict[str, int]] = defaultdict(lambda: {"part": 0, "sets": 0})
    if not counts.exists():
        with counts.open("w", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerow(COLUMNS)
        return done
    seen = set()
    with counts.open(newline="") as stream:
        for row in csv.DictReader(stream):
            key = int(row["d"]), int(row["n"]), int(row["part"])
            if key not in seen:
                seen.add(key)
                group = done[key[:2]]
                group["part"] = max(group["part"], key[2])
                group["sets"] += int(row["sets"])
    return done


def _seconds_spent(counts: Path) -> dict[tuple[int, int], float]:
    """Time that the parts of every group took."""
    spent: dict[tuple[int, int], float] = defaultdict(float)
    with counts.open(newline="") as stream:
        for row in csv.DictReader(stream):
            spent[int(row["d"]), int(row["n"])] += float(row["seconds"])
    return spent


def _append(counts: Path, rows: list[dict[str, object]]) -> None:
    """Append the rows of one part in a single write."""
    lines = [",".join(str(row[name]) for name in COLUMNS) + "\n" for row in rows]
    with counts.open("a") as stream:
        stream.write("".join(lines))
