"""What is known of a profile from its bytes, before SQLite reads them.

SQLite parses the whole schema at the first statement, in memory that nothing bounds and without calling back; so how
much of it there is has to be known beforehand. The format is that of https://www.sqlite.org/fileformat.html. Whatever
is not as it should be is a ValueError.
"""

from __future__ import annotations

import os
import struct
import time
from typing import Iterator, NamedTuple, Tuple

MAGIC = b"SQLite format 3\0"
SMALLEST = 512  # bytes of a page, so of a database
_UTF_8 = 1
_INTERIOR_INDEX, _INTERIOR_TABLE, _LEAF_INDEX, _LEAF_TABLE = 2, 5, 10, 13
_SCHEMA_PAGES, _SCHEMA_ROWS, _SCHEMA_BYTES = 512, 1000, 1 << 18  # ours: 1, 10 and 6,000
_CHUNK = 1 << 20  # a multiple of every page size


class Start(NamedTuple):
    """What the header of a database says."""

    page_size: int
    schema: int  # user_version
    application: int


def start(header: bytes) -> Start:
    """The first 100 bytes of a database that SQLite would take, and that iotrace could have written."""
    page_size, encoding = _short(header, 16), struct.unpack_from(">I", header, 56)[0]
    page_size = 1 << 16 if page_size == 1 else page_size
    if not SMALLEST <= page_size <= 1 << 16 or page_size & (page_size - 1):
        raise ValueError("its page size is not valid")
    if encoding != _UTF_8:
        raise ValueError("its text is not UTF-8")
    return Start(page_size, *struct.unpack_from(">I4xI", header, 60))


def check_schema(descriptor: int, page_size: int) -> None:
    """Check that the schema's B-tree has few pages, each of them once, and few rows of few bytes."""
    waiting, seen, rows, size = [1], {1}, 0, 0
    while waiting:
        number = waiting.pop()
        page = os.pread(descriptor, page_size, (number - 1) * page_size)
        kind, pointers, right = _page(page, 100 if number == 1 else 0)
        if kind == _LEAF_TABLE:
            rows += len(pointers)
            size += sum(_varint(page, pointer) for pointer in pointers)
        elif kind == _INTERIOR_TABLE:
            children = [struct.unpack_from(">I", page, pointer)[0] for pointer in pointers] + [right]
            if len({*children} - seen) < len(children):
                raise ValueError("a page of its schema is used twice")
            seen.update(children)
            waiting += children
        else:
            raise ValueError("its schema is no table")
        if len(seen) > _SCHEMA_PAGES or rows > _SCHEMA_ROWS or size > _SCHEMA_BYTES:
            raise ValueError(f"its schema has more than {_SCHEMA_ROWS:,} rows or {_SCHEMA_BYTES:,} bytes")


def check_payloads(descriptor: int, page_size: int, most: int, patience: float) -> None:
    """Check that no row of any table or index says that it has more than `most` bytes (2^14 or more).

    For Pythons before 3.11, which cannot tell SQLite. Whatever looks like a page of a B-tree is looked at: pages
    without a row in use begin with a page number, so with a zero in all files that can be read in time.
    """
    begun, at = time.thread_time(), 0
    while True:
        chunk = os.pread(descriptor, _CHUNK, at)
        if not chunk:
            return
        for base in range(0, len(chunk), page_size):
            if chunk[base] or not at + base:
                for size in _long_payloads(chunk[base : base + page_size], 0 if at + base else 100):
                    if size > most:
                        raise ValueError(f"a row of more than {most:,} bytes")
        if time.thread_time() - begun > patience:
            raise ValueError(f"it cannot be checked within {patience:.0f} s")
        at += len(chunk)


def _long_payloads(page: bytes, base: int) -> Iterator[int]:
    """The sizes, where they take three bytes or more, that the cells of a page state; none for one that is broken."""
    try:
        kind, pointers, _ = _page(page, base)
    except ValueError:
        return
    if kind == _INTERIOR_TABLE:
        return
    skip = 4 if kind == _INTERIOR_INDEX else 0  # the number of a child
    page += bytes(16)
    for pointer in pointers:
        if page[pointer + skip] > 127 and page[pointer + skip + 1] > 127:
            yield _varint(page, pointer + skip)


def _page(page: bytes, base: int) -> Tuple[int, Tuple[int, ...], int]:
    """The kind of a B-tree page, where its cells begin, and its last child; its header is at `base`."""
    kind = page[base] if len(page) > base + 12 else 0
    if kind not in (_INTERIOR_INDEX, _INTERIOR_TABLE, _LEAF_INDEX, _LEAF_TABLE):
        raise ValueError("a page is cut off, or no B-tree's")
    count, right = _short(page, base + 3), 0
    begin = base + (12 if kind < _LEAF_INDEX else 8)
    if begin + 2 * count > len(page):
        raise ValueError("a page has more cells than room")
    if kind < _LEAF_INDEX:
        right = struct.unpack_from(">I", page, base + 8)[0]
    pointers = struct.unpack_from(f">{count}H", page, begin)
    if pointers and max(pointers) + 4 > len(page):
        raise ValueError("a cell is beyond its page")
    return kind, pointers, right


def _short(data: bytes, at: int) -> int:
    return data[at] << 8 | data[at + 1]


def _varint(data: bytes, at: int) -> int:
    """A number of one to nine bytes; those that the page does not have are zeros."""
    value = 0
    for byte in data[at : at + 8]:
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value
    return value << 8
