"""Two gloo processes give the gradients of one, and a dead one ends the job."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("distributed_script.py")


@pytest.fixture
def start(tmp_path):
    """Start both ranks; whatever still runs afterwards is ended."""
    ranks = []

    def both(*arguments):
        for rank in range(2):
            command = [sys.executable, str(SCRIPT), str(rank), str(tmp_path / "store"), *arguments]
            pipe = subprocess.PIPE
            ranks.append(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True))
        return ranks

    yield both
    for rank in ranks:
        rank.kill()
        rank.communicate()


@pytest.mark.slow
def test_two_ranks_equal_one_process(start):
    for rank in start():
        output, errors = rank.communicate(timeout=180)
        assert rank.returncode == 0, errors[-3000:]
        assert re.fullmatch(r"equal to \S+ and \S+\n", output)


@pytest.mark.slow
def test_a_killed_rank_ends_the_job_with_an_error(start):
    survivor, killed = start("20")
    killed.communicate(timeout=120)
    _, errors = survivor.communicate(timeout=20)
    assert killed.returncode == -signal.SIGKILL
    assert survivor.returncode != 0
    assert "Connection closed by peer" in errors or "Connection reset" in errors, errors[-2000:]
