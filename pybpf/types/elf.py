"""Sections of ELF files by name: as much of ELF as it takes to read the BTF of a kernel image.

What is read may be hostile; the one error for that is ElfError. Only what is asked for is read, since an image with
debug information has hundreds of megabytes; and of that no more than the caller says.
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO, Dict, List, NamedTuple, Optional

__all__ = ["Elf", "ElfError"]

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_MAX_SECTIONS = 1 << 16
_MAX_NAMES, _MAX_NAME = 4 << 20, 256  # bytes of all names of sections, and of one
_NOBITS, _COMPRESSED = 8, 1 << 11


class ElfError(ValueError):
    """What was read is not a 64-bit little-endian ELF file, or is broken."""


class _Section(NamedTuple):
    kind: int
    flags: int
    offset: int
    size: int


class Elf:
    """An open ELF file. `machine` is its EM_* number."""

    def __init__(self, source: BinaryIO) -> None:
        """Read the names of its sections from `source`, which the caller keeps open. Raises ElfError, OSError."""
        self._source = source
        self._size = os.fstat(source.fileno()).st_size
        header = self._read(0, _HEADER.size)
        ident, _type, self.machine, *_rest = fields = _HEADER.unpack(header)
        if not ident.startswith(b"\x7fELF"):
            raise ElfError("not an ELF file")
        if ident[4:6] != b"\x02\x01":
            raise ElfError("not a 64-bit little-endian ELF file")
        table, entry_size, count, names = fields[6], fields[11], fields[12], fields[13]
        if entry_size != _SECTION.size and count:
            raise ElfError("section headers of an unknown size")
        if not count and table:  # more than 65,279: the first header says how many
            count = _SECTION.unpack(self._read(table, _SECTION.size))[5]
        if count > _MAX_SECTIONS:
            raise ElfError(f"{count} sections are too many")
        raw = [_SECTION.unpack_from(chunk) for chunk in self._entries(table, count)]
        sections = [_Section(kind, flags, offset, size) for _, kind, flags, _, offset, size, *_ in raw]
        if names >= len(sections):
            raise ElfError("no names of sections")
        text = self._content(sections[names], _MAX_NAMES)
        self._sections: Dict[bytes, _Section] = {}
        for fields, section in zip(raw, sections):
            name, end, _ = text[fields[0] : fields[0] + _MAX_NAME].partition(b"\0")
            if end:
                self._sections.setdefault(name, section)

    def _entries(self, table: int, count: int) -> List[bytes]:
        data = self._read(table, count * _SECTION.size)
        return [data[at : at + _SECTION.size] for at in range(0, len(data), _SECTION.size)]

    def _read(self, offset: int, size: int) -> bytes:
        if offset + size > self._size:
            raise ElfError("cut off")
        self._source.seek(offset)
        return self._source.read(size)

    def _content(self, section: _Section, most: int) -> bytes:
        if section.kind == _NOBITS:
            return b""
        if section.flags & _COMPRESSED:
            raise ElfError("a compressed section")
        if section.size > most:
            raise ElfError(f"a section of {section.size:,} bytes, where {most:,} are more than enough")
        return self._read(section.offset, section.size)

    def __contains__(self, name: str) -> bool:
        """Whether there is a section of that name."""
        return name.encode() in self._sections

    def section(self, name: str, most: int) -> Optional[bytes]:
        """The content of a section; None if there is no such section. Raises ElfError, also if it has more than `most`
        bytes."""
        found = self._sections.get(name.encode())
        return None if found is None else self._content(found, most)
