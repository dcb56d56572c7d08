"""JSON: the document of schema iotrace/1, one object with a line for the header and a line for each file.

It is pure ASCII. A path is decoded from UTF-8 with each byte that is not UTF-8 as a lone surrogate U+DC80..U+DCFF
(Python's surrogateescape), so `json.loads(...)["path"].encode("utf-8", "surrogateescape")` is the path. All numbers are
numbers, whatever their size.
"""

from __future__ import annotations

import json
from typing import BinaryIO, Sequence

from iotrace.views.formats._document import START, file_object, header_object
from iotrace.views.formats._runs import Run

SINGLE = True


def recognises(head: bytes, tail: bytes) -> bool:
    """Whether it is the document, in this version or another one."""
    return head.startswith(START)


def write(runs: Sequence[Run], stream: BinaryIO) -> None:
    """Write the document, which is of one run."""
    ((_, header, files),) = runs
    stream.write((json.dumps(header_object(header))[:-1] + ', "files": [').encode())
    stream.flush()
    separator = "\n"
    for _, file in files:
        stream.write((separator + json.dumps(file_object(file))).encode())
        separator = ",\n"
    stream.write(b"\n]}\n")
    stream.flush()
