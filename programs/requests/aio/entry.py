"""The entry of io_submit, io_destroy and exit_group: first, what was taken out of a ring since the last look.

It comes before any new request is noted, whose iocb may be that of one whose completion was taken there. Of a context
that goes, this is the last look: everything that has completed counts, taken or not.
"""

from __future__ import annotations

from asm import ProgramSpec, Slot, r0, r1, r2, r3
from programs.facts.catalogue import Kind
from programs.facts.jumps import Jump
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.facts.records import AioContext, AioKey, AioRing, Call, Signature
from programs.requests.aio.contexts import context_key, link
from programs.requests.aio.ring import read_ring, take_unseen
from programs.way.body import Body
from programs.way.registers import AIO_CONTEXT, CALL, CTX
from programs.way.threads import begin_part

CONTEXTS_AT_ONCE = 16  # of a process that ends; tail calls allow for 15 of them that have something in their rings
KIND = CALL[Call.signature[Signature.kind]]


def enter_aio(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """Goes on with Jump.AIO_RING where the ring of the context shows something new, else with what comes after that."""
    b = begin_part("enter_aio", kernel, options, maps)
    a = b.a
    for place in (Call.next, Call.count):
        a.st(CALL[place], 0)
    key = context_key(b)
    a.ldx(r2, KIND, "kind")
    a.jeq(r2, Kind.AIO_EXIT, "exit")
    a.ldx(r1, b.argument(0))
    a.stx(CALL[Call.space], r1)
    a.stx(key[AioKey.context], r1)
    a.lookup(maps.contexts, key)
    a.jne(r0, 0, "have_context")
    a.ldx(r2, KIND, "kind")
    a.jne(r2, Kind.AIO_SUBMIT, "out")
    link(b, key, known=0)
    a.lookup(maps.contexts, key)
    a.jeq(r0, 0, "nothing", "no room: what io_getevents shows will still be seen")
    a.label("have_context")
    a.mov(AIO_CONTEXT, r0)
    ring = read_ring(b, "nothing")
    a.ldx(r3, ring[AioRing.head])
    a.ldx(r1, KIND, "kind")
    a.jeq(r1, Kind.AIO_SUBMIT, "up_to_head")
    a.ldx(r3, ring[AioRing.tail])
    a.label("up_to_head")
    take_unseen(b, "nothing")
    a.tail_call(CTX, maps.jumps, Jump.AIO_RING)
    a.label("nothing")
    after_ring(b, just_entered=True)
    a.ret(0)
    a.label("exit")
    _enter_exit(b, key)
    a.label("out")
    a.ret(0)
    return b.program()


def _enter_exit(b: Body, key: Slot) -> None:
    """exit_group: Call.older = the process's first context to look at; the list itself is deleted."""
    a = b.a
    a.st(key[AioKey.context], 0)
    a.lookup(b.maps.contexts, key)
    a.jeq(r0, 0, "out", "no AIO here")
    a.ldx(r1, r0[AioContext.first], "the last one made")
    a.stx(CALL[Call.older], r1)
    a.delete(b.maps.contexts, key)
    a.tail_call(CTX, b.maps.jumps, Jump.AIO_LAST)


def last(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """exit_group: each context of the process from Call.older on, and Jump.AIO_RING where one has something new."""
    b = begin_part("aio_last", kernel, options, maps)
    a = b.a
    key = context_key(b)
    for _ in range(CONTEXTS_AT_ONCE):
        nothing = a.unique("nothing")
        a.ldx(r1, CALL[Call.older])
        a.jeq(r1, 0, "out")
        a.stx(CALL[Call.space], r1)
        a.stx(key[AioKey.context], r1)
        a.lookup(maps.contexts, key)
        a.jeq(r0, 0, "out")
        a.mov(AIO_CONTEXT, r0)
        a.ldx(r1, AIO_CONTEXT[AioContext.older])
        a.stx(CALL[Call.older], r1)
        ring = read_ring(b, nothing)
        a.ldx(r3, ring[AioRing.tail])
        take_unseen(b, nothing)
        a.ja("unseen")
        a.label(nothing)
        a.delete(maps.contexts, key)
    a.tail_call(CTX, maps.jumps, Jump.AIO_LAST)
    a.ret(0)
    a.label("unseen")
    a.delete(maps.contexts, key)
    a.tail_call(CTX, maps.jumps, Jump.AIO_RING)
    a.label("out")
    a.ret(0)
    return b.program()


def after_ring(b: Body, *, just_entered: bool = False) -> None:
    """What comes after a ring: the requests of an io_submit, or the next ring of an exit_group.

    Falls through for io_destroy, for an io_submit without requests, and where tail calls go no further. Unless
    `just_entered`, time has passed in the ring, and the requests' latency begins now.
    """
    a, out, submits = b.a, b.a.unique("nothing_submitted"), b.a.unique("submits")
    a.ldx(r1, KIND, "kind")
    a.jeq(r1, Kind.AIO_SUBMIT, submits)
    a.jne(r1, Kind.AIO_EXIT, out)
    a.tail_call(CTX, b.maps.jumps, Jump.AIO_LAST)
    a.ja(out)
    a.label(submits)
    if not just_entered:
        a.call("ktime_get_ns")
        a.stx(CALL[Call.entered], r0)
    for place in (Call.next, Call.measured, Call.stuck):
        a.st(CALL[place], 0)
    a.ldx(r1, b.argument(1))
    a.jslt(r1, 1, out)
    a.stx(CALL[Call.count], r1)
    a.tail_call(CTX, b.maps.jumps, Jump.AIO_NOTE)
    a.label(out)
