"""Many requests, or many events, in one system call: how a program works through a list of any length.

`Call.next` is the number of the request or event that is due, `Call.count` the number to stop at. What is done with
each is written once, as a function that emits it, and repeated in the best way that the kernel allows:

- bpf_loop (5.17) calls it as often as it takes.
- A loop that jumps back (5.3), which the verifier follows round by round, does LOOPED_AT_ONCE of them. Then the program
  goes on with itself by a tail call, of which there are 32 in a row.
- Before, straight code: a program holds it a few times over, and goes on in the same way.
"""

from __future__ import annotations

from typing import Callable

from asm import U64, r1, r2
from programs.facts.records import Call
from programs.way.body import Body
from programs.way.registers import CALL, CTX, ROUNDS

AIO_LIMIT = 1 << 16  # requests a call: fs.aio-max-nr is 65,536 unless somebody raised it
LOOPED_AT_ONCE = 64  # of any kind, where the verifier follows a loop round by round


def repeat(b: Body, name: str, at_once: int, item: Callable[[str], None]) -> None:
    """Runs what `item` emits again and again, until that jumps to the label which `item` is given.

    `name` is the label, or the function, of a round; `at_once` the number of rounds in straight code. Falls through
    when there is nothing more to do, or no more can be done here: the caller tells the two apart by `stop_at_end`.
    """
    a = b.a

    def callback() -> None:
        a.ldx(CALL, r2.u64(0))
        item("over")
        a.ret(0)
        a.label("over")
        a.ret(1)

    if b.kernel.loops:
        own = a.slot("call", U64)
        a.stx(own, CALL)
        b.loop(AIO_LIMIT, name, callback, own)
        return
    if b.kernel.back_jumps:
        context = a.slot("tracepoint", U64)
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
    if at_once > 2 and b.options.series:
        at_once -= 1  # of 4,096 slots
    for _ in range(at_once):
        item("over")
    a.label("over")


def stop_at_end(b: Body, done: str) -> None:
    """Jumps to `done` if Call.next has come to Call.count. Leaves Call.next in r1."""
    b.a.ldx(r1, CALL[Call.next])
    b.a.ldx(r2, CALL[Call.count])
    b.a.jge(r1, r2, done)


def advance(b: Body) -> None:
    """Call.next += 1. Clobbers r1."""
    b.a.ldx(r1, CALL[Call.next])
    b.a.add(r1, 1)
    b.a.stx(CALL[Call.next], r1)
