"""Where developers' tools keep what they fetch and build."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def cache_home() -> Path:
    """XDG_CACHE_HOME, else .cache in HOME or in the home of passwd, else, for a user who has none, in the checkout."""
    told = os.environ.get("XDG_CACHE_HOME")
    if told:
        return Path(told)
    home = os.path.expanduser("~")
    return (ROOT if home == "~" else Path(home)) / ".cache"
