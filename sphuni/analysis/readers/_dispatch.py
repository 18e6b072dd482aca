"""From a path to its reader."""

import os
from collections.abc import Callable
from pathlib import Path

from sphuni._errors import RefusedFileError, UnreadableFileError
from sphuni.analysis.readers._folders import check_regular, find_weights, shards
from sphuni.analysis.readers._model import LoadedModel, ReadLimits, reading, shown
from sphuni.analysis.readers._numpy_files import read_npy, read_npz
from sphuni.analysis.readers._onnx import read_onnx
from sphuni.analysis.readers._safetensors import read_safetensors
from sphuni.analysis.readers._torch_files import read_torch

__all__ = ["read_tensors"]

_READERS: tuple[tuple[tuple[str, ...], Callable[[Path, ReadLimits], LoadedModel]], ...] = (
    ((".safetensors",), read_safetensors),
    ((".pt", ".pth", ".ckpt", ".bin", ".pth.tar", ".pt.tar"), read_torch),
    ((".npz",), read_npz),
    ((".npy",), read_npy),
    ((".onnx",), read_onnx),
)
_PICKLE = "is a pickle, which can run code when it is loaded; save its arrays with numpy.savez"
_CODE = {
    ".jit": "is a TorchScript program, which carries code; export its state dict instead",
    ".pt2": "is an exported program, which carries code; save the state dict of its model instead",
    ".pkl": _PICKLE,
    ".pickle": _PICKLE,
    ".joblib": _PICKLE,
}
_OTHER = {
    ".gguf": "is a GGUF file, whose quantised blocks are not read; use the original weights",
    ".h5": "is an HDF5 file, which is not read; save its arrays with numpy.savez",
    ".keras": "is a Keras archive, which is not read; save its arrays with numpy.savez",
    ".tflite": "is a TensorFlow Lite file, which is not read; convert it to ONNX",
}
_NO_LIMITS = ReadLimits()


def read_tensors(source: str | os.PathLike[str], *, limits: ReadLimits = _NO_LIMITS) -> LoadedModel:
    """Read the weights in a file or folder; no code in it is run and no other file is opened.

    Parameters
    ----------
    source : path-like
        `.safetensors`, an index of shards (`*.index.json`), a folder that holds one of these (the
        hub cache too), `.pt .pth .ckpt .bin .pth.tar` as torch.save writes them, `.npz`, `.npy`,
        or `.onnx` (needs the extra `sphuni[onnx]`).
    limits : ReadLimits, optional
        What a file may ask for before it is refused.

    Returns
    -------
    LoadedModel
        Names and tensors in the order of the file. Large values may be windows into the file,
        which must then stay in place while they are used.

    Raises
    ------
    RefusedFileError
        If the file would run code or asks for more than `limits`.
    UnreadableFileError
        If it is missing, damaged, or of another format. Nothing else is raised.

    Notes
    -----
    The file is judged before it is loaded: lengths in headers and archive directories, the
    instructions of a pickle (followed on symbols), the fields of an ONNX graph. Pickles are then
    loaded with `weights_only=True`; there is no way to ask for less.

    Examples
    --------
    >>> read_tensors("missing.safetensors")
    Traceback (most recent call last):
    ...
    sphuni._errors.UnreadableFileError: 'missing.safetensors' does not exist
    """
    path = Path(source)
    with reading(path):
        if path.is_dir():
            path = find_weights(path)
        if path.name.endswith(".index.json"):
            return _sharded(path, limits)
        return _read_file(path, limits)


def _read_file(path: Path, limits: ReadLimits) -> LoadedModel:
    check_regular(path)
    name = path.name.lower()
    for suffixes, reader in _READERS:
        if name.endswith(suffixes):
            return reader(path, limits)
    if path.suffix.lower() in _CODE:
        raise RefusedFileError(f"{shown(path)} {_CODE[path.suffix.lower()]}")
    if path.suffix.lower() in _OTHER:
        raise UnreadableFileError(f"{shown(path)} {_OTHER[path.suffix.lower()]}")
    known = " ".join(suffix for suffixes, _ in _READERS for suffix in suffixes)
    raise UnreadableFileError(
        f"{shown(path)} is of no format that is read; known are {known}, and tables of points "
        "with one row to a line: .csv .tsv .txt"
    )


def _sharded(index: Path, limits: ReadLimits) -> LoadedModel:
    check_regular(index)
    parts = []
    total = 0
    for path, names in shards(index, limits):
        part = _read_file(path, limits)
        total += len(part.tensors)
        if total > limits.max_tensors:
            raise RefusedFileError(
                f"the shards of {shown(index)} hold more than max_tensors={limits.max_tensors} "
                "tensors"
            )
        missing = names - set(part.tensors) - {name for name, _ in part.skipped}
        if missing:
            raise UnreadableFileError(
                f"{shown(path.name)} lacks {shown(min(missing))}, which {shown(index)} promises"
            )
        parts.append(part)
    tensors = {name: tensor for part in parts for name, tensor in part.tensors.items()}
    if len(tensors) < total:
        raise UnreadableFileError(f"two shards of {shown(index)} hold a tensor of the same name")
    skipped = tuple(note for part in parts for note in part.skipped)
    return LoadedModel(index, parts[0].format, tensors, skipped)
