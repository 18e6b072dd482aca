"""Rank 0 with the other ranks at its service: same numbers, and no hang if one is lost."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import ranks_script

from sphuni.analysis import ModelReport

HERE = pathlib.Path(__file__).parent
PATIENCE = 120


def environment(**more):
    paths = os.pathsep.join([str(HERE.parent), str(HERE)])
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths} | more


def run_ranks(world, folder, end):
    """Start the ranks as torchrun does, without its agent; return their exit codes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GLOO_SOCKET_IFNAME": "lo"}
    start = [sys.executable, "-c", "import conftest, ranks_script; ranks_script.main()"]
    ranks = [
        subprocess.Popen(
            [*start, str(folder), end],
            env=environment(**address, RANK=str(rank), WORLD_SIZE=str(world)),
        )
        for rank in range(world)
    ]
    try:
        return [process.wait(PATIENCE) for process in ranks]
    finally:
        for process in ranks:
            process.kill()
            process.wait()


def check(world, folder, end):
    codes = run_ranks(world, folder, end)
    found = json.loads((folder / "found.json").read_text())
    assert found["order"] == [[i, i * i] for i in range(12)]
    assert found["ranks"] == list(range(world))
    assert found["nested"] == [[0], [0, 1], [0, 1, 4]]
    assert found["first of many"] == [0, None]
    assert found["error"] == "ZeroDivisionError: division by zero"
    assert found["then"] == [0, 1, 4]
    assert found["numbers"] == ranks_script.numbers()
    return codes, found


@pytest.mark.slow
def test_two_ranks_give_the_numbers_of_one_and_notice_a_lost_rank(tmp_path):
    codes, found = check(2, tmp_path, "lost")
    assert codes == [0, 9]
    assert found["lost"].startswith("WorkerError: rank 1 died or could not be reached")


@pytest.mark.slow
@pytest.mark.parametrize("world", [3, 4])
def test_more_ranks(world, tmp_path):
    codes, found = check(world, tmp_path, "well")
    assert codes == [0] * world
    assert "pickle" in found["unpicklable"]


@pytest.mark.slow
def test_a_rank_at_work_when_the_program_ends_well_is_waited_for(tmp_path):
    assert run_ranks(2, tmp_path, "early") == [0, 0]


@pytest.mark.slow
def test_ranks_end_when_rank_0_is_gone(tmp_path):
    assert run_ranks(3, tmp_path, "leader gone") == [9, 5, 5]


def write_model(folder):
    """A model with a layer that is divided into slabs, and others."""
    rng = np.random.default_rng(0)
    path = folder / "model.npz"
    shapes = {"table": (4_200, 12), "first": (40, 16), "second": (12, 40), "bias": (12,)}
    np.savez(path, **{name: rng.standard_normal(s, np.float32) for name, s in shapes.items()})
    return path


def command(*arguments, processes=1):
    """Start the command, under torchrun where several processes are asked for."""
    start = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return subprocess.Popen(
        [
            sys.executable,
            *(start if processes > 1 else []),
            "-m",
            "sphuni.cli",
            *map(str, arguments),
        ],
        env=environment(GLOO_SOCKET_IFNAME="lo"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_too_little_memory_is_the_layers_failure_on_any_number_of_ranks(tmp_path):
    model = write_model(tmp_path)
    for count in (1, 2):
        path = tmp_path / f"{count}.json"
        job = command("analyze", model, "--max-bytes", "100K", "--json", path, processes=count)
        job.communicate(timeout=PATIENCE)
        assert job.returncode == (4 if count == 1 else 1)  # torchrun's own code for any failure
        table, *others = ModelReport.from_json(path).layers
        assert table.status == "failed"
        assert table.reason.endswith(f"max_bytes allows {100 // count} KiB")  # ranks share it
        assert [layer.status for layer in others] == ["analysed", "analysed", "skipped"]


@pytest.mark.slow
def test_threads_do_not_change_the_digits_of_the_pairs():
    text = (
        "import sphuni, torch; x = torch.from_numpy(sphuni.random_points(5000, 3, rng=0))\n"
        "x.requires_grad_(); values = []\n"
        "for engine in ('blockwise', 'compiled'):\n"
        "    e = sphuni.riesz_energy(x, engine=engine); e.backward(); values.append(e.item())\n"
        "print(torch.get_num_threads(), values, x.grad.square().sum().item())"
    )
    found = []
    for threads in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", text],
            env=environment() | {"OMP_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(done.stdout.split(" ", 1))
    assert [count for count, _ in found] == ["1", "2"]
    assert found[0][1] == found[1][1]


def contents(path):
    report = ModelReport.from_json(path).to_dict()
    for layer in report["layers"]:
        layer.pop("seconds")
    return json.dumps({k: v for k, v in report.items() if k != "created"})


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
def test_torchrun_gives_the_report_of_one_process(processes, tmp_path):
    model, found = write_model(tmp_path), []
    for count in (1, processes):
        path = tmp_path / f"{count}.json"
        job = command("analyze", model, "--json", path, processes=count)
        output, complaints = job.communicate(timeout=PATIENCE)
        assert job.returncode == 0, complaints
        found.append((output, contents(path)))
    assert found[0] == found[1]


@pytest.mark.slow
def test_a_killed_rank_ends_the_job_with_an_error(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "large.npy"
    np.save(path, rng.standard_normal((130_000, 64), np.float32))
    job = command("analyze", path, "--json", tmp_path / "report.json", processes=2)
    victim = wait_for_rank(job.pid, 1)
    wait_for_work(victim)
    os.kill(victim, 9)
    began = time.monotonic()
    complaints = job.communicate(timeout=PATIENCE)[1]
    assert time.monotonic() - began < 20
    assert job.returncode == 1
    assert "Signal 9 (SIGKILL)" in complaints
    assert not (tmp_path / "report.json").exists()


def wait_for_rank(agent, rank):
    """Process id of the rank that the agent has started."""
    for _ in range(300):
        children = pathlib.Path(f"/proc/{agent}/task/{agent}/children").read_text().split()
        for child in children:
            if f"RANK={rank}".encode() in pathlib.Path(f"/proc/{child}/environ").read_bytes().split(
                b"\0"
            ):
                return int(child)
        time.sleep(0.1)
    raise AssertionError("torchrun started no such rank")


def wait_for_work(process, seconds=5):
    """Wait until a process has worked for longer than it takes to import everything."""
    for _ in range(6000):
        spent = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
        if sum(map(int, spent)) > seconds * os.sysconf("SC_CLK_TCK"):
            return
        time.sleep(0.01)
    raise AssertionError("the rank never came to work")
