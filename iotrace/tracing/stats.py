"""Sums of records of operations (OpStats), as bytes: of files that had one name, and of threads that use one file.

What the programs hold are rows of counters, which can be added up many times as fast as what is made of them.
"""

from __future__ import annotations

from typing import List, Tuple

from iotrace.tracing import common_sizes
from iotrace.tracing.decoding import HEAD, LATENCIES, LATENCY, Tally
from programs.facts.catalogue import Operation
from programs.facts.records import LATENCY_BUCKETS, LATENCY_FULL_BIT, TALLY_LATENCY, OpStats, Requested

_SIZES_END = OpStats.requested.offset + Requested.size
_CELLS = HEAD.size + common_sizes.HEAD.size  # where the histograms begin
_ANY_FULL = int.from_bytes(LATENCIES.pack(*[1 << LATENCY_FULL_BIT] * LATENCY_BUCKETS), "little")
assert OpStats.requested.offset == HEAD.size


def add(operation: Operation, a: bytes, b: bytes) -> Tuple[bytes, List[Tally]]:
    """The sum of two OpStats; what was in cells of latencies that are full comes as tallies, as they would overflow."""
    (a, some), (b, more) = _emptied(operation, a), _emptied(operation, b)
    return _sum(a, b), some + more


def _emptied(operation: Operation, stats: bytes) -> Tuple[bytes, List[Tally]]:
    """An OpStats with zeros where cells of latencies are full, and what was in those."""
    if not int.from_bytes(stats[LATENCY], "little") & _ANY_FULL:
        return stats, []
    counts = list(LATENCIES.unpack(stats[LATENCY]))
    full = [cell for cell, count in enumerate(counts) if count >> LATENCY_FULL_BIT]
    tallies = [(operation.code, TALLY_LATENCY, cell, counts[cell]) for cell in full]
    for cell in full:
        counts[cell] = 0
    return stats[: LATENCY.start] + LATENCIES.pack(*counts) + stats[LATENCY.stop :], tallies


def _sum(a: bytes, b: bytes) -> bytes:
    """The sum of two OpStats without full cells. Their histograms are added as one long number each: none overflows."""
    calls, moved, first, last, lowest, highest, direct, durable, busy, slowest, *unaligned = HEAD.unpack_from(a)
    more, bytes_, begun, ended, low, high, directly, durably, took, longest, *crooked = HEAD.unpack_from(b)
    head = HEAD.pack(
        *(calls + more, moved + bytes_),
        *(min(first, begun) or max(first, begun), max(last, ended)),  # 0: none
        *(min(lowest, low) or max(lowest, low), max(highest, high)),
        *(direct + directly, durable + durably, busy + took, max(slowest, longest)),
        *(x + y for x, y in zip(unaligned, crooked)),
    )
    sizes = common_sizes.add(a[HEAD.size : _SIZES_END], b[HEAD.size : _SIZES_END])
    cells = int.from_bytes(a[_CELLS:], "little") + int.from_bytes(b[_CELLS:], "little")
    return head + sizes + cells.to_bytes(len(a) - _CELLS, "little")
