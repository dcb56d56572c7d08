"""The kernel's initramfs format, "newc" (Documentation/driver-api/early-userspace/buffer-format.rst).

Archives may follow one another in one initrd; a later one adds to what an earlier one holds.
"""

from __future__ import annotations

import stat
from typing import IO, Set

_ALIGN = 512


class CpioWriter:
    """Writes one archive; everything in it belongs to root, and directories are made as they are needed."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self._inode = 0
        self._directories: Set[str] = set()

    def file(self, path: str, data: bytes, permissions: int = 0o644) -> None:
        self._below(path)
        self._put(path, stat.S_IFREG | permissions, data)

    def symlink(self, path: str, target: str) -> None:
        self._below(path)
        self._put(path, stat.S_IFLNK | 0o777, target.encode())

    def directory(self, path: str) -> None:
        if path and path not in self._directories:
            self._below(path)
            self._directories.add(path)
            self._put(path, stat.S_IFDIR | 0o755, b"")

    def close(self) -> None:
        """Write the trailer; without it the kernel takes the archive for a broken one."""
        self._put("TRAILER!!!", 0, b"")
        self._out.write(bytes(-self._out.tell() % _ALIGN))

    def _below(self, path: str) -> None:
        self.directory(path.rpartition("/")[0])

    def _put(self, path: str, mode: int, data: bytes) -> None:
        self._inode += 1
        name = path.encode() + b"\0"
        # inode, mode, uid, gid, links, mtime, size, device and its minor, rdev and its minor, name's size, checksum
        fields = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
        header = b"070701" + b"".join(b"%08X" % value for value in fields) + name
        self._out.write(header + bytes(-len(header) % 4) + data + bytes(-len(data) % 4))
