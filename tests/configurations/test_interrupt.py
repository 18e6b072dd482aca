"""Ctrl-C in the middle of a batch of starts."""

import signal
import threading

import numpy as np
import pytest

from sphuni.configurations import optimize
from sphuni.configurations._clock import GRACE, interrupted, late, minding_ctrl_c
from sphuni.configurations.problems._energies import EnergyProblem
from sphuni.configurations.search import _batch, _search

pytestmark = pytest.mark.skipif(
    threading.current_thread() is not threading.main_thread()
    or signal.getsignal(signal.SIGINT) is not signal.default_int_handler,
    reason="only the main thread of a program that leaves Ctrl-C alone is interrupted",
)


@pytest.fixture
def press(monkeypatch):
    """Press Ctrl-C while the starts of the batch of a given number are drawn."""

    def at(number):
        real = _batch.random_starts

        def drawn(n, d, first, streams, **options):
            if first == number:
                signal.raise_signal(signal.SIGINT)
            return real(n, d, first, streams, **options)

        monkeypatch.setattr(_batch, "random_starts", drawn)

    return at


@pytest.mark.parametrize(
    ("problem", "options"),
    [
        ("thomson", {}),
        ("tammes", {}),
        ("covering", {}),
        pytest.param("polarization", {"s": 1.0}, marks=pytest.mark.slow),
    ],
)
def test_the_first_batch_gives_the_best_so_far(problem, options, press):
    press(0)
    result = optimize(problem, n=30, **options)
    assert (result.status, result.starts) == ("interrupted", 0)
    assert np.linalg.norm(result.points, axis=1) == pytest.approx(1)
    assert "cut short" in result.advice
    assert not interrupted()


def test_a_batch_that_was_cut_is_run_again(press, tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    whole = optimize("thomson", n=7, restarts=192)
    press(64)
    first = optimize("thomson", n=7, restarts=192, checkpoint=path)
    assert (first.status, first.starts) == ("interrupted", 64)
    monkeypatch.undo()
    second = optimize("thomson", n=7, restarts=192, checkpoint=path, resume=True)
    assert second.starts == 192
    assert np.array_equal(second.points, whole.points)


def test_the_second_time_it_is_an_exception():
    def press_twice():
        with minding_ctrl_c():
            signal.raise_signal(signal.SIGINT)
            assert late(np.inf)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        press_twice()
    assert not late(np.inf)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_handlers_of_the_caller_are_left_alone(monkeypatch):
    seen = []
    monkeypatch.setattr(signal, "getsignal", lambda _: seen.append)
    with minding_ctrl_c():
        assert signal.signal(signal.SIGINT, signal.default_int_handler) is (
            signal.default_int_handler
        )


@pytest.fixture
def press_while_certifying(monkeypatch):
    """Press Ctrl-C in the first so many certificates; the seconds each of them was given."""

    def times(count):
        real, given = EnergyProblem.certify, []

        def certified(task, points, seconds=np.inf):
            given.append(seconds)
            if len(given) <= count:
                signal.raise_signal(signal.SIGINT)
            return real(task, points, seconds)

        monkeypatch.setattr(EnergyProblem, "certify", certified)
        return given

    return times


def test_ctrl_c_while_certifying_keeps_the_answer(press_while_certifying, tmp_path):
    whole = optimize("thomson", n=9, restarts=4, engine="blockwise")
    given = press_while_certifying(1)
    path = tmp_path / "run.npz"
    result = optimize("thomson", n=9, restarts=4, engine="blockwise", checkpoint=path)
    assert (result.status, result.starts) == ("interrupted", 4)
    assert np.array_equal(result.points, whole.points)
    assert result.value == whole.value
    assert given == [np.inf, GRACE]
    assert path.exists()


def test_ctrl_c_twice_while_certifying_is_an_exception(press_while_certifying):
    press_while_certifying(2)
    with pytest.raises(KeyboardInterrupt):
        optimize("thomson", n=9, restarts=4, engine="blockwise")


def test_ctrl_c_in_the_search_and_in_its_certificate_is_an_exception(press, press_while_certifying):
    press(0)
    press_while_certifying(1)
    with pytest.raises(KeyboardInterrupt):
        optimize("thomson", n=9, restarts=4, engine="blockwise")


@pytest.mark.parametrize(("restarts", "status"), [(128, "interrupted"), (64, "finished")])
def test_ctrl_c_between_two_batches_is_no_time_limit(restarts, status, monkeypatch):
    missed = iter([False])
    monkeypatch.setattr(_search, "interrupted", lambda: next(missed, True))
    result = optimize(
        "thomson",
        n=9,
        restarts=restarts,
        engine="blockwise",
        callback=lambda progress: signal.raise_signal(signal.SIGINT),
    )
    assert (result.status, result.starts) == (status, 64)
