"""The exit of io_submit: what the kernel has accepted of the requests that were noted.

io_submit returns how many it accepted, from the first one on. Mostly these are all that there were, which the exit that
all calls share tells by one comparison (`unless_all_accepted`). If it stopped at a request, that one and those after it
are forgotten; if it stopped at the very first, the call fails, and the error is that request's.
"""

from __future__ import annotations

from asm import U32, ProgramSpec, r0, r1, r2
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
from programs.way.exit import begin_exit, load_result
from programs.way.registers import CALL, CTX, NOTED_SO_FAR, RESULT
from programs.way.threads import begin_part

UNDONE_AT_ONCE = 8  # as many as 4,096 instructions hold
OWNED_UNDONE_AT_ONCE = 7  # where rows are apart by who does the I/O


def unless_all_accepted(b: Body, over: str) -> None:
    """For the exit that all calls share: jumps to `over` if this io_submit leaves nothing to be done.

    That is, if it accepted as many requests as were noted, or passed over as none of ours. Sets RESULT; clobbers r1.
    """
    load_result(b)
    b.a.ldx(r1, CALL[Call.next])
    b.a.jeq(r1, RESULT, over, "all of its requests were noted, and accepted")


def exit_submit(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """The exit of io_submit where it has not accepted just those that were noted.

    If it has accepted more, tail calls went no further: these requests are lost. Otherwise Jump.AIO_UNDO goes on.
    """
    b = begin_exit("exit_aio_submit", kernel, options, maps)
    a, zero = b.a, b.a.slot("zero", U32)
    a.jslt(RESULT, 0, "refused")
    a.ldx(NOTED_SO_FAR, CALL[Call.next], "how many were noted")
    a.jlt(RESULT, NOTED_SO_FAR, "refused")
    a.sub(RESULT, NOTED_SO_FAR)
    a.st(zero, 0)
    a.lookup(maps.lost, zero)
    a.jeq(r0, 0, "out")
    a.xadd(r0[Lost.calls], RESULT, "tail calls went no further")
    a.ret(0)
    a.label("refused")
    a.tail_call(CTX, maps.jumps, Jump.AIO_UNDO)
    a.label("out")
    a.ret(0)
    return b.program()


def undo(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """Takes back the requests that were not accepted, the last one first, so that runs come out as they were before.

    The first request of a call that failed stays, to be accounted for with the call's error.
    """
    b = begin_part("aio_undo", kernel, options, maps)
    a = b.a
    b.fill_stack()
    load_result(b)
    a.mov(r1, RESULT)
    a.jsge(r1, 0, "accepted")
    a.mov(r1, 1)
    a.label("accepted")
    a.stx(CALL[Call.kept], r1, "how many stay")
    at_once = OWNED_UNDONE_AT_ONCE if options.by else UNDONE_AT_ONCE
    repeat(b, "refused", at_once, lambda over: _undo(b, over))
    if not kernel.loops:
        _stop_at_kept(b, "undone")
        a.tail_call(CTX, maps.jumps, Jump.AIO_UNDO)
        a.label("undone")
    load_result(b)
    a.jsge(RESULT, 0, "out")
    _failed(b)
    a.label("out")
    a.ret(0)
    return b.program()


def _undo(b: Body, over: str) -> None:
    """Takes back the last request that is still noted, or jumps to `over` if all others stay."""
    a, unknown = b.a, b.a.unique("not_noted")
    _stop_at_kept(b, over)
    a.sub(r1, 1)
    a.stx(CALL[Call.next], r1)
    read_iocb(b, unknown)
    key = pending_key(b, b.overlay("pending", PendingKey))
    take_back(b, key, unknown)
    a.label(unknown)


def _stop_at_kept(b: Body, over: str) -> None:
    """Jumps to `over` if Call.next has come down to Call.kept. Leaves Call.next in r1."""
    b.a.ldx(r1, CALL[Call.next])
    b.a.ldx(r2, CALL[Call.kept])
    b.a.jle(r1, r2, over)


def _failed(b: Body) -> None:
    """Accounts for the first request of an io_submit that failed with the -errno in RESULT.

    One on a descriptor that is not open was not noted, as it belongs to no file.
    """
    a = b.a
    a.st(CALL[Call.next], 0)
    read_iocb(b, "out")
    set_operation(b, "out")
    a.call("ktime_get_ns")
    a.stx(CALL[Call.now], r0)
    key = pending_key(b, b.overlay("pending", PendingKey))
    complete(b, key, unknown="no_file", full="full", accepted=False)
    a.ja("out")
    a.label("full")
    b.lost(Lost.calls)
    a.ja("out")
    a.label("no_file")
    a.jne(RESULT, -EBADF, "out")
    counters.failed(b, None)
