"""A request."""

from __future__ import annotations

from asm import U64, Slot, r0, r1, r2, r3, r8
from programs.facts.catalogue import BY_NAME
from programs.facts.jumps import Jump
from programs.facts.kernel import RWF_APPEND, RWF_DSYNC, RWF_SYNC
from programs.facts.records import IOVECS, SYNC, Call, Iocb, Lost, PendingKey
from programs.requests.aio.abi import OPCODES, VECTORED
from programs.way.body import Body
from programs.way.entry import find_call, resolve
from programs.way.registers import CALL

ENTRIES = 4  # of an iovec, summed in place


def pending_key(b: Body, key: Slot) -> Slot:
    """``key``, filled in for this process's request at Call.iocb in the context Call.space."""
    a = b.a
    for place, own in (
        (PendingKey.owner, Call.process),
        (PendingKey.space, Call.space),
        (PendingKey.request, Call.iocb),
    ):
        a.ldx(r1, CALL[own])
        a.stx(key[place], r1)
    return key


def read_request(b: Body, skip: str, over: str) -> None:
    """The request Call.next into the Call record, its file into r8.  ``skip``: it is none that is counted."""
    a, iocb = b.a, iocb_slot(b)
    plain, measured, unreadable, readable = (a.unique(n) for n in ("plain", "measured", "unreadable", "readable"))
    read_iocb(b, unreadable)
    a.ja(readable)
    a.label(unreadable)
    a.ldx(r1, CALL[Call.next])
    a.stx(CALL[Call.count], r1, "the kernel will not get further either")
    a.ja(over)
    a.label(readable)
    set_operation(b, skip)
    for place in (Call.rw_flags, Call.explicit):
        a.st(CALL[place], 0)
    a.ldx(r1, CALL[Call.measured])
    a.jne(r1, 0, measured)
    a.st(CALL[Call.requested], 0)
    a.st(CALL[Call.unmeasured], 0)
    a.label(measured)
    resolved = a.unique("descriptor")
    a.ldx(r1, CALL[Call.direction])
    a.jeq(r1, SYNC, resolved)
    a.st(CALL[Call.explicit], 1)
    a.ldx(r1, iocb[Iocb.offset])
    a.stx(CALL[Call.offset], r1)
    a.ldx(r1, iocb[Iocb.rw_flags])
    a.and_(r1, RWF_DSYNC | RWF_SYNC | RWF_APPEND)
    a.stx(CALL[Call.rw_flags], r1)
    a.ldx(r1, iocb[Iocb.opcode])
    a.jlt(r1, VECTORED, plain)
    a.ldx(r1, CALL[Call.measured])
    a.jne(r1, 0, resolved)
    _sum(b, resolved, over)
    a.label(plain)
    a.ldx(r1, iocb[Iocb.nbytes])
    a.stx(CALL[Call.requested], r1)
    a.label(resolved)
    a.ldx(r8, iocb[Iocb.descriptor])
    resolve(b)
    a.jeq(r8, 0, skip)


def iocb_slot(b: Body) -> Slot:
    """Where a request is read to: done with before anything is made of it."""
    return b.overlay("iocb", Iocb)


def read_iocb(b: Body, unreadable: str) -> None:
    """Call.iocb = the address of request Call.next, the slot "iocb" = what is there."""
    a, iocb, word = b.a, iocb_slot(b), b.a.slot("word", U64)
    a.ldx(r3, CALL[Call.next])
    a.lsh(r3, 3)
    a.ldx(r1, b.argument(2))
    a.add(r3, r1)
    b.probe(word, 8, r3, 0)
    a.jne(r0, 0, unreadable)
    a.ldx(r3, word)
    a.stx(CALL[Call.iocb], r3)
    b.probe(iocb, Iocb.size, r3, 0)
    a.jne(r0, 0, unreadable)


def set_operation(b: Body, none: str) -> None:
    """Call.op and Call.direction by the opcode."""
    a, decided = b.a, b.a.unique("operation")
    a.ldx(r1, iocb_slot(b)[Iocb.opcode])
    for number, name in OPCODES.items():
        direction = BY_NAME[name].direction
        other = a.unique("not_" + name)
        a.jne(r1, number, other)
        a.st(CALL[Call.op], BY_NAME[name].code)
        a.st(CALL[Call.direction], SYNC if direction is None else direction)
        a.ja(decided)
        a.label(other)
    a.ja(none)
    a.label(decided)


def _sum(b: Body, done: str, over: str) -> None:
    """Call.requested = the sum of the iovec; without loops a long one is for another program.  Ends in a jump."""
    a, iocb, word = b.a, iocb_slot(b), b.a.slot("word", U64)
    unreadable, allowed = a.unique("no_iovec"), a.unique("entries")
    a.ldx(r1, iocb[Iocb.nbytes], "entries")
    a.jle(r1, IOVECS, allowed)
    a.mov(r1, IOVECS, "the kernel refuses more")
    a.label(allowed)
    a.ldx(r2, iocb[Iocb.buffer])
    a.stx(CALL[Call.moved], r1)
    a.stx(CALL[Call.start], r2)
    if b.kernel.loops:
        b.loop(r1, "entry", lambda: _entry(b))
        a.ja(done)
        return
    short = a.unique("short_iovec")
    a.jle(r1, ENTRIES, short)
    a.st(CALL[Call.stuck], Jump.AIO_VECTOR)
    a.ja(over)
    a.label(short)
    for entry in range(ENTRIES):
        a.ldx(r1, CALL[Call.moved])
        a.jle(r1, entry, done)
        a.ldx(r3, CALL[Call.start])
        b.probe(word, 8, r3, 16 * entry + 8)
        a.jne(r0, 0, unreadable)
        a.ldx(r1, CALL[Call.requested])
        a.ldx(r2, word)
        a.add(r1, r2)
        a.stx(CALL[Call.requested], r1)
    a.ja(done)
    a.label(unreadable)
    b.lost(Lost.iovecs)
    a.st(CALL[Call.unmeasured], 1)
    a.st(CALL[Call.requested], 0)
    a.ja(done)


def _entry(b: Body) -> None:
    """Adds the length of entry r1 of the iovec at Call.start."""
    a = b.a
    a.mov(r8, r1)
    find_call(b, "stop")
    word = a.slot("word", U64)
    a.lsh(r8, 4)
    a.ldx(r3, CALL[Call.start])
    a.add(r3, r8)
    b.probe(word, 8, r3, 8)
    a.jne(r0, 0, "unreadable")
    a.ldx(r1, CALL[Call.requested])
    a.ldx(r2, word)
    a.add(r1, r2)
    a.stx(CALL[Call.requested], r1)
    a.ret(0)
    a.label("unreadable")
    b.lost(Lost.iovecs)
    a.st(CALL[Call.unmeasured], 1)
    a.st(CALL[Call.requested], 0)
    a.label("stop")
    a.ret(1)
