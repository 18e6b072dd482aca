"""Which null law a test is read against."""

import dataclasses
import math
import zlib
from collections.abc import Sequence
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from sphuni._numbers import whole
from sphuni._rng import seeds
from sphuni._typing import Seed
from sphuni._workers import check_workers, ordered_map
from sphuni.stats._base import LawChoice, UniformityTest
from sphuni.stats.laws.monte_carlo import Empirical, SequentialTable
from sphuni.stats.nulls._simulate import Progress, job_chunks, run, shifted
from sphuni.stats.nulls._tables import tables

__all__ = ["QUICK", "Null", "choose", "choose_all", "monte_carlo_law", "sequential"]

QUICK = 8e10
"""Operations that one core does in a minute at most, most often in ten seconds."""

_BUDGET = 2e11
_SETS, _MANY = 9_999, 99_999
_FEWEST = 199
_SEQUENTIAL_CHUNK = 100
_DOUBTFUL_UP_TO = 2000

NULLS = ("auto", "exact", "asymptotic", "monte-carlo")


@dataclasses.dataclass(frozen=True)
class Null:
    """What the caller asked for."""

    null: str = "auto"
    n_resamples: int | None = None
    rng: Seed = None
    workers: int = 1
    most: float = math.inf
    """Operations that one simulated table of null="auto" may take."""
    progress: Progress | None = None

    def __post_init__(self) -> None:
        if self.null not in NULLS:
            raise ValueError(
                f"null must be one of {', '.join(map(repr, NULLS))}; got {self.null!r}"
            )
        if self.n_resamples is not None:
            whole("n_resamples", self.n_resamples, 1)
        check_workers(self.workers)


def choose(test: UniformityTest, n: int, d: int, asked: Null) -> LawChoice:
    """The law that was asked for, or for "auto" the one whose size is right at n and d."""
    (choice,) = choose_all([test], n, d, asked)
    if isinstance(choice, ValueError):
        raise choice
    return choice


def monte_carlo_law(test: UniformityTest, n: int, d: int, asked: Null) -> LawChoice:
    """A simulated table; "auto" without a seed has a fixed one for every n and d."""
    (choice,) = _simulated([test], n, d, asked)
    if isinstance(choice, ValueError):
        raise choice
    return choice


def choose_all(
    tests: Sequence[UniformityTest], n: int, d: int, asked: Null
) -> list[LawChoice | ValueError]:
    """The law of every test, or why there is none; simulated ones share their uniform sets."""
    choices = [_without_simulation(test, n, d, asked) for test in tests]
    missing = [test for test, choice in zip(tests, choices, strict=True) if choice is None]
    simulated = iter(_simulated(missing, n, d, asked))
    return [next(simulated) if choice is None else choice for choice in choices]


def sequential(
    test: UniformityTest, values: NDArray[np.float64], n: int, d: int, asked: Null, enough: int
) -> LawChoice:
    """Simulate chunk by chunk until every value has `enough` more extreme ones in both tails."""
    if asked.null != "monte-carlo":
        raise ValueError(f"stop_after goes with null='monte-carlo'; got null={asked.null!r}")
    whole("stop_after", enough, 1)
    most = asked.n_resamples or _SETS
    jobs = job_chunks([test], n, d, most, _seed(asked.rng), most=_SEQUENTIAL_CHUNK)
    drawn: list[NDArray[np.float64]] = []
    for _, part in ordered_map(run, jobs, workers=asked.workers):
        drawn.append(part[:, 0])
        law = SequentialTable(np.concatenate(drawn), enough)
        if asked.progress is not None:
            asked.progress(law.sample.size, most)
        decided = law.decided(values)
        if decided:
            break
    words = f"{law.sample.size} simulated uniform sets"
    if decided:
        words += f", stopped after {enough} more extreme ones in both tails"
    return LawChoice(law, "monte-carlo", words)


def _without_simulation(
    test: UniformityTest, n: int, d: int, asked: Null
) -> LawChoice | ValueError | None:
    """A law in formulas, None where one must be simulated, or why neither will do."""
    if asked.null == "monte-carlo":
        return None
    if asked.null == "auto":
        return test.best_law(n, d)
    law = _of_kind(test, n, d, asked.null)
    if law is None:
        return ValueError(
            f"test {test.name!r} has no {asked.null} null law at n = {n}, d = {d}; "
            "use null='auto' or null='monte-carlo'"
        )
    if law.kind == "asymptotic" and n <= _DOUBTFUL_UP_TO and test.best_law(n, d) is None:
        words = f"the limit law may be far off at n = {n}, d = {d}: null='auto' simulates there"
        return law._replace(caution=words)
    return law


def _of_kind(test: UniformityTest, n: int, d: int, kind: str) -> LawChoice | None:
    """The limit law, or of the laws that are right at n and d one of this kind."""
    limit = test.asymptotic_law(n, d) if kind == "asymptotic" else None
    if limit is not None:
        return limit
    best = test.best_law(n, d)
    return best if best is not None and best.kind == kind else None


def _seed(rng: Seed) -> int:
    return int(rng) if _is_number(rng) else seeds(rng, 1)[0]


def _is_number(rng: Seed) -> TypeGuard[int]:
    return isinstance(rng, int | np.integer) and not isinstance(rng, bool)


def _simulated(
    tests: Sequence[UniformityTest], n: int, d: int, asked: Null
) -> list[LawChoice | ValueError]:
    """Tables, one simulation for all tests that want the same number of points and sets."""
    if not tests:
        return []
    fixed = asked.rng is None and asked.null == "auto"
    seed = None if fixed else _seed(asked.rng)
    keep = fixed or _is_number(asked.rng)
    answers: list[LawChoice | ValueError | None] = [None] * len(tests)
    groups: dict[tuple[int, int], list[int]] = {}
    for place, test in enumerate(tests):
        at = test.simulated_at(n) if asked.null == "auto" else n
        plain = asked.n_resamples or _SETS
        count = plain if asked.null == "monte-carlo" else affordable(test, at, d, asked)
        if count:
            groups.setdefault((at, count), []).append(place)
        else:
            answers[place] = _too_dear(test, at, d, asked)
    done, total = 0, 2 * sum(count for _, count in groups)
    for (at, count), places in groups.items():
        report = shifted(asked.progress, done, done + 2 * count, total)
        done += 2 * count
        number = zlib.crc32(f"{at} {d}".encode()) if seed is None else seed
        group = [tests[place] for place in places]
        samples = tables(
            group, at, d, count, number, workers=asked.workers, keep=keep, progress=report
        )
        for place, sample in zip(places, samples, strict=True):
            answers[place] = _read(tests[place], Empirical(sample), n, at, d, asked)
    return [answer for answer in answers if answer is not None]


def _read(test: UniformityTest, law: Empirical, n: int, at: int, d: int, asked: Null) -> LawChoice:
    """The choice that a table stands for."""
    choice = LawChoice(law, "monte-carlo", f"{law.sample.size} simulated uniform sets")
    if asked.null == "auto":
        choice = test.refine(law, n, d)
    if at == n:
        return choice
    where = f"{choice.description}, of {at} points, where the law has settled"
    return choice._replace(description=where)


def affordable(test: UniformityTest, n: int, d: int, asked: Null) -> int:
    """As many simulated sets as "auto" may spend, at most those asked for; 0 if too few."""
    cost = test.cost(n, d)
    wanted = asked.n_resamples or (_MANY if _MANY * cost <= QUICK else _SETS)
    count = min(wanted, int(_BUDGET / cost))
    return count if count >= min(wanted, _FEWEST) and count * cost <= asked.most else 0


def _too_dear(test: UniformityTest, n: int, d: int, asked: Null) -> ValueError:
    if affordable(test, n, d, dataclasses.replace(asked, most=math.inf)):
        return ValueError(
            f"test {test.name!r} has no closed null law at n = {n}, d = {d}, and simulating one "
            "takes long: ask for it by name"
        )
    return ValueError(
        f"test {test.name!r} has no trustworthy null law at n = {n}, d = {d}, and simulating one "
        f"would take about {test.cost(n, d) * _FEWEST:.0e} operations; ask for it by "
        "null='monte-carlo', or take fewer points"
    )
