"""Sizes of transfers: histograms of what was asked for and of what was moved, and the sizes asked for most often.

The functions expect CALL, and Counters whose record was found. They clobber r0 to r5.
"""

from __future__ import annotations

from asm import Mem, Register, r0, r1, r2, r3, r4, r5
from programs.counting.counters import COMPLETED, HEAD, REQUESTED, Counters
from programs.facts.records import (
    COMMON_SIZES,
    SIZE_BUCKETS,
    TALLY_REQUESTED,
    Call,
    CommonSize,
    Completed,
    OpHead,
    Requested,
)
from programs.way.body import Body
from programs.way.registers import CALL, RESULT


def requested(b: Body, counters: Counters) -> None:
    """Call.requested into its histogram and the common sizes. Sizes that no kernel transfers are kept sparsely."""
    a = b.a
    large, same, done = a.unique("large"), a.unique("same_request"), a.unique("requested")
    a.ldx(r1, CALL[Call.unmeasured])
    a.jne(r1, 0, done, "the iovec could not be read")
    a.ldx(r4, CALL[Call.requested])
    _common(b, counters, r4)
    a.ldx(r2, CALL[Call.requested])
    a.ldx(r1, CALL[Call.bucket])
    a.ldx(r3, CALL[Call.bucketed])
    a.jeq(r2, r3, same)
    a.stx(CALL[Call.bucketed], r2)
    b.bucket(r1, r2, r3)
    a.stx(CALL[Call.bucket], r1)
    a.label(same)
    a.jge(r1, SIZE_BUCKETS, large)
    counters.cell(REQUESTED, Requested.buckets, r1, r2)
    a.ja(done)
    a.label(large)
    a.mov(r3, r1)
    b.tally(file=counters.file_id, op=CALL[Call.op], kind=TALLY_REQUESTED, item=r3)
    a.label(done)


def completed(b: Body, counters: Counters) -> None:
    """The bytes in RESULT, of a successful transfer, into the total and the histogram."""
    a, skip, same, other = b.a, b.a.unique("completed"), b.a.unique("same_bucket"), b.a.unique("other_bucket")
    counters.at(HEAD, r2)
    counters.add(counters.field(HEAD, r2, OpHead.bytes), RESULT, r3)
    a.ldx(r2, CALL[Call.unmeasured])
    a.jne(r2, 0, other)
    a.ldx(r2, CALL[Call.requested])
    a.ldx(r1, CALL[Call.bucket])
    a.jeq(r2, RESULT, same, "as mostly: all that was asked for")
    a.label(other)
    a.ldx(r2, CALL[Call.result])
    b.bucket(r1, r2, r3)
    a.label(same)
    a.jge(r1, SIZE_BUCKETS, skip, "cannot be: MAX_RW_COUNT")
    counters.cell(COMPLETED, Completed.buckets, r1, r2)
    a.label(skip)


def both(b: Body, counters: Counters) -> None:
    """`requested` and `completed` of a transfer that moved the RESULT bytes that it asked for, at least one."""
    a, sized = b.a, b.a.unique("sized")
    counters.at(HEAD, r2)
    counters.add(counters.field(HEAD, r2, OpHead.bytes), RESULT, r3)
    a.mov(r4, RESULT)
    _common(b, counters, r4)
    a.mov(r2, RESULT)
    b.log2(r1, r2, r3, first=1, bits=SIZE_BUCKETS - 1)
    a.jge(r1, SIZE_BUCKETS, sized, "cannot be: MAX_RW_COUNT")
    a.mov(r4, r1)
    a.mov(r3, r1)
    counters.cell(REQUESTED, Requested.buckets, r3, r2)
    counters.cell(COMPLETED, Completed.buckets, r4, r2)
    a.label(sized)


def _common(b: Body, counters: Counters, size: Register) -> None:
    """One request more of `size` (r4) bytes, which is destroyed. Nothing is written if it is the first size again."""
    a = b.a
    others, done = a.unique("other_size"), a.unique("common")
    counters.at(REQUESTED, r2)
    a.add(size, 1)
    first = counters.field(REQUESTED, r2, Requested.first)
    a.ldx(r5, first)
    a.jeq(r5, size, done, "as mostly")
    a.jne(r5, 0, others)
    _claim(b, first, size, done)
    a.label(others)
    for number in range(COMMON_SIZES):
        place, hit, other = Requested.common[number], a.unique("hit"), a.unique("next_size")
        mem = counters.field(REQUESTED, r2, place[CommonSize.bytes])
        a.ldx(r5, mem)
        a.jeq(r5, size, hit)
        a.jne(r5, 0, other)
        _claim(b, mem, size, hit)
        if b.kernel.fetch_atomics:
            a.ja(other)
        a.label(hit)
        counters.count(counters.field(REQUESTED, r2, place[CommonSize.count]))
        a.ja(done)
        a.label(other)
    if b.kernel.fetch_atomics:
        _replace_rarest(b, counters, size)
    else:
        counters.count(counters.field(REQUESTED, r2, Requested.others))
    a.label(done)


def _claim(b: Body, mem: Mem, size: Register, got: str) -> None:
    """Makes a free place that of `size`, and jumps to `got`; falls through if another CPU took it for another size.

    Before 5.12 nothing tells whether another did: then both go into the place of the one that came last.
    """
    a = b.a
    if not b.kernel.fetch_atomics:
        a.stx(mem, size)
        a.ja(got)
        return
    a.mov(r0, 0)
    a.cmpxchg(mem, size)
    a.jeq(r0, 0, got)
    a.jeq(r0, size, got)


def _replace_rarest(b: Body, counters: Counters, size: Register) -> None:
    """Gives the place of the rarest size, and its count, to `size`. r2 = the record. Clobbers r1, r3 and r5.

    Two CPUs that do so at once may put one request under the size of the other.
    """
    a = b.a
    counters.count(counters.field(REQUESTED, r2, Requested.replaced))
    cells = [Requested.common[number] for number in range(COMMON_SIZES)]
    a.mov(r3, 0)
    a.ldx(r5, counters.field(REQUESTED, r2, cells[0][CommonSize.count]))
    for number, cell in enumerate(cells[1:], 1):
        more = a.unique("more_often")
        a.ldx(r1, counters.field(REQUESTED, r2, cell[CommonSize.count]))
        a.jge(r1, r5, more)
        a.mov(r5, r1)
        a.mov(r3, number * CommonSize.size)
        a.label(more)
    a.and_(r3, (COMMON_SIZES - 1) * CommonSize.size, "which the verifier then need not follow")
    a.add(r2, r3)
    a.stx(counters.field(REQUESTED, r2, cells[0][CommonSize.bytes]), size)
    counters.count(counters.field(REQUESTED, r2, cells[0][CommonSize.count]))
