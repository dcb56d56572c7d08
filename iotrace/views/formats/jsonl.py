"""JSON lines: the header of the JSON document on the first line, then each of its files on a line of its own."""

from __future__ import annotations

import json
from typing import IO, Iterable

from iotrace.profile.metrics import FileStats, Header
from iotrace.views.formats._document import START, file_object, header_object

__all__ = ["START", "write"]


def write(header: Header, files: Iterable[FileStats], out: IO[str]) -> None:
    """Write the lines."""
    out.write(json.dumps(header_object(header)) + "\n")
    out.flush()
    out.writelines(json.dumps(file_object(file)) + "\n" for file in files)
