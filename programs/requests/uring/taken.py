"""The beginning of a request: the kernel takes it from the ring, or refuses it."""

from __future__ import annotations

from typing import Mapping

from asm import U32, U64, ProgramSpec, Slot, r0, r1
from programs.facts.catalogue import NUMBERS
from programs.facts.jumps import Jump
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.facts.signatures import SWITCH
from programs.requests import notes
from programs.requests.uring.events import event_key, only_traced
from programs.requests.uring.noting import note
from programs.requests.uring.request import Request
from programs.requests.uring.shapes import SHAPE_SHIFT, Shape, known
from programs.requests.uring.silent import settle_silent
from programs.way.body import Body, begin, spare_name
from programs.way.registers import CTX, ENTRY, OPCODE

# Requests that are noted by programs of their own.
NOTED_BY = {Shape.SPLICE: Jump.URING_INTO, Shape.CLOSE: Jump.URING_CLOSE}
REFUSED_BY = {Shape.SPLICE: Jump.URING_BAD_INTO, Shape.CLOSE: Jump.URING_BAD_CLOSE}


def taken(kernel: Kernel, options: Options, maps: Maps, copy: int = 0) -> ProgramSpec:
    """io_uring_submit_req: the kernel has taken a request from the ring and prepared it."""
    b = begin(spare_name("uring_taken", copy), kernel, options, maps)
    _begin_request(b, Request(b), event_key(b, "taken"), copy)
    return b.program()


def refused(kernel: Kernel, options: Options, maps: Maps, copy: int = 0) -> ProgramSpec:
    """io_uring_req_failed (const struct io_uring_sqe *, ...): it could not be prepared, and completes with an error."""
    b = begin(spare_name("uring_refused", copy), kernel, options, maps)
    _begin_request(b, Request(b, refused=True), event_key(b, "refused"), copy)
    return b.program()


def _begin_request(b: Body, request: Request, key: Slot, copy: int) -> None:
    """Notes the request under `key`, or goes on with the program that does so. Ends this one.

    If a request before it is noted there still, that one is settled first.
    """
    unseen = Jump.URING_BAD_UNSEEN if request.refused else Jump.URING_UNSEEN
    if not copy:
        settle_silent(b, key, unseen)
    if request.refused:
        b.a.ldx(ENTRY, CTX[0], "the entry")
    _admit(b, request)
    _unless_noted(b, key, unseen, copy)
    _hand_on(b, REFUSED_BY if request.refused else NOTED_BY)
    note(b, key, request)


def _admit(b: Body, request: Request) -> None:
    """The slot "kind" = the request's packed Opcode; jumps to "out" if it is of no interest.

    Requests are traced whenever system calls are, by the same switch.
    """
    a, row = b.a, b.a.slot("number", U32)
    request.opcode(r1)
    for number, opcode in known(b.uring).items():
        a.mov(OPCODE, opcode.pack(), opcode.operation)
        a.jeq(r1, number, "of_interest")
    a.ja("out")
    a.label("of_interest")
    a.stx(a.slot("kind", U64), OPCODE)
    a.st(row, NUMBERS[b.kernel.machine]["read"])
    a.lookup(b.maps.syscalls, row)
    a.jeq(r0, 0, "out")
    a.ldx(r1, r0.u64(0))
    a.rsh(r1, SWITCH)
    a.jeq(r1, 0, "out", "nothing is traced now")
    only_traced(b)


def _unless_noted(b: Body, key: Slot, program: int, copy: int) -> None:
    """On to `program` if there is a note of an earlier request in the same place; a spare takes it for its own."""
    a, fresh = b.a, b.a.unique("fresh")
    notes.find(b, key, fresh)
    if copy:
        a.ja("out", "the program before was not skipped")
    else:
        a.tail_call(CTX, b.maps.jumps, program)
    a.label(fresh)


def _hand_on(b: Body, programs: Mapping[Shape, int]) -> None:
    """On to the program that notes requests of the shape in the slot "kind", if that is not this one."""
    a = b.a
    a.ldx(OPCODE, a.slot("kind", U64))
    a.rsh(OPCODE, SHAPE_SHIFT)
    for shape, program in programs.items():
        other = a.unique("not_" + shape.name.lower())
        a.jne(OPCODE, shape, other)
        a.tail_call(CTX, b.maps.jumps, program)
        a.ja("out")
        a.label(other)
