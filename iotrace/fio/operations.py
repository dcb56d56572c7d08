"""What was done to one file, drawn from its figures: the lines of a log, one after the other.

Drawn are the orders, without replacement, so that all sums come out: as many calls of each size, as many runs, rewrites
and syncs as the profile has. Of runs, and of the bytes between syncs, the lengths follow their histograms as closely as
whole calls allow. How reads, writes, runs and syncs lie to each other is in no profile: that is left to chance.
"""

from __future__ import annotations

import random
from array import array
from dataclasses import dataclass
from itertools import repeat
from typing import Dict, Iterator, List, NamedTuple, Optional

from iotrace.fio import sizes
from iotrace.fio.model import Direction, Load, grain_of
from iotrace.fio.syncing import OPTIONS
from iotrace.profile.activity import size_of
from iotrace.profile.metrics import FileStats
from iotrace.profile.values import Histogram
from programs.facts.catalogue import BY_NAME


class Operation(NamedTuple):
    """A line of a log: read, write, sync, datasync, open or close."""

    action: str
    offset: int = 0
    size: int = 0


_ACTIONS = {"fsync": "sync", "fdatasync": "datasync"}  # by the option that has a job do it


@dataclass
class Behaviour:
    """The figures of one file that its operations are drawn from."""

    read: Direction
    write: Direction
    read_runs: Histogram
    write_runs: Histogram
    between: Histogram
    synced: int  # bytes
    unsynced: int
    syncs: Dict[str, int]  # action -> calls
    rewrites: int
    opens: int
    size: int  # bytes
    grain: int
    begun: int  # ns
    ended: int

    @property
    def operations(self) -> int:
        """How many lines it makes, opens and closes apart."""
        return self.read.calls + self.write.calls + sum(self.syncs.values())

    @property
    def room(self) -> int:
        """Bytes that the file must have, so that no run meets its end."""
        largest = max([*self.read.sizes, *self.write.sizes, 0])
        longest = max([*self.read_runs, *self.write_runs, 0])
        return self.size + 2 * longest + largest + self.grain


def behaviour(file: FileStats, scale: float) -> Behaviour:
    """Of a file, with so many times the calls."""
    load = Load(())
    load.add(file)
    syncs: Dict[str, int] = {}
    for name, count in load.syncs.items():
        if BY_NAME[name].covers:
            action = _ACTIONS[OPTIONS[name]]
            syncs[action] = syncs.get(action, 0) + count
    found = Behaviour(
        load.read,
        load.write,
        _known(file.sequential_read),
        _known(file.sequential_write),
        _known(file.bytes_between_syncs),
        file.bytes_synced,
        file.bytes_unsynced,
        syncs,
        file.rewrites,
        file.opens,
        size_of(file),
        grain_of(file),
        load.begun or 0,
        load.ended,
    )
    return found if scale == 1 else _scaled(found, scale)


def _known(histogram: Histogram) -> Histogram:
    return {lower: count for lower, count in histogram.items() if count}


def _scaled(whole: Behaviour, scale: float) -> Behaviour:
    def times(counts: Dict[int, int]) -> Dict[int, int]:
        return {lower: scaled for lower, scaled in ((lower, round(n * scale)) for lower, n in counts.items()) if scaled}

    for direction in (whole.read, whole.write):
        direction.sizes = times(direction.sizes)
        direction.calls = sum(direction.sizes.values())
        direction.bytes = sizes.total(direction.sizes)
        direction.runs = min(max(round(direction.runs * scale), 1), direction.calls)
    whole.read_runs, whole.write_runs, whole.between = map(times, (whole.read_runs, whole.write_runs, whole.between))
    whole.syncs = {action: round(count * scale) for action, count in whole.syncs.items()}
    whole.rewrites, whole.opens = round(whole.rewrites * scale), max(round(whole.opens * scale), 1)
    whole.synced = whole.write.bytes if not whole.unsynced else round(whole.synced * scale)
    return whole


class _Bag:
    """Values with counts, of which one at a time is taken at random."""

    def __init__(self, counts: Dict[int, int], chance: random.Random) -> None:
        self._left, self._chance = dict(counts), chance
        self.count = sum(counts.values())

    def take(self) -> int:
        """One of those that are left."""
        place = self._chance.randrange(self.count)
        for value, count in self._left.items():
            place -= count
            if place < 0:
                self._left[value] = count - 1
                self.count -= 1
                return value
        raise IndexError("nothing is left")


class _Sizes:
    """The sizes of all calls, of which one at a time is taken at random."""

    def __init__(self, counts: Dict[int, int], chance: random.Random) -> None:
        self._left, self._chance = array("Q"), chance
        for size, count in counts.items():
            self._left.extend(repeat(size, count))

    @property
    def count(self) -> int:
        return len(self._left)

    def take(self) -> int:
        """One of those that are left."""
        left, place = self._left, self._chance.randrange(len(self._left))
        left[place], left[-1] = left[-1], left[place]
        return left.pop()


class _Lengths:
    """How long the next run is, or what lies between two syncs: buckets, until all bytes are used up."""

    def __init__(self, buckets: Histogram, count: int, total: int, chance: random.Random) -> None:
        known = sum(buckets.values())
        self._bag = _Bag(buckets, chance)
        self._middle = total / max(count, 1)
        self._chance = chance
        self._ahead = sum(1.5 * lower * number for lower, number in buckets.items()) if known else 0.0
        self.left, self._bytes = count, total

    def next(self) -> float:
        """The next length in bytes, such that those that follow have what is left."""
        self.left -= 1
        if not self._bag.count or self._ahead <= 0:
            return self._middle
        lower = self._bag.take()
        drawn = lower * (1 + self._chance.random())
        wanted = drawn * self._bytes / self._ahead
        self._ahead -= 1.5 * lower
        return wanted

    def used(self, amount: int) -> None:
        """So much has gone into them."""
        self._bytes -= amount


class _Stream:
    """The transfers of one direction: offset and size of each."""

    def __init__(self, way: str, whole: Direction, runs: Histogram, of: Behaviour, chance: random.Random) -> None:
        self.way, self._of, self._chance = way, of, chance
        self._sizes = _Sizes(whole.sizes, chance)
        self._runs = _Lengths(runs, min(whole.runs or whole.calls, whole.calls), whole.bytes, chance)
        self._rewrites = of.rewrites if way == "write" else 0
        self._goal, self._run, self._end, self._start = 0.0, 0, 0, 0
        self._fresh = True
        self._opens = of.opens

    @property
    def left(self) -> int:
        return self._sizes.count

    def next(self, *, reopen: bool) -> Iterator[Operation]:
        """The next transfer; with `reopen` it may come behind a close and an open."""
        size = self._sizes.take()
        if self._fresh or self._ends(size):
            yield from self._begin(size, reopen)
        self._start = self._end
        self._end += size
        self._run += size
        self._runs.used(size)
        yield Operation(self.way, self._start, size)

    def _ends(self, size: int) -> bool:
        """Whether the run is over: it is long enough, and there is another; or each call that is left needs one."""
        if not self._runs.left:
            return False
        return self._runs.left > self.left or self._run + size / 2 >= self._goal

    def _begin(self, size: int, reopen: bool) -> Iterator[Operation]:
        after = self._runs.left
        self._goal, self._run = self._runs.next(), 0
        if self._fresh:
            self._fresh = False
            self._opens -= 1
            self._end = 0
            return
        if self._rewrites and self._chance.random() * after < self._rewrites:
            self._rewrites -= 1
            self._end = self._start
            return
        if reopen and self._opens > 0 and self._chance.random() * after < self._opens:
            self._opens -= 1
            yield Operation("close")
            yield Operation("open")
            self._end = 0 if self.way == "read" else self._end
            return
        self._end = self._elsewhere(size)

    def _elsewhere(self, size: int) -> int:
        """An offset for a run, but not where the last one ended or, by accident, began."""
        places = max(self._of.size - max(int(self._goal), size), 0) // self._of.grain + 1
        place = self._chance.randrange(places) * self._of.grain
        while place in (self._end, self._start):
            place += self._of.grain
        return place


class _Syncs:
    """When to sync."""

    def __init__(self, of: Behaviour, chance: random.Random) -> None:
        nothing = of.between.get(0, 0)
        full = {lower: count for lower, count in of.between.items() if lower}
        total = sum(of.syncs.values())
        self._empty = min(nothing, total) if of.write.calls else total
        some = total - self._empty
        self._kinds = {kind: count for kind, count in of.syncs.items() if count}
        self._between = _Lengths(full, some, max(of.write.bytes - of.unsynced, 0), chance)
        self._unsynced, self._left, self._waiting = of.unsynced, of.write.bytes, 0
        self._chance = chance
        self._goal = self._between.next() if some else float("inf")
        self._some = some

    def first(self) -> Iterator[Operation]:
        """Those that have nothing to sync, where no other is: behind a write they would."""
        if not self._some:
            yield from self.rest()

    def written(self, size: int, left: int) -> Iterator[Operation]:
        """What comes behind a write, of which so many are left."""
        self._waiting += size
        self._left -= size
        if not self._some:
            return
        final = self._some == 1
        due = self._left <= self._unsynced + size // 2 if final else self._waiting + size / 2 >= self._goal
        if due or self._some > left:
            self._between.used(self._waiting)
            self._waiting = 0
            empty = self._empty // self._some
            self._some -= 1
            self._empty -= empty
            for _ in range(1 + empty):
                yield self._one()
            if self._some:
                self._goal = self._between.next()

    def rest(self) -> Iterator[Operation]:
        """Those that are left in the end."""
        for _ in range(self._empty + self._some):
            yield self._one()
        self._empty = self._some = 0

    def _one(self) -> Operation:
        kind = max(sorted(self._kinds), key=lambda name: self._kinds[name])
        self._kinds[kind] -= 1
        return Operation(kind)


def drawn(of: Behaviour, seed: str) -> Iterator[Operation]:
    """The operations of a file, from its open to its close."""
    chance = random.Random(seed)
    streams = [
        _Stream("read", of.read, of.read_runs, of, chance),
        _Stream("write", of.write, of.write_runs, of, chance),
    ]
    syncs = _Syncs(of, chance)
    alone = not (of.read.calls and of.write.calls)
    yield Operation("open")
    yield from syncs.first()
    while True:
        left: List[int] = [stream.left for stream in streams]
        if not any(left):
            break
        stream = streams[chance.randrange(sum(left)) >= left[0]]
        operation: Optional[Operation] = None
        for operation in stream.next(reopen=alone):
            yield operation
        if operation is not None and operation.action == "write":
            yield from syncs.written(operation.size, stream.left)
    yield from syncs.rest()
    yield Operation("close")
