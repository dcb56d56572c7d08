"""Profiles as text that other programs read, streamed: memory stays flat and the first line appears at once.

Each module here, but for those whose names begin with an underscore, is a format of that name: its docstring defines
it, and its `write(header, files, out)` writes it. To add one, add a module.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import IO, Callable, Iterable, List

from iotrace.profile.metrics import FileStats, Header


def names() -> List[str]:
    """Every format, in order."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def writer(name: str) -> Callable[[Header, Iterable[FileStats], IO[str]], None]:
    """The function that writes the format `name`. `files` is consumed once; `out` is a text file in UTF-8."""
    write: Callable[[Header, Iterable[FileStats], IO[str]], None] = importlib.import_module(f"{__name__}.{name}").write
    return write
