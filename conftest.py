"""Check array shapes at run time: in every module that states them, unless it is traced."""

import importlib.util
import re
from pathlib import Path

from jaxtyping import install_import_hook

_ROOT = Path(__file__).parent
_SHAPES = re.compile(r": (Points|Weights)\b")
_TRACED = (
    "sphuni.kernels",
    "sphuni.nn._tempered",
    "sphuni.pairwise._inductor",
    "sphuni.pairwise._triton_kernels",
    "sphuni.pairwise.loops._vector",
    "sphuni.stats.kernels._angular",
    "sphuni.stats.kernels._zonal",
    "sphuni.stats.kernels._projected_kernels",
)


def _hooked() -> list[str]:
    files = sorted((_ROOT / "sphuni").rglob("*.py"))
    stating = [file for file in files if _SHAPES.search(file.read_text())]
    names = [".".join(file.relative_to(_ROOT).with_suffix("").parts) for file in stating]
    return [name for name in names if not name.startswith(_TRACED) and "__" not in name]


_CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
install_import_hook(_hooked(), _CHECKER)

collect_ignore_glob = ["tests/*_script.py"]  # what other processes run

if importlib.util.find_spec("triton") is None:  # there is none for some platforms
    collect_ignore = ["sphuni/pairwise/_triton_kernels.py"]
