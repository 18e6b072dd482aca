"""`sphuni doctor`: what this installation has and can do."""

import argparse
import json
import os
import platform
import shutil
from importlib import metadata
from typing import Any

from sphuni.cli import _output

__all__ = ["add_parser", "run"]

_REQUIRED = (
    "numpy", "scipy", "torch", "matplotlib", "scikit-learn", "safetensors", "jaxtyping", "jinja2",
    "numba", "threadpoolctl",
)  # fmt: skip
_OPTIONAL = {
    "rich": "coloured tables",
    "onnx": "reading .onnx files",
    "pandas": "to_dataframe()",
    "pillow": "training on image files",
    "tensorboard": "sphuni train --tensorboard",
    "fmm3dpy": "fast multipole sums",
    "triton": "fused sums over pairs on a GPU",
}


def add_parser(commands: Any) -> None:
    """Add this subcommand."""
    parser = commands.add_parser(
        "doctor",
        help="versions, devices, compiler, engines",
        description="Show versions, devices, the compiler and which engines can run here.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    _output.add_common(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what was found; exit with 4 if something required is missing."""
    found = examine()
    text = json.dumps(found, indent=1) if arguments.json else _describe(found)
    _output.write(lambda: print(text))
    return _output.PARTIAL if found["missing"] else 0


def examine() -> dict[str, Any]:
    """Collect versions, devices, compiler and engines."""
    versions = {name: _version(name) for name in ("sphuni", *_REQUIRED, *_OPTIONAL)}
    compiler = os.environ.get("CXX") or next(filter(shutil.which, ("g++", "clang++")), None)
    devices = _devices() if versions["torch"] else {"cpu": platform.machine()}
    return {
        "schema": "sphuni.doctor",
        "version": 1,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": versions,
        "missing": [name for name in _REQUIRED if versions[name] is None],
        "cores": os.cpu_count(),
        "devices": devices,
        "compiler": compiler if compiler and shutil.which(compiler.split()[0]) else None,
        "engines": _engines(compiler, devices),
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _devices() -> dict[str, str]:
    """Name the devices that torch can use."""
    import torch

    count = torch.get_num_threads()
    devices = {"cpu": f"{platform.machine()}, {count} thread{'s' if count > 1 else ''}"}
    for k in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        devices[f"cuda:{k}"] = torch.cuda.get_device_name(k)
    if torch.backends.mps.is_available():
        devices["mps"] = "Apple GPU"
    return devices


def _engines(compiler: str | None, devices: dict[str, str]) -> dict[str, str]:
    """Say of each pair engine what it serves here."""
    fused = "available" if _version("triton") else "not available: pip install 'sphuni[gpu]'"
    compiled = bool(compiler and shutil.which(compiler.split()[0]))
    limited = "available but for packings and Poisson's kernel: install g++ or set CXX"
    return {
        "reference": "available",
        "blockwise": "available",
        "compiled": "available" if compiled else limited,
        "triton": fused if "cuda:0" in devices else "not available: needs a CUDA device",
    }


def _describe(found: dict[str, Any]) -> str:
    """Lay out the findings for reading."""
    versions = found["versions"]
    lines = [f"sphuni {versions['sphuni']} on Python {found['python']}, {found['platform']}", ""]
    for name in _REQUIRED:
        lines.append(f"  {name:<14}{versions[name] or 'MISSING: pip install ' + name}")
    for name, use in _OPTIONAL.items():
        lines.append(f"  {name:<14}{versions[name] or f'not installed (optional: {use})'}")
    lines += ["", f"  {'cores':<14}{found['cores']}"]
    lines += [f"  {name:<14}{what}" for name, what in found["devices"].items()]
    lines.append(f"  {'compiler':<14}{found['compiler'] or 'none'}")
    lines += ["", *(f"  {name:<14}{state}" for name, state in found["engines"].items())]
    return "\n".join(lines)
