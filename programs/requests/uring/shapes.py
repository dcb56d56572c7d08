"""io_uring's requests: which kinds count as what, and where one keeps what it asks for.

Sources: include/uapi/linux/io_uring.h, which never changes; io_uring/rw.c, splice.c, openclose.c.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Dict, NamedTuple, Tuple

from programs.facts.catalogue import BY_NAME, READ, WRITE
from programs.facts.kernel import Uring
from programs.facts.records import SYNC


class Shape(IntEnum):
    """What the length of a request counts; the last three are dealt with by programs of their own."""

    BYTES = 0  # bytes
    VECTOR = 1  # entries of an iovec
    NOTHING = 2  # it transfers nothing
    OPEN = 3  # it makes a descriptor, or registers a file with the ring
    CLOSE = 4  # it ends one
    SPLICE = 5  # bytes, between two files


class Opcode(NamedTuple):
    """A kind of request: the operation that it is counted as."""

    operation: str
    direction: int
    shape: Shape

    def pack(self) -> int:
        """Operation in bits 0-7, direction in 8-15, shape in 16-23."""
        return BY_NAME[self.operation].code | self.direction << 8 | self.shape << 16


# The target is the request's own file; the source is noted by itself.
TARGET = Opcode("uring_splice_write", WRITE, Shape.SPLICE)
SOURCE = Opcode("uring_splice_read", READ, Shape.SPLICE)
OPEN, CLOSE = Opcode("open", SYNC, Shape.OPEN), Opcode("close", SYNC, Shape.CLOSE)
# IORING_OP_*: enum io_uring_op.
OPCODES: Dict[int, Opcode] = {
    1: Opcode("uring_readv", READ, Shape.VECTOR),
    2: Opcode("uring_writev", WRITE, Shape.VECTOR),
    3: Opcode("uring_fsync", SYNC, Shape.NOTHING),
    4: Opcode("uring_read_fixed", READ, Shape.BYTES),
    5: Opcode("uring_write_fixed", WRITE, Shape.BYTES),
    8: Opcode("uring_sync_file_range", SYNC, Shape.NOTHING),
    18: OPEN,  # OPENAT
    19: CLOSE,
    22: Opcode("uring_read", READ, Shape.BYTES),
    23: Opcode("uring_write", WRITE, Shape.BYTES),
    28: OPEN,  # OPENAT2
    30: TARGET,
    49: Opcode("uring_read", READ, Shape.BYTES),  # READ_MULTISHOT, which fails on a regular file: 6.7
    60: Opcode("uring_readv", READ, Shape.VECTOR),  # READV_FIXED, WRITEV_FIXED: 6.15
    61: Opcode("uring_writev", WRITE, Shape.VECTOR),
}
# IOSQE_*, which REQ_F_* equal.
FIXED_FILE, BUFFER_SELECT, CQE_SKIP = 1, 1 << 5, 1 << 6
FD_IN_FIXED_SHIFT = 31  # SPLICE_F_FD_IN_FIXED
ANY_SLOT = 0xFFFFFFFF  # IORING_FILE_INDEX_ALLOC: the kernel chooses, and tells by the result


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


def needed(opcode: Opcode) -> Tuple[str, ...]:
    """The members of URING_MEMBERS without which a kind of request cannot be followed, though the others can."""
    return {
        Shape.SPLICE: tuple(sorted({member for view in (INTO, FROM) for member, _ in view if "splice" in member})),
        Shape.OPEN: ("open.slot",),
        Shape.CLOSE: ("close.fd", "close.slot"),
    }.get(opcode.shape, ())


WORKER = ("task.worker", "worker.work", "request.work")  # by which a worker's request is found


def known(uring: Uring) -> Dict[int, Opcode]:
    """The kinds of requests that this kernel shows enough of."""
    return {number: kind for number, kind in OPCODES.items() if uring.offsets.keys() >= set(needed(kind))}
