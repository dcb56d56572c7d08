"""JSON lines (UTF-8): an object for each row of each table, of which `type` is the name of the table.

A run comes first, then what belongs to it. Numbers of 2^53 and less are numbers. Larger ones are strings, since many
readers of JSON would round them.
"""

from __future__ import annotations

import functools
import json
import re
from typing import Any, BinaryIO, Sequence

from iotrace.views.formats._runs import ID, Run
from iotrace.views.formats._tables import JSON, TABLES, Row, Table, rows

_EXACT = 1 << 53
_encoded = functools.lru_cache(maxsize=4096)(json.JSONEncoder(ensure_ascii=False).encode)  # most words come often
_BEGINS = re.compile(rb'\{"type": "[a-z_]+", "run": "%s"|\{"schema": "iotrace/' % ID.encode())  # the latter before


def recognises(head: bytes, tail: bytes) -> bool:
    """Whether it is one of our objects."""
    return _BEGINS.match(head) is not None


_LINES = {
    table.name: f'{{"type": "{table.name}", ' + ", ".join(f'"{column.name}": %s' for column in table.columns) + "}\n"
    for table in TABLES.values()
}
"""A line of each table, with places for the values."""


def _text(value: Any) -> str:
    if type(value) is int:
        return str(value) if value <= _EXACT else f'"{value}"'
    return "null" if value is None else _encoded(value)


_JSON = {
    table.name: [index for index, column in enumerate(table.columns) if column.type == JSON]
    for table in TABLES.values()
}


def _line(table: str, row: Row) -> bytes:
    """A line, put together by hand: there are millions, and `json.dumps` takes twice as long."""
    cells = [str(value) if type(value) is int and value <= _EXACT else _text(value) for value in row]
    for index in _JSON[table]:
        cells[index] = "null" if row[index] is None else row[index]
    return (_LINES[table] % tuple(cells)).encode()


class Writer:
    """Writes the lines of one table."""

    def __init__(self, table: Table, stream: BinaryIO) -> None:
        self._name, self._stream = table.name, stream

    def add(self, row: Row) -> None:
        """Write a row."""
        self._stream.write(_line(self._name, row))

    def close(self) -> None:
        """Write what is left."""
        self._stream.flush()

    def abandon(self) -> None:
        """Nothing is waiting to be written by itself."""


def write(runs: Sequence[Run], stream: BinaryIO) -> None:
    """Write the lines of all tables."""
    for table, row in rows(runs):
        stream.write(_line(table, row))
        if table == "run":
            stream.flush()
    stream.flush()
