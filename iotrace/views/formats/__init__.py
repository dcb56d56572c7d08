"""Text formats for other programs. They are streamed: memory use is constant, and the first line appears at once.

Each module in this package whose name has no leading underscore is a format of that name. Its docstring defines the
format, its function `write(header, files, out)` writes it, and what it writes begins with `START`. To add a format,
add a module.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import IO, Callable, Iterable, List

from iotrace.profile.metrics import FileStats, Header


def names() -> List[str]:
    """The names of all formats, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def writer(name: str) -> Callable[[Header, Iterable[FileStats], IO[str]], None]:
    """The function that writes the format `name`. It consumes `files` once; `out` is a text file in UTF-8."""
    write: Callable[[Header, Iterable[FileStats], IO[str]], None] = importlib.import_module(f"{__name__}.{name}").write
    return write


def begins(head: bytes) -> bool:
    """Whether a file that begins with these bytes has been written in one of the formats."""
    starts = (importlib.import_module(f"{__name__}.{name}").START for name in names())
    return head.startswith(tuple(starts))
