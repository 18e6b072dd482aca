"""The folder of simulated tables and compiled loops, which save the next process their time."""

import os
from pathlib import Path

__all__ = ["cache_folder"]

_OFF = ("", "0", "off", "none")


def cache_folder() -> Path | None:
    """Return SPHUNI_CACHE, else sphuni's part of the user's cache folder; None if there is none.

    The environment variable SPHUNI_CACHE moves the folder; empty, "0", "off" or "none" turns the
    store off.
    """
    asked = os.environ.get("SPHUNI_CACHE")
    if asked is not None and asked.strip().lower() in _OFF:
        return None
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return Path(base).expanduser() / "sphuni" if asked is None else Path(asked).expanduser()
    except RuntimeError:  # a user without a home
        return None
