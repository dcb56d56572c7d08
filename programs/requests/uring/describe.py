"""What a request asks for."""

from __future__ import annotations

from asm import U64, r0, r1, r2, r7, r8
from programs.calls.transfer import sum_iovec
from programs.facts.records import (
    NOTE_OPCODE,
    NOTE_SELECTS,
    NOTE_SILENT,
    SYNC,
    Call,
)
from programs.requests.uring.shapes import BUFFER_SELECT, CQE_SKIP, PLAIN, Shape
from programs.requests.uring.silent import tell_silent
from programs.requests.uring.source import Source
from programs.way.body import Body
from programs.way.registers import CALL


def describe(b: Body, source: Source) -> None:
    """The Call record = what the request in r7 asks for, without its file.  The slot "flags" = its IOSQE_*."""
    a = b.a
    a.ldx(r1, a.slot("kind", U64))
    a.stx(CALL[Call.opcode], r1, "where the verifier does not know it, and follows one way for all of them")
    a.call("ktime_get_ns")
    a.stx(CALL[Call.entered], r0)
    for place in (Call.requested, Call.unmeasured, Call.explicit, Call.offset, Call.rw_flags, Call.moved, Call.walk):
        a.st(CALL[place], 0)
    source.flags(r1, r7)
    a.stx(a.slot("flags", U64), r1)
    source.opcode(r8, r7)
    a.lsh(r8, NOTE_OPCODE)
    a.ldx(r1, a.slot("flags", U64))
    a.rsh(r1, CQE_SKIP.bit_length() - 1)
    a.and_(r1, NOTE_SILENT)
    a.or_(r8, r1)
    a.stx(CALL[Call.marks], r8)
    tell_silent(b)
    a.ldx(r1, CALL[Call.opcode])
    a.and_(r1, 0xFF)
    a.stx(CALL[Call.op], r1)
    a.ldx(r1, CALL[Call.opcode])
    a.rsh(r1, 8)
    a.and_(r1, 0xFF)
    a.stx(CALL[Call.direction], r1)
    a.jeq(r1, SYNC, "described")
    source.position(r1, r7)
    a.stx(CALL[Call.offset], r1)
    if not source.entry:  # one that was refused belongs to no run
        a.jeq(r1, -1, "at_position")
        a.st(CALL[Call.explicit], 1)
        a.label("at_position")
    source.length(r1, r7)
    a.stx(CALL[Call.requested], r1)
    if source.view is PLAIN:
        _describe_transfer(b, source)
    a.label("described")


def _describe_transfer(b: Body, source: Source) -> None:
    """What a read or a write has, but no splice; a jump to ``described`` if there is nothing more."""
    a = b.a
    source.operation_flags(r1, r7)
    a.stx(CALL[Call.rw_flags], r1)
    if not source.entry:
        plain = a.unique("no_selection")
        a.ldx(r1, a.slot("flags", U64))
        a.and_(r1, BUFFER_SELECT)
        a.jeq(r1, 0, plain)
        a.ldx(r1, CALL[Call.requested], "of a vector, the kernel has put the size of its only entry there")
        a.jne(r1, 0, "described")
        a.st(CALL[Call.explicit], 0, "whatever the buffer holds: it is placed when it is done")
        a.ldx(r1, CALL[Call.marks])
        a.or_(r1, NOTE_SELECTS)
        a.stx(CALL[Call.marks], r1)
        a.ja("described")
        a.label(plain)
    a.ldx(r2, CALL[Call.opcode])
    a.rsh(r2, 16)
    a.jne(r2, Shape.VECTOR, "described")
    a.ldx(r1, CALL[Call.requested])
    a.stx(b.argument(2), r1)
    source.address(r1, r7)
    a.stx(b.argument(1), r1)
    base = a.slot("base", U64)
    a.stx(base, r7)
    sum_iovec(b)
    a.ldx(r7, base)
