"""Two gloo processes give the gradients of one."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_two_ranks_equal_one_process(tmp_path):
    script = Path(__file__).with_name("distributed_script.py")
    ranks = [
        subprocess.Popen(
            [sys.executable, str(script), str(rank), str(tmp_path / "store")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        for rank in ranks:
            output, errors = rank.communicate(timeout=180)
            assert rank.returncode == 0, errors[-3000:]
            assert output == "equal\n"
    finally:
        for rank in ranks:
            rank.kill()
