"""Files and open file descriptions: what identifies one, and what is kept of it."""

from __future__ import annotations

from asm import U16, U32, U64, Layout, field, overlay

THREADS_KEPT = 4  # a power of two


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
    closer = field(U64)  # with OPEN_CLOSED: the process (tgid) in the upper half, its descriptor in the lower one
    threads = field(U64, THREADS_KEPT)  # those that did I/O through it last, each in the place that its id falls on


class OwnedFile(Layout):
    """The same where rows are apart by who does the I/O (`Options.by`)."""

    file = field(OpenFile)
    row = field(U64)  # that of the last transfer, which the runs in progress belong to; 0: none yet


OPEN_UNNAMED = 1  # the path has not reached user space yet
OPEN_CLOSED = 2  # `closer` was closed while others still held the description
OPEN_SOUGHT = 4  # its position was moved by a seek since the last transfer, where data calls have no entry
# Likewise: for so many transfers in a row it was further than was accounted for, and nobody knows why.
OPEN_AHEAD, OPEN_AHEAD_MASK = 1 << 3, 0x3F << 3


class FileKey(Layout):
    """A file under one path, seen from a mount namespace: hard links are different files, and so is a file before and
    after it was renamed."""

    dentry = field(U64)  # struct dentry *
    chain = field(U64)  # of the names above and the mounts that they are in: programs/files/chain.py
    inode = field(U64)  # number
    device = field(U32)  # kernel's dev_t: major << 20 | minor
    generation = field(U32)  # i_generation: inode numbers are reused at once by some file systems
    mnt_ns = field(U32)  # inode number of the namespace
    pad = field(U32)


class FileId(Layout):
    """What a FileKey leads to."""

    id = field(U64)  # unique within a run, and ordered by time: ns << 10 | CPU
    marks = field(U64)  # ID_*
    inode = field(U64)  # struct inode *


ID_NAMED = 1  # the path was sent
ID_BORN = 2  # the file was created by the open that made the id: another incarnation begins with it
BORN_PERHAPS = 4  # in Call.born: the open was to create the file if need be, and found it empty


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
    flags = field(U32)  # FILE_*
    # The buckets of the latencies of its first open and its first close, plus one; 0: it is not here. Most files have
    # no others, which are among the sparse counters.
    first_open = field(U16)
    first_close = field(U16)
    operations = field(U64)  # 1 << code of each operation that has a record
    opening = field(U64)  # ns that successful opens took, in sum
    slowest_open = field(U64)  # ns
    closing = field(U64)  # the same of closes
    slowest_close = field(U64)
    seen = field(U64)  # size of the file when it was opened or closed last, plus one; 0: never
    threads = field(U64)  # the first thread that did I/O on it, and in the lowest THREAD_SHIFT bits how many more

    # Where rows are apart by who does the I/O (`Options.by`), each row has such a record besides. Then, of the file's:
    syncs = overlay(U64, closes)  # how often it was synced
    # And of a row's, which has no last write, no size, and nothing that was synced:
    epoch = overlay(U64, synced)  # `syncs` of the file when `unsynced` was begun
    who = overlay(U64, last_write)  # the words of RowKey.who
    who_more = overlay(U64, seen)


FILE_DELETED, FILE_MAPPED = 1, 2
THREAD_SHIFT = 10  # no more threads than that are in the midst of being counted for one file
MOST_THREADS = 64  # stands for so many and more


class ThreadKey(Layout):
    """One of the threads that did I/O on a file, but the first."""

    id = field(U64)
    thread = field(U64)  # programs/counting/threads.py


class RowKey(Layout):
    """What one process, cgroup or user does on a file."""

    id = field(U64)  # the file
    who = field(U64, 2)  # the process's name, NULs behind it; or the number of the user or of the cgroup, and 0
