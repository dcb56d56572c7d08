"""Paths on their way to user space, and the work space that they are put together in."""

from __future__ import annotations

from asm import U8, U32, U64, Layout, field
from programs.facts.records.abi import IOVEC_BYTES, IOVECS
from programs.facts.records.file import FileKey

PATH_BYTES = 4096  # PATH_MAX: what a caller may give
WALK_BYTES = 8192  # what a path may have that is made of a directory's and a caller's
NAME_BYTES = 256  # NAME_MAX and the NUL
IOVEC_CHUNK = 16  # entries summed without a test in between


class PathEvent(Layout):
    """Header of a path sent to user space; the components follow, last first, each ended by a NUL."""

    kind = field(U32)  # EVENT_*
    length = field(U32)  # bytes of components
    id = field(U64)
    key = field(FileKey)
    fstype = field(U8, 16)


EVENT_NAMED, EVENT_RENAMED = 1, 2
EVENT_OLD_NAME, EVENT_NEW_NAME, EVENT_UNLINKED, EVENT_EXCHANGED = 3, 4, 5, 6  # a path as a caller gave it
EVENT_TRUNCATED = 0x100  # added to one of the others


class Walk(Layout):
    """Where a path walk stands; it outlives tail calls."""

    dentry = field(U64)
    mnt = field(U64)  # struct mount * (container of the vfsmount)
    parent = field(U64)  # of the file itself, for FileId
    name = field(U64)
    file = field(U64)  # key of the OpenFile that waits for its name
    mnt_ns = field(U64)
    sb = field(U64)  # struct super_block *
    position = field(U64)  # bytes of path so far
    after = field(U64)  # program to continue with, 0: none
    event = field(PathEvent)


class Scratch(Layout):
    """Per-CPU work space: what does not fit the 512 bytes of a stack."""

    walk = field(Walk)  # first, so that a Walk pointer is a Scratch pointer; its event lies before the path
    data = field(U8, IOVECS * IOVEC_BYTES + IOVEC_CHUNK * IOVEC_BYTES)  # a path, or an iovec
