"""The ring of completions that the kernel shares with the process."""

from __future__ import annotations

from asm import ProgramSpec, Slot, r0, r1, r2, r3, r7
from programs.facts.catalogue import Kind
from programs.facts.jumps import Jump
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.facts.records import AioContext, AioKey, AioRing, Call
from programs.requests.aio.abi import RING_MAGIC
from programs.requests.aio.contexts import context_key, link
from programs.way.body import Body
from programs.way.entry import begin_part
from programs.way.registers import CALL, CTX

CONTEXTS_AT_ONCE = 16  # of a process that ends


def enter_aio(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """The entry of io_submit, io_destroy and exit_group: what was reaped from the ring since the last look.

    Of a context that goes, everything that has completed, reaped or not.
    """
    b = begin_part("enter_aio", kernel, options, maps)
    a = b.a
    for place in (Call.next, Call.count):
        a.st(CALL[place], 0)
    key = context_key(b)
    a.ldx(r2, CALL.u8(Call.call.offset), "kind")
    a.jeq(r2, Kind.AIO_EXIT, "exit")
    a.ldx(r1, b.argument(0))
    a.stx(CALL[Call.space], r1)
    a.stx(key[AioKey.context], r1)
    a.lookup(maps.contexts, key)
    a.jne(r0, 0, "have_context")
    a.ldx(r2, CALL.u8(Call.call.offset), "kind")
    a.jne(r2, Kind.AIO_SUBMIT, "out")
    link(b, key, known=0)
    a.lookup(maps.contexts, key)
    a.jeq(r0, 0, "nothing", "no room: what io_getevents shows will still be seen")
    a.label("have_context")
    a.mov(r7, r0)
    ring = read_ring(b, "nothing")
    a.ldx(r3, ring[AioRing.head])
    a.ldx(r1, CALL.u8(Call.call.offset), "kind")
    a.jeq(r1, Kind.AIO_SUBMIT, "up_to_head")
    a.ldx(r3, ring[AioRing.tail])
    a.label("up_to_head")
    take_unseen(b, "nothing")
    a.tail_call(CTX, maps.jumps, Jump.AIO_RING)
    a.label("nothing")
    go_on(b, just_entered=True)
    a.ret(0)
    a.label("exit")
    a.st(key[AioKey.context], 0)
    a.lookup(maps.contexts, key)
    a.jeq(r0, 0, "out", "no AIO here")
    a.ldx(r1, r0[AioContext.seen], "the last one made")
    a.stx(CALL[Call.older], r1)
    a.delete(maps.contexts, key)
    a.tail_call(CTX, maps.jumps, Jump.AIO_LAST)
    a.label("out")
    a.ret(0)
    return b.program()


def last(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """exit_group: every context of the process, from Call.older on; AIO_RING in between where there is something."""
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
        a.mov(r7, r0)
        a.ldx(r1, r7[AioContext.older])
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


def take_unseen(b: Body, nothing: str) -> None:
    """Call.next, count, wrap and base = the events before index r3 that were not looked at; a jump without any.

    r7 = the AioContext, the slot "ring" its ring's head.
    """
    a, ring, known, in_order = b.a, b.a.slot("ring", AioRing), b.a.unique("known"), b.a.unique("in_order")
    a.ldx(r1, r7[AioContext.known])
    a.jne(r1, 0, known)
    a.ldx(r1, ring[AioRing.head], "older than tracing: what was reaped so far is none of ours")
    a.stx(r7[AioContext.seen], r1)
    a.st(r7[AioContext.known], 1)
    a.label(known)
    a.ldx(r2, ring[AioRing.entries])
    a.ldx(r1, r7[AioContext.seen])
    a.mod(r1, r2)
    a.stx(CALL[Call.next], r1)
    a.stx(r7[AioContext.seen], r3)
    a.stx(CALL[Call.wrap], r2)
    a.jge(r3, r1, in_order)
    a.add(r3, r2)
    a.label(in_order)
    a.stx(CALL[Call.count], r3, "an index, which may lie behind the ring's end")
    a.ldx(r2, CALL[Call.space])
    a.add(r2, AioRing.size)
    a.stx(CALL[Call.base], r2)
    a.jeq(r1, r3, nothing)


def read_ring(b: Body, unreadable: str) -> Slot:
    """The head of the ring at Call.space.  A process that never looked at it has no page there to read."""
    a, ring = b.a, b.a.slot("ring", AioRing)
    a.ldx(r3, CALL[Call.space])
    b.probe(ring, AioRing.size, r3, 0)
    a.jne(r0, 0, unreadable)
    a.ldx(r1, ring[AioRing.magic])
    a.mov32(r2, RING_MAGIC)
    a.jne(r1, r2, unreadable)
    a.ldx(r1, ring[AioRing.entries])
    a.jeq(r1, 0, unreadable)
    return ring


def go_on(b: Body, *, just_entered: bool = False) -> None:
    """After the ring: the requests of io_submit, or the next ring.  Ends the program unless that jumps away."""
    a, out, submits = b.a, b.a.unique("nothing_submitted"), b.a.unique("submits")
    a.ldx(r1, CALL.u8(Call.call.offset), "kind")
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
