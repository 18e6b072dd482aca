import functools
import gzip
import io
import struct
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from sphuni._errors import UnreadableFileError
from sphuni.training import data, models
from sphuni.training.config import DataConfig
from sphuni.training.data import Dataset, Samples, images
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
    (packed,) = images.read_class_tar(tmp_path / "all.tar.gz", ("test",))
    for found in (folder.test, packed):
        colours = dict(zip(found.targets.tolist(), found.inputs[:, 0, 0, 0].tolist(), strict=True))
        assert colours == {0: 200, 1: 9}
    with pytest.raises(UnreadableFileError, match="holds no images in class folders"):
        images.read_class_tar(tmp_path / "all.tar.gz", ("valid",))


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


def test_point_clouds_are_points_by_coordinates_as_pointnet_takes_them(tmp_path):
    rng = np.random.default_rng(0)
    points, labels = rng.normal(size=(10, 7, 3)).astype(np.float32), np.arange(10) % 2
    np.savez(tmp_path / "modelnet40.npz", points=points, labels=labels)
    splits = data.draw(data.load("modelnet40", tmp_path), DataConfig(name="modelnet40"), seed=0)
    assert splits.shape == (7, 3)
    network = models.build("pointnet", inputs=splits.shape, classes=2, width=0.1).eval()
    clouds = splits.train.inputs
    torch.testing.assert_close(network(clouds), network(clouds.flip(1)))
    np.savez(tmp_path / "turned.npz", points=points.transpose(0, 2, 1), labels=labels)
    with pytest.raises(
        UnreadableFileError, match=r"clouds of shape \(n, points, 3\); got \(8, 3, 7"
    ):
        read_points(tmp_path / "turned.npz")


GRAPH = {
    "feat_indptr": [0, 2, 3, 3], "feat_indices": [0, 1, 1], "feat_shape": [3, 2],
    "labels": [0, 1, 1], "edges": [[0, 1]], "train": [0], "val": [1], "test": [2],
}  # fmt: skip


def test_a_graph_spreads_by_both_degrees(tmp_path):
    np.savez(tmp_path / "g.npz", **GRAPH)
    found = read_graph(tmp_path / "g.npz")
    assert torch.equal(data.load(str(tmp_path / "g.npz")).test.inputs, found.test.inputs)
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


@pytest.mark.parametrize("kind", ["idx", "gz", "xz", "bz2"])
def test_a_compressed_file_is_read_or_named_wherever_it_is_damaged(tmp_path, kind):
    path, pixels = tmp_path / f"x.{kind}", np.arange(200, dtype=np.uint8).reshape(2, 10, 10) // 9
    if kind == "idx":
        path.write_bytes(gzip.compress(idx(pixels)))
        read = functools.partial(images.read_idx, path)
    else:
        with tarfile.open(path, f"w:{kind}") as archive:
            for name in ("train/a/0.png", "train/a/1.png"):
                member = tarfile.TarInfo(name)
                member.size = len(picture(7))
                archive.addfile(member, io.BytesIO(picture(7)))
        read = functools.partial(images.read_class_tar, path, ("train",))
    read()
    whole, refused = path.read_bytes(), 0
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            read()
        except UnreadableFileError:
            refused += 1
    assert refused > len(whole) / 2


def test_pooling_beyond_the_images_is_refused(blobs):
    with pytest.raises(ValueError, match=r"data.pool must be at most 8.*got 100"):
        data.draw(data.load(blobs), DataConfig(name=blobs, pool=100), seed=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"feat_indices": [0, 1, 5]}, "feat_indices must hold numbers from 0 to 1"),
        ({"feat_indptr": [0, 2, 3]}, "feat_indptr must be 4 increasing numbers"),
        ({"feat_indptr": [0, 3, 2, 3]}, "feat_indptr must be 4 increasing numbers"),
        ({"edges": [[0, 7]]}, "edges must hold numbers from 0 to 2"),
        ({"edges": [[0, 1, 2]]}, r"edges must have the shape \(m, 2\); it has \(1, 3\)"),
        ({"labels": [-1, 1, 1]}, "train must be a list of nodes that have a label"),
        ({"labels": [0, 1]}, "labels must be 3 numbers"),
        ({"labels": [0.0, 1.0, 1.0]}, "labels must hold whole numbers; it holds float64"),
        ({"test": [3]}, "test must hold numbers from 0 to 2"),
        ({"test": []}, "test must name nodes"),
    ],
)
def test_numbers_that_lead_out_of_a_graph_are_refused(tmp_path, changes, message):
    np.savez(tmp_path / "g.npz", **{**GRAPH, **changes})
    with pytest.raises(UnreadableFileError, match=f"g.npz' is not a whole graph: {message}"):
        read_graph(tmp_path / "g.npz")


def test_a_class_has_one_number_in_all_parts(tmp_path):
    values = {"bird": 10, "cat": 20, "dog": 30}
    for part, names in (("train", values), ("test", ("cat", "dog"))):
        for name in names:
            (tmp_path / part / name).mkdir(parents=True)
            (tmp_path / part / name / "1.png").write_bytes(picture(values[name]))
    found = data.load(str(tmp_path))
    assert found.classes == 3
    for part in (found.pool, found.test):
        assert torch.equal(part.inputs[:, 0, 0, 0], 10 * (part.targets + 1))


def test_pictures_of_any_mode_become_grey_or_coloured(tmp_path):
    palette = Image.new("P", (4, 4), 2)
    palette.putpalette([0, 0, 0, 255, 255, 255, 250, 10, 20])
    modes = {
        "p": (palette, [250, 10, 20]),
        "la": (Image.new("LA", (4, 4), (5, 255)), [5]),
        "rgba": (Image.new("RGBA", (4, 4), (1, 2, 3, 4)), [1, 2, 3]),
        "deep": (Image.new("I;16", (4, 4), 300), [300]),
    }
    for name, (image, expected) in modes.items():
        (tmp_path / name / "x").mkdir(parents=True)
        image.save(tmp_path / name / "x" / "1.png")
        (found,) = images.read_class_folders(tmp_path, (name,))
        assert found.inputs[0, :, 0, 0].tolist() == expected
    (tmp_path / "p" / "x" / "1.png").write_bytes(picture(0)[:40])
    with pytest.raises(UnreadableFileError, match=r"p/x/1.png' cannot be read as an image"):
        images.read_class_folders(tmp_path, ("p",))


@pytest.mark.parametrize("labels", [[1], [1, 2, 3], [1, 10], [[1, 2]]])
def test_labels_of_idx_files_belong_to_the_images(tmp_path, labels):
    (tmp_path / "mnist").mkdir()
    for part in ("train", "t10k"):
        for name, values in (("images-idx3", np.zeros((2, 3, 4))), ("labels-idx1", labels)):
            path = tmp_path / "mnist" / f"{part}-{name}-ubyte"
            path.write_bytes(idx(np.asarray(values, np.uint8)))
    with pytest.raises(UnreadableFileError, match=r"train-\.\.\. in .* as many labels from 0 to 9"):
        data.load("mnist", tmp_path)


def test_classes_beyond_those_of_cifar_are_refused(tmp_path):
    (tmp_path / "b.bin").write_bytes(np.full(3073, 10, np.uint8).tobytes())
    with pytest.raises(UnreadableFileError, match="not a batch of CIFAR-10: it has the class 10"):
        images.read_cifar_binary([tmp_path / "b.bin"])


@pytest.mark.parametrize("kind", ["u1", "u2", "u8", ">i4", "?"])
def test_arrays_of_any_whole_type_are_classes(tmp_path, kind):
    inputs = np.arange(30.0).reshape(10, 3)
    np.savez(tmp_path / "x.npz", x=inputs.astype(">f4"), y=(np.arange(10) % 2).astype(kind))
    found = read_npz(tmp_path / "x.npz")
    assert found.test.targets.tolist() == [int(row[0] % 2) for row in found.test.inputs]


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((0, 3)), np.zeros(0, int), "holds no samples in x and y"),
        (np.float32(1), np.int64(0), "holds no samples in x and y"),
        (np.array(["a", "b"]), np.zeros(2, int), "real numbers in x; it holds <U1"),
        (np.ones((2, 3), complex), np.zeros(2, int), "real numbers in x; it holds complex128"),
        (np.ones((1, 3)), np.zeros(1, int), "too few samples of each class to put 20 % aside"),
    ],
)
def test_arrays_without_samples_are_refused(tmp_path, x, y, message):
    np.savez(tmp_path / "x.npz", x=x, y=y)
    with pytest.raises(UnreadableFileError, match=message):
        read_npz(tmp_path / "x.npz")


def test_train_and_test_inputs_have_one_shape(tmp_path):
    y = np.zeros(2, int)
    parts = {"train_x": np.ones((2, 3)), "train_y": y, "test_x": np.ones((2, 4)), "test_y": y}
    np.savez(tmp_path / "x.npz", **parts)
    with pytest.raises(UnreadableFileError, match=r"of one shape; it holds \(3,\) and \(4,\)"):
        read_npz(tmp_path / "x.npz")


def test_only_images_with_room_are_augmented():
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(ValueError, match=r"augment is for images; the inputs have shape \(5, 3\)"):
        data.augment(torch.zeros(2, 5, 3), ["flip"], generator)
    with pytest.raises(ValueError, match=r"'crop' needs images of more than 4 .* got 4 x 9"):
        data.augment(torch.zeros(2, 1, 4, 9), ["crop"], generator)


def test_validation_is_like_the_pool_where_training_takes_the_rest():
    dataset = data.load("digits")
    found = data.draw(dataset, DataConfig(name="digits", validation=60), seed=0)
    assert (len(found.train), len(found.validation)) == (540, 60)
    expected = dataset.pool.targets.bincount() / 10
    counts = found.validation.targets.bincount(minlength=10)
    assert ((counts - expected) ** 2 / expected).sum() < 16  # 9 degrees of freedom
    rows = torch.cat([found.train.inputs, found.validation.inputs]).flatten(1)
    assert len(rows.unique(dim=0)) == 600


@pytest.mark.parametrize(
    ("train", "validation"), [(100, 100), (160, 100), (400, 100), (500, 100), (0, 100), (590, 10)]
)
def test_validation_is_like_the_pool_whatever_training_takes(train, validation):
    targets = (torch.arange(600) % 6 == 0).long()  # 500 and 100
    pool = Samples(torch.arange(600.0)[:, None], targets)
    dataset, config = (
        Dataset("uneven", 2, pool, pool),
        DataConfig(train=train, validation=validation),
    )
    found = [data.draw(dataset, config, seed=seed) for seed in range(40)]
    rare = sum(int(one.validation.targets.sum()) for one in found)
    expected = 40 * validation / 6
    assert abs(rare - expected) < 4 * expected**0.5
    for one in found:
        assert len(one.validation) == validation
        assert len(torch.cat([one.train.inputs, one.validation.inputs]).unique()) == (
            (train or 600 - validation) + validation
        )
        left = 100 - int(one.validation.targets.sum())
        assert int(one.train.targets.sum()) == min((train or 600 - validation) // 2, left)


def test_training_samples_do_not_depend_on_validation_where_there_is_room():
    dataset = data.load("digits")
    alone, beside = (
        data.draw(dataset, DataConfig(train=200, validation=count), seed=1).train
        for count in (0, 400)
    )
    assert torch.equal(alone.inputs, beside.inputs)
    assert beside.targets.bincount().tolist() == [20] * 10


def test_settings_that_would_change_nothing_are_refused(tmp_path):
    np.savez(tmp_path / "g.npz", **GRAPH)
    graph = read_graph(tmp_path / "g.npz")
    with pytest.raises(ValueError, match=r"data.train is not for 'g', a graph with a split of its"):
        data.draw(graph, DataConfig(train=1), seed=0)
    for key, value in (("transform", "phase"), ("pool", 2)):
        with pytest.raises(ValueError, match=rf"data.{key} is not for 'shapes', not images; got"):
            data.draw(data.load("shapes"), DataConfig(**{key: value}), seed=0)


def test_a_file_that_is_written_again_is_read_again(tmp_path, monkeypatch):
    y = np.arange(30) % 3
    for folder, value in (("a", 1.0), ("b", 2.0)):
        (tmp_path / folder).mkdir()
        np.savez(tmp_path / folder / "mine.npz", x=np.full((30, 2), value), y=y)
    found = []
    for folder in ("a", "b"):
        monkeypatch.chdir(tmp_path / folder)
        found.append(data.load("mine.npz"))
        assert data.load("mine.npz") is found[-1]
    np.savez(tmp_path / "b" / "mine.npz", x=np.full((30, 3), 3.0), y=y)
    found.append(data.load("mine.npz"))
    assert [float(one.pool.inputs[0, 0]) for one in found] == [1.0, 2.0, 3.0]
