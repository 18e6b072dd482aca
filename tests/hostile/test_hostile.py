"""Hostile files end in a typed error or a documented acceptance, quickly, and run no code."""

import io
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hostile_files import CASES
from onnx import TensorProto, helper
from safetensors.torch import save

from sphuni._errors import RefusedFileError, UnreadableFileError
from sphuni.analysis.readers import read_tensors
from sphuni.nn.neurons import tensor_neurons

SECONDS = 2.0
BYTES = 200 << 20
ALLOWED = {"error": {"refused", "unreadable"}}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    script = Path(__file__).with_name("run_cases.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.run(
        [sys.executable, str(script), str(folder)],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
    )
    records = [json.loads(line) for line in child.stdout.splitlines()]
    assert child.returncode == 0, child.stderr[-2000:]
    return {record["name"]: record for record in records}


@pytest.mark.parametrize("name", CASES)
def test_hostile_file(name, outcomes):
    record = outcomes[name]
    expected = CASES[name][1]
    assert record["outcome"] in ALLOWED.get(expected, {expected}), record["message"]
    assert record["seconds"] < SECONDS
    assert record["bytes"] < BYTES
    assert not record["ran_code"]
    assert record["message"].isprintable()
    assert "\n" not in record["message"]


def test_there_are_at_least_a_hundred_kinds():
    assert len(CASES) >= 100


def small_files():
    """Return one small honest file per format, by suffix."""
    state = {"a.weight": torch.arange(12.0).reshape(4, 3), "a.bias": torch.ones(4)}
    zipped, legacy, npz, npy = io.BytesIO(), io.BytesIO(), io.BytesIO(), io.BytesIO()
    torch.save({"state_dict": state}, zipped)
    torch.save({"state_dict": state}, legacy, _use_new_zipfile_serialization=False)
    np.savez_compressed(npz, **{name: value.numpy() for name, value in state.items()})
    np.save(npy, state["a.weight"].numpy())
    weight = helper.make_tensor("w", TensorProto.FLOAT, [3, 4], [float(i) for i in range(12)])
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    model = helper.make_model(helper.make_graph([node], "g", [], [], [weight]))
    return {
        ".safetensors": save(state),
        ".pt": zipped.getvalue(),
        ".pth": legacy.getvalue(),
        ".npz": npz.getvalue(),
        ".npy": npy.getvalue(),
        ".onnx": model.SerializeToString(),
    }


HONEST = small_files()


def read(path):
    """Return whether the file was accepted; whatever is no UnreadableFileError fails the test."""
    try:
        loaded = read_tensors(path)
    except UnreadableFileError:
        return False
    for record in tensor_neurons(loaded.tensors, kinds=loaded.kinds):
        assert record.parameters >= 0
    return True


def mutated(content, source):
    """Change one to eight bytes, or cut, double or fill a piece."""
    data = bytearray(content)
    for _ in range(source.choice((1, 1, 2, 8))):
        data[source.randrange(len(data))] = source.randrange(256)
    start = source.randrange(len(data))
    piece = data[start : start + source.randrange(1, 64)]
    action = source.random()
    if action < 0.1:
        del data[start : start + len(piece)]
    elif action < 0.2:
        data[start:start] = piece
    elif action < 0.3:
        data[start : start + len(piece)] = b"\xff" * len(piece)
    return bytes(data)


def fuzz(path, suffix, rounds, seed):
    source = random.Random(seed)
    target = path / f"fuzz{suffix}"
    accepted = 0
    for _ in range(rounds):
        target.unlink(missing_ok=True)
        target.write_bytes(mutated(HONEST[suffix], source))
        accepted += read(target)
    return accepted


@pytest.mark.parametrize("suffix", HONEST)
def test_mutations(suffix, tmp_path):
    assert 0 < fuzz(tmp_path, suffix, 1000, seed=0) < 1000


@pytest.mark.slow
@pytest.mark.parametrize("suffix", HONEST)
def test_twenty_thousand_mutations(suffix, tmp_path):
    assert 0 < fuzz(tmp_path, suffix, 20_000, seed=1) < 20_000


@pytest.mark.parametrize("suffix", HONEST)
def test_truncations(suffix, tmp_path):
    content = HONEST[suffix]
    target = tmp_path / f"cut{suffix}"
    assert read_whole(target, content)
    accepted = []
    for length in {*range(0, len(content), max(1, len(content) // 100)), len(content) - 1}:
        target.unlink(missing_ok=True)
        target.write_bytes(content[:length])
        if read(target):
            accepted.append(length)
    # A protobuf message may end between two of its fields; every other format knows its length.
    assert suffix == ".onnx" or not accepted


def read_whole(target, content):
    target.write_bytes(content)
    return read(target)


def test_refusal_names_what_would_be_called(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")
    with pytest.raises(RefusedFileError, match=r"torch\.nn\.modules\.linear\.Linear.*state_dict"):
        read_tensors(tmp_path / "module.pt")


def test_nothing_is_written_beside_the_file(tmp_path):
    for suffix, content in HONEST.items():
        assert read_whole(tmp_path / f"model{suffix}", content)
    assert {item.name for item in tmp_path.iterdir()} == {f"model{suffix}" for suffix in HONEST}
