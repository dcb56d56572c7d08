"""The end of a request: its completion is being posted to the ring."""

from __future__ import annotations

from asm import ProgramSpec, Slot, r0, r1
from programs.facts.jumps import Jump
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.facts.records import NOTE_OPCODE, Call, Lost, Pending, PendingKey
from programs.requests import notes
from programs.requests.uring.events import borrow_call, event_key
from programs.requests.uring.finish import finish
from programs.requests.uring.request import Request
from programs.requests.uring.shapes import OPCODES, Shape
from programs.way.body import Body, begin, spare_name
from programs.way.registers import CALL, CTX, OPCODE, REQUEST

# Requests that are accounted for by programs of their own.
DONE_BY = {Shape.SPLICE: Jump.URING_INTO_DONE, Shape.CLOSE: Jump.URING_CLOSE_DONE, Shape.OPEN: Jump.URING_OPEN_DONE}


def completed(kernel: Kernel, options: Options, maps: Maps, copy: int = 0) -> ProgramSpec:
    """io_uring_complete: the result of a request is being posted to the ring."""
    b = begin(spare_name("uring_completed", copy), kernel, options, maps)
    key = event_key(b, "completed")
    notes.find(b, key, "out")
    complete(b, key)
    return b.program()


def complete(b: Body, key: Slot) -> None:
    """Accounts for REQUEST, which is noted under `key`, with its `Pending` in r0. Ends the program.

    If the note is of another kind, the struct was reused, and the completion of the request before was not shown.
    """
    a, request, stale = b.a, Request(b), b.a.unique("stale")
    a.ldx(OPCODE, r0[Pending.marks])
    a.rsh(OPCODE, NOTE_OPCODE)
    request.opcode(r1)
    a.jne(r1, OPCODE, stale, "the completion of an earlier request was not shown")
    borrow_call(b, "out")
    a.stx(CALL[Call.kiocb], REQUEST)
    for number, opcode in OPCODES.items():
        if opcode.shape in DONE_BY:
            other = a.unique("not_" + opcode.operation)
            a.jne(OPCODE, number, other)
            a.tail_call(CTX, b.maps.jumps, DONE_BY[opcode.shape])
            a.ja("out")
            a.label(other)
    finish(b, key, request)
    a.label(stale)
    notes.drop(b, key)
    b.lost(Lost.calls)
    b.lost(Lost.requests)
    a.ret(0)


def done(b: Body, side: int, missing: str) -> Slot:
    """The beginning of a program that `complete` goes on with: sets REQUEST, CALL, and r0 to the `Pending` of `side`.

    Returns that one's key; jumps to `missing` if there is no such note.
    """
    a, key = b.a, b.a.slot("pending", PendingKey)
    borrow_call(b, missing)
    a.ldx(REQUEST, CALL[Call.kiocb])
    a.zero(key)
    a.st(key[PendingKey.space], side)
    a.stx(key[PendingKey.request], REQUEST)
    notes.find(b, key, missing)
    return key
