"""Shards on several processes give what one process gives, and a lost rank ends the job.

Each test starts the processes of one ring once: starting them is most of the time it takes.
"""

import contextlib
import os
import pathlib
import re
import subprocess
import sys

import pytest
import ring_script
import torch
import torch.distributed as dist
from pair_cases import points

import sphuni
from sphuni._errors import EngineError
from sphuni.kernels import Riesz
from sphuni.pairwise import explain, pair_reduce

HERE = pathlib.Path(__file__).parent
PATIENCE = 200  # seconds, well below the timeout of the process group


def run_ring(world, folder, end):
    """Run ring_script.py on `world` processes; return what each rank that lived found."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), str(HERE)]),
        "GLOO_SOCKET_IFNAME": "lo",
    }
    # importing conftest first makes the ranks check annotations as all tests do
    command = [sys.executable, "-c", "import conftest, ring_script; ring_script.main()"]
    ranks = [
        subprocess.Popen(
            [*command, str(rank), str(world), str(folder), end],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    try:
        complaints = [process.communicate(timeout=PATIENCE)[1] for process in ranks]
    finally:
        for process in ranks:
            process.kill()
            process.wait()
    alive = range(world) if end == "well" else range(world - 1)
    for rank in alive:
        assert ranks[rank].returncode == 0, complaints[rank]
    if end != "well":
        assert ranks[-1].returncode == 7, complaints[-1]
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in alive]


def assert_as_in_one_process(found, world):
    """Values equal on all ranks, and all to 1e-12 of the blockwise engine on the whole set."""
    for name, (x, kernel) in ring_script.CASES.items():
        values, gradients = zip(*(one["answers"][name] for one in found), strict=True)
        assert all(torch.equal(value, values[0]) for value in values)
        leaf = x.clone().requires_grad_()
        total = pair_reduce(leaf, kernel=kernel, engine="blockwise")
        total.sum().backward()
        close = 1e-12 if x.dtype == torch.float64 else 1e-6
        torch.testing.assert_close(values[0], total.detach(), rtol=close, atol=1e-12, msg=name)
        rows = ring_script.counts(name, x.shape[-2], world)
        for gradient, expected in zip(gradients, leaf.grad.split(rows, dim=-2), strict=False):
            scale = 1e-12 * float(leaf.grad.abs().max())
            torch.testing.assert_close(gradient, expected, rtol=close, atol=scale, msg=name)


def assert_clear_errors(found, world):
    """What is wrong on the last rank is told to all, and the ring goes on."""
    last, width = world - 1, 4
    differing = {
        "kernel": f"ValueError: every rank must call with the same kernels; rank 0 has .*s=1.0.*, "
        f"rank {last} has .*s=2.0",
        "d": f"ValueError: .*the same d; rank 0 has {width}, rank {last} has {width + 1}",
        "dtype": f"ValueError: .*rank 0 has torch.float64, rank {last} has torch.float32",
    }
    expected = {
        "nan": f"ValueError: points must be finite, and no row zero; row 2 of the shard of rank "
        f"{last} is not",
        "rows": "EngineError: engine='ring' cannot serve this call: it computes sums over the "
        "pairs of one unweighted set only",
        "second": "EngineError: engine='ring' gives first derivatives only",
    }
    whole = torch.cat([points(5, 4, seed=rank) for rank in range(world)])
    then = float(pair_reduce(whole, kernel=Riesz(1.0)))
    for one in found:
        for name, message in (expected | (differing if world > 1 else {})).items():
            assert re.match(message, one["refusals"][name]), one["refusals"][name]
        assert one["refusals"]["then"] == pytest.approx(then, rel=1e-12)


def assert_sharded_tensor_is_served(found):
    """The DTensor's value and gradient are those of the plain shards, bit for bit."""
    for one in found:
        (value, gradient), placements, (copies, named) = one["sharded"]
        expected_value, expected_gradient = one["answers"]["an empty shard"]
        assert torch.equal(value, expected_value)
        assert torch.equal(gradient, expected_gradient)
        assert [placement.is_replicate() for placement in placements] == [True]
        assert re.match("EngineError: .*must be sharded on its rows.*Redistribute it", copies)
        assert re.match("EngineError: engine='blockwise' does not serve a DTensor", named)


def assert_public_energies(found, world):
    """Means, antipodal energies and gradients of shards are those of the whole set."""
    x, _ = ring_script.CASES["an empty shard"]
    leaf = x.clone().requires_grad_()
    expected = [sphuni.riesz_energy(leaf, **options) for options in ring_script.ENERGIES]
    expected[0].backward()
    for one in found:
        for values, exact in zip(one["public"][0], expected, strict=True):
            assert values == pytest.approx((float(exact.detach()),) * 2, rel=1e-12)
        far, weighted, flat, mixed, then = one["public"][2]
        assert re.match(r"ValueError: points must have unit rows .* every rank raises this", far)
        assert re.match("ValueError: weights must be None where the points are spread", weighted)
        assert re.match(r"ValueError: points must have shape .*shard of rank 0; every rank", flat)
        asks = "ValueError: every rank must ask for the same; rank 0 asks for the su"
        assert re.match(asks if world > 1 else "no error", mixed)
        assert then == "no error"
    gradient = torch.cat([one["public"][1] for one in found])
    if len(found) == world:
        torch.testing.assert_close(gradient, leaf.grad, rtol=1e-12, atol=1e-14)


def assert_all(world, folder, end):
    found = run_ring(world, folder, end)
    assert_as_in_one_process(found, world)
    assert_clear_errors(found, world)
    assert_sharded_tensor_is_served(found)
    assert_public_energies(found, world)
    value, gradient = found[0]["one wants no gradient"]
    assert torch.equal(value, found[0]["answers"]["plane by plane"][0])
    assert torch.equal(gradient, found[0]["answers"]["plane by plane"][1])
    if end != "well":
        for one in found:
            *messages, seconds = one["lost"]
            assert all(re.match("WorkerError: a rank of the ring died", m) for m in messages)
            assert seconds < 20


def test_two_processes_agree_with_one_and_notice_a_lost_rank(tmp_path):
    assert_all(2, tmp_path, "within")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("world", "end"),
    [
        (2, "before"),
        (2, "gives up"),
        (3, "within"),
        (3, "well"),
        (4, "before"),
        (4, "gives up"),
    ],
)
def test_any_number_of_processes(world, end, tmp_path):
    assert_all(world, tmp_path, end)


@pytest.mark.slow
@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_two_threads_in_every_process(world, tmp_path, monkeypatch):
    monkeypatch.setenv("RING_THREADS", "2")
    assert_all(world, tmp_path, "well")


@pytest.fixture
def alone():
    """A process group of this process only."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("alone")
def test_a_ring_of_one_process_is_the_blockwise_engine():
    for x, kernel in ring_script.CASES.values():
        results = []
        for engine in ("ring", "blockwise"):
            leaf = x.clone().requires_grad_()
            total = pair_reduce(leaf, kernel=kernel, engine=engine)
            total.sum().backward(retain_graph=True)
            total.sum().backward()
            results.append((total, leaf.grad))
        assert torch.equal(results[0][0], results[1][0])
        scale = 1e-13 * float(results[1][1].abs().max())
        torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-13, atol=scale)
    assert float(pair_reduce(torch.empty(0, 3), kernel=Riesz(1.0), engine="ring")) == 0.0
    half = points(30, 3).to(torch.bfloat16)
    assert pair_reduce(half, kernel=Riesz(1.0), engine="ring").dtype == torch.bfloat16


@pytest.mark.usefixtures("alone")
def test_ranks_talk_on_the_device_of_their_rows(monkeypatch):
    """NCCL sends objects from the current device, which is the first one in every process."""
    said, inside, gather = [], [], dist.all_gather_object

    @contextlib.contextmanager
    def device_of(x):
        inside.append(x)
        yield
        inside.pop()

    def heard(told, own, group):
        said.append([rows.shape for rows in inside])
        gather(told, own, group=group)

    monkeypatch.setattr(torch.cuda, "device_of", device_of)
    monkeypatch.setattr(dist, "all_gather_object", heard)
    sphuni.riesz_energy(points(7, 3), engine="ring")
    assert said == [[(7, 3)], [(1, 7, 3)]]


def test_without_a_process_group_the_remedy_is_named():
    message = "cannot serve this call: no process group is initialised. Start the ranks with torch"
    with pytest.raises(EngineError, match=message):
        pair_reduce(points(5, 3), kernel=Riesz(1.0), engine="ring")


@pytest.mark.usefixtures("alone")
def test_auto_leaves_ordinary_tensors_alone():
    x, y = points(5, 3), points(4, 3, seed=1)
    assert explain(x, kernel=Riesz(1.0)).engine == "blockwise"
    assert explain(x, kernel=Riesz(1.0), engine="ring").engine == "ring"
    for arguments in ({"op": "rows"}, {"weights": torch.ones(5)}):
        with pytest.raises(EngineError, match=r"engine='ring'.*one unweighted set only"):
            pair_reduce(x, kernel=Riesz(1.0), engine="ring", **arguments)
    with pytest.raises(EngineError, match=r"engine='ring'.*one unweighted set only"):
        pair_reduce(x, y, kernel=Riesz(1.0), engine="ring")
