"""The depth of a file's queue: how many of its requests are in flight when one is submitted, itself included.

A request notes the depth that it came upon, and adds it to the histogram once its completion is seen: one that was not
accepted has never been in the queue. A request whose file was not known when it was submitted is in no queue either.
Programs without loops (before 5.3) have no room for this.
"""

from __future__ import annotations

from asm import U64, Slot, r0, r1, r2, r3, r4
from programs.counting.counters import greatest
from programs.facts.records import DEPTH_BUCKETS, Call, Depth, Lost
from programs.way.body import Body
from programs.way.registers import CALL


def is_known(b: Body) -> bool:
    """Whether programs are to call `join` and `leave`."""
    return not b.kernel.straight


def join(b: Body) -> None:
    """A request of the file Call.id is submitted: Call.depth = how many are in flight with it. Clobbers r0 to r5."""
    a, have, full, done = b.a, b.a.unique("have_depth"), b.a.unique("no_depth"), b.a.unique("joined")
    file_id = _find(b)
    a.jne(r0, 0, have)
    b.make_zeros(b.maps.depths, file_id, Depth)
    a.lookup(b.maps.depths, file_id)
    a.jeq(r0, 0, full)
    a.label(have)
    if b.kernel.fetch_atomics:
        a.mov(r1, 1)
        a.fetch_add(r0[Depth.inflight], r1)
        a.add(r1, 1)
    else:
        b.count(r0[Depth.inflight])
        a.ldx(r1, r0[Depth.inflight])
    a.stx(CALL[Call.depth], r1)
    a.ja(done)
    a.label(full)
    b.lost(Lost.tallies)
    a.label(done)


def leave(b: Body, *, accepted: bool = True) -> None:
    """The request of the Call record, with Call.depth, is in flight no more. Clobbers r0 to r5.

    Unless it was `accepted`, nothing is told of the queue that it came upon.
    """
    a, done = b.a, b.a.unique("left_queue")
    a.ldx(r1, CALL[Call.depth])
    a.jeq(r1, 0, done)
    _find(b)
    a.jeq(r0, 0, done)
    a.mov(r1, -1)
    a.xadd(r0[Depth.inflight], r1)
    if accepted:
        if b.options.by:
            _find_row(b, done)
        a.mov(r2, r0)
        a.ldx(r1, CALL[Call.depth])
        greatest(b, r2[Depth.most])
        b.log2(r3, r1, r4, first=1, bits=32)
        a.jge(r3, DEPTH_BUCKETS, done, "cannot be")
        a.add(r2, Depth.buckets.offset)
        b.cell(r2, r3)
    a.label(done)


def _find_row(b: Body, full: str) -> None:
    """r0 = the Depth of Call.row, made if need be: whose requests have come upon how many. Jumps to `full` without."""
    a, row, have = b.a, b.a.slot("id", U64), b.a.unique("have_row_depth")
    a.ldx(r1, CALL[Call.row])
    a.stx(row, r1)
    a.lookup(b.maps.depths, row)
    a.jne(r0, 0, have)
    b.make_zeros(b.maps.depths, row, Depth)
    a.lookup(b.maps.depths, row)
    a.jeq(r0, 0, full)
    a.label(have)


def _find(b: Body) -> Slot:
    """r0 = the Depth of the file Call.id, 0 if there is none. Returns the slot of its key."""
    a, file_id = b.a, b.a.slot("id", U64)
    a.ldx(r1, CALL[Call.id])
    a.stx(file_id, r1)
    a.lookup(b.maps.depths, file_id)
    return file_id
