"""What each file did in each interval of time: counters that only a run has that was asked for them.

A call counts in the interval in which it returns, a request in that in which its completion is seen. It is counted here
after it was in the totals, so that whoever reads the intervals first never finds more in them. What finds no room is in
the totals alone.
"""

from __future__ import annotations

from asm import U32, Slot, r0, r1, r2, r3, r4
from programs.facts.catalogue import READ
from programs.facts.records import SERIES_LEVELS, Call, Interval, SeriesClock, SeriesKey, SeriesRow
from programs.way.body import BPF_NOEXIST, Body
from programs.way.registers import CALL, RESULT


def happened(b: Body, *, sync: bool = False, whole: bool = False) -> None:
    """Adds the call of the file Call.id to its interval: by Call.now, result, entered and direction, or as a sync.

    `whole`: it moved the RESULT bytes that it asked for, which are not in Call.result. Emits nothing unless that is
    wanted. Clobbers r0 to r5.
    """
    if not b.options.series:
        return
    a, skip = b.a, b.a.unique("no_interval")
    _find(b, skip)
    if whole:
        a.mov(r2, RESULT)
    else:
        a.ldx(r2, CALL[Call.result])
    if sync:
        b.count(r0[Interval.syncs])
        succeeded = skip
    else:
        succeeded = a.unique("interval_moved")
        _transfer(b, skip, succeeded)
    a.jsge(r2, 0, succeeded)
    b.count(r0[Interval.errors])
    if not sync:
        a.ja(skip)
        a.label(succeeded)
        a.ldx(r1, CALL[Call.now])
        a.ldx(r3, CALL[Call.entered])
        if b.options.light:
            a.jeq(r3, 0, skip, "not timed")
        a.sub(r1, r3)
        a.xadd(r0[Interval.busy], r1)
    a.label(skip)


def _transfer(b: Body, skip: str, succeeded: str) -> None:
    """Counts a read or a write, whose result is in r2, and its bytes; a jump to `succeeded` if it moved any."""
    a, read, failed = b.a, b.a.unique("interval_read"), b.a.unique("interval_failed")
    a.ldx(r1, CALL[Call.direction])
    a.jeq(r1, READ, read)
    for label, calls, moved in (
        ("", Interval.writes, Interval.bytes_written),
        (read, Interval.reads, Interval.bytes_read),
    ):
        if label:
            a.label(label)
        b.count(r0[calls])
        a.jsle(r2, 0, failed)
        a.xadd(r0[moved], r2)
        a.ja(succeeded)
    a.label(failed)


def _find(b: Body, skip: str) -> None:
    """r0 = the Interval, made if need be; a jump to `skip` without room. The key lies where records are made."""
    a, zero, found = b.a, b.a.slot("zero", U32), b.a.unique("have_interval")
    row = b.overlay("series_row", SeriesRow)
    key = Slot("series_key", SeriesKey, 0, row.offset)
    fresh = Slot("interval", Interval, 0, row.offset + SeriesKey.size)
    a.st(zero, 0)
    a.lookup(b.maps.series_clock, zero)
    a.jeq(r0, 0, skip)
    a.ldx(r1, CALL[Call.now])
    a.ldx(r2, r0[SeriesClock.start])
    a.sub(r1, r2)
    a.ldx(r2, r0[SeriesClock.length])
    a.div(r1, r2)
    a.ldx(r3, r0[SeriesClock.stamp])
    a.mov(r4, r3)
    a.and_(r4, (1 << SERIES_LEVELS) - 1, "the level")
    a.rsh(r1, r4)
    a.stx(key[SeriesKey.index], r1)
    a.stx(key[SeriesKey.stamp], r3)
    a.ldx(r1, b.counted)
    a.stx(key[SeriesKey.id], r1)
    a.lookup(b.maps.series, key)
    a.jne(r0, 0, found)
    a.zero(fresh)
    a.update(b.maps.series, key, fresh, BPF_NOEXIST)
    a.lookup(b.maps.series, key)
    a.jeq(r0, 0, skip, "no room")
    a.label(found)
