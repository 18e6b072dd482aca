"""Names of data sets, and where their files are looked for."""

import functools
import os
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

import torch

from sphuni._errors import UnreadableFileError
from sphuni.training.data import arrays, images
from sphuni.training.data._records import Dataset, MissingDataError, Samples

__all__ = ["available", "data_folder", "load", "reason_missing", "stamp"]

_SYSTEM = {"fashion-mnist": Path("/usr/share/datasets/fashion-mnist")}
_DIGITS_POOL = 600
_IDX_CLASSES, _IMAGE_RANK = 10, 3


def data_folder(given: str | os.PathLike[str] | None = None) -> Path | None:
    """Return the folder of data: the one given, else that of the variable SPHUNI_DATA, else None.

    Raises
    ------
    MissingDataError
        If it is named but does not exist.
    """
    name = given or os.environ.get("SPHUNI_DATA")
    if not name:
        return None
    folder = Path(name)
    if not folder.is_dir():
        raise MissingDataError(f"the data folder {str(folder)!r} does not exist")
    return folder


def available() -> dict[str, str]:
    """Return the known data sets and the files that each needs in the folder of data."""
    return {
        "digits": "nothing: it comes with scikit-learn",
        "shapes": "nothing: point clouds of ten shapes, generated here",
        "mnist": "the four IDX files of MNIST, or mnist10k.npz",
        "fashion-mnist": "the four IDX files in fashion-mnist/, or the Debian package "
        "dataset-fashion-mnist",
        "cifar10": "cifar-10-batches-bin/, or train/ and test/ with one folder per class in "
        "cifar10/ or in cifar10_jpeg.tar.gz",
        "cora": "cora.npz",
        "citeseer": "citeseer.npz",
        "pubmed": "pubmed.npz",
        "cifar100": "cifar100.npz",
        "svhn": "svhn.npz",
        "modelnet40": "modelnet40.npz",
    }


def load(name: str, folder: Path | None = None) -> Dataset:
    """Read a data set; the last few are kept in memory until their file is written again.

    Parameters
    ----------
    name : str
        Of `available()`, or the path of an `.npz` file, or of a folder with ``train`` and ``test``
        that hold one folder of images per class.
    folder : Path, optional
        Where files are; see `data_folder`.

    Raises
    ------
    MissingDataError
        If the files are not there; the message says which are needed.
    UnreadableFileError
        If a file is damaged.
    ValueError
        If the name is unknown.
    """
    return _load(name, folder, stamp(name, folder))


def stamp(name: str, folder: Path | None = None) -> tuple[str | int, ...]:
    """Return place, time and size of the file of a data set, which tell it from a later one."""
    path = Path(name) if _is_path(name) else _find(name, folder)
    if path is None or not path.exists():
        return ()
    found = path.stat()
    return str(path.resolve()), found.st_mtime_ns, found.st_size


def reason_missing(name: str, folder: Path | None = None) -> str:
    """Return why a data set cannot be had, or an empty string; nothing is read for it."""
    if _is_path(name):
        return "" if Path(name).exists() else f"there is no file {name!r}"
    _check_name(name)
    if name in _WITHOUT_FILES or _find(name, folder) is not None:
        return ""
    where = "no folder of data was named" if folder is None else f"not in {str(folder)!r}"
    return f"no {name} here ({where}): needs {available()[name]}"


@functools.lru_cache(maxsize=3)
def _load(name: str, folder: Path | None, of: tuple[str | int, ...]) -> Dataset:
    reason = reason_missing(name, folder)
    if reason:
        raise MissingDataError(reason)
    if name in _WITHOUT_FILES:
        return _WITHOUT_FILES[name]()
    path = Path(name) if _is_path(name) else _find(name, folder)
    assert path is not None
    return _READERS.get(name, _read_any)(path)


def _is_path(name: str) -> bool:
    return name.endswith(".npz") or "/" in name


def _check_name(name: str) -> None:
    known = available()
    if name not in known:
        close = get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(
            f"data.name must be one of {', '.join(known)}, or a path; got {name!r}{hint}"
        )


def _find(name: str, folder: Path | None) -> Path | None:
    """The first place where the files of a data set are."""
    places = [folder / part for part in _PLACES.get(name, (f"{name}.npz",))] if folder else []
    if name in _SYSTEM:
        places.append(_SYSTEM[name])
    return next((place for place in places if place.exists()), None)


_PLACES = {
    "mnist": ("mnist", "MNIST", "mnist10k.npz"),
    "fashion-mnist": ("fashion-mnist", "dataset-fashion-mnist", "FashionMNIST/raw"),
    "cifar10": ("cifar-10-batches-bin", "cifar10", "cifar10_jpeg.tar.gz"),
}


def _digits() -> Dataset:
    """1,797 digits of 8 x 8: a fixed random third is the pool, the rest is test data."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    samples = Samples(
        torch.tensor(digits.images, dtype=torch.float32)[:, None], torch.tensor(digits.target)
    )
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))
    pool, test = order[:_DIGITS_POOL], order[_DIGITS_POOL:]
    return Dataset("digits", 10, samples.take(pool), samples.take(test))


def _shapes() -> Dataset:
    from sphuni.training.shapes import dataset

    return dataset()


def _idx(path: Path) -> Dataset:
    if path.suffix == ".npz":
        return _read_any(path)
    pool, test = (_idx_part(path, part) for part in ("train", "t10k"))
    return Dataset(path.name, _IDX_CLASSES, pool, test)


def _idx_part(folder: Path, part: str) -> Samples:
    """Images with their labels, which come in a file of their own."""
    pixels = images.read_idx(_idx_file(folder, f"{part}-images-idx3-ubyte"))
    labels = images.read_idx(_idx_file(folder, f"{part}-labels-idx1-ubyte")).long()
    right = pixels.ndim == _IMAGE_RANK and labels.shape == pixels.shape[:1] and len(labels) > 0
    if not right or not 0 <= int(labels.min()) <= int(labels.max()) < _IDX_CLASSES:
        raise UnreadableFileError(
            f"the files {part}-... in {str(folder)!r} must hold images (n, height, width) and as "
            f"many labels from 0 to {_IDX_CLASSES - 1}; they hold {tuple(pixels.shape)} and "
            f"{tuple(labels.shape)}"
        )
    return Samples(pixels[:, None], labels)


def _idx_file(folder: Path, name: str) -> Path:
    for candidate in (folder / f"{name}.gz", folder / name):
        if candidate.exists():
            return candidate
    raise MissingDataError(f"{str(folder)!r} lacks {name} (or {name}.gz)")


def _cifar10(path: Path) -> Dataset:
    if path.name == "cifar-10-batches-bin":
        batches = sorted(path.glob("data_batch_*.bin"))
        test = path / "test_batch.bin"
        if len(batches) != 5 or not test.exists():
            raise MissingDataError(
                f"{str(path)!r} lacks data_batch_1.bin to data_batch_5.bin or test_batch.bin"
            )
        pool = images.read_cifar_binary(batches)
        return Dataset("cifar10", 10, pool, images.read_cifar_binary([test]))
    return _read_any(path)


def _read_any(path: Path) -> Dataset:
    """Read a graph, arrays, a tar or a folder, by what it looks like."""
    if path.suffix == ".npz":
        return arrays.read_any(path)
    read = images.read_class_folders if path.is_dir() else images.read_class_tar
    pool, test = read(path, ("train", "test"))
    classes = int(torch.cat([pool.targets, test.targets]).max()) + 1
    note = "JPEG copies, lossy" if path.name == "cifar10_jpeg.tar.gz" else ""
    return Dataset(path.stem, classes, pool, test, note=note)


_WITHOUT_FILES: dict[str, Callable[[], Dataset]] = {"digits": _digits, "shapes": _shapes}
_READERS: dict[str, Callable[[Path], Dataset]] = {
    "mnist": _idx,
    "fashion-mnist": _idx,
    "cifar10": _cifar10,
    "cora": arrays.read_graph,
    "citeseer": arrays.read_graph,
    "pubmed": arrays.read_graph,
    "modelnet40": arrays.read_points,
}
