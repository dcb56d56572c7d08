"""Requests in flight, of Linux AIO and io_uring: noted at submission, accounted for at completion."""

from __future__ import annotations

from asm import U32, U64, Layout, field, overlay


class PendingKey(Layout):
    """What identifies a request from its submission to its completion.

    Linux AIO: the context and the address of the iocb, both of a process. io_uring: a kernel address.
    """

    space = field(U64)  # aio_context_t; io_uring: OWN, or OTHER for the source of a splice
    request = field(U64)  # struct iocb * in user memory, or struct io_kiocb *
    owner = field(U64)  # tgid; io_uring: 0


OWN, OTHER = 0, 1
SYNC = 2  # a request's direction where it is neither READ nor WRITE


DEPTH_BUCKETS = 18  # up to 131,071 requests in flight, twice what there is room for


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
    depth = field(U32)  # requests of the file in flight when it was submitted, itself included; 0: unknown


class Depth(Layout):
    """How many requests of a file are in flight (key: its id), and how many were when one was submitted.

    A request is in flight until its completion is seen: with Linux AIO until it is taken, by whomever.
    """

    inflight = field(U64)
    most = field(U64)
    buckets = field(U64, DEPTH_BUCKETS)  # of requests that were accepted


class OwnedPending(Layout):
    """The same where rows are apart by who does the I/O (`Options.by`).

    What submits a request on a file that is not known yet is noted by its name or number, in `broken` and `ended`.
    """

    request = field(Pending)
    row = field(U64)  # 0: the file is not known


class Note(Layout):
    """A place for a Pending, and whose that is."""

    request = field(U64)  # as in PendingKey; 0: free, or NOTE_BUSY
    space = field(U64)
    owner = field(U64)
    spilled = field(U64)  # notes in `pending` for which this would have been the place
    pending = field(Pending)


class OwnedNote(Layout):
    """The same, with an OwnedPending."""

    request = field(U64)
    space = field(U64)
    owner = field(U64)
    spilled = field(U64)
    pending = field(OwnedPending)


NOTE_BUSY = 1  # it is being written or read; no request has this address

# What io_uring's programs note of a request.
NOTE_SILENT = 1  # no completion is shown if it succeeds
NOTE_SELECTS = 2  # its size is that of the buffer which the kernel will choose
NOTE_ABSENT = 4  # its own file is not a regular one: it is noted because another may be
NOTE_LAST = 8  # what it closes has no other descriptor
NOTE_OPCODE = 8  # the shift of its IORING_OP_*


class RingKey(Layout):
    """A slot of the table of files registered with a ring."""

    ring = field(U64)  # struct io_ring_ctx *
    index = field(U64)


class RingFile(Layout):
    """The file that a request has opened into it."""

    file = field(U64)  # struct file *
    mnt_ns = field(U64)  # struct mnt_namespace *
    id = field(U64)


class AioKey(Layout):
    """A context of a process; `context` 0: the first in the list of them."""

    context = field(U64)
    tgid = field(U64)


class AioContext(Layout):
    """How far the ring of a context has been looked at, and its neighbours in the list of the process's."""

    seen = field(U64)  # events, modulo the ring's size
    known = field(U64)  # 0: older than tracing, and its ring could not be read yet
    older = field(U64)  # the context made before, 0: none
    newer = field(U64)  # the one made after, 0: none

    # Of context 0, which stands for the list:
    first = overlay(U64, seen)  # aio_context_t of the context made last
