"""A load: what was done to files that behave alike, in the terms of whoever builds a benchmark.

Loads are made of the files of a profile, one after the other, and know nothing of fio. Two of them can be compared,
whether one is what was traced and the other what was made of it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Tuple

from iotrace import text
from iotrace.fio import sizes
from iotrace.fio.sizes import Sizes
from iotrace.profile.activity import UNKNOWN, Activity, add_histogram, moved, order_of, size_of, untimed_share
from iotrace.profile.folding import final_name
from iotrace.profile.metrics import FileStats
from iotrace.profile.series import MOST_INTERVALS
from iotrace.profile.tree import shared_directory
from programs.facts.catalogue import BY_NAME, READ

EXAMPLES = 3  # paths that a load remembers
_SECTOR, _PAGE = 512, 4096
_MOST_SIZES = 256  # that are kept apart


@dataclass
class Direction:
    """Reads, or writes: the calls that moved something."""

    calls: int = 0
    bytes: int = 0
    runs: int = 0
    jumps: int = 0  # calls that began elsewhere than where the one before had ended
    sizes: Sizes = field(default_factory=dict)
    by_call: Dict[str, int] = field(default_factory=dict)  # system call -> calls

    def add_sizes(self, more: Sizes) -> None:
        add_histogram(self.sizes, more)
        if len(self.sizes) > _MOST_SIZES:
            self.sizes = sizes.condensed(self.sizes)

    def merge(self, other: Direction) -> None:
        """Add another one."""
        self.calls, self.bytes = self.calls + other.calls, self.bytes + other.bytes
        self.runs, self.jumps = self.runs + other.runs, self.jumps + other.jumps
        self.add_sizes(other.sizes)
        add_histogram(self.by_call, other.by_call)

    @property
    def mean_run(self) -> float:
        """Bytes of a maximal contiguous run, on average."""
        return self.bytes / self.runs if self.runs else 0.0

    @property
    def calls_a_run(self) -> float:
        return self.calls / self.runs if self.runs else 0.0

    @property
    def random(self) -> float:
        """The share of the calls that began elsewhere, 0 to 1."""
        return self.jumps / self.calls if self.calls else 0.0

    @property
    def commonest(self) -> str:
        """The system call that was used most."""
        return max(sorted(self.by_call), key=lambda name: self.by_call[name], default="")


@dataclass
class Load:
    """The sums over files that behave alike."""

    key: Tuple[Any, ...]
    activity: Activity = field(default_factory=Activity)
    read: Direction = field(default_factory=Direction)
    write: Direction = field(default_factory=Direction)
    syncs: Dict[str, int] = field(default_factory=dict)  # system call -> successful calls
    examples: List[bytes] = field(default_factory=list)
    common: bytes = b""  # the directory that all are in
    extensions: Dict[bytes, int] = field(default_factory=dict)
    smallest: Optional[int] = None
    largest: int = 0  # of the files, in bytes
    incarnations: int = 0  # files that were created one after the other
    lowest: Optional[int] = None  # offset that was touched
    depths: Dict[int, int] = field(default_factory=dict)
    begun: Optional[int] = None
    ended: int = 0
    used: int = 0  # ns from the first to the last transfer, summed over the files
    interval: int = 0  # ns, of a profile in time
    active: int = 0  # the intervals in which calls were made, one bit for each
    busy: int = 0  # ns that they took together, in these

    def add(self, file: FileStats, interval_ns: Optional[int] = None) -> None:
        """Add a file."""
        name, size = final_name(file), size_of(file)
        self.activity.add(file)
        if len(self.examples) < EXAMPLES:
            self.examples.append(name)
        place = os.path.dirname(name)
        self.common = place if self.activity.files == 1 else shared_directory(self.common, place)
        ending = os.path.splitext(name)[1]
        if len(self.extensions) < EXAMPLES or ending in self.extensions:
            self.extensions[ending] = self.extensions.get(ending, 0) + 1
        self.smallest = _least(self.smallest, size)
        self.largest = max(size, self.largest)
        self.lowest = _least(self.lowest, file.lowest_offset)
        self.incarnations += file.incarnations
        add_histogram(self.depths, file.queue_depth)
        self._add_calls(file)
        self._add_times(file, interval_ns)

    def _add_calls(self, file: FileStats) -> None:
        grain = grain_of(file)
        for name, call in file.syscalls.items():
            operation = BY_NAME.get(name, UNKNOWN)
            if operation.direction is not None:
                direction = self.read if operation.direction == READ else self.write
                found = sizes.of_call(call, grain)
                count = moved(call)
                direction.calls += count
                direction.bytes += call.bytes
                direction.add_sizes(found)
                if count:
                    direction.by_call[name] = direction.by_call.get(name, 0) + count
            elif operation.syncs:
                good = call.calls - sum(call.errors.values())
                if good > 0:
                    self.syncs[name] = self.syncs.get(name, 0) + good
        self.read.runs += sum(file.sequential_read.values())
        self.write.runs += sum(file.sequential_write.values())
        for direction, (_, jumps) in zip((self.read, self.write), order_of(file)):
            direction.jumps += jumps

    def _add_times(self, file: FileStats, interval_ns: Optional[int]) -> None:
        firsts = [at for at in (file.first_read_ns, file.first_write_ns) if at is not None]
        lasts = [at for at in (file.last_read_ns, file.last_write_ns, file.last_sync_ns) if at is not None]
        if firsts and lasts:
            begun, ended = min(firsts), max(lasts)
            self.begun = _least(self.begun, begun)
            self.ended = max(ended, self.ended)
            self.used += max(ended - begun, 0)
        if interval_ns:
            self.interval = interval_ns
            share = untimed_share(file)
            for number, reads, _, writes, _, _, _, busy in file.series:
                if number is not None and reads + writes and number < MOST_INTERVALS:
                    self.active |= 1 << number
                    self.busy += round(busy * share)

    def merge(self, other: Load) -> None:
        """Add another load."""
        if not self.files:
            self.common = other.common
        self.activity.merge(other.activity)
        self.read.merge(other.read)
        self.write.merge(other.write)
        for name in ("syncs", "extensions", "depths"):
            add_histogram(getattr(self, name), getattr(other, name))
        self.examples = (self.examples + other.examples)[:EXAMPLES]
        self.common = shared_directory(self.common, other.common)
        self.smallest = _least(self.smallest, other.smallest)
        self.lowest = _least(self.lowest, other.lowest)
        self.begun = _least(self.begun, other.begun)
        self.largest, self.ended = max(self.largest, other.largest), max(self.ended, other.ended)
        self.used += other.used
        self.incarnations += other.incarnations
        self.interval = self.interval or other.interval
        self.active |= other.active
        self.busy += other.busy

    @property
    def summary(self) -> str:
        """In one line."""
        return (
            f"{text.counted(self.files, 'file')}: "
            f"{text.counted(self.read.calls, 'read')} of {text.size(self.read.bytes)}, "
            f"{text.counted(self.write.calls, 'write')} of {text.size(self.write.bytes)}, "
            f"{text.counted(self.synced, 'sync')}"
        )

    @property
    def files(self) -> int:
        return self.activity.files

    @property
    def calls(self) -> int:
        return self.read.calls + self.write.calls

    @property
    def bytes(self) -> int:
        return self.read.bytes + self.write.bytes

    @property
    def mix(self) -> float:
        """The share of reads among the calls that moved something."""
        return self.read.calls / self.calls if self.calls else 0.0

    @property
    def synced(self) -> int:
        """How many successful syncs there were that make data durable, of every kind."""
        return sum(count for name, count in self.syncs.items() if BY_NAME[name].covers)

    @property
    def empty_syncs(self) -> int:
        """Syncs of a file to which nothing had been written since the one before."""
        return self.activity.syncs.between.get(0, 0)

    @property
    def between(self) -> float:
        """Bytes written to a file between two syncs, on average; without syncs that had nothing to sync."""
        count = sum(self.activity.syncs.between.values()) - self.empty_syncs
        return self.activity.syncs.bytes / count if count else 0.0

    @property
    def size(self) -> int:
        """Bytes of a file, on average."""
        return self.activity.size // self.files if self.files else 0

    @property
    def direct(self) -> bool:
        """Whether most calls were O_DIRECT."""
        return 2 * self.activity.direct > self.calls

    @property
    def durable(self) -> bool:
        """Whether most writes were durable when they returned."""
        return 2 * self.activity.durable > self.write.calls

    @property
    def at_once(self) -> float:
        """How many calls were under way at a time, on average, while a file was in use: Little's law."""
        span = self.ended - (self.begun or 0)
        return self.activity.busy_ns / span if span > 0 else 0.0

    @property
    def side_by_side(self) -> float:
        """How many of the files were in use at a time, on average."""
        span = self.ended - (self.begun or 0)
        return self.used / span if span > 0 else 1.0


def _least(a: Optional[int], b: Optional[int]) -> Optional[int]:
    return b if a is None else a if b is None else min(a, b)


def grain_of(file: FileStats) -> int:
    """What the sizes of a file's calls are multiples of, as far as the profile says."""
    moving = (name for name in file.syscalls if BY_NAME.get(name, UNKNOWN).direction is not None)
    calls = sum(moved(file.syscalls[name]) for name in moving)
    if calls and not file.unaligned_calls:
        return _PAGE
    return _SECTOR if 2 * file.direct_calls > calls else 1
