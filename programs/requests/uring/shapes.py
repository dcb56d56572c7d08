"""The kinds of io_uring's requests: what each counts as, what its length means, and where it keeps what it asks for.

Data alone, without the assembler, as a run whose programs were assembled before asks here too what the kernel shows.
Sources: include/uapi/linux/io_uring.h, which never changes; io_uring/rw.c, splice.c, openclose.c.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Dict, NamedTuple, Tuple

from programs.facts.catalogue import BY_NAME
from programs.facts.kernel import Uring
from programs.facts.records import SYNC


class Shape(IntEnum):
    """What the length of a request counts. Programs of their own deal with the last three."""

    BYTES = 0  # bytes
    VECTOR = 1  # entries of an iovec
    NOTHING = 2  # it transfers nothing
    OPEN = 3  # it makes a descriptor, or registers a file with the ring
    CLOSE = 4  # it ends one
    SPLICE = 5  # bytes, between two files


class Opcode(NamedTuple):
    """A kind of request, by the operation that it is counted as."""

    operation: str
    shape: Shape

    @property
    def direction(self) -> int:
        """READ, WRITE, or SYNC for whatever moves no data."""
        direction = BY_NAME[self.operation].direction
        return SYNC if direction is None else direction

    def pack(self) -> int:
        """The word that programs work with: the operation's code in its lowest byte, then direction and shape."""
        return BY_NAME[self.operation].code | self.direction << DIRECTION_SHIFT | self.shape << SHAPE_SHIFT


OPERATION_MASK, DIRECTION_SHIFT, SHAPE_SHIFT = 0xFF, 8, 16
# The target of a splice is the request's own file; the source is noted by itself.
TARGET = Opcode("uring_splice_write", Shape.SPLICE)
SOURCE = Opcode("uring_splice_read", Shape.SPLICE)
OPEN, CLOSE = Opcode("open", Shape.OPEN), Opcode("close", Shape.CLOSE)
# IORING_OP_*: enum io_uring_op.
OPCODES: Dict[int, Opcode] = {
    1: Opcode("uring_readv", Shape.VECTOR),
    2: Opcode("uring_writev", Shape.VECTOR),
    3: Opcode("uring_fsync", Shape.NOTHING),
    4: Opcode("uring_read_fixed", Shape.BYTES),
    5: Opcode("uring_write_fixed", Shape.BYTES),
    8: Opcode("uring_sync_file_range", Shape.NOTHING),
    18: OPEN,  # OPENAT
    19: CLOSE,
    22: Opcode("uring_read", Shape.BYTES),
    23: Opcode("uring_write", Shape.BYTES),
    28: OPEN,  # OPENAT2
    30: TARGET,
    49: Opcode("uring_read", Shape.BYTES),  # READ_MULTISHOT, which fails on a regular file: 6.7
    60: Opcode("uring_readv", Shape.VECTOR),  # READV_FIXED, WRITEV_FIXED: 6.15
    61: Opcode("uring_writev", Shape.VECTOR),
}
# IOSQE_*, which REQ_F_* equal.
FIXED_FILE, BUFFER_SELECT, CQE_SKIP = 1, 1 << 5, 1 << 6
FD_IN_FIXED_SHIFT = 31  # SPLICE_F_FD_IN_FIXED
ANY_SLOT = -1  # IORING_FILE_INDEX_ALLOC, of 32 bits: the kernel chooses, and tells by the result


class View(NamedTuple):
    """Where to find the parts of a request: the member of URING_MEMBERS, and the offset in struct io_uring_sqe."""

    fd: Tuple[str, int]
    position: Tuple[str, int] = ("rw.position", 8)
    length: Tuple[str, int] = ("rw.length", 24)
    flags: Tuple[str, int] = ("rw.flags", 28)


PLAIN = View(("request.fd", 4))
INTO = View(("request.fd", 4), ("splice.target_offset", 8), ("splice.length", 24), ("splice.flags", 28))
FROM = View(("splice.source", 44), ("splice.source_offset", 16), ("splice.length", 24), ("splice.flags", 28))
CLOSING = View(("close.fd", 4))

WORKER = ("task.worker", "worker.work", "request.work")
"""The members by which the request that a worker works on is found."""


def needed(opcode: Opcode) -> Tuple[str, ...]:
    """The members of URING_MEMBERS without which a kind of request cannot be followed, though the others can."""
    return {
        Shape.SPLICE: tuple(sorted({member for view in (INTO, FROM) for member, _ in view if "splice" in member})),
        Shape.OPEN: ("open.slot",),
        Shape.CLOSE: ("close.fd", "close.slot"),
    }.get(opcode.shape, ())


def known(uring: Uring) -> Dict[int, Opcode]:
    """The kinds of requests that this kernel shows enough of, by IORING_OP_*."""
    return {number: kind for number, kind in OPCODES.items() if uring.offsets.keys() >= set(needed(kind))}
