"""Everything about one file that its histograms show: packed in pieces, which the page unpacks when somebody looks.

A record is an array, in the order of the names in FIELDS; zeros and empty parts at its end are left out. A histogram is
an array of pairs, one after the other: which power of two (0: zero itself, k: from 2^(k-1) on) and the count.
"""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any, Dict, List, Tuple

from iotrace.page import words
from iotrace.profile.activity import Activity, Transfers
from iotrace.profile.latencies import Latencies, by_powers
from iotrace.profile.metrics import FileStats
from iotrace.profile.values import Histogram

FIELDS = (
    "read",
    "read_requested",
    "read_completed",
    "read_cached",
    "read_missed",
    "read_runs",
    "written",
    "written_requested",
    "written_completed",
    "written_latency",
    "written_runs",
    "syncs",
    "sync_latency",
    "between",
    "facts",
    "calls",
)
TRANSFERS = ("calls", "bytes", "errors", "moved", "jumps", "storage", "mean", "p50", "p99", "most")
SYNCS = ("calls", "bytes", "unsynced", "mean", "p50", "p99", "most")
FACTS = ("opens", "size", "rewrites", "direct", "unaligned", "durable", "threads", "queue_depth", "mapped")

IN_A_PIECE = 400
"""Records that are packed together, or fewer with many numbers."""

_SPARE = 1.1  # times as many records as seem to fit: later ones may be smaller
_NUMBERS = 40_000  # in the records that wait to be packed
_MOST_CALLS = 64  # kinds of system calls that are told of a file

_TIER = 4096
"""Files that are kept or left out together, the busiest first."""

MOST = 12 * _TIER
"""Files that may have a record: more than there is room for where a record takes 60 bytes."""


def powers(histogram: Histogram) -> List[int]:
    """A histogram of powers of two as an array."""
    found: List[int] = []
    for lower, count in sorted(histogram.items()):
        found += (lower.bit_length(), count)
    return found


def _quantiles(found: Latencies) -> List[int]:
    mean = found.mean
    return [round(mean or 0), found.quantile(0.5) or 0, found.quantile(0.99) or 0, found.most]


def _transfers(found: Transfers) -> List[int]:
    if not found.calls:
        return []
    counts = [found.calls, found.bytes, found.errors, found.moved, found.jumps, found.storage_bytes]
    return counts + _quantiles(found.latencies)


def _latency(found: Latencies) -> List[int]:
    return powers(by_powers(found.histogram))


def _facts(found: Activity) -> List[int]:
    return [
        found.opens,
        found.size,
        found.rewrites,
        found.direct,
        found.unaligned,
        found.durable,
        found.threads,
        found.queue_depth,
        found.mapped,
    ]


def record(activity: Activity, runs: Tuple[Histogram, Histogram]) -> List[Any]:
    """The record of a file, or of a group of files; `runs` are those of reads and of writes."""
    read, written, syncs = activity.read, activity.written, activity.syncs
    of_syncs = [syncs.calls, syncs.bytes, syncs.unsynced, *_quantiles(syncs.latencies)]
    found: List[Any] = [
        _transfers(read),
        powers(read.requested),
        powers(read.completed),
        _latency(read.cached),
        _latency(read.missed),
        powers(runs[0]),
        _transfers(written),
        powers(written.requested),
        powers(written.completed),
        _latency(written.latencies),
        powers(runs[1]),
        of_syncs if any(of_syncs) else [],
        _latency(syncs.latencies),
        powers(syncs.between),
        _facts(activity),
        {words.words(name, 128): count for name, count in sorted(activity.calls.items())[:_MOST_CALLS]},
    ]
    while found and not found[-1]:
        found.pop()
    return found


def packed(value: object) -> str:
    """A value as JSON, compressed, in letters that mean nothing to a parser of markup."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    return base64.b64encode(gzip.compress(text.encode("ascii"), 5, mtime=0)).decode("ascii")


class Details:
    """The records of files, in tiers by how much they matter. As many tiers are kept as there is room for.

    Once some are packed it is known how much room a record takes, and none is made for files that matter less than as
    many as could fit.
    """

    def __init__(self, room: int) -> None:
        self._room, self._most = room, MOST
        self._packed = [0, 0]  # records, bytes
        self._waiting: Dict[int, List[Tuple[int, List[Any]]]] = {}
        self._pieces: Dict[int, List[Tuple[List[int], str]]] = {}
        self._numbers: Dict[int, int] = {}  # in those that wait

    def add(self, place: int, number: int, file: FileStats, activity: Activity) -> None:
        """Add a file that has this place among all, the busiest first, and this number in the listing."""
        if place >= self._most:
            return
        tier = place // _TIER
        waiting = self._waiting.setdefault(tier, [])
        made = record(activity, (file.sequential_read, file.sequential_write))
        waiting.append((number, made))
        self._numbers[tier] = self._numbers.get(tier, 0) + sum(map(len, made))
        if len(waiting) == IN_A_PIECE or self._numbers[tier] > _NUMBERS:
            self._pack(tier)

    def _pack(self, tier: int) -> None:
        self._numbers[tier] = 0
        waiting = self._waiting.pop(tier, None)
        if waiting:
            piece = packed([made for _, made in waiting])
            self._pieces.setdefault(tier, []).append(([number for number, _ in waiting], piece))
            self._packed = [self._packed[0] + len(waiting), self._packed[1] + len(piece)]
            if self._packed[0] >= _TIER // 4:
                self._most = min(MOST, int(_SPARE * self._room * self._packed[0] / self._packed[1]))

    def join(self, other: Details, more: int) -> None:
        """Add the records of another pass, whose files have numbers that are larger by `more` here."""
        for tier, waiting in other._waiting.items():
            self._waiting.setdefault(tier, []).extend((number + more, made) for number, made in waiting)
        for tier, pieces in other._pieces.items():
            shifted = [([number + more for number in numbers], piece) for numbers, piece in pieces]
            self._pieces.setdefault(tier, []).extend(shifted)

    def document(self, room: int) -> Tuple[Dict[str, object], int]:
        """The pieces that fit into so many bytes, and of how many files these are."""
        for tier in list(self._waiting):
            self._pack(tier)
        numbers: List[List[int]] = []
        pieces: List[str] = []
        for tier in sorted(self._pieces):
            for own, piece in self._pieces[tier]:
                room -= len(piece) + 4
                if room >= 0:
                    numbers.append(own)
                    pieces.append(piece)
        document = {"fields": FIELDS, "transfers": TRANSFERS, "syncs": SYNCS, "facts": FACTS, "pieces": pieces}
        return {**document, "numbers": packed(numbers)}, sum(map(len, numbers))


def whole(activity: Activity, runs: Tuple[Histogram, Histogram]) -> List[Any]:
    """The record of all files together."""
    return record(activity, runs)
