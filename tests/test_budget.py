"""The memory limit and its message."""

import subprocess
import sys

import numpy as np
import pytest

import sphuni
from sphuni import _budget
from sphuni._errors import BudgetError, SphuniError
from sphuni._workers import ordered_map


def test_the_default_is_a_quarter_of_what_is_free(monkeypatch):
    monkeypatch.setattr(_budget, "_free_memory", lambda: 4 << 30)
    assert _budget.memory_budget() == 1 << 30
    monkeypatch.setattr(_budget, "_free_memory", lambda: 100)
    assert _budget.memory_budget() == 1 << 20
    assert _budget.memory_budget(5) == 5


def test_free_memory_is_known_on_this_machine():
    assert 1 << 20 < _budget._free_memory() < 1 << 50


@pytest.mark.parametrize("bad", [0, -1])
def test_a_limit_that_allows_nothing_is_refused(bad):
    with pytest.raises(ValueError, match="max_bytes must be a positive number of bytes"):
        _budget.memory_budget(bad)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1.02e+03 B"), (1536, "1.5 KiB"), (5 << 20, "5 MiB"), (3 << 40, "3 TiB")],
)
def test_sizes_are_written_for_people(count, text):
    assert _budget.describe_bytes(count) == text


def test_a_block_limits_every_call_within():
    points = sphuni.random_points(100, 3, rng=0)
    with sphuni.limit_memory(1 << 20):
        assert _budget.memory_budget() == 1 << 20
        with sphuni.limit_memory(1024):
            assert _budget.memory_budget() == 1024
            assert _budget.memory_budget(5) == 5
            with pytest.raises(BudgetError, match="allows 1 KiB"):
                sphuni.gram_logdet(points)
            with pytest.raises(BudgetError, match="allows 1 KiB"):
                sphuni.riesz_energy(points, s=1.0, engine="reference")
            with pytest.raises(BudgetError, match="allows 1 KiB"):
                sphuni.configurations.optimize("thomson", n=100)
        assert _budget.memory_budget() == 1 << 20
    assert _budget.memory_budget() > 1 << 20


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("1M", 1 << 20), ("2GiB", 2 << 30), (" 1.5 kb ", 1536), ("500M", 500 << 20)],
)
def test_a_block_takes_the_texts_of_the_command_line(text, size):
    with sphuni.limit_memory(text):
        assert _budget.memory_budget() == size
    assert _budget.memory_budget(text) == size
    assert _budget.read_bytes(text) == size
    with pytest.raises(BudgetError, match="allows 1 KiB"):
        sphuni.gram_logdet(sphuni.random_points(100, 3, rng=0), max_bytes="1K")


@pytest.mark.parametrize("bad", ["", "0", "-1M", "M", "1 Q", "nan", "1e9", "9" * 400])
def test_texts_that_are_no_size_are_refused(bad):
    message = "max_bytes: expected a number of bytes such as 500M or 2GiB; got "
    with pytest.raises(ValueError, match=message), sphuni.limit_memory(bad):
        pass


def test_the_limit_ends_with_its_block_whatever_happens():
    with pytest.raises(KeyError), sphuni.limit_memory(4096):
        raise KeyError
    assert _budget.memory_budget() > 4096


@pytest.mark.parametrize("bad", [True, False, 1e6, b"1M", np.array([1, 2]), np.True_])
def test_a_block_wants_a_whole_number(bad):
    with pytest.raises(TypeError, match="whole number of bytes"), sphuni.limit_memory(bad):
        pass


@pytest.mark.parametrize("bad", [0, -5])
def test_a_block_that_allows_nothing_is_refused(bad):
    with pytest.raises(ValueError, match="max_bytes must be a positive"), sphuni.limit_memory(bad):
        pass


def _own_budget(task):
    return task * _budget.memory_budget()


def test_worker_processes_share_the_limit():
    with sphuni.limit_memory(3000):
        assert list(ordered_map(_own_budget, [1, 2], workers=2)) == [(0, 1500), (1, 3000)]


def _energy_of(points):
    return _budget.stated_limit(), float(sphuni.riesz_energy(points))


def test_workers_that_share_what_is_free_give_the_digits_of_one_process(monkeypatch):
    """Under a limit that was stated their blocks are as small as it asks for."""
    points = [sphuni.random_points(1600, 12, rng=seed) for seed in range(2)]
    monkeypatch.setattr(_budget, "_free_memory", lambda: 40 << 20)
    alone = [_energy_of(one) for one in points]
    assert [found for _, found in ordered_map(_energy_of, points, workers=2)] == alone
    with sphuni.limit_memory("10M"):
        shared = [found for _, found in ordered_map(_energy_of, points, workers=2)]
    assert [limit for limit, _ in shared] == [5 << 20] * 2


def test_a_call_beyond_its_budget_is_refused_with_both_sizes():
    points = sphuni.random_points(100, 3, rng=0)
    with pytest.raises(BudgetError, match=r"n = 100 points needs 625 KiB .* allows 1 KiB; use a"):
        sphuni.gram_logdet(points, max_bytes=1024)
    assert issubclass(BudgetError, MemoryError)
    assert issubclass(BudgetError, SphuniError)
    _budget.require(10, 10, what="nothing", remedy="nothing")


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({"max": "1000", "current": "400"}, 600),
        ({"max": "1000", "current": "1000", "memory.stat": "anon 10\ninactive_file 900"}, 900),
        ({"max": "1000", "current": "900", "memory.stat": "total_inactive_file 500"}, 600),
        ({"max": "1000", "current": "1000"}, 1),
        ({"max": "max", "current": "400"}, None),
        ({}, None),
    ],
)
def test_what_a_container_has_left(files, free, tmp_path, monkeypatch):
    for name, text in files.items():
        (tmp_path / name).write_text(text + "\n")
    group = tmp_path / "max", tmp_path / "current"
    assert _budget._free_of(*group) == free
    monkeypatch.setattr(_budget, "_groups", lambda: (group,))
    assert _budget._free_memory() == (_budget._free_of_machine() if free is None else free)


@pytest.mark.parametrize(
    ("lines", "groups"),
    [
        (["0::/"], {"memory.max", "memory/memory.limit_in_bytes"}),
        (
            ["0::/job.slice/step_0"],
            {
                "job.slice/step_0/memory.max",
                "job.slice/memory.max",
                "memory.max",
                "memory/memory.limit_in_bytes",
            },
        ),
        (
            ["5:devices:/a", "4:cpu,memory:/job:7", "0::/"],
            {"memory.max", "memory/job:7/memory.limit_in_bytes", "memory/memory.limit_in_bytes"},
        ),
        ([], {"memory.max", "memory/memory.limit_in_bytes"}),
    ],
)
def test_limits_of_a_job_are_those_of_its_groups_and_of_all_around_them(lines, groups):
    found = [str(limit.relative_to(_budget._CGROUP)) for limit, _ in _budget._groups_of(lines)]
    assert set(found) == groups
    assert len(found) == len(groups)


ADDRESSES = """
import resource, sphuni
from sphuni import _budget
points = sphuni.random_points(3000, 3, rng=0)
sphuni.gram_logdet(points[:50])
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (400 << 20), resource.RLIM_INFINITY))
assert 300 << 20 < _budget._free_memory() <= 400 << 20
try:
    sphuni.gram_logdet(points)
except sphuni.BudgetError as error:
    print(error)
"""


def test_a_limit_of_the_address_space_counts_as_what_is_free():
    pytest.importorskip("resource")
    done = subprocess.run(
        [sys.executable, "-c", ADDRESSES], capture_output=True, text=True, timeout=600, check=True
    )
    assert "the Gram matrix of n = 3000 points needs 549 MiB but max_bytes allows" in done.stdout
