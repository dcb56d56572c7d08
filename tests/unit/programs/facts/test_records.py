"""The shared records: where their fields lie, by C's rules as ctypes knows them."""

from __future__ import annotations

import ctypes
import inspect
from typing import Any, Dict, List, Type

import pytest

from asm import Layout
from asm.layout import Scalar
from programs.facts import records
from programs.facts.records import (
    COMM_BYTES,
    FILE_DELETED,
    FILE_MAPPED,
    IOVEC_BYTES,
    IOVEC_CHUNK,
    IOVECS,
    LATENCY_BUCKETS,
    LATENCY_PIECE,
    LATENCY_PIECES,
    NAME_BYTES,
    SIZE_BUCKETS,
    WALK_BYTES,
    Call,
    CallSlot,
    Completed,
    FileKey,
    Latency,
    LatencyPiece,
    OpenFile,
    OpHead,
    OpStats,
    PathEvent,
    Requested,
    Runs,
    Scratch,
    Target,
    Walk,
)

RECORDS: List[Type[Layout]] = [
    value
    for _, value in inspect.getmembers(records, inspect.isclass)
    if issubclass(value, Layout) and value is not Layout
]
_SCALARS: Dict[str, Any] = {
    "u8": ctypes.c_uint8,
    "u16": ctypes.c_uint16,
    "u32": ctypes.c_uint32,
    "u64": ctypes.c_uint64,
    "s32": ctypes.c_int32,
    "s64": ctypes.c_int64,
}


def in_c(record: Type[Layout]) -> Any:
    """The same declaration as a ctypes structure, which the C compiler's rules lay out."""
    members = []
    for name, place in record.fields.items():
        kind = _SCALARS[place.type.name] if isinstance(place.type, Scalar) else in_c(place.type)
        members.append((name, kind * place.count if place.array else kind))
    return type(record.__name__, (ctypes.LittleEndianStructure,), {"_fields_": members})


@pytest.mark.parametrize("record", RECORDS)
def test_fields_lie_where_c_puts_them_without_a_gap(record: Type[Layout]) -> None:
    """A hidden gap in a key would hold whatever the stack held, and the key would find nothing."""
    twin = in_c(record)
    assert record.size == ctypes.sizeof(twin) == sum(place.total for place in record.fields.values())
    for name, place in record.fields.items():
        assert (place.offset, place.total) == (getattr(twin, name).offset, getattr(twin, name).size)


@pytest.mark.parametrize("record", RECORDS)
def test_what_is_packed_is_unpacked(record: Type[Layout]) -> None:
    raw = bytes(number * 7 % 251 for number in range(record.size))
    assert record.pack(**record.unpack(raw)) == raw


def test_the_event_lies_right_before_the_path() -> None:
    """One output of header and path takes them as one block of memory."""
    assert Scratch.walk.offset == 0
    assert Walk.event.offset + PathEvent.size == Walk.size == Scratch.data.offset


def test_the_parts_of_an_operation_make_the_whole() -> None:
    parts = [OpHead, Requested, Completed, Latency, Runs]
    assert OpStats.size == sum(part.size for part in parts)
    assert [place.type for place in OpStats.fields.values()] == parts


def test_work_space_takes_the_longest_path_and_the_longest_iovec() -> None:
    assert Scratch.data.total >= WALK_BYTES + 2 * NAME_BYTES
    assert Scratch.data.total == (IOVECS + IOVEC_CHUNK) * IOVEC_BYTES
    assert IOVECS % IOVEC_CHUNK == 0
    assert Scratch.size <= 32 << 10, "PCPU_MIN_UNIT_SIZE, include/linux/percpu.h: a per-CPU value cannot be larger"


def test_sizes_of_the_kernel() -> None:
    """fs.h: MAX_RW_COUNT is INT_MAX rounded down to a page, so that 2^30 to 2^31 is the last bucket."""
    largest = 0x7FFFFFFF & ~4095
    assert largest.bit_length() < SIZE_BUCKETS
    assert LATENCY_PIECE * LATENCY_PIECES == LATENCY_BUCKETS and COMM_BYTES == 16 and NAME_BYTES == 255 + 1


def test_records_made_on_the_stack_leave_room_for_keys() -> None:
    """512 bytes are all there is, and before 4.18 new values must lie there."""
    assert max(record.size for record in (OpHead, Requested, Completed, LatencyPiece, Runs)) <= 352
    assert max(OpenFile.size, FileKey.size) <= 128


def test_flags_are_bits() -> None:
    for bits in (
        [records.TARGET_PID, records.TARGET_COMM, records.TARGET_DESCENT, records.TARGET_FOLLOW],
        [FILE_DELETED, FILE_MAPPED],
    ):
        assert sum(bits) == (1 << len(bits)) - 1
    assert Target.size == 16


@pytest.mark.parametrize("prefix", ["TALLY_", "EVENT_"])
def test_kinds_differ(prefix: str) -> None:
    kinds = [value for name, value in vars(records).items() if name.startswith(prefix)]
    assert len(kinds) > 1 and len(set(kinds)) == len(kinds) and 0 not in kinds


def test_an_event_keeps_its_kind_whatever_is_added() -> None:
    added = [records.EVENT_TRUNCATED, records.EVENT_BORN, records.EVENT_UNREACHABLE]
    assert max(records.EVENT_NAMED, records.EVENT_RENAMED) < min(added) == records.EVENT_TRUNCATED
    assert all(bin(flag).count("1") == 1 for flag in added) and len(set(added)) == 3


def test_no_two_threads_have_words_in_one_line_of_the_cache() -> None:
    for begin in range(0, 64, 8):
        last, following = begin + Call.size - 8, begin + CallSlot.size
        assert last // 64 < following // 64
