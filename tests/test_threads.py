"""Work on threads: in order, in the caller's modes, with one thread inside."""

import time

import pytest
import torch

import sphuni
from sphuni import _threads
from sphuni._budget import memory_budget
from sphuni._threads import side_by_side


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
