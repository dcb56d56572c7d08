"""Databases put together page by page, as nobody but an attacker does (https://www.sqlite.org/fileformat.html)."""

from __future__ import annotations

import sqlite3
import struct
from pathlib import Path
from typing import List, Sequence

INTERIOR_INDEX, INTERIOR_TABLE, LEAF_INDEX, LEAF_TABLE = 2, 5, 10, 13
PAGES = (INTERIOR_INDEX, INTERIOR_TABLE, LEAF_INDEX, LEAF_TABLE)


def varint(number: int) -> bytes:
    """A number below 2^56 as SQLite stores it."""
    groups = [number & 0x7F]
    while number := number >> 7:
        groups.append(number & 0x7F | 0x80)
    return bytes(reversed(groups))


def record(*values: object) -> bytes:
    """A row: a header of types, then the values."""
    types, body = b"", b""
    for value in values:
        if value is None:
            types += b"\0"
        elif isinstance(value, int):
            types, body = types + b"\6", body + struct.pack(">q", value)
        else:
            raw = value.encode() if isinstance(value, str) else bytes(value)  # type: ignore[call-overload]
            types += varint(2 * len(raw) + (13 if isinstance(value, str) else 12))
            body += raw
    return varint(len(types) + 1) + types + body


class Image:
    """The pages of a database in memory, numbered from 1."""

    page_size: int

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)
        self.page_size = struct.unpack_from(">H", data, 16)[0]
        if self.page_size == 1:
            self.page_size = 1 << 16

    @classmethod
    def of(cls, path: Path) -> Image:
        return cls(path.read_bytes())

    def __len__(self) -> int:
        return len(self.data) // self.page_size

    def __getitem__(self, number: int) -> bytes:
        return bytes(self.data[(number - 1) * self.page_size : number * self.page_size])

    def __setitem__(self, number: int, page: bytes) -> None:
        assert len(page) == self.page_size
        self.data[(number - 1) * self.page_size : number * self.page_size] = page

    def append(self, page: bytes) -> int:
        """Add a page; its number."""
        assert len(page) == self.page_size
        self.data += page
        return len(self)

    def begin(self, number: int) -> int:
        """Where the header of a B-tree page begins in the file."""
        return (number - 1) * self.page_size + (100 if number == 1 else 0)

    def kind(self, number: int) -> int:
        """What kind of a page it says it is."""
        return self.data[self.begin(number)]

    def cells(self, number: int) -> List[int]:
        """Where the cells of a B-tree page begin in the file, as far as the page has them."""
        begin = self.begin(number)
        at = begin + (12 if self.kind(number) in (INTERIOR_INDEX, INTERIOR_TABLE) else 8)
        room = number * self.page_size
        count = min(struct.unpack_from(">H", self.data, begin + 3)[0], (room - at) // 2)
        start = (number - 1) * self.page_size
        return [start + place for place in struct.unpack_from(f">{count}H", self.data, at) if place < self.page_size]

    def page(self, kind: int, cells: Sequence[bytes], last: int = 0) -> bytes:
        """A B-tree page; each distinct cell is stored once, however often it occurs."""
        page, end, stored, places = bytearray(self.page_size), self.page_size, {}, []
        for cell in cells:
            if cell not in stored:
                end -= max(4, len(cell))
                page[end : end + len(cell)] = cell
                stored[cell] = end
            places.append(stored[cell])
        header = struct.pack(">BHHHB", kind, 0, len(cells), end & 0xFFFF, 0)
        if kind in (INTERIOR_INDEX, INTERIOR_TABLE):
            header += struct.pack(">I", last)
        header += struct.pack(f">{len(places)}H", *places)
        assert len(header) <= end
        page[: len(header)] = header
        return bytes(page)

    def fan(self, child: int, width: int) -> bytes:
        """An interior page of a table all of whose `width` children are the same."""
        return self.page(INTERIOR_TABLE, [struct.pack(">I", child) + varint(1)] * (width - 1), child)

    def leaf(self, rows: Sequence[bytes]) -> bytes:
        """A leaf of a table, whose rows all have the number 1."""
        return self.page(LEAF_TABLE, [varint(len(row)) + varint(1) + row for row in rows])

    def tower(self, child: int, width: int, height: int) -> int:
        """Interior pages of which each has one child, so many times; the number of the topmost."""
        for _ in range(height):
            child = self.append(self.fan(child, width))
        return child

    def save(self, path: Path) -> None:
        """Write the file, with a header that knows its size."""
        self.data[28:32] = struct.pack(">I", len(self))
        self.data[92:96] = self.data[24:28]
        path.write_bytes(self.data)


def root(path: Path, table: str) -> int:
    """The page at which a table, or an index, begins."""
    database = sqlite3.connect(str(path))
    ((number,),) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,))
    database.close()
    return int(number)


def altered(path: Path, *statements: str) -> None:
    """Change a database by SQL, its schema too."""
    database = sqlite3.connect(str(path), isolation_level=None)
    database.execute("PRAGMA writable_schema = ON")
    database.execute("PRAGMA ignore_check_constraints = ON")
    for statement in statements:
        database.execute(statement)
    database.close()
