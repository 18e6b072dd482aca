"""The folder of simulated tables and compiled loops, which save the next process their time."""

import os
from pathlib import Path

__all__ = ["cache_folder"]

_OFF = ("", "0", "off", "none")


def cache_folder() -> Path | None:
    """Return SPHUNI_CACHE, else sphuni's part of the user's cache folder; None if turned off.

    The environment variable SPHUNI_CACHE moves the folder; empty, "0", "off" or "none" turns the
    store off.
    """
    asked = os.environ.get("SPHUNI_CACHE")
    if asked is not None:
        return None if asked.strip().lower() in _OFF else Path(asked).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "sphuni"
