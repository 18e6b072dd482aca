"""Draw every picture of docs/gallery.md into docs/images; about a minute of one core.

Run from the root of the repository: python examples/gallery.py [names]
"""

import io
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from sphuni.configurations import OptimizeResult, optimize
from sphuni.plots import configuration, interactive

ENTRIES = {
    "thomson": {"problem": "thomson", "n": 100, "restarts": 24},
    "scars": {"problem": "thomson", "n": 500, "restarts": 2},
    "log": {"problem": "log", "n": 44, "restarts": 16},
    "riesz": {"problem": "riesz", "n": 32, "s": 2.0, "restarts": 16},
    "tammes": {"problem": "tammes", "n": 38, "restarts": 32},
    "covering": {"problem": "covering", "n": 20, "restarts": 64},
    "polarization": {"problem": "polarization", "n": 14, "s": 1.0, "restarts": 16},
    "maxdet": {"problem": "maxdet", "n": 64, "restarts": 16},
    "design": {"problem": "design", "n": 24, "s": 7.0, "restarts": 16},
    "antipodal": {"problem": "tammes", "n": 16, "restarts": 32, "antipodal": True},
}
COLORS = 128


def main(names: Sequence[str], folder: Path = Path("docs/images")) -> None:
    """Solve, draw and report each entry."""
    for name in names:
        started = time.process_time()
        result = optimize(**ENTRIES[name], rng=0, engine="blockwise")
        size = draw(result, folder / f"gallery_{name}.png")
        spent = time.process_time() - started
        print(f"{name:13} {result.value:.12g}, gap {result.gap}, {size // 1000} kB, {spent:.0f} s")
        if name == "thomson":
            interactive(result, folder / "gallery_thomson.html")


def draw(result: OptimizeResult, path: Path) -> int:
    """Write a picture with a palette, a third of the size of full colour."""
    stream = io.BytesIO()
    configuration(result).savefig(stream, dpi=110, metadata={"Software": None})
    picture = Image.open(stream).convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
    picture.save(path, optimize=True)
    return path.stat().st_size


if __name__ == "__main__":
    main(sys.argv[1:] or list(ENTRIES))
