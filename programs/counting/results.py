"""All that a transfer, or a sync, adds to the counters of its file and operation.

There are three: for any transfer, a quicker one for a request that moved all that it asked for, and one for syncs. The
first two are made of the same parts: what is counted of every transfer belongs in `_called`, what is counted of those
that moved bytes in `_moved`.
"""

from __future__ import annotations

from typing import Callable

from asm import U32, r0, r1
from programs.counting import shards, sizes
from programs.counting.counters import Counters, aligned, durable, entered, extent, failed, run_ended
from programs.counting.latencies import returned, returned_at, returned_to_cell
from programs.counting.series import happened
from programs.counting.state import synced, written
from programs.facts.catalogue import OPERATIONS, READ
from programs.facts.records import Activity, Call
from programs.way.body import Body
from programs.way.registers import CALL, RESULT


def transfer_result(b: Body, full: str, *, submitted: bool = False, often: bool = False) -> None:
    """Everything that the transfer described in the Call record, Call.result included, adds to its file and operation.

    Jumps to `full` if there is no room for its counters. `submitted`: `write_submitted` has seen it. `often`: a thread
    that makes many has counters of its own. RESULT is set afterwards. It is read from the record again where paths meet
    on which it was compared with 0; otherwise the verifier would follow each of them to the end.
    """
    a, counters, done = b.a, Counters(b, b.counted), b.a.unique("transfer_done")
    if often and shards.possible(b):
        own, shared, counted = Counters(b, b.counted, alone=True), a.unique("shared"), a.unique("counted_alone")
        shards.find_own(b, own, shared)
        _transferred(b, own, overlapped=True)
        a.ja(counted)
        a.label(shared)
        counters.find(full)
        _transferred(b, counters, overlapped=True)
        shards.perhaps_make(b, counters)
        a.label(counted)
    else:
        counters.find(full)
        _transferred(b, counters, overlapped=not submitted)
    happened(b)
    a.ldx(RESULT, CALL[Call.result])
    _show_activity(b)
    a.ldx(RESULT, CALL[Call.result])
    a.jsle(RESULT, 0, done)
    _if_written(b, done, submitted=submitted)
    a.label(done)


def _transferred(b: Body, counters: Counters, *, overlapped: bool) -> None:
    """What a transfer, good or bad, adds to `counters`."""
    a = b.a
    succeeded, counted = a.unique("succeeded"), a.unique("counted")
    a.ldx(RESULT, CALL[Call.result])
    _called(b, counters, sizes.requested)
    a.jsge(RESULT, 0, succeeded)
    failed(b, counters.file_id)
    a.ja(counted)
    a.label(succeeded)
    sizes.completed(b, counters)
    _returned(b, counters)
    a.jeq(RESULT, 0, counted)
    _moved(b, counters, overlapped=overlapped)
    a.label(counted)


def whole_transfer(b: Body, counters: Counters) -> None:
    """The same, in fewer instructions, for a request that moved the RESULT bytes it asked for, at least one.

    `counters` was found, and the cell of the latency. The run that the request ended has a bucket in the histogram.
    """
    done = b.a.unique("transfer_done")
    _called(b, counters, sizes.both)
    returned_to_cell(b, counters)
    _moved(b, counters, long_too=False)
    happened(b, whole=True)
    _show_activity(b)
    _if_written(b, done, submitted=True)
    b.a.label(done)


def sync_result(b: Body, full: str) -> None:
    """The same for a sync."""
    a, counters = b.a, Counters(b, b.counted)
    succeeded, done = a.unique("succeeded"), a.unique("sync_done")
    counted = a.unique("sync_counted") if b.options.series else done
    counters.find(full)
    entered(b, counters)
    a.jsge(RESULT, 0, succeeded)
    failed(b, counters.file_id)
    a.ja(counted)
    a.label(succeeded)
    returned(b, counters)
    if b.options.series:
        a.label(counted)
        happened(b, sync=True)
        a.ldx(RESULT, CALL[Call.result])
        a.jslt(RESULT, 0, done)
    a.ldx(r1, CALL[Call.op])
    for operation in OPERATIONS:
        if operation.syncs and not operation.covers:
            a.jeq(r1, operation.code, done, "starts writing, promises nothing")
    synced(b, done)
    a.label(done)


def _called(b: Body, counters: Counters, sized: Callable[[Body, Counters], None]) -> None:
    """What every transfer adds, good or bad; `sized` adds what it asked for."""
    entered(b, counters)
    sized(b, counters)
    aligned(b, counters)


def _returned(b: Body, counters: Counters) -> None:
    """When the call returned and how long it took; that only if it was timed (`Options.light`)."""
    a, timed, done = b.a, b.a.unique("timed"), b.a.unique("untimed")
    if b.options.light:
        a.ldx(r1, CALL[Call.entered])
        a.jne(r1, 0, timed)
        returned_at(b, counters)
        a.ja(done)
        a.label(timed)
    returned(b, counters)
    if b.options.light:
        a.label(done)


def _moved(b: Body, counters: Counters, *, long_too: bool = True, overlapped: bool = False) -> None:
    """What a transfer adds that moved some bytes. Unless `long_too`, the run that it ended is not a long one.

    `overlapped`: siblings may have moved the file position at the same time.
    """
    extent(b, counters, overlapped=overlapped)
    run_ended(b, counters, long_too=long_too)
    durable(b, counters)


def _if_written(b: Body, read: str, *, submitted: bool) -> None:
    """What a write that moved some bytes changes in its file's state; a jump to `read` if it is a read."""
    b.a.ldx(r1, CALL[Call.direction])
    b.a.jeq(r1, READ, read)
    written(b, submitted=submitted)


def show_other(b: Body) -> None:
    """Adds a call that moves no data to this CPU's share of the status line. Clobbers r0 to r5."""
    a, zero, shown = b.a, b.a.slot("zero", U32), b.a.unique("shown")
    a.st(zero, 0)
    a.lookup(b.maps.activity, zero)
    a.jeq(r0, 0, shown)
    a.ldx(r1, r0[Activity.others])
    a.add(r1, 1)
    a.stx(r0[Activity.others], r1)
    a.label(shown)


def _show_activity(b: Body) -> None:
    """Adds to this CPU's share of the status line, without atomics: it need not be exact."""
    a, zero, shown = b.a, b.a.slot("zero", U32), b.a.unique("shown")
    a.st(zero, 0)
    a.lookup(b.maps.activity, zero)
    a.jeq(r0, 0, shown)
    a.ldx(r1, r0[Activity.calls])
    a.add(r1, 1)
    a.stx(r0[Activity.calls], r1)
    a.jsle(RESULT, 0, shown)
    a.ldx(r1, r0[Activity.bytes])
    a.add(r1, RESULT)
    a.stx(r0[Activity.bytes], r1)
    a.label(shown)
