"""Events from programs to us: every one, in order, around the end of the ring; what is lost is counted exactly."""

from __future__ import annotations

import os
import select
import struct
from typing import Callable, Iterator, List, Tuple

import pytest

from asm import U32, U64, Assembler, Layout, MapSpec, MapType, ProgramType, field, r0, r1, r2, r3, r4, r5, r6, r7
from pybpf import features, links, maps, programs
from pybpf.events.perf import PerfBuffer
from pybpf.events.ring import RingBuffer
from pybpf.types.tracefs import Tracefs
from tests import needs


class Event(Layout):
    """20 bytes, which a perf ring carries without padding."""

    number_low = field(U32)
    number_high = field(U32)
    pid = field(U32)
    mark = field(U32)
    spare = field(U32)


PERF = MapSpec("events", MapType.PERF_EVENT_ARRAY, U32, U32, 0)
RING = MapSpec("events", MapType.RINGBUF, None, None, 4096)
COUNTS = MapSpec("counts", MapType.ARRAY, U32, U64, 2)  # [0] calls, [1] refused by the ring
CURRENT_CPU = 0xFFFFFFFF

Sender = Callable[[int], None]


def sender_program(events: MapSpec, only_us: Callable[[Assembler], None]) -> Assembler:
    """Each getppid of this process sends an Event with its number, and counts in COUNTS[1] if that is refused."""
    a = Assembler("send_event", kind=ProgramType.TRACEPOINT)
    key, event = a.slot("key", U32), a.slot("event", Event)
    a.mov(r6, r1)
    only_us(a)
    a.mov(r7, r0)
    a.st(key, 0)
    a.lookup(COUNTS, key)
    a.jeq(r0, 0, "out")
    a.ldx(r1, r0[0])
    a.stx(event[Event.number_low], r1)
    a.add(r1, 1)
    a.stx(r0[0], r1)
    a.st(event[Event.number_high], 0)
    a.stx(event[Event.pid], r7)
    a.st(event[Event.mark], 0x23)
    a.st(event[Event.spare], 0)
    if events.type is MapType.RINGBUF:
        a.ld_map(r1, events)
        a.addr(r2, event)
        a.mov(r3, Event.size)
        a.mov(r4, 0)
        a.call("ringbuf_output")
    else:
        a.mov(r1, r6)
        a.ld_map(r2, events)
        a.ld_imm64(r3, CURRENT_CPU)
        a.addr(r4, event)
        a.mov(r5, Event.size)
        a.call("perf_event_output")
    a.jeq(r0, 0, "out")
    a.st(key, 1)
    a.lookup(COUNTS, key)
    a.jeq(r0, 0, "out")
    a.mov(r1, 1)
    a.xadd(r0[0], r1)
    a.label("out")
    a.ret(0)
    return a


@pytest.fixture
def perf(tracefs: Tracefs, only_us: Callable[[Assembler], None], one_cpu: int) -> Iterator[maps.PerfEventArray]:
    """The array that our program sends to at every getppid on this one CPU."""
    with maps.create(PERF, maps.PerfEventArray) as events, maps.create(COUNTS, maps.Array) as counts, programs.load(
        sender_program(PERF, only_us).program(), {"events": events, "counts": counts}
    ) as program, links.tracepoint(program, tracefs.event_id("syscalls", "sys_enter_getppid")):
        yield events


@pytest.fixture
def ring(
    tracefs: Tracefs, only_us: Callable[[Assembler], None], one_cpu: int
) -> Iterator[Tuple[maps.RingBuf, maps.Array]]:
    """A ring buffer of a page that our program sends to, and the counters."""
    if not features.FEATURES["ring_buffer"].supported():
        needs.impossible("this kernel has no BPF ring buffer")
    with maps.create(RING, maps.RingBuf) as events, maps.create(COUNTS, maps.Array) as counts, programs.load(
        sender_program(RING, only_us).program(), {"events": events, "counts": counts}
    ) as program, links.tracepoint(program, tracefs.event_id("syscalls", "sys_enter_getppid")):
        yield events, counts


def send(count: int) -> None:
    for _call in range(count):
        os.getppid()


def numbers(records: List[bytes]) -> List[int]:
    """The events' numbers, having looked at all else in them."""
    for record in records:
        assert record[8:] == struct.pack("<III", os.getpid(), 0x23, 0)
    return [struct.unpack_from("<Q", record)[0] for record in records]


def test_perf_23_events(perf: maps.PerfEventArray) -> None:
    with PerfBuffer(perf) as buffer:
        assert not buffer.poll(0)
        send(23)
        assert buffer.poll(5)
        records: List[bytes] = []
        assert buffer.read(records.append) == 23
        assert numbers(records) == list(range(23))
        assert buffer.lost == 0
        assert buffer.read(records.append) == 0
        send(1)
        assert select.select([buffer], [], [], 5)[0] == [buffer]


def test_perf_goes_around_the_end(perf: maps.PerfEventArray) -> None:
    """A page holds 128 records of 32 bytes: 23 at a time, many times over."""
    with PerfBuffer(perf, pages=1) as buffer:
        records: List[bytes] = []
        for _round in range(100):
            send(23)
            buffer.read(records.append)
        assert numbers(records) == list(range(2300))
        assert buffer.lost == 0


def test_perf_counts_what_is_lost(perf: maps.PerfEventArray) -> None:
    with PerfBuffer(perf, pages=1) as buffer:
        records: List[bytes] = []
        send(1000)
        buffer.read(records.append)
        assert len(records) < 1000
        first = len(records)
        send(1)  # the kernel tells with the next record that it can write
        buffer.read(records.append)
        assert len(records) == first + 1
        assert len(records) + buffer.lost == 1001
        assert numbers(records) == [*range(first), 1000]


def test_perf_callback_that_raises_loses_nothing(perf: maps.PerfEventArray) -> None:
    with PerfBuffer(perf) as buffer:
        send(3)

        def refuse(_record: bytes) -> None:
            raise RuntimeError("enough")

        with pytest.raises(RuntimeError, match="enough"):
            buffer.read(refuse)
        records: List[bytes] = []
        buffer.read(records.append)
        assert numbers(records) == [1, 2]


def test_perf_size_must_be_a_power_of_two(perf: maps.PerfEventArray) -> None:
    with pytest.raises(ValueError, match="not a power of two"):
        PerfBuffer(perf, pages=3)


def test_ring_23_events(ring: Tuple[maps.RingBuf, maps.Array]) -> None:
    with RingBuffer(ring[0]) as buffer:
        assert not buffer.poll(0)
        send(23)
        assert buffer.poll(5)
        assert select.select([buffer], [], [], 5)[0] == [buffer]
        records: List[bytes] = []
        assert buffer.read(records.append) == 23
        assert numbers(records) == list(range(23))
        assert buffer.read(records.append) == 0


def test_ring_goes_around_the_end(ring: Tuple[maps.RingBuf, maps.Array]) -> None:
    with RingBuffer(ring[0]) as buffer:
        records: List[bytes] = []
        for _round in range(100):
            send(23)
            buffer.read(records.append)
        assert numbers(records) == list(range(2300))


def test_ring_overflow_is_counted_by_the_program(ring: Tuple[maps.RingBuf, maps.Array]) -> None:
    events, counts = ring
    with RingBuffer(events) as buffer:
        records: List[bytes] = []
        send(1000)
        buffer.read(records.append)
        refused = struct.unpack("<Q", counts.at(1))[0]
        assert refused > 0
        assert len(records) + refused == 1000
        assert numbers(records) == list(range(len(records)))
        send(1)
        records.clear()
        buffer.read(records.append)
        assert numbers(records) == [1000]


def test_ring_callback_that_raises_loses_nothing(ring: Tuple[maps.RingBuf, maps.Array]) -> None:
    with RingBuffer(ring[0]) as buffer:
        send(3)

        def refuse(_record: bytes) -> None:
            raise RuntimeError("enough")

        with pytest.raises(RuntimeError, match="enough"):
            buffer.read(refuse)
        records: List[bytes] = []
        buffer.read(records.append)
        assert numbers(records) == [1, 2]
