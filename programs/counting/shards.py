"""Counters of a thread's own, where it uses a file often: a shard of the record that all threads share.

An atomic addition to memory takes 3 ns, and many times that where another CPU has used the same cache line just now. A
call takes six of them. What only one thread adds to needs none. So every `OFTEN`th call that is counted in a shared
record gives its thread one of its own in the map `shards`: whoever calls most often gets one first, and what is left in
the shared record is the rest. User space adds up what it finds under an operation of a file.

`Call.shards` says which records a thread may have, one bit for 1 in 64 of them, so that most calls that have none are
not looked up twice. Where the map is full, the thread goes on with the shared record.
"""

from __future__ import annotations

from asm import r0, r1, r2, r3
from programs.counting.counters import HEAD, Counters
from programs.facts.records import Call, OpHead, OpKey, OpStats
from programs.way.body import Body
from programs.way.registers import CALL

OFTEN = 1024  # a power of two
_ID_BITS = 16  # the lowest of a file's id: the CPU, and what comes in 64 ns, which few files have to themselves


def possible(b: Body) -> bool:
    """Whether the kernel can do without records in parts, and has the atomics that it takes to have both kinds."""
    return b.kernel.big_values and b.kernel.fetch_atomics


def find_own(b: Body, counters: Counters, none: str) -> None:
    """Finds this thread's own record, whose `counters` are `alone`, or jumps to `none`. Clobbers r0 to r5."""
    a = b.a
    _place(b, counters)
    a.ldx(r1, CALL[Call.shards])
    a.rsh(r1, r2)
    a.and_(r1, 1)
    a.jeq(r1, 0, none)
    _key(b, counters)
    a.lookup(b.maps.shards, counters.key)
    a.jeq(r0, 0, none)
    counters.found(r0)


def perhaps_make(b: Body, counters: Counters) -> None:
    """Makes a record of this thread's own if the call just counted in `counters`, which are shared, is an OFTENth."""
    a, no = b.a, b.a.unique("no_shard")
    counters.at(HEAD, r2)
    a.ldx(r1, counters.field(HEAD, r2, OpHead.calls))
    a.and_(r1, OFTEN - 1)
    a.jne(r1, 0, no)
    _key(b, counters)
    b.make_zeros(b.maps.shards, counters.key, OpStats)
    _place(b, counters)
    a.mov(r1, 1)
    a.lsh(r1, r2)
    a.ldx(r3, CALL[Call.shards])
    a.or_(r3, r1)
    a.stx(CALL[Call.shards], r3)
    a.label(no)


def _place(b: Body, counters: Counters) -> None:
    """r2 = the bit of Call.shards for Call.op on this file. Clobbers r1."""
    a = b.a
    a.ldx(r2, counters.file_id)
    a.rsh(r2, _ID_BITS)
    a.ldx(r1, CALL[Call.op])
    a.add(r2, r1)
    a.and_(r2, 63)


def _key(b: Body, counters: Counters) -> None:
    a = b.a
    counters.fill_key()
    a.ldx(r1, CALL[Call.owner])
    a.stx(counters.key[OpKey.piece], r1)
