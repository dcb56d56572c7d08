"""Every record that kernel and user space share, defined once: offsets for the assembler, unpackers for the collector.

Times are nanoseconds of CLOCK_MONOTONIC (``bpf_ktime_get_ns``), sizes and offsets are bytes, all little-endian.
Histogram bucket 0 counts zeros, bucket k counts values in [2^(k-1), 2^k).
"""

from __future__ import annotations

from asm import U8, U16, U32, U64, Layout, field

SIZE_BUCKETS = 33  # the kernel transfers less than 2^31 bytes a call (MAX_RW_COUNT, include/linux/fs.h)
LATENCY_BUCKETS = 44  # up to 2^43 ns, 2.4 hours; longer ones are counted in the last
RUN_BUCKETS = 44  # runs of up to 8 TiB; longer ones go to the tallies

ARGUMENT_WORDS = 8  # x86_64 keeps the six arguments within eight words of pt_regs: one read fetches them
PATH_BYTES = 4096  # PATH_MAX: what a caller may give
WALK_BYTES = 8192  # what a path may have that is made of a directory's and a caller's
NAME_BYTES = 256  # NAME_MAX and the NUL
IOVECS = 1024  # UIO_MAXIOV
IOVEC_BYTES = 16
IOVEC_CHUNK = 16  # entries summed without a test in between


class Target(Layout):
    """A traced process (key: tgid)."""

    flags = field(U64)  # TARGET_*


TARGET_PID, TARGET_COMM, TARGET_DESCENT, TARGET_FOLLOW = 1, 2, 4, 8


# An entry of ``strangers``: the generation plus one in the lowest bits, above it the process, and above that those bits
# of the thread's id that are not in the index.  No id has more than 22 bits (PID_MAX_LIMIT).
STRANGER_TGID, STRANGER_TID = 36, 58


class Call(Layout):
    """A thread's system call between entry and exit (key: tid).  Only the thread itself writes it: no atomics."""

    owner = field(U32)  # tid, 0 while the record is free
    call = field(U32)  # Descriptor.pack(); 0 while no call is in flight
    entered = field(U64)  # ns
    file = field(U64)  # struct file * of the (source) descriptor at entry, 0 if it had none
    target = field(U64)  # struct file * that a copy writes to
    mnt_ns = field(U64)  # struct mnt_namespace *, 0 until it is asked for
    id = field(U64)  # of the file being closed
    shared = field(U64)  # 1 if this call is counted in OpenFile.inflight
    process = field(U64)  # tgid
    checked = field(U64)  # generation of the targets, plus one, in which this thread was found to be one
    args = field(U64, ARGUMENT_WORDS)
    # From here on: what the exit works out about one transfer, kept here to leave the stack to keys and new records.
    result = field(U64)  # what the call, or the request, returned
    opcode = field(U64)  # of a request of io_uring: Opcode.pack()
    op = field(U64)  # operation code
    direction = field(U64)  # READ or WRITE
    requested = field(U64)  # bytes asked for
    bucket = field(U64)  # of ``bucketed``
    bucketed = field(U64)  # what was requested last, which mostly is requested again
    unmeasured = field(U64)  # 1: the iovec could not be read, nobody knows ``requested``
    explicit = field(U64)  # 1: at ``offset``, 0: at the file position
    offset = field(U64)  # as the caller gave it
    rw_flags = field(U64)  # RWF_* of preadv2 and pwritev2
    moved = field(U64)  # bytes by which it moved the file position
    start = field(U64)  # where the transfer began
    pos = field(U64)  # OpenFile.pos, read before the kernel's
    now = field(U64)  # ns
    broken = field(U64)  # bytes of the run that this transfer ended
    walk = field(U64)  # 1: the path must still be sent
    inode = field(U64)  # struct inode *
    ended = field(U64)  # where the run before this request ended
    previous = field(U64)  # FileState.last_write before this request
    # Linux AIO: many requests or events in one call, dealt with one after the other.
    space = field(U64)  # aio_context_t
    iocb = field(U64)  # address of the request that is looked at
    next = field(U64)  # its number, or the event's
    count = field(U64)  # where to stop
    base = field(U64)  # address of the events
    wrap = field(U64)  # events that there is room for
    measured = field(U64)  # 1: ``requested`` of the next request is known already
    stuck = field(U64)  # index of the program that must deal with the next request, 0: none
    flags = field(U32)  # O_*
    marks = field(U32)  # NOTE_*
    older = field(U64)  # aio_context_t to look at next, of a process that ends; 0: none


class OpenKey(Layout):
    """An open file description, as seen from a mount namespace."""

    file = field(U64)  # struct file *
    mnt_ns = field(U64)  # struct mnt_namespace *


class OpenFile(Layout):
    """State of an open file description.

    ``gap_read`` is the distance from the end of the last read to the file position, ``pos - end``: transfers at the
    file position leave the gap of their own direction as it is, so that threads which share a descriptor only ever
    *add* to these words, and no order of their exits can tear a run.
    """

    id = field(U64)  # the file
    inode = field(U64)  # struct inode *: struct file pointers are reused
    pos = field(U64)  # the file position after every transfer accounted so far
    gap = field(U64, 2)  # per direction
    run = field(U64, 2)  # bytes of the run in progress, per direction
    inflight = field(U64)  # transfers at the file position that other threads may overtake
    flags = field(U64)  # OPEN_*


OPEN_UNNAMED = 1  # the path has not reached user space yet


class PendingKey(Layout):
    """What identifies a request from its submission to its completion.

    Linux AIO: the context and the address of the iocb, both of a process.  io_uring: a kernel address.
    """

    space = field(U64)  # aio_context_t; io_uring: OWN, or OTHER for the source of a splice
    request = field(U64)  # struct iocb * in user memory, or struct io_kiocb *
    owner = field(U64)  # tgid; io_uring: 0


OWN, OTHER = 0, 1
SYNC = 2  # a request's direction where it is neither READ nor WRITE


class Pending(Layout):
    """A request between submission and completion: the fields of Call of the same names."""

    file = field(U64)
    mnt_ns = field(U64)
    id = field(U64)
    entered = field(U64)  # when it was submitted
    requested = field(U64)
    offset = field(U64)
    broken = field(U64)  # bytes of the run that it ended
    ended = field(U64)  # and where that had come to
    previous = field(U64)  # FileState.last_write before a write
    op = field(U32)
    direction = field(U32)  # READ, WRITE or SYNC
    flags = field(U32)
    rw_flags = field(U32)
    unmeasured = field(U32)
    explicit = field(U32)
    marks = field(U32)  # NOTE_*
    pad = field(U32)


class Note(Layout):
    """A place for a Pending, and whose that is."""

    request = field(U64)  # as in PendingKey; 0: free, or NOTE_BUSY
    space = field(U64)
    owner = field(U64)
    spilled = field(U64)  # notes in ``pending`` for which this would have been the place
    pending = field(Pending)


NOTE_BUSY = 1  # somebody writes or reads it: no request has this address

# What io_uring's programs note of a request.
NOTE_SILENT = 1  # no completion is shown if it succeeds
NOTE_SELECTS = 2  # its size is that of the buffer which the kernel will choose
NOTE_ABSENT = 4  # its own file is no regular one: it is noted because another may be
NOTE_LAST = 8  # what it closes has no other descriptor
NOTE_OPCODE = 8  # the shift of its IORING_OP_*


class RingKey(Layout):
    """A place in the table of files registered with a ring."""

    ring = field(U64)  # struct io_ring_ctx *
    index = field(U64)


class RingFile(Layout):
    """The file that a request has opened into it."""

    file = field(U64)  # struct file *
    mnt_ns = field(U64)  # struct mnt_namespace *
    id = field(U64)


class Iocb(Layout):
    """struct iocb, include/uapi/linux/aio_abi.h, little-endian."""

    data = field(U64)
    key = field(U32)
    rw_flags = field(U32)
    opcode = field(U16)  # IOCB_CMD_*
    priority = field(U16)
    descriptor = field(U32)
    buffer = field(U64)  # or iovec
    nbytes = field(U64)  # or entries
    offset = field(U64)
    reserved = field(U64)
    flags = field(U32)
    resfd = field(U32)


class AioEvent(Layout):
    """struct io_event, include/uapi/linux/aio_abi.h."""

    data = field(U64)
    request = field(U64)  # struct iocb *
    result = field(U64)
    result2 = field(U64)


class AioRing(Layout):
    """struct aio_ring, fs/aio.c: the head of the ring at an aio_context_t; the events follow."""

    id = field(U32)
    entries = field(U32)
    head = field(U32)  # index of the next event to be taken
    tail = field(U32)  # index of the next one to come
    magic = field(U32)
    compat_features = field(U32)
    incompat_features = field(U32)
    header_length = field(U32)


class AioKey(Layout):
    """A context of a process; ``context`` 0: the first in the list of them."""

    context = field(U64)
    tgid = field(U64)


class AioContext(Layout):
    """How far the ring of a context has been looked at, and its neighbours in the list of the process's."""

    seen = field(U64)  # events, modulo the ring's size; of context 0: the context
    known = field(U64)  # 0: older than tracing, and its ring could not be read yet
    older = field(U64)  # the context made before, 0: none
    newer = field(U64)  # the one made after, 0: none


class FileKey(Layout):
    """A file: a name (dentry) in a mount, seen from a mount namespace.  Hard links are different files."""

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


class OpKey(Layout):
    """One operation on one file."""

    id = field(U64)
    op = field(U32)
    pad = field(U32)


class OpHead(Layout):
    """Totals of one operation on one file."""

    calls = field(U64)
    bytes = field(U64)
    first = field(U64)  # entry of the first call
    last = field(U64)  # return of the last successful one
    lowest = field(U64)  # first byte touched, plus one; 0: none yet
    highest = field(U64)  # last byte touched, plus one
    direct = field(U64)  # calls on an O_DIRECT descriptor
    durable = field(U64)  # writes that were durable when they returned
    requested = field(U64, SIZE_BUCKETS)  # larger requests go to the tallies


class Completed(Layout):
    """Sizes of successful transfers."""

    buckets = field(U64, SIZE_BUCKETS)


class Latency(Layout):
    """Entry to return of successful calls, ns."""

    buckets = field(U64, LATENCY_BUCKETS)


class Runs(Layout):
    """Lengths of the sequential runs that a call of this operation ended."""

    buckets = field(U64, RUN_BUCKETS)


class OpStats(Layout):
    """All of an operation's counters in one record."""

    head = field(OpHead)
    completed = field(Completed)
    latency = field(Latency)
    runs = field(Runs)


class TallyKey(Layout):
    """A rarely needed counter, kept sparsely: one cell of a histogram, one errno of an operation."""

    id = field(U64)  # file; 0: calls that belong to no file
    op = field(U32)
    kind = field(U32)  # TALLY_*
    item = field(U64)  # bucket or errno


TALLY_ERROR, TALLY_REQUESTED, TALLY_READ_RUN, TALLY_WRITE_RUN, TALLY_BETWEEN_SYNCS = 1, 2, 3, 4, 5


class Lost(Layout):
    """What could not be recorded; a single record."""

    calls = field(U64)  # calls of targets that are in no file's counters
    files = field(U64)  # opens of files for which there was no room
    targets = field(U64)  # processes that should have become targets
    tallies = field(U64)  # histogram cells and errors for which there was no room
    names = field(U64)  # attempts to send a path while the buffer was full; a later call tries again
    iovecs = field(U64)  # vectored calls whose iovec could not be read: requested size unknown
    compat = field(U64)  # system calls of 32-bit tasks
    depth = field(U64)  # paths too long or too deep to be resolved
    requests = field(U64)  # of those calls: requests of io_uring whose completion was not seen
    rings = field(U64)  # rings of io_uring that were made: no loss where their requests are shown


class Activity(Layout):
    """A CPU's share of what happened so far, for the status line."""

    calls = field(U64)  # data calls
    bytes = field(U64)


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


class CommWords(Layout):
    """One row of the name-matching automaton."""

    words = field(U64, 4)


COMM_WORDS = 4
COMM_START, COMM_LOOP, COMM_ACCEPT, COMM_ROWS = 256, 257, 258, 259
COMM_BYTES = 16
