"""Files and open file descriptions: what identifies one, and what is kept of it."""

from __future__ import annotations

from asm import U32, U64, Layout, field


class OpenKey(Layout):
    """An open file description, as seen from a mount namespace."""

    file = field(U64)  # struct file *
    mnt_ns = field(U64)  # struct mnt_namespace *


class OpenFile(Layout):
    """State of an open file description.

    gap[READ] is the distance from the end of the last read to the file position, `pos - end`, and gap[WRITE] that of
    the last write. Transfers at the file position leave the gap of their own direction as it is, so that threads which
    share a descriptor only ever *add* to these words, and no order of their exits can tear a run.
    """

    id = field(U64)  # the file
    inode = field(U64)  # struct inode *: struct file pointers are reused
    pos = field(U64)  # the file position after every transfer accounted so far
    gap = field(U64, 2)  # per direction
    run = field(U64, 2)  # bytes of the run in progress, per direction
    inflight = field(U64)  # transfers at the file position that other threads may overtake
    flags = field(U64)  # OPEN_*


OPEN_UNNAMED = 1  # the path has not reached user space yet


class FileKey(Layout):
    """A file: a name (dentry) in a mount, seen from a mount namespace. Hard links are different files."""

    dentry = field(U64)  # struct dentry *
    mnt = field(U64)  # struct vfsmount *
    inode = field(U64)  # number
    device = field(U32)  # kernel's dev_t: major << 20 | minor
    generation = field(U32)  # i_generation: inode numbers are reused at once by some file systems
    mnt_ns = field(U32)  # inode number of the namespace
    pad = field(U32)


class FileId(Layout):
    """What a FileKey leads to."""

    id = field(U64)  # unique within a run
    named = field(U64)  # 1 once the path was sent
    parent = field(U64)  # struct dentry * of the directory, and
    name = field(U64)  # hash and length of the name when the path was sent: both change with a rename


class FileState(Layout):
    """Per-file totals that no single operation owns (key: id).

    The first write and the first sync are kept apart, so that two such records of one file, one after the other, can
    be added up to what a single one would have come to.
    """

    opens = field(U64)
    closes = field(U64)  # successful ones
    rewrites = field(U64)
    first_write = field(U64)  # offset of the first write, plus one; 0: none yet
    last_write = field(U64)  # the same of the previous one
    unsynced = field(U64)  # bytes written since the last successful sync
    synced = field(U64)  # bytes that successful syncs covered
    first_sync = field(U64)  # bytes that the first of them covered, plus one; 0: none yet
    flags = field(U64)  # FILE_*
    operations = field(U64)  # 1 << code of each operation that has a record


FILE_DELETED, FILE_MAPPED = 1, 2
