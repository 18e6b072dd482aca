"""Work on threads: in order, in the caller's modes, one thread inside, and beside others."""

import math
import os
import signal
import subprocess
import sys
import threading
import time
from typing import ClassVar

import pytest
import torch

import sphuni
from sphuni import _processors, _threads
from sphuni._budget import memory_budget
from sphuni._threads import beside_others, in_turns, side_by_side


def modes(task):
    inference = torch.is_inference_mode_enabled()
    return task, torch.get_num_threads(), torch.is_grad_enabled(), inference, memory_budget()


@pytest.mark.usefixtures("two_threads")
def test_tasks_see_the_modes_and_limits_of_the_caller_and_one_thread():
    with sphuni.limit_memory(12_345_678), torch.no_grad():
        found = list(side_by_side(modes, range(20)))
    assert found == [(task, 1, False, False, 12_345_678) for task in range(20)]
    with torch.inference_mode():
        assert all(inference for *_, inference, _ in side_by_side(modes, range(3)))
    assert [grad for _, _, grad, _, _ in side_by_side(modes, range(3))] == [True] * 3
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_what_a_task_raises_reaches_the_caller():
    answers = side_by_side(lambda task: 1 / (task - 2), range(5))
    assert [next(answers), next(answers)] == [-0.5, -1.0]
    with pytest.raises(ZeroDivisionError):
        next(answers)


@pytest.mark.usefixtures("two_threads")
def test_workers_keep_their_one_thread_when_the_number_is_set_again(set_threads):
    def inside(task):
        time.sleep(0.002)  # so that no worker does everything
        return torch.get_num_threads()

    _threads._pool.cache_clear()
    list(side_by_side(time.sleep, [0.002] * 6))  # torch is asked for nothing in these threads
    set_threads(1)
    set_threads(2)
    assert set(side_by_side(inside, range(8))) == {1}


@pytest.mark.parametrize(("tasks", "inside"), [(2, 2), (3, 1), (9, 1)])
def test_threads_that_tasks_leave_over_work_inside_them(tasks, inside, set_threads):
    set_threads(4)
    assert [task[1] for task in side_by_side(modes, range(tasks))] == [inside] * tasks
    assert torch.get_num_threads() == 4


_FORKED = """
import os, torch
from sphuni._threads import in_turns, side_by_side

torch.set_num_threads(2)
assert list(side_by_side(abs, [-1, -2, -3])) == [1, 2, 3]
child = os.fork()
if child == 0:
    in_turns(abs, [-1, -2, -3], uses=lambda task: [task], width=2)
    os._exit(7 if list(side_by_side(abs, [-1, -2, -3])) == [1, 2, 3] else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_process_works_side_by_side_too():
    process = subprocess.Popen([sys.executable, "-c", _FORKED], start_new_session=True)
    try:
        assert process.wait(timeout=120) == 0
    finally:
        if process.poll() is None:  # the child too, which waits for threads that it has not
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_what_a_task_has_done_side_by_side_runs_in_its_own_thread(set_threads):
    set_threads(4)

    def outer(_):
        own = threading.get_ident()
        return {own} == set(side_by_side(lambda _: threading.get_ident(), range(6)))

    assert all(side_by_side(outer, range(2)))


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_things_go_through_tasks_in_one_order(threads, set_threads):
    set_threads(threads)
    tasks = [(i, j) for shift in range(1, 6) for i in range(6) for j in [(i + shift) % 6]]
    busy, seen = set(), {thing: [] for thing in range(6)}

    def work(task):
        assert busy.isdisjoint(task)
        busy.update(task)
        time.sleep(0.0005 * (1 + task[0] % 3))
        for thing in task:
            seen[thing].append(task)
        busy.difference_update(task)

    in_turns(work, tasks, uses=lambda task: task, width=3)
    assert seen == {thing: [task for task in tasks if thing in task] for thing in range(6)}


@pytest.mark.usefixtures("two_threads")
def test_tasks_that_share_nothing_overlap_and_one_that_fails_ends_all():
    both = threading.Barrier(2)
    in_turns(lambda _: both.wait(timeout=10), range(4), uses=lambda task: [task], width=2)
    done = []

    def fail_third(task):
        done.append(task)
        if task == 2:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        in_turns(fail_third, range(9), uses=lambda _: ["one"], width=2)
    assert done == [0, 1, 2]


@pytest.mark.usefixtures("two_threads")
def test_operations_leave_others_their_processors_and_tasks_keep_all_threads(monkeypatch):
    monkeypatch.setattr(_threads, "free_processors", lambda: 1)
    with beside_others(), beside_others():
        assert torch.get_num_threads() == 1
        workers = {name for name, *_ in side_by_side(where, range(40))}
        assert len(workers) == 2
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with pytest.raises(ZeroDivisionError), beside_others():
        raise ZeroDivisionError
    assert torch.get_num_threads() == 2


def where(_):
    time.sleep(0.002)  # so that no worker does everything
    return threading.get_ident(), torch.get_num_threads()


def test_more_processors_than_threads_change_nothing(monkeypatch, set_threads):
    monkeypatch.setattr(_threads, "free_processors", lambda: 3)
    for threads, inside in ((2, 2), (3, 3), (8, 3)):
        set_threads(threads)
        with beside_others():
            assert torch.get_num_threads() == inside


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("op", ["sum", "rows"])
def test_pair_sums_and_their_gradients_leave_others_their_processors(op, monkeypatch):
    kernel, points = Counting(), sphuni.random_points(60, 20, rng=0, like=torch.zeros(()))
    found = []
    for free in (2, 1):
        kernel.threads.clear()
        monkeypatch.setattr(_threads, "free_processors", lambda free=free: free)
        x = points.clone().requires_grad_()
        values = sphuni.pairwise.pair_reduce(x, kernel=kernel, op=op)
        values.sum().backward()
        assert set(kernel.threads) == {free}
        found.append((values.detach(), x.grad))
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


class Counting(sphuni.kernels.Gaussian):
    """A kernel that notes on how many threads it is computed."""

    threads: ClassVar[list[int]] = []

    def value(self, p, q):
        self.threads.append(torch.get_num_threads())
        return super().value(p, q)

    def value_and_derivative(self, p, q):
        self.threads.append(torch.get_num_threads())
        return super().value_and_derivative(p, q)


LOOKS = {
    "alone": ((0.0, 5.0, 1.0), (1.0, 6.5, 2.5), 4),
    "one other": ((0.0, 5.0, 1.0), (1.0, 7.5, 2.5), 3),
    "half of one other": ((0.0, 5.0, 1.0), (1.0, 5.4, 1.0), 4),
    "more than there are": ((0.0, 5.0, 1.0), (0.5, 9.0, 1.1), 1),
    "too long ago": ((0.0, 5.0, 1.0), (10.0, 25.0, 1.0), 4),
    "nothing to look at": (None, None, 4),
    "first look": (None, (1.0, 6.5, 2.5), 4),
}


@pytest.mark.parametrize(("before", "now", "free"), LOOKS.values(), ids=LOOKS)
def test_free_processors_are_those_that_others_do_not_keep_busy(before, now, free, monkeypatch):
    before, now = (None if look is None else _processors._Look(*look) for look in (before, now))
    monkeypatch.setattr(_processors, "_EVERY", -math.inf)
    monkeypatch.setattr(_processors, "_last", before)
    monkeypatch.setattr(_processors, "_look", lambda: now)
    monkeypatch.setattr(_processors, "_allowed", lambda: set(range(4)))
    assert _processors.free_processors() == free


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="nothing is counted elsewhere")
def test_the_system_counts_the_work_of_this_process():
    before = _processors._look()
    while time.process_time() < before.own + 0.3:
        pass
    now = _processors._look()
    assert now.own - before.own >= 0.3
    assert now.all - before.all >= 0.2
    assert now.clock - before.clock >= 0.2
