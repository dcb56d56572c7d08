"""One request of an io_submit: from its `struct iocb` in user memory to the Call record."""

from __future__ import annotations

from asm import U64, Slot, r0, r1, r3
from programs.facts.abi import RWF_COUNTED
from programs.facts.catalogue import BY_NAME
from programs.facts.records import SYNC, Call, Iocb, PendingKey
from programs.requests.aio.abi import OPCODES, VECTORED
from programs.requests.aio.vector import measure_in_place
from programs.way.body import Body
from programs.way.descriptors import resolve
from programs.way.registers import CALL, DESCRIPTOR, FILE


def pending_key(b: Body, key: Slot) -> Slot:
    """`key`, filled in for this process's request at Call.iocb in the context Call.space."""
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
    """The Call record and FILE = what the request Call.next asks for.

    Jumps to `skip` if it is not one that is counted, or its descriptor is not open; to `over` if it cannot be read,
    which then is the last one, or if Call.stuck says which program must measure it first.
    """
    a, iocb = b.a, _iocb(b)
    unreadable, readable, resolved = a.unique("unreadable"), a.unique("readable"), a.unique("descriptor")
    read_iocb(b, unreadable)
    a.ja(readable)
    a.label(unreadable)
    a.ldx(r1, CALL[Call.next])
    a.stx(CALL[Call.count], r1, "the kernel gets no further either")
    a.ja(over)
    a.label(readable)
    set_operation(b, skip)
    _read_transfer(b, resolved, over)
    a.label(resolved)
    a.ldx(DESCRIPTOR, iocb[Iocb.descriptor])
    resolve(b)
    a.jeq(FILE, 0, skip)


def _read_transfer(b: Body, resolved: str, over: str) -> None:
    """Where a read or a write begins, its size and its RWF_*; for a sync a jump to `resolved` instead."""
    a, iocb = b.a, _iocb(b)
    plain, measured = a.unique("plain"), a.unique("measured")
    for place in (Call.rw_flags, Call.explicit):
        a.st(CALL[place], 0)
    a.ldx(r1, CALL[Call.measured])
    a.jne(r1, 0, measured)
    a.st(CALL[Call.requested], 0)
    a.st(CALL[Call.unmeasured], 0)
    a.label(measured)
    a.ldx(r1, CALL[Call.direction])
    a.jeq(r1, SYNC, resolved)
    a.st(CALL[Call.explicit], 1)
    a.ldx(r1, iocb[Iocb.offset])
    a.stx(CALL[Call.offset], r1)
    a.ldx(r1, iocb[Iocb.rw_flags])
    a.and_(r1, RWF_COUNTED)
    a.stx(CALL[Call.rw_flags], r1)
    a.ldx(r1, iocb[Iocb.opcode])
    a.jlt(r1, VECTORED, plain)
    a.ldx(r1, CALL[Call.measured])
    a.jne(r1, 0, resolved)
    measure_in_place(b, iocb, resolved, over)
    a.label(plain)
    a.ldx(r1, iocb[Iocb.nbytes])
    a.stx(CALL[Call.requested], r1)


def read_iocb(b: Body, unreadable: str) -> None:
    """Call.iocb = the address of the request Call.next, and the slot "iocb" = what is there."""
    a, iocb, word = b.a, _iocb(b), b.a.slot("word", U64)
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
    """Call.op and Call.direction by the opcode in the slot "iocb"; jumps to `none` if it is of no interest."""
    a, decided = b.a, b.a.unique("operation")
    a.ldx(r1, _iocb(b)[Iocb.opcode])
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


def _iocb(b: Body) -> Slot:
    """Where a request is read to: an overlay, as nothing of it is needed any more when a record is made of it."""
    return b.overlay("iocb", Iocb)
