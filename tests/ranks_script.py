"""What one rank of a job does in test_ranks.py; started with the arguments FOLDER END."""

import json
import os
import pathlib
import sys
import time

import numpy as np
import torch

from sphuni._errors import WorkerError
from sphuni._ranks import rank_pool, run_on_ranks
from sphuni._workers import ordered_map
from sphuni.configurations import optimize
from sphuni.stats import uniformity_test


def square(value):
    return value * value, int(os.environ["RANK"])


def slow_square(value):
    time.sleep(0.05)
    return square(value)


def nested(value):
    """Tasks within a task stay on the rank of the task."""
    assert rank_pool() is None
    return [answer for _, answer in ordered_map(square, range(value))]


def reciprocal(value):
    return 1 / value


def unpicklable(value):
    time.sleep(0.05)
    return lambda: value


def die(value):
    if os.environ["RANK"] != "0":
        os._exit(9)
    time.sleep(0.2)


def slow_elsewhere(value):
    """All but the first, which is waited for."""
    if value > 0:
        time.sleep(0.1 if os.environ["RANK"] == "0" else 4)
    return value


def stop_early():
    """End well while another rank is at work on a task that nobody waits for."""
    answers = ordered_map(slow_elsewhere, range(4))
    next(answers)
    answers.close()
    return 0


def numbers():
    """A Monte-Carlo null and a search with several starts."""
    points = np.linalg.qr(np.random.default_rng(3).standard_normal((9, 9)))[0][:, :4]
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    test = uniformity_test(points, "bingham", null="monte-carlo", n_resamples=2000, rng=5)
    found = optimize("thomson", n=8, d=3, restarts=8, rng=2)
    return [float(test.pvalue), float(test.statistic), float(found.value)]


def message(call):
    try:
        call()
    except (ArithmeticError, AttributeError, TypeError, WorkerError) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def program(folder, end):
    answers = list(ordered_map(slow_square, range(12)))
    early = ordered_map(slow_square, range(12))
    found = {
        "order": [(index, value) for index, (value, _) in answers],
        "ranks": sorted({rank for _, (_, rank) in answers}),
        "nested": [[value for value, _ in answer] for _, answer in ordered_map(nested, [1, 2, 3])],
        "first of many": [next(early)[1][0], early.close()],
        "error": message(lambda: list(ordered_map(reciprocal, [1, 0, 2]))),
        "then": [value for _, (value, _) in ordered_map(square, range(3))],
        "numbers": numbers(),
    }
    if end == "lost":
        found["lost"] = message(lambda: list(ordered_map(die, range(6))))
    else:
        found["unpicklable"] = message(lambda: list(ordered_map(unpicklable, range(4))))
    (folder / "found.json").write_text(json.dumps(found))
    return 0


def main():
    folder, end = pathlib.Path(sys.argv[1]), sys.argv[2]
    torch.set_num_threads(1)
    if end == "leader gone":
        sys.exit(run_on_ranks(lambda: os._exit(9)))
    if end == "early":
        sys.exit(run_on_ranks(stop_early))
    sys.exit(run_on_ranks(lambda: program(folder, end)))


if __name__ == "__main__":
    main()
