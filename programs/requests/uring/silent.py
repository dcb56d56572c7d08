"""Silent requests: with IOSQE_CQE_SKIP_SUCCESS the kernel shows no completion if a request succeeds.

A failure or a short transfer is posted all the same. So a request whose struct is reused without an event has done all
that it should; it is accounted for just before the request that reuses it. The map `silence` says whether there has
been any silent request, as otherwise nobody needs to look for one.
"""

from __future__ import annotations

from asm import U32, ProgramSpec, Slot, r0, r1
from programs.facts.catalogue import BY_NAME
from programs.facts.jumps import Jump
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.facts.records import NOTE_ABSENT, NOTE_SILENT, OTHER, OWN, SYNC, Call, Lost, PendingKey
from programs.requests import lifecycle, notes
from programs.requests.uring.events import borrow_call, event_key
from programs.requests.uring.ring_table import end_close
from programs.way.body import Body, begin
from programs.way.registers import CALL, CTX, MARKS, RESULT


def settle_silent(b: Body, key: Slot, program: int) -> None:
    """On to `program` if the request whose struct is reused, by whomever, for whatever, was a silent one.

    Of the others this is asked where they are noted, or completed: not of every request on the system.
    """
    a, zero, none = b.a, b.a.slot("zero", U32), b.a.unique("none_silent")
    a.st(zero, 0)
    a.lookup(b.maps.silence, zero)
    a.jeq(r0, 0, none)
    a.ldx(r1, r0.u64(0))
    a.jeq(r1, 0, none, "there has been none so far")
    notes.find(b, key, none)
    a.tail_call(CTX, b.maps.jumps, program)
    a.label(none)


def tell_silent(b: Body) -> None:
    """The map `silence` = 1 if the request of the Call record is a silent one."""
    a, zero, shown = b.a, b.a.slot("zero", U32), b.a.unique("shown")
    a.ldx(r1, CALL[Call.marks])
    a.and_(r1, NOTE_SILENT)
    a.jeq(r1, 0, shown)
    a.st(zero, 0)
    a.lookup(b.maps.silence, zero)
    a.jeq(r0, 0, shown)
    a.st(r0.u64(0), 1)
    a.label(shown)


def unseen(kernel: Kernel, options: Options, maps: Maps, event: str) -> ProgramSpec:
    """A request is reused whose completion was not shown. Goes on with the one that reuses it, at the same `event`.

    At the end of tracing BPF_PROG_TEST_RUN runs it for each silent request that is still noted.
    """
    b = begin("uring_unseen" if event == "taken" else "uring_bad_unseen", kernel, options, maps)
    a = b.a
    key = event_key(b, event)
    borrow_call(b, "out")
    for side in (OTHER, OWN):
        _settle(b, key, side)
    a.tail_call(CTX, maps.jumps, Jump.URING_TAKEN if event == "taken" else Jump.URING_REFUSED)
    a.label("out")
    a.ret(0)
    return b.program()


def _settle(b: Body, key: Slot, side: int) -> None:
    """Accounts for one side of the request, if that is noted under `key`: it is done, or its completion was lost.

    Nobody knows when it was done: its latency is counted as 0.
    """
    a = b.a
    lost, accounted, done = a.unique("unseen_lost"), a.unique("unseen_sync"), a.unique("unseen_done")
    a.st(key[PendingKey.space], side)
    lifecycle.claim(b, key, done)
    a.ldx(MARKS, CALL[Call.marks])
    a.mov(r1, MARKS)
    a.and_(r1, NOTE_ABSENT)
    a.jne(r1, 0, done)
    a.and_(MARKS, NOTE_SILENT)
    a.jeq(MARKS, 0, lost, "lost in a way that is not understood")
    a.ldx(r1, CALL[Call.op])
    a.jeq(r1, BY_NAME["open"].code, lost, "nobody knows which descriptor it made")
    if side == OWN:
        closed = a.unique("not_a_close")
        a.jne(r1, BY_NAME["close"].code, closed)
        end_close(b)
        a.ja(done)
        a.label(closed)
    a.ldx(r1, CALL[Call.id])
    a.jeq(r1, 0, lost, "its file has gone from the request")
    a.ldx(r1, CALL[Call.entered])
    a.stx(CALL[Call.now], r1)
    a.mov(RESULT, 0)
    a.ldx(r1, CALL[Call.direction])
    a.jeq(r1, SYNC, accounted)
    a.ldx(r1, CALL[Call.explicit])
    a.jeq(r1, 0, lost, "at the file position, wherever that was")
    a.ldx(RESULT, CALL[Call.requested])
    a.label(accounted)
    a.stx(CALL[Call.result], RESULT)
    lifecycle.account(b, lost)
    a.ja(done)
    a.label(lost)
    b.lost(Lost.calls)
    b.lost(Lost.requests)
    a.label(done)
