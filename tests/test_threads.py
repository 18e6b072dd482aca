"""Work on threads: in order, in the caller's modes, with one thread inside."""

import threading
import time

import pytest
import torch

import sphuni
from sphuni import _threads
from sphuni._budget import memory_budget
from sphuni._threads import in_turns, side_by_side


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
