import gzip
import io
import struct
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from sphuni._errors import UnreadableFileError
from sphuni.training import data
from sphuni.training.config import DataConfig
from sphuni.training.data import images
from sphuni.training.data.arrays import read_graph, read_npz, read_points


def idx(array) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def picture(value) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((4, 4, 3), value, np.uint8)).save(stream, "png")
    return stream.getvalue()


def test_idx_files_zipped_or_not(tmp_path):
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    for name in ("train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz"):
        (tmp_path / name).write_bytes(gzip.compress(idx(pixels)))
    for name in ("train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"):
        (tmp_path / name).write_bytes(idx(np.array([3, 1], np.uint8)))
    (tmp_path / "mnist").symlink_to(tmp_path)
    found = data.load("mnist", tmp_path)
    assert found.pool.inputs.shape == (2, 1, 3, 4)
    assert found.test.targets.tolist() == [3, 1]
    (tmp_path / "short").write_bytes(idx(pixels)[:-1])
    with pytest.raises(UnreadableFileError, match=r"short' is not a whole IDX file.*\(2, 3, 4\)"):
        images.read_idx(tmp_path / "short")


def test_cifar_in_binary_form(tmp_path):
    record = np.zeros((2, 3073), np.uint8)
    record[1] = 7
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for name in (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"):
        (folder / f"{name}.bin").write_bytes(record.tobytes())
    found = data.load("cifar10", tmp_path)
    assert found.pool.inputs.shape == (10, 3, 32, 32)
    assert found.test.targets.tolist() == [0, 7]
    (folder / "test_batch.bin").write_bytes(b"123")
    with pytest.raises(UnreadableFileError, match="3 bytes are not a multiple of 3073"):
        images.read_cifar_binary([folder / "test_batch.bin"])


def test_class_folders_and_tars_agree(tmp_path):
    with tarfile.open(tmp_path / "all.tar.gz", "w:gz") as archive:
        for part in ("train", "test"):
            for value, name in ((9, "cat"), (200, "bird")):
                content = picture(value)
                (tmp_path / part / name).mkdir(parents=True)
                (tmp_path / part / name / "1.png").write_bytes(content)
                member = tarfile.TarInfo(f"{part}/{name}/1.png")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    folder = data.load(str(tmp_path))
    packed = images.read_class_tar(tmp_path / "all.tar.gz", "test")
    for found in (folder.test, packed):
        colours = dict(zip(found.targets.tolist(), found.inputs[:, 0, 0, 0].tolist(), strict=True))
        assert colours == {0: 200, 1: 9}
    with pytest.raises(UnreadableFileError, match="holds no images in class folders"):
        images.read_class_tar(tmp_path / "all.tar.gz", "valid")


def test_a_users_arrays(tmp_path, blobs):
    found = read_npz(tmp_path.joinpath(blobs))
    assert found.classes == 3
    assert len(found.pool), len(found.test) == (96, 24)
    assert found.test.targets.bincount().tolist() == [8, 8, 8]
    np.savez(tmp_path / "bad.npz", images=np.zeros((2, 2, 2)), labels=np.zeros(3))
    with pytest.raises(UnreadableFileError, match="has 2 images but 3 labels"):
        read_npz(tmp_path / "bad.npz")
    np.savez(tmp_path / "worse.npz", a=np.zeros(2))
    with pytest.raises(UnreadableFileError, match=r"must hold images .* it holds a"):
        read_npz(tmp_path / "worse.npz")


def test_point_clouds_are_coordinates_by_points(tmp_path):
    np.savez(tmp_path / "p.npz", points=np.zeros((10, 7, 3), np.float32), labels=np.arange(10) % 2)
    assert read_points(tmp_path / "p.npz").pool.inputs.shape == (8, 3, 7)


def test_a_graph_spreads_by_both_degrees(tmp_path):
    np.savez(
        tmp_path / "g.npz",
        feat_indptr=np.array([0, 2, 3, 3]),
        feat_indices=np.array([0, 1, 1]),
        feat_shape=np.array([3, 2]),
        labels=np.array([0, 1, 1]),
        edges=np.array([[0, 1]]),
        train=np.array([0]),
        val=np.array([1]),
        test=np.array([2]),
    )
    found = read_graph(tmp_path / "g.npz")
    adjacency = found.graph.adjacency @ torch.eye(3)
    expected = torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(adjacency, expected)
    features = found.graph.features @ torch.eye(2)
    torch.testing.assert_close(features, torch.tensor([[0.5, 0.5], [0.0, 1.0], [0.0, 0.0]]))
    splits = data.draw(found, DataConfig(name="g"), seed=0)
    assert splits.shape == (2,)
    assert splits.validation.targets.tolist() == [1]


def test_seeds_draw_different_samples_and_arms_the_same(blobs):
    dataset, config = data.load(blobs), DataConfig(train=24, validation=12, test=9)
    first, again, other = (data.draw(dataset, config, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.train.inputs, again.train.inputs)
    assert not torch.equal(first.train.targets, other.train.targets)
    assert first.train.targets.bincount().tolist() == [8, 8, 8]
    assert len(first.validation), len(first.test) == (12, 9)
    rows = torch.cat([first.train.inputs, first.validation.inputs]).flatten(1)
    assert len(rows.unique(dim=0)) == 36
    assert first.train.inputs.mean().item() == pytest.approx(0.0, abs=1e-6)
    assert first.train.inputs.std().item() == pytest.approx(1.0, rel=1e-5)
    assert torch.equal(first.test.targets, other.test.targets)


def test_too_many_samples_are_refused(blobs):
    dataset = data.load(blobs)
    with pytest.raises(ValueError, match=r"must be at most 96, the pool of 'blobs'; got 90 \+ 7"):
        data.draw(dataset, DataConfig(train=90, validation=7), seed=0)
    with pytest.raises(ValueError, match=r"data.test must be at most 24"):
        data.draw(dataset, DataConfig(test=25), seed=0)
    with pytest.raises(ValueError, match=r"data.transform must be one of phase, magnitude"):
        data.draw(dataset, DataConfig(transform="phse"), seed=0)


def test_missing_data_say_what_is_needed(tmp_path, monkeypatch):
    monkeypatch.delenv("SPHUNI_DATA", raising=False)
    assert data.data_folder() is None
    assert "cora.npz" in data.reason_missing("cora", tmp_path)
    assert data.reason_missing("digits") == ""
    with pytest.raises(data.MissingDataError, match=r"no folder of data was named.*cora.npz"):
        data.load("cora")
    with pytest.raises(ValueError, match="did you mean 'cora'"):
        data.load("coral")
    with pytest.raises(data.MissingDataError, match="does not exist"):
        data.data_folder(tmp_path / "none")


def test_phase_and_magnitude_are_what_they_say():
    x = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    phase = torch.fft.fft2(data.TRANSFORMS["phase"](x))
    magnitude = torch.fft.fft2(data.TRANSFORMS["magnitude"](x))
    torch.testing.assert_close(phase.abs(), torch.ones_like(phase.abs()))
    torch.testing.assert_close(phase.angle(), torch.fft.fft2(x).angle())
    torch.testing.assert_close(magnitude.abs(), torch.fft.fft2(x).abs())


def test_crops_move_and_reflect():
    x = torch.arange(36.0).reshape(1, 1, 6, 6)
    generator = torch.Generator().manual_seed(0)
    moved = [data.augment(x, ["crop"], generator) for _ in range(30)]
    assert all(m.shape == x.shape for m in moved)
    assert len({tuple(m.flatten().tolist()) for m in moved}) > 10
    with pytest.raises(ValueError, match="must name 'flip' or 'crop'; got 'rotate'"):
        data.augment(x, ["rotate"], generator)


def test_a_truncated_archive_is_named(tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).random((50, 3)), y=np.arange(50))
    whole = path.read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:size])
        with pytest.raises(UnreadableFileError, match=r"x.npz' cannot be read as npz"):
            read_npz(path)
    path.write_bytes(whole[:100] + bytes(50) + whole[150:])
    with pytest.raises(UnreadableFileError, match=r"x.npz' cannot be read as npz"):
        read_npz(path)


def test_pooling_beyond_the_images_is_refused(blobs):
    with pytest.raises(ValueError, match=r"data.pool must be at most 8.*got 100"):
        data.draw(data.load(blobs), DataConfig(name=blobs, pool=100), seed=0)
