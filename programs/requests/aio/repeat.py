"""Many requests, or events, in one call."""

from __future__ import annotations

from typing import Callable

from asm import U64, r1, r2
from programs.facts.records import Call
from programs.way.body import Body
from programs.way.registers import CALL, CTX, ROUNDS

AIO_LIMIT = 1 << 16  # requests a call: fs.aio-max-nr is 65,536 unless somebody raised it
LOOPED_AT_ONCE = 64  # of any, where the verifier follows a loop round by round


def repeat(b: Body, name: str, at_once: int, item: Callable[[str], None]) -> None:
    """Runs ``item`` again and again, with the Call record in CALL, until it jumps to the label it is given.

    With bpf_loop as often as need be, else a few times: ``at_once`` where all of it must be laid out.
    """
    a = b.a

    def callback() -> None:
        a.ldx(CALL, r2.u64(0))
        item("over")
        a.ret(0)
        a.label("over")
        a.ret(1)

    if b.kernel.loops:
        own = a.slot("own", U64)
        a.stx(own, CALL)
        b.loop(AIO_LIMIT, name, callback, own)
        return
    if b.kernel.back_jumps:
        context = a.slot("context", U64)
        a.stx(context, CTX)
        a.mov(ROUNDS, LOOPED_AT_ONCE)
        a.label(name)
        item("over")
        b.forget(context)
        a.sub(ROUNDS, 1)
        a.jne(ROUNDS, 0, name)
        a.label("over")
        a.ldx(CTX, context)
        return
    for _ in range(at_once):
        item("over")
    a.label("over")


def stop_at_end(b: Body, done: str) -> None:
    """Jumps to ``done`` if Call.next has come to Call.count.  Leaves Call.next in r1."""
    b.a.ldx(r1, CALL[Call.next])
    b.a.ldx(r2, CALL[Call.count])
    b.a.jge(r1, r2, done)


def advance(b: Body) -> None:
    b.a.ldx(r1, CALL[Call.next])
    b.a.add(r1, 1)
    b.a.stx(CALL[Call.next], r1)
