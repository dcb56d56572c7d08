"""What a request asks for, in the Call record: everything but its file."""

from __future__ import annotations

from asm import U64, r0, r1, r2
from programs.calls.vector import sum_iovec
from programs.facts.records import NOTE_OPCODE, NOTE_SELECTS, NOTE_SILENT, SYNC, Call
from programs.requests.uring.events import mark
from programs.requests.uring.request import Request
from programs.requests.uring.shapes import (
    BUFFER_SELECT,
    CQE_SKIP,
    DIRECTION_SHIFT,
    OPERATION_MASK,
    PLAIN,
    SHAPE_SHIFT,
    Shape,
)
from programs.requests.uring.silent import tell_silent
from programs.way.body import Body
from programs.way.registers import CALL, MARKS, REQUEST


def describe(b: Body, request: Request) -> None:
    """The Call record = the request, whose packed Opcode is in the slot "kind". The slot "flags" = its IOSQE_*.

    One that was refused belongs to no run, wherever it asked to be.
    """
    a = b.a
    a.ldx(r1, a.slot("kind", U64))
    a.stx(CALL[Call.opcode], r1, "in memory, where the verifier does not know it: it follows one way for all kinds")
    a.call("ktime_get_ns")
    a.stx(CALL[Call.entered], r0)
    for place in (Call.requested, Call.unmeasured, Call.explicit, Call.offset, Call.rw_flags, Call.moved, Call.walk):
        a.st(CALL[place], 0)
    _mark(b, request)
    a.ldx(r1, CALL[Call.opcode])
    a.and_(r1, OPERATION_MASK)
    a.stx(CALL[Call.op], r1)
    a.ldx(r1, CALL[Call.opcode])
    a.rsh(r1, DIRECTION_SHIFT)
    a.and_(r1, 0xFF)
    a.stx(CALL[Call.direction], r1)
    a.jeq(r1, SYNC, "described")
    request.position(r1)
    a.stx(CALL[Call.offset], r1)
    if not request.refused:
        a.jeq(r1, -1, "at_position")
        a.st(CALL[Call.explicit], 1)
        a.label("at_position")
    request.length(r1)
    a.stx(CALL[Call.requested], r1)
    if request.view is PLAIN:
        _describe_transfer(b, request)
    a.label("described")


def _mark(b: Body, request: Request) -> None:
    """Call.marks = the opcode, by which a completion knows that it is this request's, and whether it is silent."""
    a = b.a
    request.flags(r1)
    a.stx(a.slot("flags", U64), r1)
    request.opcode(MARKS)
    a.lsh(MARKS, NOTE_OPCODE)
    a.ldx(r1, a.slot("flags", U64))
    a.rsh(r1, CQE_SKIP.bit_length() - 1)
    a.and_(r1, NOTE_SILENT)
    a.or_(MARKS, r1)
    a.stx(CALL[Call.marks], MARKS)
    tell_silent(b)


def _describe_transfer(b: Body, request: Request) -> None:
    """What a read or a write has, but no splice. Falls through, or jumps to "described".

    With IOSQE_BUFFER_SELECT the kernel chooses the buffer when it is needed, and how long that is decides the size.
    """
    a = b.a
    request.operation_flags(r1)
    a.stx(CALL[Call.rw_flags], r1)
    if not request.refused:
        plain = a.unique("no_selection")
        a.ldx(r1, a.slot("flags", U64))
        a.and_(r1, BUFFER_SELECT)
        a.jeq(r1, 0, plain)
        a.ldx(r1, CALL[Call.requested], "a vector's only entry: the kernel has put its size there")
        a.jne(r1, 0, "described")
        a.st(CALL[Call.explicit], 0, "its size is the buffer's: it is placed when it is done")
        mark(b, NOTE_SELECTS)
        a.ja("described")
        a.label(plain)
    a.ldx(r2, CALL[Call.opcode])
    a.rsh(r2, SHAPE_SHIFT)
    a.jne(r2, Shape.VECTOR, "described")
    _measure(b, request)


def _measure(b: Body, request: Request) -> None:
    """Call.requested, which is a number of entries, = the sum over the iovec, laid out like the arguments of readv."""
    a, kept = b.a, b.a.slot("base", U64)
    a.ldx(r1, CALL[Call.requested])
    a.stx(b.argument(2), r1)
    request.address(r1)
    a.stx(b.argument(1), r1)
    a.stx(kept, REQUEST)
    sum_iovec(b)
    a.ldx(REQUEST, kept)
