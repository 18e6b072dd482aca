import os
import signal
import subprocess
import sys
import time

import pytest

from sphuni._errors import WorkerError
from sphuni._workers import check_workers, ordered_map


def square(value):
    return value * value


def die(value):
    os._exit(1)


@pytest.mark.parametrize("workers", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_answers_come_in_the_order_of_the_tasks(workers):
    answers = list(ordered_map(square, range(7), workers=workers))
    assert answers == [(i, i * i) for i in range(7)]


def test_a_dead_worker_is_an_error_and_not_a_hang():
    with pytest.raises(WorkerError, match="a worker process died"):
        list(ordered_map(die, [1, 2], workers=2))


def test_an_exception_of_a_task_reaches_the_caller():
    with pytest.raises(ZeroDivisionError, match="zero"):
        list(ordered_map((1).__truediv__, [1, 0], workers=2))


def test_no_task_needs_no_process():
    assert list(ordered_map(square, [], workers=4)) == []


@pytest.mark.parametrize(
    ("workers", "error"), [(0, ValueError), (1.5, TypeError), (True, TypeError)]
)
def test_a_wrong_number_of_workers_is_named(workers, error):
    with pytest.raises(error, match="workers"):
        check_workers(workers)


SLEEPERS = """
import signal, sys, time
from sphuni._workers import ordered_map

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background ignore it
    print("ready", flush=True)
    list(ordered_map(time.sleep, [0.1, 600, 600], workers=2))
"""


@pytest.fixture
def ended(tmp_path):
    """How a job with sleeping workers ends, and what they said, after `wait` seconds and a call."""

    def run(wait, end):
        script = tmp_path / "sleepers.py"
        script.write_text(SLEEPERS)
        with subprocess.Popen(
            [sys.executable, str(script)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as job:
            assert job.stdout.readline() == "ready\n"
            time.sleep(wait)
            end(job.pid)
            _, said = job.communicate(timeout=60)  # all processes have closed their ends
        return job.returncode, said

    return run


@pytest.mark.parametrize("wait", [0.05, 0.6, 5.0])
def test_an_interruption_ends_all_processes_without_a_word_from_the_workers(wait, ended):
    code, said = ended(wait, lambda job: os.killpg(job, signal.SIGINT))  # as a terminal does
    assert code == -signal.SIGINT
    assert said.count("Traceback") == said.count("KeyboardInterrupt") == 1
    assert "WorkerError" not in said


@pytest.mark.parametrize("wait", [0.6, 5.0])
def test_workers_end_with_a_process_that_is_killed(wait, ended):
    code, _ = ended(wait, lambda job: os.kill(job, signal.SIGKILL))
    assert code == -signal.SIGKILL
