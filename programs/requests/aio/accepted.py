"""What was not accepted."""

from __future__ import annotations

from asm import U32, ProgramSpec, r0, r1, r2, r7, r8
from programs.counting import counters
from programs.facts.jumps import Jump
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.facts.records import Call, Lost, PendingKey
from programs.requests.aio.abi import EBADF
from programs.requests.aio.iocb import pending_key, read_iocb, set_operation
from programs.requests.aio.repeat import repeat
from programs.requests.lifecycle import complete, take_back
from programs.way.body import Body
from programs.way.entry import begin_exit, begin_part, load_result
from programs.way.registers import CALL, CTX

UNDONE_AT_ONCE = 8  # as many as 4,096 instructions hold


def exit_submit(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """The exit of io_submit where not all was noted and accepted: the requests that were not the one, or the other."""
    b = begin_exit("exit_aio_submit", kernel, options, maps)
    a, zero = b.a, b.a.slot("zero", U32)
    a.jslt(r8, 0, "refused")
    a.ldx(r7, CALL[Call.next], "so far they were noted")
    a.jlt(r8, r7, "refused")
    a.sub(r8, r7)
    a.st(zero, 0)
    a.lookup(maps.lost, zero)
    a.jeq(r0, 0, "out")
    a.xadd(r0[Lost.calls], r8, "more than tail calls go")
    a.ret(0)
    a.label("refused")
    a.tail_call(CTX, maps.jumps, Jump.AIO_UNDO)
    a.label("out")
    a.ret(0)
    return b.program()


def undo(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """Takes back the requests before Call.next, last one first, that io_submit did not accept.

    If it failed, it was the first one that failed, with that error.
    """
    b = begin_part("aio_undo", kernel, options, maps)
    a = b.a
    load_result(b)
    a.mov(r1, r8)
    a.jsge(r1, 0, "accepted")
    a.mov(r1, 1)
    a.label("accepted")
    a.stx(CALL[Call.count], r1, "those that stay")
    repeat(b, "refused", UNDONE_AT_ONCE, lambda over: _undo(b, over))
    if not kernel.loops:
        a.ldx(r1, CALL[Call.next])
        a.ldx(r2, CALL[Call.count])
        a.jle(r1, r2, "undone")
        a.tail_call(CTX, maps.jumps, Jump.AIO_UNDO)
        a.label("undone")
    load_result(b)
    a.jsge(r8, 0, "out")
    _failed(b)
    a.label("out")
    a.ret(0)
    return b.program()


def _undo(b: Body, over: str) -> None:
    a, unknown = b.a, b.a.unique("not_noted")
    a.ldx(r1, CALL[Call.next])
    a.ldx(r2, CALL[Call.count])
    a.jle(r1, r2, over)
    a.sub(r1, 1)
    a.stx(CALL[Call.next], r1)
    read_iocb(b, unknown)
    key = pending_key(b, b.overlay("pending", PendingKey))
    take_back(b, key, unknown)
    a.label(unknown)


def _failed(b: Body) -> None:
    """The first request of an io_submit that failed with the errno in r8."""
    a = b.a
    a.st(CALL[Call.next], 0)
    read_iocb(b, "out")
    set_operation(b, "out")
    a.call("ktime_get_ns")
    a.stx(CALL[Call.now], r0)
    key = pending_key(b, b.overlay("pending", PendingKey))
    complete(b, key, unknown="no_file", full="full")
    a.ja("out")
    a.label("full")
    b.lost(Lost.calls)
    a.ja("out")
    a.label("no_file")
    a.jne(r8, -EBADF, "out")
    counters.failed(b, None)
