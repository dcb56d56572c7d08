"""CSV (RFC 4180, UTF-8): a table as a line of column names and a line for each row.

Text has no control characters, backslashes and formulas, but \\xNN, which `iotrace.unescape` undoes. Unknown values are
empty, flags 0 or 1.
"""

from __future__ import annotations

import csv
import io
from typing import BinaryIO, List

from iotrace.views.formats._tables import FLAG, TABLES, Row, Table

_ROOM = 1 << 16  # characters


_BEFORE = b"mnt_ns,path,"  # what there was before there were tables


def recognises(head: bytes, tail: bytes) -> bool:
    """Whether it is one of our tables. Later versions may have more columns in it."""
    starts = [",".join(column.name for column in table.columns[:3]).encode() for table in TABLES.values()]
    return head.startswith((_BEFORE, *starts))


class Writer:
    """Writes a table. Lines end with CR LF."""

    def __init__(self, table: Table, stream: BinaryIO) -> None:
        """The line of column names is written at once."""
        self._flags = [index for index, column in enumerate(table.columns) if column.type == FLAG]
        self._stream = stream
        self._text = io.StringIO(newline="")
        self._add = csv.writer(self._text, lineterminator="\r\n").writerow
        self._add([column.name for column in table.columns])
        self._write()
        stream.flush()

    def add(self, row: Row) -> None:
        """Write a row."""
        if self._flags:
            cells: List[object] = list(row)
            for index in self._flags:
                cells[index] = int(row[index])
            self._add(cells)
        else:
            self._add(row)
        if self._text.tell() > _ROOM:
            self._write()

    def _write(self) -> None:
        self._stream.write(self._text.getvalue().encode())
        self._text.seek(0)
        self._text.truncate()

    def close(self) -> None:
        """Write what is left."""
        self._write()
        self._stream.flush()

    def abandon(self) -> None:
        """Nothing is waiting to be written by itself."""
