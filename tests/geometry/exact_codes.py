"""The table of exact codes, and point sets for the laws."""

import csv
from pathlib import Path

import sphuni
from sphuni.sphere import random_rotation

DATA = Path(__file__).parents[1] / "data" / "universally_optimal_codes.csv"
TOO_LARGE = ("leech_196560", "4600")
ROWS = [
    row for row in csv.DictReader(DATA.read_text().splitlines()) if row["name"] not in TOO_LARGE
]
SMALL = [row for row in ROWS if int(row["n"]) <= 120 and int(row["d"]) <= 8]


def code(row):
    return sphuni.configurations.construct(row["name"])


def moved(points, rng):
    """The same set under a rotation and a permutation."""
    rotation = random_rotation(points.shape[-1], rng=rng).numpy()
    return (points @ rotation)[..., rng.permutation(points.shape[-2]), :]


def name(row):
    return row["name"]
