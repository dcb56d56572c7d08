"""Parquet: a table in row groups, by pyarrow, which has to be installed (`pip install 'iotrace[parquet]'`).

Text is UTF-8 as in CSV. Numbers are INT64, those that may be larger UINT64, flags BOOLEAN, unknown values null.
"""

from __future__ import annotations

import importlib
from typing import Any, BinaryIO, Dict, List

from iotrace.errors import Failure
from iotrace.views.formats._tables import FLAG, INTEGER, JSON, TEXT, UNSIGNED, Row, Table

_ROWS = 1 << 11  # that are kept as objects of Python
_CELLS, _TEXT = 1 << 19, 1 << 22  # of a row group: values, characters of text
_MARK = ("iotrace", "export")  # a key and its value
_MAGIC = b"PAR1"


def recognises(head: bytes, tail: bytes) -> bool:
    """Whether it is one of our tables, by the mark among the last things in it."""
    return head.startswith(_MAGIC) and tail.endswith(_MAGIC) and all(word.encode() in tail for word in _MARK)


def _pyarrow() -> Any:
    try:
        importlib.import_module("pyarrow.parquet")
        pyarrow: Any = importlib.import_module("pyarrow")
    except ImportError as error:
        why = "" if isinstance(error, ModuleNotFoundError) and error.name == "pyarrow" else f" ({error})"
        raise Failure(
            f"Parquet needs the package pyarrow{why}: install it (pip install pyarrow), or export --format csv"
        ) from None
    pyarrow.set_memory_pool(pyarrow.system_memory_pool())  # the others keep what they have had
    return pyarrow


class Writer:
    """Writes a table, a row group at a time."""

    def __init__(self, table: Table, stream: BinaryIO) -> None:
        """Raises Failure where pyarrow is not installed."""
        self._arrow = _pyarrow()
        types: Dict[str, Any] = {
            TEXT: self._arrow.string(),
            JSON: self._arrow.string(),
            INTEGER: self._arrow.int64(),
            UNSIGNED: self._arrow.uint64(),
            FLAG: self._arrow.bool_(),
        }
        fields = [self._arrow.field(column.name, types[column.type]) for column in table.columns]
        self._schema = self._arrow.schema(fields, metadata=dict([_MARK]))
        self._texts = [index for index, column in enumerate(table.columns) if column.type in (TEXT, JSON)]
        self._rows: List[Row] = []
        self._batches: List[Any] = []  # the same in less memory
        self._text = self._waiting = 0  # characters in both; rows in batches
        self._parquet = self._arrow.parquet.ParquetWriter(stream, self._schema)

    def add(self, row: Row) -> None:
        """Write a row with others, once there are enough."""
        self._rows.append(row)
        self._text += sum([len(row[index] or "") for index in self._texts])
        if len(self._rows) >= _ROWS or self._text >= _TEXT:
            self._pack()
            if self._waiting * len(self._schema) >= _CELLS or self._text >= _TEXT:
                self._write()

    def _pack(self) -> None:
        columns = [self._arrow.array(column, type=field.type) for column, field in zip(zip(*self._rows), self._schema)]
        self._batches.append(self._arrow.RecordBatch.from_arrays(columns, schema=self._schema))
        self._waiting += len(self._rows)
        self._rows = []

    def _write(self) -> None:
        self._parquet.write_table(self._arrow.Table.from_batches(self._batches, self._schema))
        self._batches, self._text, self._waiting = [], 0, 0

    def close(self) -> None:
        """Write what is left, and what a Parquet file ends with."""
        if self._rows:
            self._pack()
        if self._batches:
            self._write()
        self._parquet.close()

    def abandon(self) -> None:
        """Have it not written at last that there is nothing more, where nothing can be written any more."""
        self._parquet.is_open = False
