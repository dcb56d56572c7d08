"""The names of files while tracing: the path that each was opened under, and what the programs say became of it.

The programs resolve paths in the kernel, and send each once. When a process renames a file that it has closed a moment
ago, they send the new path as well; what became of all others is found out at the end (`iotrace.tracing.fates`).
"""

from __future__ import annotations

import struct
from typing import Callable, Dict, List, NamedTuple, Optional

from programs.facts.records import (
    EVENT_BORN,
    EVENT_DIRECTORY,
    EVENT_NAMED,
    EVENT_RENAMED,
    EVENT_TRUNCATED,
    EVENT_UNREACHABLE,
    FileKey,
    PathEvent,
)

_EVENT = struct.Struct("<IIQ")  # kind, length, id
_POINTERS = struct.Struct(f"<{PathEvent.mount.offset}xQQ")
_FSTYPE = slice(PathEvent.fstype.offset, PathEvent.fstype.offset + PathEvent.fstype.total)
_KEY = slice(PathEvent.key.offset, PathEvent.key.offset + FileKey.size)

OWN_DEVICES = ("btrfs",)  # file systems whose stat(2) shows another device than their super block's


class Name(NamedTuple):
    """A path that the kernel resolved when the file was opened, and where the kernel keeps the file."""

    path: bytes
    fstype: str
    key: bytes = bytes(FileKey.size)  # the file's FileKey
    mount: int = 0  # struct mount *
    inode: int = 0  # struct inode *
    born: bool = False  # the file was created by the open that was seen first
    unreachable: bool = False  # no path leads to it


class Fate(NamedTuple):
    """What is known of a file's name in the end."""

    state: Optional[str] = None  # what the path leads to now; None: nobody can tell
    renamed_to: Optional[bytes] = None  # the path that the file has now, or had last, where that is another one
    device: Optional[int] = None  # st_dev, where that is not the super block's
    size: Optional[int] = None  # of the file, where it could be seen


class Names:
    """What is known of the names of files, by the programs' file id."""

    def __init__(self, found: Callable[[int, bytes], None] = lambda _number, _path: None) -> None:
        """`found` is told the path of each directory that a failed open began at, with its number."""
        self._found = found
        self.first: Dict[int, Name] = {}
        self.renamed: Dict[int, bytes] = {}  # the path that a file has been given since
        self.fates: Dict[int, Fate] = {}  # of those that were asked for: see `iotrace.tracing.fates`
        self.uncertain: List[int] = []  # files whose device is to be asked for: see OWN_DEVICES
        self.truncated = 0
        self._fstypes: Dict[bytes, str] = {}

    def __len__(self) -> int:
        return len(self.first)

    def forget(self, file_id: int) -> None:
        """A file that is not going to be asked for again."""
        del self.first[file_id]
        self.renamed.pop(file_id, None)
        self.fates.pop(file_id, None)

    def fate(self, file_id: int) -> Fate:
        """What is known of what became of a file's name."""
        return self.fates.get(file_id) or Fate(renamed_to=self.renamed.get(file_id))

    def take(self, record: bytes) -> None:
        """One PathEvent, as the programs sent it."""
        kind, length, file_id = _EVENT.unpack_from(record)
        parts = record[PathEvent.size : PathEvent.size + length].split(b"\0")
        parts.reverse()  # what follows the last NUL, nothing, comes first
        path = b"/".join(parts) if len(parts) > 1 else b"/"
        if kind & EVENT_TRUNCATED:
            path = b"/..." + path
            self.truncated += 1
        what = kind & (EVENT_TRUNCATED - 1)
        if what == EVENT_NAMED:
            mount, inode = _POINTERS.unpack_from(record)
            if path == b"/":  # the name of a dentry that is connected to nothing
                path = b"/.../disconnected:%d" % FileKey.struct.unpack(record[_KEY])[FileKey.inode.index]
            born, unreachable = kind & EVENT_BORN != 0, kind & EVENT_UNREACHABLE != 0
            name = Name(path, self._file_system(record[_FSTYPE]), record[_KEY], mount, inode, born, unreachable)
            self.first.setdefault(file_id, name)
            if name.fstype in OWN_DEVICES:
                self.uncertain.append(file_id)
        elif what == EVENT_RENAMED and file_id in self.first and not kind & EVENT_UNREACHABLE:
            self.renamed[file_id] = path
        elif what == EVENT_DIRECTORY and not kind & (EVENT_UNREACHABLE | EVENT_TRUNCATED):
            self._found(file_id, path)

    def _file_system(self, raw: bytes) -> str:
        """The type's name: one string for all files of that type."""
        name = self._fstypes.get(raw)
        if name is None:
            name = self._fstypes[raw] = raw.split(b"\0")[0].decode("ascii", "replace")
        return name
