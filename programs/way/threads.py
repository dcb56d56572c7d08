"""A thread's Call record: how it is found, and made for the first traced call.

The records are an array. A thread owns the one at its id modulo the array's size, from its first traced call until it
dies or gives up its id. With more thread ids than places, two threads may fall on one; the second has its record in a
hash. Claiming a place then takes compare-and-exchange, so before 5.12 all records are in the hash.

Where the array had a place for every id when the maps were made, there is no hash. If kernel.pid_max is raised
afterwards, a thread whose place is taken has no record, and its calls are counted as lost.
"""

from __future__ import annotations

from asm import U32, Slot, r0, r1
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.facts.records import Call, LightCall
from programs.way.body import Body, begin
from programs.way.registers import CALL, TID


def begin_part(name: str, kernel: Kernel, options: Options, maps: Maps) -> Body:
    """The beginning of a program that is reached by a tail call, with CTX and CALL as the one before had them.

    TID is set too. Jumps to "out" if the thread has no Call record.
    """
    b = begin(name, kernel, options, maps)
    find_call(b, "out")
    return b


def find_call(b: Body, missing: str) -> None:
    """CALL = the record of this thread, or a jump to `missing`. Clobbers r0 to r5; leaves TID."""
    a, key, have = b.a, b.a.slot("tid", U32), b.a.unique("have_call")
    a.call("get_current_pid_tgid")
    a.mov32(TID, r0, "tid")
    if b.kernel.tid_slots:
        slot(b, missing)
        if b.kernel.tid_direct:
            a.jne(r1, TID, missing)
            return
        a.jeq(r1, TID, have)
    a.stx(key, TID)
    a.lookup(b.maps.calls, key)
    a.jeq(r0, 0, missing)
    a.mov(CALL, r0)
    a.label(have)


def claim_call(b: Body, missing: str) -> None:
    """CALL = the record of the thread TID, made if this is its first call; a jump to `missing` without room."""
    a, key, have = b.a, b.a.slot("tid", U32), b.a.unique("have_call")
    if b.kernel.tid_slots:
        _claim_slot(b, have, missing)
    if not b.kernel.tid_direct:
        again = b.a.unique("have_call")
        a.stx(key, TID)
        a.lookup(b.maps.calls, key)
        a.jne(r0, 0, again)
        if b.options.light:
            b.make_zeros(b.maps.calls, key, LightCall)
        else:
            fresh = a.slot("new_call", Call)
            a.zero(fresh)
            a.stx(fresh[Call.owner], TID)
            a.update(b.maps.calls, key, fresh)
        a.lookup(b.maps.calls, key)
        a.jeq(r0, 0, missing)
        if b.options.light:
            a.stx(r0[Call.owner], TID)
        a.label(again)
        a.mov(CALL, r0)
    a.label(have)


def _claim_slot(b: Body, have: str, missing: str) -> None:
    """CALL = this thread's record in the array and a jump to `have`.

    Where it is another thread's, falls through, or jumps to `missing` if there is no hash.
    """
    a = b.a
    other = missing if b.kernel.tid_direct else a.unique("not_mine")
    slot(b, missing)
    a.jeq(r1, TID, have)
    a.jne(r1, 0, other)
    if b.kernel.tid_direct:
        a.stx(CALL[Call.owner], TID, "no other thread has this remainder, unless pid_max was raised")
    else:
        a.mov(r0, 0)
        a.cmpxchg(CALL[Call.owner], TID)
        a.jne(r0, 0, other)
    for place in (Call.call, Call.checked, Call.known, Call.used, Call.shards):
        a.st(CALL[place], 0)
    if b.options.light:
        for place in (LightCall.registers, LightCall.timed, LightCall.brought, LightCall.handled):
            a.st(CALL[place], 0)
    a.ja(have)
    if not b.kernel.tid_direct:
        a.label(other)


def slot(b: Body, missing: str) -> None:
    """CALL = the record in the array for the remainder of TID, r1 = its owner. The jump to `missing` is never taken."""
    a = b.a
    a.mov(r1, TID)
    find_slot(b, a.slot("tid", U32), missing)
    a.ldx(r1, CALL[Call.owner])


def find_slot(b: Body, key: Slot, missing: str) -> None:
    """CALL = the record in the array for the remainder of r1, which `key` becomes; no jump to `missing` is taken."""
    a = b.a
    a.and_(r1, b.kernel.tid_slots - 1)
    a.stx(key, r1)
    a.lookup(b.maps.slots, key)
    a.jeq(r0, 0, missing)
    a.mov(CALL, r0)


def free_call(b: Body) -> None:
    """Frees the record of the thread TID, if it has one. Clobbers r0 to r5."""
    a, key, other = b.a, b.a.slot("tid", U32), b.a.unique("not_mine")
    if b.kernel.tid_slots:
        a.mov(r1, TID)
        a.and_(r1, b.kernel.tid_slots - 1)
        a.stx(key, r1)
        a.lookup(b.maps.slots, key)
        a.jeq(r0, 0, other)
        a.ldx(r1, r0[Call.owner])
        a.jne(r1, TID, other)
        a.st(r0[Call.call], 0)
        if b.options.light:
            a.st(r0[LightCall.registers], 0)
        a.st(r0[Call.owner], 0)
        a.label(other)
    if not b.kernel.tid_direct:
        a.stx(key, TID)
        a.delete(b.maps.calls, key)
