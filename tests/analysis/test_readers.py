"""Honest files of every format give back the tensors that were written."""

import importlib
import json
import os
import shutil
import sys

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from torch import nn

from sphuni._errors import RefusedFileError, UnreadableFileError
from sphuni.analysis.readers import ReadLimits, read_points, read_tensors
from sphuni.nn.neurons import NeuronView, tensor_neurons


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3))


STATE = model().state_dict()


def assert_same(tensors, expected=STATE):
    assert list(tensors) == list(expected)
    for name, value in expected.items():
        assert tensors[name].dtype == value.dtype
        assert torch.equal(tensors[name], value)


def write_torch(path, value=STATE, **options):
    torch.save(value, path, **options)
    return path


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".bin", ".pth.tar", ".PT"])
def test_torch_files(tmp_path, suffix):
    loaded = read_tensors(write_torch(tmp_path / f"model{suffix}"))
    assert (loaded.format, loaded.skipped) == ("torch", ())
    assert_same(loaded.tensors)


def test_legacy_torch_files(tmp_path):
    path = write_torch(tmp_path / "model.pt", _use_new_zipfile_serialization=False)
    assert_same(read_tensors(str(path)).tensors)


def test_safetensors_in_file_order(tmp_path):
    save_file(STATE, tmp_path / "model.safetensors")
    loaded = read_tensors(tmp_path / "model.safetensors")
    assert loaded.format == "safetensors"
    assert_same({name: loaded.tensors[name] for name in STATE})


DTYPES = [
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn,
    torch.float8_e5m2, torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64, torch.bool,
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_are_kept(tmp_path, dtype):
    tensor = torch.arange(6).reshape(3, 2).to(dtype)
    save_file({"w": tensor}, tmp_path / "m.safetensors")
    torch.save({"w": tensor}, tmp_path / "m.pt")
    for name in ("m.safetensors", "m.pt"):
        read = read_tensors(tmp_path / name).tensors["w"]
        assert read.dtype == dtype
        assert torch.equal(read.float(), tensor.float())


def test_large_files_are_mapped(tmp_path):
    big = torch.zeros(18 << 20)
    torch.save({"w": big}, tmp_path / "big.pt")
    save_file({"w": big}, tmp_path / "big.safetensors")
    for name in ("big.pt", "big.safetensors"):
        before = _resident()
        loaded = read_tensors(tmp_path / name)
        assert _resident() - before < 32 << 20
        assert loaded.tensors["w"].numel() == 18 << 20


def _resident():
    with open("/proc/self/statm", encoding="ascii") as stream:
        return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def checkpoint():
    net = model()
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.randn(8, 4)).sum().backward()
    optimizer.step()
    return net, optimizer


def test_checkpoints_lose_wrapper_and_optimizer(tmp_path):
    net, optimizer = checkpoint()
    content = {
        "epoch": 3,
        "history": {"loss": [1.0, 0.5]},
        "model_state_dict": net.state_dict(),
        "optimizer_state_dict": optimizer.state_dict(),
    }
    loaded = read_tensors(write_torch(tmp_path / "c.pt", content))
    assert list(loaded.tensors) == list(STATE)
    ((name, reason),) = loaded.skipped
    assert name == "optimizer_state_dict"
    # Adam keeps two averages and a step for each of six parameters.
    assert "18 tensors" in reason


@pytest.mark.parametrize("key", ["opt", "optim", "optimizer_states", "trainer", "gen_optimizer"])
def test_optimizers_are_known_by_name_or_shape(tmp_path, key):
    net, optimizer = checkpoint()
    content = {"state_dict": net.state_dict(), key: [optimizer.state_dict()]}
    loaded = read_tensors(write_torch(tmp_path / "c.ckpt", content))
    assert list(loaded.tensors) == list(STATE)
    assert len(loaded.skipped) == 1


def test_wrappers_stay_where_two_branches_hold_tensors(tmp_path):
    content = {"model": {"w": torch.eye(3)}, "ema": {"w": torch.eye(2)}}
    loaded = read_tensors(write_torch(tmp_path / "c.pt", content))
    assert list(loaded.tensors) == ["model.w", "ema.w"]


def test_nested_wrappers_and_lists(tmp_path):
    content = {"model": {"state_dict": {"blocks": [{"w": torch.eye(2)}, {"w": torch.eye(3)}]}}}
    loaded = read_tensors(write_torch(tmp_path / "c.pt", content))
    assert list(loaded.tensors) == ["blocks.0.w", "blocks.1.w"]


def test_shared_containers_are_read_once(tmp_path):
    part = {"w": torch.eye(3)}
    loaded = read_tensors(write_torch(tmp_path / "c.pt", {"a": part, "b": part}))
    assert list(loaded.tensors) == ["a.w"]
    assert loaded.skipped == (("b", "the same object as a"),)


def test_tied_tensors_stay_tied(tmp_path):
    weight = torch.randn(5, 3)
    content = {"embed.weight": weight, "head.weight": weight}
    loaded = read_tensors(write_torch(tmp_path / "c.pt", content))
    records = list(tensor_neurons(loaded.tensors))
    assert [isinstance(r, NeuronView) for r in records] == [True, False]
    assert records[1].reason == "tied to embed.weight, where it is counted"


def test_parameters_and_keys_written_alike(tmp_path):
    content = {1: nn.Parameter(torch.eye(2)), "1": torch.eye(3), "a.b": torch.eye(2)}
    loaded = read_tensors(write_torch(tmp_path / "c.pt", content))
    assert list(loaded.tensors) == ["1", "1 (2)", "a.b"]


def test_a_bare_tensor_and_an_empty_file(tmp_path):
    assert list(read_tensors(write_torch(tmp_path / "t.pt", torch.eye(2))).tensors) == ["tensor"]
    assert read_tensors(write_torch(tmp_path / "e.pt", {})).tensors == {}


def test_names_the_caller_has_declared_safe(tmp_path):
    content = {"w": torch.eye(2), "lr": np.float64(0.5)}
    path = write_torch(tmp_path / "c.pt", content)
    with pytest.raises(RefusedFileError, match=r"would call numpy\._core\.multiarray\.scalar"):
        read_tensors(path)
    scalar = importlib.import_module("numpy._core.multiarray").scalar
    declared = [(scalar, "numpy._core.multiarray.scalar"), np.dtype, np.dtypes.Float64DType]
    with torch.serialization.safe_globals(declared):
        assert list(read_tensors(path).tensors) == ["w"]


def shards(folder, suffix=".safetensors"):
    folder.mkdir(parents=True, exist_ok=True)
    table = {}
    for i, name in enumerate(STATE):
        file = f"model-{i % 2}{suffix}"
        table[name] = file
    for file in set(table.values()):
        part = {name: STATE[name] for name in STATE if table[name] == file}
        (save_file if suffix == ".safetensors" else torch.save)(part, folder / file)
    index = folder / f"model{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": table}))
    return index


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_shards_by_index_and_by_folder(tmp_path, suffix):
    index = shards(tmp_path / "model", suffix)
    for source in (index, index.parent):
        loaded = read_tensors(source)
        assert_same({name: loaded.tensors[name] for name in STATE})
        assert loaded.path == index


def test_a_name_in_two_shards(tmp_path):
    index = shards(tmp_path)
    save_file({**STATE}, tmp_path / "model-0.safetensors")
    with pytest.raises(UnreadableFileError, match="hold a tensor of the same name"):
        read_tensors(index)


def hub(root):
    """Write the cache layout of the hub: a snapshot of links into a folder of blobs."""
    home = root / "models--org--name"
    snapshot = home / "snapshots" / "abc"
    for folder in (snapshot, home / "blobs", home / "refs"):
        folder.mkdir(parents=True)
    save_file(STATE, home / "blobs" / "0123")
    (snapshot / "model.safetensors").symlink_to("../../blobs/0123")
    (home / "refs" / "main").write_text("abc")
    return home


def test_hub_cache(tmp_path):
    home = hub(tmp_path)
    snapshot = home / "snapshots" / "abc"
    for source in (home, snapshot, snapshot / "model.safetensors"):
        assert set(read_tensors(source).tensors) == set(STATE)


def test_hub_cache_with_links_elsewhere(tmp_path):
    home = hub(tmp_path)
    link = home / "snapshots" / "abc" / "model.safetensors"
    shutil.move(home / "blobs" / "0123", tmp_path / "outside")
    link.unlink()
    link.symlink_to(tmp_path / "outside")
    with pytest.raises(RefusedFileError, match="is a link to a file outside the folder"):
        read_tensors(home)


def test_hub_cache_without_a_main_snapshot(tmp_path):
    home = hub(tmp_path)
    (home / "refs" / "main").unlink()
    assert set(read_tensors(home).tensors) == set(STATE)
    (home / "snapshots" / "def").mkdir()
    with pytest.raises(UnreadableFileError, match="holds 2 snapshots and none is marked"):
        read_tensors(home)


def test_a_file_that_was_cut_short_is_to_be_copied_again(tmp_path):
    save_file(STATE, tmp_path / "m.safetensors")
    content = (tmp_path / "m.safetensors").read_bytes()
    (tmp_path / "m.safetensors").write_bytes(content[:-5])
    with pytest.raises(RefusedFileError, match="it was cut short; copy or download it again"):
        read_tensors(tmp_path / "m.safetensors")


def test_folders_prefer_safetensors_and_ask_when_in_doubt(tmp_path):
    write_torch(tmp_path / "pytorch_model.bin")
    save_file(STATE, tmp_path / "model.safetensors")
    assert read_tensors(tmp_path).format == "safetensors"
    save_file(STATE, tmp_path / "other.safetensors")
    with pytest.raises(UnreadableFileError, match=r"holds several files of weights .*; name one"):
        read_tensors(tmp_path)


def test_the_state_of_a_trainer_is_not_taken_for_weights(tmp_path):
    for name in ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state_0.pth"):
        (tmp_path / name).write_bytes(b"anything")
    with pytest.raises(UnreadableFileError, match="holds no file of weights"):
        read_tensors(tmp_path)
    write_torch(tmp_path / "pytorch_model.bin")
    assert set(read_tensors(tmp_path).tensors) == set(STATE)


def test_a_file_the_user_links_to_is_read(tmp_path):
    save_file(STATE, tmp_path / "model.safetensors")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "link.safetensors").symlink_to(tmp_path / "model.safetensors")
    assert set(read_tensors(tmp_path / "sub" / "link.safetensors").tensors) == set(STATE)


def test_npz_and_npy(tmp_path):
    arrays = {
        "w": np.arange(6.0).reshape(2, 3),
        "big": np.asfortranarray(np.arange(6, dtype=">f4").reshape(3, 2)),
        "text": np.array(["a", "b"]),
        "half": np.ones((2, 2), np.float16),
    }
    np.savez(tmp_path / "a.npz", **arrays)
    np.savez_compressed(tmp_path / "b.npz", **arrays)
    for name in ("a.npz", "b.npz"):
        loaded = read_tensors(tmp_path / name)
        assert loaded.format == "npz"
        assert [left.name for left in loaded.skipped] == ["text"]
        for key, tensor in loaded.tensors.items():
            np.testing.assert_array_equal(tensor.numpy(), arrays[key])
    np.save(tmp_path / "big.npy", arrays["big"])
    loaded = read_tensors(tmp_path / "big.npy")
    assert loaded.format == "npy"
    np.testing.assert_array_equal(loaded.tensors["big"].numpy(), arrays["big"])


def test_a_header_that_never_ends_is_named(tmp_path):
    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + (9_000).to_bytes(2, "little") + b"[" * 9_000)
    with pytest.raises(UnreadableFileError, match=r"'a\.npy' has no valid header: EOF in multi"):
        read_tensors(path)


def test_a_mapped_array_cannot_change_its_file(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 2)))
    read_tensors(tmp_path / "a.npy").tensors["a"].fill_(7.0)
    assert np.load(tmp_path / "a.npy").sum() == 0


LIMITED = {
    "max_tensors": (ReadLimits(max_tensors=3), "max_tensors"),
    "max_name": (ReadLimits(max_name=4), "max_name"),
    "max_rank": (ReadLimits(max_rank=1), "max_rank|axes"),
    "max_bytes": (ReadLimits(max_bytes=16), "max_bytes|bytes"),
}


@pytest.mark.parametrize("limit", LIMITED)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".npz", ".onnx"])
def test_limits_hold_in_every_format(tmp_path, limit, suffix):
    path = tmp_path / f"m{suffix}"
    if suffix == ".pt":
        torch.save(STATE, path)
    elif suffix == ".safetensors":
        save_file(STATE, path)
    elif suffix == ".npz":
        np.savez(path, **{name: value.numpy() for name, value in STATE.items()})
    else:
        write_onnx(path)
    limits, message = LIMITED[limit]
    assert read_tensors(path).tensors
    with pytest.raises(RefusedFileError, match=message):
        read_tensors(path, limits=limits)


def write_onnx(path):
    weights = {name: value for name, value in STATE.items() if value.is_floating_point()}
    tensors = [numpy_helper.from_array(v.numpy(), n) for n, v in weights.items()]
    nodes = [
        helper.make_node("Gemm", ["x", "0.weight", "0.bias"], ["h"], transB=1),
        helper.make_node("Gemm", ["h", "2.weight", "2.bias"], ["y"], transB=1),
    ]
    graph = helper.make_graph(nodes, "g", [], [], tensors)
    path.write_bytes(helper.make_model(graph).SerializeToString())


def onnx_rows(path, operation, weight, position=1, **attributes):
    """Read a model of one operation and return its kind and matrix."""
    inputs = ["x"] * position + ["w"]
    node = helper.make_node(operation, inputs, ["y"], **attributes)
    tensor = numpy_helper.from_array(weight.numpy(), "w")
    graph = helper.make_graph([node], "g", [], [], [tensor])
    path.write_bytes(helper.make_model(graph).SerializeToString())
    loaded = read_tensors(path)
    return [
        (r.name, r.kind, r.matrix) for r in tensor_neurons(loaded.tensors, kinds=loaded.kinds)
    ], loaded.skipped


W = torch.arange(12.0).reshape(3, 4)
LAYOUTS = {
    "x @ w": ("MatMul", W, 1, {}, W.t()),
    "w @ x": ("MatMul", W, 0, {}, W),
    "gemm": ("Gemm", W, 1, {}, W.t()),
    "gemm transposed": ("Gemm", W, 1, {"transB": 1}, W),
    "gemm of weight first": ("Gemm", W, 0, {}, W),
    "gemm of transposed weight first": ("Gemm", W, 0, {"transA": 1}, W.t()),
    "table": ("Gather", W, 0, {}, W),
    "table by an axis counted from the end": ("Gather", W, 0, {"axis": -2}, W),
    "conv": ("Conv", W.reshape(3, 2, 2), 1, {}, W),
    "deconv": (
        "ConvTranspose",
        W.reshape(3, 2, 2),
        1,
        {},
        W.reshape(3, 2, 2).transpose(0, 1).flatten(1),
    ),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_onnx_rows_are_neurons(tmp_path, case):
    operation, weight, position, attributes, expected = LAYOUTS[case]
    ((_, _, matrix),), _ = onnx_rows(tmp_path / "m.onnx", operation, weight, position, **attributes)
    assert torch.equal(matrix, expected)


def test_onnx_gates_are_split_in_its_own_order(tmp_path):
    weight = torch.arange(2 * 8 * 3.0).reshape(2, 8, 3)
    found, _ = onnx_rows(
        tmp_path / "m.onnx", "LSTM", weight, 1, hidden_size=2, direction="bidirectional"
    )
    names = [name for name, _, _ in found]
    assert names[:4] == [f"w[{gate} forward]" for gate in "iofc"]
    assert torch.equal(found[5][2], weight[1, 2:4])


def test_onnx_looks_through_transpose_and_cast(tmp_path):
    nodes = [
        helper.make_node("Transpose", ["w"], ["t"], perm=[1, 0]),
        helper.make_node("Cast", ["t"], ["c"], to=1),
        helper.make_node("MatMul", ["x", "c"], ["y"]),
    ]
    tensor = numpy_helper.from_array(W.numpy(), "w")
    graph = helper.make_graph(nodes, "g", [], [], [tensor])
    (tmp_path / "m.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    loaded = read_tensors(tmp_path / "m.onnx")
    assert torch.equal(loaded.tensors["w"], W)
    assert loaded.kinds == {"w": "linear"}


def test_onnx_constants_and_branches(tmp_path):
    def branch(name):
        weight = numpy_helper.from_array(W.numpy(), "w")
        shape = numpy_helper.from_array(np.array([1, 2]), "shape")
        nodes = [
            helper.make_node("Constant", [], [f"{name}_w"], value=weight),
            helper.make_node("Constant", [], [f"{name}_s"], value=shape),
            helper.make_node("MatMul", ["x", f"{name}_w"], [f"{name}_y"]),
        ]
        return helper.make_graph(nodes, name, [], [])

    choice = helper.make_node(
        "If", ["c"], ["y"], name="pick", then_branch=branch("a"), else_branch=branch("b")
    )
    graph = helper.make_graph([choice], "g", [], [])
    (tmp_path / "m.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    loaded = read_tensors(tmp_path / "m.onnx")
    assert set(loaded.tensors) == {"pick.then_branch/a_w", "pick.else_branch/b_w"}
    assert loaded.skipped[0].reason.startswith("2 tensors of integers")


def test_onnx_weights_added_entry_by_entry_are_left_out(tmp_path):
    found, left = onnx_rows(tmp_path / "m.onnx", "Add", W)
    assert not found
    assert left == (("w", "12 numbers of shape (3, 4) combined entry by entry (Add)"),)


def test_onnx_weights_in_integers_are_called_what_they_are(tmp_path):
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s"], ["w"]),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    stored = [
        numpy_helper.from_array(np.ones((6, 4), dtype=np.int8), "q"),
        numpy_helper.from_array(np.float32(0.1), "s"),
        numpy_helper.from_array(np.ones((2, 2), dtype=np.int64), "places"),
    ]
    graph = helper.make_graph(nodes, "g", [], [], stored)
    (tmp_path / "m.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    left = read_tensors(tmp_path / "m.onnx").skipped
    assert left[0].name == "q"
    assert left[0].reason.startswith("24 integers of shape (6, 4) for DequantizeLinear: quantised")
    assert left[1].reason.startswith("1 tensor of integers or truth values: shapes")


def test_onnx_bfloat16(tmp_path):
    raw = torch.ones(2, 3, dtype=torch.bfloat16).view(torch.int16).numpy().tobytes()
    tensor = helper.make_tensor("w", TensorProto.BFLOAT16, [2, 3], raw, raw=True)
    node = helper.make_node("Gather", ["w", "i"], ["y"])
    graph = helper.make_graph([node], "g", [], [], [tensor])
    (tmp_path / "m.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    read = read_tensors(tmp_path / "m.onnx").tensors["w"]
    assert read.dtype == torch.bfloat16
    assert torch.equal(read, torch.ones(2, 3, dtype=torch.bfloat16))


def test_without_onnx_the_error_says_what_to_install(tmp_path, monkeypatch):
    write_onnx(tmp_path / "m.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UnreadableFileError, match=r"pip install 'sphuni\[onnx\]'"):
        read_tensors(tmp_path / "m.onnx")


ADVICE = {
    "m.gguf": (UnreadableFileError, "GGUF"),
    "m.h5": (UnreadableFileError, "HDF5"),
    "m.pkl": (RefusedFileError, "can run code"),
    "m.pt2": (RefusedFileError, "carries code"),
    "m.xyz": (UnreadableFileError, r"of no format that is read; .*\.onnx.*: \.csv \.tsv \.txt$"),
}


@pytest.mark.parametrize("name", ADVICE)
def test_other_formats_are_turned_away_with_advice(tmp_path, name):
    (tmp_path / name).write_bytes(b"content")
    error, message = ADVICE[name]
    with pytest.raises(error, match=message):
        read_tensors(tmp_path / name)


POINTS = torch.arange(6.0, dtype=torch.float64).reshape(3, 2)
TEXTS = {
    "a.csv": "0,1\n2,3\n4,5\n",
    "named.csv": "x,y\n0,1\n2,3\n4,5\n",
    "a.tsv": "0\t1\n2\t3\n4\t5\n",
    "marked.csv": "\ufeff0,1\n2,3\n4,5\n",
    "marked_names.csv": "\ufeffx,y\n0,1\n2,3\n4,5\n",
    "a.txt": "# comment\n0 1\n2 3\n4 5\n",
    "explained.csv": "# x: east, y: north\n\nx,y\n0,1\n2,3\n4,5\n",
    "frame.csv": ",x,y\n7,0,1\n3,2,3\n5,4,5\n",
    "quoted_frame.csv": '"",x,y\n1,0,1\n2,2,3\n3,4,5\n',
    "quoted_rows.csv": '"","x","y"\n"1",0,1\n"2",2,3\n"3",4,5\n',
    "quoted.csv": '"0","1"\n"2","3"\n"4","5"\n',
    "semicolons.csv": "x;y\n0;1\n2;3\n4;5\n",
    "frame.tsv": "\tx\ty\n0\t0\t1\n1\t2\t3\n2\t4\t5\n",
}


@pytest.mark.parametrize("name", TEXTS)
def test_points_from_text(tmp_path, name):
    (tmp_path / name).write_text(TEXTS[name])
    assert torch.equal(read_points(tmp_path / name), POINTS)


def test_points_from_arrays(tmp_path):
    np.save(tmp_path / "a.npy", POINTS.numpy())
    np.savez(tmp_path / "a.npz", points=POINTS.numpy(), labels=np.arange(3))
    np.savez(tmp_path / "two.npz", a=POINTS.numpy(), b=2 * POINTS.numpy())
    torch.save(POINTS, tmp_path / "a.pt")
    for name in ("a.npy", "a.npz", "a.pt"):
        assert torch.equal(read_points(tmp_path / name), POINTS)
    assert torch.equal(read_points(tmp_path / "two.npz", key="b"), 2 * POINTS)
    with pytest.raises(UnreadableFileError, match=r"2 arrays that could be points .* key="):
        read_points(tmp_path / "two.npz")
    with pytest.raises(UnreadableFileError, match="no array of points named 'c'"):
        read_points(tmp_path / "two.npz", key="c")


BAD_TEXTS = {
    "": "is empty",
    "x,y\n": "holds no numbers",
    "1,2\n3\n": "not a table of numbers",
    "1,2\n3,abc\n": "not a table of numbers",
    "x;y\n0,5;1,5\n": "not a table of numbers: .*'0,5'.* Numbers need a decimal point$",
    "0,5;1,5\n2,5;3,5\n": "not a table of numbers: .*'5;1'.* Numbers need a decimal point$",
    "\ufffd\0\n": "not a table of numbers|holds no numbers",
}


@pytest.mark.parametrize("text", BAD_TEXTS)
def test_points_from_bad_text(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UnreadableFileError, match=BAD_TEXTS[text]):
        read_points(tmp_path / "a.csv")


def test_points_of_the_wrong_shape(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 4)))
    with pytest.raises(UnreadableFileError, match=r"no floating-point array .*\(2, 3, 4\)"):
        read_points(tmp_path / "a.npy")
