"""JSON: the document of schema iotrace/1, one object with a line for the header and a line for each file.

It is pure ASCII. A path is decoded from UTF-8 with each byte that is not UTF-8 as a lone surrogate U+DC80..U+DCFF
(Python's surrogateescape), so `json.loads(...)["path"].encode("utf-8", "surrogateescape")` is the path.
"""

from __future__ import annotations

import json
from typing import IO, Iterable

from iotrace.profile.metrics import FileStats, Header
from iotrace.views.formats._document import START, file_object, header_object

__all__ = ["START", "write"]


def write(header: Header, files: Iterable[FileStats], out: IO[str]) -> None:
    """Write the document."""
    out.write(json.dumps(header_object(header))[:-1] + ', "files": [')
    out.flush()
    separator = "\n"
    for file in files:
        out.write(separator + json.dumps(file_object(file)))
        separator = ",\n"
    out.write("\n]}\n")
