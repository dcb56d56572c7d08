"""Paths on their way to user space, and the work space that they are put together in."""

from __future__ import annotations

from asm import U8, U32, U64, Layout, field
from programs.facts.records.abi import IOVEC_BYTES, IOVECS
from programs.facts.records.file import FileKey

WALK_BYTES = 8192  # of a path: longer than PATH_MAX, as a deep directory can be reached step by step
NAME_BYTES = 256  # NAME_MAX and the NUL
IOVEC_CHUNK = 16  # entries summed without a test in between


class PathEvent(Layout):
    """Header of a path sent to user space; the components follow, last first, each ended by a NUL."""

    kind = field(U32)  # EVENT_*
    length = field(U32)  # bytes of components
    id = field(U64)
    key = field(FileKey)
    mount = field(U64)  # struct mount *
    inode = field(U64)  # struct inode *
    fstype = field(U8, 16)


EVENT_NAMED = 1  # the path of a file that is new
EVENT_RENAMED = 2  # the path that a file has by now, which keeps its id
EVENT_DIRECTORY = 3  # the path of a directory that failed opens began at: `id` is its number in `RefusedKey`
# Added to one of the others:
EVENT_TRUNCATED = 0x100  # the path is too long or too deep
EVENT_BORN = 0x200  # the file was created just now
EVENT_UNREACHABLE = 0x400  # no path leads there: the dentry is not connected, or the mount is in no namespace


class Walk(Layout):
    """Where a path walk stands; it outlives tail calls."""

    dentry = field(U64)
    mnt = field(U64)  # struct mount * (container of the vfsmount)
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


REFUSED_TEXT = 248  # bytes of a path, the NUL included


class RefusedKey(Layout):
    """Opens that have failed in one way."""

    errno = field(U32)
    marks = field(U32)  # REFUSED_*
    directory = field(U64)  # the chain of the directory that the text begins at: programs/files/chain.py; 0: the root
    text = field(U8, REFUSED_TEXT)  # as the caller gave it, up to a NUL


REFUSED_CUT = 1  # the text has more bytes
REFUSED_ADRIFT = 2  # nobody knows which directory the text begins at


class RecentFile(Layout):
    """A file that a process has closed a moment ago: what is needed to notice that its name changes."""

    id = field(U64)  # 0: none
    dentry = field(U64)
    mount = field(U64)  # struct mount *
    inode = field(U64)  # struct inode *
    mnt_ns = field(U64)  # struct mnt_namespace *
    parent = field(U64)  # dentry of the directory, and
    name = field(U64)  # hash and length of the name: one of both changes with a rename
    sb = field(U64)  # struct super_block *


RECENT_FILES = 8  # a power of two


class Recent(Layout):
    """The files that a process has closed last, in a ring. Processes may share one: its entries are checked."""

    files = field(RecentFile, RECENT_FILES)
    next = field(U64)  # how many there have been


class AskFile(Layout):
    """A question about a file, and the answer: does its name still lead to it?"""

    # -- what is known
    dentry = field(U64)
    mount = field(U64)
    inode = field(U64)  # struct inode *
    number = field(U64)  # inode number
    chain = field(U64)  # as in FileKey
    generation = field(U32)
    descriptor = field(U32)  # of iotrace's own: to ask what that refers to instead; ASK_NO_DESCRIPTOR: none
    # -- the answer
    verdict = field(U32)  # ASK_*
    device = field(U32)  # of what the descriptor refers to, as are the inode, its number and the generation then
    seen = field(U64)  # size of the file, plus one; 0: unknown


ASK_NO_DESCRIPTOR = 0xFFFFFFFF
ASK_UNKNOWN, ASK_SAME, ASK_MOVED, ASK_UNHASHED, ASK_GONE, ASK_REPLACED, ASK_STALE, ASK_DESCRIPTOR = range(8)


class Asking(Layout):
    """What the program `ask` is to do when it runs next."""

    tgid = field(U32)  # it runs for this process alone, 0: for whoever runs it
    first = field(U32)  # row of `asked`
    count = field(U32)  # rows
    walk = field(U32)  # 1: send the path that the first of them has by now, as EVENT_RENAMED of `id`
    id = field(U64)
