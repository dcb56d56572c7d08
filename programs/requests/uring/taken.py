"""The kernel takes requests."""

from __future__ import annotations

from typing import Mapping

from asm import U32, U64, ProgramSpec, Slot, r0, r1, r7, r8
from programs.facts.catalogue import NUMBERS
from programs.facts.jumps import Jump
from programs.facts.kernel import Kernel, Options, Uring
from programs.facts.maps import Maps
from programs.facts.signatures import SWITCH
from programs.requests import notes
from programs.requests.uring.events import event_key
from programs.requests.uring.note import note
from programs.requests.uring.shapes import Shape, known
from programs.requests.uring.silent import settle_silent
from programs.requests.uring.source import Source
from programs.way.body import Body, begin
from programs.way.entry import only_targets, spare_name
from programs.way.registers import CTX

# Requests that are noted, and accounted for, by programs of their own.
NOTED_BY = {Shape.SPLICE: Jump.URING_INTO, Shape.CLOSE: Jump.URING_CLOSE}
REFUSED_BY = {Shape.SPLICE: Jump.URING_BAD_INTO, Shape.CLOSE: Jump.URING_BAD_CLOSE}


def taken(kernel: Kernel, options: Options, maps: Maps, uring: Uring, copy: int = 0) -> ProgramSpec:
    """io_uring_submit_req: the kernel has taken a request from the ring and prepared it."""
    b = begin(spare_name("uring_taken", copy), kernel, options, maps)
    key = event_key(b, uring, "taken")
    if not copy:
        settle_silent(b, key, Jump.URING_UNSEEN)
    source = Source(b, uring)
    admit(b, uring, source)
    unless_noted(b, key, Jump.URING_UNSEEN, copy)
    hand_on(b, NOTED_BY)
    note(b, uring, key, source)
    return b.program()


def refused(kernel: Kernel, options: Options, maps: Maps, uring: Uring, copy: int = 0) -> ProgramSpec:
    """io_uring_req_failed (const struct io_uring_sqe *, ...): it could not be prepared, and completes with an error."""
    b = begin(spare_name("uring_refused", copy), kernel, options, maps)
    a = b.a
    key = event_key(b, uring, "refused")
    if not copy:
        settle_silent(b, key, Jump.URING_BAD_UNSEEN)
    a.ldx(r7, CTX[0], "the entry")
    source = Source(b, uring, entry=True)
    admit(b, uring, source)
    unless_noted(b, key, Jump.URING_BAD_UNSEEN, copy)
    hand_on(b, REFUSED_BY)
    note(b, uring, key, source)
    return b.program()


def admit(b: Body, uring: Uring, source: Source) -> None:
    """From the request in r7 to its packed Opcode in the slot "kind"; a jump to ``out`` if it is of no interest."""
    a, row = b.a, b.a.slot("number", U32)
    source.opcode(r1, r7)
    for number, opcode in known(uring).items():
        a.mov(r8, opcode.pack(), opcode.operation)
        a.jeq(r1, number, "of_interest")
    a.ja("out")
    a.label("of_interest")
    a.stx(a.slot("kind", U64), r8)
    a.st(row, NUMBERS[b.kernel.machine]["read"])
    a.lookup(b.maps.syscalls, row)
    a.jeq(r0, 0, "out")
    a.ldx(r1, r0.u64(0))
    a.rsh(r1, SWITCH)
    a.jeq(r1, 0, "out", "nothing is traced now")
    a.call("get_current_pid_tgid")
    a.rsh(r0, 32)
    only_targets(b, r0, "out")


def unless_noted(b: Body, key: Slot, program: int, copy: int) -> None:
    """On to ``program`` if there is a note of an earlier request in the same place; a spare takes it for its own."""
    a, fresh = b.a, b.a.unique("fresh")
    notes.find(b, key, fresh)
    if copy:
        a.ja("out", "the program before was not skipped")
    else:
        a.tail_call(CTX, b.maps.jumps, program)
    a.label(fresh)


def hand_on(b: Body, programs: Mapping[Shape, int]) -> None:
    """To the program that notes requests of the shape in the slot "kind", if that has one of its own."""
    a = b.a
    a.ldx(r8, a.slot("kind", U64))
    a.rsh(r8, 16)
    for shape, program in programs.items():
        other = a.unique("not_" + shape.name.lower())
        a.jne(r8, shape, other)
        a.tail_call(CTX, b.maps.jumps, program)
        a.ja("out")
        a.label(other)
