"""A completion is posted."""

from __future__ import annotations

from asm import ProgramSpec, Slot, r0, r1, r7, r8
from programs.facts.jumps import Jump
from programs.facts.kernel import Kernel, Options, Uring
from programs.facts.maps import Maps
from programs.facts.records import (
    NOTE_OPCODE,
    Call,
    Lost,
    Pending,
    PendingKey,
)
from programs.requests import notes
from programs.requests.uring.events import borrow_call, event_key
from programs.requests.uring.finish import finish
from programs.requests.uring.shapes import OPCODES, Shape
from programs.requests.uring.source import Source
from programs.way.body import Body, begin
from programs.way.entry import spare_name
from programs.way.registers import CALL, CTX

DONE_BY = {Shape.SPLICE: Jump.URING_INTO_DONE, Shape.CLOSE: Jump.URING_CLOSE_DONE, Shape.OPEN: Jump.URING_OPEN_DONE}


def completed(kernel: Kernel, options: Options, maps: Maps, uring: Uring, copy: int = 0) -> ProgramSpec:
    """io_uring_complete: the result of a request is being posted to the ring."""
    b = begin(spare_name("uring_completed", copy), kernel, options, maps)
    key = event_key(b, uring, "completed")
    notes.find(b, key, "out")
    complete(b, uring, key)
    return b.program()


def complete(b: Body, uring: Uring, key: Slot) -> None:
    """Accounts for the request in r7, which is noted under ``key``, with its note in r0.  Ends the program."""
    a, source, stale = b.a, Source(b, uring), b.a.unique("stale")
    a.ldx(r8, r0[Pending.marks])
    a.rsh(r8, NOTE_OPCODE)
    source.opcode(r1, r7)
    a.jne(r1, r8, stale, "the completion of the one before was not shown")
    borrow_call(b, "out")
    a.stx(CALL[Call.iocb], r7)
    for number, opcode in OPCODES.items():
        if opcode.shape in DONE_BY:
            other = a.unique("not_" + opcode.operation)
            a.jne(r8, number, other)
            a.tail_call(CTX, b.maps.jumps, DONE_BY[opcode.shape])
            a.ja("out")
            a.label(other)
    finish(b, uring, key, source)
    a.label(stale)
    notes.drop(b, key)
    b.lost(Lost.calls)
    b.lost(Lost.requests)
    a.ret(0)


def done(b: Body, side: int, missing: str) -> Slot:
    """The beginning of a program that ``complete`` goes on with: r7 = the request, CALL the borrowed record.

    Returns the key of the note of that side of it; jumps to ``missing`` if there is none.  r0 = the note.
    """
    a, key = b.a, b.a.slot("pending", PendingKey)
    borrow_call(b, missing)
    a.ldx(r7, CALL[Call.iocb])
    a.zero(key)
    a.st(key[PendingKey.space], side)
    a.stx(key[PendingKey.request], r7)
    notes.find(b, key, missing)
    return key
