"""The names of files while tracing: the path at first sight, and what became of it by rename and unlink.

The programs send a file's path once, resolved in the kernel. After that they send what callers of rename and unlink
say, as the walked directory that the call starts from and the text of the path. Such a path can go through symbolic
links and "..", so its directory is resolved here, at once, and by the same rules as the file's own path was.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
from typing import Dict, List, NamedTuple, Optional, Set, Tuple

from programs.facts.records import (
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

_KEY = PathEvent.key.offset
# Kind, length, id, and of the key: the device, which is a thread's id where there is no file, and the mount namespace.
_EVENT = struct.Struct(
    f"<IIQ{_KEY + FileKey.device.offset - 16}xI{FileKey.mnt_ns.offset - FileKey.device.offset - 4}xI"
)
_FSTYPE = slice(PathEvent.fstype.offset, PathEvent.fstype.offset + PathEvent.fstype.total)
_NAMESPACE = struct.Struct(f"<{FileKey.mnt_ns.offset}xI")
_KEY_BYTES = slice(_KEY, _KEY + FileKey.size)

_RESOLVED_FOR = 0.1  # seconds; events are that late anyway
_NOWHERE = b"/\0"  # a path that no file can have: where one waits while two change places

Place = Tuple[int, bytes]
"""A path in a mount namespace."""


class Name(NamedTuple):
    """A path that the kernel resolved."""

    path: bytes
    fstype: str
    key: bytes = b""  # the file's FileKey


class Names:
    """What is known of the names of files, by the programs' file id."""

    def __init__(self) -> None:
        self.first: Dict[int, Name] = {}
        self.renamed: Dict[int, bytes] = {}
        self.deleted: Set[int] = set()
        self.truncated = 0
        self.changes: List[Tuple[int, bytes, Optional[bytes]]] = []  # that may concern files which are forgotten
        self.changed = 0  # how many such changes there were
        self._newest_forgotten = -1
        self._renamed_and_forgotten = False
        self._current: Dict[int, Dict[bytes, Tuple[int, ...]]] = {}  # mount namespace -> path -> the files there
        self._fstypes: Dict[bytes, str] = {}
        self._resolved: Dict[bytes, bytes] = {}  # directories, for a moment
        self._resolved_at = 0.0
        self._directories: Set[Place] = set()  # every directory above a name, to tell when a rename moves many
        self._leaving: Dict[Tuple[int, int], bytes] = {}
        self._own_ns = _own_mount_namespace()

    def __len__(self) -> int:
        return len(self.first)

    def forget(self, file_id: int) -> None:
        """A file that is not going to be asked for again: what happens to its name from now on goes to `changes`."""
        known = self.first.pop(file_id)
        (mnt_ns,) = _NAMESPACE.unpack_from(known.key)
        renamed = self.renamed.pop(file_id, None)
        self._forget(mnt_ns, known.path if renamed is None else renamed, file_id)
        self.deleted.discard(file_id)
        self._newest_forgotten = max(self._newest_forgotten, file_id)
        self._renamed_and_forgotten |= renamed is not None

    def _change(self, mnt_ns: int, old: bytes, new: Optional[bytes]) -> None:
        if self._newest_forgotten >= 0:
            self.changes.append((mnt_ns, old, new))
            self.changed += 1

    def _unlink(self, mnt_ns: int, path: bytes) -> None:
        gone = self._at(mnt_ns).pop(path, ())
        self.deleted.update(gone)
        # If what is forgotten at this path is older than what is not, it is a part of the same file, or gone already.
        if max(gone, default=-1) < self._newest_forgotten or self._renamed_and_forgotten:
            self._change(mnt_ns, path, None)

    def begin(self) -> None:
        """A new batch of events: symbolic links may have changed since the last one, unless it was just now."""
        now = time.monotonic()
        if now - self._resolved_at > _RESOLVED_FOR:
            self._resolved.clear()
            self._resolved_at = now

    def take(self, record: bytes) -> None:
        """One PathEvent, as the programs sent it."""
        kind, length, file_id, tid, mnt_ns = _EVENT.unpack_from(record)
        parts = record[PathEvent.size : PathEvent.size + length].split(b"\0")
        parts.reverse()  # what follows the last NUL, nothing, comes first
        path = b"/".join(parts) if len(parts) > 1 else b"/"
        if kind & EVENT_TRUNCATED:
            path = b"/..." + path
            self.truncated += 1
        kind &= ~EVENT_TRUNCATED
        if kind in (EVENT_NAMED, EVENT_RENAMED):
            self._named(file_id, mnt_ns, path, record)
        elif kind == EVENT_UNLINKED:
            self._unlink(mnt_ns, self._resolve(mnt_ns, path))
        elif kind == EVENT_OLD_NAME:
            self._leaving[(file_id, tid)] = path
        elif kind in (EVENT_NEW_NAME, EVENT_EXCHANGED):
            left = self._leaving.pop((file_id, tid), None)
            if left is not None:
                old, new = self._resolve(mnt_ns, left), self._resolve(mnt_ns, path)
                moves = [(old, new)] if kind == EVENT_NEW_NAME else [(old, _NOWHERE), (new, old), (_NOWHERE, new)]
                for source, target in moves:
                    self._rename(mnt_ns, source, target)

    def _at(self, mnt_ns: int) -> Dict[bytes, Tuple[int, ...]]:
        found = self._current.get(mnt_ns)
        if found is None:
            found = self._current[mnt_ns] = {}
        return found

    def _named(self, file_id: int, mnt_ns: int, path: bytes, record: bytes) -> None:
        known = self.first.get(file_id)
        if known is None:
            self.first[file_id] = Name(path, self._file_system(record[_FSTYPE]), record[_KEY_BYTES])
        elif self.renamed.get(file_id, known.path) != path:
            self._forget(mnt_ns, self.renamed.get(file_id, known.path), file_id)
            self._now(file_id, path)
        else:
            return
        current = self._at(mnt_ns)
        current[path] = (*current.get(path, ()), file_id)
        self._note_directories(mnt_ns, path)

    def _file_system(self, raw: bytes) -> str:
        """The type's name: one string for all files of that type."""
        name = self._fstypes.get(raw)
        if name is None:
            name = self._fstypes[raw] = raw.split(b"\0")[0].decode("ascii", "replace")
        return name

    def _now(self, file_id: int, path: bytes) -> None:
        if self.first[file_id].path == path:
            self.renamed.pop(file_id, None)
        else:
            self.renamed[file_id] = path

    def _forget(self, mnt_ns: int, path: bytes, file_id: int) -> None:
        current = self._at(mnt_ns)
        left = tuple(other for other in current.get(path, ()) if other != file_id)
        if left:
            current[path] = left
        else:
            current.pop(path, None)

    def _rename(self, mnt_ns: int, old: bytes, new: bytes) -> None:
        if old == new:
            return
        self._change(mnt_ns, old, new)
        self._renamed_and_forgotten |= self._newest_forgotten >= 0
        self._resolved.clear()
        current = self._at(mnt_ns)
        if (mnt_ns, old) in self._directories:
            for path in [path for path in current if path.startswith(old + b"/")]:
                self._move(mnt_ns, path, new + path[len(old) :])
        if old in current:
            self._move(mnt_ns, old, new)
        else:
            self.deleted.update(current.pop(new, ()))

    def _move(self, mnt_ns: int, old: bytes, new: bytes) -> None:
        """The files at `old` are at `new` from now on; what was there has lost its name."""
        current = self._at(mnt_ns)
        self.deleted.update(current.pop(new, ()))
        moved = current.pop(old)
        for file_id in moved:
            self._now(file_id, new)
        self._note_directories(mnt_ns, new)
        current[new] = moved

    def _note_directories(self, mnt_ns: int, path: bytes) -> None:
        while len(path) > 1:
            path = path.rpartition(b"/")[0] or b"/"
            if (mnt_ns, path) in self._directories:
                return
            self._directories.add((mnt_ns, path))

    def _resolve(self, mnt_ns: int, path: bytes) -> bytes:
        """The absolute path without symbolic links in its directory; the last name stays, as rename does not follow."""
        plain = path.replace(b"//", b"/")
        if b"/." in plain or b"//" in plain or plain.endswith(b"/"):
            directory, name = os.path.split(os.path.normpath(path) if b".." not in path else path.rstrip(b"/"))
            if mnt_ns == self._own_ns:
                directory = self._real(directory)
            return os.path.normpath(directory + b"/" + name).replace(b"//", b"/")
        directory, _, name = plain.rpartition(b"/")
        if mnt_ns == self._own_ns:
            directory = self._real(directory or b"/")
        return directory.rstrip(b"/") + b"/" + name

    def _real(self, directory: bytes) -> bytes:
        found = self._resolved.get(directory)
        if found is None:
            found = directory
            with contextlib.suppress(OSError, ValueError):
                found = os.path.realpath(directory)
            self._resolved[directory] = found
        return found


def _own_mount_namespace() -> Optional[int]:
    try:
        return os.stat("/proc/self/ns/mnt").st_ino
    except OSError:
        return None
