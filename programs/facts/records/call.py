"""A system call in flight: what its entry tells its exit, and what the exit works out about a transfer."""

from __future__ import annotations

from asm import U8, U32, U64, Layout, field, overlay

ARGUMENT_WORDS = 8  # x86_64 keeps the six arguments within eight words of pt_regs: one read fetches them


class Signature(Layout):
    """What the programs must know of a system call: the bytes of Call.call and of a row of the map `syscalls`."""

    kind = field(U8)  # Kind
    position = field(U8)  # Position
    first = field(U8)  # code of its operation, or of that on the source of a copy; 0: none
    second = field(U8)  # code of the operation on the target of a copy; 0: none


class IovecArgument(Layout):
    """An iovec as a system call takes it."""

    entries = field(U64)
    address = field(U64)  # struct iovec * in user memory


class Call(Layout):
    """A thread's system call between entry and exit (key: tid). Only the thread itself writes it: no atomics.

    What the exit works out is kept here too, which leaves the stack to keys and new records. Requests of Linux AIO and
    of io_uring are described by the same words, one after the other; io_uring's in a record that the CPU lends.
    """

    # -- what the entry notes
    owner = field(U32)  # tid, 0 while the record is free
    call = field(U32)  # Signature; 0 while no call is in flight
    entered = field(U64)  # ns
    file = field(U64)  # struct file * of the (source) descriptor at entry, 0 if it had none
    target = field(U64)  # struct file * that a copy writes to
    mnt_ns = field(U64)  # struct mnt_namespace *, 0 until it is asked for
    id = field(U64)  # of the file being closed, then of any
    shared = field(U64)  # 1 if this call is counted in OpenFile.inflight
    process = field(U64)  # tgid
    checked = field(U64)  # generation of the targets, plus one, in which this thread was found to be one
    known = field(U64)  # the same, in which it was last seen outside of a call: at its birth, at an entry or an exit
    args = field(U64, ARGUMENT_WORDS)
    # -- a transfer, a sync or a request
    result = field(U64)  # what the call, or the request, returned
    opcode = field(U64)  # of a request of io_uring: Opcode.pack()
    op = field(U64)  # operation code
    direction = field(U64)  # READ, WRITE or SYNC
    requested = field(U64)  # bytes asked for
    bucket = field(U64)  # of `bucketed`
    bucketed = field(U64)  # what was requested last, which is mostly requested again
    shards = field(U64)  # which records this thread may have in the map `shards`: `counting/shards.py`
    measured = field(U64)  # MEASURED: `requested` of a vectored call, or of the next request, is known already
    unmeasured = field(U64)  # 1: the iovec could not be read, so that `requested` is unknown
    explicit = field(U64)  # 1: at `offset`, 0: at the file position
    offset = field(U64)  # as the caller gave it
    rw_flags = field(U64)  # RWF_* of preadv2 and pwritev2
    moved = field(U64)  # bytes by which it moved the file position
    start = field(U64)  # where the transfer began
    pos = field(U64)  # OpenFile.pos, read before the kernel's
    now = field(U64)  # ns
    broken = field(U64)  # bytes of the run that this transfer ended
    walk = field(U64)  # 1: the path must still be sent
    born = field(U64)  # ID_BORN if the open has created the file, else 0; before 4.19 with BORN_PERHAPS and O_TRUNC
    inode = field(U64)  # struct inode *
    ended = field(U64)  # where the run before this request ended
    previous = field(U64)  # FileState.last_write before this request
    # -- Linux AIO: many requests or events in one call, dealt with one after the other
    space = field(U64)  # aio_context_t
    iocb = field(U64)  # address of the request that is looked at
    next = field(U64)  # its number, or the event's
    count = field(U64)  # where to stop
    base = field(U64)  # address of the events
    wrap = field(U64)  # events that there is room for
    stuck = field(U64)  # index of the program that must deal with the next request, 0: none
    flags = field(U32)  # O_*
    marks = field(U32)  # NOTE_*
    older = field(U64)  # aio_context_t to look at next, of a process that ends; 0: none

    # -- the same words in other phases
    signature = overlay(Signature, call)
    # While an open that failed is counted:
    refused = overlay(U32, requested)  # its Signature
    # In a record that is a thread's own:
    used = overlay(U64, opcode)  # id of the file that it did I/O on last, and has been counted for
    # While requests are noted or accounted for:
    depth = overlay(U64, born)  # requests of its file that were in flight with this one, 0 if nobody knows
    # While a synchronous read is in flight:
    pages = overlay(U64, base)  # that this thread has brought into the page cache
    # Once the file is identified, where rows are apart by who does the I/O (`Options.by`):
    row = overlay(U64, file)  # id of the row that the call counts for, 0: not known
    # While a file is closed:
    size_seen = overlay(U64, offset)  # FileState.seen
    # At the exit of a transfer, until it is placed:
    position = overlay(U64, start)  # the file position now
    siblings = overlay(U64, ended)  # OpenFile.inflight, read before `pos`
    # After that, before 5.12:
    overlapped = overlay(U64, previous)  # bytes of siblings that may come before or after this transfer, not both known
    # While the size of a vectored request of Linux AIO is summed:
    iovec = overlay(IovecArgument, moved)
    # While events of Linux AIO are accounted for in straight code:
    rare = overlay(U64, stuck)  # 1: the next one takes a program that has room for whatever it may be
    # While requests that io_submit did not accept are taken back, the last one first:
    kept = overlay(U64, count)  # how many were accepted, where to stop
    # While a request of io_uring is noted or completed:
    kiocb = overlay(U64, iocb)  # struct io_kiocb *
    # Of those, one that closes a file of the ring's own table:
    ring = overlay(U64, requested)  # struct io_ring_ctx *
    slot = overlay(U64, offset)  # index in the table, plus one; 0: it closes a descriptor


class CallSlot(Layout):
    """A thread's Call record in the array of all, so far from the next that no line of the cache (64 bytes) has words
    of both, wherever the array begins.

    Threads that were made one after the other have records one after the other, and a call writes to both ends of its
    own. Without the gap, calls of two such threads on two CPUs took 150 to 280 ns longer, on files of their own too.
    """

    call = field(Call)
    gap = field(U64, 7)


class LightCall(Layout):
    """The same where data calls have no program at their entry (`Options.light`)."""

    call = field(Call)
    registers = field(U64)  # where the thread's struct pt_regs is, by which its exits know it; 0: none was seen yet
    task = field(U64)  # struct task_struct *
    timed = field(U64)  # ns: the entry of the data call in flight if it lies in a window, else 0
    brought = field(U64)  # pages that this thread has brought into the page cache since a data call returned
    handled = field(U64)  # 1: a copy of the exit has dealt with the call that returns (`Kernel.spares`)
    gap = field(U64, 7)  # as of `CallSlot`


class Window(Layout):
    """When data calls are timed: those whose entry lies between the two; and the kernel's ticks (`Options.light`).

    A single record. Programs read it, and user space writes it, but for `jiffies`.
    """

    opens = field(U64)  # ns
    closes = field(U64)
    tick = field(U64)  # ns
    offset = field(U64)  # ns: the time of jiffy 0, which the clock of CLOCK_MONOTONIC may not have seen
    jiffies = field(U64)  # what the program `read_jiffies` has found


ONE_IN = 25
"""Of so many instants one lies in a window, on average."""
TALLY_UNTIMED = 1 << 16
"""In the place of a bucket: reads that waited for storage and were not timed."""
