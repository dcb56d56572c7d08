"""The names of files while tracing: the path at first sight, and what became of it by rename and unlink.

The programs send a file's path once, resolved in the kernel. After that they send what callers of rename and unlink
say, as the walked directory that the call starts from and the text of the path. Such a path can go through symbolic
links and "..", so its directory is resolved here, at once, and by the same rules as the file's own path was.
"""

from __future__ import annotations

import contextlib
import os
from typing import Dict, List, NamedTuple, Optional, Set, Tuple

from programs.layout import (
    EVENT_EXCHANGED,
    EVENT_NAMED,
    EVENT_NEW_NAME,
    EVENT_OLD_NAME,
    EVENT_RENAMED,
    EVENT_TRUNCATED,
    EVENT_UNLINKED,
    FileKey,
    PathEvent,
)

_KEY = PathEvent.key.index
_MNT_NS = _KEY + FileKey.mnt_ns.index
_TID = _KEY + FileKey.device.index
_FSTYPE = PathEvent.fstype.index

_NOWHERE = b"/\0"  # a path that no file can have: where one waits while two change places

Place = Tuple[int, bytes]
"""A path in a mount namespace."""


class Name(NamedTuple):
    """A path that the kernel resolved."""

    path: bytes
    fstype: str


class Names:
    """What is known of the names of files, by the programs' file id."""

    def __init__(self) -> None:
        self.first: Dict[int, Name] = {}
        self.renamed: Dict[int, bytes] = {}
        self.deleted: Set[int] = set()
        self.truncated = 0
        self._current: Dict[Place, List[int]] = {}
        self._directories: Set[Place] = set()  # every directory above a name, to tell when a rename moves many
        self._leaving: Dict[Tuple[int, int], bytes] = {}
        self._own_ns = _own_mount_namespace()

    def __len__(self) -> int:
        return len(self.first)

    def take(self, record: bytes) -> None:
        """One PathEvent, as the programs sent it."""
        head = PathEvent.struct.unpack_from(record)
        kind, length, file_id = head[:3]
        parts = record[PathEvent.size : PathEvent.size + length].split(b"\0")[:-1]
        path = b"/" + b"/".join(reversed(parts))
        if kind & EVENT_TRUNCATED:
            path = b"/..." + path
            self.truncated += 1
        kind &= ~EVENT_TRUNCATED
        mnt_ns = head[_MNT_NS]
        if kind in (EVENT_NAMED, EVENT_RENAMED):
            self._named(file_id, mnt_ns, path, head[_FSTYPE])
        elif kind == EVENT_UNLINKED:
            for gone in self._current.pop((mnt_ns, self._resolve(mnt_ns, path)), ()):
                self.deleted.add(gone)
        elif kind == EVENT_OLD_NAME:
            self._leaving[(file_id, head[_TID])] = path
        elif kind in (EVENT_NEW_NAME, EVENT_EXCHANGED):
            left = self._leaving.pop((file_id, head[_TID]), None)
            if left is not None:
                old, new = self._resolve(mnt_ns, left), self._resolve(mnt_ns, path)
                moves = [(old, new)] if kind == EVENT_NEW_NAME else [(old, _NOWHERE), (new, old), (_NOWHERE, new)]
                for source, target in moves:
                    self._rename(mnt_ns, source, target)

    def _named(self, file_id: int, mnt_ns: int, path: bytes, fstype: bytes) -> None:
        known = self.first.get(file_id)
        if known is None:
            self.first[file_id] = Name(path, fstype.split(b"\0")[0].decode("ascii", "replace"))
        elif self.renamed.get(file_id, known.path) != path:
            self._forget(mnt_ns, self.renamed.get(file_id, known.path), file_id)
            self._now(file_id, path)
        else:
            return
        self._current.setdefault((mnt_ns, path), []).append(file_id)
        self._note_directories(mnt_ns, path)

    def _now(self, file_id: int, path: bytes) -> None:
        if self.first[file_id].path == path:
            self.renamed.pop(file_id, None)
        else:
            self.renamed[file_id] = path

    def _forget(self, mnt_ns: int, path: bytes, file_id: int) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._current[(mnt_ns, path)].remove(file_id)

    def _rename(self, mnt_ns: int, old: bytes, new: bytes) -> None:
        if old == new:
            return
        if (mnt_ns, old) in self._directories:
            for ns, path in list(self._current):
                if ns == mnt_ns and path.startswith(old + b"/"):
                    self._move(mnt_ns, path, new + path[len(old) :])
        if (mnt_ns, old) in self._current:
            self._move(mnt_ns, old, new)
        elif (mnt_ns, new) in self._current:
            self.deleted.update(self._current.pop((mnt_ns, new)))

    def _move(self, mnt_ns: int, old: bytes, new: bytes) -> None:
        """The files at `old` are at `new` from now on; what was there has lost its name."""
        self.deleted.update(self._current.pop((mnt_ns, new), ()))
        moved = self._current.pop((mnt_ns, old))
        for file_id in moved:
            self._now(file_id, new)
        self._note_directories(mnt_ns, new)
        self._current[(mnt_ns, new)] = moved

    def _note_directories(self, mnt_ns: int, path: bytes) -> None:
        while len(path) > 1:
            path = os.path.dirname(path)
            if (mnt_ns, path) in self._directories:
                return
            self._directories.add((mnt_ns, path))

    def _resolve(self, mnt_ns: int, path: bytes) -> bytes:
        """The absolute path without symbolic links in its directory; the last name stays, as rename does not follow."""
        directory, name = os.path.split(os.path.normpath(path) if b".." not in path else path.rstrip(b"/"))
        if mnt_ns == self._own_ns:
            with contextlib.suppress(OSError, ValueError):
                directory = os.path.realpath(directory)
        return os.path.normpath(directory + b"/" + name).replace(b"//", b"/")


def _own_mount_namespace() -> Optional[int]:
    try:
        return os.stat("/proc/self/ns/mnt").st_ino
    except OSError:
        return None
